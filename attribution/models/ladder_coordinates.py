"""The ladder's parameters as one row without bounds, and the slope of the likelihood along it.

Hazards, shares and the kernel by their square roots, chances by the arc sine of theirs: the scales
on which counts vary alike wherever they are (Anscombe 1948, doi 10.1093/biomet/35.3-4.246), so
that one step length suits all of them. The slope is that of the expected log-likelihood (Fisher's
identity): it is linear in the sums, of all customers or of each.
"""

from __future__ import annotations

import numpy as np

from attribution.models.ladder_chances import Ladder
from attribution.models.ladder_sums import Sums
from attribution.paths import Floats
from attribution.statistics import Booleans

LEAST = 1e-9  # hazards and chances are kept this far from their bounds, so that they may come back


def coordinates(ladder: Ladder, is_geometric: bool) -> Floats:
    """The row, (P,): start, entry, contact, organic, effect, kernel, recorded, gone, factors
    of weekdays that differ, activity of all classes but the first, their shares.
    """
    upward, below = places(len(ladder.start))
    kernel = ladder.kernel
    return np.concatenate(
        [
            np.sqrt(ladder.start[below]),
            _angle(ladder.entry).ravel(),
            _angle(ladder.contact).ravel(),
            _root(ladder.organic[upward]),
            _root(ladder.effect[upward]).ravel(),
            [_angle(kernel[1] / kernel[0])] if is_geometric else np.sqrt(kernel),
            _angle(ladder.recorded[1:-1]),
            [_angle(ladder.gone)],
            np.sqrt(ladder.week).ravel() if ladder.week.shape[1] > 1 else [],
            np.sqrt(ladder.activity[1:]),
            np.sqrt(ladder.activity_share),
        ]
    )


def ladder_at(row: Floats, like: Ladder, is_geometric: bool) -> Ladder:
    """The inverse of `coordinates`, of a ladder with as many stages, channels, lags, classes and
    weekdays.
    """
    stages, channels = len(like.organic), like.contact.shape[1]
    upward, below = places(stages)
    parts = _parts(row, like, is_geometric)
    start, organic, effect = (np.zeros_like(a) for a in (like.start, like.organic, like.effect))
    start[below] = parts[0] ** 2 + LEAST**2
    organic[upward] = LEAST + parts[3] ** 2
    effect[upward] = LEAST + parts[4].reshape(-1, channels) ** 2
    recorded = like.recorded.copy()
    recorded[1:-1] = _chance(parts[6])
    kernel = parts[5] ** 2 + LEAST
    activity_share = parts[10] ** 2 + LEAST
    week = parts[8].reshape(2, -1) ** 2 + LEAST if parts[8].size else like.week
    if is_geometric:
        kernel = _chance(parts[5][0]) ** np.arange(like.kernel.size)
    return Ladder(
        start=start / start.sum(),
        entry=_chance(parts[1]).reshape(like.entry.shape),
        contact=_chance(parts[2]).reshape(like.contact.shape),
        organic=organic,
        effect=effect,
        kernel=kernel / kernel.sum(),
        recorded=recorded,
        gone=float(_chance(parts[7][0])),
        activity=np.append(1.0, parts[9] ** 2 + LEAST),
        activity_share=activity_share / activity_share.sum(),
        week=week / week.mean(axis=1, keepdims=True),
    )


def slope(row: Floats, ladder: Ladder, sums: Sums, is_geometric: bool) -> Floats:
    """Derivatives of the log-likelihood at a row and its ladder: (P,), or (n, P) where every array
    of the sums has n in front.
    """
    bent = np.where(_angles(row, ladder, is_geometric), 1.0, 2 * row)
    return plain_slope(row, ladder, sums, is_geometric) * bent


def plain_slope(row: Floats, ladder: Ladder, sums: Sums, is_geometric: bool) -> Floats:
    """The same by hazards, shares and a free kernel themselves instead of by their roots: where
    they are 0, their roots have no slope.
    """
    upward, below = places(len(ladder.start))
    parts = _parts(row, ladder, is_geometric)
    flat = (*sums.passed.shape[:-1], -1)
    entered = at_stages(sums.start.sum(axis=-1)[..., None], ladder)
    hit = at_stages(sums.entry, ladder)
    unrecorded = sums.passed - sums.recorded
    root = parts[0] ** 2 + LEAST**2
    unmet = sums.effect_moves - sums.effect_days
    by_kernel = np.einsum("sjc,...sjcl->...l", ladder.effect, unmet)
    by_contact, by_activity, by_contact_week = _contact_slopes(ladder, sums)
    unmoved = sums.organic_moves - sums.organic_days
    by_weeks = (by_contact_week, (ladder.organic * unmoved).sum(axis=(-2, -1)))
    share = parts[10] ** 2 + LEAST
    return np.concatenate(
        [
            sums.start[..., below] / root - entered.sum(axis=-2) / root.sum(),
            _chance_slope(hit.reshape(flat), (entered - hit).reshape(flat), parts[1]),
            at_stages(by_contact, ladder).reshape(flat) * (1 - 2 * LEAST) * np.sin(2 * parts[2]),
            np.einsum("w,...wsj->...sj", ladder.week[1], unmoved)[..., upward],
            (unmet @ ladder.kernel)[..., upward, :].reshape(flat),
            _kernel_slope(by_kernel, ladder.kernel, parts[5], is_geometric),
            _chance_slope(sums.recorded[..., 1:-1], unrecorded[..., 1:-1], parts[6]),
            _chance_slope(sums.left[..., None], sums.stayed[..., None], parts[7]),
            *map(_mean_slope, by_weeks, ladder.week, np.split(parts[8], 2)),
            by_activity[..., 1:],
            sums.classes / share - sums.classes.sum(axis=-1)[..., None] / share.sum(),
        ],
        axis=-1,
    )


def information(ladder: Ladder, sums: Sums, is_geometric: bool) -> Floats:
    """What would be known of each coordinate if nothing were hidden, (P,): four times the customers
    or days that it is estimated from.
    """
    stages, channels = len(ladder.organic), ladder.contact.shape[1]
    upward, below = places(stages)
    entered = at_stages(sums.start.sum(axis=1)[:, None], ladder)
    met = np.einsum("w,a,waj->j", ladder.week[0], ladder.activity, sums.days)[:, None]
    moves = np.einsum("sjc,l,sjcl->l", ladder.effect, ladder.kernel, sums.effect_moves)
    contacts = sums.contact.sum(axis=(1, 2, 3)) / ladder.week[0]
    organic = (ladder.organic * sums.organic_days).sum(axis=(1, 2))
    known: list[Floats | list[Floats]] = [
        np.full(int(below.sum()), sums.start.sum()),
        np.repeat(entered, channels),
        np.repeat(at_stages(met, ladder), channels),
        np.tensordot(ladder.week[1], sums.organic_days, 1)[upward],
        (sums.effect_days @ ladder.kernel)[upward].ravel(),
        np.full(1 if is_geometric else ladder.kernel.size, moves.sum()),
        sums.passed[1:-1],
        [sums.left + sums.stayed],
        *([contacts, organic] if ladder.week.shape[1] > 1 else []),
        (sums.contact.sum(axis=(0, 2, 3)) / ladder.activity)[1:],
        np.full(ladder.activity.size, sums.start.sum()),
    ]
    return 4 * np.maximum(np.concatenate(known), 1.0)


def moving(ladder: Ladder, is_geometric: bool, near: float = 1e-6) -> Booleans:
    """Coordinates that are not held at a bound, (P,). An effect at 0 is not, unless nobody moves
    there without a touch either: what customers tell of it may point below 0.
    """
    row = coordinates(ladder, is_geometric)
    is_chance = _of_parts((1, 2, 6, 7), row, ladder, is_geometric)
    is_effect = _of_parts((4,), row, ladder, is_geometric)
    free = (row > near**0.5) & ~(is_chance & (row > np.pi / 2 - (10 * near) ** 0.5))
    upward, channels = places(len(ladder.start))[0], ladder.contact.shape[1]
    free[is_effect] |= np.repeat(ladder.organic[upward] > near, channels)
    return np.asarray(free)


def held_information(ladder: Ladder, sums: Sums, is_geometric: bool, near: float = 1e-6) -> Floats:
    """What scores miss of effects that are held at 0, (P,), on their own scale.

    Where a channel's contacts were followed by no move, each of E days at risk has the score -1,
    and their squares do not show how the likelihood bends: by E / h, where h is the hazard without
    the touch. Of that a tenth is taken, for stages are hidden; and not more than leaves 3 / E
    within the interval, the most that E days without a move can exclude.
    """
    row = coordinates(ladder, is_geometric)
    upward, _ = places(len(ladder.start))
    at_risk = (sums.effect_days @ ladder.kernel)[upward]
    bent = 0.1 * at_risk / np.maximum(ladder.organic[upward], LEAST)[:, None]
    most = np.minimum(bent, (0.65 * at_risk) ** 2)
    known = np.zeros(row.size)
    is_effect = _of_parts((4,), row, ladder, is_geometric)
    known[is_effect] = np.where(ladder.effect[upward] < near, most, 0.0).ravel()
    return known


def stepped(row: Floats, step: Floats, like: Ladder, is_geometric: bool) -> Ladder:
    """The ladder after a step along `plain_slope` that leads to the top if the likelihood bends
    everywhere as it does here.

    Cut at 0, but for effects: all channels together may go below by as much as there is of the
    organic hazard. A ladder that was fitted has none below 0, and how far it may be from the truth
    needs them.
    """
    is_angle = _angles(row, like, is_geometric)
    plain = np.where(is_angle, row, row**2) + step
    kept = np.maximum(plain, 0.0)
    there = ladder_at(np.where(is_angle, kept, np.sqrt(kept)), like, is_geometric)
    upward, channels = places(len(like.start))[0], like.contact.shape[1]
    found = LEAST + _parts(plain, like, is_geometric)[4].reshape(-1, channels)
    below = np.minimum(found, 0.0)
    least = there.organic[upward] * there.week[1].min()
    bound = np.minimum(least / np.maximum(-below.sum(axis=1), 1e-300), 1.0)
    effect = there.effect.copy()
    effect[upward] = np.maximum(found, 0.0) + below * bound[:, None]
    return there._replace(effect=effect)


def at_stages(sums: Floats, ladder: Ladder) -> Floats:
    """Sums by stage, (..., J, K), added up over stages where the ladder has customers met alike."""
    return sums if len(ladder.contact) > 1 else sums.sum(axis=-2, keepdims=True)


def _angles(row: Floats, like: Ladder, is_geometric: bool) -> Booleans:
    """Coordinates that are angles and not roots, (P,)."""
    return _of_parts((1, 2, 5, 6, 7) if is_geometric else (1, 2, 6, 7), row, like, is_geometric)


def _of_parts(numbers: tuple[int, ...], row: Floats, like: Ladder, is_geometric: bool) -> Booleans:
    """Coordinates that belong to these parts of a row, (P,)."""
    parts = enumerate(_parts(row, like, is_geometric))
    return np.concatenate([np.full(part.size, number in numbers) for number, part in parts])


def places(stages: int) -> tuple[Booleans, Booleans]:
    """Moves there are, (J, J + 1), and rungs that a stage may have behind it, (J, J)."""
    upward = np.triu(np.ones((stages, stages + 1), dtype=np.bool_), 1)
    return upward, np.tril(np.ones((stages, stages), dtype=np.bool_))


def _parts(row: Floats, like: Ladder, is_geometric: bool) -> list[Floats]:
    stages, channels = len(like.organic), like.contact.shape[1]
    moves = stages * (stages + 1) // 2
    sizes = [stages * (stages + 1) // 2, like.entry.size, like.contact.size, moves]
    sizes += [moves * channels, 1 if is_geometric else like.kernel.size, stages - 1, 1]
    sizes += [like.week.size if like.week.shape[1] > 1 else 0, like.activity.size - 1]
    return np.split(row, np.cumsum(sizes))


def _root(hazard: Floats) -> Floats:
    return np.sqrt(np.maximum(hazard - LEAST, 0.0))


def _angle(chance: Floats | float) -> Floats:
    inner = (np.asarray(chance) - LEAST) / (1 - 2 * LEAST)
    return np.asarray(np.arcsin(np.sqrt(np.clip(inner, 0.0, 1.0))))


def _chance(angle: Floats) -> Floats:
    return np.asarray(LEAST + (1 - 2 * LEAST) * np.sin(angle) ** 2)


def _chance_slope(hit: Floats, missed: Floats, angle: Floats) -> Floats:
    chance = _chance(angle)
    return np.asarray((hit / chance - missed / (1 - chance)) * (1 - 2 * LEAST) * np.sin(2 * angle))


def _contact_slopes(ladder: Ladder, sums: Sums) -> tuple[Floats, Floats, Floats]:
    """By the contact chances, (..., J, K), by the activity of the classes, (..., A), and by the
    contact factors of the weekdays, (..., W): a day without a touch has the chance
    (1 - contact)^(activity * factor).
    """
    log_unmet = np.log1p(-ladder.contact)
    power = ladder.week[0][:, None] * ladder.activity
    met = -np.expm1(power[:, :, None, None] * log_unmet)
    # what a touch tells beyond a day without one
    excess: Floats = sums.contact / met - sums.days[..., None]
    by_contact = np.einsum("wa,...wajk->...jk", power, excess) / (1 - ladder.contact)
    by_power: Floats = -(excess * log_unmet).sum(axis=(-2, -1))
    return by_contact, ladder.week[0] @ by_power, by_power @ ladder.activity


def _mean_slope(by_factor: Floats, factor: Floats, part: Floats) -> Floats:
    """Of factors with the mean 1, (..., W), to what they are before they have it; none
    where weekdays are alike.
    """
    whole = (part**2 + LEAST).mean() if part.size else 1.0
    found: Floats = (by_factor - (by_factor * factor).mean(axis=-1)[..., None]) / whole
    return found if part.size else found[..., :0]


def _kernel_slope(by_kernel: Floats, kernel: Floats, part: Floats, is_geometric: bool) -> Floats:
    """Of what the shares of the kernel bring, (..., L), to the kernel before it sums to 1, or to
    the angle of its ratio.
    """
    if not is_geometric:
        whole = (part**2 + LEAST).sum()
        return np.asarray((by_kernel - (by_kernel @ kernel)[..., None]) / whole)
    ratio, lag = _chance(part), np.arange(kernel.size)
    by_ratio: Floats = (by_kernel @ (kernel * (lag - lag @ kernel)))[..., None] / ratio
    return np.asarray(by_ratio * (1 - 2 * LEAST) * np.sin(2 * part))
