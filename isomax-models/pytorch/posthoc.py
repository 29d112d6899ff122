"""Post-hoc detectors of pytorch-ood on the features of a network, beside those of an evaluation.

    python isomax-models/pytorch/posthoc.py resnet-20 softmax weights.pth data/cifar10 evaluation/evaluation.json \\
        --ood-data mnist=data/mnist svhn=data/svhn/test

The evaluation is what `isomax-bench evaluate --weights … --posthoc all --jpeg-decoder libjpeg` wrote of the same
weights and sets, built with `--features libjpeg`, so that the pixels are the same. The data set has `train` and `test`
with a folder for each class of CIFAR-10. Of each method and set a line says both AUROCs in percent and their
difference; the last line has the largest. Methods that pytorch-ood defines for linear layers alone are left out for
other heads. Needs NumPy, Pillow, scikit-learn and pytorch-ood 0.4.
"""

import argparse
import json
import pathlib

import torch
from pytorch_ood import detector as po
from torch.nn import functional as F

import networks
from train import detection, normalize, read

# Parameters as isomax-bench has them by default.
NEIGHBOURS, GUIDES, ALPHA = 50, 10, 1e-4
REACT, ASH, SCALE, DICE = 0.9, 0.9, 0.85, 0.9


@torch.no_grad()
def features(network, images):
    network.eval()
    batches = [network.features(normalize(images[at : at + 200])) for at in range(0, len(images), 200)]
    return torch.cat(batches)


def maps(rows):
    """Rows of features as the maps that some of the detectors take, each value a unit of its own."""
    return rows[:, :, None, None]


def detectors(head, rows, labels):
    """Of each method by its name here: what gives outlier scores to features."""
    pooled = lambda values: head(values.flatten(1))
    # Shapes are of energy, on distance heads of the largest logit.
    is_linear = isinstance(head, networks.SoftMaxHead)
    score, end = (po.EnergyBased.score, "") if is_linear else (po.MaxLogit.score, ":score=MDS")
    fitted = {
        "MPS": lambda x: po.MaxSoftmax.score(head(x)),
        "MDS": lambda x: po.MaxLogit.score(head(x)),
        "Energy": lambda x: po.EnergyBased.score(head(x)),
        "ES": lambda x: po.Entropy.score(head(x)),
        "gen": lambda x: po.GEN.score(head(x).double()),
        "mahalanobis": po.Mahalanobis(None).fit_features(rows, labels).predict_features,
        "relative-mahalanobis": po.RMD(None).fit_features(rows, labels).predict_features,
        "knn": po.KNN(None, k=NEIGHBOURS).fit_features(rows, labels).predict_features,
        "she": po.SHE(None, head).fit_features(rows, labels).predict_features,
    }
    react = po.ReAct(None, pooled, percentile=REACT, detector=score).fit_feature_maps(maps(rows), labels)
    fitted["react" + end] = react.predict_feature_maps
    unit = F.normalize(rows)
    of_units = {"mahalanobis:unit": po.Mahalanobis(None), "relative-mahalanobis:unit": po.RMD(None)}
    for name, detector in of_units.items():
        detector.fit_features(unit, labels)
        fitted[name] = lambda x, detector=detector: detector.predict_features(F.normalize(x))
    for variant in ("ash-p", "ash-b", "ash-s"):
        ash = po.ASH(None, pooled, variant=variant, percentile=ASH, detector=score)
        fitted[variant + end] = ash.predict_feature_maps
    if is_linear:
        linear = torch.nn.Linear(*reversed(head.weights.shape))
        linear.load_state_dict({"weight": head.weights, "bias": head.bias})
        weights, bias = head.weights, head.bias
        fitted |= {
            "vim": po.ViM(None, rows.shape[1] // 2, weights, bias).fit_features(rows, labels).predict_features,
            "nnguide": po.NNGuide(None, linear, k=GUIDES).fit_features(rows, labels).predict_features,
            "fdbd": po.fDBD(None, linear).fit_features(rows).predict_features,
            "nci": po.NCI(None, linear, alpha=ALPHA).fit_features(rows).predict_features,
            "scale": po.SCALE(None, pooled, percentile=SCALE).predict_feature_maps,
            "dice": po.DICE(None, weights, bias, p=DICE).fit_features(rows, labels).predict_features,
        }
    of_maps = ("react", "ash", "scale")
    return {name: (lambda x, f=f: f(maps(x))) if name.startswith(of_maps) else f for name, f in fitted.items()}


@torch.no_grad()
def scores(detector, rows):
    """High = in-distribution."""
    batches = [detector(rows[at : at + 500]) for at in range(0, len(rows), 500)]
    return -torch.cat([batch.flatten() for batch in batches]).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", help="such as resnet-20, resnet-110 or densenet-bc-100")
    parser.add_argument("head", choices=["softmax", "isomax", "isomax+"])
    parser.add_argument("weights", help="state dict of PyTorch")
    parser.add_argument("id_data", type=pathlib.Path, help="folder with train and test")
    parser.add_argument("evaluation", help="evaluation.json of the same weights and sets")
    parser.add_argument("--ood-data", nargs="+", required=True, help="NAME=FOLDER of images, named as there")
    arguments = parser.parse_args()

    with open(arguments.evaluation) as file:
        found = {(row["set"], row["score"]): row["field"]["auroc"] for row in json.load(file)["detection"]}
    network = networks.build(arguments.network, arguments.head, 10)
    state = torch.load(arguments.weights, weights_only=True)
    network.load_state_dict(state)
    train, labels = read(arguments.id_data / "train")
    methods = detectors(network.classifier.eval(), features(network, train), torch.from_numpy(labels))
    inside = features(network, read(arguments.id_data / "test")[0])
    inside = {name: scores(detector, inside) for name, detector in methods.items()}
    largest = 0.0
    for named in arguments.ood_data:
        name, folder = named.split("=", 1)
        outside = features(network, read(folder)[0])
        for method, detector in methods.items():
            if (name, method) not in found:
                continue
            theirs = detection(inside[method], scores(detector, outside))["AUROC"]
            ours = 100 * found[name, method]
            largest = max(largest, abs(theirs - ours))
            print(f"{name:10} {method:26} pytorch-ood {theirs:7.3f}  here {ours:7.3f}  {ours - theirs:+.4f}", flush=True)
    print(f"largest difference of an AUROC: {largest / 100:.1e}")


if __name__ == "__main__":
    main()
