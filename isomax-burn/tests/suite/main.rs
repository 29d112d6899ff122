//! One generic body for every test of tensor code, run on every backend.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

/// Runs generic test functions on flex and ndarray, or on wgpu if asked for.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        #[cfg(not(feature = "test-wgpu"))]
        mod flex {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn::backend::Flex>>(); })+
        }
        #[cfg(not(feature = "test-wgpu"))]
        mod ndarray {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn_ndarray::NdArray>>(); })+
        }
        #[cfg(feature = "test-wgpu")]
        mod wgpu {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn::backend::Wgpu>>(); })+
        }
    };
}

mod detector;
mod drift;
mod fine_tuning;
mod fpr;
mod golden_heads;
mod heads;
mod losses;
mod metrics_golden;
mod metrics_properties;
mod peers;
mod posthoc;
mod posthoc_golden;
mod promises;
mod scores;
mod statistics;
mod support;
#[cfg(feature = "train")]
mod train;
