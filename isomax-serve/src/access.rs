//! Who may ask.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Refusal;
use crate::service::Shared;

const BEARER: &[u8] = b"Bearer ";

/// The right of a request to be at work. Whatever goes on for it when it is given up holds a copy.
pub type Permit = Arc<OwnedSemaphorePermit>;

/// Refuses requests without the token, if there is one.
pub async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.config.token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| {
        // The name of the scheme is the same in capitals (RFC 9110, section 11.1).
        let (scheme, given) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then_some(given)
    });
    // The time that this takes tells nothing of the token but its length.
    let is_right = given.is_some_and(|given| given.ct_eq(token.as_bytes()).into());
    match is_right {
        true => next.run(request).await,
        false => {
            let message = "send the token of this service as 'Authorization: Bearer TOKEN'";
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
            refuse(request, refusal).await
        }
    }
}

/// Refuses requests beyond those that may be at work.
pub async fn limit(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    match shared.at_work.clone().try_acquire_owned() {
        Ok(permit) => {
            let permit: Permit = Arc::new(permit);
            request.extensions_mut().insert(permit.clone());
            let response = next.run(request).await;
            drop(permit);
            response
        }
        Err(_) => refuse(request, Refusal::busy()).await,
    }
}

/// Refuses a request whose body may still be on its way: it is read and forgotten, since clients that cannot send
/// it to its end may not look at the answer.
pub async fn refuse(request: Request, refusal: Refusal) -> Response {
    let mut body = request.into_body();
    let mut left = MOST_FORGOTTEN;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, |data| data.len());
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    refusal.into_response()
}

/// Bytes of a body that are read for nothing.
const MOST_FORGOTTEN: usize = 64 << 20;
