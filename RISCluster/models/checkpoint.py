"""Networks in files: the model.pt of a stage, and state files of the reference implementation.

The reference's parameters have the same names; those of a data-parallel run have ``module.`` in
front.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.layouts import SpectrogramFile
from ..data.transforms import Preparation
from ..errors import CheckpointError
from ..io import load_checkpoint, read_torch, save_checkpoint
from .autoencoder import AEC, DEC, ClusteringLayer, NetworkShape

FIXED = "encoder.fixed."
OLD_FIXED = "encoder.views."  # in files of older versions


@dataclass(frozen=True)
class TrainedModel:
    """Network of a stage and what it was trained on."""

    model: AEC | DEC  # on the CPU
    preparation: Preparation  # of its samples
    variance: float  # mean squared error of the mean spectrogram
    frequency: np.ndarray  # (F,)
    time: np.ndarray  # (T,); axes of its samples
    units: list[str]  # of the axes
    labels: str = "mixture"  # {"student", "mixture"}; posterior by which the DEC stage labels


def save_model(
    path: Path,
    model: AEC | DEC,
    preparation: Preparation,
    variance: float,
    file: SpectrogramFile,
    fingerprint: str,
    **more: str,
) -> None:
    """Write the model.pt of a stage; `more` are further values of it."""
    content = {
        "network": model.shape.as_plain(),
        "preparation": preparation.as_plain(),
        "variance": variance,
        "data": fingerprint,
        "frequency": torch.from_numpy(file.frequency),
        "time": torch.from_numpy(file.time),
        "units": [file.frequency_unit, file.time_unit],
        "state": {name: value.cpu() for name, value in model.state_dict().items()},
    }
    save_checkpoint(path, f"{_kind(model)} model", content | more)


def _kind(model: AEC | DEC) -> str:
    return "DEC" if isinstance(model, DEC) else "AEC"


def load_model(path: Path, kind: str, file: SpectrogramFile | None = None) -> TrainedModel:
    """Read the model.pt of a stage.

    Parameters
    ----------
    path : Path
    kind : {"AEC", "DEC"}
    file : SpectrogramFile, optional
        Spectrograms that the network has to fit.

    Raises
    ------
    CheckpointError
        The file is missing or damaged, or its network does not fit the spectrograms.
    """
    content = load_checkpoint(path, f"{kind} model")
    try:
        shape = NetworkShape.from_plain(content["network"])
        if file is not None:
            _require_shape(path, shape, file)
        model: AEC | DEC = AEC(shape)
        if kind == "DEC":
            centroids = torch.zeros_like(content["state"]["clustering.centroids"])
            model = DEC(model, ClusteringLayer(centroids))
        load_weights(model, content["state"], str(path))
        return TrainedModel(
            model.eval(),
            Preparation(**content["preparation"]),
            content["variance"],
            content["frequency"].numpy(),
            content["time"].numpy(),
            content["units"],
            content.get("labels", "mixture"),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not what this version writes ({error}); run {kind}'s script again"
        ) from None


def _require_shape(path: Path, shape: NetworkShape, file: SpectrogramFile) -> None:
    if (shape.n_frequencies, shape.n_times) != (file.n_frequencies, file.n_times):
        raise CheckpointError(
            f"{path}: its network takes spectrograms of {shape.n_frequencies} x {shape.n_times}, "
            f"and {file.path} has {file.n_frequencies} x {file.n_times}; give spectrograms of that "
            "shape, or train anew on these"
        )


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], place: str) -> None:
    """Load every parameter.

    Raises
    ------
    CheckpointError
        Parameters are missing, unknown or of another shape; they are named.
    """
    own = model.state_dict()
    state = {name.replace(OLD_FIXED, FIXED): value for name, value in state.items()}
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is not of this network" for name in state if name not in own]
    wrong += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{place}: from another network: {'; '.join(wrong[:3])}{more}; name another, or take "
            "the settings that it was made with"
        )
    model.load_state_dict(state)


# ---- initial weights and files of the reference -------------------------------------------------


def load_initial_weights(model: AEC, path: str | Path) -> None:
    """Give an autoencoder the weights of a model.pt or of a reference state file.

    Of a DEC model, encoder and decoder are taken. Fixed features are not: they are fitted to the
    samples at hand.

    Raises
    ------
    CheckpointError
        The file is damaged, or its parameters are not those of `model`; they are named.
    """
    state, own = _read_state(path), model.state_dict().items()
    state = {k: v for k, v in state.items() if not k.startswith(("clustering.", FIXED, OLD_FIXED))}
    state |= {name: value for name, value in own if name.startswith(FIXED)}
    load_weights(model, state, str(path))


def _read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Parameters by name, from a state dict or a checkpoint of this package."""
    content = read_torch(Path(path))
    state = content.get("state", content) if isinstance(content, dict) else {}
    return {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
