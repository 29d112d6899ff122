//! How fast images get ready: batches a second from memory, and the start from each kind of copy.
//!
//! ```text
//! cargo bench -p isomax-bench --bench data
//! cargo bench -p isomax-bench --bench data -- --folder cifar10/train     # your own folder of images
//! ```
//!
//! Without a folder, 10,000 generated images stand for one. Nothing is uploaded: what is measured is
//! what the background threads do while a device computes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::backend::Flex;
use burn::data::dataloader::DataLoader;
use clap::Parser;
use isomax_bench::data::{
    Augmentation, DataFolder, FolderOptions, ImageBatches, ImageLoader, ImageSource, Images,
    JpegDecoder, Normalization, OodSource, PublishedSet, Split,
};
use isomax_charts::Table;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Throughput of the loader, and start-up times.
#[derive(Parser)]
struct Arguments {
    /// Folder with a folder of PNG or JPEG images for each class, all of one size.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Batch size.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Seconds to measure for, each time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
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

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let folder = match &arguments.folder {
        Some(folder) => fs::canonicalize(folder)?,
        None => generate(scratch.path())?,
    };
    let mut table = Table::new(["start from", "images", "seconds", "peak memory, MB"]);
    for jpeg in JpegDecoder::ALL {
        let options = FolderOptions { jpeg, ..Default::default() };
        let read = || -> Result<Arc<dyn ImageSource>, _> {
            Ok(Arc::new(Images::from_folder_with(&folder, &options)?))
        };
        start(&mut table, &format!("folder, decoder {jpeg}"), read)?;
    }
    let images = Images::from_folder(&folder)?;

    let data = DataFolder::new(scratch.path());
    let source = OodSource { name: "images".to_owned(), folder: Some(folder) };
    let cached = || Ok(data.ood(&source)?.images);
    start(&mut table, "folder, cache written", cached)?;
    start(&mut table, "folder, from cache", cached)?;

    // The images again, as the official binary files of CIFAR-10 have them.
    if images.size == [32, 32] && images.classes.len() <= 10 {
        write_binary(&scratch.path().join("cifar-10-batches-bin"), &images)?;
        let cifar10 = |split| Ok(data.id_set(PublishedSet::Cifar10, split)?.images);
        start(&mut table, "binary", || cifar10(Split::Train))?;
    }
    println!("{table}");

    let images = Arc::new(images);
    let mut table = Table::new(["batches", "workers", "images/s", "images/s and core"]);
    for (name, augmentation) in
        [("crops and flips", Some(Augmentation::PUBLISHED)), ("plain", None)]
    {
        for workers in [1, 2] {
            let rate = rate(&images, augmentation, workers, arguments);
            let per_core = rate / workers as f64;
            table.row([
                name.to_owned(),
                workers.to_string(),
                format!("{rate:.0}"),
                format!("{per_core:.0}"),
            ]);
        }
    }
    println!("{table}");
    println!("{} images in memory: {} MB", images.len(), images.bytes.len() / 1_000_000);
    Ok(())
}

/// Measures how long a set takes to be in memory, and how much memory on the way.
fn start(
    table: &mut Table,
    name: &str,
    read: impl FnOnce() -> Result<Arc<dyn ImageSource>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    let images = read()?;
    let seconds = begun.elapsed().as_secs_f64();
    let peak = MEMORY.peak_usage().saturating_sub(before) / 1_000_000;
    table.row([
        name.to_owned(),
        images.len().to_string(),
        format!("{seconds:.2}"),
        peak.to_string(),
    ]);
    Ok(())
}

/// Images a second that workers get ready while the consumer does nothing.
fn rate(
    images: &Arc<Images>,
    augmentation: Option<Augmentation>,
    workers: usize,
    arguments: &Arguments,
) -> f64 {
    let batches = ImageBatches::new(images.clone(), Normalization::CIFAR10, arguments.batch.into())
        .shuffled(1)
        .with_workers(workers);
    let batches = match augmentation {
        Some(augmentation) => batches.augmented(augmentation),
        None => batches,
    };
    // On flex a tensor takes the batch as it is.
    let loader = ImageLoader::<Flex>::new(batches, &Default::default());
    let limit = Duration::from_secs(arguments.seconds.into());
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < limit {
        count += loader.iter().map(|batch| batch.targets.dims()[0]).sum::<usize>();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Ten classes of smooth pictures, as JPEG like those of the image folders that people have.
fn generate(scratch: &Path) -> Result<PathBuf, Box<dyn Error>> {
    use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
    let folder = scratch.join("generated");
    for index in 0..10_000_u32 {
        let class = folder.join(format!("class-{}", index % 10));
        fs::create_dir_all(&class)?;
        let pixels: Vec<u8> = (0..32 * 32)
            .flat_map(|at: u32| {
                [at % 32 * 8, at / 32 * 8, index * 31 + at % 7 * 9].map(|v| v as u8)
            })
            .collect();
        let jpeg = compress(&pixels, 32, 32, PixelFormat::Rgb, 75, Subsampling::S420)?;
        fs::write(class.join(format!("{index}.jpg")), jpeg)?;
    }
    Ok(folder)
}

fn write_binary(folder: &Path, images: &Images) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let per_file = (images.len() / 5).min(10_000);
    for file in 0..5 {
        let mut bytes = Vec::with_capacity(per_file * 3073);
        for index in file * per_file..(file + 1) * per_file {
            bytes.push(images.labels[index] as u8);
            let image = images.image(index);
            (0..3).for_each(|c| bytes.extend(image.iter().skip(c).step_by(3)));
        }
        fs::write(folder.join(format!("data_batch_{}.bin", file + 1)), bytes)?;
    }
    Ok(())
}
