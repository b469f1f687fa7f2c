"""Bagged logistic regression of conversion on the channels that a journey touched."""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from attribution.coalitions import CoalitionCounts
from attribution.errors import ConvergenceError, ModelRefused, NoConversions, UsageError
from attribution.paths import Floats, Integers, add_up
from attribution.statistics import Booleans, ChannelCredit

# The penalty is a normal prior of mean 0 and this variance on each coefficient. It keeps channels
# finite that never or always convert, and fades as journeys grow in number.
PRIOR_VARIANCE = 1.0
TOLERANCE = 1e-9  # of the mean loss's gradient, which is small where few convert
MAX_ITERATIONS = 1_000
MOST = 1e15  # journeys: whole numbers are exact up to here
RESOLUTION = 1e-6  # coefficients nearer to 0 than the solver can tell have no sign


def logistic(
    coalitions: CoalitionCounts,
    *,
    bags: int = 100,
    seed: int = 0,
    journeys_share: float = 0.5,
    channels_share: float = 0.5,
) -> ChannelCredit:
    """Credit in proportion to the positive mean coefficients of bagged logistic regressions.

    Each bag draws some of the journeys (binomially out of each count) and some of the channels, and
    regresses conversion on which of those channels a journey touched. A channel's coefficient is
    the mean over the bags in which it took part. Negative ones get no credit and are reported; they
    are common, because a conversion ends exposure, so that null journeys touch more channels.

    Parameters
    ----------
    coalitions : CoalitionCounts
        Over all replicate groups, with nulls. Counts are weights: no journey is written out.
    bags : int
        Regressions, >= 1.
    seed : int
        Of all draws, >= 0; the same seed gives the same bits. Draws go by the place of a channel:
        channels renamed into another order are drawn otherwise.
    journeys_share, channels_share : float
        Fractions of journeys and of channels in a bag, in (0, 1]; at least one channel.

    Returns
    -------
    ChannelCredit
        (K,) conversions >= 0, and revenue in the same proportions. Diagnostics:
        `coefficient:<channel>`, mean log odds ratio of each channel that some journey touched;
        `negative_channels`, how many of them are below 0; `coefficient_variability`, standard
        deviation over bags, averaged over channels; `bags`, those whose draw had both outcomes,
        which alone are fitted; `auc` in [0, 1] and `log_loss` in nats per journey on what each bag
        left out, averaged with those journeys as weights. One that is not defined is absent.

    Raises
    ------
    NoConversions
        Where no journey converts.
    ModelError
        Where every journey converts, or counts are too large to draw from; and where no channel has
        a positive coefficient: then no share is defined, and NULL is the thing to publish.
    ConvergenceError
        Where the solver stops before its tolerance.
    UsageError
        Where an option is out of range, or the bags are too few for every channel to take part.

    References
    ----------
    Shao, Li 2011, doi 10.1145/2020408.2020453, section 3.1.
    """
    if not (bags >= 1 and seed >= 0 and 0 < journeys_share <= 1 and 0 < channels_share <= 1):
        raise UsageError(
            f"logistic: bags={bags}, seed={seed}, journeys_share={journeys_share:g}, "
            f"channels_share={channels_share:g}: give at least 1 bag, a seed of at least 0, and "
            "shares above 0 and at most 1"
        )
    touched, members, counts = _outcomes(coalitions)
    random = np.random.default_rng(seed)
    size = max(1, round(channels_share * touched.size))
    coefficients = np.full((bags, touched.size), np.nan)
    scores = np.full((bags, 3), np.nan)
    for bag in range(bags):
        drawn = _draw(counts, journeys_share, random)
        chosen = np.sort(random.choice(touched.size, size, replace=False))
        if drawn.any(axis=1).all():
            part, both = _distinct(members[:, chosen], np.concatenate([drawn, counts - drawn]))
            coefficients[bag, chosen], intercept = fit(part, both[:2])
            scores[bag] = score(part @ coefficients[bag, chosen] + intercept, both[2:])
    names = [coalitions.channels[channel] for channel in touched]
    mean, diagnostics = _over_bags(names, coefficients)
    positive = np.zeros(len(coalitions.channels))
    positive[touched] = np.where(mean > RESOLUTION, mean, 0.0)
    if not positive.any():
        raise ModelRefused(
            "logistic: no channel has a positive coefficient, so that no shares exist: "
            "journeys without a conversion touch more channels than those with one"
        )
    share = positive / positive.sum()
    return ChannelCredit(
        conversions=share * coalitions.conversions.sum(),
        revenue=share * coalitions.revenue.sum(),
        diagnostics=diagnostics | _held_out(scores),
    )


def fit(members: Booleans, counts: Floats) -> tuple[Floats, float]:
    """Penalised maximum likelihood on counted rows.

    Parameters
    ----------
    members : bool array, (n, K)
    counts : float array, (2, n)
        Journeys of each row that did not convert, and that did; there are some of both.

    Returns
    -------
    coefficients : float array, (K,)
        Log odds ratios; 0 for a column that is the same in all journeys.
    intercept : float
        Log odds, without penalty.

    Raises
    ------
    ConvergenceError
        Where the solver stops before its tolerance.
    """
    # Centring leaves the coefficients as they are, and a column that is the same everywhere without
    # a gradient: its coefficient stays 0 instead of going halves with the intercept.
    centre = np.average(members, axis=0, weights=counts.sum(axis=0))
    outcome, row = np.nonzero(counts)
    model = LogisticRegression(
        C=PRIOR_VARIANCE, solver="lbfgs", tol=TOLERANCE, max_iter=MAX_ITERATIONS
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit((members - centre)[row], outcome, sample_weight=counts[outcome, row])
    except ConvergenceWarning as warning:
        raise ConvergenceError(
            f"logistic: the solver stops before its tolerance {TOLERANCE:g}, within "
            f"{MAX_ITERATIONS} iterations: look for channels that almost always come together"
        ) from warning
    coefficients: Floats = model.coef_[0]
    return coefficients, float(model.intercept_[0] - centre @ coefficients)


def score(log_odds: Floats, counts: Floats) -> tuple[float, float, float]:
    """Quality of predictions on counted rows.

    Parameters
    ----------
    log_odds : float array, (n,)
    counts : float array, (2, n)
        Journeys of each row that did not convert, and that did.

    Returns
    -------
    journeys, auc, log_loss : float
        Journeys scored; probability that a converting one is ranked above another, ties half;
        mean surprise in nats. NaN where the journeys do not define it.
    """
    journeys = float(counts.sum())
    if not journeys:
        return 0.0, np.nan, np.nan
    surprise = np.logaddexp(0.0, [log_odds, -log_odds])
    log_loss = float((counts * surprise).sum()) / journeys
    if not counts.any(axis=1).all():
        return journeys, np.nan, log_loss
    outcome, row = np.nonzero(counts)
    auc = float(roc_auc_score(outcome, log_odds[row], sample_weight=counts[outcome, row]))
    return journeys, auc, log_loss


def _outcomes(coalitions: CoalitionCounts) -> tuple[Integers, Booleans, Floats]:
    """Channels that journeys touched, (k,), distinct sets of them, (n, k), and counts, (2, n).

    Sorted, so that neither the order of rows nor replicate groups show in the draws.
    """
    counts = np.stack([coalitions.nulls, coalitions.conversions])
    nulls, conversions = counts.sum(axis=1).tolist()
    if not conversions > 0:
        raise NoConversions("no journey with a touch converts: logistic has nothing to credit")
    if not nulls > 0:
        raise ModelRefused(
            "logistic: every journey converts: it needs null journeys to compare with"
        )
    if not nulls + conversions <= MOST:
        raise ModelRefused(f"logistic: more than {MOST:g} journeys: too many to draw from")
    counted = counts.any(axis=0)
    touched = np.flatnonzero(coalitions.members[counted].any(axis=0))
    members = coalitions.members[np.ix_(counted, touched)]
    return touched, *_distinct(members, counts[:, counted])


def _distinct(members: Booleans, counts: Floats) -> tuple[Booleans, Floats]:
    """Distinct rows of members, (m, K), sorted, and the sums of their counts, (c, m)."""
    packed, place = np.unique(np.packbits(members, axis=1), axis=0, return_inverse=True)
    rows = np.unpackbits(packed, axis=1, count=members.shape[1]).astype(np.bool_)
    return rows, np.stack([add_up(place, each, len(rows)) for each in counts])


def _draw(counts: Floats, share: float, random: np.random.Generator) -> Floats:
    """A binomial part of each count; what a count has beyond whole journeys is drawn as one."""
    whole = np.floor(counts)
    drawn = random.binomial(whole.astype(np.int64), share)
    return drawn + (counts - whole) * (random.random(counts.shape) < share)


def _over_bags(names: Sequence[str], coefficients: Floats) -> tuple[Floats, dict[str, float | str]]:
    """Mean coefficient of each channel over its bags, (k,), and what to say of it."""
    took_part = np.isfinite(coefficients)
    times = took_part.sum(axis=0)
    if not took_part.any():
        raise ModelRefused("logistic: no bag draws both outcomes: there are too few conversions")
    if not times.all():
        raise UsageError(
            f"logistic: {names[int(np.argmin(times))]!r} takes part in no bag: raise bags"
        )
    mean: Floats = np.nansum(coefficients, axis=0) / times
    diagnostics: dict[str, float | str] = {
        "bags": float(took_part.any(axis=1).sum()),
        "negative_channels": float((mean < -RESOLUTION).sum()),
    }
    again = times > 1
    if again.any():
        squares = np.nansum((coefficients - mean) ** 2, axis=0)[again] / (times[again] - 1)
        diagnostics["coefficient_variability"] = float(np.sqrt(squares).mean())
    for name, value in zip(names, mean.tolist(), strict=True):
        diagnostics[f"coefficient:{name}"] = value
    return mean, diagnostics


def _held_out(scores: Floats) -> dict[str, float | str]:
    """Mean AUC and log loss over bags, by the journeys that each left out; scores (bags, 3)."""
    journeys = scores[:, 0]
    found: dict[str, float | str] = {}
    for column, name in ((1, "auc"), (2, "log_loss")):
        defined = np.isfinite(scores[:, column])
        if defined.any():
            found[name] = float(np.average(scores[defined, column], weights=journeys[defined]))
    return found
