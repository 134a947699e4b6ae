"""Small worlds for the rules: each scenario says as text what one rule set makes of it."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import cache

import numpy as np
import pandas as pd

from quanta_pipelines.adapters.price_vendors import recorded_closes
from quanta_pipelines.protocol import (
    bootstrap,
    commit_reveal,
    consensus,
    epoch,
    horizons,
    integrity,
    intervals,
    invariants,
    live_price,
    oracle,
    pools,
    portfolio,
    ranking,
    returns,
    rewards,
    scoring,
    settlement,
    validator_results,
)
from quanta_pipelines.protocol.chain_weights import tempo_place
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

RAO = portfolio.RAO
HOTKEYS = ["5" + letter * 47 for letter in "ABCDEFGHJKLMNPQRSTUVWXYZ"]
WEEK = Epoch.parse("2018-Q4-W52")  # ends the quarter in which the index itself fell by a sixth
UTC_NOON = pd.Timestamp("2018-12-20 12:00", tz="UTC").as_unit("ns")


def said(*parts: object) -> str:
    """What a scenario says, every digit of it."""
    tables = (part.to_csv() if isinstance(part, pd.DataFrame) else repr(part) for part in parts)
    return "\n".join(tables)


def or_refusal(call: Callable[[], object]) -> object:
    """What a call returns, or the words with which the rules refuse it."""
    try:
        return call()
    except ProtocolError as refusal:
        return str(refusal)


# Market data


@cache
def observed() -> pd.DataFrame:
    """Ten tickers as three vendors see them over 75 sessions; each ticker is odd in its own way."""
    sessions = epoch.sessions_before(WEEK.next().sessions[0], 75)
    rng = np.random.default_rng(1)
    tickers = ["AAA", "CALM", "CENT", "FLAT", "LATE", "NEW", "PENNY", "SPLIT", "SPY", "THIN"]
    level = {"PENNY": 4.5, "CENT": 4.0}
    rows = []
    for ticker in tickers:
        moves = rng.standard_t(3, len(sessions)) * 0.01
        closes = level.get(ticker, 100.0) * np.cumprod(1 + moves)
        dollars = np.where(np.arange(75) < 52, 9e8, 1e8)  # trade dries up before the end
        volume = dollars / level.get(ticker, 100.0) * (0.03 if ticker == "THIN" else 1.0)
        for vendor, tilt in (("polygon", 1.0), ("tiingo", 1.0002), ("yahoo", 0.9999)):
            rows.append(
                pd.DataFrame(
                    {
                        "vendor": vendor,
                        "ticker": ticker,
                        "session": pd.to_datetime(list(sessions)),
                        "close": closes * tilt,
                        "volume": volume,
                        "dividend": 0.0,
                        "split": 1.0,
                        "basis": "as_traded",
                        "fetched_at": pd.Timestamp("2018-12-29 03:00", tz="UTC"),  # 22:00 there
                    }
                )
            )
    return spoiled(pd.concat(rows, ignore_index=True))


def spoiled(seen: pd.DataFrame) -> pd.DataFrame:
    """The same with the oddities, placed by ticker, vendor and session counted from the end."""
    from_end = seen.groupby(["vendor", "ticker"]).cumcount(ascending=False)

    def at(ticker: str, back: int, *vendors: str) -> "pd.Series[bool]":
        named = seen["vendor"].isin(vendors) if vendors else True
        return (seen["ticker"] == ticker) & (from_end == back) & named

    seen.loc[at("AAA", 2, "tiingo"), "close"] *= 1.004  # 40 bps from the others
    seen.loc[at("CENT", 2, "tiingo"), "close"] += 0.03  # three cents of four dollars
    seen.loc[at("CALM", 3), "volume"] = 3e5  # under 10 % of 30 sessions' mean, not of 12
    seen.loc[at("CALM", 1), "volume"] = 2.5e5
    for back in (1, 2):
        seen.loc[at("FLAT", back), ["close", "volume"]] = [100.0, 0.0]
    seen.loc[seen["vendor"].eq("yahoo") & seen["ticker"].eq("LATE"), "close"] = np.nan
    seen.loc[at("NEW", 2, "yahoo", "tiingo"), "close"] = np.nan  # one vendor left
    split = seen["ticker"] == "SPLIT"
    seen.loc[split & ((from_end <= 10) | seen["vendor"].eq("yahoo")), "close"] /= 2.0
    seen.loc[split & (from_end == 10), "split"] = 2.0
    seen.loc[split & seen["vendor"].eq("yahoo"), "basis"] = "split_adjusted"
    return seen


@cache
def market(params: ProtocolParams) -> str:
    """Settled prices of a week, who may be held in it, and what the benchmark returned."""
    prices = oracle.epoch_prices(
        observed(),
        epoch_id=WEEK.id,
        sessions=WEEK.sessions,
        entry_session=WEEK.entry_session,
        params=params,
    )
    closes = oracle.settle_closes(observed(), params)
    benchmark = oracle.benchmark_returns(prices.dropna(subset="total_return"), params)
    return said(closes, prices, benchmark.tolist())


@cache
def disagreement(params: ProtocolParams) -> str:
    """Why a vendor is apart whose ratio moves by a few basis points."""
    return oracle.classify_disagreement(np.array([1.0, 1.1, 1.103, 1.1]), params)


@cache
def disputes(params: ProtocolParams) -> str:
    """Disputed prices that are held with 15 % of all weight, and a disputed benchmark."""
    prices = pd.DataFrame({"ticker": ["AAA", "SPY"], "status": ["disputed", "disputed"]})
    prices["session"] = pd.Timestamp(WEEK.sessions[0])
    held = pd.DataFrame({"ticker": ["AAA", "BBB"], "submitted_weight": [0.15, 0.85]})
    return said(
        invariants.disputed_holdings(held, prices, observed(), params),
        invariants.disputed_benchmark(prices, observed(), params),
    )


@cache
def live(params: ProtocolParams) -> str:
    """Prices of a Tuesday noon: four tickers that differ in how often they were quoted, and when.

    The components of ``ALL`` are far apart within the tolerance of vendors; ``FEW`` has twelve
    quotes that are five minutes apart, ``OLD`` none for ten minutes, and ``GAP`` a hole.
    """
    noon = pd.Timestamp("2018-12-18 17:00", tz="UTC").as_unit("ns")
    quoted = {"ALL": range(60, 0, -1), "FEW": range(60, 0, -5), "OLD": range(90, 9, -4)}
    quoted["GAP"] = [*range(120, 60, -3), 20, 1]
    rows = [
        {
            "vendor": vendor,
            "ticker": ticker,
            "at": noon - pd.Timedelta(minutes=minutes),
            "price": (100.0 + minutes / 100 + (minutes == 1) * 5.0) * tilt,
            "bid": 99.99 * tilt,
            "ask": 100.01 * tilt,
            "volume": shares,
        }
        for ticker, ages in quoted.items()
        for minutes in ages
        for vendor, tilt, shares in (("tiingo", 1.0, 1e5), ("polygon", 0.9992, 3e5))
    ]
    table = pd.DataFrame(rows)
    table["fetched_at"] = table["at"]
    found = live_price.live_prices(table, noon.to_pydatetime(), params=params)
    return said(found.prices, found.set_aside)


# Signals


PLAIN = tuple((f"T{letter}", "0.2") for letter in "ABCDE")
SUBMITTED = {
    "plain": PLAIN,
    "four": PLAIN[:4],
    "heavy": (*PLAIN[:3], ("TD", "0.25"), ("TE", "0.15")),
    "fine": (*PLAIN[:3], ("TD", "0.199999"), ("TE", "0.200000")),
    "short": (*PLAIN[:4], ("TE", "0.1985")),
    "wide": tuple((f"T{a}{b}", "0.032258") for a in "ABCD" for b in "ABCDEFGH")[:31],
}
USUAL = "0123456789abcdef" * 3
SECRETS = (USUAL, "0123456789abcdef" * 2, "01234567" * 6)  # the others are short and dull


def verdict(
    name: str,
    params: ProtocolParams,
    *,
    secret: str = USUAL,
    committed: int = -20,
    received: int = 1,
) -> tuple[str, str, str]:
    """Verdict on a reveal of a portfolio, times in hours from the end of the commit window."""
    moments = [WEEK.opens_at + dt.timedelta(hours=hours) for hours in (committed, received)]
    weights = tuple((ticker, Decimal(weight)) for ticker, weight in SUBMITTED[name])
    text = portfolio.Portfolio(weights).hash + secret + HOTKEYS[0] + WEEK.id
    sealed = commit_reveal.keccak256(text.encode()).hex()
    judged = commit_reveal.judge(
        commit_reveal.Reveal(HOTKEYS[0], WEEK.id, sealed, SUBMITTED[name], secret),
        commit_reveal.Commitment(HOTKEYS[0], WEEK.id, sealed, moments[0]),
        received_at=moments[1],
        universe={ticker for held in SUBMITTED.values() for ticker, _ in held},
        already_accepted=False,
        params=params,
    )
    return name, judged.verdict.value, judged.reason


@cache
def intake(params: ProtocolParams) -> str:
    """Verdicts on reveals: one portfolio at many moments, then odd portfolios and secrets."""
    return said(
        [
            verdict("plain", params, committed=committed, received=received)
            for committed in range(-39, 1, 3)
            for received in range(-1, 60, 5)
        ],
        [verdict(name, params) for name in SUBMITTED],
        [verdict("plain", params, secret=secret) for secret in SECRETS],
    )


@cache
def antes_taken(params: ProtocolParams) -> str:
    """Antes that the intake takes, or why not."""
    amounts = ("9", "10", "12", "10000", "10001")
    return said(
        [or_refusal(lambda text=text: portfolio.ante_rao(text, params)) for text in amounts]
    )


@cache
def standing(params: ProtocolParams) -> str:
    """What a miner that fell silent holds, epoch by epoch."""
    held = pd.DataFrame(
        {
            "hotkey": HOTKEYS[0],
            "ticker": ["AAA", "BBB"],
            "weight": 0.5,
            "submitted_weight": 0.5,
            "committed_at": UTC_NOON,
        }
    )
    table, tables = None, []
    for number, week in enumerate(Epoch.range("2018-Q3-W30", "2018-Q3-W39")):
        accepted = held if number == 0 else held.head(0)
        table = portfolio.standing_portfolios(accepted, table, epoch=week, params=params)
        tables.append(table)
    return said(*tables)


# Windows and clocks


@cache
def phases(params: ProtocolParams) -> str:
    """The phase of an epoch at each quarter of an hour of two weeks."""
    start = WEEK.previous().opens_at - dt.timedelta(hours=1)
    steps = (start + dt.timedelta(minutes=15) * step for step in range(4 * 24 * 16))
    return said([epoch.phase_at(WEEK, moment, params) for moment in steps])


@cache
def clocks(params: ProtocolParams) -> str:
    """When an epoch settles and validators submit, the block it opens in, places in a tempo."""
    return said(
        epoch.settles_at(WEEK, params),
        [epoch.submission_offset(hotkey, WEEK, params) for hotkey in HOTKEYS],
        epoch.block_at(WEEK.opens_at, WEEK.previous().opens_at, params),
        [tempo_place(block, params) for block in (45, 280, 320, 400)],
    )


@cache
def later_splits(params: ProtocolParams) -> str:
    """A split-adjusted row, fetched when the day of the split had begun in New York alone."""
    rows = pd.DataFrame(
        {
            "vendor": "yahoo",
            "ticker": "AAA",
            "session": pd.to_datetime(["2018-12-27", "2018-12-28"]),
            "close": [50.0, 51.0],
            "volume": 1e6,
            "dividend": 0.0,
            "split": [1.0, 2.0],
            "basis": "split_adjusted",
            "fetched_at": pd.Timestamp("2018-12-28 05:30", tz="UTC"),
        }
    )
    return said(oracle.settle_closes(rows, params))


# Returns and scores


@cache
def earned(params: ProtocolParams) -> str:
    """Returns of two tickers of which one has had no price for seven sessions."""
    moves = np.column_stack([np.linspace(-0.02, 0.03, 7), np.full(7, np.nan)])
    carried = np.column_stack([np.zeros(7), np.arange(1.0, 8.0)])
    held = returns.held_returns(
        np.array([[0.7, 0.3], [1.0, 0.0]]), np.nan_to_num(moves, nan=0.01), carried, params
    )
    rising = returns.held_returns(
        np.array([[0.5, 0.5]]), moves[:, [0, 0]] * [1.0, -2.0], carried, params
    )
    return said(held.portfolio.tolist(), held.unpriced_weight.tolist(), rising.portfolio.tolist())


def miners_returns() -> pd.DataFrame:
    """Returns of 22 made-up miners over the last 95 recorded sessions of 2018, and the index's.

    Nineteen hold four stocks each, the last of them as the first does; three are nearly in cash.
    """
    closes = recorded_closes().loc[: pd.Timestamp(WEEK.sessions[-1])].tail(96)
    moves = closes.pct_change().iloc[1:]
    index = moves.mean(axis=1)
    names = list(moves.columns)
    made = {
        HOTKEYS[at]: moves[[names[(at * step) % 20] for step in (1, 3, 7, 11)]].mean(axis=1)
        for at in range(1, 19)
    }
    made[HOTKEYS[19]] = made[HOTKEYS[1]]
    made[HOTKEYS[20]] = 0.6 * index  # calmer than the index, not by half
    made[HOTKEYS[21]] = 0.0 * index + 2e-6  # cash: 0.0005 a year, never a loss
    made[HOTKEYS[22]] = 0.1 * index.abs()
    return pd.DataFrame(made).assign(index=index)


@cache
def miners_history() -> pd.DataFrame:
    """The same as the table ``PortfolioReturns`` of 20 epochs; some miners began late."""
    wide = miners_returns()
    index = wide.pop("index")
    began = dict.fromkeys(wide, wide.index[0])
    late = {2: 40, 3: 25, 4: 12, 5: 5}  # sessions since they began
    began |= {HOTKEYS[at]: wide.index[-sessions] for at, sessions in late.items()}
    long = wide.rename_axis("session").reset_index().melt("session", var_name="hotkey")
    long = long[long["session"] >= long["hotkey"].map(began)].sort_values(["hotkey", "session"])
    week = {day: Epoch.containing(day.date()).id for day in wide.index}
    return pd.DataFrame(
        {
            "epoch_id": long["session"].map(week),
            "hotkey": long["hotkey"],
            "session": long["session"],
            "portfolio_return": long["value"],
            "benchmark_return": long["session"].map(index),
            "unpriced_weight": np.where(long["hotkey"] == HOTKEYS[6], 0.25, 0.0),
            "turnover": long["hotkey"].map(lambda hotkey: HOTKEYS.index(hotkey) % 6 / 10),
            "filled_epochs": 0,
            "history_epoch": long["hotkey"].map(began).map(week),
        }
    )


def miners_portfolios(history: pd.DataFrame) -> pd.DataFrame:
    """What ``score_table`` reads of the miners' portfolios."""
    now = history[history["epoch_id"] == WEEK.id].drop_duplicates("hotkey")
    return now[["hotkey", "filled_epochs", "history_epoch"]].assign(
        committed_at=[UTC_NOON + pd.Timedelta(minutes=at) for at in range(len(now))]
    )


@cache
def score_tables(params: ProtocolParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables ``HorizonMetrics`` and ``Scores`` of the miners."""
    return scores_of(miners_history(), params)


def scores_of(history: pd.DataFrame, params: ProtocolParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    portfolios = miners_portfolios(history)
    commitments = portfolios[["hotkey"]].assign(received_at=portfolios["committed_at"])
    metrics = horizons.horizon_table(history, epoch_id=WEEK.id, params=params)
    now = history[history["epoch_id"] == WEEK.id]
    scores = scoring.score_table(
        metrics, portfolios, now, commitments, epoch_id=WEEK.id, params=params
    )
    return metrics, scores


@cache
def scored(params: ProtocolParams) -> str:
    """Metrics, standings, ranks, tiers and eligibility of the miners.

    Once with returns of their epochs, once as a trailing backtest has them: all in the last one.
    """
    at_once = miners_history().assign(epoch_id=WEEK.id)
    return said(*score_tables(params), *scores_of(at_once, params))


@cache
def tiers_of_100(params: ProtocolParams) -> str:
    """How many of a hundred miners fall into each tier."""
    found = ranking.tiers(np.arange(1, 101), 100, params)
    return said([found.count(tier) for tier in ranking.PerformanceTier])


@cache
def sure(params: ProtocolParams) -> str:
    """Intervals of four composites, with 15 and 25 sessions of history among them, then of all."""
    made = miners_returns()[HOTKEYS[1:5]].to_numpy().T.copy()
    made[1, :80], made[2, :70] = np.nan, np.nan
    ends = bootstrap.intervals(made, np.full(4, 0.3), epoch_id=WEEK.id, params=params)
    table = intervals.interval_table(miners_history(), epoch_id=WEEK.id, params=params)
    return said([end.tolist() for end in ends], table)


# Integrity

NAMES = [a + b for a in "ABCDEFGH" for b in "ABCDEFGH"]
WEEKS = [week.id for week in Epoch.range("2018-Q4-W43", WEEK.id)]


def held_equally(names: list[str]) -> dict[str, float]:
    return dict.fromkeys(names, 1.0 / len(names))


@cache
def weekly_portfolios() -> pd.DataFrame:
    """Ten weeks of originals, and of copiers that differ in lag, names, weights and persistence."""
    rng = np.random.default_rng(21)
    weeks = range(len(WEEKS))
    drawn = {
        who: [held_equally(list(rng.permutation(NAMES)[:8])) for _ in weeks]
        for who in ("plain", "slow", "other", "third", "fourth", "fifth")
    }
    first = drawn["plain"]
    shift = [{name: weight * 0.75 for name, weight in held.items()} for held in first]
    # 0.75 of the weight in the same names, the rest in one of them
    shift = [held | {next(iter(held)): next(iter(held.values())) + 0.25} for held in shift]
    fringe = [
        {name: weight * 0.94 for name, weight in held.items()}
        | dict.fromkeys([n for n in NAMES if n not in held][:3], 0.02)
        for held in first
    ]
    most = [
        held_equally([*list(held)[:7], next(n for n in NAMES if n not in held)]) for held in first
    ]
    third = [held_equally([*list(held)[:3], *NAMES[-7:]]) for held in drawn["third"]]
    plan = drawn | {
        "same_week": first,
        "week_after": [drawn["other"][0], *first[:-1]],
        "three_weeks_after": [*drawn["other"][:3], *drawn["slow"][:-3]],
        "shifted": shift,
        "fringed": fringe,
        "mostly": most,
        "two_of_four": [
            held if at in (6, 9) else drawn["other"][at] for at, held in enumerate(drawn["fourth"])
        ],
        "years_ago": [
            held if at in (4, 5, 6) else drawn["third"][at]
            for at, held in enumerate(drawn["fifth"])
        ],
        "a_third": [*drawn["other"][:-1], third[-1]],
    }
    rows = [
        {
            "epoch_id": WEEKS[week],
            "hotkey": who,
            "ticker": ticker,
            "weight": weight,
            "filled_epochs": 0,
            "committed_at": UTC_NOON + pd.Timedelta(days=7 * week, minutes=at),
        }
        for at, (who, held) in enumerate(plan.items())
        for week in weeks
        for ticker, weight in held[week].items()
    ]
    return pd.DataFrame(rows)


@cache
def copied(params: ProtocolParams) -> str:
    """Originality of miners that move like an earlier one, and who is suspected of plagiarism."""
    table = weekly_portfolios()
    holdings = integrity.holdings_of(
        integrity.committed_positions(table), list(table["hotkey"].unique()), WEEKS
    )
    rng = np.random.default_rng(22)
    themes = rng.normal(0.0, 0.01, (1, 40))
    returns = themes + rng.normal(0.0, 0.007, (len(holdings.hotkeys), 40))
    returns[4, :28] = np.nan  # 12 sessions
    market_, universe = rng.normal(0.0, 0.01, (2, 40))
    active = integrity.active_returns(returns, market_, universe, params)
    sessions = pd.DatetimeIndex(pd.bdate_range("2018-10-01", periods=40))
    return said(
        active.values.tolist(),
        integrity.originality_table(active, holdings, sessions, params),
        integrity.plagiarism_evidence(holdings, params),
    )


@cache
def swinging(params: ProtocolParams) -> str:
    """Ratios, factors and flags of miners of which some swing more, and more than one epoch."""
    rng = np.random.default_rng(23)
    returns = rng.standard_t(3, (9, 40)) * np.linspace(0.005, 0.02, 9)[:, None]
    ratios = np.array([[3.5, 3.5, 3.5], [1.0, 3.5, 3.5], [1.0, 1.0, 3.5], [2.5, 2.5, 2.5]])
    ratio = integrity.variance_ratio(returns, params)
    return said(
        ratio.tolist(),
        integrity.variance_factor(ratio, params).tolist(),
        integrity.variance_flag(ratios, params).tolist(),
    )


@cache
def judged(params: ProtocolParams) -> str:
    """Scores of the miners with factors from what the thresholds make of their numbers."""
    metrics, plain = score_tables(QUANTA)
    portfolios = miners_portfolios(miners_history())
    rho = np.linspace(0.5, 1.0, len(plain))
    room = 1.0 - params.scoring.originality_correlation_threshold
    ratio = np.linspace(1.0, 6.0, len(plain))[::-1].copy()
    table = plain[["hotkey"]].assign(
        originality=np.clip((1.0 - rho) / room, 0.0, 1.0),
        variance_factor=integrity.variance_factor(ratio, params),
        plagiarism=False,
        cluster_member=False,
        below_least_stake=False,
    )
    now = miners_history()
    return said(
        scoring.score_table(
            metrics,
            portfolios,
            now[now["epoch_id"] == WEEK.id],
            portfolios[["hotkey"]].assign(received_at=portfolios["committed_at"]),
            epoch_id=WEEK.id,
            integrity=table,
            params=params,
        )
    )


@cache
def one_hand(params: ProtocolParams) -> str:
    """Clusters of miners around three themes, one of them with a short history."""
    rng = np.random.default_rng(24)
    themes = rng.normal(0.0, 0.01, (3, 30))
    rows = themes[np.arange(12) % 3] + rng.normal(0.0, 1.0, (12, 30)) * np.linspace(
        0.0005, 0.006, 12
    ).reshape(-1, 1)
    rows[0, :8] = np.nan
    hotkeys = HOTKEYS[:12]
    found = integrity.clusters(rows, hotkeys, np.arange(12), hotkeys, params)
    return said(
        found.cluster.tolist(), integrity.cluster_evidence(found, hotkeys, hotkeys, (), params)
    )


@cache
def staked(params: ProtocolParams) -> str:
    """S_min and identity scores after epochs with ever larger rewards."""
    rewards = [1000 * RAO * epoch for epoch in range(1, 6)]
    least = integrity.least_stake_rao(rewards, [20] * 5, [1, 4], params)
    worth = integrity.identity_score(
        [700 * RAO, 800 * RAO],
        least,
        np.array([[0.5, 0.9], [0.2, 0.1]]),
        np.array([60, 80]),
        params,
    )
    return said(least, worth.tolist())


@cache
def slashed(params: ProtocolParams) -> str:
    """What offences burn, how long they count, and how long a case waits."""
    start = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    days = (0, 10, 80, 150, 160)
    numbers = integrity.offence_numbers([start + dt.timedelta(days=day) for day in days], params)
    ten_days_later = start + dt.timedelta(days=10)
    waiting = integrity.case_state(start, None, confirmed=False, now=ten_days_later, params=params)
    return said(
        numbers, [integrity.slash(1000 * RAO, number, params) for number in numbers], waiting
    )


@cache
def in_concert(params: ProtocolParams) -> str:
    """Pairs of validators that favour the same miners: often, rarely, a little, or few."""
    rng = np.random.default_rng(25)
    weights = {}
    for week, epoch_id in enumerate(WEEKS[-6:]):
        rows = np.full((12, 30), 1.0) * (1.0 + rng.normal(0.0, 0.01, (12, 30)))
        favoured = [np.where(rng.random(30) < 0.3, 1.0, 0.0) for _ in range(4)]
        if week in (1, 2, 3):
            rows[0:2] *= 1.0 + 0.5 * favoured[0]
        if week in (3, 5):
            rows[2:4] *= 1.0 + 0.5 * favoured[1]
        rows[4:6] *= 1.0 + 0.02 * favoured[2]
        rows[6:8] *= 1.0 + 0.5 * favoured[3]
        rows[6, 10:] = np.nan
        weights[epoch_id] = rows
    names = dict.fromkeys(weights, HOTKEYS[:12])
    return said(integrity.collusion_evidence(weights, names, params))


# Consensus


@cache
def votes_and_stakes() -> tuple[pd.DataFrame, dict[str, int]]:
    """Votes of 24 validators in two camps that hold half of the stake each, one large in each."""
    names = [f"V{at:02d}" for at in range(24)]
    stakes = dict.fromkeys(names, 10) | {"V00": 60, "V01": 60}
    _, scores = score_tables(QUANTA)
    ranked = scores.loc[scores["standing"] == "ranked", ["hotkey", "final_score"]]
    parts = []
    for at, name in enumerate(names):
        own = ranked["final_score"].to_numpy()
        given = 1.0 - own if at % 2 else own
        vote = ranked[["hotkey"]].assign(
            validator=name,
            weight_units=consensus.weight_units(given),
            composite=given,
            **{f"max_drawdown_{h}d": 0.05 + 0.01 * (at % 2) for h in (7, 30, 90)},
        )
        parts.append(vote)
    return pd.concat(parts, ignore_index=True), stakes


@cache
def agreed(params: ProtocolParams) -> str:
    """The consensus of the two camps on the miners, without a quarter of the validators."""
    votes, stakes = votes_and_stakes()
    metrics, scores = score_tables(QUANTA)
    table = consensus.consensus_table(
        votes, scores, metrics, stakes=stakes, epoch_id=WEEK.id, params=params
    )
    return said(table)


@cache
def bonded(params: ProtocolParams) -> str:
    """Bonds and results of the two camps, one without its large validator, over three epochs."""
    votes, stakes = votes_and_stakes()
    votes = votes[votes["validator"] != "V01"]
    metrics, scores = score_tables(QUANTA)
    table = consensus.consensus_table(
        votes, scores, metrics, stakes=stakes, epoch_id=WEEK.id, params=QUANTA
    )
    bonds, results = None, []
    for turn in range(3):
        shared = {
            "stakes": stakes,
            "upheld": {"V00": turn},
            "epoch_id": WEEK.id,
            "params": params,
        }
        bonds = validator_results.bonds_table(votes, table, scores, previous=bonds, **shared)
        results.append(validator_results.results_table(votes, table, bonds, **shared))
    return said(bonds, *results)


def bonded_liquid(params: ProtocolParams) -> str:
    """The same with a liquid weight of the new observation."""
    return bonded(params.changed(consensus__bond_mode="yuma3_liquid"))


@cache
def capped(params: ProtocolParams) -> str:
    """Stakes after capping: many equal validators beside two large ones, then few."""
    many, few = [600, 400] + [50] * 40, [90, 5, 5]
    return said(
        consensus.cap_stakes(many, params).tolist(), consensus.cap_stakes(few, params).tolist()
    )


@cache
def after_disputes(params: ProtocolParams) -> str:
    """Miners on whom 70 and 60 % of stake is near, and bonds after one and two disputes."""
    weights = np.array([[0.5, 0.5], [0.5, 0.9], [0.9, 0.5]])
    near = consensus.dispute_flagged(weights, np.full(2, 0.5), [30, 40, 30], [True] * 3, params)
    return said(near.tolist(), consensus.penalised_bonds(np.ones((2, 2)), [1, 2], params).tolist())


# Rewards


@cache
def settled(params: ProtocolParams) -> str:
    """Twenty ranked miners, two of them tied and some winners not eligible, and all other sorts."""
    entries = [
        rewards.RewardEntry(
            HOTKEYS[19 - at],
            Decimal(20 - at if at != 7 else 14).scaleb(-2),
            (10 + 5 * at) * RAO,
            eligible=at not in (0, 4, 5, 8),
        )
        for at in range(20)
    ]
    others = {"unrevealed": 40, "forfeited": 30, "provisional": 25, "unranked": 20}
    entries += [
        rewards.RewardEntry(HOTKEYS[20 + at], Decimal(0), ante * RAO, standing=kind)
        for at, (kind, ante) in enumerate(others.items())
    ]
    entries += [
        rewards.RewardEntry("small", Decimal("0.5"), 9 * RAO),
        rewards.RewardEntry("large", Decimal("0.6"), 20_000 * RAO),
    ]
    settlement = rewards.settle(
        entries,
        emission_rao=1000 * RAO + 7,
        external_rao=11 * RAO,
        carry_in_rao=101 * RAO,
        params=params,
    )
    return said(settlement, rewards.expected_reward(2, 9, 500 * RAO, params))


@cache
def pooled(params: ProtocolParams) -> str:
    """A wide, a top-heavy and a narrow pool, and payouts under several fees."""
    wide = {f"T{at:02d}": Decimal(40 - at) for at in range(36)}
    narrow = dict.fromkeys("ABCD", Decimal("0.25"))
    heavy = {"A": Decimal(1)} | dict.fromkeys("BCDEF", Decimal("0.1"))
    portfolios = [
        pools.pool_portfolio([pools.MemberSignal("m", weights, Decimal(1), Decimal("0.5"))], params)
        for weights in (wide, narrow, heavy)
    ]
    payouts = [
        or_refusal(
            lambda fee=fee: pools.pool_payouts(
                reward_rao=1000, ante_rao=50, contributions={"a": 1, "b": 2}, fee=fee, params=params
            )
        )
        for fee in (None, Decimal("0.10"), Decimal("0.20"))
    ]
    return said(portfolios, payouts)


@cache
def paid(params: ProtocolParams) -> str:
    """The tables of money of the miners, all with the same ante, after an agreed consensus."""
    votes, stakes = votes_and_stakes()
    metrics, scores = score_tables(QUANTA)
    agreement = consensus.consensus_table(
        votes, scores, metrics, stakes=stakes, epoch_id=WEEK.id, params=QUANTA
    )
    tables = settlement.settlement_tables(
        agreement.assign(consensus_weight=agreement["consensus_weight"].to_numpy()[::-1]),
        scores,
        scores[["hotkey"]].assign(ante_rao=50 * RAO),
        emission_rao=1000 * RAO,
        external_rao=0,
        carry_in_rao=0,
        epoch_id=WEEK.id,
        voted=True,
        params=params,
    )
    return said(tables.rewards, tables.ledger_entries)
