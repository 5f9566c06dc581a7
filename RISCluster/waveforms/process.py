"""Continuous waves: joined from pieces, with their responses; detrended, resampled and filtered."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from ..data.times import NOT_A_TIME, same_rate
from ..errors import DataError, SettingsError
from ..settings import BuildSettings
from .read import SECOND, duration, import_obspy, read_with

DISAGREE, NOT_FINITE = "of overlaps that disagree", "that are not finite or marked as missing"
CONSTANT = "that are constant"
MIN_DRIFT = 0.1  # samples; less is rounding of rates and start times
MIN_RUN = 32  # samples of one value, which noise of a count or more does not give by itself
QUIET = 0.5  # share of samples equal to the one before, above which an instrument is quiet
PASS, STOP = 0.8, 1.0  # edges of the anti-alias filter, as shares of the lower Nyquist frequency
ATTENUATION = 80.0  # dB
MAX_FACTOR = 1000  # of resampling by whole numbers
ORDERS = {"none": -1, "demean": 0, "linear": 1}  # of trends
UNITS = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m"}
OUTPUTS = {"acceleration": "ACC", "velocity": "VEL", "displacement": "DISP"}  # of obspy
SPELLINGS = {  # that obspy knows, in capitals
    **dict.fromkeys(("M/S**2", "M/(S**2)", "M/SEC**2", "M/(SEC**2)", "M/S/S"), "acceleration"),
    "M/S": "velocity", "M/SEC": "velocity", "M": "displacement",
}  # fmt: skip
STATION_FILE = re.compile(  # StationXML, dataless SEED or RESP
    r"(resp|dataless)\..*|.*\.((sta|station)?xml|dataless|dless|seed|resp)"
    r"(\.(gz|bz2|zip|tar|tgz|tbz2))?", re.IGNORECASE
)  # fmt: skip


@dataclass(frozen=True)
class Wave:
    """Continuous samples of one trace."""

    start: int  # ns since 1970-01-01 UTC
    sampling_rate: float  # Hz, by the times of the data
    data: np.ndarray  # (n,)
    edge: int = 0  # tapered samples at each end

    @property
    def end(self) -> int:
        """Time of the sample after the last, ns."""
        return self.time(len(self.data))

    def time(self, sample: int | float) -> int:
        """Time of a sample by its number, ns."""
        return self.start + duration(sample, self.sampling_rate)

    def samples(self, times: np.ndarray) -> np.ndarray:
        """Samples nearest to times in ns, int64; -1 for `NOT_A_TIME`."""
        known = times != NOT_A_TIME
        since = np.where(known, times, self.start) - self.start
        return np.where(known, np.rint(since * self.sampling_rate / SECOND).astype(np.int64), -1)


def samples_of(seconds: float, sampling_rate: float) -> int:
    """Samples that cover a duration."""
    return int(np.ceil(round(seconds * sampling_rate, 6)))


def join(pieces: Sequence[Wave], removed: Counter, constant: float | None) -> list[Wave]:
    """Join pieces of one sampling rate where they touch, to half a sample: float64, ascending.

    Overlaps that disagree, samples that are not finite and constant runs of `constant` seconds are
    gaps; `removed` counts their samples by reason.
    """
    chains: list[list[tuple[int, Wave]]] = []  # pieces that touch, each with its first sample
    end, end_time = 0, 0
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.end)):
        first = end + round((piece.start - end_time) * piece.sampling_rate / SECOND)
        if not chains or first > end:
            chains.append([])
            first, end = 0, 0
        chains[-1].append((first, piece))
        if first + len(piece.data) > end:  # else it lies within the pieces before
            end, end_time = first + len(piece.data), piece.end
    return [wave for chain in chains for wave in _without_gaps(chain, removed, constant)]


def _without_gaps(
    chain: Sequence[tuple[int, Wave]], removed: Counter, constant: float | None
) -> list[Wave]:
    start, rate = chain[0][1].start, chain[0][1].sampling_rate
    n = max(first + len(piece.data) for first, piece in chain)
    data, good, end = np.full(n, np.nan), np.ones(n, bool), 0
    for first, piece in chain:
        span = slice(first, first + len(piece.data))
        known, common = np.isfinite(piece.data), np.isfinite(piece.data) & np.isfinite(data[span])
        if (common & (data[span] != piece.data)).any():
            good[span] &= ~common
        np.copyto(data[span], piece.data, where=known & ~common)
        end = piece.end if span.stop == n else end
    removed[DISAGREE] += int((~good).sum())
    removed[NOT_FINITE] += int((~np.isfinite(data)).sum())
    good &= np.isfinite(data)
    for first, last in [] if constant is None else _constant_runs(data, constant * rate):
        removed[CONSTANT] += int(last - first)
        good[first:last] = False
    mean_rate = n * SECOND / (end - start)
    whole = Wave(start, mean_rate if abs(mean_rate / rate - 1) * n >= MIN_DRIFT else rate, data)
    return [
        replace(whole, start=whole.time(first), data=data[first:last])
        for first, last in _runs(good).tolist()
    ]


def _runs(there: np.ndarray) -> np.ndarray:
    """First sample, and that after the last, of runs of True in (n,): (k, 2)."""
    padded = np.concatenate(([False], there, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def _constant_runs(data: np.ndarray, shortest: float) -> np.ndarray:
    """Runs with which gaps have been filled: of `shortest` and 32 samples of one value.

    A step to one is more than twice the smallest of the data, and most of the other samples change.
    """
    same = data[1:] == data[:-1]
    runs = _runs(same) + [0, 1]
    runs = runs[runs[:, 1] - runs[:, 0] >= max(MIN_RUN, np.ceil(shortest))]
    others = np.isfinite(data[1:])  # pairs of samples that are not of a run, nor of its borders
    for first, last in runs:
        others[max(0, first - 1) : last] = False
    if not len(runs) or not others.any() or same[others].mean() > QUIET:
        return runs[:0]
    steps = np.abs(np.diff(data))
    smallest = np.nanmin(steps, where=steps > 0, initial=np.inf)
    beside = np.pad(steps, 1)[runs]  # step to the first sample, and from the last one
    return runs[~(np.fmax(*beside.T) <= 2 * smallest)]


@lru_cache(maxsize=1)
def read_inventory(place: str, setting: str = "build.inventory") -> Any:
    """Obspy's inventory of a file of StationXML or dataless SEED, or of all such in a folder."""
    content = import_obspy().Inventory(networks=[], source="")
    for path in inventory_files(place, setting):
        content += read_with(import_obspy().read_inventory, path, "StationXML")
    return content


def is_station_file(path: Path) -> bool:
    """Whether a file name is one of StationXML, dataless SEED or RESP."""
    return bool(STATION_FILE.fullmatch(path.name))


def inventory_files(place: str, setting: str = "build.inventory") -> list[Path]:
    """A file of a setting, or the files of StationXML in a folder; SettingsError without one."""
    path = Path(place).expanduser()
    if path.is_file():
        return [path]
    files = sorted(filter(is_station_file, path.rglob("*"))) if path.is_dir() else []
    if not files:
        folder = "" if setting == "build.catalogue" else ", and no folder with StationXML"
        raise SettingsError(f"{setting} = {place}: no such file{folder}; give another")
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
                    start = max((x.start_date.ns for x in above if x.start_date), default=-(2**63))
                    end = min((x.end_date.ns for x in above if x.end_date), default=2**63)
                    yield start, end, channel.response


def with_responses(waves: list[Wave], trace_id: str, settings: BuildSettings) -> Iterator[tuple]:
    """Parts of waves with a response each, that which begins last, or None; and a note."""
    if settings.inventory is None:
        yield from ((wave, None, "") for wave in waves)
        return
    known = [*_epochs(read_inventory(settings.inventory), trace_id)]
    for wave in waves:
        rate = wave.sampling_rate / SECOND
        borders = {time for item in known for time in item[:2] if wave.start < time < wave.end}
        samples = [int(np.ceil(round((border - wave.start) * rate, 6))) for border in borders]
        for first, stop in pairwise(sorted({0, *samples, len(wave.data)})):
            part = replace(wave, start=wave.time(first), data=wave.data[first:stop])
            middle = part.time(len(part.data) / 2)
            valid = [item for item in known if item[0] <= middle < item[1]]
            found = None, f"left out where {settings.inventory} has no response"
            if valid:
                found = usable(max(valid, key=lambda item: item[0])[2], settings)
            yield part, *found


def usable(response: Any, settings: BuildSettings) -> tuple[Any, str]:
    """A response where it gives ``build.output``, else None; and a note."""
    sensitivity, stages = response.instrument_sensitivity, response.response_stages
    units = (item.input_units for item in (*stages[:1], sensitivity) if item)
    unit = next(filter(None, units), "no unit")
    kind = SPELLINGS.get(unit.upper())
    if kind and stages and not hasattr(stages[0], "approximation_type"):
        return response, ""
    if kind == settings.output and not stages and np.isfinite(sensitivity.value or np.nan):
        return response, "has only a sensitivity: correct where the response is flat"
    return None, (
        f"left out where the response is to {unit}; allowed: M, M/S, M/S**2 with stages that are "
        f"no polynomials, or a sensitivity to {settings.output} (build.output)"
    )


def process(wave: Wave, settings: BuildSettings, response: Any = None) -> Wave:
    """Detrend, taper, convert counts to ``build.output``, resample and filter a wave, in place."""
    detrend(wave.data, settings.detrend)
    taper(wave.data, samples_of(settings.taper, wave.sampling_rate))
    if response and not response.response_stages:
        wave = replace(wave, data=wave.data / response.instrument_sensitivity.value)
    elif response:
        trace = import_obspy().Trace(wave.data, {"sampling_rate": wave.sampling_rate})
        trace.stats.response = response
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace.remove_response(
                output=OUTPUTS[settings.output], pre_filt=settings.pre_filter,
                water_level=settings.water_level, zero_mean=False, taper=False,
                hide_sensitivity_mismatch_warning=True,
            )  # fmt: skip
        if not np.isfinite(trace.data).all():
            raise ValueError("its response gives values that are not finite")
        wave = replace(wave, data=trace.data)
    if settings.sampling_rate != "auto":
        wave = resample(wave, settings.sampling_rate)
    data, rate = wave.data, wave.sampling_rate
    if settings.bandpass is not None:  # forward and backward
        filters = import_obspy("obspy.signal.filter")
        (low, high), options = settings.bandpass, {"corners": settings.filter_order}
        if low:
            data = filters.bandpass(data, low, high, rate, zerophase=True, **options)
        else:
            data = filters.lowpass(data, high, rate, zerophase=True, **options)
    return replace(wave, data=data, edge=samples_of(settings.taper, rate))


def detrend(data: np.ndarray, kind: str | int) -> None:
    """Subtract the polynomial of least squares of an order, or one of `ORDERS`, in place."""
    position = np.arange(len(data)) - (len(data) - 1) / 2
    before, now, size_before, size = 0.0, 1.0, 1.0, len(data)
    for order in range(min(ORDERS.get(kind, kind) + 1, len(data))):
        if order:  # the polynomial of this order is orthogonal to those before
            before, now, size_before = now, position * now - size / size_before * before, size
            size = now @ now
        data -= now * ((now @ data) / size if order else data.mean())


def taper(data: np.ndarray, n: int) -> None:
    """Taper the first and last n samples to zero with half a cosine, in place."""
    n = min(n, len(data) // 2)
    if n:
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        data[:n] *= ramp
        data[-n:] *= ramp[::-1]


def resample(wave: Wave, sampling_rate: float) -> Wave:
    """Resample a wave by a ratio of whole numbers; DataError where there is none.

    The filter has no delay, is flat to 0.8 of the lower Nyquist frequency, and 80 dB down above it.
    """
    ratio = Fraction(sampling_rate / wave.sampling_rate).limit_denominator(MAX_FACTOR)
    rate, up, down = float(ratio) * wave.sampling_rate, ratio.numerator, ratio.denominator
    if up > MAX_FACTOR or not same_rate(rate, sampling_rate):
        raise DataError(
            f"build.sampling_rate = {sampling_rate:g} can't be had from {wave.sampling_rate:g} Hz; "
            f"allowed: ratios of whole numbers up to {MAX_FACTOR}, or auto"
        )
    if ratio == 1:
        return wave
    n, beta = signal.kaiserord(ATTENUATION, (STOP - PASS) / max(up, down))
    window = signal.firwin(n | 1, (STOP + PASS) / 2 / max(up, down), window=("kaiser", beta))
    data = signal.resample_poly(wave.data, up, down, window=window)
    return replace(wave, data=data, sampling_rate=rate)
