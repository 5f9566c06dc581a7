"""Table of the commands and their arguments, and the parser that is made from it.

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

STAGES = {command: stage for stage, command in STAGE_COMMANDS.items()}  # stages by command

# A command: name, module with ``run_<name>``, [section of settings that it takes]: help.
# An argument: name, VALUE or choices, (suffixes of a file, or range of numbers, whole ones for N),
# ! where it is required, = default: help. Last, after |, further help.
TABLE = """
download make: fetch waveforms and StationXML from FDSN data centres
  --network CODES!: network codes with * and ?, several with commas
  --station CODES!: station codes, likewise, as DR*,RS08
  --channel CODES!: channel codes, likewise, as HHZ
  --location CODES = *: location codes; --location=-- is the empty one
  --start TIME!: UTC, as 2015-06-01T12:00
  --end TIME!: UTC
  --provider NAMES = EARTHSCOPE: data centres by obspy's names or by URL; the first that has a station counts
  --box DEGREES+: MINLAT MAXLAT MINLON MAXLON, or --box=-85,-75,160,180
  --circle DEGREES+: LAT LON RADIUS, likewise
  --min-distance KM(0..) = 0: leave out stations nearer than this to another one
  --credentials FILE: logins or tokens, a section a provider: [GFZ] eida_token = /home/me/.eidatoken
  --chunk SECONDS(60..31622400) = 86400: length of a file, counted from midnight
  --output FOLDER = Data/waveforms: folder to write
  | Existing files are not fetched again.
build make [build]: make a data set of spectrograms from waveforms
  words WAVEFORMS: files, folders, patterns and URLs (https, s3) of any format that obspy reads
  --output FILE: file to write, .h5; its catalogue is beside it, .csv
  --picture FILE(.png.pdf.svg): only draw some traces with detector and windows, to choose settings
  --workers N(1..1024) = auto: processes; auto is one per processor, fewer for little work
  --overwrite: replace existing outputs
catalogue make: sort a catalogue of onsets, remove repeated ones, and choose by time and amplitude
  words FILE: tables with a column of times, as build writes them, or QuakeML
  --output FILE(.csv)!: table to write, for build.catalogue
  --start TIME: UTC, as 2015-06-01T12:00 (default: all)
  --end TIME: UTC (default: all)
  --min-amplitude A(0..) = 0: smallest peak amplitude, in the unit of the catalogue
  --max-amplitude A(0..) = inf: largest peak amplitude
  --duplicates SECONDS(0..) = 0: leave out onsets of a trace at most so long after the previous one
  --overwrite: replace existing outputs
associate make [events]: find detections of several stations that are one event, and number the events
  words FILE: data sets with onsets and trace ids, as of build, or cubes
  --overwrite: replace event ids of another source
  | Writes event_id into the file and into the catalogue beside it.
cube make [records]: make a cube of (time, channel, frequency) from DAS records or an array's waveforms
  words RECORDS: records of a fibre, or waveforms of an array: files, folders, patterns; or a cube
  --output FILE!: cube.zarr, cube.h5 or cube.hdf5
  --workers N(1..1024) = auto: processes; auto is one per processor, fewer for little work
  --overwrite: replace existing outputs
info info [data]: describe files of spectrograms
  words FILE: HDF5 files, .npy files or Zarr folders; a pattern is one set (default: data.file)
  --picture FILE(.png.pdf.svg): also draw some samples
subset make [data]: write chosen samples of one or several files of spectrograms as one file
  words FILE: files and patterns (default: data.file), and settings that choose, as data.stations=DR0*
  --output FILE(.h5.hdf5)!: file to write, layout samples
  --overwrite: replace existing outputs
pretrain stage: pretrain the autoencoder on spectrograms, results in <run>/AEC (as AEC_train.py)
cluster stage: fit Gaussian mixtures to the latents, results in <run>/GMM (as GMM_centroids.py)
refine stage: refine encoder and clusters, label every sample, results in <run>/DEC (as DEC_train.py)
run results [run]: run the three stages on a file of spectrograms, and make the report
  words FILE: spectrograms, several files as one set (default: those of the run, or the demo set)
  --name NAME: name of the run (default: run.name, or that of FILE, of several of their folder)
predict results: label new data with a finished run, and measure how they differ from its training set
  words FILE: spectrograms in any layout, several files as one set
  --run FOLDER!: finished run, as Outputs/rutford
  --output CSV(.csv)!: table to write, as newer_labels.csv
  --overwrite: replace existing outputs
  --stage dec|gmm = dec: labels of the DEC stage or of the mixture
  --follow FOLDER: instead of FILE, label all files that are in this folder or arrive, until stopped
  --interval SECONDS(0..86400) = 10: time between two checks of the folder; 0: only one check
  --drift SHARE(0..1) = 0.05: share of outliers above which a warning says to train a new run
  | Beside the table: .latent.npy, .html, .gallery.png; a map of a cube; with --follow .files.csv.
report results [report]: write report.html of a finished run: figures, tables and their interpretation
  words section.key=value: settings that replace those of the run, as report.stations=stations.xml
  --run FOLDER!: finished run, as Outputs/rutford
  --output PAGE(.html): write only the page, to this file (default: report.html in the run folder)
compare compare: compare finished runs: settings that differ, metrics, agreement of labels
  runs RUN: two or more run folders, as Outputs/first
  --output CSV(.csv): also write the table to this file
  --figure PNG(.png.pdf.svg): of two runs on the same data: figure of the overlap of their clusters
export results: write the catalogue of a finished run, its picks, or clusters as templates
  words section.key=value: settings that replace those of the run, as report.seasons=1-6,7-12
  --run FOLDER!: finished run, as Outputs/rutford
  --format csv|quakeml|hdf5|picks|templates!: a row a sample; events with picks; as csv; picks as of
    SeisBench; a folder with stacked waveforms and mean spectra of clusters, for matched filters
  --output FILE!: file, or for templates folder, to write
  --overwrite: replace existing outputs
  --stage dec|gmm: labels of this stage (default: DEC if complete)
  --clusters NUMBERS: only these, as 1,3 (default: all samples)
  --min-probability P(0..1) = 0: only samples whose label has this probability or more
  --align correlation|onset = correlation: waveforms of a template: by onsets, or also by correlation
demo make: write a synthetic data set of eight known classes of seismic spectrograms
  --output FILE(.h5.hdf5): file to write (default: Data/demo.h5, or Data/demo_cube.h5)
  --cube: a cube of a fibre with known sources instead, vehicles, pumps and earthquakes
  --samples N(1..) = 4000: number of samples
  --snr DB(-100..100) = 6: signal-to-noise ratio, dB
  --seed N(1..) = 2009: seed
  --imbalance RATIO(1..) = 1: size of the largest class over that of the smallest
config none: print config.ini with every setting, its default and what is allowed (config > config.ini)
"""  # noqa: E501
_COMMAND = re.compile(r"(\w+) (\w+)(?: \[(\w+)\])?: (.+)")
_ARGUMENT = re.compile(
    r"  (?P<name>-*[\w-]+)(?: (?P<value>[^\s(!:]+)(?:\((?P<kind>\S+)\))?(?P<required>!)?)?"
    r"(?: = (?P<default>\S+))?: (?P<help>.+)"
)


class Command(NamedTuple):
    """A command; with a section, ``--config`` and the settings of that section are allowed."""

    module: str
    section: str | None
    help: str
    lines: list[str]  # of its arguments in `TABLE`


COMMANDS: dict[str, Command] = {}
for _line in TABLE.strip().replace("\n    ", " ").split("\n"):
    if _found := _COMMAND.fullmatch(_line):
        COMMANDS[_found[1]] = Command(*_found.groups()[1:], [])
    else:
        [*COMMANDS.values()][-1].lines.append(_line)


def sentence(name: str) -> str:
    """Help of a command as a sentence."""
    text = COMMANDS[name].help
    return f"{text[0].upper()}{text[1:]}."


def parse(name: str, program: str, words: Sequence[str]) -> argparse.Namespace:
    """Arguments of a command, which takes options and words in any order, checked by their kind."""
    command, checks = COMMANDS[name], []
    parser = argparse.ArgumentParser(prog=program, description=sentence(name))
    if command.section:
        add_config(parser)
        parser.epilog = f"section.key=value words replace settings, as of [{command.section}]."
    for line in command.lines:
        if line.startswith("  | "):
            parser.epilog = f"{line[4:]} {parser.epilog or ''}"
            continue
        about = _ARGUMENT.fullmatch(line).groupdict()
        action = _add(parser, **about)
        if about["kind"]:
            checks.append((action.dest, about))
    found = parser.parse_intermixed_args(words)
    for key, about in checks:
        setattr(found, key, _checked(getattr(found, key), **about))
    return found


def _add(
    parser: argparse.ArgumentParser, name: str, value: str | None, required: str | None,
    default: str | None, help: str, kind: str | None,
) -> argparse.Action:  # fmt: skip
    names = ("-o", name) if name == "--output" else (name,)
    help += f" (default: {default})" if default else ""
    if value is None:
        return parser.add_argument(*names, action="store_true", help=help)
    if not name.startswith("-"):
        return parser.add_argument(name, nargs="*", metavar=value, help=help)
    choices = value.split("|") if "|" in value else None
    metavar, nargs = None if choices else value.rstrip("+"), "+" if value[-1] == "+" else None
    options = {"choices": choices, "metavar": metavar, "nargs": nargs, "default": default}
    return parser.add_argument(*names, required=bool(required), help=help, **options)


def _checked(text: str | None, name: str, value: str, kind: str, default: str | None, **_: Any):
    """Path, number, or 0 for ``auto``; None for an option that was not given."""
    if text is None:
        return None
    if kind.startswith("."):
        suffixes = re.findall(r"\.\w+", kind)
        if Path(text).suffix.lower() not in suffixes:
            raise refused(name, text, f"a name that ends with {' or '.join(suffixes)}")
        return Path(text).expanduser()
    if text == default == "auto":
        return 0
    low, high = kind.split("..")
    try:
        number = (int if value == "N" else float)(text)
    except ValueError:
        number = math.nan
    if not float(low) <= number <= float(high or math.inf):
        raise refused(name, text, f"{low} to {high}" if high else f"{low} or more")
    return number


def refused(option: str, text: str, allowed: str) -> SettingsError:
    """Error for the value of an option."""
    return SettingsError(
        f"command line: {option} {text or '(empty)'} is not allowed; allowed: {allowed}"
    )


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
