//! Prototypes that do not begin at random.

use burn::module::Param;
use burn::tensor::{Int, Tensor, backend::Backend};

use super::HeadKind;

/// Why a head cannot have some prototypes. See [`ClassMeans`] for an example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrototypeError {
    /// The head has none: SoftMax learns an affine layer.
    #[error("the head {head} has no prototypes: expected isomax, isomax+ or dismax")]
    NoPrototypes {
        /// Name of the head.
        head: String,
    },
    /// Of another shape than those of the head.
    #[error("expected prototypes of shape {expected:?} (classes, features), found {found:?}")]
    Shape {
        /// `[num_classes, num_features]` of the head.
        expected: [usize; 2],
        /// What came.
        found: [usize; 2],
    },
    /// A class of which no sample was seen has no mean.
    #[error("no sample of class {class} was seen, so that it has no mean")]
    EmptyClass {
        /// The first one.
        class: usize,
    },
    /// A label beyond the classes.
    #[error("expected class indices below {num_classes}, found {found}")]
    Label {
        /// Number of classes.
        num_classes: usize,
        /// The first label that is none.
        found: i64,
    },
    /// A feature is infinite or no number.
    #[error("the features hold a value that is not finite")]
    NotFinite,
}

/// Checks the shape of new prototypes, and puts them into the place of others.
pub(super) fn replace<B: Backend>(
    old: &mut Param<Tensor<B, 2>>,
    new: Tensor<B, 2>,
) -> Result<(), PrototypeError> {
    check(old, &new)?;
    *old = with_values(old.clone(), new);
    Ok(())
}

/// Checks that a head of these prototypes can have some others.
///
/// # Errors
///
/// [`PrototypeError::Shape`].
pub fn check<B: Backend>(
    old: &Param<Tensor<B, 2>>,
    new: &Tensor<B, 2>,
) -> Result<(), PrototypeError> {
    let (expected, found) = (old.dims(), new.dims());
    if expected == found { Ok(()) } else { Err(PrototypeError::Shape { expected, found }) }
}

/// The same parameter with other values.
pub fn with_values<B: Backend, const D: usize>(
    param: Param<Tensor<B, D>>,
    values: Tensor<B, D>,
) -> Param<Tensor<B, D>> {
    param.map(|old| {
        let values = values.to_device(&old.device()).detach();
        values.set_require_grad(old.is_require_grad())
    })
}

/// The mean features of each class, from batches: prototypes for the start of a training.
///
/// With a pretrained body and few samples, prototypes drawn from N(0, 1), as the papers draw them, begin
/// at right angles to features that are never negative, and a short training does not bring them there.
/// Those at the class means classify and detect before the first step. This is *not* the papers'
/// initialisation, and most of what it gives is what the nearest class mean gives by itself.
///
/// Features count as the head sees them: IsoMax as they are, IsoMax+ and DisMax scaled to unit length. Sums
/// are kept in 64 bits.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
/// use isomax_burn::{ClassMeans, HeadKind, IsoMaxPlusHeadConfig, OodHead, PrototypeError};
///
/// let device = Default::default();
/// let features = Tensor::<Flex, 2>::from_floats([[3.0, 0.0], [9.0, 0.0], [0.0, 2.0]], &device);
/// let targets = Tensor::<Flex, 1, Int>::from_ints([0, 0, 1], &device);
/// let mut means = ClassMeans::new(HeadKind::IsoMaxPlus, 2);
/// means.update(features, targets)?;
///
/// let head = IsoMaxPlusHeadConfig::new(2, 2).init::<Flex>(&device);
/// let head = head.with_prototypes(means.prototypes(&device)?)?;
/// let prototypes: Vec<f32> = head.prototypes.val().into_data().iter().collect();
/// assert_eq!(prototypes, [1.0, 0.0, 0.0, 1.0]);
/// # Ok::<(), PrototypeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClassMeans {
    is_unit: bool,
    /// For each class, once the width of the features is known.
    sums: Vec<Vec<f64>>,
    counts: Vec<u64>,
}

impl ClassMeans {
    /// Of no sample yet, for a head of a kind.
    pub fn new(head: HeadKind, num_classes: usize) -> Self {
        Self {
            is_unit: head != HeadKind::IsoMax,
            sums: vec![Vec::new(); num_classes],
            counts: vec![0; num_classes],
        }
    }

    /// Takes a batch in.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, num_features]`, the same width in each batch
    /// - targets: `[batch_size]`, class indices
    ///
    /// # Errors
    ///
    /// [`PrototypeError::Label`], [`PrototypeError::NotFinite`], and [`PrototypeError::Shape`] if the
    /// features have another width than those before. The batch is then not taken in.
    pub fn update<B: Backend>(
        &mut self,
        features: Tensor<B, 2>,
        targets: Tensor<B, 1, Int>,
    ) -> Result<(), PrototypeError> {
        let [_, width] = features.dims();
        let num_classes = self.sums.len();
        let labels: Vec<i64> = targets.into_data().iter().collect();
        let is_class = |label: i64| usize::try_from(label).is_ok_and(|label| label < num_classes);
        if let Some(&found) = labels.iter().find(|label| !is_class(**label)) {
            return Err(PrototypeError::Label { num_classes, found });
        }
        let known = self.sums.iter().map(Vec::len).find(|&known| known > 0);
        if let Some(known) = known.filter(|&known| known != width) {
            let (expected, found) = ([num_classes, known], [labels.len(), width]);
            return Err(PrototypeError::Shape { expected, found });
        }
        let values: Vec<f64> = features.into_data().iter().collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(PrototypeError::NotFinite);
        }
        for (row, label) in values.chunks_exact(width.max(1)).zip(labels) {
            let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            // A feature of nothing but zeros has no direction.
            let scale = if self.is_unit { 1.0 / norm.max(1e-12) } else { 1.0 };
            let class = label as usize;
            let sums = &mut self.sums[class];
            sums.resize(width, 0.0);
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * scale);
            self.counts[class] += 1;
        }
        Ok(())
    }

    /// The means, `[num_classes, num_features]`.
    ///
    /// # Errors
    ///
    /// [`PrototypeError::EmptyClass`].
    pub fn prototypes<B: Backend>(
        &self,
        device: &B::Device,
    ) -> Result<Tensor<B, 2>, PrototypeError> {
        if let Some(class) = self.counts.iter().position(|&count| count == 0) {
            return Err(PrototypeError::EmptyClass { class });
        }
        let width = self.sums.first().map_or(0, Vec::len);
        let means = self.sums.iter().zip(&self.counts);
        let means = means.flat_map(|(sums, &count)| sums.iter().map(move |sum| sum / count as f64));
        let means: Vec<f32> = means.map(|mean| mean as f32).collect();
        let shape = [self.sums.len(), width];
        Ok(Tensor::from_data(burn::tensor::TensorData::new(means, shape), device))
    }
}
