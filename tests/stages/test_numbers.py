"""Whole runs on numbers that are hard: each ends with labels, or with an error for users.

Never with another exception, a warning of NumPy, or a NaN in a table or a figure of merit.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import RISClusterError
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import blobs, write_samples

N = 32


def saturated() -> np.ndarray:
    """int16 at its largest in half of the bins, in every bin of some samples."""
    spectrogram = (blobs(N)[0] * 1e5).clip(0, 32767).astype(np.int16)
    spectrogram[::8] = 32767
    return spectrogram


def usable(n: int) -> np.ndarray:
    """All but n samples are NaN, infinite or zero."""
    spectrogram, _ = blobs(N)
    spectrogram[n::3], spectrogram[n + 1 :: 3], spectrogram[n + 2 :: 3] = np.nan, np.inf, 0
    return spectrogram


def of_all_sizes() -> np.ndarray:
    """Amplitudes from 1e-38 to 1e36 in one set, with NaN and infinity in some samples."""
    spectrogram, _ = blobs(N)
    spectrogram *= 10.0 ** np.linspace(-38, 36, N)[:, None, None]
    spectrogram[3, 2, 2], spectrogram[9, 0, 0] = np.nan, -np.inf
    return spectrogram.astype(np.float32)


RUNS = {
    "denormals": (blobs(N)[0] * 1e-42).astype(np.float32),
    "saturated": saturated(),
    "three samples": blobs(3)[0],
    "of all sizes": of_all_sizes(),
    "huge and linear": blobs(N)[0] * np.float32(1e30),
    "tiny and linear": blobs(N)[0] * np.float32(1e-30),
    "more clusters than distinct samples": np.repeat(blobs(2)[0], N // 2, axis=0),
}
LINEAR = ("data.amplitude=linear", "data.transform=none")
WORDS = {
    "of all sizes": LINEAR[:1],  # and to the norm of one
    "three samples": ("gmm.n_clusters=2",),
    "huge and linear": LINEAR,
    "tiny and linear": LINEAR,
    "more clusters than distinct samples": ("gmm.n_clusters=5", "dec.n_clusters=5"),
}


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a file of JSON")


def require_finite(folder: Path, spectrogram: np.ndarray) -> None:
    """Labels of all usable samples, and of each figure of merit a number or nothing."""
    flat = spectrogram.reshape(len(spectrogram), -1)
    there = np.isfinite(flat).all(1) & (flat != 0).any(1)
    for stage in ("GMM", "DEC"):
        with (folder / stage / "labels.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] != "-1" for row in rows] == there.tolist()
        labelled = [row for row in rows if row["label"] != "-1"]
        assert all(0 <= float(row["probability"]) <= 1 for row in labelled)
        assert all(int(row["label"]) >= 0 for row in labelled)
    for stage in ("AEC", "GMM", "DEC"):
        text = (folder / stage / "metrics.json").read_text()
        json.loads(text, parse_constant=refuse)
    assert np.isfinite(np.load(folder / "DEC/latent.npy")[there]).all()
    assert np.isfinite(np.load(folder / "DEC/soft_assignments.npy")[there]).all()


@pytest.mark.parametrize("name", RUNS)
def test_run_ends_with_labels(tmp_path, make_settings, name):
    path = write_samples(tmp_path / "set.h5", RUNS[name])
    settings = make_settings(f"data.file={path}", *WORDS.get(name, ()))
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    require_finite(settings.run_folder, RUNS[name])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (usable(1), "only 1 usable samples were drawn, 1 to train and 0 to validate"),
        (usable(2), "only 2 usable samples were drawn, 2 to train and 0 to validate"),
        (blobs(2)[0], "only 2 usable samples were drawn, 1 to train and 1 to validate"),
        (blobs(N)[0].astype(float) * 1e300, "samples are unusable"),
        (blobs(N)[0].astype(float) * 1e-310, "samples are unusable"),
    ],
    ids=[
        "one usable",
        "two usable",
        "two samples",
        "too large for float32",
        "too small for float32",
    ],
)
def test_run_that_cannot_be_is_refused(tmp_path, make_settings, values, text):
    path = write_samples(tmp_path / "set.h5", values)
    with pytest.raises(RISClusterError) as caught:
        run_aec(make_settings(f"data.file={path}"))
    said = str(caught.value)
    assert text in said
    assert "allowed" in said or "give more" in said
    assert "\n" not in said
