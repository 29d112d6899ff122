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
const TRAIN: &str = "train --id-data cifar10 --architecture resnet-8 --batch-size 16 \
                     --validation-images 20 --calibration-images 16 --ood noise --ood-every 2";
const HEAD: &str = "--head isomax+";
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
    // Containers may forbid that processes read each other's memory.
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    command.current_dir(folder);
    command
}

/// A training by so many ranks; flags are parted by spaces.
fn by_ranks(folder: &Path, ranks: usize, flags: &str) -> Command {
    let mut command = mpirun(folder);
    command.args(["-n", &ranks.to_string(), PROGRAM]);
    command.args(TRAIN.split_whitespace()).args(with_head(flags).split_whitespace());
    command
}

/// With the usual head, if there is none.
fn with_head(flags: &str) -> String {
    if flags.contains("--head") { flags.to_owned() } else { format!("{HEAD} {flags}") }
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
    assert_eq!(printed.matches(", run 1").count(), 1, "{printed}");
    // Lines, though an MPI may let the output look like a terminal.
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

fn run_folder(folder: &Path, output: &str) -> PathBuf {
    folder.join(output).join("cifar10_resnet-8_isomax+/run-1")
}

fn history(folder: &Path, output: &str) -> History {
    results::read(run_folder(folder, output).join(results::HISTORY)).unwrap()
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

/// The folder of the only run of results.
fn only_run(folder: &Path, output: &str) -> PathBuf {
    let mut entries = fs::read_dir(folder.join(output)).unwrap();
    entries.next().unwrap().unwrap().path().join("run-1")
}

/// What gradients change, by PyTorch's names.
fn weights(run: &Path, head: HeadKind) -> BTreeMap<String, Vec<u8>> {
    let mut network =
        CifarResNetConfig::new(8, 10).with_head(head).init::<Flex>(&Default::default());
    network.load_weights(run.join(results::MODEL)).unwrap();
    let tensors = store::tensors(&network).unwrap().into_iter();
    let is_trained = |name: &str| !name.contains("running_");
    tensors.map(|t| (t.name, t.bytes)).filter(|(name, _)| is_trained(name)).collect()
}

#[test]
fn two_ranks_train_as_one_that_accumulates_gradients() {
    let folder = data();
    let folder = folder.path();
    write_noise(&folder.join("data/more"), 30);
    for (place, (head, flags)) in [
        (HeadKind::IsoMaxPlus, "--epochs 3"),
        // A rate that is another one in each step.
        (HeadKind::IsoMax, "--epochs 3 --schedule cosine --warm-up-epochs 1"),
        (HeadKind::DisMax, "--epochs 2 --fpr"),
        (HeadKind::SoftMax, "--epochs 2 --outliers more=data/more --body-learning-rate 0.01"),
        (HeadKind::IsoMax, "--epochs 2 --prototypes class-means --optimizer adamw"),
    ]
    .into_iter()
    .enumerate()
    {
        // The last epoch, which running statistics do not choose.
        let flags = format!("--head {head} {flags} --selection last");
        let (two, alone) = (format!("two-{place}"), format!("alone-{place}"));
        finish(folder, 2, &format!("{flags} --output {two}"));
        succeed(folder, &format!("{TRAIN} {flags} --gradient-accumulation 2 --output {alone}"));
        let (two, alone) = (only_run(folder, &two), only_run(folder, &alone));
        assert!(weights(&two, head) == weights(&alone, head), "{flags}");
        let history =
            |run: &Path| -> History { results::read(run.join(results::HISTORY)).unwrap() };
        let (two, alone) = (history(&two), history(&alone));
        assert_eq!(losses(&two, "train"), losses(&alone, "train"), "{flags}");
        let rates = |history: &History| -> Vec<f64> {
            history.epochs.iter().map(|epoch| epoch.learning_rate).collect()
        };
        assert_eq!(rates(&two), rates(&alone), "{flags}");
    }
}

#[test]
fn four_ranks_differ_from_it_by_rounding() {
    let folder = data();
    let folder = folder.path();
    let flags = "--epochs 3 --selection last";
    finish(folder, 4, &format!("{flags} --output four"));
    let alone = "--gradient-accumulation 4 --output alone-4";
    succeed(folder, &format!("{TRAIN} {HEAD} {flags} {alone}"));
    let (four, alone) = (history(folder, "four"), history(folder, "alone-4"));
    for (loss, expected) in losses(&four, "train").into_iter().zip(losses(&alone, "train")) {
        assert!((loss - expected).abs() < 1e-4 * expected, "{loss} and {expected}");
    }
    // Running statistics are a mean of four here, and of one batch after the other there.
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
        command.args(with_head(flags).split_whitespace());
    }
    output_of(command)
}

/// The only error that is told, of ranks that end.
fn error_of(output: &Output) -> String {
    let errors = errors(output);
    assert!(!output.status.success());
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    errors
}

#[test]
fn ranks_that_were_not_started_alike_are_told_so() {
    let folder = data();
    let folder = folder.path();
    finish(folder, 2, "--epochs 2");
    for (second, what) in [
        ("--epochs 2 --learning-rate 0.2", "another configuration than rank 0"),
        ("--epochs 2 --seed 1", "another configuration than rank 0"),
        ("--epochs 2 --runs 2", "another number of runs"),
        ("--epochs 2 --ood-data more=data/noise", "another configuration than rank 0"),
    ] {
        // Of a run that is finished, and of one that is not begun.
        for output in ["results", "new"] {
            let flags = format!("--output {output}");
            let first = format!("--epochs 2 {flags}");
            // Of two flags of the same name there may be one only.
            let base = TRAIN.replace(" --ood noise", "");
            let second = format!("{second} {flags}");
            let told = match second.contains("--ood-data") {
                true => {
                    let mut command = mpirun(folder);
                    command.args(["-n", "1", PROGRAM]).args(TRAIN.split_whitespace());
                    command.args(with_head(&first).split_whitespace());
                    command.args([":", "-n", "1", PROGRAM]).args(base.split_whitespace());
                    command.args(with_head(&second).split_whitespace());
                    output_of(command)
                }
                false => two_kinds(folder, &first, &second),
            };
            let error = error_of(&told);
            assert!(error.contains(what), "{error}");
        }
    }
}

#[test]
fn what_keeps_ranks_from_training_is_told_once() {
    let folder = data();
    let folder = folder.path();
    let error = |ranks, flags| error_of(&output_of(by_ranks(folder, ranks, flags)));
    let found = error(2, "--data-dir nowhere");
    assert!(found.contains("nowhere"), "{found}");
    let found = error(5, "--epochs 2");
    assert!(found.contains("4 batches, too few for 5 ranks"), "{found}");
    let found = error(2, "--epochs 2 --gradient-accumulation 3");
    assert!(found.contains("has 2 of them for each rank"), "{found}");
    let found = error(2, "--epochs 2 --devices 2");
    assert!(found.contains("start a rank for each device"), "{found}");
    // A loss that is no number ends all at the same step; the runs after it are not lost.
    let output = output_of(by_ranks(folder, 2, "--epochs 2 --learning-rate 1e30 --runs 2"));
    let found = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(found.matches("1/2: the loss is not finite in epoch 1, step").count(), 1, "{found}");
    assert_eq!(found.matches("2/2: the loss is not finite in epoch 1, step").count(), 1, "{found}");
}

/// Replaces an image of the training by something else while it goes on.
#[test]
fn an_image_that_is_gone_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Other images in the second class.
    write_noise(&folder.join("photos/b"), 120);
    fs::create_dir_all(folder.join("photos/a")).unwrap();
    for image in 0..60 {
        let place = |class| folder.join(format!("photos/{class}/{image:04}.png"));
        fs::rename(place("b"), place("a")).unwrap();
    }
    let mut command = mpirun(folder);
    let flags = "train --id-data photos=photos --architecture resnet-8 --head isomax+ --epochs 500 \
                 --batch-size 8 --memory 0";
    command.args(["-n", "2", PROGRAM]).args(flags.split_whitespace());
    let mut launcher = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let run = folder.join("results/photos_resnet-8_isomax+/run-1");
    while !run.join("checkpoint/scheduler-1.mpk").exists() {
        if launcher.try_wait().unwrap().is_some() {
            panic!("{}", errors(&launcher.wait_with_output().unwrap()));
        }
        sleep(Duration::from_millis(1));
    }
    for image in 0..60 {
        fs::write(folder.join(format!("photos/a/{image:04}.png")), "no image").unwrap();
    }
    let output = launcher.wait_with_output().unwrap();
    let found = errors(&output);
    assert!(!output.status.success() && found.contains("photos/a/"), "{found}");
    assert!(run.join(results::HISTORY).exists());
}
