"""Real files through the whole chain; skipped where they are not at hand."""

import h5py
import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.stages.pretrain import run_aec
from tests.conftest import shared_data
from tests.stages.conftest import metrics, run_all, table


@pytest.fixture
def settings_of(tmp_path, make_settings):
    """Settings of a short run on a copy of a real file with some of its samples."""

    def copy(name: str, rows: slice, *words: str):
        with h5py.File(shared_data(f"{name}.h5")) as source, h5py.File(tmp_path / "d.h5", "w") as f:
            f.attrs.update(source.attrs)

            def add(key, item):
                if isinstance(item, h5py.Dataset):
                    f.create_dataset(key, data=item[rows], dtype=item.dtype)
                    f[key].attrs.update(item.attrs)

            source.visititems(add)
        short = ("aec.n_features=9", "aec.n_epochs=1", "dec.n_epochs=1", "gmm.n_clusters=3")
        return make_settings(f"data.file={tmp_path / 'd.h5'}", *short, "gmm.init=kmeans", *words)

    return copy


@pytest.mark.parametrize("name", ["rutford_icequakes", "esc10", "fsdd"])
def test_icequakes_and_sounds_run_to_the_end(settings_of, name):
    folder = run_all(settings_of(name, slice(60)))
    rows = table(folder / "DEC/labels.csv")
    assert len(rows) == 60
    if name == "rutford_icequakes":
        assert rows[0]["trace_id"] == "A000"
        assert rows[0]["starttime"] == "2020-01-01T01:00:41.522000Z"
        assert "accuracy" not in metrics(folder / "DEC")


def test_earthquakes_explosions_and_noise(settings_of):
    words = ("aec.n_epochs=8", "aec.batch_size=32", "dec.n_epochs=2", "gmm.init=consensus")
    words += ("gmm.n_resamples=none",)
    folder = run_all(settings_of("pnw", slice(None, None, 3), *words))
    # k-means with the true K on 50 principal components of all samples: NMI 0.36.
    for stage in ("GMM", "DEC"):
        assert metrics(folder / stage)["nmi"] > 0.42


def test_images_of_bytes_without_axes(settings_of):
    run_aec(settings_of("mnist", slice(200), "data.dataset=images", "data.amplitude=linear"))


def test_stations_of_a_real_inventory():
    stations = read_stations(shared_data("mesetas/stations.xml"))
    np.testing.assert_array_equal(
        stations.locate(["CM.CHI", "CM.PRA"]), [[4.6295, -73.7371], [3.713833, -74.886167]]
    )
