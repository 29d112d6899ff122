"""GFLOP/s of single convolutions in PyTorch, asked for line by line.

    echo "forward 64 16 16 32 3 1 1" | python isomax-models/pytorch/kernels.py

Each line names what is computed (`forward`, `maps` or `weights`, the gradients), the batch size, the channels in
and out, the side, the kernel, the stride and the groups; the answer is one number. The benchmark `kernels` of
isomax-bench asks in turns with its own runs. Runs on the CPU.
"""

import statistics
import sys
import time

import torch
from torch.nn import functional as F

ROUNDS = 5
SECONDS = 0.06


def measure(what, batch, channels_in, channels_out, side, kernel, stride, groups):
    padding = kernel // 2
    maps = torch.randn(batch, channels_in, side, side)
    weight = torch.randn(channels_out, channels_in // groups, kernel, kernel)
    output = F.conv2d(maps, weight, None, stride, padding, 1, groups)
    upstream = torch.randn_like(output)

    def step():
        if what == "forward":
            return F.conv2d(maps, weight, None, stride, padding, 1, groups)
        wanted = [what == "maps", what == "weights", False]
        sizes = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups
        return torch.ops.aten.convolution_backward(upstream, maps, weight, None, *sizes, wanted)

    for _ in range(3):
        step()
    times = []
    for _ in range(ROUNDS):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            step()
            count += 1
        times.append((time.perf_counter() - start) / count)
    operations = 2 * weight.numel() * output.shape[0] * output.shape[2] * output.shape[3]
    return operations / statistics.median(times) / 1e9


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__} on {torch.get_num_threads()} threads", flush=True)
    with torch.no_grad():
        for line in sys.stdin:
            what, *sizes = line.split()
            print(measure(what, *map(int, sizes)), flush=True)
