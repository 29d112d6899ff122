//! Connections: how many, how slow, and how they end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::config::Config;

/// Time for the requests of connections that were accepted last.
const LAST_REQUESTS: std::time::Duration = std::time::Duration::from_millis(300);

/// Answers connections until a future ends, and those that are there to their end, as long as that may take.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: &Config,
    end: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(config.max_connections.max(1)));
    let graceful = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        // What waits here waits in the queue of the system.
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        let (stream, slot) = match (accepted, slot) {
            (Ok((stream, _)), Ok(slot)) => (stream, slot),
            (Err(error), _) => {
                // As when there are no more file descriptors: others end, and it goes on.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
            (_, Err(_)) => break,
        };
        // Answers are small, and must not wait for more to say.
        let _ = stream.set_nodelay(true);
        // Whoever does not read its answers must not keep its place.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(config.timeout));
        let service = TowerToHyperService::new(app.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    tracing::info!("ending: no new connections, those at work are answered");
    // Of the last connections, the requests may not have been read yet, and would be closed as idle ones.
    tokio::time::sleep(LAST_REQUESTS).await;
    if tokio::time::timeout(config.timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}
