"""Closing lines of a stage."""

import shlex
from pathlib import Path

import pytest

from RISCluster.run_folder import StageFolder
from RISCluster.settings import load_found_settings, load_settings
from RISCluster.stages.closing import describe_autoencoder, describe_clusters
from RISCluster.stages.session import next_command


@pytest.mark.parametrize(
    ("stage", "words", "command"),
    [
        ("AEC", [], "python GMM_centroids.py run.name=x"),
        ("GMM", ["run.folder=/runs"], "python DEC_train.py run.name=x run.folder=/runs"),
        (
            "DEC", [],
            "python -m RISCluster predict NEW.h5 --run Outputs/x -o x_new_labels.csv",
        ),
        ("DEC", ["run.figures=no"], "python -m RISCluster report --run Outputs/x"),
    ],
)  # fmt: skip
def test_next_command_has_all_that_it_needs(stage, words, command):
    assert next_command(load_settings(None, ["run.name=x", *words]), stage) == command


def test_next_command_names_the_settings_file(tmp_path):
    path = tmp_path / "my settings.ini"
    path.write_text("[run]\nname = a b\n")
    command = next_command(load_found_settings(str(path), []), "AEC")
    assert shlex.split(command)[2:] == ["--config", str(path), "run.name=a b"]


RUN = Path("Outputs/x")


def test_of_the_autoencoder():
    metrics = {
        "n_train": 1200, "epochs": 30, "validation_mse": 0.25, "mse_of_mean_spectrogram": 1.0,
        "dead_features": [],
    }  # fmt: skip
    made, sure = describe_autoencoder(metrics, StageFolder(RUN, "AEC"))
    assert made == "autoencoder trained on 1,200 samples for 30 epochs, in Outputs/x/AEC"
    assert sure == (
        "validation loss 0.25, where the mean spectrogram has 1; no latent feature is dead"
    )
    _, sure = describe_autoencoder(metrics | {"dead_features": [1, 2]}, StageFolder(RUN, "AEC"))
    assert sure.endswith("; 2 latent features are dead")


@pytest.mark.parametrize(
    ("more", "made", "sure"),
    [
        ({"stability": 0.8}, "", "silhouette 0.400, stability 0.800"),
        (
            {"refined": False, "neighbour_agreement": 0.9},
            ", those of the mixture: refinement is not kept",
            "silhouette 0.400, neighbour agreement 0.900",
        ),
        (
            {"accuracy": 0.5, "nmi": 0.25, "ari": 0.125},
            "",
            "silhouette 0.400; against the known classes: accuracy 0.500, nmi 0.250, ari 0.125",
        ),
    ],
)
def test_of_clusters(more, made, sure):
    metrics = {"n_clusters": 2, "cluster_sizes": [1500, 20], "silhouette_latent": 0.4} | more
    found = describe_clusters(metrics, StageFolder(RUN, "GMM"))
    assert found == (f"2 clusters of 20 to 1,500 samples, in Outputs/x/GMM/labels.csv{made}", sure)
