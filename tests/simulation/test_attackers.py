"""What each attacker sends, seen one move at a time."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.commit_reveal import commitment
from quanta_pipelines.protocol.epoch import Epoch, commit_window
from quanta_pipelines.protocol.errors import InvalidPortfolio
from quanta_pipelines.protocol.portfolio import parse_portfolio, portfolio_hash
from quanta_pipelines.protocol.votes import WEIGHT_UNITS
from quanta_pipelines.simulation.attackers import KINDS, MINER_KINDS, NAMES, SHARED
from quanta_pipelines.simulation.attackers.copying import Copier, FrontRunner, LaggedCopier
from quanta_pipelines.simulation.attackers.identities import ReRegistration
from quanta_pipelines.simulation.attackers.scene import Leak, Scene, own_positions
from quanta_pipelines.simulation.attackers.validators import (
    Colluder,
    HonestVoter,
    LazyValidator,
    WeightCopier,
)
from quanta_pipelines.simulation.keys import simulated_key
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import Habits, SimulatedMiner
from quanta_pipelines.simulation.strategies import EqualWeight

EPOCH = Epoch.parse("2019-Q4-W50")
STOCKS = tuple(f"{letter}{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ") + tuple(
    f"{letter}X" for letter in "ABCDEFGHIJKLMN"
)
CASH = ("ZZCA", "ZZCB", "ZZCC", "ZZCD", "ZZCE")
TARGET, OTHER = simulated_key("target").hotkey, simulated_key("other").hotkey
LEAKED = (("AA", "0.2"), ("BB", "0.2"), ("CC", "0.2"), ("DD", "0.2"), ("EE", "0.2"))
COMMITTED = commit_window(EPOCH).opens + dt.timedelta(hours=5)


def seat(number: int) -> SimulatedMiner:
    name = f"seat {number}"
    order = STOCKS[number:] + STOCKS[:number]
    return SimulatedMiner(
        name, simulated_key(name).hotkey, EqualWeight(10), order, 10, Decimal(10), Habits()
    )


SEATS = [seat(number) for number in range(5)]


def scene(**changes: object) -> Scene:
    rng = np.random.default_rng(7)
    days = pd.bdate_range(end="2019-12-06", periods=61)
    moves = rng.normal(0.0, 0.01, (61, len(STOCKS)))
    flat = rng.normal(0.0, 0.0001, (61, len(CASH)))
    closes = pd.DataFrame(
        100 * np.cumprod(1 + np.hstack([moves, flat]), axis=0), days, [*STOCKS, *CASH]
    )
    board = pd.DataFrame(
        {"hotkey": [OTHER, TARGET], "rank": [2, 1], "final_tier": ["penalty_band", "top_tier"]}
    )
    return replace(
        Scene(
            epoch=EPOCH,
            closes=closes,
            revealed={},
            board=board,
            leaks={TARGET: Leak(LEAKED, COMMITTED), OTHER: Leak(LEAKED, COMMITTED)},
            first_session=pd.Series(0.0, index=closes.columns),
            near_cash=CASH,
        ),
        **changes,
    )


def moves_of(name: str, at: Scene | None = None) -> list[Plan]:
    attack = KINDS[name].create()
    return attack.moves(at or scene(), SEATS[: attack.seats])


def sent(plan: Plan) -> dict[str, float]:
    return {ticker: float(weight) for ticker, weight in plan.commits[0].reveal.positions}


@pytest.mark.parametrize("name", [kind.name for kind in MINER_KINDS])
def test_every_attack_sends_what_it_committed_to_inside_the_window(name: str) -> None:
    window = commit_window(EPOCH)
    for plan in moves_of(name):
        (step,) = plan.commits
        claim = step.reveal
        assert window.contains(step.at)
        if name != "duplicate tickers":
            hidden = portfolio_hash(claim.positions)
            expected = commitment(hidden, claim.secret, claim.hotkey, claim.epoch_id)
            assert claim.commitment == expected
        assert all(each.reveal == claim for each in plan.reveals)


def test_names_are_those_of_the_registry_and_nobody_shares_two_seasons() -> None:
    shared = [name for group in SHARED for name in group]
    assert len(shared) == len(set(shared))
    assert set(shared) <= set(NAMES)
    assert len(NAMES) == len(set(NAMES)) == 21


def test_an_exact_copier_sends_the_leaders_portfolio_after_the_leader() -> None:
    (plan,) = moves_of("exact copier")
    assert plan.commits[0].reveal.positions == LEAKED
    assert plan.commits[0].at > COMMITTED


def test_a_front_runner_is_an_hour_earlier() -> None:
    (plan,) = FrontRunner().moves(scene(), SEATS[:1])
    assert COMMITTED - plan.commits[0].at == dt.timedelta(hours=1, minutes=2)
    assert plan.commits[0].reveal.positions == LEAKED


def test_a_front_runner_of_the_very_first_commitment_waits_for_the_window() -> None:
    early = scene(leaks={TARGET: Leak(LEAKED, commit_window(EPOCH).opens)})
    (plan,) = FrontRunner().moves(early, SEATS[:1])
    assert plan.commits[0].at == commit_window(EPOCH).opens


def test_copiers_of_one_season_copy_different_leaders_and_stay_with_them() -> None:
    first, second = Copier(place=0), Copier(place=1)
    for copier in (first, second):
        copier.moves(scene(), SEATS[:1])
    assert (first.target, second.target) == (TARGET, OTHER)
    first.moves(scene(board=scene().board.iloc[:1]), SEATS[:1])
    assert first.target == TARGET


def test_a_lagged_copier_sends_what_was_revealed_so_many_epochs_ago() -> None:
    held = pd.DataFrame({"hotkey": TARGET, "ticker": list(STOCKS[:5]), "weight": 0.2})
    other = held.assign(ticker=list(STOCKS[5:10]))
    two, one = EPOCH.previous().previous(), EPOCH.previous()
    past = scene(revealed={two.id: held, one.id: other})
    (plan,) = LaggedCopier(lag=2).moves(past, SEATS[:1])
    assert sent(plan) == dict.fromkeys(STOCKS[:5], 0.2)


def test_a_copier_without_a_target_plays_its_own_portfolio() -> None:
    (plan,) = Copier().moves(scene(leaks={}), SEATS[:1])
    assert plan.commits[0].reveal.positions == own_positions(SEATS[0], scene(leaks={}))


def test_noise_moves_every_weight_and_no_name() -> None:
    spread = tuple((name, "0.1") for name in STOCKS[:10])
    (plan,) = moves_of("copier with noise", scene(leaks={OTHER: Leak(spread, COMMITTED)}))
    assert set(sent(plan)) == set(STOCKS[:10])
    assert all(0.05 < weight < 0.15 and weight != 0.1 for weight in sent(plan).values())


def test_padding_fills_up_to_thirty_names_and_takes_nothing_that_counts() -> None:
    (plan,) = moves_of("zero-weight padding")
    held = sent(plan)
    assert len(held) == 30
    parse_portfolio(plan.commits[0].reveal.positions)
    # 25 names at a millionth come out of the largest of the five
    assert sorted(held.values())[:25] == [1e-6] * 25
    assert sorted(held.values())[25:] == pytest.approx([0.2 - 25e-6, 0.2, 0.2, 0.2, 0.2])


def test_a_ticker_in_two_spellings_is_refused() -> None:
    (plan,) = moves_of("duplicate tickers")
    positions = plan.commits[0].reveal.positions
    assert sum(sent(plan).values()) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(InvalidPortfolio, match="each ticker stands once"):
        parse_portfolio(positions)


def test_sybils_hold_the_same_names_with_weights_that_differ() -> None:
    plans = moves_of("sybil split")
    assert len({plan.commits[0].miner.hotkey for plan in plans}) == 5
    assert len({frozenset(sent(plan)) for plan in plans}) == 1
    assert len({tuple(sent(plan).values()) for plan in plans}) == 5


def test_a_hedged_pair_shares_no_name_and_moves_against_each_other() -> None:
    one, other = (sent(plan) for plan in moves_of("hedged sybil pair"))
    assert not set(one) & set(other)
    returns = scene().closes[list(STOCKS)].pct_change().iloc[1:]
    apart = returns.sub(returns.mean(axis=1), axis=0)
    sides = [sum(weight * apart[name] for name, weight in held.items()) for held in (one, other)]
    assert np.corrcoef(*sides)[0, 1] < 0


def test_cash_is_all_cash_or_two_fifths() -> None:
    assert sent(moves_of("cash-like")[0]) == dict.fromkeys(CASH, 0.2)
    mixed = sent(moves_of("diluted with cash")[0])
    assert sum(mixed[name] for name in CASH) == pytest.approx(0.4, abs=1e-5)


def test_a_lottery_ticket_holds_what_swings_most() -> None:
    swings = scene().closes.pct_change().std()
    assert set(sent(moves_of("lottery ticket")[0])) == set(swings.nlargest(5).index)


def test_hindsight_buys_what_has_risen() -> None:
    held = sent(moves_of("hindsight picker")[0])
    past = scene().closes[list(STOCKS)].pct_change().iloc[1:].mean()
    assert past[list(held)].mean() > past.mean()
    assert not set(held) & set(CASH)


def test_a_name_is_changed_after_a_loss_and_kept_after_a_win() -> None:
    attack = ReRegistration()

    def name(tier: str, hotkey: str) -> str:
        board = pd.DataFrame({"hotkey": [hotkey], "rank": [1], "final_tier": [tier]})
        (plan,) = attack.moves(scene(board=board), SEATS[:1])
        return plan.commits[0].miner.hotkey

    first = name("top_tier", SEATS[0].hotkey)
    second = name("penalty_band", first)
    assert first == SEATS[0].hotkey != second
    assert name("penalty_band", first) == second  # an old name's loss is no new one
    assert name("penalty_band", second) not in (first, second)


def test_of_three_commitments_the_best_is_opened() -> None:
    gains = pd.Series(0.0, index=scene().closes.columns)
    gains[STOCKS[11]] = 0.05  # of the ten names of the third seat, the last
    plans = moves_of("non-revealer", scene(first_session=gains))
    assert [len(plan.reveals) for plan in plans] == [0, 0, 1]


def test_a_whale_posts_the_most_there_may_be() -> None:
    (plan,) = moves_of("whale ante")
    assert plan.commits[0].miner.ante == Decimal(10_000)


def row(*units: int) -> pd.DataFrame:
    hotkeys = [simulated_key(f"voted {at}").hotkey for at in range(len(units))]
    return pd.DataFrame({"hotkey": hotkeys, "weight_units": units, "composite": 0.5})


NOTHING = pd.DataFrame()
SCORED = row(500_000_000, 300_000_000, 200_000_000)


def test_every_vote_sums_to_one() -> None:
    agreed = SCORED.assign(consensus_weight=[0.4, 0.4, 0.2])
    for voter in (HonestVoter(), Colluder([SCORED["hotkey"][0]]), WeightCopier(), LazyValidator()):
        vote = voter.vote(SCORED, agreed, np.random.default_rng(1))
        assert int(vote["weight_units"].sum()) == WEIGHT_UNITS


def test_colluders_double_the_share_of_their_friends() -> None:
    class Silent(np.random.Generator):
        def standard_normal(self, n: int) -> "np.typing.NDArray[np.float64]":
            return np.zeros(n)

    silent = Silent(np.random.PCG64(1))
    vote = Colluder([SCORED["hotkey"][2]]).vote(SCORED, NOTHING, silent)
    # 5 : 3 : 2 becomes 5 : 3 : 4
    expected = [5e9 / 12, 3e9 / 12, 4e9 / 12]
    assert vote["weight_units"].tolist() == pytest.approx(expected, abs=1)


def test_a_weight_copier_sends_what_was_agreed_and_scores_while_nothing_was() -> None:
    agreed = SCORED.assign(consensus_weight=[0.25, 0.25, 0.5])
    rng = np.random.default_rng(1)
    vote = WeightCopier().vote(SCORED, agreed, rng)
    assert vote["weight_units"].tolist() == [250_000_000, 250_000_000, 500_000_000]
    assert int(WeightCopier().vote(SCORED, NOTHING, rng)["weight_units"].sum()) == WEIGHT_UNITS


def test_a_lazy_validator_repeats_its_first_row_without_those_who_left() -> None:
    voter, rng = LazyValidator(), np.random.default_rng(1)
    first = voter.vote(SCORED, NOTHING, rng)["weight_units"]
    turned = SCORED.assign(weight_units=[1, 1, WEIGHT_UNITS - 2])
    assert voter.vote(turned, NOTHING, rng)["weight_units"].tolist() == first.tolist()
    left = voter.vote(turned.iloc[:2], NOTHING, rng)["weight_units"]
    assert left[0] / left[1] == pytest.approx(first[0] / first[1])
