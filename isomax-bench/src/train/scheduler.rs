//! The learning rate, step by step.

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;

use super::{ScheduleKind, TrainingConfig};

/// The learning rate of a recipe, as PyTorch's `MultiStepLR` or its cosine, with a first epoch at a tenth of it
/// or a rise over several epochs if that is asked for. Burn steps it at every batch.
///
/// ```
/// use burn::lr_scheduler::LrScheduler;
/// use isomax_bench::data::PublishedSet;
/// use isomax_bench::train::{Schedule, TrainingConfig};
/// use isomax_burn::HeadKind;
///
/// let published =
///     TrainingConfig::published(PublishedSet::Cifar10, "resnet-20".parse()?, HeadKind::IsoMaxPlus);
/// let config = TrainingConfig { learning_rate: 1.0, milestones: vec![1], gamma: 0.5, ..published };
/// let mut schedule = Schedule::new(&config, 2); // steps of an epoch
/// let rates: Vec<f64> = (0..4).map(|_| schedule.step()).collect();
/// assert_eq!(rates, [1.0, 1.0, 0.5, 0.5]);
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    learning_rate: f64,
    kind: ScheduleKind,
    milestones: Vec<usize>,
    gamma: f64,
    warm_up: bool,
    warm_up_steps: usize,
    steps_per_epoch: usize,
    /// Of the whole training.
    steps: usize,
    step: usize,
}

impl Schedule {
    /// The schedule of a configuration whose epochs have so many steps.
    pub fn new(config: &TrainingConfig, steps_per_epoch: usize) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1);
        Self {
            learning_rate: config.learning_rate,
            kind: config.schedule,
            milestones: config.milestones.clone(),
            gamma: config.gamma,
            warm_up: config.warm_up,
            warm_up_steps: config.warm_up_epochs * steps_per_epoch,
            steps_per_epoch,
            steps: config.epochs * steps_per_epoch,
            step: 0,
        }
    }

    /// Share of the learning rate at a step, once it has risen.
    fn share(&self, step: usize) -> f64 {
        match self.kind {
            ScheduleKind::MultiStep => {
                let done = step / self.steps_per_epoch;
                let passed = self.milestones.iter().filter(|&&milestone| milestone <= done);
                self.gamma.powi(passed.count() as i32)
            }
            ScheduleKind::Cosine => {
                let falling = self.steps.saturating_sub(self.warm_up_steps).max(1);
                let done = step.saturating_sub(self.warm_up_steps).min(falling);
                0.5 * (1.0 + (core::f64::consts::PI * done as f64 / falling as f64).cos())
            }
        }
    }
}

impl LrScheduler for Schedule {
    /// The step, and how many an epoch has: with another number of ranks it has others.
    type Record<B: Backend> = (usize, usize);

    fn step(&mut self) -> f64 {
        let step = self.step;
        self.step += 1;
        if self.warm_up && step < self.steps_per_epoch {
            return self.learning_rate * 0.1;
        }
        if step < self.warm_up_steps {
            return self.learning_rate * (step + 1) as f64 / self.warm_up_steps as f64;
        }
        self.learning_rate * self.share(step)
    }

    fn to_record<B: Backend>(&self) -> (usize, usize) {
        (self.step, self.steps_per_epoch)
    }

    fn load_record<B: Backend>(mut self, (step, steps_per_epoch): (usize, usize)) -> Self {
        self.step = step * self.steps_per_epoch / steps_per_epoch.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PublishedSet;
    use burn::backend::Flex;
    use isomax_burn::HeadKind;
    use isomax_models::Architecture;

    fn schedule(warm_up: bool) -> Schedule {
        let architecture = Architecture::CifarResNet { depth: 20 };
        let mut config =
            TrainingConfig::published(PublishedSet::Svhn, architecture, HeadKind::SoftMax);
        config.milestones = vec![2, 3];
        config.warm_up = warm_up;
        Schedule::new(&config, 2)
    }

    fn rates(mut schedule: Schedule, steps: usize) -> Vec<f64> {
        (0..steps).map(|_| (schedule.step() * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn rates_fall_after_their_epochs() {
        let expected = [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001];
        assert_eq!(rates(schedule(false), 9), expected);
        assert_eq!(rates(schedule(true), 4), [0.01, 0.01, 0.1, 0.1]);
    }

    #[test]
    fn a_cosine_falls_to_nothing_after_its_rise() {
        let architecture = Architecture::CifarResNet { depth: 20 };
        let published =
            TrainingConfig::published(PublishedSet::Svhn, architecture, HeadKind::SoftMax);
        let config = TrainingConfig {
            learning_rate: 1.0,
            schedule: ScheduleKind::Cosine,
            epochs: 4,
            ..published
        };
        // 0.5 (1 + cos(π k / 8)), as PyTorch's CosineAnnealingLR has it.
        let expected = [1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806];
        assert_eq!(rates(Schedule::new(&config, 2), 8), expected);
        let rising = TrainingConfig { warm_up_epochs: 1, ..config };
        let expected = [0.5, 1.0, 1.0, 0.933013, 0.75, 0.5, 0.25, 0.066987, 0.0, 0.0];
        assert_eq!(rates(Schedule::new(&rising, 2), 10), expected);
    }

    #[test]
    fn a_record_goes_on_where_it_was_made() {
        let mut whole = schedule(false);
        (0..5).for_each(|_| {
            whole.step();
        });
        let resumed = schedule(false).load_record::<Flex>(whole.to_record::<Flex>());
        assert_eq!(rates(resumed, 4), rates(whole.clone(), 4));
        // After two epochs and a half, of six steps each instead of two.
        let finer = Schedule { steps_per_epoch: 6, ..schedule(false) };
        let finer = finer.load_record::<Flex>(whole.to_record::<Flex>());
        assert_eq!(rates(finer, 4), [0.01, 0.01, 0.01, 0.001]);
    }
}
