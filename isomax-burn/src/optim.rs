//! Learning rates of their own for parts of a network.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsParams, MultiGradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// One of Burn's optimizers with a share of the learning rate for each group of parameters, as the parameter
/// groups of PyTorch.
///
/// A group is all parameters below a name: of `body`, those of the field `body`, at any depth. Of two groups
/// that hold a parameter, the one with the longer name counts; parameters of no group have the whole learning
/// rate. Those of share 0 stay as they are; to save the time of their gradients as well, see
/// [`Module::no_grad`](burn::module::Module::no_grad).
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, Optimizer, SgdConfig};
/// use burn::tensor::{Tensor, backend::Backend};
/// use isomax_burn::optim::ParameterGroups;
///
/// #[derive(Module, Debug)]
/// struct Net<B: Backend> {
///     body: Linear<B>,
///     head: Linear<B>,
/// }
///
/// # type B = Autodiff<Flex>;
/// # let device = Default::default();
/// let linear = |device| LinearConfig::new(2, 2).init::<B>(device);
/// let net = Net { body: linear(&device), head: linear(&device) };
/// let before = (net.body.weight.to_data(), net.head.weight.to_data());
///
/// let mut optimizer = ParameterGroups::new(SgdConfig::new().init::<B, Net<B>>()).with_share("body", 0.0);
/// let inputs = Tensor::<B, 2>::ones([4, 2], &device);
/// let loss = net.head.forward(net.body.forward(inputs)).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &net);
/// let net = optimizer.step(0.1, net, gradients);
/// assert_eq!(net.body.weight.to_data(), before.0);
/// assert_ne!(net.head.weight.to_data(), before.1);
/// ```
#[derive(Debug, Clone)]
pub struct ParameterGroups<O> {
    optimizer: O,
    /// Names and shares.
    groups: Vec<(String, f64)>,
}

impl<O> ParameterGroups<O> {
    /// An optimizer as it is.
    pub fn new(optimizer: O) -> Self {
        Self { optimizer, groups: Vec::new() }
    }

    /// Gives all parameters below a name a share of the learning rate.
    ///
    /// # Panics
    ///
    /// If the share is negative or not finite.
    pub fn with_share(mut self, name: impl Into<String>, share: f64) -> Self {
        assert!(
            share >= 0.0 && share.is_finite(),
            "A share of the learning rate must be a number of at least 0, got {share}"
        );
        self.groups.push((name.into(), share));
        self
    }

    /// The gradients of each group, taken out of those of all.
    fn split<B: AutodiffBackend, M: AutodiffModule<B>>(
        &self,
        module: &M,
        gradients: &mut GradientsParams,
    ) -> Vec<GradientsParams> {
        let of_groups = self.groups.iter().map(|_| GradientsParams::new()).collect();
        let mut split =
            Split { path: ModulePath::default(), groups: &self.groups, gradients, of_groups };
        module.visit(&mut split);
        split.of_groups
    }
}

impl<O, M, B> Optimizer<M, B> for ParameterGroups<O>
where
    O: Optimizer<M, B>,
    M: AutodiffModule<B>,
    B: AutodiffBackend,
{
    type Record = O::Record;

    fn step(&mut self, rate: f64, mut module: M, mut gradients: GradientsParams) -> M {
        let of_groups = self.split(&module, &mut gradients);
        for (of_group, (_, share)) in of_groups.into_iter().zip(&self.groups) {
            if *share > 0.0 && !of_group.is_empty() {
                module = self.optimizer.step(rate * share, module, of_group);
            }
        }
        self.optimizer.step(rate, module, gradients)
    }

    fn step_multi(&mut self, rate: f64, mut module: M, mut gradients: MultiGradientsParams) -> M {
        let mut of_groups: Vec<MultiGradientsParams> =
            self.groups.iter().map(|_| MultiGradientsParams::default()).collect();
        for (of_device, device) in &mut gradients.grads {
            let split = self.split(&module, of_device);
            for (of_group, split) in of_groups.iter_mut().zip(split) {
                of_group.grads.push((split, *device));
            }
        }
        for (of_group, (_, share)) in of_groups.into_iter().zip(&self.groups) {
            if *share > 0.0 && of_group.grads.iter().any(|(gradients, _)| !gradients.is_empty()) {
                module = self.optimizer.step_multi(rate * share, module, of_group);
            }
        }
        self.optimizer.step_multi(rate, module, gradients)
    }

    fn to_record(&self) -> O::Record {
        self.optimizer.to_record()
    }

    fn load_record(self, record: O::Record) -> Self {
        Self { optimizer: self.optimizer.load_record(record), ..self }
    }
}

/// Where in a module a visit is, as files name it: `blocks.11.bn0.weight`. The kind that an enum has at the moment
/// is no part of the name.
///
/// To be told of [`enter_module`](ModuleVisitor::enter_module) and [`exit_module`](ModuleVisitor::exit_module) of a
/// visitor or a mapper.
#[derive(Debug, Clone, Default)]
pub struct ModulePath(Vec<String>);

impl ModulePath {
    /// Goes into a part.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    /// Comes out of it.
    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    /// The name of where it is.
    pub fn name(&self) -> String {
        self.0.join(".")
    }

    /// The name of what this lies in, empty for the whole.
    pub fn parent(&self) -> String {
        self.0[..self.0.len().saturating_sub(1)].join(".")
    }
}

struct Split<'a> {
    path: ModulePath,
    groups: &'a [(String, f64)],
    gradients: &'a mut GradientsParams,
    of_groups: Vec<GradientsParams>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Split<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let name = self.path.name();
        let groups =
            self.groups.iter().enumerate().filter(|(_, (group, _))| is_below(&name, group));
        let Some((place, _)) = groups.max_by_key(|(_, (group, _))| group.len()) else { return };
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.of_groups[place].register(param.id, gradient);
        }
    }
}

/// Whether a parameter is one of a part of a module, by their names: `a.b.c` is below `a.b`, `a.bc` is not, and
/// all are below the empty name.
pub fn is_below(name: &str, group: &str) -> bool {
    name.strip_prefix(group)
        .is_some_and(|rest| group.is_empty() || rest.is_empty() || rest.starts_with('.'))
}
