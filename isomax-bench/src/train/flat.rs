//! Values of a network in one row, so that ranks exchange them at once.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use isomax_burn::optim::ModulePath;

/// The gradients of a network, appended to `values`: for each parameter that takes one, in the order of the network,
/// whether it has one, and its values. Where there is none they are zeros, so that rows of the same network are
/// equally long whatever their batches took part in.
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
            let param_values = param.val();
            if !param_values.is_require_grad() {
                return;
            }
            match self.gradients.get::<B::InnerBackend, D>(param.id) {
                Some(gradient) => {
                    self.values.push(1.0);
                    push(gradient, self.values);
                }
                None => {
                    let zeros = 1 + param_values.shape().num_elements();
                    self.values.extend(std::iter::repeat_n(0.0, zeros));
                }
            }
        }
    }

    network.visit(&mut Push { gradients, values });
}

/// The other way: the gradients of a sum of such rows, of all parameters that had one in any of them.
pub(super) fn gradients_of<B: AutodiffBackend, N: Module<B>>(
    network: &N,
    values: &[f32],
) -> GradientsParams {
    struct Take<'a> {
        values: &'a [f32],
        gradients: GradientsParams,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let param_values = param.val();
            let [count, rest @ ..] = self.values else { return };
            if !param_values.is_require_grad() {
                return;
            }
            self.values = rest;
            let gradient = take(&mut self.values, param_values.inner());
            if *count > 0.0 {
                self.gradients.register::<B::InnerBackend, D>(param.id, gradient);
            }
        }
    }

    let mut take = Take { values, gradients: GradientsParams::new() };
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

/// The running statistics of batch normalisations: what bears the names that these have in Burn and in PyTorch.
pub(super) fn statistics<B: AutodiffBackend, N: Module<B>>(network: &N) -> Vec<f32> {
    #[derive(Default)]
    struct Push {
        path: ModulePath,
        values: Vec<f32>,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Push {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if is_statistic(&self.path) {
                push(param.val().inner(), &mut self.values);
            }
        }
    }

    let mut push = Push::default();
    network.visit(&mut push);
    push.values
}

/// A network with other running statistics.
pub(super) fn with_statistics<B: AutodiffBackend, N: Module<B>>(network: N, values: &[f32]) -> N {
    struct Take<'a> {
        path: ModulePath,
        values: &'a [f32],
    }

    impl<B: AutodiffBackend> ModuleMapper<B> for Take<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            match is_statistic(&self.path) {
                true => param.map(|old| Tensor::from_inner(take(&mut self.values, old.inner()))),
                false => param,
            }
        }
    }

    network.map(&mut Take { path: ModulePath::default(), values })
}

fn is_statistic(path: &ModulePath) -> bool {
    let name = path.name();
    let own = name.rsplit('.').next().unwrap_or_default();
    matches!(own, "running_mean" | "running_var")
}

/// Values as the bytes that files and messages have them in.
pub(super) fn bytes_of(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// The other way.
pub(super) fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn push<B: Backend, const D: usize>(tensor: Tensor<B, D>, values: &mut Vec<f32>) {
    let data = tensor.into_data();
    match data.as_slice::<f32>() {
        Ok(slice) => values.extend_from_slice(slice),
        // Another type of numbers.
        Err(_) => values.extend(data.iter::<f32>()),
    }
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
        let params = row.len() - isomax_models::num_trainable_params(&network);
        let doubled: Vec<f32> = row.iter().map(|value| value * 2.0).collect();
        let mut back = Vec::new();
        push_gradients(&network, &gradients_of(&network, &doubled), &mut back);
        assert_eq!(back.len(), row.len());
        // All but the flags, one for each parameter.
        let same = back.iter().zip(&doubled).filter(|(back, doubled)| back == doubled).count();
        assert!(same >= row.len() - params && params > 10);
        assert!(row.iter().any(|value| *value != 0.0));
    }

    #[test]
    fn rows_are_equally_long_whatever_took_part() {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).init::<Trained>(&device);
        let weight = network.conv1.weight.id;
        let images = Tensor::ones([2, 3, 32, 32], &device);
        let loss = network.forward(images).powi_scalar(2).sum();
        let mut gradients = GradientsParams::from_grads(loss.backward(), &network);
        let row = |gradients: &GradientsParams| {
            let mut row = Vec::new();
            push_gradients(&network, gradients, &mut row);
            row
        };
        let whole = row(&gradients);
        let (none, missing) = (row(&GradientsParams::new()), {
            gradients.remove::<Flex, 4>(weight);
            row(&gradients)
        });
        assert_eq!([none.len(), missing.len()], [whole.len(); 2]);
        assert!(gradients_of(&network, &none).is_empty());
        // One rank has it, the other does not.
        let sum: Vec<f32> = whole.iter().zip(&missing).map(|(a, b)| a + b).collect();
        let (once, twice) = (gradients_of(&network, &whole), gradients_of(&network, &sum));
        let of = |gradients: &GradientsParams| {
            gradients.get::<Flex, 4>(weight).map(|gradient| gradient.into_data())
        };
        assert!(of(&once).is_some() && of(&once) == of(&twice));
        assert!(of(&gradients_of(&network, &missing)).is_none());
    }

    #[test]
    fn running_statistics_are_found_by_their_names() {
        let device = Default::default();
        let network = CifarResNetConfig::new(8, 3).init::<Trained>(&device);
        let values = statistics(&network);
        let trained = isomax_models::num_trainable_params(&network);
        // All that is not trained but the temperature.
        assert_eq!(values.len(), network.num_params() - trained - 1);
        let other: Vec<f32> = (0..values.len()).map(|place| place as f32 + 1.0).collect();
        let network = with_statistics(network, &other);
        assert_eq!(statistics(&network), other);
        let mean = network.valid().bn1.running_mean.value().into_data();
        let place = other.iter().position(|value| Some(*value) == mean.iter::<f32>().next());
        assert!(
            place.is_some_and(|place| mean
                .iter::<f32>()
                .eq(other[place..place + 16].iter().copied()))
        );
    }
}
