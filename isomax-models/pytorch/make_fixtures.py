"""Makes what tests/suite/store.rs and tests/suite/networks.rs compare with, in tests/fixtures.

    python isomax-models/pytorch/make_fixtures.py

Needs PyTorch and NumPy. The files in the repository are of PyTorch 2.9.
"""

import argparse
import json
import math
import os
import pathlib
import pickle

import numpy
import torch

import networks

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"


def noise(shape, seed):
    """Uniform numbers in [-1, 1) that Rust computes as well: a hash of each place."""
    mask = numpy.uint64(0xFFFF_FFFF)
    value = numpy.arange(math.prod(shape), dtype=numpy.uint64) * numpy.uint64(2_654_435_761)
    value = (value + numpy.uint64(seed * 40_503)) & mask
    value ^= value >> numpy.uint64(15)
    value = (value * numpy.uint64(2_246_822_519)) & mask
    value ^= value >> numpy.uint64(13)
    return torch.from_numpy(value.astype(numpy.float64) / 2**31 - 1).reshape(shape)


def images(count, size):
    return noise((count, 3, size, size), seed=1).float()


def fill(network, gains=(1, 1), rename=str):
    """Weights that Rust computes as well, by the name that it has for a tensor and the place in it.

    The gains are factors of the convolutions and of the last layer.
    """
    for given, tensor in network.state_dict().items():
        if given.endswith("num_batches_tracked"):
            continue
        name = rename(given)
        value = noise(tuple(tensor.shape), seed=sum(name.encode()))
        if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
            value = 1 + 0.5 * value
        elif tensor.dim() == 4:
            value = value * (gains[0] * (6 / tensor[0].numel()) ** 0.5)
        elif name.endswith("distance_scale"):
            value = 1 + 0 * value
        else:
            value = (0.3 * gains[1] if tensor.dim() == 2 else 0.3) * value
        tensor.copy_(value.float())


def parity(name, head, size):
    network = networks.build(name, head, 5)
    fill(network)
    batch, targets = images(3, size), torch.tensor([0, 3, 1])
    network.eval()
    case = {"name": name, "head": head, "size": size}
    case["features"] = network.features(batch).tolist()
    case["logits"] = network(batch).tolist()
    network.train()
    optimizer = networks.sgd(network)
    steps = (networks.training_step(network, optimizer, batch, targets) for _ in range(2))
    case["losses"] = [loss.item() for loss in steps]
    case["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    return case


class Shell:
    """What must never happen on loading."""

    def __reduce__(self):
        return os.system, ("touch executed-by-a-pickle",)


def weights():
    torch.manual_seed(0)
    network = networks.DenseNetBc(10, 3, "isomax+", growth_rate=2)
    batch, targets = images(4, 8), torch.tensor([0, 1, 2, 1])
    optimizer = networks.sgd(network)
    for _ in range(3):
        networks.training_step(network, optimizer, batch, targets)
    network.eval()
    expected = {"images": batch.tolist(), "logits": network(batch).tolist()}
    (FOLDER / "densenet10.json").write_text(json.dumps(expected))

    state = network.state_dict()
    checkpoint = {
        "epoch": 3,
        "best_accuracy": torch.tensor(93.1),
        "best": numpy.float64(93.1),
        "args": argparse.Namespace(lr=0.1),
        "optimizer": optimizer.state_dict(),
    }
    parameters = dict(network.named_parameters())
    strided = {
        name: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t
        for name, t in state.items()
    }
    flat = torch.cat([t.flatten() for t in state.values()])
    starts = numpy.cumsum([0] + [t.numel() for t in state.values()])
    shared = {
        name: flat[start : start + t.numel()].view(t.shape)
        for (name, t), start in zip(state.items(), starts)
    }
    parallel = {f"module.{name}": t for name, t in state.items()}
    files = {
        "plain": state,
        "parallel": parallel,
        "nested_state_dict": {**checkpoint, "state_dict": parallel},
        "nested_model": {**checkpoint, "model": state},
        "parameters": parameters,
        "parameters_and_buffers": {**state, **parameters},
        "channels_last": strided,
        "one_storage": shared,
        "double": {name: t.double() for name, t in state.items()},
        "half": {name: t.half() for name, t in state.items()},
        "whole_module": network,
        "list": [1, 2, 3],
        "no_tensors": {"epoch": 3, "args": argparse.Namespace(lr=0.1)},
        "number_for_a_name": {**state, 7: torch.zeros(1)},
        "integers": {**state, "conv1.weight": state["conv1.weight"].long()},
        "temperature": {**state, "classifier.temperature": torch.tensor(2.5)},
        "no_temperature": {**state, "classifier.temperature": torch.tensor([0.0])},
        "malicious": {**state, "conv1.weight": Shell()},
        "malicious_checkpoint": {"state_dict": state, "epoch": Shell()},
        "malicious_root": Shell(),
    }
    for name, contents in files.items():
        torch.save(contents, FOLDER / f"{name}.pth")
    torch.save(state, FOLDER / "protocol4.pth", pickle_protocol=4)
    old = {"legacy": state, "legacy_checkpoint": {**checkpoint, "state_dict": strided}}
    for name, contents in old.items():
        torch.save(contents, FOLDER / f"{name}.pth", _use_new_zipfile_serialization=False)
    (FOLDER / "bare_pickle.pth").write_bytes(pickle.dumps({"a": 1}))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    weights()
    with torch.random.fork_rng():
        cases = [
            parity("resnet-18", "isomax+", 16),
            parity("resnet-34", "dismax", 16),
            parity("resnet-18-imagenet", "softmax", 64),
            parity("wrn-16-2", "isomax", 16),
            parity("densenet-bc-22", "dismax", 18),
            parity("resnet-14", "isomax+", 18),
        ]
    (FOLDER / "networks.json").write_text(json.dumps(cases))
