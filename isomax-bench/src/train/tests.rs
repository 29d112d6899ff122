use std::collections::BTreeMap;
use std::sync::LazyLock;

use burn::backend::{Autodiff, Flex};
use burn::train::Interrupter;
use isomax_burn::HeadKind;
use isomax_models::{Architecture, Backbone as _, CifarResNet, CifarResNetConfig, store};

use super::learn::{outcome, patience_is_over};
use super::recorder::HistoryRecorder;
use super::*;
use crate::data::{Augmentation, Images, Normalization, PublishedSet};
use crate::ranks::on_threads;
use crate::results::Epoch;

fn config() -> TrainingConfig {
    let architecture = Architecture::CifarResNet { depth: 8 };
    let published =
        TrainingConfig::published(PublishedSet::Cifar10, architecture, HeadKind::IsoMax);
    TrainingConfig { epochs: 3, ..published }
}

fn history(accuracies: &[f64]) -> History {
    let epoch = |(i, accuracy): (usize, &f64)| Epoch {
        epoch: i + 1,
        valid: [("accuracy".to_owned(), *accuracy)].into(),
        ..Default::default()
    };
    History { digest: None, epochs: accuracies.iter().enumerate().map(epoch).collect() }
}

#[test]
fn a_training_that_was_broken_off_is_not_finished() {
    let outcome = |accuracies: &[f64], interrupter: &Interrupter| {
        let recorder = HistoryRecorder::new(history(accuracies), 10, 1, 1);
        let outcome = outcome(&config(), &recorder, interrupter);
        outcome.into_result().map_err(|error| error.to_string())
    };
    let none = Interrupter::new();
    assert_eq!(outcome(&[1.0, 2.0, 3.0], &none), Ok(history(&[1.0, 2.0, 3.0])));
    assert!(outcome(&[1.0], &none).is_err_and(|error| error.ends_with("by the user")));
    let full = Interrupter::new();
    full.stop(Some("disk full"));
    for accuracies in [&[1.0][..], &[1.0, 2.0, 3.0]] {
        let error = outcome(accuracies, &full);
        assert!(error.is_err_and(|error| error.ends_with("disk full")));
    }
    // As the full-screen view does when it ends.
    full.reset();
    assert!(outcome(&[1.0, 2.0, 3.0], &full).is_err_and(|error| error.ends_with("disk full")));
}

#[test]
fn patience_ends_after_epochs_without_a_better_one() {
    let is_over = |accuracies: &[f64]| patience_is_over(&history(accuracies), Some(2));
    assert!(!is_over(&[]) && !is_over(&[5.0]) && !is_over(&[5.0, 4.0]));
    assert!(is_over(&[5.0, 4.0, 5.0]) && !is_over(&[5.0, 4.0, 6.0]));
    assert!(!patience_is_over(&history(&[5.0, 1.0, 1.0]), None));
}

type Trained = Autodiff<Flex>;
type Weights = BTreeMap<String, Vec<u8>>;

/// Small images, by their bytes, of two classes.
fn images(count: usize, byte: impl Fn(usize) -> u8) -> Images {
    Images {
        size: [32, 32],
        bytes: (0..count * 32 * 32 * 3).map(byte).collect(),
        labels: (0..count).map(|image| (image % 2) as u16).collect(),
        classes: vec!["a".to_owned(), "b".to_owned()],
    }
}

fn small(devices: usize, accumulation: usize) -> TrainingConfig {
    TrainingConfig {
        devices,
        gradient_accumulation: accumulation,
        epochs: 2,
        milestones: vec![1],
        batch_size: 4,
        augmentation: Augmentation::CropAndFlip { padding: 0, flip: false },
        validation_images: ImageCount::Images(4),
        calibration_images: ImageCount::Images(4),
        stratified: false,
        ..TrainingConfig::own("same", "resnet-8", HeadKind::IsoMaxPlus, Normalization::CIFAR10)
    }
}

/// Trains a network whose start is always the same, and gives its weights and its history.
fn trained(
    config: &TrainingConfig,
    train: Images,
    results: &Path,
    ranks: Option<Arc<dyn Ranks>>,
) -> (Weights, History) {
    let devices = config.devices;
    let data = ExperimentData::new("same", train, images(4, |_| 0), Vec::new(), "made up");
    let data = data.expect("the same classes");
    let folder = RunFolder::open_by(ranks.as_ref(), results, config, 1).expect("nobody else's");
    // Drawn once: other tests draw numbers meanwhile. Clones would share their running statistics.
    let network = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
    static START: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let network = CifarResNetConfig::new(8, 2).with_head(HeadKind::IsoMaxPlus);
        let network = network.init::<Flex>(&Default::default());
        network.save_safetensors(file.path()).expect("weights");
        file
    });
    let init = |device: &_| -> CifarResNet<Trained> {
        let mut network = network.init(device);
        network.load_weights(START.path()).expect("weights");
        network
    };
    let options = RunOptions { workers: 1, label: "same".to_owned(), plain: true, ranks };
    let same = || Ok(vec![Default::default(); devices]);
    train_on::<Trained, _>(&same, config, 1, &data, &folder, &init, &options, "flex")
        .expect("a training");
    let mut network = network.init::<Flex>(&Default::default());
    network.load_weights(folder.path().join(results::MODEL)).expect("weights");
    let tensors = store::tensors(&network).expect("values").into_iter();
    let history = results::read(folder.path().join(results::HISTORY)).expect("a history");
    (tensors.map(|tensor| (tensor.name, tensor.bytes)).collect(), history)
}

/// What gradients change.
fn by_gradients(weights: &Weights) -> Vec<(&String, &Vec<u8>)> {
    weights.iter().filter(|(name, _)| !name.contains("running_")).collect()
}

/// The sum of the sizes of the running means of the first layer.
fn size_of_statistics(weights: &Weights) -> f32 {
    let values = weights["bn1.running_mean"].as_chunks().0.iter();
    values.map(|bytes| f32::from_le_bytes(*bytes).abs()).sum()
}

#[test]
fn two_devices_are_as_gradients_of_two_batches() {
    let weights = |devices, accumulation| {
        let results = tempfile::tempdir().expect("a folder");
        // Images that are all the same, so that every batch is.
        let mut same = images(40, |at| (at % 3_072 * 37 % 251) as u8);
        same.labels.fill(1);
        trained(&small(devices, accumulation), same, results.path(), None).0
    };
    let (devices, accumulated, plain) = (weights(2, 1), weights(1, 2), weights(1, 1));
    assert!(by_gradients(&devices) == by_gradients(&accumulated));
    // With twice as many steps something else comes out.
    assert!(by_gradients(&devices) != by_gradients(&plain));
    // The running statistics are those of the first device, which sees half of the batches.
    let size = size_of_statistics;
    assert!(0.0 < size(&devices) && size(&devices) < size(&accumulated));
}

/// Images that all differ.
fn noise() -> Images {
    images(40, |at| (at.wrapping_mul(2_654_435_761) >> 9) as u8)
}

fn by_ranks(count: usize, config: &TrainingConfig, results: &Path) -> (Weights, History) {
    let mut all =
        on_threads(count, |ranks| trained(config, noise(), results, Some(ranks))).into_iter();
    let first = all.next().expect("a rank");
    assert!(all.all(|other| other == first), "ranks read other results");
    first
}

#[test]
fn ranks_are_as_accumulated_gradients() {
    let folder = || tempfile::tempdir().expect("a folder");
    let alone = |accumulation| trained(&small(1, accumulation), noise(), folder().path(), None);
    let (accumulated, expected) = alone(2);
    let (weights, history) = by_ranks(2, &small(1, 1), folder().path());
    assert!(by_gradients(&weights) == by_gradients(&accumulated));
    assert_ne!(weights, alone(1).0);
    // 32 images make eight batches, all of which both have seen.
    for (epoch, expected) in history.epochs.iter().zip(&expected.epochs) {
        assert_eq!((epoch.ranks, expected.ranks), (2, 1));
        let first = |values: &BTreeMap<String, f64>| values["loss"].to_bits();
        assert_eq!(first(&epoch.train), first(&expected.train));
        assert_eq!(epoch.train["accuracy"], expected.train["accuracy"]);
    }
    // Added up in another order.
    let (_, expected) = alone(4);
    let (_, history) = by_ranks(2, &small(1, 2), folder().path());
    for (epoch, expected) in history.epochs.iter().zip(&expected.epochs) {
        let (loss, expected) = (epoch.train["loss"], expected.train["loss"]);
        assert!((loss - expected).abs() < 1e-4 * expected, "{loss} and {expected}");
    }
}

#[test]
fn more_ranks_go_on_where_fewer_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = TrainingConfig { epochs: 3, ..small(1, 1) };
    let (_, two) = by_ranks(2, &long, folder.path());
    let run = folder.path().join("same_resnet-8_isomax+/run-1");
    // As if it had been killed in the third epoch.
    for gone in ["training.json", "model.safetensors", "checkpoint/model-3.mpk"] {
        std::fs::remove_file(run.join(gone)).expect("a file");
    }
    let (_, four) = by_ranks(4, &long, folder.path());
    assert_eq!(four.epochs[..2], two.epochs[..2]);
    assert_eq!(four.epochs.iter().map(|epoch| epoch.ranks).collect::<Vec<_>>(), [2, 2, 4]);
    let training: Training = results::read(run.join(results::TRAINING)).expect("the end");
    assert_eq!(training.recipe.get("ranks").as_deref(), Some("[2,4]"));
    // With another number of steps, but in its third epoch.
    assert_eq!(four.epochs[2].learning_rate, two.epochs[2].learning_rate);
}
