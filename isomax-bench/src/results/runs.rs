//! Runs in folders of results.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{EVALUATION, Evaluation, HISTORY, History, ResultError, read};

/// A run that was found in a folder of results. See [`find_runs`] for an example.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// From the name of the folder, `run-N`; 1 for any other name.
    pub number: usize,
    /// What the network achieves.
    pub evaluation: Evaluation,
    /// Every epoch, if the run was trained here.
    pub history: Option<History>,
}

/// Finds all runs in folders of results, at any depth, in the order of their paths. Of several
/// evaluations of one trained network one counts, and a warning names the others.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let runs = isomax_bench::results::find_runs(&[folder.path().to_owned()])?;
/// assert!(runs.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ResultError`] if a folder cannot be listed or a result is damaged.
pub fn find_runs(folders: &[PathBuf]) -> Result<Vec<Run>, ResultError> {
    let (mut runs, mut seen) = (Vec::new(), BTreeSet::new());
    folders.iter().try_for_each(|folder| find_below(folder, &mut runs, &mut seen))?;
    Ok(one_of_each_network(runs))
}

/// A network that was evaluated again, into another folder, is no further run. The evaluation
/// beside its history stands before others.
fn one_of_each_network(runs: Vec<Run>) -> Vec<Run> {
    let network = |run: &Run| {
        let Evaluation { id_data, architecture, head, training, .. } = &run.evaluation;
        Some((id_data.clone(), architecture.clone(), *head, training.clone()?))
    };
    let mut kept: Vec<Run> = Vec::new();
    for mut run in runs {
        let same = |other: &&mut Run| {
            // Two histories are two trainings, even of one seed, unless a folder was copied.
            let histories = other.history.as_ref().zip(run.history.as_ref());
            histories.is_none_or(|(its, own)| its == own)
                && network(other).is_some_and(|its| network(&run) == Some(its))
        };
        match kept.iter_mut().find(same) {
            Some(other) => {
                if other.history.is_none() && run.history.is_some() {
                    std::mem::swap(other, &mut run);
                }
                log::warn!(
                    "{}: left out, for it evaluates the same network as {}",
                    run.folder.display(),
                    other.folder.display()
                );
            }
            None => kept.push(run),
        }
    }
    kept
}

/// Folders may overlap, and links may lead in circles: nothing counts twice.
fn find_below(
    folder: &Path,
    found: &mut Vec<Run>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<(), ResultError> {
    let mut walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                return Err(ResultError::Io { path, source: error.into() });
            }
        };
        if !entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path();
        let io = |source| ResultError::Io { path: path.to_owned(), source };
        if !seen.insert(fs::canonicalize(path).map_err(io)?) {
            walk.skip_current_dir();
        } else if path.join(EVALUATION).is_file() {
            found.push(run(path)?);
            walk.skip_current_dir();
        }
    }
    Ok(())
}

/// A run by its folder, which has an evaluation.
fn run(folder: &Path) -> Result<Run, ResultError> {
    let history = folder.join(HISTORY);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Run {
        number: name
            .strip_prefix("run-")
            .or_else(|| name.strip_prefix("execution-"))
            .and_then(|n| n.parse().ok())
            .unwrap_or(1),
        evaluation: read(folder.join(EVALUATION))?,
        history: match history.is_file() {
            true => Some(read(history)?),
            false => None,
        },
        folder: folder.to_owned(),
    })
}
