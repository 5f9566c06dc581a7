"""A sweep: several runs of one stage, and the choice of the best."""

import copy
import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace

import pandas

from ..errors import TrainingError
from ..io import read_json, write_text
from ..runtime import log
from ..settings import as_text
from .session import Session


def combinations(session: Session) -> dict[str, Session]:
    """Runs for each combination of the lists in the stage's section, by name."""
    settings, section, runs = session.settings, session.stage.name.lower(), {}
    lists = {
        name.partition(".")[2]: values
        for name, values in settings.sweep.items()
        if name.startswith(f"{section}.")
    }
    for choice in itertools.product(*lists.values()):
        chosen, one = dict(zip(lists, choice, strict=True)), copy.copy(session)
        name = ",".join(f"{key}={as_text(value)}" for key, value in chosen.items())
        values = replace(getattr(settings, section), **chosen)
        one.settings = replace(settings, **{section: values})
        one.path = session.path / "sweep" / name if lists else session.path
        runs[name] = one
    return runs


def run_sweep(
    session: Session, work: Callable[[Session], None], results: list[str], best: Callable,
    criterion: str,
) -> None:  # fmt: skip
    """Do the `work` of a stage that has begun, once or for each combination of its lists.

    Then the `results` of the run with the `best` (min or max) `criterion` of metrics.json become
    those of the stage. A run that diverges is left out.
    """
    runs = combinations(session)
    if len(runs) == 1:
        work(*runs.values())
        return
    made = {name: one.path / "metrics.json" for name, one in runs.items()}
    for number, (name, one) in enumerate(runs.items(), 1):
        log.info(f"sweep {number} of {len(runs)}: {name}")
        try:
            if not session.ranks.rank0(made[name].exists):  # it does after an interruption
                work(one)
        except TrainingError as error:
            log.warning(f"sweep: {name} failed and is left out: {error}")

    def choose() -> None:
        metrics = {name: read_json(path) for name, path in made.items() if path.exists()}
        known = {name: each[criterion] for name, each in metrics.items()}
        scores = {name: score for name, score in known.items() if score is not None}
        if not scores:
            raise TrainingError(f"{session.path}: no combination has a {criterion}; give others")
        chosen = best(scores, key=scores.get)
        log.info(f"best of {len(scores)} by {criterion}: {chosen}")
        shutil.copytree(runs[chosen].path, session.path, dirs_exist_ok=True)
        table = pandas.Series(scores, name=criterion).rename_axis("combination")
        write_text(session.path / "sweep.csv", table.to_csv(lineterminator="\n"))
        session.finish([*results, "sweep.csv"], metrics[chosen] | {"sweep_best": chosen})

    session.ranks.rank0(choose)
