//! Distances on Burn's backend flex: the same formulation, in one pass over the products, with a backward step of
//! its own that takes two products and one pass over each matrix.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use isomax_kernels::distance::{Gradient, Pairs, backward, combine, distances, squared_norms};

use super::distance::SMALLEST_NORM;
use crate::flex::{
    FlexTensor, contiguous, same, tensor, with_backward, with_gradients, without_gradients,
};

/// Distances between the rows of two matrices, or between their directions, if they are on flex.
pub(super) fn distances_on_flex<B: Backend>(
    rows: &Tensor<B, 2>,
    prototypes: &Tensor<B, 2>,
    kind: Gradient,
) -> Option<Tensor<B, 2>> {
    if let Some(matrices) = without_gradients(rows).zip(without_gradients(prototypes)) {
        let operands = Operands::new(matrices.into(), kind);
        return same(tensor::<2>(operands.distances()));
    }
    let (rows, prototypes) = (with_gradients(rows)?, with_gradients(prototypes)?);
    let matrices = [contiguous(&rows.primitive)?, contiguous(&prototypes.primitive)?];
    let operands = Operands::new(matrices, kind);
    let output = operands.distances();
    let state = (operands, output.clone());
    same(with_backward::<2, 2, _>(Distances, [rows, prototypes], state, output))
}

/// Rows and prototypes, each with its squared norms and factors.
#[derive(Debug, Clone)]
struct Operands {
    matrices: [FlexTensor; 2],
    factors: [Vec<f32>; 2],
    norms: [Vec<f32>; 2],
    kind: Gradient,
}

impl Operands {
    fn new(matrices: [FlexTensor; 2], kind: Gradient) -> Self {
        let norms = matrices.each_ref().map(|matrix| {
            let [_, width] = matrix.layout().shape().dims();
            squared_norms(matrix.storage(), width)
        });
        let smallest = ((SMALLEST_NORM * SMALLEST_NORM) as f32).max(f32::MIN_POSITIVE);
        let factor = |&norm: &f32| if norm < smallest { smallest } else { norm }.sqrt().recip();
        let (factors, norms) = match kind {
            Gradient::OfValues => (norms.each_ref().map(|norms| vec![1.0; norms.len()]), norms),
            Gradient::OfDirections => {
                let factors = norms.each_ref().map(|norms| norms.iter().map(factor).collect());
                let scaled = |norms: &[f32], factors: &[f32]| {
                    norms.iter().zip(factors).map(|(norm, factor)| norm * factor * factor).collect()
                };
                let [of_rows, of_prototypes]: &[Vec<f32>; 2] = &factors;
                let norms = [scaled(&norms[0], of_rows), scaled(&norms[1], of_prototypes)];
                (factors, norms)
            }
        };
        Self { matrices, factors, norms, kind }
    }

    fn pairs(&self) -> Pairs<'_> {
        let [_, num_features] = self.matrices[0].layout().shape().dims();
        Pairs {
            num_features,
            rows: self.matrices[0].storage(),
            row_factors: &self.factors[0],
            row_norms: &self.norms[0],
            prototypes: self.matrices[1].storage(),
            prototype_factors: &self.factors[1],
            prototype_norms: &self.norms[1],
        }
    }

    fn tensors(&self) -> [Tensor<Flex, 2>; 2] {
        self.matrices.clone().map(tensor)
    }

    fn distances(&self) -> FlexTensor {
        let [rows, prototypes] = self.tensors();
        let mut values = product(rows, prototypes.transpose());
        distances(self.pairs(), values.storage_mut());
        values
    }
}

fn product(a: Tensor<Flex, 2>, b: Tensor<Flex, 2>) -> FlexTensor {
    a.matmul(b).into_primitive().tensor().to_contiguous()
}

#[derive(Debug)]
struct Distances;

impl Backward<Flex, 2> for Distances {
    type State = (Operands, FlexTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (operands, values) = ops.state;
        let shape: [usize; 2] = values.layout().shape().dims();
        let ours = backward(operands.pairs(), values.storage(), upstream.storage(), operands.kind);
        let weights = tensor::<2>(crate::flex::primitive(ours.weights, shape));
        let [rows, prototypes] = operands.tensors();
        let [of_rows, of_prototypes] = ops.parents;
        if let Some(node) = of_rows {
            let mut gradient = product(weights.clone(), prototypes);
            combine(&ours.row_shares, operands.pairs().rows, gradient.storage_mut());
            gradients.register::<Flex>(node.id, gradient);
        }
        if let Some(node) = of_prototypes {
            let mut gradient = product(weights.transpose(), rows);
            combine(&ours.prototype_shares, operands.pairs().prototypes, gradient.storage_mut());
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}
