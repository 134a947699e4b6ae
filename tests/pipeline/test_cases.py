"""A copier in the real graph: its case opens, its money waits, an operator decides, money moves."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.signal_store import CaseEvent, ContradictsRecord, NotRecorded
from quanta_pipelines.audit import audit
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.case_book import cases_at, decide
from quanta_pipelines.cli import main
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.commit_reveal import Reveal, commitment
from quanta_pipelines.protocol.epoch import Epoch, commit_window, reveal_window_of, settles_at
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import RAO, portfolio_hash
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import current_settings
from quanta_pipelines.simulation.keys import simulated_key
from quanta_pipelines.simulation.season import Season
from tests.conftest import GENESIS, platform_at

# Among twenty tickers no overlap is too unlikely to be an accident: here it may be likely
RULES = QUANTA.changed(security__plagiarism_chance=0.5)
COPIER, ORIGINAL = simulated_key("the copier").hotkey, simulated_key("miner 06").hotkey
ANTE = 20 * RAO
WEEKS = Epoch.range(GENESIS, "2019-Q3-W27")
OPENS = WEEKS[2]  # three weeks of copies
HOUR = timedelta(hours=1)


@dataclass
class Played:
    """A platform after some epochs, with whoever runs the next one."""

    platform: Platform
    home: Path
    season: Season
    work: Backfill

    def play(self, epoch: Epoch) -> None:
        """An epoch of the season and of the copier, from signals to the ledger."""
        self.season.play(epoch)
        copy(self.platform, epoch)
        outcome = self.work.epoch(epoch)
        assert outcome.succeeded, outcome.problems

    def cases(self, epoch: Epoch) -> pd.DataFrame:
        table = self.platform.lake.read("integrity_cases", epoch.id)
        return table[table["hotkey"] == COPIER].reset_index(drop=True)

    def moved(self, epoch: Epoch) -> list[tuple[str, str, int, str]]:
        """Movements of the account that holds the copier's money."""
        ledger = self.platform.lake.read("ledger_entries", epoch.id)
        held = f"held:{COPIER}"
        own = ledger[(ledger["from_account"] == held) | (ledger["to_account"] == held)]
        columns = ["from_account", "to_account", "amount_rao", "reason"]
        return [tuple(row) for row in own[columns].itertuples(index=False)]


def copy(platform: Platform, epoch: Epoch) -> None:
    """The copier commits what the original reveals this week: it has a leak, or is one hand."""
    store = platform.store
    if COPIER in set(store.commitments(epoch.id)["hotkey"]):
        return
    reveals = store.reveals(epoch.id)
    accepted = reveals[(reveals["hotkey"] == ORIGINAL) & (reveals["verdict"] == "accepted")]
    text = accepted["positions"].iloc[0]
    held = tuple(tuple(part.split(":")) for part in text.split("|"))
    secret = "0123456789abcdef" * 4
    hidden = commitment(portfolio_hash(held), secret, COPIER, epoch.id)
    at = commit_window(epoch).closes - timedelta(minutes=1)
    store.commit(COPIER, epoch, hidden, "20", received_at=at)
    opens = reveal_window_of(at, epoch).opens
    verdict = store.reveal(Reveal(COPIER, epoch.id, hidden, held, secret), received_at=opens + HOUR)
    assert verdict.verdict == "accepted"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The three weeks after which the copier is suspected."""
    home = tmp_path_factory.mktemp("cases")
    platform = replace(platform_at(home), params=RULES)
    season = Season(platform.store, platform.vendors[0], GENESIS, RULES)
    with dg.DagsterInstance.ephemeral() as instance:
        work = Backfill(build_defs(platform=platform), instance)
        found = Played(platform, home, season, work)
        for epoch in WEEKS[: WEEKS.index(OPENS) + 1]:
            found.play(epoch)
        yield found
    platform.store.close()


def test_a_case_lives_from_suspicion_to_the_fire(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = played.platform

    # the third week of copies opens it, and what the copier gets back waits
    assert played.cases(OPENS.previous()).empty
    case = played.cases(OPENS).iloc[0]
    assert (case["state"], case["other_hotkey"]) == ("open", ORIGINAL)
    copies = json.loads(case["evidence"])["copies"]
    assert {row["held_epoch"] for row in copies} == {epoch.id for epoch in WEEKS[:3]}
    assert played.moved(OPENS) == [
        (f"miner:{COPIER}", f"held:{COPIER}", ANTE, "held_for_case"),
    ]

    # the same epoch again opens nothing and moves nothing
    before = platform.lake.version("integrity_cases", OPENS.id)
    played.play(OPENS)
    assert platform.lake.version("integrity_cases", OPENS.id) == before

    # under review it waits on
    now = settles_at(OPENS) + HOUR
    _decide(platform, case["case_id"], "review", now)
    following = OPENS.next()
    played.play(following)
    assert played.cases(following)["state"].tolist() == ["under_review"]
    assert played.moved(following)[0][2] == ANTE

    # who decides is told once, and nobody decides twice
    later = settles_at(following) + HOUR
    with pytest.raises(NotRecorded, match="there is no case nothing"):
        _decide(platform, "nothing", "confirm", later)
    assert _decide(platform, case["case_id"], "confirm", later).state == "confirmed"
    with pytest.raises(ContradictsRecord, match="was decided: confirm by ann"):
        _decide(platform, case["case_id"], "dismiss", later + HOUR)
    listed = {one.case_id: one for one in cases_at(platform.lake, platform.store, later)}
    assert listed[case["case_id"]].published_state == "under_review"

    # the next epoch burns what was held, both weeks of it, and pays the copier as anyone
    last = following.next()
    played.play(last)
    closed = played.cases(last).iloc[0]
    assert (closed["state"], closed["closed_epoch"]) == ("confirmed", last.id)
    assert (closed["author"], closed["offence_number"]) == ("ann", 1)
    assert played.moved(last) == [(f"held:{COPIER}", "burn", 2 * ANTE, "case_confirmed")]
    found = audit(platform.lake)
    assert not found.problems
    assert {line.account: line.closing_rao for line in found.accounts}[f"held:{COPIER}"] == 0

    # what an operator sees
    monkeypatch.setenv("QUANTA_HOME", str(played.home))
    monkeypatch.setenv("QUANTA_GENESIS", GENESIS.id)
    current_settings.cache_clear()
    try:
        shown = CliRunner().invoke(main, ["cases", "show", case["case_id"], "--json"])
        late = CliRunner().invoke(
            main,
            [*("cases", "dismiss", case["case_id"]), *("--author", "bob", "--reason", "late")],
        )
        everything = CliRunner().invoke(main, ["cases", "list", "--all"])
    finally:
        current_settings.cache_clear()
    assert json.loads(shown.output)["evidence"]["epochs_threshold"] == 3
    assert case["case_id"] in everything.output
    assert late.exit_code == 1
    assert "is decided from 2019" in late.output


def _decide(platform: Platform, case_id: str, event: str, now: object) -> object:
    return decide(
        platform.lake,
        platform.store,
        case_id,
        CaseEvent(event),
        author="ann",
        reason="the same twelve names three weeks in a row",
        evidence="",
        now=now,
    )
