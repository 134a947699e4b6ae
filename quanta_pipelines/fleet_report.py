"""What a shared backfill took: by stage, what ran side by side and what had to go in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from quanta_pipelines.fleet import MARTS, STAGE_TAG, RunState
from quanta_pipelines.fleet_jobs import STAGES


@dataclass(frozen=True, slots=True)
class Effort:
    """Runs of one stage; what was lost or failed counts too. Seconds are of the wall."""

    stage: str
    in_order: bool  # one epoch after the other
    runs: int
    seconds_in_runs: float
    seconds: float  # while at least one was under way
    most_at_once: int


def efforts(runs: Sequence[RunState]) -> list[Effort]:
    """One for each stage that had a run, in the order of an epoch, the marts last."""
    found = []
    for stage in (*STAGES, MARTS):
        spans = sorted(
            (run.started, run.ended)
            for run in runs
            if run.tags.get(STAGE_TAG) == stage.job and run.started and run.ended
        )
        if spans:
            busy = sum(ended - started for started, ended in spans)
            under_way, most = _together(spans)
            found.append(
                Effort(
                    stage.job, stage.in_order, len(spans), round(busy, 1), round(under_way, 1), most
                )
            )
    return found


def _together(spans: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Seconds in which at least one span lasts, and the most that last at once."""
    moments = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
    seconds, going, most, before = 0.0, 0, 0, moments[0][0]
    for moment, step in moments:  # an end comes before a start of the same moment
        seconds += (moment - before) if going else 0.0
        going, before = going + step, moment
        most = max(most, going)
    return seconds, most
