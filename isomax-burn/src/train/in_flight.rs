//! Counts the outputs that the metric thread has not finished with.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the end of an epoch waits for a metric thread that is at work.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits for one to appear. Where outputs are only collected there is none.
const GRACE: Duration = Duration::from_secs(1);

/// A counter of living [`Receipt`]s that can be waited on.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Living receipts.
    count: usize,
    /// Whether anyone has begun to process an output.
    is_processed: bool,
}

/// Lives as long as an output is being processed.
#[derive(Debug)]
pub(super) struct Receipt(InFlight);

impl Receipt {
    /// Tells that the output is being processed, so that waiting for it makes sense.
    pub(super) fn acknowledge(&self) {
        self.0.state().is_processed = true;
        self.0.0.changed.notify_all();
    }
}

impl InFlight {
    pub(super) fn receipt(&self) -> Receipt {
        self.state().count += 1;
        Receipt(self.clone())
    }

    /// Waits until no receipt is alive, or for a moment only if nobody processes outputs.
    pub(super) fn settle(&self) {
        let state = self.wait(GRACE, |state| state.count > 0 && !state.is_processed);
        if !state.is_processed {
            return;
        }
        drop(state);
        let state = self.wait(PATIENCE, |state| state.count > 0);
        if state.count > 0 {
            log::warn!(
                "{} validation outputs are still held after {PATIENCE:?}; the values of this \
                 epoch may miss them",
                state.count
            );
        }
    }

    fn wait(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = self.0.changed.wait_timeout_while(self.state(), limit, |state| holds(state));
        waiting.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.0.state().count -= 1;
        self.0.0.changed.notify_all();
    }
}
