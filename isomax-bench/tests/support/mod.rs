//! Generated data sets in the formats of the real ones, and the program that reads them.

// Each test uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The program, at work in a folder.
pub fn isomax_bench(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isomax-bench"));
    command.current_dir(folder);
    command
}

/// Runs the program with arguments that are parted by spaces.
pub fn run(folder: &Path, arguments: &str) -> Output {
    isomax_bench(folder).args(arguments.split_whitespace()).output().unwrap()
}

/// What the program prints; it must succeed.
pub fn succeed(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the program complains of; it must fail with the exit status 1 and print nothing else.
pub fn fail(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments}");
    errors
}

/// The folder with images, weights and results of PyTorch, if the environment names one.
pub fn reference_folder() -> Option<PathBuf> {
    env::var_os("ISOMAX_REFERENCE").map(PathBuf::from)
}

/// Unpacks the files of an archive that match, or all.
pub fn unpack(archive: &Path, folder: &Path, patterns: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    let tar = Command::new("tar")
        .arg("xJf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .arg("--wildcards")
        .args(patterns)
        .status();
    let unpacked = tar.is_ok_and(|status| status.success());
    assert!(unpacked, "{}: not there, or no tar with xz", archive.display());
}

/// A pixel of an image of a class: its own brightness in a channel, its own stripes, and noise.
fn pixel(class: usize, image: usize, channel: usize, at: usize) -> u8 {
    let noise = (image * 7919 + channel * 104_729 + at).wrapping_mul(2_654_435_761) >> 9;
    let stripes = if (at / (class + 1)).is_multiple_of(2) { 60 } else { 0 };
    let brightness = 40 + 12 * ((class * (channel + 2)) % 10);
    (brightness + stripes + noise % 40) as u8
}

/// CIFAR-10 in the official binary layout, with fewer images: five training files of `per_file`
/// images each, and as many test images as one of them.
pub fn write_cifar10(data: &Path, per_file: usize) {
    let folder = data.join("cifar-10-batches-bin");
    fs::create_dir_all(&folder).unwrap();
    for file in 0..6 {
        let mut bytes = Vec::new();
        for image in file * per_file..(file + 1) * per_file {
            let class = image % 10;
            bytes.push(class as u8);
            let planes = (0..3).flat_map(|channel| (0..1024).map(move |at| (channel, at)));
            bytes.extend(planes.map(|(channel, at)| pixel(class, image, channel, at)));
        }
        let name = match file {
            5 => "test_batch.bin".to_owned(),
            _ => format!("data_batch_{}.bin", file + 1),
        };
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// A folder of PNG images of noise, 32 × 32.
pub fn write_noise(folder: &Path, count: usize) {
    fs::create_dir_all(folder).unwrap();
    for image in 0..count {
        let value = |x: u32, y: u32, c: u32| {
            let at = (image as u32 * 3_072 + c * 1_024 + y * 32 + x).wrapping_mul(2_654_435_761);
            (at >> 11) as u8
        };
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            image::Rgb([value(x, y, 0), value(x, y, 1), value(x, y, 2)])
        });
        picture.save(folder.join(format!("{image:04}.png"))).unwrap();
    }
}
