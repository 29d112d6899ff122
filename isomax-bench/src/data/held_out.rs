//! Which images of a training split are held out, and for what.

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

/// The images of a training split, parted: each by its index, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldOut {
    /// To train on.
    pub training: Vec<u32>,
    /// To choose the epoch with.
    pub validation: Vec<u32>,
    /// To fit thresholds and temperatures on: chosen epochs look better on the images that chose
    /// them than on new ones.
    pub calibration: Vec<u32>,
}

impl HeldOut {
    /// Holds images out, the same share of each class for both uses, as near as whole images allow.
    /// The same seed gives the same parts. Nothing if none would be left to train on.
    ///
    /// # Arguments
    ///
    /// - `labels`: the class of each image
    /// - `validation`, `calibration`: how many images to hold out for each use
    pub fn stratified(
        labels: &[u16],
        validation: usize,
        calibration: usize,
        seed: u64,
    ) -> Option<Self> {
        let (images, held_out) = (labels.len(), validation.checked_add(calibration)?);
        let mut order = shuffled(images, held_out, seed)?;
        // Class after class, each in random order: evenly spaced places are an even share of each.
        order.sort_by_key(|&index| labels[index as usize]);
        let mut parts = Self::default();
        let mut next = 0;
        for (place, index) in order.into_iter().enumerate() {
            if next == held_out || place < (2 * next + 1) * images / (2 * held_out) {
                parts.training.push(index);
                continue;
            }
            let is_calibration =
                (next + 1) * calibration / held_out > next * calibration / held_out;
            next += 1;
            let part = if is_calibration { &mut parts.calibration } else { &mut parts.validation };
            part.push(index);
        }
        Some(parts.sorted())
    }

    /// Holds images out whatever their classes, as trainings did before there were strata.
    pub fn random(images: usize, validation: usize, calibration: usize, seed: u64) -> Option<Self> {
        let mut validation_and_more = shuffled(images, validation.checked_add(calibration)?, seed)?;
        let training = validation_and_more.split_off(validation + calibration);
        let calibration = validation_and_more.split_off(validation);
        Some(Self { training, validation: validation_and_more, calibration }.sorted())
    }

    fn sorted(mut self) -> Self {
        for part in [&mut self.training, &mut self.validation, &mut self.calibration] {
            part.sort_unstable();
        }
        self
    }
}

fn shuffled(images: usize, held_out: usize, seed: u64) -> Option<Vec<u32>> {
    if images <= held_out {
        return None;
    }
    let mut indices: Vec<u32> = (0..images as u32).collect();
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    Some(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_image_is_in_one_part_and_every_class_in_all(
            labels in prop::collection::vec(0_u16..5, 2..400),
            shares in (0.0..0.5_f64, 0.0..0.5_f64),
            seed: u64,
        ) {
            let share = |share: f64| (labels.len() as f64 * share) as usize;
            let (validation, calibration) = (share(shares.0), share(shares.1));
            let parts = HeldOut::stratified(&labels, validation, calibration, seed).expect("fewer than all");
            prop_assert_eq!(parts.validation.len(), validation);
            prop_assert_eq!(parts.calibration.len(), calibration);
            let mut all = [&parts.training[..], &parts.validation, &parts.calibration].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
            for class in 0..5 {
                let count = |part: &[u32]| {
                    part.iter().filter(|&&index| labels[index as usize] == class).count() as f64
                };
                let size = labels.iter().filter(|&&label| label == class).count() as f64;
                for (part, wanted) in
                    [(&parts.validation, validation), (&parts.calibration, calibration)]
                {
                    let expected = size * wanted as f64 / labels.len() as f64;
                    prop_assert!((count(part) - expected).abs() < 3.0, "class {}", class);
                }
            }
            let again = HeldOut::stratified(&labels, validation, calibration, seed).expect("fewer than all");
            prop_assert_eq!(again, parts);
        }
    }

    #[test]
    fn a_balanced_split_is_parted_evenly() {
        let labels: Vec<u16> = (0..1_000).map(|i| i % 10).collect();
        let parts = HeldOut::stratified(&labels, 50, 50, 7).expect("fewer than all");
        for class in 0..10 {
            let count =
                |part: &[u32]| part.iter().filter(|&&i| labels[i as usize] == class).count();
            assert_eq!((count(&parts.validation), count(&parts.calibration)), (5, 5));
        }
        assert_ne!(parts, HeldOut::stratified(&labels, 50, 50, 8).expect("fewer than all"));
        assert_eq!(HeldOut::stratified(&labels, 600, 400, 7), None);
        assert_eq!(HeldOut::random(1_000, 1_000, 0, 7), None);
        let random = HeldOut::random(1_000, 30, 20, 7).expect("fewer than all");
        assert_eq!((random.training.len(), random.validation.len()), (950, 30));
    }
}
