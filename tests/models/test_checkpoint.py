import pytest
import torch

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation
from RISCluster.errors import CheckpointError
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.checkpoint import load_initial_weights, load_model, load_weights, save_model
from RISCluster.models.features import FixedFeatureSizes
from tests.conftest import blobs, write_samples


@pytest.mark.parametrize("kind", ["AEC", "DEC"])
def test_models_of_stages(tmp_path, kind):
    path, shape = tmp_path / "model.pt", NetworkShape(16, 20, 3, "relu", FixedFeatureSizes(2, 1))
    model, x, centroids = AEC(shape), torch.rand(2, 1, 16, 20), torch.randn(4, 6)
    initialise(model, 1)
    if kind == "DEC":
        model = DEC(model, ClusteringLayer(centroids, torch.eye(6) / 2))
    preparation = Preparation("sqrt", "vec_norm", torch.ones(16, 20), 2.0)
    with open_spectrograms(write_samples(tmp_path / "s.h5", blobs(3)[0])) as file:
        save_model(path, model, preparation, 0.5, file, "checksum", labels="student")
        trained = load_model(path, kind, file)
    assert (trained.model.shape, trained.variance, trained.labels) == (shape, 0.5, "student")
    assert str(trained.preparation) == str(preparation)
    assert (trained.frequency[1], trained.time[1], trained.units) == (1.5, 0.1, ["Hz", "s"])
    torch.testing.assert_close(trained.model.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(trained.model(x), model(x), rtol=0, atol=0)
    if kind == "DEC":
        torch.testing.assert_close(trained.model.clustering.as_latents(), centroids)
    load_weights(model, {k: v for k, v in model.state_dict().items() if "_extra" not in k}, path)
    with pytest.raises(CheckpointError, match=f"holds {kind} model, not"):
        load_model(path, {"AEC": "DEC", "DEC": "AEC"}[kind])
    wide = write_samples(tmp_path / "wide.h5", torch.ones(3, 16, 33).numpy())
    text = "takes spectrograms of 16 x 20, and .*wide.h5 has 16 x 33"
    with open_spectrograms(wide) as file, pytest.raises(CheckpointError, match=text):
        load_model(path, kind, file)


def test_states_of_the_reference_leave_fixed_features_and_others_are_refused(tmp_path):
    state = AEC(NetworkShape(87, 100, 9, "relu")).state_dict()  # names as in the reference
    dec, other = state | {"clustering.weights": torch.randn(8, 9)}, state | {"extra": torch.ones(1)}
    del other["decoder.decoder.8.bias"]
    torch.save({f"module.{name}": value for name, value in dec.items()}, tmp_path / "ref.pt")
    torch.save(other, tmp_path / "other.pt")
    model = AEC(NetworkShape(87, 100, 9, "relu", FixedFeatureSizes(3, 2)))
    torch.nn.init.normal_(model.encoder.fixed.smoothed)
    state |= {k: v.clone() for k, v in model.state_dict().items() if k not in state}
    load_initial_weights(model, tmp_path / "ref.pt")
    torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0)
    for name, size, text in (
        ("other.pt", (87, 100), r"8.bias has shape None .* extra has shape \(1,\) instead"),
        ("ref.pt", (120, 200), r"encoder.encoder.11.weight has shape \(9, 1152\)"),
    ):
        with pytest.raises(CheckpointError, match=text):
            load_initial_weights(AEC(NetworkShape(*size, 9, "relu")), tmp_path / name)
