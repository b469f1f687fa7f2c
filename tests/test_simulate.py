"""The simulated exports: the same bytes again, the promised columns, a world that is plausible."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attribution import simulated_world as world
from attribution.errors import UsageError
from attribution.simulate import EXPORTS, simulate

CUSTOMERS, DAYS = 3_000, 90
TOUCH_COLUMNS = ["campaign", "interaction", "mode", "cost"]
FEEDS = {
    "web_*.csv.gz": ["touchpoint_id", "customer_id", "occurred_at", "source", "medium"],
    "email_*.jsonl": ["touchpoint_id", "customer_id", "occurred_at", "channel"],
    "analog_*.parquet": ["touchpoint_id", "customer_id", "occurred_at", "channel"],
}
PAIRS = {
    ("google", "cpc"),
    ("bing", "cpc"),
    ("google", "organic"),
    ("bing", "organic"),
    ("dv360", "display"),
    ("instagram", "paid_social"),
    ("facebook", "social"),
    ("vergleich24", "aggregator"),
    ("partnernetz", "affiliate"),
    ("(direct)", "(none)"),
}


def read(folder: Path, pattern: str) -> pd.DataFrame:
    """All files of a feed; `at` is the time in UTC, `file_date` the day in the file's name."""
    frames = []
    for path in sorted(folder.glob(pattern)):
        if path.suffix == ".parquet":
            frame = pq.read_table(path).to_pandas()
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            frame = pd.DataFrame([json.loads(line) for line in lines])
        else:
            frame = pd.read_csv(path)
        assert len(frame), f"{path.name} has no rows"
        frames.append(frame.assign(file_date=path.name.split("_")[1][:10]))
    rows = pd.concat(frames, ignore_index=True)
    for column in ("occurred_at", "converted_at", "linked_at"):
        if column in rows:
            rows["at"] = pd.to_datetime(rows[column], utc=True)
    return rows


def columns(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows.columns if name not in ("file_date", "at")]


def hashes(landing: Path) -> dict[str, str]:
    return {
        path.relative_to(landing).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in landing.rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True)
class Landed:
    folder: Path
    counts: dict[str, int]
    web: pd.DataFrame
    email: pd.DataFrame
    analog: pd.DataFrame
    steps: pd.DataFrame
    conversions: pd.DataFrame
    spend: pd.DataFrame
    identities: pd.DataFrame

    def touches(self) -> pd.DataFrame:
        return self.stitched(pd.concat([self.web, self.email, self.analog], ignore_index=True))

    def stitched(self, rows: pd.DataFrame) -> pd.DataFrame:
        customer = dict(
            zip(self.identities["anonymous_id"], self.identities["customer_id"], strict=True)
        )
        return rows.assign(person=[customer.get(name, name) for name in rows["customer_id"]])

    def booked(self) -> pd.DataFrame:
        return self.conversions[self.conversions["status"] == "booked"]


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    folder = tmp_path_factory.mktemp("landing")
    counts = simulate(folder, customers=CUSTOMERS, days=DAYS)
    return Landed(
        folder,
        counts,
        *(read(folder / "touchpoints", pattern) for pattern in FEEDS),
        read(folder / "steps", "steps_*.jsonl"),
        read(folder / "conversions", "conversions_*.csv"),
        read(folder / "spend", "spend_*.csv"),
        read(folder / "identities", "identities_*.parquet"),
    )


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    simulate(tmp_path / "here", customers=300, days=40)
    program = (
        "import sys; from pathlib import Path; from attribution.simulate import simulate;"
        "simulate(Path(sys.argv[1]), customers=300, days=40)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")],
        check=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"},
    )
    first = hashes(tmp_path / "here")
    assert {name.split("/")[0] for name in first} == set(EXPORTS)
    assert hashes(tmp_path / "there") == first
    simulate(tmp_path / "here", customers=300, days=40)
    assert hashes(tmp_path / "here") == first  # also over existing files; no .tmp is left


def test_another_seed_is_another_world(tmp_path: Path) -> None:
    simulate(tmp_path / "7", customers=100, days=5, seed=7)
    simulate(tmp_path / "8", customers=100, days=5, seed=8)
    ours, theirs = hashes(tmp_path / "7"), hashes(tmp_path / "8")
    shared = ours.keys() & theirs.keys()
    assert shared
    assert all(ours[name] != theirs[name] for name in shared)


def test_every_feed_has_its_columns_and_times(landed: Landed) -> None:
    for rows, expected in zip(
        (landed.web, landed.email, landed.analog), FEEDS.values(), strict=True
    ):
        assert columns(rows) == expected + TOUCH_COLUMNS
    assert columns(landed.steps) == ["step_id", "customer_id", "occurred_at", "step", "goal"]
    assert columns(landed.conversions) == [
        *("conversion_id", "customer_id", "converted_at", "goal"),
        *("revenue", "currency", "status"),
    ]
    assert columns(landed.spend) == ["date", "channel", "cost", "campaign", "currency"]
    assert columns(landed.identities) == ["anonymous_id", "customer_id", "linked_at"]

    second = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    for rows, name, offset in (
        (landed.web, "occurred_at", r"\+0[12]:00"),
        (landed.conversions, "converted_at", r"\+0[12]:00"),
        (landed.email, "occurred_at", "Z"),
        (landed.steps, "occurred_at", "Z"),
    ):
        assert rows[name].str.fullmatch(second + offset).all()
    instant = pa.timestamp("us", tz="UTC")
    for export, name in (("touchpoints", "occurred_at"), ("identities", "linked_at")):
        for path in (landed.folder / export).glob("*.parquet"):
            schema = pq.read_schema(path)
            assert schema.field(name).type == instant
            others = {field.type for field in schema if field.name not in (name, "cost")}
            assert others == {pa.string()}, path.name


def test_values_are_those_that_the_rules_and_settings_know(landed: Landed) -> None:
    pairs = zip(landed.web["source"], landed.web["medium"], strict=True)
    assert set(pairs) == PAIRS
    assert set(landed.email["channel"]) == {"email"}
    assert set(landed.analog["channel"]) == {"advisor", "branch", "call_centre", "mail"}
    assert set(landed.web["interaction"]) == {"click", "impression", "visit"}
    assert set(landed.analog["interaction"]) == {"branch", "call", "mail", "visit"}
    assert set(landed.web["mode"]) == set(landed.email["mode"]) == {"digital"}
    assert set(landed.analog["mode"]) == {"analog"}
    assert set(landed.steps["step"]) == set(world.STEPS)
    assert set(landed.conversions["goal"]) == set(landed.steps["goal"]) == set(world.GOALS)
    assert set(landed.conversions["currency"]) == {"EUR"}


def test_counts_are_those_of_the_files(landed: Landed) -> None:
    assert landed.counts == {
        "touchpoints": len(landed.web) + len(landed.email) + len(landed.analog),
        "steps": len(landed.steps),
        "conversions": len(landed.conversions),
        "spend": len(landed.spend),
        "identities": len(landed.identities),
    }


def test_events_lie_inside_the_day_of_their_file(landed: Landed) -> None:
    first, last = "2026-01-01", "2026-03-31"
    for rows in (landed.touches(), landed.steps, landed.conversions, landed.identities):
        assert (rows["at"].dt.strftime("%Y-%m-%d") == rows["file_date"]).all()
        assert rows["file_date"].between(first, last).all()
    assert (landed.spend["date"] == landed.spend["file_date"]).all()


def test_a_day_without_rows_has_no_file(tmp_path: Path) -> None:
    counts = simulate(tmp_path, customers=3, days=30)
    web = list((tmp_path / "touchpoints").glob("web_*"))
    assert 0 < len(web) <= counts["touchpoints"] < 30
    assert len(list((tmp_path / "spend").iterdir())) == 30
    assert all((tmp_path / export).exists() == (counts[export] > 0) for export in EXPORTS)


def test_ids_are_unique(landed: Landed) -> None:
    touchpoint_id = landed.touches()["touchpoint_id"]
    assert touchpoint_id.is_unique
    assert touchpoint_id.str.fullmatch(r"[wea]-\d{9}").all()
    assert landed.steps["step_id"].is_unique
    assert landed.booked()["conversion_id"].is_unique
    assert landed.identities["anonymous_id"].is_unique


def test_visitors_become_known_at_the_moment_of_their_link(landed: Landed) -> None:
    identities = landed.identities
    assert identities["anonymous_id"].str.fullmatch("v-[0-9a-f]{8}").all()
    assert identities["customer_id"].str.fullmatch(r"K-\d{8}").all()
    web = pd.concat([landed.web, landed.steps], ignore_index=True)
    known = web[web["customer_id"].str.startswith("K-")]
    first_known = known.groupby("customer_id")["at"].min()
    first_link = identities.groupby("customer_id")["at"].min()
    assert (first_link.reindex(first_known.index) < first_known).all()  # also: each has a link

    anonymous = web[web["customer_id"].str.startswith("v-")].merge(
        identities, left_on="customer_id", right_on="anonymous_id", suffixes=("", "_link")
    )
    assert set(anonymous["anonymous_id"]) == set(identities["anonymous_id"])
    assert (anonymous["at"] <= anonymous["at_link"]).all()

    devices = identities.groupby("customer_id").size()
    assert devices.max() == 2
    assert 0.02 < (devices == 2).mean() < 0.12


def test_forms_and_contracts_tell_who_the_visitor_was(landed: Landed) -> None:
    links = landed.identities
    forms = landed.steps.merge(
        links, left_on=["customer_id", "at"], right_on=["anonymous_id", "at"]
    )
    assert set(forms["step"]) == {"form_started", "form_submitted"}
    assert len(landed.booked().merge(links, on=["customer_id", "at"])) > 0


def test_about_a_third_of_the_web_visitors_stays_unknown(landed: Landed) -> None:
    web = landed.stitched(landed.web)
    people = web["person"].drop_duplicates()
    assert 0.25 < people.str.startswith("v-").mean() < 0.45


def test_contracts_mailings_and_people_on_the_spot_know_the_customer(landed: Landed) -> None:
    for rows in (landed.conversions, landed.email, landed.analog):
        assert rows["customer_id"].str.fullmatch(r"K-\d{8}").all()
        number = rows["customer_id"].str[2:].astype(int)
        assert number.between(1, CUSTOMERS).all()


def test_a_cancellation_repeats_an_earlier_contract(landed: Landed) -> None:
    cancelled = landed.conversions[landed.conversions["status"] == "cancelled"]
    assert 0 < len(cancelled) < 0.1 * len(landed.booked())
    both = cancelled.merge(landed.booked(), on="conversion_id", suffixes=("", "_booked"))
    assert len(both) == len(cancelled)
    assert (both["at"] > both["at_booked"]).all()
    for name in ("customer_id", "goal", "revenue"):
        assert (both[name] == both[f"{name}_booked"]).all()


def test_umlauts_survive_in_every_format(landed: Landed) -> None:
    for rows in (landed.web, landed.email, landed.analog):
        assert set(rows["campaign"].dropna()) == set(world.CAMPAIGNS.values())
    assert {"Frühjahrsaktion Autoversicherung", "Größer wohnen"} <= set(world.CAMPAIGNS.values())
    text = next((landed.folder / "touchpoints").glob("email_*")).read_bytes()
    assert "ü".encode() in text  # as letters, not escaped


def test_the_size_of_the_world_is_plausible(landed: Landed) -> None:
    touches, booked = landed.touches(), landed.booked()
    converters = booked["customer_id"].unique()
    assert 0.03 < len(converters) / CUSTOMERS < 0.06
    assert 8 < len(touches) / CUSTOMERS < 10
    per_person = touches.groupby("person").size().reindex(converters, fill_value=0)
    assert 15 < per_person.mean() < 22
    assert booked.groupby("customer_id").size().max() > 1
    assert booked.groupby("customer_id")["goal"].nunique().max() > 1
    assert touches.duplicated(["person", "at"]).any()


def test_about_one_contract_in_a_hundred_is_a_walk_in() -> None:
    touched = np.zeros(20_000, dtype=bool)
    signed = np.zeros(20_000, dtype=int)
    for day in world.lives(20_000, DAYS, seed=7):
        touched |= day.touched.any(axis=1)
        signed += day.moved & (day.state == world.DO)
    assert 0.003 < signed[~touched].sum() / signed.sum() < 0.02


def test_goals_differ_in_revenue_to_the_cent(landed: Landed) -> None:
    median = landed.booked().groupby("goal")["revenue"].median()
    order = ["account", "car_insurance", "pension", "mortgage"]
    assert median.sort_values().index.tolist() == order
    for path in (landed.folder / "conversions").iterdir():
        revenue = pd.read_csv(path, dtype=str)["revenue"]
        assert revenue.str.fullmatch(r"\d+\.\d\d").all()


def test_steps_show_after_the_contacts_of_the_day_and_never_at_their_second(
    landed: Landed,
) -> None:
    steps, touches = landed.stitched(landed.steps), landed.touches()
    key = ["person", "file_date"]
    assert steps.merge(touches, on=["person", "at"]).empty
    both = (
        steps.groupby(key)["at"]
        .min()
        .to_frame("step")
        .join(touches.groupby(key)["at"].max().to_frame("touch"), how="inner")
    )
    assert len(both) > 100
    assert (both["step"] > both["touch"]).all()
    # Not the click's doing: mostly between half an hour and most of a day lies between the two.
    gap = (both["step"] - both["touch"]).dt.total_seconds()
    assert gap.quantile(0.9) > 8 * 3600
    assert gap.quantile(0.1) > 1800
    assert (steps.groupby(key).size() > 1).mean() > 0.1


def test_paid_channels_send_a_bill_a_day(landed: Landed) -> None:
    assert landed.spend.groupby("file_date")["channel"].nunique().eq(10).all()
    assert len(landed.spend) == 10 * DAYS
    assert set(landed.spend["channel"]) == set(world.CHANNELS) - {"direct", "organic_search"}
    touches = pd.concat([landed.email, landed.analog])
    contacts = touches.groupby(["file_date", "channel"])["cost"].sum()
    bills = landed.spend.set_index(["file_date", "channel"])["cost"].reindex(contacts.index)
    assert np.allclose(bills, contacts * world.FEES, atol=0.006)


def test_berlin_times_follow_the_change_of_the_clocks(tmp_path: Path) -> None:
    simulate(tmp_path, customers=300, days=2, start=date(2026, 3, 28))
    web = read(tmp_path / "touchpoints", "web_*.csv.gz")
    offsets = web["occurred_at"].str[-6:].groupby(web["file_date"]).agg(set)
    assert offsets.to_dict() == {"2026-03-28": {"+01:00"}, "2026-03-29": {"+02:00"}}


def contracts(acting: tuple[str, ...]) -> list[int]:
    return [
        int((day.moved & (day.state == world.DO)).sum())
        for day in world.lives(4_000, 60, seed=3, acting=acting)
    ]


def without(channel: str) -> tuple[str, ...]:
    return tuple(name for name in world.CHANNELS if name != channel)


def test_social_has_no_effect_and_display_has() -> None:
    assert world.EFFECT["social"] == (0, 0, 0, 0)
    everybody = contracts(world.CHANNELS)
    assert contracts(without("social")) == everybody
    assert sum(contracts(without("display"))) < sum(everybody)
    assert 0 < sum(contracts(())) < sum(everybody)


def test_display_acts_mostly_in_see() -> None:
    see, *later = world.EFFECT["display"]
    assert see > 2 * sum(later)


def test_confounding_makes_contacts_depend_on_intent() -> None:
    blind = world.contact_rates(confounding=0)
    assert (blind == blind[0]).all()
    rates = world.contact_rates()
    search = world.CHANNELS.index("paid_search")
    assert rates[world.DO, search] > 2 * rates[world.SEE, search]


def test_progress_counts_the_days(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(tmp_path, customers=5, days=3, progress=lambda done, days: seen.append((done, days)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"customers": 0}, "customers must be at least 1, not 0"),
        ({"days": 0}, "days must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"start": date(9999, 12, 1)}, "beyond the year 9999"),
    ],
)
def test_bad_arguments_raise_and_write_nothing(
    tmp_path: Path, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_landing_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.touch()
    with pytest.raises(UsageError, match="is a file"):
        simulate(landing, customers=1, days=1)
