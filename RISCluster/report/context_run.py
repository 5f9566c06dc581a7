"""Values of the sections on the run, its training, the choice of K and citing."""

import configparser
import shlex
from typing import Any

import numpy as np
import pandas

from ..clustering.selection import K_TOLERANCE, TITLES, choose, contradictions, read_rows
from ..data.times import far_times
from ..evaluation.comparison import certainty
from ..runs.run import FinishedRun
from ..settings import Settings, descriptions
from .figures import Results, read_history, stage_figures

Context = dict[str, Any]
CRITERIA_COLUMNS = {
    "n_clusters": "K", "bic": "BIC", "aic": "AIC", "silhouette": "silhouette",
    "inertia": "inertia", "gap": "gap", "gap_std": "gap s.e.", "stability": "stability",
    "stability_std": "stability s.d.", "agreement": "agreement of views",
}  # fmt: skip


def run_section(results: Results) -> Context:
    """Stages, data, settings, and the final clusters at a glance."""
    run, final, truth = results.run, results.stage, results.run.truth
    made = {name: stage.provenance for name, stage in run.stages.items()}
    versions = {
        name: {
            "Python": one.get("machine", {}).get("python"),
            **one.get("versions", {}),
            "Git": one.get("git"),
            "Machine": one.get("machine", {}).get("platform"),
        }
        for name, one in made.items()
    }
    versions = pandas.DataFrame(versions).reset_index()
    rows, header = settings_rows(run), ("Setting", "Value", "Default", "What it is")
    context: Context = {
        "notes": [text[:1].upper() + text[1:] for text in run.notes],
        "made": [(name, one, _took(one)) for name, one in made.items()],
        "versions": {"header": ["", *made], "rows": versions.to_numpy().tolist()},
        "commands": "\n".join(shlex.join(one.get("command", [])) for one in made.values()),
        "metrics": (final or run.stages["AEC"]).metrics,
        "n_classes": None if truth is None else len(np.unique(truth[truth >= 0])),
        "changed": {"header": header, "rows": [row for row in rows if row[1] != row[2]]},
        "settings": {"header": header, "rows": rows},
        "span": None,
        "traces": [],
    }
    if final is None:
        return context
    if (final.path / "labels.h5").exists():
        name = f"{final.name}_map"
        context["figures"] = {name: stage_figures(results, final)[name]}
    traces = final.table.get("trace_id", pandas.Series(dtype=object)).unique()
    context |= {"span": _span(final.table), "traces": [name for name in traces if name]}
    return context | {"doubtful": certainty(final).doubtful}


def _took(made: Context) -> np.timedelta64 | None:
    """Time from the start to the end of a stage."""
    started, ended = (
        np.datetime64(made.get(key, "NaT").rstrip("Z")) for key in ("started", "ended")
    )
    return None if np.isnat(ended - started) else ended - started


def _span(table: pandas.DataFrame) -> Context | None:
    """First and last time of the samples, without those far from all others."""
    if "starttime" not in table:
        return None
    times = table["starttime"].dropna().to_numpy()
    far = far_times(times) if len(times) else np.zeros(0, bool)
    ends = [times[~far].min(), times[~far].max()] if len(times) else None
    missing = len(table) - len(times)
    return {"ends": ends, "n_missing": missing, "n_far": int(far.sum()), "far": times[far][:1]}


def settings_rows(run: FinishedRun) -> list[tuple[str, str, str, str]]:
    """Key, value, default and sentence of each setting that affects results."""
    default, texts, rows = _texts(Settings()), descriptions(), []
    is_cube = run.file is not None and run.file.layout == "cube"
    stages = [name.lower() for name in run.stages]
    for name in ("run", "data", *(["cube"] if is_cube else []), *stages):
        stage = run.stages.get(name.upper())
        values = _texts(run.settings if stage is None else stage.settings)[name]
        for key, value in values.items():
            rows.append((f"{name}.{key}", value, default[name][key], texts[f"{name}.{key}"][0]))
    return rows


def _texts(settings: Settings) -> configparser.ConfigParser:
    """Values as config.ini has them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return parser


def training_section(results: Results) -> Context | None:
    """Losses and speed of the autoencoder and of refinement."""
    histories, sweeps, figures = {}, {}, {}
    for name, stage in results.run.stages.items():
        path, best = stage.path / "sweep.csv", stage.metrics.get("sweep_best")
        if name == "GMM":
            continue
        histories[name] = pandas.DataFrame(read_history(stage.path / "history.csv"))
        if path.exists():
            sweep = pandas.read_csv(path)
            rows = [(*row, "taken" if row[0] == best else "") for row in sweep.to_numpy()]
            sweeps[name] = {"header": (*sweep.columns, ""), "rows": rows}
        figures |= stage_figures(results, stage)
    embedded = ["AEC_loss", *["AEC_reconstructions"] * bool(results.file), "DEC_history"]
    figures = {name: figures[name] for name in embedded if name in figures}
    return {"histories": histories, "sweeps": sweeps, "figures": figures} if histories else None


def choice_section(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    gmm = results.run.stages.get("GMM")
    if gmm is None:
        return None
    rows = read_rows(gmm.path / "selection.csv")
    criterion, chosen = gmm.settings.gmm.select, gmm.n_clusters
    most = max((row.stability for row in rows if np.isfinite(row.stability)), default=None)
    computed = [
        name for name in CRITERIA_COLUMNS if any(np.isfinite(getattr(r, name)) for r in rows)
    ]
    names = [name for name in computed if most is not None or "stability" not in name]
    choices = {name: choose(rows, name) for name in TITLES}
    others = {k: v for k, v in choices.items() if k != criterion and v is not None}
    near = [TITLES[name] for name, k in others.items() if abs(k - chosen) <= K_TOLERANCE]
    far = [f"{TITLES[name]} {k}" for name, k in others.items() if TITLES[name] not in near]
    curves = {"GMM_selection": stage_figures(results, gmm)["GMM_selection"]}
    return {
        "chosen": chosen,
        "criterion": criterion,
        "contradictions": contradictions(rows, chosen, criterion),
        "choices": choices,
        "near": near,
        "far": far,
        "rows": {row.n_clusters: row for row in rows},
        "most": most,
        "criteria": {
            "header": [CRITERIA_COLUMNS[name] for name in names],
            "rows": [[getattr(row, name) for name in names] for row in rows],
            "digits": 6,
        },
        "figures": curves if len(rows) > 1 else {},
    }


def citing_section(results: Results) -> Context:
    """Values of a methods paragraph."""
    last, aec = list(results.run.stages.values())[-1], results.run.stages.get("AEC")
    n_features = aec and aec.settings.aec.n_features
    if results.stage is not None:
        n_features = results.stage.latents.shape[1] - sum(results.run.views.values())
    return {"last": last, "n_features": n_features}
