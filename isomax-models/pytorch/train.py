"""Trains a network in PyTorch by the published recipe and detects OOD sets with it.

    python isomax-models/pytorch/train.py resnet-20 isomax+ --id-data data/cifar10 --ood-data data/svhn \\
        --epochs 8 --milestones 4 5 7 --seed 43

The twin of `isomax-bench train --selection last` on folders of images, with `--validation-images 0`, or else with
as many images held out. `--id-data` has `train` and `test` with a folder for each class of CIFAR-10, `--ood-data`
are folders of images of the same size, at any depth. After every epoch a line of JSON says the loss, the test
accuracy and, for each OOD set and score, the AUROC and the TNR at 95 % TPR in the field's convention, in percent.
Needs NumPy and Pillow.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import networks

# Of CIFAR-10, as published.
MEAN = np.array([0.491, 0.482, 0.446], np.float32)
STD = np.array([0.247, 0.243, 0.261], np.float32)
PADDING = 4


def read(folder):
    """Images `[n, height, width, 3]` as bytes, and the indices of the folders they lie in."""
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    classes = sorted({path.parent for path in files})
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
    return images, np.array([classes.index(path.parent) for path in files])


def normalize(images):
    values = (images.astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def crop_and_flip(images, random):
    """Crops of images with a black border, half of them mirrored."""
    count, height, width, _ = images.shape
    border = [(0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)]
    padded = np.pad(images, border)
    lefts, tops = (random.randint(0, 2 * PADDING + 1, count) for _ in range(2))
    crops = [padded[i, t : t + height, l : l + width] for i, (t, l) in enumerate(zip(tops, lefts))]
    flipped = random.rand(count) < 0.5
    return np.stack([crop[:, ::-1] if flip else crop for crop, flip in zip(crops, flipped)])


@torch.no_grad()
def logits(network, images):
    network.eval()
    batches = [network(normalize(images[at : at + 200])) for at in range(0, len(images), 200)]
    network.train()
    return torch.cat(batches)


def scores(of_logits):
    """High = in-distribution."""
    entropy = -(F.softmax(of_logits, 1) * F.log_softmax(of_logits, 1)).sum(1)
    return {"MDS": of_logits.max(1).values.numpy(), "ES": -entropy.numpy()}


def detection(inside, outside):
    """AUROC with ties counted one half, and TNR at the strictest threshold with at least 95 % TPR."""
    outside = np.sort(outside)
    below, up_to = (np.searchsorted(outside, inside, side) for side in ("left", "right"))
    auroc = (below + up_to).mean() / 2 / len(outside)
    threshold = np.sort(inside)[::-1][int(np.ceil(0.95 * len(inside))) - 1]
    return {"AUROC": 100 * auroc, "TNR@95TPR": 100 * (outside < threshold).mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", help="such as resnet-20, resnet-110 or densenet-bc-100")
    parser.add_argument("head", choices=["softmax", "isomax", "isomax+"])
    parser.add_argument("--id-data", required=True, help="folder with train and test")
    parser.add_argument("--ood-data", nargs="*", default=[], help="folders of images")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--milestones", type=int, nargs="*", default=[150, 200, 250])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=0, help="leave out this many training images")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    random = np.random.RandomState(arguments.seed)
    id_data = pathlib.Path(arguments.id_data)
    (images, labels), (test, test_labels) = read(id_data / "train"), read(id_data / "test")
    kept = np.sort(random.permutation(len(images))[arguments.held_out :])
    images, labels = images[kept], labels[kept]
    sets = {pathlib.Path(folder).name: read(folder)[0] for folder in arguments.ood_data}

    network = networks.build(arguments.network, arguments.head, labels.max() + 1)
    optimizer = networks.sgd(network)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, arguments.milestones, gamma=0.1)
    for epoch in range(1, arguments.epochs + 1):
        order, loss = random.permutation(len(images)), 0.0
        for at in range(0, len(order), arguments.batch):
            batch = order[at : at + arguments.batch]
            inputs = normalize(crop_and_flip(images[batch], random))
            targets = torch.from_numpy(labels[batch])
            step = networks.training_step(network, optimizer, inputs, targets)
            loss += step.item() * len(batch) / len(images)
        schedule.step()
        of_test = logits(network, test)
        inside = scores(of_test)
        line = {"epoch": epoch, "loss": loss}
        line["accuracy"] = 100 * float((of_test.argmax(1).numpy() == test_labels).mean())
        for name, others in sets.items():
            outside = scores(logits(network, others))
            line[name] = {kind: detection(inside[kind], outside[kind]) for kind in inside}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
