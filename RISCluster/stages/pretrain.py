"""The AEC stage: pretrain the autoencoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.layouts import READ_ROWS, SpectrogramFile
from ..data.loading import SampleSet, Split, draw_split, mean_and_deviation
from ..data.transforms import Preparation
from ..errors import DataError, SettingsError, TrainingError
from ..models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from ..models.checkpoint import load_initial_weights, save_model
from ..models.features import FixedFeatures, FixedFeatureSizes
from ..run_folder import StageFolder
from ..runtime import log
from ..settings import AecSettings, Settings
from ..training.common import HISTORY, STATE
from ..training.encode import encode, mean_squared_error
from ..training.pretrain import PLATEAU, Pretraining, pretrain
from .closing import log_summary
from .session import MODEL, SPLIT, Session, checksum, draw_figures, finish, open_session
from .sweep import Sweep

RESULTS = [MODEL, STATE, HISTORY, SPLIT]
MAX_FITTED_BINS = 4000 * 87 * 100  # of samples for principal components: 139 MB
MIN_FITTED = 100
COMPONENTS = 10  # of smoothed and of modulation spectra each


def run_aec(settings: Settings) -> None:
    """Pretrain the autoencoder and write ``AEC/`` of the run.

    Parameters
    ----------
    settings : Settings
        Lists in [aec] are a sweep, of which the run with the lowest validation loss is chosen.

    Raises
    ------
    RISClusterError
        Bad data or settings, an unusable run folder, or a request to stop.
    """
    with open_session(settings) as session:
        stage = session.stage("AEC")
        inputs = session.data_key | settings.inputs("aec", "network", "result")
        inputs["run.precision"] = session.precision
        inputs["aec.initial_weights"] = _identity(settings.aec)
        if session.is_done(stage, inputs):
            log_summary(session, stage)
            return
        data = _load_data(session)
        for _, chosen in settings.sweep("aec"):
            _network(session, chosen, data)  # initial weights of another network are an error
        session.begin(stage, inputs, settings)
        sweep = Sweep(session, stage, inputs, "aec", "validation_mse", RESULTS)
        for chosen, folder in sweep.runs():
            try:
                _train(session, chosen, folder, data)
            except TrainingError as error:
                sweep.fail(error)
        sweep.finish()
    log_summary(session, stage)


def _train(session: Session, settings: Settings, stage: StageFolder, data: "_Data") -> None:
    """Train one autoencoder and write its folder."""
    torch.manual_seed(settings.run.seed)
    model = _network(session, settings, data).to(session.ranks.device)
    log.info(
        f"training {n_parameters(model):,} parameters on {len(data.train):,} samples, "
        f"validating on {len(data.validation):,}; the mean spectrogram has mse "
        f"{data.variance:.4g}"
    )
    session.rank0(lambda: data.split.save(stage.path / SPLIT))
    context = session.context(stage)
    result = pretrain(model, data.train, data.validation, settings.aec, context, data.variance)
    model.load_state_dict(result.best_weights)
    _fit_fixed_features(session, model, data)
    train_mse = mean_squared_error(model, data.train, session.ranks)
    latents = encode(model.encoder, data.validation, session.ranks, what="")
    learnt = latents[:, : model.shape.n_features]

    def write() -> None:
        metrics = _metrics(session, stage, model, result, data) | {"mse": train_mse}
        metrics["dead_features"] = _warn_of_failure(learnt, result.best, data.variance)
        path, preparation = stage.path / MODEL, data.preparation
        save_model(path, model, preparation, data.variance, session.file, session.fingerprint)
        draw_figures(session, stage, settings, metrics)
        finish(stage, RESULTS, metrics, session)

    session.rank0(write)


def _identity(aec: AecSettings) -> str:
    """Checksum of the initial weights, or ``none``."""
    if aec.initial_weights == "none":
        if not aec.n_epochs:
            raise SettingsError(
                "[aec] n_epochs = 0 takes the initial weights as they are; set "
                "aec.initial_weights, or n_epochs to 1 or more"
            )
        return "none"
    path = Path(aec.initial_weights)
    if not path.is_file():
        raise SettingsError(
            f"[aec] initial_weights = {path}: no such file; allowed: none, or a file of weights"
        )
    return checksum(path)


@dataclass(frozen=True)
class _Data:
    """Samples of the AEC stage, standardised."""

    train: SampleSet
    validation: SampleSet
    split: Split
    preparation: Preparation
    variance: float  # mean squared error of the mean spectrogram


def _load_data(session: Session) -> _Data:
    """Draw the split, load the samples, standardise them."""
    data, file, seed = session.settings.data, session.file, session.settings.run.seed
    split = draw_split(file.n_samples, data.train_samples, data.validation_fraction, seed)
    preparation = Preparation(data.amplitude, data.transform)
    samples, unusable = session.load(session.reader(preparation), split.both)
    split = split.without(unusable)
    if len(split.train) < 2 or not len(split.validation):
        raise DataError(
            f"{file.path}: only {len(split.both)} usable samples were drawn, "
            f"{len(split.train)} to train and {len(split.validation)} to validate; "
            "two and one are needed: give more, or set data.train_samples or run.seed otherwise"
        )
    mean, deviation = mean_and_deviation(samples.take(split.train))
    if deviation == 0:
        raise DataError(
            f"{file.path}: all {len(split.train)} training samples are the same after "
            f"amplitude = {data.amplitude} and transform = {data.transform}; there is nothing "
            "to cluster: set another transform, or give samples that differ"
        )
    variance = deviation**2
    if data.standardize:
        preparation = Preparation(data.amplitude, data.transform, mean, deviation)
        samples.standardize(preparation)
        variance = 1.0
    train, validation = samples.take(split.train), samples.take(split.validation)
    return _Data(train, validation, split, preparation, variance)


def _network(session: Session, settings: Settings, data: _Data) -> AEC:
    """Network with its initial weights."""
    size, aec = (session.file.n_frequencies, session.file.n_times), settings.aec
    wanted = _components(session.file, aec.n_components)
    fixed = FixedFeatureSizes.possible(wanted, *size, _n_fitted(session, data))
    model = AEC(NetworkShape(*size, aec.n_features, aec.latent_activation, fixed))
    initialise(model, settings.run.seed)
    if aec.initial_weights != "none":
        load_initial_weights(model, aec.initial_weights)
    return model


def _components(file: SpectrogramFile, wanted: int | str) -> int:
    """Principal components of each kind; ``auto`` is none where the file has no time axis."""
    if wanted != "auto":
        return wanted
    if file.time_unit != "bin":  # modulation is change in time
        return COMPONENTS
    log.info(
        f"{file.path} has no time axis: no principal components stand beside the latents; if its "
        f"samples are spectrograms, aec.n_components = {COMPONENTS} adds them"
    )
    return 0


def _n_fitted(session: Session, data: _Data) -> int:
    """Training samples for principal components, limited by memory."""
    n_bins = session.file.n_frequencies * session.file.n_times
    return min(len(data.train), max(MIN_FITTED, MAX_FITTED_BINS // n_bins))


def _fit_fixed_features(session: Session, model: AEC, data: _Data) -> None:
    """Fit the fixed features of a trained network to its training samples."""
    if model.encoder.fixed is None:
        return
    n = _n_fitted(session, data)
    log.info(f"taking principal components of {n:,} training samples, to stand beside the latents")

    def fitted() -> dict[str, torch.Tensor]:
        positions = np.linspace(0, len(data.train) - 1, n).astype(int)
        chosen = data.train.take(data.train.index[positions])
        x = torch.cat([x.cpu() for _, x in chosen.in_order(0, len(chosen), READ_ROWS)])
        with torch.inference_mode():
            parts = [model.encoder.learnt(part.to(session.ranks.device)) for part in x.split(256)]
        spread = float(torch.cat(parts).double().var(0).sum().sqrt())
        shape, preparation = model.shape, data.preparation
        features = FixedFeatures(shape.n_frequencies, shape.n_times, shape.fixed)
        features.fit(x, preparation.mean, preparation.scale, spread, session.settings.run.seed)
        return features.state_dict()

    model.encoder.fixed.load_state_dict(session.rank0(fitted))


def _metrics(
    session: Session, stage: StageFolder, model: AEC, result: Pretraining, data: _Data
) -> dict[str, Any]:
    rate = None
    if result.epochs:
        history = np.loadtxt(stage.path / HISTORY, delimiter=",", skiprows=1, usecols=5, ndmin=1)
        rate = float(np.median(history))
    return {
        "n_samples": session.file.n_samples,
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_unusable_drawn": len(data.split.unusable),
        "epochs": result.epochs,
        "validation_mse": result.best,
        "mse_of_mean_spectrogram": data.variance,
        "n_components": vars(model.shape.fixed),
        "samples_per_second": rate,
    }


def _warn_of_failure(latents: np.ndarray, best: float, variance: float) -> list[int]:
    """Warn if the network learnt nothing or latents are constant; the dead features."""
    if best > (1 - PLATEAU) * variance:
        log.warning(
            f"the autoencoder has learnt no more than the mean spectrogram (validation mse "
            f"{best:.4g}, mean spectrogram {variance:.4g}): its latents mean little; of use may be "
            "data.standardize = yes, another data.amplitude, more samples or another seed"
        )
    spread = latents.std(axis=0)
    if len(latents) < 2:
        return []
    dead = np.flatnonzero(spread <= 1e-6 * max(spread.max(), 1e-30)).tolist()
    if dead:
        log.warning(
            f"{len(dead)} of {latents.shape[1]} latent features are dead (the same for every "
            f"sample): {', '.join(map(str, dead))}; set aec.latent_activation = linear, "
            "or another seed"
        )
    return dead
