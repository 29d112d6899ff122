//! Counts the outputs that the metric thread has not finished with.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the end of an epoch waits. It is reached only if somebody keeps outputs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A counter of living [`Receipt`]s that can be waited on.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Lives as long as an output is being processed.
#[derive(Debug)]
pub(super) struct Receipt(InFlight);

impl InFlight {
    pub(super) fn receipt(&self) -> Receipt {
        *self.count() += 1;
        Receipt(self.clone())
    }

    /// Waits until no receipt is alive.
    pub(super) fn settle(&self) {
        let waiting = self.0.changed.wait_timeout_while(self.count(), PATIENCE, |count| *count > 0);
        let (count, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        if *count > 0 {
            log::warn!(
                "{} validation outputs are still held after {PATIENCE:?}; the values of this \
                 epoch may miss them",
                *count
            );
        }
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.0.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.0.changed.notify_all();
    }
}
