//! What the service counts, for Prometheus.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use isomax_burn::Decision;
use isomax_burn::drift::{DriftReport, DriftWatch};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A class and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Said {
    class: String,
    verdict: &'static str,
}

/// A request and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    path: &'static str,
    status: u16,
}

type Share = Gauge<f64, AtomicU64>;

pub struct Figures {
    registry: Registry,
    classes: Vec<String>,
    decisions: Family<Said, Counter>,
    requests: Family<Ended, Counter>,
    scores: Histogram,
    seconds: Histogram,
    pub batches: Histogram,
    /// Images that wait for the network.
    pub waiting: Gauge,
    drift: Mutex<DriftWatch>,
    ks_distance: Share,
    ks_p_value: Share,
    rejected: Share,
    alarm: Gauge,
}

impl Figures {
    pub fn new(classes: Vec<String>, held_out: &[f64], drift: DriftWatch) -> Self {
        let buckets = quantiles(held_out);
        let figures = Self {
            registry: Registry::with_prefix("isomax"),
            classes,
            decisions: Family::default(),
            requests: Family::default(),
            scores: Histogram::new(buckets),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            batches: Histogram::new(exponential_buckets(1.0, 2.0, 8)),
            waiting: Gauge::default(),
            drift: Mutex::new(drift),
            ks_distance: Share::default(),
            ks_p_value: Share::default(),
            rejected: Share::default(),
            alarm: Gauge::default(),
        };
        figures.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let decisions = "Decisions by class and verdict";
        registry.register("decisions", decisions, self.decisions.clone());
        registry.register("requests", "Requests by path and status", self.requests.clone());
        let scores = "Scores, high for what is known; buckets are twentieths of the held-out ones";
        registry.register("scores", scores, self.scores.clone());
        let seconds = "Time from the head of a request to its answer";
        registry.register_with_unit(
            "request_duration",
            seconds,
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register("batch_images", "Images that are computed at once", self.batches.clone());
        registry.register("waiting_images", "Images that wait", self.waiting.clone());
        let distance = "Kolmogorov-Smirnov distance of the last scores from the held-out ones";
        registry.register("drift_ks_distance", distance, self.ks_distance.clone());
        registry.register("drift_ks_p_value", "p-value of that distance", self.ks_p_value.clone());
        let rejected = "Share of the last images that is rejected";
        registry.register("drift_rejected", rejected, self.rejected.clone());
        registry.register("drift_alarm", "1 if the watch for drift is alarmed", self.alarm.clone());
        self
    }

    /// Counts a decision, for the watch for drift as well.
    pub fn count(&self, decision: &Decision) {
        let verdict = if decision.in_distribution { "id" } else { "ood" };
        let class = self.classes.get(decision.class).cloned().unwrap_or_default();
        self.decisions.get_or_create(&Said { class, verdict }).inc();
        self.scores.observe(decision.score);
        self.watch().push(decision.score, decision.in_distribution);
    }

    /// Counts a request.
    pub fn request(&self, path: &'static str, status: u16, seconds: f64) {
        self.requests.get_or_create(&Ended { path, status }).inc();
        self.seconds.observe(seconds);
    }

    pub fn drift(&self) -> DriftReport {
        self.watch().report()
    }

    fn watch(&self) -> std::sync::MutexGuard<'_, DriftWatch> {
        // A watch that a panic interrupted is at most one score behind.
        self.drift.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All figures as Prometheus reads them.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let report = self.drift();
        self.ks_distance.set(report.ks_distance.unwrap_or(f64::NAN));
        self.ks_p_value.set(report.ks_p_value.unwrap_or(f64::NAN));
        self.rejected.set(report.rejected.unwrap_or(f64::NAN));
        self.alarm.set(report.alarm.into());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The bounds of twentieths of the held-out scores, each once.
fn quantiles(held_out: &[f64]) -> Vec<f64> {
    let last = held_out.len().saturating_sub(1);
    let mut bounds: Vec<f64> =
        (0..=20).filter_map(|step| held_out.get(last * step / 20).copied()).collect();
    bounds.dedup();
    bounds
}
