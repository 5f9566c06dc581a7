"""Values of the sections on the run, its training, the choice of K and citing."""

import configparser
import shlex
from typing import Any

import numpy as np
import pandas

from .. import __version__
from ..clustering.selection import K_TOLERANCE, STABILITY_TOLERANCE, TITLES, choose, read_rows
from ..clustering.selection import contradictions as contradictions_of
from ..clustering.stability import MAX_RESAMPLE_SIZE, MIN_CLUSTER_SIZE
from ..data.times import far_times
from ..data.transforms import LOG_DECADES
from ..evaluation.comparison import DOUBTFUL, certainty
from ..runs.run import FinishedRun
from ..settings import Settings, sentences
from .figures import Results, read_history, stage_figures

Context = dict[str, Any]
STAGE_SECTIONS = ("aec", "gmm", "dec")
REPEATABLE = 0.75  # stability below which clusters depend on the samples drawn
COMPACT = 0.5  # mean silhouette of compact, separate clusters (Rousseeuw 1987)


def run_section(results: Results) -> Context:
    """Stages, data, settings, and the final clusters at a glance."""
    run, final, dec = results.run, results.stage, results.run.stages.get("DEC")
    rows, header = settings_rows(run), ("Setting", "Value", "Default", "What it is")
    made = [stage.provenance for stage in run.stages.values()]
    versions = {name: None for one in made for name in one.get("versions", {})}
    machines = [one.get("machine", {}) for one in made]
    context: Context = {
        "notes": [text[:1].upper() + text[1:] for text in run.notes],
        "figures": {},
        "made": list(zip(run.stages, made, strict=True)),
        "versions": [
            ("Python", *(machine.get("python") for machine in machines)),
            *((name, *(one.get("versions", {}).get(name) for one in made)) for name in versions),
            ("Git", *(one.get("git") for one in made)),
            ("Machine", *(machine.get("platform") for machine in machines)),
        ],
        "commands": "\n".join(shlex.join(one.get("command", [])) for one in made),
        "final": final and final.name,
        "metrics": (final or run.stages["AEC"]).metrics,
        "trained": run.stages["AEC"].metrics if "AEC" in run.stages else None,
        "data": run.settings.data,
        "file": run.file,
        "n_classes": None if run.truth is None else len(np.unique(run.truth[run.truth >= 0])),
        "changed": {"header": header, "rows": [row for row in rows if row[1] != row[2]]},
        "settings": {"header": header, "rows": rows},
    }
    if final is None:
        return context | {"span": None, "traces": None}
    if (final.path / "labels.h5").exists():
        name = f"{final.name}_map"
        context["figures"] = {name: stage_figures(results, final)[name]}
    return context | {
        "span": _span(final.table),
        "traces": final.table["trace_id"].unique().tolist() if "trace_id" in final.table else None,
        "sizes": final.sizes.tolist(),
        "doubtful": certainty(final).doubtful,
        "doubtful_below": DOUBTFUL,
        "refined": dec and dec.metrics.get("refined", True),
        "label_change": dec and dec.metrics.get("label_change_from_gmm"),
    }


def _span(table: pandas.DataFrame) -> Context | None:
    """Time span of the samples without those far from all others."""
    if "starttime" not in table:
        return None
    times = table["starttime"].dropna().to_numpy()
    far = far_times(times) if len(times) else np.zeros(0, bool)
    return {
        "times": [times[~far].min(), times[~far].max()] if len(times) else None,
        "n_missing": len(table) - len(times),
        "n_far": int(far.sum()),
        "far": times[far][0] if far.any() else None,
    }


def settings_rows(run: FinishedRun) -> list[tuple[str, str, str, str]]:
    """Key, value, default and sentence of each setting that affects results."""
    default, texts, rows = _texts(Settings()), sentences(), []
    is_cube = run.file is not None and run.file.layout == "cube"
    for name in ("run", "data", *(["cube"] if is_cube else []), *STAGE_SECTIONS):
        stage = run.stages.get(name.upper())
        if stage is not None or name not in STAGE_SECTIONS:
            values = _texts(run.settings if stage is None else stage.settings)[name]
            rows += [
                (f"{name}.{key}", value, default[name][key], texts[name, key])
                for key, value in values.items()
            ]
    return rows


def _texts(settings: Settings) -> configparser.ConfigParser:
    """Values as config.ini has them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return parser


def training_section(results: Results) -> Context | None:
    """Losses and speed of the autoencoder and of refinement."""
    context: Context = {"figures": {}, "AEC": None, "DEC": None}
    for name in {"AEC", "DEC"} & set(results.run.stages):
        stage = results.run.stages[name]
        history = pandas.DataFrame(read_history(stage.path / "history.csv"))
        values: Context = {"metrics": stage.metrics, "n_epochs": len(history), "sweep": None}
        if len(history):
            values |= {"last": history.iloc[-1], "seconds": history["seconds"].sum()}
            values["rate"] = round(history["samples_per_second"].median())
            if name == "AEC":
                values["best"] = int(history["epoch"][history["validation_mse"].idxmin()])
        if (stage.path / "sweep.csv").exists():
            sweep, best = pandas.read_csv(stage.path / "sweep.csv"), stage.metrics.get("sweep_best")
            rows = [(*row, "taken" if row[0] == best else "") for row in sweep.to_numpy()]
            values["sweep"] = {"header": (*sweep.columns, ""), "rows": rows}
        context[name] = values
        drawn = stage_figures(results, stage)
        embedded = {"AEC_loss", "AEC_reconstructions", "DEC_history"} & set(drawn)
        if results.file is None:
            embedded.discard("AEC_reconstructions")
        context["figures"] |= {figure: drawn[figure] for figure in sorted(embedded)}
    return context if context["AEC"] or context["DEC"] else None


def choice_section(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    gmm, dec = (results.run.stages.get(name) for name in ("GMM", "DEC"))
    if gmm is None:
        return None
    rows = read_rows(gmm.path / "selection.csv")
    criterion, chosen = gmm.settings.gmm.select, gmm.n_clusters
    columns = {
        "n_clusters": "K", "bic": "BIC", "aic": "AIC", "silhouette": "silhouette",
        "inertia": "inertia", "gap": "gap", "gap_std": "gap s.e.", "stability": "stability",
        "stability_std": "stability s.d.",
    }  # fmt: skip
    most = max((row.stability for row in rows if np.isfinite(row.stability)), default=None)
    if most is None:
        del columns["stability"], columns["stability_std"]
    choices = {name: choose(rows, name) for name in TITLES}
    others = {k: v for k, v in choices.items() if k != criterion and v is not None}
    near = [name for name, k in others.items() if abs(k - chosen) <= K_TOLERANCE]
    return {
        "chosen": chosen,
        "criterion": criterion,
        "contradictions": contradictions_of(rows, chosen, criterion),
        "refined": dec and dec.n_clusters,
        "titles": TITLES,
        "choices": choices,
        "near": [TITLES[name] for name in near],
        "far": [f"{TITLES[name]} {k}" for name, k in others.items() if name not in near],
        "tolerance": K_TOLERANCE,
        "rows": {row.n_clusters: row for row in rows},
        "most": most,
        "stability_tolerance": STABILITY_TOLERANCE,
        "repeatable": REPEATABLE,
        "compact": COMPACT,
        "criteria": {
            "header": list(columns.values()),
            "rows": [[getattr(row, name) for name in columns] for row in rows],
            "digits": 6,
        },
        "resample": MAX_RESAMPLE_SIZE,
        "fewest": MIN_CLUSTER_SIZE,
        "figures": {"GMM_selection": stage_figures(results, gmm)["GMM_selection"]}
        if len(rows) > 1
        else {},
    }


def citing_section(results: Results) -> Context:
    """Versions, and values of a methods paragraph."""
    run, stages = results.run, results.run.stages
    last, aec = list(stages.values())[-1], stages.get("AEC")
    n_features = aec and aec.settings.aec.n_features
    if run.final is not None:
        n_features = run.final.latents.shape[1] - sum(run.views.values())
    return {
        "provenance": last.provenance,
        "version": __version__,
        "n_samples": int(last.metrics["n_samples"]),
        "n_unusable": int(last.metrics.get("n_unusable", 0)),
        "file": run.file,
        "data": run.settings.data,
        "decades": LOG_DECADES,
        "n_features": n_features,
        "views": run.views if any(run.views.values()) else None,
        **{name: stages.get(name.upper()) for name in STAGE_SECTIONS},
    }
