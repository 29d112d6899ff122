//! Learner hooks: values of whole epochs, exact, wherever Burn's Learner uses them.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::backend::{Autodiff, Flex};
use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::optim::SgdConfig;
use burn::prelude::*;
use burn::tensor::backend::AutodiffBackend;
use burn::train::checkpoint::{
    ComposedCheckpointingStrategy, KeepLastNCheckpoints, MetricCheckpointingStrategy,
};
use burn::train::metric::store::{Aggregate, Direction, EventStoreClient, Split};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    ClassificationOutput, EarlyStoppingStrategy, InferenceStep, Learner,
    MetricEarlyStoppingStrategy, StoppingCondition, SupervisedTraining, TrainOutput, TrainStep,
};
use isomax_burn::metrics::OodMetrics;
use isomax_burn::train::{
    EpochRenderer, OodBatch, OodDataLoader, OodOutput, OodSetError, OodTraining, SyncMetricLogger,
};
use isomax_burn::{IsoMaxLossConfig, IsoMaxPlusHead, IsoMaxPlusHeadConfig, Score};

use crate::support::device;

type Training = Autodiff<Flex>;
type Item = ([f32; 2], i64);

#[derive(Clone, Debug)]
struct Batch<B: Backend> {
    inputs: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
}

#[derive(Clone)]
struct Batches;

impl<B: Backend> Batcher<B, Item, Batch<B>> for Batches {
    fn batch(&self, items: Vec<Item>, device: &B::Device) -> Batch<B> {
        let inputs: Vec<f32> = items.iter().flat_map(|(input, _)| *input).collect();
        let targets: Vec<i64> = items.iter().map(|(_, target)| *target).collect();
        Batch {
            inputs: Tensor::<B, 1>::from_floats(inputs.as_slice(), device)
                .reshape([items.len(), 2]),
            targets: Tensor::from_ints(targets.as_slice(), device),
        }
    }
}

#[derive(Module, Debug)]
struct Net<B: Backend> {
    hidden: nn::Linear<B>,
    head: IsoMaxPlusHead<B>,
}

impl<B: Backend> Net<B> {
    fn new(device: &B::Device) -> Self {
        // Random numbers are drawn by other tests as well, at the same time.
        let values = |count: usize, seed: usize| -> Vec<f32> {
            let bits = |at: usize| (at + 1).wrapping_mul(2_654_435_761).wrapping_mul(seed) >> 7;
            (0..count).map(|at| (bits(at) % 1_000) as f32 / 700.0 - 0.7).collect()
        };
        let matrix = |shape: [usize; 2], seed| {
            let values = TensorData::new(values(shape[0] * shape[1], seed), shape);
            Param::from_tensor(Tensor::<B, 2>::from_data(values, device))
        };
        let mut hidden = nn::LinearConfig::new(2, 8).init(device);
        hidden.weight = matrix([2, 8], 3);
        let bias = Tensor::from_floats(values(8, 5).as_slice(), device);
        hidden.bias = Some(Param::from_tensor(bias));
        let mut head = IsoMaxPlusHeadConfig::new(8, 2).init(device);
        head.prototypes = matrix([2, 8], 7);
        Self { hidden, head }
    }

    fn logits(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
        self.head.forward(self.hidden.forward(inputs).tanh())
    }

    fn classify(&self, batch: Batch<B>) -> ClassificationOutput<B> {
        let logits = self.logits(batch.inputs);
        let loss = IsoMaxLossConfig::new().init().forward(logits.clone(), batch.targets.clone());
        ClassificationOutput::new(loss, logits, batch.targets)
    }
}

impl<B: AutodiffBackend> TrainStep for Net<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    fn step(&self, batch: Batch<B>) -> TrainOutput<ClassificationOutput<B>> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl<B: Backend> InferenceStep for Net<B> {
    type Input = OodBatch<Batch<B>>;
    type Output = OodOutput<B>;

    fn step(&self, batch: OodBatch<Batch<B>>) -> OodOutput<B> {
        batch.evaluate(|id| self.classify(id), |ood| self.logits(ood.inputs))
    }
}

/// Two noisy classes, left and right.
fn id(count: usize) -> Vec<Item> {
    let jitter = |i: usize| ((i * 37 % 101) as f32 / 101.0 - 0.5) * 2.4;
    (0..count)
        .map(|i| ([(i % 2) as f32 * 2.0 - 1.0 + jitter(i), jitter(i + 13)], (i % 2) as i64))
        .collect()
}

/// Samples above both classes; the labels are nonsense that nothing may read.
fn others(count: usize, height: f32) -> Vec<Item> {
    id(count).into_iter().map(|([x, y], _)| ([x / 2.0, y + height], 99)).collect()
}

fn loader<B: Backend>(items: &[Item], batch: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
    DataLoaderBuilder::new(Batches).batch_size(batch).build(InMemDataset::new(items.to_vec()))
}

fn mixed<B: Backend>() -> OodDataLoader<B, Batch<B>> {
    OodDataLoader::new(loader(&id(50), 8))
        .with_set("near", loader(&others(21, 1.0), 8))
        .unwrap()
        .with_set("far", loader(&others(170, 3.0), 16))
        .unwrap()
}

#[test]
fn loader_delivers_everything_once_and_marks_the_end() {
    let loader = mixed::<Flex>();
    let mut iterator = loader.iter();
    let (mut rows, mut last) = (HashMap::<String, usize>::new(), Vec::new());
    while let Some(batch) = iterator.next() {
        *rows.entry("id".into()).or_default() += batch.id().targets.dims()[0];
        for (name, batch) in batch.ood() {
            *rows.entry(name.into()).or_default() += batch.targets.dims()[0];
        }
        if last.is_empty() {
            assert_eq!(
                batch.ood().map(|(name, _)| name).collect::<Vec<_>>(),
                ["near", "far", "far"]
            );
        }
        last.push(batch.is_last());
        let progress = iterator.progress();
        assert_eq!(progress.items_processed, rows.values().sum::<usize>());
        assert_eq!(progress.items_total, 50 + 21 + 170);
    }
    assert_eq!(rows, HashMap::from([("id".into(), 50), ("near".into(), 21), ("far".into(), 170)]));
    assert_eq!(last, [false, false, false, false, false, false, true]);
    let device = device();
    let moved = loader.to_device(&device);
    assert_eq!((moved.num_items(), moved.iter().count()), (241, 7));
    let half = loader.slice(25, 50);
    assert_eq!(half.num_items(), 25 + 11 + 85);
}

#[test]
fn sets_come_every_so_many_epochs_counted_through_a_resume() {
    let epochs_with_sets = |done: usize| -> Vec<bool> {
        let loader = mixed::<Flex>().every(3).after_epoch(done);
        let has_sets = |_| loader.iter().any(|batch| batch.ood().next().is_some());
        (0..6).map(has_sets).collect()
    };
    let expected = [false, false, true, false, false, true];
    assert_eq!(epochs_with_sets(0), expected);
    assert_eq!(epochs_with_sets(2), [&expected[2..], &expected[..2]].concat());
}

#[test]
fn sets_need_samples_and_names_of_their_own() {
    let one = || OodDataLoader::<Flex, _>::new(loader(&id(4), 2));
    let empty = one().with_set("void", loader(&[], 2)).err().unwrap();
    assert_eq!(empty, OodSetError::Empty("void".into()));
    for name in ["", " ", "svhn/test", "a\\b", "line\nbreak"] {
        let error = one().with_set(name, loader(&id(2), 2)).err().unwrap();
        assert_eq!(error, OodSetError::InvalidName(name.into()));
    }
    let twice = mixed::<Flex>().with_set("far", loader(&id(2), 2)).err().unwrap();
    assert_eq!(twice.to_string(), "there are two OOD sets named 'far'");
}

/// What the hooks must report after an epoch: scores of the whole sets, from a model that is
/// evaluated by hand.
fn by_hand(model: &Net<Flex>) -> HashMap<String, f64> {
    let device = device();
    let scores = |items: &[Item]| -> Vec<f32> {
        let batch: Batch<Flex> = Batches.batch(items.to_vec(), &device);
        Score::MDS.compute(model.logits(batch.inputs)).into_data().iter().collect()
    };
    let inside = scores(&id(50));
    let mut values = HashMap::new();
    for (name, items) in [("near", others(21, 1.0)), ("far", others(170, 3.0))] {
        let metrics = OodMetrics::from_scores(&inside, &scores(&items)).unwrap();
        values.insert(format!("{name} AUROC"), 100.0 * metrics.auroc);
        values.insert(format!("{name} TNR@95TPR"), 100.0 * metrics.tnr_at_95_tpr);
        values.insert(format!("{name} FPR95"), 100.0 * metrics.fpr_at_95_tpr);
    }
    let all: Batch<Flex> = Batches.batch(id(50), &device);
    let targets = all.targets.clone();
    let output = model.classify(all);
    let hits = output.output.argmax(1).squeeze_dim::<1>(1).equal(targets).int().sum();
    values.insert("Accuracy".into(), 2.0 * hits.into_scalar() as f64);
    values.insert("Loss".into(), f64::from(output.loss.into_scalar()));
    values
}

/// Notes what early stopping is told after each epoch; stops after the given one.
#[derive(Clone)]
struct Spy {
    seen: Arc<Mutex<Vec<Seen>>>,
    names: Vec<String>,
    stop_after: usize,
}

struct Seen {
    epoch: usize,
    values: HashMap<String, f64>,
    /// The best epoch so far by the first metric.
    best: Option<usize>,
}

impl EarlyStoppingStrategy for Spy {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let value = |name: &String| {
            let value = store.find_metric(name, epoch, Aggregate::Mean, &Split::Valid);
            (name.clone(), value.unwrap_or(f64::NAN))
        };
        let values = self.names.iter().map(value).collect();
        let (first, highest) = (&self.names[0], Direction::Highest);
        let best = store.find_epoch(first, Aggregate::Mean, highest, &Split::Valid);
        self.seen.lock().unwrap().push(Seen { epoch, values, best });
        epoch >= self.stop_after
    }
}

/// A writer that can be read after the training has taken it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Run {
    model: Net<Flex>,
    seen: Vec<Seen>,
    lines: String,
}

fn run(directory: &Path, epochs: usize, learning_rate: f64) -> Run {
    run_after(None, directory, epochs, learning_rate)
}

/// Trains to the given epoch, from the start or from a checkpoint.
fn run_after(done: Option<usize>, directory: &Path, epochs: usize, learning_rate: f64) -> Run {
    let valid = mixed::<Flex>();
    let metrics = valid.metrics(Score::MDS);
    let best = MetricCheckpointingStrategy::new(
        &metrics[0],
        Aggregate::Mean,
        Direction::Highest,
        Split::Valid,
    );
    let names = metrics.iter().map(|m| burn::train::metric::Metric::name(m).to_string());
    let spy = Spy {
        seen: Arc::default(),
        names: names.chain(["Accuracy".into(), "Loss".into()]).collect(),
        stop_after: epochs,
    };
    let (seen, lines) = (spy.seen.clone(), Shared::default());
    let model = Net::<Training>::new(&device());
    let strategy = ComposedCheckpointingStrategy::builder()
        .add(KeepLastNCheckpoints::new(1))
        .add(best)
        .build();
    let mut training = SupervisedTraining::new(directory, loader(&id(64), 8), Arc::new(valid))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .ood_metrics(metrics)
        .with_metric_logger(SyncMetricLogger::new(directory).resuming_after(done.unwrap_or(0)))
        .with_checkpointing_strategy(strategy)
        .with_file_checkpointer(burn::record::NamedMpkFileRecorder::<
            burn::record::FullPrecisionSettings,
        >::new())
        .early_stopping(spy)
        .with_application_logger(None)
        .renderer(EpochRenderer::to(lines.clone()).with_label("test"))
        .num_epochs(epochs + 5);
    if let Some(done) = done {
        training = training.checkpoint(done);
    }
    let result = training.launch(Learner::new(model, SgdConfig::new().init(), learning_rate));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    Run { model: result.model, seen, lines }
}

fn assert_same(what: &str, ours: &HashMap<String, f64>, expected: &HashMap<String, f64>) {
    for (name, expected) in expected {
        let ours = ours[name];
        assert!((ours - expected).abs() < 1e-5, "{what}: {name} is {ours}, expected {expected}");
    }
}

#[test]
fn early_stopping_logs_and_renderer_get_the_values_of_the_whole_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 3, 0.05);
    assert_eq!(run.seen.len(), 3, "early stopping did not stop");
    let expected = by_hand(&run.model);
    assert_same("early stopping", &run.seen[2].values, &expected);

    // The files, read as any other program would: the mean of values weighted with their counts.
    let mut logged = HashMap::new();
    for name in expected.keys() {
        let file =
            directory.path().join("valid/epoch-3").join(format!("{}.log", name.replace(' ', "_")));
        let text = std::fs::read_to_string(&file).unwrap();
        let (mut sum, mut count) = (0.0, 0.0);
        for line in text.lines() {
            let (value, weight) = line.split_once(',').unwrap();
            let (value, weight): (f64, f64) = (value.parse().unwrap(), weight.parse().unwrap());
            sum += value * weight;
            count += weight;
        }
        logged.insert(name.clone(), sum / count);
    }
    assert_same("log files", &logged, &expected);

    let lines: Vec<_> = run.lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[2].starts_with("test · epoch 3/8 · "), "{}", lines[2]);
    for (name, value) in expected.iter().filter(|(name, _)| *name != "Loss") {
        let shown = format!("{name} {value:.2} %");
        assert!(lines[2].contains(&shown), "{shown} is not in {}", lines[2]);
    }
}

/// Fifty epochs are fifty chances for a race between the metric thread and the questions.
#[test]
fn the_best_checkpoint_is_the_best_of_all_epochs() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 50, 0.3);
    let aurocs: Vec<f64> = run.seen.iter().map(|seen| seen.values["near AUROC"]).collect();
    let best = aurocs.iter().copied().fold(f64::MIN, f64::max);
    let epoch = 1 + aurocs.iter().position(|&auroc| auroc == best).unwrap();
    assert_eq!(run.seen[49].best, Some(epoch));
    let mut kept: Vec<_> = std::fs::read_dir(directory.path().join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("model"))
        .collect();
    kept.sort();
    let mut expected = [epoch, 50].map(|epoch| format!("model-{epoch}.mpk")).to_vec();
    expected.sort();
    expected.dedup();
    assert_eq!(kept, expected, "AUROC by epoch: {aurocs:?}");

    let recorder = burn::record::NamedMpkFileRecorder::<burn::record::FullPrecisionSettings>::new();
    let path = directory.path().join("checkpoint").join(format!("model-{epoch}"));
    let model = Net::<Flex>::new(&device()).load_file(path, &recorder, &device()).unwrap();
    assert!((by_hand(&model)["near AUROC"] - best).abs() < 1e-9);
}

/// Epochs between those with the sets have no value: none of them may be the best, or end a training.
#[test]
fn epochs_without_the_sets_keep_the_best_checkpoint() {
    // Of equal epochs the first counts; at learning rate 0 all are equal.
    for (every, epochs, best) in [(1, 4, 1), (2, 6, 2), (3, 8, 3), (5, 4, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let (kept, _) = run_every(every, directory.path(), epochs, None, None);
        assert_eq!(kept, [format!("model-{best}.mpk")], "every {every} epochs");
    }
}

#[test]
fn early_stopping_counts_from_epochs_with_the_sets() {
    for (every, patience, last) in [(1, 2, 3), (2, 1, 4), (2, 2, 4), (2, 3, 6), (3, 1, 6)] {
        let directory = tempfile::tempdir().unwrap();
        let (_, ended) = run_every(every, directory.path(), 12, Some(patience), None);
        assert_eq!(ended, last, "every {every} epochs, patience {patience}");
    }
}

#[test]
fn a_resumed_run_knows_which_epochs_had_the_sets() {
    let directory = tempfile::tempdir().unwrap();
    run_every(2, directory.path(), 3, None, None);
    // Burn's own strategy does not remember what it kept: only the new epochs are its to delete.
    let (kept, ended) = run_every(2, directory.path(), 6, None, Some(3));
    assert_eq!(ended, 6);
    assert!(kept.contains(&"model-2.mpk".to_owned()), "{kept:?}");
}

/// Trains at learning rate 0 with the pair of strategies that the documentation names; which
/// checkpoints are left, and the last epoch.
fn run_every(
    every: usize,
    directory: &Path,
    epochs: usize,
    patience: Option<usize>,
    done: Option<usize>,
) -> (Vec<String>, usize) {
    let valid = mixed::<Flex>().every(every).after_epoch(done.unwrap_or(0));
    let metrics = valid.metrics(Score::MDS);
    let (mean, highest) = (Aggregate::Mean, Direction::Highest);
    let best = MetricCheckpointingStrategy::new(&metrics[0], mean, highest, Split::Valid);
    let stopping = patience.map(|n_epochs| {
        let condition = StoppingCondition::NoImprovementSince { n_epochs };
        MetricEarlyStoppingStrategy::new(
            &metrics[0],
            Aggregate::Mean,
            Direction::Highest,
            Split::Valid,
            condition,
        )
    });
    let lines = Shared::default();
    let recorder = burn::record::NamedMpkFileRecorder::<burn::record::FullPrecisionSettings>::new();
    let keep = ComposedCheckpointingStrategy::builder().add(best);
    // A resumed run needs its last checkpoint.
    let keep = if epochs == 3 { keep.add(KeepLastNCheckpoints::new(1)) } else { keep };
    let mut training = SupervisedTraining::new(directory, loader(&id(64), 8), Arc::new(valid))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .ood_metrics(metrics)
        .with_metric_logger(SyncMetricLogger::new(directory).resuming_after(done.unwrap_or(0)))
        .with_checkpointing_strategy(keep.build())
        .with_file_checkpointer(recorder)
        .with_application_logger(None)
        .renderer(EpochRenderer::to(lines.clone()))
        .num_epochs(epochs);
    if let Some(stopping) = stopping {
        training = training.early_stopping(stopping);
    }
    if let Some(done) = done {
        training = training.checkpoint(done);
    }
    let model = Net::<Training>::new(&device());
    training.launch(Learner::new(model, SgdConfig::new().init(), 0.0));
    let mut kept: Vec<_> = std::fs::read_dir(directory.join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("model"))
        .collect();
    kept.sort();
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    (kept, done.unwrap_or(0) + lines.lines().count())
}

#[test]
fn a_diverged_model_has_no_auroc_and_trains_on() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 2, f64::NAN);
    assert_eq!(run.seen.len(), 2);
    assert!(run.seen.iter().all(|seen| seen.values["near AUROC"].is_nan()));
}

#[test]
fn an_older_run_in_the_directory_is_not_mistaken_for_this_one() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), 4, 0.3);
    let second = run(directory.path(), 2, 0.05);
    assert_eq!(second.seen[0].best, Some(1));
    assert!(second.seen[1].best <= Some(2));
}

#[test]
fn a_resumed_run_goes_on_where_it_stopped() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(whole.path(), 5, 0.05);
    run(parts.path(), 3, 0.05);
    let resumed = run_after(Some(3), parts.path(), 5, 0.05);

    assert_eq!(resumed.seen.iter().map(|seen| seen.epoch).collect::<Vec<_>>(), [4, 5]);
    for (ours, expected) in resumed.seen.iter().zip(&expected.seen[3..]) {
        assert_same("resumed", &ours.values, &expected.values);
        assert_eq!(ours.best, expected.best);
    }
    for epoch in 1..=5 {
        let file = format!("valid/epoch-{epoch}/near_AUROC.log");
        let read = |folder: &Path| std::fs::read_to_string(folder.join(&file)).unwrap();
        assert_eq!(read(parts.path()), read(whole.path()), "epoch {epoch}");
    }
    let from_four = expected.lines.lines().skip(3).map(|line| line.split(" · ").nth(1));
    assert!(resumed.lines.lines().map(|line| line.split(" · ").nth(1)).eq(from_four));
}

/// Outputs that are collected by hand are never processed: the loader must not wait for them long.
#[test]
fn outputs_may_be_kept() {
    let (loader, model) = (mixed::<Flex>(), Net::<Flex>::new(&device()));
    let started = std::time::Instant::now();
    let outputs: Vec<_> = loader.iter().map(|batch| model.step(batch)).collect();
    assert_eq!(outputs.len(), 7);
    assert!(started.elapsed().as_secs() < 30);
}
