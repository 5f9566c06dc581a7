"""State files of the reference implementation, converted by name.

Its keys are those of this package but for the centroids, ``clustering.weights`` there and
``clustering.centroids`` here; files of a data-parallel run carry ``module.`` in front.
"""

from pathlib import Path

import torch

from ..errors import CheckpointError
from ..io import read_torch
from .autoencoder import AEC, DEC, ClusteringLayer, NetworkShape

CENTROIDS = "clustering.weights"
VIEWS = "encoder.views."


def load_reference(
    path: str | Path, n_frequencies: int = 87, n_times: int = 100
) -> tuple[AEC | DEC, NetworkShape]:
    """Network with the weights of a state file that the reference implementation wrote.

    Parameters
    ----------
    path : path
        File of a state dict, of its autoencoder or of its DEC model.
    n_frequencies, n_times : int
        Size of the spectrograms it was trained on.

    Returns
    -------
    AEC or DEC
        DEC where the file has centroids. The latent layer has the paper's ReLU.
    NetworkShape

    Raises
    ------
    CheckpointError
        The file is damaged, or holds other parameters than that network's; they are named.
    """
    state = _read_state(path)
    linear = state.get("encoder.encoder.11.weight")
    if linear is None:
        raise CheckpointError(
            f"{path}: has no encoder.encoder.11.weight, so it is not a state file of the "
            f"reference's network; it has {', '.join(list(state)[:5]) or 'nothing'}; "
            "name another"
        )
    shape = NetworkShape(n_frequencies, n_times, linear.shape[0], "relu")
    model: AEC | DEC = AEC(shape)
    if CENTROIDS in state:
        state["clustering.centroids"] = state.pop(CENTROIDS)
        model = DEC(model, ClusteringLayer(state["clustering.centroids"]))
        state["clustering.metric"] = model.clustering.metric
    load_weights(model, state, str(path))
    return model, shape


def load_initial_weights(model: AEC, path: str | Path) -> None:
    """Give an autoencoder the weights of a model.pt or of a reference state file.

    Of a DEC model, encoder and decoder are taken.

    Raises
    ------
    CheckpointError
        The file is damaged, or its parameters are not those of `model`; they are named.
    """
    state = _read_state(path)
    apart = ("clustering.", VIEWS)  # views are not trained: they are made of the samples at hand
    state = {name: value for name, value in state.items() if not name.startswith(apart)}
    own = model.state_dict().items()
    state |= {name: value for name, value in own if name.startswith(VIEWS)}
    load_weights(model, state, str(path))


def _read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Parameters by name, out of a bare state file or of this package's checkpoints."""
    content = read_torch(Path(path))
    state = content.get("state", content) if isinstance(content, dict) else {}
    return {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], place: str) -> None:
    """Load every parameter, or say which are missing, too many or of another shape.

    Raises
    ------
    CheckpointError
    """
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
