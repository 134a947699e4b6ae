"""The simulated season: blind strategies, honest use of the store, the same rows every time."""

import datetime as dt
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sr25519

from data_contracts.consensus import ValidatorWeights
from data_contracts.signals import Commitments, Reveals
from quanta_pipelines.adapters.price_vendors import RecordedVendor, recorded_closes
from quanta_pipelines.adapters.signal_store import NotRecorded, SignalStore
from quanta_pipelines.protocol.commit_reveal import hotkey_from_public_key, verify_signature
from quanta_pipelines.protocol.epoch import Epoch, commit_window, reveal_window_of
from quanta_pipelines.protocol.errors import InvalidEpoch
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import RAO, accepted_positions, parse_portfolio
from quanta_pipelines.simulation.keys import (
    OWN_VALIDATOR,
    simulated_key,
    simulated_rng,
    simulated_secret,
)
from quanta_pipelines.simulation.miners import known_at, plan
from quanta_pipelines.simulation.population import HABITS, NEWCOMERS, Habits, population
from quanta_pipelines.simulation.season import EMISSION_RAO, Season
from quanta_pipelines.simulation.strategies import (
    Dice,
    EqualWeight,
    MeanReversion,
    MinimumVariance,
    Momentum,
    SectorTilt,
    positions,
)
from quanta_pipelines.simulation.validators import validator_set

FIRST = Epoch.parse("2019-Q2-W20")
EPOCHS = Epoch.range(FIRST, "2019-Q3-W27")  # eight
SOON = QUANTA.changed(scoring__provisional_sessions=8)  # ranked, so voted on, in the second epoch
VENDOR = RecordedVendor()
MINERS = population(VENDOR.tickers())


def dump(path: Path) -> str:
    connection = sqlite3.connect(path)
    text = "\n".join(connection.iterdump())
    connection.close()
    return text


@dataclass
class Played:
    store: SignalStore
    path: Path
    dumps: list[str]  # after each epoch


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    path = tmp_path_factory.mktemp("season") / "signals.db"
    store = SignalStore.open(f"sqlite:///{path}", SOON)
    season, dumps = Season(store, VENDOR, FIRST, SOON), []
    for epoch in EPOCHS:
        season.play(epoch)
        dumps.append(dump(path))
    yield Played(store, path, dumps)
    store.close()


# Keys


def test_the_own_validator_is_the_public_development_account():
    seed = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a"  # //Alice
    public, _ = sr25519.pair_from_seed(bytes.fromhex(seed))
    assert hotkey_from_public_key(public) == OWN_VALIDATOR


def test_a_simulated_key_signs_for_its_hotkey():
    key = simulated_key("miner 00")
    assert key == simulated_key("miner 00")
    assert verify_signature(b"message", key.sign(b"message"), key.hotkey)
    assert not verify_signature(b"message", key.sign(b"message"), simulated_key("x").hotkey)


def test_each_purpose_participant_and_epoch_has_its_own_stream():
    names = [("a", "m", "e"), ("b", "m", "e"), ("a", "n", "e"), ("a", "m", "f")]
    assert len({simulated_rng(*name).random() for name in names}) == 4
    assert len({simulated_secret(*name) for name in names}) == 4


# Strategies


@pytest.fixture
def history() -> pd.DataFrame:
    return recorded_closes().iloc[200:261]


@pytest.mark.parametrize("day", [61, 400, 563, 1200])  # 563: the crash of March 2020
def test_every_miner_makes_a_portfolio_within_the_limits(day):
    closes = recorded_closes().iloc[day - 61 : day]
    for miner in MINERS:
        watched = closes[list(miner.order[: miner.breadth])]
        held = positions(miner.strategy, watched, simulated_rng("test", miner.name, str(day)))
        portfolio = parse_portfolio(held, universe=closes.columns)
        weights = [weight for _, weight in portfolio.positions]
        assert sum(weights) == 1
        assert max(weights) <= Decimal("0.20")
        assert 5 <= len(weights) <= 20


def test_equal_weights_are_equal(history):
    held = positions(EqualWeight(8), history, np.random.default_rng(0))
    assert held == tuple((ticker, "0.125000") for ticker in sorted(history.columns[:8]))


def rising(**yields: float) -> pd.DataFrame:
    """Prices that alternate around a steady growth, so that risk is alike."""
    wobble = 1 + 0.001 * (np.arange(31) % 2)
    return pd.DataFrame(
        {name: (1 + rate) ** np.arange(31) * wobble for name, rate in yields.items()}
    )


def test_momentum_and_mean_reversion_rank_the_same_tickers_in_opposite_order():
    history = rising(A=0.00, B=0.01, C=0.02, D=-0.01, E=-0.02, F=0.005)
    up = Momentum(6, lookback=20, skip=2).conviction(history, np.random.default_rng(0))
    down = MeanReversion(6, lookback=20).conviction(history, np.random.default_rng(0))
    assert up.sort_values().index.tolist() == ["E", "D", "A", "F", "B", "C"]
    assert down.sort_values().index.tolist() == ["C", "B", "F", "A", "D", "E"]


def test_minimum_variance_varies_less_than_equal_weights(history):
    returns = history.pct_change().iloc[1:]
    held = positions(MinimumVariance(60, 0.3), history, np.random.default_rng(0))
    weights = pd.Series({ticker: float(weight) for ticker, weight in held})
    assert (returns[weights.index] @ weights).std() < 0.9 * returns.mean(axis=1).std()


def test_a_sector_tilt_moves_weight_between_two_sectors(history):
    tilt = SectorTilt("energy", "health", tilt=2.0)
    belief = tilt.conviction(history, np.random.default_rng(0))
    assert belief[["XOM", "PFE", "KO"]].tolist() == [2.0, 0.5, 1.0]


def test_dice_fall_anew(history):
    throws = {positions(Dice(7), history, simulated_rng("dice", "m", str(n))) for n in range(20)}
    assert len(throws) == 20


def closes_of(epoch: Epoch) -> pd.DataFrame:
    closes = recorded_closes()
    return closes[: pd.Timestamp(epoch.sessions[-1])].tail(66)


def test_no_portfolio_depends_on_a_later_price():
    epoch = EPOCHS[0]
    closes = closes_of(epoch)
    later = closes.copy()
    # The commit window opens with the close before the entry session, so that one is known
    later.loc[pd.Timestamp(epoch.entry_session) :] *= np.linspace(0.5, 2, closes.shape[1])
    for miner in MINERS:
        assert plan(miner, epoch, later, number=30) == plan(miner, epoch, closes, number=30)


def test_portfolios_depend_on_the_last_known_price():
    epoch = EPOCHS[0]
    closes = closes_of(epoch)
    known = closes.copy()
    before_entry = closes.index[closes.index < pd.Timestamp(epoch.entry_session)][-1]
    known.loc[before_entry] *= np.linspace(0.8, 1.25, closes.shape[1])
    moved = [
        plan(miner, epoch, known, number=30) != plan(miner, epoch, closes, number=30)
        for miner in MINERS
    ]
    # 12 of minimum variance, 12 of mean reversion, and the 3 of momentum that skip no session
    assert sum(moved) == 27


def test_a_session_is_known_from_its_close_on():
    epoch = EPOCHS[0]
    closes, moment = closes_of(epoch), epoch.opens_at
    assert known_at(closes, moment).index[-1] == pd.Timestamp(epoch.entry_session)
    early = known_at(closes, moment - dt.timedelta(microseconds=1))
    assert early.index[-1] < pd.Timestamp(epoch.entry_session)


# Population


def test_the_population_is_varied():
    assert len({miner.hotkey for miner in MINERS}) == len(MINERS) == 72
    assert len({(miner.strategy, miner.order, miner.breadth) for miner in MINERS}) == 72
    antes = sorted(miner.ante for miner in MINERS)
    assert Decimal(10) <= antes[0] < 15
    assert 400 < antes[-1] <= 500


def test_habits_say_who_takes_part():
    pausing = HABITS[11]
    assert [n for n in range(20) if not pausing.commits(n)] == [10, 11, 12, 13, 14, 15]
    assert [n for n in range(12) if not Habits(skips_every=4).commits(n)] == [3, 7, 11]
    assert [n for n in range(12) if not Habits(forgets_every=6).reveals(n)] == [5, 11]
    newcomer = MINERS[64]
    assert not newcomer.habits.commits(NEWCOMERS[64] - 1)
    assert newcomer.habits.commits(NEWCOMERS[64])


def test_commitments_and_reveals_lie_in_their_windows():
    epoch = EPOCHS[0]
    closes = closes_of(epoch)
    for miner in MINERS:
        planned = plan(miner, epoch, closes, number=30)
        assert all(commit_window(epoch).contains(step.at) for step in planned.commits)
        for step in planned.reveals:
            assert reveal_window_of(planned.commits[-1].at, epoch).contains(step.at)


# Season


def test_tables_keep_their_contracts(played):
    for epoch in EPOCHS:
        Commitments.validate(played.store.commitments(epoch.id))
        Reveals.validate(played.store.reveals(epoch.id))
        ValidatorWeights.validate(played.store.validator_weights(epoch.id))


def test_every_snapshot_says_simulated(played):
    snapshots = [played.store.snapshot(epoch.id) for epoch in EPOCHS]
    assert {snapshot.source for snapshot in snapshots} == {"simulated"}
    assert {snapshot.emission_rao for snapshot in snapshots} == {EMISSION_RAO} == {1000 * RAO}
    assert len(set(snapshots[0].stakes.values())) == len(snapshots[0].stakes) == 8


def test_no_two_portfolios_of_an_epoch_are_the_same(played):
    for epoch in EPOCHS:
        store = played.store
        rows = accepted_positions(store.reveals(epoch.id), store.commitments(epoch.id))
        held = rows.pivot(index="hotkey", columns="ticker", values="submitted_weight").fillna(0)
        assert len(held) >= 60
        assert not held.duplicated().any()


def test_habits_show_in_the_store(played):
    replacing, mistyping, forgetful = (MINERS[number].hotkey for number in (27, 35, 3))
    for number, epoch in enumerate(EPOCHS):
        commitments = played.store.commitments(epoch.id).set_index("hotkey")
        reveals = played.store.reveals(epoch.id).groupby("hotkey")["verdict"].agg(list)
        assert commitments.query("n_replaced == 1").index.tolist() == [replacing]
        assert reveals[mistyping] == ["hash_mismatch", "accepted"]
        assert (forgetful in reveals) == (number != 5)
        assert (MINERS[64].hotkey in commitments.index) == (number >= NEWCOMERS[64])
        assert reveals.drop(mistyping).map(lambda verdicts: verdicts == ["accepted"]).all()


def test_seven_validators_vote_and_one_wavers(played):
    own, *others = (validator.hotkey for validator in validator_set())
    assert own == OWN_VALIDATOR
    voters = [set(played.store.validator_weights(epoch.id)["validator"]) for epoch in EPOCHS]
    assert voters[0] == set()  # with 5 sessions nobody is ranked yet
    everyone, without_last = set(others), set(others[:-1])
    # the fifth epoch goes by in silence, the seventh vote comes too late
    expected = [everyone, everyone, everyone, without_last, everyone, without_last, everyone]
    assert voters[1:] == expected


def test_votes_are_close_and_not_the_same(played):
    rows = played.store.validator_weights(EPOCHS[-1].id)
    votes = rows.pivot(index="hotkey", columns="validator", values="weight_units")
    assert rows.groupby("validator")["data_hash"].first().nunique() == 7
    spread = (votes.max(axis=1) - votes.min(axis=1)) / votes.median(axis=1)
    # Noise of a price moves a score by little; where active returns are alike, originality
    # multiplies it: its slope is 1 / 0.30.
    assert 0 < spread.median() < 0.02
    assert spread.max() < 0.02 / 0.30


class Interrupted(Exception):
    """The process ends here."""


class FailingStore(SignalStore):
    """A store whose process ends after so many writes."""

    writes_left = 0

    def _count(self) -> None:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise Interrupted

    def commit(self, *args, **kwargs):
        self._count()
        return super().commit(*args, **kwargs)

    def reveal(self, *args, **kwargs):
        self._count()
        return super().reveal(*args, **kwargs)

    def submit_weights(self, *args, **kwargs):
        self._count()
        return super().submit_weights(*args, **kwargs)


def test_a_season_that_is_interrupted_goes_on_to_the_same_store(played, tmp_path):
    path = tmp_path / "signals.db"
    store = FailingStore.open(f"sqlite:///{path}", SOON)
    interruptions = 0
    for epoch in EPOCHS[:2]:
        while True:
            store.writes_left = 50
            try:
                Season(store, VENDOR, FIRST, SOON).play(epoch)  # as after a restart
                break
            except Interrupted:
                interruptions += 1
    assert interruptions == 4  # 129 and then 136 writes, 50 at a time
    assert dump(path) == played.dumps[1]
    store.close()


def test_playing_again_changes_nothing(played):
    season = Season(played.store, VENDOR, FIRST, SOON)
    for number in (7, 2, 3):
        season.play(EPOCHS[number])
    assert dump(played.path) == played.dumps[-1]


def test_each_epoch_only_adds_rows(played):
    for before, after in pairwise(played.dumps):
        assert set(before.splitlines()) < set(after.splitlines())


def test_an_epoch_needs_those_before_it(tmp_path):
    store = SignalStore.open(f"sqlite:///{tmp_path}/signals.db")
    season = Season(store, VENDOR, FIRST)
    with pytest.raises(NotRecorded, match=FIRST.id):
        season.play(FIRST.next())
    with pytest.raises(InvalidEpoch, match=f"starts with {FIRST}"):
        season.play(FIRST.previous())
    store.close()
