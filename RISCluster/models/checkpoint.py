"""Networks in files: the model.pt of a stage, and state files of the reference implementation."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.layouts import SpectrogramFile, size_text
from ..data.loading import Preparation
from ..errors import CheckpointError
from ..io import load_checkpoint, read_torch, save_checkpoint
from .autoencoder import AEC, DEC, ClusteringLayer, NetworkShape
from .features import FixedFeatureSizes

FIXED = "encoder.fixed."  # prefix of the fixed features, which are fitted to the samples at hand


@dataclass(frozen=True)
class TrainedModel:
    """Network of a stage and what it was trained on."""

    model: AEC | DEC  # on the CPU
    preparation: Preparation
    variance: float  # mean squared error of the mean spectrogram
    frequency: np.ndarray  # (F,)
    time: np.ndarray  # (T,)
    units: list[str]  # of the axes
    components: tuple[str, ...]  # names, empty for a single one
    labels: str = "mixture"  # {"student", "mixture"}; posterior by which the DEC stage labels


def save_model(
    path: Path, model: AEC | DEC, preparation: Preparation, variance: float, file: SpectrogramFile,
    fingerprint: str, **more: str,
) -> None:  # fmt: skip
    """Write the model.pt of a stage; `more` are further values of it."""
    network = asdict(model.shape)
    network["n_components"] = network.pop("n_channels")  # the name in files
    content = {
        "network": network,
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
        n_channels, fixed = network.pop("n_components", 1), FixedFeatureSizes(**network["fixed"])
        shape = NetworkShape(**network | {"n_channels": n_channels, "fixed": fixed})
        model: AEC | DEC = AEC(shape)
        if kind == "DEC":
            model = DEC(model, ClusteringLayer(torch.zeros_like(state["clustering.centroids"])))
        load_weights(model, state, path)
        trained = TrainedModel(
            model.eval(), Preparation(**content["preparation"]), content["variance"],
            content["frequency"].numpy(), content["time"].numpy(), content["units"],
            tuple(content["components"]), content.get("labels", "mixture"),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not what this version writes ({error}); run {kind}'s script again"
        ) from None
    size = shape.n_channels, shape.n_frequencies, shape.n_times
    if file is not None and size != (len(file.components), *file.shape[-2:]):
        raise CheckpointError(
            f"{path}: its network takes spectrograms of {size_text(size)}, and {file.path} has "
            f"{size_text(file.shape)}; give others, or train a network on these"
        )
    return trained


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], place: str | Path) -> None:
    """Load every parameter; a `CheckpointError` names those that are not of this shape."""
    expected = model.state_dict()
    state = {k: v for k, v in expected.items() if k.endswith("_extra_state")} | state  # old: none
    shapes = [
        {name: tuple(x.shape) for name, x in state_of.items()} for state_of in (expected, state)
    ]
    wrong = [
        f"{name} has shape {shapes[1].get(name)} instead of {shapes[0].get(name)}"
        for name in {**expected, **state}
        if shapes[0].get(name) != shapes[1].get(name)
    ]
    if wrong:
        raise CheckpointError(
            f"{place}: from another network: {'; '.join(wrong[:3])}; name another, or take the "
            "settings that it was made with"
        )
    model.load_state_dict(state)


def load_initial_weights(model: AEC, path: str | Path) -> None:
    """Give an autoencoder the weights of a model.pt or of a reference state file."""
    content = read_torch(Path(path))
    state = content.get("state", content) if isinstance(content, dict) else {}
    # Names of a data-parallel run begin with ``module.``
    state = {k.removeprefix("module."): v for k, v in state.items() if torch.is_tensor(v)}
    state = {k: v for k, v in state.items() if not k.startswith(("clustering.", FIXED))}
    state |= {name: v for name, v in model.state_dict().items() if name.startswith(FIXED)}
    load_weights(model, state, path)
