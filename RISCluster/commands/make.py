"""Commands that make data sets: ``download``, ``build``, ``cube`` and ``demo``."""

import argparse
import math
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import first_command, package_command, run_name
from ..data.storage import find_files
from ..errors import DataError, SettingsError
from ..runtime import count, log, start_log
from ..settings import Settings, load_found_settings
from .arguments import number_of_workers, option_number, refused, split_words

if TYPE_CHECKING:
    from ..waveforms.download import Request, Summary

N_LISTED = 10  # channels and stations
AREAS = {
    "box": (("MINLAT", 90), ("MAXLAT", 90), ("MINLON", 180), ("MAXLON", 180)),
    "circle": (("LAT", 90), ("LON", 180), ("RADIUS", 180)),
}


def run_download(arguments: argparse.Namespace) -> None:
    """Fetch the files that do not exist yet."""
    codes = {
        name: _codes(name, getattr(arguments, name) or "")  # argparse makes a list of --
        for name in ("network", "station", "location", "channel")
    }
    start, end = _time("start", arguments.start), _time("end", arguments.end)
    if end <= start:
        raise refused("--end", arguments.end, f"a time after --start {arguments.start}")
    if arguments.box and arguments.circle:
        raise SettingsError("command line: --box and --circle are both given; allowed: one of them")
    areas = {name: _area(name, getattr(arguments, name)) for name in AREAS}
    providers = tuple(name.strip() for name in arguments.provider.split(",") if name.strip())
    if not providers:
        raise refused("--provider", arguments.provider, "names that obspy knows, or URLs")
    chunk = option_number(
        "--chunk", arguments.chunk, 60, 366 * 86400, "seconds from 60 to 31622400"
    )
    folder = Path(arguments.output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise refused("--output", arguments.output, "a folder; this is a file")
    start_log()
    from ..waveforms.download import Request, download

    request = Request(**codes, start=start, end=end, providers=providers, chunk=chunk, **areas)
    _report(request, folder, download(request, folder))


def _report(request: "Request", folder: Path, summary: "Summary") -> None:
    """Report new and missing files and the next command."""
    for codes, (lacking, wanted, why) in list(summary.missing.items())[:N_LISTED]:
        log.warning(f"missing: {codes}: {lacking:,} of {count(wanted, 'file')}: {why}")
    if len(summary.missing) > N_LISTED:
        more = count(len(summary.missing) - N_LISTED, "more channel")
        log.warning(f"missing: files of {more}")
    if summary.without_response:
        names = ", ".join(summary.without_response[:N_LISTED])
        log.warning(f"no StationXML for {count(len(summary.without_response), 'station')}: {names}")
    print(
        f"{folder}: {count(summary.new, 'new file')} ({summary.new_bytes / 1e6:.1f} MB), "
        f"{summary.existing:,} existed, "
        f"{summary.wanted - summary.new - summary.existing:,} missing; "
        f"{count(len(summary.stations), 'station')}"
    )
    if summary.failures:
        place, reason = next(iter(summary.failures.items()))
        raise DataError(
            f"{folder}: {request} is incomplete ({place}: {reason}); run the same command again to "
            "fetch the missing files"
        )
    words = [str(folder), "-o", f"{run_name(folder)}.h5"]
    words += [f"build.inventory={folder / 'stations'}"] if (folder / "stations").is_dir() else []
    print(f"next: {package_command('build')} {shlex.join(words)}")


def _codes(name: str, text: str) -> str:
    """Codes as a data centre takes them; the empty location is ``--``."""
    parts = [part.strip() for part in text.split(",")]
    if name == "location":
        parts = [part or "--" for part in parts]
    pattern = r"--|[A-Za-z0-9*?]{1,2}" if name == "location" else r"[A-Za-z0-9*?_-]{1,8}"
    if not all(re.fullmatch(pattern, part) for part in parts):
        raise refused(
            f"--{name}", text, "codes of letters and digits with * and ?, several with commas"
        )
    return ",".join(parts)


def _time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise refused(
            f"--{name}", text, "a UTC time as 2015-06-01 or 2015-06-01T12:00:00"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _area(name: str, words: list[str] | None) -> tuple[float, ...] | None:
    """Numbers of a box or a circle, each within its limits."""
    if not words:
        return None
    text, names = ",".join(words), " ".join(part for part, _ in AREAS[name])
    try:
        values = tuple(float(part) for part in text.split(","))
        pairs = zip(values, AREAS[name], strict=True)
        valid = all(math.isfinite(value) and abs(value) <= limit for value, (_, limit) in pairs)
    except ValueError:
        raise refused(f"--{name}", text, f"{names} in degrees") from None
    if name == "box":
        limits = "latitudes to 90, longitudes to 180, the smaller first"
        valid = valid and values[0] < values[1] and values[2] < values[3]
    else:
        limits = "latitude to 90, the radius above 0"
        valid = valid and values[2] > 0
    if not valid:
        raise refused(f"--{name}", text, f"{names} in degrees: {limits}")
    return values


# ---- build, cube, demo --------------------------------------------------------------------------


def run_build(arguments: argparse.Namespace) -> None:
    """Make a data set from waveforms."""
    from ..waveforms.build import build

    paths, settings = _paths_and_settings(arguments, "waveforms")
    build(
        paths,
        arguments.output,
        settings,
        layout=arguments.layout,
        workers=number_of_workers(arguments.workers),
        overwrite=arguments.overwrite,
        catalogue_only=arguments.catalogue_only,
    )
    if not arguments.catalogue_only:
        log.info(f"next: {first_command(arguments.output, arguments.config)}")


def run_cube(arguments: argparse.Namespace) -> None:
    """Make a cube from records."""
    from ..fibre.make_cube import make_cube, require_cube_name

    words, settings = _paths_and_settings(arguments, "records")
    target = Path(arguments.output).expanduser()
    require_cube_name(target)
    own = {target.with_name(target.name + end).resolve() for end in ("", ".parts", ".partial")}
    paths = [
        path
        for path in find_files(words)
        if own.isdisjoint([path.resolve(), *path.resolve().parents])
    ]
    if not paths:
        raise DataError(
            f"{' '.join(words)}: the cube itself is the only file found; give the records to make "
            "it from"
        )
    make_cube(paths, target, settings, number_of_workers(arguments.workers), arguments.overwrite)
    log.info(f"next: {first_command(target, arguments.config)}")


def _paths_and_settings(arguments: argparse.Namespace, what: str) -> tuple[list[str], Settings]:
    paths, overrides = split_words(arguments.words)
    if not paths:
        raise SettingsError(f"command line: no {what} given; give files, folders or patterns")
    settings = load_found_settings(arguments.config, overrides)
    start_log()
    return paths, settings


def run_demo(arguments: argparse.Namespace) -> None:
    """Write a synthetic data set."""
    from ..data.synthetic import write_demo

    most = sys.float_info.max
    n = option_number("--samples", arguments.samples, 1, most, "1 or more", int)
    snr = option_number("--snr", arguments.snr, -100, 100, "-100 to 100 dB")
    seed = option_number("--seed", arguments.seed, 1, most, "1 or more", int)
    imbalance = option_number("--imbalance", arguments.imbalance, 1, most, "1 or more")
    path = write_demo(arguments.output, n, snr, seed, imbalance)
    print(f"{path}: {n:,} spectrograms of eight classes, {snr:g} dB")
    print(f"next: {first_command(path)}")
