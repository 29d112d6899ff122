//! Counts of things that a warning tells of, with the first few of them by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names that a warning lists.
const SHOWN: usize = 3;

/// How many there were, and what the first few different ones are called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// How many there were.
    pub count: usize,
    examples: Vec<String>,
    has_more: bool,
    /// Whether what was counted may be otherwise the next time, as a file that cannot be opened.
    #[serde(default)]
    pub may_change: bool,
}

impl Tally {
    pub fn add(&mut self, name: &str) {
        self.count += 1;
        // Names of files may hold line ends, of which a warning should have none.
        let name: String =
            name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if self.examples.contains(&name) {
            return;
        }
        match self.examples.len() < SHOWN {
            true => self.examples.push(name),
            false => self.has_more = true,
        }
    }

    /// What a warning tells, such as `2 files passed over (a, b)`, if there were any.
    pub fn told(&self, thing: &str, what: &str) -> Option<String> {
        (self.count > 0).then(|| format!("{} {what} ({self})", many(self.count, thing)))
    }
}

/// A number of things.
pub(crate) fn many(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.examples.join(", "))?;
        if self.has_more { f.write_str(", …") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_names_are_listed() {
        let mut tally = Tally::default();
        assert_eq!(tally.told("file", "passed over"), None);
        ["a", "a", "b\nc"].iter().for_each(|name| tally.add(name));
        assert_eq!((tally.count, tally.to_string().as_str()), (3, "a, b\u{fffd}c"));
        ["d", "e", "f"].iter().for_each(|name| tally.add(name));
        assert_eq!((tally.count, tally.to_string().as_str()), (6, "a, b\u{fffd}c, d, …"));
        let told = tally.told("file", "passed over");
        assert_eq!(told.as_deref(), Some("6 files passed over (a, b\u{fffd}c, d, …)"));
    }
}
