"""Single samples as figures show them: image, when and where, waveform.

Letters: m samples, F x T bins, S samples of a waveform.
"""

from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
import torch

from ..data.layouts import RowsFile
from ..data.spectrograms import SpectrogramFile
from ..data.times import to_text
from ..data.transforms import Preparation
from ..evaluation.representatives import Chosen
from ..plots.members import Shown
from ..runs.labels import LabelTable
from ..runs.run import FinishedRun

NAMES = ("trace", "Trace")


@dataclass(frozen=True)
class Waveforms:
    """Where a data set has the waveforms beside its spectrograms.

    Attributes
    ----------
    file : SpectrogramFile
    dataset : str
    sampling_rate : float
        Hz.
    unit : str
        Empty where the file does not say.
    """

    file: SpectrogramFile
    dataset: str
    sampling_rate: float
    unit: str

    def read(self, index: np.ndarray) -> np.ndarray:
        """Of samples in any order, (m, S), float32."""
        with h5py.File(self.file.path, "r") as file:
            return np.stack([file[self.dataset][int(i)] for i in index]).astype(np.float32)


def waveforms_of(file: SpectrogramFile | None) -> Waveforms | None:
    """Waveforms of a data set made with ``build.traces=yes``, or None where it has none."""
    if not isinstance(file, RowsFile):
        return None
    group = file.dataset.rpartition("/")[0]
    with h5py.File(file.path, "r") as opened:
        for name in NAMES:
            dataset = f"{group}/{name}".lstrip("/")
            found = opened.get(dataset)
            if isinstance(found, h5py.Dataset) and found.ndim == 2:
                rate = _sampling_rate(found, group)
                if len(found) == file.n_samples and found.shape[1] > 1 and rate:
                    attributes = found.attrs
                    unit = to_text(attributes.get("units", attributes.get("AmplUnits", "")))
                    return Waveforms(file, dataset, rate, unit)
    return None


def _sampling_rate(found: h5py.Dataset, group: str) -> float:
    """As the data set says it, or by the group, which is named after the window's seconds."""
    if "sampling_rate" in found.attrs:
        return float(found.attrs["sampling_rate"])
    try:
        return found.shape[1] / float(group)
    except (ValueError, ZeroDivisionError):
        return 0.0


def images(run: FinishedRun, index: np.ndarray) -> np.ndarray:
    """Samples in any order as galleries show them, (m, F, T): amplitude as trained, peak 1."""
    file = run.file
    rows = [file.read(int(i), int(i) + 1) for i in index]
    if not rows:
        return np.empty((0, file.n_frequencies, file.n_times), dtype=np.float32)
    preparation = Preparation(run.settings.data.amplitude, "sample_normalization")
    return preparation(torch.from_numpy(np.concatenate(rows))).numpy()


def shown(
    run: FinishedRun,
    chosen: Chosen,
    title: Callable[[int], str],
    waveforms: Waveforms | None = None,
) -> list[Shown]:
    """Chosen samples, ready to be drawn.

    Parameters
    ----------
    run : FinishedRun
        With its data.
    chosen : Chosen
    title : callable
        Of a place among them to what stands above it.
    waveforms : Waveforms, optional
    """
    drawn = images(run, chosen.index)
    traces = [None] * len(chosen) if waveforms is None else waveforms.read(chosen.index)
    return [
        Shown(image, title(place), int(label), trace)
        for place, (image, label, trace) in enumerate(zip(drawn, chosen.label, traces, strict=True))
    ]


def time_of(times: np.ndarray | None, index: int, unit: str = "s") -> str:
    """One of a column of times in UTC, to a unit of time; empty where it is not known."""
    if times is None or np.isnat(times[index]):
        return ""
    return str(times[index].astype(f"datetime64[{unit}]")).replace("T", " ")


def trace_of(table: LabelTable, index: int) -> str:
    """Trace id; empty where it is not known."""
    return "" if table.trace is None else table.trace_ids[int(table.trace[index])]


def place_of(table: LabelTable, index: int) -> str:
    """Time and trace on two lines, or the sample's number where neither is known."""
    known = [text for text in (time_of(table.starttime, index), trace_of(table, index)) if text]
    return "\n".join(known).replace("$", r"\$") if known else f"sample {index:,}"
