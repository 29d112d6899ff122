//! `isomax-bench weights`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use isomax_bench::cli::fetch_with_bar;
use isomax_bench::data::fetch::FetchOptions;
use isomax_bench::weights::{PRETRAINED, PretrainedWeights};
use isomax_charts::Table;

use super::{CommandResult, print};

#[derive(Args)]
pub struct WeightsCommand {
    #[command(subcommand)]
    action: Action,
    /// Folder of the weights.
    #[arg(long, default_value = "pretrained", global = true)]
    weights_dir: PathBuf,
}

#[derive(Subcommand)]
enum Action {
    /// Download weights from where their authors publish them, and check them. A download that
    /// broke off goes on where it stopped. Only this and `data fetch` use the network.
    Fetch {
        /// Names of the weights, as `weights list` shows them: those of their networks.
        #[arg(required = true)]
        names: Vec<String>,
        /// Download the files from below this address instead, by their names.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// List what can be fetched, with its terms of use, and what is there.
    List,
}

impl WeightsCommand {
    pub fn run(&self) -> CommandResult {
        match &self.action {
            Action::Fetch { names, mirror } => self.fetch(names, mirror.as_ref()),
            Action::List => self.list(),
        }
    }

    fn fetch(&self, names: &[String], mirror: Option<&String>) -> CommandResult {
        // A wrong name is told before the first download.
        let named = names.iter().map(|name| PretrainedWeights::named(name));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let options = FetchOptions { mirror: mirror.cloned() };
        for weights in named {
            let fetched = fetch_with_bar(&weights.archive, &self.weights_dir, &options)?;
            let what = if fetched.already_there { "is there" } else { "fetched" };
            let path = weights.path(&self.weights_dir);
            print(format!("{} {what}: {}", weights.name(), path.display()))?;
            let (network, path) = (weights.architecture, path.display());
            print(format!(
                "To start from it: isomax-bench train --id-data PHOTOS --architecture {network} --init {path}"
            ))?;
        }
        Ok(())
    }

    fn list(&self) -> CommandResult {
        let mut table = Table::new(["name", "what", "size", "terms", "here"]);
        for weights in PRETRAINED {
            let size = weights.archive.bytes.map(|bytes| HumanBytes(bytes).to_string());
            let size = size.unwrap_or_else(|| "unknown".to_owned());
            let here = if weights.path(&self.weights_dir).exists() { "yes" } else { "no" };
            let archive = weights.archive;
            table.row([archive.name, archive.what, size.as_str(), archive.terms, here]);
        }
        Ok(print(table)?)
    }
}
