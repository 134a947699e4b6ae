"""From the findings of all seasons to one line per attack: detection, profit, difference.

A difference is taken per seed, between the season with the attack and the one without any, and its
interval is Student's over the seeds. Nothing is fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.red_team.casts import (
    HONEST,
    IDLE_VOTERS,
    RING_SEATS,
    RING_VOTERS,
    VOTING,
    names_of_casts,
)
from quanta_pipelines.red_team.findings import UNREVEALED, Findings
from quanta_pipelines.red_team.season import STAKE_RAO, others
from quanta_pipelines.simulation.attackers import KINDS, RING, VALIDATOR_KINDS

RULES = ("QUANTA", "SPEC")
CONFIDENCE = 0.95
RING_MINERS = "miners of the ring"

Seasons = Mapping[tuple[int, str], Findings]  # by seed and cast


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over the seeds with its 95 % interval; ends are empty with a single seed."""

    mean: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Whether it lies above zero, below it, or neither."""
        if self.low is None or self.high is None:
            return "one seed"
        return "above" if self.low > 0 else "below" if self.high < 0 else "neither"


@dataclass(frozen=True, slots=True)
class Earned:
    """What an attack and its honest counterpart earn under one rule set."""

    profit: float  # tokens an epoch, of all its identities, mean over the seeds
    honest_profit: float  # of as many honest ones
    per_token: float  # gain over tokens at risk
    honest_per_token: float
    difference: Interval  # per token at risk
    differences: tuple[float, ...]  # the same by seed
    slashed: float  # tokens an epoch that confirmed offences burn beside that


@dataclass(frozen=True, slots=True)
class Line:
    """One attack."""

    attack: str
    does: str
    compared_with: str
    may_never_pay: bool
    detected: float  # share of the seeds in which the rules pointed at one of its identities
    epochs_to_detection: float | None  # median of those seeds, 1 is the first epoch of the attack
    alarms: tuple[str, ...]
    earned: Mapping[str, Earned]  # by rule set


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How often honest miners were pointed at."""

    alarm: str
    honest_season: float  # share of honest miners and epochs, without any attacker
    with_attackers: float  # the same in the seasons with attackers


@dataclass(frozen=True, slots=True)
class _Sides:
    """Who is compared with whom, in which seasons."""

    cast: str
    baseline: str
    attackers: frozenset[str]
    honest: frozenset[str]
    share: float = 1.0  # of the honest that is as many as the attackers play at a time


def lines(attacks: Sequence[str], seasons: Seasons, *, apart: bool = False) -> list[Line]:
    """One line per attack that was asked for, the miners of a ring of validators beside it."""
    casts = names_of_casts(attacks, apart=apart)
    seeds = sorted({seed for seed, _ in seasons})
    found = []
    for attack in attacks:
        cast = next(name for name in casts if attack in name.split(" + "))
        found.append(_line(attack, cast, seasons, seeds))
        if attack == RING:
            found.append(_line(RING_MINERS, cast, seasons, seeds))
    return found


def _line(attack: str, cast: str, seasons: Seasons, seeds: Sequence[int]) -> Line:
    sides = {seed: _sides(attack, cast, seasons[seed, cast]) for seed in seeds}
    first = [_first_alarm(seasons[seed, cast], sides[seed].attackers) for seed in seeds]
    caught = [at for at in first if at is not None]
    kind = KINDS.get(attack)
    return Line(
        attack=attack,
        does=kind.does if kind else VALIDATOR_KINDS.get(attack, "what the ring's votes bring them"),
        compared_with=_words(attack),
        may_never_pay=bool(kind and kind.may_never_pay),
        detected=len(caught) / len(seeds),
        epochs_to_detection=float(np.median(caught)) if caught else None,
        alarms=_kinds_of_alarm([seasons[seed, cast] for seed in seeds], list(sides.values())),
        earned={rules: _earned(rules, seasons, sides) for rules in RULES},
    )


def _words(attack: str) -> str:
    if attack in KINDS:
        return {
            "itself": "itself, playing its own portfolio honestly",
            "the copied": "the miner it copies",
            "the seats": "the mean of all seats, who have no skill either",
        }[KINDS[attack].compared]
    return "itself, voting honestly" if attack != RING_MINERS else "the same miners without a ring"


def _sides(attack: str, cast: str, findings: Findings) -> _Sides:
    if attack in KINDS:
        seats = findings.seats[attack]
        honest = {
            "itself": seats,
            "the copied": frozenset({findings.copied.get(attack, "")}),
            "the seats": frozenset(findings.all_seats),
        }[KINDS[attack].compared]
        players = frozenset(findings.players[attack])
        return _Sides(cast, HONEST, players, honest, len(seats) / len(honest))
    if attack == RING_MINERS:
        same = frozenset(findings.all_seats[at] for at in RING_SEATS)
    else:
        places = RING_VOTERS if attack == RING else (IDLE_VOTERS[attack],)
        same = frozenset(others()[at] for at in places)
    return _Sides(cast, VOTING, same, same)


def _earned(rules: str, seasons: Seasons, sides: Mapping[int, _Sides]) -> Earned:
    rows = []
    for seed, side in sides.items():
        theirs = _of(seasons[seed, side.cast], rules, side.attackers)
        honest = _of(seasons[seed, side.baseline], rules, side.honest)
        rows.append((*theirs, honest[0] * side.share, honest[1]))
    profit, per_token, slashed, honest_profit, honest_per_token = (
        np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)
    )
    return Earned(
        profit=float(profit.mean()),
        honest_profit=float(honest_profit.mean()),
        per_token=float(per_token.mean()),
        honest_per_token=float(honest_per_token.mean()),
        difference=interval(per_token - honest_per_token),
        differences=tuple(float(one) for one in per_token - honest_per_token),
        slashed=float(slashed.mean()),
    )


def _of(findings: Findings, rules: str, hotkeys: frozenset[str]) -> tuple[float, float, float]:
    """Tokens gained an epoch, gained per token at risk, and slashed an epoch.

    At risk are antes, or a validator's stake.
    """
    table = findings.gains(rules)
    own = table[table["hotkey"].isin(hotkeys)]
    epochs = table["epoch_id"].nunique()
    validators = sum(hotkey in others() for hotkey in hotkeys)
    at_risk = own["at_risk"].sum() + validators * epochs * STAKE_RAO / RAO
    gain = float(own["gain"].sum())
    per_token = gain / at_risk if at_risk else 0.0
    return gain / epochs, per_token, float(own["slashed"].sum()) / epochs


def cumulated(attack: str, rules: str, seasons: Seasons) -> tuple[FloatArray, FloatArray]:
    """Gain so far over one epoch's tokens at risk, of the attack and of its honest counterpart.

    One number per measured epoch, the mean over the seeds.
    """
    names = dict.fromkeys(name for _, name in seasons)
    cast = next(name for name in names if attack in _seen_in(name))
    pairs = []
    for seed in sorted({seed for seed, _ in seasons}):
        side = _sides(attack, cast, seasons[seed, cast])
        pairs.append(
            [
                _path(seasons[seed, side.cast], rules, side.attackers),
                _path(seasons[seed, side.baseline], rules, side.honest),
            ]
        )
    theirs, honest = np.array(pairs, dtype=np.float64).mean(axis=0)
    return theirs, honest


def _seen_in(cast: str) -> list[str]:
    parts = cast.split(" + ")
    return [*parts, RING_MINERS] if RING in parts else parts


def _path(findings: Findings, rules: str, hotkeys: frozenset[str]) -> FloatArray:
    table = findings.gains(rules)
    own = table[table["hotkey"].isin(hotkeys)].groupby("epoch_id")[["gain", "at_risk"]].sum()
    own = own.reindex(findings.epoch_ids, fill_value=0.0)
    validators = sum(hotkey in others() for hotkey in hotkeys)
    at_risk = float(own["at_risk"].mean()) + validators * STAKE_RAO / RAO
    return np.asarray(own["gain"].cumsum() / (at_risk or 1.0), dtype=np.float64)


def interval(values: FloatArray) -> Interval:
    """Mean and Student's interval over the seeds."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Interval(mean, None, None)
    spread = float(values.std(ddof=1)) / np.sqrt(n)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * spread
    return Interval(mean, mean - reach, mean + reach)


def _first_alarm(findings: Findings, attackers: frozenset[str]) -> int | None:
    alarms = findings.pointed_at()
    seen = alarms.loc[alarms["hotkey"].isin(attackers), "epoch_id"]
    if seen.empty:
        return None
    return findings.epoch_ids.index(min(seen)) + 1


def _kinds_of_alarm(findings: Sequence[Findings], sides: Sequence[_Sides]) -> tuple[str, ...]:
    found = [
        alarms.loc[alarms["hotkey"].isin(side.attackers), "alarm"]
        for alarms, side in (
            (one.pointed_at(), side) for one, side in zip(findings, sides, strict=True)
        )
    ]
    counted = pd.concat(found).value_counts()
    return tuple(
        str(name) for name in counted.sort_index().sort_values(ascending=False, kind="stable").index
    )


def false_alarms(seasons: Seasons) -> list[FalseAlarms]:
    """Shares of honest miners and epochs, by alarm; none that nobody ever raised."""
    without: list[Findings] = []
    among: list[Findings] = []
    for (_, cast), findings in seasons.items():
        (without if cast in (HONEST, VOTING) else among).append(findings)
    raised = {str(name) for one in seasons.values() for name in one.pointed_at()["alarm"].unique()}
    names = sorted(raised - {UNREVEALED})
    return [FalseAlarms(name, _share(name, without), _share(name, among)) for name in names]


def _share(alarm: str, findings: Sequence[Findings]) -> float:
    pointed, chances = 0, 0
    for one in findings:
        guilty = set().union(*one.players.values()) if one.players else set()
        alarms = one.pointed_at()
        theirs = alarms[(alarms["alarm"] == alarm) & ~alarms["hotkey"].isin(guilty)]
        pointed += len(theirs[theirs["hotkey"].isin(one.miners)])
        chances += len(one.miners - guilty) * len(one.epoch_ids)
    return pointed / chances if chances else 0.0
