//! From requests to decisions.

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use isomax_burn::Decision;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::access::{self, Permit};
use crate::encoded::{self, EncodedImage};
use crate::engine::{Failure, SubmitError};
use crate::error::Refusal;
use crate::service::Shared;

/// One image of a request.
struct Picture {
    name: Option<String>,
    bytes: Bytes,
}

#[derive(Serialize)]
pub struct Answer {
    results: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Decided {
        class_name: String,
        #[serde(flatten)]
        decision: Decision,
    },
    Refused {
        error: Refusal,
    },
}

/// Decides on the images of a request. A single image that cannot be decided on is an error of the request; of
/// several, one is no reason to lose the others.
pub async fn predict(State(shared): State<Shared>, request: Request) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > shared.config.max_body as u64) {
        let message = format!("expected at most {} bytes", shared.config.max_body);
        return access::refuse(request, Refusal::too_large(message)).await;
    }
    answer(shared, request).await.into_response()
}

async fn answer(shared: Shared, request: Request) -> Result<Json<Answer>, Refusal> {
    let permit = request.extensions().get::<Permit>().cloned();
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let (pictures, is_single) = match kind.split(';').next().unwrap_or_default().trim() {
        "multipart/form-data" => (of_form(&shared, request).await?, false),
        "application/json" => (of_json(&shared, request).await?, false),
        kind if kind.is_empty()
            || kind == "application/octet-stream"
            || kind.starts_with("image/") =>
        {
            let bytes = body(request).await?;
            (vec![Picture { name: None, bytes }], true)
        }
        other => {
            let message = format!(
                "expected image/*, application/octet-stream, multipart/form-data or application/json, found {other}"
            );
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                message,
            ));
        }
    };
    if pictures.is_empty() {
        return Err(Refusal::bad_request("expected an image at least, found none"));
    }
    let most = shared.config.max_images;
    if pictures.len() > most {
        let message = format!("expected at most {most} images, found {}", pictures.len());
        return Err(Refusal::too_large(message));
    }
    // All are under way before the first is waited for.
    let mut under_way = Vec::new();
    for Picture { name, bytes } in pictures {
        let (shared, permit) = (shared.clone(), permit.clone());
        let task = tokio::spawn(async move { decide(&shared, bytes, permit).await });
        under_way.push((name, UnderWay(task)));
    }
    let mut results = Vec::new();
    for (name, mut task) in under_way {
        let decided = (&mut task.0).await.unwrap_or_else(|_| Err(Refusal::internal()));
        let outcome = match decided {
            Ok(decision) => decided_outcome(&shared.model.classes, decision),
            // There is no use in a part of the answers if the others are to be asked for again.
            Err(error) if is_single || error.status == StatusCode::SERVICE_UNAVAILABLE => {
                return Err(error);
            }
            Err(error) => Outcome::Refused { error },
        };
        results.push(Item { name, outcome });
    }
    Ok(Json(Answer { results }))
}

/// A task that ends when nobody waits for it any more.
struct UnderWay(JoinHandle<Result<Decision, Refusal>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn decided_outcome(classes: &[String], decision: Decision) -> Outcome {
    let class_name = classes.get(decision.class).cloned().unwrap_or_default();
    Outcome::Decided { class_name, decision }
}

/// Decodes an image, as many at a time as there are cores, and waits for the network. Decoding cannot be broken off:
/// until its end the request counts as one that is at work.
async fn decide(
    shared: &Shared,
    bytes: Bytes,
    at_work: Option<Permit>,
) -> Result<Decision, Refusal> {
    let permit = shared.decoding.clone().acquire_owned().await.map_err(|_| Refusal::internal())?;
    let network = shared.network.clone();
    let decoded = tokio::task::spawn_blocking(move || {
        let pixels = network.read(&bytes);
        drop((permit, at_work));
        pixels
    });
    let pixels = decoded.await.map_err(|_| Refusal::internal())??;
    let decision = shared.engine.submit(pixels).map_err(|error| match error {
        SubmitError::Full => Refusal::busy(),
        SubmitError::Gone => Refusal::internal(),
    })?;
    match decision.await {
        Ok(Ok(decision)) => Ok(decision),
        Ok(Err(Failure::NotFinite)) => {
            let message = "the network gives no finite numbers for this image";
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "not_finite", message))
        }
        Ok(Err(Failure::Broken)) | Err(_) => Err(Refusal::internal()),
    }
}

/// The whole body, within the bounds.
async fn body(request: Request) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, &()).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large("the body is larger than is taken"),
        _ => Refusal::bad_request("the body cannot be read to its end"),
    })
}

async fn of_json(shared: &Shared, request: Request) -> Result<Vec<Picture>, Refusal> {
    let bytes = body(request).await?;
    let expected = r#"expected {"images": [{"name": "…", "data": "BASE64"}]}"#;
    // One more is enough to know that there are too many.
    let images = encoded::read(&bytes, shared.config.max_images + 1)
        .map_err(|error| Refusal::bad_request(format!("{expected}: {error}")))?;
    let picture = |image: EncodedImage| {
        let (name, data) = match image {
            EncodedImage::Named { name, data } => (name, data),
            EncodedImage::Bare(data) => (None, data),
        };
        let bytes = BASE64_STANDARD.decode(data.trim());
        let bytes = bytes.map_err(|error| Refusal::bad_request(format!("{expected}: {error}")))?;
        Ok(Picture { name, bytes: bytes.into() })
    };
    images.into_iter().map(picture).collect()
}

async fn of_form(shared: &Shared, request: Request) -> Result<Vec<Picture>, Refusal> {
    let malformed = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large("the body is larger than is taken"),
        _ => Refusal::bad_request(format!("expected multipart/form-data: {}", error.body_text())),
    };
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| Refusal::bad_request(error.body_text()))?;
    let mut pictures = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.file_name().or(field.name()).map(str::to_owned);
        let bytes = field.bytes().await.map_err(malformed)?;
        pictures.push(Picture { name, bytes });
        // One more is enough to know that there are too many.
        if pictures.len() > shared.config.max_images {
            break;
        }
    }
    Ok(pictures)
}
