//! The ranks of MPI.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use mpi::Tag;
use mpi::collective::SystemOperation;
use mpi::environment::{Threading, Universe};
use mpi::point_to_point::MatchedReceiveVec as _;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _};

use super::Ranks;

/// The processes that `mpirun`, `mpiexec` or `srun` started; a process that was started without them is the only one.
///
/// Whatever MPI itself finds wrong ends all ranks, with its own message, as MPI has it by default; so does the death
/// of a rank.
///
/// ```no_run
/// use isomax_bench::ranks::{Mpi, Ranks};
///
/// let ranks = Mpi::start().ok_or("MPI was started before")?;
/// println!("rank {} of {}", ranks.rank(), ranks.count());
/// # Ok::<(), &str>(())
/// ```
pub struct Mpi {
    /// Ends MPI when it is dropped.
    _universe: Universe,
    rank: usize,
    count: usize,
    local_rank: usize,
    /// Where sums arrive.
    sums: Mutex<Vec<f32>>,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl Mpi {
    /// Starts MPI, once in the life of a process; `None` if it was started before. It ends when this is dropped.
    pub fn start() -> Option<Self> {
        // Of several threads one at a time calls it.
        let (universe, _) = mpi::initialize_with_threading(Threading::Serialized)?;
        let world = universe.world();
        let (rank, count) = (world.rank(), world.size());
        let local_rank = world.split_shared(rank).rank();
        Some(Self {
            _universe: universe,
            rank: rank as usize,
            count: count as usize,
            local_rank: local_rank as usize,
            sums: Mutex::default(),
        })
    }

    /// Ends all ranks at once, wherever they are, with the exit status 1.
    pub fn abort(&self) -> ! {
        SimpleCommunicator::world().abort(1)
    }

    fn others(&self) -> impl Iterator<Item = i32> + use<> {
        1..self.count as i32
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

    fn sum(&self, values: &mut Vec<f32>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.resize(values.len(), 0.0);
        let world = SimpleCommunicator::world();
        world.all_reduce_into(&values[..], &mut sums[..], SystemOperation::sum());
        mem::swap(values, &mut sums);
    }

    fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>> {
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
