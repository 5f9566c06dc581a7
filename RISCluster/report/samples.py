"""Single samples on the page: places, times, thumbnails, spectrograms and waveforms, as JSON.

Letters: N samples of the file, m samples of the page, F x T bins, K clusters.
"""

import base64
from collections.abc import Sequence
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
from ..data.sets import draw_usable
from ..plots.figures import map_of
from ..plots.results import Results
from ..plots.style import COLOUR_MAP, cluster_colour

POINTS = 50_000  # samples of the page at most
TILES = ((5_000, 40, 48), (15_000, 24, 32), (np.inf, 16, 24))  # height and width up to a number
LARGE_BYTES, TRACE_BYTES = 1.6e6, 0.8e6  # of large spectrograms and of waveforms
LARGEST_IMAGE = 160  # bins along an axis of a large spectrogram
LONGEST_TRACE = 4096  # values of a waveform
QUALITY = 55  # of JPEG
DECIBELS = 60.0  # below the peak of a sample, the most that is drawn
NEAREST = 3  # latents of the map between which another one is placed
AUDIBLE = 1500.0  # Hz, to which the upper end of the frequencies is sped up


class PageSamples:
    """The samples of the page, read once: `chosen` ones, and at most `POINTS` drawn at random."""

    def __init__(self, results: Results, chosen: Sequence[int]):
        file, self.chosen = results.file, chosen
        drawn = draw_usable(results.stage.labels >= 0, POINTS, results.settings.run.seed)
        self.index = np.union1d(drawn, np.array(chosen, dtype=np.int64))  # (m,), ascending
        m, unit = len(self.index), file.amplitude_unit.lower()
        is_power = any(word in unit for word in ("power", "^2", "**2", "\u00b2"))
        self.scale = 10.0 if is_power or file.layout == "cube" else 20.0  # decibels of a decade
        self.decibel = True  # whether values are amplitudes, drawn in dB, and none is negative
        self.peak, self.frequency = np.empty((2, m))  # largest value, and the frequency at it
        self.spectra = np.empty((m, file.n_frequencies), "f4")  # mean over time, dB or as stored
        size = next(size for n, *size in TILES if m <= n)
        images = np.zeros((m, *size), np.float32)
        for block, x in file.read_blocks(self.index):
            at, x = np.searchsorted(self.index, block), side_by_side(x, len(file.components))
            self.decibel &= bool(x.min() >= 0)
            self.peak[at], self.frequency[at] = find_peaks(x, file.frequency)
            self.spectra[at] = x.mean(2)
            images[at] = adaptive_avg_pool2d(torch.from_numpy(x)[:, None], size)[:, 0]
        if self.decibel:
            self.spectra = self.scale * np.log10(np.maximum(self.spectra, 1e-30))
        images = self._relative(images)
        # Lower end of the colours: dB below the peak of a sample, or as stored
        self.low = float(np.median(np.percentile(images[:2000], 20, axis=(1, 2))))
        self.tiles = self._shades(images)  # (m, height, width), uint8

    def quartiles(self, values: np.ndarray, members: np.ndarray) -> list | None:
        """Quartiles (3, ...) of the values of members (m,), bool; None without any."""
        if not members.any():
            return None
        return np.percentile(values[members], (25, 50, 75), axis=0).tolist()

    def large(self, results: Results) -> tuple[list[int], np.ndarray]:
        """Indices of the chosen and some more samples, and their images (n, h, w), uint8."""
        file, n = results.file, len(results.file.components)
        bins = file.n_frequencies, n * file.n_times
        shape = tuple(min(LARGEST_IMAGE, size) // 8 * 8 or 8 for size in bins)
        most = max(0, int(LARGE_BYTES / (0.35 * shape[0] * shape[1])) - len(self.chosen))
        rng = np.random.default_rng(results.settings.run.seed)
        more = rng.permutation(np.setdiff1d(self.index, self.chosen))[:most].tolist()
        index, images = [*self.chosen, *more], []
        for i in index:
            x = torch.from_numpy(side_by_side(file.read(i, i + 1), n))[:, None]
            images.append(interpolate(x, shape, mode="bilinear", antialias=True)[0, 0].numpy())
        return index, self._shades(self._relative(np.array(images)))

    def _relative(self, images: np.ndarray) -> np.ndarray:
        """Values (n, h, w) relative to the peak, in dB; their difference if some are negative."""
        peaks = images.max((1, 2), keepdims=True)
        if not self.decibel:
            return images - peaks
        least = 10 ** (-DECIBELS / self.scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.scale * np.log10(np.maximum(images / peaks, least))

    def _shades(self, images: np.ndarray) -> np.ndarray:
        shades = 255 * (1 - images / min(self.low, -1e-6))
        return np.clip(np.nan_to_num(shades), 0, 255).astype(np.uint8)


def page_data(results: Results, found: PageSamples) -> dict[str, Any]:
    """What the page's script needs of the samples."""
    stage, file, report = results.stage, results.file, results.report
    spectra = found.spectra.astype("f8").round(2)
    corrections = [] if stage.corrections is None else stage.corrections.itertuples(name=None)
    large, images = found.large(results)
    rows = np.searchsorted(found.index, large).tolist()
    return {
        "stage": stage.name, "stations": results.stations, "place": results.place,
        "columns": {  # kinds as of JavaScript
            name: [f"{x.dtype.name.capitalize()}Array", _text(x)]
            for name, x in _columns(results, found.index).items()
        },
        "span": None if report.span is None else _milliseconds(results.span).tolist(),
        "moments": [[_milliseconds(time).item(), name] for time, name in results.moments],
        "clusters": [
            {
                "name": results.names.get(label, ""), "colour": to_hex(cluster_colour(label)),
                "size": int(stage.cluster_sizes[label]),
                "spectrum": found.quartiles(spectra, stage.labels[found.index] == label),
            }
            for label in range(stage.n_clusters)
        ],
        "corrections": [*map(list, corrections)] if results.mapped is stage else None,
        "colours": _text((255 * colormaps[COLOUR_MAP](np.arange(256))[:, :3]).astype("u1")),
        "frequency": [float(file.frequency[0]), float(file.frequency[-1]), file.frequency_unit],
        "duration": [float(file.time[0]), float(file.time[-1]), file.time_unit],
        "components": ", ".join(file.components), "unit": file.amplitude_unit,
        "low": round(found.low, 1), "decibel": found.decibel, "tile": _sprite(found.tiles),
        "large": _sprite(images) | {"rows": rows},
        "trace": _traces(file, large, rows, len(found.chosen)),
    }  # fmt: skip


def _columns(results: Results, index: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of samples (m,); those that are not known are left out.

    Samples that were not embedded are placed on the map between their nearest ones that were.
    """
    catalogue, table = results.catalogue, results.stage.table.iloc[index]
    columns = {
        "index": index.astype("u4"),
        "label": table["label"].to_numpy("i2"),
        "probability": (200 * table["probability"].to_numpy()).astype("u1"),
    }
    known, points = map_of(results)
    if len(points):
        nearest = KNeighborsRegressor(min(NEAREST, len(known)), weights="distance")
        nearest.fit(results.mapped.latents[known], points)
        places = nearest.predict(results.stage.latents[index])
        low, high = places.min(0), places.max(0)
        places = (65535 * (places - low) / np.maximum(high - low, 1e-12)).astype("u2")
        columns |= {"x": places[:, 0], "y": places[:, 1]}
    if catalogue.has_times:
        times = catalogue.starttime[index]
        columns["time"] = np.where(np.isnat(times), np.nan, _milliseconds(times).astype("f8"))
    if catalogue.has_stations:
        columns["station"] = catalogue.station[index].astype("i4")
    if "event_id" in table:
        columns["event"] = table["event_id"].to_numpy("i4")
    return columns


def _milliseconds(times: Any) -> np.ndarray:
    return np.asarray(times, "M8[ms]").astype("i8")


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


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
