import shutil

from RISCluster.report.about_citing import BIBTEX, methods, section
from RISCluster.report.asides import Listing
from RISCluster.runs.run import open_run
from tests.report.test_about_run import change_metrics


def test_methods_say_what_was_done(run_folder):
    with open_run(run_folder) as run:
        text = methods(run)
        epochs = run.stages["AEC"].metrics["epochs"]
        chosen = run.stages["GMM"].n_clusters
    for part in (
        "We clustered 95 spectrograms of 16 x 20 bins (1 more was unusable and left out)",
        "Square roots of the amplitudes were taken, and each spectrogram was scaled to unit L2",
        "3 latent features",
        "10 principal components of the smoothed spectrograms, taken once as they are and once "
        "relative to the background (the median amplitude at each frequency), and 10 of their "
        "modulation spectra",
        f"training ended after {epochs} epochs (Adam, batches of 16, initial learning rate 0.001)",
        "started from the clusters on which 12 t-SNE maps of them agree, with 2 to 4 clusters",
        f"criterion selected {chosen}",
        "Encoder and 3 clusters were then refined",
        "gamma = 1",
    ):
        assert part in text, part


def test_methods_are_honest_about_refinement(run_folder):
    change_metrics(run_folder, "DEC", refined=False)
    with open_run(run_folder) as run:
        assert "was not kept: the labels are those of the Gaussian mixture" in methods(run)
    change_metrics(run_folder, "DEC", refined=True, label_change_from_gmm=0.25)
    with open_run(run_folder) as run:
        assert "It changed 25.0% of the mixture's labels." in methods(run)
        assert "not kept" not in methods(run)


def test_methods_claim_no_stage_that_is_not_there(run_folder):
    shutil.rmtree(run_folder / "DEC")
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        text = methods(run)
        assert "refined" not in text
        assert "Gaussian mixtures" in text
        assert "bins" not in text
    shutil.rmtree(run_folder / "GMM")
    with open_run(run_folder) as run:
        assert "Gaussian" not in methods(run)
        assert "3 latent features" in methods(run)


def test_methods_without_views_say_nothing_of_them(run_folder):
    nothing = {"smoothed": 0, "modulation": 0}
    for of_run in (nothing, None):
        change_metrics(run_folder, "AEC", n_components=of_run)
        with open_run(run_folder) as run:
            assert "modulation" not in methods(run)
            assert "23 latent features" in methods(run)


def test_methods_of_a_run_with_one_map(run_folder):
    for number in (1, None):  # made before there were several
        change_metrics(run_folder, "GMM", n_maps=number)
        with open_run(run_folder) as run:
            assert "started from a t-SNE map of them, with 2" in methods(run)


def test_references(run_folder):
    with open_run(run_folder) as run:
        found = section(run)
        text = "\n".join(block.text for block in found.blocks)
        for part in ("10.1029/2021JB021716", "10.1785/0220200164", "PyTorch", "RISCluster"):
            assert part in text
    assert [block.text for block in found.blocks if isinstance(block, Listing)] == [BIBTEX]
    assert BIBTEX.count("{") == BIBTEX.count("}")
