"""A request to stop while latents are mapped, which takes the longest between two saved states."""

import os
import signal
from inspect import unwrap

import pytest

from RISCluster.clustering import stability
from RISCluster.errors import Stopped
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec

STAGES = (run_aec, run_gmm, run_dec)


@pytest.mark.parametrize(
    ("number", "what", "most"),
    [(1, "Mapping latents", 4), (1, "Mapping half-samples", 3), (2, "Mapping half-samples", 3)],
)
def test_stops_soon_and_goes_on(number, what, most, make_settings, small_file, monkeypatch):
    mapped = unwrap(initialisation.neighbour_map)  # one that was drawn before takes no time
    draw, done = initialisation.draw_maps, []

    def asked_to_stop(*words):
        done.append(words)
        if len(done) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return mapped(*words)

    def draw_or_stop(asked, said, stop):
        with monkeypatch.context() as patch:
            if said == what:
                patch.setattr(initialisation, "neighbour_map", asked_to_stop)
            return draw(asked, said, stop)

    settings = make_settings(f"data.file={small_file}", "dec.keep=refined")
    for stage in STAGES[:number]:
        stage(settings)
    monkeypatch.setattr(initialisation, "processors", lambda: 1)
    for module in (initialisation, stability):
        monkeypatch.setattr(module, "draw_maps", draw_or_stop)
    with pytest.raises(Stopped, match="^mapping .*; run the same command to go on$") as error:
        STAGES[number](settings)
    assert error.value.exit_code == 128 + signal.SIGTERM
    assert 0 < len(done) < most  # one that was under way, and one that the thread took up
    monkeypatch.undo()
    STAGES[number](settings)
    assert (settings.run_folder / ("GMM", "DEC")[number - 1] / "labels.csv").exists()
