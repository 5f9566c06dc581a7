from pathlib import Path

import pytest

from RISCluster.run_folder import StageFolder
from RISCluster.stages.closing import closing_lines, of_autoencoder, of_clusters

RUN = Path("Outputs/x")


def test_lines():
    assert closing_lines("a", "b", "c") == ["made: a", "sure: b", "next: c"]


def test_of_the_autoencoder():
    metrics = {
        "n_train": 1200, "epochs": 30, "validation_mse": 0.25, "mse_of_mean_spectrogram": 1.0,
        "dead_features": [],
    }  # fmt: skip
    made, sure = of_autoencoder(metrics, StageFolder(RUN, "AEC"))
    assert made == "autoencoder trained on 1,200 samples for 30 epochs, in Outputs/x/AEC"
    assert sure == (
        "validation loss 0.25, where the mean spectrogram has 1; no latent feature is dead"
    )
    _, sure = of_autoencoder(metrics | {"dead_features": [1, 2]}, StageFolder(RUN, "AEC"))
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
    found = of_clusters(metrics, StageFolder(RUN, "GMM"))
    assert found == (f"2 clusters of 20 to 1,500 samples, in Outputs/x/GMM/labels.csv{made}", sure)
