//! `isomax-serve`: a detection service from the shell.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use isomax_bundle::Bundle;
use isomax_serve::{BUILT_IN, Config, Service};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Serves a bundle over HTTP: decisions, a page to drop photos on, figures, and a watch for drift.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Bundle to serve, as `isomax-bench export` writes it (default: the one in this program, ResNet-20 on CIFAR-10).
    model: Option<PathBuf>,
    /// Address to listen on. Beyond this machine, set a token, and put a proxy with TLS before it.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), env = "ISOMAX_SERVE_HOST")]
    host: IpAddr,
    /// Port to listen on; 0 for any that is free.
    #[arg(long, default_value_t = 8080, env = "ISOMAX_SERVE_PORT")]
    port: u16,
    /// Token that clients must send as `Authorization: Bearer TOKEN` (default: none). Better in the environment than
    /// here, where others on this machine see it.
    #[arg(long, env = "ISOMAX_SERVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Largest body of a request, in MiB.
    #[arg(long, default_value_t = 10, value_name = "MIB")]
    max_body: usize,
    /// Most images of a request.
    #[arg(long, default_value_t = 32)]
    max_images: usize,
    /// Most requests whose bodies are read and decoded at the same time.
    #[arg(long, default_value_t = 128)]
    max_requests: usize,
    /// Most images that wait for the network; requests beyond are told to come back.
    #[arg(long, default_value_t = 256)]
    max_queue: usize,
    /// Most images that are computed at once (default: by the size of the images, 8 to 64).
    #[arg(long)]
    max_batch: Option<usize>,
    /// How long the first image of a batch waits for others, in milliseconds.
    #[arg(long, default_value_t = 2, value_name = "MS")]
    batch_delay: u64,
    /// Time for a request, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
    /// Number of scores that the watch for drift looks at.
    #[arg(long, default_value_t = 200)]
    drift_window: usize,
    /// How to log: text, or json with one object a line. RUST_LOG says what, such as `warn`.
    #[arg(long, default_value = "text")]
    log: Log,
}

#[derive(Clone, Copy, ValueEnum)]
enum Log {
    Text,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) => {
            EnvFilter::try_new(&filter).map_err(|error| format!("RUST_LOG={filter}: {error}"))
        }
        Err(_) => Ok(EnvFilter::new("info")),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match cli.log {
        Log::Text => log.with_target(false).init(),
        Log::Json => log.json().init(),
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let bundle = match &cli.model {
        Some(path) => Bundle::load(path)?,
        None => Bundle::from_bytes(BUILT_IN.to_vec(), "the bundle in this program")?,
    };
    let token = cli.token.clone().filter(|token| !token.is_empty());
    if token.is_none() && !cli.host.is_loopback() {
        tracing::warn!("whoever reaches {} can ask: set ISOMAX_SERVE_TOKEN", cli.host);
    }
    let config = Config {
        max_body: cli.max_body.saturating_mul(1 << 20),
        max_images: cli.max_images,
        max_requests: cli.max_requests,
        max_queue: cli.max_queue,
        max_batch: cli.max_batch,
        batch_delay: Duration::from_millis(cli.batch_delay),
        timeout: Duration::from_secs(cli.timeout.max(1)),
        drift_window: cli.drift_window,
        token,
        ..Config::default()
    };
    let service = Service::new(&bundle, config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = SocketAddr::new(cli.host, cli.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("{address}: {error}; choose another --port"))?;
        let manifest = bundle.manifest();
        tracing::info!(
            address = %listener.local_addr()?,
            architecture = manifest.architecture,
            classes = manifest.classes.len(),
            backend = isomax_backend::name(),
            "serving"
        );
        // Scripts read it, whatever the log says.
        println!("http://{}", listener.local_addr()?);
        service.run(listener, ended()).await;
        Ok(())
    })
}

/// Ends when the process is told to.
async fn ended() {
    let interrupted = async {
        // Without a handler, the signal ends the process at once.
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => tokio::select! {
                () = interrupted => {}
                _ = terminated.recv() => {}
            },
            Err(_) => interrupted.await,
        }
    }
    #[cfg(not(unix))]
    interrupted.await;
}
