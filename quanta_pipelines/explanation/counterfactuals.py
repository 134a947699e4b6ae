"""What an epoch would have paid under another rule, by the functions that settle epochs.

Votes of other validators cannot be known under another rule of scoring, so such a rule is compared
on this validator's own scores: once with the rules as they are and once with the one that differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

import pandas as pd

from quanta_pipelines.explanation.parts import Counterfactual, whole, word
from quanta_pipelines.protocol.antes import FORFEITED, RewardEntry
from quanta_pipelines.protocol.consensus import WEIGHT_UNITS, consensus_table, validator_row
from quanta_pipelines.protocol.integrity import for_scores, further_members, plagiarists
from quanta_pipelines.protocol.metrics import scored
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.rewards import settle
from quanta_pipelines.protocol.scoring import score_table
from quanta_pipelines.protocol.settlement import settlement_tables

_FACTORS = {"without_originality": "originality", "without_variance": "variance_factor"}

Tables = Mapping[str, pd.DataFrame]

TERMS = ("sortino_weight", "calmar_weight", "max_drawdown_weight", "turnover_weight")
_OWN = "own"  # the one voter, where this validator's scores alone decide
_FORFEITS = "a further member of a cluster, below the penalty cut"


@dataclass(frozen=True)
class Income:
    """What an epoch is settled with, as its ledger says."""

    emission_rao: int  # the whole subnet's
    external_rao: int
    carry_in_rao: int


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    label: str
    params: ProtocolParams


def counterfactuals(
    tables: Tables, income: Income, epoch_id: str, params: ProtocolParams
) -> dict[str, tuple[Counterfactual, ...]]:
    """Counterfactuals by hotkey, each in the same order.

    Raises ``ValueError`` where the rules, applied to the tables, do not give what they hold: then
    nothing that differs from them would mean anything.
    """
    settled = _settled(tables, tables["consensus"], tables["scores"], income, epoch_id, params)
    stored = tables["rewards"].set_index("hotkey")
    amounts = ["rank", "payout_rao", "gross_rao", "fee_rao"]
    if not settled[amounts].equals(stored[amounts]):
        raise ValueError("settling the tables again gives other rewards than were published")
    found: dict[str, list[Counterfactual]] = {hotkey: [] for hotkey in stored.index}
    for rule in _settlement_rules(params):
        other = _settled(
            tables, tables["consensus"], tables["scores"], income, epoch_id, rule.params
        )
        _compare(found, rule, "settlement", settled, other)
    own = _by_own_scores(tables, income, epoch_id, params)
    for rule in _scoring_rules(params):
        other = (
            own
            if _is_idle(rule, tables["scores"])
            else _by_own_scores(tables, income, epoch_id, rule.params)
        )
        _compare(found, rule, "own_scores", own, other)
    for hotkey, counterfactual in _in_the_middle(tables, income, params):
        found[hotkey].append(counterfactual)
    return {hotkey: tuple(each) for hotkey, each in found.items()}


def _is_idle(rule: _Rule, scores: pd.DataFrame) -> bool:
    """Whether a rule that is left out decided nothing: no factor lowers, nobody is provisional."""
    if rule.name == "without_provisional":
        return "provisional" not in set(scores["standing"])
    return rule.name in _FACTORS and _is_one(scores[_FACTORS[rule.name]])


def _is_one(factor: "pd.Series[float]") -> bool:
    """Whether a factor lowers nobody."""
    return bool(factor.dropna().eq(1.0).all())


def _settlement_rules(params: ProtocolParams) -> Iterator[_Rule]:
    for gamma in ("1.0", "1.2", "2.0"):
        if Decimal(gamma) != params.tokenomics.power_law_gamma:
            changed = params.changed(tokenomics__power_law_gamma=Decimal(gamma))
            yield _Rule(f"gamma_{gamma.replace('.', '_')}", f"at gamma {gamma}", changed)
    if params.scoring.eligibility_applied:
        changed = params.changed(scoring__eligibility_applied=False)
        yield _Rule("every_winner_eligible", "if every winner were eligible", changed)


def _scoring_rules(params: ProtocolParams) -> Iterator[_Rule]:
    for term, words in (("turnover_weight", "turnover"), ("max_drawdown_weight", "drawdown")):
        if getattr(params.scoring, term):
            changed = params.changed(**without_term(params, term))
            yield _Rule(f"without_{words}", f"without the {words} term", changed)
    for switch, label in (
        ("originality_applied", "without the originality factor"),
        ("variance_applied", "without the variance factor"),
        ("provisional_applied", "if short histories were ranked"),
    ):
        if getattr(params.scoring, switch):
            changed = params.changed(**{f"scoring__{switch}": False})
            yield _Rule(f"without_{switch.removesuffix('_applied')}", label, changed)
    low = params.scoring
    if low.low_variance_floor or low.low_variance_benchmark_share:
        changed = params.changed(
            scoring__low_variance_floor=0.0, scoring__low_variance_benchmark_share=0.0
        )
        yield _Rule("without_low_variance", "if low variance were ranked", changed)


def without_term(params: ProtocolParams, term: str) -> dict[str, float]:
    """Changes that take one term out of a horizon's score and raise the others in proportion.

    Six decimals; the largest of the others takes what rounding leaves, so that they sum to 1.
    """
    weights = {name: Decimal(str(getattr(params.scoring, name))) for name in TERMS}
    others = {name: weight for name, weight in weights.items() if name != term}
    total = sum(others.values())
    raised = {name: round(weight / total, 6) for name, weight in others.items()}
    largest = max(raised, key=lambda name: raised[name])
    raised[largest] += 1 - sum(raised.values())
    return {f"scoring__{name}": float(weight) for name, weight in raised.items()} | {
        f"scoring__{term}": 0.0
    }


def _settled(
    tables: Tables,
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
    income: Income,
    epoch_id: str,
    params: ProtocolParams,
) -> pd.DataFrame:
    """The table of rewards by hotkey."""
    found = settlement_tables(
        consensus,
        scores,
        tables["commitments"],
        emission_rao=income.emission_rao,
        external_rao=income.external_rao,
        carry_in_rao=income.carry_in_rao,
        epoch_id=epoch_id,
        voted=not tables["validator_weights"].empty,
        cluster_members=further_members(tables["integrity_flags"]),
        params=params,
    )
    return found.rewards.set_index("hotkey")


def _by_own_scores(
    tables: Tables, income: Income, epoch_id: str, params: ProtocolParams
) -> pd.DataFrame:
    """Rewards by hotkey if this validator alone had voted, under these rules."""
    flags = tables["integrity_flags"]
    metrics = rescored(tables["horizon_metrics"], tables["portfolio_returns"], params)
    scores = score_table(
        metrics,
        tables["portfolios"],
        tables["portfolio_returns"],
        tables["commitments"],
        epoch_id=epoch_id,
        integrity=for_scores(flags, plagiarists(tables["integrity_cases"], epoch_id, params)),
        params=params,
    )
    vote = validator_row(scores, metrics, params).assign(validator=_OWN)
    consensus = consensus_table(
        vote, scores, metrics, stakes={_OWN: 1}, epoch_id=epoch_id, params=params
    )
    return _settled(tables, consensus, scores, income, epoch_id, params)


def rescored(
    metrics: pd.DataFrame, portfolio_returns: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """``HorizonMetrics`` with ratios and scores under these rules, from the stored measures."""
    turnover = portfolio_returns.drop_duplicates("hotkey").set_index("hotkey")["turnover"]
    again = scored(
        metrics["annualised_return"].to_numpy(float),
        metrics["downside_deviation"].to_numpy(float),
        metrics["max_drawdown"].to_numpy(float),
        turnover.reindex(metrics["hotkey"]).to_numpy(float),
        params.scoring,
    )
    return metrics.assign(**again._asdict()).round(9)


def _in_the_middle(
    tables: Tables, income: Income, params: ProtocolParams
) -> Iterator[tuple[str, Counterfactual]]:
    """Each ranked miner at the median weight of the ranked, everyone else as they are."""
    if params.consensus.rank_by != "consensus" or tables["consensus"].empty:
        return
    entries = _entries(tables)
    ranked = [entry for entry in entries if entry.standing == "ranked"]
    middle = Decimal(int(median(int(entry.score) for entry in ranked))) if ranked else Decimal(0)
    paid = tables["rewards"].set_index("hotkey").to_dict("index")
    for at, entry in enumerate(entries):
        if entry.standing != "ranked":
            continue
        moved = RewardEntry(entry.hotkey, middle, entry.ante_rao, eligible=True)
        settlement = settle(
            [*entries[:at], moved, *entries[at + 1 :]],
            emission_rao=income.emission_rao,
            external_rao=income.external_rao,
            carry_in_rao=income.carry_in_rao,
            params=params,
        )
        would = next((a for a in settlement.allocations if a.hotkey == entry.hotkey), None)
        if would is None:  # its ante is refused wherever it stands
            continue
        base = paid[entry.hotkey]
        yield (
            entry.hotkey,
            _line(
                _Rule("at_the_median", "at the median weight, and eligible", params),
                "position",
                (would.standing, would.rank, would.final_tier and would.final_tier.value),
                would.payout_rao,
                base,
            ),
        )


def _entries(tables: Tables) -> list[RewardEntry]:
    """The entries that were settled: ranked ones with their weight in whole units."""
    weight = tables["consensus"].set_index("hotkey")["consensus_weight"]
    return [
        RewardEntry(
            row["hotkey"],
            Decimal(round(weight.get(row["hotkey"], 0.0) * WEIGHT_UNITS)),
            int(row["ante_rao"]),
            bool(row["eligible"]),
            FORFEITED if row["reason"] == _FORFEITS else row["standing"],
        )
        for row in tables["rewards"].to_dict("records")
    ]


def _compare(
    found: Mapping[str, list[Counterfactual]],
    rule: _Rule,
    basis: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
) -> None:
    was, would = before.to_dict("index"), after.to_dict("index")
    for hotkey, lines in found.items():
        row = would[hotkey]
        place = (row["standing"], whole(row["rank"]), word(row["final_tier"]))
        lines.append(_line(rule, basis, place, int(row["payout_rao"]), was[hotkey]))


def _line(
    rule: _Rule,
    basis: str,
    place: Sequence[str | int | None],
    payout_rao: int,
    base: Mapping[Any, Any],
) -> Counterfactual:
    standing, rank, tier = place
    before = int(base["payout_rao"])
    return Counterfactual(
        name=rule.name,
        label=rule.label,
        basis=basis,  # type: ignore[arg-type]
        standing=str(standing),
        rank=whole(rank),
        tier=word(tier),
        payout_rao=str(payout_rao),
        base_rank=whole(base["rank"]),
        base_payout_rao=str(before),
        change_rao=str(payout_rao - before),
    )
