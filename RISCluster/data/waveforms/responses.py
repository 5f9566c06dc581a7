"""Responses of instruments: files of StationXML, looked up by trace and day, and taken out."""

import glob
import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import DataError, SettingsError
from ...sections import BuildSettings
from .cutting import DAY
from .joining import Wave
from .sources import obspy_for_reading

OUTPUTS = {"acceleration": "ACC", "velocity": "VEL", "displacement": "DISP"}
UNITS = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m"}
INPUT_UNITS = {
    "acceleration": ("M/S**2", "M/S^2", "M/S/S"),
    "velocity": ("M/S",),
    "displacement": ("M",),
}


def unit_of(settings: BuildSettings) -> str:
    """Unit of processed waveforms."""
    return "counts" if settings.inventory is None else UNITS[settings.output]


@dataclass(frozen=True)
class Remover:
    """Turns counts of one trace into ground motion.

    Attributes
    ----------
    response : obspy Response
        With all its stages, or with the overall sensitivity alone; then counts are divided by it.
    settings : BuildSettings
    """

    response: Any
    settings: BuildSettings

    @property
    def is_flat(self) -> bool:
        """Whether only the sensitivity is known."""
        return not self.response.response_stages

    def __call__(self, wave: Wave) -> Wave:
        """Ground motion of a wave that is detrended and tapered."""
        if self.is_flat:
            return replace(wave, data=wave.data / self.response.instrument_sensitivity.value)
        trace = obspy_for_reading().Trace(wave.data, {"sampling_rate": wave.sampling_rate})
        trace.stats.response = self.response
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace.remove_response(
                output=OUTPUTS[self.settings.output],
                pre_filt=self.settings.pre_filter,
                water_level=self.settings.water_level,
                zero_mean=False,
                taper=False,
            )
        return replace(wave, data=trace.data)


@dataclass(frozen=True)
class Inventory:
    """All responses of a file or a folder.

    Attributes
    ----------
    place : str
    content : obspy Inventory
    """

    place: str
    content: Any

    def remover(self, trace_id: str, day: int, settings: BuildSettings) -> Remover:
        """What removes the response that a trace had on a day.

        Where it changed during the day, the earlier one is taken.

        Raises
        ------
        DataError
            There is none, or only a sensitivity to another motion than is asked for.
        """
        response = self._response(trace_id, day)
        if response is None:
            raise DataError(f"{trace_id}: no response in {self.place}")
        if response.response_stages:
            return Remover(response, settings)
        sensitivity = response.instrument_sensitivity
        if sensitivity is None or not sensitivity.value:
            raise DataError(f"{trace_id}: no stages and no sensitivity in {self.place}")
        unit = str(sensitivity.input_units).upper()
        if unit not in INPUT_UNITS[settings.output]:
            raise DataError(
                f"{trace_id}: {self.place} has no stages but only the sensitivity to {unit}, which "
                f"can't give {settings.output}: set build.output, or get level 'response'"
            )
        return Remover(response, settings)

    def _response(self, trace_id: str, day: int) -> Any:
        time = obspy_for_reading().UTCDateTime
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for moment in (day, day + DAY // 2, day + DAY - 1):
                try:
                    return self.content.get_response(trace_id, time(ns=moment))
                except Exception:  # obspy raises no narrower kind
                    continue
        return None


@lru_cache(maxsize=1)
def read_inventory(place: str) -> Inventory:
    """Read a StationXML file, or all in a folder.

    Raises
    ------
    SettingsError
        There is none.
    DataError
        One can't be read.
    """
    obspy = obspy_for_reading()
    content = obspy.Inventory(networks=[], source="")
    for path in inventory_files(place):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                content += obspy.read_inventory(glob.escape(str(path)))
            except Exception as error:  # each of obspy's readers has its own
                text = " ".join(str(error).split())[:200]
                raise DataError(
                    f"{path}: can't be read as StationXML ({text}); build.inventory must name "
                    "responses of the instruments"
                ) from None
    return Inventory(place, content)


def inventory_files(place: str) -> list[Path]:
    """Files of an inventory.

    Raises
    ------
    SettingsError
        There is none.
    """
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    files = sorted(path.rglob("*.xml")) if path.is_dir() else []
    if not files:
        raise SettingsError(
            f"build.inventory = {place}: no such file, and no folder with .xml files; allowed: "
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
