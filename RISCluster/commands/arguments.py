"""Table of the commands and their arguments, and checks of arguments.

Only light modules are imported here, so that ``--help`` is fast.
"""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli import COMMANDS as STAGE_COMMANDS
from ..cli import add_config
from ..errors import SettingsError

FIGURES = (".png", ".pdf", ".svg")
STAGES = {command: stage for stage, command in STAGE_COMMANDS.items()}  # stages by command

# Arguments are (name, value, help, default): the value is a placeholder, a tuple of choices or FLAG
# for an option without a value; REQUIRED stands for a default that does not exist.
FLAG, REQUIRED = object(), object()
RUN = ("--run", "FOLDER", "finished run, as Outputs/rutford", REQUIRED)
OVERWRITE = ("--overwrite", FLAG, "replace existing outputs")
WORKERS = ("--workers", "N", "processes; auto is one per processor, fewer for little work "
           "(the output is the same)", "auto")  # fmt: skip
SETTINGS = ("words", "section.key=value",
            "settings that replace those of the run, as report.stations=stations.xml")  # fmt: skip


class Command(NamedTuple):
    """A command: sentence, module with ``run_<command>``, arguments, further help.

    With a `section`, ``--config`` and the settings of that section are allowed.
    """

    help: str
    module: str = ""
    arguments: tuple[tuple, ...] = ()
    epilog: str = ""
    section: str = ""


COMMANDS = {
    "download": Command(
        "fetch waveforms and StationXML from FDSN data centres",
        "make",
        (
            ("--network", "CODES", "network codes with * and ?, several with commas", REQUIRED),
            ("--station", "CODES", "station codes, likewise, as DR*,RS08", REQUIRED),
            ("--channel", "CODES", "channel codes, likewise, as HHZ", REQUIRED),
            ("--location", "CODES", "location codes; --location=-- is the empty one", "*"),
            ("--start", "TIME", "UTC, as 2015-06-01T12:00", REQUIRED),
            ("--end", "TIME", "UTC", REQUIRED),
            ("--provider", "NAMES", "data centres by obspy's names or by URL, several with "
             "commas: a station is taken from the first that lists it", "EARTHSCOPE"),
            ("--box", "DEGREES+", "MINLAT MAXLAT MINLON MAXLON, or --box=-85,-75,160,180"),
            ("--circle", "DEGREES+", "LAT LON RADIUS, likewise"),
            ("--chunk", "SECONDS", "length of a file, counted from midnight", "86400"),
            ("--output", "FOLDER", "folder to write", "Data/waveforms"),
        ),
        "Run it again to resume after an interruption, or with a later --end: existing files are "
        "not fetched again.",
    ),
    "build": Command(
        "make a data set of spectrograms from waveforms",
        "make",
        (
            ("words", "WAVEFORMS", "files, folders and patterns of any format that obspy reads; "
             "build.key=value settings"),
            ("--output", "FILE", "file to write, .h5; its catalogue is beside it, .csv", REQUIRED),
            ("--layout", ("samples", "ris"), "layout of the file; ris is for RISCluster 0.3",
             "samples"),
            WORKERS,
            OVERWRITE,
            ("--catalogue-only", FLAG, "write only the catalogue, .csv, without spectrograms"),
        ),
        section="build",
    ),
    "cube": Command(
        "make a cube of (time, channel, frequency) from DAS records or an array's waveforms",
        "make",
        (
            ("words", "RECORDS", "HDF5 records of a fibre, or waveforms of an array that obspy "
             "reads: files, folders, patterns; and records.key=value settings"),
            ("--output", "FILE", "cube.zarr, cube.h5 or cube.hdf5", REQUIRED),
            WORKERS,
            OVERWRITE,
        ),
        section="records",
    ),
    "info": Command(
        "describe files of spectrograms, and draw some samples",
        "info",
        (
            ("words", "FILE", "HDF5 files or Zarr folders (default: data.file of the settings), "
             "and settings as data.layout=cube cube.window=8"),
            ("--picture", "FILE", "picture to write, .png, .pdf or .svg (default: <FILE>_samples "
             "in the working directory, in run.figure_format)"),
            ("--no-picture", FLAG, "text alone"),
        ),
        "Settings in [cube] define the samples of a cube.",
        section="data",
    ),
    "pretrain": Command(
        "pretrain the autoencoder on spectrograms, results in <run>/AEC (as AEC_train.py)"
    ),
    "cluster": Command(
        "fit Gaussian mixtures to the latents, results in <run>/GMM (as GMM_centroids.py)"
    ),
    "refine": Command(
        "refine encoder and clusters, label every sample, results in <run>/DEC (as DEC_train.py)"
    ),
    "run": Command(
        "run the three stages on a file of spectrograms, and make the report",
        "results",
        (
            ("words", "FILE", "spectrograms (default: those of the run, or the demo set); "
             "section.key=value words replace single settings"),
            ("--name", "NAME", "name of the run (default: run.name, or else the name of FILE)"),
        ),
        section="run",
    ),
    "predict": Command(
        "label new data with a finished run, and measure how they differ from its training set",
        "results",
        (
            ("words", "FILE", "spectrograms in any layout; section.key=value words replace "
             "settings of the run"),
            RUN,
            ("--output", "CSV", "table to write, as newer_labels.csv", REQUIRED),
            OVERWRITE,
            ("--stage", ("dec", "gmm"), "labels of the DEC stage or of the mixture", "dec"),
        ),
        "Writes the table, latents beside it as .latent.npy, and for a cube a map as .h5 and as a "
        "figure.",
    ),
    "report": Command(
        "write report.html of a finished run: figures, tables and their interpretation",
        "results",
        (
            SETTINGS,
            RUN,
            ("--output", "PAGE", "write only the page, to this file (default: report.html in the "
             "run folder)"),
        ),
        "All other settings are those of the run. Writes report.html and figures/ in the run "
        "folder. A page is not replaced by one made from fewer stages or without the data.",
        section="report",
    ),
    "compare": Command(
        "compare finished runs: settings that differ, metrics, agreement of labels",
        "compare",
        (
            ("runs", "RUN", "two or more run folders, as Outputs/first"),
            ("--output", "CSV", "also write the table to this file"),
            ("--figure", "PNG", "of two runs on the same data: figure of the overlap of their "
             "clusters (png, pdf, svg)"),
        ),
    ),
    "export": Command(
        "write the catalogue of a finished run as CSV, QuakeML or HDF5",
        "results",
        (
            SETTINGS,
            RUN,
            ("--format", ("csv", "quakeml", "hdf5"), "csv: a row a sample; hdf5: the same in data "
             "sets; quakeml: an event a sample, with a pick at the onset of a detection (needs "
             "obspy)", REQUIRED),
            ("--output", "FILE", "file to write", REQUIRED),
            OVERWRITE,
            ("--stage", ("dec", "gmm"), "labels of this stage (default: DEC if complete)"),
            ("--clusters", "NUMBERS", "only these, as 1,3 (default: all samples)"),
            ("--min-probability", "P", "only samples whose label has this probability or more, 0 "
             "to 1", "0"),
        ),
        "Columns: index, label, name, probability, starttime, trace_id, station, season, onset, "
        "end, peak_time, peak_amplitude, unit; values that the data do not have are empty.",
    ),
    "demo": Command(
        "write a synthetic data set of eight known classes of seismic spectrograms",
        "make",
        (
            ("--output", "FILE", "file to write", "Data/demo.h5"),
            ("--samples", "N", "number of samples", "4000"),
            ("--snr", "DB", "signal-to-noise ratio, dB", "6"),
            ("--seed", "N", "seed", "2009"),
            ("--imbalance", "RATIO", "size of the largest class over that of the smallest", "1"),
        ),
    ),
    "config": Command(
        "print config.ini with every setting, its default and what is allowed (config > config.ini)"
    ),
}  # fmt: skip


def parse(name: str, program: str, words: Sequence[str]) -> argparse.Namespace:
    """Parsed arguments of a command, which takes options and words in any order."""
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=program, description=sentence(name))
    parser.epilog = command.epilog
    for argument in command.arguments:
        _add(parser, *argument)
    if command.section:
        add_config(parser)
        parser.epilog = (
            f"Settings are in [{command.section}] of config.ini; section.key=value words replace "
            f"single ones. {command.epilog}"
        )
    return parser.parse_intermixed_args(words)


def _add(
    parser: argparse.ArgumentParser, name: str, value: Any, text: str, default: Any = None
) -> None:
    names = ("-o", name) if name == "--output" else (name,)
    text += f" (default: {default})" if isinstance(default, str) else ""
    if value is FLAG:
        parser.add_argument(*names, action="store_true", help=text)
    elif not name.startswith("-"):
        parser.add_argument(name, nargs="*", metavar=value, help=text)
    else:
        choices = value if isinstance(value, tuple) else None
        parser.add_argument(
            *names,
            choices=choices,
            metavar=None if choices else value.rstrip("+"),
            nargs="+" if "+" in value else None,
            required=default is REQUIRED,
            default=None if default is REQUIRED else default,
            help=text,
        )


def sentence(name: str) -> str:
    """Help of a command as a sentence."""
    text = COMMANDS[name].help
    return f"{text[0].upper()}{text[1:]}."


# ---- checks -------------------------------------------------------------------------------------


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths and ``section.key=value`` settings, which come in any order."""
    settings = [word for word in words if re.match(r"[A-Za-z]+\.\w+=", word)]
    return [word for word in words if word not in settings], settings


def only_settings(words: Sequence[str]) -> list[str]:
    """Words of which each must be a setting."""
    others, overrides = split_words(words)
    if others:
        raise SettingsError(
            f"command line: {' '.join(others)}: not a setting; allowed: section.key=value words"
        )
    return overrides


def refused(option: str, text: str, allowed: str) -> SettingsError:
    """Error for the value of an option."""
    return SettingsError(
        f"command line: {option} {text or '(empty)'} is not allowed; allowed: {allowed}"
    )


def option_number(
    option: str, text: str, low: float, high: float, allowed: str, kind: type = float
) -> float:
    """Number of an option, from `low` to `high`; a SettingsError with what is `allowed`."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise refused(option, text, allowed)
    return value


def number_of_workers(text: str) -> int:
    """Value of ``--workers``; 0, which is `parallel.AUTO`, for ``auto``."""
    if text == "auto":
        return 0
    return option_number("--workers", text, 1, 1024, "auto, or 1 to 1024", int)


def require_suffix(option: str, path: str | None, allowed: Sequence[str]) -> None:
    """Refuse an output with another suffix."""
    if path and Path(path).suffix.lower() not in allowed:
        raise SettingsError(
            f"command line: {option} {path}: allowed: a name that ends with {' or '.join(allowed)}"
        )


def save_figure(figure: Any, target: Path) -> None:
    """Write a matplotlib figure in the format of the file's suffix."""
    from ..io import new_file

    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())
