"""A landed file unpacked, in UTF-8, no larger than the contract allows, its sums checked."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, AnyStr, cast

import pyarrow as pa
import pyarrow.parquet as pq

from attribution.contract import Export
from attribution.errors import Unreadable
from attribution.settings import one_line

CHUNK = 2**20
BATCH = 2**13  # rows


def plain_copy(export: Export, path: Path, scratch: Path) -> Path:
    """A link to the file, or a copy unpacked and in UTF-8: decoding all of a gzip checks its CRC.

    Its name is ours: to the engine a landed a[1].csv would mean a1.csv.

    Raises
    ------
    Unreadable
        where it is broken, too large, or not in the declared encoding.
    """
    limit = int(export.max_gigabytes * 2**30)
    if path.stat().st_size > limit:
        raise _too_large(export)
    target = scratch / f"landed{Path(path.name.removesuffix('.gz')).suffix}"
    target.unlink(missing_ok=True)
    if path.suffix == ".parquet":
        _check_pages(export, path, limit)
    if path.suffix == ".parquet" or (path.suffix != ".gz" and _is_utf8(export)):
        target.symlink_to(path.absolute())
        return target
    try:
        with cast(
            IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")
        ) as packed:
            if _is_utf8(export):
                with target.open("wb") as plain:
                    for block in _capped(export, packed, limit):
                        plain.write(block)
            else:
                text = io.TextIOWrapper(packed, encoding=export.encoding, newline="")
                with target.open("w", encoding="utf-8", newline="") as plain_text:
                    for piece in _capped(export, text, limit):
                        plain_text.write(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(f"broken gzip: {one_line(error)}") from None
    except UnicodeError as error:
        raise Unreadable(f"not {export.encoding}: {one_line(error)}") from None
    return target


def lines_of(path: Path) -> int | None:
    """How many lines a text file has, blank ones at its end aside; None where a NUL byte stands in
    it: the engine would keep it as text.
    """
    lines, end = 0, b""
    with path.open("rb") as content:
        for block in iter(lambda: content.read(CHUNK), b""):
            if b"\0" in block:
                return None
            lines, end = lines + block.count(b"\n"), block
    text = end.rstrip(b"\r\n")
    return lines - end[len(text) :].count(b"\n") + bool(text)


def _capped(export: Export, packed: IO[AnyStr], limit: int) -> Iterator[AnyStr]:
    """Blocks of a stream: a few kilobytes of gzip may unpack to terabytes."""
    read = 0
    while block := packed.read(CHUNK):
        read += len(block)
        if read > limit:
            raise _too_large(export)
        yield block


def _check_pages(export: Export, path: Path, limit: int) -> None:
    """Decode every page once, against its writer's sums: the engine does not look at them."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            groups = range(parquet.num_row_groups)
            if sum(parquet.metadata.row_group(i).total_byte_size for i in groups) > limit:
                raise _too_large(export)
            decoded = 0  # a dictionary of one long text may stand for gigabytes
            # group by group: read as a whole, Arrow holds on to something of every group
            for batch in chain.from_iterable(
                parquet.iter_batches(BATCH, row_groups=[group]) for group in groups
            ):
                decoded += sum(_plain(column).nbytes for column in batch.columns)
                if decoded > limit:
                    raise _too_large(export)
    except MemoryError:  # which one of Arrow's errors is, too
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(f"broken Parquet: {one_line(error)}") from None


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _too_large(export: Export) -> Unreadable:
    return Unreadable(f"larger than max_gigabytes, {export.max_gigabytes:g}, in _exports.yml")


def _is_utf8(export: Export) -> bool:
    return codecs.lookup(export.encoding).name in ("utf-8", "utf-8-sig", "ascii")
