"""Reads bundles: a trained network with its preprocessing, its class names and its detector in one file.

    python isomax-models/pytorch/bundle.py FILE

prints what a bundle says of itself. `Bundle.load` checks a file, `Bundle.head_logits` computes logits from
features, and `Bundle.decide` decides on logits as isomax-burn does. Needs NumPy and safetensors; `predict.py`
has the networks as well, in PyTorch.
"""

import hashlib
import json
import sys

import numpy as np
from safetensors import SafetensorError, safe_open

VERSION, DETECTOR_VERSION = 1, 2
# Of a longer list of held-out scores, a detector keeps so many, evenly spaced.
MAX_QUANTILES = 1001
# How far the temperature of a head may lie from that of its detector, relatively.
HALF_PRECISION = 1e-3
# A gap between logits whose exponential is zero.
WIDEST_GAP = -1e4
SMALLEST_NORM = 1e-12

# What objects of JSON look like: they have exactly these keys. Texts out of a set, lists of such items, and
# values of the kinds below.
MANIFEST = {
    "version": int,
    "architecture": str,
    "head": str,
    "classes": [str],
    "preprocessing": {
        "size": int,
        "resize": int,
        "normalization": {"mean": [float], "std": [float]},
        "orientation": {"as-stored", "upright"},
        "jpeg_decoder": {"safe", "libjpeg"},
    },
    "detector": object,
    "provenance": dict,
}
DETECTOR = {
    "format": {"isomax-detector"},
    "version": int,
    "score": str,
    "head": {"name": str, "num_classes": int, "temperature": float, "confidence_temperature": float},
    "threshold": {
        "promise": object,
        "target_tpr": float,
        "value": float,
        "num_samples": int,
        "quantiles": [float],
    },
}
# A detector that was fitted on features: this program does not apply it.
POSTHOC = {
    "format": {"isomax-posthoc"},
    "version": int,
    "method": str,
    "head": DETECTOR["head"] | {"num_features": int, "probe": [float]},
    "threshold": DETECTOR["threshold"],
}
POSTHOC_TENSORS = "isomax-posthoc."
KINDS = {
    int: ("a whole number above 0", lambda value: type(value) is int and value > 0),
    float: ("a number", lambda value: type(value) in (int, float) and abs(value) < 3.4e38),
    str: ("a text", lambda value: type(value) is str and value != ""),
    dict: ("an object", lambda value: type(value) is dict),
    object: ("anything", lambda value: True),
}
# The field's names of scores.
ALIASES = {"msp": "mps", "maxsoftmax": "mps", "entropy": "es", "negativeentropy": "es"}
ALIASES |= {"maxlogit": "mds", "mls": "mds", "ebo": "energy", "energybased": "energy"}


class BundleError(ValueError):
    """A file is no bundle or a damaged one, or a bundle cannot do what is asked of it."""


def require(condition, text):
    if not condition:
        raise BundleError(text)


def check(value, shape, where):
    """Raises unless a value of JSON looks as it should."""
    found = sorted(value) if isinstance(shape, dict) and type(value) is dict else json.dumps(value)[:80]
    if isinstance(shape, dict):
        require(found == sorted(shape), f"{where}: expected an object of {sorted(shape)}, found {found}")
        for key in shape:
            check(value[key], shape[key], f"{where}.{key}")
    elif isinstance(shape, list):
        require(type(value) is list and value, f"{where}: expected a list that is not empty, found {found}")
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, set):
        is_known = type(value) is str and value in shape
        require(is_known, f"{where}: expected {' or '.join(sorted(shape))}, found {found}")
    else:
        text, fits = KINDS[shape]
        require(fits(value), f"{where}: expected {text}, found {found}")


def check_manifest(manifest):
    check(manifest, MANIFEST, "manifest")
    size, resize = (manifest["preprocessing"][key] for key in ("size", "resize"))
    require(size <= resize, f"images cannot be cut to {size} pixels after they were resized to {resize}")
    mean, std = (manifest["preprocessing"]["normalization"][key] for key in ("mean", "std"))
    require(len(mean) == len(std) == 3 and min(std) > 0, "expected three means and three positive deviations")
    if manifest["detector"] is not None:
        check_detector(manifest["detector"], manifest["head"], len(manifest["classes"]))


def is_posthoc(detector):
    return type(detector) is dict and detector.get("format") == "isomax-posthoc"


def check_detector(detector, name, num_classes):
    expected = 1 if is_posthoc(detector) else DETECTOR_VERSION
    numbers = {"numbers": dict} if is_posthoc(detector) and "numbers" in detector else {}
    check(detector, (POSTHOC if is_posthoc(detector) else DETECTOR) | numbers, "detector")
    version, head, threshold = detector["version"], detector["head"], detector["threshold"]
    require(version == expected, f"a detector of version {version}, expected {expected}")
    require(head["name"] == name, f"a detector for the head {head['name']} beside the head {name}")
    found = head["num_classes"]
    require(found == num_classes, f"a detector for {found} classes beside {num_classes} classes")
    require(min(head["temperature"], head["confidence_temperature"]) > 1e-45, "expected positive temperatures")
    require(0 < threshold["target_tpr"] <= 1, "expected a target TPR in (0, 1]")
    if threshold["promise"] not in ("empirical", "conformal"):
        check(threshold["promise"], {"tolerance": {"confidence": float}}, "detector.threshold.promise")
    quantiles, count = threshold["quantiles"], threshold["num_samples"]
    is_whole = len(quantiles) == min(count, MAX_QUANTILES) and quantiles == sorted(quantiles)
    require(is_whole, f"expected ascending quantiles of {count} samples")
    require(threshold["value"] <= quantiles[-1], "expected a threshold that is not above all quantiles")


def scores(name, logits):
    """The score of each row of logits, high = in-distribution, by any of the names that isomax-burn reads."""
    largest = logits.max(axis=1)
    gaps = np.maximum(logits - largest[:, None], WIDEST_GAP)
    weights = np.exp(gaps)
    partition = weights.sum(axis=1)
    negative_entropy = (weights * gaps).sum(axis=1) / partition - np.log(partition)
    max_mean = largest + logits.mean(axis=1)
    found = {
        "mps": 1 / partition,
        "es": negative_entropy,
        "mds": largest,
        "mmls": max_mean,
        "mmles": max_mean + negative_entropy,
        "mmleps": max_mean + negative_entropy + 1 / partition,
        "energy": largest + np.log(partition),
    }
    plain = "".join(character for character in name.lower() if character not in "-_ ")
    plain = ALIASES.get(plain, plain)
    require(plain in found, f"unknown score {name!r}; known: {', '.join(found)}")
    return found[plain]


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), SMALLEST_NORM)


def matrix(values, width, what):
    """Rows of finite numbers, in double precision."""
    values = np.asarray(values, np.float64)
    require(values.shape[1:] == (width,), f"expected {what} [n, {width}], found the shape {list(values.shape)}")
    require(np.isfinite(values).all(), f"the {what} hold a value that is not finite")
    return values


class Bundle:
    """`tensors` has all weights by name as NumPy arrays. `manifest` is the whole manifest; `architecture`, `head`,
    `classes`, `preprocessing`, `detector` (or None) and `provenance` are parts of it.
    """

    def __init__(self, manifest, tensors):
        check_manifest(manifest)
        is_weight = lambda name: not (is_posthoc(manifest["detector"]) and name.startswith(POSTHOC_TENSORS))
        self.manifest, self.tensors = manifest, {name: tensors[name] for name in tensors if is_weight(name)}
        self.architecture, self.head = manifest["architecture"], manifest["head"]
        self.classes, self.preprocessing = manifest["classes"], manifest["preprocessing"]
        self.detector, self.provenance = manifest["detector"], manifest["provenance"]
        # The head is the module that has a temperature.
        prefixes = [name.removesuffix("temperature") for name in tensors if name.split(".")[-1] == "temperature"]
        self.head_prefix = prefixes[0] if len(prefixes) == 1 else "classifier."

    @classmethod
    def load(cls, path):
        """Reads a file. Raises `BundleError` unless it is a whole bundle, `OSError` if it cannot be read."""
        try:
            with safe_open(path, "np") as file:
                return cls(*read(file))
        except (BundleError, SafetensorError) as error:
            raise BundleError(f"{path}: {error}") from None

    def head_tensor(self, name):
        found = self.tensors.get(self.head_prefix + name)
        require(found is not None, f"the head {self.head} has no tensor {self.head_prefix}{name}")
        return found.astype(np.float64)

    @property
    def temperature(self):
        """What the head divides its logits by."""
        return self.head_tensor("temperature").item()

    def head_logits(self, features):
        """Logits `[n, classes]` of features `[n, width]`."""
        require(self.head in ("softmax", "isomax", "isomax+", "dismax"), f"the head {self.head} is not known here")
        weights = self.head_tensor("weights" if self.head == "softmax" else "prototypes")
        features = matrix(features, weights.shape[1], "features")
        if self.head == "softmax":
            return (features @ weights.T + self.head_tensor("bias")) / self.temperature
        scale = 1.0
        if self.head != "isomax":
            features, weights = unit(features), unit(weights)
            scale = abs(self.head_tensor("distance_scale").item())
        distances = [np.linalg.norm(features - prototype, axis=1) for prototype in weights]
        distances = scale * np.stack(distances, axis=1)
        if self.head == "dismax":
            distances = (distances + distances.mean(axis=1, keepdims=True)) / np.sqrt(2)
        return -distances / self.temperature

    def place(self, score):
        """Where scores lie among the held-out ones: quantile, p-value, and whether they reach the threshold."""
        require(self.detector is not None, "the bundle has no detector")
        threshold = self.detector["threshold"]
        knots, count = np.array(threshold["quantiles"], np.float64), threshold["num_samples"]
        below, last = np.searchsorted(knots, score, "right"), len(knots) - 1
        quantile, up_to = below / count, below
        if len(knots) < count:
            # A knot stands for the samples up to its own place in the order; a score lies between two.
            floor, above = (knots[np.clip(at, 0, last)] / 2 for at in (below - 1, below))
            along = (score / 2 - floor) / np.where(above > floor, above - floor, 1)
            between = ((count - 1) / last * (below - 1 + along) + 1) / count
            quantile = np.select([below == 0, below > last], [0.0, 1.0], np.minimum(between, 1))
            up_to = np.where(below > last, count, (count - 1) * below // last)
        return quantile, (up_to + 1) / (count + 1), score >= threshold["value"]

    def decide(self, logits):
        """What the detector says of each row of logits, with the keys of `isomax-bench predict --json`."""
        require(self.detector is not None, "the bundle has no detector")
        method = is_posthoc(self.detector) and self.detector["method"]
        require(not method, f"the detector {method} needs features: `isomax-bench predict` and `isomax-serve` decide")
        of_head = self.detector["head"]
        fitted, confident = (np.float32(of_head[key]).item() for key in ("temperature", "confidence_temperature"))
        is_same = abs(self.temperature / fitted - 1) <= HALF_PRECISION
        require(is_same, f"a detector for the temperature {fitted} beside a head of {self.temperature}")
        logits = matrix(logits, len(self.classes), "logits")
        score = scores(self.detector["score"], logits)
        # Of equal logits the first one names the class.
        classes = logits.argmax(axis=1)
        gaps = logits - logits.max(axis=1, keepdims=True)
        confidence = 1 / np.exp(gaps / (confident / fitted)).sum(axis=1)
        columns = [column.tolist() for column in (classes, confidence, score, *self.place(score))]
        names = [self.classes[index] for index in classes]
        keys = "class", "class_name", "confidence", "score", "quantile", "p_value", "in_distribution"
        return [dict(zip(keys, row)) for row in zip(columns[0], names, *columns[1:])]


def read(file):
    """Manifest and tensors of an open safetensors file, once its sum fits."""
    header = file.metadata() or {}
    require("isomax_bundle" in header, "expected a bundle, but it has no manifest: weights by themselves")
    is_exact = header.keys() == {"format", "isomax_bundle", "isomax_sha256"} and header["format"] == "pt"
    require(is_exact, "the bundle is damaged: its header has other entries than a bundle")
    text = header["isomax_bundle"]
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise BundleError("the bundle is damaged: its manifest is no JSON") from None
    # A newer version may take its sum otherwise.
    version = manifest.get("version") if type(manifest) is dict else None
    require(version == VERSION, f"a bundle of version {version}; this program reads version {VERSION}")
    digest, tensors = hashlib.sha256(f"isomax-bundle\n{text}\n".encode()), {}
    for name in sorted(file.keys(), key=str.encode):
        dtype = file.get_slice(name).get_dtype()
        require(dtype == "F32", f"expected tensors of F32, but {name} is {dtype}")
        tensors[name] = file.get_tensor(name)
        shape = "x".join(map(str, tensors[name].shape))
        digest.update(f"{name} {dtype} {shape}\n".encode())
        digest.update(tensors[name].astype("<f4", copy=False).tobytes())
    is_whole = digest.hexdigest() == header["isomax_sha256"]
    require(is_whole, "the bundle is damaged: its sum does not fit, so that something in it was changed")
    return manifest, tensors


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bundle.py FILE")
    try:
        print(json.dumps(Bundle.load(sys.argv[1]).manifest, indent=2, ensure_ascii=False))
    except (OSError, BundleError) as error:
        sys.exit(str(error))
