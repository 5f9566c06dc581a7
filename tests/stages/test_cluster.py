"""The GMM stage: choice of K, half-samples, few samples."""

import numpy as np

from RISCluster.clustering.selection import choose, read_rows
from RISCluster.runs.labels import read_labels
from RISCluster.stages.cluster import read_mixture, run_gmm
from RISCluster.stages.pretrain import run_aec
from tests.conftest import blobs, write_samples
from tests.stages.conftest import refused


def test_selected_by_stability_with_labels_and_temperatures_of_every_number(finished):
    settings = finished("gmm.select=stability", "gmm.all_labels=yes")
    run_gmm(settings)
    folder = settings.run_folder / "GMM"
    assert not list(folder.glob("fits*"))
    rows = read_rows(folder / "selection.csv")
    assert np.isfinite(rows).all()
    k, path = choose(rows, "stability"), folder / "model.npz"
    assert len(read_mixture(path, "auto").weights) == k
    mixtures = {number: read_mixture(path, number) for number in (2, 3, 4)}
    with np.load(path) as arrays:
        assert arrays["n_clusters"].tolist() == [2, 3, 4]
        names = "temperature", "smoothing"
        found = [tuple(float(arrays[f"{x}_{number}"]) for x in names) for number in mixtures]
    assert [(each.temperature, each.smoothing) for each in mixtures.values()] == found
    assert max(found) > (1.0, 0.01)  # more clusters than three classes were fitted
    assert (folder / f"labels_{k}.csv").read_bytes() == (folder / "labels.csv").read_bytes()
    latents = np.load(folder / "latent.npy")
    for number, mixture in mixtures.items():
        labels = read_labels(folder / f"labels_{number}.csv")["label"]
        np.testing.assert_array_equal(labels, mixture.posterior(latents).argmax(1))
    message = refused(run_gmm, finished("gmm.n_resamples=none", "gmm.select=stability"))
    assert "set gmm.n_resamples = 6, or select by another" in message


def test_fewer_samples_than_clusters(tmp_path, make_settings):
    path = write_samples(tmp_path / "few.h5", blobs(6)[0])
    run_aec(make_settings(f"data.file={path}", "aec.n_epochs=1"))
    message = refused(run_gmm, make_settings(f"data.file={path}", "gmm.n_clusters=8-9"))
    assert "asks for 8 clusters and more, and only 6 samples can be used" in message
    settings = make_settings(f"data.file={path}", "gmm.n_clusters=2-9")
    run_gmm(settings)
    rows = read_rows(settings.run_folder / "GMM/selection.csv")
    assert [row.n_clusters for row in rows] == [2, 3, 4, 5, 6]
