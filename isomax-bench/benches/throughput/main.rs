//! Images per second in training and inference, beside the same networks in PyTorch.
//!
//! ```text
//! cargo bench -p isomax-bench --bench throughput                            # flex
//! cargo bench -p isomax-bench --bench throughput --features tch             # or wgpu, cuda, …
//! cargo bench -p isomax-bench --bench throughput -- --python /path/to/python --networks resnet-20
//! ```
//!
//! All run in turns, so that they see the same machine, and each ratio is the median over the rounds. Without a
//! Python that has PyTorch, Burn's numbers stand alone. *Stock* are the same networks of Burn's own modules. On
//! CPUs the share says how much of what the threads reach with nothing but multiplications and additions goes
//! into convolutions. PyTorch runs with the settings of its users, without [`memory::SETTINGS`]. Images are noise in the memory of the device: loading data is not measured.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::module::AutodiffModule;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor};
use clap::Parser;
use isomax_bench::backend::{self, InferenceBackend, TrainingBackend};
use isomax_bench::memory;
use isomax_burn::{HeadKind, LossConfig};
use isomax_charts::Table;
use isomax_kernels::peak_flops;
use isomax_models::{Architecture, Backbone, Model, ModelConfig};

mod cost;
#[path = "../support/pytorch.rs"]
mod pytorch;
mod stock;

use pytorch::PyTorch;
use stock::Stock;

/// Images per second in training and inference, beside PyTorch.
#[derive(Parser)]
struct Arguments {
    /// Networks to measure.
    #[arg(long, value_delimiter = ',', default_value = "resnet-20,resnet-110,densenet-bc-100")]
    networks: Vec<Architecture>,
    /// Images in a batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Seconds to measure for, each time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// How often Burn and PyTorch take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Leave out the networks of Burn's own modules, which are slow.
    #[arg(long)]
    no_stock: bool,
    /// Let PyTorch keep freed memory as well.
    #[arg(long)]
    same_memory: bool,
    /// A Python that has PyTorch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Measure memory in place of speed: of a training step, and after many.
    #[arg(long)]
    memory: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    memory::keep_freed();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if arguments.memory {
        return memory_table(arguments);
    }
    let mut pytorch = start(arguments);
    let (burn, twin) = match &pytorch {
        Ok(pytorch) => (backend::name(), pytorch.name.clone()),
        Err(error) => {
            eprintln!("without PyTorch: {}: {error}", arguments.python.display());
            (backend::name(), "PyTorch".to_owned())
        }
    };
    // The limit of the threads of a CPU; a GPU has another one.
    let peak = ["wgpu", "cuda"].iter().all(|gpu| !burn.contains(gpu)).then(peak_flops);
    print!("Burn 0.21.0 on {burn}; batch {}, images/s", arguments.batch);
    println!(
        "{}",
        peak.map_or_else(String::new, |peak| format!("; peak {:.0} GFLOP/s", peak / 1e9))
    );
    let mut table = Table::new(["network", "", &burn, "share", "stock", "ratio", &twin, "ratio"]);
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    for network in &arguments.networks {
        for mode in [Mode::Train, Mode::Inference] {
            let batch = usize::from(arguments.batch);
            let (mut ours, mut stocks, mut twins) = (Vec::new(), Vec::new(), Vec::new());
            let mut run = Run::new(model(*network), mode, batch, network.image_size());
            let stock = if arguments.no_stock { None } else { Stock::new(*network) };
            let mut stock = stock.map(|network| Run::new(network, mode, batch, 32));
            for _ in 0..arguments.rounds {
                ours.push(run.images_per_second(arguments.seconds));
                if let Some(stock) = &mut stock {
                    stocks.push(stock.images_per_second(arguments.seconds));
                }
                if let Ok(pytorch) = &mut pytorch {
                    twins.push(pytorch.ask(&question(*network, mode, arguments))?);
                }
                let last = |values: &[f64]| {
                    values.last().map_or("–".to_owned(), |value| format!("{value:.1}"))
                };
                eprintln!(
                    "{network}, {mode:?}: {}, stock {}, PyTorch {}",
                    last(&ours),
                    last(&stocks),
                    last(&twins)
                );
            }
            let ratio = |others: &[f64]| {
                median(ours.iter().zip(others).map(|(ours, other)| ours / other).collect())
            };
            let (stock_ratio, twin_ratio) = (ratio(&stocks), ratio(&twins));
            let ours = median(ours);
            // Backward costs as much again for the maps, and again for the weights.
            let passes = if mode == Mode::Train { 3.0 } else { 1.0 };
            let operations = cost::operations(*network).map(|operations| passes * operations);
            let share = ours.zip(operations).zip(peak).map(|((n, cost), peak)| n * cost / peak);
            table.row([
                network.to_string(),
                format!("{mode:?}").to_lowercase(),
                shown(ours, 1),
                share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
                shown(median(stocks), 1),
                shown(stock_ratio, 1),
                shown(median(twins), 1),
                shown(twin_ratio, 2),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

fn start(arguments: &Arguments) -> io::Result<PyTorch> {
    PyTorch::start(&arguments.python, "throughput.py", arguments.same_memory)
}

fn question(network: Architecture, mode: Mode, arguments: &Arguments) -> String {
    let mode = format!("{mode:?}").to_lowercase();
    format!("{network} {mode} {} {}", arguments.batch, arguments.seconds)
}

/// Largest memory of this process, in MB, or what it has now.
fn resident(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .ok()
        .map(|kb: f64| kb / 1024.0)
}

/// Peaks of processes in training, each network in processes of its own.
fn memory_table(arguments: &Arguments) -> io::Result<()> {
    let [network] = arguments.networks[..] else {
        println!("batch {}, MB of the whole process", arguments.batch);
        let program = std::env::current_exe()?;
        for network in &arguments.networks {
            let mut process = std::process::Command::new(&program);
            process.args(["--bench", "--memory", "--networks", &network.to_string()]);
            process.args(["--batch", &arguments.batch.to_string()]);
            process.args(["--seconds", &arguments.seconds.to_string()]);
            process.arg("--python").arg(&arguments.python);
            if !process.status()?.success() {
                return Err(io::Error::other(format!("{network} could not be measured")));
            }
        }
        return Ok(());
    };
    let (batch, side) = (arguments.batch.into(), network.image_size());
    let mut run = Run::new(model(network), Mode::Train, batch, side);
    run.images_per_second(1);
    let early = resident("VmRSS");
    let rate = run.images_per_second(arguments.seconds);
    let steps = rate * f64::from(arguments.seconds) / f64::from(arguments.batch);
    let peak = resident("VmHWM");
    let late = resident("VmRSS");
    let twin = match start(arguments) {
        Ok(mut pytorch) => {
            pytorch.ask(&question(network, Mode::Train, arguments))?;
            Some(pytorch.ask("memory")?)
        }
        Err(_) => None,
    };
    let shown =
        |megabytes: Option<f64>| megabytes.map_or("–".to_owned(), |mb| format!("{mb:.0}"));
    let [peak, twin, early, late] = [peak, twin, early, late].map(shown);
    println!(
        "{network}: peak {peak}, PyTorch {twin}; {early} after the first steps, {late} after {steps:.0} more"
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Train,
    Inference,
}

/// What is measured: features, head and loss.
trait Network: AutodiffModule<TrainingBackend> {
    fn loss(
        &self,
        images: Tensor<TrainingBackend, 4>,
        targets: Tensor<TrainingBackend, 1, Int>,
    ) -> Tensor<TrainingBackend, 1>;

    fn infer(fixed: &Self::InnerModule, images: Tensor<InferenceBackend, 4>);
}

type Ours = Model<TrainingBackend>;

impl Network for Ours {
    fn loss(
        &self,
        images: Tensor<TrainingBackend, 4>,
        targets: Tensor<TrainingBackend, 1, Int>,
    ) -> Tensor<TrainingBackend, 1> {
        LossConfig::new(HeadKind::IsoMaxPlus).init().forward(self.forward(images), targets)
    }

    fn infer(fixed: &Self::InnerModule, images: Tensor<InferenceBackend, 4>) {
        fixed.forward(images);
    }
}

fn model(network: Architecture) -> Ours {
    let config = ModelConfig::new(network, 10).with_head(HeadKind::IsoMaxPlus);
    config.init::<TrainingBackend>(&backend::device())
}

/// A network at work.
struct Run<N: Network> {
    mode: Mode,
    batch: usize,
    side: usize,
    device: backend::Device,
    model: Option<N>,
    fixed: N::InnerModule,
}

impl<N: Network> Run<N> {
    fn new(model: N, mode: Mode, batch: usize, side: usize) -> Self {
        let device = backend::device();
        Self { mode, batch, side, fixed: model.valid(), device, model: Some(model) }
    }

    fn images_per_second(&mut self, seconds: u16) -> f64 {
        let (device, shape) = (&self.device, [self.batch, 3, self.side, self.side]);
        let images =
            Tensor::<TrainingBackend, 4>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let labels: Vec<i32> = (0..self.batch as i32).map(|i| i % 10).collect();
        let targets = Tensor::<TrainingBackend, 1, Int>::from_ints(labels.as_slice(), device);
        let momentum =
            MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(true);
        let mut optimizer = SgdConfig::new()
            .with_momentum(Some(momentum))
            .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
            .init::<TrainingBackend, N>();
        let wait = || InferenceBackend::sync(device).expect("the device works");
        let mut step = || match self.mode {
            Mode::Train => {
                // Taken out, so that the optimizer may change it in place.
                let Some(model) = self.model.take() else { return };
                let value = model.loss(images.clone(), targets.clone());
                let gradients = GradientsParams::from_grads(value.backward(), &model);
                self.model = Some(optimizer.step(0.1, model, gradients));
                wait();
            }
            Mode::Inference => {
                N::infer(&self.fixed, images.clone().inner());
                wait();
            }
        };
        // Kernels are chosen and compiled in the first steps.
        (0..3).for_each(|_| step());
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(seconds.into()) {
            step();
            count += self.batch;
        }
        count as f64 / start.elapsed().as_secs_f64()
    }
}
