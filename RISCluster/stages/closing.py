"""The three lines with which every stage ends: result, quality, next command."""

from typing import Any

from ..io import read_json
from ..run_folder import StageFolder
from ..runtime import count, log
from .session import LABELS, METRICS, Session, next_command

QUALITY = {
    "mean_probability": "mean posterior probability",
    "silhouette_latent": "silhouette",
    "stability": "stability",
    "neighbour_agreement": "neighbour agreement",
}
AGREEMENT = ("accuracy", "nmi", "ari")


def log_summary(session: Session, stage: StageFolder) -> None:
    """Log the closing lines of a complete stage, on rank 0."""
    if not session.ranks.is_first:
        return
    metrics = read_json(stage.path / METRICS)
    metrics = {key: value for key, value in metrics.items() if value is not None}  # null is NaN
    describe = describe_autoencoder if stage.name == "AEC" else describe_clusters
    made, quality = describe(metrics, stage)
    log.info(f"made: {made}")
    log.info(f"sure: {quality}")
    log.info(f"next: {next_command(session.settings, stage.name)}")


def describe_autoencoder(metrics: dict[str, Any], stage: StageFolder) -> tuple[str, str]:
    """Result and quality of the AEC stage."""
    dead = metrics.get("dead_features")
    made = (
        f"autoencoder trained on {metrics['n_train']:,} samples for "
        f"{count(metrics['epochs'], 'epoch')}, in {stage.path}"
    )
    quality = (
        f"validation loss {metrics['validation_mse']:.4g}, where the mean spectrogram has "
        f"{metrics['mse_of_mean_spectrogram']:.4g}; "
        + (f"{len(dead)} latent features are dead" if dead else "no latent feature is dead")
    )
    return made, quality


def describe_clusters(metrics: dict[str, Any], stage: StageFolder) -> tuple[str, str]:
    """Result and quality of the GMM or the DEC stage."""
    sizes = metrics["cluster_sizes"]
    kept = "" if metrics.get("refined", True) else ", those of the mixture: refinement is not kept"
    made = (
        f"{metrics['n_clusters']} clusters of {min(sizes):,} to {max(sizes):,} samples, in "
        f"{stage.path / LABELS}{kept}"
    )
    figures = [f"{name} {metrics[key]:.3f}" for key, name in QUALITY.items() if key in metrics]
    known = [f"{key} {metrics[key]:.3f}" for key in AGREEMENT if key in metrics]
    quality = ", ".join(figures)
    return made, f"{quality}; against the known classes: {', '.join(known)}" if known else quality
