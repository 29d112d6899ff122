//! The work of convolutional networks on a CPU, forward and backward, in safe Rust: slices in, vectors out.
//!
//! SIMD instructions are chosen at run time (AVX-512, AVX2, NEON, or none; `ISOMAX_SIMD=none` or `avx2` in the
//! environment chooses less than there is), threads are those of `rayon`.
//! Results do not depend on the number of threads: work is cut into parts that do not depend on it, and
//! sums of parts are taken in their order.
//!
//! Maps are `[batch_size, channels, height, width]`, row after row.

pub mod batch_norm;
pub mod conv;
pub mod cross_entropy;
pub mod distance;
mod finish;
mod peak;
mod simd;

pub use finish::{Activation, Finish, activation_gradient};
pub use peak::peak_flops;
