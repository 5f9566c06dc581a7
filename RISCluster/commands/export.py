"""``python -m RISCluster export``: the catalogue of a finished run in another format."""

import argparse
from pathlib import Path

from ..errors import DataError
from .arguments import add_run, only_settings, option_number, refused

HELP = "write the catalogue of a finished run as CSV, QuakeML or HDF5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the run, as report.seasons=11-3,4-10",
    )
    add_run(parser)
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
    """Write the catalogue."""
    from ..runtime import count, log, start_log

    overrides = only_settings(arguments.words)
    output = Path(arguments.output).expanduser()
    clusters = _clusters(arguments.clusters)
    probability = option_number(
        "--min-probability", arguments.min_probability, 0, 1, "a number, 0 to 1"
    )
    if output.is_dir():
        raise DataError(f"{output}: is a folder; -o names a file: give one")
    if output.exists() and not arguments.overwrite:
        raise DataError(f"{output} is there; give another name with -o, or --overwrite")
    start_log()
    from ..catalogue.export import FORMATS, export_of
    from ..runs.run import open_run

    with open_run(Path(arguments.run), overrides) as finished:
        _require_no_part_of(output, Path(arguments.run), finished.file)
        for note in finished.notes:
            log.warning(note)
        stage = arguments.stage.upper() if arguments.stage else None
        export = export_of(finished, stage, clusters, probability)
        written = FORMATS[arguments.format](export, output)
    what = "event" if arguments.format == "quakeml" else "sample"
    print(f"{output}: {count(written, what)} of {arguments.run}, stage {export.stage_name}")


def _clusters(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise refused("--clusters", text, "numbers of clusters with commas, as 1,3")
    return tuple(int(part) for part in parts)


def _require_no_part_of(output: Path, folder: Path, file: object) -> None:
    """Refuse to write over the data or over a file of a stage."""
    is_data = file is not None and output.exists() and output.samefile(file.path)
    in_stage = output.resolve().parent.parent == folder.resolve() and output.exists()
    if is_data or in_stage:
        raise DataError(
            f"{output}: is {'the data' if is_data else 'a file'} of the run; give another name "
            "with -o"
        )
