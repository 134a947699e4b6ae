"""What auditing years of ledgers costs: the whole of ``quanta audit --all``, in processor time.

Ledgers of simulated miners, some restated, in a lake of this run's own. The audit has to find
nothing wrong; a rao that is taken out of one movement has to be found.
"""

import time
from decimal import Decimal
from tempfile import TemporaryDirectory

import click
import numpy as np
import pandas as pd

from data_contracts.rewards import LedgerEntries
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.audit import audit
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.ledger import (
    TREASURY,
    balances,
    carry_of,
    ledger_table,
    movements,
)
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.restatement import Restatement, restated
from quanta_pipelines.protocol.rewards import RewardEntry, settle
from quanta_pipelines.simulation.keys import simulated_key

STAMPS = {"params_version": "0" * 64, "code_version": "0" * 64}
FIRST = Epoch.parse("2015-Q1-W01")
RESTATED_EVERY = 10


def published(lake: Lake, epochs: int, miners: int) -> int:
    """Settles epochs one after the other, every tenth of them twice; returns the movements."""
    rng, carry, total = np.random.default_rng(7), 0, 0
    keys = [simulated_key(f"audited {number}").hotkey for number in range(miners)]
    epoch, journal = FIRST, list[pd.DataFrame]()
    for number in range(epochs):
        antes = dict(zip(keys, (rng.integers(10, 500, miners) * RAO).tolist(), strict=True))
        settled = [_moved(antes, rng.permutation(miners), carry) for _ in range(2)]
        ledger = ledger_table(settled[0], epoch.id)
        if number % RESTATED_EVERY == 5:
            act = Restatement(
                note="a corrected close",
                booked_in=epoch.id,
                posting=number // RESTATED_EVERY + 1,
                carry_rao=carry_of([ledger], epoch.id),
                treasury_rao=int(balances(pd.concat([*journal, ledger])).get(TREASURY, 0)),
            )
            ledger = restated(ledger, settled[1], act, epoch.id)
        journal.append(ledger)
        carry, total = carry_of([ledger], epoch.id), total + len(ledger)
        _publish(lake, epoch.id, ledger)
        epoch = epoch.next()
    return total


def _moved(antes: dict[str, int], order: np.ndarray, carry: int) -> list:
    entries = [
        RewardEntry(hotkey, Decimal(int(place) + 1), ante)
        for (hotkey, ante), place in zip(antes.items(), order, strict=True)
    ]
    settlement = settle(entries, emission_rao=1000 * RAO, carry_in_rao=carry)
    return movements(settlement, antes)


def _publish(lake: Lake, epoch_id: str, ledger: pd.DataFrame) -> None:
    version = lake.publish("ledger_entries", epoch_id, ledger, **STAMPS)
    for gate in LedgerEntries.gates():
        lake.record_verdict(
            *("ledger_entries", epoch_id, gate),
            passed=True,
            content_hash=version.content_hash,
            detail="",
        )


@click.command()
@click.option("--epochs", default=500, show_default=True)
@click.option("--miners", default=256, show_default=True)
def main(epochs: int, miners: int) -> None:
    """Print processor seconds of an audit of all epochs."""
    with TemporaryDirectory() as home:
        lake = Lake(home)
        total = published(lake, epochs, miners)
        began = time.process_time()
        found = audit(lake)
        seconds = time.process_time() - began
        if found.problems:
            raise click.ClickException(f"nothing is wrong, and this was found: {found.problems[0]}")
        spoiled = lake.read("ledger_entries", FIRST.id)
        spoiled.loc[len(spoiled) - 1, "amount_rao"] -= 1
        _publish(lake, FIRST.id, spoiled)
        if "identity_holds" not in {each.check for each in audit(lake, FIRST.id).problems}:
            raise click.ClickException("a lost rao was not found")
    click.echo(f"{epochs} epochs, {miners} miners, {total} movements: {seconds:.1f} s")


if __name__ == "__main__":
    main()
