//! How long messages take.

use std::fmt;

use crate::worker::Measured;

/// A network between ranks: a message of so many bytes takes the latency and the bytes divided by the bandwidth.
#[derive(Debug)]
pub struct Link {
    /// Bytes per second.
    bandwidth: f64,
    /// Seconds.
    latency: f64,
}

impl Link {
    pub fn new(bandwidth: f64, latency: f64) -> Self {
        Self { bandwidth, latency }
    }

    /// As two ranks find it, whose sum is one message each way.
    pub fn of(measured: &Measured) -> Self {
        let of_bytes = (measured.sum_of_gradients - measured.sum_of_one).max(1e-9);
        Self::new(measured.gradient_bytes() / of_bytes, measured.sum_of_one)
    }

    /// Seconds of a message.
    fn message(&self, bytes: f64) -> f64 {
        self.latency + bytes / self.bandwidth
    }

    /// Seconds in which ranks sum up so many bytes: by the quicker of the two ways that MPI chooses from (Thakur,
    /// Rabenseifner and Gropp, 2005). In doubling groups all bytes travel at each of log2(n) rounds; in a ring a
    /// share of 1/n at each of 2 (n − 1).
    fn sum(&self, ranks: usize, bytes: f64) -> f64 {
        if ranks < 2 {
            return 0.0;
        }
        let count = ranks as f64;
        let doubling = count.log2().ceil() * self.message(bytes);
        let ring = 2.0 * (count - 1.0) * self.message(bytes / count);
        doubling.min(ring)
    }

    /// Seconds of a step of so many ranks, of what one rank by itself takes.
    ///
    /// # Arguments
    ///
    /// - `sharing`: ranks that share a processor
    pub fn step(&self, one: &Measured, ranks: usize, sharing: f64) -> f64 {
        // Rank 0 reads what the batches of the others show, one after the other.
        let shown = (ranks - 1) as f64 * self.message(one.shown_bytes);
        one.step * sharing + self.sum(ranks, one.gradient_bytes()) + shown
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gigabits, micros) = (self.bandwidth * 8e-9, self.latency * 1e6);
        write!(f, "{gigabits:.0} Gbit/s, {} µs", (micros * 10.0).round() / 10.0)
    }
}
