"""The commands and their arguments, and what several commands do with them.

Only light modules are imported here, so that ``--help`` is fast.
"""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import SettingsError
from ..settings import COMMANDS as STAGE_COMMANDS
from ..settings import add_config

STAGES = {command: stage for stage, command in STAGE_COMMANDS.items()}  # stages by command

# ---- types of values: functions of the text, for argparse ---------------------------------------


def _refused(text: str, allowed: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text or '(empty)'} is not allowed; allowed: {allowed}")


def number(low: float, high: float = math.inf, kind: type = float) -> Callable[[str], float]:
    """Type of a number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if low <= value <= high:
            return value
        end = "" if high == math.inf else f" to {high}"
        raise _refused(text, f"{'whole numbers' if kind is int else 'numbers'} from {low}{end}")

    return read


def whole(low: int, high: float = math.inf) -> Callable[[str], float]:
    """Type of a whole number from `low` to `high`."""
    return number(low, high, int)


def file(*suffixes: str) -> Callable[[str], Path]:
    """Type of a path that ends with one of some suffixes."""

    def read(text: str) -> Path:
        path = Path(text).expanduser()
        if path.suffix.lower() in suffixes:
            return path
        raise _refused(text, f"a name that ends with {' or '.join(suffixes)}")

    return read


def path(text: str) -> Path:
    """Path of a text, with the home folder for ~."""
    return Path(text).expanduser()


def workers(text: str) -> int:
    """Type of a number of processes; 0 is ``auto``."""
    return 0 if text == "auto" else int(whole(1, 1024)(text))


def time(text: str) -> datetime:
    """Type of a time, UTC where it has no offset."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _refused(text, "a UTC time as 2015-06-01 or 2015-06-01T12:00:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def numbers(text: str) -> tuple[int, ...]:
    """Type of whole numbers with commas."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise _refused(text, "numbers, as 1,3") from None


# ---- commands -----------------------------------------------------------------------------------


class Command(NamedTuple):
    """A command; with a section, ``--config`` and the settings of that section are allowed."""

    module: str  # in commands/, with `run_<name>`
    help: str
    section: str = ""
    arguments: Sequence[tuple[str, dict[str, Any]]] = ()
    epilog: str = ""


def _words(metavar: str, help: str, name: str = "words") -> tuple[str, dict[str, Any]]:
    return name, {"metavar": metavar, "nargs": "*", "help": help}


def _option(
    name: str, metavar: str | None, help: str, default: Any = None, **others: Any
) -> tuple[str, dict[str, Any]]:
    """Name and further arguments for `ArgumentParser.add_argument`."""
    shown = "" if default is None else f" (default: {default})"
    return name, {"metavar": metavar, "help": help + shown, "default": default, **others}


def _flag(name: str, help: str) -> tuple[str, dict[str, Any]]:
    return name, {"action": "store_true", "help": help}


NEEDED = {"required": True}
DATA, IMAGES = (".h5", ".hdf5"), (".png", ".pdf", ".svg")
OVERWRITE = _flag("--overwrite", "replace existing outputs")
WORKERS = _option("--workers", "N", "processes; auto is one per processor, fewer for little work",
                  "auto", type=workers)  # fmt: skip
RUN = _option("--run", "FOLDER", "finished run, as Outputs/rutford", **NEEDED)
STAGE = [_words("section.key=value", "as run.name=rutford data.file=x.h5")]
UTC_TIME = "UTC, as 2015-06-01T12:00"

# fmt: off
COMMANDS = {
    "download": Command("make", "fetch waveforms and StationXML from FDSN data centres", "", [
        _option("--network", "CODES", "network codes with * and ?, several with commas", **NEEDED),
        _option("--station", "CODES", "station codes, likewise, as DR*,RS08", **NEEDED),
        _option("--channel", "CODES", "channel codes, likewise, as HHZ", **NEEDED),
        _option("--location", "CODES", "location codes; --location=-- is the empty one", "*"),
        _option("--start", "TIME", UTC_TIME, type=time, **NEEDED),
        _option("--end", "TIME", UTC_TIME, type=time, **NEEDED),
        _option("--provider", "NAMES", "names of obspy, or URLs", "EARTHSCOPE"),
        _option("--box", ("MINLAT", "MAXLAT", "MINLON", "MAXLON"), "degrees", nargs=4, type=float),
        _option("--circle", ("LAT", "LON", "RADIUS"), "degrees", nargs=3, type=float),
        _option("--min-distance", "KM", "smallest distance between stations", 0, type=number(0)),
        _option("--credentials", "FILE", "logins, a section for each provider, as [GFZ]"),
        _option("--chunk", "SECONDS", "length of a file", 86400, type=number(60, 31622400)),
        _option("--output", "FOLDER", "folder to write", "Data/waveforms"),
    ], "Existing files are not fetched again."),
    "build": Command("make", "make a data set of spectrograms from waveforms", "build", [
        _words("WAVEFORMS", "files, folders, patterns and URLs of any format that obspy reads"),
        _option("--output", "FILE", "file to write, .h5; its catalogue is beside it, .csv"),
        _option("--picture", "FILE", "only draw traces and windows", type=file(*IMAGES)),
        WORKERS, OVERWRITE,
    ]),
    "catalogue": Command("make", "sort and clean a catalogue of onsets", "", [
        _words("FILE", "tables with a column of times, as build writes them, or QuakeML"),
        _option("--output", "FILE", "for build.catalogue", type=file(".csv"), **NEEDED),
        _option("--start", "TIME", f"{UTC_TIME} (default: all)", type=time),
        _option("--end", "TIME", f"{UTC_TIME} (default: all)", type=time),
        _option("--min-amplitude", "A", "smallest peak amplitude", 0, type=number(0)),
        _option("--max-amplitude", "A", "largest peak amplitude", math.inf, type=number(0)),
        _option("--duplicates", "SECONDS", "least time between onsets", 0, type=number(0)),
        OVERWRITE,
    ]),
    "associate": Command("make", "number events that several stations detected", "events", [
        _words("FILE", "data sets with onsets and trace ids, as of build, or cubes"),
        _flag("--overwrite", "replace event ids of another source"),
    ], "Writes event_id into the file and into the catalogue beside it."),
    "cube": Command("make", "make a cube of (time, channel, frequency) from records", "records", [
        _words("RECORDS", "of a fibre: files, folders, patterns; or a cube to cut"),
        _option("--output", "FILE", "cube to write", type=file(".zarr", *DATA), **NEEDED),
        WORKERS, OVERWRITE,
    ]),
    "info": Command("info", "describe files of spectrograms", "data", [
        _words("FILE", "HDF5, .npy or Zarr; a pattern is one set (default: data.file)"),
        _option("--picture", "FILE", "also draw some samples", type=file(*IMAGES)),
    ]),
    "subset": Command("make", "write chosen samples of spectrogram files as one file", "data", [
        _words("FILE", "files and patterns, and settings that choose, as data.stations=DR0*"),
        _option("--output", "FILE", "file to write, layout samples", type=file(*DATA), **NEEDED),
        OVERWRITE,
    ]),
    "pretrain": Command("", "pretrain the autoencoder: <run>/AEC (as AEC_train.py)", "aec", STAGE),
    "cluster": Command("", "fit latent mixtures: <run>/GMM (as GMM_centroids.py)", "gmm", STAGE),
    "refine": Command("", "refine and label samples: <run>/DEC (as DEC_train.py)", "dec", STAGE),
    "run": Command("results", "run the three stages on spectrograms, and make the report", "run", [
        _words("FILE", "spectrograms, several files as one set (default: data.file of the run)"),
        _option("--name", "NAME", "name of the run (default: that of FILE, or of their folder)"),
    ]),
    "predict": Command("results", "label new data with a finished run, and measure drift", "", [
        _words("FILE", "spectrograms in any layout, several files as one set"),
        RUN,
        _option("--output", "CSV", "as newer_labels.csv", type=file(".csv"), **NEEDED),
        OVERWRITE,
        _option("--stage", None, "labels of this stage", "dec", choices=("dec", "gmm")),
        _option("--follow", "FOLDER", "label its files, and those that arrive there", type=path),
        _option("--interval", "SECONDS", "between checks; 0: one check", 10, type=number(0, 86400)),
        _option("--drift", "SHARE", "of outliers, above which to warn", 0.05, type=number(0, 1)),
    ], "Writes also .latent.npy, .html, .gallery.png, of a cube a map; --follow .files.csv."),
    "report": Command("results", "write report.html of a finished run", "report", [
        _words("section.key=value", "as report.stations=stations.xml"),
        RUN,
        _option("--output", "PAGE", "write only the page, to this file", type=file(".html")),
    ]),
    "compare": Command("compare", "compare settings, metrics and labels of finished runs", "", [
        _words("RUN", "two or more run folders, as Outputs/first", "runs"),
        _option("--output", "CSV", "also write the table to this file", type=file(".csv")),
        _option("--figure", "PNG", "of two runs on the same data: overlap of their clusters",
                type=file(*IMAGES)),
    ]),
    "export": Command("results", "write the catalogue, picks or templates of a finished run", "", [
        _words("section.key=value", "as report.seasons=1-6,7-12"),
        RUN,
        _option("--format", None, "samples as rows; events; picks as of SeisBench; stacked "
                "waveforms and mean spectra of clusters", **NEEDED,
                choices=("csv", "hdf5", "quakeml", "picks", "templates")),
        _option("--output", "FILE", "file, or for templates folder", type=path, **NEEDED),
        OVERWRITE,
        _option("--stage", None, "default: DEC if complete", choices=("dec", "gmm")),
        _option("--clusters", "NUMBERS", "only these, as 1,3 (default: all)", type=numbers),
        _option("--min-probability", "P", "smallest probability", 0, type=number(0, 1)),
        _option("--align", None, "waveforms of templates: by onsets, or by correlation too",
                "correlation", choices=("correlation", "onset")),
    ]),
    "demo": Command("make", "write a synthetic data set of eight known classes", "", [
        _option("--output", "FILE", "default: Data/demo.h5 or Data/demo_cube.h5", type=file(*DATA)),
        _flag("--cube", "a cube of a fibre with vehicles, pumps and earthquakes instead"),
        _option("--samples", "N", "number of samples", 4000, type=whole(1)),
        _option("--snr", "DB", "signal-to-noise ratio", 6, type=number(-100, 100)),
        _option("--seed", "N", "seed", 2009, type=whole(1)),
        _option("--imbalance", "RATIO", "of largest to smallest class", 1, type=number(1)),
    ]),
    "config": Command("", "print config.ini with all settings (config > config.ini)"),
}
# fmt: on


class Parser(argparse.ArgumentParser):
    """Parser whose errors are a SettingsError, of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a SettingsError."""
        message = message.removeprefix("argument ")
        raise SettingsError(f"command line: {message}; see {self.prog} --help")


def parse(name: str, program: str, words: Sequence[str]) -> argparse.Namespace:
    """Arguments of a command, which takes options and words in any order."""
    command = COMMANDS[name]
    text = f"{command.help[0].upper()}{command.help[1:]}."
    parser = Parser(prog=program, description=text, epilog=command.epilog)
    if command.section:
        add_config(parser)
        parser.epilog += f" section.key=value words replace settings, as of [{command.section}]."
    for argument, options in command.arguments:
        names = ["-o", argument] if argument == "--output" else [argument]
        parser.add_argument(*names, **options)
    return parser.parse_intermixed_args(words)


# ---- what several commands do -------------------------------------------------------------------


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths and ``section.key=value`` settings, which come in any order."""
    settings = [word for word in words if re.match(r"[A-Za-z]+\.\w+=", word)]
    return [word for word in words if word not in settings], settings


def require_new(target: Path, overwrite: bool) -> None:
    """Refuse an output that exists, unless it may be replaced."""
    if target.exists() and not overwrite:
        raise SettingsError(f"{target}: exists already; give another name with -o, or --overwrite")


def save_figure(figure: Any, target: Path) -> None:
    """Write a matplotlib figure in the format of the file's suffix."""
    from ..io import new_file

    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())
    print(f"figure: {target}")
