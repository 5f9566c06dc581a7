"""Spectrograms of samples, reconstructions, means and decoded centroids.

Letters: n samples, k clusters, F x T bins, D latent features.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..data.layouts import SpectrogramFile
from .style import (
    PALETTE,
    UNUSABLE_COLOUR,
    amplitude_range,
    axis_label,
    draw_spectrogram,
    edges,
    frame,
    new,
    plain,
    short_title,
)


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
    figure = new(1.45 * n_columns + 1.1, 1.15 * len(members) + 1.1)
    grid = figure.subplots(len(members), n_columns, squeeze=False)
    total = max(1, sum(sizes))
    for row, images in enumerate(members):
        for column, axes in enumerate(grid[row]):
            axes.set(xticks=[], yticks=[], facecolor="0.94")
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
        f"each panel in its own range of amplitudes: {axis_label(file, 'time')} {times} to the "
        f"right, {axis_label(file, 'frequency')} {frequency[0]:.3g} to {frequency[-1]:.3g} upward",
        fontsize=9,
    )
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
    """Mean spectrograms of clusters (k, F, T), NaN for none, beside their decoded centroids."""
    figure = new(8, 1.5 * len(labels) + 1.2)
    grid = figure.subplots(len(labels), 2, squeeze=False, sharex=True, sharey=True)
    for axes_row, label, size, *images in zip(grid, labels, sizes, means, decoded, strict=True):
        limits = amplitude_range(*images, lowest=1)
        for axes, image in zip(axes_row, images, strict=True):
            drawn = draw_spectrogram(axes, file, image, limits)
            frame(axes, label)
        figure.colorbar(drawn, ax=list(axes_row), pad=0.02)
        axes_row[0].set_ylabel(f"{short_title(label, names)}\nn = {size:,}", fontsize=9)
    grid[0, 0].set_title("Mean", fontsize=10)
    grid[0, 1].set_title("Decoded centroid", fontsize=10)
    figure.supxlabel(axis_label(file, "time"), fontsize=10)
    figure.supylabel(axis_label(file, "frequency"), fontsize=10)
    figure.suptitle(f"Mean of each cluster and its decoded centroid ({unit})", fontsize=11)
    return figure


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
    scaled = [[_scaled(image, signed) for image, _ in row] for _, row in rows]
    usable = [image for row in scaled for image in row if image is not None]
    limits, drawn = amplitude_range(*usable, np.zeros(0), lowest=2), None
    figure, columns = new(11, 1.75 * len(rows) + 1.2), max(4, *(len(row) for _, row in rows))
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for axes_row, (name, row), values in zip(grid, rows, scaled, strict=True):
        for axes in axes_row[len(row) :]:
            axes.axis("off")
        for axes, (_, heading), image in zip(axes_row, row, values, strict=False):
            axes.set_title(heading, fontsize=7.5)
            if image is None:
                axes.set_facecolor(UNUSABLE_COLOUR)
                axes.text(0.5, 0.5, "unusable", transform=axes.transAxes, ha="center", va="center")
            else:
                drawn = draw_spectrogram(axes, file, image, limits)
        axes_row[0].set_ylabel(plain(name), fontsize=9)
    grid[0, 0].set(ylim=edges(file.frequency)[[0, -1]])
    if len(file.components) == 1:
        grid[0, 0].set(xlim=edges(file.time)[[0, -1]])
    figure.supxlabel(axis_label(file, "time"), fontsize=10)
    figure.supylabel(axis_label(file, "frequency"), fontsize=10)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=grid, shrink=min(1.0, 4 / len(rows)), aspect=30, pad=0.015)
        label = "amplitude" + (f" ({file.amplitude_unit})" if file.amplitude_unit else "")
        bar.set_label(label if signed else "log10 of amplitude over the sample's peak", fontsize=9)
    figure.suptitle(title)
    return figure


def _scaled(image: np.ndarray, signed: bool) -> np.ndarray | None:
    """Values to draw of one sample (F, T), down to 1e-4 of the peak; None if it is unusable."""
    peak = np.abs(image).max()
    if not np.isfinite(peak) or peak == 0:
        return None
    return image if signed else np.log10(np.maximum(image / peak, 1e-4))
