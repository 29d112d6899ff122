//! Trainings that are killed at any moment, and end as if they had not been.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

mod support;

use support::{fail, isomax_bench, succeed, write_cifar10, write_noise};

const EPOCHS: usize = 6;
const TRAIN: &str = "train --id-data cifar10 --architecture resnet-8 --head isomax+ --epochs 6 \
                     --batch-size 16 --validation-images 24 --ood noise --ood-every 2 --workers 2";

/// Kills at a random moment, and kills at a moment after a file of a checkpoint has begun to be
/// written.
const RANDOM_KILLS: usize = 12;
const SAVING_KILLS: usize = 12;

fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_cifar10(&folder.path().join("data"), 20);
    write_noise(&folder.path().join("data/noise"), 20);
    folder
}

fn run_folder(output: &Path) -> PathBuf {
    output.join("cifar10_resnet-8_isomax+/run-1")
}

fn start(folder: &Path, output: &Path) -> Child {
    isomax_bench(folder)
        .args(TRAIN.split_whitespace())
        .arg("--output")
        .arg(output)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const RESULTS: [&str; 4] =
    ["history.json", "model.safetensors", "training.json", "evaluation.json"];

fn results(output: &Path) -> Vec<Vec<u8>> {
    RESULTS.iter().map(|file| fs::read(run_folder(output).join(file)).unwrap()).collect()
}

/// Fails with the name of the file that differs, and the first line that does.
fn assert_same(found: &[Vec<u8>], expected: &[Vec<u8>], when: &str) {
    for ((found, expected), file) in found.iter().zip(expected).zip(RESULTS) {
        let lines = |bytes: &[u8]| -> Vec<String> {
            String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect()
        };
        let (found_lines, expected_lines) = (lines(found), lines(expected));
        let differing = found_lines.iter().zip(&expected_lines).find(|(a, b)| a != b);
        assert!(
            found == expected,
            "{file} differs {when}: {} and {} lines, {differing:.200?}",
            found_lines.len(),
            expected_lines.len(),
        );
    }
}

/// Names and times of the files of checkpoints, temporary ones included.
fn checkpoint_files(output: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run_folder(output).join("checkpoint")).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn is_temporary(file: &Path) -> bool {
    file.file_name().unwrap().to_string_lossy().starts_with(".tmp")
}

/// Waits until something changes among the checkpoints, or the training ends.
fn wait_for_saving(child: &mut Child, output: &Path) {
    let before = checkpoint_files(output);
    while child.try_wait().unwrap().is_none() && checkpoint_files(output) == before {
        sleep(Duration::from_micros(200));
    }
}

#[test]
fn killed_trainings_end_as_if_they_had_not_been() {
    let folder = data();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let begun = Instant::now();
    assert!(start(folder.path(), &whole).wait().unwrap().success());
    let duration = begun.elapsed();
    let expected = results(&whole);

    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut kills = 0;
    let mut finished = 0;
    while kills < RANDOM_KILLS + SAVING_KILLS {
        let mut child = start(folder.path(), &killed);
        if kills % 2 == 0 {
            // Early enough that several kills fall into one training.
            sleep(duration.mul_f64(rng.random_range(0.0..0.6)));
        } else {
            wait_for_saving(&mut child, &killed);
            sleep(Duration::from_micros(rng.random_range(0..30_000)));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        if run_folder(&killed).join("evaluation.json").exists() {
            assert!(start(folder.path(), &killed).wait().unwrap().success());
            assert_same(&results(&killed), &expected, &format!("after {kills} kills"));
            assert!(checkpoint_files(&killed).iter().all(|file| !is_temporary(file)));
            finished += 1;
            fs::remove_dir_all(&killed).unwrap();
        }
    }
    assert!(start(folder.path(), &killed).wait().unwrap().success());
    assert_same(&results(&killed), &expected, "at the end");
    eprintln!("{kills} kills, {} trainings of {EPOCHS} epochs", finished + 1);
}

#[test]
fn a_damaged_checkpoint_is_warned_of_and_passed_over() {
    let folder = data();
    let output = folder.path().join("results");
    succeed(folder.path(), &format!("{TRAIN} --output whole"));
    let mut child = start(folder.path(), &output);
    // The parts are saved side by side.
    let is_there = |part| run_folder(&output).join(format!("checkpoint/{part}-3.mpk")).exists();
    while !["model", "optim", "scheduler"].into_iter().all(is_there) {
        assert!(child.try_wait().unwrap().is_none(), "too fast to be interrupted");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A later one may be whole; then there is nothing to fall back from.
    for file in checkpoint_files(&output) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("-4") || name.contains("-5") || name.contains("-6") {
            fs::remove_file(file).unwrap();
        }
    }
    // Whole, but of something else, as of another version of the program.
    let [newest, scheduler] = ["model", "scheduler"]
        .map(|part| run_folder(&output).join(format!("checkpoint/{part}-3.mpk")));
    let own = fs::read(&scheduler).unwrap();
    fs::copy(&newest, &scheduler).unwrap();
    let arguments = format!("{TRAIN} --output {}", output.display());
    let errors = fail(folder.path(), &arguments);
    assert!(errors.contains("scheduler-3.mpk: expected a checkpoint of this network"), "{errors}");
    fs::write(&scheduler, own).unwrap();

    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let resumed = support::run(folder.path(), &arguments);
    let errors = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(resumed.status.success(), "{errors}");
    assert!(errors.contains("checkpoint of epoch 3 is left out"), "{errors}");
    assert!(errors.contains("epoch 3/6") && !errors.contains("epoch 2/6"), "{errors}");
    let whole = results(&folder.path().join("whole"));
    assert_same(&results(&output), &whole, "after falling back");
}

#[test]
fn a_folder_belongs_to_one_process_and_one_configuration() {
    let folder = data();
    let output = folder.path().join("results");
    let mut child = start(folder.path(), &output);
    while !run_folder(&output).join("checkpoint").exists() {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(1));
    }
    let errors = fail(folder.path(), &format!("{TRAIN} --output results"));
    assert!(errors.contains("run-1: another process is training here"), "{errors}");
    child.kill().unwrap();
    child.wait().unwrap();
    let errors = fail(folder.path(), &format!("{TRAIN} --output results --learning-rate 0.2"));
    assert!(errors.contains("learning_rate: 0.1 there, 0.2 here"), "{errors}");
}
