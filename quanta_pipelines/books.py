"""The ledgers of all epochs as one set of books: what an epoch takes over, and how it is posted.

A settled epoch is frozen. Settling it again with other inputs is an act of an operator, who says
why, and is posted as a restatement behind what was settled last. The lake publishes a ledger only
if no ledger was published since these books were read.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from data_contracts.rewards import LedgerEntries
from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import Lake, MissingTable, content_hash
from quanta_pipelines.adapters.table_format import from_parquet, to_parquet
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.ledger import (
    TREASURY,
    Movement,
    balances,
    carry_of,
    ledger_table,
)
from quanta_pipelines.protocol.ledger import posted as completed
from quanta_pipelines.protocol.restatement import (
    Restatement,
    before_the_last,
    moves_the_same,
    restated,
)
from quanta_pipelines.resources import EpochRun
from quanta_pipelines.table_difference import cell_in_words, first_difference

TABLE = "ledger_entries"
GATES = LedgerEntries.gates()


HOW = (
    "a paid epoch is settled again only by an operator, who says why: "
    "quanta epoch run {} --restate REASON"
)


class SettledEpoch(GateNotPassed):
    """A settled epoch that would be paid differently, without an operator who wants that."""


def carry_in(run: EpochRun) -> int:
    """What the epoch before hands over, restatements that were booked in it included, in rao.

    Raises ``MissingTable`` that names the epoch to run first. A restatement that is booked later
    changes nothing of it, so a ledger rests on no version of an earlier one.
    """
    if not run.replays:
        run.publications[TABLE] = run.platform.lake.publications(TABLE)
    if run.is_genesis(TABLE, run.epoch):
        return 0
    before = run.epoch.previous()
    if not run.platform.lake.exists(TABLE, before.id):
        raise MissingTable(
            f"{run.id} needs {TABLE} of {before.id}, which is not published: "
            f"run epoch {before.id} first"
        )
    return carry_of(_ledgers(run.platform.lake, _booked_in(run.platform.lake, before)), before.id)


def posted(run: EpochRun, moved: Sequence[Movement]) -> pd.DataFrame:
    """The epoch's ledger with these movements: as it is, or settled first, or restated.

    Raises ``SettledEpoch`` where it is settled otherwise and the run restates nothing.
    """
    lake = run.platform.lake
    if run.anew:
        return ledger_table(moved, run.id)
    current = completed(lake.read(TABLE, run.id)) if lake.exists(TABLE, run.id) else None
    if run.replays and current is not None:
        held = before_the_last(current)
        act = None if held is None else _act_of(run, current)
    else:
        held, act = _settled(lake, run.id, current), None
    if held is None:
        return ledger_table(moved, run.id)
    if moves_the_same(held, moved):
        return held
    if act is None and not run.restates:
        raise SettledEpoch(
            f"{run.id} is settled, and its ledger would change: {HOW.format(run.id)}"
        )
    return restated(held, moved, act or _new_act(run), run.id)


def require_unsettled(run: EpochRun, frames: Mapping[str, pd.DataFrame]) -> None:
    """Refuses tables that differ from those that an epoch was paid by, unless it is restated.

    Names the first cell that differs. Nothing has been published then, so the epoch stays settled.
    """
    lake = run.platform.lake
    if run.restates or not is_settled(lake, run.id):
        return
    for name, frame in frames.items():
        if name in CONTRACTS and lake.exists(name, run.id):
            _require_same(run, name, frame)


def _require_same(run: EpochRun, name: str, frame: pd.DataFrame) -> None:
    lake = run.platform.lake
    if content_hash(frame, name) == lake.version(name, run.id).content_hash:
        return
    made = from_parquet(to_parquet(frame, name, {}))  # types as they are read
    cell = first_difference(lake.read(name, run.id), made, CONTRACTS[name].key())
    raise SettledEpoch(
        f"{run.id} is settled, and {name} would change: "
        f"{cell_in_words(cell) if cell else 'the order or the types of its rows'}; "
        f"{HOW.format(run.id)}"
    )


def is_settled(lake: Lake, epoch_id: str) -> bool:
    """Whether an epoch was paid: its ledger stands, and passed its own gates when it was made."""
    return lake.passed(TABLE, epoch_id, GATES)


def _settled(lake: Lake, epoch_id: str, current: pd.DataFrame | None) -> pd.DataFrame | None:
    """What was paid: a posting whose gates never passed is none, and may be made again."""
    if current is None or is_settled(lake, epoch_id):
        return current
    return before_the_last(current)


def _ledgers(lake: Lake, epochs: Sequence[str]) -> list[pd.DataFrame]:
    return [completed(lake.read(TABLE, epoch, gates=GATES)) for epoch in epochs]


def _booked_in(lake: Lake, epoch: Epoch) -> list[str]:
    """Epochs whose ledgers may have been posted in the books of one: itself, those restated."""
    often = lake.publications(TABLE)
    again = (other for other in lake.epochs(TABLE) if often.get(other, 0) > 1)
    return [*(other for other in again if other < epoch.id), epoch.id]


def _new_act(run: EpochRun) -> Restatement:
    lake = run.platform.lake
    last = max([run.id, *(e for e in lake.epochs(TABLE) if is_settled(lake, e))])
    journal = pd.concat([completed(lake.read(TABLE, e)) for e in lake.epochs(TABLE)])
    return _act(run, journal, booked_in=last, posting=int(journal["posting"].max()) + 1)


def _act_of(run: EpochRun, current: pd.DataFrame) -> Restatement:
    """The last restatement of a ledger, with what the network held before it."""
    lake, row = run.platform.lake, current.iloc[-1]
    journal = pd.concat([completed(lake.read(TABLE, e)) for e in lake.epochs(TABLE)])
    earlier = (journal["booked_in"] < row["booked_in"]) | (
        (journal["booked_in"] == row["booked_in"]) & (journal["posting"] < row["posting"])
    )
    return _act(
        run,
        journal[earlier],
        booked_in=str(row["booked_in"]),
        posting=int(row["posting"]),
        note=str(row["note"]),
    )


def _act(
    run: EpochRun, journal: pd.DataFrame, *, booked_in: str, posting: int, note: str = ""
) -> Restatement:
    return Restatement(
        note=note or run.restates,
        booked_in=booked_in,
        posting=posting,
        carry_rao=carry_of([journal], booked_in),
        treasury_rao=int(balances(journal).get(TREASURY, 0)),
    )
