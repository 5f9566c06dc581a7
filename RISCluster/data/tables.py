"""The one reader of small tables: CSV as spreadsheets, R, QGIS and data centres write it.

Letters: n rows, C columns.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime import count
from .times import NOT_A_TIME, decode_cf, parse_cf_units, parse_times

DELIMITERS = ";\t|,"  # of equals the first: a comma may be a part of numbers and texts
SAMPLE, LONGEST = 50, 2000  # lines, and characters of each, in which the delimiter is looked for
ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")  # the last one takes any bytes
MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
GAPS = frozenset(
    ("", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "missing", "-", "--", "---")
)
TIME_NAMES = ("time", "datetime", "date_time", "timestamp", "date", "starttime", "time_utc", "utc")
PARTS = (("year", "yr"), ("month", "mon"), ("day",), ("hour", "hours", "hr"),
         ("minute", "minutes", "min"), ("second", "seconds", "sec"))  # fmt: skip
ISO = "ISO 8601, as 2016-01-31T12:00:00Z"
READ_ROWS = 2**18
SHOWN = 40  # characters of a cell in a message

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")  # 1.234 of those who write 78,5
_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234: a decimal comma, or thousands
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_DECIMALS = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?")  # 1.234,5 or 78,5
_SPACED = re.compile("(?<=\\d)[ '\u00a0\u202f\u2009\u2019](?=\\d{3}(?!\\d))")  # 1 234
# Numbers since 1970 by their length; 2016, 42400.5 and 2016013112 are something else.
_EPOCH = re.compile(r"([3-9]\d{8}|1[0-8]\d{8})(\d{3}){0,3}(\.\d+)?")
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d*)?)?\s*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?", re.I)
_ZONED = re.compile(r"(Z|UTC|GMT|[T :]\d[\d:.,]*\s*(?P<offset>[+-]\d{1,2}(:?\d\d)?))\s*$", re.I)
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-]\d{1,2}(?::?\d\d)?)", re.I)
_UTC = re.compile(r"(?<![a-z])(UTC|GMT|Z)(?![a-z])", re.I)
_LOCAL = re.compile(r"(?i:local.*)|LT|(?!GMT)[A-Z]{1,3}[SD]?T")


def natural_key(text: str) -> list[tuple[float, str]]:
    """Key that sorts numbers in texts as numbers: channel 2 before channel 10, 2.5 m before 10 m.

    A point is a decimal one only where it can't part the codes of a trace id.
    """
    parts = re.split(r"((?<= )\d+\.\d+(?= |$)|\A\d+\.\d+(?= )|\d+)", text)
    keys = [(float(part), "") if at % 2 else (0.0, part) for at, part in enumerate(parts)]
    return [*keys, (0.0, text)]  # 01 and 1 are two names


# ---- a table ------------------------------------------------------------------------------------


class _TwoWays(ValueError):
    """A number that can be read in two ways."""


@dataclass(frozen=True)
class Table:
    """Cells of a table, without rows that are empty, comments, or of another number of cells.

    Attributes
    ----------
    names : list of str, (C,)
        As the header has them.
    cells : list of ndarray, (C,) of (n,)
        Texts.
    lines : ndarray, (n,), int64
        Where each row is in the file, from 1.
    notes : list of str
        What was left out or interpreted, a sentence each.
    """

    names: list[str]
    cells: list[np.ndarray]
    lines: np.ndarray
    notes: list[str] = field(default_factory=list)

    def find(self, *words: str) -> int | None:
        """Column with one of these names, whatever its case and unit; the first word counts."""
        plain = [plain_name(name) for name in self.names]
        return next((plain.index(word) for word in words if word in plain), None)

    def require(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Columns by the names that each can have.

        Raises
        ------
        ValueError
            One is not there.
        """
        found = {key: self.find(*words) for key, words in wanted.items()}
        lacking = [key for key, column in found.items() if column is None]
        if lacking:
            raise ValueError(f"no column {' and no column '.join(lacking)}; it has {self.header}")
        return found

    @property
    def header(self) -> str:
        """The first names, for a message."""
        names = [name[:SHOWN] for name in self.names if name]
        return ", ".join(names[:10] + ["..."] * (len(names) > 10)) or "nothing"

    def text(self, column: int | None) -> list[str]:
        """Cells with blanks and line breaks as single blanks; empty ones for no column."""
        if column is None:
            return [""] * len(self.lines)
        return [" ".join(cell.split()) for cell in self.cells[column].tolist()]

    def numbers(self, column: int, counts: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of a column, also with a decimal comma, or with thousands apart.

        Parameters
        ----------
        column : int
        counts : bool
            They are whole, so that 1,234 has no decimals.

        Returns
        -------
        ndarray, (n,), float64
            NaN for gaps and for what is no finite number.
        ndarray, (n,), bool
            Cells that are neither a finite number nor a gap.

        Raises
        ------
        ValueError
            1,234 can be one or a thousand, and no other cell tells which; its line is named.
        """
        cells = self.cells[column]
        comma = False if counts else self._decimal_comma
        dotted = [cell.strip() for cell in cells.tolist() if "." in cell] if comma else []
        points = bool(dotted) and all("," in x or _POINTS.fullmatch(x) for x in dotted)
        try:
            values = cells.astype(np.float64) if not points else None
        except ValueError:
            values = None
        wrong = np.zeros(len(cells), dtype=bool)
        if values is None:
            values = np.full(len(cells), np.nan)
            for row, cell in enumerate(cells.tolist()):
                try:
                    values[row] = _number(cell, comma, points)
                except _TwoWays:
                    raise ValueError(
                        f"line {self.lines[row]}: '{cell.strip()}' in column "
                        f"'{self.names[column]}' is one or a thousand, for no other number tells; "
                        "allowed: a decimal point, and digits alone before it"
                    ) from None
                except ValueError:
                    wrong[row] = True
            self._note_forms(column, values)
        wrong |= np.isinf(values)
        return np.where(wrong, np.nan, values), wrong

    def _note_forms(self, column: int, values: np.ndarray) -> None:
        """Say which numbers were not read as they are written."""
        cells = [cell.strip() for cell in self.cells[column].tolist()]
        odd = [
            row
            for row, (cell, value) in enumerate(zip(cells, values.tolist(), strict=True))
            if np.isfinite(value) and not (_NUMBER.fullmatch(cell) and float(cell) == value)
        ]
        if odd:
            self.notes.append(
                f"{count(len(odd), 'number')} of column '{self.names[column]}' with a decimal "
                f"comma, or with thousands apart: the first, in line {self.lines[odd[0]]}, is "
                f"'{cells[odd[0]]}' and was read as {values[odd[0]]:.12g}."
            )

    @cached_property
    def _decimal_comma(self) -> bool | None:
        """Whether numbers have a decimal comma, by the cells of which there is no doubt."""
        comma = point = False
        for cell in (cell for cells in self.cells for cell in cells.tolist()):
            if "," in cell or "." in cell:
                text = _SPACED.sub("", cell.strip())
                if "," in text and not _COMMA.fullmatch(text):
                    point |= bool(_THOUSANDS.fullmatch(text))
                    comma |= bool(_DECIMALS.fullmatch(text))
                elif "." in text and not _POINTS.fullmatch(text):
                    point |= bool(_NUMBER.fullmatch(text))
        return comma if comma != point else None


def plain_name(name: str) -> str:
    """Name of a column without unit, case and blanks: ``Wind speed [m/s]`` is ``wind_speed``."""
    bare = re.sub(r"[(\[{].*", "", name).strip(" #_").lower()
    return re.sub(r"[\s_-]+", "_", bare)


def _number(cell: str, comma: bool | None, points: bool) -> float:
    """A number of any form.

    Parameters
    ----------
    cell : str
    comma : bool or None
        Whether the table has decimal commas; None where that is not known.
    points : bool
        Whether a point of the column parts thousands.

    Raises
    ------
    ValueError
        It is none; `_TwoWays` where it is two.
    """
    text = _SPACED.sub("", cell.strip().replace("\u2212", "-"))
    if text.lower() in GAPS:
        return np.nan
    if _COMMA.fullmatch(text):
        if comma is None:
            raise _TwoWays
        text = text.replace(",", "." if comma else "")
    elif _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif _DECIMALS.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif points and _POINTS.fullmatch(text):
        text = text.replace(".", "")
    return float(text.replace("_", "x"))  # Python takes 1_000


# ---- from a file --------------------------------------------------------------------------------


def read_table(path: Path) -> Table:
    """Read a table of text.

    Its encoding is UTF-8, UTF-16 with a byte order mark, or that of Western Windows; its delimiter
    a comma, semicolon, tab or |, by a line ``sep=;`` or as its first lines have it. Before the
    header may be empty lines and comments that begin with #; the header may be such a comment
    itself, as in FDSN's tables of stations.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Table

    Raises
    ------
    OSError
        The file can't be read.
    ValueError
        It is no table; the message says why.
    """
    lines = [f"{line}\n" for line in _decoded(path.read_bytes()).split("\n")]
    place, delimiter = _header(lines)
    records = _records(lines[place:], delimiter, place + 1)
    _, header = next(records)
    names = _without_end([" ".join(name.split()) for name in header])
    names[0] = names[0].lstrip("# ")
    n, good, odd = len(names), [], {"more": [], "fewer": []}
    for line, row in records:
        if row == header or not any(map(str.strip, row)):  # or tables one after the other
            continue
        if len(row) == n or len(_without_end(row)) <= n < len(row):
            good.append((line, *row[:n]))
        elif not row[0].startswith("#"):
            odd["more" if len(row) > n else "fewer"].append((line, len(row)))
    bad = sorted(odd["more"] + odd["fewer"])
    if bad and not good:
        raise ValueError(
            f"line {bad[0][0]} has {count(bad[0][1], 'cell')}, and the header {n}; every row needs "
            "as many"
            + (", and numbers a decimal point, or another delimiter" if delimiter == "," else "")
        )
    notes = [
        f"{count(len(which), 'row')} with {what} cells than the header left out, the first in "
        f"line {which[0][0]}."
        for what, which in odd.items()
        if which
    ]
    numbers, *cells = zip(*good, strict=True) if good else [()] * (1 + n)
    return Table(
        names,
        [np.array(column, dtype=object) for column in cells],
        np.array(numbers, dtype=np.int64),
        notes,
    )


def read_numbers(path: Path) -> dict[str, np.ndarray]:
    """Columns of a table that this program wrote, and that holds numbers alone.

    Raises
    ------
    OSError, ValueError
        As `read_table`; or a row is not whole, or a cell is no number.
    """
    table = read_table(path)
    if table.notes:
        raise ValueError(table.notes[0].rstrip("."))
    columns = {}
    for column, name in enumerate(table.names):
        columns[name], wrong = table.numbers(column)
        if wrong.any():
            row = int(wrong.argmax())
            cell = table.cells[column][row][:SHOWN]
            raise ValueError(f"line {table.lines[row]}: '{cell}' in column '{name}' is no number")
    return columns


def read_blocks(path: Path, kinds: Mapping[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    """Some columns of a large table that this program wrote, some rows at a time.

    Parameters
    ----------
    path : Path
    kinds : mapping of str to dtype
        What cells of the columns are; those that the table does not have are passed over.

    Raises
    ------
    OSError, ValueError
        It can't be read as that.
    """
    import pandas

    with pandas.read_csv(
        path, usecols=lambda name: name in kinds, dtype=kinds, na_filter=False, index_col=False,
        chunksize=READ_ROWS,
    ) as blocks:  # fmt: skip
        for block in blocks:
            yield {name: block[name].to_numpy() for name in block}


def _decoded(content: bytes) -> str:
    """Text with line feeds alone."""
    if content.startswith(b"PK\x03\x04"):
        raise ValueError("it is a spreadsheet or an archive; export it as CSV")
    encodings = [name for mark, name in MARKS if content.startswith(mark)][:1] or ENCODINGS
    for encoding in encodings:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise ValueError(f"its mark says {encodings[0].upper()}, and its bytes are something else")
    if "\0" in text:
        raise ValueError("it has NUL bytes, and is no text in UTF-8 or in UTF-16 with its mark")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _header(lines: Sequence[str]) -> tuple[int, str]:
    """Number of the header's line, from 0, and the delimiter."""
    said, comments = "", []
    for place, line in enumerate(lines):
        found = re.fullmatch(r'\s*"?sep=([;,|\t])"?[;,|\t ]*\n', line, re.I)
        if found:
            said = found[1]
        elif line.lstrip(' "').startswith("#"):
            comments.append(place)
        elif line.strip(DELIMITERS + '" \n'):
            break
    else:
        raise ValueError("it is empty; a header and rows are needed")
    delimiter = said or _delimiter([line[:LONGEST] for line in lines[place : place + SAMPLE]])
    _, first = next(_records(lines[place:], delimiter, 1, strict=False))
    if any(re.fullmatch(r"\s*[+-]?\d[\d.,:TZ/ +-]*", cell) for cell in first):  # a row of data
        for comment in reversed(comments):
            _, cells = next(_records([lines[comment]], delimiter, comment + 1, strict=False))
            if len(_without_end(first)) <= len(_without_end(cells)) <= len(first) > 1:
                return comment, delimiter
    return place, delimiter


def _records(
    lines: Sequence[str], delimiter: str, first: int, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, which quotes can stretch over lines; empty ones left out."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    line = first
    try:
        for row in reader:
            if row:
                yield line, row
            line = first + reader.line_num
    except csv.Error as error:
        why = "a quote that is not closed" if "unexpected end" in str(error) else str(error)
        raise ValueError(f"line {line}: {why}") from None


def _without_end(cells: list[str]) -> list[str]:
    """Cells without empty ones at the end."""
    n = next((n for n in range(len(cells), 1, -1) if cells[n - 1].strip()), 1)
    return cells[:n]


def _delimiter(lines: Sequence[str]) -> str:
    """The one that parts most lines as it parts the header, into most cells."""
    best, parts = ",", (False, 1)
    for delimiter in DELIMITERS:
        header, *rows = (row for _, row in _records(lines, delimiter, 1, strict=False))
        n = len(_without_end(header))
        alike = [len(_without_end(row)) <= n <= len(row) for row in rows]
        found = (sum(alike) >= len(rows) / 2, n)
        if n > 1 and found > parts:
            best, parts = delimiter, found
    return best


# ---- times --------------------------------------------------------------------------------------


def read_times(table: Table) -> tuple[np.ndarray, set[int]]:
    """Times of the rows: of one column, of a date and a time, or of year, month, day and so on.

    What is left out or interpreted comes to the table's notes.

    Parameters
    ----------
    table : Table

    Returns
    -------
    ndarray, (n,), int64
        Nanoseconds since 1970 in UTC; `NOT_A_TIME` where there is none.
    set of int
        The columns that were used.

    Raises
    ------
    ValueError
        There are no columns of times, or no time in them can be read.
    """
    texts, used = _time_texts(table)
    name = " and ".join(table.names[column] for column in used)
    unit = re.search(r"[(\[](.*)[)\]]", name)
    unit = unit[1].strip() if unit else ""
    if " since " in unit:
        return decode_cf(table.numbers(used[0])[0], *parse_cf_units(unit)), set(used)
    offset = _OFFSET.fullmatch(unit)
    if _LOCAL.fullmatch(unit):
        raise ValueError(
            f"the times of column '{name}' are of a zone without a fixed offset; allowed: UTC, or "
            "an offset, as UTC+12:00"
        )
    times = parse_times(np.array(texts, dtype=str))
    is_number = _each(texts, lambda text: len(text) != 8 and _NUMBER.fullmatch(text))
    times[is_number & ~_each(texts, _EPOCH.fullmatch)] = NOT_A_TIME
    zones = [_ZONED.search(text) for text in texts]
    known = times != NOT_A_TIME
    bare = known & ~is_number & ~_each(zones, bool)
    shifted = _each(zones, lambda zone: zone and (zone["offset"] or "").strip("+-0:"))
    if offset:
        times[bare] += parse_times([f"1970-01-01T00:00{offset[1]}"])[0]
        bare, shifted = bare & False, bare | shifted
    bad = ~known & ~_each(texts, lambda text: text.lower() in GAPS)
    if not known.any():
        first = [f"; line {table.lines[row]} has '{texts[row]}'" for row in np.flatnonzero(bad)[:1]]
        raise ValueError(f"no time can be read in column '{name}'{''.join(first)}; allowed: {ISO}")
    for which, said, rest in (
        (bad, "row{} without a readable time left out", f"; allowed: {ISO}"),
        (bare & (not _UTC.search(name)), "time{} without an offset taken for UTC", ""),
        (known & shifted, "time{} with an offset converted to UTC", ""),
        (known & is_number, "number{} taken for seconds or smaller units since 1970", ""),
    ):
        if which.any():
            n, row = int(which.sum()), int(which.argmax())
            table.notes.append(
                f"{n:,} {said.format('s' * (n > 1))}, the first in line {table.lines[row]}: "
                f"'{texts[row]}'{rest}."
            )
    return times, set(used)


def _each(items: Sequence[Any], test: Callable[[Any], Any]) -> np.ndarray:
    return np.array([bool(test(item)) for item in items], dtype=bool)


def _time_texts(table: Table) -> tuple[list[str], list[int]]:
    """Each row's time as one text, and the columns that it is made of."""
    column, day = table.find(*TIME_NAMES), table.find("date", "date_utc")
    year, month, day_of_month, hour, minute, second = (table.find(*words) for words in PARTS)
    texts = [text[:64] for text in table.text(column)]
    first = next((text for text in texts if text.lower() not in GAPS), "")
    is_clock = column is not None and bool(_CLOCK.fullmatch(first))
    used = [year, month, day_of_month]
    if column is not None and not is_clock:
        if hour is None or not re.fullmatch(r"[\d/-]+", first):
            return texts, [column]
        days, used = texts, [column]
    elif day not in (None, column):
        days, used = [text[:64] for text in table.text(day)], [day]
    elif None not in used:
        days = _padded(table, used, "-")
    else:
        raise ValueError(
            f"no column of {'dates' if is_clock else 'times'}; it has {table.header}; one must be "
            f"called {', '.join(TIME_NAMES[:-1])} or {TIME_NAMES[-1]}"
        )
    if is_clock:
        clocks, more = texts, [column]
    else:
        more = [part for part in (hour, minute, second) if part is not None]
        clocks = _padded(table, more, ":") if more else [""] * len(days)
    both = zip(days, clocks, strict=True)
    return [f"{date}T{clock}" if date and clock else date for date, clock in both], [*used, *more]


def _padded(table: Table, columns: Sequence[int], between: str) -> list[str]:
    """Numbers of some columns as one text a row; empty where one is none."""
    values = np.stack([table.numbers(column)[0] for column in columns], axis=1)
    return [
        between.join(f"{x:02.0f}" if x.is_integer() else f"{x:09.6f}" for x in row)
        if np.isfinite(row).all()
        else ""
        for row in values.tolist()
    ]
