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
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, h5py, np, parser, row

from RISCluster import io as files
from RISCluster.catalogue.environment import read_environment
from RISCluster.catalogue.stations import read_stations
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RISClusterError
from RISCluster.fibre.series import open_series
from RISCluster.report.figures import read_history
from RISCluster.runs import names
from RISCluster.runs.labels import read_labels
from RISCluster.settings import RecordsSettings, load_settings
from RISCluster.waveforms.read import read_traces, scan

MAX_SECONDS = 5  # that an input may take
MAX_WAIT = 30  # s after which a library that does not return is ended
MAX_GROWTH = 500 * 1024  # kB
MAX_MEMORY = 6 * 2**30  # bytes of addresses beyond what is taken at the start
PACKAGE = f"{ROOT / 'RISCluster'}{os.sep}"
TOKENS = [token.encode() for token in (
    "-1", "0", "nan", "inf", "-1e999", "99999999999999999999999", "5-2", "1-1000000000000", "%(x)s",
    "%", "${a}", '"', "'", ",", ";", "\t", "|", "\n", "\r\n", "\0", "=", "[[", "]", "{", "}", "#",
    "..", "/", "~", "\\", "\u00e4", "\u2028", "\u0663", "\U0001f600", "\ufeff", "null", "[]",
    "{}", "1_000", "0x10", "1e-320", "A" * 200_000, "[" * 5000, "9" * 5000, "auto", "none",
    "2016-13", "0000-00-00", "9999-12-31T23:59:59.999999+23:59", "0001-01-01T00:00:00+23:59",
)]  # fmt: skip
TOKENS += [b"\xff", b"\xff\xfe", b"\xed\xa0\x80", struct.pack("<q", -1), struct.pack("<q", 2**62)]

Files = dict[str, bytes]  # an input: contents by name
Rng = np.random.Generator


@dataclass(frozen=True)
class Subject:
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
        b = min(b, a + 4096)
        kind = int(rng.integers(7))
        if kind == 0 and n:
            a = min(a, n - 1)
            middle, b = bytes([content[a] ^ 1 << int(rng.integers(8))]), a + 1
        elif kind == 1:
            middle, b = b"", n
        elif kind == 2:
            middle = b""
        elif kind == 3:
            middle = content[a:b] * 2
        elif kind == 4:
            middle, b = other[int(rng.integers(len(other) + 1)) :], n
        else:
            middle = TOKENS[rng.integers(len(TOKENS))]
            b = a if kind == 5 else min(n, a + int(rng.integers(1, 12)))
        content = content[:a] + middle + content[b:]
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
    item = file[name]
    shape = (isinstance(item, h5py.Dataset) and item.shape) or (4,)
    shape = tuple(min(n, 300) for n in shape)  # one before may have made it huge
    kind = int(rng.integers(8))
    if kind == 0:
        attributes = (file if rng.random() < 0.5 else item).attrs
        keys = sorted(attributes) or ["units", "class_names", "dims", "fs"]
        attributes[keys[rng.integers(len(keys))]] = odd_values(rng, (2,))
        return
    del file[name]
    if kind in (1, 2, 3):
        links = (h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"), h5py.ExternalLink("no.h5", "/x"))
        file[name] = links[kind - 1]
    elif kind == 4:
        huge = list(shape)
        huge[rng.integers(len(huge))] = int(rng.choice([10**6, 10**9, 2**40]))
        parts = tuple(min(n, 64) for n in huge)
        file.create_dataset(name, tuple(huge), rng.choice(["f4", "i8"]), chunks=parts)
    elif kind == 5:
        values = file.create_dataset(name, shape[:1], h5py.vlen_dtype(np.dtype("f4")))
        for n in range(len(values)):
            values[n] = np.zeros(3, "f4")
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
        for name, values in (
            ("data", np.ones((40, 4, 8), np.float32)),
            ("metadata/time_coords", 1.6e9 + np.arange(40.0)),
            ("metadata/freq_coords", np.arange(8.0)),
        ):
            root.create_array(name, data=values)
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
        file.labels(), file.class_names(), file.starttimes(0, 3), file.trace_ids(0, 3)
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
    stage = SimpleNamespace(name="DEC", n_clusters=3, sizes=np.array([5, 6, 7]))
    names.read(SimpleNamespace(folder=folder, final=stage))


CONFIG = ((ROOT / "config.ini").read_bytes(), "[run]\nname = a\n[aec]\nlr = 1e-3, 1e-4\n")
HISTORY = "epoch,a,seconds\n" + "".join(f"{n},0.5,1.5\n" for n in (1, 2, 3, 4))
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
    Subject("history_read", one("h.csv", HISTORY), lambda folder: read_history(folder / "h.csv")),
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


def attempt(subject: Subject, folder: Path) -> tuple[str, str]:
    """Read an input: ``valid``, ``refused`` or ``finding``, and what is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        subject.read(folder)
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


def write(folder: Path, contents: Files) -> None:
    """Put an input into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def changed(rng: Rng, subject: Subject, seeds: list[Files]) -> Files:
    """An input made of one or two valid ones."""
    chosen, other = (dict(seeds[n]) for n in rng.integers(len(seeds), size=2))
    name = sorted(chosen)[rng.integers(len(chosen))]
    if subject.change is not None and rng.random() < 0.5:
        chosen[name] = subject.change(rng, chosen[name])
    else:
        chosen[name] = mutate(rng, chosen[name], other.get(name, b""))
    return chosen


# ---- many ---------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Outcomes of the inputs of one subject, and the first of each kind of finding or crash."""

    counts: Counter = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)


def _raise_hang(*_: object) -> None:
    raise Hang


def _save(top: Path, name: str) -> Path:
    return Path(shutil.copytree(top / "input", top.parent / "findings" / name, dirs_exist_ok=True))


def _work(subject: Subject, top: Path, seeds: list[Files], numbers: range, seed: int,
          answers: Connection) -> None:  # fmt: skip
    """In a copy of the process: send the outcome of each input, and what is wrong."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _raise_hang)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MEMORY,) * 2)
    for number in numbers:
        rng = np.random.default_rng([seed, sum(subject.name.encode()), number])
        valid = number < len(seeds)  # these are read as they are
        write(top / "input", seeds[number] if valid else changed(rng, subject, seeds))
        outcome, what = attempt(subject, top / "input")
        if valid and outcome == "refused":
            outcome, what = "finding", "a valid input is refused"
        if outcome == "finding":
            what = f"{what}: {_save(top, f'{subject.name}_{number}')}"
        answers.send((outcome, what))


def fuzz(subject: Subject, n: int, seed: int, folder: Path) -> Tally:
    """Give one subject `n` inputs, in copies of this process."""
    top, tally, number = folder / subject.name, Tally(), 0
    (top / "made").mkdir(parents=True)
    seeds = subject.seeds(top / "made")
    fork = multiprocessing.get_context("fork")
    while number < n:
        receiver, sender = fork.Pipe(duplex=False)
        arguments = (subject, top, seeds, range(number, n), seed, sender)
        process = fork.Process(target=_work, args=arguments)
        process.start()
        sender.close()
        crash = ""
        while number < n and not crash:
            try:
                outcome, what = receiver.recv() if receiver.poll(MAX_WAIT) else ("crash", "")
            except EOFError:
                process.join()
                outcome, what = "crash", f"ends with {process.exitcode}"
            if outcome == "crash":
                process.kill()
                crash = what or f"does not return in {MAX_WAIT} s"
                what = f"library: {crash}: {_save(top, f'{subject.name}_{number}')}"
            number += 1
            tally.counts[outcome] += 1
            if what:
                tally.findings.setdefault(what.partition("Error: ")[0], what)
        process.join()
    return tally


def table(tallies: dict[str, Tally]) -> str:
    """A row a subject, and what was found."""
    titles = ("valid", "refused", "finding", "crash")
    lines = [row(["subject", *titles], 9)]
    lines += [row([name, *(t.counts[x] for x in titles)], 9) for name, t in tallies.items()]
    lines += [f"{name}: {what}" for name, t in tallies.items() for what in t.findings.values()]
    return "\n".join(lines)


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--inputs", type=int, default=6000, help="of each (default: 6000)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    given = options.parse_args()
    chosen = given.what.split(",")
    if unknown := set(chosen) - {subject.name for subject in SUBJECTS}:
        options.error(f"--what {', '.join(unknown)}: unknown")
    top, tallies = Path(tempfile.mkdtemp(prefix="fuzz_")), {}
    for subject in (subject for subject in SUBJECTS if subject.name in chosen):
        if subject.needs and importlib.util.find_spec(subject.needs) is None:
            print(f"{subject.name} is left out: {subject.needs} is not installed")
            continue
        began = time.monotonic()
        tallies[subject.name] = fuzz(subject, given.inputs, given.seed, top)
        shutil.rmtree(top / subject.name)
        print(f"{subject.name}: {time.monotonic() - began:.0f} s", flush=True)
    print(table(tallies))
    if not (top / "findings").exists():
        shutil.rmtree(top)
    return int(any(tally.counts["finding"] for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
