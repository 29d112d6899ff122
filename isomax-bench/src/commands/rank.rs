//! A command that is done by the processes that an MPI launcher starts together.

use std::sync::Arc;

use isomax_bench::ranks::Ranks;

use super::CommandResult;

/// Does work as one of the ranks that were started together, or by itself. Where one of them fails, none goes on.
#[cfg(feature = "mpi")]
pub fn as_rank(work: impl FnOnce(Option<Arc<dyn Ranks>>) -> CommandResult) -> CommandResult {
    use isomax_bench::ranks::Mpi;

    Mpi::run(|mpi| {
        if mpi.count() == 1 {
            warn_of_others("the MPI of this program is another than the one that started it");
            return work(None);
        }
        if mpi.rank() > 0 {
            // What is worth a warning is so for rank 0, too.
            log::set_max_level(log::LevelFilter::Error);
        }
        work(Some(mpi))
    })
}

/// Does work by itself.
#[cfg(not(feature = "mpi"))]
pub fn as_rank(work: impl FnOnce(Option<Arc<dyn Ranks>>) -> CommandResult) -> CommandResult {
    warn_of_others("to train together, build with --features mpi");
    work(None)
}

/// Warns if a launcher has started several processes.
fn warn_of_others(why: &str) {
    // As Open MPI, MPICH and Slurm tell processes how many there are.
    let counts = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"].map(std::env::var);
    let is_of_many = |count: &String| count.parse::<usize>().is_ok_and(|processes| processes > 1);
    if counts.iter().flatten().any(is_of_many) {
        log::warn!("several processes were started, each of which trains by itself: {why}");
    }
}
