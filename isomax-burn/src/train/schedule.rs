//! When out-of-distribution sets are due, and how their batches keep pace.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts epochs, and says in which of them the sets are delivered.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The sets are delivered in epochs that this divides.
    every: usize,
    /// Epochs begun so far.
    epoch: AtomicUsize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { every: 1, epoch: AtomicUsize::new(0) }
    }
}

impl Clone for Schedule {
    fn clone(&self) -> Self {
        let epoch = AtomicUsize::new(self.epoch.load(Ordering::Relaxed));
        Self { every: self.every, epoch }
    }
}

impl Schedule {
    pub(super) fn every(self, epochs: usize) -> Self {
        Self { every: epochs.max(1), ..self }
    }

    pub(super) fn after_epoch(self, epoch: usize) -> Self {
        Self { epoch: AtomicUsize::new(epoch), ..self }
    }

    /// Begins an epoch; whether the sets are due in it.
    pub(super) fn begin(&self) -> bool {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        epoch.is_multiple_of(self.every)
    }
}

/// Whether a set of `total` samples, of which `done` are delivered, is behind in-distribution samples
/// of which `id_done` of `id_total` are: the first batch of each set is due at once.
pub(super) fn is_behind(done: usize, total: usize, id_done: usize, id_total: usize) -> bool {
    done * id_total < id_done * total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_due_every_so_many_epochs() {
        let due = |schedule: Schedule| (0..4).map(move |_| schedule.begin()).collect::<Vec<_>>();
        assert_eq!(due(Schedule::default()), [true; 4]);
        assert_eq!(due(Schedule::default().every(2)), [false, true, false, true]);
        assert_eq!(due(Schedule::default().every(2).after_epoch(1)), [true, false, true, false]);
    }

    #[test]
    fn sets_keep_pace() {
        assert!(is_behind(0, 10, 1, 100) && !is_behind(1, 10, 1, 100));
        assert!(is_behind(9, 10, 91, 100) && !is_behind(10, 10, 100, 100));
    }
}
