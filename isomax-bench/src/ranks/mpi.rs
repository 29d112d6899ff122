//! The ranks of MPI.

use std::fmt::{self, Debug, Display};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use mpi::Tag;
use mpi::collective::SystemOperation;
use mpi::environment::{Threading, Universe};
use mpi::point_to_point::MatchedReceiveVec as _;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _};

use super::{Ranks, RanksError};

/// The processes that `mpirun`, `mpiexec` or `srun` started; a process that was started without them is the only one.
///
/// Whatever MPI itself finds wrong ends all ranks, with its own message, as MPI has it by default; so does the death
/// of a rank.
///
/// ```no_run
/// use isomax_bench::ranks::{Mpi, Ranks};
///
/// Mpi::run(|mpi| {
///     println!("rank {} of {}", mpi.rank(), mpi.count());
///     // As `RunOptions::ranks` or `ExperimentOptions::ranks`, it makes trainings be of all ranks.
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mpi {
    /// Ends MPI when it is dropped.
    _universe: Universe,
    rank: usize,
    count: usize,
    local_rank: usize,
    /// Where sums arrive. One thread at a time calls MPI: who does holds this.
    sums: Mutex<Vec<f32>>,
}

impl Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.count)
    }
}

/// Of what rank 0 says.
const MESSAGE: Tag = 1;
/// Of what it is told.
const VALUES: Tag = 2;

/// How often a rank looks for a message that may be long in coming, such as at the end of a validation. MPI itself
/// would look without a pause, and keep a processor from whoever works.
const PAUSE: Duration = Duration::from_millis(2);
/// How long rank 0 has to tell an error before others do.
const PATIENCE: Duration = Duration::from_secs(1);

impl Mpi {
    /// Starts MPI, which is possible once in the life of a process, and does work as one of its ranks.
    ///
    /// Where the work of one of several ranks fails or panics, the others would wait for it for ever: it says why on
    /// standard error, and ends all of them with the exit status 1.
    ///
    /// # Errors
    ///
    /// [`RanksError::Start`], or the error of the work of a process that is the only one.
    pub fn run<E: From<RanksError> + Display>(
        work: impl FnOnce(Arc<Self>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mpi = Arc::new(Self::start()?);
        if mpi.count == 1 {
            return work(mpi);
        }
        let done = panic::catch_unwind(AssertUnwindSafe(|| work(mpi.clone())));
        let reason = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked, see above".to_owned(),
        };
        match mpi.rank {
            0 => eprintln!("error: {reason}"),
            rank => {
                // An error of all is told once: meanwhile rank 0 ends them all.
                sleep(PATIENCE);
                eprintln!("error: rank {rank}: {reason}");
            }
        }
        SimpleCommunicator::world().abort(1)
    }

    fn start() -> Result<Self, RanksError> {
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) =
            started.ok_or(RanksError::Start("it was started before in this process"))?;
        if threading < Threading::Serialized {
            return Err(RanksError::Start("it is one for programs of a single thread"));
        }
        let world = universe.world();
        let (rank, count) = (world.rank(), world.size());
        let local_rank = world.split_shared(rank).rank();
        Ok(Self {
            _universe: universe,
            rank: rank as usize,
            count: count as usize,
            local_rank: local_rank as usize,
            sums: Mutex::default(),
        })
    }

    fn others(&self) -> impl Iterator<Item = i32> + use<> {
        1..self.count as i32
    }

    fn lock(&self) -> MutexGuard<'_, Vec<f32>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn sum(&self, values: &mut [f32]) {
        let mut sums = self.lock();
        sums.resize(values.len(), 0.0);
        let world = SimpleCommunicator::world();
        world.all_reduce_into(&*values, &mut sums[..], SystemOperation::sum());
        values.copy_from_slice(&sums);
    }

    fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>> {
        let _alone = self.lock();
        let world = SimpleCommunicator::world();
        if self.rank > 0 {
            world.process_at_rank(0).send_with_tag(&values[..], VALUES);
            return None;
        }
        let received = self.others().map(|rank| {
            let (values, _) = world.process_at_rank(rank).receive_vec_with_tag::<f32>(VALUES);
            values
        });
        Some(std::iter::once(values).chain(received).collect())
    }

    fn broadcast(&self, message: Option<Vec<u8>>) -> Vec<u8> {
        let _alone = self.lock();
        let world = SimpleCommunicator::world();
        if self.rank == 0 {
            let message = message.unwrap_or_default();
            for rank in self.others() {
                world.process_at_rank(rank).send_with_tag(&message[..], MESSAGE);
            }
            return message;
        }
        let lead = world.process_at_rank(0);
        loop {
            if let Some(found) = lead.immediate_matched_probe_with_tag(MESSAGE) {
                return found.matched_receive_vec::<u8>().0;
            }
            sleep(PAUSE);
        }
    }
}
