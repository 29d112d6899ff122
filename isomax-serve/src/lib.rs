//! A detection service: a [bundle](isomax_bundle::Bundle) over HTTP.
//!
//! | path | what |
//! |---|---|
//! | `POST /v1/predict` | decisions on images: the bytes of one, several as `multipart/form-data`, or JSON with Base64 |
//! | `GET /v1/model` | what is served: classes, preprocessing, detector, where it comes from |
//! | `GET /v1/drift` | whether the last scores still look like those of the held-out images |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /healthz`, `GET /readyz` | whether the process lives, and takes requests |
//! | `GET /openapi.json` | a description of all this that clients can be generated from |
//! | `GET /` | a page to drop photos on |
//!
//! Images of requests that come at the same time are computed as one batch. Whatever a client sends, what is held
//! of it is bounded: the length of a body, the pixels of an image, requests at work, images that wait, connections,
//! and the time that each may take. A request beyond the bounds is refused with what to do; one that was taken is
//! answered, when the process is told to end as well.
//!
//! ```no_run
//! use isomax_bundle::Bundle;
//! use isomax_serve::{Config, Service};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = Bundle::load("photos.safetensors")?;
//! let service = Service::new(&bundle, Config::default())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! service.run(listener, async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod config;
mod connections;
mod encoded;
mod engine;
mod error;
mod figures;
mod page;
mod predict;
mod routes;
mod service;

pub use config::Config;
pub use service::{Service, ServiceError};

/// The bundle that is served if no other is named: ResNet-20 with IsoMax+ on CIFAR-10, to try things with.
pub const BUILT_IN: &[u8] = include_bytes!("../model.safetensors");
