"""Commands that make data sets: ``download``, ``build``, ``cube``, ``subset`` and ``demo``."""

import argparse
import shlex
from pathlib import Path

from ..errors import DataError, SettingsError
from ..io import as_path
from ..runtime import count, log, start_log
from ..settings import Settings, first_command, load_found_settings, package_command, run_name
from .arguments import require_new, save_figure, split_words

N_LISTED = 10  # channels
CODES = ("network", "station", "location", "channel")
AREAS = {  # parameters of FDSN requests
    "box": ("minlatitude", "maxlatitude", "minlongitude", "maxlongitude"),
    "circle": ("latitude", "longitude", "maxradius"),
}


def run_download(arguments: argparse.Namespace) -> None:
    """Fetch the files that do not exist yet, and report new and missing ones."""
    from ..waveforms.download import download, read_credentials

    if arguments.end <= arguments.start:
        raise SettingsError("command line: --end is not after --start; give a later one")
    if arguments.box and arguments.circle:
        raise SettingsError("command line: --box and --circle are both given; allowed: one of them")
    # argparse makes [] or "" of --location=--
    query = {name: getattr(arguments, name) or "--" for name in CODES}
    query |= {"starttime": arguments.start, "endtime": arguments.end}
    for area, names in AREAS.items():
        query |= zip(names, getattr(arguments, area) or (), strict=False)
    providers = [name.strip() for name in arguments.provider.split(",")]
    folder, limits = arguments.output, (arguments.chunk, arguments.min_distance)
    start_log()
    logins = read_credentials(arguments.credentials) if arguments.credentials else {}
    files, failures = download(query, providers, folder, *limits, logins)
    n_wanted, missing = files["channel"].value_counts(), files[files["n_bytes"] == 0]
    for codes, n in list(missing["channel"].value_counts(sort=False).items())[:N_LISTED]:
        reason = failures.get(".".join(codes.split(".")[:2]), "no data")
        log.warning(f"missing: {codes}: {n:,} of {count(n_wanted[codes], 'file')}: {reason}")
    new, n_existing = files[files["n_bytes"] > 0], int((files["n_bytes"] < 0).sum())
    n_stations = files[files["n_bytes"] != 0]["station"].nunique()
    print(
        f"{folder}: {count(len(new), 'new file')} ({new['n_bytes'].sum() / 1e6:.1f} MB), "
        f"{n_existing:,} existed, {len(missing):,} missing; {count(n_stations, 'station')}"
    )
    for place, reason in failures.items():
        raise DataError(
            f"{folder}: is incomplete ({place}: {reason}); run the same command again for the rest"
        )
    words = [str(folder), "-o", f"{run_name(folder)}.h5"]
    words += [f"build.inventory={folder / 'stations'}"] if (folder / "stations").is_dir() else []
    print(f"next: {package_command('build')} {shlex.join(words)}")


# ---- build, cube, demo --------------------------------------------------------------------------


def run_build(arguments: argparse.Namespace) -> None:
    """Make a data set from waveforms, and associate its events."""
    from ..catalogue.associate import associate_file
    from ..catalogue.stations import read_stations
    from ..waveforms.build import build, examples
    from ..waveforms.read import with_copies

    paths, settings = _paths_and_settings(arguments, "waveforms")
    paths = with_copies(paths, Path(settings.build.archive).expanduser())
    place = settings.events.stations or settings.build.inventory
    has_origins = settings.build.catalogue and settings.build.velocity and place
    stations = read_stations(place, "events.stations") if has_origins else None
    if arguments.picture:
        from ..plots.samples import windows_of_traces

        found, unit = examples(paths, settings, stations)
        save_figure(windows_of_traces(found, settings.build, unit), arguments.picture)
        return
    if not arguments.output:
        raise SettingsError("command line: no -o FILE.h5 given; give it, or --picture FILE.png")
    options = arguments.workers, arguments.overwrite, stations
    counts = build(paths, arguments.output, settings, *options)
    is_new = settings.build.catalogue is None or (counts is not None and not counts["events"])
    if settings.events.associate and settings.build.method == "detect" and is_new:
        try:
            log.info(associate_file(Path(arguments.output).expanduser(), settings))
        except DataError as error:
            log.info(f"no events are associated: {error}")
    log.info(f"next: {first_command(arguments.output, arguments.config)}")


def run_catalogue(arguments: argparse.Namespace) -> None:
    """Sort a catalogue, and choose of it by time, amplitude and repetition."""
    from ..waveforms.onsets import clean

    if not arguments.words:
        raise SettingsError("command line: no catalogue given; give CSV or QuakeML")
    require_new(arguments.output, arguments.overwrite)
    start_log()
    start, end = (
        limit if time is None else round(time.timestamp() * 1e6) * 1000  # ns
        for time, limit in ((arguments.start, -(2**63)), (arguments.end, 2**63 - 1))
    )
    limits = start, end, arguments.min_amplitude, arguments.max_amplitude, arguments.duplicates
    print(clean(arguments.words, arguments.output, *limits))


def run_associate(arguments: argparse.Namespace) -> None:
    """Associate the detections of data sets into events."""
    from ..catalogue.associate import associate_file

    paths, settings = _paths_and_settings(arguments, "data set")
    for path in paths:
        log.info(associate_file(Path(path).expanduser(), settings, arguments.overwrite))


def run_cube(arguments: argparse.Namespace) -> None:
    """Make a cube from records, or cut one."""
    from ..fibre.make_cube import cut_cube, holds_cube, make_cube
    from ..waveforms.build import input_files

    words, settings = _paths_and_settings(arguments, "records")
    source, target = as_path(words[0]), arguments.output
    if len(words) == 1 and holds_cube(source, settings.data.dataset) and source != target:
        require_new(target, arguments.overwrite)
        cut_cube(source, target, settings, split_words(arguments.words)[1])
    else:
        paths = input_files(words, target)
        if not paths:
            raise DataError(f"{' '.join(words)}: no records but the cube itself; give others")
        make_cube(paths, target, settings, arguments.workers, arguments.overwrite)
    log.info(f"next: {first_command(target, arguments.config)}")


def _paths_and_settings(arguments: argparse.Namespace, what: str) -> tuple[list[str], Settings]:
    paths, overrides = split_words(arguments.words)
    if not paths:
        raise SettingsError(f"command line: no {what} given; give files, folders or patterns")
    settings = load_found_settings(arguments.config, overrides)
    start_log()
    return paths, settings


def run_subset(arguments: argparse.Namespace) -> None:
    """Write chosen samples as one file."""
    from ..data.sets import open_data, write_samples

    paths, overrides = split_words(arguments.words)
    settings, target = load_found_settings(arguments.config, overrides), arguments.output
    start_log()
    with open_data(settings, ", ".join(paths)) as file:
        require_new(target, arguments.overwrite, file.paths)
        write_samples(file, target)
        print(f"{target}: {count(file.n_samples, 'sample')} of {file.path}")
    print(f"next: {first_command(target, arguments.config)}")


def run_demo(arguments: argparse.Namespace) -> None:
    """Write a synthetic data set."""
    from ..data.synthetic import DEMO_FILE, write_demo

    n, snr, seed = arguments.samples, arguments.snr, arguments.seed
    if arguments.cube:
        from ..fibre.make_cube import CLASSES, write_demo_cube

        path = arguments.output or Path("Data/demo_cube.h5")
        write_demo_cube(path, n, snr, seed)
        print(f"{path}: a cube with known sources: {', '.join(CLASSES)}, {snr:g} dB")
    else:
        path = write_demo(arguments.output or DEMO_FILE, n, snr, seed, arguments.imbalance)
        print(f"{path}: {n:,} spectrograms of eight classes, {snr:g} dB")
    print(f"next: {first_command(path)}")
