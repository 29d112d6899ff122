//! Images of one's own, from a folder or a list to one file that decides.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use burn::tensor::backend::Backend as _;
use image::{Rgb, RgbImage};
use isomax_bench::backend::{InferenceBackend, device};
use isomax_models::{Backbone as _, ModelConfig};
use serde_json::Value;

mod support;

use support::{fail, succeed, write_noise};

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Photos of many sizes, of which each class has a colour and stripes of its own.
fn write_photos(folder: &Path, count: u32) {
    for (class, name) in ["ants", "bees", "wasps"].into_iter().enumerate() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..count {
            let photo = RgbImage::from_fn(70 + number * 7 % 40, 60 + number * 11 % 50, |x, y| {
                let stripe = if class == 0 { x } else { y } / (3 + class as u32) % 2 * 90;
                let mut colour = [(number * 13 % 60) as u8, (x % 50) as u8, stripe as u8];
                colour[class] = 160;
                Rgb(colour)
            });
            photo.save(folder.join(format!("{number:02}.png"))).unwrap();
        }
    }
}

/// Weights of a network of other classes.
fn write_weights(path: &Path, architecture: &str) {
    InferenceBackend::seed(&device(), 3);
    let config = ModelConfig::new(architecture.parse().unwrap(), 7);
    config.init::<InferenceBackend>(&device()).save_safetensors(path).unwrap();
}

const TRAIN: &str = "train --id-data photos --architecture resnet-8 --init weights.safetensors \
                     --image-size 72 --epochs 2 --batch-size 8 --ood-data noise=noise --plain";

fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_photos(&folder.path().join("photos"), 15);
    write_noise(&folder.path().join("noise"), 12);
    write_weights(&folder.path().join("weights.safetensors"), "resnet-8");
    folder
}

#[test]
fn from_photos_to_one_file_that_decides() {
    let folder = prepared();
    let here = folder.path();
    // Not an image, in the folder of a class: no reason to end.
    fs::write(here.join("photos/ants/not-found.jpg"), "<html>not found</html>").unwrap();
    succeed(here, TRAIN);
    let run = here.join("results/photos_resnet-8_isomax+/run-1");
    let training = json(run.join("training.json"));
    assert_eq!(training["classes"], serde_json::json!(["ants", "bees", "wasps"]));
    assert_eq!(training["image_size"], serde_json::json!([72, 72]));
    assert_eq!(training["recipe"]["resize"], 82);
    assert_eq!(training["recipe"]["prototypes"], "class-means");
    // A fifth of 15 for the test, a fifth of the others for the detector.
    assert_eq!(
        (training["train_images"].as_u64(), training["calibration_images"].as_u64()),
        (Some(29), Some(7))
    );
    assert!(training["normalization"]["std"][0].as_f64().unwrap() > 0.05);
    let evaluation = json(run.join("evaluation.json"));
    assert_eq!(evaluation["images"], 9);
    assert!(evaluation["classification"]["accuracy"].as_f64().unwrap() > 0.6);

    succeed(
        here,
        "export --run results/photos_resnet-8_isomax+/run-1 --output insects.safetensors --notes mine",
    );
    let lines = |flags: &str| -> Vec<Value> {
        let text = succeed(here, &format!("predict {flags} photos noise --json"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    fs::remove_file(here.join("photos/ants/not-found.jpg")).unwrap();
    let by_run = lines("--run results/photos_resnet-8_isomax+/run-1");
    // The bundle needs nothing else.
    fs::rename(here.join("results"), here.join("elsewhere")).unwrap();
    assert_eq!(lines("--model insects.safetensors"), by_run);
    assert_eq!(by_run.len(), 45 + 12);
    assert_eq!(by_run[0]["class_name"], "ants");

    let whole = fs::read(here.join("insects.safetensors")).unwrap();
    for (bytes, expected) in [
        (whole[..whole.len() - 1].to_vec(), "no whole safetensors file"),
        ([&whole[..whole.len() - 1], &[!whole[whole.len() - 1]]].concat(), "its sum does not fit"),
        (fs::read(here.join("weights.safetensors")).unwrap(), "weights by themselves"),
    ] {
        fs::write(here.join("other.safetensors"), bytes).unwrap();
        let errors = fail(here, "predict --model other.safetensors noise");
        assert!(errors.contains("other.safetensors") && errors.contains(expected), "{errors}");
    }
}

#[test]
fn a_stream_of_files_trains_as_images_in_memory_do() {
    let folder = prepared();
    let here = folder.path();
    // The body too, so that every pixel counts.
    let train = format!("{TRAIN} --body-learning-rate 1e-3 --frozen-statistics false --workers 2");
    succeed(here, &format!("{train} --output memory"));
    succeed(here, &format!("{train} --output stream --memory 0"));
    let file = |output: &str, file: &str| {
        fs::read(here.join(output).join("photos_resnet-8_isomax+/run-1").join(file)).unwrap()
    };
    for name in
        ["model.safetensors", "history.json", "training.json", "evaluation.json", "detector.json"]
    {
        assert!(file("memory", name) == file("stream", name), "{name}");
    }
}

#[test]
fn class_means_classify_before_the_first_step() {
    let folder = prepared();
    let here = folder.path();
    let text = succeed(here, &TRAIN.replace("--epochs 2", "--epochs 0"));
    assert!(text.contains("| noise   | 12"), "{text}");
    let run = here.join("results/photos_resnet-8_isomax+/run-1");
    assert_eq!(json(run.join("training.json"))["epochs"], 0);
    let accuracy = json(run.join("evaluation.json"))["classification"]["accuracy"].as_f64();
    assert!(accuracy.unwrap() > 0.6);
    // Of a finished run, nothing is done again.
    assert_eq!(succeed(here, &TRAIN.replace("--epochs 2", "--epochs 0")), text);
}

#[test]
fn a_part_of_the_body_is_trained() {
    let folder = prepared();
    let here = folder.path();
    let train = format!(
        "{TRAIN} --train-from layer3 --body-learning-rate 1e-3 --warm-up-epochs 1 --dropout 0.1"
    );
    succeed(here, &train);
    let load = |path: &Path, classes| {
        let config = ModelConfig::new("resnet-8".parse().unwrap(), classes);
        let config = match classes {
            3 => config.with_head(isomax_burn::HeadKind::IsoMaxPlus),
            _ => config,
        };
        let mut network = config.init::<InferenceBackend>(&device());
        network.load_weights(path).unwrap();
        network
    };
    let before = load(&here.join("weights.safetensors"), 7);
    let after = load(&here.join("results/photos_resnet-8_isomax+/run-1/model.safetensors"), 3);
    let (isomax_models::Model::CifarResNet(before), isomax_models::Model::CifarResNet(after)) =
        (before, after)
    else {
        panic!("ResNets for CIFAR")
    };
    let weights = |network: &isomax_models::CifarResNet<InferenceBackend>| {
        let block = |blocks: &[isomax_models::BasicBlock<InferenceBackend>]| {
            (blocks[0].conv1.weight.to_data(), blocks[0].bn1.weight.to_data())
        };
        (block(&network.layer2), block(&network.layer3), network.bn1.running_mean.value().to_data())
    };
    let (before, after) = (weights(&before), weights(&after));
    assert_eq!(before.0, after.0, "what comes before stays");
    assert_ne!(before.1.0, after.1.0, "what comes behind does not");
    assert_ne!(before.1.1, after.1.1);
    assert_eq!(before.2, after.2, "running statistics are frozen");
    let errors = fail(
        here,
        &TRAIN
            .replace("--plain", "--train-from blocks.11 --body-learning-rate 1e-4 --output other"),
    );
    assert!(errors.contains("no part 'blocks.11'") && errors.contains("layer3.0"), "{errors}");
}

#[test]
fn what_cannot_be_learned_is_told() {
    let folder = prepared();
    let here = folder.path();
    write_weights(&here.join("other.safetensors"), "resnet-18");
    fs::write(here.join("list.csv"), "path,label\nphotos/ants/00.png,a\nabsent.png,b\n").unwrap();
    fs::create_dir_all(here.join("one/ants")).unwrap();
    fs::copy(here.join("photos/ants/00.png"), here.join("one/ants/00.png")).unwrap();
    for (flags, expected) in [
        (
            TRAIN.replace("weights.safetensors", "other.safetensors"),
            "other.safetensors: the tensors do not fit",
        ),
        (TRAIN.replace("weights.safetensors", "absent.pth"), "absent.pth: No such file"),
        (
            TRAIN.replace("--id-data photos", "--id-data list.csv"),
            "list.csv: 1 of 2 files are not there",
        ),
        (
            TRAIN.replace("--id-data photos", "--id-data one"),
            "one: expected a folder of images for each of two classes",
        ),
        (TRAIN.replace("--id-data photos", "--id-data absent"), "absent: neither a published set"),
        (TRAIN.replace("--image-size 72", "--image-size 3 --resize 3"), "are too small"),
        (
            TRAIN.replace(
                "--image-size 72",
                "--image-size 72 --head softmax --prototypes class-means",
            ),
            "prototypes must be random",
        ),
    ] {
        let errors = fail(here, &flags);
        assert!(errors.contains(expected), "{flags}: {errors}");
    }
    // Other weights under the same name are not those that the run began with.
    succeed(here, TRAIN);
    write_weights(&here.join("weights.safetensors"), "resnet-14");
    let errors = fail(here, TRAIN);
    assert!(errors.contains("init_sha256"), "{errors}");
}

#[test]
fn methods_are_fitted_on_what_a_run_was_trained_on_and_decide_from_files() {
    let folder = prepared();
    let here = folder.path();
    succeed(here, &TRAIN.replace("--epochs 2", "--epochs 0"));
    let run = "results/photos_resnet-8_isomax+/run-1";
    // 29 training images: fewer than the neighbours that KNN asks for by default.
    let text = succeed(
        here,
        &format!(
            "evaluate --run {run} --posthoc knn:k=3,vim:dims=8,odin --posthoc-tune noise=noise"
        ),
    );
    assert!(text.contains("| method "), "{text}");
    let evaluation = json(here.join(run).join("evaluation.json"));
    let rows = evaluation["detection"].as_array().unwrap();
    let of = |score: &str, is_tuned: bool| {
        let row = rows.iter().find(|row| {
            row["score"].as_str().is_some_and(|name| name.split(':').next() == Some(score))
                && row["tuned_on"].is_string() == is_tuned
        });
        row.unwrap_or_else(|| panic!("no {score}: {text}"))
    };
    for name in ["knn", "vim", "odin"] {
        let auroc = |is_tuned| of(name, is_tuned)["field"]["auroc"].as_f64().unwrap();
        let interval = &of(name, false)["intervals"]["auroc"];
        let [low, high] = [0, 1].map(|end| interval[end].as_f64().unwrap());
        assert!(low <= auroc(false) && auroc(false) <= high, "{name}: {interval}");
        assert!(of(name, false)["rejected"].is_number(), "{name}");
        auroc(true);
    }
    assert!(here.join(run).join("posthoc/knn+k-3.safetensors").exists());
    // A further set joins those of before.
    let warnings = |flags: &str| {
        let output = support::run(here, &format!("evaluate --run {run} {flags}"));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let warned = warnings("--posthoc knn:k=3 --ood-data again=noise");
    assert!(!warned.contains("not computed"), "{warned}");
    let evaluation = json(here.join(run).join("evaluation.json"));
    for set in ["noise", "again"] {
        let mut rows = evaluation["detection"].as_array().unwrap().iter();
        assert!(rows.any(|row| row["set"] == set && row["score"] == "knn:k=3"), "{set}");
    }
    let warned = warnings("--ood-data third=noise");
    assert!(warned.contains("not computed on the sets that are added"), "{warned}");
    let errors = fail(here, &format!("evaluate --run {run} --posthoc knn"));
    assert!(errors.contains("knn") && errors.contains("29"), "{errors}");
    let errors = fail(here, &format!("evaluate --run {run} --posthoc scale"));
    assert!(errors.contains("unit length"), "{errors}");

    // Such a detector decides in place of that of the run, and so does a bundle with it.
    let lines = |flags: &str| -> Vec<Value> {
        let text = succeed(here, &format!("predict {flags} photos noise --json"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let detector = format!("--detector {run}/posthoc/knn+k-3.safetensors");
    let by_neighbours = lines(&format!("--run {run} {detector}"));
    assert_ne!(by_neighbours, lines(&format!("--run {run}")));
    succeed(here, &format!("export --run {run} {detector} --output neighbours.safetensors"));
    assert_eq!(lines("--model neighbours.safetensors"), by_neighbours);
    // It belongs to the weights of this run.
    succeed(
        here,
        &format!("{} --seed 7", TRAIN.replace("--epochs 2", "--epochs 1 --output other")),
    );
    let other = "other/photos_resnet-8_isomax+/run-1";
    let errors = fail(here, &format!("predict --run {other} {detector} photos"));
    assert!(errors.contains("weights"), "{errors}");
}

#[test]
fn peers_train_with_a_flag_each() {
    let folder = prepared();
    let here = folder.path();
    write_noise(&here.join("outliers"), 6);
    let train = TRAIN.replace("--epochs 2", "--epochs 1");
    succeed(
        here,
        &format!("{train} --head softmax --outliers outliers=outliers --outlier-batch-size 3"),
    );
    let run = here.join("results/photos_resnet-8_softmax_outliers/run-1");
    let training = json(run.join("training.json"));
    assert_eq!(training["recipe"]["outliers"], "outliers=outliers");
    assert_eq!(training["recipe"]["outlier_weight"], 0.5);
    succeed(here, &format!("{train} --head softmax --logit-norm"));
    let run = here.join("results/photos_resnet-8_softmax_logitnorm/run-1");
    assert_eq!(json(run.join("training.json"))["recipe"]["logit_norm"], 0.04);
    for (flags, expected) in [
        ("--logit-norm", "off for heads other than softmax"),
        ("--outliers noise=noise", "another set than those of --ood-data"),
        ("--outliers nothing=absent", "absent"),
        ("--head softmax --logit-norm 0", "positive"),
    ] {
        let errors = fail(here, &format!("{train} {flags}"));
        assert!(errors.contains(expected), "{flags}: {errors}");
    }
}

#[test]
fn shards_of_predictions_are_the_whole() {
    let folder = prepared();
    let here = folder.path();
    succeed(here, &TRAIN.replace("--epochs 2", "--epochs 0"));
    fs::write(here.join("photos/bees/broken.png"), "no image").unwrap();
    let predict = "predict --run results/photos_resnet-8_isomax+/run-1 --json photos";
    // Without --keep-going nothing is written.
    let errors = fail(here, &format!("{predict} --output whole.jsonl"));
    assert!(errors.contains("1 of 46 files have no decision; --keep-going"), "{errors}");
    assert!(!here.join("whole.jsonl").exists());
    let whole = succeed(here, &format!("{predict} --keep-going"));
    let whole: Vec<&str> = whole.lines().collect();
    assert_eq!(whole.len(), 46);
    assert_eq!(whole.iter().filter(|line| line.contains("\"error\"")).count(), 1);
    let parts: Vec<Vec<String>> = (0..5)
        .map(|shard| {
            let output = format!("part-{shard}.jsonl");
            let flags = format!("--keep-going --shard {shard}/5 --output {output}");
            assert_eq!(succeed(here, &format!("{predict} {flags}")), "");
            let text = fs::read_to_string(here.join(output)).unwrap();
            text.lines().map(str::to_owned).collect()
        })
        .collect();
    let union: Vec<&String> = (0..46).map(|at| &parts[at % 5][at / 5]).collect();
    assert_eq!(union, whole);

    // A file that is there is kept, and a part without images is a success.
    fs::write(here.join("kept.jsonl"), "mine").unwrap();
    succeed(here, &format!("{predict} --output kept.jsonl"));
    assert_eq!(fs::read(here.join("kept.jsonl")).unwrap(), b"mine");
    succeed(here, &format!("{predict} --shard 46/50 --output empty.jsonl"));
    assert_eq!(fs::read(here.join("empty.jsonl")).unwrap(), b"");
    // As part of a list that has none, such as a partition of Spark.
    let nothing = predict.replace("photos", "-").replace("results/-", "results/photos");
    assert!(fail(here, &nothing).contains("expected images, but found none"));
    assert_eq!(succeed(here, &format!("{nothing} --keep-going")), "");
    assert!(fail(here, &format!("{predict} --output no/such/folder.jsonl")).contains("no/such"));
}
