"""The simulated bank and insurance group: what its channels truly do, and how its customers move.

A customer moves See -> Think -> Do -> conversion -> Care, and from Care back to Think for a next
product. Every day has one organic chance, and one chance per contact with a channel, to move a
state on. The chances per contact (`EFFECT`) are the truth that attribution models try to find.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

SEE, THINK, DO, CARE = range(4)
NEXT_STATE = np.array([THINK, DO, CARE, THINK])

# Chance that one contact moves the customer on, by state: See, Think, Do, Care.
# social is seen a lot and moves nobody: credit that a model gives to it is a plain error.
EFFECT = {
    "advisor": (0.030, 0.150, 0.250, 0.150),
    "affiliate": (0.015, 0.030, 0.015, 0.000),
    "aggregator": (0.010, 0.080, 0.120, 0.020),
    "branch": (0.015, 0.080, 0.160, 0.100),
    "call_centre": (0.005, 0.050, 0.120, 0.080),
    "direct": (0.000, 0.005, 0.010, 0.002),
    "display": (0.030, 0.005, 0.002, 0.000),
    "email": (0.012, 0.040, 0.030, 0.080),
    "mail": (0.025, 0.010, 0.005, 0.010),
    "organic_search": (0.015, 0.030, 0.015, 0.000),
    "paid_search": (0.010, 0.045, 0.040, 0.000),
    "social": (0.000, 0.000, 0.000, 0.000),
}
CHANNELS = tuple(EFFECT)
ANALOG = frozenset({"advisor", "branch", "call_centre", "mail"})

# Contacts a day of a customer of average activity whose intent plays no part.
CONTACT_RATE = {
    "advisor": 0.0015,
    "affiliate": 0.0045,
    "aggregator": 0.0045,
    "branch": 0.0035,
    "call_centre": 0.0030,
    "direct": 0.0130,
    "display": 0.0220,
    "email": 0.0130,
    "mail": 0.0035,
    "organic_search": 0.0130,
    "paid_search": 0.0130,
    "social": 0.0170,
}
# How much more often a customer is met in See, Think, Do, Care: advertisers push channels at
# people and retarget a little, all other channels are sought by people with a need.
PUSHED = (0.9, 1.3, 1.8, 0.9)
SOUGHT = (0.5, 2.0, 4.0, 0.6)
PUSHED_CHANNELS = frozenset({"display", "email", "mail", "social"})
# 0: intent plays no part in who is met; 1: all of the above. It is why last touch misleads.
CONFOUNDING = 0.5

# Chance a day to move on without any contact, by state, before the goal's propensity.
ORGANIC = (0.0026, 0.0058, 0.0100, 0.0300)

UNREACHED = 0.01  # share of customers whom no channel ever meets: their conversions are walk-ins
ACTIVITY_SPREAD = 0.6  # sigma of the log-normal factor (mean 1) between customers' contact rates


@dataclass(frozen=True)
class Goal:
    """A product: who wants it, how easily, and what a contract brings in EUR."""

    interest: float  # share of customers
    propensity: float  # factor on the organic chances
    revenue: float  # median of a log-normal
    spread: float  # its sigma


GOALS = {
    "account": Goal(interest=0.35, propensity=1.3, revenue=120, spread=0.30),
    "car_insurance": Goal(interest=0.32, propensity=1.1, revenue=480, spread=0.40),
    "mortgage": Goal(interest=0.15, propensity=0.8, revenue=3200, spread=0.50),
    "pension": Goal(interest=0.18, propensity=0.9, revenue=950, spread=0.60),
}

# What is recorded of a contact, the usual choice first. Web analytics knows no channel, only this:
SOURCES = {
    "affiliate": (("partnernetz", "affiliate"),),
    "aggregator": (("vergleich24", "aggregator"),),
    "direct": (("(direct)", "(none)"),),
    "display": (("dv360", "display"),),
    "organic_search": (("google", "organic"), ("bing", "organic")),
    "paid_search": (("google", "cpc"), ("bing", "cpc")),
    "social": (("instagram", "paid_social"), ("facebook", "social")),
}
INTERACTIONS = {
    "advisor": ("visit",),
    "affiliate": ("click",),
    "aggregator": ("click",),
    "branch": ("branch",),
    "call_centre": ("call",),
    "direct": ("visit",),
    "display": ("impression", "click"),
    "email": ("impression", "click"),
    "mail": ("mail",),
    "organic_search": ("visit",),
    "paid_search": ("click",),
    "social": ("impression", "click"),
}
CAMPAIGNS = {
    "account": "Girokonto für Frühaufsteher",
    "car_insurance": "Frühjahrsaktion Autoversicherung",
    "mortgage": "Größer wohnen",
    "pension": "Später schön leben",
}
CAMPAIGN_CHANNELS = frozenset({"display", "email", "mail", "paid_search", "social"})
# EUR per contact; a channel without a price sends no bill.
PRICE = {
    "advisor": 45.00,
    "affiliate": 1.80,
    "aggregator": 6.50,
    "branch": 14.00,
    "call_centre": 7.00,
    "display": 0.40,
    "email": 0.06,
    "mail": 0.95,
    "paid_search": 2.10,
    "social": 0.35,
}

STEPS = ("calculator_used", "form_started", "form_submitted", "appointment")
# Chance of each step when the customer moves out of See, Think, Do, Care.
STEP_CHANCE = (
    (0.90, 0.00, 0.00, 0.00),
    (0.40, 0.95, 0.30, 0.15),
    (0.10, 0.20, 0.70, 0.30),
    (0.60, 0.00, 0.00, 0.00),
)

# How systems and people behave: shares, of what the comment names.
SAME_SECOND = 0.03  # contacts that carry the very second of the one before
OTHER_CHOICE = 0.25  # contacts with the less common source, or clicked instead of only seen
OWN_CAMPAIGN = 0.7  # contacts whose campaign is about the goal that the customer has
FEES = 1.15  # bills exceed the prices of the contacts
WILLING = 0.8  # customers who log in, or fill in a form under their name
LOG_IN = 0.3  # web contacts after which a willing customer logs in
TWO_DEVICES = 0.12  # customers with a second device, on which not all are ever met
ON_SECOND_DEVICE = 0.4  # days that they spend on it
CANCELLED = 0.04  # conversions
CANCELLED_AFTER = (2, 30)  # days, first and last


def _usual_and_other(choices: Sequence[Any]) -> tuple[Any, Any]:
    return choices[0], choices[-1]


# The same tables by the index of a channel, goal or step.
CHANNEL, GOAL, STEP = np.array(CHANNELS), np.array(list(GOALS)), np.array(STEPS)
FEED = np.array(["analog" if c in ANALOG else "email" if c == "email" else "web" for c in CHANNELS])
SOURCE = np.array([_usual_and_other(SOURCES.get(c, [("", "")])) for c in CHANNELS])
INTERACTION = np.array([_usual_and_other(INTERACTIONS[c]) for c in CHANNELS])
CAMPAIGN = np.array(
    [[CAMPAIGNS[g] if c in CAMPAIGN_CHANNELS else None for g in GOALS] for c in CHANNELS]
)
COST = np.array([PRICE.get(c, 0.0) for c in CHANNELS])
REVENUE = np.array([(goal.revenue, goal.spread) for goal in GOALS.values()])

HOUR = 3600
Ints = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Day:
    """One day of all customers; arrays have one row per customer.

    touched : (n, 12) whether a channel of `CHANNELS` met the customer.
    state, goal : (n,) where the day began; goal indexes `GOALS`.
    moved : (n,) whether the customer moved to the next state; out of Do it is a conversion.
    """

    touched: NDArray[np.bool_]
    state: NDArray[np.int64]
    goal: NDArray[np.int64]
    moved: NDArray[np.bool_]


def contact_rates(confounding: float = CONFOUNDING) -> NDArray[np.float64]:
    """Contacts a day by state and channel, (4, 12), for a `confounding` in [0, 1]."""
    pull = np.array([PUSHED if c in PUSHED_CHANNELS else SOUGHT for c in CHANNELS]).T
    base = np.array([CONTACT_RATE[c] for c in CHANNELS])
    return np.asarray(base * (1 - confounding + confounding * pull), dtype=np.float64)


def lives(
    customers: int, days: int, seed: int, acting: Collection[str] = CHANNELS
) -> Iterator[Day]:
    """Walk all customers through their days.

    Channels outside `acting` meet nobody. Every organic step and every contact has its own
    random number whatever else happens, so worlds with fewer acting channels are comparable.
    """
    rng = Generator(PCG64(seed))
    rates = contact_rates() * np.isin(CHANNELS, list(acting))
    effect = np.array(list(EFFECT.values())).T
    organic = np.array(ORGANIC)
    propensity = np.array([goal.propensity for goal in GOALS.values()])
    interest = np.cumsum([goal.interest for goal in GOALS.values()])[:-1]

    reached = rng.random(customers) >= UNREACHED
    spread = rng.normal(-(ACTIVITY_SPREAD**2) / 2, ACTIVITY_SPREAD, customers)
    activity = (reached * np.exp(spread))[:, np.newaxis]
    goal = np.searchsorted(interest, rng.random(customers), side="right")
    state = np.full(customers, SEE)
    for _ in range(days):
        touched = rng.random((customers, len(CHANNELS))) < rates[state] * activity
        pushed = touched & (rng.random((customers, len(CHANNELS))) < effect[state])
        moved = pushed.any(axis=1) | (rng.random(customers) < organic[state] * propensity[goal])
        next_goal = np.searchsorted(interest, rng.random(customers), side="right")
        yield Day(touched, state, goal, moved)
        goal = np.where(moved & (state == CARE), next_goal, goal)
        state = np.where(moved, NEXT_STATE[state], state)


def touches(day: Day, midnight: int, moment: Ints, rng: Generator) -> Arrays:
    """All contacts of the day in the order of time, one array per column."""
    customer, channel = np.nonzero(day.touched)
    size = len(customer)
    opening = midnight + 5 * HOUR
    second = opening + (rng.random(size) * (moment[customer] - opening)).astype(np.int64)
    same = np.flatnonzero(rng.random(size) < SAME_SECOND)
    same = same[(same > 0) & (customer[same] == customer[same - 1])]
    second[same] = second[same - 1]
    order = np.lexsort((channel, customer, second))
    customer, channel, second = customer[order], channel[order], second[order]

    any_goal = rng.integers(len(GOAL), size=size)
    goal = np.where(rng.random(size) < OWN_CAMPAIGN, day.goal[customer], any_goal)
    source, interaction = (rng.random((2, size)) < OTHER_CHOICE).astype(np.int64)
    return {
        "customer": customer,
        "second": second,
        "feed": FEED[channel],
        "channel": CHANNEL[channel],
        "source": SOURCE[channel, source, 0],
        "medium": SOURCE[channel, source, 1],
        "campaign": CAMPAIGN[channel, goal],
        "interaction": INTERACTION[channel, interaction],
        "mode": np.where(FEED[channel] == "analog", "analog", "digital"),
        "cost": np.round(COST[channel] * rng.uniform(0.8, 1.2, size), 2),
    }


def steps(day: Day, moment: Ints, rng: Generator) -> tuple[Arrays, Arrays]:
    """The steps of all who moved today in the order of time, and who signed a contract."""
    customer = np.flatnonzero(day.moved)
    state, goal = day.state[customer], day.goal[customer]
    # A move leaves its steps and the contract one after the other, within two hours or so.
    pauses = rng.integers(60, 1500, (len(customer), len(STEP) + 1))
    second = moment[customer, np.newaxis] + np.cumsum(pauses, axis=1)
    mover, step = np.nonzero(rng.random((len(customer), len(STEP))) < np.array(STEP_CHANCE)[state])
    order = np.argsort(second[mover, step], kind="stable")
    mover, step = mover[order], step[order]
    signs = state == DO
    return (
        {
            "customer": customer[mover],
            "second": second[mover, step],
            "step": STEP[step],
            "goal": GOAL[goal[mover]],
        },
        {"customer": customer[signs], "second": second[signs, -1], "goal": goal[signs]},
    )
