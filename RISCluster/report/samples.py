"""Single samples on the page: places, times, thumbnails, spectrograms and waveforms, as JSON.

Letters: N samples of the file, m samples of the page, F x T bins, K clusters.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ..data.layouts import SpectrogramFile, side_by_side
from ..data.measures import find_peaks
from ..plots.style import COLOUR_MAP, cluster_colour
from ..runs.labels import usable_sample
from .figures import Results, map_of

POINTS = 50_000  # samples of the page at most
TILES = ((5_000, 40, 48), (15_000, 24, 32), (POINTS, 16, 24))  # height and width up to a number
LARGE_BYTES, TRACE_BYTES = 1.6e6, 0.8e6  # of large spectrograms and of waveforms
LARGEST_IMAGE = 160  # bins along an axis of a large spectrogram
LONGEST_TRACE = 4096  # values of a waveform
QUALITY = 55  # of JPEG
DECIBELS = 60.0  # below the peak of a sample, the most that is drawn
NEAREST = 3  # latents of the map between which another one is placed
AUDIBLE = 1500.0  # Hz, to which the upper end of the frequencies is sped up


@dataclass
class Measured:
    """Quantities of the samples that the page shows, NaN without data."""

    index: np.ndarray  # (m,), ascending
    peak: np.ndarray  # (m,), largest value as stored
    frequency: np.ndarray  # (m,), at the largest value
    spectra: np.ndarray  # (m, F), mean over time, dB or as stored
    tiles: np.ndarray | None  # (m, height, width), uint8
    low: float  # dB below the peak of a sample, or as stored, at the lower end of the colours
    decibel: bool  # whether values are amplitudes, drawn in dB

    def quartiles(self, values: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Quartiles of finite values, (3, ...), of members (m,), bool; NaN without any."""
        found = values[members & np.isfinite(self.peak)]
        return np.percentile(found, (25, 50, 75), axis=0) if len(found) else np.full(3, np.nan)


def measure(results: Results, chosen: Sequence[int]) -> Measured:
    """Read at most `POINTS` samples, and those that are chosen, once."""
    stage, file = results.stage, results.file
    index = usable_sample(stage.labels, POINTS, results.settings.run.seed)
    index = np.union1d(index, np.array(chosen, dtype=np.int64)).astype(np.int64)
    m, n_bins = len(index), file.n_frequencies if file else 1
    peak, frequency = np.full((2, m), np.nan)
    found = Measured(index, peak, frequency, np.full((m, n_bins), np.nan, "f4"), None, 0.0, True)
    if file is None or not m:
        return found
    height, width = next(size for n, *size in TILES if m <= n or n == POINTS)
    scale, images = _decibel_scale(file), np.zeros((m, height, width), np.float32)
    for block, x in file.read_blocks(index):
        at, x = np.searchsorted(index, block), side_by_side(x, len(file.components))
        found.decibel &= bool(x.min() >= 0)
        peak[at], frequency[at] = find_peaks(x, file.frequency)
        found.spectra[at] = x.mean(2)
        images[at] = adaptive_avg_pool2d(torch.from_numpy(x)[:, None], (height, width))[:, 0]
    if found.decibel:
        found.spectra = scale * np.log10(np.maximum(found.spectra, 1e-30))
    images = _relative(images, images.max((1, 2)), scale if found.decibel else 0)
    found.low = float(np.median(np.percentile(images[:2000], 20, axis=(1, 2))))
    found.tiles = _as_bytes(images, found.low)
    return found


def _decibel_scale(file: SpectrogramFile) -> float:
    """Decibels of a decade: cubes and squared units are power, others amplitudes."""
    unit = file.amplitude_unit.lower()
    power = file.layout == "cube" or any(word in unit for word in ("power", "^2", "**2", "\u00b2"))
    return 10.0 if power else 20.0


def _relative(images: np.ndarray, peaks: np.ndarray, scale: float) -> np.ndarray:
    """Values (m, h, w) relative to the peak, in dB of a scale; without one their difference."""
    peaks = peaks[:, None, None]
    if not scale:
        return images - peaks
    with np.errstate(divide="ignore", invalid="ignore"):
        return scale * np.log10(np.maximum(images / peaks, 10 ** (-DECIBELS / scale)))


def _as_bytes(images: np.ndarray, low: float) -> np.ndarray:
    return np.clip(np.nan_to_num(255 * (1 - images / min(low, -1e-6))), 0, 255).astype(np.uint8)


# ---- the block of data --------------------------------------------------------------------------


def page_data(results: Results, found: Measured, chosen: Sequence[int]) -> dict[str, Any]:
    """What the page's script needs of the samples; the `chosen` ones have large spectrograms."""
    stage, run, file = results.stage, results.run, results.file
    table, catalogue = stage.table.iloc[found.index], results.catalogue
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
        known = np.where(np.isnat(times), np.nan, times.astype("M8[us]").view("i8") / 1e3)
        columns["time"] = known.astype("f8")
    if catalogue.has_stations:
        columns["station"] = catalogue.station[found.index].astype("i4")
    if "event_id" in table:
        columns["event"] = table["event_id"].to_numpy("i4")
    return {
        "stage": stage.name,
        "total": int(stage.sizes.sum()),
        "columns": {name: [_kind(x), _text(x)] for name, x in columns.items()},
        "stations": results.stations,
        "span": None if results.settings.report.span is None else _milliseconds(results.span),
        "moments": [[_milliseconds(time), name] for time, name in results.moments],
        "place": results.place,
        "clusters": [_cluster(results, found, label) for label in range(stage.n_clusters)],
        "corrections": _corrections(stage.corrections) if results.mapped is stage else None,
        "colours": _text((255 * colormaps[COLOUR_MAP](np.arange(256))[:, :3]).astype("u1")),
        "key": f"{run.folder.resolve()} {stage.provenance.get('ended', '')}",
        **(_pictures(file, found, chosen, stage.labels, run.settings.run.seed) if file else {}),
    }


def _milliseconds(times: Any) -> Any:
    return np.asarray(times, "M8[ms]").astype("i8").tolist()


def _kind(values: np.ndarray) -> str:
    names = {"u": "Uint", "i": "Int", "f": "Float"}
    return f"{names[values.dtype.kind]}{8 * values.dtype.itemsize}Array"


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _corrections(rows: pandas.DataFrame | None) -> list[list]:
    return [] if rows is None else [list(row) for row in rows.itertuples(name=None)]


def _cluster(results: Results, found: Measured, label: int) -> dict[str, Any]:
    """Name, colour, size and quartiles of the mean spectrum of a cluster."""
    stage = results.stage
    spectrum = found.quartiles(found.spectra, stage.labels[found.index] == label)
    known = spectrum.ndim == 2 and np.isfinite(spectrum).all()
    return {
        "name": results.names.get(label, ""),
        "colour": to_hex(cluster_colour(label)),
        "size": int(stage.sizes[label]),
        "sized": int(stage.cluster_sizes[label]),
        "spectrum": np.round(spectrum, 2).tolist() if known else None,
    }


def place_all(results: Results, index: np.ndarray) -> np.ndarray | None:
    """Places (m, 2), uint16, of samples on the map; None where there is no map.

    Those that were not embedded are placed between their nearest ones that were.
    """
    known, points = map_of(results, results.mapped, results.folder)
    if not len(points):
        return None
    nearest = NearestNeighbors(n_neighbors=min(NEAREST, len(known)))
    nearest.fit(results.mapped.latents[known])
    distances, rows = nearest.kneighbors(results.stage.latents[index])
    weights = 1 / np.maximum(distances, 1e-9 * (1 + distances.max()))
    places = (points[rows] * weights[:, :, None]).sum(1) / weights.sum(1)[:, None]
    low, high = places.min(0), places.max(0)
    return (65535 * (places - low) / np.maximum(high - low, 1e-12)).astype("u2")


def _pictures(
    file: SpectrogramFile, found: Measured, chosen: Sequence[int], labels: np.ndarray, seed: int
) -> dict[str, Any]:
    """Axes, sprites of thumbnails and of large spectrograms, waveforms."""
    n = len(file.components)
    bins = file.n_frequencies, n * file.n_times
    shape = tuple(min(LARGEST_IMAGE, size) // 8 * 8 or 8 for size in bins)
    waves = waveforms_of(file)
    most = max(len(chosen), int(LARGE_BYTES / (0.35 * shape[0] * shape[1])))
    rest = np.random.default_rng(seed).permutation(np.setdiff1d(found.index, chosen))
    large = [*chosen, *rest[: max(0, most - len(chosen))].tolist()]
    images = []
    for i in large:
        x = torch.from_numpy(side_by_side(file.read(i, i + 1), n))[:, None]
        images.append(interpolate(x, shape, mode="bilinear", antialias=True)[0, 0].numpy())
    images = np.array(images)
    scale = _decibel_scale(file) if found.decibel else 0
    images = _relative(images, images.max((1, 2)), scale)
    axes = {
        name: [float(axis[0]), float(axis[-1]), unit]
        for name, axis, unit in (
            ("frequency", file.frequency, file.frequency_unit),
            ("duration", file.time, file.time_unit),
        )
    }
    return {
        **axes,
        "components": ", ".join(file.components),
        "low": round(found.low, 1),
        "decibel": found.decibel,
        "unit": file.amplitude_unit,
        "tile": _sprite(found.tiles),
        "large": _sprite(_as_bytes(images, found.low)) | {"rows": _rows(found.index, large)},
        "trace": waves and _traces(file, found.index, large, len(chosen), waves),
    }


def _rows(index: np.ndarray, wanted: Sequence[int]) -> list[int]:
    return np.searchsorted(index, wanted).tolist()


def _sprite(images: np.ndarray) -> dict[str, Any]:
    """Images (m, h, w), low frequencies first, side by side in one JPEG, high ones at the top."""
    m, height, width = images.shape
    columns = int(np.ceil(np.sqrt(m * height / width))) or 1
    padded = np.zeros((-(-m // columns) * columns, height, width), np.uint8)
    padded[:m] = images[:, ::-1]
    sheet = padded.reshape(-1, columns, height, width).swapaxes(1, 2)
    buffer = BytesIO()
    sheet = Image.fromarray(np.ascontiguousarray(sheet.reshape(-1, columns * width)))
    sheet.save(buffer, "JPEG", quality=QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "height": height, "width": width, "columns": columns}


# ---- waveforms ----------------------------------------------------------------------------------


def waveforms_of(file: SpectrogramFile | None) -> dict[str, Any] | None:
    """Rate (Hz) and unit of the samples' waveforms, as by ``build.traces``."""
    if file is None or (found := file.traces([0])) is None:
        return None
    return {"length": found[0].size, "sampling_rate": found[1], "unit": found[2]}


def _traces(
    file: SpectrogramFile, index: np.ndarray, wanted: Sequence[int], least: int, waves: dict
) -> dict[str, Any]:
    """Waveforms of the first `wanted` samples as int8, within `TRACE_BYTES`; at least `least`."""
    step = -(-waves["length"] // LONGEST_TRACE)
    length = -(-waves["length"] // step)
    wanted = wanted[: max(least, int(TRACE_BYTES / length))]
    values = file.traces(wanted)[0].reshape(len(wanted), -1)[:, ::step]  # of all components
    values = np.nan_to_num(values - np.nanmean(values, axis=1, keepdims=True))
    peaks = np.abs(values).max(axis=1)
    scaled = np.round(127 * values / np.maximum(peaks, 1e-300)[:, None]).astype("i1")
    rate = waves["sampling_rate"] / step
    highest = min(rate / 2, float(file.frequency[-1]))
    return {
        "rows": _rows(index, wanted),
        "length": length,
        "values": _text(scaled),
        "peaks": [float(f"{peak:.4g}") for peak in peaks],
        "rate": rate,
        "unit": waves["unit"],
        "faster": max(1, round(AUDIBLE / highest)),
    }
