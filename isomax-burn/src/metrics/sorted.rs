//! Two score sets, checked, sorted, and walked cut by cut.

use super::{MetricError, Positive, ScoreSet, ScoreValue};

/// Both score sets in descending order, free of NaN, neither empty.
#[derive(Debug, Clone)]
pub(super) struct SortedScores {
    inside: Vec<Key>,
    outside: Vec<Key>,
}

/// An `f64` as an integer of the same order: integers sort several times faster than floats.
type Key = u64;

/// What a cut flags as positive: every sample at least as positive as the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Flagged {
    /// Flagged samples of the positive class.
    pub(super) true_positives: usize,
    /// Flagged samples of the other class.
    pub(super) false_positives: usize,
    /// The score at the cut.
    pub(super) threshold: f64,
}

impl SortedScores {
    pub(super) fn new<T: ScoreValue>(inside: &[T], outside: &[T]) -> Result<Self, MetricError> {
        Ok(Self {
            inside: sort_descending(inside, ScoreSet::In)?,
            outside: sort_descending(outside, ScoreSet::Out)?,
        })
    }

    /// Number of samples of the positive class, then of the other.
    pub(super) fn sizes(&self, positive: Positive) -> (f64, f64) {
        let (inside, outside) = (self.inside.len() as f64, self.outside.len() as f64);
        match positive {
            Positive::InDistribution => (inside, outside),
            Positive::OutOfDistribution => (outside, inside),
        }
    }

    /// The cuts at each distinct score, from the strictest to the one that flags everything.
    /// Samples of equal score are always flagged together.
    pub(super) fn cuts(&self, positive: Positive) -> Box<dyn Iterator<Item = Flagged> + '_> {
        let (inside, outside) = (self.inside.iter(), self.outside.iter());
        match positive {
            Positive::InDistribution => Box::new(merge(inside.copied(), outside.copied(), |k| k)),
            // Low scores are the positive ones: the same walk over complemented keys.
            Positive::OutOfDistribution => {
                Box::new(merge(outside.rev().map(|k| !k), inside.rev().map(|k| !k), |k| !k))
            }
        }
    }

    /// Every single sample in ascending order of score: `true` for an out-of-distribution one.
    /// At equal scores the in-distribution samples come first.
    pub(super) fn ascending(&self) -> impl Iterator<Item = bool> + '_ {
        let mut inside = self.inside.iter().rev().peekable();
        let mut outside = self.outside.iter().rev().peekable();
        core::iter::from_fn(move || {
            let is_out = match (inside.peek(), outside.peek()) {
                (Some(i), Some(o)) => o < i,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => return None,
            };
            if is_out {
                outside.next()
            } else {
                inside.next()
            };
            Some(is_out)
        })
    }
}

/// Merges two descending sequences of keys; `restore` turns a walked key into a score's key.
fn merge(
    positives: impl Iterator<Item = Key>,
    negatives: impl Iterator<Item = Key>,
    restore: impl Fn(Key) -> Key,
) -> impl Iterator<Item = Flagged> {
    let (mut positives, mut negatives) = (positives.peekable(), negatives.peekable());
    let (mut true_positives, mut false_positives) = (0, 0);
    core::iter::from_fn(move || {
        // `None < Some(_)`, so an exhausted side never decides.
        let key = positives.peek().max(negatives.peek()).copied()?;
        while positives.next_if_eq(&key).is_some() {
            true_positives += 1;
        }
        while negatives.next_if_eq(&key).is_some() {
            false_positives += 1;
        }
        Some(Flagged { true_positives, false_positives, threshold: score_of(restore(key)) })
    })
}

fn sort_descending<T: ScoreValue>(scores: &[T], set: ScoreSet) -> Result<Vec<Key>, MetricError> {
    if scores.is_empty() {
        return Err(MetricError::EmptyScores(set));
    }
    if let Some(index) = scores.iter().position(|&s| s.into().is_nan()) {
        return Err(MetricError::NanScore { set, index });
    }
    // Keys are complemented so that the plain ascending sort gives descending scores.
    let mut keys: Vec<Key> = scores.iter().map(|&s| !key_of(s.into())).collect();
    keys.sort_unstable();
    keys.iter_mut().for_each(|k| *k = !*k);
    Ok(keys)
}

const SIGN: u64 = 1 << 63;

fn key_of(score: f64) -> Key {
    // `+ 0.0` makes −0 and +0, which are equal scores, equal keys.
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn score_of(key: Key) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_and_the_value() {
        let scores =
            [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY];
        assert!(scores.windows(2).all(|w| key_of(w[0]) < key_of(w[1])));
        assert!(scores.iter().all(|&s| score_of(key_of(s)) == s));
        assert_eq!(key_of(-0.0), key_of(0.0));
    }

    #[test]
    fn cuts_flag_ties_together() {
        let sorted = SortedScores::new(&[1.0, 2.0, 2.0], &[2.0, 0.0]).expect("valid scores");
        let cuts = |positive| -> Vec<_> {
            let cuts = sorted.cuts(positive);
            cuts.map(|c| (c.true_positives, c.false_positives, c.threshold)).collect()
        };
        assert_eq!(cuts(Positive::InDistribution), [(2, 1, 2.0), (3, 1, 1.0), (3, 2, 0.0)]);
        assert_eq!(cuts(Positive::OutOfDistribution), [(1, 0, 0.0), (1, 1, 1.0), (2, 3, 2.0)]);
    }
}
