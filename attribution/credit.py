"""Credit: the frozen result of every model, and the models that a path file can ask for."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attribution.coalitions import coalition_counts
from attribution.errors import ModelError, NoConversions, UsageError
from attribution.models import heuristics
from attribution.models.markov import markov
from attribution.models.shapley import shapley
from attribution.paths import Floats, Paths
from attribution.statistics import ChannelCredit
from attribution.transitions import transition_counts

UNATTRIBUTED = "(unattributed)"
Option = float | str


@dataclass(frozen=True, eq=False)
class Credit:
    """Credit of all conversions and all revenue, by channel.

    Attributes
    ----------
    model : str
    options : mapping of str to float or str
        Every option of the model, those left at their default included.
    channels : tuple of str, (K,)
        Sorted.
    conversions, revenue : float array, (K,)
        Credit in conversions and in money.
    total_conversions, total_revenue : float
        C and R, which credit and the unattributed rest must sum to within 1e-9 relative.
    unattributed_conversions, unattributed_revenue : float
        Of conversions without any touch.
    removal_effect : float array, (K,), or None
        Fractions in [0, 1], where the model has them.
    diagnostics : mapping of str to float or str

    Raises
    ------
    NoConversions
        Where C is 0, so that no share exists.
    ModelError
        Where a number is not finite, or credit does not sum to the totals.
    """

    model: str
    options: Mapping[str, Option]
    channels: tuple[str, ...]
    conversions: Floats
    revenue: Floats
    total_conversions: float
    total_revenue: float
    unattributed_conversions: float = 0.0
    unattributed_revenue: float = 0.0
    removal_effect: Floats | None = None
    diagnostics: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.total_conversions == 0:
            raise NoConversions(f"no path converts, so {self.model} has nothing to credit")
        for name in ("conversions", "revenue", "removal_effect"):
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape != (len(self.channels),) or not np.isfinite(values).all():
                raise ModelError(f"{self.model}: {name} is not one finite number per channel")
        self._check_sum("conversions", self.unattributed_conversions, self.total_conversions)
        self._check_sum("revenue", self.unattributed_revenue, self.total_revenue)
        if UNATTRIBUTED in self.channels and self._rest():
            raise ModelError(
                f"{self.model}: a channel is called {UNATTRIBUTED} and there are conversions "
                "without a touch: rename the channel"
            )

    def _check_sum(self, name: str, unattributed: float, total: float) -> None:
        parts = np.append(getattr(self, name), unattributed)
        # Revenue may hold refunds: what counts is the money moved, not the difference left.
        scale = max(abs(total), float(np.abs(parts).sum()))
        if not abs(float(parts.sum()) - total) <= 1e-9 * scale:
            raise ModelError(
                f"{self.model}: credited {name} sum to {parts.sum():.12g}, not to {total:.12g}"
            )

    def _rest(self) -> bool:
        return self.unattributed_conversions != 0 or self.unattributed_revenue != 0

    @property
    def share(self) -> Floats:
        """Fraction of all conversions, the unattributed included, (K,)."""
        return self.conversions / self.total_conversions

    def as_json(self) -> dict[str, Any]:
        """As plain values: model, options, one row per channel, diagnostics."""
        rows = [
            _row(channel, conversions, revenue, share)
            for channel, conversions, revenue, share in zip(
                self.channels,
                self.conversions.tolist(),
                self.revenue.tolist(),
                self.share.tolist(),
                strict=True,
            )
        ]
        if self.removal_effect is not None:
            for row, effect in zip(rows, self.removal_effect.tolist(), strict=True):
                row["removal_effect"] = effect
        if self._rest():
            conversions, revenue = self.unattributed_conversions, self.unattributed_revenue
            share = conversions / self.total_conversions
            rows.append(_row(UNATTRIBUTED, conversions, revenue, share))
        return {
            "model": self.model,
            "options": dict(self.options),
            "channels": rows,
            "diagnostics": dict(self.diagnostics),
        }


def _row(channel: str, conversions: float, revenue: float, share: float) -> dict[str, Any]:
    return {
        "channel": channel,
        "conversions": conversions,
        "revenue": revenue,
        "share": share,
        "share_low": None,
        "share_high": None,
    }


def _markov(paths: Paths, *, nulls: str = "use") -> ChannelCredit:
    if nulls not in ("use", "ignore"):
        raise UsageError(f"markov: nulls={nulls!r}: choose use or ignore")
    if nulls == "ignore":  # before they are counted: they weigh on every transition of their path
        paths = replace(paths, nulls=np.zeros(len(paths.steps)))
    return markov(transition_counts(paths))


def _shapley(paths: Paths) -> ChannelCredit:
    return shapley(coalition_counts(paths))


# Keyword-only parameters are the options of a model, their defaults the only ones.
MODELS: Mapping[str, Callable[..., ChannelCredit]] = {
    "first_touch": heuristics.first_touch,
    "last_touch": heuristics.last_touch,
    "last_non_direct": heuristics.last_non_direct,
    "linear": heuristics.linear,
    "position_based": heuristics.position_based,
    "markov": _markov,
    "shapley": _shapley,
}


def credit_from_paths(paths: Paths, model: str, options: Mapping[str, str] | None = None) -> Credit:
    """Credit of aggregated paths by one model.

    Parameters
    ----------
    paths : Paths
    model : str
        A key of MODELS.
    options : mapping of str to str
        Options of the model as text, as the command line has them.

    Raises
    ------
    UsageError
        The model or an option does not exist, an option has no usable value, or the model needs
        the times of touches.
    NoConversions, ModelError
        The model cannot answer for these paths.
    """
    if model == "time_decay":
        raise UsageError(
            "time_decay needs the time of each touch and a path file has none: "
            "run the nightly line on touchpoints, or choose position_based"
        )
    if model not in MODELS:
        raise UsageError(f"no model {model!r}: choose one of {', '.join(MODELS)}")
    chosen = _options(model, options or {})
    try:
        result = MODELS[model](paths, **chosen)
        return Credit(
            model=model,
            options=chosen,
            channels=paths.channels,
            conversions=result.conversions,
            revenue=result.revenue,
            total_conversions=paths.total_conversions,
            total_revenue=paths.total_revenue,
            unattributed_conversions=paths.unattributed_conversions,
            unattributed_revenue=paths.unattributed_revenue,
            removal_effect=result.removal_effect,
            diagnostics=result.diagnostics,
        )
    except ModelError as error:
        raise type(error)(f"{paths.source}: {error}") from error


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
        chosen[name] = _finite(model, name, text) if isinstance(chosen[name], float) else text
    return chosen


def _finite(model: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{model}: {name}={text!r}: give a number, such as {name}=0.4")
    return number
