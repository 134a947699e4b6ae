"""Further attempts of a backfill: for what may pass, never for a gate."""

from dataclasses import dataclass, field

import dagster as dg
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.price_vendors.epoch import NoObservations
from quanta_pipelines.adapters.signal_store import StoreUnavailable
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.protocol.epoch import Epoch

W48 = Epoch.parse("2025-Q4-W48")


@dataclass
class Script:
    """What the step does on each attempt: raises an error, or nothing."""

    errors: list[Exception]
    pauses: list[float] = field(default_factory=list)
    attempts: int = 0

    def backfill(self, instance: dg.DagsterInstance) -> Backfill:
        script = self

        @dg.asset(partitions_def=dg.StaticPartitionsDefinition([W48.id]))
        def raw_prices() -> None:
            script.attempts += 1
            if script.errors:
                raise script.errors.pop(0)

        job = dg.define_asset_job("epoch", executor_def=dg.in_process_executor)
        defs = dg.Definitions(assets=[raw_prices], jobs=[job])
        return Backfill(defs, instance, self.pauses.append)


def unanswered() -> Exception:
    return NoObservations("no vendor answered")


@pytest.mark.parametrize(
    ("errors", "attempts", "pauses", "succeeded"),
    [
        ([], 1, [], True),
        ([unanswered()], 2, [2.0], True),
        ([StoreUnavailable("locked"), unanswered()], 3, [2.0, 4.0], True),
        ([unanswered() for _ in range(4)], 4, [2.0, 4.0, 8.0], False),
        ([ValueError("breaks its contract")], 1, [], False),
        ([unanswered(), ValueError("breaks its contract")], 2, [2.0], False),
    ],
)
def test_only_what_may_pass_is_tried_again(instance, errors, attempts, pauses, succeeded):
    script = Script(list(errors))
    outcome = script.backfill(instance).epoch(W48, retries=3)
    assert (script.attempts, script.pauses, outcome.succeeded) == (attempts, pauses, succeeded)


def test_without_retries_there_is_one_attempt(instance):
    script = Script([unanswered()])
    outcome = script.backfill(instance).epoch(W48)
    assert (script.attempts, outcome.succeeded, outcome.transient) == (1, False, True)


@pytest.mark.parametrize("arguments", [[], ["2025-Q4-W48..2025-Q4-W48", "--missing"]])
def test_a_range_or_missing_and_not_both(arguments):
    from quanta_pipelines.cli import main

    answer = CliRunner().invoke(main, ["backfill", *arguments])
    assert answer.exit_code == 2
    assert "either a range A..B or --missing" in answer.output
