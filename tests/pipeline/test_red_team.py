"""The red team on the shipped stocks: two epochs of attacks, every table against its contract.

With twenty tickers no overlap is unlikely enough to be called plagiarism, and two epochs show no
profit. What is tested is that attacks run through the real steps, and that what is said of them is
what the ledger says.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.red_team.campaign import Campaign, Size, campaign
from quanta_pipelines.red_team.casts import names_of_casts
from quanta_pipelines.red_team.findings import Findings, money_of
from quanta_pipelines.red_team.measures import Interval, false_alarms, interval, lines
from quanta_pipelines.red_team.plots import draw
from quanta_pipelines.red_team.report import as_json, for_page, write_page
from quanta_pipelines.red_team.world import ANTE
from quanta_pipelines.simulation.attackers import MINER_KINDS, NAMES, RING
from quanta_pipelines.simulation.price_table import PriceTable, observed, price_table

SIZE = Size(epochs=2, seeds=1, tickers=20, honest=12)
ATTACKS = ("copier lag 1", "cash-like", "duplicate tickers", "non-revealer", RING)


def recorded() -> PriceTable:
    first, last = (pd.Timestamp(day).date() for day in ("2018-01-02", "2019-12-31"))
    return observed(RecordedVendor(), first, last)


@pytest.fixture(scope="module")
def played() -> Campaign:
    """One seed of all that is tested here."""
    return campaign(recorded(), SIZE, ATTACKS, audited=True)


def line(found: Campaign, attack: str):  # type: ignore[no-untyped-def]
    return next(one for one in found.lines if one.attack == attack)


def test_every_attack_has_a_line_under_both_rule_sets(played: Campaign) -> None:
    names = [one.attack for one in played.lines]
    assert names == [*ATTACKS, "miners of the ring"]
    assert all(list(one.earned) == ["QUANTA", "SPEC"] for one in played.lines)


def test_a_refused_portfolio_forfeits_its_ante_under_both_rule_sets(played: Campaign) -> None:
    found = line(played, "duplicate tickers")
    assert found.detected == 1.0
    assert found.epochs_to_detection == 1.0
    assert set(found.alarms) == {"invalid portfolio", "unrevealed"}
    for earned in found.earned.values():
        assert earned.profit == -float(ANTE)
        assert earned.per_token == -1.0


def test_who_opens_one_of_three_forfeits_two_antes(played: Campaign) -> None:
    season = next(one for (_, cast), one in played.seasons.items() if "non-revealer" in cast)
    names = season.players["non-revealer"]
    alarms = season.pointed_at()
    silent = alarms[(alarms["alarm"] == "unrevealed") & alarms["hotkey"].isin(names)]
    assert silent.groupby("epoch_id").size().tolist() == [2, 2]
    gains = season.gains("QUANTA").merge(silent[["epoch_id", "hotkey"]])
    assert (gains["gain"] == -float(ANTE)).all()


def test_gains_are_what_the_accounts_of_the_ledger_say() -> None:
    # the miner stakes 10, loses them, and is paid 4; the validator earns 3
    rows = [
        ("miner:a", "escrow:a", 10, "ante_posted"),
        ("escrow:a", "pool", 10, "ante_staked"),
        ("pool", "miner:a", 4, "reward"),
        ("validators", "validator:v", 3, "dividend"),
        ("pool", "treasury", 6, "rake"),
    ]
    ledger = pd.DataFrame(rows, columns=["from_account", "to_account", "amount_rao", "reason"])
    ledger["amount_rao"] *= RAO
    antes = pd.DataFrame({"hotkey": ["a"], "ante_rao": [10 * RAO]})
    found = money_of({"ledger_entries": ledger, "commitments": antes}).set_index("hotkey")
    assert found["gain"].to_dict() == {"a": -6.0, "v": 3.0}
    assert found["at_risk"].to_dict() == {"a": 10.0, "v": 0.0}


@pytest.mark.soak
def test_the_same_season_twice_is_the_same(played: Campaign) -> None:
    again = campaign(recorded(), SIZE, ("whale ante",))
    for rules in ("QUANTA", "SPEC"):
        pd.testing.assert_frame_equal(
            again.seasons[1, "honest"].gains(rules), played.seasons[1, "honest"].gains(rules)
        )


def test_report_page_and_pictures_say_what_was_found(played: Campaign, tmp_path: Path) -> None:
    said = json.loads(json.dumps(as_json(played)))
    assert [one["attack"] for one in said["attacks"]] == [one.attack for one in played.lines]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\nold\n<!-- end -->\nafter\n")
    write_page(page, played)
    text = page.read_text()
    assert for_page(played) in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    for picture in draw(played, tmp_path):
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_page_without_a_place_is_left_alone(played: Campaign, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no place\n")
    with pytest.raises(ValueError, match="no place for the tables"):
        write_page(page, played)
    assert page.read_text() == "no place\n"


def test_unknown_attackers_and_absent_tickers_are_refused_by_name() -> None:
    found = CliRunner().invoke(main, ["red-team", "--attackers", "copier lag 9"])
    assert found.exit_code == 2
    assert "there is no attacker 'copier lag 9'" in found.output
    with pytest.raises(InvalidPrices, match="30 tickers are wanted, 20 have prices"):
        campaign(recorded(), Size(2, 1, 30), ("cash-like",))
    with pytest.raises(InvalidPrices, match="epochs are wanted, the prices hold"):
        campaign(recorded(), Size(400, 1, 20), ("cash-like",))


def test_every_attack_has_exactly_one_season() -> None:
    for apart in (False, True):
        parts = [part for name in names_of_casts(NAMES, apart=apart) for part in name.split(" + ")]
        assert sorted(parts) == sorted([*NAMES, "honest", "honest, voting"])
    assert names_of_casts([RING]) == ["honest, voting", RING]


def test_an_interval_is_students() -> None:
    # mean 2, standard deviation 1, t(2) at 97.5 % is 4.302653: 4.302653 / sqrt(3) = 2.484138
    found = interval(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, -0.484138, 4.484138))
    assert found.verdict == "neither"
    assert interval(np.array([2.0, 2.1])).verdict == "above"
    assert interval(np.array([-2.0, -2.1])).verdict == "below"
    assert interval(np.array([1.0])) == Interval(1.0, None, None)


def season(seed: int, cast: str, gain: float, alarms: list[tuple[str, str]]) -> Findings:
    """Two epochs in which a seat gains so much on 10 at risk and an honest miner 1."""
    attacks = {"whale ante": {"seat"}} if cast == "whale ante" else {}
    found = Findings(
        seed,
        cast,
        players=attacks,
        seats={name: frozenset({"seat"}) for name in attacks},
        all_seats=("seat",),
        miners=frozenset({"seat", "miner"}),
    )
    for epoch in ("2019-Q4-W50", "2019-Q4-W51"):
        money = pd.DataFrame(
            {"kind": "miner", "hotkey": ["miner", "seat"], "gain": [1.0, gain], "at_risk": 10.0}
        ).assign(slashed=0.0)
        said = [hotkey for at, hotkey in alarms if at == epoch]
        found.add(epoch, money, money, pd.DataFrame({"hotkey": said, "alarm": "cluster"}))
    return found


def test_profit_is_taken_against_the_season_without_attackers() -> None:
    seasons = {
        (seed, cast): season(seed, cast, gain, alarms)
        for seed, cast, gain, alarms in (
            (1, "honest", 2.0, []),
            (1, "whale ante", 5.0, [("2019-Q4-W51", "seat")]),
            (2, "honest", 4.0, []),
            (2, "whale ante", 5.0, [("2019-Q4-W51", "miner")]),
        )
    }
    (found,) = lines(["whale ante"], seasons)
    earned = found.earned["QUANTA"]
    assert (earned.profit, earned.honest_profit) == (5.0, 3.0)
    # per token at risk 0.5 against 0.2 and 0.4: differences 0.3 and 0.1
    assert earned.difference.mean == pytest.approx(0.2)
    assert (found.detected, found.epochs_to_detection) == (0.5, 2.0)
    (alarm,) = false_alarms(seasons)
    # one of two epochs of one honest miner; in the other season nobody but the attacker
    assert (alarm.honest_season, alarm.with_attackers) == (0.0, 0.25)


def test_of_two_files_with_a_ticker_the_first_counts(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"ticker": "AA", "date": pd.bdate_range("2020-01-06", periods=2), "close": 10.0}
    ).assign(dividend=0.0, split=1.0)
    rows.to_parquet(tmp_path / "one.parquet")
    both = pd.concat([rows.assign(close=99.0), rows.assign(ticker="BB")])
    both.to_parquet(tmp_path / "two.parquet")
    table = price_table([tmp_path / "one.parquet", tmp_path / "two.parquet"])
    assert table.tickers() == ("AA", "BB")
    assert set(table.rows["close"]) == {10.0}
    rows.drop(columns="split").to_parquet(tmp_path / "three.parquet")
    with pytest.raises(InvalidPrices, match=r"three\.parquet has no column split"):
        price_table([tmp_path / "three.parquet"])
    pd.concat([rows, rows]).to_parquet(tmp_path / "four.parquet")
    with pytest.raises(InvalidPrices, match="AA has two prices on"):
        price_table([tmp_path / "four.parquet"])


def test_kinds_that_may_never_pay_are_those_without_exception() -> None:
    never = {kind.name for kind in MINER_KINDS if kind.may_never_pay}
    assert never == {
        "exact copier",
        *(f"copier lag {lag}" for lag in (1, 2, 3, 4)),
        "zero-weight padding",
        "duplicate tickers",
        "sybil split",
        "cash-like",
        "hindsight picker",
    }
