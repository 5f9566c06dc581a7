"""Section of the report: why this number of clusters."""

from ..clustering.selection import Criteria, contradictions, read_rows
from ..clustering.stability import MAX_RESAMPLE_SIZE, MIN_CLUSTER_SIZE
from ..evaluation.choice import Verdict, summary, verdicts
from ..plots.choice import selection_curves
from ..runs.run import FinishedRun
from .blocks import Block, Note, Picture, Section, Table, Text

SOURCES = (
    "BIC: Schwarz (1978); AIC: Akaike (1974); silhouette: Rousseeuw (1987); gap statistic: "
    "Tibshirani et al. (2001); knee: Satopaa et al. (2011); stability: adjusted Rand index (Hubert "
    "and Arabie 1985) between mixtures of half-samples, after Ben-Hur et al. (2002) and Lange et "
    f"al. (2004), which hold {MAX_RESAMPLE_SIZE:,} latents at most: a cluster of fewer than "
    f"{MIN_CLUSTER_SIZE} of them is not seen by it. None of these has seen a known class."
)


def section(run: FinishedRun) -> Section | None:
    """Criteria over K, and what each takes; None where the GMM stage is missing."""
    gmm = run.stages.get("GMM")
    if gmm is None:
        return None
    rows = read_rows(gmm.path / "selection.csv")
    criterion, chosen = gmm.settings.gmm.select, gmm.n_clusters
    if len(rows) == 1:
        text = f"One number of clusters was fitted, K = {chosen}: there was nothing to choose."
        return Section("Why this number of clusters", "choice", [Text(text)])
    found = verdicts(rows)
    blocks: list[Block] = [Text(summary(found, chosen, criterion))]
    for text in contradictions(rows, chosen, criterion):
        blocks.append(Note(f"{text[0].upper()}{text[1:]}."))
    blocks += _of_refinement(run, chosen)
    blocks += [
        Picture(
            "report_choice",
            lambda: selection_curves(rows, chosen, criterion),
            "Criteria for every number of clusters that was fitted. Dotted: the selected one. "
            "Ring: what each criterion would take. Bars: standard error of the gap, standard "
            "deviation of the stability between pairs of half-samples.",
        ),
        _choices(found),
        _values(rows),
    ]
    return Section("Why this number of clusters", "choice", blocks)


def _of_refinement(run: FinishedRun, chosen: int) -> list[Block]:
    dec = run.stages.get("DEC")
    if dec is None or dec.n_clusters == chosen:
        return []
    return [
        Note(
            f"Refinement was asked for {dec.n_clusters} clusters (dec.n_clusters), and not for the "
            f"{chosen} that were selected here."
        )
    ]


def _choices(found: list[Verdict]) -> Table:
    rows = [(verdict.title, verdict.n_clusters, verdict.sentence) for verdict in found]
    return Table("What each criterion takes", ("criterion", "K", "in words"), rows, note=SOURCES)


def _values(rows: list[Criteria]) -> Table:
    names = ("n_clusters", "bic", "aic", "silhouette", "inertia", "gap", "gap_std")
    header = ["K", "BIC", "AIC", "silhouette", "inertia", "gap", "gap s.e."]
    if any(row.stability == row.stability for row in rows):  # NaN where it was not computed
        names += ("stability", "stability_std")
        header += ["stability", "stability s.d."]
    values = [[getattr(row, name) for name in names] for row in rows]
    return Table("Criteria for every K", header, values, digits=6)
