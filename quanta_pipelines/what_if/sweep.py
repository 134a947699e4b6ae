"""Many rule sets over one span: the base once, then every variant, side by side in processes.

Each variant is a pure function of the recorded history and its rule set, and outcomes are kept in
the order of the grid, so the number of processes changes nothing but the time.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.params import ProtocolParams, params_version
from quanta_pipelines.resources import Platform
from quanta_pipelines.what_if.comparison import Compared, Outcome, compared
from quanta_pipelines.what_if.figures import EpochFigures, epoch_figures
from quanta_pipelines.what_if.isolation import History, IsolatedLake
from quanta_pipelines.what_if.parameters import Variant, in_words
from quanta_pipelines.what_if.replay import BaseRun, Broken, Replay, base_run
from quanta_pipelines.what_if.votes import MEANING, Votes

BASE = "base"
INTAKE = (
    "prices, commitments and reveals are the recorded ones; verdicts of the intake are not judged "
    "again, so a parameter that only the intake reads changes nothing here"
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The base and every variant over one span, with what the figures rest on."""

    first: str
    last: str
    epochs: int
    settings: str  # that every variant has, beside what names it
    votes: Votes
    notes: tuple[str, ...]
    differing: tuple[str, ...]  # tables that the base's rules do not give as they are published
    base: Compared
    variants: tuple[Compared, ...]


@dataclass(frozen=True)
class _Work:
    """What a process needs to replay one variant."""

    history: History
    home: str
    epoch_ids: tuple[str, ...]
    base_params: ProtocolParams
    base: BaseRun
    votes: Votes


def sweep(
    history: History,
    variants: Sequence[Variant],
    epochs: Sequence[Epoch],
    *,
    base_params: ProtocolParams,
    votes: Votes = "carried",
    jobs: int = 1,
    work: Path | None = None,
    on_done: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Compare every variant with the base over ``epochs``, in a folder that is then removed.

    ``work`` is where that folder is made, the system's temporary folder if none is given. Raises
    ``MissingTable`` that names an epoch which is not published, ``NotIsolated`` where the folder
    would touch what is the operator's.
    """
    ordered = tuple(sorted(epochs))
    _require_published(Lake(history.lake_root), ordered)
    if work is not None:
        history.require_apart(work, what="the working folder", above=False)
    with tempfile.TemporaryDirectory(prefix="quanta-what-if-", dir=work) as name:
        history.require_apart(Path(name), what="the isolated home", above=True)
        outcome, base = _base(history, Path(name), ordered, base_params)
        on_done(BASE)
        task = _Work(history, name, tuple(one.id for one in ordered), base_params, base, votes)
        found = []
        for one in _outcomes(task, variants, jobs):
            found.append(compared(one, outcome))
            on_done(one.name)
    return Sweep(
        first=ordered[0].id,
        last=ordered[-1].id,
        epochs=len(ordered),
        settings=_shared(variants),
        votes=votes,
        notes=(MEANING[votes], INTAKE),
        differing=base.differing,
        base=compared(outcome, None),
        variants=tuple(found),
    )


def _shared(variants: Sequence[Variant]) -> str:
    """The settings that no variant's name says."""
    first = variants[0]
    return in_words([change for change in first.changes if in_words([change]) not in first.name])


def _require_published(lake: Lake, epochs: Sequence[Epoch]) -> None:
    """Refuse an epoch that lacks a table, or one whose gates did not pass."""
    for epoch in epochs:
        for table, contract in CONTRACTS.items():
            refusal = lake.refusal(table, epoch.id, contract.gates())
            if refusal is not None:
                raise MissingTable(f"{epoch} is not published as a whole: {refusal}")


def _base(
    history: History, home: Path, epochs: Sequence[Epoch], params: ProtocolParams
) -> tuple[Outcome, BaseRun]:
    lake = _base_lake(history, home)
    with history.platform(home, lake, params) as platform:
        base = base_run(platform, epochs)
        figures = tuple(_figures(platform, epoch) for epoch in epochs)
    return Outcome(
        BASE, (), params_version(params), figures, "", len(base.traces), len(base.differing)
    ), base


def _outcomes(task: _Work, variants: Sequence[Variant], jobs: int) -> Iterator[Outcome]:
    numbered = list(enumerate(variants))
    if jobs == 1 or len(variants) == 1:
        yield from map(partial(_outcome, task), numbered)
        return
    # a fork of this process would take its threads' locks along, a server that is forked has none
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(min(jobs, len(variants)), mp_context=context) as pool:
        yield from pool.map(partial(_outcome, task), numbered)


def _outcome(task: _Work, numbered: tuple[int, Variant]) -> Outcome:
    """One variant, in a lake of its own over the base's."""
    number, variant = numbered
    home = Path(task.home)
    below = _base_lake(task.history, home)
    lake = IsolatedLake(str(home / f"variant-{number}"), below)
    with (
        task.history.platform(home, below, task.base_params) as base,
        task.history.platform(home, lake, variant.params) as platform,
    ):
        replay = Replay(platform, base, task.base.traces, task.votes)
        figures, problem = [], ""
        for epoch in map(Epoch.parse, task.epoch_ids):
            try:
                replay.epoch(epoch)
            except Broken as broken:
                problem = str(broken)
                break
            figures.append(_figures(platform, epoch))
    return Outcome(
        variant.name,
        variant.changes,
        params_version(variant.params),
        tuple(figures),
        problem,
        replay.steps_run,
        len(replay.changed),
    )


def _base_lake(history: History, home: Path) -> IsolatedLake:
    return IsolatedLake(str(home / BASE), Lake(history.lake_root))


def _figures(platform: Platform, epoch: Epoch) -> EpochFigures:
    rewards, entries = (
        platform.lake.read(name, epoch.id) for name in ("rewards", "ledger_entries")
    )
    return epoch_figures(epoch.id, rewards, entries)
