//! A command that is done by the processes that an MPI launcher starts together.

use std::sync::Arc;

use isomax_bench::ranks::Ranks;

use super::CommandResult;

/// Does work as one of the ranks that were started together, or by itself. Where one of them fails, none goes on.
#[cfg(feature = "mpi")]
pub fn as_rank(work: impl FnOnce(Option<Arc<dyn Ranks>>) -> CommandResult) -> CommandResult {
    use std::panic::{self, AssertUnwindSafe};
    use std::time::Duration;

    use isomax_bench::ranks::Mpi;

    let mpi = Arc::new(Mpi::start().ok_or("MPI was started before")?);
    if mpi.count() == 1 {
        return work(None);
    }
    if mpi.rank() > 0 {
        // What is worth a warning is so for rank 0, too.
        log::set_max_level(log::LevelFilter::Error);
    }
    let ranks: Arc<dyn Ranks> = mpi.clone();
    let done = panic::catch_unwind(AssertUnwindSafe(|| work(Some(ranks))));
    let reason = match done {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the program is wrong, see above".to_owned(),
    };
    match mpi.rank() {
        0 => eprintln!("error: {reason}"),
        rank => {
            // An error of all is told once: meanwhile rank 0 ends them all.
            std::thread::sleep(Duration::from_secs(1));
            eprintln!("error: rank {rank}: {reason}");
        }
    }
    // The others may wait for this one for ever.
    mpi.abort()
}

/// Does work by itself.
#[cfg(not(feature = "mpi"))]
pub fn as_rank(work: impl FnOnce(Option<Arc<dyn Ranks>>) -> CommandResult) -> CommandResult {
    work(None)
}
