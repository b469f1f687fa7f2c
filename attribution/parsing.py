"""SQL that turns the text of an export into a value, by its contract and never by guess.

Each expression yields NULL where the text does not fit, so that the row can be rejected.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from attribution.contract import EPOCHS, Export
from attribution.warehouse import literal

OFFSET = r"\d:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|[Uu][Tt][Cc]|[+-](0\d|1[0-4])(:?\d\d){0,2})$"
# the engine reads no offset after minutes
NO_SECONDS = r"^(\S+[Tt\s]\s*\d+:\d\d)(\s*[^\d:.\s].*)$"
ISO = "????-??-??T??:??:?[0-9]Z"  # as most times are written; told far sooner than the others
LOCAL = r"\d[\d/-]*([Tt\s]+\d[\d:.]*)?"
PER_SECOND = dict(zip(EPOCHS, (1_000_000, 1_000, 1), strict=True))
TRUE = ("true", "t", "yes", "y", "1", "1.0")  # the last as a column of numbers with gaps has it
FALSE = ("false", "f", "no", "n", "0", "0.0")
FAR = 10**17  # microseconds: three thousand years
CLOCK_SHIFTS = (60, 30)  # minutes: Lord Howe Island shifts its clocks by half an hour


def as_text(column: str, kind: str) -> str:
    """A value of an engine's type as text. Where one of a column is missing, a data frame gives all
    others a fraction: 123.0 is 123.
    """
    if kind == "VARCHAR":
        return column
    text = f"{column}::varchar"
    if kind not in ("DOUBLE", "FLOAT") and not kind.startswith("DECIMAL"):
        return text
    exact = 2**24 if kind == "FLOAT" else 2**53  # beyond it digits may be lost
    is_whole = f"{column} = trunc({column}) and abs({column}) < {exact}"
    return f"case when {is_whole} then {column}::bigint::varchar else {text} end"


def number(export: Export, text: str, kind: str) -> str:
    """A number by the declared decimal sign, thousands sign and place of the minus.

    A sign that was not declared makes the text no number: 1.234 may be either.
    """
    if export.trailing_minus:
        text = f"regexp_replace({text}, '^([^+-].*?)\\s*-$', '-\\1')"
    fraction = "" if kind == "bigint" else f"({re.escape(export.decimal)}\\d*)?([eE][+-]?\\d+)?"
    plain = f"\\d*{fraction}" if kind != "bigint" else "\\d+"
    if export.thousands:
        mark = re.escape(export.thousands)
        plain = f"({plain}|\\d{{1,3}}({mark}\\d{{3}})+{fraction})"
    bare = text
    if export.thousands:
        bare = f"replace({bare}, {literal(export.thousands)}, '')"
    if export.decimal == ",":
        bare = f"replace({bare}, ',', '.')"
    pattern = literal(f"[+-]?{plain}")
    return f"case when regexp_full_match({text}, {pattern}) then try_cast({bare} as {kind}) end"


def truth(text: str) -> str:
    """True or false by a word for it, of either case; the engine would take any number for true."""
    word = f"lower({text}::varchar)"
    yes, no = (", ".join(literal(said) for said in words) for words in (TRUE, FALSE))
    return f"case when {word} in ({yes}) then true when {word} in ({no}) then false end"


def day(export: Export, text: str, is_text: bool) -> str:
    if export.date_format and is_text:
        return f"cast(try_strptime({text}, {literal(export.date_format)}) as date)"
    return f"try_cast({text} as date)"


def utc(export: Export, text: str, kind: str) -> str:
    """A time in UTC: by its own offset, else by the declared zone."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({text}))"
    if export.time_format in PER_SECOND:
        factor = PER_SECOND[export.time_format]
        since = f"try_cast(try_cast({text} as decimal(28,6)) * {factor} as bigint)"
        return f"make_timestamp(case when {since} between -{FAR} and {FAR} then {since} end)"
    if kind != "VARCHAR":
        return _from_zone(export, f"try_cast({text} as timestamp)")
    if export.time_format:
        parsed = f"try_strptime({text}, {literal(export.time_format)})"
        if "%z" in export.time_format.lower():
            return f"make_timestamp(epoch_us({parsed}))"
        return _from_zone(export, parsed)
    # only texts with an offset are cast so: one that names a zone would move all rows below it
    iso = f"make_timestamp(epoch_us(try_cast({text} as timestamptz)))"
    whole = f"regexp_replace({text}, {literal(NO_SECONDS)}, '\\1:00\\2')"
    with_offset = f"make_timestamp(epoch_us(try_cast({whole} as timestamptz)))"
    # and only texts without: the engine drops an offset that it is not asked for
    local = _from_zone(export, f"try_cast({text} as timestamp)")
    return (
        f"case when {text} glob {literal(ISO)} then {iso} "
        f"when regexp_full_match({text}, {literal(LOCAL)}) then {local} "
        f"when regexp_matches({text}, {literal(OFFSET)}) then {with_offset} end"
    )


def clock_change(export: Export, text: str, kind: str) -> str | None:
    """SQL of `overlap` where a local time came twice, `gap` where it never was, else NULL."""
    if kind == "TIMESTAMP WITH TIME ZONE" or export.time_format in PER_SECOND:
        return None
    if export.time_format and "%z" in export.time_format.lower():
        return None
    days = changes(export.time_zone)
    if not days:
        return None
    wall = f"try_cast({text} as timestamp)"
    if kind == "VARCHAR" and export.time_format:
        wall = f"try_strptime({text}, {literal(export.time_format)})"
    if kind == "VARCHAR" and not export.time_format:
        wall = f"case when regexp_full_match({text}, {literal(LOCAL)}) then {wall} end"
    return (
        f"case when {_is_change_day(wall, days)} then "
        f"case when {_is_gap(export, wall)} then 'gap' "
        f"when {_is_overlap(export, wall)} then 'overlap' end end"
    )


@lru_cache
def changes(zone: str) -> tuple[date, ...]:
    """The local days on which the clocks of a zone change, 1970 to 2100."""
    place, days = ZoneInfo(zone), []
    before, moment = None, datetime(1970, 1, 1, 12, tzinfo=UTC)
    while moment.year <= 2100:
        offset = moment.astimezone(place).utcoffset()
        if before is not None and offset != before:
            # the change lies between this noon of UTC and the one before
            here = moment.astimezone(place).date()
            days += [here - timedelta(days=1), here]
        before, moment = offset, moment + timedelta(days=1)
    return tuple(dict.fromkeys(days))


def _from_zone(export: Export, wall: str) -> str:
    """UTC of a local time that may have come twice or never; the engine takes the later of two."""
    if export.time_zone == "UTC":
        return wall
    later = f"timezone({literal(export.time_zone)}, {wall})"
    days = changes(export.time_zone)
    branches = ""
    if export.dst_gap == "reject":
        branches += f" when {_is_gap(export, wall)} then null"
    if export.dst_overlap == "reject":
        branches += f" when {_is_overlap(export, wall)} then null"
    if export.dst_overlap == "earlier":
        branches += "".join(
            f" when {_came_before(export, wall, minutes)} then {later} - to_minutes({minutes})"
            for minutes in CLOCK_SHIFTS
        )
    if days and branches:  # only on those days is it worth asking
        later = (
            f"case when {_is_change_day(wall, days)} then case{branches} else {later} end "
            f"else {later} end"
        )
    return f"make_timestamp(epoch_us({later}))"


def _is_gap(export: Export, wall: str) -> str:
    zone = literal(export.time_zone)
    return f"timezone({zone}, timezone({zone}, {wall})) <> {wall}"


def _is_overlap(export: Export, wall: str) -> str:
    return " or ".join(_came_before(export, wall, minutes) for minutes in CLOCK_SHIFTS)


def _came_before(export: Export, wall: str, minutes: int) -> str:
    """Whether the clocks showed the same time so many minutes before."""
    zone = literal(export.time_zone)
    return f"timezone({zone}, timezone({zone}, {wall}) - to_minutes({minutes})) = {wall}"


def _is_change_day(wall: str, days: tuple[date, ...]) -> str:
    listed = ", ".join(f"date '{value.isoformat()}'" for value in days)
    return f"cast({wall} as date) in ({listed})"
