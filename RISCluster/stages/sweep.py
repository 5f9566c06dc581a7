"""Sweeps: a stage run for every combination of its lists, of which the best is chosen."""

from collections.abc import Iterator
from typing import Any

from ..errors import TrainingError
from ..io import read_json, write_bytes, write_csv
from ..run_folder import StageFolder
from ..runtime import log
from ..settings import Settings
from .session import METRICS, Session, finish

TABLE = "sweep.csv"


class Sweep:
    """Runs of one stage.

    Parameters
    ----------
    session : Session
    stage : StageFolder
        Begun.
    inputs : dict
        Inputs of the whole stage.
    section : {"aec", "dec"}
        Whose lists are combined. Without lists there is one run, in the stage's own folder.
    criterion : str
        Key of metrics.json by which runs are compared.
    results : list of str
        Files to copy from the best run.
    largest : bool
        Whether the largest value is the best.
    """

    def __init__(
        self,
        session: Session,
        stage: StageFolder,
        inputs: dict[str, Any],
        section: str,
        criterion: str,
        results: list[str],
        largest: bool = False,
    ):
        self.session, self.stage, self.inputs, self.section = session, stage, inputs, section
        self.criterion, self.results, self.largest = criterion, results, largest
        self.combinations = session.settings.sweep(section)
        self.scores: dict[str, float] = {}
        self.error: TrainingError | None = None

    def runs(self) -> Iterator[tuple[Settings, StageFolder]]:
        """Settings and folder of each run that is not complete yet."""
        if len(self.combinations) == 1:
            yield self.combinations[0][1], self.stage
            return
        for number, (name, chosen) in enumerate(self.combinations, 1):
            part = self.session.stage(self.stage.name, f"sweep/{name}")
            log.info(f"sweep {number} of {len(self.combinations)}: {name}")
            self.error = None
            if self.session.begin(part, self._inputs_of(chosen), chosen):
                yield chosen, part
            if self.error is not None:
                log.warning(f"sweep: {name} failed and is left out: {self.error}")
                continue
            value = self.session.rank0(lambda p=part: read_json(p.path / METRICS))[self.criterion]
            if value is None:  # NaN
                value = float("-inf" if self.largest else "inf")
            self.scores[name] = value

    def fail(self, error: TrainingError) -> None:
        """Leave the current run out; raise the error where it is the only one."""
        if len(self.combinations) == 1:
            raise error
        self.error = error

    def finish(self) -> None:
        """Write sweep.csv, copy the files of the best run and complete the stage."""
        if len(self.combinations) == 1:
            return
        if not self.scores:
            raise self.error
        self.session.rank0(self._copy_best)

    def _inputs_of(self, chosen: Settings) -> dict[str, Any]:
        """Inputs of one run: its values in place of the lists."""
        values = chosen.inputs(self.section, "network", "result")
        lists = {key for key, value in self.inputs.items() if isinstance(value, list)}
        return self.inputs | {key: value for key, value in values.items() if key in lists}

    def _copy_best(self) -> None:
        best = (max if self.largest else min)(self.scores, key=self.scores.get)
        write_csv(self.stage.path / TABLE, ("combination", self.criterion), self.scores.items())
        source = self.stage.path / "sweep" / best
        for result in self.results:
            write_bytes(self.stage.path / result, (source / result).read_bytes())
        for figure in sorted((source / "figures").glob("*")):
            self.stage.figures.mkdir(parents=True, exist_ok=True)
            write_bytes(self.stage.figures / figure.name, figure.read_bytes())
        log.info(f"best of {len(self.scores)} by {self.criterion}: {best}")
        metrics = read_json(source / METRICS) | {"sweep_best": best}
        finish(self.stage, [*self.results, TABLE], metrics, self.session)
