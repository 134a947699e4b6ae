"""Runs recorded epochs again with the production steps, each from the state of the one before.

What came from outside is recorded and stays: prices, corrections, commitments, reveals with their
verdicts, snapshots, disputes. Every table is audited against its contract, and every invariant
must hold; a rule set under which one breaks ends there and says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, content_hash
from quanta_pipelines.adapters.table_format import from_parquet, to_parquet
from quanta_pipelines.checks import INVARIANTS, Look, in_words
from quanta_pipelines.contract_type import Step, audit
from quanta_pipelines.protocol.consensus import validator_row
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.rescore import VOTES, StoredVotes
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.steps import steps_in_order
from quanta_pipelines.what_if.isolation import IsolatedLake
from quanta_pipelines.what_if.tracing import Trace, traced
from quanta_pipelines.what_if.votes import Votes, carried_votes

Traces = dict[tuple[str, str], Trace]  # by step and epoch


class Broken(ProtocolError):
    """A rule set under which an epoch's tables break a contract, an invariant or a rule."""


@dataclass(frozen=True)
class BaseRun:
    """History under its own rules: how each table came about, and which are not as published."""

    traces: Traces
    differing: tuple[str, ...]  # "table epoch"


def base_run(platform: Platform, epochs: Sequence[Epoch]) -> BaseRun:
    """Every epoch under the platform's rules, on a lake that gets only what is not as published."""
    traces: Traces = {}
    differing = []
    for epoch in epochs:
        recorded = _on_votes(platform, _others(platform, epoch))
        for step in steps_in_order():
            if not step.inputs:
                continue
            rules, read = traced(platform.params)
            run = EpochRun(replace(recorded, params=rules), epoch, replays=True)
            made = _made(run, step)
            outputs = {name: content_hash(frame, name) for name, frame in made.items()}
            inputs = [(name, epoch.id) for name in step.inputs]
            state = [_named(place) for place in run.inputs]
            traces[step.name, epoch.id] = Trace((*inputs, *state), dict(read), outputs)
            for name, frame in made.items():
                if outputs[name] != platform.lake.version(name, epoch.id).content_hash:
                    platform.lake.publish(
                        name, epoch.id, frame, unless_changed=None, **platform.stamp()
                    )
                    differing.append(f"{name} {epoch.id}")
    return BaseRun(traces, tuple(differing))


@dataclass
class Replay:
    """History under other rules; ``platform`` stands on a lake of its own over the base's."""

    platform: Platform
    base: Platform
    traces: Traces
    votes: Votes

    def __post_init__(self) -> None:
        self.changed: set[tuple[str, str]] = set()  # tables, by name and epoch
        self.steps_run = 0

    def epoch(self, epoch: Epoch) -> None:
        """One epoch; raises ``Broken`` where its tables do not keep what they promise."""
        touched = False
        for step in steps_in_order():
            if not step.inputs:
                continue
            trace = self.traces[step.name, epoch.id]
            if trace.sees_no_change(self.platform.params, self.changed):
                continue
            touched = True
            self.steps_run += 1
            self._run(step, epoch, trace)
        if touched:
            self._require_invariants(epoch)

    def _run(self, step: Step, epoch: Epoch, trace: Trace) -> None:
        store = self.platform.store
        if VOTES in step.tables:
            store = StoredVotes(store, self._others_now(epoch))
        run = EpochRun(replace(self.platform, store=store), epoch, replays=True, anew=True)
        try:
            made = _made(run, step)
        except ProtocolError as error:
            raise Broken(f"{step.name} {epoch}: {error}") from error
        for name, frame in made.items():
            failure = audit(CONTRACTS[name], frame, epoch.id)
            if failure is not None:
                broken = ", ".join(sorted({str(check) for check in failure["check"]}))
                raise Broken(f"{name} {epoch} would break its contract: {broken}")
            if content_hash(frame, name) != trace.outputs[name]:
                self.platform.lake.publish(
                    name, epoch.id, frame, unless_changed=None, **self.platform.stamp()
                )
                self.changed.add((name, epoch.id))

    def _others_now(self, epoch: Epoch) -> pd.DataFrame:
        """Votes of the other validators: as they were cast, or moved with the own vote."""
        recorded = _others(self.base, epoch)
        if self.votes == "recorded":
            return recorded
        return carried_votes(recorded, _own_vote(self.base, epoch), _own_vote(self.platform, epoch))

    def _require_invariants(self, epoch: Epoch) -> None:
        look = Look(self.platform, epoch)
        for table, contract in CONTRACTS.items():
            for name in contract.gates():
                if name in INVARIANTS and not (offending := INVARIANTS[name](look)).empty:
                    raise Broken(in_words(offending, f"{table} {epoch}", name))


def _made(run: EpochRun, step: Step) -> dict[str, pd.DataFrame]:
    """A step's tables from those of the run's lake, as the next step reads them."""
    lake = run.platform.lake
    inputs = {name: lake.read(name, run.id, gates=CONTRACTS[name].gates()) for name in step.inputs}
    made = step(run, inputs)
    return {name: from_parquet(to_parquet(frame, name, {})) for name, frame in made.items()}


def _own_vote(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    scores, metrics = (platform.lake.read(name, epoch.id) for name in ("scores", "horizon_metrics"))
    return validator_row(scores, metrics, platform.params)


def _others(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    """The votes of other validators that the epoch was settled with, from the published table."""
    votes = _published(platform.lake).read(VOTES, epoch.id)
    return votes[votes["validator"] != platform.own_validator]


def _published(lake: Lake) -> Lake:
    return _published(lake.below) if isinstance(lake, IsolatedLake) else lake


def _on_votes(platform: Platform, votes: pd.DataFrame) -> Platform:
    return replace(platform, store=StoredVotes(platform.store, votes))


def _named(place: str) -> tuple[str, str]:
    table, epoch_id = place.split(" ")
    return table, epoch_id
