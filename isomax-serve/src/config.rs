use std::time::Duration;

use crate::ServiceError;

/// The bounds of a service.
///
/// ```
/// use isomax_serve::Config;
///
/// let config = Config { max_body: 1 << 20, ..Config::default() };
/// assert_eq!(config.max_images, 32);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of the largest body of a request (default: 10 MiB).
    pub max_body: usize,
    /// Images of a request (default: 32).
    pub max_images: usize,
    /// Requests whose bodies are read or whose images are decoded at the same time; more are refused (default:
    /// 128). With the largest body, it bounds the memory for them.
    pub max_requests: usize,
    /// Connections at the same time; more wait until others end (default: 1,024).
    pub max_connections: usize,
    /// Images that wait for the network; requests are refused while it is full (default: 256).
    pub max_queue: usize,
    /// Images that are computed at once; none for what suits the size of the images: 64 for 32 × 32 pixels, 8 for
    /// photos.
    pub max_batch: Option<usize>,
    /// How long the first image of a batch waits for others (default: 2 ms).
    pub batch_delay: Duration,
    /// Time for a whole request, its body included (default: 30 s). When the process is told to end, those at work
    /// have as long.
    pub timeout: Duration,
    /// Time for the head of a request (default: 10 s).
    pub header_timeout: Duration,
    /// Scores that the watch for drift looks at (default: 200).
    pub drift_window: usize,
    /// What clients of `/v1` and `/metrics` must send as `Authorization: Bearer …`; none for no check.
    pub token: Option<String>,
}

impl Config {
    /// Checks that the bounds are ones that can be kept.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        let of_bytes = 1..=MOST_BYTES;
        let of_many = 1..=MOST;
        for (name, value, range) in [
            ("max_body", self.max_body, of_bytes),
            ("max_images", self.max_images, of_many.clone()),
            ("max_requests", self.max_requests, of_many.clone()),
            ("max_connections", self.max_connections, of_many.clone()),
            ("max_queue", self.max_queue, of_many.clone()),
            ("max_batch", self.max_batch.unwrap_or(1), of_many),
        ] {
            if !range.contains(&value) {
                let expected = format!("from {} to {}", range.start(), range.end());
                return Err(ServiceError::OutOfRange { name, expected, found: value.to_string() });
            }
        }
        for (name, value) in [
            ("batch_delay", self.batch_delay),
            ("timeout", self.timeout),
            ("header_timeout", self.header_timeout),
        ] {
            if value > LONGEST {
                let (expected, found) = (format!("at most {LONGEST:?}"), format!("{value:?}"));
                return Err(ServiceError::OutOfRange { name, expected, found });
            }
        }
        Ok(())
    }
}

/// Of what is counted: more than any machine does at a time.
const MOST: usize = 1 << 20;
const MOST_BYTES: usize = u32::MAX as usize;
/// A day: the clock of a system may not reach for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body: 10 << 20,
            max_images: 32,
            max_requests: 128,
            max_connections: 1_024,
            max_queue: 256,
            max_batch: None,
            batch_delay: Duration::from_millis(2),
            timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            drift_window: 200,
            token: None,
        }
    }
}
