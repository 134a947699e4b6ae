"""What corrected prices would change, before anything runs: epochs, miners and rao.

An epoch and every later published one are computed again, each from the recomputed state of the
one before, with the corrections that are recorded now. Nothing is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, Loaded, MissingTable, Version, content_hash, joined
from quanta_pipelines.adapters.table_format import from_parquet, to_parquet
from quanta_pipelines.checks import INVARIANTS, Look, in_words
from quanta_pipelines.contract_type import audit
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.rescore import StoredVotes
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.steps import steps_in_order

Frames = dict[str, pd.DataFrame]
Candidate = Callable[[Epoch], pd.DataFrame | None]
"""Other raw prices of an epoch than the published ones, or None: what a re-parse would give."""

CELLS = ("close", "total_return", "status", "in_universe")
OUTCOMES = {  # what a miner gets: the column, and the table it stands in
    "composite": "scores",
    "rank": "rewards",
    "tier": "rewards",
    "payout_rao": "rewards",
}


@dataclass(frozen=True, slots=True)
class ChangedCell:
    """One cell of ``validated_prices``, before and after, as text; an empty one is None."""

    ticker: str
    session: str
    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ChangedMiner:
    """A miner whose composite, rank, tier or payout changes."""

    hotkey: str
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    difference_rao: int  # of the payout


@dataclass(frozen=True, slots=True)
class EpochImpact:
    """What changes in one epoch; ``problem`` says why it can not be computed any further."""

    epoch_id: str
    tables: tuple[str, ...]  # whose content changes, in the order of computation
    cells: tuple[ChangedCell, ...]
    miners: tuple[ChangedMiner, ...]
    problem: str = ""

    @property
    def moved_rao(self) -> int:
        """Sum of all differences, whatever their sign."""
        return sum(abs(miner.difference_rao) for miner in self.miners)

    @property
    def total_rao(self) -> int:
        """What all miners together get more, or less."""
        return sum(miner.difference_rao for miner in self.miners)


@dataclass(frozen=True)
class LakeWithCandidates(Lake):
    """A lake in which recomputed tables stand in front of the published ones; never written to."""

    tables: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    def load(self, table: str, epoch_id: str, *, gates: Sequence[str] = ()) -> Loaded:
        """The recomputed table where there is one, with the published one's stamps."""
        candidate = self.tables.get((table, epoch_id))
        if candidate is None:
            return super().load(table, epoch_id, gates=gates)
        published = self.version(table, epoch_id)
        hashed = content_hash(candidate, table)
        return Loaded(candidate, replace(published, content_hash=hashed, rows=len(candidate)))

    def load_all(
        self, table: str, epoch_ids: Sequence[str], *, gates: Sequence[str]
    ) -> tuple[pd.DataFrame, tuple[Version, ...]]:
        """The tables that ``load`` gives, in one frame."""
        return joined([self.load(table, epoch_id, gates=gates) for epoch_id in epoch_ids])


def price_impact(
    platform: Platform, epoch: Epoch, candidate: Candidate = lambda _: None
) -> list[EpochImpact]:
    """What running ``epoch`` and all later published epochs again would change, oldest first.

    The inputs are those published, with the corrections of now and, where ``candidate`` gives
    some, other raw prices. Raises ``MissingTable`` where ``epoch`` is not published. An epoch
    whose recomputed tables break a contract or an invariant ends the list and says so.
    """
    later = [
        Epoch.parse(state.epoch_id)
        for state in epoch_states(platform)
        if state.epoch_id >= epoch.id and state.tables == state.expected
    ]
    if epoch not in later:
        raise MissingTable(f"{epoch} is not published as a whole: there is nothing to compare with")
    lake = LakeWithCandidates(platform.lake.root)
    impacts: list[EpochImpact] = []
    for one in later:
        impacts.append(_impact(replace(platform, lake=lake), lake, one, candidate))
        if impacts[-1].problem:
            break
    return impacts


def _impact(
    platform: Platform, lake: LakeWithCandidates, epoch: Epoch, candidate: Candidate
) -> EpochImpact:
    """One epoch, computed on a lake that then holds its recomputed tables."""
    before = {name: Lake.read(lake, name, epoch.id) for name in CONTRACTS}
    after, problem = _computed(platform, epoch, before, candidate)
    lake.tables.update({(name, epoch.id): frame for name, frame in after.items()})
    problem = problem or _broken_invariant(platform, epoch)
    changed = [
        name
        for name, frame in after.items()
        if content_hash(frame, name) != content_hash(before[name], name)
    ]
    return EpochImpact(
        epoch.id,
        tables=tuple(changed),
        cells=_cells(before, after),
        miners=() if problem else _miners(before, after),
        problem=problem,
    )


def _computed(
    platform: Platform, epoch: Epoch, before: Frames, candidate: Candidate
) -> tuple[Frames, str]:
    """The epoch's tables as a run would make them now, and the first contract that breaks."""
    votes = before["validator_weights"]
    others = StoredVotes(platform.store, votes[votes["validator"] != platform.own_validator])
    run = EpochRun(replace(platform, store=others), epoch, restates="impact of a correction")
    tables: Frames = {}
    for step in steps_in_order():
        try:
            made = step(run, tables) if step.inputs else _asked(run, before, step.tables, candidate)
        except ProtocolError as error:
            return tables, f"{step.name}: {error}"
        for name, frame in made.items():
            if (failure := audit(CONTRACTS[name], frame, epoch.id)) is not None:
                broken = sorted({str(check) for check in failure["check"]})
                return tables, f"{name} {epoch} would break its contract: {', '.join(broken)}"
            tables[name] = from_parquet(to_parquet(frame, name, {}))
    return tables, ""


def _broken_invariant(platform: Platform, epoch: Epoch) -> str:
    """The first invariant that the recomputed tables break, in the words of its check."""
    look = Look(platform, epoch)
    for table, contract in CONTRACTS.items():
        for name in contract.gates():
            if name in INVARIANTS and not (offending := INVARIANTS[name](look)).empty:
                return in_words(offending, f"{table} {epoch}", name)
    return ""


def _asked(run: EpochRun, before: Frames, tables: Sequence[str], candidate: Candidate) -> Frames:
    """Tables that look outside: as they are published, but for what may have changed since."""
    asked = {name: before[name] for name in tables}
    if "price_corrections" in asked:
        asked["price_corrections"] = run.platform.corrections(run.epoch)
    if "raw_prices" in asked and (other := candidate(run.epoch)) is not None:
        asked["raw_prices"] = other
    return asked


def _cells(before: Frames, after: Frames) -> tuple[ChangedCell, ...]:
    """The cells of ``validated_prices`` that differ, by ticker, session and column."""
    if "validated_prices" not in after:
        return ()
    old, new = (
        tables["validated_prices"].set_index(["ticker", "session"])[list(CELLS)]
        for tables in (before, after)
    )
    changed = []
    for at in old.index.union(new.index, sort=True):
        for column in CELLS:
            was, now = _text(old, at, column), _text(new, at, column)
            if was != now:
                changed.append(ChangedCell(at[0], f"{at[1]:%Y-%m-%d}", column, was, now))
    return tuple(changed)


def _miners(before: Frames, after: Frames) -> tuple[ChangedMiner, ...]:
    old, new = _outcomes(before), _outcomes(after)
    changed = []
    for hotkey in old.index.union(new.index, sort=True):
        was, now = ({name: _text(side, hotkey, name) for name in OUTCOMES} for side in (old, new))
        if was != now:
            paid = int(now["payout_rao"] or 0) - int(was["payout_rao"] or 0)
            changed.append(ChangedMiner(hotkey, was, now, paid))
    return tuple(changed)


def _outcomes(tables: Frames) -> pd.DataFrame:
    """What every miner got, as objects: whole numbers stay whole beside absent ones."""
    columns = {
        name: tables[table].set_index("hotkey")[name].astype(object)
        for name, table in OUTCOMES.items()
    }
    return pd.DataFrame(columns, dtype=object)


def _text(frame: pd.DataFrame, row: object, column: str) -> str | None:
    value = frame.at[row, column] if row in frame.index else None
    return None if value is None or pd.isna(value) else str(value)


def impact_lines(impacts: Sequence[EpochImpact]) -> list[str]:
    """The impact for people; ``dataclasses.asdict`` gives the same for machines."""
    return [line for impact in impacts for line in _lines(impact)]


def _lines(impact: EpochImpact) -> list[str]:
    if not impact.tables and not impact.problem:
        return [f"{impact.epoch_id}  unchanged"]
    head = (
        f"{impact.epoch_id}  {len(impact.cells)} cells of prices, {len(impact.miners)} miners, "
        f"{impact.moved_rao} rao moved, {impact.total_rao:+d} in total"
    )
    cells = [
        f"  {cell.ticker} {cell.session} {cell.column}: {cell.before} -> {cell.after}"
        for cell in impact.cells
    ]
    miners = [
        f"  {miner.hotkey} {_difference(miner)}: {miner.difference_rao:+d} rao"
        for miner in impact.miners
    ]
    return [head, *cells, *miners, *([f"  {impact.problem}"] if impact.problem else [])]


def _difference(miner: ChangedMiner) -> str:
    return ", ".join(
        f"{name} {miner.before[name]} -> {miner.after[name]}"
        for name in OUTCOMES
        if name != "payout_rao" and miner.before[name] != miner.after[name]
    )
