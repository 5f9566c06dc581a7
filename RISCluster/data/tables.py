"""The reader of small tables: CSV as spreadsheets, R, QGIS and data centres write it."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas

from ..runtime import count
from .times import NOT_A_TIME, SECOND, parse_times

DELIMITERS = ";\t|,"  # of equals the first: a comma may be a part of numbers and texts
GAPS = ("", "nan", "na", "n/a", "#n/a", "null", "none", "-")
TIME_NAMES = ("time", "datetime", "date_time", "timestamp", "date", "starttime", "time_utc", "utc")
PARTS = (("year", "yr"), ("month", "mon"), ("day",), ("hour", "hours", "hr"),
         ("minute", "minutes", "min"), ("second", "seconds", "sec"))  # fmt: skip
EPOCH = 3e8 * SECOND, 1.9e9 * SECOND  # ns since 1970 that numbers can mean: not 2016, or 42400.5

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_LOCAL = r"(?i:local)|\b(?!UTC|GMT)[A-Z]{1,4}T\b|(UTC|GMT)\s*[+-]"  # in the name of a column


def natural_key(text: str) -> list[tuple[int, str]]:
    """Key that sorts whole numbers in texts as numbers: channel 2 before channel 10."""
    parts = [
        (int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", text)
    ]
    return [*parts, (0, text)]  # 01 and 1 are two names


def is_gap(cells: pandas.Series) -> pandas.Series:
    """Whether cells hold no value, such as '' or NaN."""
    return cells.str.lower().isin(GAPS)


@dataclass(frozen=True)
class Table:
    """Cells of a table, as texts without blanks around them."""

    names: list[str]  # of the header
    cells: pandas.DataFrame  # columns by number, the line in the file, from 1, as index
    decimal: str
    notes: list[str] = field(default_factory=list)  # what was left out, a sentence each

    def find(self, *words: str) -> int | None:
        """Column with one of these names, whatever its case and unit; the first word counts."""
        bare = [re.sub(r"[(\[{].*", "", name).strip(" #_").lower() for name in self.names]
        plain = [re.sub(r"[\s_-]+", "_", name) for name in bare]
        return next((plain.index(word) for word in words if word in plain), None)

    def require(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Columns by the names that each can have; ValueError where one is missing."""
        found = {key: self.find(*words) for key, words in wanted.items()}
        lacking = [key for key, column in found.items() if column is None]
        if lacking:
            header = ", ".join(self.names)[:200]
            raise ValueError(f"no column {' and no column '.join(lacking)}; it has {header}")
        return found

    def text(self, column: int | None) -> list[str]:
        """Cells of a column; empty ones for no column."""
        return [""] * len(self.cells) if column is None else self.cells[column].tolist()

    def numbers(self, column: int) -> np.ndarray:
        """Numbers of a column; NaN for gaps and what is no finite number."""
        texts = self.cells[column]
        if self.decimal == ",":  # a point may separate thousands
            texts = texts.mask(texts.str.contains(".", regex=False), "").str.replace(",", ".")
        values = pandas.to_numeric(texts, errors="coerce").to_numpy(np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def read_table(path: Path) -> Table:
    """Read a table in UTF-8 or Latin-1; OSError where it can't be read, ValueError if it is none.

    Decimal commas are read where the delimiter is a semicolon. Lines that begin with # are left
    out; one before the rows can be the header, as in FDSN's tables of stations.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text("latin-1")
    if "\0" in text:
        raise ValueError("it is no text in UTF-8 or Latin-1; export it as CSV in UTF-8")
    try:
        header, delimiter = _header(text.split("\n"))
        lines = [f"{line}\n" for line in text.split("\n")[header:]]
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = {}
        for row in reader:
            cells = [" ".join(cell.split()) for cell in row]
            if any(cells) and not (rows and cells[0].startswith("#")):
                rows[header + reader.line_num] = cells
    except csv.Error as error:
        raise ValueError(f"{error}; close quotes, or give another delimiter") from None
    first, *lines = rows
    names, n = [rows[first][0].lstrip("# "), *rows[first][1:]], len(rows[first])
    for line in lines:
        if len(rows[line]) < n or any(rows[line][n:]):
            raise ValueError(
                f"line {line} has {count(len(rows[line]), 'cell')}, and the header {n}; give {n}"
            )
    cells = pandas.DataFrame([rows[line][:n] for line in lines], lines, range(n), dtype="str")
    commas = cells.apply(lambda column: column.str.fullmatch(r"[+-]?\d*,\d+")).any(axis=None)
    return Table(names, cells, "," if delimiter == ";" and commas else ".")


def _header(lines: Sequence[str]) -> tuple[int, str]:
    """Number of the header's line, from 0, and the delimiter, by the first row of cells."""

    def split(at: int, mark: str) -> list[str]:
        return next(csv.reader([lines[at]], delimiter=mark, skipinitialspace=True), [])

    is_row = [
        bool(line.strip(f'{DELIMITERS}" ')) and not line.lstrip(' "').startswith("#")
        for line in lines
    ]
    if not any(is_row):
        raise ValueError("it is empty; a header and rows are needed")
    first = is_row.index(True)
    delimiter = max(DELIMITERS, key=lambda mark: len(split(first, mark)))
    cells = split(first, delimiter)
    if any(re.fullmatch(r"\s*[+-]?\d[\d.,:TZ/ +-]*", cell) for cell in cells):  # a row of data
        comments = [at for at in range(first) if len(split(at, delimiter)) == len(cells)]
        first = comments[-1] if comments and len(cells) > 1 else first
    return first, delimiter


def read_times(table: Table, names: Sequence[str] = ()) -> tuple[np.ndarray, set[int]]:
    """Times (n,) in ns since 1970, `NOT_A_TIME` where there is none, and the columns of these.

    They are one column, called as one of `names` or as usual, a date and a time, or year, month,
    day and so on, in UTC or with an offset. Those that can't be read are added to the notes.
    ValueError where there are no columns of times, or no time in them can be read.
    """
    cells, used = _time_texts(table, names)
    name = " and ".join(table.names[column] for column in used)
    allowed = "allowed: UTC in ISO 8601, such as 2016-01-31T12:00:00Z"
    if re.search(_LOCAL, name):
        raise ValueError(f"column '{name}' holds times of a zone; {allowed}, or with an offset")
    times = parse_times(cells.to_numpy(str))
    is_number = cells.str.fullmatch(_NUMBER) & ~cells.str.fullmatch(r"\d{8}")
    times[is_number & ~pandas.Series(times, cells.index).between(*EPOCH)] = NOT_A_TIME
    bad = cells[(times == NOT_A_TIME) & ~is_gap(cells)]
    first = "".join(f"; line {line} has '{cell[:40]}'" for line, cell in bad.head(1).items())
    if (times == NOT_A_TIME).all():
        raise ValueError(f"no time can be read in column '{name}'{first}; {allowed}")
    if len(bad):
        left_out = f"{count(len(bad), 'row')} without a readable time left out"
        table.notes.append(f"{left_out}{first}; {allowed}.")
    return times, set(used)


def _time_texts(table: Table, names: Sequence[str]) -> tuple[pandas.Series, list[int]]:
    """Each row's time as one text, and the columns that it is made of."""
    whole, date = table.find(*names, *TIME_NAMES), table.find("date", "date_utc")
    year, month, day, *clock = (table.find(*words) for words in PARTS)
    is_clock = whole is not None and table.cells[whole].str.match(r"\d{1,2}:\d\d").any()
    if whole not in (None, date) and not is_clock:
        return table.cells[whole], [whole]
    clock = [whole] if is_clock else [part for part in clock if None not in (part, clock[0])]
    days = [year, month, day] if date is None else [date]
    if None in days:
        raise ValueError(
            f"no column of {'dates' if is_clock else 'times'} in {', '.join(table.names)[:200]}; "
            f"allowed: {', '.join(TIME_NAMES)}"
        )
    texts = ["-".join(row) for row in table.cells[days].to_numpy()]
    if clock:
        minutes = ":00" if len(clock) == 1 and not is_clock else ""
        hours = [":".join(row) + minutes for row in table.cells[clock].to_numpy()]
        texts = [f"{day}T{hour}" for day, hour in zip(texts, hours, strict=True)]
    return pandas.Series(texts, table.cells.index, dtype="str"), [*days, *clock]
