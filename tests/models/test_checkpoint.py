import pytest
import torch

from RISCluster.errors import CheckpointError
from RISCluster.models.autoencoder import AEC, DEC
from RISCluster.models.checkpoint import load_reference
from tests.models.test_networks import PUBLISHED


def reference_state(**extra) -> dict[str, torch.Tensor]:
    """A state as the reference implementation writes it: its names, shapes and order."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in PUBLISHED:
        state[f"{name}.weight"] = torch.randn(shape, generator=generator)
        out = shape[1] if name.startswith("decoder.decoder") else shape[0]
        state[f"{name}.bias"] = torch.randn(out, generator=generator)
    return state | extra


def save(tmp_path, state):
    torch.save(state, tmp_path / "ref.pt")
    return tmp_path / "ref.pt"


def test_autoencoder(tmp_path):
    state = reference_state()
    model, shape = load_reference(save(tmp_path, state))
    assert isinstance(model, AEC)
    assert (shape.n_features, shape.latent_activation) == (9, "relu")
    assert list(model.state_dict()) == list(state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_dec(tmp_path, prefix):
    centroids = torch.randn(8, 9)
    state = reference_state(**{"clustering.weights": centroids})
    model, _ = load_reference(save(tmp_path, {prefix + k: v for k, v in state.items()}))
    assert isinstance(model, DEC)
    assert torch.equal(model.clustering.centroids, centroids)
    assert torch.equal(model.clustering.metric, torch.eye(len(model.clustering.metric)))


def test_parameters_of_another_network_are_named(tmp_path):
    state = reference_state()
    del state["decoder.decoder.8.bias"]
    state["encoder.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_reference(save(tmp_path, state))
    assert "decoder.decoder.8.bias is missing" in str(caught.value)
    assert "encoder.extra is not of this network" in str(caught.value)


def test_other_size_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"encoder.encoder.11.weight has shape \(9, 1152\)"):
        load_reference(save(tmp_path, reference_state()), 120, 200)


def test_files_that_are_no_state(tmp_path):
    with pytest.raises(CheckpointError, match="not a state file of the reference"):
        load_reference(save(tmp_path, {"a": torch.zeros(1)}))
    (tmp_path / "t.pt").write_text("text")
    with pytest.raises(CheckpointError, match="not a file of tensors"):
        load_reference(tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_reference(tmp_path / "none.pt")
