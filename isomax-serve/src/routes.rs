//! Which path is answered by what.

use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use isomax_burn::drift::DriftReport;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::Refusal;
use crate::service::{Model, Shared};
use crate::{access, page, predict};

pub fn app(shared: Shared) -> Router {
    let limited = middleware::from_fn_with_state(shared.clone(), access::limit);
    let checked = middleware::from_fn_with_state(shared.clone(), access::check);
    let timed = middleware::from_fn_with_state(shared.clone(), in_time);
    Router::new()
        .route("/v1/predict", post(predict::predict).layer(limited))
        .route("/v1/model", get(model))
        .route("/v1/drift", get(drift))
        .route("/metrics", get(metrics))
        .route_layer(checked)
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(page::openapi))
        .route("/", get(page::html))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .fallback(|| async {
            Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such path; see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            let message = "another method is needed; see /openapi.json";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(DefaultBodyLimit::max(shared.config.max_body))
        .layer(CatchPanicLayer::custom(|_| Refusal::internal().into_response()))
        .layer(timed)
        .layer(middleware::from_fn_with_state(shared.clone(), recorded))
        .with_state(shared)
}

async fn model(State(shared): State<Shared>) -> Json<Model> {
    Json(shared.model.clone())
}

async fn drift(State(shared): State<Shared>) -> Json<DriftReport> {
    Json(shared.figures.drift())
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Refusal> {
    match shared.engine.is_alive() {
        true => Ok("ready\n"),
        false => Err(Refusal::internal()),
    }
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let text = shared.figures.text().map_err(|_| Refusal::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Gives a request up that takes too long, as one whose body comes drop by drop.
async fn in_time(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(shared.config.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the request took too long";
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", message).into_response()
        }
    }
}

/// Counts and logs a request: never what is in it.
async fn recorded(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let path = known(request.uri().path());
    let method = request.method().clone();
    let response = next.run(request).await;
    let (status, seconds) = (response.status().as_u16(), begun.elapsed().as_secs_f64());
    shared.figures.request(path, status, seconds);
    match status {
        500.. if status != 503 => tracing::error!(%method, path, status, seconds, "failed"),
        _ => tracing::info!(%method, path, status, seconds, "answered"),
    }
    response
}

/// A path that does not take memory for itself.
fn known(path: &str) -> &'static str {
    const PATHS: [&str; 10] = [
        "/v1/predict",
        "/v1/model",
        "/v1/drift",
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/",
        "/page.css",
        "/page.js",
    ];
    PATHS.into_iter().find(|known| *known == path).unwrap_or("other")
}
