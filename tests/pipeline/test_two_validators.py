"""Two instances of the platform reach consensus, and a wrong price of one is settled by replay.

Platform A is the service as a process of its own and the graph in this one; platform B is the
command ``quanta validator run`` as another process, with its own home, lake, vendor and hotkey.
They meet only through A's service.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.audit import audit
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.cli import main
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.epoch import settles_at, voting_closes
from quanta_pipelines.protocol.oracle import data_hash
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.settings import current_settings
from quanta_pipelines.simulation.keys import simulated_key
from quanta_pipelines.simulation.season import Season
from tests.api.server_process import ServerProcess
from tests.conftest import GENESIS, PLAYED, platform_at
from tests.vendor_replicas.tables import table_servers
from tests.vendor_replicas.wired import KEY

from .market_faults import FrameVendor

# The season's last validator is silent in its tenth epoch: its hotkey is B's there.
CAUGHT_UP, EPOCH = PLAYED[-1], PLAYED[-1].next()
B_NAME = "validator 7"
B = simulated_key(B_NAME).hotkey
DAY = EPOCH.sessions[1]
TICKER = "AAPL"
MINUTE = timedelta(minutes=1)
OPENS, CLOSES = settles_at(EPOCH), voting_closes(EPOCH)
LATER = CLOSES + 10 * MINUTE
OPEN = ("dispute", "open", EPOCH.id, "--against", B, "--at", LATER.isoformat())


def observed() -> pd.DataFrame:
    """The recorded closes as a vendor would report them: as traded, with plenty of volume."""
    recorded = RecordedVendor()
    rows = recorded.observe(recorded.tickers(), pd.Timestamp("2018-06-01").date(), DAY)
    rest = recorded.observe(recorded.tickers(), EPOCH.sessions[2], EPOCH.sessions[-1])
    rows = pd.concat([rows, rest], ignore_index=True)
    spread = dict.fromkeys(("open", "high", "low"), rows["close"])
    return rows.assign(basis="as_traded", dividend=0.0, split=1.0, volume=1e7, **spread)


def misprinted(rows: pd.DataFrame) -> pd.DataFrame:
    """One close is 5 % too high."""
    there = (rows["ticker"] == TICKER) & (rows["session"] == pd.Timestamp(DAY))
    assert there.sum() == 1
    return rows.assign(close=rows["close"].where(~there, rows["close"] * 1.05))


def write_key(path: Path, name: str) -> None:
    """The seed of a simulated participant as a key file."""
    seed = hashlib.sha256(f"quanta/simulation/key/{name}".encode()).digest()
    path.write_text(json.dumps({"secretSeed": f"0x{seed.hex()}"}))
    path.chmod(0o600)


@dataclass
class Sides:
    """Both platforms: A in this process and its service, B as it is started."""

    a: Platform
    service: ServerProcess
    environment_of_b: dict[str, str]
    home_of_b: Path
    work: Backfill

    def run_b(self, *more: str, epoch: str = EPOCH.id) -> tuple[int, dict[str, Any]]:
        """``quanta validator run`` as B; exit code and report."""
        key = str(self.home_of_b.parent / "b.json")
        quanta = "from quanta_pipelines.cli import main; main()"
        command = [sys.executable, "-c", quanta, "validator", "run"]
        options = ["--peer", self.service.address, "--key", key, "--epoch", epoch, "--json"]
        done = subprocess.run(
            [*command, *options, *more],
            env=self.environment_of_b,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def sides(settled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    """A with one more epoch settled and the next one open; B with a copy of A's older tables."""
    homes = {name: tmp_path / name for name in ("a", "b")}
    shutil.copytree(settled_home, homes["a"])
    shutil.copytree(settled_home / "lake", homes["b"] / "lake")
    write_key(tmp_path / "b.json", B_NAME)
    honest = observed()
    vendors = tuple(FrameVendor(name, honest.assign(vendor=name)) for name in ("tiingo", "polygon"))
    a = replace(platform_at(homes["a"]), vendors=vendors)
    Season(a.store, RecordedVendor(), GENESIS, a.params).play(EPOCH)
    (tmp_path / "watch.txt").write_text("\n".join(RecordedVendor().tickers()))
    service = ServerProcess(homes["a"])
    tables = {"tiingo": misprinted(honest).assign(vendor="tiingo")}
    with dg.DagsterInstance.ephemeral() as instance, table_servers(tables) as servers, service:
        work = Backfill(build_defs(platform=a), instance)
        assert work.epoch(CAUGHT_UP).succeeded
        environment = {
            **{name: value for name, value in os.environ.items() if "QUANTA" not in name},
            "QUANTA_HOME": str(homes["b"]),
            "QUANTA_VALIDATOR_HOTKEY": B,
            "QUANTA_VENDORS": "tiingo",
            "QUANTA_TIINGO_URL": servers["tiingo"].url,
            "QUANTA_TIINGO_API_KEY": KEY,
            "QUANTA_TIINGO_RATE": "10000 per second",
            "QUANTA_WATCH_LIST": str(tmp_path / "watch.txt"),
        }
        monkeypatch.setenv("QUANTA_HOME", str(homes["a"]))
        monkeypatch.setenv("DAGSTER_HOME", "")
        current_settings.cache_clear()
        yield Sides(a, service, environment, homes["b"], work)
    current_settings.cache_clear()
    a.store.close()


def quanta(*arguments: str) -> tuple[int, Any]:
    """A command of platform A, with ``--json``."""
    result = CliRunner().invoke(main, [*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


def moment(at: datetime) -> str:
    return at.isoformat()


@pytest.mark.slow
def test_a_wrong_price_of_one_validator_is_found_disputed_and_paid_for_once(sides: Sides) -> None:
    evidence = sides.home_of_b.parent / "cells.json"
    a_late_vote_is_refused(sides)
    report = b_votes_once(sides, evidence)
    the_cell_is_named(sides, report)
    consensus_holds(sides, report)
    verdict = evidence_must_be_complete_and_then_upholds(sides, evidence)
    the_verdict_has_its_numbers(sides, report, verdict)
    one_penalty_whoever_says_it_again(sides, evidence, verdict)
    the_next_bonds_are_one_percent_lower_and_the_ledger_closes(sides)


def a_late_vote_is_refused(sides: Sides) -> None:
    sides.service.set_clock(CLOSES + MINUTE)
    code, late = sides.run_b()
    assert (code, late["voted"], late["scored"]) == (1, False, True), late
    assert "not in the window" in late["problem"]
    assert B not in set(sides.a.store.validator_weights(EPOCH.id)["validator"])


def b_votes_once(sides: Sides, evidence: Path) -> dict[str, Any]:
    """In its window B votes, again with the same vote; it scored both epochs on its own vendor."""
    sides.service.set_clock(OPENS + 5 * MINUTE)
    assert sides.work.scores(EPOCH).succeeded
    code, first = sides.run_b("--cells", str(evidence))
    assert (code, first["problem"], first["price_sources"]) == (0, "", ["tiingo"]), first
    code, again = sides.run_b()
    assert (code, again["submission_id"]) == (0, first["submission_id"])
    assert sides.a.store.price_sources(EPOCH.id)[B] == ("tiingo",)
    return first


def the_cell_is_named(sides: Sides, report: dict[str, Any]) -> None:
    """The close, and the returns into and out of it; no other."""
    own = sides.a.lake.read("validated_prices", EPOCH.id)
    assert report["peer_data_hash"] == data_hash(own) != report["data_hash"]
    named = [(cell["ticker"], cell["session"], cell["column"]) for cell in report["cells"]]
    assert named == [
        (TICKER, f"{DAY}", "close"),
        (TICKER, f"{DAY}", "total_return"),
        (TICKER, f"{EPOCH.sessions[2]}", "total_return"),
    ]
    assert report["cells"][0]["peer"] == true_close(sides)
    assert report["cells"][0]["own"] == pytest.approx(true_close(sides) * 1.05)


def true_close(sides: Sides) -> float:
    own = sides.a.lake.read("validated_prices", EPOCH.id)
    there = (own["ticker"] == TICKER) & (own["session"] == pd.Timestamp(DAY))
    return float(own.loc[there, "close"].item())


def consensus_holds(sides: Sides, report: dict[str, Any]) -> None:
    assert sides.work.epoch(EPOCH).succeeded
    lake = sides.a.lake
    results = lake.read("validator_results", EPOCH.id).set_index("validator")
    assert results.loc[B, "voted"]
    votes = lake.read("validator_weights", EPOCH.id)
    assert set(votes.loc[votes["validator"] == B, "data_hash"]) == {report["data_hash"]}
    # all eight voted, and every miner that A ranks has its weight
    consensus = lake.read("consensus", EPOCH.id)
    scores = lake.read("scores", EPOCH.id)
    ranked = set(scores.loc[scores["standing"] == "ranked", "hotkey"])
    assert set(consensus["n_validators"]) == {8}
    assert set(consensus["hotkey"]) == ranked


def evidence_must_be_complete_and_then_upholds(sides: Sides, evidence: Path) -> dict[str, Any]:
    claims = json.loads(evidence.read_text())
    assert len(claims) == 3
    wrong = evidence.with_name("wrong.json")
    wrong.write_text(json.dumps([{**claims[0], "value": true_close(sides) * 1.04}]))
    code, opened = quanta(*OPEN, "--cells", str(wrong), "--reason", "another close")
    assert (code, opened["cells"]) == (0, 1), opened
    code, said = quanta("dispute", "resolve", "1", "--by", "operator", "--at", moment(LATER))
    assert code == 1
    assert "the claimed cells give the data hash" in said
    code, opened = quanta(*OPEN, "--cells", str(evidence), "--reason", "a wrong close of AAPL")
    assert (code, opened["dispute_id"], opened["cells"]) == (0, 2, 3), opened
    code, shown = quanta("dispute", "evidence", "2", "--at", moment(LATER))
    assert true_close(sides) in {cell["own"] for cell in shown["cells"]}
    resolve = ("dispute", "resolve", "2", "--by", "operator", "--at")
    code, verdict = quanta(*resolve, moment(LATER + MINUTE))
    assert (code, verdict["verdict"]) == (0, "upheld"), verdict
    assert quanta(*resolve, moment(LATER + 9 * MINUTE)) == (0, verdict)
    return dict(verdict)


def the_verdict_has_its_numbers(
    sides: Sides, report: dict[str, Any], verdict: dict[str, Any]
) -> None:
    """B's vote is exactly what its cells give, A's what its own do; who is rescored holds AAPL."""
    assert verdict["claimed_data_hash"] == verdict["voted_data_hash"] == report["data_hash"]
    theirs, mine = verdict["votes"]
    assert (theirs["validator"], theirs["from_claimed"]) == (B, 0)
    assert theirs["from_own"] > 0
    assert (mine["validator"], mine["from_own"]) == (sides.a.own_validator, 0)
    assert mine["from_claimed"] > 0
    held = sides.a.lake.read("portfolios", EPOCH.id)
    holders = set(held.loc[held["ticker"] == TICKER, "hotkey"])
    rescored = {m["hotkey"] for m in verdict["miners"] if m["score_own"] != m["score_claimed"]}
    assert holders & rescored


def one_penalty_whoever_says_it_again(
    sides: Sides, evidence: Path, verdict: dict[str, Any]
) -> None:
    a = sides.a
    stakes = a.store.snapshot(EPOCH.id).stakes
    other = next(name for name in sorted(stakes) if name not in (B, a.own_validator))
    repeated = ("--cells", str(evidence), "--reason", "said again by someone else")
    code, third = quanta(*OPEN, *repeated, "--by", other)
    assert (code, third["dispute_id"]) == (0, 3), third
    resolve = ("dispute", "resolve", "3", "--by", "operator", "--at", moment(LATER + 9 * MINUTE))
    assert quanta(*resolve)[1]["verdict"] == "upheld"
    assert EpochRun(a, EPOCH.next()).upheld_disputes() == {B: 1}
    assert EpochRun(a, EPOCH).upheld_disputes() == {}
    assert a.store.problems() == ()


def the_next_bonds_are_one_percent_lower_and_the_ledger_closes(sides: Sides) -> None:
    a, following = sides.a, EPOCH.next()
    Season(a.store, RecordedVendor(), GENESIS, a.params).play(following)
    with dg.DagsterInstance.ephemeral() as instance:
        honest = build_defs(platform=replace(a, vendors=(RecordedVendor(),)))
        outcome = Backfill(honest, instance).epoch(following)
    assert outcome.succeeded, outcome.problems
    paid = a.lake.read("validator_results", following.id).set_index("validator")
    assert paid["upheld_disputes"].to_dict() == {**dict.fromkeys(paid.index, 0), B: 1}
    assert expected_bonds(a, following) == pytest.approx(found_bonds(a, following), abs=1e-9)
    # quanta audit: every account of every epoch, from the ledgers alone
    assert audit(a.lake).problems == ()


def expected_bonds(a: Platform, epoch: Any) -> dict[tuple[str, str], float]:
    """Yuma 1 in long form, with B's old bonds times 0.99 before each miner's sum to one again."""
    old = a.lake.read("validator_bonds", epoch.previous().id)
    agreed = a.lake.read("consensus", epoch.id).set_index("hotkey")["consensus_weight"]
    stakes = a.lake.read("validator_results", epoch.id).set_index("validator")["stake_share"]
    votes = a.lake.read("validator_weights", epoch.id)
    votes = votes[votes["hotkey"].isin(agreed.index)]
    clipped = (votes["weight_units"] / 10**9).clip(upper=votes["hotkey"].map(agreed))
    bought = (clipped * votes["validator"].map(stakes)).groupby(
        [votes["validator"], votes["hotkey"]]
    )
    new = bought.sum().unstack(fill_value=0.0)
    kept = old.assign(bond=old["bond"].where(old["validator"] != B, old["bond"] * 0.99))
    held = kept.pivot(index="validator", columns="hotkey", values="bond").fillna(0.0)
    both = [name for name in new.columns if name in held.columns and new[name].sum() > 0]
    names = sorted({*new.index, *held.index})
    new, held = (side.reindex(names).fillna(0.0)[both] for side in (new, held))
    bonds = 0.1 * new / new.sum() + 0.9 * held / held.sum()
    return {key: value for key, value in bonds.stack().items() if value > 0}


def found_bonds(a: Platform, epoch: Any) -> dict[tuple[str, str], float]:
    table = a.lake.read("validator_bonds", epoch.id).set_index(["validator", "hotkey"])["bond"]
    wanted = expected_bonds(a, epoch)
    return {key: float(table[key]) for key in wanted}
