//! Hooks for Burn's Learner (feature `train`): AUROC, TNR@95TPR and FPR95 of out-of-distribution
//! validation sets at every epoch, exact, in the progress view, the logs, early stopping and the
//! choice of the best checkpoint. Accuracy and loss count in-distribution samples only.
//!
//! Three changes to a training with [`SupervisedTraining`](burn::train::SupervisedTraining):
//!
//! 1. the validation loader is wrapped in an [`OodDataLoader`] that knows the OOD sets;
//! 2. the model's validation step takes an [`OodBatch`] and gives an [`OodOutput`];
//! 3. the metrics are registered, and a [`SyncMetricLogger`] keeps what they log.
//!
//! ```
//! use std::sync::Arc;
//! use burn::data::dataloader::DataLoader;
//! # use burn::data::{dataloader::{DataLoaderBuilder, batcher::Batcher}, dataset::InMemDataset};
//! use burn::optim::SgdConfig;
//! use burn::prelude::*;
//! use burn::tensor::backend::AutodiffBackend;
//! use burn::train::checkpoint::MetricCheckpointingStrategy;
//! use burn::train::metric::store::{Aggregate, Direction, Split};
//! use burn::train::metric::{AccuracyMetric, LossMetric};
//! use burn::train::{
//!     ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
//! };
//! use isomax_burn::train::{
//!     EpochRenderer, OodBatch, OodDataLoader, OodOutput, OodTraining, SyncMetricLogger,
//! };
//! use isomax_burn::{IsoMaxLossConfig, IsoMaxPlusHead, IsoMaxPlusHeadConfig, Score};
//!
//! # #[derive(Clone, Debug)]
//! # struct Batch<B: Backend> { inputs: Tensor<B, 2>, targets: Tensor<B, 1, Int> }
//! #[derive(Module, Debug)]
//! struct Net<B: Backend> {
//!     hidden: nn::Linear<B>,
//!     head: IsoMaxPlusHead<B>, // was: nn::Linear<B>
//! }
//!
//! impl<B: Backend> Net<B> {
//!     fn logits(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
//!         self.head.forward(burn::tensor::activation::relu(self.hidden.forward(inputs)))
//!     }
//!
//!     fn classify(&self, batch: Batch<B>) -> ClassificationOutput<B> {
//!         let logits = self.logits(batch.inputs);
//!         let loss = IsoMaxLossConfig::new().init(); // was: CrossEntropyLossConfig
//!         let loss = loss.forward(logits.clone(), batch.targets.clone());
//!         ClassificationOutput::new(loss, logits, batch.targets)
//!     }
//! }
//!
//! impl<B: AutodiffBackend> TrainStep for Net<B> {
//!     type Input = Batch<B>;
//!     type Output = ClassificationOutput<B>;
//!
//!     fn step(&self, batch: Batch<B>) -> TrainOutput<ClassificationOutput<B>> {
//!         let output = self.classify(batch);
//!         TrainOutput::new(self, output.loss.backward(), output)
//!     }
//! }
//!
//! impl<B: Backend> InferenceStep for Net<B> {
//!     type Input = OodBatch<Batch<B>>; // was: Batch<B>
//!     type Output = OodOutput<B>; // was: ClassificationOutput<B>
//!
//!     fn step(&self, batch: OodBatch<Batch<B>>) -> OodOutput<B> {
//!         batch.evaluate(|id| self.classify(id), |ood| self.logits(ood.inputs))
//!     }
//! }
//!
//! fn train<B: AutodiffBackend>(
//!     model: Net<B>,
//!     train: Arc<dyn DataLoader<B, Batch<B>>>,
//!     valid: Arc<dyn DataLoader<B::InnerBackend, Batch<B::InnerBackend>>>,
//!     noise: Arc<dyn DataLoader<B::InnerBackend, Batch<B::InnerBackend>>>,
//!     directory: &std::path::Path,
//! ) -> Result<Net<B::InnerBackend>, Box<dyn std::error::Error>> {
//!     let valid = OodDataLoader::new(valid).with_set("noise", noise)?;
//!     let metrics = valid.metrics(Score::MDS);
//!     let best = MetricCheckpointingStrategy::new(
//!         &metrics[0], // the AUROC of the first set
//!         Aggregate::Mean,
//!         Direction::Highest,
//!         Split::Valid,
//!     );
//!     let learner = Learner::new(model, SgdConfig::new().init(), 0.1);
//!     let result = SupervisedTraining::new(directory, train, Arc::new(valid))
//!         .metrics((AccuracyMetric::new(), LossMetric::new()))
//!         .ood_metrics(metrics)
//!         .with_metric_logger(SyncMetricLogger::new(directory))
//!         .with_checkpointing_strategy(best)
//!         .renderer(EpochRenderer::new()) // or none, for Burn's progress view
//!         .num_epochs(2)
//!         .launch(learner);
//!     Ok(result.model)
//! }
//! # #[derive(Clone)]
//! # struct Batches;
//! # impl<B: Backend> Batcher<B, [f32; 3], Batch<B>> for Batches {
//! #     fn batch(&self, items: Vec<[f32; 3]>, device: &B::Device) -> Batch<B> {
//! #         let n = items.len();
//! #         let inputs = Tensor::<B, 1>::from_floats(items.concat().as_slice(), device);
//! #         let classes: Vec<i32> = items.iter().map(|i| i32::from(i[0] > 0.5)).collect();
//! #         let targets = Tensor::from_ints(classes.as_slice(), device);
//! #         Batch { inputs: inputs.reshape([n, 3]), targets }
//! #     }
//! # }
//! # type B = burn::backend::Autodiff<burn::backend::Flex>;
//! # let device = Default::default();
//! # let items: Vec<[f32; 3]> = (0..40).map(|i| [(i % 2) as f32, 1.0, 0.5]).collect();
//! # let others: Vec<[f32; 3]> = (0..40).map(|i| [0.5, -(i as f32), 9.0]).collect();
//! # fn loader<B: Backend>(items: &[[f32; 3]]) -> Arc<dyn DataLoader<B, Batch<B>>> {
//! #     DataLoaderBuilder::new(Batches).batch_size(8).build(InMemDataset::new(items.to_vec()))
//! # }
//! # let model = Net::<B> {
//! #     hidden: nn::LinearConfig::new(3, 4).init(&device),
//! #     head: IsoMaxPlusHeadConfig::new(4, 2).init(&device),
//! # };
//! # let directory = tempfile::tempdir()?;
//! # train(model, loader(&items), loader(&items), loader(&others), directory.path())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why these pieces
//!
//! Burn's metrics are means of values of single batches, its early stopping and checkpoint
//! strategies ask for them while another thread may still be at the last batch, and its file
//! logger may be asked before it has written. An AUROC is no mean of batches, and a best epoch
//! should not depend on a race. So the loader mixes the OOD batches into the in-distribution ones
//! and marks the last of them; the metrics log their running value with weight zero until that
//! batch, so that Burn's weighted mean *is* the value of the whole epoch; the loader ends an epoch
//! only when every output has been processed; and the logger answers from memory.

mod accumulator;
mod in_flight;
mod loader;
mod logger;
mod mean;
mod metric;
mod output;
mod renderer;
mod schedule;
mod sets;

pub use loader::{OodBatch, OodDataLoader};
pub use logger::SyncMetricLogger;
pub use mean::{EpochMeans, WeightedMean};
pub use metric::{OodMeasure, OodMetric, OodTraining};
pub use output::{OodInput, OodOutput};
pub use renderer::EpochRenderer;
pub use sets::OodSetError;
