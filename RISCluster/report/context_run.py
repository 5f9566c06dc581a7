"""What the sections on the run, its training, the choice of K and citing need."""

import configparser
import dataclasses
import shlex
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import __version__, plots
from ..clustering.selection import contradictions, read_rows
from ..clustering.stability import MAX_RESAMPLE_SIZE, MIN_CLUSTER_SIZE
from ..data.layouts import SpectrogramFile
from ..data.loading import Split
from ..data.tables import read_table
from ..data.times import far_times
from ..data.transforms import LOG_DECADES, Preparation
from ..evaluation.comparison import DOUBTFUL, certainty
from ..io import load_checkpoint
from ..models.autoencoder import AEC, NetworkShape
from ..models.checkpoint import load_weights
from ..runs.run import FinishedRun, FinishedStage
from ..runtime import count
from ..settings import Settings, sentences
from . import figures
from .choice import summary, verdicts
from .page import Picture, duration_text, time_text

Context = dict[str, Any]
RESULT_SETTINGS = ("run", "data", "cube", "aec", "gmm", "dec")  # settings that affect results
DOES = {
    "AEC": "autoencoder",
    "GMM": "Gaussian mixtures of its latents",
    "DEC": "joint refinement of encoder and clusters",
}
SCORES = {"accuracy": "Accuracy", "nmi": "NMI", "ari": "ARI"}


def run_section(run: FinishedRun) -> Context:
    """Stages, data, settings, and the final clusters at a glance."""
    final, aec, dec = run.final, run.stages.get("AEC"), run.stages.get("DEC")
    metrics = final.metrics if final else aec.metrics
    context: Context = {
        "notes": [text[:1].upper() + text[1:] for text in run.notes],
        "figures": {},
        "stages": list(run.stages),
        "does": DOES,
        "final": final and final.name,
        "n_samples": int(metrics["n_samples"]),
        "data": {"header": ("", "What"), "rows": data_rows(run)},
        **_stages(run),
        **_settings(run),
    }
    if final is None:
        standardize = run.settings.data.standardize
        return context | {
            "validation_mse": metrics["validation_mse"],
            "standardize": standardize,
        }
    if (final.path / "labels.h5").exists():
        context["figures"][f"{final.name}_map"] = Picture(
            lambda: figures.cluster_map(final.path, final.name, final.sizes)
        )
    return context | {
        "sizes": final.sizes.tolist(),
        "n_unusable": int(metrics.get("n_unusable", 0)),
        "doubtful": certainty(final).doubtful,
        "doubtful_below": DOUBTFUL,
        "refined": dec and dec.metrics.get("refined", True),
        "label_change": dec and dec.metrics.get("label_change_from_gmm"),
        "scores": [(SCORES[key], metrics[key]) for key in SCORES if metrics.get(key) is not None],
    }


def data_rows(run: FinishedRun) -> list[tuple[str, str]]:
    """What the samples are: name and value."""
    rows = [("File", str(run.settings.data.file))]
    if run.file is not None:
        rows += _file_rows(run.file)
    rows += _catalogue_rows(run)
    if "AEC" in run.stages:
        n = run.stages["AEC"].metrics
        text = f"{n['n_train']:,} samples, validated on {n['n_validation']:,}"
        rows.append(("Trained on", text))
    return rows


def _file_rows(file: SpectrogramFile) -> list[tuple[str, str]]:
    shape = f"{file.n_frequencies} x {file.n_times} (frequency x time)"
    return [
        ("Layout", f"{file.layout}, data set {file.dataset}"),
        ("Samples", f"{file.n_samples:,} of {shape}"),
        ("Frequency", _axis(file.frequency, file.frequency_unit)),
        ("Time", _axis(file.time, file.time_unit)),
        ("Amplitude", f"{file.amplitude_unit or 'unit not given'}, stored as {file.dtype}"),
    ]


def _axis(axis: np.ndarray, unit: str) -> str:
    step = (axis[-1] - axis[0]) / max(1, len(axis) - 1)
    return f"{axis[0]:.4g} to {axis[-1]:.4g} {unit}, step {step:.4g} {unit}"


def _catalogue_rows(run: FinishedRun) -> list[tuple[str, str]]:
    """Time span, stations and known classes."""
    if run.final is None:
        return []
    table, rows = run.final.table, []
    if "starttime" in table:
        rows.append(("Time span", _span(table["starttime"].to_numpy())))
    if "trace_id" in table:
        known = [name for name in table["trace_id"].cat.categories if name]
        traces = count(len(known), "trace")
        if all(name.count(".") == 3 for name in known):
            stations = {name.rsplit(".", 2)[0] for name in known}
            rows.append(("Stations", f"{len(stations):,}, {traces}"))
        else:
            rows.append(("Traces", traces))
    if run.truth is not None:
        rows.append(("Known classes", f"{len(np.unique(run.truth[run.truth >= 0]))}, for scoring"))
    return rows


def _span(times: np.ndarray) -> str:
    known = times[~np.isnat(times)]
    if not len(known):
        return "no sample has a time"
    far = far_times(known)
    first, last = known[~far].min(), known[~far].max()
    length = duration_text((last - first) / np.timedelta64(1, "s"))
    text = f"{time_text(first)} to {time_text(last)} UTC ({length})"
    if len(known) < len(times):
        text += f"; {count(len(times) - len(known), 'sample')} without a time"
    if far.any():
        n = count(int(far.sum()), "sample")
        text += f"; {n} years away, as of {time_text(known[far][0])}"
    return text


def _stages(run: FinishedRun) -> Context:
    """Tables of times and versions, and the commands."""
    made = [stage.provenance for stage in run.stages.values()]
    versions = {name: None for one in made for name in one.get("versions", {})}
    times = [
        (
            name, DOES[name], _short_time(one.get("started")), _short_time(one.get("ended")),
            _took(one), one.get("versions", {}).get("RISCluster"),
        )
        for name, one in zip(run.stages, made, strict=True)
    ]  # fmt: skip
    machines = [one.get("machine", {}) for one in made]
    rows = [
        ("Python", *(machine.get("python") for machine in machines)),
        *((name, *(one.get("versions", {}).get(name) for one in made)) for name in versions),
        ("Git", *(one.get("git") for one in made)),
        ("Machine", *(machine.get("platform") for machine in machines)),
    ]
    header = ("Stage", "What it does", "Begun (UTC)", "Ended (UTC)", "Took", "RISCluster")
    return {
        "stage_times": {"header": header, "rows": times},
        "versions": {"header": ("", *run.stages), "rows": rows},
        "commands": "\n".join(shlex.join(one.get("command", [])) for one in made),
    }


def _short_time(text: str | None) -> str | None:
    return None if text is None else text.removesuffix("Z").replace("T", " ")


def _took(made: Context) -> str | None:
    try:
        start, end = (datetime.fromisoformat(made[key]) for key in ("started", "ended"))
    except (KeyError, ValueError):
        return None
    return duration_text((end - start).total_seconds())


def _settings(run: FinishedRun) -> Context:
    rows, header = settings_rows(run), ("Setting", "Value", "Default", "What it is")
    changed = [row for row in rows if row[1] != row[2]]
    return {
        "changed": {"header": header, "rows": changed},
        "settings": {"header": header, "rows": rows},
    }


def settings_rows(run: FinishedRun) -> list[tuple[str, str, str, str]]:
    """Key, value, default and sentence of each setting of the stages."""
    default, texts, rows = _texts(Settings()), sentences(), []
    is_cube = run.file is not None and run.file.layout == "cube"
    for name in RESULT_SETTINGS:
        stage = run.stages.get(name.upper())
        if (stage is None and name.upper() in DOES) or (name == "cube" and not is_cube):
            continue
        settings = run.settings if stage is None else stage.settings
        values = _texts(settings)[name]
        rows += [
            (f"{name}.{f.name}", values[f.name], default[name][f.name], texts[name, f.name])
            for f in dataclasses.fields(getattr(settings, name))
        ]
    return rows


def _texts(settings: Settings) -> configparser.ConfigParser:
    """Values as config.ini has them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return parser


# ---- training -----------------------------------------------------------------------------------


def training_section(run: FinishedRun) -> Context | None:
    """Losses and speed of the autoencoder and of refinement."""
    pictures: dict[str, Picture] = {}
    context: Context = {"figures": pictures, "aec": None, "dec": None}
    if "AEC" in run.stages:
        context["aec"] = _autoencoder(run, run.stages["AEC"], pictures)
    if "DEC" in run.stages:
        context["dec"] = _refinement(run.stages["DEC"], pictures)
    return context if context["aec"] or context["dec"] else None


def _autoencoder(run: FinishedRun, stage: FinishedStage, pictures: dict[str, Picture]) -> Context:
    history, metrics = figures.read_history(stage.path / "history.csv"), stage.metrics
    mse_of_mean, dead = metrics.get("mse_of_mean_spectrogram"), metrics.get("dead_features") or []
    rows: list[tuple[str, Any]] = [("Epochs", len(history["epoch"]))]
    if len(history["epoch"]):
        best = int(np.nanargmin(history["validation_mse"]))
        rows.append(("Best epoch", int(history["epoch"][best])))
        pictures["AEC_loss"] = Picture(lambda: plots.aec_history(history, mse_of_mean or 1.0))
    rows += [
        ("Training loss, of the weights kept", metrics.get("mse")),
        ("Validation loss, of the weights kept", metrics.get("validation_mse")),
        ("Loss of the mean spectrogram", mse_of_mean),
        ("Dead features", len(dead)),
        *_speed_rows(history),
    ]
    if run.file is not None:
        pictures["AEC_reconstructions"] = Picture(lambda: draw_reconstructions(run, stage))
    table = {"header": ("", "Value"), "rows": rows}
    return {"table": table, "dead": dead, "sweep": _sweep(stage)}


def draw_reconstructions(run: FinishedRun, stage: FinishedStage) -> Figure:
    """Validation samples through the network of the AEC stage."""
    content = load_checkpoint(stage.path / "model.pt", "AEC model")
    model = AEC(NetworkShape.from_plain(content["network"]))
    load_weights(model, content["state"], str(stage.path))
    validation = Split.load(stage.path / "split.npz").validation
    preparation = Preparation(**content["preparation"])
    return figures.reconstructions(run.file, model, preparation, validation)


def _refinement(stage: FinishedStage, pictures: dict[str, Picture]) -> Context:
    history, metrics = figures.read_history(stage.path / "history.csv"), stage.metrics
    rows: list[tuple[str, Any]] = [("Epochs", len(history["epoch"]))]
    if len(history["epoch"]):
        rows += [
            ("Last reconstruction loss", float(history["mse"][-1])),
            ("Last clustering loss", float(history["kl"][-1])),
            ("Last sum of both", float(history["loss"][-1])),
            ("Last label change", float(history["label_change"][-1])),
        ]
        tol = stage.settings.dec.tol
        limit = tol[0] if isinstance(tol, tuple) else tol
        pictures["DEC_history"] = Picture(lambda: plots.dec_history(history, limit))
    rows += [
        ("Labels that differ from the mixture's, share", metrics.get("label_change_from_gmm")),
        ("Neighbour agreement of the mixture", metrics.get("neighbour_agreement_of_gmm")),
        ("Neighbour agreement as kept", metrics.get("neighbour_agreement")),
        *_speed_rows(history),
    ]
    table = {"header": ("", "Value"), "rows": rows}
    return {"table": table, "refined": metrics.get("refined", True), "sweep": _sweep(stage)}


def _speed_rows(history: dict[str, np.ndarray]) -> list[tuple[str, Any]]:
    if not len(history["epoch"]):
        return []
    return [
        ("Seconds of training", float(history["seconds"].sum())),
        ("Samples per second, median", round(float(np.median(history["samples_per_second"])))),
    ]


def _sweep(stage: FinishedStage) -> Context | None:
    """Combinations of a sweep and their scores."""
    path = stage.path / "sweep.csv"
    if not path.exists():
        return None
    table, best = read_table(path), stage.metrics.get("sweep_best")
    scores = zip(table.text(0), table.numbers(1)[0].tolist(), strict=True)
    rows = [(name, value, "taken" if name == best else "") for name, value in scores]
    return {"header": (*table.names, ""), "rows": rows}


# ---- choice of K --------------------------------------------------------------------------------


def choice_section(run: FinishedRun) -> Context | None:
    """Criteria over K, and the choice of each."""
    gmm, dec = run.stages.get("GMM"), run.stages.get("DEC")
    if gmm is None:
        return None
    rows = read_rows(gmm.path / "selection.csv")
    criterion, chosen = gmm.settings.gmm.select, gmm.n_clusters
    if len(rows) == 1:
        return {"summary": "", "chosen": chosen, "figures": {}}
    found = verdicts(rows)
    columns = {
        "n_clusters": "K", "bic": "BIC", "aic": "AIC", "silhouette": "silhouette",
        "inertia": "inertia", "gap": "gap", "gap_std": "gap s.e.",
    }  # fmt: skip
    if not all(np.isnan(row.stability) for row in rows):
        columns |= {"stability": "stability", "stability_std": "stability s.d."}
    values = [[getattr(row, name) for name in columns] for row in rows]
    words = [(one.title, one.n_clusters, one.sentence) for one in found]
    curves = Picture(lambda: plots.selection_curves(rows, chosen, criterion))
    return {
        "summary": summary(found, chosen, criterion),
        "contradictions": contradictions(rows, chosen, criterion),
        "chosen": chosen,
        "refined": dec and dec.n_clusters,
        "verdicts": {"header": ("criterion", "K", "in words"), "rows": words},
        "criteria": {"header": list(columns.values()), "rows": values, "digits": 6},
        "resample": MAX_RESAMPLE_SIZE,
        "fewest": MIN_CLUSTER_SIZE,
        "figures": {"GMM_selection": curves},
    }


# ---- citing -------------------------------------------------------------------------------------


def citing_section(run: FinishedRun) -> Context:
    """Versions, and what a methods paragraph is made of."""
    last, aec, dec = (run.stages.get(name) for name in (list(run.stages)[-1], "AEC", "DEC"))
    versions, git = last.provenance.get("versions", {}), last.provenance.get("git", "")
    commit, n_unusable = git.removesuffix("+changes"), int(last.metrics.get("n_unusable", 0))
    libraries = {"torch": "PyTorch", "scikit-learn": "scikit-learn", "numpy": "NumPy"}
    n_features = aec and _single(aec.settings.aec.n_features)
    if run.final is not None:
        n_features = run.final.latents.shape[1] - sum(run.views.values())
    return {
        "figures": {},
        "version": versions.get("RISCluster", __version__),
        "commit": commit if len(commit) == 40 else "",
        "changed": git.endswith("+changes"),
        "libraries": [(name, versions.get(key, "(unknown)")) for key, name in libraries.items()],
        "n": int(last.metrics["n_samples"]) - n_unusable,
        "n_unusable": n_unusable,
        "bins": run.file and (run.file.n_frequencies, run.file.n_times),
        "data": run.settings.data,
        "decades": LOG_DECADES,
        "n_features": n_features,
        "views": run.views if any(run.views.values()) else None,
        "batch_size": aec and _single(aec.settings.aec.batch_size),
        "lr": aec and _single(aec.settings.aec.lr),
        "gamma": dec and _single(dec.settings.dec.gamma),
        **{name.lower(): run.stages.get(name) for name in DOES},
    }


def _single(value: Any) -> Any:
    """A setting's only value; None for several."""
    values = value if isinstance(value, tuple) else (value,)
    return values[0] if len(values) == 1 else None
