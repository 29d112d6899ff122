"""Writes isomax-burn/tests/suite/golden/peers.json: losses and heads of others, in PyTorch and double precision.

    python isomax-models/pytorch/make_peers.py

Written after the papers: LogitNorm arXiv:2205.09310, Outlier Exposure arXiv:1812.04606, T2FNorm arXiv:2305.17797,
G-ODIN arXiv:2002.11297. Of each the values, and the gradients of all that training moves.
"""

import json
import pathlib

import torch
from torch.nn import functional as F

FOLDER = pathlib.Path(__file__).parents[2] / "isomax-burn/tests/suite/golden"


def leaf(*shape):
    return torch.randn(shape, dtype=torch.float64).mul(1e3).round().div(1e3).requires_grad_()


def with_gradients(values, leaves):
    values["loss"].backward()
    found = {f"gradient_of_{name}": tensor.grad for name, tensor in leaves.items()}
    return {name: tensor.tolist() for name, tensor in (leaves | values | found).items()}


def logit_norm(temperature):
    logits, targets = leaf(5, 4), torch.tensor([0, 3, 1, 1, 2])
    unit = logits / (logits.norm(dim=1, keepdim=True) + 1e-7)
    values = {"loss": F.cross_entropy(unit / temperature, targets), "targets": targets}
    return {"temperature": temperature} | with_gradients(values, {"logits": logits})


def outlier_exposure(scale):
    logits = leaf(5, 4)
    scaled = scale * logits
    values = {"loss": 0.5 * (scaled.logsumexp(1) - scaled.mean(1)).mean()}
    return {"scale": scale} | with_gradients(values, {"logits": logits})


def t2fnorm(tau):
    leaves = {"features": leaf(5, 3), "weights": leaf(4, 3), "bias": leaf(4)}
    features, weights, bias = leaves.values()
    targets = torch.tensor([0, 3, 1, 1, 2])
    training = F.linear(F.normalize(features) / tau, weights, bias)
    inference = F.linear(features / tau, weights, bias)
    values = {"training": training, "inference": inference, "targets": targets}
    return {"tau": tau} | with_gradients(values | {"loss": F.cross_entropy(training, targets)}, leaves)


def godin():
    leaves = {"features": leaf(5, 3), "directions": leaf(4, 3), "domain_weights": leaf(1, 3), "domain_bias": leaf(1)}
    leaves |= {"domain_scale": leaf(1), "domain_offset": leaf(1)}
    features, directions, domain_weights, domain_bias, domain_scale, domain_offset = leaves.values()
    targets = torch.tensor([0, 3, 1, 1, 2])
    unit = lambda rows: rows / (rows.norm(dim=1, keepdim=True) + 1e-4)
    inference = unit(features) @ unit(directions).T
    value = F.linear(features, domain_weights, domain_bias)
    normal = F.batch_norm(value, None, None, domain_scale, domain_offset, training=True)
    training = inference / torch.sigmoid(normal)
    values = {"training": training, "inference": inference, "targets": targets}
    return with_gradients(values | {"loss": F.cross_entropy(training, targets)}, leaves)


def main():
    torch.manual_seed(0)
    golden = {
        "logit_norm": [logit_norm(temperature) for temperature in (1.0, 0.04)],
        "outlier_exposure": [outlier_exposure(scale) for scale in (1.0, 10.0)],
        "t2fnorm": t2fnorm(0.1),
        "godin": godin(),
    }
    (FOLDER / "peers.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
