"""Images per second of the networks in PyTorch, asked for line by line.

    echo "resnet-20 train 64 5" | python isomax-models/pytorch/throughput.py

Each line names a network, `train` or `inference`, the batch size and the seconds to measure for; the
answer is one number; to `memory` it is the largest memory so far, in MB. The benchmark `throughput` of isomax-bench asks in turns with its own runs, so
that both see the same machine. Runs on the GPU if PyTorch has one; no compilation, default settings.
"""

import resource
import sys
import time

import torch

import networks


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(name, mode, batch, seconds, device):
    network = networks.build(name, "isomax+", 10).to(device)
    side = networks.image_size(name)
    images = torch.randn(batch, 3, side, side, device=device)
    targets = torch.randint(0, 10, (batch,), device=device)
    optimizer = networks.sgd(network)

    def step():
        if mode == "train":
            networks.training_step(network, optimizer, images, targets)
        else:
            with torch.no_grad():
                network(images)

    network.train(mode == "train")
    for _ in range(3):
        step()
    synchronize(device)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        synchronize(device)
        count += batch
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"PyTorch {torch.__version__} on {where}", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
            continue
        name, mode, batch, seconds = line.split()
        print(measure(name, mode, int(batch), float(seconds), device), flush=True)
