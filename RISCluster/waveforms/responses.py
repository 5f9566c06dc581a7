"""Responses of instruments: read from StationXML or dataless SEED, by epoch, and taken out."""

import glob
import hashlib
import re
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..data.times import nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..settings import BuildSettings
from .joining import Wave
from .sources import COMPRESSED, SECOND, obspy_for_reading, warned_of

OUTPUTS = {"acceleration": "ACC", "velocity": "VEL", "displacement": "DISP"}
UNITS = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m"}
SUFFIXES = (".xml", ".stationxml", ".staxml", ".dataless", ".dless", ".seed", ".resp")
OTHERS = "the others are used"
ALWAYS = 2**63  # ns, beyond all times
SAME_EPOCH = SECOND  # epochs are often written to end a second before the next begins

_MOTION = re.compile(
    r"(?P<prefix>[numc]?)m(?:(?P<acceleration>/s\^?2|/s/s|/s\*s|[.*]?s\^?-2)|"
    r"(?P<velocity>/s|[.*]?s\^?-1))?"
)
_PREFIX = {"": 1.0, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_SPELLINGS = {
    "pa": "Pa", "pascal": "Pa", "pascals": "Pa", "hpa": "hPa", "kpa": "kPa", "mbar": "mbar",
    "rad": "rad", "rad/s": "rad/s", "rad/s^2": "rad/s^2", "v": "V", "volt": "V", "volts": "V",
    "c": "degC", "degc": "degC", "celsius": "degC", "degreescelsius": "degC", "t": "T",
    "tesla": "T", "nt": "nT", "count": "counts", "counts": "counts", "m/m": "m/m",
}  # fmt: skip


# ---- units --------------------------------------------------------------------------------------


def parse_unit(text: str) -> tuple[str, float]:
    """Unit of what an instrument records, in one spelling.

    Parameters
    ----------
    text : str
        As ``M/S**2``, ``nm/sec``, ``PA``.

    Returns
    -------
    str
        ``m``, ``m/s`` or ``m/s^2`` for ground motion, and else the unit in its usual spelling, or
        as it is written.
    float
        What values in the unit that is written are multiplied by.
    """
    written = re.split(r"\s+-\s+", text.strip())[0].strip()
    short = re.sub(r"[\s()_]", "", written.lower().replace(" per ", "/"))
    for pattern, spelling in (
        (r"nano(?=m)", "n"), (r"micro(?=m)|[µμ]", "u"), (r"milli(?=m)", "m"), (r"centi(?=m)", "c"),
        (r"met(er|re)s?", "m"), (r"sec(ond)?s?", "s"), (r"²", "2"), (r"\*\*", "^"),
    ):  # fmt: skip
        short = re.sub(pattern, spelling, short)
    if short == "gal":
        return UNITS["acceleration"], 1e-2
    found = _MOTION.fullmatch(short)
    if found is None:
        return _SPELLINGS.get(short, written), 1.0
    return UNITS[found.lastgroup if found.lastgroup in UNITS else "displacement"], _PREFIX[
        found["prefix"]
    ]


# ---- taking a response out ----------------------------------------------------------------------


@dataclass(frozen=True)
class Remover:
    """Turns counts of one trace into what its instrument records.

    Attributes
    ----------
    response : obspy Response
        With all its stages, a polynomial, or the overall sensitivity alone, by which counts are
        divided then.
    settings : BuildSettings
    unit : str
        Of what comes out.
    scale : float
        By which what obspy gives is multiplied.
    output : str
        What obspy is asked for; ``DEF`` neither differentiates nor integrates.
    """

    response: Any
    settings: BuildSettings
    unit: str
    scale: float
    output: str

    @property
    def is_polynomial(self) -> bool:
        """Whether it takes counts as recorded, with their mean."""
        return _is_polynomial(self.response)

    @property
    def is_flat(self) -> bool:
        """Whether only the sensitivity is known."""
        return not (self.response.response_stages or self.is_polynomial)

    def __call__(self, wave: Wave) -> Wave:
        """What was recorded, of a wave that is detrended and tapered (not for a polynomial)."""
        if self.is_flat:
            factor = self.scale / self.response.instrument_sensitivity.value
            return replace(wave, data=wave.data * factor)
        trace = obspy_for_reading().Trace(wave.data, {"sampling_rate": wave.sampling_rate})
        trace.stats.response = self.response
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were said when the response was tried
            trace.remove_response(
                output=self.output,
                pre_filt=self.settings.pre_filter,
                water_level=self.settings.water_level,
                zero_mean=False,
                taper=False,
                hide_sensitivity_mismatch_warning=True,
            )
        data = trace.data if self.scale == 1 else trace.data * self.scale
        if not np.isfinite(data).all():
            raise ValueError("its response gives values that are not finite")
        return replace(wave, data=data)


def _is_polynomial(response: Any) -> bool:
    stages = response.response_stages
    first = stages[0] if stages else response.instrument_polynomial
    return hasattr(first, "approximation_type")


def remover_of(response: Any, settings: BuildSettings) -> Remover:
    """What takes a response out.

    Ground motion comes out as ``build.output``; of other instruments, what they record.

    Raises
    ------
    ValueError
        It can't be used; the message says why.
    """
    sensitivity = response.instrument_sensitivity
    stages = response.response_stages
    sources = [stages[0]] if stages else []
    sources += [sensitivity, response.instrument_polynomial]
    written = next((item.input_units for item in sources if item and item.input_units), None)
    if not written:
        raise ValueError("its response says no unit of what is recorded")
    unit, scale = parse_unit(written)
    output, is_motion = "DEF", unit in UNITS.values()
    wanted = UNITS[settings.output]
    whole = bool(stages) and not _is_polynomial(response)
    if is_motion and whole:
        response, output, unit = _spelled(response, unit), OUTPUTS[settings.output], wanted
    elif is_motion and unit != wanted:
        raise ValueError(
            f"its response has no stages but only the sensitivity to {unit}, which can't give "
            f"{settings.output}: set build.output, or get level 'response'"
        )
    remover = Remover(response, settings, unit, scale, output)
    if remover.is_flat and not (sensitivity.value and np.isfinite(sensitivity.value)):
        raise ValueError(f"its response has no stages, and a sensitivity of {sensitivity.value}")
    return remover


def _spelled(response: Any, unit: str) -> Any:
    """Response to ground motion in the spelling that evalresp knows."""
    response = deepcopy(response)
    name = unit.upper().replace("^", "**")
    response.response_stages[0].input_units = name
    if response.instrument_sensitivity is not None:
        response.instrument_sensitivity.input_units = name
    return response


def try_out(remover: Remover, frequency: float) -> list[str]:
    """Evaluate a response within the band of interest.

    Returns
    -------
    list of str
        What obspy warns of.

    Raises
    ------
    ValueError
        It has no value there.
    """
    value, said = 1.0, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if remover.is_polynomial:
                remover(Wave(0, 1.0, np.zeros(4)))
            elif not remover.is_flat:
                value = _gain(remover.response, frequency, remover.output)
                said = _contradictions(remover.response)
        except Exception as error:  # obspy and evalresp raise many kinds
            text = " ".join(str(error).split())[:200]
            raise ValueError(f"its response can't be evaluated ({text})") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"its response is {value:g} at {frequency:g} Hz")
    # With DEF a unit that obspy does not know makes no difference.
    return said + [text for text in warned_of(caught) if "is not known to ObsPy" not in text]


def _gain(response: Any, frequency: float, output: str) -> float:
    found = response.get_evalresp_response_for_frequencies(
        [frequency], output=output, hide_sensitivity_mismatch_warning=True
    )
    return float(abs(found[0]))


def _contradictions(response: Any) -> list[str]:
    """A line where stages and sensitivity differ by more than evalresp's 5 percent."""
    sensitivity = response.instrument_sensitivity
    if sensitivity is None or not sensitivity.frequency or not sensitivity.value:
        return []
    value = _gain(response, sensitivity.frequency, "DEF")
    if abs(value - abs(sensitivity.value)) <= 0.05 * abs(sensitivity.value):
        return []
    return [
        f"its stages give {value:.4g} at {sensitivity.frequency:g} Hz, and it has a sensitivity of "
        f"{sensitivity.value:.4g}; the stages are used"
    ]


# ---- epochs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epoch:
    """A time over which a trace has one response.

    Attributes
    ----------
    start, end : int
        ns since 1970-01-01 UTC; the end is no longer of it.
    remover : Remover or None
        None where the response can't be used.
    why_not : str
    """

    start: int
    end: int
    remover: Remover | None
    why_not: str = ""


@dataclass(frozen=True, eq=False)
class Inventory:
    """All responses of a file or a folder.

    Attributes
    ----------
    place : str
    content : obspy Inventory
    lines : list of str
        For the log: files left out, and what obspy warned of.
    """

    place: str
    content: Any
    lines: list[str] = field(default_factory=list)
    _found: dict[Any, Any] = field(default_factory=dict)

    def epochs(self, trace_id: str, settings: BuildSettings) -> tuple[list[Epoch], list[str]]:
        """Times over which a trace has one response each, ascending, apart from each other.

        Where more than one is valid, that which begins last is taken. One that ends within a
        second before the next begins lasts until then.

        Returns
        -------
        list of Epoch
        list of str
            Lines for the log.
        """
        key = trace_id, settings.output
        if key not in self._found:
            lines: list[str] = []
            known = [
                (start, end, *self._usable(trace_id, response, settings, lines))
                for start, end, response in self._responses.get(_plain_id(trace_id), ())
            ]
            found = list(_apart(trace_id, known, lines))
            self._found[key] = found, list(dict.fromkeys(lines))
        return self._found[key]

    def why_none(self, trace_id: str) -> str:
        """Why a trace has no response at a time."""
        known = self._responses.get(_plain_id(trace_id))
        if known:
            ends = [[_date(time) for time in (start, end)] for start, end, _ in known[:3]]
            spans = ", ".join(f"{start} to {end}" for start, end in ends)
            return f"{trace_id}: no response in {self.place} at this time, but from {spans}"
        network, station = trace_id.split(".")[:2]
        if any(site.code == station for net in self.content if net.code == network for site in net):
            return (
                f"{trace_id}: {self.place} has the station, but no response of this channel: get "
                "level 'response'"
            )
        return f"{trace_id}: no response in {self.place}"

    @cached_property
    def _responses(self) -> dict[str, list[tuple[int, int, Any]]]:
        """Begin, end and response by trace id, within the epochs of station and network."""
        found: dict[str, list[tuple[int, int, Any]]] = {}
        for network in self.content:
            for station in network:
                for channel in station:
                    above = network, station, channel
                    starts = [item.start_date.ns for item in above if item.start_date is not None]
                    ends = [item.end_date.ns for item in above if item.end_date is not None]
                    start, end = max(starts, default=-ALWAYS), min(ends, default=ALWAYS)
                    if channel.response is None or start >= end:
                        continue
                    codes = network.code, station.code, channel.location_code or "", channel.code
                    trace_id = _plain_id(".".join(codes))
                    found.setdefault(trace_id, []).append((start, end, channel.response))
        return found

    def _usable(
        self, trace_id: str, response: Any, settings: BuildSettings, lines: list[str]
    ) -> tuple[Remover | None, str]:
        band = settings.bandpass or settings.frequencies
        try:
            remover = remover_of(response, settings)
            said = try_out(remover, (band.low + band.high) / 2 if band else 1.0)
        except ValueError as error:
            return None, f"{trace_id}: {error} ({self.place})"
        lines += [f"{trace_id}: its response in {self.place}: {text}" for text in said]
        return remover, ""


def _plain_id(trace_id: str) -> str:
    """A trace id whose location code is empty where it is written as blanks or dashes."""
    codes = trace_id.split(".")
    return ".".join(code if code.strip(" -") else "" for code in codes)


def _date(time: int) -> str:
    if abs(time) >= ALWAYS:
        return "ever" if time < 0 else "now"
    return nanoseconds_to_iso(np.array([time]))[0][:19] + "Z"


Known = tuple[int, int, Remover | None, str]


def _apart(trace_id: str, known: Sequence[Known], lines: list[str]) -> Iterator[Epoch]:
    """Epochs of responses that may overlap; neighbours with equal responses are one."""
    starts = sorted(start for start, *_ in known)
    known = [
        (start, next((s for s in starts if 0 < s - end <= SAME_EPOCH), end), *rest)
        for start, end, *rest in known
    ]
    borders = sorted({time for start, end, *_ in known for time in (start, end)})
    last = None
    for start, end in zip(borders, borders[1:], strict=False):
        valid = [item for item in known if item[0] <= start and item[1] >= end]
        if not valid:
            continue
        # Of equal begins the first in the file; what can't be used only where nothing else is.
        taken = max(valid, key=lambda item: (item[2] is not None, item[0]))
        if any(item[2] is not None and not _same(item[2], taken[2]) for item in valid):
            lines.append(
                f"{trace_id}: more than one response from {_date(start)} to {_date(end)}; that "
                f"which begins at {_date(taken[0])} is taken"
            )
        here = Epoch(start, end, *taken[2:])
        if last and last.end == start and _same(last.remover, here.remover):
            last = replace(last, end=end)
            continue
        if last:
            yield last
        last = here
    if last:
        yield last


def _same(one: Remover | None, other: Remover | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.unit == other.unit and one.scale == other.scale and one.response == other.response


def cut_at_epochs(wave: Wave, epochs: Sequence[Epoch]) -> list[tuple[Wave, Epoch | None]]:
    """Parts of a wave that have one response each, with None where there is none."""
    borders = {time for epoch in epochs for time in (epoch.start, epoch.end)}
    inside = [border for border in borders if wave.start < border < wave.end]
    samples = [
        int(np.ceil(round((border - wave.start) * wave.sampling_rate / SECOND, 6)))
        for border in inside
    ]
    places = sorted({0, *samples, len(wave.data)})
    parts = []
    for first, stop in zip(places, places[1:], strict=False):
        start = wave.time(first)
        middle = start + (wave.time(stop) - start) // 2
        epoch = next((item for item in epochs if item.start <= middle < item.end), None)
        parts.append((replace(wave, start=start, data=wave.data[first:stop]), epoch))
    return parts


# ---- files --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def read_inventory(place: str, setting: str = "build.inventory") -> Inventory:
    """Read a file of StationXML or dataless SEED, or all in a folder.

    A file of a folder that can't be read costs itself, with a line, unless none is left.

    Parameters
    ----------
    place : str
    setting : str
        That names it, for messages.

    Raises
    ------
    SettingsError
        There is none.
    DataError
        None can be read.
    """
    files = inventory_files(place, setting)
    content, lines, unread = obspy_for_reading().Inventory(networks=[], source=""), [], []
    for path in files:
        try:
            found, said = read_station_file(path)
        except DataError as error:
            unread.append(str(error))
            continue
        content += found
        lines += [f"{path}: {text}" for text in said]
    if len(unread) == len(files):
        raise DataError(f"{setting}: {unread[0]}, or give another file")
    return Inventory(place, content, [*(f"{text}; {OTHERS}" for text in unread), *lines])


def read_station_file(path: Path) -> tuple[Any, list[str]]:
    """Inventory of obspy of one file, and what obspy warned of.

    Raises
    ------
    DataError
        It can't be read.
    """
    obspy = obspy_for_reading()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = obspy.read_inventory(glob.escape(str(path)))
        except Exception as error:  # each of obspy's readers has its own
            text = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path}: can't be read as StationXML ({text}); copy it again, or leave it out"
            ) from None
    return found, warned_of(caught)


def is_station_file(path: Path) -> bool:
    """Whether a name is that of StationXML, dataless SEED or RESP."""
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES) or name.startswith(("resp.", "dataless."))


def inventory_files(place: str, setting: str = "build.inventory") -> list[Path]:
    """Files of an inventory.

    Raises
    ------
    SettingsError
        There is none.
    """
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


def inventory_checksum(place: str | None) -> str | None:
    """Checksum of the content of an inventory, None where there is none."""
    if place is None:
        return None
    digest = hashlib.sha256()
    for path in inventory_files(place):
        digest.update(path.read_bytes())
    return digest.hexdigest()
