//! Processes that train one network together, each on its share of the images: data parallelism.
//!
//! Every rank has the whole network and computes the gradients of its own batches; their sum makes the step, on
//! all ranks alike. Rank 0 alone reads and writes results, validates, and decides; the others are told. So
//! whatever trains with ranks is written once, for a `Team`, which a process by itself is as well.
//!
//! The ranks of a cluster are those of its MPI: `Mpi`, with the cargo feature `mpi`. [`Ranks`] is what is asked of
//! anything else. The guide's chapter on clusters has commands.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use burn::prelude::DeviceOps as _;
use burn::tensor::backend::{Backend, DeviceId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

#[cfg(feature = "mpi")]
mod mpi;
#[cfg(test)]
mod threads;

#[cfg(feature = "mpi")]
pub use mpi::Mpi;
#[cfg(test)]
pub(crate) use threads::on_threads;

/// The processes that train one network together, as one of them sees them. All call the same methods in the same
/// order; a call may wait until the others have made it as well.
///
/// None of them can fail: whoever loses one of the others must end the process. So must a program whose training
/// returns an error on one rank, since the others wait for it; `Mpi::run` does.
///
/// ```
/// use isomax_bench::ranks::Ranks;
///
/// /// A process by itself.
/// #[derive(Debug)]
/// struct Alone;
///
/// impl Ranks for Alone {
///     fn rank(&self) -> usize {
///         0
///     }
///     fn count(&self) -> usize {
///         1
///     }
///     fn local_rank(&self) -> usize {
///         0
///     }
///     fn sum(&self, _values: &mut [f32]) {}
///     fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>> {
///         Some(vec![values])
///     }
///     fn broadcast(&self, message: Option<Vec<u8>>) -> Vec<u8> {
///         message.unwrap_or_default()
///     }
/// }
///
/// assert_eq!(Alone.gather(vec![0.5]), Some(vec![vec![0.5]]));
/// ```
pub trait Ranks: Debug + Send + Sync {
    /// Which of them this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Which of those of this machine it is, from 0: the number of its device.
    fn local_rank(&self) -> usize;

    /// Adds values up over all ranks, place by place. They are as many on each, and the sums come out bit by bit the
    /// same on all.
    fn sum(&self, values: &mut [f32]);

    /// Brings the values of all ranks to rank 0, in the order of ranks; others get `None`. Each may have any number.
    fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>>;

    /// Brings a message of rank 0, which has one, to all ranks. Others may wait for it long.
    fn broadcast(&self, message: Option<Vec<u8>>) -> Vec<u8>;
}

/// Why ranks cannot train together. Trainings and experiments return it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// They were not started alike.
    #[error(
        "rank {rank} has another {what} than rank 0: start all ranks with the same program, flags and data"
    )]
    Differ {
        /// The first that differs.
        rank: usize,
        /// What of it.
        what: &'static str,
    },
    /// There are no ranks to be one of.
    #[error("MPI cannot start: {0}")]
    Start(&'static str),
    /// Rank 0 gave up.
    #[error("rank 0 gave up: {0}")]
    GaveUp(String),
    /// What rank 0 said is no message of this program.
    #[error(
        "expected a message of this program from rank 0, but {0}: start the same program on all ranks"
    )]
    Message(String),
}

/// The ranks of a training, or a process by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Team(Option<Arc<dyn Ranks>>);

impl Team {
    pub(crate) fn new(ranks: Option<Arc<dyn Ranks>>) -> Self {
        Self(ranks)
    }

    /// The ranks; none of a process by itself.
    pub(crate) fn ranks(&self) -> Option<&Arc<dyn Ranks>> {
        self.0.as_ref()
    }

    pub(crate) fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |ranks| ranks.rank())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |ranks| ranks.count())
    }

    /// The default device, or of several ranks of one machine that of each; where there are fewer devices, ranks
    /// share them.
    pub(crate) fn device<B: Backend>(&self) -> B::Device {
        let first = B::Device::default();
        let local_rank = self.0.as_ref().map_or(0, |ranks| ranks.local_rank());
        if local_rank == 0 {
            return first;
        }
        let DeviceId { type_id, .. } = first.to_id();
        let place = local_rank % B::device_count(type_id).max(1);
        B::Device::from_id(DeviceId { type_id, index_id: place as u16 })
    }

    /// Whether this is the one that decides.
    pub(crate) fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// What rank 0 finds, on all ranks; the others do nothing but wait. Its error is one for all of them.
    pub(crate) fn decide<T, E>(&self, find: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<RanksError> + Display,
    {
        match self.leads() {
            true => self.tell(find()),
            false => Ok(self.hear()?),
        }
    }

    /// On rank 0: tells the others what it found, and gives it back.
    pub(crate) fn tell<T, E>(&self, found: Result<T, E>) -> Result<T, E>
    where
        T: Serialize,
        E: From<RanksError> + Display,
    {
        let Some(ranks) = &self.0 else { return found };
        let told = found.as_ref().map_err(ToString::to_string);
        let message = serde_json::to_vec(&told);
        // Ranks that wait must hear something.
        ranks.broadcast(Some(message.as_ref().map_or_else(|_| Vec::new(), Clone::clone)));
        message.map_err(|error| RanksError::Message(error.to_string()))?;
        found
    }

    /// On the others: what rank 0 tells.
    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, RanksError> {
        let message = self.0.as_ref().map(|ranks| ranks.broadcast(None)).unwrap_or_default();
        let told: Result<T, String> = serde_json::from_slice(&message)
            .map_err(|error| RanksError::Message(error.to_string()))?;
        told.map_err(RanksError::GaveUp)
    }

    /// Bytes that rank 0 has, on all ranks.
    pub(crate) fn share<E: From<RanksError> + Display>(
        &self,
        find: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let Some(ranks) = &self.0 else { return find() };
        let mut found = None;
        self.decide(|| {
            found = Some(find()?);
            Ok::<(), E>(())
        })?;
        Ok(ranks.broadcast(found))
    }

    /// Checks that all ranks have the same of something.
    pub(crate) fn check_same(
        &self,
        what: &'static str,
        own: impl Serialize,
    ) -> Result<(), RanksError> {
        let Some(ranks) = &self.0 else { return Ok(()) };
        // What cannot be written is different from all.
        let own = serde_json::to_vec(&own).map(|bytes| Sha256::digest(bytes).to_vec());
        let own = own.unwrap_or_default();
        let is_same = ranks.broadcast(self.leads().then(|| own.clone())) == own && !own.is_empty();
        let answers = ranks.gather(vec![f32::from(u8::from(is_same))]);
        self.decide(|| {
            let answers = answers.unwrap_or_default();
            match answers.iter().position(|answer| *answer != [1.0]) {
                None => Ok(()),
                Some(rank) => Err(RanksError::Differ { rank, what }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_know_what_rank_0_finds() {
        let told = on_threads(3, |ranks| {
            let team = Team::new(Some(ranks));
            let found = team.decide(|| Ok::<_, RanksError>(vec![team.rank(), 7]));
            let failed = team.decide(|| Err::<(), _>(RanksError::Message("no".to_owned())));
            let bytes = team.share(|| Ok::<_, RanksError>(vec![1, 2, 3]));
            (found.ok(), failed.map_err(|error| error.to_string()), bytes.ok())
        });
        for (rank, (found, failed, bytes)) in told.into_iter().enumerate() {
            assert_eq!((found, bytes), (Some(vec![0, 7]), Some(vec![1, 2, 3])));
            assert!(failed.is_err_and(|error| error.starts_with("rank 0 gave up: ") == (rank > 0)));
        }
    }

    #[test]
    fn ranks_that_were_not_started_alike_are_told_so() {
        let told = on_threads(3, |ranks| {
            let own = [ranks.rank() as u8 / 2];
            let team = Team::new(Some(ranks));
            let same = team.check_same("program", 5).is_ok();
            (same, team.check_same("configuration", own).map_err(|error| error.to_string()))
        });
        for (same, differing) in told {
            assert!(same);
            let error = differing.err().unwrap_or_default();
            assert!(error.contains("rank 2 has another configuration than rank 0"), "{error}");
        }
    }

    #[test]
    fn a_process_by_itself_asks_nobody() {
        let team = Team::default();
        assert!(team.leads() && team.count() == 1 && team.ranks().is_none());
        assert_eq!(team.decide(|| Ok::<_, RanksError>(3)).ok(), Some(3));
        assert!(team.check_same("program", 5).is_ok());
    }
}
