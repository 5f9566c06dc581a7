"""Responses of instruments from StationXML or dataless SEED, chosen by the time of the data."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..settings import BuildSettings
from .process import Wave
from .read import SECOND, import_obspy, read_with

UNITS = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m"}
SPELLINGS = {  # that obspy knows, in capitals
    **dict.fromkeys(("M/S**2", "M/(S**2)", "M/SEC**2", "M/(SEC**2)", "M/S/S"), "acceleration"),
    "M/S": "velocity", "M/SEC": "velocity", "M": "displacement",
}  # fmt: skip
STATION_FILES = (".xml", ".stationxml", ".staxml", ".dataless", ".dless", ".seed", ".resp")
COMPRESSED = (".gz", ".bz2", ".zip", ".tar", ".tgz", ".tbz2")
ALWAYS = 2**63  # ns, later than all times


@lru_cache(maxsize=1)
def read_inventory(place: str, setting: str = "build.inventory") -> Any:
    """Obspy's inventory of a file of StationXML or dataless SEED, or of all such in a folder."""
    content = import_obspy().Inventory(networks=[], source="")
    for path in inventory_files(place, setting):
        content += read_station_file(path)
    return content


def read_station_file(path: Path) -> Any:
    """Inventory of one file; DataError where it can't be read."""
    return read_with(import_obspy().read_inventory, path, "StationXML")


def is_station_file(path: Path) -> bool:
    """Whether a file name is one of StationXML, dataless SEED or RESP."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    name = plain.name.lower()
    return name.startswith(("resp.", "dataless.")) or name.endswith(STATION_FILES)


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


def _epochs(inventory: Any, trace_id: str) -> Iterator[tuple[int, int, Any]]:
    """Start, end and response of a trace, within the epochs of station and network."""
    for network in inventory:
        for station in network:
            for channel in station:
                location = channel.location_code.strip("-")  # -- is an empty one
                codes = network.code, station.code, location, channel.code
                if ".".join(codes) == trace_id and channel.response is not None:
                    above = network, station, channel
                    start = max((x.start_date.ns for x in above if x.start_date), default=-ALWAYS)
                    end = min((x.end_date.ns for x in above if x.end_date), default=ALWAYS)
                    yield start, end, channel.response


def with_responses(
    waves: Sequence[Wave], trace_id: str, settings: BuildSettings
) -> list[tuple[Wave, Any, str]]:
    """Parts of waves with a response each, that which begins last, or None; and a note."""
    known, parts = [*_epochs(read_inventory(settings.inventory), trace_id)], []
    for wave in waves:
        rate = wave.sampling_rate / SECOND
        borders = {time for item in known for time in item[:2] if wave.start < time < wave.end}
        samples = [int(np.ceil(round((border - wave.start) * rate, 6))) for border in borders]
        for first, stop in pairwise(sorted({0, *samples, len(wave.data)})):
            part = replace(wave, start=wave.time(first), data=wave.data[first:stop])
            middle = part.time(len(part.data) / 2)
            valid = [item for item in known if item[0] <= middle < item[1]]
            response, note = None, f"left out where {settings.inventory} has no response"
            if valid:
                response, note = usable(max(valid, key=lambda item: item[0])[2], settings)
            parts.append((part, response, note))
    return parts


def usable(response: Any, settings: BuildSettings) -> tuple[Any, str]:
    """A response where it gives ``build.output``, else None; and a note."""
    sensitivity, stages = response.instrument_sensitivity, response.response_stages
    units = (item.input_units for item in (*stages[:1], sensitivity) if item)
    unit = next(filter(None, units), "no unit")
    kind = SPELLINGS.get(unit.upper())
    form = "with stages" if stages else "without stages"
    if stages and hasattr(stages[0], "approximation_type"):
        form = "as a polynomial"
    elif kind and stages:
        return response, ""
    elif kind == settings.output and sensitivity.value and np.isfinite(sensitivity.value):
        return response, "has only a sensitivity: correct where the response is flat"
    return None, (
        f"left out where the response is to {unit}, {form}; allowed: M, M/S, M/S**2 with stages, "
        f"or a sensitivity to {settings.output} (build.output)"
    )
