"""Delimited text files as tables of text that remember the line of every row."""

import bz2
import codecs
import difflib
import gzip
import io
import lzma
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from .errors import DataError, Problem, shorten

# The comma comes last: in a file of decimal commas it is as regular as the true delimiter.
DELIMITERS = ("\t", ";", "|", ",")
_DECOMPRESS = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_SAMPLE_LINES = 200
# Cyrillic letters of cp1251; in latin-1 the same bytes are accented letters (and two signs).
_HIGH_LETTER = rb"[\xa8\xb8\xc0-\xff]"


class TextTable(NamedTuple):
    """Cells of a text file, unconverted.

    Attributes:
        frame: text, one column per named column of the file.
        lines: int64 [row], line of the file on which the row starts.
        problems: what is wrong with the file's shape; rows concerned are not in `frame`.
    """

    frame: pd.DataFrame
    lines: np.ndarray
    problems: tuple[Problem, ...]


class _Records(NamedTuple):
    starts: np.ndarray  # int64 [record], first byte
    stops: np.ndarray  # int64 [record], byte after its newline
    lines: np.ndarray  # int64 [record], line of its first byte
    num_fields: np.ndarray  # int64 [record]
    is_blank: np.ndarray  # bool [record], nothing but delimiters and space
    stray_quote: int | None  # line of the first quote that neither opens nor closes a field


def read_text_table(
    path: str | Path, encoding: str | None = None, delimiter: str | None = None
) -> TextTable:
    """Rows of a delimited text file (plain, .gz, .bz2 or .xz) as text.

    Encoding, unless given: UTF-8 (with or without byte order mark), UTF-16 with byte order mark,
    otherwise cp1251 if at least half of the non-ASCII letters touch another one (Russian words are
    runs of them), else latin-1 (accented letters stand alone among ASCII ones). Delimiter, unless
    given: the tab, semicolon, bar or comma that occurs in the header and cuts the most rows into as
    many fields, in this order of preference. Blank lines and lines of delimiters only are left out;
    so are columns without a name and without content.

    Args:
        path: the file; its first line that is not blank is the header.
        encoding: name of a Python text encoding.
        delimiter: one ASCII character.

    Returns:
        table.

    Raises:
        ValueError: `delimiter` is not one ASCII character.
        DataError: no such file, not text, no header, or quotes that do not pair.
    """
    if delimiter is not None and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\n\r\0'
    ):
        raise ValueError(f"delimiter: expected one ASCII character, got {delimiter!r}")
    file = str(path)
    text = _decode(read_bytes(path), encoding, file)
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8") + b"\n"
    delimiter = delimiter or _detect_delimiter(data)
    records = _scan(data, delimiter)
    if records.stray_quote is not None:
        what = "a quotation mark that neither opens nor closes a field"
        raise DataError(
            [
                Problem(
                    records.stray_quote,
                    None,
                    None,
                    what,
                    "remove it, or double it inside a quoted field",
                )
            ],
            file,
        )
    if records.is_blank.all():
        raise DataError(
            [Problem(None, None, None, "the file is empty", "give a header line and rows")], file
        )
    header = int(np.argmin(records.is_blank))
    width = int(records.num_fields[header])
    whole = ~records.is_blank & (records.num_fields == width)
    ragged = np.flatnonzero(~records.is_blank & ~whole)
    frame = _parse(data, records, whole, width, delimiter, file)
    names = [" ".join(name.split()) for name in frame.iloc[0]]
    frame = frame.iloc[1:].reset_index(drop=True)
    problems = [_ragged(records, i, width, delimiter) for i in ragged.tolist()]
    kept, more = _name_columns(frame, names, int(records.lines[header]))
    return TextTable(kept, records.lines[whole][1:], tuple(problems + more))


def read_bytes(path: str | Path) -> bytes:
    """Content of a file, decompressed if its name ends in .gz, .bz2 or .xz.

    Raises:
        DataError: it cannot be read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        return _DECOMPRESS.get(path.suffix.lower(), bytes)(data)
    except FileNotFoundError:
        cure = "check the path"
        if path.parent.is_dir():
            near = difflib.get_close_matches(
                path.name, [p.name for p in path.parent.iterdir()], n=1
            )
            cure += f"; did you mean {shorten(near[0])}?" if near else ""
        raise DataError([Problem(None, None, None, "no such file", cure)], str(path)) from None
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            [
                Problem(
                    None,
                    None,
                    None,
                    f"cannot be read ({error})",
                    "check path, rights and file type",
                )
            ],
            str(path),
        ) from error


def _decode(data: bytes, encoding: str | None, file: str) -> str:
    if data[:4] == b"PK\x03\x04":
        what = "a zip archive or an Excel workbook, not text"
        raise DataError([Problem(None, None, None, what, "save the sheet as CSV UTF-8")], file)
    try:
        text = data.decode(encoding or _detect_encoding(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        cure = "pass encoding=, for example 'utf-8', 'cp1251' or 'latin-1'"
        raise DataError(
            [
                Problem(
                    line,
                    None,
                    repr(data[error.start : error.end]),
                    f"not {error.encoding} text",
                    cure,
                )
            ],
            file,
        ) from None
    except (LookupError, ValueError) as error:
        raise DataError(
            [Problem(None, None, encoding, str(error), "name a text encoding of Python")], file
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        cure = "save it as CSV UTF-8; UTF-16 without a byte order mark needs encoding='utf-16-le'"
        raise DataError([Problem(line, None, None, "a zero byte, so this is not text", cure)], file)
    return text.removeprefix("\ufeff")


def _detect_encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        letters = len(re.findall(_HIGH_LETTER, data))
        in_runs = sum(map(len, re.findall(_HIGH_LETTER + rb"{2,}", data)))
        # 0x98 is the one byte that cp1251 leaves undefined.
        return "cp1251" if letters and 2 * in_runs >= letters and b"\x98" not in data else "latin-1"


def _detect_delimiter(data: bytes) -> str:
    sample = b"\n".join(data.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]) + b"\n"

    def regular(delimiter: str) -> float:
        records = _scan(sample, delimiter)
        fields = records.num_fields[~records.is_blank]
        return float((fields == fields[0]).mean()) if fields.size and fields[0] > 1 else 0.0

    shares = {delimiter: regular(delimiter) for delimiter in DELIMITERS}
    best = max(shares, key=lambda delimiter: shares[delimiter])
    return best if shares[best] > 0.0 else ","


def _scan(data: bytes, delimiter: str) -> _Records:
    """Where each record starts, and how many fields it has; `data` ends with a newline.

    A byte is quoted when the number of quotation marks up to it is odd; doubled marks inside a
    field flip it twice.
    """
    buffer = np.frombuffer(data, np.uint8)
    quote, newline, comma = buffer == _QUOTE, buffer == _NEWLINE, buffer == ord(delimiter)
    content = (buffer > 32) & ~comma
    newlines = np.flatnonzero(newline)
    marks = np.flatnonzero(quote)
    stray_quote = None
    if marks.size:
        edge = comma | newline | quote
        opens, closes = marks[0::2], marks[1::2]
        # Index -1, reached from an opening mark at byte 0, is the final newline: an edge, as it
        # should be.
        wrong = np.concatenate(
            [opens[~edge[opens - 1]], closes[~edge[closes + 1]], marks[marks.size & ~1 :]]
        )
        if wrong.size:
            stray_quote = int(np.searchsorted(newlines, wrong.min())) + 1
        quoted = np.logical_xor.accumulate(quote)
        comma, newline = comma & ~quoted, newline & ~quoted
    stops = np.flatnonzero(newline) + 1
    starts = np.concatenate([[0], stops])[:-1].astype(np.int64)
    separators = np.bincount(
        np.searchsorted(stops, np.flatnonzero(comma), side="right"), minlength=stops.size
    )
    has_content = np.logical_or.reduceat(content, starts) if stops.size else np.zeros(0, bool)
    return _Records(
        starts,
        stops,
        np.searchsorted(newlines, starts) + 1,
        separators[: stops.size] + 1,
        ~has_content,
        stray_quote,
    )


def _parse(
    data: bytes, records: _Records, whole: np.ndarray, width: int, delimiter: str, file: str
) -> pd.DataFrame:
    if not whole.all():
        buffer = np.frombuffer(data[: records.stops[-1]], np.uint8)
        data = buffer[np.repeat(whole, records.stops - records.starts)].tobytes()
    try:
        frame = pd.read_csv(
            io.BytesIO(data),
            sep=delimiter,
            header=None,
            names=range(width),
            index_col=False,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
            encoding="utf-8",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            [Problem(None, None, None, f"cannot be parsed ({error})", "pass delimiter=")], file
        ) from error
    if len(frame) != int(whole.sum()):
        what = "rows and lines do not match"
        raise DataError([Problem(None, None, None, what, "check the quotation marks")], file)
    return frame


def _ragged(records: _Records, i: int, width: int, delimiter: str) -> Problem:
    fields = int(records.num_fields[i])
    cure = (
        f"give the line as many fields as the header, or pass delimiter= (read with {delimiter!r})"
    )
    if fields > width and delimiter == ",":
        cure += "; decimal commas need another delimiter or quoted numbers"
    return Problem(
        int(records.lines[i]), None, None, f"{fields} fields, the header has {width}", cure
    )


def _name_columns(
    frame: pd.DataFrame, names: list[str], line: int
) -> tuple[pd.DataFrame, list[Problem]]:
    problems, kept = [], []
    for j, name in enumerate(names):
        if name and name not in names[:j]:
            kept.append(j)
        elif name:
            problems.append(
                Problem(line, name, None, "a second column of this name", "rename one of the two")
            )
        elif (frame[j].str.strip() != "").any():
            what = f"field {j + 1} of the header has no name"
            problems.append(Problem(line, None, None, what, "name the column in the header"))
    named = frame[kept]
    named.columns = pd.Index([names[j] for j in kept], dtype=object)
    return named, problems
