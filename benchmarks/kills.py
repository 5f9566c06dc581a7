"""Kills at random moments: does what was killed and started again end as if it never had been?

    python benchmarks/kills.py [--kills 200] [--seed 1] [--what aec,gmm,dec,build,cube,predict]
                               [--forked] [--samples 320]

Every stage by its script, and `build`, `cube` and `predict`, on small data. Each trial starts a
process, kills it (SIGKILL, SIGTERM or SIGINT), starts it again, a few times, and lets the last one
end. Half of the kills come at a random time of the process's life, from the first import to the
end; half before or after a random one of the operations that change files, where damage would be
done. Then every result must be the same to the byte as without any kill, rates of computing and
times of day apart, and nothing may lie beside the results. Seeds give the same signals and
operations again; what a random time falls on depends on the machine.

With --forked, processes are copies of one that has imported everything: several times as many
kills an hour, none of them in an import.
"""

import argparse
import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LONGEST = 300  # s that a process may take
MOST_KILLS = 4  # of one trial
ENDED_BY_WORKER = "a worker process was killed"
WORDS = (
    "data.file=s.h5", "run.name=r", "run.figures=no", "run.device=cpu", "aec.n_features=3",
    "aec.n_epochs=8", "aec.batch_size=16", "gmm.n_clusters=2-4", "gmm.n_init=3",
    "dec.n_epochs=5", "dec.batch_size=16", "dec.tol=0", "dec.n_clusters=3",
)  # fmt: skip
BUILD = ("build.sampling_rate=auto", "build.lta=5", "build.taper=2", "build.on=6", "build.off=2")
RECORDS = ("records.window=0.2", "records.step=0.05")
WORKERS = "2"  # of `build`; forked it works in one process, for its workers would be no copies
PASSING = ("seconds", "samples_per_second")  # columns and keys that differ from run to run

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
    if "KILL_COUNT" in os.environ and f"{os.getppid()}" == os.environ["KILL_PARENT"]:
        with open(os.environ["KILL_COUNT"], "w") as file:
            file.write(str(count))
"""


@dataclass(frozen=True)
class Subject:
    """What is killed.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        Of Python.
    results : tuple of str
        Files and folders that it makes.
    needs : tuple of str
        Results of others that must be there.
    again : tuple of str
        Further words of every start but the first.
    """

    name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    needs: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def _script(name: str) -> tuple[str, ...]:
    return (str(ROOT / name), *WORDS)


PACKAGE = ("-m", "RISCluster")
AEC, GMM, DEC = (f"Outputs/r/{stage}" for stage in ("AEC", "GMM", "DEC"))
TABLE = ("p.csv", "p.latent.npy")
SUBJECTS = (
    Subject("aec", _script("AEC_train.py"), (AEC,)),
    Subject("gmm", _script("GMM_centroids.py"), (GMM,), (AEC,)),
    Subject("dec", _script("DEC_train.py"), (DEC,), (AEC, GMM)),
    Subject(
        "build",
        (*PACKAGE, "build", "waves", "-o", "set.h5", "--workers", WORKERS, *BUILD),
        ("set.h5", "set.csv"),
    ),
    Subject(
        "cube",
        (*PACKAGE, "cube", "fibre", "-o", "cube.zarr", "--workers", "1", *RECORDS),
        ("cube.zarr",),
    ),
    Subject(
        "predict",
        (*PACKAGE, "predict", "s.h5", "--run", "Outputs/r", "-o", "p.csv"),
        TABLE,
        (AEC, GMM, DEC),
        ("--overwrite",),
    ),
)


# ---- data ---------------------------------------------------------------------------------------


def write_inputs(folder: Path, n: int) -> None:
    """Settings, spectrograms of three classes, waveforms of two stations, records of a fibre."""
    rng = np.random.default_rng(0)
    (folder / "config.ini").write_text("[run]\n")
    f, t = np.mgrid[0:16, 0:20]
    centres = np.array([4, 8, 12])[np.arange(n) % 3][:, None, None]
    bumps = np.exp(-((f - centres) ** 2 + (t - 20 + centres) ** 2) / 8.0)
    with h5py.File(folder / "s.h5", "w") as file:
        file["spectrogram"] = (bumps + 0.1 * rng.random(bumps.shape)).astype(np.float32)
    (folder / "fibre").mkdir()
    for number in range(4):
        with h5py.File(folder / f"fibre/{number}.h5", "w") as file:
            data = file.create_dataset("data", data=rng.standard_normal((2000, 40), np.float32))
            data.attrs.update({"fs": 100.0, "dims": "time,channel", "start": 1.6e9 + 20 * number})
    _write_waves(folder / "waves", rng)


def _write_waves(folder: Path, rng: np.random.Generator) -> None:
    import obspy

    folder.mkdir()
    for station in ("AAA", "BBB", "CCC"):
        for day in (1, 2):
            data = 100 * rng.standard_normal(120 * 50)
            for moment in (30, 60, 90):
                at = np.arange(len(data)) / 50 - moment
                data += 20_000 * np.exp(-((at / 0.08) ** 2)) * np.cos(20 * np.pi * at)
            trace = obspy.Trace(np.rint(data).astype(np.int32))
            trace.id = f"XX.{station}..HHZ"
            trace.stats.sampling_rate = 50
            trace.stats.starttime = obspy.UTCDateTime(f"2016-01-0{day}T12:00:00")
            trace.write(str(folder / f"{station}{day}.mseed"), format="MSEED")


# ---- one process --------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the kills of one subject."""

    kills: Counter = field(default_factory=Counter)  # by signal and by how the moment was chosen
    trials: int = 0
    tracebacks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Harness:
    """Starts processes in folders of their own, and knows what they should come to."""

    def __init__(self, top: Path, seed: int, forked: bool, n: int):
        self.top, self.seed = top, seed
        self.process = Forked if forked else subprocess.Popen
        if forked:
            for name in PRELOADED:
                importlib.import_module(name)
        self.base = top / "never_killed"
        self.base.mkdir()
        write_inputs(self.base, n)
        (top / "counter").mkdir()
        (top / "counter/sitecustomize.py").write_text(COUNTER)
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, int] = {}

    def environment(self, at: int = 0, number: int = 0) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self.top / "counter"), str(ROOT)]),
            "OMP_NUM_THREADS": "1",
            "KILL_AT": str(at),
            "KILL_BY": str(number),
        }

    def start(self, subject: Subject, folder: Path, again: bool, **kill: int) -> subprocess.Popen:
        words = subject.again if again else ()
        return self.process(
            [sys.executable, *subject.arguments, *words],
            cwd=folder,
            env=self.environment(**kill),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def measure(self, subject: Subject) -> None:
        """Run it once, never killed: how long it takes, how often it changes files."""
        count = self.top / f"{subject.name}.count"
        began = time.monotonic()
        process = self.process(
            [sys.executable, *subject.arguments],
            cwd=self.base,
            env=self.environment() | {"KILL_COUNT": str(count), "KILL_PARENT": str(os.getpid())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        code, error = _end(process, LONGEST)
        if code:
            raise SystemExit(f"{subject.name} fails without any kill:\n{error}")
        self.seconds[subject.name] = time.monotonic() - began
        self.operations[subject.name] = int(count.read_text())

    def folder(self, subject: Subject, trial: int) -> Path:
        """A new folder with all that it needs."""
        folder = self.top / f"{subject.name}{trial}"
        folder.mkdir()
        for name in ("config.ini", "s.h5", "fibre", "waves"):
            (folder / name).symlink_to(self.base / name)
        for name in subject.needs:
            shutil.copytree(self.base / name, folder / name)
        return folder

    def run_trial(self, subject: Subject, trial: int, most: int, tally: Tally) -> int:
        """Kill, start again, let end, compare; the number of kills."""
        rng = np.random.default_rng([self.seed, sum(subject.name.encode()), trial])
        folder, killed = self.folder(subject, trial), 0
        wanted = int(rng.integers(1, min(most, MOST_KILLS) + 1))
        faults: list[str] = []
        for start in range(3 * wanted):
            if killed == wanted:
                break
            if not self._kill_once(subject, folder, start > 0, rng, tally, faults):
                break  # it came to its end
            killed += 1
        code, error = _end(self.start(subject, folder, again=True), LONGEST)
        if code:
            faults.append(f"started again it ends with {code}: {error.strip()[-300:]}")
        else:
            faults += different(self.base, folder, subject.results)
            faults += left_over(folder)
        tally.trials += 1
        if faults:
            tally.failures.append(f"{folder}: {'; '.join(faults)}")
        else:
            shutil.rmtree(folder)
        return killed

    def _kill_once(
        self,
        subject: Subject,
        folder: Path,
        again: bool,
        rng: np.random.Generator,
        tally: Tally,
        faults: list[str],
    ) -> bool:
        """Start and kill; whether the kill found it alive."""
        number = SIGNALS[rng.integers(len(SIGNALS))]
        if rng.random() < 0.5:
            how = "operation"
            at = int(rng.integers(1, self.operations[subject.name] + 1)) * int(rng.choice([-1, 1]))
            process = self.start(subject, folder, again, at=at, number=number)
            code, error = _end(process, LONGEST)
            struck = code != 0
        else:
            how = "time"
            process = self.start(subject, folder, again)
            try:
                process.wait(rng.random() * 1.05 * self.seconds[subject.name])
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            code, error = _end(process, LONGEST)
            struck = code != 0
        if not struck:
            return False
        tally.kills[signal.Signals(number).name] += 1
        tally.kills[f"at a random {how}"] += 1
        if code not in (-number, 128 + number) and ENDED_BY_WORKER not in error:
            faults.append(f"{signal.Signals(number).name} ends it with {code}: {error[-300:]}")
        if "Traceback" in error:
            tally.tracebacks.append(error.strip().splitlines()[-1])
        return True


PRELOADED = (
    "RISCluster.stages.pretrain", "RISCluster.stages.cluster", "RISCluster.stages.refine",
    "RISCluster.stages.predict", "RISCluster.waveforms.build", "obspy", "zarr",
    "RISCluster.fibre.make_cube", "sklearn.manifold", "scipy.signal", "scipy.stats",
)  # fmt: skip


class Forked:
    """As `subprocess.Popen`, for a Python that is a copy of this one with all imported."""

    def __init__(self, arguments: list[str], cwd: Path, env: dict[str, str], **_: object):
        self._error = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._be(arguments[1:], cwd, env)

    def _be(self, words: list[str], cwd: Path, env: dict[str, str]) -> None:
        code: object = 1
        try:
            os.dup2(self._error.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.chdir(cwd)
            os.environ.update(env)
            note = {}
            exec(COUNTER, note)  # what `sitecustomize` does for others
            words = ["1" if word == WORKERS else word for word in words]
            sys.argv = words[1:] if words[0] == "-m" else words
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
            note["note"]()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)

    def wait(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired("", timeout)
            else:
                time.sleep(0.002)
        return self.returncode

    def communicate(self, timeout: float = LONGEST) -> tuple[None, str]:
        self.wait(timeout)
        with self._error as file:
            file.seek(0)
            return None, file.read()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _end(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    try:
        _, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        _, error = process.communicate(timeout=LONGEST)
        return 124, f"still running after {seconds} s\n{error}"
    return process.returncode, error


# ---- comparison ---------------------------------------------------------------------------------


def different(expected: Path, found: Path, results: tuple[str, ...]) -> list[str]:
    """What of the results is not as it should be."""
    faults = []
    for name in results:
        wanted, got = (set(_files(top / name)) for top in (expected, found))
        faults += [f"{name}/{path} is missing" for path in sorted(wanted - got)]
        faults += [f"{name}/{path} should not be there" for path in sorted(got - wanted)]
        faults += [
            f"{name}/{path} differs"
            for path in sorted(wanted & got)
            if _content(expected / name / path) != _content(found / name / path)
        ]
    return faults


def _files(path: Path) -> list[str]:
    if path.is_file():
        return ["."]
    return [str(item.relative_to(path)) for item in path.rglob("*") if item.is_file()]


def _content(path: Path) -> object:
    if path.name == "history.csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        kept = [place for place, name in enumerate(rows[0]) if name not in PASSING]
        return [[row[place] for place in kept] for row in rows]
    if path.name == "metrics.json":
        values = json.loads(path.read_text())
        return {key: value for key, value in values.items() if key not in PASSING}
    if path.name == "provenance.json":
        values = json.loads(path.read_text())
        timed = ("metrics.json", "history.csv")
        results = {name: x for name, x in values["results"].items() if name not in timed}
        return values["status"], values["inputs"], results
    return path.read_bytes()


def left_over(folder: Path) -> list[str]:
    """Files that are no results."""
    patterns = ("*.partial", "*.parts", "*.lock", "Outputs/r/*_20*")
    return [
        f"{path.relative_to(folder)} was left"
        for pattern in patterns
        for path in sorted(folder.rglob(pattern))
    ]


# ---- command line -------------------------------------------------------------------------------


def run(
    names: list[str], kills: int, seed: int, top: Path, forked: bool, n: int
) -> dict[str, Tally]:
    """Kill each of the named subjects so often; what came of it."""
    chosen = [subject for subject in SUBJECTS if subject.name in names]
    needed = {name for subject in chosen for name in subject.needs}
    harness = Harness(top, seed, forked, n)
    tallies = {}
    for subject in SUBJECTS:
        if subject in chosen or needed & set(subject.results):
            harness.measure(subject)
        if subject not in chosen:
            continue
        tally, killed = Tally(), 0
        while killed < kills and tally.trials < 4 * kills + 4:
            killed += harness.run_trial(subject, tally.trials, kills - killed, tally)
        tallies[subject.name] = tally
        size = (
            f"{harness.seconds[subject.name]:.1f} s, {harness.operations[subject.name]} operations"
        )
        print(
            f"{subject.name} ({size}): {killed} kills in {tally.trials} trials, "
            f"{', '.join(f'{name} {n}' for name, n in sorted(tally.kills.items()))}; "
            f"{len(tally.failures)} trials failed, {len(tally.tracebacks)} ends with a traceback"
        )
        for line in tally.failures:
            print(f"  {line}")
        for line, count in Counter(tally.tracebacks).items():
            print(f"  traceback, {count} times: {line}")
    return tallies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="of each (default: 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=320, help="of the set (default: 320)")
    parser.add_argument("--forked", action="store_true")
    parser.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    arguments = parser.parse_args()
    names = arguments.what.split(",")
    unknown = set(names) - {subject.name for subject in SUBJECTS}
    if unknown:
        parser.error(f"--what {', '.join(unknown)}: unknown")
    top = Path(tempfile.mkdtemp(prefix="kills_"))
    tallies = run(names, arguments.kills, arguments.seed, top, arguments.forked, arguments.samples)
    failed = any(tally.failures for tally in tallies.values())
    if failed:
        print(f"folders of failed trials are kept in {top}")
    else:
        shutil.rmtree(top)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
