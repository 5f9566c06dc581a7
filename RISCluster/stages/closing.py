"""The three lines with which every stage ends: what was made, how sure it is, what comes next."""

from typing import Any

from ..io import read_json
from ..run_folder import StageFolder
from ..runtime import count, log
from .session import LABELS, METRICS, Session, next_command

SURE = {
    "mean_probability": "mean posterior probability",
    "silhouette_latent": "silhouette",
    "stability": "stability",
    "neighbour_agreement": "neighbour agreement",
}
KNOWN = ("accuracy", "nmi", "ari")


def closing_lines(made: str, sure: str, next: str) -> list[str]:
    """The lines, each under its heading.

    Parameters
    ----------
    made : str
        What the stage has made, and where it is.
    sure : str
        How far that is to be believed, in figures.
    next : str
        Command to run next.
    """
    return [f"made: {made}", f"sure: {sure}", f"next: {next}"]


def say_end(session: Session, stage: StageFolder) -> None:
    """Log the closing lines of a complete stage, from its metrics; on the first process."""
    if not session.ranks.is_first:
        return
    metrics = read_json(stage.path / METRICS)
    metrics = {key: value for key, value in metrics.items() if value is not None}  # null is NaN
    words = of_autoencoder if stage.name == "AEC" else of_clusters
    for line in closing_lines(*words(metrics, stage), next_command(session.settings, stage.name)):
        log.info(line)


def of_autoencoder(metrics: dict[str, Any], stage: StageFolder) -> tuple[str, str]:
    """What the AEC stage made, and how sure it is."""
    dead = metrics.get("dead_features")
    made = (
        f"autoencoder trained on {metrics['n_train']:,} samples for "
        f"{count(metrics['epochs'], 'epoch')}, in {stage.path}"
    )
    sure = (
        f"validation loss {metrics['validation_mse']:.4g}, where the mean spectrogram has "
        f"{metrics['mse_of_mean_spectrogram']:.4g}; "
        + (f"{len(dead)} latent features are dead" if dead else "no latent feature is dead")
    )
    return made, sure


def of_clusters(metrics: dict[str, Any], stage: StageFolder) -> tuple[str, str]:
    """What the GMM or the DEC stage made, and how sure it is."""
    sizes = metrics["cluster_sizes"]
    kept = "" if metrics.get("refined", True) else ", those of the mixture: refinement is not kept"
    made = (
        f"{metrics['n_clusters']} clusters of {min(sizes):,} to {max(sizes):,} samples, in "
        f"{stage.path / LABELS}{kept}"
    )
    sure = [f"{name} {metrics[key]:.3f}" for key, name in SURE.items() if key in metrics]
    known = [f"{key} {metrics[key]:.3f}" for key in KNOWN if key in metrics]
    text = ", ".join(sure)
    return made, f"{text}; against the known classes: {', '.join(known)}" if known else text
