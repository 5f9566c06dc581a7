"""Damaged and hostile inputs: does every reader give a result, or an error of one line?

    python benchmarks/fuzz.py [--inputs 6000] [--seed 1] [--what config,labels,...]

Valid inputs of everything that the package reads itself are changed: bits flipped, spans cut,
repeated and left out, nasty words put in, two inputs spliced; of HDF5 files also what is in them.
An input that reaches new lines of the package is changed further. What is neither read nor refused
by a `RISClusterError`, takes more than 5 s or more than 500 MB is a finding: it is saved and
printed, and the exit code is 1. Readers work in a copy of the process, as a library may crash,
which is counted apart.
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

from RISCluster.catalogue.environment import read_environment
from RISCluster.catalogue.stations import read_stations
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RISClusterError
from RISCluster.fibre.joining import open_series
from RISCluster.io import (
    HistoryFile,
    new_rows,
    open_rows,
    read_json,
    read_npz,
    read_torch,
    write_npz,
)
from RISCluster.report.figures import read_history
from RISCluster.runs import names
from RISCluster.runs.labels import read_labels
from RISCluster.settings import RecordsSettings, load_settings
from RISCluster.waveforms.read import read_traces, scan

MAX_SECONDS = 5  # that an input may take
MAX_WAIT = 30  # s after which a library that does not return is ended
MAX_GROWTH = 500 * 1024  # kB
MAX_MEMORY = 6 * 2**30  # bytes of addresses beyond what is taken at the start
MAX_SEEDS = 400
PACKAGE = str(ROOT / "RISCluster") + os.sep
TOKENS = [
    token.encode()
    for token in (
        "-1", "0", "nan", "inf", "1e999", "-1e999", "9999999999", "99999999999999999999999",
        "5-2", "1-1000000", "1-1000000000000", "%(x)s", "%", "${a}", '"', "'", ",", ";", "\t",
        "|", "\n", "\r", "\r\n", "\0", "=", "[", "]", "[[", "{", "}", "#", "..", "/", "~", "\\",
        "\u00e4", "\u2028", "\u0663", "\U0001f600", "\ufeff", "null", "true", "NaN", "[]", "{}",
        "1_000", "0x10", "1e5", "1e-320", "A" * 200_000, "[" * 5000, "9" * 5000, "auto", "none",
        "0000-00-00", "9999-12-31T23:59:59.999999+23:59", "0001-01-01T00:00:00+23:59", "2016-13",
    )
]  # fmt: skip
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
        lambda: np.full(shape, np.nan),
        lambda: np.full(shape, np.inf),
        lambda: np.zeros(shape, dtype=rng.choice(["u1", "i8", "f2", "f8", "c8", "?"])),
        lambda: np.full(shape, b"x", dtype="S3"),
        lambda: np.zeros(shape, dtype=[("a", "f4"), ("b", "i4")]),
        lambda: np.zeros((n, 3)),
        lambda: np.zeros((0, *shape[1:])),
        lambda: np.zeros((*shape, 2), dtype="f4"),
        lambda: np.float64(1e300),
        lambda: "text \u00e4",
        lambda: h5py.Empty("f4"),
        lambda: np.full(shape, 2**63, dtype="u8"),
        lambda: np.arange(n)[::-1].astype("f8"),
        lambda: np.full(shape, b"\xff[{", dtype="S4"),
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

    values = np.arange(40, dtype=np.float32).reshape(10, 4)
    ours, plain = folder / f"ours.{kind}", folder / f"plain.{kind}"
    if kind == "npy":
        with new_rows(ours, values.shape) as out:
            out[:] = values
        np.save(plain, values)
    elif kind == "npz":
        write_npz(ours, weights=values[0], means=values)
        np.savez(plain, weights=values[0], means=values)
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
        files = sorted(item for item in path.rglob("*") if item.is_file())
        found.append({f"a.zarr/{item.relative_to(path)}": item.read_bytes() for item in files})
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


# ---- readers ------------------------------------------------------------------------------------


def read_spectrograms(path: Path) -> None:
    """All that is asked of a file before and while it is worked on."""
    with open_spectrograms(path) as file:
        file.read(0, 3)
        file.labels(), file.class_names(), file.starttimes(0, 3), file.trace_ids(0, 3)
        str(file.amplitude_unit), file.chunks, file.attributes


def read_words(folder: Path) -> None:
    """Words of a command line, one a line."""
    text = (folder / "words").read_bytes().decode("utf-8", "surrogateescape")
    load_settings(None, text.split("\n"))


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
    Subject("words", one("words", *WORDS), read_words),
    Subject("environment", one("e.csv", *SERIES), lambda top: read_environment(top / "e.csv")),
    Subject("stations", one("s.csv", *STATIONS), lambda top: read_stations(top / "s.csv")),
    Subject("names", one("names.csv", *NAMES), read_names),
    Subject("labels", one("l.csv", *LABELS), lambda folder: read_labels(folder / "l.csv")),
    Subject("history", one("h.csv", HISTORY),
            lambda folder: HistoryFile(folder / "h.csv", ("epoch", "a", "seconds"), 4)),
    Subject("history_read", one("h.csv", HISTORY), lambda folder: read_history(folder / "h.csv")),
    Subject("json", one("a.json", JSON), lambda folder: read_json(folder / "a.json")),
    Subject("npy", lambda top: array_seeds(top, "npy"), lambda top: open_rows(top / "a.npy")[0:3]),
    Subject("npz", lambda top: array_seeds(top, "npz"), lambda top: read_npz(top / "a.npz")),
    Subject("pt", lambda top: array_seeds(top, "pt"), lambda top: read_torch(top / "a.pt")),
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


def attempt(subject: Subject, folder: Path, lines: set) -> tuple[str, str]:
    """Read an input: ``valid``, ``refused`` or ``finding`` and what; adds lines of the package."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    sys.settrace(trace)
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
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outcome[0] != "finding" and grown > MAX_GROWTH:
        outcome = "finding", f"takes {grown // 1024} MB"
    return outcome


def write(folder: Path, files: Files) -> None:
    """Put an input into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def changed(rng: Rng, subject: Subject, seeds: list[Files], n_valid: int) -> Files:
    """An input made of the seeds, of which the first `n_valid` are valid."""
    own = subject.change is not None and rng.random() < 0.5
    files = dict(seeds[rng.integers(n_valid if own else len(seeds))])
    name = sorted(files)[rng.integers(len(files))]
    if own:
        files[name] = subject.change(rng, files[name])
    else:
        other = seeds[rng.integers(len(seeds))].get(name, b"")
        files[name] = mutate(rng, files[name], other)
    return files


# ---- many ---------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Outcomes of the inputs of one subject: counts, and each kind of finding's first."""

    counts: Counter = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)
    n_lines: int = 0


def _raise_hang(*_: object) -> None:
    raise Hang


def _save(top: Path, name: str) -> Path:
    return Path(shutil.copytree(top / "input", top.parent / "findings" / name, dirs_exist_ok=True))


def _work(subject: Subject, top: Path, seeds: list[Files], numbers: range, seed: int,
          answers: Connection) -> None:  # fmt: skip
    """In a copy of the process: send outcome, what, and the number of lines for each input."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _raise_hang)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MEMORY,) * 2)
    seeds, n_valid, folder, lines = list(seeds), len(seeds), top / "input", set()
    for files in seeds:
        write(folder, files)
        outcome, what = attempt(subject, folder, lines)
        if outcome != "valid":
            answers.send(("broken", what, 0))
            return
    for number in numbers:
        rng = np.random.default_rng([seed, sum(subject.name.encode()), number])
        files, known = changed(rng, subject, seeds, n_valid), len(lines)
        write(folder, files)
        outcome, what = attempt(subject, folder, lines)
        if outcome == "finding":
            what = f"{what}: {_save(top, f'{subject.name}_{number}')}"
        elif len(lines) > known and len(seeds) < MAX_SEEDS:
            seeds.append(files)
        answers.send((outcome, what, len(lines)))


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
        end = ""
        try:
            while number < n:
                if not receiver.poll(MAX_WAIT):
                    process.kill()
                    end = f"does not return in {MAX_WAIT} s"
                    break
                outcome, what, lines = receiver.recv()
                if outcome == "broken":
                    raise SystemExit(f"{subject.name}: a valid input is refused: {what}")
                number += 1
                tally.counts[outcome] += 1
                tally.n_lines = max(tally.n_lines, lines)
                if outcome == "finding":
                    tally.findings.setdefault(what.partition("Error: ")[0], what)
        except EOFError:
            process.join()
            end = f"ends with {process.exitcode}"
        process.join()
        if end:
            tally.crashes.append(f"{end}: {_save(top, f'{subject.name}_{number}')}")
            number += 1
    return tally


def table(tallies: dict[str, Tally]) -> str:
    """A row a subject, and what was found."""
    titles = ("valid", "refused", "finding")
    lines = [row(["subject", "inputs", *titles, "crashes", "lines"], 9)]
    for name, tally in tallies.items():
        counts, crashes = [tally.counts[title] for title in titles], len(tally.crashes)
        lines.append(row([name, sum(counts) + crashes, *counts, crashes, tally.n_lines], 9))
    for name, tally in tallies.items():
        lines += [f"{name}: {what}" for what in tally.findings.values()]
        lines += [f"{name}: the library crashed, {line}" for line in tally.crashes]
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
    return int(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
