"""Processed waveforms with detections and windows, to choose the settings of ``build``."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..settings import BuildSettings
from ..waveforms.process import Wave
from ..waveforms.windows import Windows, characteristic, is_detected
from .style import PALETTE, new, plain, tidy

SHOWN = 12  # lengths of a window
WINDOW, ONSET, END = PALETTE[0], PALETTE[3], PALETTE[2]


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
