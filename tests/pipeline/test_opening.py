"""What is fixed when an epoch opens: stakes and universe, once each, in a store without either."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quanta_pipelines.adapters.chain_state import (
    NoChainState,
    StakesFile,
    UnknownChainState,
    configured_chain_state,
)
from quanta_pipelines.adapters.signal_store import ContradictsRecord
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.opening import TooEarly, fix_opening_universe, record_opening_snapshot
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.resources import Platform
from quanta_pipelines.simulation.validators import validator_set
from tests.conftest import GENESIS, PLAYED, platform_at

STAKES = {each.hotkey: each.stake_rao for each in validator_set()}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def stated(tmp_path: Path) -> Path:
    file = tmp_path / "stakes.json"
    file.write_text(json.dumps({"emission_rao": 10**12, "stakes": STAKES}))
    return file


@pytest.fixture
def empty(tmp_path: Path, stated: Path) -> Iterator[Platform]:
    """A platform whose store knows nothing, at the first evening of its first epoch."""
    platform = replace(
        platform_at(tmp_path / "home"),
        chain_state=StakesFile(stated),
        clock=lambda: GENESIS.opens_at + dt.timedelta(hours=5),
    )
    yield platform
    platform.store.close()


def run(platform: Platform, job: str) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return (
            build_defs(platform=platform)
            .resolve_job_def(job)
            .execute_in_process(
                instance=instance,
                partition_key=GENESIS.id,
                run_config=QUIET,
                raise_on_error=False,
            )
        )


def test_the_jobs_record_what_an_epoch_needs_and_again_change_nothing(empty: Platform) -> None:
    for _ in range(2):
        assert run(empty, "snapshot").success
        assert run(empty, "universe").success
        found = empty.store.snapshot(GENESIS.id)
        assert (found.emission_rao, found.external_rao) == (10**12, 0)
        assert (found.stakes, found.source) == (dict(sorted(STAKES.items())), "file")
        # the recording: twenty stocks above five dollars, every one traded for millions
        assert len(empty.store.universe(GENESIS.id)) == 20


def test_the_universe_is_what_the_season_fixed_from_the_same_closes(
    empty: Platform, settled_home: Path
) -> None:
    season = platform_at(settled_home)
    assert fix_opening_universe(empty, GENESIS) == season.store.universe(GENESIS.id)
    season.store.close()


def test_what_was_recorded_stays_when_the_file_changes(empty: Platform, stated: Path) -> None:
    assert record_opening_snapshot(empty, GENESIS)
    stated.write_text(json.dumps({"emission_rao": 7, "stakes": STAKES}))
    assert not record_opening_snapshot(empty, GENESIS)
    assert empty.store.snapshot(GENESIS.id).emission_rao == 10**12


def test_nothing_is_recorded_before_it_is_known(empty: Platform) -> None:
    early = replace(empty, clock=lambda: GENESIS.opens_at - dt.timedelta(seconds=1))
    with pytest.raises(TooEarly, match=r"known from 2019-05-31T20:00:00\+00:00"):
        record_opening_snapshot(early, GENESIS)
    # the close of 31 May is final at 20:30 in New York, which is past midnight in UTC
    same_day = replace(empty, clock=lambda: GENESIS.opens_at + dt.timedelta(hours=4))
    with pytest.raises(TooEarly, match=r"closes of 2019-05-31 .* 2019-06-01T00:30:00\+00:00"):
        fix_opening_universe(same_day, GENESIS)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "the document"),
        ('{"emission_rao": 1.5, "stakes": {}}', "emission_rao"),
        ('{"emission_rao": -1, "stakes": {}}', "emission_rao"),
        ('{"emission_rao": 1, "stakes": {}}', "stakes"),
        ('{"emission_rao": 1, "stakes": {"5short": 1}}', "stakes/5short"),
        (json.dumps({"emission_rao": 1, "stakes": STAKES, "emission": 2}), "emission"),
        (json.dumps({"emission_rao": 2**63, "stakes": STAKES}), "emission_rao"),
        (json.dumps({"emission_rao": 1, "stakes": STAKES, "last_epoch": "W48"}), "last_epoch"),
        ("", "the document"),
        ("\x00", "the document"),
        (json.dumps({"emission_rao": 1, "stakes": STAKES})[:-20], "the document"),
        (
            '{"emission_rao": 1, "emission_rao": 2, ' + json.dumps({"stakes": STAKES})[1:],
            "emission_rao is stated",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_field(stated: Path, text: str, place: str) -> None:
    stated.write_text(text)
    with pytest.raises(UnknownChainState, match=f"stakes.json: {place}"):
        StakesFile(stated).at(GENESIS)


RATES = {"USD": {"alpha": "0.0213", "source": "a pool", "quoted_at": "2019-05-31T20:00:00Z"}}
DOLLARS = {"amount": "1000.10", "unit": "USD"}


def test_an_amount_in_another_unit_is_recorded_with_its_rate(empty: Platform, stated: Path) -> None:
    stated.write_text(
        json.dumps({"emission_rao": 7, "external": DOLLARS, "rates": RATES, "stakes": STAKES})
    )
    platform = replace(empty, chain_state=StakesFile(stated))
    assert record_opening_snapshot(platform, GENESIS)
    found = platform.store.snapshot(GENESIS.id)
    assert (found.emission_rao, found.external_rao) == (7, 21_302_130_000)
    (how,) = found.conversions
    assert (how.purpose, how.amount, how.rate.unit, how.rate.alpha, how.rate.source) == (
        *("external", "1000.10", "USD", "0.0213", "a pool"),
    )
    assert how.rate.quoted_at == dt.datetime(2019, 5, 31, 20, tzinfo=dt.UTC)
    # to record the same again changes nothing, another rate contradicts
    same = {"emission_rao": 7, "external_rao": 21_302_130_000, "stakes": STAKES, "source": "file"}
    platform.store.record_snapshot(GENESIS, **same, conversions=[how])
    with pytest.raises(ContradictsRecord, match="another snapshot"):
        platform.store.record_snapshot(GENESIS, **same)
    with pytest.raises(InvalidWeights, match=r"1000\.10 USD at 0.0213 ALPHA are 21302130000"):
        platform.store.record_snapshot(
            GENESIS.next(), **{**same, "external_rao": 1}, conversions=[how]
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"emission_rao": 1, "external": DOLLARS}, "external: .* no rate of USD"),
        ({"emission_rao": 1, "emission": DOLLARS, "rates": RATES}, "emission is stated, not both"),
        ({}, "one of emission_rao and emission is stated, not neither"),
        (
            {"emission": {"amount": "1e9", "unit": "USD"}, "rates": RATES},
            "emission: .* written in digits",
        ),
        ({"emission": {"amount": "9" * 30, "unit": "USD"}, "rates": RATES}, "are more than"),
        ({"emission": {"amount": 5, "unit": "USD"}, "rates": RATES}, "emission/amount"),
    ],
)
def test_a_unit_without_a_rate_or_a_number_is_refused(
    stated: Path, change: dict[str, object], said: str
) -> None:
    stated.write_text(json.dumps({"stakes": STAKES, **change}))
    with pytest.raises(UnknownChainState, match=said):
        StakesFile(stated).at(GENESIS)


def test_a_stake_that_is_stated_twice_is_refused(stated: Path) -> None:
    hotkey = next(iter(STAKES))
    stated.write_text(f'{{"emission_rao": 1, "stakes": {{"{hotkey}": 1, "{hotkey}": 2}}}}')
    with pytest.raises(UnknownChainState, match=f"stakes.json: {hotkey} is stated more than once"):
        StakesFile(stated).at(GENESIS)


def test_bytes_that_are_no_text_are_refused(stated: Path) -> None:
    stated.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UnknownChainState, match=r"stakes\.json: the document"):
        StakesFile(stated).at(GENESIS)


def test_a_file_that_was_forgotten_speaks_for_no_later_epoch(stated: Path) -> None:
    text = {"emission_rao": 5, "stakes": STAKES, "last_epoch": GENESIS.id}
    stated.write_text(json.dumps(text))
    assert StakesFile(stated).at(GENESIS).emission_rao == 5
    with pytest.raises(UnknownChainState, match=rf"no epoch after {GENESIS}, not for 2019-Q2-W24"):
        StakesFile(stated).at(GENESIS.next())


def test_without_a_file_nothing_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(UnknownChainState, match="cannot be read: No such file"):
        StakesFile(tmp_path / "absent.json").at(GENESIS)
    assert isinstance(configured_chain_state(None), NoChainState)
    with pytest.raises(UnknownChainState, match="QUANTA_CHAIN_STATE is not set"):
        configured_chain_state(None).at(GENESIS)


def test_signals_are_taken_before_prices_exist(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    """The epoch of which only the signals were sent, on its first weekend."""
    epoch = PLAYED[-1]
    weekend = replace(platform, clock=lambda: epoch.opens_at + dt.timedelta(hours=49))
    job = build_defs(platform=weekend).resolve_job_def("signals")
    again: list[pd.DataFrame] = []
    for _ in range(2):
        result = job.execute_in_process(
            instance=instance, partition_key=epoch.id, run_config=QUIET, raise_on_error=False
        )
        assert result.success
        again.append(platform.lake.read("portfolios", epoch.id, gates=["contract"]))
    assert not platform.lake.exists("raw_prices", epoch.id)
    pd.testing.assert_frame_equal(*again)
    revealed = platform.store.reveals(epoch.id)
    accepted = set(revealed.loc[revealed["verdict"] == "accepted", "hotkey"])
    assert accepted
    assert accepted <= set(again[0]["hotkey"])


def test_signals_wait_for_the_end_of_the_reveal_window(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    epoch = PLAYED[-1]
    early = replace(platform, clock=lambda: epoch.opens_at + dt.timedelta(hours=47))
    job = build_defs(platform=early).resolve_job_def("signals")
    result = job.execute_in_process(
        instance=instance, partition_key=epoch.id, run_config=QUIET, raise_on_error=False
    )
    assert not result.success
    assert not platform.lake.exists("commitments", epoch.id)
