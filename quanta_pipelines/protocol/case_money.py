"""What a case does to money: payouts wait in an account of the miner until it is decided.

The miner is paid as ever, and what it was paid moves on to ``held:<hotkey>`` while its case is
open. In the first epoch in which the case is closed all of it goes back, or is burned.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.integrity.case_table import (
    CONFIRMED,
    CaseKind,
    awaiting_decision,
)
from quanta_pipelines.protocol.ledger import BURN, Movement, miner

HELD = "held_for_case"
RELEASED, FORFEITED = "case_dismissed", "case_confirmed"


@dataclass(frozen=True, slots=True)
class CaseMoney:
    """Whose payouts wait, and what was held for whom until its case closed."""

    waiting: Collection[str] = frozenset()
    released_rao: Mapping[str, int] = field(default_factory=dict)
    burned_rao: Mapping[str, int] = field(default_factory=dict)


NO_CASES = CaseMoney()


def held(hotkey: str) -> str:
    """Account that holds what a miner is paid while a case is open against it."""
    return f"held:{hotkey}"


def closing(cases: pd.DataFrame, epoch_id: str) -> pd.DataFrame:
    """Rows of ``IntegrityCases`` that held money and close in an epoch."""
    own = cases["kind"] == CaseKind.PLAGIARISM
    return cases[own & (cases["closed_epoch"] == epoch_id)]


def epochs_held(cases: pd.DataFrame, epoch_id: str) -> int:
    """How many epochs before this one may have held money for cases that close in it."""
    opened = [Epoch.parse(name) for name in closing(cases, epoch_id)["opened_epoch"]]
    if not opened:
        return 0
    return (Epoch.parse(epoch_id).monday - min(opened).monday).days // 7


def case_money(cases: pd.DataFrame, ledgers: Sequence[pd.DataFrame], epoch_id: str) -> CaseMoney:
    """What the cases of an epoch mean for its money.

    ``ledgers`` are those of the last ``epochs_held`` epochs. What they hold for a miner whose case
    closes is returned, or burned where it is confirmed. A miner whose next case is open already
    is not among the closing ones.
    """
    waiting = awaiting_decision(cases)
    released, burned = dict[str, int](), dict[str, int]()
    for row in closing(cases, epoch_id).itertuples():
        hotkey = str(row.hotkey)
        if hotkey in waiting:
            raise InvalidEntries(f"{hotkey} has a case that closes and an open one in {epoch_id}")
        side = burned if row.state == CONFIRMED else released
        side[hotkey] = sum(_balance(ledger, held(hotkey)) for ledger in ledgers)
    return CaseMoney(frozenset(waiting), released, burned)


def _balance(ledger: pd.DataFrame, account: str) -> int:
    received = ledger.loc[ledger["to_account"] == account, "amount_rao"]
    paid = ledger.loc[ledger["from_account"] == account, "amount_rao"]
    return int(received.sum()) - int(paid.sum())


def case_movements(payouts: Mapping[str, int], cases: CaseMoney) -> list[Movement]:
    """Movements that follow a settlement's own, by hotkey; ``payouts`` are its, in rao.

    First what was held comes free, then this epoch's payouts of who still waits are held.
    """
    flow = [
        *(
            Movement(held(hotkey), miner(hotkey), rao, RELEASED)
            for hotkey, rao in sorted(cases.released_rao.items())
        ),
        *(
            Movement(held(hotkey), BURN, rao, FORFEITED)
            for hotkey, rao in sorted(cases.burned_rao.items())
        ),
        *(
            Movement(miner(hotkey), held(hotkey), payouts.get(hotkey, 0), HELD)
            for hotkey in sorted(cases.waiting)
        ),
    ]
    return [movement for movement in flow if movement.amount_rao]
