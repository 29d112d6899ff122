use std::fmt;

/// What became of the tensors of a file and of a network whose body was loaded. See
/// [`load_body`](super::load_body) for an example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Tensors of the network that have the values of the file.
    pub loaded: Vec<String>,
    /// Tensors of the file that were passed over, by their names in it: its last layer, and what the network
    /// lacks.
    pub skipped: Vec<String>,
    /// Tensors of the body that the file lacks: they are as they were.
    pub missing: Vec<String>,
    /// Tensors of the head, which are as they were.
    pub head: Vec<String>,
}

impl LoadReport {
    /// Whether every tensor of the body has been loaded.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loaded, skipped, missing, head } = self;
        write!(f, "loaded {} tensors", loaded.len())?;
        for (what, names) in [
            ("left as they were, the head", head),
            ("skipped, not in the network", skipped),
            ("LEFT AT RANDOM, not in the file", missing),
        ] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", super::error::listed(names))?;
            }
        }
        Ok(())
    }
}
