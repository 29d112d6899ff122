//! How often a drift watch raises a false alarm, and how soon it sees that the world has moved:
//! figures of simulated streams, with a look after each request.
//!
//! ```sh
//! cargo run --example drift_simulation
//! ```
//!
//! It takes a few minutes. There are 500 held-out samples. Their scores, and those of requests
//! without drift, are normally distributed with a standard deviation of 1. False alarms do not
//! depend on the distribution, the number of requests until the alarm does.

use std::error::Error;
use std::f64::consts::TAU;
use std::thread;

use isomax_burn::{DetectorConfig, DriftConfig};

type Failure = Box<dyn Error + Send + Sync>;

const HELD_OUT: usize = 500;
const WINDOWS: [usize; 3] = [100, 200, 500];
/// Streams for each figure, and the requests of each from the change on.
const STREAMS: u64 = 400;
const REQUESTS: usize = 10_000;

/// How requests differ from the held-out samples.
#[derive(Clone, Copy)]
struct World {
    name: &'static str,
    /// How much lower the scores of all requests are, in standard deviations.
    lower: f64,
    /// The share of requests that are OOD: their scores are lower by 3 standard deviations.
    ood: f64,
}

const WORLDS: [World; 7] = [
    World { name: "no drift", lower: 0.0, ood: 0.0 },
    World { name: "lower by 0.25 std", lower: 0.25, ood: 0.0 },
    World { name: "lower by 0.5 std", lower: 0.5, ood: 0.0 },
    World { name: "lower by 1 std", lower: 1.0, ood: 0.0 },
    World { name: "10 % are OOD", lower: 0.0, ood: 0.1 },
    World { name: "30 % are OOD", lower: 0.0, ood: 0.3 },
    World { name: "100 % are OOD", lower: 0.0, ood: 1.0 },
];

fn main() -> Result<(), Failure> {
    println!("Without drift: streams of {REQUESTS} requests with a false alarm, of {STREAMS}.");
    println!("With drift: requests until the alarm, for half of the streams / for 95 % of them.\n");
    print!("{:<18}", "window");
    WINDOWS.iter().for_each(|window| print!("{window:>18}"));
    println!();
    thread::scope(|scope| -> Result<(), Failure> {
        let row = |world| WINDOWS.map(|window| scope.spawn(move || figure(world, window)));
        let rows = WORLDS.map(row);
        for (world, row) in WORLDS.iter().zip(rows) {
            print!("{:<18}", world.name);
            for cell in row {
                print!("{:>18}", cell.join().map_err(|_| "a simulation panicked")??);
            }
            println!();
        }
        Ok(())
    })
}

/// One cell of the table.
fn figure(world: World, window: usize) -> Result<String, Failure> {
    let alarms = (0..STREAMS).map(|stream| first_alarm(world, window, stream));
    let mut alarms = alarms.collect::<Result<Vec<Option<usize>>, Failure>>()?;
    if !world.has_drifted() {
        return Ok(alarms.iter().flatten().count().to_string());
    }
    // Streams without an alarm come last.
    alarms.sort_unstable_by_key(|alarm| alarm.unwrap_or(usize::MAX));
    let within = |percent: usize| match alarms[alarms.len() * percent / 100 - 1] {
        Some(requests) => requests.to_string(),
        None => format!("> {REQUESTS}"),
    };
    Ok(format!("{} / {}", within(50), within(95)))
}

/// After how many requests since the change the alarm comes first.
fn first_alarm(world: World, window: usize, stream: u64) -> Result<Option<usize>, Failure> {
    let mut random = Random(stream);
    let held_out: Vec<f64> = (0..HELD_OUT).map(|_| random.normal()).collect();
    let detector = DetectorConfig::new().fit_scores(&held_out)?;
    let mut watch = DriftConfig::new().with_window(window).watch(&detector)?;
    let threshold = detector.threshold();
    // The change finds a full window.
    let before = if world.has_drifted() { window } else { 0 };
    for _ in 0..before {
        let score = random.normal();
        watch.push(score, score >= threshold);
    }
    for request in 1..=REQUESTS {
        let score = world.score(&mut random);
        watch.push(score, score >= threshold);
        if watch.alarm() {
            return Ok(Some(request));
        }
    }
    Ok(None)
}

impl World {
    fn has_drifted(self) -> bool {
        self.lower > 0.0 || self.ood > 0.0
    }

    fn score(self, random: &mut Random) -> f64 {
        let is_ood = random.uniform() < self.ood;
        random.normal() - if is_ood { 3.0 } else { self.lower }
    }
}

/// A fixed sequence of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    /// In `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0 and standard deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), self.uniform());
        radius * (TAU * angle).cos()
    }
}
