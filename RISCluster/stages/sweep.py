"""Every combination of a section's lists in a folder of its own; the best becomes the stage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import TrainingError
from ..io import read_json, write_bytes, write_csv
from ..run_folder import StageFolder
from ..runtime import log
from ..settings import Settings
from .session import METRICS, Session, finish

TABLE = "sweep.csv"


@dataclass(frozen=True)
class Sweep:
    """How a stage sweeps.

    Attributes
    ----------
    section : {"aec", "dec"}
        Whose lists.
    criterion : str
        Key of metrics.json that decides.
    results : list of str
        Files that are taken over from the best combination.
    largest : bool
        Whether the largest value of the criterion is the best, or the smallest.
    """

    section: str
    criterion: str
    results: list[str]
    largest: bool = False


def run_combinations(
    session: Session,
    stage: StageFolder,
    depends: dict[str, Any],
    work: Callable[[Settings, StageFolder], None],
    sweep: Sweep,
) -> None:
    """Do the work of a stage for every combination of its lists.

    Parameters
    ----------
    session : Session
    stage : StageFolder
        Begun.
    depends : dict
        What the whole stage depends on.
    work : callable
        Runs one combination in a folder and completes it.
    sweep : Sweep
    """
    combinations = session.settings.sweep(sweep.section)
    if len(combinations) == 1:
        work(combinations[0][1], stage)
        return
    scores: list[tuple[float, str]] = []
    for number, (name, chosen) in enumerate(combinations, 1):
        part = session.stage(stage.name, f"sweep/{name}")
        log.info(f"sweep {number} of {len(combinations)}: {name}")
        worst = float("-inf") if sweep.largest else float("inf")
        try:
            if session.begin(part, depends | _chosen(depends, chosen, sweep.section), chosen):
                work(chosen, part)
        except TrainingError as error:
            log.warning(f"sweep: {name} failed and is left out: {error}")
            failed = error
            continue
        metrics = session.rank0(lambda p=part: read_json(p.path / METRICS))
        value = metrics[sweep.criterion]
        scores.append((worst if value is None else value, name))  # None where it has no meaning
    if not scores:
        raise failed
    session.rank0(lambda: _take_best(session, stage, scores, sweep))


def _chosen(depends: dict[str, Any], chosen: Settings, section: str) -> dict[str, Any]:
    """Values of one combination for those keys that are lists in what the stage depends on."""
    values = chosen.affecting(section, "network", "result")
    return {key: value for key, value in values.items() if isinstance(depends.get(key), list)}


def _take_best(
    session: Session, stage: StageFolder, scores: list[tuple[float, str]], sweep: Sweep
) -> None:
    """Write sweep.csv, copy the best combination's files, complete the stage."""
    best = (max if sweep.largest else min)(scores, key=lambda score: score[0])[1]
    write_csv(
        stage.path / TABLE, ("combination", sweep.criterion), [(name, x) for x, name in scores]
    )
    source = stage.path / "sweep" / best
    for result in sweep.results:
        write_bytes(stage.path / result, (source / result).read_bytes())
    for figure in sorted((source / "figures").glob("*")):
        stage.figures.mkdir(parents=True, exist_ok=True)
        write_bytes(stage.figures / figure.name, figure.read_bytes())
    log.info(f"best of {len(scores)} by {sweep.criterion}: {best}")
    metrics = read_json(source / METRICS) | {"sweep_best": best}
    finish(stage, [*sweep.results, TABLE], metrics, session)
