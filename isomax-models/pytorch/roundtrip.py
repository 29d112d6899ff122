"""Takes weights from Burn to Python and back, and compares every bit.

    python isomax-models/pytorch/roundtrip.py

Burn saves networks with random weights and their logits; PyTorch loads the weights into its own
networks, strictly, compares the logits, and saves the weights again; Burn loads those and compares them
with the first. Needs cargo; says so and ends well where PyTorch or safetensors is missing.
"""

import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    sys.exit(print(f"skipped: {error}"))

import networks

ROOT = pathlib.Path(__file__).parent.parent.parent


def burn(step, folder):
    command = ["cargo", "run", "--release", "--quiet", "-p", "isomax-models", "--features", "store"]
    command += ["--example", "roundtrip", "--", step, folder]
    subprocess.run(command, check=True, cwd=ROOT)


def main():
    with tempfile.TemporaryDirectory() as folder:
        burn("write", folder)
        for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
            name, head = path.stem.split(" ")
            state = load_file(path)
            io = load_file(path.with_suffix(".io"))
            temperature = state.pop("classifier.temperature")
            network = networks.build(name, head, 10)
            network.load_state_dict(state)
            network.eval()
            with torch.no_grad():
                logits = network(io["images"]) / temperature
            error = (logits - io["logits"]).abs().max() / io["logits"].abs().max()
            assert error < 1e-4, f"{name} {head}: logits differ by {error:.1e}"
            print(f"{name} {head}: {len(state)} tensors, logits within {error:.0e}")
            # Back with what PyTorch holds now, its counters included.
            state = {**network.state_dict(), "classifier.temperature": temperature}
            save_file(state, path.with_suffix(".back"))
        burn("compare", folder)


if __name__ == "__main__":
    main()
