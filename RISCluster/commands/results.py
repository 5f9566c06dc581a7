"""Commands on runs: ``run``, ``predict``, ``report``, ``compare`` and ``export``."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..errors import DataError, SettingsError
from ..io import write_text
from ..run_folder import run_stage
from ..runs.labels import cluster_title
from ..runs.run import open_run
from ..runtime import count, log, start_log
from ..settings import COMMANDS, as_text, load_found_settings, run_name
from .arguments import require_new, split_words

WRITTEN = {"quakeml": "event", "picks": "pick", "templates": "template"}  # by format, or samples


def run_run(arguments: argparse.Namespace) -> None:
    """Run every stage that is not done, and make the report where there is none."""
    files, words = split_words(arguments.words)
    name = arguments.name
    if files:
        words.append(f"data.file={', '.join(files)}")
        if not name and not any(word.startswith("run.name=") for word in words):
            name = run_name(files[0] if len(files) == 1 else Path(files[0]).resolve().parent)
    if name:
        words.append(f"run.name={name}")
    for stage in COMMANDS:
        settings = run_stage(stage, arguments.config, words)
    if settings.run.figures and not (settings.run_folder / "report.html").exists():
        from ..report.make_report import write_report

        write_report(settings.run_folder)


def run_predict(arguments: argparse.Namespace) -> None:
    """Label a file, or those that arrive in a folder, with a finished run."""
    from ..stages.predict import follow, open_predictor, predict

    files, overrides = split_words(arguments.words)
    folder, output = arguments.follow, arguments.output
    if bool(files) == bool(folder):
        raise SettingsError("command line: give files to label as one set, or --follow FOLDER")
    if folder and arguments.overwrite:
        raise SettingsError(
            "command line: --overwrite is not allowed with --follow; give another name with -o"
        )
    with open_predictor(arguments.run, arguments.stage.upper(), overrides) as run:
        if folder:
            follow(run, folder, output, arguments.interval, arguments.drift)
        else:
            predict(run, ", ".join(files), output, arguments.overwrite)


def run_report(arguments: argparse.Namespace) -> None:
    """Write the report and print its path."""
    from ..report.make_report import write_report

    start_log()
    words = [*load_found_settings(arguments.config, []).changed("report"), *arguments.words]
    print(write_report(arguments.run, words, arguments.output))


def run_export(arguments: argparse.Namespace) -> None:
    """Write the catalogue."""
    from ..catalogue.export import FORMATS, export_of
    from ..catalogue.templates import write_templates

    output, run, is_folder = arguments.output, arguments.run, arguments.format == "templates"
    if output.exists() and output.is_dir() != is_folder:
        raise DataError(f"{output}: a folder, or none where one is needed; give another name")
    start_log()
    with open_run(run, arguments.words) as finished:
        data = finished.file.paths if finished.file else []
        require_new(output, arguments.overwrite, [*data, *run.glob("*/*")])
        for note in finished.notes:
            log.warning(note)
        stage = arguments.stage.upper() if arguments.stage else None
        export = export_of(finished, stage, arguments.clusters, arguments.min_probability)
        if is_folder:
            written = write_templates(export, output, arguments.align)
        else:
            written = FORMATS[arguments.format](export, output)
    what = WRITTEN.get(arguments.format, "sample")
    print(f"{output}: {count(written, what)} of {run}, stage {export.stage_name}")


# ---- compare ------------------------------------------------------------------------------------


def run_compare(arguments: argparse.Namespace) -> None:
    """Print the comparison, and write the table where it was asked for."""
    from ..evaluation.comparison import compare

    folders = arguments.runs
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise SettingsError("command line: runs: give two or more different run folders")
    with ExitStack() as stack:
        runs = [stack.enter_context(open_run(folder)) for folder in folders]
        found = compare(runs)
        print("\n".join(as_lines(found, [run.names for run in runs])))
    if arguments.output:
        write_text(arguments.output, as_table(found).to_csv(lineterminator="\n"))
        print(f"table: {arguments.output}")


def as_table(found: Any) -> pandas.DataFrame:
    """Texts of a `Comparison` by kind (data, setting, metric, ari) and name, a column for a run."""
    rows = {("data", "file"): found.data}
    rows |= {("setting", name): values for name, values in found.settings}
    rows |= {("metric", name): values for name, values in found.metrics}
    if found.ari is not None:
        rows |= {("ari", name): values for name, values in zip(found.names, found.ari, strict=True)}
    index = pandas.MultiIndex.from_tuples(rows, names=["kind", "name"])
    return pandas.DataFrame(list(rows.values()), index, found.names).map(_text)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else as_text(value)


def as_lines(found: Any, named: Sequence[Mapping[int, str]] = ({}, {})) -> list[str]:
    """A `Comparison` as aligned text; `named` are the names of the clusters of each run."""
    table = as_table(found)
    lines = _block(table.loc["data"].rename({"file": "data"}))
    if not found.same_data:
        lines += ["", "These runs label different samples: labels can't be compared."]
    if found.settings:
        lines += ["", "Settings that differ", *_block(table.loc["setting"])]
    else:
        lines += ["", "No setting that changes results differs."]
    if found.metrics:
        verdicts = [
            "-" if x is None else f"no: other {x}" if x else "yes" for x in found.differences
        ]
        metrics = table.loc["metric"].assign(**{"can be compared": verdicts})
        lines += ["", "Metrics", *_block(metrics)]
    if found.ari is not None:
        rows = pandas.DataFrame(found.ari, found.names, found.names).map("{:.3f}".format)
        lines += ["", "Adjusted Rand index between final labels (1: the same clusters, 0: chance)"]
        lines += _block(rows)
    return lines if found.pair is None else [*lines, "", *_pairs(found, named)]


def _block(table: pandas.DataFrame, corner: str = "") -> list[str]:
    text = table.rename_axis(index=None, columns=corner).to_string()
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _pairs(found: Any, named: Sequence[Mapping[int, str]]) -> list[str]:
    """Clusters of the first run and those of the second that are matched to them."""
    pair, (first, second), rows = found.pair, found.names, found.pair.order()
    columns, sizes = pair.matching[rows], pair.counts[rows].sum(1)
    common = np.where(columns >= 0, pair.counts[rows, columns], 0)
    titles = [cluster_title(label, named[1]) for label in range(pair.counts.shape[1])]
    table = pandas.DataFrame({
        second: [titles[column] if column >= 0 else "-" for column in columns],
        "samples in common": [f"{n:,}" for n in common],
        f"of {first}'s": [f"{share:.1%}" for share in common / np.maximum(sizes, 1)],
    }, index=[cluster_title(label, named[0]) for label in rows.tolist()])  # fmt: skip
    alone = sorted({*np.flatnonzero(pair.counts.sum(0)).tolist()} - {*pair.matching.tolist()})
    return [
        f"Clusters under the best matching: {pair.accuracy:.1%} of {pair.n:,} samples agree",
        *_block(table, first),
        *[f"  without a partner in {second}: {', '.join(titles[x] for x in alone)}"][: len(alone)],
    ]
