"""A comparison of runs as lines of text for the terminal, and as one table for a file."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..evaluation.comparison import Comparison
from ..evaluation.metrics import Overlap
from ..report.page import shown

INDENT = "  "


def as_lines(found: Comparison) -> list[str]:
    """Lines of aligned text."""
    lines = _block("", found.names, [("data", found.data)])
    if not found.same_data:
        lines += ["", "These runs label different samples: their labels can't be compared, and"]
        lines += ["figures of merit only as far as the data are alike."]
    lines += _settings(found)
    lines += ["", "Figures of merit", *_block("", found.names, _cells(found.metrics, shown))]
    if found.ari is not None:
        rows = [
            (name, [f"{value:.3f}" for value in row])
            for name, row in zip(found.names, found.ari, strict=True)
        ]
        lines += ["", "Adjusted Rand index between final labels (1: the same clusters, 0: chance)"]
        lines += _block("", found.names, rows)
    if found.pair is not None:
        lines += ["", *_correspondence(found.pair, *found.names)]
    return lines


def _settings(found: Comparison) -> list[str]:
    if not found.settings:
        return ["", "No setting that changes results differs."]
    return ["", "Settings that differ", *_block("", found.names, _cells(found.settings, _setting))]


def _cells(
    rows: Sequence[tuple[str, Sequence[Any]]], text: Callable[[Any], str]
) -> list[tuple[str, list[str]]]:
    return [(name, [text(value) for value in values]) for name, values in rows]


def _setting(value: Any) -> str:
    """As a config.ini has it; a dash where the stage is missing."""
    return shown(None) if value is None else _plain(value)


def _correspondence(pair: Overlap, first: str, second: str) -> list[str]:
    """Clusters of the one and those of the other that share most samples with them."""
    sizes, others = pair.counts.sum(1), pair.counts.sum(0)
    rows = []
    for row in pair.order().tolist():
        column = int(pair.matching[row])
        common = int(pair.counts[row, column]) if column >= 0 else 0
        shares = [
            f"{common / size:.1%}" if column >= 0 else shown(None)
            for size in (sizes[row], others[column])
        ]
        partner = str(column) if column >= 0 else shown(None)
        rows.append((str(row), [partner, f"{common:,}", *shares]))
    alone = sorted(set(np.flatnonzero(others).tolist()) - set(pair.matching.tolist()))
    lines = [
        f"Clusters under the best matching: {pair.accuracy:.1%} of {pair.n:,} samples agree",
        *_block(first, [second, "samples in common", f"of {first}'s", f"of {second}'s"], rows),
    ]
    if alone:
        lines.append(f"{INDENT}without a partner in {second}: {', '.join(map(str, alone))}")
    return lines


def _block(
    corner: str, header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """Aligned columns: names to the left, values to the right."""
    table = [(corner, *header), *((name, *values) for name, values in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
    return [
        (
            INDENT
            + line[0].ljust(widths[0])
            + "".join(
                f"  {text.rjust(width)}" for text, width in zip(line[1:], widths[1:], strict=True)
            )
        ).rstrip()
        for line in table
    ]


def as_table(found: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a CSV file: what kind of row, its name, and a column for each run."""
    return ["kind", "name", *found.names], [list(row) for row in _rows(found)]


def _rows(found: Comparison) -> Iterator[tuple[Any, ...]]:
    yield "data", "file", *found.data
    for name, values in found.settings:
        yield "setting", name, *("" if value is None else _plain(value) for value in values)
    for name, values in found.metrics:
        yield "metric", name, *("" if value is None else _plain(value) for value in values)
    if found.ari is not None:
        for name, row in zip(found.names, found.ari, strict=True):
            yield "ari", name, *(f"{value:.6g}" for value in row)


def _plain(value: Any) -> str:
    """In digits that a program reads."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        whole = all(isinstance(one, int) for one in value)
        if len(value) > 2 and whole and list(value) == list(range(value[0], value[-1] + 1)):
            return f"{value[0]}-{value[-1]}"
        return ", ".join(_plain(one) for one in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
