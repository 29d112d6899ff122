"""Makes what tests/suite/networks.rs compares with of torchvision, tests/fixtures/torchvision.json.

    python isomax-models/pytorch/make_torchvision.py

Needs PyTorch, torchvision and NumPy. The file in the repository is of torchvision 0.24 on PyTorch 2.9.
The networks are torchvision's own, each with a last layer for 5 classes and weights of `make_fixtures.fill`,
by the names that isomax-models has for its tensors.
"""

import json

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

import networks
from make_fixtures import FOLDER, fill, images

# Of the convolutions and of the last layer, so that features and logits are of order 1.
GAINS = (0.7, 0.1)
# So many of each image, the first ones.
FEATURES = 64


def rename(name):
    """What isomax-models calls a tensor of torchvision."""
    name = name.replace("downsample", "shortcut")
    return name.replace("fc.weight", "classifier.weights").replace("fc.bias", "classifier.bias")


def parity(name, network, steps):
    network.fc = nn.Linear(network.fc.in_features, 5)
    fill(network, GAINS, rename)
    batch, targets = images(3, 64), torch.tensor([0, 3, 1])
    network.eval()
    case = {"name": name, "head": "softmax", "gains": GAINS, "size": 64}
    with torch.no_grad():
        case["logits"] = network(batch).tolist()
        # Without its last layer a network computes features.
        classifier, network.fc = network.fc, nn.Identity()
        case["features"] = network(batch)[:, :FEATURES].tolist()
        network.fc = classifier
    network.train()
    optimizer = networks.sgd(network)
    case["losses"] = []
    for _ in range(steps):
        loss = F.cross_entropy(network(batch), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        case["losses"].append(loss.item())
    case["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    return case


if __name__ == "__main__":
    with torch.random.fork_rng():
        # Rounding errors in the gradients of ResNet-50 grow to some per cent, so that only a network of
        # a few of its blocks is trained.
        short = ResNet(Bottleneck, [1, 1, 1, 1])
        cases = [
            parity("resnet-18", torchvision.models.resnet18(), steps=2),
            parity("resnet-50", torchvision.models.resnet50(), steps=0),
            parity("four bottlenecks", short, steps=2),
        ]
    (FOLDER / "torchvision.json").write_text(json.dumps(cases))
