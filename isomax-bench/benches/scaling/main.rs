//! How well a training by several ranks scales: what 1, 2 and 4 ranks reach on this machine, and what more of them
//! would reach over networks of a given bandwidth and latency.
//!
//! ```text
//! cargo bench -p isomax-bench --bench scaling --features mpi
//! cargo bench -p isomax-bench --bench scaling --features mpi -- --network resnet-110 --bandwidth 25 --latency 10
//! ```
//!
//! Each rank trains by the loop of `isomax-bench train`, on images of noise, and notes when each sum of gradients began
//! and ended. *Efficiency* is images per second of all ranks, divided by so many times those of one rank.

use std::io;
use std::process::{Command, ExitCode};

use clap::Parser;
use isomax_charts::Table;
use isomax_models::Architecture;

mod link;
mod worker;

use link::Link;
use worker::Measured;

/// How well a training by several ranks scales, here and over networks of given speed.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Network to train.
    #[arg(long, default_value = "resnet-20")]
    network: Architecture,
    /// Images in the batch of each rank.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Steps to measure.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(10..))]
    steps: u16,
    /// How many ranks to measure, each of one thread.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    ranks: Vec<u16>,
    /// Bandwidths of networks, in Gbit/s.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    bandwidth: Vec<f64>,
    /// Their latencies, in microseconds.
    #[arg(long, value_delimiter = ',', default_value = "50,20,2")]
    latency: Vec<f64>,
    /// Milliseconds of a step of one rank, such as a GPU takes, to expect more of in place of what was measured.
    #[arg(long)]
    step: Option<f64>,
    /// What starts ranks, as `mpirun`.
    #[arg(long, default_value = "mpirun")]
    launcher: String,
    /// Measure as one of the ranks.
    #[arg(long, hide = true)]
    worker: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    isomax_bench::memory::keep_freed();
    let arguments = Arguments::parse();
    let done = match arguments.worker {
        true => worker::run(&arguments),
        false => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What so many ranks on this machine come to.
fn launch(arguments: &Arguments, ranks: u16) -> Result<Measured> {
    let mut command = Command::new(&arguments.launcher);
    command.args(["-n", &ranks.to_string()]).arg(std::env::current_exe()?).arg("--worker");
    command.args(["--network", &arguments.network.to_string()]);
    command.args(["--batch", &arguments.batch.to_string()]);
    command.args(["--steps", &arguments.steps.to_string()]);
    command.env("RAYON_NUM_THREADS", "1");
    // More ranks than processors, and a container may have no other user than root.
    for setting in ["rmaps_base_oversubscribe", "hwloc_base_binding_policy"]
        .map(|name| format!("OMPI_MCA_{name}"))
    {
        let value = if setting.ends_with("policy") { "none" } else { "1" };
        command.env(setting, value);
    }
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", arguments.launcher))
    })?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{ranks} ranks: {errors}").into());
    }
    let printed = String::from_utf8(output.stdout)?;
    // Burn's lines of epochs come before it.
    Ok(serde_json::from_str(printed.lines().last().unwrap_or_default())?)
}

fn measure(arguments: &Arguments) -> Result<()> {
    let processors = std::thread::available_parallelism()?.get();
    let measured = (arguments.ranks.iter())
        .map(|&ranks| launch(arguments, ranks))
        .collect::<Result<Vec<Measured>>>()?;
    let Some(one) = measured.iter().find(|measured| measured.ranks == 1) else {
        return Err(
            "what one rank does is what others are compared with: put 1 into --ranks".into()
        );
    };
    println!(
        "{}, batches of {} for each rank of one thread, {processors} processors; gradients of {:.2} MB\n",
        arguments.network,
        arguments.batch,
        one.gradient_bytes() / 1e6,
    );
    let here = measured.iter().find(|measured| measured.ranks == 2).map(Link::of);
    let columns = ["ranks", "step, ms", "exchange, ms", "images/s", "efficiency", "predicted"];
    let mut table = Table::new(columns);
    for of in &measured {
        // Ranks that share a processor wait for each other.
        let sharing = (of.ranks as f64 / processors as f64).max(1.0);
        let predicted = here.as_ref().map(|link| one.step / link.step(one, of.ranks, sharing));
        table.row([
            of.ranks.to_string(),
            format!("{:.1}", of.step * 1e3),
            format!("{:.2}", of.exchange * 1e3),
            format!("{:.0}", of.ranks as f64 * f64::from(arguments.batch) / of.step),
            percent(one.step / of.step),
            predicted.map_or_else(|| "–".to_owned(), percent),
        ]);
    }
    println!("{table}");
    if let Some(link) = &here {
        println!("between two ranks here: {link}\n");
    }
    let links: Vec<Link> = (arguments.bandwidth.iter().zip(&arguments.latency))
        .map(|(gigabits, micros)| Link::new(gigabits * 1e9 / 8.0, micros * 1e-6))
        .collect();
    let names = links.iter().map(ToString::to_string);
    let step = arguments.step.map_or(one.step, |millis| millis * 1e-3);
    let one = Measured { step, ..one.clone() };
    let mut table = Table::new(std::iter::once("ranks".to_owned()).chain(names));
    for ranks in [2, 4, 8, 16, 32, 64] {
        let efficiency = links.iter().map(|link| percent(one.step / link.step(&one, ranks, 1.0)));
        table.row(std::iter::once(ranks.to_string()).chain(efficiency));
    }
    let millis = step * 1e3;
    println!(
        "efficiency to expect of ranks on a machine each, with steps of {millis:.0} ms\n\n{table}"
    );
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
