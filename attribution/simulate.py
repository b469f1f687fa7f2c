"""Writes the daily exports of a simulated bank and insurance group into a landing folder.

`simulated_world` says who is met and who moves on; this module says what the group's systems
would have recorded of it. The same arguments write the same bytes.
"""

import csv
import gzip
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import PCG64, Generator

from attribution import simulated_world as world
from attribution.errors import UsageError
from attribution.simulated_world import Arrays, Ints

EXPORTS = ("touchpoints", "steps", "conversions", "spend", "identities")
BERLIN = ZoneInfo("Europe/Berlin")
NEVER = np.iinfo(np.int64).max

Rows = list[dict[str, Any]]


def simulate(
    landing: Path,
    customers: int = 20_000,
    days: int = 90,
    seed: int = 7,
    start: date = date(2026, 1, 1),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write the exports of `customers` over `days` UTC days from `start` into `landing`.

    progress : called after each day with (days done, days).
    Returns the rows written per export.
    Raises UsageError where an argument makes no world.
    """
    _check(landing, customers, days, seed, start)
    # What is recorded draws from a stream of its own, so that it never changes who moves.
    rng = Generator(PCG64(seed).jumped())
    visitors = Visitors(customers, rng)
    cancellations: defaultdict[int, Rows] = defaultdict(list)
    numbers: Counter[str] = Counter()
    rows = dict.fromkeys(EXPORTS, 0)

    for number, day in enumerate(world.lives(customers, days, seed)):
        today = start + timedelta(days=number)
        midnight = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp())
        # The moment in which a move shows is drawn without a look at the contacts; all contacts
        # of the day come before it, because a cause comes before its effect.
        moment = midnight + rng.integers(9 * world.HOUR, 21 * world.HOUR, customers)
        touches = world.touches(day, midnight, moment, rng)
        steps, signed = world.steps(day, moment, rng)
        links = visitors.link(touches, steps, signed, rng)
        contracts = _contracts(signed, numbers, rng)
        for contract in contracts:
            if rng.random() < world.CANCELLED:
                later = int(rng.integers(*world.CANCELLED_AFTER, endpoint=True))
                second = midnight + int((24 * later + rng.uniform(7, 17)) * world.HOUR)
                cancellation = contract | {"converted_at": second, "status": "cancelled"}
                cancellations[number + later].append(cancellation)

        web = _touchpoints("web", touches, ("source", "medium"), _berlin, visitors, numbers)
        email = _touchpoints("email", touches, ("channel",), _utc, visitors, numbers)
        analog = _touchpoints("analog", touches, ("channel",), _instants, visitors, numbers)
        tables = {
            "touchpoints/web_{}.csv.gz": web,
            "touchpoints/email_{}.jsonl": email,
            "touchpoints/analog_{}.parquet": analog,
            "steps/steps_{}.jsonl": _step_table(steps, visitors, numbers),
            "conversions/conversions_{}.csv": _conversions(contracts + cancellations[number]),
            "spend/spend_{}.csv": _spend(today, touches),
            "identities/identities_{}.parquet": links,
        }
        for name, table in tables.items():
            if table.num_rows:
                _write(landing / name.format(today), table)
                rows[name.partition("/")[0]] += table.num_rows
        if progress is not None:
            progress(number + 1, days)
    return rows


def _check(landing: Path, customers: int, days: int, seed: int, start: date) -> None:
    for name, value, least in (("customers", customers, 1), ("days", days, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"simulate: {name} must be at least {least}, not {value}")
    if days > (date.max - start).days:
        raise UsageError(f"simulate: {days} days from {start} go beyond the year {date.max.year}")
    if landing.exists() and not landing.is_dir():
        raise UsageError(f"simulate: the landing folder {landing} is a file; name a folder")


class Visitors:
    """Under which name the web knows a customer: one or two devices, linked at some moment."""

    def __init__(self, customers: int, rng: Generator) -> None:
        self.names = rng.choice(2**32, (customers, 2), replace=False)
        self.willing = rng.random(customers) < world.WILLING
        self.has_second = rng.random(customers) < world.TWO_DEVICES
        self.seen = np.zeros((customers, 2), dtype=bool)
        self.linked_at = np.full((customers, 2), NEVER)
        self.device = np.zeros(customers, dtype=np.int64)  # the one in use today

    def link(self, touches: Arrays, steps: Arrays, signed: Arrays, rng: Generator) -> pa.Table:
        """Go through a day's log-ins, forms and contracts; its rows of the identities export."""
        unlinked = self.linked_at == NEVER
        second_today = rng.random(len(self.device)) < world.ON_SECOND_DEVICE
        self.device = (self.has_second & second_today).astype(np.int64)

        web = touches["feed"] == "web"
        customer, second = touches["customer"][web], touches["second"][web]
        self._see(customer)
        logs_in = self.willing[customer] & (rng.random(len(customer)) < world.LOG_IN)
        second = second + rng.integers(20, 300, len(customer))
        self._link(customer[logs_in], self.device, second[logs_in])

        customer, second = steps["customer"], steps["second"]
        self._see(customer)
        form = np.isin(steps["step"], ("form_started", "form_submitted")) & self.willing[customer]
        self._link(customer[form], self.device, second[form])

        customer, second = signed["customer"], signed["second"]
        self.willing[customer] = True
        for either in (0, 1):  # a contract tells who was behind every device seen so far
            seen = self.seen[customer, either]
            self._link(customer[seen], np.full_like(self.device, either), second[seen])

        customer, device = np.nonzero(unlinked & (self.linked_at < NEVER))
        order = np.lexsort((device, customer, self.linked_at[customer, device]))
        customer, device = customer[order], device[order]
        return pa.table(
            {
                "anonymous_id": _visitor_ids(self.names[customer, device]),
                "customer_id": _customer_ids(customer),
                "linked_at": _instants(self.linked_at[customer, device]),
            }
        )

    def _see(self, customer: Ints) -> None:
        self.seen[customer, self.device[customer]] = True

    def _link(self, customer: Ints, device: Ints, second: Ints) -> None:
        np.minimum.at(self.linked_at, (customer, device[customer]), second)

    def ids(self, customer: Ints, second: Ints) -> list[str]:
        """The ids that web rows of today carry: the customer's own once the device is linked."""
        device = self.device[customer]
        known = second > self.linked_at[customer, device]
        visitor_ids = _visitor_ids(self.names[customer, device])
        ids: list[str] = np.where(known, _customer_ids(customer), visitor_ids).tolist()
        return ids


def _contracts(signed: Arrays, numbers: Counter[str], rng: Generator) -> Rows:
    customer, goal = signed["customer"], signed["goal"]
    median, spread = world.REVENUE[goal].T
    revenue = np.round(median * np.exp(spread * rng.normal(size=len(goal))), 2)
    contracts = pa.table(
        {
            "conversion_id": _new_ids("c", len(goal), numbers),
            "customer_id": _customer_ids(customer),
            "converted_at": signed["second"],
            "goal": world.GOAL[goal],
            "revenue": revenue,
            "currency": ["EUR"] * len(goal),
            "status": ["booked"] * len(goal),
        }
    )
    return list(contracts.to_pylist())


def _touchpoints(
    feed: str,
    touches: Arrays,
    channel_columns: tuple[str, ...],
    clock: Callable[[Ints], Any],
    visitors: Visitors,
    numbers: Counter[str],
) -> pa.Table:
    part = {name: values[touches["feed"] == feed] for name, values in touches.items()}
    customer, second = part["customer"], part["second"]
    # Mailings and people on the spot know whom they meet.
    ids = visitors.ids(customer, second) if feed == "web" else _customer_ids(customer)
    return pa.table(
        {
            "touchpoint_id": _new_ids(feed[0], len(customer), numbers),
            "customer_id": ids,
            "occurred_at": clock(second),
            **{name: part[name] for name in channel_columns},
            "campaign": pa.array(part["campaign"], pa.string()),
            **{name: part[name] for name in ("interaction", "mode", "cost")},
        }
    )


def _step_table(steps: Arrays, visitors: Visitors, numbers: Counter[str]) -> pa.Table:
    return pa.table(
        {
            "step_id": _new_ids("s", len(steps["customer"]), numbers),
            "customer_id": visitors.ids(steps["customer"], steps["second"]),
            "occurred_at": _utc(steps["second"]),
            "step": steps["step"],
            "goal": steps["goal"],
        }
    )


def _conversions(contracts: Rows) -> pa.Table:
    rows = sorted(contracts, key=lambda row: (row["converted_at"], row["conversion_id"]))
    times = _berlin(np.array([row["converted_at"] for row in rows], dtype=np.int64))
    return pa.Table.from_pylist(
        [row | {"converted_at": time} for row, time in zip(rows, times, strict=True)]
    )


def _spend(today: date, touches: Arrays) -> pa.Table:
    """The day's bill of every channel that sends one; bills name no campaign."""
    channels = list(world.PRICE)
    costs = [touches["cost"][touches["channel"] == channel].sum() for channel in channels]
    return pa.table(
        {
            "date": [today.isoformat()] * len(channels),
            "channel": channels,
            "cost": np.round(np.array(costs) * world.FEES, 2),
            "campaign": pa.nulls(len(channels), pa.string()),
            "currency": ["EUR"] * len(channels),
        }
    )


def _new_ids(letter: str, size: int, numbers: Counter[str]) -> list[str]:
    first = numbers[letter] + 1
    numbers[letter] += size
    return [f"{letter}-{number:09d}" for number in range(first, first + size)]


def _customer_ids(customer: Ints) -> list[str]:
    return [f"K-{number:08d}" for number in (customer + 1).tolist()]


def _visitor_ids(name: Ints) -> list[str]:
    return [f"v-{number:08x}" for number in name.tolist()]


def _berlin(second: Ints) -> list[str]:
    return [datetime.fromtimestamp(s, BERLIN).isoformat() for s in second.tolist()]


def _utc(second: Ints) -> list[str]:
    return [datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for s in second.tolist()]


def _instants(second: Ints) -> pa.Array:
    return pa.array(second * 1_000_000).cast(pa.timestamp("us", tz="UTC"))


def _write(path: Path, table: pa.Table) -> None:
    """Write by the file's suffix, whole or not at all."""
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        content = buffer.getvalue()
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()]
        content = "".join(lines).encode()
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.column_names)
        columns = [
            [f"{value:.2f}" for value in column.to_pylist()]
            if pa.types.is_floating(column.type)
            else column.to_pylist()
            for column in table.columns
        ]
        writer.writerows(zip(*columns, strict=True))
        content = text.getvalue().encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)  # no clock in the file
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
