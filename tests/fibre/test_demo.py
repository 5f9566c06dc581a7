"""The synthetic cube of a fibre."""

import h5py
import numpy as np

from RISCluster.__main__ import main
from RISCluster.data.layouts import open_spectrograms
from RISCluster.fibre.make_cube import CLASSES
from tests.stages.conftest import metrics

QUICK = (
    "run.figures=no", "run.device=cpu", "aec.n_epochs=3", "aec.n_components=4",
    "gmm.n_clusters=4", "gmm.init=kmeans", "gmm.n_init=4", "gmm.n_resamples=none", "dec.n_epochs=1",
)  # fmt: skip


def test_known_sources_through_the_three_stages(here):
    assert main(["demo", "--cube", "--samples", "1100", "--snr", "10", "--seed", "3"]) == 0
    cube = here / "Data/demo_cube.h5"
    with open_spectrograms(cube) as file:
        assert (file.layout, file.class_names()) == ("cube", [*CLASSES])
        labels = file.labels()
        window, channel = file.place(np.arange(file.n_samples))
        with h5py.File(cube) as stored:
            middle = stored["labels"][:][file.window_starts[window] + 2, channel]
        assert labels.tolist() == middle.tolist()
        assert {*labels} == {0, 1, 2, 3}
        pump = file.read(0, file.n_samples)[labels == 2].mean((0, 2)) * file.frequency
        assert file.frequency[pump.argmax()] == 24
    assert main(["run", str(cube), "--name", "d", *QUICK]) == 0
    found = metrics(here / "Outputs/d/DEC")
    assert found["nmi"] > 0.4
    assert found["accuracy"] > 0.7
    assert (here / "Outputs/d/DEC/labels.h5").exists()
