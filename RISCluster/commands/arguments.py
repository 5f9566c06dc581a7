"""The commands and their arguments, and what several commands do with them.

Only light modules are imported here, so that ``--help`` is fast.
"""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ..errors import SettingsError
from ..settings import COMMANDS, SCRIPTS, add_config, package_command

DATA, IMAGES = (".h5", ".hdf5"), (".png", ".pdf", ".svg")
TIME_HELP = "UTC, such as 2015-06-01T12:00"
RUN_HELP = "finished run, such as Outputs/rutford"
OVERWRITE_HELP = "replace existing outputs"
WORKERS_HELP = "processes (default: one per processor, fewer for little work)"

# ---- types of values: functions of the text, for argparse ---------------------------------------


def number(low: float, high: float = math.inf, kind: type = float) -> Callable[[str], float]:
    """Type of a number from `low` to `high`."""

    def read(text: str) -> float:
        with suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        what = f"{'whole numbers' if kind is int else 'numbers'} from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text or '(empty)'} is not allowed; allowed: {what}")

    return read


def file(*suffixes: str) -> Callable[[str], Path]:
    """Type of a path, with the home folder for ~, that ends with one of some suffixes."""

    def read(text: str) -> Path:
        path = Path(text).expanduser()
        if suffixes and path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(
                f"{text or '(empty)'} is not allowed; allowed: a name that ends with "
                f"{' or '.join(suffixes)}"
            )
        return path

    return read


def time(text: str) -> datetime:
    """Type of a time, UTC where it has no offset."""
    found = datetime.fromisoformat(text.strip())
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def numbers(text: str) -> tuple[int, ...]:
    """Type of whole numbers with commas."""
    return tuple(map(int, text.split(",")))


# ---- commands -----------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Parser whose errors are a SettingsError, of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a SettingsError."""
        message = message.removeprefix("argument ")
        raise SettingsError(f"command line: {message}; see {self.prog} --help")


def make_parsers() -> tuple[Parser, dict[str, Parser]]:
    """Parser of the package, and those of its commands by name."""
    top = Parser(package_command("").strip(), epilog="COMMAND --help describes its arguments.")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for add_commands in (_add_waveform_commands, _add_set_commands, _add_run_commands):
        add_commands(commands)
    return top, commands.choices


def _add(
    commands: Any, module: str, name: str, help: str, section: str = "", epilog: str = ""
) -> Callable[..., Any]:
    """``add_argument`` of a command, which is ``run_<name>`` of a module of this package.

    With a section, ``--config`` and the settings of that section are allowed.
    """
    sentence = f"{help[0].upper()}{help[1:]}."
    parser = commands.add_parser(name, help=help, description=sentence, epilog=epilog)
    parser.set_defaults(module=module)
    if section:
        add_config(parser)
        parser.epilog += f" section.key=value words replace settings, such as those of [{section}]."
    return parser.add_argument


# fmt: off
def _add_waveform_commands(commands: Any) -> None:
    add = _add(commands, "make", "download", "fetch waveforms and StationXML from data centres",
               epilog="Existing files are not fetched again.")
    add("--network", metavar="CODES", required=True, help="codes with * and ?, several with commas")
    add("--station", metavar="CODES", required=True, help="likewise, such as DR*,RS08")
    add("--channel", metavar="CODES", required=True, help="likewise, such as HHZ")
    add("--location", metavar="CODES", default="*", help="likewise; --location=-- is the empty one")
    add("--start", metavar="TIME", type=time, required=True, help=TIME_HELP)
    add("--end", metavar="TIME", type=time, required=True, help=TIME_HELP)
    add("--provider", metavar="NAMES", default="EARTHSCOPE", help="of obspy, or URLs (%(default)s)")
    add("--box", nargs=4, type=float, metavar=("MINLAT", "MAXLAT", "MINLON", "MAXLON"))
    add("--circle", nargs=3, type=float, metavar=("LAT", "LON", "RADIUS"), help="in degrees")
    add("--min-distance", metavar="KM", type=number(0), default=0, help="least between stations")
    add("--credentials", metavar="FILE", type=file(), help="logins, a section for each provider")
    add("--chunk", metavar="SECONDS", type=number(60, 31622400), default=86400,
        help="length of a file (%(default)s)")
    add("-o", "--output", metavar="FOLDER", type=file(), default="Data/waveforms",
        help="folder to write (%(default)s)")

    add = _add(commands, "make", "build", "make a data set of spectrograms from waveforms", "build")
    add("words", metavar="WAVEFORMS", nargs="*", help="files, folders, patterns, URLs, for obspy")
    add("-o", "--output", metavar="FILE", help="file to write, .h5; its catalogue beside it, .csv")
    add("--picture", metavar="FILE", type=file(*IMAGES), help="only draw traces and windows")
    add("--workers", metavar="N", type=number(0, 1024, int), default=0, help=WORKERS_HELP)
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)

    add = _add(commands, "make", "catalogue", "sort and clean a catalogue of onsets")
    add("words", metavar="FILE", nargs="*", type=file(), help="tables with times, or QuakeML")
    add("-o", "--output", metavar="CSV", type=file(".csv"), required=True, help="table to write")
    add("--start", metavar="TIME", type=time, help=TIME_HELP)
    add("--end", metavar="TIME", type=time, help=TIME_HELP)
    add("--min-amplitude", metavar="A", type=number(0), default=0, help="of the peak")
    add("--max-amplitude", metavar="A", type=number(0), default=math.inf, help="of the peak")
    add("--duplicates", metavar="SECONDS", type=number(0), default=0, help="least between onsets")
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)

    add = _add(commands, "make", "associate", "number events that several stations detected",
               "events", "Writes event_id into the file and into the catalogue beside it.")
    add("words", metavar="FILE", nargs="*", help="data sets with onsets and trace ids, or cubes")
    add("--overwrite", action="store_true", help="replace event ids of another source")


def _add_set_commands(commands: Any) -> None:
    add = _add(commands, "make", "cube", "make a cube of (time, channel, frequency) from records",
               "records")
    add("words", metavar="RECORDS", nargs="*", help="files, folders, patterns; or a cube to cut")
    add("-o", "--output", metavar="FILE", type=file(".zarr", *DATA), required=True,
        help="cube to write")
    add("--workers", metavar="N", type=number(0, 1024, int), default=0, help=WORKERS_HELP)
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)

    add = _add(commands, "info", "info", "describe files of spectrograms", "data")
    add("words", metavar="FILE", nargs="*", help="HDF5, .npy, Zarr; a pattern is one set")
    add("--picture", metavar="FILE", type=file(*IMAGES), help="also draw some samples")
    add("--no-picture", action="store_true", help="the default; for scripts of earlier versions")

    add = _add(commands, "make", "subset", "write chosen samples of several files as one", "data")
    add("words", metavar="FILE", nargs="*", help="files, and settings such as data.stations=DR0*")
    add("-o", "--output", metavar="FILE", type=file(*DATA), required=True, help="file to write")
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)

    add = _add(commands, "make", "demo", "write a synthetic data set of eight known classes")
    add("-o", "--output", metavar="FILE", type=file(*DATA), help="in place of Data/demo.h5")
    add("--cube", action="store_true", help="a cube of vehicles, pumps and earthquakes instead")
    add("--samples", metavar="N", type=number(1, kind=int), default=4000, help="(%(default)s)")
    add("--snr", metavar="DB", type=number(-100, 100), default=6, help="(%(default)s)")
    add("--seed", metavar="N", type=number(1, kind=int), default=2009, help="(%(default)s)")
    add("--imbalance", metavar="R", type=number(1), default=1, help="of class sizes (%(default)s)")


def _add_run_commands(commands: Any) -> None:
    helps = "pretrain the autoencoder", "fit mixtures to latents", "refine and label"
    for (stage, name), help in zip(COMMANDS.items(), helps, strict=True):
        add = _add(commands, "", name, f"{help}; results in <run>/{stage} (as {SCRIPTS[stage]})",
                   stage.lower(), "The same command resumes a stage.")
        add("words", metavar="section.key=value", nargs="*",
            help="such as run.name=rutford aec.lr=1e-4")

    add = _add(commands, "results", "run", "run the three stages, and make the report", "run")
    add("words", metavar="FILE", nargs="*", help="spectrograms, several files as one set")
    add("--name", metavar="NAME", help="of the run (default: that of FILE, or of their folder)")

    add = _add(commands, "results", "predict", "label new data with a finished run", epilog=
               "Also writes .latent.npy, .html, .gallery.png, of a cube a map; --follow .files.csv")
    add("words", metavar="FILE", nargs="*", help="spectrograms, several files as one set")
    add("--run", metavar="FOLDER", type=file(), required=True, help=RUN_HELP)
    add("-o", "--output", metavar="CSV", type=file(".csv"), required=True, help="table to write")
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)
    add("--stage", choices=("dec", "gmm"), default="dec", help="that labels (default: dec)")
    add("--follow", metavar="FOLDER", type=file(), help="label files that are or arrive there")
    add("--interval", metavar="SECONDS", type=number(0, 86400), default=10,
        help="between checks (default: %(default)s); 0: one check")
    add("--drift", metavar="SHARE", type=number(0, 1), default=0.05,
        help="of outliers, above which to warn (default: %(default)s)")

    add = _add(commands, "results", "report", "write report.html of a finished run", "report")
    add("words", metavar="section.key=value", nargs="*",
        help="such as report.stations=stations.xml")
    add("--run", metavar="FOLDER", type=file(), required=True, help=RUN_HELP)
    add("-o", "--output", metavar="PAGE", type=file(".html"), help="write only the page, there")

    add = _add(commands, "results", "compare", "compare finished runs: settings, metrics, labels")
    add("runs", metavar="RUN", nargs="*", type=file(), help="two or more, such as Outputs/first")
    add("-o", "--output", metavar="CSV", type=file(".csv"), help="also write the table")

    add = _add(commands, "results", "export", "write the catalogue, picks or templates of a run")
    add("words", metavar="section.key=value", nargs="*", help="such as report.seasons=1-6,7-12")
    add("--run", metavar="FOLDER", type=file(), required=True, help=RUN_HELP)
    add("--format", required=True, choices=("csv", "hdf5", "quakeml", "picks", "templates"),
        help="samples; events; picks as of SeisBench; stacked waveforms and mean spectra")
    add("-o", "--output", metavar="FILE", type=file(), required=True, help="of templates a folder")
    add("--overwrite", action="store_true", help=OVERWRITE_HELP)
    add("--stage", choices=("dec", "gmm"), help="default: the last that is complete")
    add("--clusters", metavar="NUMBERS", type=numbers, help="only these, such as 1,3")
    add("--min-probability", metavar="P", type=number(0, 1), default=0, help="of the labels")
    add("--align", choices=("correlation", "onset"), default="correlation",
        help="waveforms of templates (default: %(default)s)")
    _add(commands, "", "config", "print config.ini with all settings")
# fmt: on


# ---- what several commands do -------------------------------------------------------------------


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths and ``section.key=value`` settings, which come in any order."""
    settings = [word for word in words if re.match(r"[A-Za-z]+\.\w+=", word)]
    return [word for word in words if word not in settings], settings


def require_new(target: Path, overwrite: bool, used: Sequence[Path] = ()) -> None:
    """Refuse an output that exists, unless it may be replaced and is none of the files `used`."""
    if not target.exists():
        return
    if any(map(target.samefile, filter(Path.exists, used))):
        raise SettingsError(f"{target}: is of the run or data used; give another name with -o")
    if not overwrite:
        raise SettingsError(f"{target}: exists already; give another name with -o, or --overwrite")


def save_figure(figure: Any, target: Path) -> None:
    """Write a matplotlib figure in the format of the file's suffix."""
    from ..io import new_file

    with new_file(target) as partial:
        figure.savefig(partial, format=target.suffix[1:].lower())
    print(f"figure: {target}")
