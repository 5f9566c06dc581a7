"""How the networks were trained: losses, best epoch, dead features, reconstructions, speed.

Letters: n samples, D latent features, F x T bins.
"""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots as figures
from ..data.loading import Split
from ..data.tables import read_table
from ..data.transforms import Preparation
from ..io import load_checkpoint
from ..models.autoencoder import AEC, NetworkShape
from ..models.reference import load_weights
from ..plots import SpectrogramAxes
from ..plots.stage_figures import SHOWN_RECONSTRUCTIONS, read_history
from ..runs.run import FinishedRun, FinishedStage
from .blocks import Block, Note, Picture, Section, Table, Text

History = dict[str, np.ndarray]


def section(run: FinishedRun) -> Section | None:
    """Autoencoder first, then refinement; None where neither is there."""
    blocks: list[Block] = []
    if "AEC" in run.stages:
        blocks += _autoencoder(run, run.stages["AEC"])
    if "DEC" in run.stages:
        blocks += _refinement(run.stages["DEC"])
    return Section("Training", "training", blocks) if blocks else None


# ---- autoencoder --------------------------------------------------------------------------------


def _autoencoder(run: FinishedRun, stage: FinishedStage) -> list[Block]:
    history, metrics = read_history(stage.path / "history.csv"), stage.metrics
    variance = metrics.get("mse_of_mean_spectrogram") or 1.0
    blocks: list[Block] = [
        Table("Autoencoder", ("", "Value"), autoencoder_rows(history, metrics), digits=4)
    ]
    dead = metrics.get("dead_features") or []
    if dead:
        blocks.append(
            Note(
                f"{len(dead)} latent features are dead, the same for every sample: "
                f"{', '.join(map(str, dead))}. They tell no samples apart."
            )
        )
    if len(history["epoch"]):
        caption = (
            "Mean squared error of reconstruction over epochs; the ring is the best validation "
            "loss, whose weights are kept. The dotted line is what the mean spectrogram alone "
            "scores: a network there has learnt nothing."
        )
        draw = lambda: figures.aec_history(history, variance)  # noqa: E731
        blocks.append(Picture("report_aec_history", draw, caption))
    blocks += _sweep(stage)
    if run.file is not None:
        blocks.append(_reconstructions(run, stage))
    return blocks


def autoencoder_rows(history: History, metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """What came of training: name and value."""
    rows: list[tuple[str, Any]] = [("Epochs", len(history["epoch"]))]
    if len(history["epoch"]):
        best = int(np.nanargmin(history["validation_mse"]))
        rows.append(("Best epoch", int(history["epoch"][best])))
    rows += [
        ("Training loss, of the weights kept", metrics.get("mse")),
        ("Validation loss, of the weights kept", metrics.get("validation_mse")),
        ("Loss of the mean spectrogram", metrics.get("mse_of_mean_spectrogram")),
        ("Dead features", len(metrics.get("dead_features") or [])),
    ]
    return rows + _speed_rows(history)


def _speed_rows(history: History) -> list[tuple[str, Any]]:
    if not len(history["epoch"]):
        return []
    return [
        ("Seconds of training", float(history["seconds"].sum())),
        ("Samples a second, median", round(float(np.median(history["samples_per_second"])))),
    ]


def _sweep(stage: FinishedStage) -> list[Block]:
    """Combinations that were tried, where there was a choice."""
    path = stage.path / "sweep.csv"
    if not path.exists():
        return []
    table, best = read_table(path), stage.metrics.get("sweep_best")
    scores = zip(table.text(0), table.numbers(1)[0].tolist(), strict=True)
    values = [(name, value, "taken" if name == best else "") for name, value in scores]
    return [Table(f"Sweep of {stage.name}", (*table.names, ""), values)]


def _reconstructions(run: FinishedRun, stage: FinishedStage) -> Picture:
    caption = (
        "Validation samples as the network sees them before standardisation, their latent "
        "features, and what the decoder makes of those. What is missing on the right, the "
        "clusters can't tell apart."
    )
    return Picture("report_reconstructions", lambda: draw_reconstructions(run, stage), caption)


def draw_reconstructions(run: FinishedRun, stage: FinishedStage) -> Figure:
    """Figure of validation samples, spread over the file, through the network of a stage."""
    content = load_checkpoint(stage.path / "model.pt", "AEC model")
    model = AEC(NetworkShape.from_plain(content["network"]))
    load_weights(model, content["state"], str(stage.path))
    model.eval()
    preparation = Preparation(**content["preparation"])
    validation = Split.load(stage.path / "split.npz").validation
    chosen = np.linspace(0, len(validation) - 1, SHOWN_RECONSTRUCTIONS).astype(int)
    index = validation[np.unique(chosen)]
    samples = np.concatenate([rows for _, rows in run.file.read_blocks(index)])
    with torch.inference_mode():
        x = preparation(torch.from_numpy(samples))[:, None]
        reconstruction, z = model(x)
    seen, made = (preparation.undo_standardize(y[:, 0]).numpy() for y in (x, reconstruction))
    titles = [f"sample {i}" for i in index]
    return figures.reconstructions(SpectrogramAxes.of(run.file), seen, z.numpy(), made, titles)


# ---- refinement ---------------------------------------------------------------------------------


def _refinement(stage: FinishedStage) -> list[Block]:
    history, tol = read_history(stage.path / "history.csv"), stage.settings.dec.tol
    blocks: list[Block] = [
        Table("Refinement", ("", "Value"), refinement_rows(history, stage.metrics), digits=4),
        *_kept(stage.metrics),
    ]
    if len(history["epoch"]):
        caption = (
            "Reconstruction loss, clustering loss (Kullback-Leibler divergence of the target "
            "distribution from the soft assignment) and share of labels that change between two "
            "refreshes of the target; below the dotted line refinement stops."
        )
        limit = tol[0] if isinstance(tol, tuple) else tol
        draw = lambda: figures.dec_history(history, limit)  # noqa: E731
        blocks.append(Picture("report_dec_history", draw, caption))
    return [*blocks, *_sweep(stage)]


def refinement_rows(history: History, metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """What came of refinement: name and value."""
    rows: list[tuple[str, Any]] = [("Epochs", len(history["epoch"]))]
    if len(history["epoch"]):
        names = (("mse", "reconstruction loss"), ("kl", "clustering loss"), ("loss", "sum of both"))
        for key, name in names:
            rows.append((f"Last {name}", float(history[key][-1])))
        rows.append(("Last label change", float(history["label_change"][-1])))
    rows += [
        ("Labels that differ from the mixture's, share", metrics.get("label_change_from_gmm")),
        ("Neighbour agreement of the mixture", metrics.get("neighbour_agreement_of_gmm")),
        ("Neighbour agreement as kept", metrics.get("neighbour_agreement")),
    ]
    return rows + _speed_rows(history)


def _kept(metrics: dict[str, Any]) -> list[Block]:
    if not metrics.get("refined", True):
        return [
            Note(
                "Refinement parted neighbours in the autoencoder's latent space and was not kept: "
                "labels and latents of DEC are those of the mixture."
            )
        ]
    return [
        Text(
            "Neighbour agreement says how often neighbours in the autoencoder's latent space share "
            "a cluster: 0 is chance, 1 always. The silhouette rises under refinement whether there "
            "are clusters or not, and is no reason to believe them."
        )
    ]
