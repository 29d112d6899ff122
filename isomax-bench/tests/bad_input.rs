//! Folders, archives and disks that are not as they should be: clear errors, nothing half-written.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

mod support;

use support::{fail, run, succeed, write_cifar10, write_noise};

const TRAIN: &str = "train --known cifar10 --architecture resnet-8 --head isomax --epochs 1 \
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
    assert!(errors.contains("noise is no known data set and not in data"), "{errors}");
    write_noise(&here.join("data/noise"), 4);

    let noise = here.join("data/noise");
    for (name, content, complaint) in [
        ("notes.txt", "text".as_bytes(), "notes.txt: expected a PNG or JPEG image"),
        ("empty.jpg", b"", "empty.jpg: expected a PNG or JPEG image, but it is empty"),
        ("half.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "half.jpg: expected a PNG or JPEG image"),
    ] {
        fs::write(noise.join(name), content).unwrap();
        let errors = fail(here, TRAIN);
        assert!(errors.contains(complaint), "{errors}");
        fs::remove_file(noise.join(name)).unwrap();
    }
    image::RgbImage::new(16, 32).save(noise.join("small.png")).unwrap();
    let errors = fail(here, TRAIN);
    assert!(errors.contains("small.png: expected 32 × 32 pixels"), "{errors}");
    fs::remove_file(noise.join("small.png")).unwrap();

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
    assert!(errors.contains("cifar10 has 100 training images, too few for 100"), "{errors}");
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
    assert!(errors.contains("class-7: expected images"), "{errors}");
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
    fs::write(here.join("cell.toml"), "known = \"cifar10\"\nhead = \"isomax++\"\n").unwrap();
    assert!(fail(here, "train --config cell.toml").contains("cell.toml: expected"));
    assert!(fail(here, "train --config absent.toml").contains("absent.toml: No such file"));
    assert!(fail(here, "train --known cifar10").contains("architecture is missing"));
    assert_eq!(run(here, "train --known mnist").status.code(), Some(2));
    let network = "--architecture resnet-8 --head isomax --known cifar10";
    write_cifar10(&here.join("data"), 10);
    fs::write(here.join("weights.safetensors"), "no weights").unwrap();
    for file in ["weights.safetensors", "weights.bin", "absent.pth"] {
        let errors = fail(here, &format!("evaluate --weights {file} {network} --ood cifar10"));
        assert!(errors.contains(file), "{errors}");
    }
    assert!(fail(here, "analyze data").contains("expected evaluated executions"));
    fs::create_dir_all(here.join("results/execution-1")).unwrap();
    fs::write(here.join("results/execution-1/evaluation.json"), "{}").unwrap();
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
