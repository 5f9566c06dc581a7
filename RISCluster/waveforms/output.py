"""Putting a data set together from its parts: the file of spectrograms and its catalogue."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..io import new_file, require_room
from .parts import TIMES, Block, chunk_samples, iso, read_blocks, writing
from .sources import SECOND, duration
from .spectra import Grid

CACHE = 64 * 2**20  # bytes of chunks that are being filled
RIS_CHUNK = 20  # samples
CATALOGUE = (
    "index",
    "trace_id",
    "starttime",
    "onset",
    "end",
    "peak_time",
    "peak_amplitude",
    "unit",
)


@dataclass(frozen=True)
class Part:
    """A station-day that is done.

    Attributes
    ----------
    path : Path
    trace_id : str
    n_samples : int
    """

    path: Path
    trace_id: str
    n_samples: int


@dataclass(frozen=True)
class Content:
    """What a file is made of, apart from its samples.

    Attributes
    ----------
    grid : Grid
    unit : str
        Of the waveforms.
    with_traces : bool
    has_detections : bool
        Windows are about detections, with onset and end.
    attributes : dict
        Of the file.
    """

    grid: Grid
    unit: str
    with_traces: bool
    has_detections: bool
    attributes: dict[str, Any]

    @property
    def power_unit(self) -> str:
        """Unit of the spectrograms."""
        unit = f"({self.unit})" if "/" in self.unit else self.unit
        return f"{unit}^2/Hz"


def catalogue_of(target: Path) -> Path:
    """The catalogue beside a file of spectrograms."""
    return target.with_suffix(".csv")


@dataclass
class Tally:
    """How windows lie to each other and to their detections.

    Attributes
    ----------
    overlapping : int
        Windows that begin before the one before on the same trace ends.
    late : int
        Windows that begin after the onset of their detection.
    longest_rise : float
        Largest time from onset to peak, s.
    """

    overlapping: int = 0
    late: int = 0
    longest_rise: float = 0.0
    _last: tuple[str, int] = ("", 0)

    def add(self, trace_id: str, block: Block, length: int) -> None:
        """Count windows of `length` ns that follow those before in time."""
        start, onset = block.times["start"], block.times["onset"]
        before = np.concatenate(([self._last[1]], start[:-1]))
        overlapping = start < before + length
        overlapping[0] &= self._last[0] == trace_id
        self.overlapping += int(overlapping.sum())
        self.late += int((onset < start).sum())
        rise = int((block.times["peak"] - onset).max()) / SECOND
        self.longest_rise = max(self.longest_rise, rise)
        self._last = trace_id, int(start[-1])


def put_together(
    target: Path, parts: Sequence[Part], content: Content, layout: str | None
) -> Tally:
    """Write the file and its catalogue; each is whole or not there.

    Parameters
    ----------
    target : Path
    parts : sequence of Part
        In the order of the rows.
    content : Content
    layout : {"samples", "ris"} or None
        None for the catalogue alone.

    Raises
    ------
    RunError
        They can't be written.
    """
    n = sum(part.n_samples for part in parts)
    grid, writer, tally = content.grid, None, Tally()
    with ExitStack() as stack:
        table_path = stack.enter_context(new_file(catalogue_of(target)))
        if layout:
            numbers = (grid.n_rows + 1) * (grid.n_columns + 1)
            require_room(target, 4 * n * (numbers + grid.n_samples * content.with_traces))
            path = stack.enter_context(new_file(target))
        stack.enter_context(writing(target))
        table = stack.enter_context(table_path.open("w", newline="", encoding="utf-8"))
        catalogue = csv.writer(table, lineterminator="\n")
        catalogue.writerow(CATALOGUE)
        if layout:
            file = stack.enter_context(h5py.File(path, "w", rdcc_nbytes=CACHE))
            file.attrs.update(content.attributes)
            writer = LAYOUTS[layout](file, n, content)
        for start, trace_id, block in _blocks(parts, content):
            if writer:
                writer.write(slice(start, start + len(block.amplitude)), trace_id, block)
            catalogue.writerows(_rows(start, trace_id, block, content.unit))
            if content.has_detections:
                tally.add(trace_id, block, duration(grid.n_samples, grid.sampling_rate))
    return tally


def _blocks(parts: Sequence[Part], content: Content) -> Iterator[tuple[int, str, Block]]:
    start = 0
    for part in parts:
        if not part.n_samples:
            continue
        for block in read_blocks(part.path, content.with_traces):
            yield start, part.trace_id, block
            start += len(block.amplitude)


def _rows(start: int, trace_id: str, block: Block, unit: str) -> Iterator[tuple]:
    times = [[text.decode() for text in iso(block.times[name])] for name in TIMES]
    for offset, (begin, onset, end, peak) in enumerate(zip(*times, strict=True)):
        amplitude = f"{block.amplitude[offset]:.7g}"
        yield start + offset, trace_id, begin, onset, end, peak, amplitude, unit


class SamplesWriter:
    """Layout `samples`: ``/spectrogram``, its axes, and columns beside it."""

    def __init__(self, file: h5py.File, n: int, content: Content):
        grid = content.grid
        shape = (grid.n_rows, grid.n_columns)
        chunk = min(n, chunk_samples(*shape))
        self._columns = {
            "spectrogram": file.create_dataset(
                "spectrogram", (n, *shape), np.float32, chunks=(chunk, *shape)
            ),
            "trace_id": file.create_dataset("trace_id", (n,), h5py.string_dtype()),
            "peak_amplitude": file.create_dataset("peak_amplitude", (n,), np.float32),
        }
        self._times = {"starttime": "start", "peak_time": "peak"}
        if content.has_detections:
            self._times |= {"onset": "onset", "end": "end"}
        for name in self._times:
            column = self._columns[name] = file.create_dataset(name, (n,), "S27")
            column.attrs["units"] = "UTC, ISO 8601"
        self._columns["peak_amplitude"].attrs["units"] = content.unit
        attributes = self._columns["spectrogram"].attrs
        attributes["units"], attributes["sampling_rate"] = content.power_unit, grid.sampling_rate
        attributes["window_s"] = grid.segment / grid.sampling_rate
        attributes["hop_s"], attributes["nfft"] = grid.hop / grid.sampling_rate, grid.nfft
        file.create_dataset("frequency", data=grid.frequency).attrs["units"] = "Hz"
        file.create_dataset("time", data=grid.time).attrs["units"] = "s"
        if content.with_traces:
            trace = file.create_dataset("trace", (n, grid.n_samples), np.float32)
            trace.attrs["sampling_rate"], trace.attrs["units"] = grid.sampling_rate, content.unit
            self._columns["trace"] = trace

    def write(self, rows: slice, trace_id: str, block: Block) -> None:
        """Write the rows of a block."""
        self._columns["spectrogram"][rows] = block.spectrogram
        self._columns["peak_amplitude"][rows] = block.amplitude
        for name, kind in self._times.items():
            self._columns[name][rows] = iso(block.times[kind])
        self._columns["trace_id"][rows] = trace_id
        if block.trace is not None:
            self._columns["trace"][rows] = block.trace


class RisWriter:
    """Layout `ris`: the axes in the first column and the last row, a catalogue of JSON."""

    def __init__(self, file: h5py.File, n: int, content: Content):
        self._content, grid = content, content.grid
        group = file.create_group(f"{grid.n_samples / grid.sampling_rate:.1f}")
        shape, chunk = (grid.n_rows + 1, grid.n_columns + 1), min(n, RIS_CHUNK)
        spectrogram = group.create_dataset(
            "Spectrogram", (n, *shape), np.float32, chunks=(chunk, *shape)
        )
        spectrogram.attrs["TimeUnits"], spectrogram.attrs["FreqUnits"] = "s", "Hz"
        spectrogram.attrs["AmplUnits"] = content.power_unit
        self._spectrogram = spectrogram
        self._catalogue = group.create_dataset("Catalogue", (n,), h5py.string_dtype())
        self._trace = None
        if content.with_traces:
            self._trace = group.create_dataset(
                "Trace", (n, grid.n_samples), np.float32, chunks=(chunk, grid.n_samples)
            )
            self._trace.attrs["TimeUnits"], self._trace.attrs["AmplUnits"] = "s", content.unit

    def write(self, rows: slice, trace_id: str, block: Block) -> None:
        """Write the rows of a block."""
        grid = self._content.grid
        images = np.zeros((len(block.amplitude), grid.n_rows + 1, grid.n_columns + 1), np.float32)
        images[:, :-1, 1:] = block.spectrogram
        images[:, :-1, 0], images[:, -1, 1:] = grid.frequency, grid.time
        self._spectrogram[rows] = images
        self._catalogue[rows] = [json.dumps(row) for row in self._entries(trace_id, block)]
        if self._trace is not None:
            self._trace[rows] = block.trace

    def _entries(self, trace_id: str, block: Block) -> Iterator[dict[str, Any]]:
        grid = self._content.grid
        network, station, location, channel = trace_id.split(".")
        times = [[text.decode() for text in iso(block.times[name])] for name in TIMES]
        for start, onset, end, peak, amplitude in zip(*times, block.amplitude, strict=True):
            yield {
                "network": network,
                "station": station,
                "location": location,
                "channel": channel,
                "starttime": start,
                **({"dt_on": onset, "dt_off": end} if self._content.has_detections else {}),
                "dt_peak": peak,
                "peak": float(amplitude),
                "unit": self._content.unit,
                "fs": grid.sampling_rate,
                "delta": 1 / grid.sampling_rate,
                "npts": grid.n_samples,
            }


LAYOUTS = {"samples": SamplesWriter, "ris": RisWriter}
