"""Damaged and hostile inputs: does every reader give a result, or an error of one line?

    python benchmarks/fuzz.py [--inputs 6000] [--seed 1] [--what config,labels,...]

Valid inputs of everything that the package reads itself are changed: bits flipped, spans cut,
repeated and left out, nasty words put in, two inputs spliced; of HDF5 files also what is in them.
An input that reaches lines of the package not reached before is changed further. What is neither
read nor refused by a `RISClusterError`, takes more than 5 s or more than 500 MB is a finding: it
is kept and printed, and the exit code is 1. Readers work in a copy of the process, for a library
may crash, which is counted apart.
"""

import argparse
import importlib.util
import io
import json
import logging
import mmap
import os
import pickle
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import RISCluster  # noqa: E402
from RISCluster.catalogue.environment import read_environment  # noqa: E402
from RISCluster.catalogue.stations import read_stations  # noqa: E402
from RISCluster.data.layouts import open_spectrograms  # noqa: E402
from RISCluster.errors import RISClusterError  # noqa: E402
from RISCluster.fibre.joining import open_series  # noqa: E402
from RISCluster.io import (  # noqa: E402  # noqa: E402
    new_rows,
    open_rows,
    read_json,
    read_npz,
    read_torch,
    write_npz,
)
from RISCluster.report.figures import read_history  # noqa: E402
from RISCluster.runs import names  # noqa: E402
from RISCluster.runs.labels import read_labels  # noqa: E402
from RISCluster.settings import RecordsSettings, load_settings  # noqa: E402
from RISCluster.waveforms.read import read_traces, scan  # noqa: E402

LONGEST = 5  # s that an input may take
KILLED = 30  # s after which a library that does not come back is ended
MOST_GROWN = 500 * 1024  # kB
MOST_MEMORY = 6 * 2**30  # bytes of addresses beyond what is taken at the start
MOST_SEEDS = 400
PACKAGE = str(Path(RISCluster.__file__).parent) + os.sep
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
TOKENS += [b"\xff", b"\xff\xfe", b"\xed\xa0\x80"]
TOKENS += [struct.pack("<q", value) for value in (-1, 2**62)]

Files = dict[str, bytes]  # an input: contents by name


@dataclass(frozen=True)
class Subject:
    """What is given changed inputs.

    Attributes
    ----------
    name : str
    seeds : callable
        Valid inputs; it may write into the folder that it is given.
    read : callable
        Of the folder that the input is in.
    change : callable, optional
        Changes of its own, half of the time.
    needs : str
        Package without which it is left out.
    """

    name: str
    seeds: Callable[[Path], list[Files]]
    read: Callable[[Path], Any]
    change: Callable[[np.random.Generator, bytes], bytes] | None = None
    needs: str = ""


# ---- changes ------------------------------------------------------------------------------------


def mutate(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """One to four changes of bytes."""
    for _ in range(int(rng.integers(1, 5))):
        n = len(content)
        a, b = np.sort(rng.integers(0, n + 1, 2)).tolist()
        b = min(b, a + 4096)
        kind = int(rng.integers(7))
        if kind == 0 and n:
            changed = bytearray(content)
            changed[min(a, n - 1)] ^= 1 << int(rng.integers(8))
            content = bytes(changed)
        elif kind == 1:
            content = content[:a]
        elif kind == 2:
            content = content[:a] + content[b:]
        elif kind == 3:
            content = content[:b] + content[a:]
        elif kind == 4:
            content = content[:a] + other[int(rng.integers(len(other) + 1)) :]
        else:
            token = TOKENS[rng.integers(len(TOKENS))]
            end = a if kind == 5 else min(n, a + int(rng.integers(1, 12)))
            content = content[:a] + token + content[end:]
    return content


def odd_values(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """What may stand in a data set instead of what belongs there."""
    n = shape[0] if shape else 1
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


def change_hdf5(rng: np.random.Generator, content: bytes) -> bytes:
    """One or two changes of what is in an HDF5 file; its format stays valid."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for _ in range(int(rng.integers(1, 3))):
            found: list[str] = []
            file.visititems(lambda name, item, found=found: found.append(name))
            if not found:
                break
            name = found[rng.integers(len(found))]
            _change_item(rng, file, name)
    return buffer.getvalue()


def _change_item(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    item = file[name]
    shape = (isinstance(item, h5py.Dataset) and item.shape) or (4,)
    shape = tuple(min(n, 300) for n in shape)  # one before may have made it huge
    kind = int(rng.integers(8))
    if kind == 0:
        place = file if rng.random() < 0.5 else item
        keys = sorted(place.attrs) or ["units", "class_names", "dims", "fs"]
        place.attrs[keys[rng.integers(len(keys))]] = odd_values(rng, (2,))
        return
    del file[name]
    if kind == 1:
        file[name] = h5py.SoftLink(f"/{name}")
    elif kind == 2:
        file[name] = h5py.ExternalLink("nowhere.h5", "/x")
    elif kind == 3:
        size = int(rng.choice([10**6, 10**9, 2**40]))
        huge = [*(shape or (4,))]
        huge[rng.integers(len(huge))] = size
        parts = tuple(min(n, 64) for n in huge)
        file.create_dataset(name, tuple(huge), rng.choice(["f4", "i8"]), chunks=parts)
    elif kind == 4:
        file[name] = h5py.SoftLink("/")
    elif kind == 5:
        values = file.create_dataset(name, (shape or (1,))[:1], h5py.vlen_dtype(np.dtype("f4")))
        values[...] = [np.zeros(3, "f4")] * len(values) if len(values) > 1 else np.zeros(3, "f4")
    elif kind == 6:
        file[name] = odd_values(rng, shape or (1,))


# ---- valid inputs -------------------------------------------------------------------------------


def one(name: str, *contents: str | bytes) -> Callable[[Path], list[Files]]:
    """Seeds of one file."""
    return lambda _: [{name: x.encode() if isinstance(x, str) else x} for x in contents]


def in_folder(folder: Path) -> Files:
    """All files of a folder by their names in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def array_seeds(folder: Path, kind: str) -> list[Files]:
    """Arrays as this package and as NumPy and PyTorch write them."""
    import torch

    values = np.arange(40, dtype=np.float32).reshape(10, 4)
    ours, plain = folder / f"ours.{kind}", folder / f"plain.{kind}"
    if kind == "npy":
        with new_rows(ours, values.shape) as out:
            out[0 : 0 + len(values)] = values
        np.save(plain, values)
    elif kind == "npz":
        write_npz(ours, weights=values[0], means=values)
        np.savez(plain, weights=values[0], means=values)
    else:
        torch.save({"kind": "x", "w": torch.ones(3)}, plain)
        torch.save({"w": torch.ones(3)}, ours, _use_new_zipfile_serialization=False)
    return [{f"a.{kind}": path.read_bytes()} for path in (ours, plain)]


def hdf5(**items: Any) -> bytes:
    """An HDF5 file of data sets; names with two underscores have a slash there."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in items.items():
            file[name.replace("__", "/").replace("four", "4.0")] = value
        file.attrs.update({"fs": 100.0, "dims": "time,channel", "start": 1.6e9})
    return buffer.getvalue()


def layout_seeds(layout: str) -> list[Files]:
    """Small files of one layout."""
    values = np.random.default_rng(0).random((6, 8, 9)).astype(np.float32)
    if layout == "samples":
        times = [f"2016-01-01T00:00:0{i}Z".encode() for i in range(6)]
        content = hdf5(spectrogram=values, frequency=np.arange(8.0), time=np.arange(9.0),
                       starttime=times, trace_id=[b"X.A..Z"] * 6, labels=[0, 1] * 3)  # fmt: skip
    elif layout == "ris":
        values[:, :-1, 0], values[:, -1, 1:] = np.arange(7), np.arange(8)
        rows = [json.dumps({"Station": "A", "StartTime": "2016-01-01T00:00:00"}).encode()] * 6
        content = hdf5(four__Spectrogram=values, four__Catalogue=rows)
    elif layout == "cube":
        content = hdf5(data=np.random.default_rng(0).random((40, 6, 8)).astype(np.float32),
                       metadata__time_coords=1.6e9 + np.arange(40.0),
                       metadata__loc_coords=np.arange(6.0),
                       metadata__freq_coords=np.arange(8.0))  # fmt: skip
    else:
        content = hdf5(data=np.random.default_rng(0).random((200, 6)).astype(np.float32))
    return [{"a.h5": content}]


def zarr_seeds(folder: Path) -> list[Files]:
    """A cube in both formats of Zarr."""
    import zarr

    for version in (2, 3):
        root = zarr.open_group(str(folder / f"{version}.zarr"), mode="w", zarr_format=version)
        for name, values in (
            ("data", np.ones((40, 4, 8), np.float32)),
            ("metadata/time_coords", 1.6e9 + np.arange(40.0)),
            ("metadata/freq_coords", np.arange(8.0)),
        ):
            array = root.create_array(name, shape=values.shape, dtype=values.dtype)
            array[...] = values
    return [
        {f"a.zarr/{name}": text for name, text in in_folder(folder / f"{n}.zarr").items()}
        for n in (2, 3)
    ]


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


def read_names_of(folder: Path) -> None:
    """Names of a run of three clusters."""
    stage = SimpleNamespace(name="DEC", n_clusters=3, sizes=np.array([5, 6, 7]))
    names.read(SimpleNamespace(folder=folder, final=stage))


HISTORY = "epoch,a,seconds\n" + "".join(f"{n},0.5,1.5\n" for n in (1, 2, 3, 4))
WORDS = ("run.name=a\naec.lr=1e-3,3e-4\ngmm.n_clusters=2-4", "build.bandpass=3-20\nbuild.sta=1",
         "cube.channels=0:10:2\ncube.window=8\ndata.file=a.h5", "run.seed=5")  # fmt: skip
LABELS = ("index,label,probability,starttime,trace_id\n0,1,0.5,2016-01-01T00:00:00Z,XX.A\n"
          "1,-1,0,,XX.B\n", "index,label,probability\n0,1,0.5\n1,2,0.7\n")  # fmt: skip
SUBJECTS = (
    Subject("config", lambda _: [{"c.ini": (ROOT / "config.ini").read_bytes()},
                                 {"c.ini": b"[run]\nname = a\n[aec]\nlr = 1e-3, 1e-4\n"}],
            lambda folder: load_settings(folder / "c.ini")),
    Subject("words", one("words", *WORDS), read_words),
    Subject("environment", one("e.csv", "time,wind\n2016-01-01,1\n2016-01-02T01:00+01:00,2\n",
                               "# x\ndate;t (C);p\n2016-01;1;\n2016-02;nan;3\n"),
            lambda folder: read_environment(folder / "e.csv")),
    Subject("stations", one("s.csv", "network,station,latitude,longitude\nXX,A,1,2\nXX,B,3,190\n",
                            "#Network|Station|Latitude|Longitude\nXX|A|1|2\n"),
            lambda folder: read_stations(folder / "s.csv")),
    Subject("names", one("names.csv", "stage,label,size,name\nDEC,0,5,ice\nDEC,1,6,\nDEC,2,7,x\n",
                         "label;name\n0;a\n1;b\n"), read_names_of),
    Subject("labels", one("l.csv", *LABELS), lambda folder: read_labels(folder / "l.csv")),
    Subject("history_read", one("h.csv", HISTORY), lambda folder: read_history(folder / "h.csv")),
    Subject("json", one("a.json", '{"depends": {"a": 1.5}, "results": ["x", null, true]}'),
            lambda folder: read_json(folder / "a.json")),
    Subject("npy", lambda folder: array_seeds(folder, "npy"),
            lambda folder: open_rows(folder / "a.npy")[0:3]),
    Subject("npz", lambda folder: array_seeds(folder, "npz"),
            lambda folder: read_npz(folder / "a.npz")),
    Subject("pt", lambda folder: array_seeds(folder, "pt"),
            lambda folder: read_torch(folder / "a.pt")),
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


@dataclass
class Coverage:
    """Lines of the package that were reached."""

    lines: set[tuple[str, int]] = field(default_factory=set)

    def start(self, frame: FrameType, event: str, _: Any) -> Any:
        """Trace functions of the package alone."""
        return self.line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        """Note one line."""
        if event == "line":
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self.line


def attempt(subject: Subject, folder: Path, coverage: Coverage) -> tuple[str, str]:
    """Read an input: ``valid``, ``refused`` or ``finding``, and for the last where and what."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    sys.settrace(coverage.start)
    try:
        subject.read(folder)
        outcome = "valid", ""
    except RISClusterError as error:
        outcome = ("finding", "no text in the error") if not str(error) else ("refused", "")
    except Hang:
        outcome = "finding", f"takes more than {LONGEST} s"
    except Exception as error:
        at = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[:-1] and
              f.filename.startswith(PACKAGE)]  # fmt: skip
        place = f"{Path(at[-1].filename).name}:{at[-1].lineno}" if at else "outside"
        outcome = "finding", f"{place}: {type(error).__name__}: {str(error)[:150]}"
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outcome[0] != "finding" and grown > MOST_GROWN:
        outcome = "finding", f"takes {grown // 1024} MB"
    return outcome


def write(folder: Path, files: Files) -> None:
    """Put an input into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def changed(rng: np.random.Generator, subject: Subject, seeds: list[Files], whole: int) -> Files:
    """An input made of the seeds, of which the first `whole` are valid."""
    files = dict(seeds[rng.integers(len(seeds))])
    if subject.change and rng.random() < 0.5:
        files = dict(seeds[rng.integers(whole)])
        name = next(iter(files))
        return {name: subject.change(rng, files[name])}
    named = sorted(files)
    name = named[rng.integers(len(named))]
    other = seeds[rng.integers(len(seeds))]
    files[name] = mutate(rng, files[name], other.get(name, b""))
    return files


# ---- many ---------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the inputs of one subject."""

    inputs: int = 0
    valid: int = 0
    refused: int = 0
    findings: dict[str, tuple[int, str]] = field(default_factory=dict)  # how often, which first
    crashes: list[str] = field(default_factory=list)
    lines: set[tuple[str, int]] = field(default_factory=set)


def _raise_hang(*_: object) -> None:
    raise Hang


def _work(subject: Subject, top: Path, seed: int, first: int, n: int, shared: mmap.mmap) -> None:
    """In a copy of the process: inputs from `first` on; the tally is left in a file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _raise_hang)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEMORY,) * 2)
    seeds = pickle.loads((top / "seeds").read_bytes())
    tally, coverage, whole, folder = Tally(), Coverage(), len(seeds), top / "input"
    for files in seeds:
        write(folder, files)
        if attempt(subject, folder, coverage)[0] != "valid":
            raise ValueError("a seed is not valid")
    for number in range(first, n):
        rng = np.random.default_rng([seed, sum(subject.name.encode()), number])
        struct.pack_into("q", shared, 0, number)
        files = changed(rng, subject, seeds, whole)
        write(folder, files)
        known = len(coverage.lines)
        outcome, what = attempt(subject, folder, coverage)
        tally.inputs += 1
        tally.valid += outcome == "valid"
        tally.refused += outcome == "refused"
        if outcome == "finding":
            count, kept = tally.findings.get(what.partition("Error: ")[0], (0, ""))
            kept = kept or f"{what}: {_keep(top, f'{subject.name}_{number}')}"
            tally.findings[what.partition("Error: ")[0]] = count + 1, kept
        elif len(coverage.lines) > known and len(seeds) < MOST_SEEDS:
            seeds.append(files)
        if number % 50 == 0 or outcome == "finding" or number == n - 1:
            tally.lines = coverage.lines
            (top / "tally").write_bytes(pickle.dumps(tally))


def _keep(top: Path, name: str) -> Path:
    kept = top.parent / "findings" / name
    shutil.copytree(top / "input", kept, dirs_exist_ok=True)
    return kept


def _wait(pid: int, shared: mmap.mmap) -> str:
    """End of a copy: empty where it came to its end, else what happened."""
    last, since = -2, time.monotonic()
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return "" if code == 0 else f"ends with {code}"
        now = struct.unpack_from("q", shared, 0)[0]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > KILLED:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"does not come back in {KILLED} s"
        time.sleep(0.01)


def fuzz(subject: Subject, n: int, seed: int, folder: Path) -> Tally:
    """Give one subject `n` inputs, in copies of this process."""
    top = folder / subject.name
    (top / "made").mkdir(parents=True)
    (top / "seeds").write_bytes(pickle.dumps(subject.seeds(top / "made")))
    total, first = Tally(), 0
    with mmap.mmap(-1, 8) as shared:
        while first < n:
            struct.pack_into("q", shared, 0, first - 1)
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                code = 70
                try:
                    _work(subject, top, seed, first, n, shared)
                    code = 0
                except BaseException:
                    (top / "broken").write_text(traceback.format_exc())
                finally:
                    os._exit(code)
            end = _wait(pid, shared)
            if (top / "broken").exists():
                raise SystemExit(f"{subject.name}: {(top / 'broken').read_text()}")
            _add(total, top / "tally")
            number = struct.unpack_from("q", shared, 0)[0]
            if end:
                total.crashes.append(f"{end}: {_keep(top, f'{subject.name}_{number}')}")
            first = number + 1
    total.inputs = n
    return total


def _add(total: Tally, path: Path) -> None:
    """What a copy has left, up to fifty inputs before a crash; what it had not is not counted."""
    if not path.exists():
        return
    part: Tally = pickle.loads(path.read_bytes())
    path.unlink()
    total.valid += part.valid
    total.refused += part.refused
    total.lines |= part.lines
    for what, (count, kept) in part.findings.items():
        before, first = total.findings.get(what, (0, kept))
        total.findings[what] = before + count, first


def table(tallies: dict[str, Tally]) -> str:
    """A row a subject, and what was found."""
    rows = [f"{'subject':<14}{'inputs':>9}{'valid':>9}{'refused':>9}{'findings':>9}"
            f"{'crashes':>9}{'lines':>7}"]  # fmt: skip
    for name, tally in tallies.items():
        count = sum(n for n, _ in tally.findings.values())
        rows.append(
            f"{name:<14}{tally.inputs:>9}{tally.valid:>9}{tally.refused:>9}{count:>9}"
            f"{len(tally.crashes):>9}{len(tally.lines):>7}"
        )
    for name, tally in tallies.items():
        rows += [f"{name}: {count} times {kept}" for count, kept in tally.findings.values()]
        rows += [f"{name}: the library crashed, {line}" for line in tally.crashes]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=6000, help="of each (default: 6000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--what", default=",".join(subject.name for subject in SUBJECTS))
    arguments = parser.parse_args()
    chosen = arguments.what.split(",")
    unknown = set(chosen) - {subject.name for subject in SUBJECTS}
    if unknown:
        parser.error(f"--what {', '.join(unknown)}: unknown")
    top, tallies = Path(tempfile.mkdtemp(prefix="fuzz_")), {}
    for subject in (subject for subject in SUBJECTS if subject.name in chosen):
        if subject.needs and importlib.util.find_spec(subject.needs) is None:
            print(f"{subject.name} is left out: {subject.needs} is not installed")
            continue
        began = time.monotonic()
        tallies[subject.name] = fuzz(subject, arguments.inputs, arguments.seed, top)
        shutil.rmtree(top / subject.name)
        print(f"{subject.name}: {time.monotonic() - began:.0f} s", flush=True)
    print(table(tallies))
    failed = any(tally.findings for tally in tallies.values())
    if not failed and not (top / "findings").exists():
        shutil.rmtree(top)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
