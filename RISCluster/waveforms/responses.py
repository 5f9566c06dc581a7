"""Responses of instruments: read from StationXML or dataless SEED, by epoch, and removed."""

import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, SettingsError
from ..settings import BuildSettings
from .process import Wave
from .read import SECOND, import_obspy, read_with

OUTPUTS = {"acceleration": "ACC", "velocity": "VEL", "displacement": "DISP"}
UNITS = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m"}
SUFFIXES = (".xml", ".stationxml", ".staxml", ".dataless", ".dless", ".seed", ".resp")
COMPRESSED = (".gz", ".bz2", ".zip", ".tar", ".tgz", ".tbz2")
OTHERS = "the others are used"
ALWAYS = 2**63  # ns, later than all times
MAX_EPOCH_GAP = SECOND  # often an epoch ends a second before the next begins

_WORDS = {  # in lower case, without blanks and brackets
    r"nano(?=m)": "n", r"micro(?=m)|[µμ]": "u", r"milli(?=m)": "m", r"centi(?=m)": "c",
    r"met(er|re)s?": "m", r"sec(ond)?s?": "s", r"²": "2", r"\*\*": "^", r"^gal$": "cm/s^2",
}  # fmt: skip
_MOTION = re.compile(
    r"(?P<prefix>[cmun]?)m((?P<velocity>/s|[*.]?s\^?-1)"
    r"|(?P<acceleration>/s(\^?2|[/*]s)|[*.]?s\^?-2))?"
)
_PREFIXES = {"": 1.0, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_OTHER_UNITS = (
    "Pa", "hPa", "kPa", "mbar", "rad", "rad/s", "rad/s^2", "V", "T", "nT", "counts", "m/m", "degC",
)  # fmt: skip
_ALIASES = {
    "pascal": "Pa", "pascals": "Pa", "volt": "V", "volts": "V", "tesla": "T", "count": "counts",
    "c": "degC", "celsius": "degC", "degreescelsius": "degC",
} | {unit.lower(): unit for unit in _OTHER_UNITS}  # fmt: skip


def parse_unit(text: str) -> tuple[str, float]:
    """Parse a unit such as ``M/S**2``, ``nm/sec`` or ``PA``; and its factor to the result.

    The result is ``m``, ``m/s`` or ``m/s^2`` for ground motion, otherwise the unit in its usual
    spelling, or the text itself.
    """
    written = re.split(r"\s+-\s+", text.strip())[0].strip()
    short = re.sub(r"[\s()_]", "", written.lower().replace(" per ", "/"))
    for word, symbol in _WORDS.items():
        short = re.sub(word, symbol, short)
    if motion := _MOTION.fullmatch(short):
        kind = next((x for x in ("velocity", "acceleration") if motion[x]), "displacement")
        return UNITS[kind], _PREFIXES[motion["prefix"]]
    return _ALIASES.get(short, written), 1.0


class Epoch(NamedTuple):
    """Time span with one response, which converts counts to what the instrument records.

    `response` is None where it can't be used, for a `reason`.
    """

    start: int  # ns since 1970-01-01 UTC
    end: int  # exclusive
    response: Any = None  # of all stages, a polynomial, or the overall sensitivity alone
    unit: str = ""  # of the result
    scale: float = 1.0  # factor of obspy's result
    output: str = "DEF"  # of obspy; DEF neither differentiates nor integrates
    reason: str = ""

    @property
    def is_polynomial(self) -> bool:
        """Whether it needs counts with their mean."""
        stages = self.response.response_stages or [self.response.instrument_polynomial]
        return hasattr(stages[0], "approximation_type")

    @property
    def is_flat(self) -> bool:
        """Whether only the sensitivity is known, by which counts are divided."""
        return not (self.response.response_stages or self.is_polynomial)

    def remove(self, wave: Wave, settings: BuildSettings) -> Wave:
        """Remove the response of a wave, detrended and tapered except for a polynomial."""
        if self.is_flat:
            factor = self.scale / self.response.instrument_sensitivity.value
            return replace(wave, data=wave.data * factor)
        trace = import_obspy().Trace(wave.data, {"sampling_rate": wave.sampling_rate})
        trace.stats.response = self.response
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace.remove_response(
                output=self.output, pre_filt=settings.pre_filter,
                water_level=settings.water_level, zero_mean=False, taper=False,
                hide_sensitivity_mismatch_warning=True,
            )  # fmt: skip
        data = trace.data if self.scale == 1 else trace.data * self.scale
        if not np.isfinite(data).all():
            raise ValueError("its response gives values that are not finite")
        return replace(wave, data=data)


def usable(response: Any, settings: BuildSettings) -> dict[str, Any]:
    """Fields of the `Epoch` of a response: to ``build.output``, or what is no ground motion."""
    sensitivity, stages = response.instrument_sensitivity, response.response_stages
    sources = [*stages[:1], sensitivity, response.instrument_polynomial]
    first = next((item for item in sources if item and item.input_units), None)
    if first is None:
        return {"reason": "its response has no unit of what is recorded"}
    unit, scale = parse_unit(first.input_units)
    wanted, is_motion = UNITS[settings.output], unit in UNITS.values()
    is_polynomial = Epoch(0, 0, response).is_polynomial
    if is_motion and stages and not is_polynomial:
        response = deepcopy(response)  # with the unit in evalresp's spelling
        for item in filter(None, (response.response_stages[0], response.instrument_sensitivity)):
            item.input_units = unit.upper().replace("^", "**")
        output = OUTPUTS[settings.output]
        return {"response": response, "unit": wanted, "scale": scale, "output": output}
    if is_motion and unit != wanted:
        reason = f"its response has no stages but only the sensitivity to {unit}, which can't give "
        return {"reason": f"{reason}{settings.output}: set build.output, or get level 'response'"}
    value = sensitivity.value if sensitivity else 0
    if not (stages or is_polynomial) and not (value and np.isfinite(value)):
        return {"reason": f"its response has no stages, and a sensitivity of {value}"}
    return {"response": response, "unit": unit, "scale": scale}


class Inventory(NamedTuple):
    """Responses of a file or a folder."""

    place: str
    content: Any  # obspy's Inventory
    lines: list[str]  # warnings, also for files that are left out
    responses: dict[str, list[tuple[int, int, Any]]]  # start, end and response by trace id

    def epochs(self, trace_id: str, settings: BuildSettings) -> list[Epoch]:
        """Epochs of a trace, ascending, without overlap.

        Where more than one is valid, that which begins last is used. One that ends within a second
        before the next begins lasts until then. Equal neighbours are one.
        """
        known = self.responses.get(_plain_id(trace_id), [])
        starts, items = sorted(start for start, _, _ in known), []
        for start, end, response in known:
            end = next((later for later in starts if 0 < later - end <= MAX_EPOCH_GAP), end)
            items.append(Epoch(start, end, **usable(response, settings)))
        borders, found = sorted({time for item in items for time in item[:2]}), []
        for start, end in zip(borders, borders[1:], strict=False):
            valid = [item for item in items if item.start <= start and item.end >= end]
            if not valid:
                continue
            # Of equal starts the first in the file; an unusable one only where there is no other.
            epoch = max(valid, key=lambda item: (item.response is not None, item.start))
            if found and found[-1].end == start and found[-1][2:] == epoch[2:]:
                found[-1] = found[-1]._replace(end=end)
            else:
                found.append(epoch._replace(start=start, end=end))
        return found

    def why_none(self, epoch: Epoch | None, unit: str) -> str:
        """Why data of an epoch can't be converted to a unit."""
        if epoch is None:
            return f"no response in {self.place}"
        if epoch.reason:
            return f"{epoch.reason} ({self.place})"
        return f"its response is to {epoch.unit}, and the data set is in {unit}"


def _plain_id(trace_id: str) -> str:
    """Trace id with an empty code in place of blanks or dashes."""
    return ".".join(code if code.strip(" -") else "" for code in trace_id.split("."))


def _responses(content: Any) -> dict[str, list[tuple[int, int, Any]]]:
    """Start, end and response by trace id, within the epochs of station and network."""
    found = defaultdict(list)
    for network in content:
        for station in network:
            for channel in station:
                above = network, station, channel
                start = max((x.start_date.ns for x in above if x.start_date), default=-ALWAYS)
                end = min((x.end_date.ns for x in above if x.end_date), default=ALWAYS)
                codes = network.code, station.code, channel.location_code or "", channel.code
                if channel.response is not None and start < end:
                    found[_plain_id(".".join(codes))].append((start, end, channel.response))
    return found


def cut_at_epochs(wave: Wave, epochs: Sequence[Epoch]) -> list[tuple[Wave, Epoch | None]]:
    """Split a wave into parts with one response each; None where there is none."""
    borders = {time for epoch in epochs for time in epoch[:2] if wave.start < time < wave.end}
    rate = wave.sampling_rate / SECOND
    samples = [int(np.ceil(round((border - wave.start) * rate, 6))) for border in borders]
    edges, parts = sorted({0, *samples, len(wave.data)}), []
    for first, stop in zip(edges, edges[1:], strict=False):
        start = wave.time(first)
        middle = start + (wave.time(stop) - start) // 2
        epoch = next((item for item in epochs if item.start <= middle < item.end), None)
        parts.append((replace(wave, start=start, data=wave.data[first:stop]), epoch))
    return parts


@lru_cache(maxsize=1)
def read_inventory(place: str, setting: str = "build.inventory") -> Inventory:
    """Read a file of StationXML or dataless SEED, or all files of a folder that can be read.

    SettingsError where there is no file, DataError where none can be read, with the `setting`.
    """
    files = inventory_files(place, setting)
    content, lines, unread = import_obspy().Inventory(networks=[], source=""), [], []
    for path in files:
        try:
            found, warned = read_station_file(path)
        except DataError as error:
            unread.append(str(error))
            continue
        content += found
        lines += [f"{path}: {text}" for text in warned]
    if len(unread) == len(files):
        raise DataError(f"{setting}: {unread[0]}, or give another file")
    lines = [*(f"{text}; {OTHERS}" for text in unread), *lines]
    return Inventory(place, content, lines, _responses(content))


def read_station_file(path: Path) -> tuple[Any, list[str]]:
    """Inventory of one file, and obspy's warnings; DataError where it can't be read."""
    return read_with(import_obspy().read_inventory, path, "StationXML")


def is_station_file(path: Path) -> bool:
    """Whether a file name is one of StationXML, dataless SEED or RESP."""
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES) or name.startswith(("resp.", "dataless."))


def inventory_files(place: str, setting: str = "build.inventory") -> list[Path]:
    """Files of an inventory; SettingsError where there is none."""
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    files = sorted(filter(is_station_file, path.rglob("*"))) if path.is_dir() else []
    if not files:
        raise SettingsError(
            f"{setting} = {place}: no such file, and no folder with .xml files; allowed: "
            "a StationXML file, a folder of them, or none"
        )
    return files
