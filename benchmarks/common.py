"""What the benchmarks share: paths, inputs, processes, timing in turns, tables."""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import RISCluster  # noqa: E402, F401  isort: skip  (sets up OpenMP before torch is loaded)
import h5py  # noqa: E402
import numpy as np  # noqa: E402

SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the benchmark."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def numbers(text: str) -> list[float]:
    """Numbers with commas between them."""
    return [float(part) for part in text.split(",")]


def write_set(path: Path, n: int, bins: tuple[int, int] = (16, 20), **columns: object) -> Path:
    """`n` spectrograms of three classes that differ by the place of a bump, and noise."""
    rng = np.random.default_rng(0)
    f, t = np.mgrid[: bins[0], : bins[1]]
    centre = (bins[0] * np.array([0.25, 0.5, 0.75]))[np.arange(n) % 3][:, None, None]
    bump = np.exp(-((f - centre) ** 2 + (t - bins[1] + centre) ** 2) / 8.0)
    with h5py.File(path, "w") as file:
        file["spectrogram"] = (bump + 0.1 * rng.random(bump.shape)).astype(np.float32)
        for name, values in columns.items():
            file[name] = values
    return path


# ---- processes ----------------------------------------------------------------------------------


def stage(script: str, *words: str) -> list[str]:
    """Command line of a stage with the default settings and these words."""
    return [sys.executable, str(ROOT / script), "--config", str(ROOT / "config.ini"), *words]


def command(*words: str) -> list[str]:
    """Command line of ``python -m RISCluster``."""
    return [sys.executable, "-m", "RISCluster", *words]


def environment(threads: int | None = 1) -> dict[str, str]:
    """Of a process that imports this package from anywhere."""
    limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return os.environ | {"PYTHONPATH": str(ROOT)} | limit


def fork(work: Callable, *arguments: object) -> multiprocessing.Process:
    """Start a copy of this process that calls `work`."""
    sys.stdout.flush()
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def exit_code(process: multiprocessing.Process, most_seconds: float | None = None) -> int:
    """Exit code of a process, minus the number of a signal; 124 if it had to be ended."""
    process.join(most_seconds)
    code = 124 if process.is_alive() else process.exitcode
    process.kill()
    process.join()
    return code


def measured(arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command without its output: seconds, seconds of CPU, and GB of its peak memory.

    It is seen by a process of its own that waits for it.
    """
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    began = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment(None), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    cpu, peak = answer.stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - began, float(cpu), int(peak) * unit / 1e9


# ---- timing and tables --------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(works: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Seconds that each of the works returns, which take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            found[name].append(work())
    return found


def ratio(plain: Iterable[float], own: Iterable[float]) -> float:
    """Median over turns of plain over own."""
    return statistics.median(a / b for a, b in zip(plain, own, strict=True))


def row(cells: Iterable[object], width: int = 12) -> str:
    """A line of a table: the first cell to the left, the others to the right."""
    first, *others = (f"{x:,.3g}" if isinstance(x, float) else str(x) for x in cells)
    return f"{first:<30}" + "".join(f"{cell:>{width}}" for cell in others)
