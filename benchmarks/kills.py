"""Kills: do commands that were stopped and started again end as if never stopped?

    python benchmarks/kills.py [section.key=value ...] [--kills 200] [--seed 1] [--samples 320]
                               [--what aec gmm dec build cube predict]

Every stage by its script, and `build`, `cube` and `predict`, on small data. Each trial starts a
process, kills it (SIGKILL, SIGTERM or SIGINT), starts it again, up to four times, and lets the last
one end. Half of the kills come at a random time of the process's life; half before or after a
random one of the operations that change files. Then every result must be the same to the byte as
without any kill, times and rates apart, and no other file may be left. A seed gives the same
signals and operations again; what a random time hits depends on the machine. Processes are copies
of one that has imported everything, so that no kill is lost on an import.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, SCRIPTS, exit_code, fork, h5py, np, parser, write_set

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MAX_SECONDS = 300  # of a process
MAX_KILLS = 4  # of one trial
OPERATIONS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync", "open")
WORDS = (
    "data.file=s.h5", "run.name=r", "run.figures=no", "run.device=cpu", "aec.n_features=3",
    "aec.n_epochs=8", "aec.batch_size=16", "gmm.n_clusters=2-4", "gmm.n_init=3",
    "dec.n_epochs=5", "dec.batch_size=16", "dec.tol=0", "dec.n_clusters=3",
)  # fmt: skip
BUILD = ("build.sampling_rate=auto", "build.lta=5", "build.taper=2", "build.on=6", "build.off=2")
RECORDS = ("records.window=0.2", "records.step=0.05")
VARYING = ("seconds", "samples_per_second")  # columns and keys that differ from run to run
COMPARED = ("status", "depends", "inputs", "results")  # parts of provenance.json
PRELOADED = (
    "RISCluster.stages.pretrain", "RISCluster.stages.cluster", "RISCluster.stages.refine",
    "RISCluster.stages.predict", "RISCluster.waveforms.build", "obspy", "zarr",
    "RISCluster.fibre.make_cube", "sklearn.manifold", "scipy.signal", "scipy.stats",
    "RISCluster.commands.make", "obspy.imaging.scripts.scan",
    "torch._dynamo",  # which the first optimiser loads
)  # fmt: skip


class Subject(NamedTuple):
    """A command: its words, its results, results of others that it needs, words when repeated."""

    name: str
    arguments: tuple[str, ...]  # as after ``python``
    results: tuple[str, ...]
    needs: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


STAGES = tuple(f"Outputs/r/{stage}" for stage in ("AEC", "GMM", "DEC"))
MAKE_SET = ("-m", "RISCluster", "build", "waves", "-o", "set.h5", "--workers", "1")
MAKE_CUBE = ("-m", "RISCluster", "cube", "fibre", "-o", "cube.zarr", "--workers", "1")
PREDICT = ("-m", "RISCluster", "predict", "s.h5", "--run", "Outputs/r", "-o", "p.csv")
SUBJECTS = (
    *(Subject(place[-3:].lower(), (str(ROOT / script), *WORDS), (place,), STAGES[:n])
      for n, (place, script) in enumerate(zip(STAGES, SCRIPTS, strict=True))),
    Subject("build", (*MAKE_SET, *BUILD), ("set.h5", "set.csv")),
    Subject("cube", (*MAKE_CUBE, *RECORDS), ("cube.zarr",)),
    Subject("predict", PREDICT, ("p.csv", "p.latent.npy"), STAGES, ("--overwrite",)),
)  # fmt: skip


def write_inputs(folder: Path, n: int) -> None:
    """Settings, spectrograms of three classes, waveforms of three stations, records of a fibre."""
    import obspy

    rng = np.random.default_rng(0)
    (folder / "config.ini").write_text("[run]\n")
    write_set(folder / "s.h5", n)
    (folder / "fibre").mkdir()
    for number in range(4):
        with h5py.File(folder / f"fibre/{number}.h5", "w") as file:
            data = file.create_dataset("data", data=rng.standard_normal((2000, 40), np.float32))
            data.attrs.update({"fs": 100.0, "dims": "time,channel", "start": 1.6e9 + 20 * number})
    (folder / "waves").mkdir()
    for name in ("AAA1", "AAA2", "BBB1", "BBB2", "CCC1", "CCC2"):  # station and day
        data = 100 * rng.standard_normal(120 * 50)
        for moment in (30, 60, 90):
            at = np.arange(len(data)) / 50 - moment
            data += 20_000 * np.exp(-((at / 0.08) ** 2)) * np.cos(20 * np.pi * at)
        trace = obspy.Trace(np.rint(data).astype(np.int32), {"sampling_rate": 50})
        trace.id = f"XX.{name[:3]}..HHZ"
        trace.stats.starttime = obspy.UTCDateTime(f"2016-01-0{name[3]}T12:00:00")
        trace.write(str(folder / f"waves/{name}.mseed"), format="MSEED")


# ---- processes ----------------------------------------------------------------------------------


def count_operations(at: int, number: int) -> list[int]:
    """Count what changes files, and kill this process before operation `at` (after it: -at)."""
    count = [0]

    def counted(work: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            mine = count[0]
            if mine == at:
                os.kill(os.getpid(), number)
            try:
                return work(*arguments, **options)
            finally:
                if mine == -at:
                    os.kill(os.getpid(), number)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    return count


def run(arguments: Sequence[str], folder: Path, errors: Path, at: int, number: int) -> None:
    """In a copy of this process, do what Python does with these arguments."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(folder)
    count = count_operations(at, number)
    is_module = arguments[0] == "-m"
    sys.argv = [*arguments[is_module:]]
    try:
        if is_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        errors.with_name("count").write_text(str(count[0]))


class Harness:
    """Starts processes in folders of their own, and knows the results without kills."""

    def __init__(self, top: Path, seed: int, n: int, words: Sequence[str] = ()):
        self.top, self.seed, self.words = top, seed, tuple(words)
        for name in PRELOADED:
            importlib.import_module(name)
        self.base = top / "never_killed"
        self.base.mkdir()
        write_inputs(self.base, n)

    def start(self, subject: Subject, folder: Path, again: bool = False, at: int = 0,
              by: int = 0) -> multiprocessing.Process:  # fmt: skip
        """Start a subject, killed by signal `by` before operation `at` (after it: minus `at`)."""
        words = self.words if subject.arguments[0] != "-m" else ()
        arguments = [*subject.arguments, *words, *(subject.again if again else ())]
        return fork(run, arguments, folder, self.top / "errors", at, by)

    def end(self, process: multiprocessing.Process) -> tuple[int, str]:
        """Exit code (minus a signal) and what was written to standard error."""
        code = exit_code(process, MAX_SECONDS)
        return code, (self.top / "errors").read_text().strip()

    def measure(self, subject: Subject) -> tuple[float, int]:
        """Run it once, never killed: seconds, and how often it changes files."""
        began = time.monotonic()
        code, error = self.end(self.start(subject, self.base))
        if code:
            raise SystemExit(f"{subject.name} fails without any kill:\n{error}")
        return time.monotonic() - began, int((self.top / "count").read_text())

    def trial(self, subject: Subject, number: int, most: int, life: tuple[float, int],
              counts: Counter) -> list[str]:  # fmt: skip
        """Kill at most so often, start again, let end, compare: faults."""
        rng = np.random.default_rng([self.seed, sum(subject.name.encode()), number])
        folder = self.top / f"{subject.name}{number}"
        folder.mkdir()
        for name in ("config.ini", "s.h5", "fibre", "waves"):
            (folder / name).symlink_to(self.base / name)
        for name in subject.needs:
            shutil.copytree(self.base / name, folder / name)
        faults: list[str] = []
        for again in range(int(rng.integers(1, min(most, MAX_KILLS) + 1))):
            signal_number = SIGNALS[rng.integers(len(SIGNALS))]
            if rng.random() < 0.5:
                at = int(rng.integers(1, life[1] + 1)) * int(rng.choice([-1, 1]))
                process = self.start(subject, folder, again > 0, at, signal_number)
            else:
                process = self.start(subject, folder, again > 0)
                process.join(rng.random() * 1.05 * life[0])
                if process.is_alive():
                    os.kill(process.pid, signal_number)
            code, error = self.end(process)
            if code == 0:  # it ended before
                break
            counts.update(["kills", signal_number.name])
            if code not in (-signal_number, 128 + signal_number):
                faults.append(f"{signal_number.name} ends it with {code}: {error[-300:]}")
        code, error = self.end(self.start(subject, folder, again=True))
        if code:
            faults.append(f"started again it ends with {code}: {error[-300:]}")
        else:
            faults += different(self.base, folder, subject.results) + left_over(folder)
        if not faults:
            shutil.rmtree(folder)
        return faults and [f"{folder}: {'; '.join(faults)}"]

    def kill(self, chosen: Sequence[str], n: int) -> int:
        """Kill each of the chosen subjects so often, and print the outcome; failed trials."""
        needed = {name for subject in SUBJECTS if subject.name in chosen for name in subject.needs}
        n_failed = 0
        for subject in SUBJECTS:
            if subject.name not in chosen and not needed & set(subject.results):
                continue
            life, counts, failures, number = self.measure(subject), Counter(), [], 0
            while subject.name in chosen and counts["kills"] < n and number < 4 * n + 4:
                failures += self.trial(subject, number, n - counts["kills"], life, counts)
                number += 1
            if number:
                kinds = ", ".join(f"{key} {n}" for key, n in sorted(counts.items()))
                print(f"{subject.name} ({life[0]:.1f} s, {life[1]} operations): {number} trials, "
                      f"{kinds}; {len(failures)} trials failed")  # fmt: skip
                print(*(f"  {line}\n" for line in failures), sep="", end="", flush=True)
            n_failed += len(failures)
        return n_failed


# ---- comparison ---------------------------------------------------------------------------------


def different(expected: Path, found: Path, results: Sequence[str]) -> list[str]:
    """What of the results is not as it should be."""
    faults = []
    for name in results:
        wanted, got = (_files(top / name) for top in (expected, found))
        faults += [f"{name}/{path} is missing or should not be" for path in sorted(wanted ^ got)]
        faults += [
            f"{name}/{path} differs"
            for path in sorted(wanted & got)
            if _content(expected / name / path) != _content(found / name / path)
        ]
    return faults


def _files(path: Path) -> set[str]:
    items = [path] if path.is_file() else path.rglob("*")
    return {str(item.relative_to(path)) for item in items if item.is_file()}


def _content(path: Path) -> object:
    if path.name == "history.csv":
        rows = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding=None)
        return [rows[name].tolist() for name in rows.dtype.names if name not in VARYING]
    if path.name == "metrics.json":
        values = json.loads(path.read_text())
        return {key: value for key, value in values.items() if key not in VARYING}
    if path.name == "provenance.json":
        values = json.loads(path.read_text())
        timed = ("metrics.json", "history.csv", "last.pt")
        values["results"] = {k: v for k, v in values["results"].items() if k not in timed}
        return {key: value for key, value in values.items() if key in COMPARED}
    if path.name == "last.pt":  # its history has times
        import torch

        return _without_history(torch.load(path, weights_only=True))
    return path.read_bytes()


def _without_history(item: object) -> object:
    if isinstance(item, dict):
        return {key: _without_history(x) for key, x in item.items() if key != "history"}
    if isinstance(item, (list, tuple)):
        return [_without_history(x) for x in item]
    return item.numpy().tobytes() if hasattr(item, "numpy") else item


def left_over(folder: Path) -> list[str]:
    """Files that are no results."""
    patterns = ("*.partial", "*.parts", "*.lock", "Outputs/r/*_20*")
    found = [path for pattern in patterns for path in sorted(folder.rglob(pattern))]
    return [f"{path.relative_to(folder)} was left" for path in found]


def main() -> int:
    options = parser(__doc__)
    options.add_argument("words", nargs="*", help="settings of the stages")
    options.add_argument("--kills", type=int, default=200, help="of each (default: 200)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--samples", type=int, default=320, help="of the set (default: 320)")
    names = [subject.name for subject in SUBJECTS]
    options.add_argument("--what", nargs="+", choices=names, default=names, metavar="NAME")
    given = options.parse_args()
    top = Path(tempfile.mkdtemp(prefix="kills_"))
    n = Harness(top, given.seed, given.samples, given.words).kill(given.what, given.kills)
    if n:
        print(f"folders of failed trials are in {top}")
    else:
        shutil.rmtree(top)
    return int(n > 0)


if __name__ == "__main__":
    sys.exit(main())
