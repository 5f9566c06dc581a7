"""Kills and full disks: do commands that were stopped and started again end as if never stopped?

    python benchmarks/kills.py [--kills 200] [--seed 1] [--what aec,gmm,dec,build,cube,predict]
                               [--forked] [--samples 320] [section.key=value ...]
    python benchmarks/kills.py --disks 24        (as root on Linux: it mounts a tmpfs)

Every stage by its script, and `build`, `cube` and `predict`, on small data. Each trial starts a
process, kills it (SIGKILL, SIGTERM or SIGINT), starts it again, up to four times, and lets the last
one end. Half of the kills come at a random time of the process's life; half before or after a
random one of the operations that change files. Then every result must be the same to the byte as
without any kill, times and rates apart, and no other file may be left. A seed gives the same
signals and operations again; what a random time hits depends on the machine.

With --forked, processes are copies of one that has imported everything: several times as many
kills an hour, none of them in an import.

With --disks, the three stages run in file systems from where nothing fits to where nearly
everything does, in a folder that is read-only, and with a data file that is removed while a stage
works. Each must end with 0, or with 2 and one line of error. Then the cause is removed, the stages
run again, and the results are compared.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, SCRIPTS, environment, h5py, np, parser, write_set

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MAX_SECONDS = 300  # of a process
MAX_KILLS = 4  # of one trial
ENDED_BY_WORKER = "a worker process was killed"
ROOM = "size=64m"  # of a disk where everything fits
WORDS = (
    "data.file=s.h5", "run.name=r", "run.figures=no", "run.device=cpu", "aec.n_features=3",
    "aec.n_epochs=8", "aec.batch_size=16", "gmm.n_clusters=2-4", "gmm.n_init=3",
    "dec.n_epochs=5", "dec.batch_size=16", "dec.tol=0", "dec.n_clusters=3",
)  # fmt: skip
BUILD = ("build.sampling_rate=auto", "build.lta=5", "build.taper=2", "build.on=6", "build.off=2")
RECORDS = ("records.window=0.2", "records.step=0.05")
WORKERS = "2"  # of `build`; 1 where forked, as its workers would be no copies
VARYING = ("seconds", "samples_per_second")  # columns and keys that differ from run to run
COMPARED = ("status", "depends", "inputs", "results")  # parts of provenance.json
PRELOADED = (
    "RISCluster.stages.pretrain", "RISCluster.stages.cluster", "RISCluster.stages.refine",
    "RISCluster.stages.predict", "RISCluster.waveforms.build", "obspy", "zarr",
    "RISCluster.fibre.make_cube", "sklearn.manifold", "scipy.signal", "scipy.stats",
    "RISCluster.commands.make", "obspy.imaging.scripts.scan",
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


AEC, GMM, DEC = STAGES = tuple(f"Outputs/r/{stage}" for stage in ("AEC", "GMM", "DEC"))
PACKAGE = ("-m", "RISCluster")
MAKE_SET = ("build", "waves", "-o", "set.h5", "--workers", WORKERS)
MAKE_CUBE = ("cube", "fibre", "-o", "cube.zarr", "--workers", "1")
PREDICT = ("predict", "s.h5", "--run", "Outputs/r", "-o", "p.csv")
SUBJECTS = (
    *(Subject(place[-3:].lower(), (str(ROOT / script),), (place,), STAGES[:n])
      for n, (place, script) in enumerate(zip(STAGES, SCRIPTS, strict=True))),
    Subject("build", (*PACKAGE, *MAKE_SET, *BUILD), ("set.h5", "set.csv")),
    Subject("cube", (*PACKAGE, *MAKE_CUBE, *RECORDS), ("cube.zarr",)),
    Subject("predict", (*PACKAGE, *PREDICT), ("p.csv", "p.latent.npy"), STAGES, ("--overwrite",)),
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
        return code, (self.top / "errors").read_text().strip()

    def measure(self, subject: Subject) -> tuple[float, int]:
        """Run it once, never killed: seconds, and how often it changes files."""
        count, began = self.top / "count", time.monotonic()
        code, error = self.end(self.start(subject, self.base, count=str(count)))
        if code:
            raise SystemExit(f"{subject.name} fails without any kill:\n{error}")
        return time.monotonic() - began, int(count.read_text())

    def link_inputs(self, folder: Path, *copied: str) -> Path:
        """Fill a folder with the inputs, and copies of results."""
        folder.mkdir(exist_ok=True)
        for name in ("config.ini", "s.h5", "fibre", "waves"):
            (folder / name).symlink_to(self.base / name)
        for name in copied:
            shutil.copytree(self.base / name, folder / name)
        return folder


# ---- kills --------------------------------------------------------------------------------------


def trial(harness: Harness, subject: Subject, number: int, most: int, life: tuple[float, int],
          counts: Counter) -> list[str]:  # fmt: skip
    """Kill at most so often, start again, let end, compare: faults."""
    rng = np.random.default_rng([harness.seed, sum(subject.name.encode()), number])
    folder = harness.link_inputs(harness.top / f"{subject.name}{number}", *subject.needs)
    faults: list[str] = []
    for again in range(int(rng.integers(1, min(most, MAX_KILLS) + 1))):
        signal_number = SIGNALS[rng.integers(len(SIGNALS))]
        if by_operation := rng.random() < 0.5:
            at = int(rng.integers(1, life[1] + 1)) * int(rng.choice([-1, 1]))
            process = harness.start(subject, folder, again > 0, at, signal_number)
        else:
            process = harness.start(subject, folder, again > 0)
            process.join(rng.random() * 1.05 * life[0])
            if process.is_alive():
                os.kill(process.pid, signal_number)
        code, error = harness.end(process)
        if code == 0:  # it ended before
            break
        how = "operation" if by_operation else "time"
        counts.update(["kills", signal_number.name, f"at a random {how}"])
        if code not in (-signal_number, 128 + signal_number) and ENDED_BY_WORKER not in error:
            faults.append(f"{signal_number.name} ends it with {code}: {error[-300:]}")
        if "Traceback" in error:
            counts.update(["ends with a traceback"])
    code, error = harness.end(harness.start(subject, folder, again=True))
    if code:
        faults.append(f"started again it ends with {code}: {error[-300:]}")
    else:
        faults += different(harness.base, folder, subject.results) + left_over(folder)
    if not faults:
        shutil.rmtree(folder)
    return faults and [f"{folder}: {'; '.join(faults)}"]


def kill(harness: Harness, chosen: Sequence[str], n: int) -> int:
    """Kill each of the chosen subjects so often, and print the outcome; failed trials."""
    needed = {name for subject in SUBJECTS if subject.name in chosen for name in subject.needs}
    n_failed = 0
    for subject in SUBJECTS:
        if subject.name not in chosen and not needed & set(subject.results):
            continue
        life, counts, failures, number = harness.measure(subject), Counter(), [], 0
        while subject.name in chosen and counts["kills"] < n and number < 4 * n + 4:
            failures += trial(harness, subject, number, n - counts["kills"], life, counts)
            number += 1
        if number:
            more = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if name != "kills")
            print(f"{subject.name} ({life[0]:.1f} s, {life[1]} operations): {counts['kills']} kills"
                  f" in {number} trials, {more}; {len(failures)} trials failed")  # fmt: skip
            print(*(f"  {line}\n" for line in failures), sep="", end="", flush=True)
        n_failed += len(failures)
    return n_failed


# ---- disks --------------------------------------------------------------------------------------


class Disks:
    """Runs on bad disks, compared with one on a good disk."""

    def __init__(self, harness: Harness):
        self.harness, self.faults, self.ends = harness, [], Counter()
        for subject in SUBJECTS[:3]:
            harness.measure(subject)

    @contextmanager
    def disk(self, name: str, options: str) -> Iterator[Path]:
        path = self.harness.top / name
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
        yield self.harness.link_inputs(path)
        subprocess.run(["umount", path], check=True)

    def stages(self, disk: Path, first: int = 0, last: int = 2) -> tuple[str, int, str]:
        """The stage that failed, or the last one, its exit code and error."""
        for subject in SUBJECTS[first : last + 1]:
            code, error = self.harness.end(self.harness.start(subject, disk))
            if code:
                break
        return subject.name, code, error

    def check(self, what: str, name: str, code: int, error: str) -> None:
        """The end must be good, or an error of one line."""
        self.ends[f"end with {code} at {name}" if code else "end well"] += 1
        print(f"{what}: {name} ends with {code}: {error[:120]}", flush=True)
        if code and (code != 2 or "\n" in error or "Traceback" in error):
            self.faults.append(f"{what}: ends with {code}: {error[-200:]}")

    def check_again(self, what: str, disk: Path) -> None:
        _, code, error = self.stages(disk)
        found = [f"started again it ends with {code}: {error[-300:]}"]
        if not code:
            found = different(self.harness.base, disk, STAGES) + left_over(disk)
        self.faults += [f"{what}: {fault}" for fault in found]

    def run(self, n: int) -> int:
        items = (self.harness.base / "Outputs").rglob("*")
        needed = sum(path.stat().st_size for path in items if path.is_file())
        for number in range(n):
            what = f"size={round(needed * 1.2 * (number + 1) / n)}"
            with self.disk(f"small{number}", what) as disk:
                self.check(what, *self.stages(disk))
                subprocess.run(["mount", "-o", f"remount,{ROOM}", disk], check=True)
                self.check_again(what, disk)
        for number, subject in enumerate(SUBJECTS[:3]):
            with self.disk(f"read_only{number}", ROOM) as disk:
                what = f"read-only before {subject.name}"
                self.stages(disk, 0, number - 1) if number else None
                subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
                self.check(what, *self.stages(disk, number))
                subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
                self.check_again(what, disk)
            with self.disk(f"removed{number}", ROOM) as disk:
                self.removed(f"data removed during {subject.name}", number, disk)
        print(*(f"{count:>4} {what}" for what, count in sorted(self.ends.items())), sep="\n")
        print(*self.faults, f"{len(self.faults)} faults", sep="\n")
        return len(self.faults)

    def removed(self, what: str, number: int, disk: Path) -> None:
        """The data file, a copy, is removed while a stage works, and put back afterwards."""
        (disk / "s.h5").unlink()
        shutil.copy2(self.harness.base / "s.h5", disk)
        self.stages(disk, 0, number - 1) if number else None
        process = self.harness.start(SUBJECTS[number], disk)
        while not (disk / STAGES[number] / "config.ini").exists() and process.is_alive():
            time.sleep(0.002)
        (disk / "s.h5").unlink()
        self.check(what, SUBJECTS[number].name, *self.harness.end(process))
        self.check(f"{what}, the next", *self.stages(disk, number))
        shutil.copy2(self.harness.base / "s.h5", disk)
        self.check_again(what, disk)


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
    patterns = ("*.partial", "*.parts", "Outputs/r/*_20*")
    found = [path for pattern in patterns for path in sorted(folder.rglob(pattern))]
    return [f"{path.relative_to(folder)} was left" for path in found]


def main() -> int:
    options = parser(__doc__)
    options.add_argument("words", nargs="*", help="settings of the stages")
    options.add_argument("--kills", type=int, default=200, help="of each (default: 200)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--samples", type=int, default=320, help="of the set (default: 320)")
    options.add_argument("--forked", action="store_true")
    options.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    options.add_argument(
        "--disks", type=int, default=0, help="that are too small, in place of kills"
    )
    given = options.parse_args()
    names = given.what.split(",")
    if unknown := set(names) - {subject.name for subject in SUBJECTS}:
        options.error(f"--what {', '.join(unknown)}: unknown")
    if given.disks and os.geteuid():
        options.error("--disks: mounting a file system needs root")
    top = Path(tempfile.mkdtemp(prefix="kills_"))
    harness = Harness(top, given.seed, given.forked, given.samples, given.words)
    n = Disks(harness).run(given.disks) if given.disks else kill(harness, names, given.kills)
    if n:
        print(f"folders of failed trials are in {top}")
    else:
        shutil.rmtree(top)
    return int(n > 0)


if __name__ == "__main__":
    sys.exit(main())
