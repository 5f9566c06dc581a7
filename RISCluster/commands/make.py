"""Commands that make data sets: ``download``, ``build``, ``cube``, ``subset`` and ``demo``."""

import argparse
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import first_command, package_command, run_name
from ..data.storage import find_files
from ..data.times import SECOND
from ..errors import DataError, SettingsError
from ..io import as_path
from ..runtime import count, log, start_log
from ..settings import Settings, load_found_settings
from .arguments import refused, require_new, save_figure, split_words

if TYPE_CHECKING:
    from ..waveforms.download import Request, Summary

N_LISTED = 10  # channels and stations
AREAS = {"box": "MINLAT MAXLAT MINLON MAXLON", "circle": "LAT LON RADIUS"}


def run_download(arguments: argparse.Namespace) -> None:
    """Fetch the files that do not exist yet."""
    start, end = _time("--start", arguments.start), _time("--end", arguments.end)
    if end <= start:
        raise refused("--end", arguments.end, f"a time after --start {arguments.start}")
    if arguments.box and arguments.circle:
        raise SettingsError("command line: --box and --circle are both given; allowed: one of them")
    folder = Path(arguments.output).expanduser()
    start_log()
    from ..waveforms.download import Request, download, read_credentials

    logins = read_credentials(Path(arguments.credentials)) if arguments.credentials else {}
    request = Request(
        network=arguments.network,
        station=arguments.station,
        location=arguments.location or "--",  # argparse makes [] or "" of --location=--
        channel=arguments.channel,
        start=start,
        end=end,
        providers=tuple(name.strip() for name in arguments.provider.split(",")),
        chunk=arguments.chunk,
        box=_area("box", arguments.box),
        circle=_area("circle", arguments.circle),
        min_distance=arguments.min_distance,
        credentials=logins,
    )
    _report(request, folder, download(request, folder))


def _report(request: "Request", folder: Path, summary: "Summary") -> None:
    """Report new and missing files and the next command."""
    missing, without = list(summary.missing.items()), summary.without_response
    for codes, (lacking, wanted, why) in missing[:N_LISTED]:
        log.warning(f"missing: {codes}: {lacking:,} of {count(wanted, 'file')}: {why}")
    if len(missing) > N_LISTED:
        log.warning(f"missing: files of {count(len(missing) - N_LISTED, 'more channel')}")
    if without:
        names = ", ".join(without[:N_LISTED])
        log.warning(f"no StationXML for {count(len(without), 'station')}: {names}")
    print(
        f"{folder}: {count(summary.new, 'new file')} ({summary.new_bytes / 1e6:.1f} MB), "
        f"{summary.existing:,} existed, "
        f"{summary.wanted - summary.new - summary.existing:,} missing; "
        f"{count(len(summary.stations), 'station')}"
    )
    if summary.failures:
        place, reason = next(iter(summary.failures.items()))
        raise DataError(
            f"{folder}: {request} is incomplete ({place}: {reason}); run the same command again to "
            "fetch the missing files"
        )
    words = [str(folder), "-o", f"{run_name(folder)}.h5"]
    words += [f"build.inventory={folder / 'stations'}"] if (folder / "stations").is_dir() else []
    print(f"next: {package_command('build')} {shlex.join(words)}")


def _time(option: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise refused(option, text, "a UTC time as 2015-06-01 or 2015-06-01T12:00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _area(name: str, words: list[str] | None) -> tuple[float, ...] | None:
    if not words:
        return None
    text, names = ",".join(words), AREAS[name].split()
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    is_box = name == "box" and len(values) == 4 and values[0] < values[1] and values[2] < values[3]
    if not (is_box or (name == "circle" and len(values) == len(names) and values[2] > 0)):
        raise refused(f"--{name}", text, f"{AREAS[name]} in degrees, as --help says")
    return values


# ---- build, cube, demo --------------------------------------------------------------------------


def run_build(arguments: argparse.Namespace) -> None:
    """Make a data set from waveforms, and associate its events."""
    from ..catalogue.associate import associate_file
    from ..catalogue.stations import read_stations
    from ..waveforms.archive import with_copies
    from ..waveforms.build import build, examples

    paths, settings = _paths_and_settings(arguments, "waveforms")
    paths = with_copies(paths, Path(settings.build.archive).expanduser())
    place = settings.events.stations or settings.build.inventory
    has_origins = settings.build.catalogue and settings.build.velocity and place
    stations = read_stations(place, "events.stations") if has_origins else None
    if arguments.picture:
        from ..plots.windows import windows_of_traces

        found, unit = examples(paths, settings, stations)
        save_figure(windows_of_traces(found, settings.build, unit), arguments.picture)
        return
    if not arguments.output:
        raise SettingsError("command line: no -o FILE.h5 given; give it, or --picture FILE.png")
    counts = build(
        paths,
        arguments.output,
        settings,
        layout=arguments.layout,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
        catalogue_only=arguments.catalogue_only,
        stations=stations,
    )
    if arguments.catalogue_only:
        return
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

    limits = {"--start": (arguments.start, -(2**63)), "--end": (arguments.end, 2**63 - 1)}
    start, end = (
        int(_time(option, text).timestamp()) * SECOND if text else limit
        for option, (text, limit) in limits.items()
    )
    paths = [Path(word).expanduser() for word in arguments.words]
    if not paths:
        raise SettingsError("command line: no catalogue given; give CSV or QuakeML")
    require_new(arguments.output, arguments.overwrite)
    start_log()
    amplitudes = arguments.min_amplitude, arguments.max_amplitude
    print(clean(paths, arguments.output, start, end, *amplitudes, arguments.duplicates))


def run_associate(arguments: argparse.Namespace) -> None:
    """Associate the detections of data sets into events."""
    from ..catalogue.associate import associate_file

    paths, settings = _paths_and_settings(arguments, "data set")
    for path in paths:
        log.info(associate_file(Path(path).expanduser(), settings, arguments.overwrite))


def run_cube(arguments: argparse.Namespace) -> None:
    """Make a cube from records, or cut one."""
    from ..fibre.make_cube import cut_cube, holds_cube, make_cube, require_cube_name

    words, settings = _paths_and_settings(arguments, "records")
    target = Path(arguments.output).expanduser()
    require_cube_name(target)
    source = as_path(words[0])
    if len(words) == 1 and holds_cube(source) and source != target:
        cut_cube(source, target, settings, arguments.overwrite)
    else:
        own = {target.with_name(target.name + end).resolve() for end in ("", ".parts", ".partial")}
        paths = [
            path
            for path in find_files(words)
            if own.isdisjoint([path.resolve(), *path.resolve().parents])
        ]
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
    require_new(target, arguments.overwrite)
    with open_data(settings, ", ".join(paths)) as file:
        if target.exists() and any(map(target.samefile, filter(Path.exists, file.paths))):
            raise DataError(f"{target}: is the data to choose from; give another name with -o")
        write_samples(file, target)
        print(f"{target}: {count(file.n_samples, 'sample')} of {file.path}")
    print(f"next: {first_command(target, arguments.config)}")


def run_demo(arguments: argparse.Namespace) -> None:
    """Write a synthetic data set."""
    from ..data.synthetic import DEMO_FILE, write_demo

    n, snr, seed = arguments.samples, arguments.snr, arguments.seed
    if arguments.cube:
        from ..fibre.demo import CLASSES, write_demo_cube

        path = arguments.output or Path("Data/demo_cube.h5")
        write_demo_cube(path, n, snr, seed)
        print(f"{path}: a cube with known sources: {', '.join(CLASSES)}, {snr:g} dB")
    else:
        path = write_demo(arguments.output or DEMO_FILE, n, snr, seed, arguments.imbalance)
        print(f"{path}: {n:,} spectrograms of eight classes, {snr:g} dB")
    print(f"next: {first_command(path)}")
