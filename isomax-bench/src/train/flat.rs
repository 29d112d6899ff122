//! Values of a network in one row, so that ranks exchange them at once.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

/// The gradients of a network, one parameter after the other, appended to `values`.
pub(super) fn push_gradients<B: AutodiffBackend, N: Module<B>>(
    network: &N,
    gradients: &GradientsParams,
    values: &mut Vec<f32>,
) {
    struct Push<'a> {
        gradients: &'a GradientsParams,
        values: &'a mut Vec<f32>,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Push<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
                push(gradient, self.values);
            }
        }
    }

    network.visit(&mut Push { gradients, values });
}

/// The other way: gradients with the values of a row, of the same parameters as `like`.
pub(super) fn gradients_of<B: AutodiffBackend, N: Module<B>>(
    network: &N,
    like: &GradientsParams,
    values: &[f32],
) -> GradientsParams {
    struct Take<'a> {
        like: &'a GradientsParams,
        values: &'a [f32],
        gradients: GradientsParams,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(like) = self.like.get::<B::InnerBackend, D>(param.id) {
                let taken = take(&mut self.values, like);
                self.gradients.register::<B::InnerBackend, D>(param.id, taken);
            }
        }
    }

    let mut take = Take { like, values, gradients: GradientsParams::new() };
    network.visit(&mut take);
    take.gradients
}

/// All values of a network, in its own order: in that order a process by itself draws those that were not looked at
/// before.
pub(super) fn all<B: Backend, N: Module<B>>(network: &N) -> Vec<f32> {
    struct Push(Vec<f32>);

    impl<B: Backend> ModuleVisitor<B> for Push {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            push(param.val(), &mut self.0);
        }
    }

    let mut push = Push(Vec::new());
    network.visit(&mut push);
    push.0
}

/// What no gradient changes: running statistics, and parameters that are frozen.
pub(super) fn untrained<B: AutodiffBackend, N: Module<B>>(network: &N) -> Vec<f32> {
    struct Push(Vec<f32>);

    impl<B: AutodiffBackend> ModuleVisitor<B> for Push {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if !param.is_require_grad() {
                push(param.val().inner(), &mut self.0);
            }
        }
    }

    let mut push = Push(Vec::new());
    network.visit(&mut push);
    push.0
}

/// A network with other values of what no gradient changes.
pub(super) fn with_untrained<B: AutodiffBackend, N: Module<B>>(network: N, values: &[f32]) -> N {
    struct Take<'a>(&'a [f32]);

    impl<B: AutodiffBackend> ModuleMapper<B> for Take<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if param.is_require_grad() {
                return param;
            }
            param.map(|old| Tensor::from_inner(take(&mut self.0, old.inner())))
        }
    }

    network.map(&mut Take(values))
}

fn push<B: Backend, const D: usize>(tensor: Tensor<B, D>, values: &mut Vec<f32>) {
    values.extend(tensor.into_data().iter::<f32>());
}

/// The next values, in the shape and type of a tensor.
fn take<B: Backend, const D: usize>(values: &mut &[f32], like: Tensor<B, D>) -> Tensor<B, D> {
    let shape = like.shape();
    let (taken, rest) = values.split_at(shape.num_elements());
    *values = rest;
    let data = TensorData::new(taken.to_vec(), shape).convert_dtype(like.dtype());
    Tensor::from_data(data, &like.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::module::AutodiffModule as _;
    use isomax_models::{Backbone as _, CifarResNetConfig};

    type Trained = Autodiff<Flex>;

    #[test]
    fn values_come_back_where_they_were() {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).init::<Trained>(&device);
        let images = Tensor::ones([2, 3, 32, 32], &device);
        let loss = network.forward(images).powi_scalar(2).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let mut row = Vec::new();
        push_gradients(&network, &gradients, &mut row);
        assert_eq!(row.len(), isomax_models::num_trainable_params(&network));
        let doubled: Vec<f32> = row.iter().map(|value| value * 2.0).collect();
        let mut back = Vec::new();
        push_gradients(&network, &gradients_of(&network, &gradients, &doubled), &mut back);
        assert!(back == doubled && row.iter().any(|value| *value != 0.0));
    }

    #[test]
    fn running_statistics_are_untrained() {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).init::<Trained>(&device);
        let values = untrained(&network);
        let all = network.num_params();
        assert_eq!(values.len(), all - isomax_models::num_trainable_params(&network));
        let other: Vec<f32> = (0..values.len()).map(|place| place as f32 + 1.0).collect();
        let network = with_untrained(network, &other);
        assert_eq!(untrained(&network), other);
        let mean = network.valid().bn1.running_mean.value().into_data();
        let place = other.iter().position(|value| Some(*value) == mean.iter::<f32>().next());
        assert!(
            place.is_some_and(|place| mean
                .iter::<f32>()
                .eq(other[place..place + 16].iter().copied()))
        );
    }
}
