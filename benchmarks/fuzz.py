"""Damaged inputs: does every reader give a result, or an error of one line?

    python benchmarks/fuzz.py [--inputs 6000] [--seed 1] [--what config labels ...]

Hypothesis changes valid inputs of everything that users give: spans are removed, repeated, and
replaced by bits, odd words and parts of other inputs; of HDF5 files also what is in them. What is
neither read nor refused by a `RISClusterError`, or takes more than 5 s, is a finding: it is made as
small as possible, saved and printed, and the exit code is 1. Readers work in a copy of the process,
as a library may crash or hang, which is counted apart.
"""

import faulthandler
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
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, exit_code, fork, h5py, np, parser, row, seconds  # isort: skip
import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from RISCluster.catalogue.catalogue import read_environment
from RISCluster.catalogue.stations import read_stations
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RISClusterError
from RISCluster.fibre.series import open_series
from RISCluster.runs.labels import read_labels
from RISCluster.runs.run import read_names
from RISCluster.settings import RecordsSettings, load_settings
from RISCluster.waveforms.read import read_traces, scan

MAX_SECONDS, MAX_WAIT = 5, 10  # that an input may take; after which a library is ended
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

Files = dict[str, bytes]  # an input: contents by name
Draw = Callable[[st.SearchStrategy], Any]


class Subject(NamedTuple):
    """Valid inputs, which may be made in a folder; a reader of the folder with an input in it."""

    name: str
    seeds: Callable[[Path], list[Files]]
    read: Callable[[Path], Any]
    is_hdf5: bool = False
    needs: str = ""  # package without which it is left out


# ---- changes ------------------------------------------------------------------------------------


def change_bytes(draw: Draw, content: bytes, other: bytes) -> bytes:
    """One to four spans replaced, of any length."""
    for _ in range(draw(st.integers(1, 4))):
        a = draw(st.integers(0, len(content)))
        b = a + draw(st.sampled_from((0, 1, 2, 8, 64, 4096, len(content))))
        more = b"", content[a:b] * 2, other[draw(st.integers(0, len(other))) :]
        middle = draw(st.sampled_from((*more, *TOKENS)) | st.binary(max_size=8))
        content = content[:a] + middle + content[b:]
    return content


def change_hdf5(draw: Draw, content: bytes) -> bytes:
    """One or two changes of what is in an HDF5 file; its format stays valid."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for _ in range(draw(st.integers(1, 2))):
            found: list[str] = []
            file.visit(found.append)
            if found:
                _change_item(draw, file, draw(st.sampled_from(found)))
    return buffer.getvalue()


def _change_item(draw: Draw, file: h5py.File, name: str) -> None:
    item, rank = file[name], getattr(file[name], "ndim", 1) or 1
    kinds = arrays.integer_dtypes() | arrays.floating_dtypes() | arrays.byte_string_dtypes()
    same = tuple(min(n, 300) for n in getattr(item, "shape", ()) or (4,))
    values = arrays.arrays(
        kinds, st.just(same) | arrays.array_shapes(min_side=0), fill=st.nothing()
    )
    kind = draw(st.sampled_from(("attribute", "values", "filled", "huge", "link", "removed")))
    if kind == "attribute":
        attributes = draw(st.sampled_from((file, item))).attrs
        key = draw(st.sampled_from(sorted(attributes) or ["units", "class_names", "dims", "fs"]))
        attributes[key] = (
            draw(values) if draw(st.booleans()) else draw(st.text(min_size=1).map(ascii))
        )
        return
    del file[name]
    if kind == "values":
        file[name] = draw(values)
    elif kind == "filled":
        file[name] = np.full(same, draw(st.sampled_from((np.nan, np.inf, 0.0, -1e300, b"\xff[{"))))
    elif kind == "huge":
        shape = [*draw(st.permutations([2**40, *[4] * (rank - 1)]))]
        file.create_dataset(name, shape, "f4", chunks=tuple(min(n, 64) for n in shape))
    elif kind == "link":
        targets = h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"), h5py.ExternalLink("no.h5", "/x")
        file[name] = draw(st.sampled_from(targets))


# ---- valid inputs -------------------------------------------------------------------------------


def one(name: str, *contents: str | bytes) -> Callable[[Path], list[Files]]:
    """Seeds of one file."""
    return lambda _: [{name: x.encode() if isinstance(x, str) else x} for x in contents]


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
        items = sorted(item for item in path.rglob("*") if item.is_file())
        found.append({f"a.zarr/{item.relative_to(path)}": item.read_bytes() for item in items})
    return found


def waveform_seeds(_: Path) -> list[Files]:
    """A trace with a gap."""
    import obspy

    first = obspy.Trace(np.arange(3000, dtype="i4"), {"station": "A", "sampling_rate": 50.0})
    second, buffer = first.copy(), io.BytesIO()
    second.stats.starttime += 100
    obspy.Stream([first, second]).write(buffer, "MSEED", reclen=512)
    return [{"a.mseed": buffer.getvalue()}]


def read_spectrograms(path: Path) -> None:
    """All that is asked of a file before and while it is worked on."""
    with open_spectrograms(path) as file:
        file.read(0, 3)
        file.labels(), file.class_names(), [file.column(x, 0, 3) for x in ("starttime", "trace_id")]
        str(file.amplitude_unit), file.chunks, file.attributes


def read_words(folder: Path) -> None:
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


def names_of(folder: Path) -> None:
    """Names of a run of three clusters."""
    stage, notes = SimpleNamespace(name="DEC", cluster_sizes=np.array([5, 6, 7])), []
    read_names(folder, stage, notes)
    if notes:
        raise RISClusterError(notes[0])


CONFIG = ((ROOT / "config.ini").read_bytes(), "[run]\nname = a\n[aec]\nlr = 1e-3, 1e-4\n")
WORDS = ("run.name=a\naec.lr=1e-3,3e-4\ngmm.n_clusters=2-4", "build.bandpass=3-20\nbuild.sta=1",
         "cube.channels=0:10:2\ncube.window=8\ndata.file=a.h5", "run.seed=5")  # fmt: skip
LABELS = ("index,label,probability,starttime,trace_id\n0,1,0.5,2016-01-01T00:00:00Z,XX.A\n"
          "1,-1,0,,XX.B\n", "index,label,probability\n0,1,0.5\n1,2,0.7\n")  # fmt: skip
SERIES = ("time,wind\n2016-01-01,1\n2016-01-02T01:00+01:00,2\n",
          "# x\ndate;t (C);p\n2016-01;1;\n2016-02;nan;3\n")  # fmt: skip
STATIONS = ("network,station,latitude,longitude\nXX,A,1,2\nXX,B,3,190\n",
            "#Network|Station|Latitude|Longitude\nXX|A|1|2\n")  # fmt: skip
NAMES = "stage,label,size,name\nDEC,0,5,ice\nDEC,1,6,\nDEC,2,7,x\n"
SUBJECTS = (
    Subject("config", one("c.ini", *CONFIG), lambda folder: load_settings(folder / "c.ini")),
    Subject("words", one("words", *WORDS), read_words),
    Subject("environment", one("e.csv", *SERIES), lambda top: read_environment(top / "e.csv")),
    Subject("stations", one("s.csv", *STATIONS), lambda top: read_stations(top / "s.csv")),
    Subject("names", one("names.csv", NAMES), names_of),
    Subject("labels", one("l.csv", *LABELS), lambda folder: read_labels(folder / "l.csv")),
    *(Subject(name, lambda _, name=name: layout_seeds(name),
              lambda folder: read_spectrograms(folder / "a.h5"), True)
      for name in ("samples", "ris", "cube")),
    Subject("fibre", lambda _: layout_seeds("fibre"), read_fibre, True),
    Subject("zarr", zarr_seeds, lambda folder: read_spectrograms(folder / "a.zarr"), needs="zarr"),
    Subject("waveforms", waveform_seeds, read_waveforms, needs="obspy"),
)  # fmt: skip


# ---- one subject --------------------------------------------------------------------------------


class Hang(BaseException):
    """An input took too long; no reader may catch it."""


def _raise_hang(*_: object) -> None:
    raise Hang


def attempt(read: Callable[[Path], Any], folder: Path, content: Files) -> bool:
    """Read an input: whether it is valid; AssertionError if it is neither read nor refused."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, part in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)
    faulthandler.dump_traceback_later(MAX_WAIT, exit=True)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        read(folder)
        return True
    except RISClusterError:
        return False
    except Hang:
        raise AssertionError(f"takes more than {MAX_SECONDS} s") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if PACKAGE in f.filename]
        text = f"{at[-1] if at else 'outside'}: {type(error).__name__}: {str(error)[:150]}"
        raise AssertionError(text) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def explore(
    subject: Subject, n: int, seed: int, top: Path, seeds: list[Files], counts: Any
) -> None:
    """In a copy of this process: read `n` inputs, count them and the valid ones; a report."""
    faulthandler.disable()  # of pytest
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _raise_hang)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MEMORY,) * 2)

    @hypothesis.settings(max_examples=n, database=None, deadline=None, print_blob=False,
                         phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.seed(seed)
    @hypothesis.given(st.data())
    def read_changed(data: Any) -> None:
        chosen, other = (dict(data.draw(st.sampled_from(seeds))) for _ in range(2))
        name = data.draw(st.sampled_from(sorted(chosen)))
        if subject.is_hdf5 and data.draw(st.booleans()):
            chosen[name] = change_hdf5(data.draw, chosen[name])
        else:
            chosen[name] = change_bytes(data.draw, chosen[name], other.get(name, b""))
        counts[0] += 1
        counts[1] += attempt(subject.read, top / "input", chosen)

    try:
        for valid in seeds:
            assert attempt(subject.read, top / "input", valid), "a valid input is refused"
        read_changed()
    except (AssertionError, ExceptionGroup) as error:
        found = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        (top / "report").write_text("\n".join(str(one).partition("\n")[0] for one in found))


def fuzz(subject: Subject, n: int, seed: int, folder: Path) -> tuple[Counter, list[str]]:
    """Outcomes of `n` inputs of a subject, fewer if there are findings, and these."""
    top, crashes, findings = folder / subject.name, 0, []
    (top / "made").mkdir(parents=True)
    seeds, counts = subject.seeds(top / "made"), multiprocessing.RawArray("q", 2)
    while True:
        number = seed + 1000 * crashes
        code = exit_code(fork(explore, subject, n - counts[0], number, top, seeds, counts))
        crashes += code != 0
        if (report := top / "report").exists():
            findings = report.read_text().split("\n")
        if code or findings:
            saved = folder / "findings" / f"{subject.name}_{number}"
            shutil.copytree(top / "input", saved)
            findings = [f"{line}: {saved}" for line in findings]
        if not code or counts[0] >= n:
            break
    numbers = counts[1], counts[0] - counts[1] - crashes, len(findings), crashes
    return Counter(dict(zip(OUTCOMES, numbers, strict=True))), findings


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--inputs", type=int, default=6000, help="of each (default: 6000)")
    options.add_argument("--seed", type=int, default=1)
    names = [subject.name for subject in SUBJECTS]
    options.add_argument("--what", nargs="+", choices=names, default=names, metavar="NAME")
    given = options.parse_args()
    top, n_findings = Path(tempfile.mkdtemp(prefix="fuzz_")), 0
    print(row(["subject", *OUTCOMES, "s"], 9))
    for subject in (subject for subject in SUBJECTS if subject.name in given.what):
        if subject.needs and importlib.util.find_spec(subject.needs) is None:
            print(f"{subject.name} is left out: {subject.needs} is not installed")
            continue
        found: list = []
        taken = seconds(lambda: found.extend(fuzz(subject, given.inputs, given.seed, top)))  # noqa: B023
        counts, findings = found
        print(row([subject.name, *(counts[x] for x in OUTCOMES), round(taken)], 9), flush=True)
        print(*(f"    {what}\n" for what in findings), sep="", end="", flush=True)
        n_findings += len(findings)
    if not (top / "findings").exists():
        shutil.rmtree(top)
    return int(n_findings > 0)


if __name__ == "__main__":
    sys.exit(main())
