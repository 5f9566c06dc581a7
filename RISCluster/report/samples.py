"""Single samples on the page: places, times, thumbnails, spectrograms and waveforms, as JSON.

Letters: N samples of the file, m samples of the page, F x T bins, K clusters.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.neighbors import KNeighborsRegressor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ..data.layouts import SpectrogramFile, side_by_side
from ..data.measures import find_peaks
from ..plots.style import COLOUR_MAP, cluster_colour
from ..runs.labels import usable_sample
from .figures import Results, map_of

POINTS = 50_000  # samples of the page at most
TILES = ((5_000, 40, 48), (15_000, 24, 32), (np.inf, 16, 24))  # height and width up to a number
LARGE_BYTES, TRACE_BYTES = 1.6e6, 0.8e6  # of large spectrograms and of waveforms
LARGEST_IMAGE = 160  # bins along an axis of a large spectrogram
LONGEST_TRACE = 4096  # values of a waveform
QUALITY = 55  # of JPEG
DECIBELS = 60.0  # below the peak of a sample, the most that is drawn
NEAREST = 3  # latents of the map between which another one is placed
AUDIBLE = 1500.0  # Hz, to which the upper end of the frequencies is sped up


@dataclass
class Measured:
    """Quantities of the samples that the page shows."""

    index: np.ndarray  # (m,), ascending
    peak: np.ndarray  # (m,), largest value as stored
    frequency: np.ndarray  # (m,), at the largest value
    spectra: np.ndarray  # (m, F), mean over time, dB or as stored
    tiles: np.ndarray | None = None  # (m, height, width), uint8
    low: float = 0.0  # dB below the peak of a sample, or as stored: lower end of the colours
    decibel: bool = True  # whether values are amplitudes, drawn in dB

    def quartiles(self, values: np.ndarray, members: np.ndarray) -> list | None:
        """Quartiles (3, ...) of the values of members (m,), bool; None without any."""
        if not members.any():
            return None
        return np.percentile(values[members], (25, 50, 75), axis=0).tolist()


def measure(results: Results, chosen: Sequence[int]) -> Measured:
    """Read at most `POINTS` samples, and those that are chosen, once."""
    file = results.file
    index = usable_sample(results.stage.labels, POINTS, results.settings.run.seed)
    index = np.union1d(index, np.array(chosen, dtype=np.int64)).astype(np.int64)
    m = len(index)
    found = Measured(index, *np.empty((2, m)), np.empty((m, file.n_frequencies), "f4"))
    size = next(size for n, *size in TILES if m <= n)
    images = np.zeros((m, *size), np.float32)
    for block, x in file.read_blocks(index):
        at, x = np.searchsorted(index, block), side_by_side(x, len(file.components))
        found.decibel &= bool(x.min() >= 0)
        found.peak[at], found.frequency[at] = find_peaks(x, file.frequency)
        found.spectra[at] = x.mean(2)
        images[at] = adaptive_avg_pool2d(torch.from_numpy(x)[:, None], size)[:, 0]
    if found.decibel:
        found.spectra = _scale(file) * np.log10(np.maximum(found.spectra, 1e-30))
    images = _relative(images, found, file)
    found.low = float(np.median(np.percentile(images[:2000], 20, axis=(1, 2))))
    found.tiles = _as_bytes(images, found)
    return found


def _scale(file: SpectrogramFile) -> float:
    """Decibels of a decade: cubes and squared units are power, others amplitudes."""
    unit = file.amplitude_unit.lower()
    power = file.layout == "cube" or any(word in unit for word in ("power", "^2", "**2", "\u00b2"))
    return 10.0 if power else 20.0


def _relative(images: np.ndarray, found: Measured, file: SpectrogramFile) -> np.ndarray:
    """Values (m, h, w) relative to the peak, in dB; their difference if some are negative."""
    peaks, scale = images.max((1, 2), keepdims=True), _scale(file)
    if not found.decibel:
        return images - peaks
    with np.errstate(divide="ignore", invalid="ignore"):
        return scale * np.log10(np.maximum(images / peaks, 10 ** (-DECIBELS / scale)))


def _as_bytes(images: np.ndarray, found: Measured) -> np.ndarray:
    shades = 255 * (1 - images / min(found.low, -1e-6))
    return np.clip(np.nan_to_num(shades), 0, 255).astype(np.uint8)


# ---- the block of data --------------------------------------------------------------------------


def page_data(results: Results, found: Measured, chosen: Sequence[int]) -> dict[str, Any]:
    """What the page's script needs of the samples; the `chosen` ones have large spectrograms."""
    stage, report = results.stage, results.settings.report
    spectra = found.spectra.astype("f8").round(2)
    corrections = [] if stage.corrections is None else stage.corrections.itertuples(name=None)
    return {
        "stage": stage.name,
        "columns": {  # kinds as of JavaScript
            name: [f"{x.dtype.name.capitalize()}Array", _text(x)]
            for name, x in _columns(results, found).items()
        },
        "stations": results.stations,
        "span": None if report.span is None else _milliseconds(results.span).tolist(),
        "moments": [[_milliseconds(time).item(), name] for time, name in results.moments],
        "place": results.place,
        "clusters": [
            {
                "name": results.names.get(label, ""),
                "colour": to_hex(cluster_colour(label)),
                "size": int(stage.sizes[label]),
                "sized": int(stage.cluster_sizes[label]),
                "spectrum": found.quartiles(spectra, stage.labels[found.index] == label),
            }
            for label in range(stage.n_clusters)
        ],
        "corrections": [*map(list, corrections)] if results.mapped is stage else None,
        "colours": _text((255 * colormaps[COLOUR_MAP](np.arange(256))[:, :3]).astype("u1")),
        **_pictures(results, found, chosen),
    }


def _columns(results: Results, found: Measured) -> dict[str, np.ndarray]:
    """Columns of m samples; those that are not known are left out."""
    catalogue, table = results.catalogue, results.stage.table.iloc[found.index]
    columns = {
        "index": found.index.astype("u4"),
        "label": table["label"].to_numpy("i2"),
        "probability": (200 * table["probability"].to_numpy()).astype("u1"),
    }
    places = place_all(results, found.index)
    if places is not None:
        columns |= {"x": places[:, 0], "y": places[:, 1]}
    if catalogue.has_times:
        times = catalogue.starttime[found.index]
        columns["time"] = np.where(np.isnat(times), np.nan, _milliseconds(times).astype("f8"))
    if catalogue.has_stations:
        columns["station"] = catalogue.station[found.index].astype("i4")
    if "event_id" in table:
        columns["event"] = table["event_id"].to_numpy("i4")
    return columns


def _milliseconds(times: Any) -> np.ndarray:
    return np.asarray(times, "M8[ms]").astype("i8")


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def place_all(results: Results, index: np.ndarray) -> np.ndarray | None:
    """Places (m, 2), uint16, of samples on the map; None where there is no map.

    Those that were not embedded are placed between their nearest ones that were.
    """
    known, points = map_of(results)
    if not len(points):
        return None
    nearest = KNeighborsRegressor(min(NEAREST, len(known)), weights="distance")
    nearest.fit(results.mapped.latents[known], points)
    places = nearest.predict(results.stage.latents[index])
    low, high = places.min(0), places.max(0)
    return (65535 * (places - low) / np.maximum(high - low, 1e-12)).astype("u2")


def _pictures(results: Results, found: Measured, chosen: Sequence[int]) -> dict[str, Any]:
    """Axes, sprites of thumbnails and of large spectrograms, waveforms."""
    file, n = results.file, len(results.file.components)
    bins = file.n_frequencies, n * file.n_times
    shape = tuple(min(LARGEST_IMAGE, size) // 8 * 8 or 8 for size in bins)
    most = max(0, int(LARGE_BYTES / (0.35 * shape[0] * shape[1])) - len(chosen))
    rng = np.random.default_rng(results.settings.run.seed)
    large = [*chosen, *rng.permutation(np.setdiff1d(found.index, chosen))[:most].tolist()]
    images = []
    for i in large:
        x = torch.from_numpy(side_by_side(file.read(i, i + 1), n))[:, None]
        images.append(interpolate(x, shape, mode="bilinear", antialias=True)[0, 0].numpy())
    images = _as_bytes(_relative(np.array(images), found, file), found)
    rows = np.searchsorted(found.index, large).tolist()
    return {
        "frequency": [float(file.frequency[0]), float(file.frequency[-1]), file.frequency_unit],
        "duration": [float(file.time[0]), float(file.time[-1]), file.time_unit],
        "components": ", ".join(file.components), "unit": file.amplitude_unit,
        "low": round(found.low, 1), "decibel": found.decibel, "tile": _sprite(found.tiles),
        "large": _sprite(images) | {"rows": rows},
        "trace": _traces(file, large, rows, len(chosen)),
    }  # fmt: skip


def _sprite(images: np.ndarray) -> dict[str, Any]:
    """Images (m, h, w), low frequencies first, side by side in one JPEG, high ones at the top."""
    m, height, width = images.shape
    columns = int(np.ceil(np.sqrt(m * height / width))) or 1
    padded = np.zeros((-(-m // columns) * columns, height, width), np.uint8)
    padded[:m] = images[:, ::-1]
    sheet = padded.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(buffer, "JPEG", quality=QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "height": height, "width": width, "columns": columns}


def _traces(
    file: SpectrogramFile, wanted: Sequence[int], rows: Sequence[int], least: int
) -> dict[str, Any] | None:
    """Waveforms of the first samples as int8, within `TRACE_BYTES`; at least `least`; or None."""
    if (first := file.traces(wanted[:1])) is None:
        return None
    step = -(-first[0].size // LONGEST_TRACE)
    n = max(least, int(TRACE_BYTES / (first[0].size / step)))
    values, rate, unit = file.traces(wanted[:n])
    values = values.reshape(len(values), -1)[:, ::step]  # of all components
    values = np.nan_to_num(values - np.nanmean(values, axis=1, keepdims=True))
    peaks = np.abs(values).max(axis=1)
    scaled = np.round(127 * values / np.maximum(peaks, 1e-300)[:, None]).astype("i1")
    rate /= step
    return {
        "rows": rows[:n], "length": values.shape[1], "values": _text(scaled), "rate": rate,
        "peaks": [float(f"{peak:.4g}") for peak in peaks], "unit": unit,
        "faster": max(1, round(AUDIBLE / min(rate / 2, float(file.frequency[-1])))),
    }  # fmt: skip
