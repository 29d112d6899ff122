use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Weights that could not be read, written, or fitted into a network. The network is then as it was.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::store::StoreError;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// let mut network = CifarResNetConfig::new(8, 10).init::<Flex>(&Default::default());
/// let error = network.load_weights("no-such-file.pth").unwrap_err();
/// assert!(matches!(error, StoreError::Io { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system could not read or write the file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no weights: it is what a download, a clone or another library left in their
    /// place.
    #[error(
        "{}: expected weights of PyTorch or safetensors, but found {found}; {advice}",
        path.display()
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        advice: String,
    },
    /// The file is damaged or truncated, or its values are none that a network can have.
    #[error("{}: expected {expected}, but {found}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What is wrong.
        found: String,
    },
    /// A file of PyTorch that holds something other than the tensors of a network.
    #[error(
        "{}: expected a state dict, but found {found}; save one with \
         torch.save(model.state_dict(), path)",
        path.display()
    )]
    NotAStateDict {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// The tensors are those of another network: another architecture, depth, head, or number of
    /// classes.
    #[error("{}: the tensors{} do not fit the network: {mismatch}", path.display(), under(section))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The keys of a checkpoint that lead to the tensors, such as `state_dict`; empty if the file
        /// holds nothing else.
        section: String,
        /// Every tensor that does not fit.
        mismatch: Box<Mismatch>,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn format(path: &Path, expected: &'static str, found: impl fmt::Display) -> Self {
        Self::Format { path: path.to_owned(), expected, found: found.to_string() }
    }
}

fn under(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" under '{section}'") }
}

/// How the tensors of a file differ from those of a network.
///
/// ```
/// use burn::backend::Flex;
/// use isomax_models::store::StoreError;
/// use isomax_models::{Backbone, CifarResNetConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("ten-classes.safetensors");
/// let network = |classes| CifarResNetConfig::new(8, classes).init::<Flex>(&Default::default());
/// network(10).save_safetensors(&path)?;
/// let error = network(5).load_weights(&path).unwrap_err();
/// let StoreError::Mismatch { mismatch, .. } = error else { panic!("it fits") };
/// // Weights and bias of the last layer.
/// let classes: Vec<_> = mismatch.shapes.iter().map(|shape| shape.found[0]).collect();
/// assert_eq!(classes, [10, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks, by their names in the file.
    pub unexpected: Vec<String>,
    /// Tensors of both whose shapes differ.
    pub shapes: Vec<ShapeMismatch>,
}

/// A tensor that has another shape in the file than in the network. See [`Mismatch`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapeMismatch {
    /// Name of the tensor.
    pub name: String,
    /// Its shape in the network.
    pub expected: Vec<usize>,
    /// Its shape in the file.
    pub found: Vec<usize>,
}

impl Mismatch {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shapes.is_empty()
    }
}

/// How many names a message lists of each kind; the error holds all of them.
const LISTED: usize = 10;

/// The first names, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let listed = names[..names.len() - more].join(", ");
    if more > 0 { format!("{listed} and {more} more") } else { listed }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.shapes.iter().map(|shape| {
            format!("{} {:?} (expected {:?})", shape.name, shape.found, shape.expected)
        });
        let kinds = [
            ("missing", self.missing.clone()),
            ("unexpected", self.unexpected.clone()),
            ("of another shape", shapes.collect()),
        ];
        let lists = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{} {kind}: {}", names.len(), listed(names)));
        f.write_str(&lists.collect::<Vec<_>>().join("; "))
    }
}
