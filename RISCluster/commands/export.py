"""``python -m RISCluster export``: the catalogue of a finished run in another format."""

import argparse
from pathlib import Path

from ..errors import DataError, SettingsError
from .arguments import split_words

HELP = "write the catalogue of a finished run as CSV, QuakeML or HDF5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the run, as report.seasons=11-3,4-10",
    )
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="a finished run, as Outputs/rutford"
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=("csv", "quakeml", "hdf5"),
        help="csv: a row a sample; hdf5: the same in data sets; quakeml: an event a sample, with a "
        "pick at the onset where there was a detection (needs obspy)",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--stage", choices=("dec", "gmm"), help="whose labels (default: the refined, if there are)"
    )
    parser.add_argument(
        "--clusters", metavar="NUMBERS", help="only these, as 1,3 (default: all samples)"
    )
    parser.add_argument(
        "--min-probability",
        metavar="P",
        default="0",
        help="only samples whose label has this probability or more, 0 to 1 (default: 0)",
    )
    parser.epilog = (
        "Columns: index, label, name, probability, starttime, trace_id, station, season, onset, "
        "end, peak_time, peak_amplitude, unit; what the data do not have is empty."
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the catalogue.

    Raises
    ------
    SettingsError
        An argument is not allowed.
    DataError
        The file is there, or the data lack what the format needs.
    RunError
        The run or the stage is not there, or the file can't be written.
    """
    from ..runtime import count, log, start_log

    paths, overrides = split_words(arguments.words)
    if paths:
        raise SettingsError(
            f"command line: {' '.join(paths)}: not a setting; allowed: section.key=value words"
        )
    output = Path(arguments.output).expanduser()
    clusters = _clusters(arguments.clusters)
    probability = _probability(arguments.min_probability)
    if output.is_dir():
        raise DataError(f"{output}: is a folder; -o names a file: give one")
    if output.exists() and not arguments.overwrite:
        raise DataError(f"{output} is there; give another name with -o, or --overwrite")
    start_log()
    from ..catalogue.export import Choice, export_of, write_csv, write_hdf5
    from ..catalogue.quakeml import write_quakeml
    from ..runs.run import open_run

    with open_run(Path(arguments.run), overrides) as finished:
        _require_no_part_of(output, Path(arguments.run), finished.file)
        for note in finished.notes:
            log.warning(note)
        stage = arguments.stage.upper() if arguments.stage else None
        export = export_of(finished, stage, Choice(clusters, probability))
        write = {"csv": write_csv, "hdf5": write_hdf5, "quakeml": write_quakeml}
        written = write[arguments.format](export, output)
    what = "event" if arguments.format == "quakeml" else "sample"
    print(f"{output}: {count(written, what)} of {arguments.run}, stage {export.stage_name}")


def _clusters(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise SettingsError(
            f"command line: --clusters {text or '(empty)'} is not allowed; allowed: numbers of "
            "clusters with commas, as 1,3"
        )
    return tuple(int(part) for part in parts)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise SettingsError(
            f"command line: --min-probability {text} is not allowed; allowed: a number, 0 to 1"
        )
    return value


def _require_no_part_of(output: Path, folder: Path, file: object) -> None:
    """Refuse to write over the data or over a file of a stage."""
    is_data = file is not None and output.exists() and output.samefile(file.path)
    in_stage = output.resolve().parent.parent == folder.resolve() and output.exists()
    if is_data or in_stage:
        raise DataError(
            f"{output}: is {'the data' if is_data else 'a file'} of the run; give another name "
            "with -o"
        )
