//! GFLOP/s of single convolutions: the kernels of this project, Burn's backend flex, and PyTorch with oneDNN.
//!
//! ```text
//! cargo bench -p isomax-bench --bench kernels -- --python /path/to/python
//! ```
//!
//! All run in turns, forward and both gradients, at batch 64. Without a Python that has PyTorch, its column is
//! empty. `cargo bench -p isomax-kernels` has more shapes, and no more than the kernels.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::backend::Flex;
use burn::tensor::ops::{ConvOptions, ModuleOps};
use burn::tensor::{Distribution, Tensor};
use clap::Parser;
use isomax_bench::memory;
use isomax_charts::Table;
use isomax_kernels::conv::{Conv, forward, maps_gradient, weight_gradient};
use isomax_kernels::{Finish, peak_flops};

#[path = "support/pytorch.rs"]
mod pytorch;

use pytorch::PyTorch;

const BATCH: usize = 64;
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(60);

/// Channels in and out, side, kernel, stride and groups.
const SHAPES: [[usize; 6]; 13] = [
    [16, 16, 32, 3, 1, 1],
    [32, 32, 16, 3, 1, 1],
    [64, 64, 8, 3, 1, 1],
    [48, 12, 16, 3, 1, 1],
    [128, 128, 16, 3, 1, 1],
    [16, 32, 32, 3, 2, 1],
    [96, 48, 32, 1, 1, 1],
    [300, 48, 8, 1, 1, 1],
    [3, 64, 64, 7, 2, 1],
    [96, 96, 56, 3, 2, 96],
    [144, 144, 28, 3, 1, 144],
    [144, 144, 28, 5, 2, 144],
    [480, 480, 14, 5, 1, 480],
];

/// GFLOP/s of single convolutions.
#[derive(Parser)]
struct Arguments {
    /// A Python that has PyTorch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    memory::keep_freed();
    let arguments = Arguments::parse();
    let mut pytorch = PyTorch::start(&arguments.python, "kernels.py", false);
    let twin = pytorch.as_ref().map_or("PyTorch", |pytorch| &pytorch.name).to_owned();
    println!("GFLOP/s of ours, flex, {twin}; peak {:.0}", peak_flops() / 1e9);
    let mut table =
        Table::new(["convolution", "forward", "gradient of maps", "gradient of weights"]);
    for shape @ [channels_in, channels_out, side, kernel, stride, groups] in SHAPES {
        let padding = kernel / 2;
        let conv = Conv {
            stride,
            padding: [[padding; 2]; 2],
            groups,
            ..Conv::new(BATCH, [channels_in, channels_out], [side; 2], [kernel; 2])
        };
        let [rows, columns] = conv.output_size();
        let random = |shape: [usize; 4]| {
            let device = Default::default();
            let tensor = Tensor::<Flex, 4>::random(shape, Distribution::Default, &device);
            (tensor.to_data().iter::<f32>().collect::<Vec<_>>(), tensor.into_primitive().tensor())
        };
        let maps = random([BATCH, channels_in, side, side]);
        let weight = random([channels_out, channels_in / groups, kernel, kernel]);
        let upstream = random([BATCH, channels_out, rows, columns]);
        let operations = 2.0 * (weight.0.len() * BATCH * rows * columns) as f64;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], groups);
        let ours: [&dyn Fn(); 3] = [
            &|| drop(black_box(forward(conv, &maps.0, &weight.0, Finish::default()))),
            &|| drop(black_box(maps_gradient(conv, &upstream.0, &weight.0))),
            &|| drop(black_box(weight_gradient(conv, &maps.0, &upstream.0))),
        ];
        let (x, w, g) = (&maps.1, &weight.1, &upstream.1);
        let stock: [&dyn Fn(); 3] = [
            &|| drop(black_box(Flex::conv2d(x.clone(), w.clone(), None, options.clone()))),
            &|| {
                let (x, w, g) = (x.clone(), w.clone(), g.clone());
                black_box(Flex::conv2d_x_backward(x, w, g, options.clone()));
            },
            &|| {
                let (x, w, g) = (x.clone(), w.clone(), g.clone());
                black_box(Flex::conv2d_weight_backward(x, w, g, options.clone()));
            },
        ];
        let mut cells = Vec::new();
        for (index, what) in ["forward", "maps", "weights"].into_iter().enumerate() {
            let (mut of_ours, mut of_stock, mut of_twin) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                of_ours.push(operations / seconds(ours[index]) / 1e9);
                of_stock.push(operations / seconds(stock[index]) / 1e9);
                if let Ok(pytorch) = &mut pytorch {
                    let sizes = shape.map(|size| size.to_string()).join(" ");
                    of_twin.push(pytorch.ask(&format!("{what} {BATCH} {sizes}"))?);
                }
            }
            let [ours, stock, twin] = [of_ours, of_stock, of_twin].map(median);
            cells.push(format!("{ours}, {stock}, {twin}"));
        }
        let kind = if groups == 1 { "" } else { " depthwise" };
        let name = format!("{kernel}² {channels_in}→{channels_out}, {side}² / {stride}{kind}");
        eprintln!("{name}: {}", cells.join("; "));
        table.row(std::iter::once(name).chain(cells));
    }
    println!("{table}");
    Ok(())
}

/// Seconds of one call, over a turn.
fn seconds(work: &dyn Fn()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TURN {
        work();
        count += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(count)
}

fn median(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
}
