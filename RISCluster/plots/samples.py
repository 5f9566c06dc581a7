"""Spectrograms of samples, reconstructions, means and decoded centroids, waveforms.

Letters: n samples, k clusters, F x T bins, D latent features, S samples of a waveform.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.layouts import SpectrogramFile
from .style import (
    EMPTY,
    PALETTE,
    UNUSABLE_COLOUR,
    amplitude_range,
    axis_label,
    bar_of_each_sample,
    draw_spectrogram,
    frame,
    new,
    plain,
    short_title,
)

COLUMNS = 4
DECADES = 4.0  # below each sample's peak that an overview shows at most


def reconstructions(
    file: SpectrogramFile,
    inputs: np.ndarray,
    latents: np.ndarray,
    outputs: np.ndarray,
    titles: Sequence[str],
) -> Figure:
    """Samples in rows: input (n, F, T), latents (n, D), reconstruction (n, F, T)."""
    n = len(inputs)
    figure = new(9, 1.7 * n + 0.8)
    grid = figure.subplots(n, 3, squeeze=False, width_ratios=(3, 1.6, 3))
    for row, title in enumerate(titles):
        left, middle, right = grid[row]
        limits = amplitude_range(inputs[row], lowest=1)
        image = draw_spectrogram(left, file, inputs[row], limits)
        draw_spectrogram(right, file, outputs[row], limits)
        figure.colorbar(image, ax=right, label="amplitude")
        middle.bar(np.arange(latents.shape[1]), latents[row], color=PALETTE[0])
        middle.axhline(0, color="0.4", lw=0.6)
        left.set_ylabel(f"{title}\n{axis_label(file, 'frequency')}", fontsize=8)
        right.set_yticklabels([])
    headings, below = ("Input", "Latent", "Reconstruction"), axis_label(file, "time")
    for column, label in enumerate((below, "Feature", below)):
        grid[0, column].set_title(headings[column], fontsize=10)
        grid[-1, column].set_xlabel(label)
    return figure


def gallery(
    file: SpectrogramFile,
    members: Sequence[np.ndarray],
    labels: Sequence[int],
    sizes: Sequence[int],
    n_columns: int,
    title: str,
) -> Figure:
    """Members of each cluster, (n, F, T) with n at most `n_columns`, in a row for each cluster."""
    figure = new(1.45 * n_columns + 1.4, 1.15 * len(members) + 1.1)
    grid = figure.subplots(len(members), n_columns, squeeze=False)
    total = max(1, sum(sizes))
    for row, images in enumerate(members):
        for column, axes in enumerate(grid[row]):
            axes.set(xticks=[], yticks=[], facecolor=EMPTY)
            if column < len(images):
                draw_spectrogram(axes, file, images[column])
            frame(axes, labels[row])
        grid[row, 0].set_ylabel(
            f"{labels[row]}\nn = {sizes[row]:,}\n{sizes[row] / total:.1%}", rotation=0, ha="right",
            va="center", fontsize=9,
        )  # fmt: skip
    time, frequency = file.time, file.frequency
    times = f"{time[0]:.3g} to {time[-1]:.3g}"
    if len(file.components) > 1:
        times = ", ".join(file.components)
    figure.supxlabel(
        f"each panel: {axis_label(file, 'time')} {times} to the right, "
        f"{axis_label(file, 'frequency')} {frequency[0]:.3g} to {frequency[-1]:.3g} upward",
        fontsize=9,
    )
    bar_of_each_sample(figure, grid)
    figure.suptitle(title, fontsize=11)
    return figure


def means_and_centroids(
    file: SpectrogramFile,
    means: np.ndarray,
    decoded: np.ndarray,
    labels: Sequence[int],
    sizes: Sequence[int],
    unit: str,
    names: Mapping[int, str] | None = None,
) -> Figure:
    """Mean spectrograms of clusters (k, F, T) above their decoded centroids; NaN for none."""
    columns = min(COLUMNS if len(labels) <= 2 * COLUMNS else 6, max(1, len(labels)))
    bands = max(1, -(-len(labels) // columns))
    figure = new(2.4 * columns + 1.0, 3.3 * bands + 0.9)
    grid = figure.subplots(2 * bands, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, label in enumerate(labels):
        row, column = 2 * (place // columns), place % columns
        pair = grid[row : row + 2, column]
        _draw_pair(figure, file, pair, (means[place], decoded[place]))
        pair[0].set_title(f"{short_title(label, names)}  (n = {sizes[place]:,})", fontsize=9)
        product = (means[place] * decoded[place]).sum()  # NaN for none
        product /= max(np.linalg.norm(means[place]) * np.linalg.norm(decoded[place]), 1e-300)
        if np.isfinite(product):
            pair[1].set_title(f"inner product {product:.3f}", fontsize=7.5, pad=3)
        for axes in pair:
            frame(axes, label)
    for row, axes in enumerate(grid[:, 0]):
        kind = "mean" if row % 2 == 0 else "decoded\ncentroid"
        axes.set_ylabel(f"{kind}\n{axis_label(file, 'frequency')}", fontsize=8)
    for axes in grid[:, 1:].flat:
        axes.set_yticks([])
    for axes in [*grid[:-1].flat, *grid[-1, 1:]]:
        axes.set_xticks([])
    grid[-1, 0].set_xlabel(axis_label(file, "time"), fontsize=8)
    figure.suptitle(f"Mean of each cluster above its decoded centroid ({unit})", fontsize=11)
    return figure


def _draw_pair(
    figure: Figure, file: SpectrogramFile, pair: Sequence[Axes], images: Sequence[np.ndarray]
) -> None:
    """Two spectrograms in the same range, with one colour bar."""
    drawn, limits = None, amplitude_range(*images, lowest=1)
    for axes, image in zip(pair, images, strict=True):
        axes.axis("on")
        axes.tick_params(labelsize=7, length=2)
        if np.isfinite(image).any():
            drawn = draw_spectrogram(axes, file, image, limits)
        else:
            _say(axes, "none", EMPTY)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(pair), aspect=25, pad=0.02, shrink=0.8)
        bar.ax.tick_params(labelsize=6)
        bar.ax.locator_params(nbins=4)


def _say(axes: Axes, text: str, colour: object) -> None:
    axes.set_facecolor(colour)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")


def sample_overview(
    file: SpectrogramFile,
    rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]],
    title: str,
) -> Figure:
    """Samples in one range of amplitudes: rows of (name, (image (F, T), title) of each).

    Drawn is the decimal logarithm of the amplitude over each sample's peak or, if any sample has
    negative values (decibels), the amplitude as stored.
    """
    images = [image for _, row in rows for image, _ in row]
    signed = any(np.isfinite(image).all() and image.min() < 0 for image in images)
    usable = [x for x in (_scaled(image, signed) for image in images) if x is not None]
    low = float(np.median([np.percentile(x, 2) for x in usable])) if usable else 0.0
    high = max((float(np.percentile(x, 99.7)) for x in usable), default=1.0) if signed else 0.0
    limits = (low, high) if high > low else (low - 1, low + 1)
    figure = new(11, 1.75 * len(rows) + 1.2)
    columns = max(4, *(len(row) for _, row in rows))
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    drawn = None
    for axes_row, (name, row) in zip(grid, rows, strict=True):
        for axes in axes_row[len(row) :]:
            axes.axis("off")
        for axes, (image, heading) in zip(axes_row, row, strict=False):
            axes.set_title(heading, fontsize=7.5)
            scaled = _scaled(image, signed)
            if scaled is None:
                _say(axes, "unusable", UNUSABLE_COLOUR)
            else:
                drawn = draw_spectrogram(axes, file, scaled, limits)
        axes_row[0].set_ylabel(plain(name), fontsize=9)
    grid[0, 0].set(ylim=_ends(file.frequency))
    if len(file.components) == 1:
        grid[0, 0].set(xlim=_ends(file.time))
    figure.supxlabel(axis_label(file, "time"), fontsize=10)
    figure.supylabel(axis_label(file, "frequency"), fontsize=10)
    if drawn is not None:
        shrink, extend = min(1.0, 4 / len(rows)), "both" if signed else "min"
        bar = figure.colorbar(
            drawn, ax=grid, shrink=shrink, aspect=30, pad=0.015, extend=extend, extendfrac=0.03
        )
        label = "amplitude" + (f" ({file.amplitude_unit})" if file.amplitude_unit else "")
        bar.set_label(label if signed else "log10 of amplitude over the sample's peak", fontsize=9)
    figure.suptitle(title)
    return figure


def _scaled(image: np.ndarray, signed: bool) -> np.ndarray | None:
    """Values to draw of one sample (F, T); None if it is unusable."""
    peak = np.abs(image).max()
    if not np.isfinite(peak) or peak == 0:
        return None
    return image if signed else np.log10(np.maximum(image / peak, 10.0**-DECADES))


def _ends(axis: np.ndarray) -> tuple[float, float]:
    """Outer edges of the first and the last bin."""
    low, high = (axis[1] - axis[0]) / 2, (axis[-1] - axis[-2]) / 2
    return axis[0] - low, axis[-1] + high
