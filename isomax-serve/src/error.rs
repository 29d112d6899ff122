//! What clients are told when there is no decision.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isomax_bundle::DecodeError;
use serde::Serialize;

/// A refusal, with a word for programs and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    #[serde(skip)]
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// The service has as much to do as it takes.
    pub fn busy() -> Self {
        let message = "the service has as much to do as it takes: try again in a second";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// A mistake of the service, whose cause is in its log alone.
    pub fn internal() -> Self {
        let message = "the service failed on this request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let message = format!("expected an image, but {error}");
        match error {
            DecodeError::TooManyPixels { .. } | DecodeError::TooLarge => Self::too_large(message),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_an_image", message),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a Refusal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { error: &self })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
