//! The whole way on generated data: train, evaluate, tables, page, predictions.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;

mod support;

use support::{fail, run, succeed, write_cifar10, write_noise};

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_experiment_from_training_to_page() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 40);
    write_noise(&here.join("data/noise"), 30);
    let train = "train --id-data cifar10 --architecture resnet-8 --head isomax+ --epochs 3 \
                 --batch-size 16 --validation-images 40 --ood-data noise --runs 2 --plain";
    let text = succeed(here, train);
    assert!(text.contains("cifar10_resnet-8_isomax+, run 2"), "{text}");
    assert!(text.contains("| noise   | 30     | MDS (default) |"), "{text}");

    let experiment = here.join("results/cifar10_resnet-8_isomax+");
    let first = experiment.join("run-1");
    let evaluation = json(first.join("evaluation.json"));
    assert_eq!(evaluation["training"]["epochs"], 3);
    assert_eq!(evaluation["training"]["validation_images"], 40);
    assert_eq!(evaluation["training"]["calibration_images"], 40);
    assert_eq!(evaluation["version"], 1);
    assert_eq!(json(experiment.join("run-2/training.json"))["seed"], 43);
    // Brightness and stripes tell the generated classes apart.
    let accuracy = evaluation["classification"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.5, "accuracy {accuracy}");
    let history = json(first.join("history.json"));
    assert_eq!(history["epochs"].as_array().unwrap().len(), 3);
    assert!(history["epochs"][2]["valid"]["noise AUROC"].is_number());
    let scores = fs::read_to_string(first.join("scores/id.MDS.txt")).unwrap();
    assert_eq!(scores.lines().count(), 40);

    // The scores that were written give the metrics that were reported.
    let metrics = format!(
        "metrics --id {0}/scores/id.MDS.txt --ood {0}/scores/noise.MDS.npy --json",
        first.display()
    );
    let metrics: Value = serde_json::from_str(&succeed(here, &metrics)).unwrap();
    assert_eq!(metrics["paper"], evaluation["detection"][0]["paper"]);

    let tables = succeed(here, "analyze");
    assert!(tables.contains("isomax+") && tables.contains(" ± "), "{tables}");
    for file in ["results_raw.csv", "results_best.csv", "results_odd.csv", "results.json"] {
        assert!(here.join("results").join(file).is_file(), "{file}");
    }
    succeed(here, "report");
    let page = fs::read_to_string(here.join("results/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("data:image/png;base64,"));

    // Another evaluation of the same weights, from each kind of file.
    let network = "--architecture resnet-8 --head isomax+ --id-data cifar10 --ood noise";
    let chosen = evaluation["training"]["chosen_epoch"].as_u64().unwrap();
    fs::create_dir_all(here.join("again/scores")).unwrap();
    fs::write(here.join("again/scores/mine.txt"), "keep me").unwrap();
    for weights in ["model.safetensors".to_owned(), format!("checkpoint/model-{chosen}.mpk")] {
        let weights = first.join(weights);
        let evaluate = format!(
            "evaluate --weights {} {network} --held-out 40 --seed 42 --output again --json",
            weights.display()
        );
        let again: Value = serde_json::from_str(&succeed(here, &evaluate)).unwrap();
        for part in ["classification", "calibrated", "detector", "detection"] {
            assert_eq!(again[part], evaluation[part], "{part} of {}", weights.display());
        }
    }
    // A folder that someone else uses as well keeps what is not ours.
    assert_eq!(fs::read(here.join("again/scores/mine.txt")).unwrap(), b"keep me");
    let run_again = format!("evaluate --run {} --output anew --json", first.display());
    let anew: Value = serde_json::from_str(&succeed(here, &run_again)).unwrap();
    for (part, value) in anew.as_object().unwrap() {
        assert_eq!(*value, evaluation[part], "{part}");
    }
    // The same network is no third run.
    let both = run(here, "analyze anew results --json");
    let warned = String::from_utf8_lossy(&both.stderr).into_owned();
    assert!(warned.contains("anew: left out, for it evaluates the same network as "), "{warned}");
    let rows: Value = serde_json::from_slice(&both.stdout).unwrap();
    assert!(rows["rows"].as_array().unwrap().iter().all(|row| row["n"] == 2), "{rows}");

    let predict = format!("predict data/noise --run {}", first.display());
    let lines = succeed(here, &predict);
    assert_eq!(lines.lines().count(), 30);
    let refused = lines.lines().filter(|line| line.ends_with("\tOOD")).count();
    let rejected = evaluation["detection"][0]["rejected"].as_f64().unwrap();
    assert_eq!(refused, (rejected * 30.0).round() as usize);
    fs::write(here.join("notes.txt"), "no image").unwrap();
    let mixed = run(
        here,
        &format!("predict notes.txt data/noise/0001.png --json --run {}", first.display()),
    );
    assert_eq!(mixed.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&mixed.stdout).unwrap();
    assert_eq!(line["path"], "data/noise/0001.png");
    let confidence = line["confidence"].as_f64().unwrap();
    assert!((0.1..=1.0).contains(&confidence), "{confidence}");
    let errors = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert!(errors.contains("notes.txt: expected an image, but it is text"), "{errors}");
    assert!(errors.contains("1 of 2 files have no decision"), "{errors}");
}

#[test]
fn every_head_and_way_to_choose_trains() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 10);
    // 97 images in batches of 16: the last one has one image, which has no half to mix.
    let accumulated = "--head isomax+ --gradient-accumulation 2 --fpr false --seed 3";
    for (options, epochs, default) in [
        ("--head softmax --select-on-test", 2, "ES"),
        ("--head isomax --selection last --validation-images 0", 2, "ES"),
        (
            "--head dismax --fpr --train-images 97 --validation-images 0 --selection last",
            2,
            "MMLES",
        ),
        // Of 20 images the accuracy cannot rise 40 times.
        ("--head isomax+ --early-stopping 1 --validation-images 20", 40, "MDS"),
        (&format!("{accumulated} --validation-images 20"), 2, "MDS"),
    ] {
        let output = format!("{default}{}", options.len());
        let train = format!(
            "train --id-data cifar10 --architecture resnet-8 --epochs {epochs} --batch-size 16 \
             --ood noise --ood-every 2 --json --output {output} {options}"
        );
        let evaluations: Value = serde_json::from_str(&succeed(here, &train)).unwrap();
        let evaluation = &evaluations[0][1];
        assert_eq!(evaluation["detection"][0]["score"], default, "{options}");
        assert_eq!(evaluation["fpr"], options.contains("--fpr --"), "{options}");
        let selection = &evaluation["training"]["selection"];
        let expected = match options {
            _ if options.contains("select-on-test") => "test",
            _ if options.contains("last") => "last",
            _ => "validation",
        };
        assert_eq!(selection, expected);
        let held_out = evaluation["training"]["validation_images"] != 0;
        assert_eq!(held_out, options.contains("validation-images 20"), "{options}");
        assert_eq!(evaluation["detector"].is_object(), held_out, "{options}");

        let head = options.split(' ').nth(1).unwrap();
        let fpr = if options.contains("--fpr --") { "_fpr" } else { "" };
        let experiment = here.join(output).join(format!("cifar10_resnet-8_{head}{fpr}"));
        let history = json(experiment.join("run-1/history.json"));
        let trained = history["epochs"].as_array().unwrap();
        let stopped = options.contains("--early-stopping");
        assert_eq!(trained.len() < epochs, stopped, "{options}");
        assert_eq!(evaluation["training"]["epochs"], trained.len());
        for epoch in trained {
            let is_watched = epoch["epoch"].as_u64().unwrap().is_multiple_of(2);
            assert_eq!(epoch["valid"]["noise AUROC"].is_number(), is_watched, "{options}");
        }
        if expected == "last" {
            // The last validation had the chosen weights and the test images: what the Learner
            // logged is what the evaluation finds.
            let valid = &trained.last().unwrap()["valid"];
            let classes = &evaluation["classification"];
            let field = &evaluation["detection"][0]["field"];
            for (logged, found) in [
                (&valid["accuracy"], &classes["accuracy"]),
                (&valid["noise AUROC"], &field["auroc"]),
                (&valid["noise TNR@95TPR"], &field["tnr_at_95_tpr"]),
                (&valid["noise FPR95"], &field["fpr_at_95_tpr"]),
            ] {
                let (logged, found) = (logged.as_f64().unwrap(), found.as_f64().unwrap());
                assert!((logged - 100.0 * found).abs() < 1e-6, "{options}: {logged} {found}");
            }
        }
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 10);
    let train = "train --id-data cifar10 --architecture resnet-8 --head softmax --epochs 3 \
                 --batch-size 16 --validation-images 20 --ood-every 0 --ood noise \
                 --learning-rate 1e30 --runs 2";
    let errors = fail(here, train);
    assert!(errors.contains("the loss is not finite in epoch 1, step "), "{errors}");
    // The second run had its chance.
    for number in [1, 2] {
        assert!(
            errors.contains(&format!("softmax {number}/2: the loss is not finite")),
            "{errors}"
        );
        let run = here.join(format!("results/cifar10_resnet-8_softmax/run-{number}"));
        assert!(!run.join("model.safetensors").exists());
    }
    let too_many = train.replace("1e30", "0.1 --gradient-accumulation 99 --output accumulated");
    let errors = fail(here, &too_many);
    assert!(errors.contains("99 batches make a step"), "{errors}");
    // That left nothing which would be in the way of a better one.
    let fewer =
        too_many.replace("accumulation 99", "accumulation 3").replace("--epochs 3", "--epochs 1");
    succeed(here, &fewer.replace("--runs 2", ""));
}

/// The runs below a folder that are done.
fn done(results: &Path) -> Vec<String> {
    let mut found: Vec<String> = isomax_bench::results::find_runs(&[results.to_owned()])
        .unwrap()
        .iter()
        .map(|run| run.folder.strip_prefix(results).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

const GRID: &str = "--sets cifar10 --networks resnet-8 --heads softmax,isomax+ --runs 2 --epochs 1 \
                    --batch-size 16 --validation-images 20 --calibration-images 20 --ood-data noise";

#[test]
fn shards_are_the_grid_and_so_are_the_commands_of_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 8);
    let lines = succeed(here, &format!("reproduce {GRID} --list --output one"));
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].starts_with(
        "isomax-bench train --id-data cifar10 --architecture resnet-8 --head softmax --only-run 2 "
    ));
    assert!(!here.join("one").exists());
    for line in &lines {
        succeed(here, line.strip_prefix("isomax-bench ").unwrap());
    }
    for shard in ["0/3", "1/3", "2/3"] {
        succeed(here, &format!("reproduce {GRID} --output parts --shard {shard}"));
        let expected = match shard {
            "0/3" => vec!["cifar10_resnet-8_isomax+/run-2", "cifar10_resnet-8_softmax/run-1"],
            _ => continue,
        };
        assert_eq!(done(&here.join("parts")), expected);
    }
    assert_eq!(done(&here.join("parts")), done(&here.join("one")));
    for run in done(&here.join("one")) {
        let weights = |output: &str| {
            fs::read(here.join(output).join(&run).join("model.safetensors")).unwrap()
        };
        assert!(weights("parts") == weights("one"), "{run}");
    }
    let output = support::run(here, &format!("reproduce {GRID} --shard 3/3"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("expected I/N with I from 0 to N - 1"), "{errors}");
}

#[test]
fn runs_of_other_processes_are_passed_over_and_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_cifar10(&here.join("data"), 20);
    write_noise(&here.join("data/noise"), 8);
    let held = here.join("results/cifar10_resnet-8_softmax/run-1");
    fs::create_dir_all(&held).unwrap();
    let lock = fs::File::create(held.join("lock")).unwrap();
    lock.lock().unwrap();
    let line = succeed(here, &format!("reproduce {GRID} --list"));
    let single = line.lines().next().unwrap().strip_prefix("isomax-bench ").unwrap();
    assert!(support::fail(here, single).contains("another process is training here"));

    let mut reproduce = support::isomax_bench(here);
    let mut reproduce = reproduce.arg("reproduce").args(GRID.split_whitespace()).spawn().unwrap();
    // All others are done while that one is held.
    while done(&here.join("results")).len() < 3 {
        assert!(reproduce.try_wait().unwrap().is_none(), "it ended without all runs");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(reproduce.try_wait().unwrap().is_none());
    // Its process ends without a result.
    drop(lock);
    assert!(reproduce.wait().unwrap().success());
    assert_eq!(done(&here.join("results")).len(), 4);
    assert!(here.join("results/report.html").exists());
}
