//! One rank of a measurement.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isomax_bench::backend::{self, Device, TrainingBackend};
use isomax_bench::data::{Images, Normalization};
use isomax_bench::ranks::{Mpi, Ranks};
use isomax_bench::results::Selection;
use isomax_bench::train::{
    ExperimentData, ImageCount, RunFolder, RunOptions, TrainingConfig, train,
};
use isomax_burn::HeadKind;
use isomax_models::{Model, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::{Arguments, Result};

/// What rank 0 notes. Times are medians, in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub ranks: usize,
    /// A whole step of the training.
    pub step: f64,
    /// The part of it in which ranks exchange gradients and wait for each other.
    pub exchange: f64,
    /// Values of the gradients.
    pub gradients: usize,
    /// Bytes of what a batch shows, on their way to rank 0.
    pub shown_bytes: f64,
    /// A sum of a single value, outside of a training.
    pub sum_of_one: f64,
    /// A sum of as many values as there are gradients, outside of a training.
    pub sum_of_gradients: f64,
}

impl Measured {
    pub fn gradient_bytes(&self) -> f64 {
        self.gradients as f64 * size_of::<f32>() as f64
    }
}

/// Ranks of MPI that note when sums began and ended.
#[derive(Debug)]
struct Timed {
    mpi: Arc<Mpi>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Each with the number of its values.
    sums: Vec<(Instant, Instant, usize)>,
    shown: usize,
}

impl Ranks for Timed {
    fn rank(&self) -> usize {
        self.mpi.rank()
    }

    fn count(&self) -> usize {
        self.mpi.count()
    }

    fn local_rank(&self) -> usize {
        self.mpi.local_rank()
    }

    fn sum(&self, values: &mut [f32]) {
        let begin = Instant::now();
        self.mpi.sum(values);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.sums.push((begin, Instant::now(), values.len()));
    }

    fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // The statistics at the end of an epoch are more than what a batch shows.
        if notes.shown == 0 && values.len() > 1 {
            notes.shown = values.len();
        }
        self.mpi.gather(values)
    }

    fn broadcast(&self, message: Option<Vec<u8>>) -> Vec<u8> {
        self.mpi.broadcast(message)
    }
}

/// Sums that are measured outside of a training.
const SUMS: usize = 50;
/// Steps that are not measured: a processor gets up to speed.
const FIRST: usize = 5;

pub fn run(arguments: &Arguments) -> Result<()> {
    Mpi::run(|mpi| measure(arguments, mpi))
}

fn measure(arguments: &Arguments, mpi: Arc<Mpi>) -> Result<()> {
    let timed = Arc::new(Timed { mpi, notes: Mutex::default() });
    train_noise(arguments, &timed)?;
    let (step, exchange, values, shown) = {
        let notes = timed.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = &notes.sums[FIRST..];
        let steps = sums.windows(2).map(|pair| pair[1].1 - pair[0].1);
        let exchanges = sums.iter().map(|(begin, end, _)| *end - *begin);
        let values = sums.first().map_or(0, |(_, _, values)| *values);
        (median(steps), median(exchanges), values, notes.shown)
    };
    let sum = |values: usize| {
        let mut values = vec![0.0; values];
        median((0..SUMS).map(|_| {
            let begin = Instant::now();
            timed.mpi.sum(&mut values);
            begin.elapsed()
        }))
    };
    let measured = Measured {
        ranks: timed.count(),
        step,
        exchange,
        gradients: values,
        shown_bytes: (shown * size_of::<f32>()) as f64,
        sum_of_one: sum(1),
        sum_of_gradients: sum(values),
    };
    if timed.rank() == 0 {
        println!("{}", serde_json::to_string(&measured)?);
    }
    Ok(())
}

/// Trains for an epoch of as many steps as are measured.
fn train_noise(arguments: &Arguments, timed: &Arc<Timed>) -> Result<()> {
    let held_out = 8;
    let batch = usize::from(arguments.batch);
    let steps = usize::from(arguments.steps) + FIRST;
    let side = arguments.network.image_size();
    let images = |count: usize| Images {
        size: [side, side],
        bytes: (0..count * side * side * 3)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8)
            .collect(),
        labels: (0..count).map(|image| (image % 10) as u16).collect(),
        classes: (0..10).map(|class| class.to_string()).collect(),
    };
    let config = TrainingConfig {
        epochs: 1,
        milestones: Vec::new(),
        batch_size: batch,
        validation_images: ImageCount::Images(held_out),
        calibration_images: ImageCount::Images(0),
        stratified: false,
        selection: Selection::Last,
        ..TrainingConfig::own(
            "noise",
            &arguments.network.to_string(),
            HeadKind::IsoMaxPlus,
            Normalization::CIFAR10,
        )
    };
    let train_images = images(steps * batch * timed.count() + held_out);
    let data = ExperimentData::new("noise", train_images, images(held_out), Vec::new(), "noise")?;
    let results = tempfile::tempdir()?;
    let ranks: Arc<dyn Ranks> = timed.clone();
    let folder = RunFolder::open_by(Some(&ranks), results.path(), &config, 1)?;
    let network = ModelConfig::new(arguments.network, 10).with_head(config.head);
    let init = |device: &Device| network.init::<TrainingBackend>(device);
    let options =
        RunOptions { workers: 1, label: "noise".to_owned(), plain: true, ranks: Some(ranks) };
    let name = backend::name();
    train::<TrainingBackend, Model<TrainingBackend>>(
        &config, 1, &data, &folder, &init, &options, &name,
    )?;
    Ok(())
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
