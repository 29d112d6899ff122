//! How long steps tell how far they are.

use std::sync::Arc;

/// Is told how far a long step is. Steps may tell it from several threads.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use isomax_bench::progress::Progress;
///
/// #[derive(Default)]
/// struct Count(AtomicU64);
///
/// impl Progress for Count {
///     fn start(&self, total: u64, what: &str) {
///         println!("{what}: {total}");
///     }
///
///     fn advance(&self, count: u64) {
///         self.0.fetch_add(count, Ordering::Relaxed);
///     }
///
///     fn finish(&self) {}
/// }
/// ```
pub trait Progress: Send + Sync {
    /// A step begins.
    ///
    /// # Arguments
    ///
    /// - `total`: how much there is to do
    /// - `what`: what is done, such as `evaluating svhn`
    fn start(&self, total: u64, what: &str);

    /// So much more of it is done.
    fn advance(&self, count: u64);

    /// The step has ended.
    fn finish(&self);
}

/// Tells nobody.
pub fn silent() -> Arc<dyn Progress> {
    struct Silent;

    impl Progress for Silent {
        fn start(&self, _total: u64, _what: &str) {}

        fn advance(&self, _count: u64) {}

        fn finish(&self) {}
    }

    Arc::new(Silent)
}
