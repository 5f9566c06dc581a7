"""Samples: spectrograms, reconstructions, means and decoded centroids, windows of waveforms.

Letters: n samples, k clusters, F x T bins, D latent features.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..data.layouts import SpectrogramFile
from ..settings import BuildSettings
from ..waveforms.process import Wave
from ..waveforms.windows import Windows, characteristic, is_detected
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
    tidy,
)

WINDOW, ONSET, END = PALETTE[0], PALETTE[3], PALETTE[2]  # colours
SHOWN = 12  # lengths of a window


def reconstructions(
    file: SpectrogramFile, inputs: np.ndarray, latents: np.ndarray, outputs: np.ndarray,
    titles: Sequence[str],
) -> Figure:  # fmt: skip
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
    file: SpectrogramFile, members: Sequence[np.ndarray], labels: Sequence[int],
    headings: Sequence[str], n_columns: int, title: str,
) -> Figure:  # fmt: skip
    """Members of each cluster, (n, F, T) with n at most `n_columns`, in a row for each cluster."""
    figure = new(1.45 * n_columns + 1.1, 1.15 * len(members) + 1.1)
    grid = figure.subplots(len(members), n_columns, squeeze=False)
    for row, images in enumerate(members):
        for column, axes in enumerate(grid[row]):
            axes.set(xticks=[], yticks=[], facecolor="0.94")
            if column < len(images):
                draw_spectrogram(axes, file, images[column])
            frame(axes, labels[row])
        grid[row, 0].set_ylabel(headings[row], rotation=0, ha="right", va="center", fontsize=9)
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
    file: SpectrogramFile, means: np.ndarray, decoded: np.ndarray, labels: Sequence[int],
    headings: Sequence[str], unit: str,
) -> Figure:  # fmt: skip
    """Mean spectrograms of clusters (k, F, T), NaN for none, beside their decoded centroids."""
    figure = new(8, 1.5 * len(labels) + 1.2)
    grid = figure.subplots(len(labels), 2, squeeze=False, sharex=True, sharey=True)
    for axes_row, label, heading, *images in zip(
        grid, labels, headings, means, decoded, strict=True
    ):
        limits = amplitude_range(*images, lowest=1)
        for axes, image in zip(axes_row, images, strict=True):
            drawn = draw_spectrogram(axes, file, image, limits)
            frame(axes, label)
        figure.colorbar(drawn, ax=list(axes_row), pad=0.02)
        axes_row[0].set_ylabel(heading, fontsize=9)
    grid[0, 0].set_title("Mean", fontsize=10)
    grid[0, 1].set_title("Decoded centroid", fontsize=10)
    figure.supxlabel(axis_label(file, "time"), fontsize=10)
    figure.supylabel(axis_label(file, "frequency"), fontsize=10)
    figure.suptitle(f"Mean of each cluster and its decoded centroid ({unit})", fontsize=11)
    return figure


def sample_overview(
    file: SpectrogramFile, rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]], title: str
) -> Figure:
    """Samples in one range of amplitudes: rows of (name, (image (F, T), title) of each).

    Drawn is the decimal logarithm of the amplitude over each sample's peak, down to -4, or, if any
    sample has negative values (decibels), the amplitude as stored.
    """
    every = [image for _, row in rows for image, _ in row]
    usable = [image for image in every if np.isfinite(image).all() and image.any()]
    signed = any(image.min() < 0 for image in usable)

    def scaled(image: np.ndarray) -> np.ndarray:
        return image if signed else np.log10(np.maximum(image / image.max(), 1e-4))

    limits, drawn = amplitude_range(*map(scaled, usable), np.zeros(0), lowest=2), None
    figure, columns = new(11, 1.75 * len(rows) + 1.2), max(4, *(len(row) for _, row in rows))
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for axes_row, (name, row) in zip(grid, rows, strict=True):
        for axes in axes_row[len(row) :]:
            axes.axis("off")
        for axes, (image, heading) in zip(axes_row, row, strict=False):
            axes.set_title(heading, fontsize=7.5)
            if np.isfinite(image).all() and image.any():
                drawn = draw_spectrogram(axes, file, scaled(image), limits)
            else:
                axes.set_facecolor(UNUSABLE_COLOUR)
                axes.text(0.5, 0.5, "unusable", transform=axes.transAxes, ha="center", va="center")
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


def windows_of_traces(
    found: Sequence[tuple[str, Wave, Windows]], settings: BuildSettings, unit: str
) -> Figure:
    """Part of each wave about its middle window, or about the largest value of the detector.

    Windows are shaded, onsets and ends are lines; the detector is below, with its thresholds.
    """
    n, length = 1 + is_detected(settings), settings.length
    reach = SHOWN / 2 * length
    figure = new(11, 1.4 * n * len(found) + 0.6)
    grid = figure.subplots(n * len(found), height_ratios=[2, 1][:n] * len(found), squeeze=False)
    for number, (name, wave, windows) in enumerate(found):
        panels, rate = grid[n * number : n * (number + 1), 0], wave.sampling_rate
        curves = [(0, wave.data)]  # from which sample on
        if n > 1:
            curves.append((wave.edge, characteristic(wave, settings)))
        middle = len(wave.data) / 2
        if len(windows.start):
            middle = windows.start[len(windows.start) // 2] + length * rate / 2
        elif len(curves[-1][1]):
            middle = np.abs(curves[-1][1]).argmax() + curves[-1][0]
        starts, onsets, ends = ((x[x >= 0] - middle) / rate for x in windows[:3])
        for panel, (first, values) in zip(panels, curves, strict=True):
            time = (np.arange(len(values)) + first - middle) / rate
            shown = np.abs(time) <= reach
            panel.plot(time[shown], values[shown], "0.25", lw=0.5)
            panel.set_xlim(-reach, reach)
            tidy(panel)
            for moments, colour in ((onsets, ONSET), (ends, END)):
                for moment in moments[np.abs(moments) <= reach]:
                    panel.axvline(moment, color=colour, lw=0.8)
        for start in starts[np.abs(starts + length / 2) <= reach]:
            panels[0].axvspan(start, start + length, color=WINDOW, alpha=0.12, lw=0)
        panels[0].set_title(f"{plain(name, 60)}: {len(windows.start):,} windows", fontsize=9)
        panels[0].set_ylabel(plain(unit))
        if n > 1:
            panels[1].axhline(settings.on, color=ONSET, lw=0.8, ls="--")
            panels[1].axhline(settings.off, color=END, lw=0.8, ls="--")
            panels[1].set_ylabel("detector")
    grid[-1, 0].set_xlabel("Time (s); onsets and threshold orange, ends green, windows shaded")
    return figure
