"""An epoch scored again with other cells in one table: what its own vote would have been.

Tables that the changed one does not reach are read as they are published. Nothing is published.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.table_format import from_parquet, to_parquet
from quanta_pipelines.contract_type import STEPS, Step
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.votes import validator_row
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.steps import steps_in_order

WANTED = ("scores", "horizon_metrics")

Frames = dict[str, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Replay:
    """Scores of an epoch under given cells, and the vote that follows from them."""

    scores: pd.DataFrame
    row: pd.DataFrame  # hotkey, weight_units and what stands beside them, by hotkey


@dataclass(frozen=True, slots=True)
class Poll:
    """All votes of an epoch as this platform counts them, and what they agree on."""

    votes: pd.DataFrame
    consensus: pd.DataFrame


def replay(platform: Platform, epoch: Epoch, given: Mapping[str, pd.DataFrame]) -> Replay:
    """Scores ``epoch`` with the tables ``given`` in the place of the published ones.

    Every step that reads a given table, or one that follows from it, is computed again. Raises
    ``MissingTable`` or ``GateNotPassed`` where a published table is not there to be read.
    """
    run, tables, changed = EpochRun(platform, epoch, replays=True), Frames(), set(given)
    for step in _steps_to(WANTED):
        if changed.isdisjoint(step.inputs) or not changed.isdisjoint(step.tables):
            absent = [name for name in step.tables if name not in given]
            tables |= {name: _published(platform, epoch, name) for name in absent}
            tables |= {name: given[name] for name in step.tables if name in given}
            continue
        for name, frame in step(run, tables).items():
            tables[name] = from_parquet(to_parquet(frame, name, {}))  # as the next step reads it
            changed.add(name)
    row = validator_row(tables["scores"], tables["horizon_metrics"], platform.params)
    return Replay(tables["scores"], row)


def poll(platform: Platform, epoch: Epoch) -> Poll:
    """The votes of an epoch and their consensus, computed from what is published and recorded."""
    run, tables = EpochRun(platform, epoch, replays=True), Frames()
    steps_in_order()  # declares the steps
    for name in ("validator_weights", "consensus"):
        step = STEPS[name]
        missing = [table for table in step.inputs if table not in tables]
        tables |= {table: _published(platform, epoch, table) for table in missing}
        tables |= step(run, tables)
    return Poll(tables["validator_weights"], tables["consensus"])


def _published(platform: Platform, epoch: Epoch, name: str) -> pd.DataFrame:
    return platform.lake.read(name, epoch.id, gates=CONTRACTS[name].gates())


def _steps_to(wanted: tuple[str, ...]) -> list[Step]:
    """The steps that the wanted tables rest on, in order."""
    steps, needed = steps_in_order(), set(wanted)
    chosen: list[Step] = []
    for step in reversed(steps):
        if not needed.isdisjoint(step.tables):
            chosen.append(step)
            needed.update(step.inputs)
    return chosen[::-1]
