//! The thread that owns the network: images come by a bounded queue, those that come together are computed as one
//! batch.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use isomax_backend::InferenceBackend;
use isomax_bundle::{Predictor, images_at_once};
use isomax_burn::Decision;
use isomax_models::Model;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::figures::Figures;

pub type Network = Predictor<InferenceBackend, Model<InferenceBackend>>;

/// Why an image has no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The network overflows on it.
    NotFinite,
    /// The computation broke down.
    Broken,
}

type Reply = Result<Decision, Failure>;

struct Job {
    pixels: Vec<u8>,
    reply: oneshot::Sender<Reply>,
}

/// The way to the thread. When it is dropped, what waits is still computed, and the thread ends.
pub struct Engine {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    figures: Arc<Figures>,
}

/// Why an image is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// The queue is full.
    Full,
    /// The thread has ended.
    Gone,
}

impl Engine {
    pub fn start(network: Arc<Network>, config: &Config, figures: Arc<Figures>) -> Self {
        let (queue, jobs) = sync_channel(config.max_queue.max(1));
        let size = [network.preprocessing().size as usize; 2];
        let max_batch = config.max_batch.unwrap_or_else(|| images_at_once(size, BATCH));
        let worker = Worker {
            network,
            jobs,
            max_batch,
            delay: config.batch_delay,
            figures: figures.clone(),
        };
        let thread = thread::spawn(move || worker.run());
        Self { queue: Some(queue), thread: Some(thread), figures }
    }

    /// Puts an image into the queue.
    pub fn submit(&self, pixels: Vec<u8>) -> Result<oneshot::Receiver<Reply>, SubmitError> {
        let (reply, decision) = oneshot::channel();
        let Some(queue) = &self.queue else { return Err(SubmitError::Gone) };
        self.figures.waiting.inc();
        let error = match queue.try_send(Job { pixels, reply }) {
            Ok(()) => return Ok(decision),
            Err(TrySendError::Full(_)) => SubmitError::Full,
            Err(TrySendError::Disconnected(_)) => SubmitError::Gone,
        };
        self.figures.waiting.dec();
        Err(error)
    }

    /// Whether there is a thread that computes.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It catches its own panics.
            let _ = thread.join();
        }
    }
}

/// Images that are computed at once, of 32 × 32 pixels.
const BATCH: usize = 64;

struct Worker {
    network: Arc<Network>,
    jobs: Receiver<Job>,
    max_batch: usize,
    delay: std::time::Duration,
    figures: Arc<Figures>,
}

impl Worker {
    fn run(self) {
        while let Ok(first) = self.jobs.recv() {
            let mut batch = self.collect(first);
            self.figures.waiting.dec_by(batch.len() as i64);
            // Whoever asked for the others is gone: they cost no time, and count for nothing.
            batch.retain(|job| !job.reply.is_closed());
            if batch.is_empty() {
                continue;
            }
            self.figures.batches.observe(batch.len() as f64);
            let (pixels, replies): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|job| (job.pixels, job.reply)).unzip();
            for (reply, decision) in replies.into_iter().zip(self.decide(&pixels)) {
                if let Ok(decision) = &decision {
                    self.figures.count(decision);
                }
                // Whoever asked may have gone.
                let _ = reply.send(decision);
            }
        }
    }

    /// The images that are there, and those that come within the delay.
    fn collect(&self, first: Job) -> Vec<Job> {
        let mut batch = vec![first];
        let end = Instant::now() + self.delay;
        while batch.len() < self.max_batch {
            match self.jobs.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }

    fn decide(&self, pixels: &[Vec<u8>]) -> Vec<Reply> {
        let images: Vec<&[u8]> = pixels.iter().map(Vec::as_slice).collect();
        // A library below may panic, and must not end the service.
        let decided = panic::catch_unwind(AssertUnwindSafe(|| self.network.decide(&images)));
        match decided {
            Ok(Ok(decisions)) => {
                decisions.into_iter().map(|decision| decision.ok_or(Failure::NotFinite)).collect()
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the detector refuses the logits");
                vec![Err(Failure::Broken); pixels.len()]
            }
            Err(_) => {
                tracing::error!(images = pixels.len(), "the network broke down on a batch");
                vec![Err(Failure::Broken); pixels.len()]
            }
        }
    }
}
