//! Images per second in training and inference, beside the same networks in PyTorch.
//!
//! ```text
//! cargo bench -p isomax-bench --bench throughput                            # flex
//! cargo bench -p isomax-bench --bench throughput --features tch             # or wgpu, cuda, …
//! cargo bench -p isomax-bench --bench throughput -- --python /path/to/python --networks resnet-20
//! ```
//!
//! Burn and PyTorch run in turns, so that both see the same machine, and each ratio is the median over
//! the rounds. Without a Python that has PyTorch, Burn's numbers stand alone. Images are 32 × 32 noise in
//! the memory of the device: loading data is not measured.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use burn::module::AutodiffModule;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor};
use clap::Parser;
use isomax_bench::backend::{self, InferenceBackend, TrainingBackend};
use isomax_burn::{HeadKind, LossConfig};
use isomax_charts::Table;
use isomax_models::{Architecture, Backbone, Model, ModelConfig};

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
    /// A Python that has PyTorch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The script that measures PyTorch.
    #[arg(long, default_value = concat!(
        env!("CARGO_MANIFEST_DIR"), "/../isomax-models/pytorch/throughput.py"
    ))]
    script: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let mut pytorch = PyTorch::start(arguments);
    let (burn, twin) = match &pytorch {
        Ok(pytorch) => (backend::name(), pytorch.name.clone()),
        Err(error) => {
            eprintln!("without PyTorch: {}: {error}", arguments.python.display());
            (backend::name(), "PyTorch".to_owned())
        }
    };
    println!("Burn 0.21.0 on {burn}; batch {}, images/s", arguments.batch);
    let mut table = Table::new(["network", "", &burn, &twin, "ratio"]);
    for network in &arguments.networks {
        for mode in [Mode::Train, Mode::Inference] {
            let mut rounds = Vec::new();
            let mut run = Run::new(*network, mode, arguments.batch.into());
            for _ in 0..arguments.rounds {
                let burn = run.images_per_second(arguments.seconds);
                let twin = match &mut pytorch {
                    Ok(pytorch) => Some(pytorch.measure(*network, mode, arguments)?),
                    Err(_) => None,
                };
                eprintln!("{network}, {mode:?}: {burn:.1}, {twin:.1?}");
                rounds.push((burn, twin));
            }
            let ratios = rounds.iter().filter_map(|(burn, twin)| Some(burn / (*twin)?)).collect();
            let shown = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
            };
            table.row([
                network.to_string(),
                format!("{mode:?}").to_lowercase(),
                shown(median(rounds.iter().map(|(burn, _)| *burn).collect()), 1),
                shown(median(rounds.iter().filter_map(|(_, twin)| *twin).collect()), 1),
                shown(median(ratios), 2),
            ]);
        }
    }
    println!("{table}");
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

/// A network at work.
struct Run {
    mode: Mode,
    batch: usize,
    device: backend::Device,
    model: Option<Model<TrainingBackend>>,
    fixed: Model<InferenceBackend>,
}

impl Run {
    fn new(network: Architecture, mode: Mode, batch: usize) -> Self {
        let device = backend::device();
        let config = ModelConfig::new(network, 10).with_head(HeadKind::IsoMaxPlus);
        let model = config.init::<TrainingBackend>(&device);
        Self { mode, batch, fixed: model.valid(), device, model: Some(model) }
    }

    fn images_per_second(&mut self, seconds: u16) -> f64 {
        let (device, shape) = (&self.device, [self.batch, 3, 32, 32]);
        let images =
            Tensor::<TrainingBackend, 4>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let labels: Vec<i32> = (0..self.batch as i32).map(|i| i % 10).collect();
        let targets = Tensor::<TrainingBackend, 1, Int>::from_ints(labels.as_slice(), device);
        let loss = LossConfig::new(HeadKind::IsoMaxPlus).init();
        let momentum =
            MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(true);
        let mut optimizer = SgdConfig::new()
            .with_momentum(Some(momentum))
            .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
            .init::<TrainingBackend, Model<TrainingBackend>>();
        let wait = || InferenceBackend::sync(device).expect("the device works");
        let mut step = || match self.mode {
            Mode::Train => {
                // Taken out, so that the optimizer may change it in place.
                let Some(model) = self.model.take() else { return };
                let value = loss.forward(model.forward(images.clone()), targets.clone());
                let gradients = GradientsParams::from_grads(value.backward(), &model);
                self.model = Some(optimizer.step(0.1, model, gradients));
                wait();
            }
            Mode::Inference => {
                self.fixed.forward(images.clone().inner());
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

/// PyTorch in a process of its own, which answers questions.
struct PyTorch {
    name: String,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    fn start(arguments: &Arguments) -> io::Result<Self> {
        let mut process = Command::new(&arguments.python)
            .arg(&arguments.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| io::Error::other("no output"))?);
        let mut pytorch = Self { name: String::new(), process, questions, answers };
        pytorch.name = pytorch.answer()?;
        Ok(pytorch)
    }

    fn measure(
        &mut self,
        network: Architecture,
        mode: Mode,
        arguments: &Arguments,
    ) -> io::Result<f64> {
        let mode = if mode == Mode::Train { "train" } else { "inference" };
        let questions = self.questions.as_mut().ok_or_else(|| io::Error::other("no input"))?;
        writeln!(questions, "{network} {mode} {} {}", arguments.batch, arguments.seconds)?;
        questions.flush()?;
        let answer = self.answer()?;
        answer.parse().map_err(|_| io::Error::other(format!("'{answer}' for a number")))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("PyTorch did not answer"));
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Without questions the process ends by itself.
        self.questions = None;
        if let Err(error) = self.process.wait() {
            eprintln!("PyTorch: {error}");
        }
    }
}
