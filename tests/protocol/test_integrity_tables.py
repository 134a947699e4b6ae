"""Flags of a whole epoch, from returns and portfolios to scores and money, with copiers beside."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol import consensus, integrity, settlement
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.horizons import horizon_table
from quanta_pipelines.protocol.invariants import unfounded_flags, unshared_pairs
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.scoring import score_table

FIRST, WEEKS, TICKERS = Epoch.parse("2025-Q1-W10"), 9, 60
EPOCHS = Epoch.range(FIRST, "2025-Q2-W18")
ALPHA = 10**9
OWN_VOTE = "validator"


@dataclass(frozen=True)
class Season:
    """Weights by week and miner, and what the tickers returned; their mean is the benchmark."""

    hotkeys: tuple[str, ...]
    weights: np.ndarray  # [weeks, p, k]; a row of zeros: nothing was committed
    moves: np.ndarray  # [sessions, k]
    coldkeys: dict[str, str]

    def portfolios(self):
        """Table ``Portfolios`` of every week; nobody fills a week here."""
        week, miner, ticker = np.nonzero(self.weights)
        opened = pd.DatetimeIndex([pd.Timestamp(epoch.opens_at) for epoch in EPOCHS]).as_unit("ns")
        began = {
            hotkey: EPOCHS[int(np.flatnonzero(self.weights[:, at].any(axis=1))[0])].id
            for at, hotkey in enumerate(self.hotkeys)
        }
        names = np.array(self.hotkeys)[miner]
        return pd.DataFrame(
            {
                "epoch_id": np.array([epoch.id for epoch in EPOCHS], dtype=object)[week],
                "hotkey": pd.Series(names, dtype=object),
                "ticker": np.array([f"T{at:02d}" for at in range(TICKERS)], dtype=object)[ticker],
                "weight": self.weights[week, miner, ticker],
                "filled_epochs": 0,
                "history_epoch": [began[name] for name in names],
                "committed_at": opened[week] - pd.to_timedelta(600 - miner, unit="min"),
            }
        )

    def returns(self):
        """Table ``PortfolioReturns`` of every week."""
        held = self.portfolios().drop_duplicates(["epoch_id", "hotkey"])
        parts, at = [], 0
        for week, epoch in enumerate(EPOCHS):
            days = pd.DatetimeIndex(list(epoch.sessions)).as_unit("ns")
            moves = self.moves[at : at + len(days)]
            at += len(days)
            now = held[held["epoch_id"] == epoch.id].set_index("hotkey")
            for miner, hotkey in enumerate(self.hotkeys):
                if hotkey in now.index:
                    parts.append(
                        pd.DataFrame(
                            {
                                "epoch_id": epoch.id,
                                "hotkey": hotkey,
                                "session": days,
                                "portfolio_return": moves @ self.weights[week, miner],
                                "benchmark_return": moves.mean(axis=1),
                                "unpriced_weight": 0.0,
                                "turnover": 0.0,
                                "filled_epochs": 0,
                                "history_epoch": now.at[hotkey, "history_epoch"],
                            }
                        )
                    )
        return pd.concat(parts, ignore_index=True)

    def universe(self):
        days = [day for epoch in EPOCHS for day in epoch.sessions]
        index = pd.DatetimeIndex(days).as_unit("ns")
        return pd.Series(self.moves[:, ::2].mean(axis=1), index=index)


def drawn(seed, miners=24):
    """Honest miners with ten names each, one of which changes each week."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((WEEKS, miners, TICKERS))
    for miner in range(miners):
        names = rng.choice(TICKERS, 10, replace=False)
        share = rng.uniform(0.5, 1.0, 10)
        for week in range(WEEKS):
            weights[week, miner, names] = share / share.sum()
            fresh = np.setdiff1d(np.arange(TICKERS), names)
            names[rng.integers(10)] = rng.choice(fresh)
    sessions = sum(len(epoch.sessions) for epoch in EPOCHS)
    market = rng.normal(0.0005, 0.006, sessions)[:, None]
    moves = market + rng.normal(0.0, 0.015, (sessions, TICKERS))
    return Season(tuple(f"m{at:02d}" for at in range(miners)), weights, moves, {})


def with_copiers(season, original, count, *, since=0, lag=0):
    """The season and copiers of one miner; before ``since`` they hold what they drew."""
    own = drawn(999, count).weights.copy()
    own[since:] = 0.0
    first = max(since, lag)
    own[first:] = season.weights[first - lag : WEEKS - lag, [original]]
    return replace(
        season,
        hotkeys=(*season.hotkeys, *(f"z{at:02d}" for at in range(count))),
        weights=np.concatenate([season.weights, own], axis=1),
    )


@dataclass(frozen=True)
class Epochs:
    """What one epoch's rules say."""

    similarity: pd.DataFrame
    flags: pd.DataFrame
    scores: pd.DataFrame
    rewards: pd.DataFrame


def played(season, params=QUANTA):
    """The last week of a season, from returns to money; the platform's own vote is consensus."""
    epoch = EPOCHS[-1]
    portfolios, returns = season.portfolios(), season.returns()
    view = integrity.epoch_view(
        integrity.committed_positions(portfolios),
        returns,
        season.universe(),
        epoch_id=epoch.id,
        params=params,
    )
    opening = integrity.Opening(frozenset(season.hotkeys), season.coldkeys)
    pairs = integrity.similarity_table(view, params)
    earned = pd.Series(0.01, index=[f"T{at:02d}" for at in range(TICKERS)])
    flags = integrity.flags_table(view, pairs, earned, opening, None, params)
    now = portfolios[portfolios["epoch_id"] == epoch.id]
    metrics = horizon_table(returns, epoch_id=epoch.id, params=params)
    committed = now.drop_duplicates("hotkey")[["hotkey", "committed_at"]]
    posted = committed.rename(columns={"committed_at": "received_at"}).assign(ante_rao=50 * ALPHA)
    scores = score_table(
        metrics,
        now,
        returns[returns["epoch_id"] == epoch.id],
        posted,
        epoch_id=epoch.id,
        integrity=integrity.for_scores(flags, set()),
        params=params,
    )
    votes = consensus.validator_row(scores, metrics, params).assign(validator=OWN_VOTE)
    agreed = consensus.consensus_table(
        votes, scores, metrics, stakes={OWN_VOTE: ALPHA}, epoch_id=epoch.id, params=params
    )
    money = settlement.settlement_tables(
        agreed,
        scores,
        posted,
        emission_rao=1000 * ALPHA,
        external_rao=0,
        carry_in_rao=0,
        epoch_id=epoch.id,
        voted=True,
        cluster_members=integrity.further_members(flags),
        params=params,
    )
    return Epochs(pairs, flags, scores.set_index("hotkey"), money.rewards.set_index("hotkey"))


PLACES = ["score_rank", "percentile", "tier", "eligible"]


@pytest.fixture(scope="module")
def honest():
    season = drawn(7)
    return season, played(season)


def test_honest_miners_are_left_alone(honest):
    _, found = honest
    flags = found.flags
    assert (flags["originality"] == 1).all()
    assert (flags["variance_factor"] == 1).all()
    assert not flags[["cluster_member", "plagiarism_suspected", "below_least_stake"]].any(axis=None)
    assert (found.scores["standing"] == "ranked").all()
    assert flags["contribution"].notna().all()


def test_an_exact_copier_is_suspected_clustered_and_not_ranked(honest):
    season, _ = honest
    found = played(with_copiers(season, 3, 1))
    flags = found.flags.set_index("hotkey")
    assert flags.loc["z00", ["plagiarism_suspected", "suspected_of"]].tolist() == [True, "m03"]
    assert flags.loc["z00", ["cluster_id", "cluster_size", "cluster_link"]].tolist() == [
        *("m03", 2, "correlation"),
    ]
    assert not flags.loc["m03", ["plagiarism_suspected", "cluster_member"]].any()
    assert found.scores.loc["z00", "standing"] == "unranked"
    copies = found.similarity[found.similarity["measure"] == "holdings"]
    assert set(copies["hotkey"]) == {"z00"}
    assert (copies["shared_weight"] >= 1 - 1e-6).any()


def test_a_copier_a_week_behind_pays_and_its_evidence_names_whom_it_is_like(honest):
    season, _ = honest
    found = played(with_copiers(season, 3, 1, since=4, lag=1))
    row = found.flags.set_index("hotkey").loc["z00"]
    assert row["originality"] < 1
    assert (row["earlier_hotkey"], row["correlation"] >= row["correlation_threshold"]) == (
        *("m03", True),
    )
    assert row["earlier_since_epoch"] is not None
    # what it held of m03's present portfolio, m03 had held before
    assert row["own_since_epoch"] is None
    assert found.scores.loc["z00", "final_score"] == pytest.approx(
        found.scores.loc["z00", "composite"] * row["originality"], abs=1e-6
    )
    assert found.flags.set_index("hotkey").loc["m03", "originality"] == 1


@pytest.mark.parametrize(("count", "since", "lag"), [(1, 0, 0), (5, 0, 0), (3, 4, 1), (6, 6, 0)])
def test_copiers_leave_the_row_of_the_copied_as_it_was(honest, count, since, lag):
    # the better an original, the more it is worth to copy: the first of the ranks
    season, before = honest
    best = int(before.scores["score_rank"].astype(float).argmin())
    name = season.hotkeys[best]
    after = played(with_copiers(season, best, count, since=since, lag=lag))
    one, other = before.scores.drop(columns=PLACES), after.scores.drop(columns=PLACES)
    pd.testing.assert_frame_equal(one, other.loc[one.index])
    assert after.scores.at[name, "eligible"] == before.scores.at[name, "eligible"]
    assert after.rewards.at[name, "payout_rao"] >= before.rewards.at[name, "payout_rao"]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 23), st.integers(1, 4), st.integers(0, 2))
def test_no_copier_lowers_the_factors_of_whom_it_copies(seed, original, count, lag):
    season = drawn(seed)
    before = played(season).flags.set_index("hotkey")
    after = played(with_copiers(season, original, count, since=3, lag=lag)).flags
    name = season.hotkeys[original]
    columns = ["originality", "variance_factor", "cluster_member", "plagiarism_suspected"]
    assert after.set_index("hotkey").loc[name, columns].tolist() == (
        before.loc[name, columns].tolist()
    )


def test_one_coldkey_is_one_hand(honest):
    season, _ = honest
    found = played(replace(season, coldkeys={"m01": "cold", "m05": "cold", "m09": "other"})).flags
    rows = found.set_index("hotkey").loc[["m01", "m05", "m09"]]
    assert rows["cluster_id"].tolist() == ["m01", "m01", "m09"]
    assert rows["cluster_member"].tolist() == [False, True, False]
    assert rows["cluster_link"].tolist() == ["coldkey", "coldkey", ""]


def view_of(season):
    return integrity.epoch_view(
        integrity.committed_positions(season.portfolios()),
        season.returns(),
        season.universe(),
        epoch_id=EPOCHS[-1].id,
    )


def flags_of(season, **known):
    view = view_of(season)
    opening = integrity.Opening(**({"committed": frozenset(season.hotkeys)} | known))
    pairs = integrity.similarity_table(view)
    earned = pd.Series(0.0, index=[f"T{at:02d}" for at in range(TICKERS)])
    return integrity.flags_table(view, pairs, earned, opening, None).set_index("hotkey")


def test_a_position_goes_to_who_committed_and_not_to_who_stayed_away(honest):
    season, _ = honest
    hand = {"m01": "cold", "m05": "cold"}
    silent = frozenset(season.hotkeys) - {"m01"}
    assert flags_of(season, coldkeys=hand).loc["m05", "cluster_member"]
    assert flags_of(season, coldkeys=hand, committed=silent).loc["m01", "cluster_member"]
    # a member that committed and has never revealed anything holds it too, and loses it
    both = flags_of(season, coldkeys=hand | {"new": "cold"}, committed=frozenset(["new"]))
    assert both.loc[["m01", "m05"], "cluster_id"].tolist() == ["new", "new"]


def test_a_confirmed_pair_is_a_cluster_whose_link_is_the_case(honest):
    season, _ = honest
    found = flags_of(season, one_hand=[("m02", "m04"), ("m04", "m08"), ("m02", "gone")])
    assert found.loc[["m02", "m04", "m08"], "cluster_id"].tolist() == ["m02"] * 3
    assert found.loc["m08", "cluster_link"] == "case"


def test_least_stake_counts_where_bonds_are_recorded_and_only_there(honest):
    # three weeks with two ranked miners each, each of which earned 90 - 50 = 40 ALPHA
    season, _ = honest
    assert flags_of(season)["least_stake_rao"].isna().all()
    paid = pd.DataFrame(
        {"standing": ["ranked"] * 2, "payout_rao": [90 * ALPHA] * 2, "ante_rao": [50 * ALPHA] * 2}
    )
    bonds = integrity.bonds_of({"m00": 61 * ALPHA, "m01": 59 * ALPHA}, [paid] * 3)
    found = flags_of(season, bonds=bonds, coldkeys={"m02": "cold", "m03": "cold"})
    # 1.5 * 40 ALPHA, twice that for two identities of one hand; who has no bond has none
    assert found.loc[["m00", "m01"], "below_least_stake"].tolist() == [False, True]
    assert found.loc[["m00", "m02"], "least_stake_rao"].tolist() == [60 * ALPHA, 120 * ALPHA]
    assert found.loc["m02", "stake_rao"] == 0


def test_a_high_variance_is_flagged_in_its_second_epoch(honest):
    season, _ = honest
    lottery = season.weights.copy()
    lottery[:, 0] = 0.0
    lottery[:, 0, :1] = 1.0
    wild = replace(season, weights=lottery)
    view = view_of(wild)
    opening = integrity.Opening(frozenset(wild.hotkeys))
    pairs, earned = integrity.similarity_table(view), pd.Series(dtype="float64")
    first = integrity.flags_table(view, pairs, earned, opening, None).set_index("hotkey")
    assert first.loc["m00", "variance_ratio"] > 3
    assert first.loc["m00", "variance_factor"] == pytest.approx(
        3 / first.loc["m00", "variance_ratio"], abs=1e-9
    )
    assert first.loc["m00", ["variance_high_epochs", "variance_flag"]].tolist() == [1, False]
    again = integrity.flags_table(view, pairs, earned, opening, first.reset_index())
    row = again.set_index("hotkey").loc["m00"]
    assert row[["variance_high_epochs", "variance_flag"]].tolist() == [2, True]


def test_the_gates_see_what_they_are_for(honest):
    season, found = honest
    now = season.portfolios()
    now = now[now["epoch_id"] == EPOCHS[-1].id]
    assert unfounded_flags(found.flags, now, QUANTA).empty
    copied = played(with_copiers(season, 3, 1))
    pairs = copied.similarity
    held = with_copiers(season, 3, 1).portfolios()
    held = held[held["epoch_id"] == EPOCHS[-1].id]
    assert unshared_pairs(pairs, held, EPOCHS[-1].id).empty
    assert len(unshared_pairs(pairs, now, EPOCHS[-1].id)) > 0  # without the copier's portfolio
    lost = found.flags.iloc[1:]
    assert unfounded_flags(lost, now, QUANTA)["hotkey"].tolist() == [found.flags["hotkey"].iloc[0]]
    two = found.flags.assign(cluster_id=found.flags["hotkey"].iloc[0])
    assert len(unfounded_flags(two, now, QUANTA)) == len(two)


def test_nobody_at_all_and_a_first_week_are_empty_tables_and_no_error():
    season = drawn(3, 4)
    first = season.portfolios()
    first = first[first["epoch_id"] == FIRST.id]
    returns = season.returns()
    returns = returns[returns["epoch_id"] == FIRST.id]
    view = integrity.epoch_view(
        integrity.committed_positions(first), returns, season.universe(), epoch_id=FIRST.id
    )
    opening = integrity.Opening(frozenset(season.hotkeys))
    pairs = integrity.similarity_table(view)
    flags = integrity.flags_table(view, pairs, pd.Series(dtype="float64"), opening, None)
    assert pairs.empty
    assert flags["originality"].isna().all()
    assert set(flags["active_reason"]) == {"5 common sessions, active returns need 10"}
    none = integrity.epoch_view(
        integrity.committed_positions(first.head(0)),
        returns.head(0),
        season.universe(),
        epoch_id=FIRST.id,
    )
    pairs = integrity.similarity_table(none)
    assert pairs.empty
    assert integrity.flags_table(none, pairs, pd.Series(dtype="float64"), opening, None).empty
