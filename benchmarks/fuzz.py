"""Damaged and hostile inputs: does every reader give a result, or an error of one line?

    python benchmarks/fuzz.py [--inputs 6000] [--seed 1] [--what config,labels,...]

Valid inputs of everything that the package reads itself are changed: bits flipped, spans cut,
repeated and left out, nasty words put in, two inputs spliced; of HDF5 files also what is in them.
What is neither read nor refused by a `RISClusterError`, takes more than 5 s or more than 500 MB is
a finding: it is saved and printed, and the exit code is 1. Readers work in a copy of the process,
as a library may crash, which is counted apart.
"""

import importlib.util
import io
import json
import logging
import mmap
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, h5py, np, parser, row

from RISCluster import io as files
from RISCluster.catalogue.environment import read_environment
from RISCluster.catalogue.stations import read_stations
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RISClusterError
from RISCluster.fibre.series import open_series
from RISCluster.runs import names
from RISCluster.runs.labels import read_labels
from RISCluster.settings import RecordsSettings, load_settings
from RISCluster.waveforms.read import read_traces, scan

MAX_SECONDS, MAX_WAIT = 5, 10  # that an input may take; after which a library is ended
MAX_GROWTH = 500 * 1024  # kB
MAX_MEMORY = 6 * 2**30  # bytes of addresses beyond what is taken at the start
PACKAGE = f"{ROOT / 'RISCluster'}{os.sep}"
OUTCOMES = ("valid", "refused", "finding", "crash")
TOKENS = [token.encode() for token in (
    "-1", "0", "nan", "inf", "-1e999", "99999999999999999999999", "5-2", "1-1000000000000", "%(x)s",
    "%", "${a}", '"', "'", ",", ";", "\t", "|", "\n", "\r\n", "\0", "=", "[[", "]", "{", "}", "#",
    "..", "/", "~", "\\", "\u00e4", "\u2028", "\u0663", "\U0001f600", "\ufeff", "null", "[]",
    "{}", "1_000", "0x10", "1e-320", "A" * 200_000, "[" * 5000, "9" * 5000, "auto", "none",
    "2016-13", "0000-00-00", "9999-12-31T23:59:59.999999+23:59", "0001-01-01T00:00:00+23:59",
)]  # fmt: skip
TOKENS += [b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"\xff" * 8, b"\0" * 7 + b"@"]

Files = dict[str, bytes]  # an input: contents by name
Rng = np.random.Generator


class Subject(NamedTuple):
    """Valid inputs, which may be made in a folder; a reader of the folder with an input in it."""

    name: str
    seeds: Callable[[Path], list[Files]]
    read: Callable[[Path], Any]
    change: Callable[[Rng, bytes], bytes] | None = None  # changes of its own, half of the time
    needs: str = ""  # package without which it is left out


# ---- changes ------------------------------------------------------------------------------------


def mutate(rng: Rng, content: bytes, other: bytes) -> bytes:
    """One to four changes of bytes."""
    for _ in range(int(rng.integers(1, 5))):
        n = len(content)
        a, b = np.sort(rng.integers(0, n + 1, 2)).tolist()
        b, token = min(b, a + 4096), TOKENS[rng.integers(len(TOKENS))]
        start, stop, middle = (
            (a, a + 1, bytes(byte ^ 1 << int(rng.integers(8)) for byte in content[a : a + 1])),
            (a, n, b""),
            (a, b, b""),
            (a, b, content[a:b] * 2),
            (a, n, other[int(rng.integers(len(other) + 1)) :]),
            (a, a, token),
            (a, a + int(rng.integers(1, 12)), token),
        )[rng.integers(7)]
        content = content[:start] + middle + content[stop:]
    return content


def odd_values(rng: Rng, shape: tuple[int, ...]) -> Any:
    """What may stand in a data set instead of what belongs there."""
    n = shape[0]
    makers = (
        lambda: np.full(shape, rng.choice([np.nan, np.inf])),
        lambda: np.zeros(shape, dtype=rng.choice(["u1", "i8", "f2", "f8", "c8", "?"])),
        lambda: np.full(shape, rng.choice([b"x", b"\xff[{"])),
        lambda: np.zeros(shape, dtype=[("a", "f4"), ("b", "i4")]),
        lambda: np.zeros((n, 3)),
        lambda: np.zeros((0, *shape[1:])),
        lambda: np.zeros((*shape, 2), dtype="f4"),
        lambda: rng.choice([1e300, -1e300]),
        lambda: "text \u00e4",
        lambda: h5py.Empty("f4"),
        lambda: np.full(shape, 2**63, dtype="u8"),
        lambda: np.arange(n)[::-1].astype("f8"),
    )
    return makers[rng.integers(len(makers))]()


def change_hdf5(rng: Rng, content: bytes) -> bytes:
    """One or two changes of what is in an HDF5 file; its format stays valid."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for _ in range(int(rng.integers(1, 3))):
            found: list[str] = []
            file.visit(found.append)
            if found:
                _change_item(rng, file, found[rng.integers(len(found))])
    return buffer.getvalue()


def _change_item(rng: Rng, file: h5py.File, name: str) -> None:
    item, kind = file[name], int(rng.integers(8))
    shape = (isinstance(item, h5py.Dataset) and item.shape) or (4,)
    shape = tuple(min(n, 300) for n in shape)  # one before may have made it huge
    if kind == 0:
        attributes = (file if rng.random() < 0.5 else item).attrs
        keys = sorted(attributes) or ["units", "class_names", "dims", "fs"]
        attributes[keys[rng.integers(len(keys))]] = odd_values(rng, (2,))
        return
    del file[name]  # and nothing more for the last kind
    if kind in (1, 2, 3):
        links = (h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"), h5py.ExternalLink("no.h5", "/x"))
        file[name] = links[kind - 1]
    elif kind == 4:
        huge = list(shape)
        huge[rng.integers(len(huge))] = int(rng.choice([10**6, 10**9, 2**40]))
        parts = tuple(min(n, 64) for n in huge)
        file.create_dataset(name, tuple(huge), rng.choice(["f4", "i8"]), chunks=parts)
    elif kind == 5:
        file.create_dataset(name, shape[:1], h5py.vlen_dtype(np.dtype("f4")))[:] = [[0.0] * 3]
    elif kind == 6:
        file[name] = odd_values(rng, shape)


# ---- valid inputs -------------------------------------------------------------------------------


def one(name: str, *contents: str | bytes) -> Callable[[Path], list[Files]]:
    """Seeds of one file."""
    return lambda _: [{name: x.encode() if isinstance(x, str) else x} for x in contents]


def array_seeds(folder: Path, kind: str) -> list[Files]:
    """Arrays as this package and as NumPy and PyTorch write them."""
    import torch

    x, ours, plain = np.ones((10, 4), np.float32), folder / f"ours.{kind}", folder / f"plain.{kind}"
    if kind == "npy":
        with files.new_rows(ours, x.shape) as out:
            out[:] = x
        np.save(plain, x)
    elif kind == "npz":
        files.write_npz(ours, weights=x[0], means=x)
        np.savez(plain, weights=x[0], means=x)
    else:
        torch.save({"kind": "x", "w": torch.ones(3)}, plain)
        torch.save({"w": torch.ones(3)}, ours, _use_new_zipfile_serialization=False)
    return [{f"a.{kind}": path.read_bytes()} for path in (ours, plain)]


def layout_seeds(layout: str) -> list[Files]:
    """A small HDF5 file of one layout."""
    rng = np.random.default_rng(0)
    values = rng.random((6, 8, 9), np.float32)
    if layout == "samples":
        times = [f"2016-01-01T00:00:0{i}Z".encode() for i in range(6)]
        items = {"spectrogram": values, "frequency": np.arange(8.0), "time": np.arange(9.0),
                 "starttime": times, "trace_id": [b"X.A..Z"] * 6, "labels": [0, 1] * 3}  # fmt: skip
    elif layout == "ris":
        values[:, :-1, 0], values[:, -1, 1:] = np.arange(7), np.arange(8)
        rows = [json.dumps({"Station": "A", "StartTime": "2016-01-01T00:00:00"}).encode()] * 6
        items = {"4.0/Spectrogram": values, "4.0/Catalogue": rows}
    elif layout == "cube":
        items = {"data": rng.random((40, 6, 8), np.float32),
                 "metadata/time_coords": 1.6e9 + np.arange(40.0),
                 "metadata/loc_coords": np.arange(6.0),
                 "metadata/freq_coords": np.arange(8.0)}  # fmt: skip
    else:
        items = {"data": rng.random((200, 6), np.float32)}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, item in items.items():
            file[name] = item
        file.attrs.update({"fs": 100.0, "dims": "time,channel", "start": 1.6e9})
    return [{"a.h5": buffer.getvalue()}]


def zarr_seeds(folder: Path) -> list[Files]:
    """A cube in both formats of Zarr."""
    import zarr

    found = []
    for version in (2, 3):
        path = folder / f"{version}.zarr"
        root = zarr.open_group(str(path), mode="w", zarr_format=version)
        root.create_array("data", data=np.ones((40, 4, 8), np.float32))
        root.create_array("metadata/time_coords", data=1.6e9 + np.arange(40.0))
        root.create_array("metadata/freq_coords", data=np.arange(8.0))
        items = sorted(item for item in path.rglob("*") if item.is_file())
        found.append({f"a.zarr/{item.relative_to(path)}": item.read_bytes() for item in items})
    return found


def waveform_seeds(_: Path) -> list[Files]:
    """A trace with a gap, in two encodings."""
    import obspy

    found = []
    for kind in ("i4", "f4"):
        first = obspy.Trace(np.arange(3000).astype(kind), {"station": "A", "sampling_rate": 50.0})
        second = first.copy()
        second.stats.starttime += 100
        buffer = io.BytesIO()
        obspy.Stream([first, second]).write(buffer, "MSEED", reclen=512)
        found.append({"a.mseed": buffer.getvalue()})
    return found


def read_spectrograms(path: Path) -> None:
    """All that is asked of a file before and while it is worked on."""
    with open_spectrograms(path) as file:
        file.read(0, 3)
        (
            file.labels(),
            file.class_names(),
            file.column("starttime", 0, 3),
            file.column("trace_id", 0, 3),
        )
        str(file.amplitude_unit), file.chunks, file.attributes


def decoded(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def read_fibre(folder: Path) -> None:
    """A record, and some of its samples."""
    series = open_series([folder / "a.h5"], RecordsSettings())
    series.read(0, min(50, series.n_samples), 0, min(4, series.n_channels))


def read_waveforms(folder: Path) -> None:
    """Headers, then the first two seconds of each trace."""
    path = folder / "a.mseed"
    for item in scan([path], 1)[0][:4]:
        read_traces(path, item.start, item.start + 2 * 10**9, item.trace_id)


def read_names(folder: Path) -> None:
    """Names of a run of three clusters."""
    stage = SimpleNamespace(name="DEC", n_clusters=3, cluster_sizes=np.array([5, 6, 7]))
    names.read_names(SimpleNamespace(folder=folder, final=stage))


CONFIG = ((ROOT / "config.ini").read_bytes(), "[run]\nname = a\n[aec]\nlr = 1e-3, 1e-4\n")
WORDS = ("run.name=a\naec.lr=1e-3,3e-4\ngmm.n_clusters=2-4", "build.bandpass=3-20\nbuild.sta=1",
         "cube.channels=0:10:2\ncube.window=8\ndata.file=a.h5", "run.seed=5")  # fmt: skip
LABELS = ("index,label,probability,starttime,trace_id\n0,1,0.5,2016-01-01T00:00:00Z,XX.A\n"
          "1,-1,0,,XX.B\n", "index,label,probability\n0,1,0.5\n1,2,0.7\n")  # fmt: skip
SERIES = ("time,wind\n2016-01-01,1\n2016-01-02T01:00+01:00,2\n",
          "# x\ndate;t (C);p\n2016-01;1;\n2016-02;nan;3\n")  # fmt: skip
STATIONS = ("network,station,latitude,longitude\nXX,A,1,2\nXX,B,3,190\n",
            "#Network|Station|Latitude|Longitude\nXX|A|1|2\n")  # fmt: skip
NAMES = ("stage,label,size,name\nDEC,0,5,ice\nDEC,1,6,\nDEC,2,7,x\n", "label;name\n0;a\n1;b\n")
JSON = '{"inputs": {"a": 1.5}, "results": ["x", null, true]}'
SUBJECTS = (
    Subject("config", one("c.ini", *CONFIG), lambda folder: load_settings(folder / "c.ini")),
    Subject("words", one("words", *WORDS),
            lambda top: load_settings(None, decoded(top / "words").split("\n"))),
    Subject("environment", one("e.csv", *SERIES), lambda top: read_environment(top / "e.csv")),
    Subject("stations", one("s.csv", *STATIONS), lambda top: read_stations(top / "s.csv")),
    Subject("names", one("names.csv", *NAMES), read_names),
    Subject("labels", one("l.csv", *LABELS), lambda folder: read_labels(folder / "l.csv")),
    Subject("json", one("a.json", JSON), lambda folder: files.read_json(folder / "a.json")),
    Subject("npy", lambda top: array_seeds(top, "npy"),
            lambda top: files.open_rows(top / "a.npy")[0:3]),
    Subject("npz", lambda top: array_seeds(top, "npz"), lambda top: files.read_npz(top / "a.npz")),
    Subject("pt", lambda top: array_seeds(top, "pt"), lambda top: files.read_torch(top / "a.pt")),
    *(Subject(name, lambda _, name=name: layout_seeds(name),
              lambda folder: read_spectrograms(folder / "a.h5"), change_hdf5)
      for name in ("samples", "ris", "cube")),
    Subject("fibre", lambda _: layout_seeds("fibre"), read_fibre, change_hdf5),
    Subject("zarr", zarr_seeds, lambda folder: read_spectrograms(folder / "a.zarr"), needs="zarr"),
    Subject("waveforms", waveform_seeds, read_waveforms, needs="obspy"),
)  # fmt: skip


# ---- one input ----------------------------------------------------------------------------------


class Hang(BaseException):
    """An input took too long; no reader may catch it."""


def _raise_hang(*_: object) -> None:
    raise Hang


def attempt(read: Callable[[Path], Any], folder: Path) -> tuple[str, str]:
    """Read an input: ``valid``, ``refused`` or ``finding``, and what is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        read(folder)
        outcome = "valid", ""
    except RISClusterError as error:
        outcome = ("refused", "") if str(error) else ("finding", "no text in the error")
    except Hang:
        outcome = "finding", f"takes more than {MAX_SECONDS} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if PACKAGE in f.filename]
        place = at[-1] if at else "outside"
        outcome = "finding", f"{place}: {type(error).__name__}: {str(error)[:150]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outcome[0] != "finding" and grown > MAX_GROWTH:
        outcome = "finding", f"takes {grown // 1024} MB"
    return outcome


class Job:
    """The inputs of one subject, which copies of this process read."""

    def __init__(self, subject: Subject, seed: int, folder: Path):
        self.subject, self.seed, self.top = subject, seed, folder / subject.name
        (self.top / "made").mkdir(parents=True)
        self.seeds = subject.seeds(self.top / "made")

    def prepare(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGALRM, _raise_hang)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MEMORY,) * 2)

    def read(self, number: int) -> tuple[str, str]:
        """Outcome of an input and what is wrong; the first ones are the valid inputs."""
        rng = np.random.default_rng([self.seed, sum(self.subject.name.encode()), number])
        valid = number < len(self.seeds)
        shutil.rmtree(self.top / "input", ignore_errors=True)
        for name, content in (self.seeds[number] if valid else self.changed(rng)).items():
            path = self.top / "input" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        outcome, what = attempt(self.subject.read, self.top / "input")
        if valid and outcome == "refused":
            outcome, what = "finding", "a valid input is refused"
        return outcome, f"{what}: {self.save(number)}" if outcome == "finding" else what

    def changed(self, rng: Rng) -> Files:
        """An input made of one or two valid ones."""
        chosen, other = (dict(self.seeds[n]) for n in rng.integers(len(self.seeds), size=2))
        name = sorted(chosen)[rng.integers(len(chosen))]
        if self.subject.change is not None and rng.random() < 0.5:
            chosen[name] = self.subject.change(rng, chosen[name])
        else:
            chosen[name] = mutate(rng, chosen[name], other.get(name, b""))
        return chosen

    def save(self, number: int) -> Path:
        target = self.top.parent / "findings" / f"{self.subject.name}_{number}"
        return Path(shutil.copytree(self.top / "input", target, dirs_exist_ok=True))


JOB: Job  # of the copies


def _prepare(job: Job) -> None:
    global JOB
    JOB = job
    job.prepare()


def _read(number: int) -> tuple[str, str]:
    return JOB.read(number)


# ---- many ---------------------------------------------------------------------------------------


def fuzz(subject: Subject, n: int, seed: int, folder: Path) -> tuple[Counter, dict[str, str]]:
    """Outcomes of `n` inputs of a subject, and the first of each kind of finding or crash."""
    job, number, counts, findings = Job(subject, seed, folder), 0, Counter(), {}
    while number < n:
        with multiprocessing.get_context("fork").Pool(1, _prepare, (job,)) as pool:
            outcome = ""
            while number < n and outcome != "crash":
                try:
                    outcome, what = pool.apply_async(_read, (number,)).get(MAX_WAIT)
                except multiprocessing.TimeoutError:
                    outcome = "crash"
                    what = f"library: crashes, or does not return: {job.save(number)}"
                number += 1
                counts[outcome] += 1
                if what:
                    findings.setdefault(what.partition("Error: ")[0], what)
    return counts, findings


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--inputs", type=int, default=6000, help="of each (default: 6000)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    given = options.parse_args()
    chosen = given.what.split(",")
    if unknown := set(chosen) - {subject.name for subject in SUBJECTS}:
        options.error(f"--what {', '.join(unknown)}: unknown")
    top, n_findings = Path(tempfile.mkdtemp(prefix="fuzz_")), 0
    print(row(["subject", *OUTCOMES, "s"], 9))
    for subject in (subject for subject in SUBJECTS if subject.name in chosen):
        if subject.needs and importlib.util.find_spec(subject.needs) is None:
            print(f"{subject.name} is left out: {subject.needs} is not installed")
            continue
        began = time.monotonic()
        counts, findings = fuzz(subject, given.inputs, given.seed, top)
        taken = round(time.monotonic() - began)
        print(row([subject.name, *(counts[x] for x in OUTCOMES), taken], 9), flush=True)
        print(*(f"    {what}\n" for what in findings.values()), sep="", end="", flush=True)
        shutil.rmtree(top / subject.name)
        n_findings += counts["finding"]
    if not (top / "findings").exists():
        shutil.rmtree(top)
    return int(n_findings > 0)


if __name__ == "__main__":
    sys.exit(main())
