"""The reader of small tables: CSV as spreadsheets, R, QGIS and data centres write it.

Letters: n rows, C columns.
"""

import contextlib
import csv
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..runtime import count
from .times import NOT_A_TIME, decode_cf, parse_cf_units, parse_time, parse_times

DELIMITERS = ";\t|,"  # of equals the first: a comma may be a part of numbers and texts
SAMPLE, LONGEST = 50, 2000  # lines, and characters of each, in which the delimiter is looked for
ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")  # the last one takes any bytes
MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
GAPS = ("", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "missing", "-", "--", "---")
TIME_NAMES = ("time", "datetime", "date_time", "timestamp", "date", "starttime", "time_utc", "utc")
PARTS = (("year", "yr"), ("month", "mon"), ("day",), ("hour", "hours", "hr"),
         ("minute", "minutes", "min"), ("second", "seconds", "sec"))  # fmt: skip
ISO = "ISO 8601, as 2016-01-31T12:00:00Z"
SHOWN = 40  # characters of a cell in a message

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_POINTS = r"[+-]?[1-9]\d{0,2}(\.\d{3})+"  # 1.234 of those who write 78,5
_COMMA = r"[+-]?[1-9]\d{0,2},\d{3}"  # 1,234: a decimal comma, or thousands
_THOUSANDS = r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"
_DECIMALS = r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?"  # 1.234,5 or 78,5
_SPACES = "(?<=\\d)[ '\u00a0\u202f\u2009\u2019](?=\\d{3}(?!\\d))"  # 1 234
# Numbers since 1970 by their length; 2016, 42400.5 and 2016013112 are something else.
_EPOCH = r"([3-9]\d{8}|1[0-8]\d{8})(\d{3}){0,3}(\.\d+)?"
_CLOCK = r"\d{1,2}:\d\d(:\d\d([.,]\d*)?)?\s*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?"
_ZONE = r"(?i:(Z|UTC|GMT|[T :]\d[\d:.,]*\s*(?P<offset>[+-]\d{1,2}(:?\d\d)?))\s*$)"
_OFFSET = r"(?i:UTC|GMT)?\s*([+-]\d{1,2}(?::?\d\d)?)"
_UTC = r"(?i)(?<![a-z])(UTC|GMT|Z)(?![a-z])"
_LOCAL = r"(?i:local.*)|LT|(?!GMT)[A-Z]{1,3}[SD]?T"


def natural_key(text: str) -> list[tuple[float, str]]:
    """Key that sorts numbers in texts as numbers: channel 2 before channel 10, 2.5 m before 10 m.

    A point is a decimal one only where it can't separate the codes of a trace id.
    """
    parts = re.split(r"((?<= )\d+\.\d+(?= |$)|\A\d+\.\d+(?= )|\d+)", text)
    keys = [(float(part), "") if at % 2 else (0.0, part) for at, part in enumerate(parts)]
    return [*keys, (0.0, text)]  # 01 and 1 are two names


@dataclass(frozen=True)
class Table:
    """Cells of a table, without rows that are empty, comments, or of another number of cells.

    `names` are as the header has them, `cells` (C,) arrays of n texts, `lines` (n,) where each row
    is in the file, from 1, and `notes` what was left out or interpreted, a sentence each.
    """

    names: list[str]
    cells: list[np.ndarray]
    lines: np.ndarray
    notes: list[str] = field(default_factory=list)

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

    def note(self, mask: Any, what: str, cells: pandas.Series, rest: str = "") -> None:
        """Add a note on the rows of a mask, if any; ``{s}`` in `what` is that of the plural."""
        rows = np.flatnonzero(mask)
        if len(rows):
            what = what.format(s="s" * (len(rows) > 1))
            where = f"the first in line {self.lines[rows[0]]}: '{cells[rows[0]]}'"
            self.notes.append(f"{len(rows):,} {what}, {where}{rest}.")

    def numbers(self, column: int, counts: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of a column, also with a decimal comma, or with separators of thousands.

        The result is the values, NaN for gaps and for what is no finite number, and whether a cell
        is neither a number nor a gap. ValueError where 1,234 can be one or a thousand, and no other
        cell decides; with `counts`, of whole numbers, it has no decimals.
        """
        cells = pandas.Series(self.cells[column], dtype=str).str.strip()
        comma = False if counts else self._decimal_comma
        text = cells.str.replace(_SPACES, "", regex=True).str.replace("\u2212", "-")
        single = text.str.fullmatch(_COMMA)
        if comma is None and single.any():
            row = int(single.argmax())
            raise ValueError(
                f"line {self.lines[row]}: '{cells[row]}' in column '{self.names[column]}' is "
                "ambiguous: a decimal comma, or a separator of thousands; allowed: a decimal point"
            )
        thousands = text.str.fullmatch(_THOUSANDS) & ~(single & bool(comma))
        decimals = text.str.fullmatch(_DECIMALS) & ~thousands
        points = text.str.fullmatch(_POINTS)
        dotted = text.str.contains(".", regex=False)
        points &= bool(comma) and (points | decimals)[dotted].all()  # separates thousands
        plain = text.mask(thousands, text.str.replace(",", ""))
        plain = plain.mask(decimals | points, text.str.replace(".", "").str.replace(",", "."))
        plain = plain.where(plain.str.fullmatch(_NUMBER))
        values = pandas.to_numeric(plain).to_numpy(np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        odd = ~np.isnan(values) & (plain != cells).to_numpy()
        what = (
            f"number{{s}} of column '{self.names[column]}' with a decimal comma, or thousands apart"
        )
        self.note(odd, what, cells, f", read as {values[odd.argmax()]:.12g}" if odd.any() else "")
        return values, np.isnan(values) & ~text.str.lower().isin(GAPS).to_numpy()

    @cached_property
    def _decimal_comma(self) -> bool | None:
        """Whether numbers have a decimal comma, by the cells of which there is no doubt."""
        cells = pandas.Series(np.concatenate([[""], *self.cells]), dtype=str).str.strip()
        text = cells[cells.str.contains("[.,]")].str.replace(_SPACES, "", regex=True)
        of_comma = text[text.str.contains(",") & ~text.str.fullmatch(_COMMA)]
        of_point = text[~text.str.contains(",") & ~text.str.fullmatch(_POINTS)]
        comma = of_comma.str.fullmatch(_DECIMALS).any()
        point = of_comma.str.fullmatch(_THOUSANDS).any() or of_point.str.fullmatch(_NUMBER).any()
        return bool(comma) if comma != point else None


# ---- from a file --------------------------------------------------------------------------------


def read_table(path: Path) -> Table:
    """Read a table of text; OSError where it can't be read, ValueError where it is no table.

    Its encoding is UTF-8, UTF-16 with a byte order mark, or that of Western Windows; its delimiter
    a comma, semicolon, tab or |, by a line ``sep=;`` or by its first lines. Before the header may
    be empty lines and comments that begin with #; the header may be such a comment itself, as in
    FDSN's tables of stations.
    """
    lines = [f"{line}\n" for line in _decoded(path.read_bytes()).split("\n")]
    place, delimiter = _header(lines)
    records = _records(lines[place:], delimiter, place + 1)
    _, header = next(records)
    names = _without_end([" ".join(name.split()) for name in header])
    names[0] = names[0].lstrip("# ")
    n, good, bad = len(names), [], []
    for line, row in records:
        if row == header or not any(map(str.strip, row)):  # or tables one after the other
            continue
        if _fits(row, n):
            good.append((line, *row[:n]))
        elif not row[0].startswith("#"):
            bad.append((line, len(row)))
    if bad and not good:
        more = ", and numbers a decimal point, or another delimiter" if delimiter == "," else ""
        raise ValueError(
            f"line {bad[0][0]} has {count(bad[0][1], 'cell')}, and the header {n}; every row needs "
            f"as many{more}"
        )
    numbers, *cells = zip(*good, strict=True) if good else [()] * (1 + n)
    columns = [np.array(column, dtype=object) for column in cells]
    table = Table(names, columns, np.array(numbers, dtype=np.int64))
    if bad:
        table.notes.append(
            f"{count(len(bad), 'row')} with another number of cells than the header left out, the "
            f"first in line {bad[0][0]}."
        )
    return table


def read_numbers(path: Path) -> dict[str, np.ndarray]:
    """Columns of a table that this program wrote, and that holds numbers alone.

    OSError and ValueError where it can't be read, or a cell is no number.
    """
    with warnings.catch_warnings():  # rows with more cells than the header would be cut
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            table = pandas.read_csv(path, dtype=str, index_col=False, keep_default_na=False)
        except pandas.errors.ParserWarning as warning:
            raise ValueError(f"a row has more cells than the header: {warning}") from None
    return {name: column.to_numpy(np.float64) for name, column in table.items()}


def _decoded(content: bytes) -> str:
    """Text with line feeds alone."""
    if content.startswith(b"PK\x03\x04"):
        raise ValueError("it is a spreadsheet or an archive; export it as CSV")
    text = "\0"
    for encoding in [name for mark, name in MARKS if content.startswith(mark)][:1] or ENCODINGS:
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            break
    if "\0" in text:
        raise ValueError("it is no text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _header(lines: Sequence[str]) -> tuple[int, str]:
    """Number of the header's line, from 0, and the delimiter."""
    declared, comments = "", []
    for place, line in enumerate(lines):
        if found := re.fullmatch(r'\s*"?sep=([;,|\t])"?[;,|\t ]*\n', line, re.I):
            declared = found[1]
        elif line.lstrip(' "').startswith("#"):
            comments.append(place)
        elif line.strip(DELIMITERS + '" \n'):
            break
    else:
        raise ValueError("it is empty; a header and rows are needed")
    delimiter = declared or _delimiter([line[:LONGEST] for line in lines[place : place + SAMPLE]])
    _, first = next(_records(lines[place:], delimiter, 1, strict=False))
    if any(re.fullmatch(r"\s*[+-]?\d[\d.,:TZ/ +-]*", cell) for cell in first):  # a row of data
        for comment in reversed(comments):
            _, cells = next(_records([lines[comment]], delimiter, 1, strict=False))
            if len(first) > 1 and _fits(first, len(_without_end(cells))):
                return comment, delimiter
    return place, delimiter


def _delimiter(lines: Sequence[str]) -> str:
    """The one that splits most lines as it splits the header, into most cells."""
    scores = {}
    for delimiter in DELIMITERS:
        header, *rows = (row for _, row in _records(lines, delimiter, 1, strict=False))
        n = len(_without_end(header))
        if n > 1:
            scores[delimiter] = sum(_fits(row, n) for row in rows) >= len(rows) / 2, n
    return max(scores, key=scores.get, default=",")


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


def _fits(cells: list[str], n: int) -> bool:
    """Whether a row has `n` cells, or more of which the last are empty."""
    return len(_without_end(cells)) <= n <= len(cells)


# ---- times --------------------------------------------------------------------------------------


def read_times(table: Table, names: Sequence[str] = ()) -> tuple[np.ndarray, set[int]]:
    """Times of the rows: of one column, of a date and a time, or of year, month, day and so on.

    Columns called as one of `names` come before those of the usual names.

    The result is ns since 1970 in UTC, (n,) int64, `NOT_A_TIME` where there is none, and the
    columns that were used. What is left out or interpreted is added to the table's notes.
    ValueError where there are no columns of times, or no time in them can be read.
    """
    cells, used = _time_texts(table, names)
    name = " and ".join(table.names[column] for column in used)
    unit = (re.search(r"[(\[]\s*(.*?)\s*[)\]]", name) or ["", ""])[1]
    if " since " in unit:
        return decode_cf(table.numbers(used[0])[0], *parse_cf_units(unit)), set(used)
    if re.fullmatch(_LOCAL, unit):
        raise ValueError(
            f"the times of column '{name}' are of a zone without a fixed offset; allowed: UTC, or "
            "an offset, as UTC+12:00"
        )
    times = parse_times(cells.to_numpy(str))
    is_number = cells.str.fullmatch(_NUMBER) & (cells.str.len() != 8)
    times[is_number & ~cells.str.fullmatch(_EPOCH)] = NOT_A_TIME
    known = times != NOT_A_TIME
    bad = ~known & ~cells.str.lower().isin(GAPS)
    if not known.any():
        first = [f"; line {table.lines[row]} has '{cells[row]}'" for row in np.flatnonzero(bad)[:1]]
        raise ValueError(f"no time can be read in column '{name}'{''.join(first)}; allowed: {ISO}")
    zones = cells.str.extract(_ZONE)
    bare = known & ~is_number & zones[0].isna()
    shifted = zones["offset"].fillna("").str.strip("+-0:") != ""
    if offset := re.fullmatch(_OFFSET, unit):
        times[bare] += parse_time(f"1970-01-01T00:00{offset[1]}")
        bare, shifted = bare & False, bare | shifted
    table.note(bad, "row{s} without a readable time left out", cells, f"; allowed: {ISO}")
    if not re.search(_UTC, name):
        table.note(bare, "time{s} without an offset taken for UTC", cells)
    table.note(known & shifted, "time{s} with an offset converted to UTC", cells)
    what = "number{s} taken for seconds or smaller units since 1970"
    table.note(known & is_number, what, cells)
    return times, set(used)


def _time_texts(table: Table, names: Sequence[str]) -> tuple[pandas.Series, list[int]]:
    """Each row's time as one text, and the columns that it is made of."""
    column, day = table.find(*names, *TIME_NAMES), table.find("date", "date_utc")
    parts = [table.find(*words) for words in PARTS]
    texts = pandas.Series(table.text(column), dtype=str).str[:64]
    first = next((text for text in texts if text.lower() not in GAPS), "")
    is_clock = column is not None and bool(re.fullmatch(_CLOCK, first, re.I))
    if column is not None and not is_clock:
        if parts[3] is None or not re.fullmatch(r"[\d/-]+", first):
            return texts, [column]
        days, used = texts, [column]
    elif day not in (None, column):
        days, used = pandas.Series(table.text(day), dtype=str).str[:64], [day]
    elif None not in parts[:3]:
        days, used = _joined(table, parts[:3], "-"), parts[:3]
    else:
        raise ValueError(
            f"no column of {'dates' if is_clock else 'times'}; it has {table.header}; one must be "
            f"called {', '.join(TIME_NAMES[:-1])} or {TIME_NAMES[-1]}"
        )
    more = [column] if is_clock else [part for part in parts[3:] if part is not None]
    clocks = texts if is_clock else _joined(table, more, ":")
    return days.mask((days != "") & (clocks != ""), days + "T" + clocks), [*used, *more]


def _joined(table: Table, columns: Sequence[Any], between: str) -> pandas.Series:
    """Numbers of some columns as one text a row; empty where one is none."""
    texts = pandas.Series("", range(len(table.lines)), dtype="str")
    for place, column in enumerate(columns):
        numbers = pandas.Series(table.numbers(column)[0])
        shown = numbers.map(lambda x: f"{x:02.0f}" if x.is_integer() else f"{x:09.6f}")
        texts = texts + between * (place > 0) + shown.where(numbers.notna())
    return texts.fillna("").astype("str")
