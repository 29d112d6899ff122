//! The binary, run as a shell runs it.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn metrics(folder: &Path, inside: &str, outside: &str, options: &[&str]) -> Output {
    fs::write(folder.join("in.txt"), inside).unwrap();
    fs::write(folder.join("out.txt"), outside).unwrap();
    Command::new(env!("CARGO_BIN_EXE_isomax-bench"))
        .current_dir(folder)
        .args(["metrics", "--in", "in.txt", "--out", "out.txt"])
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn metrics_prints_a_table_or_json() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = ("0.9\n0.8\n\n 4e-1 \n", "0.5\n0.1\n");
    let table = metrics(folder.path(), inside, outside, &[]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(table.status.success());
    assert!(text.starts_with("3 in-distribution, 2 OOD samples"), "{text}");
    assert!(text.contains("| AUROC                | 83.33 % | 83.33 % |"), "{text}");

    let json = metrics(folder.path(), inside, outside, &["--json"]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["field"]["auroc"], 5.0 / 6.0);
    assert_eq!(value["field"]["num_in"], 3);
    assert_eq!(value["paper"]["dtacc"], 0.5 * (2.0 / 3.0 + 1.0));
}

#[test]
fn unusable_files_are_named_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    for (inside, outside, complaint) in [
        ("0.9\nhigh\n", "0.1\n", "in.txt:2: expected one score a line, found 'high'"),
        ("0.9\n", "\n\n", "out.txt: expected one score a line, found none"),
        ("0.9\n", "1\nnan\n", "out.txt:2: expected one score a line, found 'nan'"),
    ] {
        let output = metrics(folder.path(), inside, outside, &["--json"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(errors.contains(complaint), "'{errors}' lacks '{complaint}'");
    }
    fs::write(folder.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    for file in ["missing", "binary"] {
        let output = Command::new(env!("CARGO_BIN_EXE_isomax-bench"))
            .current_dir(folder.path())
            .args(["metrics", "--in", file, "--out", "out.txt"])
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && errors.contains(&format!("error: {file}: ")),
            "{errors}"
        );
    }
}

fn weights(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isomax-bench"))
        .current_dir(folder)
        .arg("weights")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn weights_that_can_be_fetched_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| {
        let output = weights(folder.path(), &["list", "--weights-dir", "mine"]);
        assert!(output.status.success());
        let table = String::from_utf8(output.stdout).unwrap();
        let row = table.lines().find(|line| line.contains(name)).unwrap().to_owned();
        row.trim_end_matches([' ', '|']).rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(here("efficientnet-lite0"), "no");
    assert_eq!(here("resnet-18-imagenet"), "no");
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/resnet18-f37072fd.pth"), "").unwrap();
    assert_eq!(here("resnet-18-imagenet"), "yes");
    assert_eq!(here("resnet-50-imagenet"), "no");
}

#[test]
fn weights_that_cannot_be_fetched_say_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("weights")).unwrap();
    fs::write(folder.path().join("weights/resnet18-f37072fd.pth"), "other weights").unwrap();
    // The port of no server.
    let mirror = "http://127.0.0.1:1";
    for (names, complaint) in [
        (["resnet-34-imagenet", "resnet-20"], "unknown weights 'resnet-20'; known: efficientnet"),
        (["resnet-34-imagenet", "--weights-dir=new"], "http://127.0.0.1:1/resnet34-b627a593.pth: "),
        (["resnet-18-imagenet", "--weights-dir=weights"], "but found something else"),
    ] {
        let [first, second] = names;
        let output = weights(folder.path(), &["fetch", first, second, "--mirror", mirror]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(errors.contains(complaint), "'{errors}' lacks '{complaint}'");
    }
}
