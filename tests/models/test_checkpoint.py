import pytest
import torch

from RISCluster.errors import CheckpointError
from RISCluster.models.autoencoder import AEC, NetworkShape
from RISCluster.models.checkpoint import load_initial_weights, load_weights
from RISCluster.models.features import FixedFeatureSizes
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


def load(tmp_path, state, *size) -> AEC:
    torch.save(state, tmp_path / "ref.pt")
    model = AEC(NetworkShape(*(size or (87, 100)), 9, "relu"))
    load_initial_weights(model, tmp_path / "ref.pt")
    return model


@pytest.mark.parametrize("prefix", ["", "module."])
def test_states_of_the_reference(tmp_path, prefix):
    state = reference_state()
    dec = state | {"clustering.weights": torch.randn(8, 9)}
    model = load(tmp_path, {prefix + name: value for name, value in dec.items()})
    assert list(model.state_dict()) == list(state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


def test_parameters_of_another_network_are_named(tmp_path):
    state = reference_state()
    del state["decoder.decoder.8.bias"]
    state["encoder.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path, state)
    assert "decoder.decoder.8.bias is missing" in str(caught.value)
    assert "encoder.extra is not of this network" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"encoder.encoder.11.weight has shape \(9, 1152\)"):
        load(tmp_path, reference_state(), 120, 200)


def test_fixed_features_in_files_of_older_versions():
    shape = NetworkShape(16, 20, 3, "linear", FixedFeatureSizes(2, 2))
    state = AEC(shape).state_dict()
    old = {name.replace("encoder.fixed.", "encoder.views."): x for name, x in state.items()}
    assert old.keys() != state.keys()
    load_weights(AEC(shape), old, "old.pt")
    plain = {name: value for name, value in shape.as_plain().items() if name != "fixed"}
    assert NetworkShape.from_plain(plain | {"views": {"smoothed": 2, "modulation": 2}}) == shape


def test_files_that_are_no_state(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        load(tmp_path, {"a": torch.zeros(1)})
    (tmp_path / "t.pt").write_text("text")
    with pytest.raises(CheckpointError, match="not a file of tensors"):
        load_initial_weights(AEC(NetworkShape(16, 20, 3, "linear")), tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_initial_weights(AEC(NetworkShape(16, 20, 3, "linear")), tmp_path / "none.pt")
