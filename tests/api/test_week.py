"""A whole week against the running service, and the same store and lake settled by the graph.

The store has eight settled epochs of the simulated season and a ninth that is settled first. In the
tenth nobody is simulated: miners and validators send signed requests to a process of its own, whose
clock is set from outside.
"""

import datetime as dt
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from quanta_pipelines.adapters.chain_state import StakesFile
from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.backfill import QUIET, Backfill
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.opening import fix_opening_universe, record_opening_snapshot
from quanta_pipelines.protocol import oracle, votes
from quanta_pipelines.protocol.epoch import submission_offset
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY
from tests.api.conftest import key
from tests.api.server_process import ServerProcess
from tests.api.week_players import Player, players
from tests.conftest import PLAYED, platform_at

BEFORE = PLAYED[-1]
WEEK = BEFORE.next()
HOUR = dt.timedelta(hours=1)
MINERS = 256
RAO = 10**9
WEIGHTS = "/v1/validators/weights"
EMISSION = 1_000 * RAO
OWN_STAKE = 450_000 * RAO
VALIDATORS = tuple(key(f"validator of the week {number}") for number in range(1, 9))
LIAR, LATE, SILENT = VALIDATORS[2], VALIDATORS[6], VALIDATORS[7]
STAKES = {pair.hotkey: (900 - 100 * n) * 1000 * RAO for n, pair in enumerate(VALIDATORS)}


@dataclass
class Week:
    """What was played, and where it went."""

    platform: Platform
    server: ServerProcess
    players: list[Player]
    vote_answers: dict[str, Any]
    honest_row: pd.DataFrame

    def table(self, name: str) -> pd.DataFrame:
        return self.platform.lake.read(name, WEEK.id, gates=["contract"])


def run(platform: Platform, job: str, instance: dg.DagsterInstance, *assets: str) -> None:
    done = (
        build_defs(platform=platform)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=WEEK.id,
            run_config=QUIET,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
        )
    )
    assert done.success


def play(server: ServerProcess, miners: list[Player]) -> None:
    """Every request at its moment, those of one moment side by side."""
    agenda: dict[float, list[Any]] = defaultdict(list)
    for player in miners:
        for step in player.due().steps:
            agenda[step.hours].append((player, step))
    with ThreadPoolExecutor(8) as threads:
        for hours in sorted(agenda):
            server.set_clock(WEEK.opens_at + hours * HOUR)
            sent = [threads.submit(p.send, server.address, step) for p, step in agenda[hours]]
            for each in sent:
                each.result()


def vote_body(pair: HotkeyPair, row: pd.DataFrame, data_hash: str) -> dict[str, Any]:
    cells = row.rename(columns={"hotkey": "miner_hotkey"}).to_dict("records")
    shown = [{name: None if pd.isna(v) else v for name, v in cell.items()} for cell in cells]
    return {
        "validator_hotkey": pair.hotkey,
        "epoch_id": WEEK.id,
        "data_hash": data_hash,
        "weights": shown,
    }


def lie(row: pd.DataFrame) -> pd.DataFrame:
    """Everything for the miner that the rules rank last."""
    worst = row["composite"].idxmin()
    return row.assign(weight_units=[votes.WEIGHT_UNITS * (n == worst) for n in row.index])


def vote(server: ServerProcess, row: pd.DataFrame, data_hash: str) -> dict[str, Any]:
    """Everyone in its own moment of the window, one after it, one never; and two that may not."""
    answers: dict[str, Any] = {}
    settles = WEEK.settles_at
    moments = {pair: settles + submission_offset(pair.hotkey, WEEK) for pair in VALIDATORS}
    moments[LATE] = settles + dt.timedelta(minutes=30, seconds=1)
    del moments[SILENT]
    first = vote_body(VALIDATORS[0], row, data_hash)
    server.set_clock(settles - dt.timedelta(minutes=1))
    answers["too soon"] = server.signed(VALIDATORS[0], "POST", WEIGHTS, first)
    for pair, moment in sorted(moments.items(), key=lambda each: each[1]):
        server.set_clock(moment)
        sent = lie(row) if pair is LIAR else row
        body = vote_body(pair, sent, data_hash)
        answers[pair.hotkey] = server.signed(pair, "POST", WEIGHTS, body)
    server.set_clock(settles + dt.timedelta(minutes=29))
    stranger = key("a stranger of the week")
    answers["stranger"] = server.signed(
        stranger, "POST", WEIGHTS, vote_body(stranger, row, data_hash)
    )
    other = vote_body(VALIDATORS[0], lie(row), data_hash)
    answers["another"] = server.signed(VALIDATORS[0], "POST", WEIGHTS, other)
    answers["forged"] = server.signed(VALIDATORS[1], "POST", WEIGHTS, first)
    return answers


def played(settled_home: Path, home: Path) -> Iterator[Week]:
    shutil.copytree(settled_home, home)
    stakes = home / "stakes.json"
    stated = {"emission_rao": EMISSION, "stakes": {DEVELOPMENT_HOTKEY: OWN_STAKE, **STAKES}}
    stakes.write_text(json.dumps(stated))
    platform = replace(platform_at(home), chain_state=StakesFile(stakes))
    with dg.DagsterInstance.ephemeral() as instance, ServerProcess(home) as server:
        [before] = Backfill(build_defs(platform=platform), instance).epochs([BEFORE])
        assert before.succeeded, before.problems
        assert record_opening_snapshot(platform, WEEK)
        miners = players(MINERS, WEEK.id, fix_opening_universe(platform, WEEK))
        play(server, miners)
        run(platform, "signals", instance)
        run(platform, "close", instance)
        scores, metrics, prices = (
            platform.lake.read(name, WEEK.id, gates=["contract"])
            for name in ("scores", "horizon_metrics", "validated_prices")
        )
        row = votes.validator_row(scores, metrics, platform.params)
        answers = vote(server, row, oracle.data_hash(prices))
        run(
            platform,
            "epoch",
            instance,
            "validator_weights",
            "consensus",
            "validator_bonds",
            "validator_results",
            "rewards",
            "ledger_entries",
            "pool_payouts",
        )
        yield Week(platform, server, miners, answers, row)
    platform.store.close()


@pytest.fixture(scope="module")
def week(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    yield from played(settled_home, tmp_path_factory.mktemp("week") / "home")


def test_every_request_is_answered_as_the_rules_say(week: Week) -> None:
    wrong = []
    for player in week.players:
        assert [step for step, _ in player.answers] == list(player.due().steps)
        for step, answer in player.answers:
            code = "" if answer.status_code == 200 else answer.json()["code"]
            if (answer.status_code, code) != (step.status, step.code):
                wrong.append((player.number, player.kind, step, answer.status_code, answer.text))
    assert not wrong


def test_every_reveal_that_counts_left_a_row_with_its_verdict(week: Week) -> None:
    reveals = week.table("reveals").sort_values("received_at")
    found = reveals.groupby("hotkey")["verdict"].agg(list).to_dict()
    due = {p.hotkey: [s.verdict for s in p.due().steps if s.verdict] for p in week.players}
    assert found == {hotkey: verdicts for hotkey, verdicts in due.items() if verdicts}


def test_each_miner_sees_where_its_signal_stands(week: Week) -> None:
    for player in week.players:
        answer = week.server.signed(player.pair, "GET", f"/v1/signals/{WEEK.id}/{player.hotkey}")
        if player.due().ends == "absent":
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_commitment")
            continue
        said = answer.json()
        assert (said["state"], said["replaced"]) == (player.due().ends, player.due().replaced)
        assert said["escrow_rao"] == str(50 * RAO)  # one ante, however often it was replaced


def test_what_is_held_is_what_was_accepted(week: Week) -> None:
    held = week.table("portfolios")
    fresh = held[held["source_epoch"] == WEEK.id]
    for player in week.players:
        mine = fresh[fresh["hotkey"] == player.hotkey]
        if player.due().ends != "revealed":
            assert mine.empty
            continue
        owner = player.victim if player.kind == "copies the portfolio" else player
        assert owner is not None
        assert set(mine["ticker"]) == set(owner.positions())
        assert (mine["weight"] == 0.125).all()


def test_votes_are_taken_in_their_window_once_and_from_their_signer(week: Week) -> None:
    found = {
        name: (answer.status_code, answer.json().get("code"))
        for name, answer in week.vote_answers.items()
    }
    assert found.pop("too soon") == (409, "window_closed")
    assert found.pop("stranger") == (403, "not_permitted")
    assert found.pop("another") == (409, "contradicts_record")
    assert found.pop("forged") == (403, "not_the_signer")
    assert found.pop(LATE.hotkey) == (409, "window_closed")
    assert set(found.values()) == {(200, None)}
    voted = week.table("validator_weights")["validator"].unique()
    # six that were heard, and the platform's own
    assert set(voted) == {DEVELOPMENT_HOTKEY, *(pair.hotkey for pair in VALIDATORS[:6])}


def test_the_liar_moves_nothing(week: Week) -> None:
    agreed = week.table("consensus").set_index("hotkey")
    # 450 + 900 + 800 + 600 + 500 + 400 thousand of 4.35 million say the same: so says the median
    units = week.honest_row.set_index("hotkey")["weight_units"]
    assert len(agreed) == len(units)
    weights = units / votes.WEIGHT_UNITS
    expected = weights / weights.sum()
    assert (agreed["consensus_weight"] - expected[agreed.index]).abs().max() < 1e-6


def test_antes_go_where_the_rules_send_them(week: Week) -> None:
    rewards = week.table("rewards").set_index("hotkey")
    due = {p.hotkey: p.due().ends for p in week.players if p.due().ends != "absent"}
    assert set(rewards.index) == set(due)
    assert set(rewards["ante_rao"]) == {50 * RAO}
    ranked = 0
    for hotkey, ends in due.items():
        mine = rewards.loc[hotkey]
        if ends == "unrevealed":  # forfeited like the penalty band: half is burned
            assert mine["standing"] == "unrevealed"
            assert (mine["payout_rao"], mine["ante_burned_rao"]) == (0, 25 * RAO)
        elif mine["standing"] == "ranked":
            ranked += 1
        else:
            assert mine["standing"] == "provisional"
            assert (mine["payout_rao"], mine["ante_returned_rao"]) == (50 * RAO, 50 * RAO)
    assert ranked == len(week.honest_row)
    assert ranked > 20


def test_the_ledger_closes(week: Week) -> None:
    ledger = week.table("ledger_entries")
    balance: dict[str, int] = defaultdict(int)
    for row in ledger.itertuples():
        balance[row.from_account] -= row.amount_rao
        balance[row.to_account] += row.amount_rao
    assert sum(balance.values()) == 0
    assert balance["pool"] == 0
    escrows = {name: rest for name, rest in balance.items() if name.startswith("escrow:")}
    taking_part = [p for p in week.players if p.due().ends != "absent"]
    assert len(escrows) == len(taking_part)
    assert set(escrows.values()) == {0}
    posted = ledger.loc[ledger["reason"] == "ante_posted", "amount_rao"].sum()
    assert posted == 50 * RAO * len(taking_part)
    assert -balance["issuance"] == EMISSION
    rewards = week.table("rewards").set_index("hotkey")
    for player in taking_part:
        paid = int(rewards.loc[player.hotkey, "payout_rao"])
        assert balance[f"miner:{player.hotkey}"] == paid - 50 * RAO


def test_the_store_is_sound_and_the_service_failed_nowhere(week: Week) -> None:
    assert week.platform.store.problems() == ()
    assert "unhandled" not in week.server.log()
    assert "Traceback" not in week.server.log()
