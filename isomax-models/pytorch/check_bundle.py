"""Compares decisions by a bundle in Python with those that Rust printed.

    isomax-bench predict --json --model BUNDLE photos > predictions.jsonl
    python isomax-models/pytorch/check_bundle.py BUNDLE predictions.jsonl

Class and in_distribution must be the same for each image, and confidence, score, quantile and p-value may differ by
the tolerance. Quantile and p-value are steps at the held-out scores: for Rust's own score they must come out the same,
and beside a held-out score those on either side of it will do. The logits are those of `predict.py`, or with LOGITS
those of a NumPy file with a row for each line, for which neither PyTorch nor the images are needed.

Decoders of JPEG differ by a few of 256 steps in single pixels: with such images, see how large the differences are,
and give a `--tolerance`. The exit status is 1 if anything differs by more.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

from bundle import Bundle, BundleError

SAME = "class", "class_name", "in_distribution"
NUMBERS = "confidence", "score", "quantile", "p_value"
# Between two computations of a share of the same whole numbers.
ROUNDING = 1e-12
# So many differences are shown.
SHOWN = 20


def compute(bundle, paths):
    """Logits of image files; says how far those of NumPy are from those of PyTorch."""
    import predict

    network = predict.network_of(bundle)
    outputs = [predict.features_and_logits(network, bundle, path) for path in paths]
    features, logits = (np.concatenate(parts) for parts in zip(*outputs))
    error = np.abs(bundle.head_logits(features) - logits).max()
    print(f"logits: those of NumPy and of PyTorch within {error:.1e}")
    return logits


def differences(bundle, rust, python, tolerance):
    """What differs too much, in words."""
    for key in SAME:
        if rust.get(key) != python[key]:
            yield f"{key} {rust.get(key)} in Rust, {python[key]} in Python"
    for key in ("confidence", "score"):
        if not abs(rust[key] - python[key]) <= tolerance:
            yield f"{key} {rust[key]} in Rust, {python[key]} in Python"
    near = rust["score"] + tolerance * np.array([-1, 0, 1])
    for key, (low, same, high) in zip(("quantile", "p_value"), bundle.place(near)):
        if not abs(rust[key] - same) <= ROUNDING:
            yield f"{key} {rust[key]} in Rust, {same} in Python for the same score"
        if not low - tolerance <= python[key] <= high + tolerance:
            yield f"{key} {rust[key]} in Rust, {python[key]} in Python"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("predictions", help="what `predict --json` printed")
    parser.add_argument("logits", nargs="?", help="NumPy file with a row for each line")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    try:
        bundle = Bundle.load(arguments.bundle)
        lines = pathlib.Path(arguments.predictions).read_text(encoding="utf-8").splitlines()
        expected = [json.loads(line) for line in lines]
        if not expected:
            raise BundleError(f"{arguments.predictions} has no lines")
        paths = [line["path"] for line in expected]
        logits = np.load(arguments.logits) if arguments.logits else compute(bundle, paths)
        decisions = bundle.decide(logits)
        if len(decisions) != len(paths):
            raise BundleError(f"{len(decisions)} rows of logits for {len(paths)} lines")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    pairs = list(zip(expected, decisions))
    found = []
    for path, (rust, python) in zip(paths, pairs):
        found += [f"{path}: {text}" for text in differences(bundle, rust, python, arguments.tolerance)]
    print(*found[:SHOWN], sep="\n", end="\n" if found else "")
    for key in SAME:
        count = sum(rust.get(key) == python[key] for rust, python in pairs)
        print(f"{key}: the same for {count} of {len(pairs)}")
    for key in NUMBERS:
        errors = [abs(rust[key] - python[key]) for rust, python in pairs]
        print(f"{key}: within {max(errors):.1e}, the most for {paths[np.argmax(errors)]}")
    sys.exit(f"{len(found)} differences beyond {arguments.tolerance}" if found else 0)


if __name__ == "__main__":
    main()
