"""The files that `build` writes: the data set in one of its layouts, and the catalogue."""

import contextlib
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from ..data.measures import BANDS, MEASURES, band_edges
from ..data.times import nanoseconds_to_iso
from ..io import new_file, require_room
from ..settings import BuildSettings
from .windows import Grid

TIMES = ("starttime", "onset", "end", "peak_time")  # of a window, ns since 1970-01-01 UTC
CODES = ("network", "station", "location", "channel")
BLOCK_BYTES = 16 * 2**20  # of records in memory, and of an HDF5 chunk
MAX_CHUNK = 64  # samples
CACHE = 64 * 2**20  # bytes of HDF5 chunks
MAX_TRACES = 2 * 10**9  # bytes of waveforms that are stored by `build.traces` = auto


class Product(NamedTuple):
    """What all samples of a data set have in common."""

    settings: BuildSettings
    grid: Grid
    unit: str
    with_spectrograms: bool
    with_events: bool = False  # numbers of a catalogue

    @property
    def components(self) -> tuple[int, ...]:
        """Number of components, (C,); empty for a single one."""
        return () if self.settings.components is None else (len(self.settings.components),)

    @property
    def record(self) -> np.dtype:
        """Type of a sample in a part."""
        fields = [*((name, np.int64) for name in TIMES)]
        fields += [(name, np.float32) for name in ("peak_amplitude", *MEASURES)]
        fields += [("event_id", np.int64)] * self.with_events
        if self.with_spectrograms:
            shape = *self.components, self.grid.n_rows, self.grid.n_columns
            fields.append(("spectrogram", np.float32, shape))
        if self.settings.traces is not False and self.with_spectrograms:
            fields.append(("trace", np.float32, (*self.components, self.grid.n_samples)))
        return np.dtype(fields)

    @property
    def block(self) -> int:
        """Number of samples that are handled at once."""
        n_values = self.grid.n_rows * self.grid.n_columns + self.grid.n_samples
        n_values *= math.prod(self.components)
        return max(1, BLOCK_BYTES // max(self.record.itemsize, 4 * n_values))

    def trace_bytes(self, n: int) -> tuple[int, bool]:
        """Size of the waveforms of n samples, and whether they are stored."""
        size = 4 * n * self.grid.n_samples * math.prod(self.components)
        wanted = self.settings.traces
        return size, size <= MAX_TRACES if wanted == "auto" else wanted


def write(
    target: Path, pieces: Sequence[tuple[str, int, Path, int, int]], product: Product,
    attributes: dict[str, Any], layout: str | None,
) -> None:  # fmt: skip
    """Write a data set and its catalogue, each complete or not at all.

    `pieces` are trace id, day, file of records, first record and number of records. Without a
    `layout` the catalogue alone is written.
    """
    n, first, size = sum(piece[-1] for piece in pieces), 0, product.record.itemsize
    blocks = [
        (trace_id, path, at, min(product.block, start + own - at))
        for trace_id, _, path, start, own in pieces
        for at in range(start, start + own, product.block)
    ]
    with contextlib.ExitStack() as stack:
        table_path = stack.enter_context(new_file(target.with_suffix(".csv")))
        if layout:
            require_room(target, n * size)
            partial = stack.enter_context(new_file(target))
            file = stack.enter_context(h5py.File(partial, "w", rdcc_nbytes=CACHE))
            file.attrs.update(attributes)
        for trace_id, path, at, n_rows in blocks:
            block = np.fromfile(path, product.record, n_rows, offset=at * size)
            rows = slice(first, first + len(block))
            table = pd.DataFrame({
                "index": range(first, rows.stop), "trace_id": trace_id,
                **{name: nanoseconds_to_iso(block[name]) for name in TIMES},
                "peak_amplitude": [f"{value:.7g}" for value in block["peak_amplitude"]],
                "unit": product.unit,
                **{name: [f"{value:.6g}" for value in block[name]] for name in MEASURES},
            })  # fmt: skip
            if product.with_events:
                table["event_id"] = block["event_id"]
            table.to_csv(table_path, mode="a", header=not first, index=False, lineterminator="\n")
            columns = LAYOUTS[layout](product, block, table) if layout else {}
            if not product.trace_bytes(n)[1]:
                columns = {x: columns[x] for x in columns if not x.lower().endswith("trace")}
            for name, values in columns.items():
                if name not in file:
                    _create(file, name, values, n, product)
                file[name][rows] = values
            first = rows.stop
        for name, unit in {"frequency": "Hz", "time": "s"}.items() if layout == "samples" else ():
            file[name] = getattr(product.grid, name)
            file[name].attrs["units"] = unit


def _samples(product: Product, block: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Layout `samples`: ``/spectrogram``, and a data set for each column."""
    names = TIMES if product.settings.method == "detect" else ("starttime", "peak_time")
    return {
        "trace_id": table.trace_id.to_numpy(object),
        **{name: table[name].to_numpy("S27") for name in names},
        **{name: block[name] for name in block.dtype.names if name not in TIMES},
    }


def _ris(product: Product, block: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Layout `ris`: axes in the first column and the last row, a catalogue of JSON texts."""
    grid, rate = product.grid, product.grid.sampling_rate
    images = np.zeros((len(block), grid.n_rows + 1, grid.n_columns + 1), np.float32)
    images[:, :-1, 1:] = block["spectrogram"]
    images[:, :-1, 0], images[:, -1, 1:] = grid.frequency, grid.time
    names = {"starttime": "starttime", "onset": "dt_on", "end": "dt_off", "peak_time": "dt_peak"}
    entries = [
        json.dumps({
            **dict(zip(CODES, row["trace_id"].split("."), strict=True)),
            **{key: row[name] for name, key in names.items() if row[name]},
            "peak": float(amplitude), "unit": product.unit,
            **{name: float(row[name]) for name in MEASURES if row[name] != "nan"},
            "fs": rate, "delta": 1 / rate, "npts": grid.n_samples,
        })
        for row, amplitude in zip(table.to_dict("records"), block["peak_amplitude"], strict=True)
    ]  # fmt: skip
    group = f"{grid.n_samples / rate:.1f}"
    found = {f"{group}/Spectrogram": images, f"{group}/Catalogue": np.array(entries, object)}
    return found | ({f"{group}/Trace": block["trace"]} if "trace" in block.dtype.names else {})


LAYOUTS = {"samples": _samples, "ris": _ris}


def _create(file: h5py.File, name: str, values: np.ndarray, n: int, product: Product) -> None:
    grid, rate, unit = product.grid, product.grid.sampling_rate, product.unit
    power = f"{f'({unit})' if '/' in unit else unit}^2/Hz"
    attributes = {
        **dict.fromkeys(TIMES, {"units": "UTC, ISO 8601"}),
        "peak_amplitude": {"units": unit}, "event_id": {"missing": -1},
        **{name: {"units": own or unit, "what": what} for name, (own, what) in MEASURES.items()},
        "trace": {"units": unit, "sampling_rate": rate},
        "spectrogram": {
            "units": power, "sampling_rate": rate, "window_s": grid.segment / rate,
            "hop_s": grid.hop / rate, "nfft": grid.nfft,
        },
        "Spectrogram": {"TimeUnits": "s", "FreqUnits": "Hz", "AmplUnits": power},
        "Trace": {"TimeUnits": "s", "AmplUnits": unit},
    }  # fmt: skip
    if product.components:
        attributes["spectrogram"] |= {"components": list(product.settings.components)}
    for band, ends in zip(BANDS, pairwise(band_edges(grid.frequency)), strict=True):
        attributes[band] |= {"band_hz": ends}
    kind, chunks = h5py.string_dtype() if values.dtype == object else values.dtype, None
    if values.ndim > 1:
        fit = BLOCK_BYTES // (values[0].size * values.itemsize)
        chunks = (min(n, int(np.clip(fit, 1, MAX_CHUNK))), *values.shape[1:])
    created = file.create_dataset(name, (n, *values.shape[1:]), kind, chunks=chunks)
    created.attrs.update(attributes.get(name.rpartition("/")[2], {}))
