//! Which parts of a network are trained, and how fast.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use isomax_burn::OodHead as _;
use isomax_burn::optim::{ModulePath, ParameterGroups, is_below};

use super::{Classifier, TrainError, TrainableNetwork, TrainingConfig};

/// Freezes what a configuration freezes: running statistics, the body, or the part of it before the one that
/// training begins from. No gradient is computed for what is frozen.
///
/// # Errors
///
/// [`TrainError::NoPart`].
pub(super) fn prepare<B: AutodiffBackend, N: TrainableNetwork<B>>(
    config: &TrainingConfig,
    mut network: N,
) -> Result<N, TrainError> {
    if config.frozen_statistics {
        network.freeze_statistics(true);
    }
    let names = names::<B, N>(&network);
    let head = head_of::<B, N>(&network);
    let body = names.iter().filter(|name| !is_below(name, &head));
    let frozen: Vec<&String> = match (config.body_learning_rate, &config.train_from) {
        (Some(0.0), None) => body.collect(),
        (_, None) => return Ok(network),
        (_, Some(part)) => {
            let body: Vec<&String> = body.collect();
            let first = body.iter().position(|name| is_below(name, part));
            let first = first
                .ok_or_else(|| TrainError::NoPart { part: part.clone(), known: parts(&body) })?;
            body[..first].to_vec()
        }
    };
    let frozen = frozen.into_iter().cloned().collect();
    Ok(network.map(&mut Freeze { path: ModulePath::default(), frozen }))
}

/// An optimizer that gives the body the learning rate of its own.
pub(super) fn grouped<B: AutodiffBackend, N: TrainableNetwork<B>, O>(
    config: &TrainingConfig,
    classifier: &Classifier<B, N>,
    optimizer: O,
) -> ParameterGroups<O> {
    let groups = ParameterGroups::new(optimizer);
    match config.body_learning_rate {
        None => groups,
        Some(rate) => {
            let head = head_of::<B, N>(&classifier.network);
            groups
                .with_share(NETWORK, rate / config.learning_rate)
                .with_share(format!("{NETWORK}.{head}"), 1.0)
        }
    }
}

/// The field of a [`Classifier`] that holds the network.
const NETWORK: &str = "network";

/// Names of the parts of a network that training can begin from: the first ones of their names.
fn parts(names: &[&String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for name in names {
        let pieces: Vec<&str> = name.split('.').collect();
        // A block by its number.
        let is_list = pieces.get(1).is_some_and(|piece| piece.parse::<usize>().is_ok());
        let part = pieces[..if is_list { 2 } else { 1 }].join(".");
        if parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    parts.join(", ")
}

/// Name of the module that holds the temperature.
fn head_of<B: Backend, N: super::ImageNetwork<B>>(network: &N) -> String {
    struct Find<I> {
        path: ModulePath,
        wanted: I,
        found: String,
    }

    impl<B: Backend> ModuleVisitor<B> for Find<burn::module::ParamId> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if param.id == self.wanted {
                self.found = self.path.parent();
            }
        }
    }

    let wanted = network.head().temperature_param().id;
    let mut find = Find { path: ModulePath::default(), wanted, found: String::new() };
    network.visit(&mut find);
    find.found
}

/// Names of all parameters, in the order of the network.
fn names<B: Backend, N: Module<B>>(network: &N) -> Vec<String> {
    #[derive(Default)]
    struct Names {
        path: ModulePath,
        names: Vec<String>,
    }

    impl<B: Backend> ModuleVisitor<B> for Names {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<B, D>>) {
            self.names.push(self.path.name());
        }
    }

    let mut names = Names::default();
    network.visit(&mut names);
    names.names
}

struct Freeze {
    path: ModulePath,
    frozen: std::collections::HashSet<String>,
}

impl<B: Backend> ModuleMapper<B> for Freeze {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.frozen.contains(&self.path.name()) {
            true => param.set_require_grad(false),
            false => param,
        }
    }
}
