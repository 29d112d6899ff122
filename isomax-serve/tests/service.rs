//! The service over real connections: answers, refusals, and an end without losses.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use isomax_bundle::{Bundle, JpegDecoder, Predictor};
use isomax_serve::{BUILT_IN, Config, Service};
use serde_json::Value;
use tokio::sync::oneshot;

struct Running {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn bundle() -> Bundle {
    Bundle::from_bytes(BUILT_IN.to_vec(), "built in").unwrap()
}

fn start(config: Config) -> Running {
    let service = Service::new(&bundle(), config).unwrap();
    let (end, ended) = oneshot::channel();
    let (told, address) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            service.run(listener, async { ended.await.unwrap_or_default() }).await;
        });
    });
    Running { address: address.recv().unwrap(), end: Some(end), thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().map(JoinHandle::join).transpose().unwrap();
    }
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

fn read(mut stream: &TcpStream) -> Response {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0);
    Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn request(address: SocketAddr, head: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    // A refusal may come before the body is sent whole.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(b"\r\n");
    let _ = stream.write_all(body);
    read(&stream)
}

fn get(address: SocketAddr, path: &str) -> Response {
    request(address, &format!("GET {path}"), b"")
}

fn post(address: SocketAddr, kind: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    read(&stream)
}

fn png(seed: u8) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let picture =
        RgbImage::from_fn(40, 30, |x, y| Rgb([seed, (x * 5) as u8, (y * 7) as u8 ^ seed]));
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

#[test]
fn decisions_are_those_of_the_bundle() {
    let running = start(Config::default());
    let device = isomax_backend::device();
    let predictor =
        Predictor::<isomax_backend::InferenceBackend, _>::from_bundle(&bundle(), &device);
    let predictor = predictor.unwrap();
    let check = |found: &Value, file: &[u8]| {
        let expected = predictor.decide_file(file).unwrap();
        assert_eq!(found["class"], expected.class);
        assert_eq!(found["in_distribution"], expected.in_distribution);
        for (key, expected) in [
            ("score", expected.score),
            ("confidence", expected.confidence),
            ("p_value", expected.p_value),
        ] {
            assert!((found[key].as_f64().unwrap() - expected).abs() < 1e-4, "{key}");
        }
    };
    for kind in ["image/png", "application/octet-stream", "IMAGE/JPEG; charset=x"] {
        let response = post(running.address, kind, &png(1));
        assert_eq!(response.status, 200, "{}", response.body);
        check(&response.json()["results"][0], &png(1));
    }
    let encoded = |seed| BASE64_STANDARD.encode(png(seed));
    let body = format!(
        r#"{{"images": [{{"name": "a", "data": "{}"}}, "{}", "bm8="]}}"#,
        encoded(2),
        encoded(3)
    );
    let response = post(running.address, "application/json", body.as_bytes());
    let results = &response.json()["results"];
    assert_eq!((response.status, results[0]["name"].as_str()), (200, Some("a")));
    check(&results[0], &png(2));
    check(&results[1], &png(3));
    assert_eq!(results[2]["error"]["code"], "not_an_image");

    let mut form = Vec::new();
    for (name, bytes) in [("x.png", png(4)), ("broken.png", b"text".to_vec())] {
        form.extend(
            format!(
                "--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n"
            )
            .bytes(),
        );
        form.extend(bytes);
        form.extend(b"\r\n");
    }
    form.extend(b"--b--\r\n");
    let response = post(running.address, "multipart/form-data; boundary=b", &form);
    let results = &response.json()["results"];
    assert_eq!(
        (results[0]["name"].as_str(), results[1]["name"].as_str()),
        (Some("x.png"), Some("broken.png"))
    );
    check(&results[0], &png(4));
    assert!(results[1]["error"]["message"].as_str().unwrap().contains("it is text"));

    let metrics = get(running.address, "/metrics");
    assert!(metrics.body.contains("isomax_decisions_total{class="), "{}", metrics.body);
    assert!(metrics.body.contains(r#"isomax_requests_total{path="/v1/predict",status="200"} 5"#));
    assert!(metrics.body.contains("isomax_waiting_images 0") && metrics.body.ends_with("# EOF\n"));
    let drift = get(running.address, "/v1/drift").json();
    assert_eq!((drift["num_scores"].as_u64(), drift["alarm"].as_bool()), (Some(6), Some(false)));
    let model = get(running.address, "/v1/model").json();
    assert_eq!(model["classes"][6], "frog");
    assert_eq!(model["detector"]["held_out_scores"].as_array().unwrap().len(), 1_001);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let running = start(Config { max_body: 20_000, max_images: 2, ..Config::default() });
    let address = running.address;
    for (kind, body, status, code) in [
        ("image/png", b"no image".to_vec(), 422, "not_an_image"),
        ("image/png", Vec::new(), 422, "not_an_image"),
        ("image/png", png(1)[..200].to_vec(), 422, "not_an_image"),
        ("image/png", vec![0; 30_000], 413, "too_large"),
        // Beyond what the system holds of it on the way: the answer must come all the same.
        ("image/png", vec![0; 6_000_000], 413, "too_large"),
        ("text/html", b"x".to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"{".to_vec(), 400, "bad_request"),
        ("application/json", br#"{"images": []}"#.to_vec(), 400, "bad_request"),
        ("application/json", br#"{"images": ["?"]}"#.to_vec(), 400, "bad_request"),
        ("application/json", br#"{"images": ["", "", ""]}"#.to_vec(), 413, "too_large"),
        ("multipart/form-data", b"x".to_vec(), 400, "bad_request"),
        ("multipart/form-data; boundary=b", b"--b\r\ncut".to_vec(), 400, "bad_request"),
    ] {
        let response = post(address, kind, &body);
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{kind}: {}",
            response.body
        );
        assert!(response.json()["error"]["message"].as_str().unwrap().len() > 10);
    }
    // A PNG of 20,000 × 10,000 pixels, of which the header alone is there.
    let mut huge = png(1);
    huge[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x27, 0x10]);
    let checksum = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    let response = post(address, "image/png", &huge);
    assert_eq!(
        (response.status, response.code().as_str()),
        (413, "too_large"),
        "{}",
        response.body
    );

    assert_eq!(get(address, "/absent").code(), "not_found");
    assert_eq!(get(address, "/v1/predict").code(), "method_not_allowed");
    assert_eq!(get(address, "/healthz").body, "alive\n");
    assert_eq!(get(address, "/readyz").status, 200);
    let page = get(address, "/");
    assert!(page.head.contains("content-security-policy: default-src 'none'"));
    assert!(page.body.contains("page.js"));
    let text = get(address, "/metrics").body;
    assert!(text.contains(r#"path="other",status="404""#), "{text}");
}

/// The checksum of a chunk of PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn bounds_that_cannot_be_kept_are_errors() {
    let plain = Config::default;
    for (config, name) in [
        (Config { max_requests: usize::MAX, ..plain() }, "max_requests"),
        (Config { max_queue: usize::MAX, ..plain() }, "max_queue"),
        (Config { max_images: 0, ..plain() }, "max_images"),
        (Config { max_batch: Some(0), ..plain() }, "max_batch"),
        (Config { batch_delay: std::time::Duration::MAX, ..plain() }, "batch_delay"),
    ] {
        let error = Service::new(&bundle(), config).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{name} must be ")), "{error}");
    }
}

#[test]
fn decoders_that_are_not_for_strangers_are_refused() {
    let bundle = bundle();
    let mut manifest = bundle.manifest().clone();
    manifest.preprocessing.jpeg_decoder = JpegDecoder::Libjpeg;
    let device = isomax_backend::device();
    let network = bundle.network::<isomax_backend::InferenceBackend>(&device).unwrap();
    let bundle = Bundle::new(manifest, &network).unwrap();
    let error = Service::new(&bundle, Config::default()).err().unwrap().to_string();
    assert!(error.contains("--jpeg-decoder safe"), "{error}");
}

#[test]
fn a_token_keeps_others_out() {
    let running = start(Config { token: Some("secret".to_owned()), ..Config::default() });
    let ask = |path: &str, token: &str| {
        request(
            running.address,
            &format!("GET {path} HTTP/1.1\r\nauthorization: {token}\r\nx:"),
            b"",
        )
    };
    for path in ["/v1/model", "/v1/drift", "/metrics"] {
        for token in ["Bearer secre", "Bearer secret2", "secret", "Basic secret"] {
            let response = ask(path, token);
            assert_eq!((response.status, response.code().as_str()), (401, "unauthorized"));
            assert!(response.head.contains("www-authenticate: bearer"));
        }
        for right in ["Bearer secret", "bearer secret"] {
            assert_eq!(ask(path, right).status, 200, "{path}");
        }
    }
    assert_eq!(post(running.address, "image/png", &png(1)).status, 401);
    assert_eq!(
        (get(running.address, "/").status, get(running.address, "/healthz").status),
        (200, 200)
    );
}

#[test]
fn a_full_service_says_so_and_loses_nothing() {
    let config = Config { max_queue: 2, max_requests: 4, max_batch: Some(1), ..Config::default() };
    let running = start(config);
    let address = running.address;
    let clients: Vec<_> = (0..40_u8)
        .map(|seed| {
            thread::spawn(move || {
                let response = post(address, "image/png", &png(seed));
                if response.status == 503 {
                    assert!(response.head.contains("retry-after: 1"));
                }
                response.status
            })
        })
        .collect();
    let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let decided = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..40).contains(&decided), "{decided}");
    let drift = get(address, "/v1/drift").json();
    assert_eq!(drift["num_scores"], decided);
    assert!(get(address, "/metrics").body.contains("isomax_waiting_images 0"));
}

#[test]
fn slow_clients_are_given_up() {
    let config = Config {
        timeout: Duration::from_millis(600),
        header_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let running = start(config);
    let begun = Instant::now();
    // A head that does not end.
    let mut head = TcpStream::connect(running.address).unwrap();
    head.write_all(b"POST /v1/predict HTTP/1.1\r\nhost:").unwrap();
    // A body that does not come.
    let mut body = TcpStream::connect(running.address).unwrap();
    body.write_all(b"POST /v1/predict HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\nconnection: close\r\n\r\nabc").unwrap();
    // Others are answered meanwhile.
    assert_eq!(post(running.address, "image/png", &png(1)).status, 200);
    let response = read(&body);
    assert_eq!((response.status, response.code().as_str()), (408, "timeout"));
    assert!([0, 408].contains(&read(&head).status));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn who_reads_no_answer_loses_the_place() {
    let timeout = Duration::from_millis(300);
    let running = start(Config { timeout, max_connections: 1, ..Config::default() });
    let mut deaf = TcpStream::connect(running.address).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // More answers than fit into the buffers of the system.
    let asked = b"GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1_000);
    while deaf.write_all(&asked).is_ok() {}
    let begun = Instant::now();
    assert_eq!(get(running.address, "/healthz").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(deaf);
}

#[test]
fn what_was_taken_is_answered_at_the_end() {
    let mut running =
        start(Config { batch_delay: Duration::from_millis(300), ..Config::default() });
    let address = running.address;
    let clients: Vec<_> = (0..8_u8)
        .map(|seed| thread::spawn(move || post(address, "image/png", &png(seed)).status))
        .collect();
    thread::sleep(Duration::from_millis(150));
    drop(running.end.take());
    let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(statuses, [200; 8]);
    running.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(address).is_err(), "it has ended");
}

#[test]
fn the_description_names_every_path() {
    let running = start(Config::default());
    let description = get(running.address, "/openapi.json").json();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let response =
                request(running.address, &format!("{} {path}", method.to_uppercase()), b"");
            assert!(![404, 405].contains(&response.status), "{method} {path}: {}", response.status);
        }
    }
    // What is answered has the fields that are promised.
    for (path, schema) in [("/v1/model", "Model"), ("/v1/drift", "Drift")] {
        let answer = get(running.address, path).json();
        let schema = &description["components"]["schemas"][schema];
        for field in schema["required"].as_array().unwrap() {
            assert!(!answer[field.as_str().unwrap()].is_null(), "{path} lacks {field}");
        }
        for field in answer.as_object().unwrap().keys() {
            assert!(
                !schema["properties"][field].is_null(),
                "{path} has {field}, which is not described"
            );
        }
    }
}
