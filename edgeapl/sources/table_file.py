"""Reads users' tables: CSV files as written by Excel, LibreOffice and scripts."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import ConfigError, EdgeAplError
from edgeapl.sources.regular_file import read_plain_file
from edgeapl.wording.names import canonical_name, has_undecoded_bytes
from edgeapl.wording.printable import printable

MAX_BYTES = 64 * 2**20
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_STATED = re.compile(r'"?sep=([,;\t])"?[,;\t]*\r?', re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
SAVE_AS = "save it as 'CSV UTF-8' (Excel: Save As; LibreOffice: character set Unicode (UTF-8))"

Fits = Callable[[Sequence[str]], bool]
"""Whether a first row, its names as in `Table.columns`, belongs to the expected table."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row. line : where it begins in the file, from 1. cells : as many as columns."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its first row separate.

    columns : names for look-up: without surrounding blanks, in lower case, NFC.
    headings : the same as written.
    rows : without empty ones.
    separated_by : the separator's name.
    line : of the first row, from 1.
    """

    columns: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[TableRow, ...]
    separated_by: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class TableReader:
    """Reads one kind of table.

    what : name of the table, at the beginning of every error.
    mend : how to write one.
    fits : tells by the first row which separator is used.
    own : columns in which no row may lack a cell; if empty, no column may.
    error : raised for everything that is wrong.
    raw_names : bytes that are not UTF-8 are kept as in file names; the caller checks them.
    """

    what: str
    mend: str
    fits: Fits
    own: tuple[str, ...] = ()
    error: type[EdgeAplError] = ConfigError
    raw_names: bool = False

    def read(self, path: Path) -> Table:
        """Read a CSV: UTF-8, or UTF-16 with its byte-order mark; commas, semicolons or tabs.

        A first line ``sep=;`` is obeyed, blank rows and empty trailing columns are skipped, and
        quoted cells may hold line breaks. Raises `error`, with the line, for a row with more or
        fewer cells than the first, and if the encoding or the separator cannot be determined.
        """
        text, begin = self._text(path)
        separator, text = _stated(text)
        begin += bool(separator)
        separator = separator or self._separator(text, path, begin)
        table = self._parsed(text, separator, path, begin)
        if not table.columns:
            raise self.wrong(path, begin, "there is no first row with names of columns")
        if any(map(has_undecoded_bytes, table.headings)):
            raise self.not_utf8(path, begin)
        twice = next((n for n in table.columns if n and table.columns.count(n) > 1), None)
        if self.own and twice is not None:
            raise self.wrong(path, begin, f"column {printable(twice)!r} is there twice")
        return table

    def wrong(self, path: Path, line: int, what: str, mend: str = "") -> EdgeAplError:
        """Make an error about a line."""
        return self.error(f"{self.what}, line {line}: {what}", printable(path), mend or self.mend)

    def _text(self, path: Path) -> tuple[str, int]:
        """Return the text from its first row on, and that row's line."""
        try:
            data = read_plain_file(path, MAX_BYTES)
        except EdgeAplError as error:
            what = f"{self.what}: {error.what}"
            raise self.error(what, error.which, error.mend) from error
        if data.startswith(_WORKBOOKS):
            what = f"{self.what} is a workbook, not a CSV"
            raise self.error(what, printable(path), SAVE_AS)
        text = self._decoded(data, path)
        first = text.lstrip("\r\n")
        return first, 1 + len(text[: len(text) - len(first)].splitlines())

    def _decoded(self, data: bytes, path: Path) -> str:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
        marked = encoding in ("utf-16", "utf-32")
        if not marked and b"\0" in data:
            line = 1 + data[: data.index(b"\0")].count(b"\n")
            what = "encoding cannot be told (UTF-16 without its mark, or no text)"
            raise self.wrong(path, line, what, SAVE_AS)
        errors = "surrogateescape" if self.raw_names and not marked else "strict"
        try:
            return data.decode(encoding or "utf-8", errors)
        except UnicodeDecodeError as error:
            if marked:
                what = f"{self.what} is cut off or damaged ({encoding.upper()})"
                raise self.error(what, printable(path), SAVE_AS) from error
            lines = data[: error.start + 1].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            raise self.not_utf8(path, 1 + lines.count(b"\n")) from error

    def not_utf8(self, path: Path, line: int) -> EdgeAplError:
        """Make the error about a text in another, unknown encoding."""
        return self.wrong(path, line, "encoding cannot be told, it is not UTF-8", SAVE_AS)

    def _separator(self, text: str, path: Path, line: int) -> str:
        """Determine the separator from the first row."""
        columns = {sign: _first_names(text, sign) for sign in SEPARATORS}
        fitting = [sign for sign, names in columns.items() if self.fits(names)]
        several = [sign for sign in fitting if len(columns[sign]) > 1]
        if len(several) > 1:
            said = " or ".join(SEPARATORS[sign] for sign in several)
            mend = f"put a line sep={several[0]} before it, with the sign that is meant"
            raise self.wrong(path, line, f"cells may be separated by {said}", mend)
        if fitting:
            return (several or fitting)[0]
        return max(columns, key=lambda sign: len(columns[sign]))

    def _parsed(self, text: str, separator: str, path: Path, begin: int) -> Table:
        rows: list[TableRow] = []
        headings: tuple[str, ...] = ()
        columns: tuple[str, ...] = ()
        try:
            for number, cells in _records(text, separator):
                line = begin - 1 + number
                if not any(cell.strip() for cell in cells):
                    continue
                if headings:
                    rows.append(TableRow(line, self._row(cells, columns, path, line)))
                    continue
                headings, columns = tuple(_trimmed(cells)), _names(cells)
        except _BadRow as error:
            raise self.wrong(path, begin - 1 + error.line, error.why) from error
        return Table(columns, headings, tuple(rows), SEPARATORS[separator], begin)

    def _row(
        self, cells: list[str], columns: tuple[str, ...], path: Path, line: int
    ) -> tuple[str, ...]:
        """Bring a row to the length of the first one.

        Excel omits separators after the last filled cell, and sometimes adds some.
        """
        count = len(columns)
        kept = cells if len(cells) <= count else [*cells[:count], *_trimmed(cells[count:])]
        needed = max((columns.index(name) + 1 for name in self.own if name in columns), default=0)
        if self.own and needed <= len(kept) < count:
            kept = [*kept, *[""] * (count - len(kept))]
        if len(kept) != count:
            raise self.wrong(path, line, f"{len(kept)} columns instead of {count}")
        return tuple(kept)


class _BadRow(Exception):  # noqa: N818 - inside this module
    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = "a quote is never closed" if "unexpected end of data" in why else why


SLIDE_NAMES = ("slide", "slide_id", "smear")
PATIENT_NAMES = ("patient", "patient_id", "case")
FILE_NAMES = ("file", "image", "cell", "filename")
"""Usual names of these columns, the most usual first."""


def decimal(text: str) -> float | None:
    """Parse a number with a decimal point or comma; None if it is not a plain number."""
    plain = text.strip()
    return float(plain.replace(",", ".")) if _DECIMAL.fullmatch(plain) else None


def _stated(text: str) -> tuple[str, str]:
    """Split off a first line such as ``sep=;``, which Excel writes and obeys."""
    first, _, rest = text.partition("\n")
    stated = _STATED.fullmatch(first)
    return (stated.group(1), rest) if stated is not None else ("", text)


def _first_names(text: str, separator: str) -> tuple[str, ...]:
    try:
        filled = (row for _, row in _records(text, separator) if any(map(str.strip, row)))
        return _names(next(filled, []))
    except _BadRow:
        return ()


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which it begins, cells)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _BadRow(line, str(error)) from error


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(canonical_name(cell).casefold() for cell in _trimmed(cells))


def _trimmed(cells: Sequence[str]) -> list[str]:
    """Return cells without surrounding blanks, and without empty ones at the end."""
    kept = [cell.strip() for cell in cells]
    while kept and not kept[-1]:
        kept.pop()
    return kept
