//! `isomax-bench data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isomax_bench::cli::fetch_with_bar;
use isomax_bench::data::archives::{ARCHIVES, Archive, archives_named};
use isomax_bench::data::fetch::{FetchOptions, Verified, verify};
use isomax_charts::Table;

use super::{CommandResult, print};

#[derive(Args)]
pub struct DataCommand {
    #[command(subcommand)]
    action: Action,
    /// Folder of the data sets.
    #[arg(long, default_value = "data", global = true)]
    data_dir: PathBuf,
}

#[derive(Subcommand)]
enum Action {
    /// Download sets from where their authors publish them, check them and unpack them. A download
    /// that broke off goes on where it stopped. Only this and `weights fetch` use the network.
    Fetch {
        /// Names of the sets, as `data list` shows them; `all` for every set.
        #[arg(required = true)]
        names: Vec<String>,
        /// Download the files from below this address instead, by their names.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// Compare the files that are there with the published checksums.
    Verify {
        /// Names of the sets (default: all).
        names: Vec<String>,
    },
    /// List what can be fetched, with its terms of use, and what is there.
    List,
}

impl DataCommand {
    pub fn run(&self) -> CommandResult {
        match &self.action {
            Action::Fetch { names, mirror } => self.fetch(&named(names)?, mirror.as_ref()),
            Action::Verify { names } => self.verify(&named(names)?),
            Action::List => self.list(),
        }
    }

    fn fetch(&self, archives: &[&Archive], mirror: Option<&String>) -> CommandResult {
        let options = FetchOptions { mirror: mirror.cloned() };
        for archive in archives {
            let fetched = fetch_with_bar(archive, &self.data_dir, &options)?;
            let what = if fetched.already_there { "is there" } else { "fetched" };
            print(format!("{} {what}: {}", archive.name, fetched.path.display()))?;
        }
        Ok(())
    }

    fn verify(&self, archives: &[&Archive]) -> CommandResult {
        let mut damaged = 0;
        for archive in archives {
            let verified = verify(archive, &self.data_dir)?;
            damaged += usize::from(matches!(verified, Verified::Different { .. }));
            print(format!("{} ({}): {}", archive.name, archive.file, describe(&verified)))?;
        }
        match damaged {
            0 => Ok(()),
            count => Err(format!("{count} of {} files differ", archives.len()).into()),
        }
    }

    fn list(&self) -> CommandResult {
        let mut table = Table::new(["name", "file", "what", "terms", "here"]);
        for archive in ARCHIVES {
            let here = if archive.path(&self.data_dir).exists() { "yes" } else { "no" };
            table.row([archive.name, archive.file, archive.what, archive.terms, here]);
        }
        Ok(print(table)?)
    }
}

fn describe(verified: &Verified) -> String {
    match verified {
        Verified::Absent => "absent".to_owned(),
        Verified::Matches { path } => format!("{} has the published sum", path.display()),
        Verified::Unpacked { path } => {
            format!("{} was unpacked from a file with the published sum", path.display())
        }
        Verified::Unmarked { path } => {
            format!("{} was not fetched by this program: nothing to compare", path.display())
        }
        Verified::Different { path, expected, found } => {
            format!("{}: expected the sum {expected}, found {found}", path.display())
        }
    }
}

/// The archives of some sets; all if none or `all` is named.
fn named(names: &[String]) -> Result<Vec<&'static Archive>, String> {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(ARCHIVES.iter().collect());
    }
    let mut archives = Vec::new();
    for name in names {
        let found = archives_named(name);
        if found.is_empty() {
            let mut known: Vec<_> = ARCHIVES.iter().map(|archive| archive.name).collect();
            known.dedup();
            return Err(format!("unknown data set '{name}' (known: {})", known.join(", ")));
        }
        archives.extend(found);
    }
    Ok(archives)
}
