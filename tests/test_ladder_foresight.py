"""Whether touches tell of the stage, judged by how well moves are foreseen."""

from itertools import product

import numpy as np
import pytest
from test_ladder import STAGES, customers, days_of, ladder_pass, random_ladder

from attribution.customer_days import CustomerDays
from attribution.known_world import draw_world, true_values
from attribution.models.ladder import divided, ladder
from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_choice import choose, met_alike
from attribution.models.ladder_coordinates import coordinates, slope
from attribution.models.ladder_days import day_kinds
from attribution.models.ladder_em import (
    first_guess,
    fit_ladder,
    improved,
    met_by_stage,
)
from attribution.models.ladder_foresight import foresight
from attribution.models.ladder_influence import replicate_ladders
from attribution.models.ladder_pass import log_likelihoods
from attribution.models.ladder_value import entries_of
from attribution.models.lift import LiftTests, ladder_calibrated, lifts
from attribution.models.shapley_sets import shapley_values

LIVES = [
    {"last_day": 3, "converted": True, "touches": [(0, 0), (2, 1)], "records": [(1, 1), (3, 2)]},
    {"last_day": 4, "touches": [(0, 1), (4, 0), (4, 1)], "first_weekday": 5},
    {"last_day": 2, "touches": [(0, 0), (0, 1)], "records": [(2, 3)], "weight": 3.0},
    {"last_day": 3, "touches": [(0, 0)], "first_stage": 1, "records": [(2, 2)]},
    {"last_day": 0, "converted": True, "touches": [(0, 1)], "first_stage": 2},
]


def _likelihoods(rows: list[dict], parameters: Ladder) -> np.ndarray:
    kinds = day_kinds(customers(rows), parameters.kernel.size, parameters.week.shape[1])
    return np.exp(log_likelihoods(kinds, parameters))


def _until(row: dict, day: int, bits: int, converted: bool) -> dict:
    """The same life up to a day on which this was seen."""
    records = [(d, b) for d, b in row.get("records", []) if d < day]
    return row | {
        "last_day": day,
        "converted": converted,
        "touches": [(d, c) for d, c in row["touches"] if d <= day],
        "records": records + [(day, bits)] * (bits > 0),
    }


@pytest.mark.parametrize(("classes", "lags", "weekdays"), [(1, 1, 1), (3, 3, 1), (2, 1, 7)])
@pytest.mark.parametrize("alike", [False, True])
def test_foresight_is_the_chance_among_all_that_could_be_seen(
    classes: int, lags: int, weekdays: int, alike: bool
) -> None:
    """Of what was seen on a day, among all records and conversions that the same touches might have
    been followed by that day.
    """
    parameters = random_ladder(4, lags=lags, classes=classes, weekdays=weekdays)
    if alike:
        parameters = met_alike(parameters)
    found = foresight(customers(LIVES), parameters)
    for row, log_chance in zip(LIVES, found, strict=True):
        expected = 0.0
        seen = dict(row.get("records", []))
        for day in range(row["last_day"] + 1):
            ends = bool(row.get("converted")) and day == row["last_day"]
            every = [
                _until(row, day, bits, converted)
                for bits, converted in product(range(1 << (STAGES - 1)), (False, True))
            ]
            [happened] = _likelihoods([_until(row, day, seen.get(day, 0), ends)], parameters)
            expected += np.log(happened / _likelihoods(every, parameters).sum())
        assert log_chance == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_was_not_foreseen() -> None:
    impossible = {"last_day": 2, "touches": [(0, 0)], "first_stage": 2, "records": [(1, 1)]}
    assert foresight(customers([impossible, LIVES[0]]), random_ladder(1))[0] == -np.inf


def test_the_likelihood_never_falls_where_customers_are_met_alike() -> None:
    days = customers(LIVES)
    parameters = met_alike(random_ladder(3, lags=8, classes=3, weekdays=7))
    reached = -np.inf
    for _ in range(30):
        likelihood, sums, _ = ladder_pass(days, parameters)
        assert likelihood >= reached - 1e-9 * abs(likelihood)
        assert parameters.contact.shape == (1, 2)
        reached = likelihood
        parameters = improved(parameters, sums, "geometric")


@pytest.fixture(scope="module")
def intent() -> CustomerDays:
    """Customers who are met by what they want, and steps that are recorded in part."""
    return days_of("70 % recorded", 1.0, 3, 8_000)


@pytest.fixture(scope="module")
def drift() -> CustomerDays:
    """More contacts from day to day, whatever customers want."""
    return days_of("calendar drift", 0.0, 1, 12_000)


def test_touches_are_asked_where_moves_are_foreseen_by_them(
    intent: CustomerDays, drift: CustomerDays
) -> None:
    asked, not_asked = choose(intent, 7), choose(drift, 7)
    assert len(asked.start.contact) == STAGES
    assert len(not_asked.start.contact) == 1
    for choice, better, worse in (
        (asked, "met_by_stage", "met_alike"),
        (not_asked, "met_alike", "met_by_stage"),
    ):
        assert choice.foreseen[better] > choice.foreseen[worse] + 0.02


def _error(days: CustomerDays, variant: str, confounding: float, seed: int, start: Ladder) -> float:
    fitted = fit_ladder(days, "none", start, far=True)
    found = met_by_stage(fitted.ladder, fitted.sums)
    shares = divided(found, entries_of(days, fitted.entry_stages)).shares
    truth = shapley_values(true_values(draw_world(variant, confounding, seed), 60_000, 5))
    return float(np.abs(shares / shares.sum() - truth / truth.sum()).mean())


def test_what_the_choice_is_worth(intent: CustomerDays, drift: CustomerDays) -> None:
    """Chosen wrongly, the one world's error is several times as large, and the other's rungs seem
    to be recorded less often than they are.
    """
    guess = first_guess(intent, "none")
    by_stage = _error(intent, "70 % recorded", 1.0, 3, guess)
    alike = _error(intent, "70 % recorded", 1.0, 3, met_alike(guess))
    assert by_stage < 0.008 < 3 * by_stage < alike
    guess = first_guess(drift, "none")
    recorded = [
        fit_ladder(drift, "none", start, far=True).ladder.recorded[1]
        for start in (guess, met_alike(guess))
    ]
    assert recorded[0] < 0.6 < 0.66 < recorded[1] < 0.74


def test_contacts_by_stage_are_those_of_the_customers_there() -> None:
    """Where every rung is recorded, stages are known without touches, and so are their contacts."""
    days = days_of("all steps recorded", 1.0, 2, 8_000)
    guess = first_guess(days, "none")
    by_stage, alike = (
        fit_ladder(days, "none", start, far=True) for start in (guess, met_alike(guess))
    )
    found = met_by_stage(alike.ladder, alike.sums)
    assert found.contact == pytest.approx(by_stage.ladder.contact, rel=0.06)
    assert met_by_stage(by_stage.ladder, by_stage.sums) is by_stage.ladder


@pytest.mark.parametrize(("classes", "weekdays"), [(1, 1), (3, 7)])
def test_contacts_by_stage_are_read_off_to_the_end(classes: int, weekdays: int) -> None:
    """No contact chance has a slope left, and classes and weekdays are those of the fit."""
    parameters = met_alike(random_ladder(6, classes=classes, weekdays=weekdays))
    sums = ladder_pass(customers(LIVES), parameters)[1]
    found = met_by_stage(parameters, sums)
    assert found.contact.shape == found.entry.shape == (STAGES, 2)
    assert found.activity is parameters.activity
    assert found.week is parameters.week
    before = found._replace(contact=np.repeat(parameters.contact, STAGES, axis=0))
    slopes = []
    for ladder_then in (before, found):
        all_slopes = slope(coordinates(ladder_then, False), ladder_then, sums, False)
        first = STAGES * (STAGES + 1) // 2 + found.entry.size
        slopes.append(np.abs(all_slopes[first : first + found.contact.size]).max())
    assert slopes[1] < 1e-3 * slopes[0]


def test_replicates_know_contacts_by_stage(drift: CustomerDays) -> None:
    """Without a tenth of the customers contacts are those of the others."""
    fitted = fit_ladder(drift, "none", met_alike(first_guess(drift, "none")), far=True)
    ladders, _ = replicate_ladders(
        drift, fitted.ladder, False, fitted.sums, fitted.entry_stages, 10
    )
    rest = drift.part(drift.group != 4)
    refit = fit_ladder(rest, "none", fitted.ladder)
    expected = met_by_stage(refit.ladder, refit.sums).contact
    before = met_by_stage(fitted.ladder, fitted.sums).contact
    assert np.abs(expected - before).max() > 1e-4
    assert np.abs(ladders[4].contact - expected).mean() < 0.2 * np.abs(expected - before).mean()


def test_the_fit_says_that_customers_are_met_alike(drift: CustomerDays) -> None:
    found = ladder(drift, drift.conversions, 0.0, 0)
    told = found.credit.diagnostics
    assert told["is_met_alike"] == 1.0
    assert told["foreseen_met_alike"] > told["foreseen_met_by_stage"]  # type: ignore[operator]
    assert len(found.fitted.ladder.contact) == 1
    assert found.ladder.contact.shape == found.ladder.entry.shape == (STAGES, 6)
    tests = LiftTests(np.array([0]), np.array([0.1]), np.array([0.05]))
    calibrated = ladder_calibrated(found, tests)[2]
    assert calibrated.before == pytest.approx(lifts(found.ladder, found.entries, tests.channel))
    shares = found.credit.conversions / drift.conversions
    by_stage, alike = (divided(one, found.entries) for one in (found.ladder, found.fitted.ladder))
    assert shares == pytest.approx(by_stage.shares)
    assert np.abs(shares - alike.shares).max() > 1e-4
    contacts = {(row["stage"], row["channel"]): row["contacts_per_day"] for row in found.effects}
    assert contacts[0, "a"] != contacts[1, "a"]
