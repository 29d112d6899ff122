"""Cost of post-hoc detectors beside pytorch-ood, on the same features, in turns.

    python isomax-models/pytorch/posthoc_cost.py --samples 50000 --features 512 --classes 10

Features are made up: class means, a common low-rank variation and noise, cut off at zero. Each method runs in a
process of its own: here by `cargo bench -p isomax-burn --bench posthoc`, which reads the features batch by batch, and
with pytorch-ood, which takes them whole. Of each a line has the seconds of fit and scores, the peak memory (here what
was allocated, there the growth of the process over its imports), and how many times faster this is. Needs NumPy and
pytorch-ood 0.4.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

METHODS = ["mahalanobis", "relative-mahalanobis", "knn", "vim", "nnguide", "she", "fdbd", "nci", "react", "dice"]
BATCH = 256


def write(folder, samples, queries, width, classes, seed=0):
    import numpy as np

    random = np.random.default_rng(seed)
    means = random.standard_normal((classes, width), np.float32)
    common = random.standard_normal((16, width), np.float32)
    for name, count in [("train", samples), ("queries", queries)]:
        with open(folder / f"{name}.f32", "wb") as rows, open(folder / f"{name}.i32", "wb") as labels:
            for at in range(0, count, 1000):
                classes_of = np.arange(at, min(at + 1000, count), dtype=np.int32) % classes
                values = means[classes_of] + 0.3 * random.standard_normal((len(classes_of), 16), np.float32) @ common
                values += 0.5 * random.standard_normal(values.shape, np.float32)
                np.maximum(values, 0).astype(np.float32).tofile(rows)
                classes_of.tofile(labels)
    (means / np.float32(width) ** 0.5).tofile(folder / "weights.f32")


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def theirs(folder, width, classes, method):
    """Fits and scores with pytorch-ood, in this process."""
    import numpy as np
    import torch
    from pytorch_ood import detector as po

    before = memory()
    rows = lambda name: torch.from_numpy(np.fromfile(folder / f"{name}.f32", np.float32).reshape(-1, width))
    labels = lambda name: torch.from_numpy(np.fromfile(folder / f"{name}.i32", np.int32).astype(np.int64))
    linear = torch.nn.Linear(width, classes)
    weights = torch.from_numpy(np.fromfile(folder / "weights.f32", np.float32).reshape(classes, width))
    linear.load_state_dict({"weight": weights, "bias": torch.zeros(classes)})
    w, b = linear.weight.detach(), linear.bias.detach()
    start = time.perf_counter()
    train, train_labels = rows("train"), labels("train")
    reading = time.perf_counter() - start
    as_maps = lambda values: values[:, :, None, None]
    with torch.no_grad():
        detector = {
            "mahalanobis": lambda: po.Mahalanobis(None),
            "relative-mahalanobis": lambda: po.RMD(None),
            "knn": lambda: po.KNN(None, k=50),
            "vim": lambda: po.ViM(None, 1000 if width >= 2048 else 512 if width >= 768 else width // 2, w, b),
            "nnguide": lambda: po.NNGuide(None, linear, k=10),
            "she": lambda: po.SHE(None, linear),
            "fdbd": lambda: po.fDBD(None, linear),
            "nci": lambda: po.NCI(None, linear, alpha=1e-4),
            "react": lambda: po.ReAct(None, lambda maps: linear(maps.flatten(1)), percentile=0.9),
            "dice": lambda: po.DICE(None, w, b, p=0.9),
        }[method]()
        if method == "react":
            detector.fit_feature_maps(as_maps(train), train_labels)
        elif method in ("fdbd", "nci"):
            detector.fit_features(train)
        else:
            detector.fit_features(train, train_labels)
        fit = time.perf_counter() - start
        start = time.perf_counter()
        queries = rows("queries")
        for at in range(0, len(queries), BATCH):
            batch = queries[at : at + BATCH]
            detector.predict_feature_maps(as_maps(batch)) if method == "react" else detector.predict_features(batch)
        score = time.perf_counter() - start
    print(json.dumps({"reading": reading, "fit": fit, "score": score, "peak": memory() - before}))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=2_000, help="how many are scored")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [str(arguments.features), str(arguments.classes)]
    if arguments.theirs:
        return theirs(arguments.folder, arguments.features, arguments.classes, arguments.theirs)
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), arguments.samples, arguments.queries, arguments.features, arguments.classes)
        bench = ["cargo", "bench", "-q", "-p", "isomax-burn", "--bench", "posthoc", "--", folder, *sizes]
        twin = [sys.executable, __file__, "--folder", folder, "--features", sizes[0], "--classes", sizes[1], "--theirs"]
        print("| method | fit s | pytorch-ood | score s | pytorch-ood | peak MB | pytorch-ood | fit × | score × |")
        print("|---|---|---|---|---|---|---|---|---|")
        for method in arguments.methods:
            ours, other = run([*bench, method]), run([*twin, method])
            if ours is None:
                sys.exit(f"{method}: the benchmark failed")
            cells = [method]
            for key, form in [("fit", ".2f"), ("score", ".2f"), ("peak", ".0f")]:
                cells += [format(ours[key], form), format(other[key], form) if other else "fails"]
            cells += [f"{other[key] / ours[key]:.1f}" if other else "–" for key in ("fit", "score")]
            print("| " + " | ".join(cells) + " |", flush=True)
        everything = run([*bench, ",".join(METHODS)])
        print(
            f"all {len(METHODS)} in one pass: reading {everything['reading']:.2f} s, reading and statistics "
            f"{everything['pass']:.2f} s, with all fits {everything['fit']:.2f} s, peak {everything['peak']:.0f} MB"
        )


if __name__ == "__main__":
    main()
