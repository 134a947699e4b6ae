"""Scores of an epoch that still runs, from its sessions so far: shown to miners, never paid.

The steps are those of the assets and every table keeps its contract, but only the scores are
published: prices of half an epoch are no table that anything may settle on.
"""

from dataclasses import replace

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.contract_type import Step, audit
from quanta_pipelines.protocol.epoch import finished_sessions, settles_at
from quanta_pipelines.resources import EpochRun
from quanta_pipelines.steps import steps_in_order

WANTED = "scores"


def scores_so_far(run: EpochRun) -> pd.DataFrame:
    """Table ``ProvisionalScores`` of a running epoch, as of its last finished session.

    Raises ``GateNotPassed`` for an epoch that is over, and where a table on the way breaks its
    contract; ``MissingTable`` names an earlier epoch to run first.
    """
    now = run.platform.clock()
    if now >= (over := settles_at(run.epoch, run.params)):
        raise GateNotPassed(f"{run.id} is over since {over:%Y-%m-%d %H:%M} UTC: run its scores")
    so_far = replace(run, through=finished_sessions(run.epoch, now, run.params)[-1])
    tables: dict[str, pd.DataFrame] = {}
    for step in _steps_to(WANTED):
        for name, frame in step(so_far, tables).items():
            if name != WANTED and audit(CONTRACTS[name], frame, run.id) is not None:
                raise GateNotPassed(f"{name} of {run.id} so far breaks its contract")
            tables[name] = frame
    return tables[WANTED].assign(as_of=pd.Timestamp(so_far.through).as_unit("ns"))


def _steps_to(table: str) -> list[Step]:
    """The steps that a table rests on and its own, in order."""
    needed, found = {table}, []
    for step in reversed(steps_in_order()):
        if needed & set(step.tables):
            needed |= set(step.inputs)
            found.append(step)
    return found[::-1]
