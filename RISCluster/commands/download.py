"""``python -m RISCluster download``: waveforms and responses from data centres."""

import argparse
import math
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import package_command, run_name
from ..errors import DataError, SettingsError

if TYPE_CHECKING:
    from ..waveforms.download import Request, Summary

HELP = "fetch waveforms and StationXML from FDSN data centres"
LISTED = 10  # lines on what is missing
AREAS = {
    "box": (("MINLAT", 90), ("MAXLAT", 90), ("MINLON", 180), ("MAXLON", 180)),
    "circle": (("LAT", 90), ("LON", 180), ("RADIUS", 180)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    for name, example in (("network", "XH"), ("station", "DR*,RS08"), ("channel", "HHZ")):
        parser.add_argument(
            f"--{name}",
            required=True,
            metavar="CODES",
            help=f"{name} codes with * and ?, several with commas, as {example}",
        )
    parser.add_argument(
        "--location",
        default="*",
        metavar="CODES",
        help="location codes; --location=-- is the empty one (default: *)",
    )
    parser.add_argument("--start", required=True, metavar="TIME", help="UTC, as 2015-06-01T12:00")
    parser.add_argument("--end", required=True, metavar="TIME", help="UTC")
    parser.add_argument(
        "--provider",
        default="EARTHSCOPE",
        metavar="NAMES",
        help="data centres by obspy's names or by URL, several with commas: a station is taken "
        "from the first that lists it (default: EARTHSCOPE, which was IRIS)",
    )
    parser.add_argument(
        "--box",
        nargs="+",
        metavar="DEGREES",
        help="MINLAT MAXLAT MINLON MAXLON; with commas as --box=-85,-75,160,180",
    )
    parser.add_argument("--circle", nargs="+", metavar="DEGREES", help="LAT LON RADIUS, likewise")
    parser.add_argument(
        "--chunk",
        default="86400",
        metavar="SECONDS",
        help="seconds of a file, counted from midnight (default: 86400, a day)",
    )
    parser.add_argument("-o", "--output", default="Data/waveforms", metavar="FOLDER")
    parser.epilog = (
        "Run it again to go on after an interruption, or with a later --end: what is there is not "
        "fetched again."
    )


def run(arguments: argparse.Namespace) -> None:
    """Fetch what is not there yet.

    Raises
    ------
    SettingsError
        An argument is not allowed.
    DataError
        A data centre can't be reached or has nothing, or a part of its answers failed.
    """
    from ..runtime import start_log

    codes = {
        name: _codes(name, getattr(arguments, name) or "")  # argparse makes a list of --
        for name in ("network", "station", "location", "channel")
    }
    start, end = _time("start", arguments.start), _time("end", arguments.end)
    if end <= start:
        raise _refused("end", arguments.end, f"a time after --start {arguments.start}")
    if arguments.box and arguments.circle:
        raise SettingsError("command line: --box and --circle are both given; allowed: one of them")
    areas = {name: _area(name, getattr(arguments, name)) for name in AREAS}
    providers = tuple(name.strip() for name in arguments.provider.split(",") if name.strip())
    if not providers:
        raise _refused("provider", arguments.provider, "names that obspy knows, or URLs")
    chunk = _seconds(arguments.chunk)
    folder = Path(arguments.output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise _refused("output", arguments.output, "a folder; this is a file")
    start_log()
    from ..waveforms.download import Request, download

    request = Request(**codes, start=start, end=end, providers=providers, chunk=chunk, **areas)
    _report(request, folder, download(request, folder))


def _report(request: "Request", folder: Path, summary: "Summary") -> None:
    """What came, what is missing, and how to go on."""
    from ..runtime import count, log

    for codes, (lacking, wanted, why) in list(summary.missing.items())[:LISTED]:
        log.warning(f"missing: {codes}: {lacking:,} of {count(wanted, 'file')}: {why}")
    if len(summary.missing) > LISTED:
        more = count(len(summary.missing) - LISTED, "more channel")
        log.warning(f"missing: files of {more}")
    if summary.without_response:
        names = ", ".join(summary.without_response[:LISTED])
        log.warning(f"no StationXML for {count(len(summary.without_response), 'station')}: {names}")
    print(
        f"{folder}: {count(summary.new, 'new file')} ({summary.new_bytes / 1e6:.1f} MB), "
        f"{summary.existing:,} were there, "
        f"{summary.wanted - summary.new - summary.existing:,} missing; "
        f"{count(len(summary.stations), 'station')}"
    )
    if summary.failures:
        place, reason = next(iter(summary.failures.items()))
        raise DataError(
            f"{folder}: not all of {request} came ({place}: {reason}); run the same command again "
            "to fetch what is missing"
        )
    words = [str(folder), "-o", f"{run_name(folder)}.h5"]
    words += [f"build.inventory={folder / 'stations'}"] if (folder / "stations").is_dir() else []
    print(f"next: {package_command('build')} {shlex.join(words)}")


def _refused(name: str, text: str, allowed: str) -> SettingsError:
    return SettingsError(
        f"command line: --{name} {text or '(empty)'} is not allowed; allowed: {allowed}"
    )


def _codes(name: str, text: str) -> str:
    """Codes as a data centre takes them; the empty location is ``--``."""
    parts = [part.strip() for part in text.split(",")]
    if name == "location":
        parts = [part or "--" for part in parts]
    pattern = r"--|[A-Za-z0-9*?]{1,2}" if name == "location" else r"[A-Za-z0-9*?_-]{1,8}"
    if not all(re.fullmatch(pattern, part) for part in parts):
        raise _refused(name, text, "codes of letters and digits with * and ?, several with commas")
    return ",".join(parts)


def _time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _refused(name, text, "a UTC time as 2015-06-01 or 2015-06-01T12:00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 60 <= value <= 366 * 86400:
        raise _refused("chunk", text, "seconds from 60 to 31622400")
    return value


def _area(name: str, words: list[str] | None) -> tuple[float, ...] | None:
    """Numbers of a box or a circle, each within its limits."""
    if not words:
        return None
    text = ",".join(words)
    names = " ".join(part for part, _ in AREAS[name])
    try:
        values = tuple(float(part) for part in text.split(","))
        within = [
            math.isfinite(value) and abs(value) <= limit
            for value, (_, limit) in zip(values, AREAS[name], strict=True)
        ]
    except ValueError:
        raise _refused(name, text, f"{names} in degrees") from None
    ascending = name == "circle" or (values[0] < values[1] and values[2] < values[3])
    if not all(within) or not ascending or (name == "circle" and values[2] <= 0):
        raise _refused(
            name, text, f"{names} in degrees: latitudes to 90, longitudes to 180, the least first"
            if name == "box" else f"{names} in degrees: latitude to 90, the radius above 0",
        )  # fmt: skip
    return values
