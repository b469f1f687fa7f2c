"""Generated exports of any size: text ids, channels by a power law, two goals, 90 days."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

# How a landed file is written, by its ending.
FORMS = {
    "parquet": "format parquet",
    "csv": "format csv, timestampformat '%Y-%m-%dT%H:%M:%SZ'",
    "csv.gz": "format csv, timestampformat '%Y-%m-%dT%H:%M:%SZ', compression gzip",
}
CONVERTING = 0.03  # of the customers
# What a touch is, whenever it was.
WHAT = """
        'channel_' || lpad(
            floor($channels * power((hash(i * 31 + 5) % 1000000) / 1e6, 2.2))::int::varchar, 3, '0'
        ) as channel,
        'campaign_' || (hash(i * 3) % 300) as campaign,
        case when hash(i * 5) % 3 = 0 then 'impression' else 'click' end as interaction,
        'digital' as mode
""".strip()
TOUCHPOINTS = """
copy (
    select
        't' || lpad(i::varchar, 10, '0') as touchpoint_id,
        'C' || lpad((hash(i * 7919) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-01-01' + to_microseconds((hash(i) % (90 * 86400))::bigint * 1000000)
            as occurred_at,
        {what}
    from range($touchpoints) as r(i)
) to '{path}' ({form})
"""
# One more day, on which each of so many customers is touched once.
NIGHT = """
copy (
    select
        'n' || $night || lpad(i::varchar, 9, '0') as touchpoint_id,
        'C' || lpad((i * ($customers // $touched) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-04-01' + to_days($night::integer)
        + to_microseconds((hash(i) % 86400)::bigint * 1000000) as occurred_at,
        {what}
    from range($touched) as r(i)
) to '{path}' ({form})
"""
CONVERSIONS = """
copy (
    select
        'k' || lpad(i::varchar, 10, '0') as conversion_id,
        'C' || lpad((hash(i * 104729) % $customers)::varchar, 9, '0') as customer_id,
        timestamp '2026-01-01' + to_microseconds((hash(i * 13) % (90 * 86400))::bigint * 1000000)
            as converted_at,
        case when hash(i * 11) % 2 = 0 then 'account' else 'mortgage' end as goal,
        ((hash(i) % 100000) / 100)::decimal(18, 2) as revenue
    from range($conversions) as r(i)
) to '{path}' ({form})
"""


@dataclass(frozen=True)
class Workload:
    """What is generated.

    touches : mean number of a customer.
    landing : of FORMS.
    """

    touchpoints: int
    channels: int
    touches: int
    landing: str

    @property
    def customers(self) -> int:
        return max(self.touchpoints // self.touches, 1)

    def path(self, home: Path, export: str, day: str) -> Path:
        return home / "landing" / export / f"{export}_{day}.{self.landing}"

    def generate(self, home: Path) -> None:
        """Exports of 90 days into an empty home."""
        counts = {"touchpoints": self.touchpoints, "channels": self.channels}
        self._write(home, "touchpoints", "2026-03-31", TOUCHPOINTS, counts)
        counts = {"conversions": int(self.customers * CONVERTING)}
        self._write(home, "conversions", "2026-03-31", CONVERSIONS, counts)

    def land_night(self, home: Path, number: int, share: float) -> None:
        """One more day after those, which touches a share of the customers."""
        counts = {
            "night": number,
            "touched": int(self.customers * share),
            "channels": self.channels,
        }
        self._write(home, "touchpoints", f"2026-04-{1 + number:02}", NIGHT, counts)

    def _write(self, home: Path, export: str, day: str, sql: str, counts: dict[str, int]) -> None:
        path = self.path(home, export, day)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = sql.format(path=str(path).replace("'", "''"), form=FORMS[self.landing], what=WHAT)
        duckdb.execute(text, counts | {"customers": self.customers})
