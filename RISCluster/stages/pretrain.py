"""The AEC stage: pretrain the autoencoder, for every combination of a sweep."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.loading import draw_split, mean_and_deviation
from ..data.spectrograms import READ_ROWS, SpectrogramFile
from ..data.transforms import Preparation
from ..errors import DataError, SettingsError
from ..io import save_checkpoint
from ..models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from ..models.features import Views, ViewSizes
from ..models.reference import load_initial_weights
from ..progress import count, log
from ..run_folder import StageFolder
from ..settings import AecSettings, Settings
from ..training.common import HISTORY, STATE
from ..training.encode import encode, mean_squared_error
from ..training.pretrain import PLATEAU, AecTrainer
from .closing import say_end
from .session import MODEL, SPLIT, Session, checksum, draw, finish, model_content, open_session
from .sweep import Sweep, run_combinations

RESULTS = [MODEL, STATE, HISTORY, SPLIT]
FITTED_BINS = 4000 * 87 * 100  # of samples of which principal components are taken: 139 MB
FEWEST_FITTED = 100
COMPONENTS = 10  # of each view


def run_aec(settings: Settings) -> None:
    """Pretrain the autoencoder and write ``AEC/`` of the run.

    Parameters
    ----------
    settings : Settings
        Lists in [aec] are a sweep: each combination is trained in a folder of its own, and the
        one with the lowest validation loss becomes the stage's result.

    Raises
    ------
    RISClusterError
        Bad data or settings, an unusable run folder, or a request to stop.
    """
    with open_session(settings) as session:
        stage = session.stage("AEC")
        depends = session.data_key | settings.affecting("aec", "network", "result")
        depends["run.precision"] = session.precision
        depends["aec.initial_weights"] = _identity(settings.aec)
        if session.is_done(stage, depends):
            say_end(session, stage)
            return
        samples = _Prepared(session)
        for _, chosen in settings.sweep("aec"):
            _network(session, chosen, samples)  # refuses initial weights of another network
        session.begin(stage, depends, settings)
        run_combinations(
            session,
            stage,
            depends,
            lambda chosen, folder: _train(session, chosen, folder, samples),
            Sweep("aec", "validation_mse", RESULTS),
        )
    say_end(session, stage)


def _identity(aec: AecSettings) -> str:
    """What the initial weights are, whatever their file is called.

    Raises
    ------
    SettingsError
        No epochs are asked for, and no weights to take instead.
    """
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


class _Prepared:
    """The samples of the AEC stage: loaded, split, standardised."""

    def __init__(self, session: Session):
        data, file = session.settings.data, session.file
        split = draw_split(
            file.n_samples, data.train_samples, data.validation_fraction, session.settings.run.seed
        )
        self.preparation = Preparation(data.amplitude, data.transform)
        loaded, unusable = session.load(session.reader(self.preparation), split.both)
        self.split = split.without(unusable)
        if len(self.split.train) < 2 or not len(self.split.validation):
            raise DataError(
                f"{file.path}: only {len(self.split.both)} usable samples were drawn, "
                f"{len(self.split.train)} to train and {len(self.split.validation)} to validate; "
                "two and one are needed: give more, or set data.train_samples or run.seed otherwise"
            )
        self.train = loaded.take(self.split.train)
        self.validation = loaded.take(self.split.validation)
        mean, deviation = mean_and_deviation(self.train)
        if deviation == 0:
            raise DataError(
                f"{file.path}: all {len(self.train)} training samples are the same after "
                f"amplitude = {data.amplitude} and transform = {data.transform}; there is nothing "
                "to cluster: set another transform, or give samples that differ"
            )
        self.variance = deviation**2
        if data.standardize:
            self.preparation = Preparation(data.amplitude, data.transform, mean, deviation)
            loaded.standardize(self.preparation)  # and with it the parts taken of it
            self.variance = 1.0


def _network(session: Session, settings: Settings, samples: _Prepared) -> AEC:
    """Network of one combination, with its initial weights."""
    size, aec = (session.file.n_frequencies, session.file.n_times), settings.aec
    wanted = _components(session.file, aec.n_components)
    views = ViewSizes.possible(wanted, *size, _n_fitted(session, samples))
    model = AEC(NetworkShape(*size, aec.n_features, aec.latent_activation, views))
    initialise(model, settings.run.seed)
    if aec.initial_weights != "none":
        load_initial_weights(model, aec.initial_weights)
    return model


def _components(file: SpectrogramFile, wanted: int | str) -> int:
    """Principal components of each view; by default none where time is not known to be there."""
    if wanted != "auto":
        return wanted
    if file.time_unit != "bin":  # a modulation spectrum is one of changes in time
        return COMPONENTS
    log.info(
        f"{file.path} has no time axis: no principal components stand beside the latents; if its "
        f"samples are spectrograms, aec.n_components = {COMPONENTS} adds them"
    )
    return 0


def _train(session: Session, settings: Settings, stage: StageFolder, samples: _Prepared) -> None:
    """Train one combination and write its folder."""
    torch.manual_seed(settings.run.seed)
    ranks = session.ranks
    model = _network(session, settings, samples).to(ranks.device)
    log.info(
        f"training {n_parameters(model):,} parameters on {len(samples.train):,} samples, "
        f"validating on {len(samples.validation):,}; the mean spectrogram has mse "
        f"{samples.variance:.4g}"
    )
    session.on_first(lambda: samples.split.save(stage.path / SPLIT))
    trainer = AecTrainer(
        model,
        samples.train,
        samples.validation,
        settings.aec,
        session.context(stage),
        samples.variance,
    )
    trainer.run()
    log.info(f"stopped after {count(trainer.epoch, 'epoch')}: {trainer.why}")
    model.load_state_dict(trainer.best_weights)
    _fit_views(session, model, samples)
    train_mse = mean_squared_error(model, samples.train, ranks)
    latents = encode(model.encoder, samples.validation, ranks, what="")
    latents = latents[:, : model.shape.n_features]  # those of the views can't die

    def write() -> None:
        dead = _warn_of_failure(latents, trainer.best, samples.variance)
        content = model_content(model, samples.preparation, samples.variance, session)
        save_checkpoint(stage.path / MODEL, "AEC model", content)
        metrics = _metrics(session, trainer, samples, train_mse, dead)
        draw(settings.run.figures, lambda: _figures(session, model, samples, stage))
        finish(stage, RESULTS, metrics, session)

    session.on_first(write)


def _n_fitted(session: Session, samples: _Prepared) -> int:
    """Training samples of which principal components are taken: as many as memory likes."""
    n_bins = session.file.n_frequencies * session.file.n_times
    return min(len(samples.train), max(FEWEST_FITTED, FITTED_BINS // n_bins))


def _fit_views(session: Session, model: AEC, samples: _Prepared) -> None:
    """Give a trained network the views of its training samples that stand beside its latents."""
    views = model.encoder.views
    if views is None:
        return
    n = _n_fitted(session, samples)
    log.info(f"taking principal components of {n:,} training samples, to stand beside the latents")

    def fitted() -> dict[str, torch.Tensor]:
        positions = np.linspace(0, len(samples.train) - 1, n).astype(int)
        chosen = samples.train.take(samples.train.index[positions])
        x = torch.cat([x.cpu() for _, x in chosen.in_order(0, len(chosen), READ_ROWS)])
        with torch.inference_mode():
            parts = [model.encoder.learnt(part.to(session.ranks.device)) for part in x.split(256)]
        spread = float(torch.cat(parts).double().var(0).sum().sqrt())
        preparation = samples.preparation
        own = Views(model.shape.n_frequencies, model.shape.n_times, model.shape.views)
        own.fit(x, preparation.mean, preparation.scale, spread, session.settings.run.seed)
        return own.state_dict()

    views.load_state_dict(session.on_first(fitted))


def _metrics(
    session: Session, trainer: AecTrainer, samples: _Prepared, train_mse: float, dead: list[int]
) -> dict[str, Any]:
    views = trainer.model.shape.views
    rates = (
        np.loadtxt(trainer.context.folder / HISTORY, delimiter=",", skiprows=1, usecols=5, ndmin=1)
        if trainer.epoch
        else np.empty(0)
    )
    return {
        "n_samples": session.file.n_samples,
        "n_train": len(samples.train),
        "n_validation": len(samples.validation),
        "n_unusable_drawn": len(samples.split.unusable),
        "epochs": trainer.epoch,
        "mse": train_mse,
        "validation_mse": trainer.best,
        "mse_of_mean_spectrogram": samples.variance,
        "dead_features": dead,
        "n_components": vars(views),
        "samples_per_second": float(np.median(rates)) if rates.size else None,
    }


def _warn_of_failure(latents: np.ndarray, best: float, variance: float) -> list[int]:
    """Say if the network learnt nothing or latent features are constant; the dead features."""
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


def _figures(session: Session, model: AEC, samples: _Prepared, stage: StageFolder) -> list[Path]:
    from ..plots.stage_figures import aec_figures

    return aec_figures(
        session.file,
        stage,
        model,
        samples.validation,
        samples.preparation,
        samples.variance,
        session.settings.run.figure_format,
    )
