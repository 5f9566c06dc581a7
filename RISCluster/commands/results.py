"""Commands on runs: ``run``, ``predict``, ``report`` and ``export``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, SettingsError
from ..run_folder import run_stage
from ..runtime import count, log, start_log
from ..settings import COMMANDS, load_found_settings, run_name
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
    from ..stages.follow import follow
    from ..stages.predict import open_predictor, predict

    files, overrides = split_words(arguments.words)
    folder, output = arguments.follow, arguments.output
    if bool(files) == bool(folder):
        raise SettingsError("command line: give files to label as one set, or --follow FOLDER")
    if folder and arguments.overwrite:
        raise SettingsError(
            "command line: --overwrite is not allowed with --follow, which adds to the table; "
            "allowed: another name with -o"
        )
    with open_predictor(Path(arguments.run), arguments.stage.upper(), overrides) as run:
        if folder:
            follow(run, folder, output, arguments.interval, arguments.drift)
        else:
            predict(run, ", ".join(files), output, arguments.overwrite)


def run_report(arguments: argparse.Namespace) -> None:
    """Write the report and print its path."""
    from ..report.make_report import write_report

    overrides = _only_settings(arguments.words)
    start_log()
    overrides = [*load_found_settings(arguments.config, []).changed("report"), *overrides]
    print(write_report(Path(arguments.run).expanduser(), overrides, arguments.output))


def run_export(arguments: argparse.Namespace) -> None:
    """Write the catalogue."""
    overrides, output = _only_settings(arguments.words), arguments.output
    run = Path(arguments.run)
    require_new(output, arguments.overwrite)
    is_folder = arguments.format == "templates"
    if output.exists() and output.is_dir() != is_folder:
        raise DataError(f"{output}: a folder, or none where one is needed; give another name")
    start_log()
    from ..catalogue.export import FORMATS, export_of
    from ..catalogue.templates import write_templates
    from ..runs.run import open_run

    with open_run(run, overrides) as finished:
        own = [*(finished.file.paths if finished.file else []), *run.glob("*/*")]
        if output.exists() and any(map(output.samefile, filter(Path.exists, own))):
            raise DataError(f"{output}: is a file of the run; give another name with -o")
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


def _only_settings(words: Sequence[str]) -> list[str]:
    others, overrides = split_words(words)
    if others:
        raise SettingsError(
            f"command line: {' '.join(others)}: not a setting; allowed: section.key=value words"
        )
    return overrides
