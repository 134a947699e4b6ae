"""From commitment to consensus: the steps before the money, for one miner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from quanta_pipelines.explanation.parts import Fact, Kind, Row, Step
from quanta_pipelines.protocol.params import ProtocolParams

FLAGS: dict[str, tuple[tuple[str, str, Kind], ...]] = {
    "Originality": (
        ("originality", "Factor", "score"),
        ("correlation", "Correlation with the earlier miner", "score"),
        ("correlation_threshold", "Threshold", "score"),
        ("earlier_hotkey", "Earlier miner", "text"),
        ("active_reason", "Why there is none", "text"),
    ),
    "Variance": (
        ("variance_factor", "Factor", "score"),
        ("variance_ratio", "Ratio to the median", "score"),
        ("variance_threshold", "Threshold", "score"),
        ("variance_flag", "Flagged", "flag"),
    ),
    "Cluster": (
        ("cluster_size", "Identities in it", "count"),
        ("cluster_member", "Another holds the position", "flag"),
        ("cluster_link", "Why", "text"),
        ("cluster_correlation", "Largest correlation", "score"),
    ),
    "Copies": (
        ("plagiarism_suspected", "Suspected", "flag"),
        ("suspected_of", "Of", "text"),
        ("suspect_epochs", "Epochs with a copy", "count"),
        ("suspect_threshold", "Epochs that open a case", "count"),
    ),
    "Stake": (
        ("stake_rao", "Bonded", "rao"),
        ("least_stake_rao", "S_min", "rao"),
        ("below_least_stake", "Below it", "flag"),
    ),
}

Rows = Sequence[Mapping[str, Any]]  # of one table, in its order

MEASURES: tuple[tuple[str, str, str], ...] = (
    ("total_return", "Return", "percent"),
    ("annualised_return", "Annualised return", "percent"),
    ("volatility", "Volatility", "percent"),
    ("downside_deviation", "Downside deviation", "percent"),
    ("max_drawdown", "Maximum drawdown", "percent"),
    ("benchmark_max_drawdown", "Benchmark's drawdown", "percent"),
    ("sharpe_ratio", "Sharpe ratio", "ratio"),
    ("sortino_ratio", "Sortino ratio", "ratio"),
    ("calmar_ratio", "Calmar ratio", "ratio"),
)
SCORES: tuple[tuple[str, str, str], ...] = (
    ("sortino_score", "Sortino score", "sortino_weight"),
    ("calmar_score", "Calmar score", "calmar_weight"),
    ("drawdown_score", "Drawdown score", "max_drawdown_weight"),
    ("turnover_score", "Turnover score", "turnover_weight"),
)


def signal_step(commitments: Rows, reveals: Rows, held: Rows) -> Step:
    """What the miner sent; the rows are its own alone."""
    facts: list[Fact] = []
    for values in commitments:
        row = Row("commitments", ("hotkey",), values)
        facts.append(row.fact("received_at", "Committed", "moment"))
        facts.append(row.fact("ante_rao", "Ante in escrow", "rao", name="committed_ante_rao"))
        facts.append(row.fact("n_replaced", "Commitments it replaced", "count"))
    for values in reveals:
        row, group = Row("reveals", ("reveal_id",), values), f"Reveal {values['reveal_id']}"
        facts.append(row.fact("received_at", "Received", "moment", group=group, name="revealed_at"))
        facts.append(row.fact("verdict", "Verdict", "text", group=group))
        if values["reason"]:
            facts.append(row.fact("reason", "Reason", "text", group=group, name="refused_because"))
    for values in held[:1]:
        row = Row("portfolios", ("hotkey", "ticker"), values)
        facts.append(row.fact("source_epoch", "Portfolio of epoch", "text"))
        facts.append(row.fact("filled_epochs", "Epochs it stands in for", "count"))
        facts.append(row.fact("history_epoch", "History began", "text"))
    return Step("signal", "Signal", _signal_in_words(commitments, reveals, held), tuple(facts))


def returns_step(sessions: Rows, epoch_return: float | None, benchmark: float | None) -> Step:
    """What the held portfolio returned in the epoch."""
    if not sessions or epoch_return is None:
        return Step("returns", "Returns", "Nothing was held, so nothing was returned.", ())
    row = Row("portfolio_returns", ("hotkey", "session"), sessions[-1])
    how = f"product of 1 + return over {len(sessions)} sessions, less 1"
    facts = [
        Fact(
            name="epoch_return",
            label="Return of the epoch",
            value=repr(epoch_return),
            kind="percent",
            formula=how,
        ),
        Fact(
            name="benchmark_epoch_return",
            label="Benchmark",
            value=None if benchmark is None else repr(benchmark),
            kind="percent",
            formula=how,
        ),
        row.fact("turnover", "Turnover", "percent"),
        row.fact("unpriced_weight", "Weight without a price", "percent"),
    ]
    says = f"The weights of this epoch on its {len(sessions)} sessions, never on earlier ones."
    return Step("returns", "Returns", says, tuple(facts))


def horizons_step(metrics: Rows, params: ProtocolParams) -> Step:
    """Measures and scores of each horizon that exists."""
    facts: list[Fact] = []
    for values in metrics:
        row, group = Row("horizon_metrics", ("hotkey", "horizon"), values), _sessions(values)
        for column, label, kind in MEASURES:
            facts.append(row.fact(column, label, kind, group=group))  # type: ignore[arg-type]
        for column, label, weight in SCORES:
            share = getattr(params.scoring, weight)
            facts.append(row.fact(column, f"{label} × {share:g}", "score", group=group))
        facts.append(row.fact("horizon_score", "Horizon score", "score", group=group))
    if not metrics:
        says = f"Fewer than {min(params.scoring.horizons)} sessions of history: no horizon exists."
    else:
        says = "A horizon exists when that many sessions of unbroken history do."
    return Step("horizons", "Horizons", says, tuple(facts))


def score_step(
    score: Mapping[str, Any] | None, interval: Mapping[str, Any] | None, params: ProtocolParams
) -> Step:
    """Composite, interval, factors, and this validator's own rank."""
    if score is None:
        return Step("score", "Score", "This validator has no row of scores for it.", ())
    row = Row("scores", ("hotkey",), score)
    weights = ", ".join(
        f"{share:g} of {horizon}"
        for horizon, share in zip(
            params.scoring.horizons, params.scoring.horizon_weights, strict=True
        )
    )
    how = f"mean of the horizon scores that exist, weighted {weights} sessions"
    facts = [replace(row.fact("composite", "Composite", "score"), formula=how)]
    if interval is not None:
        ends = Row("score_intervals", ("hotkey",), interval)
        facts.append(ends.fact("lower", "Interval from", "score"))
        facts.append(ends.fact("upper", "Interval to", "score"))
    facts += [
        row.fact("originality", "Originality factor", "score"),
        row.fact("variance_factor", "Variance factor", "score"),
        row.fact("final_score", "Final score", "score"),
        row.fact("history_sessions", "Sessions of history", "count"),
        row.fact("standing", "Standing here", "text", name="own_standing"),
        row.fact("score_rank", "Rank by this validator", "count"),
        row.fact("percentile", "Percentile by this validator", "score", name="own_percentile"),
        row.fact("tier", "Tier by this validator", "text", name="own_tier"),
    ]
    says = "Final score is composite × originality × variance factor; it becomes this vote."
    if score["reason"]:
        says = f"{says} Not ranked here: {score['reason']}."
    return Step("score", "Score", says, tuple(facts))


def consensus_step(agreed: Mapping[str, Any] | None, n: int) -> Step:
    """What the validators' stake agrees on, among ``n`` ranked miners."""
    if agreed is None:
        says = "The votes do not rank it." if n else "The votes rank nobody in this epoch."
        return Step("consensus", "Consensus", says, ())
    row = Row("consensus", ("hotkey",), agreed)
    facts = [
        row.fact("consensus_weight", "Consensus weight", "score"),
        row.fact("rank", "Rank", "count"),
        Fact(name="n_ranked", label="Ranked miners", value=str(n), kind="count"),
        row.fact("percentile", "Percentile", "score"),
        row.fact("tier", "Tier", "text"),
        row.fact("composite", "Agreed composite", "score", name="agreed_composite"),
        row.fact("max_drawdown_30d", "Agreed drawdown, 30 sessions", "percent"),
        row.fact("eligible", "Eligible for rewards", "flag"),
        row.fact("n_validators", "Validators that voted", "count"),
        row.fact("trust", "Part of the votes that survived clipping", "score"),
        row.fact("dispute_flagged", "Flagged: validators far apart", "flag"),
    ]
    says = "The stake-weighted median of the votes; rank and tier follow from it."
    if agreed["reason"]:
        says = f"{says} Not eligible: {agreed['reason']}."
    return Step("consensus", "Consensus", says, tuple(facts))


def integrity_step(flags: Rows, cases: Rows) -> Step:
    """What lowers a score or keeps a miner from a rank, and the cases against it."""
    facts: list[Fact] = []
    for values in flags:
        row = Row("integrity_flags", ("hotkey",), values)
        for group, columns in FLAGS.items():
            for column, label, kind in columns:
                facts.append(row.fact(column, label, kind, group=group))
    for values in cases:
        row, group = Row("integrity_cases", ("case_id",), values), str(values["case_id"])
        facts += [
            row.fact(column, column.replace("_", " "), "text", group=group)
            for column in ("kind", "state", "opened_epoch", "closed_epoch", "other_hotkey")
        ]
    if not flags:
        return Step("integrity", "Integrity", "No portfolio is held, so nothing is said.", ())
    says = "Originality and variance lower a score; a cluster or too small a stake costs the rank."
    return Step("integrity", "Integrity", says, tuple(facts))


def table_step(name: str, title: str, rows: Rows | None, key: tuple[str, ...]) -> Step:
    """The rows that another table has of the miner, column by column; or that there is none."""
    words = name.replace("_", " ")
    if rows is None:
        return Step(name, title, f"The table of {words} is not published for this epoch.", ())
    facts = [
        Row(name, key, values).fact(
            str(column), str(column).replace("_", " "), _kind(str(column), value)
        )
        for values in rows
        for column, value in values.items()
        if column not in ("epoch_id", "hotkey")
    ]
    says = f"What the table of {words} says." if facts else "Nothing was found against it."
    return Step(name, title, says, tuple(facts))


@dataclass(frozen=True, slots=True)
class Priced:
    """A ticker's settled returns, and the facts that every holder of it is told."""

    returns: tuple[float, ...]
    facts: tuple[Fact, ...]


def priced(prices: Rows) -> dict[str, Priced]:
    """Rows of ``validated_prices`` by ticker."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for values in prices:
        found.setdefault(str(values["ticker"]), []).append(values)
    return {
        ticker: Priced(
            tuple(values["total_return"] for values in rows),
            tuple(_return_fact(ticker, values) for values in rows),
        )
        for ticker, rows in found.items()
    }


def _return_fact(ticker: str, values: Mapping[str, Any]) -> Fact:
    day = f"{values['session']:%Y-%m-%d}"
    cell = Row("validated_prices", ("ticker", "session"), values)
    return cell.fact("total_return", day, "percent", group=ticker, name=day)


def owner_steps(
    held: Rows, prices: Mapping[str, Priced], sessions: Rows, votes: Rows
) -> list[Step]:
    """What only the miner itself may see: positions, returns by session, each validator's vote."""
    positions = [fact for values in held for fact in _position(values, prices)]
    daily = [
        Row("portfolio_returns", ("hotkey", "session"), values).fact(
            column, label, "percent", group=f"{values['session']:%Y-%m-%d}"
        )
        for values in sessions
        for column, label in (("portfolio_return", "Portfolio"), ("benchmark_return", "Benchmark"))
    ]
    given = [
        Row("validator_weights", ("validator", "hotkey"), values).fact(
            "weight_units", "Weight in units of 10⁻⁹", "units", group=str(values["validator"])
        )
        for values in votes
    ]
    return [
        Step("positions", "Positions", "Weights and settled returns.", tuple(positions)),
        Step("sessions", "Sessions", "Weights times returns, session by session.", tuple(daily)),
        Step("votes", "Votes", "What each validator gave this miner.", tuple(given)),
    ]


def _position(values: Mapping[str, Any], prices: Mapping[str, Priced]) -> list[Fact]:
    """A position's weight, its ticker's returns, and what both come to."""
    ticker, total = str(values["ticker"]), 0.0
    row = Row("portfolios", ("hotkey", "ticker"), values)
    facts = [row.fact("weight", "Weight", "percent", group=ticker)]
    if (known := prices.get(ticker)) is not None:
        facts += known.facts
        for moved in known.returns:
            if not pd.isna(moved):
                total += moved * values["weight"]
    contribution = Fact(
        name="contribution",
        label="Contribution",
        value=repr(total),
        kind="percent",
        group=ticker,
        formula="sum of weight × return over the sessions",
    )
    return [*facts, contribution]


def _kind(column: str, value: object) -> Any:
    if column.endswith("_rao"):
        return "rao"
    if isinstance(value, bool):
        return "flag"
    return "score" if isinstance(value, float) else "text"


def _sessions(values: Mapping[str, Any]) -> str:
    return f"{values['horizon']} sessions"


def _signal_in_words(commitments: Rows, reveals: Rows, held: Rows) -> str:
    accepted = any(reveal["verdict"] == "accepted" for reveal in reveals)
    if not commitments:
        filled = "; its last portfolio stands in" if len(held) else ""
        return f"Nothing was committed for this epoch{filled}."
    if not accepted:
        return "A portfolio was committed, and no reveal of it was accepted."
    return "A portfolio was committed in its window and revealed as committed."
