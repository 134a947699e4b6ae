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
from quanta_pipelines.protocol.epoch import distribution_starts, settles_at, voting_closes
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


def observed() -> pd.DataFrame:
    """The recorded closes as a vendor would report them: as traded, with plenty of volume."""
    recorded = RecordedVendor()
    rows = recorded.observe(recorded.tickers(), pd.Timestamp("2018-06-01").date(), DAY)
    rest = recorded.observe(recorded.tickers(), EPOCH.sessions[2], EPOCH.sessions[-1])
    rows = pd.concat([rows, rest], ignore_index=True)
    spread = {name: rows["close"] for name in ("open", "high", "low")}
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
    a, params = sides.a, sides.a.params
    opens, closes = settles_at(EPOCH, params), voting_closes(EPOCH, params)

    # too late: refused by the peer, said so, and nothing is recorded
    sides.service.set_clock(closes + MINUTE)
    code, late = sides.run_b()
    assert (code, late["voted"], late["scored"]) == (1, False, True)
    assert "not in the window" in late["problem"]
    assert B not in set(a.store.validator_weights(EPOCH.id)["validator"])

    # in its window: B has scored both epochs on its own vendor, and votes; again, the same vote
    sides.service.set_clock(opens + 5 * MINUTE)
    assert sides.work.scores(EPOCH).succeeded
    evidence = sides.home_of_b.parent / "cells.json"
    code, first = sides.run_b("--cells", str(evidence))
    assert (code, first["problem"], first["price_sources"]) == (0, "", ["tiingo"])
    code, again = sides.run_b()
    assert (code, again["submission_id"]) == (0, first["submission_id"])
    assert a.store.price_sources(EPOCH.id)[B] == ("tiingo",)

    # hashes differ, and the cell is named: the close, and the returns into and out of it
    own = a.lake.read("validated_prices", EPOCH.id)
    assert first["peer_data_hash"] == data_hash(own) != first["data_hash"]
    named = [(cell["ticker"], cell["session"], cell["column"]) for cell in first["cells"]]
    after = f"{EPOCH.sessions[2]}"
    assert named == [
        (TICKER, f"{DAY}", "close"),
        (TICKER, f"{DAY}", "total_return"),
        (TICKER, after, "total_return"),
    ]
    there = (own["ticker"] == TICKER) & (own["session"] == pd.Timestamp(DAY))
    right = own.loc[there, "close"].item()
    assert first["cells"][0]["peer"] == right
    assert first["cells"][0]["own"] == pytest.approx(right * 1.05)

    # consensus holds, and B is in it
    assert sides.work.epoch(EPOCH).succeeded
    results = a.lake.read("validator_results", EPOCH.id).set_index("validator")
    assert results.loc[B, "voted"]
    votes = a.lake.read("validator_weights", EPOCH.id)
    assert set(votes.loc[votes["validator"] == B, "data_hash"]) == {first["data_hash"]}
    consensus = a.lake.read("consensus", EPOCH.id)
    assert len(consensus) > 20

    # the dispute: incomplete evidence decides nothing, all of it upholds
    window = closes + 10 * MINUTE
    claims = json.loads(evidence.read_text())
    assert len(claims) == 3
    wrong = sides.home_of_b.parent / "wrong.json"
    wrong.write_text(json.dumps([{**claims[0], "value": right * 1.04}]))
    command = ("dispute", "open", EPOCH.id, "--against", B, "--at", moment(window))
    code, opened = quanta(*command, "--cells", str(wrong), "--reason", "another close")
    assert (code, opened["cells"]) == (0, 1)
    code, said = quanta("dispute", "resolve", "1", "--by", "operator", "--at", moment(window))
    assert code == 1
    assert "the claimed cells give the data hash" in said
    code, opened = quanta(*command, "--cells", str(evidence), "--reason", "a wrong close of AAPL")
    assert (code, opened["dispute_id"], opened["cells"]) == (0, 2, 3)
    code, shown = quanta("dispute", "evidence", "2", "--at", moment(window))
    assert {cell["own"] for cell in shown["cells"]} >= {right}
    resolve = ("dispute", "resolve", "2", "--by", "operator", "--at")
    code, verdict = quanta(*resolve, moment(window + MINUTE))
    assert (code, verdict["verdict"]) == (0, "upheld"), verdict
    assert verdict["claimed_data_hash"] == verdict["voted_data_hash"] == first["data_hash"]
    theirs, mine = verdict["votes"]
    assert (theirs["validator"], theirs["from_claimed"]) == (B, 0)
    assert (mine["validator"], mine["from_own"]) == (a.own_validator, 0)
    holders = set(a.lake.read("portfolios", EPOCH.id).query("ticker == @TICKER")["hotkey"])
    changed = {miner["hotkey"] for miner in verdict["miners"]}
    rescored = [m["hotkey"] for m in verdict["miners"] if m["score_own"] != m["score_claimed"]]
    assert rescored
    assert changed >= set(rescored)
    assert holders & set(rescored)

    # resolved twice, and disputed twice: one penalty
    assert quanta(*resolve, moment(window + 9 * MINUTE))[1] == verdict
    repeated = ("--cells", str(evidence), "--reason", "said again by someone else")
    other = next(name for name in results.index if name not in (B, a.own_validator))
    code, third = quanta(*command, *repeated, "--by", other)
    assert (code, third["dispute_id"]) == (0, 3)
    third_resolve = ("dispute", "resolve", "3", "--by", "operator", "--at")
    assert quanta(*third_resolve, moment(window + 9 * MINUTE))[1]["verdict"] == "upheld"
    assert EpochRun(a, EPOCH.next()).upheld_disputes() == {B: 1}
    assert EpochRun(a, EPOCH).upheld_disputes() == {}
    assert a.store.problems() == ()

    # the next epoch's bonds are those of B less 1 %, and every rao of it adds up
    following = EPOCH.next()
    Season(a.store, RecordedVendor(), GENESIS, a.params).play(following)
    assert distribution_starts(EPOCH, params) < settles_at(following, params)
    honest_a = replace(a, vendors=(RecordedVendor(),))
    with dg.DagsterInstance.ephemeral() as instance:
        assert Backfill(build_defs(platform=honest_a), instance).epoch(following).succeeded
    paid = a.lake.read("validator_results", following.id).set_index("validator")
    assert paid["upheld_disputes"].to_dict() == {**dict.fromkeys(paid.index, 0), B: 1}
    assert expected_bonds(a, following) == pytest.approx(found_bonds(a, following), abs=1e-9)
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
