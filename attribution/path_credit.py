"""Credit from aggregated paths: the models that a path file allows, and their options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from attribution import fits
from attribution.coalitions import coalition_counts, join_coalitions
from attribution.credit import Credit, Option, Totals, credit_of
from attribution.errors import ModelError, UsageError
from attribution.fits import Fit
from attribution.intervals import attributed_share, split
from attribution.models import heuristics
from attribution.models.shapley_games import GAMES
from attribution.paths import Floats, Paths
from attribution.statistics import ChannelCredit
from attribution.transitions import join_transitions, transition_counts

GROUPS = 100
NEEDS_TIMES = {
    "time_decay": "position_based",
    "additive_hazard": "shao_li",
    "ladder": "markov",
    "ladder_calibrated": "markov",
}

PATH_GAMES = (*GAMES, "ordered")  # the order of touches is known of paths alone

Parts = Sequence[Paths]


def _heuristic(model: Callable[..., ChannelCredit]) -> Callable[..., Fit]:
    """A rule of thumb adds up over customers: its interval needs no second fit."""

    def fit(paths: Paths, parts: Parts, **options: Option) -> Fit:
        credit = model(paths, **options)
        if not parts:
            return Fit(credit)
        return fits.fit_additive(
            credit, np.array([model(part, **options).conversions for part in parts])
        )

    fit.__signature__ = inspect.signature(model)  # type: ignore[attr-defined]
    return fit


def _markov(paths: Paths, parts: Parts, *, order: str = "1", nulls: str = "use") -> Fit:
    if nulls not in ("use", "ignore"):
        raise UsageError(f"markov: nulls={nulls!r}: choose use or ignore")
    if order not in ("1", "2", "3", "4", "auto"):
        raise UsageError(f"markov: order={order!r}: choose 1, 2, 3, 4 or auto")
    if nulls == "ignore":  # before they are counted: they weigh on every transition of their path
        paths, parts = _converting(paths), [_converting(part) for part in parts]
    remembered = 4 if order == "auto" else int(order)
    transitions = join_transitions([transition_counts(p, remembered) for p in parts or [paths]])
    return fits.fit_markov(transitions, len(parts), order if order == "auto" else int(order))


def _converting(paths: Paths) -> Paths:
    return replace(paths, nulls=np.zeros(len(paths.steps)))


def _shapley(
    paths: Paths,
    parts: Parts,
    *,
    game: str = "conversions",
    permutations: int = 1000,
    seed: int = 0,
) -> Fit:
    if game not in PATH_GAMES:
        raise UsageError(f"shapley has no game {game!r}: choose one of {', '.join(PATH_GAMES)}")
    coalitions = join_coalitions([coalition_counts(part) for part in parts or [paths]])
    if game == "ordered":
        return fits.fit_ordered_shapley(paths, coalitions, len(parts))
    return fits.fit_shapley(coalitions, len(parts), game, permutations, seed)


def _shao_li(paths: Paths, parts: Parts) -> Fit:
    coalitions = join_coalitions([coalition_counts(part) for part in parts or [paths]])
    return fits.fit_shao_li(coalitions, len(parts))


def _logistic(paths: Paths, parts: Parts, *, bags: int = 100, seed: int = 0) -> Fit:
    return fits.fit_logistic(coalition_counts(paths), bags, seed)


def _path_counterfactual(paths: Paths, parts: Parts) -> Fit:
    return fits.fit_path_counterfactual(paths, parts)


# Keyword-only parameters are the options of a model, their defaults the only ones.
MODELS: Mapping[str, Callable[..., Fit]] = {
    "first_touch": _heuristic(heuristics.first_touch),
    "last_touch": _heuristic(heuristics.last_touch),
    "last_non_direct": _heuristic(heuristics.last_non_direct),
    "linear": _heuristic(heuristics.linear),
    "position_based": _heuristic(heuristics.position_based),
    "markov": _markov,
    "shapley": _shapley,
    "path_counterfactual": _path_counterfactual,
    "shao_li": _shao_li,
    "logistic": _logistic,
}


def credit_from_paths(
    paths: Paths, model: str, options: Mapping[str, str] | None = None, groups: int = GROUPS
) -> Credit:
    """Credit of aggregated paths by one model.

    Every counted journey is taken for a customer of its own and drawn, by a fixed seed, into one of
    the replicate groups, from which the intervals come.

    Parameters
    ----------
    paths : Paths
    model : str
        A key of MODELS.
    options : mapping of str to str
        Options of the model as text, as the command line has them.
    groups : int
        Replicate groups; 0 for credit without intervals, at a fraction of the time.

    Raises
    ------
    UsageError
        The model or an option does not exist, an option has no usable value, or the model needs
        the times of touches.
    NoConversions, ModelError
        The model cannot answer for these paths.
    """
    if model in NEEDS_TIMES:
        raise UsageError(
            f"{model} needs the time of each touch and a path file has none: "
            f"run the nightly line on touchpoints, or choose {NEEDS_TIMES[model]}"
        )
    if model not in MODELS:
        raise UsageError(f"no model {model!r}: choose one of {', '.join(MODELS)}")
    chosen = _options(model, options or {})
    totals = Totals(
        paths.total_conversions,
        paths.total_revenue,
        paths.unattributed_conversions,
        paths.unattributed_revenue,
    )
    try:
        parts = split(paths, groups, seed=0) if groups else []
        fit = MODELS[model](paths, parts, **chosen) if _touched(paths) else _nothing(paths)
        credit = credit_of(model, chosen, paths.channels, fit, totals, _attributed_share(parts))
    except ModelError as error:
        raise type(error)(f"{paths.source}: {error}") from error
    if not groups:
        return credit
    drawn: dict[str, Option] = {
        "replicate_groups": groups,
        "customers": "each counted journey, drawn into groups",
    }
    return replace(credit, diagnostics={**credit.diagnostics, **drawn})


def _touched(paths: Paths) -> bool:
    """Whether there is anything to credit, or no conversion at all, which a model says best."""
    return bool(paths.conversions.any()) or paths.total_conversions == 0


def _nothing(paths: Paths) -> Fit:
    """Where every conversion came without a touch, no channel has credit in any model."""
    zeros = np.zeros(len(paths.channels))
    return Fit(ChannelCredit(zeros, zeros))


def _attributed_share(parts: Parts) -> Floats:
    attributed = np.array([part.conversions.sum() for part in parts])
    return attributed_share(attributed, np.array([part.total_conversions for part in parts]))


def _options(model: str, given: Mapping[str, str]) -> dict[str, Option]:
    """All options of the model: its defaults, and over them the given ones, typed alike."""
    chosen: dict[str, Option] = {
        name: parameter.default
        for name, parameter in inspect.signature(MODELS[model]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name, text in given.items():
        if name not in chosen:
            known = f"it has {', '.join(chosen)}" if chosen else "it has none"
            raise UsageError(f"{model} has no option {name!r}: {known}")
        if isinstance(chosen[name], str):
            chosen[name] = text
        else:
            chosen[name] = _number(model, name, text, whole=isinstance(chosen[name], int))
    return chosen


def _number(model: str, name: str, text: str, *, whole: bool) -> float | int:
    if whole:
        if not text.isdecimal() or len(text) > 9:
            raise UsageError(f"{model}: {name}={text!r}: give a whole number, such as {name}=100")
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{model}: {name}={text!r}: give a number, such as {name}=0.4")
    return number
