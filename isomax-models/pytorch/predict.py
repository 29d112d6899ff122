"""Decides on image files by a bundle, with PyTorch.

    python isomax-models/pytorch/predict.py BUNDLE IMAGES...

prints a line of JSON for each image, with the keys of `isomax-bench predict --json`. The exit status is 1 if an
image has no decision. Needs PyTorch, NumPy, safetensors and Pillow.

JPEG files are decoded by Pillow, so by libjpeg-turbo, whatever decoder the bundle names: the decoder `safe` of Rust
gives single pixels that differ by a few of 256 steps. Pillow turns TIFF files upright even where the bundle takes
images as they are stored.
"""

import argparse
import json
import sys

import numpy as np
import torch
from PIL import Image, ImageOps

import networks
from bundle import Bundle, BundleError


def network_of(bundle):
    """The network of a bundle in PyTorch, with its weights, but without the temperature of its head."""
    try:
        # Without memory, since all weights come from the bundle.
        with torch.device("meta"):
            network = networks.build(bundle.architecture, bundle.head, len(bundle.classes))
    except (IndexError, KeyError, ValueError):
        text = f"no network {bundle.architecture} with the head {bundle.head} in networks.py"
        raise BundleError(text) from None
    state = {name: torch.from_numpy(tensor) for name, tensor in bundle.tensors.items()}
    state.pop("classifier.temperature")
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BundleError(f"the weights are not those of {bundle.architecture}: {error}") from None
    return network.eval()


def preprocess(path, preprocessing):
    """The values `[1, 3, size, size]` that a network takes, from an image file."""
    size, resize = preprocessing["size"], preprocessing["resize"]
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file) if preprocessing["orientation"] == "upright" else file
        if image.mode.startswith("I"):
            # Of 16 bits, of which Pillow would take the low ones.
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("RGB")
    width, height = (resize * length // min(image.size) for length in image.size)
    # Rows first and columns then, as Pillow did both at once before version 13.
    for lengths in ((width, image.height), (width, height)):
        image = image.resize(lengths, Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    mean, std = (np.float32(preprocessing["normalization"][key]) for key in ("mean", "std"))
    values = (pixels / np.float32(255) - mean) / std
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))


@torch.no_grad()
def features_and_logits(network, bundle, path):
    """The features `[1, width]` and the logits `[1, classes]` of an image file."""
    features = network.features(preprocess(path, bundle.preprocessing))
    return features.numpy(), network.classifier(features).numpy() / np.float32(bundle.temperature)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("images", nargs="+")
    arguments = parser.parse_args()
    try:
        bundle = Bundle.load(arguments.bundle)
        network = network_of(bundle)
    except (OSError, BundleError) as error:
        sys.exit(str(error))
    failed = 0
    for path in arguments.images:
        try:
            [decision] = bundle.decide(features_and_logits(network, bundle, path)[1])
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(json.dumps({"path": path, **decision}), flush=True)
    if failed:
        sys.exit(f"{failed} of {len(arguments.images)} files have no decision")


if __name__ == "__main__":
    main()
