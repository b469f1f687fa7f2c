"""What stands at the top of the page, from worlds of a few figures: tiles, notes, sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from conftest import ROOT

from attribution.contract import read_contract
from attribution.landing import look
from attribution.report import render
from attribution.report_charts import WEEKS, dot_plot, weeks
from attribution.report_facts import Credit, Facts, _segments_model
from attribution.report_findings import findings
from attribution.report_periods import Feed, window
from attribution.report_warnings import in_words
from attribution.settings import WARNINGS
from attribution.validation import _finding, read_suite
from attribution.wording import Wording

LAST = date(2026, 3, 31)
DAYS = [LAST - timedelta(days=day) for day in range(89, -1, -1)]  # from 1 January
MANIFEST: dict[str, Any] = {
    "run_id": "r",
    "run_date": "2026-03-31",
    "staged_at": "2026-04-01T02:00:00+00:00",
    "steps": {},
    "settings": {
        "models": ["last_touch"],
        "window_days": 90,
        "small_cell": 10,
        "few_conversions": 30,
        "segments": [],
        "lookback_days": 30,
        "lookback_days_by_goal": {},
        "reporting_timezone": "UTC",
        "reporting_currency": "EUR",
    },
}

ISOLATES = {0x2068: None, 0x2069: None}

Spend = list[tuple[date, str, float]]


def spent(channel: str, cost: float = 10, days: Iterable[date] = DAYS) -> Spend:
    return [(day, channel, cost) for day in days]


def world(
    spend: Spend,
    daily: list[tuple[date, str, float, float]] | None = None,
    rows: list[Credit] | None = None,
) -> Facts:
    """Ten conversions and 100 of revenue a day, unless said otherwise."""
    daily = [(day, "g", 10.0, 100.0) for day in DAYS] if daily is None else daily
    cost = sum(c for *_, c in spend) if spend else None
    conversions = sum(row[2] for row in daily)
    rows = rows or [Credit("search", conversions, sum(row[3] for row in daily), 1.0, cost=cost)]
    return Facts(
        goals=["g"],
        models=["last_touch"],
        credit={None: {"last_touch": rows}},
        daily=daily,
        spend=spend,
        default_model="last_touch",
        medians={},
        journeys={},
        **{
            name: []
            for name in (
                *("weekly", "paths", "lengths", "lags", "ends", "handovers"),
                *("unattributed", "files", "set_aside", "segments"),
            )
        },  # type: ignore[arg-type]
    )


def page(facts: Facts, language: str = "en", **manifest: Any) -> str:
    return render(facts, MANIFEST | manifest, None, Wording(language, "EUR"))


def text(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup.replace("<wbr>", ""))).split())


def tiles(html: str) -> dict[str, tuple[str, str, list[str]]]:
    """By name: the figure, the change with its colour, what stands below."""
    [found] = re.findall(r'<dl class="tiles">(.*?)</dl>', html, re.S)
    read = {}
    for tile in re.findall(r"<div>(.*?)</div>", found, re.S):
        [name], [value] = re.findall(r"<dt>(.*?)</dt>", tile), re.findall(r"<strong>(.*?)<", tile)
        change = re.findall(r'<span class="delta ?(\w*)">(.*?)<', tile)
        said = " ".join(change[0]).strip() if change else ""
        read[name] = (value, said, re.findall(r"<small>(.*?)</small>", tile))
    return read


def note(html: str) -> str:
    [found] = re.findall(r'</dl>\s*<p class="note">(.*?)</p>', html, re.S)
    return text(found)


# spend


def test_a_few_days_have_no_period_before_and_no_change() -> None:
    days = DAYS[-5:]
    daily = [(day, "g", 10.0, 100.0) for day in days]
    for spend in (spent("search", days=days), spent("search", days=days[:2])):
        found = tiles(page(world(spend, daily)))
        assert [change for _, change, _ in found.values()] == [""] * 5
        assert found["Conversions"] == ("50", "", [])


@pytest.mark.parametrize(
    ("days", "first", "last", "covered"),
    [
        (DAYS, DAYS[0], LAST, True),
        (DAYS[:-1], DAYS[0], LAST, False),
        (DAYS[1:], DAYS[0], LAST, False),
        (DAYS[1:], DAYS[1], LAST, True),
        # weekly: up to six days may be missing at either end
        (DAYS[6::7], DAYS[0], DAYS[6 + 7 * 11 + 6], True),
        (DAYS[6:70:7], DAYS[0], LAST, False),
        # weekdays alone, in a period that ends on a Sunday
        ([day for day in DAYS if day.weekday() < 5], DAYS[4], date(2026, 3, 29), True),
        # a rest of a week is none, a longer one is; what lies beside it is covered
        (DAYS[:40] + DAYS[46:], DAYS[0], LAST, True),
        (DAYS[:40] + DAYS[48:], DAYS[0], LAST, False),
        (DAYS[:40] + DAYS[48:], DAYS[48], LAST, True),
        # a bill at the end of each month says nothing of days without one
        ([date(2026, m, d) for m, d in ((1, 31), (2, 28), (3, 31))], DAYS[0], LAST, True),
        ([date(2026, m, 1) for m in (1, 2, 3)], DAYS[62], LAST, False),
        ([DAYS[50]], DAYS[40], DAYS[60], False),
        # one of ten pauses is a month: a gap, and no rule
        (DAYS[:10] + DAYS[40:41], DAYS[0], DAYS[40], False),
        (DAYS[:11] + DAYS[41:42], DAYS[0], DAYS[41], False),
    ],
)
def test_spend_covers_a_period_up_to_its_usual_pause(
    days: list[date], first: date, last: date, covered: bool
) -> None:
    assert Feed(days).covers(first, last) is covered


WHOLE = spent("search") + spent("social")
FROM_20_FEBRUARY = [day for day in DAYS if day >= date(2026, 2, 20)]
TO_5_MARCH = [day for day in DAYS if day <= date(2026, 3, 5)]


@pytest.mark.parametrize(
    ("spend", "said"),
    [
        (WHOLE, None),
        (
            spent("search", 90, TO_5_MARCH) + spent("social"),
            "only: search (1 Jan 2026 – 5 Mar 2026).",
        ),
        (
            spent("search", 10, TO_5_MARCH) + spent("social", 10, TO_5_MARCH),
            "only: every channel (1 Jan 2026 – 5 Mar 2026).",
        ),
        (
            spent("search", 10, FROM_20_FEBRUARY) + spent("social", 10, FROM_20_FEBRUARY),
            "only: every channel (20 Feb 2026 – 31 Mar 2026).",
        ),
        (
            WHOLE + spent("<b>", 1, TO_5_MARCH) + spent("tv", 1, DAYS[:20] + DAYS[60:]),
            "only: tv (1 Jan 2026 – 20 Jan 2026, 2 Mar 2026 – 31 Mar 2026); "
            "<b> (1 Jan 2026 – 5 Mar 2026).",
        ),
        # what never cost anything is missed by nobody
        (WHOLE + spent("email", 0, TO_5_MARCH), None),
    ],
)
def test_missing_spend_is_named_and_is_no_success(spend: Spend, said: str | None) -> None:
    html = page(world(spend))
    found = tiles(html)
    changes = [found[name][1] for name in ("Cost", "Cost per conversion", "Return on spend")]
    if said is None:
        assert changes == ["0.0%"] * 3
        assert "Spend is known" not in note(html)
    else:
        assert changes == [""] * 3
        for name in ("Cost per conversion", "Return on spend"):
            assert found[name][2][1] == "90 days: –"
        assert said in note(html)
        total = text(re.findall(r'<tr class="fixed total">(.*?)</tr>', html, re.S)[0])
        assert total.endswith(" – –")
    assert found["Conversions"][1] == "0.0%"


def test_what_is_known_is_still_divided() -> None:
    """Spend that begins in the window leaves ratios of the weeks it covers, not those of all."""
    recent = [day for day in DAYS if day >= date(2026, 2, 1)]
    found = tiles(page(world(spent("search", 10, recent))))
    assert found["Cost per conversion"] == ("€1.00", "0.0%", ["before: €1.00", "90 days: –"])
    # it stopped: the latest weeks cost less than they seem to
    html = page(
        world(
            spent("search", 10, TO_5_MARCH) + spent("social"),
            rows=[
                Credit("search", 1.0, 5.0, 0.5, cost=9.0, cost_per_conversion=9, return_on_spend=5),
                Credit("social", 1.0, 5.0, 0.5, cost=7.0, cost_per_conversion=7, return_on_spend=3),
            ],
        )
    )
    assert tiles(html)["Cost per conversion"] == ("–", "", ["before: €2.00", "90 days: –"])
    assert re.search("search .* 9 – –$", row_of(html, "search"))
    assert row_of(html, "social").endswith(" 7 7.00 3.0")


def row_of(html: str, channel: str) -> str:
    [body] = re.findall(r'<table class="channels.*?<tbody[^>]*>(.*?)</tbody>', html, re.S)
    [row] = [r for r in map(text, re.findall("<tr>.*?</tr>", body)) if r.startswith(channel)]
    return row


def test_without_spend_no_tile_speaks_of_cost() -> None:
    html = page(world([]))
    assert set(tiles(html)) == {"Conversions", "Revenue"}
    assert "No spend was delivered." in note(html)


def test_spend_of_a_young_world_is_whole_from_its_first_conversion_on() -> None:
    young = DAYS[-20:]
    html = page(world(spent("search", 5, young), [(day, "g", 1.0, 2.0) for day in young]))
    assert tiles(html)["Cost per conversion"][2] == ["before: €5.00", "90 days: €5.00"]
    assert "Spend is known" not in note(html)


@pytest.mark.parametrize(
    ("was", "now", "revenue", "returned"),
    [
        (100.0, 200.0, "good +100.0%", "good +100.0%"),
        (100.0, 50.0, "bad \u221250.0%", "bad \u221250.0%"),
        (100.0, 100.1, "+0.1%", "+0.1%"),
        (100.0, 0.0, "bad \u2212100.0%", "bad \u2212100.0%"),
        (100.0, -50.0, "bad \u2212150.0%", "bad \u2212150.0%"),
        (0.0, 100.0, "", ""),
        (-100.0, 200.0, "", ""),
        (-100.0, -200.0, "", ""),
    ],
)
def test_a_change_is_one_of_something_above_nothing(
    was: float, now: float, revenue: str, returned: str
) -> None:
    daily = [(day, "g", 10.0, was if day < LAST - timedelta(days=27) else now) for day in DAYS]
    found = tiles(page(world(WHOLE, daily)))
    assert found["Revenue"][1] == revenue
    assert found["Return on spend"][1] == returned
    assert found["Revenue"][2][0] == "before: " + Wording("en", "EUR").money(28 * was)
    assert len(found["Return on spend"][2]) == 2


def test_a_period_without_conversions_is_told_and_not_compared() -> None:
    recent = [(day, "g", 10.0, 100.0) for day in DAYS[-28:]]
    found = tiles(page(world(WHOLE, recent)))
    for name, before in (("Conversions", "0"), ("Revenue", "€0"), ("Cost per conversion", "–")):
        assert found[name][1:] == ("", [f"before: {before}", found[name][2][1]])
    # less cost per conversion is better; less cost is neither
    cheaper = spent("search", 20, DAYS[:62]) + spent("search", 10, DAYS[62:])
    found = tiles(page(world(cheaper)))
    assert found["Cost per conversion"][1] == "good \u221250.0%"
    assert found["Cost"][1] == "\u221250.0%"


def test_cheap_conversions_are_shown_to_two_digits_and_sorted_by_all() -> None:
    costs = {"a": 0.514, "b": 0.511, "c": 1.94, "d": 99.5, "e": 100.6, "f": 1234.5}
    rows = [
        Credit(channel, 10.0, 5.0, 0.1, cost=10 * each, cost_per_conversion=each)
        for channel, each in costs.items()
    ]
    for language, shown in (
        ("en", ["0.51", "0.51", "1.94", "99.50", "101", "1,234"]),
        ("de", ["0,51", "0,51", "1,94", "99,50", "101", "1.234"]),
    ):
        html = page(world(WHOLE, rows=rows), language)
        [body] = re.findall(r'<table class="channels.*?<tbody[^>]*>(.*?)</tbody>', html, re.S)
        cells = [re.findall(r"<td(.*?)>(.*?)</td>", r)[7] for r in re.findall("<tr>.*?</tr>", body)]
        assert [cell for _, cell in cells] == shown
        assert [attribute for attribute, _ in cells] == [
            f' data-value="{c}"' for c in costs.values()
        ]
    assert tiles(page(world(spent("search", 5.1))))["Cost per conversion"][0] == "€0.51"


# sentences


def row(
    channel: str, cost: float | None, share: float, low: float | None, high: float | None
) -> Credit:
    """A channel's credit of a hundred conversions."""
    each = cost / (100 * share) if cost is not None and share else None
    return Credit(channel, 100 * share, 0.0, share, low, high, cost=cost, cost_per_conversion=each)


REST = row("direct", None, 0.3, 0.2, 0.4)
LEAST = "a conversion costs least through "


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        # far apart: the ranges are 1000 / 50 to 1000 / 40, and 1000 / 10 to 1000 / 5
        (
            [row("a", 1000, 0.45, 0.4, 0.5), row("b", 1000, 0.08, 0.05, 0.1)],
            [LEAST + "a (€20.00 – €25.00) and most through b (€100 – €200), by the"],
        ),
        # an interval that reaches 0 has no upper end
        (
            [row("a", 1000, 0.45, 0.4, 0.5), row("b", 1000, 0.08, 0.0, 0.1)],
            [LEAST + "a (€20.00 – €25.00) and most through b (at least €100), by the"],
        ),
        # ranges that overlap, equal ones, unknown ones, one channel alone
        ([row("a", 1000, 0.45, 0.1, 0.5), row("b", 1000, 0.08, 0.05, 0.2)], []),
        ([row("a", 1000, 0.2, 0.2, 0.2), row("b", 1000, 0.2, 0.2, 0.2)], []),
        ([row("a", 1000, 0.5, None, None), row("b", 1000, 0.01, None, None)], []),
        ([row("a", 1000, 0.7, 0.6, 0.8)], []),
        # no cost, none above 0
        ([row("a", 0, 0.5, 0.4, 0.6), row("b", 0, 0.01, 0.0, 0.02)], []),
        ([row("a", -100, 0.5, 0.5, 0.5), row("b", -500, 0.1, 0.1, 0.1)], []),
        # what earns nothing comes first, and does not hide the others
        (
            [
                row("a", 1000, 0.5, 0.4, 0.5),
                row("b", 1000, 0.1, 0.05, 0.1),
                row("x", 700, 0.0, 0.0, 0.0),
                row("y", 300, 0.0, 0.0, 0.0),
                row("z", 0, 0.0, 0.0, 0.0),
            ],
            ["credits no conversion at all to x, y; cost: €1,000.", LEAST + "a ("],
        ),
    ],
)
def test_least_and_most_cost_are_named_where_they_are_no_chance(
    rows: list[Credit], said: list[str]
) -> None:
    rest = 1 - sum(r.share for r in rows)
    rows = [*rows, row("(unattributed)", None, rest, rest, rest)]
    spend = [entry for r in rows if r.cost is not None for entry in spent(r.channel, r.cost / 90)]
    found = sentences(page(world(spend, rows=rows)))
    about_cost = [s for s in found if LEAST in s or "credits no conversion" in s]
    assert len(about_cost) == len(said)
    assert all(part in sentence for part, sentence in zip(said, about_cost, strict=True))


def sentences(html: str) -> list[str]:
    [found] = re.findall(r'<ul class="findings">(.*?)</ul>', html, re.S)
    return [text(s).translate(ISOLATES) for s in re.findall(r"<li>(.*?)</li>", found)]


def test_channels_of_unknown_spend_are_neither_cheap_nor_dear() -> None:
    rows = [row("a", 10, 0.5, 0.4, 0.6), row("b", 1000, 0.2, 0.1, 0.2), REST]
    spend = spent("a", 1, DAYS[:10]) + spent("b", 1000 / 90)
    assert not [s for s in sentences(page(world(spend, rows=rows))) if LEAST in s]


def test_a_world_of_no_credit_has_no_sentence() -> None:
    assert sentences(page(world([], rows=[row("(unattributed)", None, 1.0, 1.0, 1.0)]))) == []
    untouched = [row("a", None, 0.0, 0.0, 0.0), row("(unattributed)", None, 1.0, 1.0, 1.0)]
    assert sentences(page(world([], rows=untouched))) == []
    one = sentences(page(world([], rows=[row("a", None, 1.0, 1.0, 1.0)])))
    assert one == ["By the model Last touch, a earns the most: 100.0% of conversions."]


def test_segments_are_said_to_be_missing_where_none_are_named_alone() -> None:
    settings = MANIFEST["settings"] | {"segments": ["customer_status"]}
    assert "No segments are set up" in page(world([]))
    said = page(world([]), settings=settings)
    assert "No segment has conversions enough" in said
    assert "No segments are set up" not in said


def test_segments_are_shown_by_a_model_that_was_fitted_to_them() -> None:
    """The ladder opens the page, and is fitted to all journeys alone."""
    with duckdb.connect() as con:
        con.execute("create table channel_credit (model varchar, segment varchar)")
        assert _segments_model(con) is None
        con.execute(
            "insert into channel_credit values ('ladder', 'all'), ('markov', 'all'), "
            "('shapley', 'persona'), ('markov', 'persona'), ('linear', 'persona')"
        )
        assert _segments_model(con) == "markov"
        con.execute("delete from channel_credit where model in ('markov', 'shapley')")
        assert _segments_model(con) == "linear"


def test_shares_beyond_all_measure_are_drawn() -> None:
    """Of games whose shares may be negative, with two replicate groups."""
    rows = [row("a", None, 2.5, -4.0, 7.2), row("b", None, -1.5, -9.0, 0.0)]
    plot = dot_plot(world([], rows=rows), None)
    assert (plot["ticks"][0], plot["ticks"][-1]) == (("0.00", -9), ("100.00", 9))
    [(_, [(_, below)])] = [row for row in plot["rows"] if row[0] == "b"]
    assert below == (f"{100 * 7.5 / 18:.2f}", "0.00", "50.00")  # where it is, and not at nothing


def test_the_first_view_shows_the_opening_model_without_a_script() -> None:
    rows = world([]).credit[None]["last_touch"]
    facts = replace(
        world([]),
        models=["last_touch", "linear"],
        credit={None: {"last_touch": rows, "linear": rows}},
        default_model="linear",
    )
    dots = re.findall(r'<g data-dot="(\d)" class="([^"]*)"', page(facts))
    assert [(number, kinds.split()) for number, kinds in dots] == [("0", ["last"]), ("1", ["on"])]


def test_weeks_are_as_high_as_the_highest_of_those_shown() -> None:
    long_ago = LAST - timedelta(weeks=WEEKS + 10)
    daily = [(long_ago, "g", 1000.0, 0.0), (LAST - timedelta(days=7), "g", 10.0, 0.0)]
    shown = weeks(world([], daily), None, long_ago, LAST)
    assert len(shown) == WEEKS
    assert [week["height"] for week in shown if week["conversions"]] == ["120.0"]


def test_a_window_of_all_days_begins_with_whatever_came_first() -> None:
    spend = spent("search", days=[DAYS[0]])
    everything = MANIFEST | {"settings": MANIFEST["settings"] | {"window_days": "all"}}
    later = [(day, "g", 10.0, 100.0) for day in DAYS[30:]]
    assert window(world(spend, later), everything) == (DAYS[0], LAST)
    assert window(world([], later), everything) == (DAYS[30], LAST)
    assert window(world(spent("search", days=[DAYS[40]]), later), everything) == (DAYS[30], LAST)


@pytest.mark.parametrize(
    ("model", "settings", "says"),
    [
        ("shapley", {"shapley_game": "conversions"}, "Anyone can check it by hand"),
        ("shapley", {"shapley_game": "model"}, "(setting shapley_game: model)"),
        ("markov", {"markov_nulls": "use"}, "with and without conversion"),
        ("markov", {"markov_nulls": "ignore"}, "Journeys without a conversion are left out"),
        (
            "position_based",
            {"position_based_first": 0.1, "position_based_last": 0.25},
            "The first touchpoint gets 10%, the last one 25%, the ones between share the rest",
        ),
    ],
)
def test_a_model_is_described_as_it_is_set_up(model: str, settings: dict, says: str) -> None:
    facts = world([])
    facts.credit[None][model] = facts.credit[None]["last_touch"]
    chosen = MANIFEST["settings"] | settings | {"models": [model, "last_touch"]}
    html = page(replace(facts, models=[model, "last_touch"]), settings=chosen)
    assert says in text(html)


def test_a_goal_of_which_everything_was_cancelled_is_told() -> None:
    facts = replace(
        world([]),
        journeys={
            "g": {"gross_conversions": 12.0, "cancelled_conversions": 3.0},
            "gone": {"gross_conversions": 12.0, "cancelled_conversions": 12.0},
            "unbooked": {"gross_conversions": 0.0, "cancelled_conversions": 0.0},
        },
    )
    html = page(facts)
    rows = [text(row) for row in re.findall("<tr>.*?</tr>", html) if "gone" in row]
    assert rows == ["gone 0 0 – – 12 100.0% – –"]
    assert "unbooked" not in text(html)


def test_the_strongest_channel_has_credit() -> None:
    rows = [row("email", None, 0.0, None, None), row("(unattributed)", None, 1.0, None, None)]
    found = text(page(world([], rows=rows)))
    assert "email 0.0%" not in found


def test_who_chose_a_goal_is_not_told_to_choose_one() -> None:
    facts = world([])
    rows = facts.credit[None]["last_touch"]
    scopes = {None: {"last_touch": rows}, "g": {"last_touch": rows}}
    html = page(replace(facts, models=["last_touch", "ladder"], credit=scopes))
    assert html.count("could not be fitted on every goal; choose a single goal") == 1
    assert html.count("could not be fitted on this goal; choose another model") == 1


def test_the_order_at_the_top_is_certain_only_where_intervals_are_apart() -> None:
    rows = [row("a", None, 0.5, 0.4, 0.6), row("b", None, 0.4, 0.3, 0.45), REST]
    [said] = sentences(page(world([], rows=rows)))
    assert said.endswith(
        "The intervals of 2 other channels reach as high, b first: "
        "the order at the top is not certain."
    )
    rows = [row("a", None, 0.5, 0.4, 0.6), row("b", None, 0.4, 0.3, 0.35)]
    [said] = sentences(page(world([], rows=rows)))
    assert "not certain" not in said


def test_sentences_say_where_models_disagree_and_what_came_of_itself() -> None:
    facts = world([], rows=[row("a", None, 0.6, 0.6, 0.6), row("b", None, 0.4, 0.4, 0.4)])
    ladder = [
        row("b", None, 0.4, 0.3, 0.5),
        row("a", None, 0.2, 0.1, 0.25),
        row("(organic)", None, 0.4, 0.3, 0.5),
    ]
    facts.credit[None]["ladder"] = ladder
    found = findings(replace(facts, default_model="ladder"), Wording("de", "EUR"))
    assert [sentence.translate(ISOLATES) for sentence in found] == [
        "Nach dem Modell Leiter trägt b am meisten bei: 40,0\u00a0% der Abschlüsse; nach letztem "
        "Kontakt wären es 40,0\u00a0%.",
        "Nach dem Modell Leiter wären 40,0\u00a0% der Abschlüsse auch ohne erfassten Kontakt "
        "gekommen: (organic).",
        "Am stärksten unterscheiden sich die Modelle bei a: von 20,0\u00a0% (Leiter) bis "
        "60,0\u00a0% (Letzter Kontakt).",
    ]


# warnings


@pytest.mark.parametrize(
    ("column", "found", "english", "german"),
    [
        (
            "share_unmapped",
            [("all touches", 0.16328)],
            "16.3% of touchpoints",
            "Auf 16,3\u00a0% der",
        ),
        ("rows_conflicting", [("steps", 1234.0)], ": steps (1,234).", ": steps (1.234)."),
        (
            "size_ratio",
            [(f"spend/s_{n}.csv", 0.125) for n in range(5)],
            "s_2.csv (0.12) and 2 more.",
            "spend/s_1.csv (0,12), spend/s_2.csv (0,12) und 2 weitere.",
        ),
        (
            "days_overdue",
            [("spend/s.csv", 12)],
            "overdue): spend/s.csv (12).",
            "überfällig): spend/",
        ),
        ("rows_read", [("spend/<i>.csv", 0)], "header, most often", ": spend/<i>.csv (0)."),
        ("size_ratio", [("s (1.2.3) (4).csv", 9.5)], "s (1.2.3) (4).csv (9.50).", "(9,50)."),
        (
            "extra_columns",
            [("spend/s.csv", "a, b (1)")],
            "s.csv (a, b (1)).",
            "nicht gelesen: spend",
        ),
    ],
)
def test_failed_expectations_are_said_in_words(
    column: str, found: list[tuple[str, Any]], english: str, german: str
) -> None:
    boundary = "statistics" if column in ("share_unmapped", "rows_conflicting") else "exports"
    [expectation] = [
        e
        for e in read_suite(ROOT / "expectations", boundary)["expectations"]
        if e["kwargs"].get("column") == column
    ]
    result = {
        "unexpected_count": len(found),
        "element_count": 14,
        "unexpected_index_list": [{"subject": s, column: value} for s, value in found],
    }
    frame = pd.DataFrame({column: [value for _, value in found]})
    finding = _finding(
        boundary, expectation, {"raised": None, "success": False, "result": result}, frame
    )
    assert finding is not None
    assert finding.severity == "warning"
    steps = {"check": {"warnings": [finding.message]}}
    for language, said in (("en", english), ("de", german)):
        assert said in banner(page(world(WHOLE), language, steps=steps))


def banner(html: str) -> str:
    [found] = re.findall(r'<section class="warnings".*?<ul>(.*?)</ul>', html, re.S)
    assert "expect_" not in found
    assert "<i>" not in found
    return unescape(found).translate(ISOLATES)


def test_every_expectation_that_warns_has_words() -> None:
    warned = {
        expectation["kwargs"]["column"]
        for boundary in ("exports", "statistics", "credits")
        for expectation in read_suite(ROOT / "expectations", boundary)["expectations"]
        if expectation["severity"] == "warning"
    }
    assert warned == set(WARNINGS)
    assert all(Wording("en", "EUR").has(f"warning_{column}") for column in warned)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "landing/spend/s.csv has no column cost, day; files of its name had before",
            "In der Datei spend/s.csv fehlt cost, day; frühere Dateien ihrer Art hatten das.",
        ),
        (
            "_exports.yml declares calls no longer; its rows stay in the archive, uncounted, for "
            "retention_days",
            "Der Export calls ist nicht mehr vereinbart; seine Zeilen zählen nicht.",
        ),
        (
            "landing/spend/s.csv is being written; left for the next run",
            "Die Datei spend/s.csv war noch nicht vollständig und wartet auf den nächsten Lauf.",
        ),
        (
            "12345 rows are later than 2026-03-31 and do not count",
            "12.345 Zeilen sind später als der 31.03.2026 und zählen nicht.",
        ),
        (
            'lookback_days_by_goal: no conversion is of the goal "it\'s"',
            "Für das Ziel it's ist ein eigener Rückblick eingerichtet, aber kein Abschluss hat "
            "dieses Ziel.",
        ),
        (
            "goal 'a', entry_channel 'b' has no credit by markov: markov: too few",
            "Das Modell Markov-Kette ließ sich für b (entry_channel) des Ziels a nicht rechnen.",
        ),
        (
            "goal 'a' has no credit by ladder: no step",
            "Das Modell Leiter ließ sich für das Ziel a nicht rechnen.",
        ),
        ("markov: every journey converts, so a", None),
        # what nobody knows stands as it is
        ("mine: expect_column_min(x): observed 3", "mine: expect_column_min(x): observed 3"),
        ("a\u202eb", "a⟨U+202E⟩b"),
    ],
)
def test_lines_of_the_steps_are_said_in_words(line: str, said: str | None) -> None:
    words = in_words(line, Wording("de", "EUR")).translate(ISOLATES)
    assert words == (said or Wording("de", "EUR").text("warning_all_convert"))


def test_what_lies_wrong_in_landing_is_said_in_words(tmp_path: Path) -> None:
    """Of the lines that `look` really writes."""
    (tmp_path / "unknown").mkdir()
    (tmp_path / "file.csv").touch()
    (tmp_path / "link").symlink_to(tmp_path / "unknown")
    (tmp_path / "spend" / "folder.csv").mkdir(parents=True)
    (tmp_path / "spend" / "fresh.csv").touch()
    Path(os.fsdecode(bytes(tmp_path) + b"/spend/M\xe4rz.csv")).touch()
    contract = read_contract(ROOT / "dbt_project" / "models" / "staging" / "_exports.yml")
    found = look({"spend": replace(contract["spend"], settle_seconds=3600)}, tmp_path)
    assert len(found.refused) == 5
    said = [in_words(line, Wording("en", "EUR")).translate(ISOLATES) for line in found.refused]
    bad_name = r"The file spend/M\xe4rz.csv was not read: its name is no text in UTF-8."
    assert said.count(bad_name) == 1
    for words in said:
        expected = " lies where no export is expected, and was not read."
        assert words == bad_name or words.endswith(expected)
    [waiting] = found.waiting
    said = in_words(f"{waiting}; left for the next run", Wording("en", "EUR")).translate(ISOLATES)
    assert said.startswith("The file spend/fresh.csv was not complete yet")
