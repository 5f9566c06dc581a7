import pytest
import torch

from RISCluster.models.autoencoder import AEC, NetworkShape, Upsampling, initialise, n_parameters

# Jenkins et al. 2021: names and shapes of the published network, in order.
PUBLISHED = [
    ("encoder.encoder.0", (8, 1, 3, 3)), ("encoder.encoder.2", (16, 8, 3, 3)),
    ("encoder.encoder.4", (32, 16, 3, 3)), ("encoder.encoder.6", (64, 32, 3, 3)),
    ("encoder.encoder.8", (128, 64, 3, 3)), ("encoder.encoder.11", (9, 1152)),
    ("decoder.latent2dec.0", (1152, 9)), ("decoder.decoder.0", (128, 64, 3, 3)),
    ("decoder.decoder.2", (64, 32, 3, 3)), ("decoder.decoder.4", (32, 16, 3, 3)),
    ("decoder.decoder.6", (16, 8, 3, 3)), ("decoder.decoder.8", (8, 1, 3, 3)),
]  # fmt: skip


def test_the_network_is_the_published_one():
    model = AEC(NetworkShape(87, 100, 9, "relu"))
    initialise(model, 0)
    assert n_parameters(model) == 218_250
    weights = [(n, tuple(p.shape)) for n, p in model.named_parameters() if n.endswith(".weight")]
    assert weights == [(f"{name}.weight", shape) for name, shape in PUBLISHED]
    parts = model.encoder.encoder, model.decoder.latent2dec, model.decoder.decoder
    kinds = [" ".join(type(layer).__name__ for layer in part) for part in parts]
    assert kinds[0] == "Conv2d ReLU " * 5 + "Flatten Linear ReLU"
    assert kinds[1:] == ["Linear ReLU", "Upsampling ReLU " * 4 + "Upsampling"]
    assert [layer.padding for layer in parts[2][::2]] == [(1, 0), (0, 1), (0, 1), (0, 0), (0, 1)]
    y, z = model(torch.rand(3, 1, 87, 100))
    full = model.decoder.decoder(model.decoder.latent2dec(z).view(-1, 128, 3, 3))
    assert full.shape[2:] == (95, 101)
    torch.testing.assert_close(y, full[:, :, 4:-4, 1:])
    assert (z >= 0).all()


@pytest.mark.parametrize("f", [4, 5, 31, 33, 300])
@pytest.mark.parametrize("t", [4, 41])
def test_any_size_comes_back(f, t):
    with torch.no_grad():
        y, z = AEC(NetworkShape(f, t, 5, "linear"))(torch.zeros(2, 1, f, t))
    assert (y.shape, z.shape) == ((2, 1, f, t), (2, 5))


def test_every_parameter_learns_and_starts_as_the_seed_says():
    models = [AEC(NetworkShape(20, 33, 4, "linear")) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        initialise(model, seed)
    first, again, other = (model.state_dict() for model in models)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not any(torch.equal(first[name], other[name]) for name in first if "weight" in name)
    largest = first["encoder.encoder.8.weight"].abs().max().item()  # Glorot and Bengio 2010, eq. 16
    assert largest == pytest.approx((6 / (9 * (64 + 128))) ** 0.5, rel=1e-3)
    assert all((first[name] == 0.01).all() for name in first if "bias" in name)
    models[0](torch.rand(8, 1, 20, 33))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in models[0].parameters())


@pytest.mark.parametrize(("channels", "size"), [((8, 1), (47, 51)), ((16, 8), (5, 4))])
@pytest.mark.parametrize("padding", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_upsampling_is_a_transposed_convolution(channels, size, padding):
    layer, gradients = Upsampling(*channels, 3, stride=2, padding=padding), []
    x = torch.randn(2, channels[0], *size, requires_grad=True)
    for forward in (layer, super(Upsampling, layer).forward):
        y = forward(x)
        weight = torch.linspace(-1, 1, y.numel()).view(y.shape)
        gradients.append([y, *torch.autograd.grad((y * weight).sum(), [x, *layer.parameters()])])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
