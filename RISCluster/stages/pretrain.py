"""The AEC stage: pretrain the autoencoder."""

import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..data.layouts import READ_ROWS
from ..data.loading import Preparation, SampleSet, mean_and_deviation
from ..data.sets import Split, draw_split
from ..errors import DataError, SettingsError
from ..io import sha256, write_npz
from ..models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from ..models.checkpoint import load_initial_weights, save_model
from ..models.features import possible_sizes
from ..runtime import log
from ..settings import Settings, as_text
from ..training.encode import mean_squared_error
from ..training.pretrain import PLATEAU, pretrain
from .session import Session, open_session
from .sweep import combinations, run_sweep

RESULTS = ["model.pt", "last.pt", "history.csv", "split.npz"]
MAX_FITTED_BINS = 4000 * 87 * 100  # of samples for principal components: 139 MB
MIN_FITTED = 100
COMPONENTS = 10  # of smoothed and of modulation spectra each


def run_aec(settings: Settings) -> None:
    """Pretrain the autoencoder and write ``AEC/`` of the run.

    Of a sweep the run with the lowest validation loss is chosen.
    """
    with open_session(settings, "AEC") as session:
        path = Path(settings.aec.initial_weights)
        has_weights = path.name != "none" or not settings.aec.n_epochs
        if has_weights and not path.is_file():
            raise SettingsError(
                f"[aec] initial_weights = {path}: no such file; allowed: a file, or none if "
                "aec.n_epochs is not 0"
            )
        session.inputs["aec.initial_weights"] = sha256(path)[:16] if has_weights else "none"
        if not session.is_done():
            data = _load_data(session)
            for one in combinations(session).values():
                _network(one, data)  # weights of another network are an error
            session.begin()
            run_sweep(session, partial(_train, data=data), RESULTS, min, "validation_mse")
        session.log_summary()


class _Data(NamedTuple):
    """Samples of the AEC stage, standardised."""

    train: SampleSet
    validation: SampleSet
    split: Split
    preparation: Preparation
    variance: float  # mean squared error of the mean spectrogram
    n_fitted: int  # training samples for principal components, limited by memory


def _load_data(session: Session) -> _Data:
    """Draw the split, load the samples, standardise them."""
    data, file, seed = session.settings.data, session.file, session.seed
    split = draw_split(file.n_samples, data.train_samples, data.validation_fraction, seed)
    preparation = Preparation(data.amplitude, data.transform)
    samples, unusable = session.load(preparation, split.both)
    split = split.without(unusable)
    n, n_validation = len(split.train), len(split.validation)
    mean, deviation = mean_and_deviation(samples.take(split.train)) if n else (0.0, 0.0)
    if n < 2 or not n_validation or deviation == 0:
        raise DataError(
            f"{file.path}: {n} usable samples, of standard deviation {deviation:.3g}, were drawn "
            f"to train and {n_validation} to validate; two that differ and one are needed: give "
            "more, or change data.train_samples or data.transform"
        )
    variance = deviation**2
    if data.standardize:
        preparation, variance = Preparation(data.amplitude, data.transform, mean, deviation), 1.0
        samples.standardize(preparation)
    train, validation = samples.take(split.train), samples.take(split.validation)
    n_fitted = min(n, max(MIN_FITTED, MAX_FITTED_BINS // math.prod(file.shape)))
    return _Data(train, validation, split, preparation, variance, n_fitted)


def _network(session: Session, data: _Data) -> AEC:
    file, aec = session.file, session.settings.aec
    n_principal, n_channels = aec.n_components, len(file.components)
    if n_principal == "auto":
        n_principal = COMPONENTS
        if file.time_unit == "bin":  # modulation is change in time
            n_principal = 0
            log.info(
                f"{file.path}: no time axis, and therefore no principal components; a .npy file "
                "has one with data.time_step"
            )
    f, t = file.n_frequencies, file.n_times
    fixed = possible_sizes(n_principal, n_channels * f, t, data.n_fitted)
    model = AEC(NetworkShape(f, t, aec.n_features, aec.latent_activation, fixed, n_channels))
    initialise(model, session.seed)
    if aec.initial_weights != "none":
        load_initial_weights(model, aec.initial_weights)
    return model


def _train(session: Session, data: _Data) -> None:
    settings, n = session.settings, len(data.train)
    torch.manual_seed(session.seed)
    model = _network(session, data).to(session.ranks.device)
    log.info(
        f"training {n_parameters(model):,} parameters on {n:,} samples, validating "
        f"on {len(data.validation):,}; the mean spectrogram has mse {data.variance:.4g}"
    )
    sets = data.train, data.validation
    result = pretrain(model, *sets, settings.aec, session.context, data.variance)
    model.load_state_dict(result.best_weights)
    if model.encoder.fixed is not None:
        fitted = session.ranks.rank0(lambda: _fitted_features(session, model, data))
        model.encoder.fixed.load_state_dict(fitted)
    elif settings.aec.align_times is True:
        log.warning("aec.align_times = yes has no effect without aec.n_components")
    metrics = {
        "n_samples": session.file.n_samples,
        "n_train": n,
        "n_validation": len(data.validation),
        "epochs": len(result.history),
        "batch_size": result.batch_size,
        "learning_rate": result.lr,
        "validation_mse": result.best,
        "mse_of_mean_spectrogram": data.variance,
        "samples_per_second": float(np.median([row[-1] for row in result.history] or [np.nan])),
        "mse": mean_squared_error(model, data.train, session.ranks),
    }
    if result.best > (1 - PLATEAU) * data.variance:
        log.warning(
            "the autoencoder has learnt no more than the mean spectrogram: its latents mean "
            "little; try data.standardize = yes, another data.amplitude or seed, or more samples"
        )

    def write() -> None:
        write_npz(session.path / "split.npz", **vars(data.split))
        about = data.preparation, data.variance, session.file, session.fingerprint
        save_model(session.path / "model.pt", model, *about)
        session.finish(RESULTS, metrics)

    session.ranks.rank0(write)


def _fitted_features(session: Session, model: AEC, data: _Data) -> dict[str, torch.Tensor]:
    """Fixed features of a trained network, fitted to its training samples."""
    shape, device = model.shape, next(model.parameters()).device
    align = session.settings.aec.align_times
    log.info(f"fitting principal components to {data.n_fitted:,} training samples")
    positions = np.linspace(0, len(data.train) - 1, data.n_fitted).astype(int)
    chosen = data.train.take(data.train.index[positions])
    x = torch.cat([x.cpu() for _, x in chosen.in_order(0, len(chosen), READ_ROWS)])
    with torch.inference_mode():
        parts = [model.encoder.learnt(part.to(device)) for part in x.split(256)]
    spread = float(torch.cat(parts).double().var(0).sum().sqrt())
    features = shape.fixed_features()
    about = data.preparation.mean, data.preparation.scale, spread, session.seed, align
    ratio = features.fit(x, *about)
    log.info(
        f"times are {'' if features.aligned else 'not '}aligned: alignment changes the variance of "
        f"smoothed spectrograms by a factor of {ratio:.2f} (aec.align_times = {as_text(align)})"
    )
    return features.state_dict()
