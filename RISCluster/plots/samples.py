"""Spectrograms of single samples, means and decoded centroids of clusters, waveforms.

Letters: m samples, k clusters, F x T bins, S samples of a waveform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .style import (
    COLOUR_MAP,
    UNUSABLE_COLOUR,
    SpectrogramAxes,
    cluster_colour,
    cluster_title,
    new,
    plain,
)

COLUMNS = 4
EMPTY = "0.93"
DECADES = 4.0  # below each sample's peak that an overview shows at most


@dataclass(frozen=True)
class Shown:
    """A sample to draw.

    Attributes
    ----------
    image : ndarray, (F, T)
    title : str
        One or two lines above it.
    label : int
        Of its cluster, in whose colour it is framed.
    trace : ndarray, (S,), or None
        Its waveform.
    """

    image: np.ndarray
    title: str
    label: int
    trace: np.ndarray | None = None


def sample_gallery(
    axes_of: SpectrogramAxes, samples: Sequence[Shown], title: str, columns: int = COLUMNS
) -> Figure:
    """Samples with their titles, each in its own range of amplitudes.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    samples : sequence of Shown
    title : str
    columns : int
    """
    columns = min(columns, max(1, len(samples)))
    n_rows = max(1, -(-len(samples) // columns))
    figure = new(2.2 * columns + 1.6, 1.75 * n_rows + 1.0)
    grid = figure.subplots(n_rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, sample in zip(grid.flat, samples, strict=False):
        _draw_sample(axes, axes_of, sample.image)
        axes.set_title(sample.title, fontsize=7.5, linespacing=1.15, pad=3)
        _frame(axes, sample.label)
    _label_once(grid, axes_of, len(samples))
    shades = ScalarMappable(Normalize(0, 1), COLOUR_MAP)
    bar = figure.colorbar(shades, ax=grid, shrink=min(1.0, 1.7 / n_rows), aspect=16, pad=0.02)
    bar.set_ticks([0, 1], labels=["lowest", "highest"], fontsize=8)
    bar.set_label("amplitude\nof each sample", fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_sample(axes: Axes, axes_of: SpectrogramAxes, image: np.ndarray) -> None:
    """One spectrogram in its own range of amplitudes."""
    known = image[np.isfinite(image)]
    low, high = (known.min(), np.percentile(known, 99.7)) if len(known) else (0.0, 1.0)
    axes_of.draw(axes, image, vmin=low, vmax=high if high > low else low + 1e-12)


def _frame(axes: Axes, label: int) -> None:
    """Edges in the colour of a cluster."""
    for side in axes.spines.values():
        side.set(color=cluster_colour(label), linewidth=2)


def _label_once(grid: np.ndarray, axes_of: SpectrogramAxes, n: int) -> None:
    """Axes labels at the lower left panel alone; panels without a sample are taken away."""
    for axes in grid.flat[n:]:
        axes.axis("off")
    for axes in grid.flat[:n]:
        axes.tick_params(labelsize=7, labelbottom=False, labelleft=False, length=2)
    if n:
        corner = grid[(n - 1) // grid.shape[1], 0]
        corner.tick_params(labelbottom=True, labelleft=True)
        corner.set_xlabel(axes_of.time_label, fontsize=8)
        corner.set_ylabel(axes_of.frequency_label, fontsize=8)


def means_and_centroids(
    axes_of: SpectrogramAxes,
    means: np.ndarray,
    decoded: np.ndarray,
    labels: Sequence[int],
    sizes: Sequence[int],
    unit: str,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Mean spectrogram of each cluster, and below it its centroid decoded to a spectrogram.

    Both have the same range of amplitudes.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    means, decoded : ndarray, (k, F, T)
        NaN where there is none.
    labels, sizes : sequence of int
        Of the k clusters.
    unit : str
        Of the amplitudes.
    names : mapping of int to str, optional
    """
    columns = min(COLUMNS if len(labels) <= 2 * COLUMNS else 6, max(1, len(labels)))
    bands = max(1, -(-len(labels) // columns))
    figure = new(2.4 * columns + 1.0, 3.3 * bands + 0.9)
    grid = figure.subplots(2 * bands, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat:
        axes.axis("off")
    for place, label in enumerate(labels):
        row, column = 2 * (place // columns), place % columns
        pair = grid[row, column], grid[row + 1, column]
        _draw_pair(figure, axes_of, pair, (means[place], decoded[place]))
        pair[0].set_title(f"{cluster_title(label, names)}  (n = {sizes[place]:,})", fontsize=9)
        pair[1].set_title(_likeness(means[place], decoded[place]), fontsize=7.5, pad=3)
        for axes in pair:
            _frame(axes, label)
    for row, axes in enumerate(grid[:, 0]):
        kind = "mean" if row % 2 == 0 else "decoded\ncentroid"
        axes.set_ylabel(f"{kind}\n{axes_of.frequency_label}", fontsize=8)
        axes.tick_params(labelleft=True)
    grid[-1, 0].set_xlabel(axes_of.time_label, fontsize=8)
    grid[-1, 0].tick_params(labelbottom=True)
    figure.suptitle(f"Mean of each cluster above its decoded centroid ({unit})", fontsize=11)
    return figure


def _draw_pair(
    figure: Figure,
    axes_of: SpectrogramAxes,
    pair: tuple[Axes, Axes],
    images: tuple[np.ndarray, np.ndarray],
) -> None:
    """Two spectrograms in the same range, with one colour bar."""
    known = np.concatenate([image[np.isfinite(image)] for image in images])
    low, high = np.percentile(known, [1, 99.7]) if len(known) else (0.0, 1.0)
    limits = {"vmin": low, "vmax": high if high > low else low + 1e-12}
    drawn = None
    for axes, image in zip(pair, images, strict=True):
        axes.axis("on")
        axes.tick_params(labelsize=7, labelbottom=False, labelleft=False, length=2)
        if np.isfinite(image).any():
            drawn = axes_of.draw(axes, image, **limits)
        else:
            axes.set_facecolor(EMPTY)
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(pair), aspect=25, pad=0.02, shrink=0.8)
        bar.ax.tick_params(labelsize=6)
        bar.ax.locator_params(nbins=4)


def _likeness(mean: np.ndarray, decoded: np.ndarray) -> str:
    """Inner product of both, scaled to unit norm."""
    if not (np.isfinite(mean).all() and np.isfinite(decoded).all()):
        return ""
    norms = np.linalg.norm(mean) * np.linalg.norm(decoded)
    return f"inner product {float((mean * decoded).sum() / max(norms, 1e-300)):.3f}"


def detections(
    axes_of: SpectrogramAxes,
    samples: Sequence[Shown],
    sampling_rate: float,
    unit: str,
    title: str,
    columns: int = COLUMNS,
) -> Figure:
    """Waveforms of samples above their spectrograms.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    samples : sequence of Shown
        With their waveforms.
    sampling_rate : float
        Hz, of the waveforms, which begin at 0 s.
    unit : str
        Of the waveforms; empty where it is not known.
    title : str
    columns : int
    """
    columns = min(columns, max(1, len(samples)))
    bands = max(1, -(-len(samples) // columns))
    figure = new(2.5 * columns + 0.9, 2.8 * bands + 0.8)
    grid = figure.subplots(
        2 * bands, columns, squeeze=False, sharex=True, height_ratios=[1, 1.6] * bands
    )
    for axes in grid.flat:
        axes.axis("off")
    for place, sample in enumerate(samples):
        row, column = 2 * (place // columns), place % columns
        top, below = grid[row, column], grid[row + 1, column]
        _draw_trace(top, sample, sampling_rate)
        below.axis("on")
        _draw_sample(below, axes_of, sample.image)
        _frame(below, sample.label)
        first = column == 0
        below.tick_params(labelsize=7, labelleft=first, labelbottom=True, length=2)
        below.set_xlabel(axes_of.time_label if row == 2 * bands - 2 else "", fontsize=8)
        if first:
            top.set_ylabel(f"Amplitude\n({unit})" if unit else "Amplitude", fontsize=8)
            below.set_ylabel(axes_of.frequency_label, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_trace(axes: Axes, sample: Shown, sampling_rate: float) -> None:
    axes.axis("on")
    seconds = np.arange(len(sample.trace)) / sampling_rate
    axes.plot(seconds, sample.trace, color="0.15", lw=0.6)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(labelsize=6, labelbottom=False, bottom=False, length=2)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_fontsize(6)
    axes.locator_params(axis="y", nbins=3)
    axes.margins(x=0)
    axes.set_title(sample.title, fontsize=7.5, linespacing=1.15, pad=3)


def sample_overview(
    axes_of: SpectrogramAxes,
    rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]],
    unit: str,
    title: str,
) -> Figure:
    """Samples in one range of amplitudes, with a row for each known class.

    Drawn is the decimal logarithm of the amplitude over each sample's peak or, if any sample has
    negative values (decibels), the amplitude as stored.

    Parameters
    ----------
    axes_of : SpectrogramAxes
    rows : sequence of (str, sequence of (ndarray (F, T), str))
        Name of each row, images and their titles.
    unit : str
        Of the amplitudes; may be empty.
    title : str
    """
    images = [image for _, row in rows for image, _ in row]
    signed = any(np.isfinite(image).all() and image.min() < 0 for image in images)
    limits = _common_limits([_scaled(image, signed) for image in images], signed)
    columns = max(4, *(len(row) for _, row in rows))
    figure = new(11, 1.75 * len(rows) + 1.2)
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    drawn = None
    for axes_row, (name, row) in zip(grid, rows, strict=True):
        for axes in axes_row[len(row) :]:
            axes.axis("off")
        for axes, (image, heading) in zip(axes_row, row, strict=False):
            axes.set_title(heading, fontsize=7.5)
            scaled = _scaled(image, signed)
            if scaled is None:
                axes.set_facecolor(UNUSABLE_COLOUR)
                axes.text(0.5, 0.5, "unusable", transform=axes.transAxes, ha="center", va="center")
            else:
                drawn = axes_of.draw(axes, scaled, **limits)
        if name:
            axes_row[0].set_ylabel(plain(name), fontsize=9)
    grid[0, 0].set(xlim=_ends(axes_of.time), ylim=_ends(axes_of.frequency))
    figure.supxlabel(axes_of.time_label, fontsize=10)
    figure.supylabel(axes_of.frequency_label, fontsize=10)
    if drawn is not None:
        shrink, extend = min(1.0, 4 / len(rows)), "both" if signed else "min"
        bar = figure.colorbar(
            drawn, ax=grid, shrink=shrink, aspect=30, pad=0.015, extend=extend, extendfrac=0.03
        )
        label = "amplitude" + f" ({unit})" * bool(unit)
        bar.set_label(label if signed else "log10 of amplitude over the sample's peak", fontsize=9)
    figure.suptitle(title)
    return figure


def _scaled(image: np.ndarray, signed: bool) -> np.ndarray | None:
    """Values to draw of one sample (F, T); None if it is unusable."""
    peak = np.abs(image).max()
    if not np.isfinite(peak) or peak == 0:
        return None
    return image if signed else np.log10(np.maximum(image / peak, 10.0**-DECADES))


def _common_limits(images: Sequence[np.ndarray | None], signed: bool) -> dict[str, float]:
    """Colour limits of all panels."""
    usable = [image for image in images if image is not None]
    if not usable:
        return {}
    low = float(np.median([np.percentile(image, 2) for image in usable]))
    high = float(np.max([np.percentile(image, 99.7) for image in usable])) if signed else 0.0
    return {"vmin": low, "vmax": high} if high > low else {"vmin": low - 1, "vmax": low + 1}


def _ends(axis: np.ndarray) -> tuple[float, float]:
    """Outer edges of the first and the last bin."""
    low, high = (axis[1] - axis[0]) / 2, (axis[-1] - axis[-2]) / 2
    return axis[0] - low, axis[-1] + high
