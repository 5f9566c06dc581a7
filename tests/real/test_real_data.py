"""Real files through the whole chain; skipped where they are not at hand."""

import h5py
import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.stages.pretrain import run_aec
from tests.conftest import shared_data
from tests.stages.conftest import metrics, run_all, table


@pytest.fixture
def some_rows(tmp_path):
    """A copy of a real file with some of its samples, and words of a short run of it."""

    def copy(name: str, rows: slice) -> tuple[str, ...]:
        with h5py.File(shared_data(f"{name}.h5")) as source, h5py.File(tmp_path / "d.h5", "w") as f:
            f.attrs.update(source.attrs)

            def add(key, item):
                if isinstance(item, h5py.Dataset):
                    f.create_dataset(key, data=item[rows], dtype=item.dtype)
                    f[key].attrs.update(item.attrs)

            source.visititems(add)
        short = ("aec.n_features=9", "aec.n_epochs=1", "dec.n_epochs=1", "gmm.n_clusters=3")
        return (f"data.file={tmp_path / 'd.h5'}", *short, "gmm.init=kmeans")

    return copy


def test_icequakes_run_to_the_end(some_rows, make_settings):
    folder = run_all(make_settings(*some_rows("rutford_icequakes", slice(120))))
    rows = table(folder / "DEC/labels.csv")
    assert (len(rows), rows[0]["trace_id"]) == (120, "A000")
    assert rows[0]["starttime"] == "2020-01-01T01:00:41.522000Z"
    assert "accuracy" not in metrics(folder / "DEC")


def test_earthquakes_explosions_and_noise(some_rows, make_settings):
    words = ("aec.n_epochs=8", "aec.batch_size=32", "dec.n_epochs=2", "gmm.init=consensus")
    folder = run_all(make_settings(*some_rows("pnw", slice(None, None, 3)), *words))
    # k-means with the true K on 50 principal components of all samples: NMI 0.36.
    for stage in ("GMM", "DEC"):
        assert metrics(folder / stage)["nmi"] > 0.42


@pytest.mark.parametrize("name", ["esc10", "fsdd"])
def test_sounds_run_to_the_end(some_rows, make_settings, name):
    run_all(make_settings(*some_rows(name, slice(60))))


def test_images_of_bytes_without_axes(some_rows, make_settings):
    words = ("data.dataset=images", "data.amplitude=linear", "aec.n_epochs=1")
    run_aec(make_settings(*some_rows("mnist", slice(200)), *words))


def test_stations_of_a_real_inventory():
    stations = read_stations(shared_data("mesetas/stations.xml"))
    np.testing.assert_array_equal(
        stations.locate(["CM.CHI", "CM.PRA"]), [[4.6295, -73.7371], [3.713833, -74.886167]]
    )
