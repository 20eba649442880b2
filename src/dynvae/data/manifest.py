"""Lists of a corpus's files, as CSV or JSONL: read line by line, believed only inside their folder."""

from __future__ import annotations

__all__ = ["MANIFEST_SUFFIXES", "read_rows", "write_rows"]

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from dynvae.errors import DataError
from dynvae.files import atomic_write

MANIFEST_SUFFIXES = (".csv", ".jsonl")
_ROWS_AT_MOST = 5_000_000
_LINE_AT_MOST = 65_536  # characters


def read_rows(
    path: str | os.PathLike[str], column: str = "path", *, other: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a manifest, one by one, so that memory does not grow with a file that should not be believed.

    A CSV file begins with a line of column names; a JSONL file holds one object a line. Both are UTF-8. Every row has a
    ``path``; the other columns are kept as text.

    Args:
        path: a file that ends in ``.csv`` or ``.jsonl``.
        column: what every row must have, if not ``path``.
        other: what the column may be called instead.

    Yields:
        The number of the line, from 1, and the row.

    Raises:
        DataError: the file is missing, too large, not UTF-8, or a row cannot be understood.
    """
    path = Path(path)
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DataError(f"{path}: a manifest ends in .csv or .jsonl")
    reader = _csv if path.suffix.lower() == ".csv" else _jsonl
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for count, (line, row) in enumerate(reader(path, _short_lines(path, file), column, other)):
                if count >= _ROWS_AT_MOST:
                    raise DataError(f"{path}: more than {_ROWS_AT_MOST} rows; cut it into several manifests")
                if not row.get(column):
                    raise DataError(f"{path}, line {line}: the row has no {column}")
                yield line, row
    except FileNotFoundError:
        raise DataError(f"{path}: no such manifest") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error


def _short_lines(path: Path, file: Iterable[str]) -> Iterator[str]:
    """The lines of a file, none of them ever read beyond the limit."""
    readline = file.readline  # type: ignore[attr-defined]
    for number in itertools.count(1):
        text = readline(_LINE_AT_MOST + 1)
        if len(text) > _LINE_AT_MOST:
            raise DataError(f"{path}, line {number}: longer than {_LINE_AT_MOST} characters; this is not a manifest")
        if not text:
            return
        yield text


def _csv(path: Path, lines: Iterator[str], column: str, other: str | None) -> Iterator[tuple[int, dict[str, str]]]:
    rows = csv.reader(lines, strict=True)
    columns = [name.strip() for name in next(rows, [])]
    if column not in columns and other in columns:
        columns[columns.index(other)] = column
    if column not in columns:
        near = get_close_matches(column, columns, n=1) or [name for name in columns if "path" in name or "file" in name]
        hint = f"; rename {near[0]!r}" if near else ", the first line names the columns"
        raise DataError(f"{path}: there is no column '{column}'{hint}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: two columns have the same name")
    for values in rows:
        if not values:
            continue
        if len(values) != len(columns):
            raise DataError(f"{path}, line {rows.line_num}: {len(values)} values for {len(columns)} columns")
        yield rows.line_num, dict(zip(columns, values, strict=True))


def _jsonl(path: Path, lines: Iterator[str], column: str, other: str | None) -> Iterator[tuple[int, dict[str, str]]]:
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object")
        if column not in row and other in row:
            row[column] = row.pop(other)
        if not isinstance(row.get(column, ""), str):
            raise DataError(f"{path}, line {number}: the {column} is not text")
        yield number, {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}


def write_rows(path: str | os.PathLike[str], rows: Iterable[Mapping[str, object]]) -> int:
    """Write a manifest, CSV or JSONL by its suffix, whole or not at all.

    Args:
        path: the file to write.
        rows: mappings with the same keys, ``path`` among them.

    Returns:
        The number of rows.

    Raises:
        DataError: the file cannot be written, or a path is no valid text.
    """
    path = Path(path)
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise DataError(f"{path}: a manifest ends in .csv or .jsonl")
    try:
        with atomic_write(path) as temp, temp.open("w", encoding="utf-8", newline="") as file:
            return (_write_csv if path.suffix.lower() == ".csv" else _write_jsonl)(file, rows)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: a file name is no valid text ({error.object!r}); rename the file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); name another place") from error


def _write_csv(file: TextIO, rows: Iterable[Mapping[str, object]]) -> int:
    writer: csv.DictWriter[str] | None = None
    count = 0
    for row in rows:
        count += 1
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return count


def _write_jsonl(file: TextIO, rows: Iterable[Mapping[str, object]]) -> int:
    count = 0
    for row in rows:
        count += 1
        file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
    return count
