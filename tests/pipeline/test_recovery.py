"""Second chances: late vendors, missed settlements, and that nothing is ever paid twice."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.definitions import defs
from quanta_pipelines.epoch_progress import SETTLING, is_paid, oldest_unpaid, overdue, unpaid
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.recovery import AGAIN_TAG, MOST_ATTEMPTS, marts_again
from tests.pipeline.simulated_years import Asked, SimulatedYears

SCHEDULES = [defs.resolve_schedule_def(found.name) for found in defs.schedules or ()]
W48 = Epoch.parse("2025-Q4-W48")  # ends with the half day of Friday 28 November
W49 = W48.next()


def new_york(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}-05:00").astimezone(dt.UTC)


START = new_york("2025-11-24 00:00")


@pytest.fixture
def years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedYears]:
    """A deployment whose first epoch is that of Thanksgiving."""
    with dg.instance_for_test() as instance:  # ticks open it by its address
        years = SimulatedYears.at(tmp_path / "home", W48, instance, monkeypatch)
        yield years
        years.platform.store.close()


def asked_for(years: SimulatedYears, epoch: Epoch, *schedules: str) -> list[Asked]:
    return [
        each for each in years.asked if each.epoch_id == epoch.id and each.schedule in schedules
    ]


def test_late_vendors_get_a_second_chance_inside_the_vote_window(years):
    years.refused = lambda asked: asked.schedule == "epoch_close"
    years.live(SCHEDULES, START, new_york("2025-12-01 00:00"))
    [again] = asked_for(years, W48, "epoch_close_again")
    # prices are final at 20:30, votes are taken until 21:00
    assert again.moment == new_york("2025-11-28 20:50")
    assert again.run_key == "2025-Q4-W48/close/2025-11-29T01:50+00:00"
    [paid] = asked_for(years, W48, "epoch_settlement", "epoch_settle_again")
    assert paid.moment == new_york("2025-11-29 21:05")


def test_each_attempt_has_a_key_of_its_own_and_they_stop_with_the_first_success(years):
    until = new_york("2025-11-29 09:00")
    years.refused = lambda asked: "close" in asked.schedule and asked.moment < until
    years.live(SCHEDULES, START, new_york("2025-12-01 00:00"))
    attempts = asked_for(years, W48, "epoch_close", "epoch_close_again")
    assert [each.moment for each in attempts] == [
        new_york("2025-11-28 20:35"),
        new_york("2025-11-28 20:50"),
        new_york("2025-11-28 22:35"),
        new_york("2025-11-29 09:05"),
    ]
    assert len({each.run_key for each in attempts}) == 4


def test_a_missed_settlement_is_caught_up_with_once(years):
    years.refused = lambda asked: asked.schedule == "epoch_settlement"
    years.live(SCHEDULES, START, new_york("2025-12-05 00:00"))
    [caught] = asked_for(years, W48, "epoch_settle_again")
    assert caught.moment == new_york("2025-11-29 23:35")
    assert is_paid(years.platform, W48)


def test_a_week_of_outage_is_made_up_oldest_first_and_one_at_a_time(years):
    back = new_york("2025-12-07 10:00")
    late = {"close", "settle", "epoch_close", "epoch_settlement"}
    years.refused = lambda asked: (
        asked.moment < back and (asked.schedule in late or asked.schedule.endswith("again"))
    )
    years.live(SCHEDULES, START, new_york("2025-12-10 00:00"))
    done = [
        (each.epoch_id, each.schedule)
        for each in years.asked
        if each.moment >= back and each.schedule.endswith("again")
    ]
    assert done == [
        (W48.id, "epoch_close_again"),
        (W48.id, "epoch_settle_again"),
        (W49.id, "epoch_close_again"),
        (W49.id, "epoch_settle_again"),
    ]


def tick(years: SimulatedYears, name: str, moment: str) -> str | None:
    """The reason of a skip, nothing where a run was asked for."""
    before = len(years.asked)
    years.tick(defs.resolve_schedule_def(name), new_york(moment))
    return None if len(years.asked) > before else years.skipped[name][-1]


def test_a_paid_epoch_is_never_asked_for_again_even_when_its_inputs_change(years):
    years.leave("close", W48)
    years.leave("settle", W48)
    scores = pd.DataFrame({"session": pd.to_datetime(["2025-11-28"])})
    years.platform.lake.publish("scores", W48.id, scores, params_version="p", code_version="c")
    for name in ("epoch_close_again", "epoch_settle_again"):
        assert tick(years, name, "2025-12-02 23:35") == "every closed epoch is paid"


def test_a_failed_ledger_is_not_paid_again_by_itself(years):
    years.leave("close", W48)
    years.leave("settle", W48)
    version = years.platform.lake.version("ledger_entries", W48.id)
    years.platform.lake.record_verdict(
        "ledger_entries",
        W48.id,
        "ledger_closes",
        passed=False,
        content_hash=version.content_hash,
        detail="1 row",
    )
    assert is_paid(years.platform, W48)
    assert tick(years, "epoch_settle_again", "2025-12-02 23:35") == "every closed epoch is paid"


def test_a_settlement_that_broke_off_before_its_last_verdict_is_taken_up_again(years):
    years.leave("close", W48)
    for table in SETTLING:
        years.leave("settle", W48)
        assert is_paid(years.platform, W48)
        gates = Path(years.platform.lake.root) / table / "_gates" / W48.id
        (gates / f"{CONTRACTS[table].gates()[-1]}.json").unlink()  # killed before it was written
        assert not is_paid(years.platform, W48), table
    assert tick(years, "epoch_settle_again", "2025-12-02 23:35") is None
    assert is_paid(years.platform, W48)


def test_a_restated_ledger_is_left_to_its_operator_whatever_was_not_judged(years):
    years.leave("close", W48)
    years.leave("settle", W48)
    rows = pd.DataFrame({"session": pd.to_datetime(["2025-11-28"])})
    years.platform.lake.publish("ledger_entries", W48.id, rows, params_version="p", code_version="")
    gates = Path(years.platform.lake.root) / "rewards" / "_gates" / W48.id
    (gates / "contract.json").unlink()
    assert is_paid(years.platform, W48)


def test_a_broken_rule_is_not_asked_for_again(years):
    years.platform.lake.record_verdict(
        "scores", W48.id, "contract", passed=False, content_hash=None, detail="isin([1])"
    )
    said = tick(years, "epoch_close_again", "2025-11-28 20:50")
    assert said == "not healed by asking vendors again: scores 2025-Q4-W48: contract: isin([1])"


def test_disputed_prices_are_asked_for_again(years):
    for table, gate in (
        ("validated_prices", "benchmark_is_settled"),
        ("portfolios", "held_tickers_are_priced"),
    ):
        years.platform.lake.record_verdict(
            table, W48.id, gate, passed=False, content_hash=None, detail="SPY"
        )
    assert tick(years, "epoch_close_again", "2025-11-28 20:50") is None


def test_without_stakes_nothing_is_asked_for(years):
    years.leave("close", W48)
    years.leave("settle", W48)
    said = tick(years, "epoch_close_again", "2025-12-05 20:50")
    assert said == f"nobody recorded the stakes of {W49}: run its snapshot first"


def add_run(years: SimulatedYears, job: str, status: dg.DagsterRunStatus, **tags: str) -> None:
    """A run of a job without steps: schedules look at its name, tags and status."""
    run = years.instance.create_run_for_job(dg.GraphDefinition(job).to_job(), tags=tags)
    if status == dg.DagsterRunStatus.FAILURE:
        years.instance.report_run_failed(run)


def attempt(years: SimulatedYears, status: dg.DagsterRunStatus, **tags: str) -> None:
    add_run(years, "close", status, **{"quanta/epoch": W48.id, **tags})


def test_a_run_under_way_is_waited_for(years):
    attempt(years, dg.DagsterRunStatus.NOT_STARTED)
    said = tick(years, "epoch_close_again", "2025-11-28 20:50")
    assert said == f"a run of {W48} is under way"


def test_after_eight_more_attempts_an_operator_has_to_look(years):
    years.refused = lambda _: True
    for _ in range(MOST_ATTEMPTS):
        assert tick(years, "epoch_close_again", "2025-11-28 20:50") is None
        attempt(years, dg.DagsterRunStatus.FAILURE, **{AGAIN_TAG: f"close {W48}"})
    said = tick(years, "epoch_close_again", "2025-11-28 20:50")
    assert str(said).startswith(f"close of {W48} was asked for 8 times more: correct its cause")


def test_overdue_names_the_first_step_that_is_late(years):
    def late(moment: str) -> list[tuple[str, str]]:
        return [(each.epoch_id, each.step) for each in overdue(years.platform, new_york(moment))]

    assert late("2025-11-28 13:59") == []
    assert late("2025-11-28 14:00") == [(W49.id, "the snapshot")]  # opened at 13:00
    years.leave("snapshot", W49)
    assert late("2025-11-28 21:29") == []
    # both at 20:30 and an hour: W48 was to be closed, and what W49 may hold fixed
    assert late("2025-11-28 21:30") == [(W48.id, "closing"), (W49.id, "the universe")]
    years.leave("universe", W49)
    years.leave("close", W48)
    assert late("2025-11-29 21:59") == []
    assert late("2025-11-29 22:00") == [(W48.id, "settlement")]
    years.leave("settle", W48)
    assert late("2025-11-29 22:00") == []
    # reveals end two days after 13:00 on the 28th, the tick may come a day later
    assert late("2025-12-01 15:00") == [(W49.id, "taking the signals")]
    assert oldest_unpaid(years.platform, new_york("2025-12-01 15:00")) is None


def test_what_is_missing_is_what_is_due_and_has_no_ledger_oldest_first(years):
    def missing(moment: str) -> list[str]:
        return [epoch.id for epoch in unpaid(years.platform, new_york(moment))]

    assert missing("2025-11-29 20:59") == []  # disputes may be opened until 21:00
    assert missing("2025-11-29 21:00") == [W48.id]
    assert missing("2025-12-06 21:00") == [W48.id, W49.id]
    years.leave("settle", W48)
    assert missing("2025-12-06 21:00") == [W49.id]
    years.leave("settle", W49)
    assert missing("2025-12-06 21:00") == []


def record(years: SimulatedYears, *assets: str) -> None:
    """What Dagster keeps of assets that a run published."""
    for asset in assets:
        years.instance.report_runless_asset_event(dg.AssetMaterialization(asset))


def ask_for_marts(years: SimulatedYears) -> dg.RunRequest | str:
    with dg.build_schedule_context(
        instance=years.instance, scheduled_execution_time=new_york("2025-12-03 00:20")
    ) as context:
        answer = marts_again(context, platform=years.platform)
    return answer if isinstance(answer, dg.RunRequest) else str(answer.skip_message)


def test_marts_that_a_settlement_did_not_come_to_are_asked_for(years):
    assert ask_for_marts(years) == "no epoch is paid"
    years.leave("settle", W48)
    assert ask_for_marts(years) == "no ledger was published since the marts were"
    record(years, "ledger_entries")  # and then PostgreSQL was gone
    asked = ask_for_marts(years)
    assert asked.run_key == "2025-Q4-W48/marts/2025-12-03T05:20+00:00"
    assert asked.tags[AGAIN_TAG] == "marts 2025-Q4-W48"
    record(years, "leaderboard")  # the pages are what is published last
    assert isinstance(ask_for_marts(years), dg.RunRequest)
    record(years, "epoch_pages")
    assert ask_for_marts(years) == "no ledger was published since the marts were"


def test_marts_are_not_asked_for_beside_a_settlement_nor_for_ever(years):
    years.leave("settle", W48)
    record(years, "epoch_pages", "ledger_entries")
    add_run(years, "settle", dg.DagsterRunStatus.NOT_STARTED)
    assert ask_for_marts(years) == "a run of settle is under way"
    years.instance.report_run_failed(years.instance.get_runs()[0])
    for _ in range(MOST_ATTEMPTS):
        assert isinstance(ask_for_marts(years), dg.RunRequest)
        tags = {AGAIN_TAG: "marts 2025-Q4-W48"}
        add_run(years, "marts", dg.DagsterRunStatus.FAILURE, **tags)
    said = "the marts of 2025-Q4-W48 were asked for 8 times: see those runs"
    assert ask_for_marts(years) == said
