"""Memory and open files of a long training: do they grow?

    python benchmarks/long_run.py [--epochs 10000]

Trains the autoencoder on 48 samples of 8 x 8 bins, a checkpoint and a line of history after every
epoch, and looks at the process twenty times on the way. Linux alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parent.parent
WORDS = (
    "data.file=s.h5", "run.name=long", "run.figures=no", "run.device=cpu", "aec.n_features=2",
    "aec.batch_size=16", "aec.patience=1000000000", "aec.schedule=constant",
)  # fmt: skip
LOOKS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--tensorboard", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        watch(Path(folder), arguments.epochs, arguments.tensorboard)


def watch(folder: Path, epochs: int, tensorboard: bool) -> None:
    """Train in a process of its own, and print what it holds as epochs go by."""
    with h5py.File(folder / "s.h5", "w") as file:
        file["spectrogram"] = np.random.default_rng(0).random((48, 8, 8), np.float32) + 0.1
    words = [f"aec.n_epochs={epochs}", f"run.tensorboard={'yes' if tensorboard else 'no'}"]
    command = [sys.executable, str(ROOT / "AEC_train.py"), "--config", str(ROOT / "config.ini")]
    process = subprocess.Popen([*command, *WORDS, *words], cwd=folder, stdout=subprocess.DEVNULL)
    history = folder / "Outputs/long/AEC/history.csv"
    print(f"{'epoch':>8} {'memory MB':>10} {'open files':>10} {'epochs/s':>9}")
    due, began = epochs // LOOKS, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
        if done >= due:
            due += epochs // LOOKS
            look(process.pid, done, time.monotonic() - began)
    if process.returncode:
        sys.exit(f"the training ended with {process.returncode}")


def look(pid: int, done: int, seconds: float) -> None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        n_open = len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    memory = int(resident.split()[1]) / 1000
    print(f"{done:>8,} {memory:>10.1f} {n_open:>10} {done / seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
