"""Networks in files: the model.pt of a stage, and state files of the reference implementation."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.layouts import SpectrogramFile, size_text
from ..data.transforms import Preparation
from ..errors import CheckpointError
from ..io import load_checkpoint, read_torch, save_checkpoint
from .autoencoder import AEC, DEC, ClusteringLayer, NetworkShape
from .features import FixedFeatureSizes

FIXED = "encoder.fixed."  # prefix of the fixed features, which are fitted to the samples at hand


@dataclass(frozen=True)
class TrainedModel:
    """Network of a stage and what it was trained on."""

    model: AEC | DEC  # on the CPU
    preparation: Preparation  # of its samples
    variance: float  # mean squared error of the mean spectrogram
    frequency: np.ndarray  # (F,)
    time: np.ndarray  # (T,); axes of its samples
    units: list[str]  # of the axes
    components: tuple[str, ...]  # names, empty for a single one
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
        "network": asdict(model.shape),
        "preparation": dict(vars(preparation)),
        "variance": variance,
        "data": fingerprint,
        "frequency": torch.from_numpy(file.frequency),
        "time": torch.from_numpy(file.time),
        "units": [file.frequency_unit, file.time_unit],
        "components": list(file.components),
        "state": {name: value.cpu() for name, value in model.state_dict().items()},
    }
    save_checkpoint(path, f"{type(model).__name__} model", content | more)


def load_model(path: Path, kind: str, file: SpectrogramFile | None = None) -> TrainedModel:
    """Read the model.pt of a stage, ``AEC`` or ``DEC``.

    A `CheckpointError` is raised where it is damaged or does not fit the spectrograms `file`.
    """
    content = load_checkpoint(path, f"{kind} model")
    try:
        network, state = content["network"], content["state"]
        shape = NetworkShape(**network | {"fixed": FixedFeatureSizes(**network["fixed"])})
        model: AEC | DEC = AEC(shape)
        if kind == "DEC":
            model = DEC(model, ClusteringLayer(torch.zeros_like(state["clustering.centroids"])))
        load_weights(model, state, path)
        trained = TrainedModel(
            model.eval(),
            Preparation(**content["preparation"]),
            content["variance"],
            content["frequency"].numpy(),
            content["time"].numpy(),
            content["units"],
            tuple(content.get("components", [""])),
            content.get("labels", "mixture"),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not what this version writes ({error}); run {kind}'s script again"
        ) from None
    size = shape.n_components, shape.n_frequencies, shape.n_times
    if file is not None and size != (len(file.components), *file.shape[-2:]):
        raise CheckpointError(
            f"{path}: its network takes spectrograms of {size_text(size)}, and {file.path} has "
            f"{size_text(file.shape)}; give spectrograms of that shape, or "
            "train a network on these"
        )
    return trained


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], place: str | Path) -> None:
    """Load every parameter; a `CheckpointError` names missing, unknown and misshapen ones."""
    own = model.state_dict()
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


def load_initial_weights(model: AEC, path: str | Path) -> None:
    """Give an autoencoder the weights of a model.pt or of a reference state file.

    The reference's parameters have the same names, those of a data-parallel run with ``module.``
    in front. Of a DEC model, encoder and decoder are taken. Errors as in `load_weights`.
    """
    content = read_torch(Path(path))
    state = content.get("state", content) if isinstance(content, dict) else {}
    state = {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    state = {k: v for k, v in state.items() if not k.startswith(("clustering.", FIXED))}
    state |= {name: v for name, v in model.state_dict().items() if name.startswith(FIXED)}
    load_weights(model, state, path)
