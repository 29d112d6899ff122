//! The learning rate of the published experiments.

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;

use super::TrainingConfig;

/// A learning rate that is multiplied by a factor after given epochs, as PyTorch's `MultiStepLR`,
/// with a first epoch at a tenth of it if that is asked for. Burn steps it at every batch.
///
/// ```
/// use burn::lr_scheduler::LrScheduler;
/// use isomax_bench::data::IdSet;
/// use isomax_bench::train::{MultiStepLr, TrainingConfig};
/// use isomax_burn::HeadKind;
///
/// let published =
///     TrainingConfig::published(IdSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let config = TrainingConfig { learning_rate: 1.0, milestones: vec![1], gamma: 0.5, ..published };
/// let mut schedule = MultiStepLr::new(&config, 2); // steps of an epoch
/// let rates: Vec<f64> = (0..4).map(|_| schedule.step()).collect();
/// assert_eq!(rates, [1.0, 1.0, 0.5, 0.5]);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiStepLr {
    learning_rate: f64,
    milestones: Vec<usize>,
    gamma: f64,
    warm_up: bool,
    steps_per_epoch: usize,
    step: usize,
}

impl MultiStepLr {
    /// The schedule of a configuration whose epochs have so many steps.
    pub fn new(config: &TrainingConfig, steps_per_epoch: usize) -> Self {
        Self {
            learning_rate: config.learning_rate,
            milestones: config.milestones.clone(),
            gamma: config.gamma,
            warm_up: config.warm_up,
            steps_per_epoch: steps_per_epoch.max(1),
            step: 0,
        }
    }
}

impl LrScheduler for MultiStepLr {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> f64 {
        let done = self.step / self.steps_per_epoch;
        self.step += 1;
        if self.warm_up && done == 0 {
            return self.learning_rate * 0.1;
        }
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= done).count();
        self.learning_rate * self.gamma.powi(passed as i32)
    }

    fn to_record<B: Backend>(&self) -> usize {
        self.step
    }

    fn load_record<B: Backend>(mut self, step: usize) -> Self {
        self.step = step;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::IdSet;
    use burn::backend::Flex;
    use isomax_burn::HeadKind;
    use isomax_models::Architecture;

    fn schedule(warm_up: bool) -> MultiStepLr {
        let architecture = Architecture::CifarResNet { depth: 20 };
        let mut config = TrainingConfig::published(IdSet::Svhn, architecture, HeadKind::SoftMax);
        config.milestones = vec![2, 3];
        config.warm_up = warm_up;
        MultiStepLr::new(&config, 2)
    }

    fn rates(mut schedule: MultiStepLr, steps: usize) -> Vec<f64> {
        (0..steps).map(|_| (schedule.step() * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn rates_fall_after_their_epochs() {
        let expected = [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001];
        assert_eq!(rates(schedule(false), 9), expected);
        assert_eq!(rates(schedule(true), 4), [0.01, 0.01, 0.1, 0.1]);
    }

    #[test]
    fn a_record_goes_on_where_it_was_made() {
        let mut whole = schedule(false);
        (0..5).for_each(|_| {
            whole.step();
        });
        let resumed = schedule(false).load_record::<Flex>(whole.to_record::<Flex>());
        assert_eq!(rates(resumed, 4), rates(whole, 4));
    }
}
