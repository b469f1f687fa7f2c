"""Aggregated path files: read, checked, and held as arrays that the models can count on."""

import codecs
import csv
import gzip
import io
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attribution.errors import InvalidPaths, UsageError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

REQUIRED = ("path", "conversions")
OPTIONAL = ("revenue", "nulls")
GZIP_MAGIC = b"\x1f\x8b"
# What tables call states of the chain, and credit that no channel gets.
RESERVED = ("(start)", "(conversion)", "(null)", "(unattributed)", "(baseline)", "(organic)")

Row = tuple[Sequence[str], float, float, float]


@dataclass(frozen=True, eq=False)
class Paths:
    """Distinct channel sequences and what became of them.

    Attributes
    ----------
    channels : tuple of str, (K,)
        Sorted and unique. They are data: any text that is not blank.
    steps : tuple of tuple of int, (n,)
        Each path as indices into `channels`; distinct, none is empty.
    conversions, nulls : float array, (n,)
        Journeys that took the path and converted, or did not; counts >= 0.
    revenue : float array, (n,)
        Money of the conversions, 0 where a path has none.
    unattributed_conversions, unattributed_nulls : float
        The same counts over paths without any step.
    unattributed_revenue : float
    source : str
        Where the paths came from, for messages.

    Raises
    ------
    InvalidPaths
        Where the parts contradict each other.
    """

    channels: tuple[str, ...]
    steps: tuple[tuple[int, ...], ...]
    conversions: Floats
    nulls: Floats
    revenue: Floats
    unattributed_conversions: float = 0.0
    unattributed_nulls: float = 0.0
    unattributed_revenue: float = 0.0
    source: str = "paths"

    def __post_init__(self) -> None:
        check_channels(self.channels, self.source)
        for name, lowest in (("conversions", 0.0), ("nulls", 0.0), ("revenue", -math.inf)):
            checked = amounts(
                f"{self.source}: {name}", getattr(self, name), len(self.steps), lowest
            )
            object.__setattr__(self, name, checked)
        if not (self.lengths > 0).all() or len(set(self.steps)) != len(self.steps):
            raise InvalidPaths(f"{self.source}: a path is empty or stands twice: aggregate them")
        if ((self.touches < 0) | (self.touches >= len(self.channels))).any():
            raise InvalidPaths(f"{self.source}: a step points at no channel")
        self._check_money()
        self._check_totals()

    def _check_money(self) -> None:
        free = np.flatnonzero((self.revenue != 0) & (self.conversions == 0))
        if free.size:
            path = " > ".join(self.channels[step] for step in self.steps[free[0]])
            raise InvalidPaths(f"{self.source}: path {_quote(path)} {_FREE_MONEY}")
        if self.unattributed_revenue != 0 and self.unattributed_conversions == 0:
            raise InvalidPaths(f"{self.source}: the empty path {_FREE_MONEY}")

    def _check_totals(self) -> None:
        empty = (self.unattributed_conversions, self.unattributed_nulls)
        amounts(f"{self.source}: counts of the empty path", empty, 2)
        with np.errstate(over="ignore"):
            totals = (self.total_conversions, float(self.nulls.sum()), self.total_revenue)
        if not all(map(math.isfinite, totals)):
            raise InvalidPaths(f"{self.source}: numbers too large to add up: check the columns")

    @cached_property
    def lengths(self) -> Integers:
        """Touches per path, (n,), each >= 1."""
        return np.fromiter(map(len, self.steps), dtype=np.int64, count=len(self.steps))

    @cached_property
    def touches(self) -> Integers:
        """Channel index of every touch, path after path, (sum of lengths,)."""
        return np.fromiter(chain.from_iterable(self.steps), dtype=np.int64)

    @property
    def total_conversions(self) -> float:
        """C: all conversions, those of empty paths included."""
        return float(self.conversions.sum()) + self.unattributed_conversions

    @property
    def total_revenue(self) -> float:
        """R: all revenue, that of empty paths included."""
        return float(self.revenue.sum()) + self.unattributed_revenue


_FREE_MONEY = "has revenue but no conversions: give it conversions, or set its revenue to 0"


def read_paths(
    path: str | os.PathLike[str],
    separator: str = " > ",
    delimiter: str = ",",
    columns: Mapping[str, str] | None = None,
) -> Paths:
    """Read a file of aggregated paths.

    Parameters
    ----------
    path : path of a `.csv` or `.csv.gz` file, UTF-8 with or without byte order mark
        With a header; columns `path` and `conversions`, optional `revenue` and `nulls` (0 where
        the file has none). Other columns are left alone. A path may stand on several lines.
    separator : str
        Between the steps of a path; spaces round it and round the steps do not count, and a blank
        step is not a channel. A path may be blank as a whole: conversions without a touch.
    delimiter : str
        One character between the columns.
    columns : mapping, optional
        Our column names to those of the file, such as `{"conversions": "total_conversions"}`.

    Returns
    -------
    Paths
        One entry per distinct path, in the order of its channels, whatever the order of lines.

    Raises
    ------
    InvalidPaths
        The file cannot be read, lacks a column, holds a value that is not a count or amount, or a
        channel with a reserved name.
    UsageError
        The separator, the delimiter or the mapping itself is not usable.
    """
    wanted = _column_names(columns or {})
    if not separator.strip():
        raise UsageError("the separator is blank: name the text between steps, such as ' > '")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"delimiter {_quote(delimiter)} is not one character, such as , or ;")
    source = os.fspath(path)
    lines = _lines(_text(source), delimiter, source)
    _, header = next(lines)
    at = _positions([name.strip() for name in header], wanted, columns or {}, source)
    return aggregate_paths(_rows(lines, len(header), at, separator.strip(), source), source)


def aggregate_paths(rows: Iterable[Row], source: str = "paths") -> Paths:
    """Add up rows of (steps, conversions, nulls, revenue) to one entry per distinct path.

    Steps are channel names; they are trimmed, and blank ones are not channels.
    """
    codes: dict[str, int] = {}
    totals: dict[tuple[int, ...], list[float]] = {}
    for names, conversions, nulls, revenue in rows:
        trimmed = [name for name in map(str.strip, names) if name]
        steps = tuple([codes.setdefault(name, len(codes)) for name in trimmed])
        total = totals.setdefault(steps, [0.0, 0.0, 0.0])
        total[0] += conversions
        total[1] += nulls
        total[2] += revenue
    channels = tuple(sorted(codes))
    rank = {codes[channel]: index for index, channel in enumerate(channels)}
    ranked = {tuple([rank[step] for step in steps]): total for steps, total in totals.items()}
    empty = ranked.pop((), [0.0, 0.0, 0.0])
    distinct = tuple(sorted(ranked))  # the order of rows must not show in any result
    table = np.array([ranked[steps] for steps in distinct], dtype=np.float64).reshape(-1, 3)
    return Paths(
        channels=channels,
        steps=distinct,
        conversions=table[:, 0],
        nulls=table[:, 1],
        revenue=table[:, 2],
        unattributed_conversions=empty[0],
        unattributed_nulls=empty[1],
        unattributed_revenue=empty[2],
        source=source,
    )


def amounts(name: str, values: npt.ArrayLike, size: int, lowest: float = 0.0) -> Floats:
    """Copy `values` to a read-only float array of shape (size,), finite and >= `lowest`.

    Raises InvalidPaths, naming the column `name`, where they are anything else.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidPaths(f"{name}: holds something that is not a number") from error
    if array.shape != (size,):
        raise InvalidPaths(f"{name}: has shape {array.shape}, not ({size},) like its neighbours")
    if not np.isfinite(array).all():
        raise InvalidPaths(f"{name}: holds a missing or infinite number")
    if (array < lowest).any():
        raise InvalidPaths(f"{name}: holds {array.min():g}, below {lowest:g}")
    array.setflags(write=False)
    return array


def add_up(index: Integers, values: Floats, size: int) -> Floats:
    """Sum of the values at each index 0..size-1, (size,)."""
    return np.bincount(index, values, minlength=size).astype(np.float64, copy=False)


def check_channels(channels: Sequence[str], source: str) -> None:
    """Raise InvalidPaths unless the channels stand sorted and each once."""
    for before, after in pairwise(channels):
        if before >= after:
            raise InvalidPaths(
                f"{source}: channels are not sorted and unique: {_quote(after)} "
                f"follows {_quote(before)}"
            )


def _column_names(columns: Mapping[str, str]) -> dict[str, str]:
    known = (*REQUIRED, *OPTIONAL)
    for ours in columns:
        if ours not in known:
            raise UsageError(f"column {_quote(ours)} is none of ours: map {', '.join(known)}")
    return {name: columns.get(name, name) for name in known}


def _text(source: str) -> str:
    try:
        data = Path(source).read_bytes()
        if data.startswith(GZIP_MAGIC):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidPaths(
            f"{source}: cannot be read ({reason}): name a .csv or .csv.gz file"
        ) from error
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidPaths(
            f"{source}, line {line}: is not UTF-8 text: save the file as UTF-8"
        ) from error
    if not text.strip():
        raise InvalidPaths(f"{source}: is empty: it needs a header and one row per path")
    return text


def _lines(text: str, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        where = f"{source}, line {reader.line_num}"
        raise InvalidPaths(f"{where}: {error}: check the quotes of this row") from error


def _positions(
    header: Sequence[str], wanted: Mapping[str, str], mapped: Mapping[str, str], source: str
) -> dict[str, int]:
    """Where our columns stand in the file; optional ones only where the file has them."""
    at = {}
    for ours, theirs in wanted.items():
        if header.count(theirs) > 1:
            raise InvalidPaths(f"{source}: column {_quote(theirs)} stands twice: rename one")
        if theirs in header:
            at[ours] = header.index(theirs)
        elif ours in REQUIRED or ours in mapped:
            raise InvalidPaths(
                f"{source}: no column {_quote(theirs)} in the header {_quote(', '.join(header))}: "
                f"name it with --columns {ours}=..., or set --delimiter"
            )
    return at


def _rows(
    lines: Iterator[tuple[int, list[str]]],
    width: int,
    at: Mapping[str, int],
    separator: str,
    source: str,
) -> Iterator[Row]:
    """Checked rows of the file below its header."""
    number = None
    for number, fields in lines:
        where = f"{source}, line {number}"
        if len(fields) != width:
            raise InvalidPaths(
                f"{where}: has {len(fields)} columns and the header {width}: "
                "quote names that contain the delimiter"
            )
        conversions, nulls, revenue = (
            _number(fields[at[name]], name, where) if name in at else 0.0
            for name in ("conversions", "nulls", "revenue")
        )
        if conversions < 0 or nulls < 0:
            raise InvalidPaths(f"{where}: conversions or nulls are below 0: counts start at 0")
        if conversions % 1 or nulls % 1:
            raise InvalidPaths(f"{where}: conversions or nulls are no whole journeys")
        yield _steps(fields[at["path"]], separator, where), conversions, nulls, revenue
    if number is None:
        raise InvalidPaths(f"{source}: has a header and no rows: add one row per path")


def _steps(text: str, separator: str, where: str) -> list[str]:
    """Channels of a path without its blank steps."""
    steps = [step for step in map(str.strip, text.split(separator)) if step]
    reserved = next((step for step in steps if step in RESERVED), None)
    if reserved is not None:
        raise InvalidPaths(f"{where}: the name {reserved} is reserved: rename the channel")
    return steps


def _number(text: str, name: str, where: str) -> float:
    try:
        number = float(text.replace("_", "?"))  # float() would read 1_000, which no export writes
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidPaths(
            f"{where}: {name} is {_quote(text)}: write a finite number, 0 for none, "
            "with a point for decimals"
        )
    return number


def _quote(text: str, longest: int = 120) -> str:
    """Foreign text on one line of a message, whatever it holds."""
    return repr(text if len(text) <= longest else text[:longest] + "…")
