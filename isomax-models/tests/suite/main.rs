//! The tests of networks, layers and weights. They are one program, since each program that contains the
//! backends takes a minute to build.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

/// Runs generic test functions on flex and ndarray, or on wgpu if asked for.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        #[cfg(not(any(feature = "test-wgpu", feature = "test-tch")))]
        mod flex {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn::backend::Flex>>(); })+
        }
        #[cfg(not(any(feature = "test-wgpu", feature = "test-tch")))]
        mod ndarray {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn_ndarray::NdArray>>(); })+
        }
        #[cfg(feature = "test-wgpu")]
        mod wgpu {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn::backend::Wgpu>>(); })+
        }
        #[cfg(feature = "test-tch")]
        mod tch {
            $(#[test] fn $test() { super::$test::<burn::backend::Autodiff<burn::backend::LibTorch>>(); })+
        }
    };
}

mod layers;
mod networks;
mod odin;
mod pretrained;
mod pytorch_parity;
mod records;
mod store;
mod support;
mod wild_weights;
