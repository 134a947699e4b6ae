"""A settled epoch that is settled again: what was moved is taken back row by row, then moved anew.

Rows are only ever added. Burned money never moves and the carry may have been spent by later
epochs, so an account of this module stands in for ``burn``, ``treasury`` and ``carry`` in both
directions; afterwards the differences alone are posted to them, in the books of the last settled
epoch. No later epoch is rewritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import (
    BURN,
    CARRY,
    COLUMNS,
    NETWORK,
    RESTATEMENT,
    TREASURY,
    Movement,
    balances,
    standing,
)

NOTE_LIMIT = 200  # characters
_AMOUNTS = ["from_account", "to_account", "amount_rao", "reason"]


class RestatementNotCovered(InvalidEntries):
    """A restatement that takes more out of the network's accounts than they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """An operator's act: why, where it stands in the books, and what the network holds then.

    ``posting`` is its number among the restatements of all epochs, from 1.
    """

    note: str
    booked_in: str
    posting: int
    carry_rao: int
    treasury_rao: int

    def __post_init__(self) -> None:
        if not self.note.strip() or len(self.note) > NOTE_LIMIT:
            raise InvalidEntries(
                f"a restatement says why, in 1 to {NOTE_LIMIT} characters, not {self.note!r}"
            )
        if self.posting < 1 or min(self.carry_rao, self.treasury_rao) < 0:
            raise InvalidEntries(f"a restatement is posted from 1 on, to what is held: {self}")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Movements of one version, and the entries that they take back, if they do."""

    moved: Sequence[Movement]
    reverses: Sequence[int | None]
    version: int
    behind: int  # rows of the ledger before them


def moves_the_same(ledger: pd.DataFrame, moved: Sequence[Movement]) -> bool:
    """Whether what counts now is exactly this already."""
    held = standing(ledger)
    first = held.empty or held["version"].max() == 1
    wanted = [
        (each.from_account, each.to_account, each.amount_rao, each.reason)
        for each in (moved if first else map(_stood_in, moved))
    ]
    return wanted == list(held[_AMOUNTS].itertuples(index=False, name=None))


def restated(
    ledger: pd.DataFrame, moved: Sequence[Movement], act: Restatement, epoch_id: str
) -> pd.DataFrame:
    """An epoch's ledger with all its rows, their reversal, and ``moved`` as the next version.

    Reversals run backwards through the version that counted. What was burned stays burned: where
    the new version burns more, more is burned; where it burns less, the treasury makes it good. A
    smaller carry is taken from the carry of the last settled epoch, as far as it goes, and then
    from the treasury; a larger one is added to it. Raises ``RestatementNotCovered`` where the
    treasury does not hold the rest.
    """
    undone = standing(ledger).iloc[::-1]
    version, at = int(ledger["version"].max()) if len(ledger) else 1, len(ledger)
    back = [
        _stood_in(Movement(to, start, amount, reason))
        for start, to, amount, reason in undone[_AMOUNTS].itertuples(index=False, name=None)
    ]
    anew = [*(_stood_in(each) for each in moved), *_covering(ledger, moved, act)]
    return pd.concat(
        [
            ledger,
            _table(_Rows(back, undone["entry"].tolist(), version, at), act, epoch_id),
            _table(_Rows(anew, [None] * len(anew), version + 1, at + len(back)), act, epoch_id),
        ],
        ignore_index=True,
    ).astype(COLUMNS)


def before_the_last(ledger: pd.DataFrame) -> pd.DataFrame | None:
    """The ledger without its last posting; nothing where that was the settlement itself."""
    last = ledger["posting"].max() if len(ledger) else 0
    return ledger[ledger["posting"] < last].reset_index(drop=True) if last else None


def _stood_in(movement: Movement) -> Movement:
    return Movement(
        RESTATEMENT if movement.from_account in NETWORK else movement.from_account,
        RESTATEMENT if movement.to_account in NETWORK else movement.to_account,
        movement.amount_rao,
        movement.reason,
    )


def _covering(ledger: pd.DataFrame, moved: Sequence[Movement], act: Restatement) -> list[Movement]:
    """What the network's accounts gain or give, so that nothing is left in between."""
    had = {account: int(balances(ledger).get(account, 0)) for account in NETWORK}
    due = dict.fromkeys(NETWORK, 0)
    for each in moved:
        for account, sign in ((each.from_account, -1), (each.to_account, 1)):
            if account in due:
                due[account] += sign * each.amount_rao
    gains = {
        BURN: max(0, due[BURN] - had[BURN]),
        CARRY: max(due[CARRY] - had[CARRY], -act.carry_rao),
    }
    gains[TREASURY] = sum(due.values()) - sum(had.values()) - sum(gains.values())
    if act.treasury_rao + gains[TREASURY] < 0:
        raise RestatementNotCovered(
            f"this restatement needs {-gains[TREASURY]} rao of the treasury, which holds "
            f"{act.treasury_rao}: {max(0, had[BURN] - due[BURN])} rao too much were burned, and of "
            f"{max(0, had[CARRY] - due[CARRY])} rao too much carried {act.carry_rao} are left"
        )
    return [
        Movement(RESTATEMENT, account, gain, f"restated_{account}")
        if gain > 0
        else Movement(account, RESTATEMENT, -gain, f"restated_{account}")
        for account, gain in sorted(gains.items(), key=lambda item: item[1])
        if gain
    ]


def _table(rows: _Rows, act: Restatement, epoch_id: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch_id": epoch_id,
            "entry": range(rows.behind + 1, rows.behind + len(rows.moved) + 1),
            "version": rows.version,
            "from_account": [each.from_account for each in rows.moved],
            "to_account": [each.to_account for each in rows.moved],
            "amount_rao": [each.amount_rao for each in rows.moved],
            "reason": [each.reason for each in rows.moved],
            "reverses": pd.array(list(rows.reverses), dtype="Int64"),
            "booked_in": act.booked_in,
            "posting": act.posting,
            "note": act.note,
        },
        columns=list(COLUMNS),
    ).astype(COLUMNS)
