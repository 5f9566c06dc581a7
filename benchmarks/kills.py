"""Kills at random moments: does what was killed and started again end as if it never had been?

    python benchmarks/kills.py [--kills 200] [--seed 1] [--what aec,gmm,dec,build,cube,predict]
                               [--forked] [--samples 320] [section.key=value ...]

Every stage by its script, and `build`, `cube` and `predict`, on small data. Each trial starts a
process, kills it (SIGKILL, SIGTERM or SIGINT), starts it again, up to four times, and lets the last
one end. Half of the kills come at a random time of the process's life; half before or after a
random one of the operations that change files. Then every result must be the same to the byte as
without any kill, times and rates apart, and no other file may be left. A seed gives the same
signals and operations again; what a random time hits depends on the machine.

With --forked, processes are copies of one that has imported everything: several times as many
kills an hour, none of them in an import.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, environment, h5py, np, parser, write_set

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MAX_SECONDS = 300  # of a process
MAX_KILLS = 4  # of one trial
ENDED_BY_WORKER = "a worker process was killed"
WORDS = (
    "data.file=s.h5", "run.name=r", "run.figures=no", "run.device=cpu", "aec.n_features=3",
    "aec.n_epochs=8", "aec.batch_size=16", "gmm.n_clusters=2-4", "gmm.n_init=3",
    "dec.n_epochs=5", "dec.batch_size=16", "dec.tol=0", "dec.n_clusters=3",
)  # fmt: skip
BUILD = ("build.sampling_rate=auto", "build.lta=5", "build.taper=2", "build.on=6", "build.off=2")
RECORDS = ("records.window=0.2", "records.step=0.05")
WORKERS = "2"  # of `build`; 1 where forked, as its workers would be no copies
VARYING = ("seconds", "samples_per_second")  # columns and keys that differ from run to run
PRELOADED = (
    "RISCluster.stages.pretrain", "RISCluster.stages.cluster", "RISCluster.stages.refine",
    "RISCluster.stages.predict", "RISCluster.waveforms.build", "obspy", "zarr",
    "RISCluster.fibre.make_cube", "sklearn.manifold", "scipy.signal", "scipy.stats",
    "torch._dynamo",  # which the first optimiser loads
)  # fmt: skip

# Loaded by every Python process of a trial: counts what changes files, and kills at one of them.
COUNTER = """
import atexit, os, signal
at, number = int(os.environ["KILL_AT"]), int(os.environ["KILL_BY"])
count = 0

def counted(work):
    def call(*arguments, **options):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), number)
        try:
            return work(*arguments, **options)
        finally:
            if count == -at:
                os.kill(os.getpid(), number)
    return call

for name in ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync", "open"):
    setattr(os, name, counted(getattr(os, name)))

@atexit.register
def note():
    if os.environ["KILL_COUNT"] and f"{os.getppid()}" == os.environ["KILL_PARENT"]:
        with open(os.environ["KILL_COUNT"], "w") as file:
            file.write(str(count))
"""


class Subject(NamedTuple):
    """A command: its words, its results, results of others that it needs, words when repeated."""

    name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    needs: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


AEC, GMM, DEC = (f"Outputs/r/{stage}" for stage in ("AEC", "GMM", "DEC"))
PACKAGE = ("-m", "RISCluster")
MAKE_SET = ("build", "waves", "-o", "set.h5", "--workers", WORKERS)
MAKE_CUBE = ("cube", "fibre", "-o", "cube.zarr", "--workers", "1")
PREDICT = ("predict", "s.h5", "--run", "Outputs/r", "-o", "p.csv")
SUBJECTS = (
    Subject("aec", (str(ROOT / "AEC_train.py"),), (AEC,)),
    Subject("gmm", (str(ROOT / "GMM_centroids.py"),), (GMM,), (AEC,)),
    Subject("dec", (str(ROOT / "DEC_train.py"),), (DEC,), (AEC, GMM)),
    Subject("build", (*PACKAGE, *MAKE_SET, *BUILD), ("set.h5", "set.csv")),
    Subject("cube", (*PACKAGE, *MAKE_CUBE, *RECORDS), ("cube.zarr",)),
    Subject("predict", (*PACKAGE, *PREDICT), ("p.csv", "p.latent.npy"), (AEC, GMM, DEC),
            ("--overwrite",)),
)  # fmt: skip


# ---- data ---------------------------------------------------------------------------------------


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
        trace = obspy.Trace(np.rint(data).astype(np.int32))
        trace.id = f"XX.{name[:3]}..HHZ"
        trace.stats.sampling_rate = 50
        trace.stats.starttime = obspy.UTCDateTime(f"2016-01-0{name[3]}T12:00:00")
        trace.write(str(folder / f"waves/{name}.mseed"), format="MSEED")


# ---- processes ----------------------------------------------------------------------------------


def _child(arguments: list[str], folder: Path, env: dict[str, str], forked: bool) -> None:
    """In a copy of this process: become Python with these arguments, or do as it would."""
    os.dup2(os.open(env["ERRORS"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(folder)
    if not forked:
        os.execve(sys.executable, [sys.executable, *arguments], env)
    os.environ.update(env)
    counter: dict = {}
    exec(COUNTER, counter)  # what `sitecustomize` does for others
    words = ["1" if word == WORKERS else word for word in arguments]
    sys.argv = words[1:] if words[0] == "-m" else words
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    finally:
        counter["note"]()


class Harness:
    """Starts processes in folders of their own, and knows the results without kills."""

    def __init__(self, top: Path, seed: int, forked: bool, n: int, words: Sequence[str] = ()):
        self.top, self.seed, self.forked, self.words = top, seed, forked, (*WORDS, *words)
        for name in PRELOADED if forked else ():
            importlib.import_module(name)
        self.base = top / "never_killed"
        self.base.mkdir()
        write_inputs(self.base, n)
        (top / "counter").mkdir()
        (top / "counter/sitecustomize.py").write_text(COUNTER)

    def start(self, subject: Subject, folder: Path, again: bool = False, at: int = 0, by: int = 0,
              count: str = "") -> multiprocessing.Process:  # fmt: skip
        """Start a subject, killed by signal `by` before operation `at` (after it: minus `at`)."""
        env = environment() | {
            "PYTHONPATH": os.pathsep.join([str(self.top / "counter"), str(ROOT)]),
            "KILL_AT": str(at), "KILL_BY": str(by), "KILL_COUNT": count,
            "KILL_PARENT": str(os.getpid()), "ERRORS": str(self.top / "errors"),
        }  # fmt: skip
        words = self.words if subject.arguments[0] != "-m" else ()
        arguments = [*subject.arguments, *words, *(subject.again if again else ())]
        sys.stdout.flush()
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=_child, args=(arguments, folder, env, self.forked))
        process.start()
        return process

    def end(self, process: multiprocessing.Process) -> tuple[int, str]:
        """Exit code (minus a signal) and what was written to standard error."""
        process.join(MAX_SECONDS)
        code = 124 if process.is_alive() else process.exitcode
        process.kill()
        process.join()
        return code, (self.top / "errors").read_text()

    def measure(self, subject: Subject) -> tuple[float, int]:
        """Run it once, never killed: seconds, and how often it changes files."""
        count, began = self.top / "count", time.monotonic()
        code, error = self.end(self.start(subject, self.base, count=str(count)))
        if code:
            raise SystemExit(f"{subject.name} fails without any kill:\n{error}")
        return time.monotonic() - began, int(count.read_text())

    def folder(self, name: str, subject: Subject) -> Path:
        """A new folder with all that it needs."""
        folder = self.top / name
        folder.mkdir()
        for name in ("config.ini", "s.h5", "fibre", "waves"):
            (folder / name).symlink_to(self.base / name)
        for name in subject.needs:
            shutil.copytree(self.base / name, folder / name)
        return folder


@dataclass
class Trials:
    """Kills of one subject, and what they led to."""

    harness: Harness
    subject: Subject
    seconds: float  # that it takes
    operations: int  # that change files
    n: int = 0
    kills: Counter = field(default_factory=Counter)  # by signal and by how the moment was chosen
    tracebacks: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills[number.name] for number in SIGNALS)

    def trial(self, most: int) -> None:
        """Kill at most so often, start again, let end, compare."""
        rng = np.random.default_rng([self.harness.seed, sum(self.subject.name.encode()), self.n])
        folder, faults = self.harness.folder(f"{self.subject.name}{self.n}", self.subject), []
        self.n += 1
        for number in range(int(rng.integers(1, min(most, MAX_KILLS) + 1))):
            if not self._kill(folder, number > 0, rng, faults):
                break  # it ended before
        code, error = self.harness.end(self.harness.start(self.subject, folder, again=True))
        if code:
            faults.append(f"started again it ends with {code}: {error.strip()[-300:]}")
        else:
            faults += different(self.harness.base, folder, self.subject.results)
            faults += left_over(folder)
        if faults:
            self.failures.append(f"{folder}: {'; '.join(faults)}")
        else:
            shutil.rmtree(folder)

    def _kill(self, folder: Path, again: bool, rng: np.random.Generator, faults: list[str]) -> bool:
        """Start and kill; whether the kill found it alive."""
        number = SIGNALS[rng.integers(len(SIGNALS))]
        how = "operation" if rng.random() < 0.5 else "time"
        if how == "operation":
            at = int(rng.integers(1, self.operations + 1)) * int(rng.choice([-1, 1]))
            process = self.harness.start(self.subject, folder, again, at, number)
        else:
            process = self.harness.start(self.subject, folder, again)
            process.join(rng.random() * 1.05 * self.seconds)
            if process.is_alive():
                os.kill(process.pid, number)
        code, error = self.harness.end(process)
        if code == 0:
            return False
        self.kills.update([number.name, f"at a random {how}"])
        if code not in (-number, 128 + number) and ENDED_BY_WORKER not in error:
            faults.append(f"{number.name} ends it with {code}: {error[-300:]}")
        if "Traceback" in error:
            self.tracebacks.update([error.strip().splitlines()[-1]])
        return True

    def lines(self) -> list[str]:
        kills = ", ".join(f"{name} {n}" for name, n in sorted(self.kills.items()))
        what = f"{self.subject.name} ({self.seconds:.1f} s, {self.operations} operations)"
        return [
            f"{what}: {self.killed} kills in {self.n} trials, {kills}; "
            f"{len(self.failures)} trials failed, {self.tracebacks.total()} ends with a traceback",
            *(f"  {line}" for line in self.failures),
            *(f"  traceback, {count} times: {line}" for line, count in self.tracebacks.items()),
        ]


# ---- comparison ---------------------------------------------------------------------------------


def different(expected: Path, found: Path, results: Sequence[str]) -> list[str]:
    """What of the results is not as it should be."""
    faults = []
    for name in results:
        wanted, got = (_files(top / name) for top in (expected, found))
        faults += [f"{name}/{path} is missing" for path in sorted(wanted - got)]
        faults += [f"{name}/{path} should not be there" for path in sorted(got - wanted)]
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
        rows = [line.split(",") for line in path.read_text().splitlines()]
        fixed = [column for column, name in enumerate(rows[0]) if name not in VARYING]
        return [[row[column] for column in fixed] for row in rows]
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


COMPARED = ("status", "depends", "inputs", "results")  # parts of provenance.json


def left_over(folder: Path) -> list[str]:
    """Files that are no results."""
    patterns = ("*.partial", "*.parts", "*.lock", "Outputs/r/*_20*")
    found = [path for pattern in patterns for path in sorted(folder.rglob(pattern))]
    return [f"{path.relative_to(folder)} was left" for path in found]


# ---- command line -------------------------------------------------------------------------------


def run(harness: Harness, chosen: Sequence[Subject], kills: int) -> int:
    """Kill each of the chosen subjects so often, and print what came of it; failed trials."""
    needed, failed = {name for subject in chosen for name in subject.needs}, 0
    for subject in SUBJECTS:
        if subject not in chosen and not needed & set(subject.results):
            continue
        trials = Trials(harness, subject, *harness.measure(subject))
        if subject in chosen:
            while trials.killed < kills and trials.n < 4 * kills + 4:
                trials.trial(kills - trials.killed)
            print(*trials.lines(), sep="\n", flush=True)
            failed += len(trials.failures)
    return failed


def main() -> int:
    options = parser(__doc__)
    options.add_argument("words", nargs="*", help="settings of the stages")
    options.add_argument("--kills", type=int, default=200, help="of each (default: 200)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--samples", type=int, default=320, help="of the set (default: 320)")
    options.add_argument("--forked", action="store_true")
    options.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    given = options.parse_args()
    names = given.what.split(",")
    if unknown := set(names) - {subject.name for subject in SUBJECTS}:
        options.error(f"--what {', '.join(unknown)}: unknown")
    top = Path(tempfile.mkdtemp(prefix="kills_"))
    harness = Harness(top, given.seed, given.forked, given.samples, given.words)
    failed = run(harness, [s for s in SUBJECTS if s.name in names], given.kills)
    if failed:
        print(f"folders of failed trials are in {top}")
    else:
        shutil.rmtree(top)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
