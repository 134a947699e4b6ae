"""``quanta what-if``: other rules on recorded history, beside the real graph and beside nothing."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.cli import main
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.resources import EpochRun
from quanta_pipelines.settings import Settings, current_settings
from quanta_pipelines.steps import steps_in_order
from quanta_pipelines.what_if.figures import alpha
from quanta_pipelines.what_if.isolation import History, IsolatedLake, NotIsolated
from quanta_pipelines.what_if.parameters import Variant, variants
from quanta_pipelines.what_if.replay import Replay, base_run
from quanta_pipelines.what_if.report import as_text, write_sweep
from quanta_pipelines.what_if.sweep import Sweep, sweep
from quanta_pipelines.what_if.tracing import Trace
from tests.conftest import PLAYED, SETTLED, platform_at

RANKED = SETTLED[-2:]  # earlier nobody has the sessions for a rank
LAST = SETTLED[-1:]
SPAN = f"{LAST[0]}..{LAST[0]}"
SAME = Variant("same", (), QUANTA)


@pytest.fixture
def home(settled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of eight settled epochs that the command looks at."""
    home = Path(shutil.copytree(settled_home, tmp_path / "home"))
    monkeypatch.setenv("QUANTA_HOME", str(home))
    current_settings.cache_clear()
    yield home
    current_settings.cache_clear()


def history(home: Path) -> History:
    return History.of(Settings(home=home))


def asked(home: Path, *chosen: Variant, **options: object) -> Sweep:
    epochs = options.pop("epochs", LAST)
    return sweep(history(home), chosen, epochs, base_params=QUANTA, **options)  # type: ignore[arg-type]


def quanta(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["what-if", *arguments])


def contents(home: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the operator, but for what SQLite keeps beside an open database."""
    return {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in home.rglob("*")
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    }


def test_the_same_rules_give_every_published_table_and_nothing_is_touched(home: Path) -> None:
    before = contents(home)
    found = asked(home, SAME, epochs=SETTLED)
    assert found.differing == ()  # every step of every epoch ran again, each content hash is equal
    only = found.variants[0]
    assert (only.steps_run, only.tables_changed, only.winners, only.losers) == (0, 0, 0, 0)
    assert only.totals == found.base.totals
    assert only.against_base is not None
    assert only.against_base.spearman == pytest.approx(1.0)
    assert {name: one for name, one in contents(home).items() if name != "signals.db"} == {
        name: one for name, one in before.items() if name != "signals.db"
    }
    assert contents(home)["signals.db"][1] == before["signals.db"][1]


def test_a_recomputed_table_is_the_published_file_to_the_byte(home: Path, tmp_path: Path) -> None:
    published, again = Lake(str(home / "lake")), Lake(str(tmp_path / "again"))
    lake = IsolatedLake(str(tmp_path / "base"), published)
    epoch = RANKED[-1]
    with history(home).platform(tmp_path, lake, QUANTA) as platform:
        for step in steps_in_order():
            if step.inputs and "validator_weights" not in step.tables:  # that one needs the votes
                inputs = {name: lake.read(name, epoch.id) for name in step.inputs}
                for name, frame in step(EpochRun(platform, epoch), inputs).items():
                    written = again.publish(name, epoch.id, frame, **platform.stamp())
                    kept = Path(published.version(name, epoch.id).path)
                    assert Path(written.path).read_bytes() == kept.read_bytes(), name


def replayed(home: Path, folder: Path, params: ProtocolParams) -> IsolatedLake:
    """The lake of a replay under other rules, left standing for a look."""
    below = IsolatedLake(str(folder / "base"), Lake(str(home / "lake")))
    lake = IsolatedLake(str(folder / "variant"), below)
    kept = history(home)
    with (
        kept.platform(folder, below, QUANTA) as base,
        kept.platform(folder, lake, params) as platform,
    ):
        replay = Replay(platform, base, base_run(base, LAST).traces, "carried")
        for epoch in LAST:
            replay.epoch(epoch)
    return lake


def test_the_real_graph_under_the_other_rules_gives_the_same_tables(
    home: Path, tmp_path: Path
) -> None:
    # rules of money and a rule of consensus; votes are the recorded ones in both
    other = QUANTA.changed(
        tokenomics__rake=QUANTA.tokenomics.rake / 2,
        consensus__bond_ema_alpha=0.3,
    )
    real = Path(shutil.copytree(home, tmp_path / "real"))
    for epoch in LAST:  # as if they had never been paid: a paid epoch is only restated
        (real / f"lake/ledger_entries/{epoch.id}.parquet").unlink()
    on_copy = replace(platform_at(real), params=other)
    with dg.DagsterInstance.ephemeral() as instance:
        outcomes = Backfill(build_defs(platform=on_copy), instance).epochs(LAST)
    assert all(one.succeeded for one in outcomes), outcomes
    lake = replayed(home, tmp_path, other)
    for epoch in LAST:
        for table in CONTRACTS:
            ours, theirs = (one.version(table, epoch.id) for one in (lake, on_copy.lake))
            assert ours.content_hash == theirs.content_hash, f"{table} {epoch}"
    on_copy.store.close()


def test_what_was_skipped_would_have_come_out_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = (
        "scoring.provisional_sessions=20",
        "security.min_secret_length=40",  # only the intake reads it
    )
    chosen = [one for change in changes for one in variants(QUANTA, [change], ())]
    quick = asked(home, *chosen).variants
    monkeypatch.setattr(Trace, "sees_no_change", lambda *_: False)
    whole = asked(home, *chosen).variants
    steps = sum(bool(step.inputs) for step in steps_in_order())
    assert [one.steps_run for one in whole] == 2 * [steps]
    assert 0 < quick[0].steps_run < steps
    assert quick[1].steps_run == 0
    for one, other in zip(quick, whole, strict=True):
        assert replace(one, steps_run=0) == replace(other, steps_run=0)


def test_a_flatter_power_law_takes_from_the_first_and_gives_to_the_last(home: Path) -> None:
    found = asked(home, *variants(QUANTA, (), ["tokenomics.power_law_gamma=1.0,2.0"]))
    flat, steep = found.variants
    ginis = [one.concentration.gini for one in (flat, found.base, steep)]
    tops = [one.concentration.top_share for one in (flat, found.base, steep)]
    assert ginis == sorted(ginis)
    assert tops == sorted(tops)
    # gamma divides the winners' pool; what is burned and kept changes by rounded fees alone
    for one in (flat, steep):
        burned = abs(float(one.totals["burned"]) - float(found.base.totals["burned"]))
        assert burned < 1e-6
        assert one.against_base is not None
        assert one.against_base.spearman == pytest.approx(1.0)
        gained = sum(float(mover.difference) for mover in one.gained)
        assert gained > 0 > sum(float(mover.difference) for mover in one.lost)


def test_totals_are_those_of_the_published_ledgers(home: Path) -> None:
    lake = Lake(str(home / "lake"))
    rows = [row for one in RANKED for row in lake.read("ledger_entries", one.id).itertuples()]
    found = asked(home, SAME, epochs=RANKED).base.totals
    for account, name in (("burn", "burned"), ("treasury", "treasury")):
        assert found[name] == alpha(sum(r.amount_rao for r in rows if r.to_account == account))
    rewards = [row for one in RANKED for row in lake.read("rewards", one.id).itertuples()]
    assert found["miners_net"] == alpha(sum(row.payout_rao - row.ante_rao for row in rewards))
    assert int(float(found["miners_net"]) * RAO) != 0


def test_votes_of_others_follow_the_other_rules_or_stay_as_they_were_cast(home: Path) -> None:
    chosen = variants(QUANTA, ["scoring.sortino_weight=0.10", "scoring.turnover_weight=0.40"], ())
    carried = asked(home, *chosen).variants[0]
    recorded = asked(home, *chosen, votes="recorded").variants[0]
    assert carried.against_base is not None
    assert recorded.against_base is not None
    # one validator of eight can not move the consensus far; all of them can
    assert carried.against_base.kendall < recorded.against_base.kendall  # type: ignore[operator]


def test_any_number_of_processes_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    chosen = variants(QUANTA, (), ["tokenomics.rake=0.05,0.10"])
    alone, side_by_side = asked(home, *chosen), asked(home, *chosen, jobs=2)
    assert as_text(alone) == as_text(side_by_side)
    first, second = (
        {path.name: path.read_bytes() for path in write_sweep(found, tmp_path / name)}
        for found, name in ((alone, "one"), (side_by_side, "two"))
    )
    assert sorted(first) == [
        "what-if-money.png",
        "what-if-movers.png",
        "what-if-ranks.png",
        "what-if.json",
    ]
    assert first == second
    assert all(b"matplotlib" not in data and b"tIME" not in data for data in first.values())


def test_the_command_shows_tables_and_writes_json_and_pictures(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown = quanta("--set", "tokenomics.rake=0.05", "--epochs", SPAN, "--out", str(out))
    assert shown.exit_code == 0, shown.output
    assert "tokenomics.rake=0.05" in shown.output
    assert "the base gives every published table bit for bit" in shown.output
    assert "their own scores are not known" in " ".join(shown.output.split())
    assert sorted(path.name for path in out.iterdir())[-1] == "what-if.json"
    said = quanta("--set", "tokenomics.rake=0.05", "--epochs", SPAN, "--json")
    assert said.stdout == (out / "what-if.json").read_text()
    assert json.loads(said.stdout)["variants"][0]["changes"] == [["tokenomics.rake", "0.05"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "tokenomics.gamma=1.2"], "no parameter tokenomics.gamma"),
        (["--set", "tokenomics.power_law_gama=1"], "did you mean tokenomics.power_law_gamma"),
        (["--set", "tokenomics.power_law_gamma=3"], "power_law_gamma must lie in [1, 2], not 3"),
        (["--set", "tokenomics.power_law_gamma=nan"], "must lie in [1, 2], not NaN"),
        (["--set", "scoring.std_ddof=half"], "scoring.std_ddof is a whole number, not 'half'"),
        (["--set", "scoring.drift=maybe"], "scoring.drift is true or false, not 'maybe'"),
        (["--set", "tokenomics.rake"], "a change looks like tokenomics.rake=0.05"),
        (["--set", "scoring.sortino_weight=0.5"], "must be 1, not 1.15"),
        (["--set", "scoring.return_basis=trailing"], "an epoch scores held portfolios"),
        (["--grid", "tokenomics.rake=0.1,0.1"], "the values '0.1,0.1' are empty or the same"),
        (["--grid", "market_data.primary_order=a,b"], "is a list: set it"),
        (
            ["--set", "tokenomics.rake=0.1", "--grid", "tokenomics.rake=0.1,0.2"],
            "tokenomics.rake is given twice",
        ),
        (
            [
                *("--grid", "tokenomics.rake=" + ",".join(f"0.{n:02}" for n in range(20))),
                *("--grid", "tokenomics.network_fee=" + ",".join(f"0.{n:02}" for n in range(11))),
            ],
            "the grid has 220 variants, at most 200 are run",
        ),
        ([], "nothing is changed"),
    ],
)
def test_what_can_not_be_asked_is_said_with_value_and_limit(
    home: Path, arguments: list[str], words: str
) -> None:
    result = quanta("--epochs", SPAN, *arguments)
    assert result.exit_code == 1
    assert words in result.output


def test_an_epoch_that_is_not_published_is_named(home: Path) -> None:
    with pytest.raises(MissingTable, match=f"{PLAYED[-1]} is not published as a whole"):
        asked(home, SAME, epochs=PLAYED[-2:])
    Path(home / "lake/consensus/_gates" / LAST[0].id / "contract.json").unlink()
    with pytest.raises(MissingTable, match=f"consensus {LAST[0]}: check contract"):
        asked(home, SAME)


@pytest.mark.parametrize("inside", ["lake", "lake/deep", "warehouse"])
def test_it_does_not_work_inside_what_is_the_operators(home: Path, inside: str) -> None:
    (home / inside).mkdir(parents=True, exist_ok=True)
    before = contents(home)
    with pytest.raises(NotIsolated, match="would touch the"):
        asked(home, SAME, work=home / inside)
    refused = quanta("--set", "tokenomics.rake=0.05", "--epochs", SPAN, "--out", str(home / inside))
    assert refused.exit_code == 1
    assert "the output folder" in refused.output
    assert contents(home) == before


def test_a_folder_that_holds_the_operators_is_no_place_either(home: Path) -> None:
    with pytest.raises(NotIsolated, match="the isolated home"):
        history(home).require_apart(home, what="the isolated home", above=True)
    history(home).require_apart(home / "reports", what="the output folder", above=False)


def test_rules_written_by_others_are_seen_and_said(home: Path) -> None:
    platform = platform_at(home)
    epoch = RANKED[-1]
    rewards = platform.lake.read("rewards", epoch.id)
    rewards.loc[0, "reason"] = "someone else's word"
    version = platform.lake.publish("rewards", epoch.id, rewards, **platform.stamp())
    for gate in CONTRACTS["rewards"].gates():
        platform.lake.record_verdict(
            "rewards", epoch.id, gate, passed=True, content_hash=version.content_hash, detail=""
        )
    platform.store.close()
    assert asked(home, SAME).differing == (f"rewards {epoch}",)


def test_a_store_that_is_not_there_is_not_made(home: Path) -> None:
    (home / "signals.db").unlink()
    result = quanta("--set", "tokenomics.rake=0.05", "--epochs", SPAN)
    assert result.exit_code == 1
    assert "there is no signal store at" in result.output
    assert not (home / "signals.db").exists()


def test_a_variant_of_a_wrong_epoch_range_is_a_usage_error(home: Path) -> None:
    result = quanta("--set", "tokenomics.rake=0.05", "--epochs", "2019-Q3-W30")
    assert result.exit_code == 2
    assert "a range looks like" in result.output
