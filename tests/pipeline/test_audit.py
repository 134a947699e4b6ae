"""``quanta audit`` and ``quanta balance`` on settled epochs, and on ledgers that were spoiled."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.audit import Problem, audit, audit_lines, balance, with_rates
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.conversion import Conversion, Rate
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings
from quanta_pipelines.simulation.keys import simulated_key
from tests.conftest import PLAYED, SETTLED

STAMPS = {"params_version": "p", "code_version": "c"}
FIRST, LAST = SETTLED[0].id, SETTLED[-1].id


@pytest.fixture
def home(settled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of eight settled epochs, and the signals of one more, that the command looks at."""
    home = Path(shutil.copytree(settled_home, tmp_path / "home"))
    monkeypatch.setenv("QUANTA_HOME", str(home))
    current_settings.cache_clear()
    yield home
    current_settings.cache_clear()


def quanta(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def said(*arguments: str) -> Any:
    return json.loads(quanta(*arguments, "--json").output)


def net(ledgers: Callable[[str], pd.DataFrame], account: str) -> int:
    """What an account received less what it paid, row by row."""
    rows = [row for epoch in SETTLED for row in ledgers(epoch.id).itertuples()]
    received = sum(row.amount_rao for row in rows if row.to_account == account)
    return received - sum(row.amount_rao for row in rows if row.from_account == account)


def test_all_settled_epochs_add_up(home: Path) -> None:
    result = quanta("audit", "--all")
    assert result.exit_code == 0, result.output
    assert result.output.count(" = went ") == len(SETTLED)
    found = said("audit", "--all")
    assert [epoch["epoch_id"] for epoch in found["epochs"]] == [epoch.id for epoch in SETTLED]
    assert all(epoch["holds"] for epoch in found["epochs"])
    assert found["problems"] == []
    closing = {line["account"]: line["closing_rao"] for line in found["accounts"]}
    assert sum(closing.values()) == 0
    lake = Lake(str(home / "lake"))
    for account in ("treasury", "burn", "carry", "pool", "owner"):
        assert closing[account] == net(lambda epoch: lake.read("ledger_entries", epoch), account)


def test_one_epoch_opens_with_what_those_before_left(home: Path) -> None:
    whole, one = said("audit", LAST), said("audit", SETTLED[-2].id)
    opening = {line["account"]: line["opening_rao"] for line in whole["accounts"]}
    closing = {line["account"]: line["closing_rao"] for line in one["accounts"]}
    for account in ("treasury", "burn", "carry", "owner"):
        assert opening[account] == closing[account] > 0
    assert [epoch["epoch_id"] for epoch in whole["epochs"]] == [LAST]
    sides = whole["epochs"][0]["identity"]
    rewards = Lake(str(home / "lake")).read("rewards", LAST)
    at_stake = rewards["standing"].isin(["ranked", "unrevealed"])
    at_stake |= rewards["ante_burned_rao"] > 0  # a further member of a cluster that forfeits
    assert sides["antes_rao"] == rewards.loc[at_stake, "ante_rao"].sum()
    assert sides["payout_rao"] == rewards.loc[at_stake, "payout_rao"].sum()
    assert "payout_rao" in quanta("audit", LAST).output


def spoil(home: Path, epoch: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Publish another ledger in an epoch's place, past its gates."""
    lake = Lake(str(home / "lake"))
    lake.publish("ledger_entries", epoch, change(lake.read("ledger_entries", epoch)), **STAMPS)


def test_a_rao_that_is_missing_is_found_and_its_place_named(home: Path) -> None:
    def lose_one(ledger: pd.DataFrame) -> pd.DataFrame:
        at = ledger.index[ledger["reason"] == "reward"][0]
        ledger.loc[at, "amount_rao"] -= 1
        return ledger

    spoil(home, LAST, lose_one)
    result = quanta("audit", LAST)
    assert result.exit_code == 1
    assert f"PROBLEM {LAST} pool: identity_holds" in result.output
    found = said("audit", "--all")["problems"]
    assert {problem["check"] for problem in found} == {
        "identity_holds",
        "ends_empty",
        "gates_passed",
    }
    assert quanta("audit", SETTLED[-2].id).exit_code == 0  # those before are in order


def test_a_file_that_was_edited_is_found(home: Path) -> None:
    other = Lake(str(home / "other"))
    lake = Lake(str(home / "lake"))
    edited = lake.read("ledger_entries", LAST).replace({"reason": {"reward": "gift"}})
    version = other.publish("ledger_entries", LAST, edited, **STAMPS)
    original = lake.version("ledger_entries", LAST)
    bytes_ = (
        Path(version.path)
        .read_bytes()
        .replace(version.content_hash.encode(), original.content_hash.encode())
    )
    Path(original.path).write_bytes(bytes_)
    checks = {problem.check for problem in audit(lake, LAST).problems}
    assert checks >= {"file_is_what_it_says", "reasons_are_known"}


def test_an_epoch_without_a_ledger_is_refused(home: Path) -> None:
    result = quanta("audit", PLAYED[-1].id)
    assert result.exit_code == 1
    assert f"ledger_entries {PLAYED[-1].id} is not published" in result.output


@pytest.mark.parametrize("arguments", [(), (LAST, "--all")])
def test_it_wants_an_epoch_or_all(home: Path, arguments: tuple[str, ...]) -> None:
    result = quanta("audit", *arguments)
    assert result.exit_code == 2
    assert "name one epoch, or give --all" in result.output


def test_an_empty_lake_has_nothing_to_audit(tmp_path: Path) -> None:
    assert audit(Lake(str(tmp_path))).problems == ()


def test_the_balance_of_a_miner_is_what_the_ledgers_moved(home: Path) -> None:
    lake = Lake(str(home / "lake"))
    rewards = lake.read("rewards", LAST)
    winner = str(rewards.sort_values("gross_rao")["hotkey"].iloc[-1])
    found = said("balance", winner)
    ledgers = lambda epoch: lake.read("ledger_entries", epoch)  # noqa: E731
    assert found["accounts"][f"miner:{winner}"] == net(ledgers, f"miner:{winner}")
    assert found["accounts"][f"escrow:{winner}"] == 0
    earned = sum(
        int(lake.read("rewards", epoch.id).set_index("hotkey")[column].get(winner, 0)) * sign
        for epoch in SETTLED
        for column, sign in (("payout_rao", 1), ("ante_rao", -1))
    )
    assert found["accounts"][f"miner:{winner}"] == earned
    assert found["settled_epochs"] == len(SETTLED)
    # the antes of the epoch that is played but not settled wait
    store = SignalStore.open(f"sqlite:///{home / 'signals.db'}")
    held = store.escrow(PLAYED[-1].id).set_index("hotkey")["escrow_rao"]
    assert found["waiting"] == {PLAYED[-1].id: int(held[winner])}
    assert f"waits in escrow for {PLAYED[-1].id}" in quanta("balance", winner).output
    store.close()


def test_a_stranger_has_nothing(home: Path) -> None:
    ferdie = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekSK2DjUL"  # a public development account
    store = SignalStore.open(f"sqlite:///{home / 'signals.db'}")
    found = balance(Lake(str(home / "lake")), store, ferdie)
    store.close()
    assert (found.settled_epochs, found.lines, found.waiting) == (0, (), {})


def test_what_is_no_hotkey_is_refused(home: Path) -> None:
    result = quanta("balance", "5Grwva")
    assert result.exit_code == 1
    assert "5Grwva" in result.output


def test_the_rate_of_converted_revenue_stands_in_the_audit(home: Path) -> None:
    # nothing came in the settled weeks, so a recorded conversion of 2 rao is a contradiction
    quoted = datetime(2019, 7, 19, 20, tzinfo=UTC)
    how = Conversion("external", "0.1", Rate("USD", "0.00000002", "a pool", quoted))
    found = audit(Lake(str(home / "lake")), LAST)
    store = SignalStore.open(f"sqlite:///{home / 'other.db'}")
    assert with_rates(found, store).rates == ()  # a store that does not know the epoch
    stakes = {simulated_key("validator").hotkey: 1}
    store.record_snapshot(
        Epoch.parse(LAST), emission_rao=1, external_rao=2, stakes=stakes, conversions=[how]
    )
    shown = with_rates(found, store)
    store.close()
    line = f"{LAST}  external 0.1 USD at 0.00000002 ALPHA (a pool, 2019-07-19T20:00:00+00:00)"
    assert f"{line} = 2 rao" in audit_lines(shown)
    assert shown.problems == (
        Problem(LAST, 0, "external", "converted_as_recorded", "0.1 USD are 2 rao, 0 came"),
    )
