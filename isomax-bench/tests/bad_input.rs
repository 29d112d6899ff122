//! Folders, archives and disks that are not as they should be: clear errors, nothing half-written.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

mod support;

use support::{fail, run, succeed, write_cifar10, write_noise};

const TRAIN: &str = "train --id-data cifar10 --architecture resnet-8 --head isomax --epochs 1 \
                     --batch-size 16 --validation-images 20 --ood noise";

/// Files at any depth, but for locks.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found.retain(|file| !file.ends_with("lock"));
    found
}

#[test]
fn what_is_absent_or_damaged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let errors = fail(here, TRAIN);
    for part in ["cifar10 is not in data", "cifar-10-binary.tar.gz", "data fetch cifar10"] {
        assert!(errors.contains(part), "{errors}");
    }
    write_cifar10(&here.join("data"), 20);
    let errors = fail(here, TRAIN);
    assert!(
        errors.contains("noise is not a data set of this program and not a folder in data"),
        "{errors}"
    );
    write_noise(&here.join("data/noise"), 4);

    // Half of the images of a set may be broken, but not more.
    let noise = here.join("data/noise");
    let broken = ["empty", "half", "text", "page", "more"];
    let contents =
        [b"".as_slice(), b"\xff\xd8\xff\xe0\x00\x10JFIF", b"text", b"<html>", b"\x89PNG"];
    for (name, content) in broken.iter().zip(contents) {
        fs::write(noise.join(format!("{name}.jpg")), content).unwrap();
    }
    let errors = fail(here, TRAIN);
    for part in ["data/noise: 5 of 9 images cannot be read", "empty.jpg", "it is empty"] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    for name in broken {
        fs::remove_file(noise.join(format!("{name}.jpg"))).unwrap();
    }

    let batch = here.join("data/cifar-10-batches-bin/data_batch_3.bin");
    let whole = fs::read(&batch).unwrap();
    fs::write(&batch, &whole[..whole.len() - 1]).unwrap();
    assert!(fail(here, TRAIN).contains("data_batch_3.bin"));
    let mut wrong = whole.clone();
    wrong[0] = 10;
    fs::write(&batch, wrong).unwrap();
    assert!(fail(here, TRAIN).contains("data_batch_3.bin"));
    fs::write(&batch, whole).unwrap();

    let errors = fail(here, &TRAIN.replace("images 20", "images 100"));
    assert!(errors.contains("cifar10 has 100 training images, too few for 200"), "{errors}");
    assert_eq!(files(&here.join("results")), Vec::<String>::new());
}

#[test]
fn an_empty_class_is_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for class in 0..10 {
        write_noise(&here.join(format!("data/cifar10/train/class-{class}")), 1);
        write_noise(&here.join(format!("data/cifar10/test/class-{class}")), 1);
    }
    fs::remove_file(here.join("data/cifar10/train/class-7/0000.png")).unwrap();
    let errors = fail(here, TRAIN);
    assert!(errors.contains("expected 10 folders, one for each class, but found 9"), "{errors}");
    assert!(errors.contains("1 folder without images passed over (class-7)"), "{errors}");
}

#[test]
fn the_splits_have_the_same_classes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for class in 0..10 {
        write_noise(&here.join(format!("data/cifar10/train/{class}")), 1);
        write_noise(&here.join(format!("data/cifar10/test/{}", class + 1)), 1);
    }
    let errors = fail(here, &TRAIN.replace("noise", "mine=data/cifar10/test"));
    assert!(errors.contains("cifar10: the classes of the splits differ"), "{errors}");
}

#[test]
fn wrong_flags_and_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("experiment.toml"), "id_data = \"cifar10\"\nhead = \"isomax++\"\n")
        .unwrap();
    assert!(fail(here, "train --config experiment.toml").contains("experiment.toml: expected"));
    assert!(fail(here, "train --config absent.toml").contains("absent.toml: No such file"));
    assert!(fail(here, "train --id-data cifar10").contains("architecture is missing"));
    let errors = fail(here, "train --id-data mnist --architecture resnet-8");
    assert!(
        errors.contains("mnist: neither a published set (cifar10, cifar100, svhn)"),
        "{errors}"
    );
    let network = "--architecture resnet-8 --head isomax --id-data cifar10";
    write_cifar10(&here.join("data"), 10);
    fs::write(here.join("weights.safetensors"), "no weights").unwrap();
    for file in ["weights.safetensors", "weights.bin", "absent.pth"] {
        let errors = fail(here, &format!("evaluate --weights {file} {network} --ood cifar10"));
        assert!(errors.contains(file), "{errors}");
    }
    assert!(fail(here, "analyze data").contains("expected evaluated runs"));
    fs::create_dir_all(here.join("results/run-1")).unwrap();
    fs::write(here.join("results/run-1/evaluation.json"), "{}").unwrap();
    let errors = fail(here, "report");
    assert!(errors.contains("evaluation.json: expected an evaluation"), "{errors}");
    assert!(!here.join("results/report.html").exists());
}

/// A small disk of its own; nothing where that is not allowed.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    fn remount(&self, options: &str) -> bool {
        let mount = Command::new("mount").args(["-o", options]).arg(self.0).status();
        mount.is_ok_and(|status| status.success())
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_stops_a_training_that_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 4);
    let output = here.join("results");
    // A checkpoint takes some 700 kB.
    let Some(disk) = Disk::mount(&output, "size=300k") else {
        eprintln!("skipped: no disk can be mounted here");
        return;
    };
    let errors = fail(here, TRAIN);
    assert!(errors.contains("No space left on device"), "{errors}");
    let left: Vec<_> = files(&output)
        .iter()
        .filter_map(|file| Some(file.strip_prefix(output.to_str()?)?.to_owned()))
        .collect();
    assert!(left.iter().all(|file| !file.contains("/.tmp")), "{left:?}");
    assert!(!left.iter().any(|file| file.ends_with("model.safetensors")), "{left:?}");
    assert!(disk.remount("remount,size=20m"));
    succeed(here, TRAIN);
    assert!(disk.remount("remount,ro"));
    let errors = fail(here, &format!("{TRAIN} --seed 7 --output results/more"));
    assert!(errors.contains("Read-only file system"), "{errors}");
    assert!(fail(here, "report").contains("report.html: Read-only file system"));
}

/// One broken file ends neither a training nor an evaluation.
#[test]
fn broken_files_are_left_out_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    let noise = here.join("data/noise");
    write_noise(&noise, 6);
    fs::write(noise.join("half.jpg"), b"\xff\xd8\xff\xe0\x00\x10JFIF").unwrap();
    fs::write(noise.join("Thumbs.db"), "x").unwrap();
    // Of another size than the network's: its shorter side is resized, its middle cut out.
    image::RgbImage::new(40, 64).save(noise.join("large.png")).unwrap();
    let output = run(here, &format!("{TRAIN} --json"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("half.jpg") && errors.contains("Thumbs.db"), "{errors}");
    let evaluations: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(evaluations[0][1]["detection"][0]["images"], 7);
}

/// Sets that a finished run has not seen are evaluated and added; what is there stays.
#[test]
fn ood_sets_can_be_added_to_a_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 6);
    write_noise(&here.join("data/more"), 8);
    write_noise(&here.join("data/third"), 5);
    succeed(here, TRAIN);
    let folder = here.join("results/cifar10_resnet-8_isomax");
    let run = folder.join("run-1");
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let before = read(&run.join("evaluation.json"));
    let weights = fs::read(run.join("model.safetensors")).unwrap();
    let sets = |evaluation: &serde_json::Value| -> Vec<String> {
        let found = evaluation["detection"].as_array().unwrap().iter();
        let names = found.filter(|d| d["is_default"] == true).map(|d| d["set"].as_str().unwrap());
        names.map(str::to_owned).collect()
    };
    assert_eq!(sets(&before), ["noise"]);
    succeed(here, &TRAIN.replace("noise", "noise,more"));
    let after = read(&run.join("evaluation.json"));
    assert_eq!(sets(&after), ["noise", "more"]);
    assert_eq!(after["detection"][0], before["detection"][0]);
    assert_eq!(after["classification"], before["classification"]);
    succeed(here, &format!("evaluate --run {} --ood-data third", run.display()));
    assert_eq!(sets(&read(&run.join("evaluation.json"))), ["noise", "more", "third"]);
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), weights);
    assert_eq!(
        read(&folder.join("config.json"))["ood_data"],
        serde_json::json!(["noise", "more", "third"])
    );
    assert!(run.join("scores/third.ES.npy").is_file());
    // The same name elsewhere is another set, whose results those of the first must not stand for.
    let errors = fail(here, &TRAIN.replace("noise", "more=data/third"));
    assert!(errors.contains("ood-data: more there, more=data/third here"), "{errors}");
    // An evaluation of another run is not taken for one of this.
    let second = TRAIN.replace("--epochs 1", "--epochs 1 --only-run 2");
    succeed(here, &second);
    let evaluate = |number: usize| {
        let run = folder.join(format!("run-{number}"));
        let text = format!("evaluate --run {} --ood-data noise --output out --json", run.display());
        serde_json::from_str::<serde_json::Value>(&succeed(here, &text)).unwrap()
    };
    assert_eq!(evaluate(1)["training"]["seed"], 42);
    assert_eq!(evaluate(2)["training"]["seed"], 43);
    // Another recipe is another experiment.
    let errors = fail(here, &format!("{TRAIN} --learning-rate 0.3"));
    assert!(errors.contains("learning_rate: 0.1 there, 0.3 here"), "{errors}");
}

#[test]
fn files_of_other_versions_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 6);
    succeed(here, TRAIN);
    let experiment = here.join("results/cifar10_resnet-8_isomax");
    let run = experiment.join("run-1");
    let files = [
        experiment.join("config.json"),
        run.join("training.json"),
        run.join("evaluation.json"),
        run.join("history.json"),
    ];
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("\"version\": 1"), "{}", file.display());
        fs::write(file, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
        let command = match file.ends_with("config.json") || file.ends_with("training.json") {
            true => format!("evaluate --run {}", run.display()),
            false => "analyze".to_owned(),
        };
        let errors = fail(here, &command);
        assert!(errors.contains("found version 9, newer than the 1"), "{errors}");
        // As written before there were versions.
        fs::write(file, text.replace("\"version\": 1,", "")).unwrap();
    }
    succeed(here, "analyze");
    succeed(here, &format!("evaluate --run {} --output again", run.display()));
}

#[test]
fn protocols_say_what_they_have_and_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 4);
    write_noise(&here.join("mnist"), 5);
    write_noise(&here.join("other"), 5);
    let config = isomax_models::ModelConfig::new("resnet-8".parse().unwrap(), 10);
    let network = config.init::<isomax_bench::backend::InferenceBackend>(&Default::default());
    isomax_models::Backbone::save_safetensors(&network, here.join("best.ckpt")).unwrap();
    let benchmark =
        "benchmark --weights best.ckpt --architecture resnet-8 --head softmax --protocol";
    let errors = fail(here, &format!("{benchmark} openood"));
    assert!(errors.contains("expected one of openood-v1.5-cifar10"), "{errors}");
    let cifar10 = format!("{benchmark} openood-v1.5-cifar10");
    let errors = fail(here, &cifar10);
    assert!(
        errors.contains("mnist, 70000 images of test_mnist.txt: give --set mnist="),
        "{errors}"
    );
    let errors = fail(here, &format!("{cifar10} --set lsun=mnist"));
    assert!(errors.contains("lsun is no set of openood-v1.5-cifar10"), "{errors}");
    let errors = fail(here, &format!("{cifar10} --set mnist=mnist --posthoc gen --tune"));
    assert!(errors.contains("cifar10-val"), "{errors}");
    assert!(!here.join("benchmark").exists());

    let found = "--set mnist=mnist --stand-in textures=other --posthoc gen";
    let text = succeed(here, &format!("{cifar10} {found}"));
    let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(
        row("| mnist ").contains("same distribution") && row("| textures ").contains("stand-in")
    );
    // No near set, one far set, and the stand-in behind it.
    assert!(row("| gen ").contains("| –"), "{text}");
    assert!(row("| method").contains("textures (stand-in)"), "{text}");
    let json = succeed(here, &format!("{cifar10} {found} --json"));
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["far"].as_array().unwrap().len(), 1);
}
