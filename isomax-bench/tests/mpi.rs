//! Trainings by the ranks of an MPI on this machine, some of which are killed.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use burn::backend::Flex;
use isomax_bench::results::{self, History, Training};
use isomax_burn::HeadKind;
use isomax_models::{Backbone as _, CifarResNetConfig, store};

mod support;

use support::{succeed, write_cifar10, write_noise};

// 64 images to train on: four batches.
const TRAIN: &str = "train --id-data cifar10 --architecture resnet-8 --head isomax+ --batch-size 16 \
                     --validation-images 20 --calibration-images 16 --ood noise --ood-every 2 --plain";
const PROGRAM: &str = env!("CARGO_BIN_EXE_isomax-bench");

fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_cifar10(&folder.path().join("data"), 20);
    write_noise(&folder.path().join("data/noise"), 20);
    folder
}

fn mpirun(folder: &Path) -> Command {
    let mut command = Command::new("mpirun");
    // More ranks than processors, and a container may have no other user than root.
    for setting in [
        "OMPI_MCA_rmaps_base_oversubscribe",
        "OMPI_ALLOW_RUN_AS_ROOT",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
        "RAYON_NUM_THREADS",
    ] {
        command.env(setting, "1");
    }
    command.current_dir(folder);
    command
}

/// A training by so many ranks; flags are parted by spaces.
fn by_ranks(folder: &Path, ranks: usize, flags: &str) -> Command {
    let mut command = mpirun(folder);
    command.args(["-n", &ranks.to_string(), PROGRAM]);
    command.args(TRAIN.split_whitespace()).args(flags.split_whitespace());
    command
}

fn output_of(mut command: Command) -> Output {
    command.output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn finish(folder: &Path, ranks: usize, flags: &str) {
    let output = output_of(by_ranks(folder, ranks, flags));
    assert!(output.status.success(), "{}", errors(&output));
    // Rank 0 alone prints.
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(printed.matches(", run 1\n").count(), 1, "{printed}");
}

fn run_folder(folder: &Path, output: &str) -> PathBuf {
    folder.join(output).join("cifar10_resnet-8_isomax+/run-1")
}

fn history(folder: &Path, output: &str) -> History {
    results::read(run_folder(folder, output).join(results::HISTORY)).unwrap()
}

/// What gradients change.
fn weights(folder: &Path, output: &str) -> BTreeMap<String, Vec<u8>> {
    let network = CifarResNetConfig::new(8, 10).with_head(HeadKind::IsoMaxPlus);
    let mut network = network.init::<Flex>(&Default::default());
    network.load_weights(run_folder(folder, output).join(results::MODEL)).unwrap();
    let tensors = store::tensors(&network).unwrap().into_iter();
    let is_trained = |name: &str| !name.contains("running_");
    tensors.map(|t| (t.name, t.bytes)).filter(|(name, _)| is_trained(name)).collect()
}

fn all_files(folder: &Path, output: &str) -> Vec<Vec<u8>> {
    let run = run_folder(folder, output);
    [results::HISTORY, results::MODEL, results::TRAINING, results::EVALUATION]
        .map(|file| fs::read(run.join(file)).unwrap())
        .into()
}

fn losses(history: &History, of: &str) -> Vec<f64> {
    let value = |epoch: &results::Epoch| match of {
        "train" => epoch.train["loss"],
        _ => epoch.valid["loss"],
    };
    history.epochs.iter().map(value).collect()
}

#[test]
fn ranks_train_as_one_that_accumulates_gradients() {
    let folder = data();
    let folder = folder.path();
    // The last epoch, which running statistics do not choose.
    let flags = "--epochs 3 --selection last";
    finish(folder, 2, &format!("{flags} --output two"));
    succeed(folder, &format!("{TRAIN} {flags} --gradient-accumulation 2 --output alone-2"));
    assert!(weights(folder, "two") == weights(folder, "alone-2"));
    let (two, alone) = (history(folder, "two"), history(folder, "alone-2"));
    assert_eq!(losses(&two, "train"), losses(&alone, "train"));

    finish(folder, 4, &format!("{flags} --output four"));
    succeed(folder, &format!("{TRAIN} {flags} --gradient-accumulation 4 --output alone-4"));
    let (four, alone) = (history(folder, "four"), history(folder, "alone-4"));
    for (loss, expected) in losses(&four, "train").into_iter().zip(losses(&alone, "train")) {
        assert!((loss - expected).abs() < 1e-4 * expected, "{loss} and {expected}");
    }
    // Running statistics are a mean of four here, and of one image after the other there.
    assert_ne!(losses(&four, "valid"), losses(&alone, "valid"));
    let training: Training =
        results::read(run_folder(folder, "four").join(results::TRAINING)).unwrap();
    assert_eq!(training.recipe.get("ranks").as_deref(), Some("4"));
}

fn start(folder: &Path, ranks: usize, flags: &str) -> Child {
    let mut command = by_ranks(folder, ranks, flags);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the checkpoint of an epoch.
fn wait_for(epoch: usize, folder: &Path, output: &str, child: &mut Child) {
    let run = run_folder(folder, output);
    let is_there = |part| run.join(format!("checkpoint/{part}-{epoch}.mpk")).exists();
    while !["model", "optim", "scheduler"].into_iter().all(is_there) {
        assert!(child.try_wait().unwrap().is_none(), "too fast to be interrupted");
        sleep(Duration::from_millis(1));
    }
}

fn signal(name: &str, process: u32) {
    let done = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(done.unwrap().success());
}

/// The processes that a launcher has started, in the order of their ranks.
fn ranks_of(launcher: &Child) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", launcher.id())).unwrap();
    let children =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    let mut ranks: Vec<u32> = children
        .flat_map(|c| c.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    ranks.sort_unstable();
    ranks
}

#[test]
fn a_death_ends_all_ranks_and_the_run_goes_on_as_if_there_had_been_none() {
    let folder = data();
    let folder = folder.path();
    let flags = "--epochs 60 --early-stopping 60 --milestones 30";
    finish(folder, 2, &format!("{flags} --output whole"));
    let killed = format!("{flags} --output killed");

    let mut launcher = start(folder, 2, &killed);
    wait_for(1, folder, "killed", &mut launcher);
    let ranks = ranks_of(&launcher);
    assert_eq!(ranks.len(), 2);
    signal("KILL", ranks[1]);
    let output = launcher.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(errors(&output).contains("signal 9"), "{}", errors(&output));

    // As a scheduler ends a job.
    let mut launcher = start(folder, 2, &killed);
    wait_for(3, folder, "killed", &mut launcher);
    signal("TERM", launcher.id());
    assert!(!launcher.wait().unwrap().success());
    assert!(!run_folder(folder, "killed").join(results::TRAINING).exists());

    finish(folder, 2, &killed);
    assert!(all_files(folder, "killed") == all_files(folder, "whole"));
}

#[test]
fn a_run_goes_on_with_other_ranks_and_says_so() {
    let folder = data();
    let folder = folder.path();
    let flags = "--epochs 60 --milestones 30 --output grown";
    let mut launcher = start(folder, 2, flags);
    wait_for(2, folder, "grown", &mut launcher);
    signal("TERM", launcher.id());
    launcher.wait().unwrap();
    finish(folder, 4, flags);
    let ranks: Vec<usize> = history(folder, "grown").epochs.iter().map(|e| e.ranks).collect();
    assert_eq!(ranks.len(), 60);
    assert!(ranks.is_sorted() && ranks[0] == 2 && ranks[59] == 4, "{ranks:?}");
    let training: Training =
        results::read(run_folder(folder, "grown").join(results::TRAINING)).unwrap();
    assert_eq!(training.recipe.get("ranks").as_deref(), Some("[2,4]"));
    // What is finished stays so, with any number of ranks.
    finish(folder, 3, flags);
    assert_eq!(
        training,
        results::read(run_folder(folder, "grown").join(results::TRAINING)).unwrap()
    );
}

/// Flags of the first and of the second rank.
fn two_kinds(folder: &Path, first: &str, second: &str) -> Output {
    let mut command = mpirun(folder);
    for (place, flags) in [first, second].into_iter().enumerate() {
        if place > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", PROGRAM]).args(TRAIN.split_whitespace());
        command.args(flags.split_whitespace());
    }
    output_of(command)
}

#[test]
fn what_keeps_ranks_from_training_is_told_once() {
    let folder = data();
    let folder = folder.path();
    for (second, what) in [
        ("--epochs 2 --learning-rate 0.2", "another configuration than rank 0"),
        ("--epochs 2 --only-run 2", "another run than rank 0"),
    ] {
        let output = two_kinds(folder, "--epochs 2", second);
        let errors = errors(&output);
        assert!(!output.status.success());
        assert_eq!(errors.matches(what).count(), 1, "{errors}");
    }
    let output = output_of(by_ranks(folder, 2, "--data-dir nowhere"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output).matches("error: ").count(), 1, "{}", errors(&output));
    let output = output_of(by_ranks(folder, 5, "--epochs 2"));
    assert!(errors(&output).contains("4 batches, too few for 5 ranks"), "{}", errors(&output));
    let output = output_of(by_ranks(folder, 2, "--epochs 2 --devices 2"));
    assert!(errors(&output).contains("start a rank for each device"), "{}", errors(&output));
    // A loss that is no number ends all at the same step.
    let output = output_of(by_ranks(folder, 2, "--epochs 2 --learning-rate 1e30 --output lost"));
    assert!(errors(&output).contains("not finite in epoch 1, step"), "{}", errors(&output));
}
