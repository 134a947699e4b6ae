"""Every movement of an epoch's money, from account to account, and what the accounts then hold.

Double entry: what leaves one account enters another, so nothing is lost by construction. Antes wait
in escrow, all other money of the epoch passes through the pool. Amounts come from ``rewards``; how
a settled epoch is posted anew is in ``restatement``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from quanta_pipelines.protocol.antes import AT_STAKE
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.rewards import Settlement

ISSUANCE, EXTERNAL = "issuance", "external"  # money from outside comes from here
POOL, TREASURY, BURN, CARRY = "pool", "treasury", "burn", "carry"
VALIDATORS, OWNER = "validators", "owner"
RESTATEMENT = "restatement"  # stands in for burn, treasury and carry; empty after each restatement
NETWORK = (BURN, TREASURY, CARRY)

COLUMNS = {
    "epoch_id": "object",
    "entry": "int64",
    "version": "int64",
    "from_account": "object",
    "to_account": "object",
    "amount_rao": "int64",
    "reason": "object",
    "reverses": "Int64",  # the entry that this one takes back
    "booked_in": "object",  # the last settled epoch when this was posted
    "posting": "int64",  # 0 for a settlement; restatements of all epochs are numbered from 1
    "note": "object",  # why it was restated
}


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that changes account."""

    from_account: str
    to_account: str
    amount_rao: int
    reason: str


def miner(hotkey: str) -> str:
    """Account of a miner."""
    return f"miner:{hotkey}"


def escrow(hotkey: str) -> str:
    """Account that holds a miner's ante until the epoch is settled."""
    return f"escrow:{hotkey}"


def validator(hotkey: str) -> str:
    """Account of a validator."""
    return f"validator:{hotkey}"


def operator(hotkey: str) -> str:
    """Account of a pool's operator, for its fees."""
    return f"operator:{hotkey}"


def stake(hotkey: str) -> str:
    """Account of what a participant has bonded outside."""
    return f"stake:{hotkey}"


def movements(
    settlement: Settlement, antes: Mapping[str, int], dividends: Mapping[str, int] | None = None
) -> list[Movement]:
    """All movements of a settlement, in the order in which the money flows, then by hotkey.

    ``antes`` are those that were posted, refused ones included. ``dividends`` are the validators'
    emission by hotkey, all of it or, where nobody earned any, nothing: then it waits in
    ``validators``. Nothing moves where the amount is 0. Afterwards the pool and every escrow are
    empty.
    """
    earned, emitted = dict(dividends or {}), settlement.validator_emission_rao
    if earned and sum(earned.values()) != emitted:
        raise InvalidEntries(f"dividends of {sum(earned.values())} rao, {emitted} were emitted")
    taken = settlement.allocations
    settled = dict(zip(taken.hotkey, taken.ante_rao, strict=True))
    refused = {hotkey: antes.get(hotkey, 0) for hotkey in settlement.refused}
    if settled | refused != dict(antes):
        raise InvalidEntries("the antes that were posted are not those that were settled")
    flow = (
        *_antes(settlement, antes),
        *_income(settlement),
        *_dividends(earned),
        *_spending(settlement),
    )
    return [movement for movement in flow if movement.amount_rao]


def _antes(settlement: Settlement, antes: Mapping[str, int]) -> Iterator[Movement]:
    """Antes into escrow, and out of it: back to the miner or into the pool."""
    taken = settlement.allocations
    standings = zip(taken.hotkey, taken.standing, strict=True)
    staked = {hotkey for hotkey, standing in standings if standing in AT_STAKE}
    ordered = sorted(antes.items())
    for hotkey, ante in ordered:
        yield Movement(miner(hotkey), escrow(hotkey), ante, "ante_posted")
    for hotkey, ante in ordered:
        if hotkey not in staked:
            yield Movement(escrow(hotkey), miner(hotkey), ante, "ante_refunded")
    for hotkey, ante in ordered:
        if hotkey in staked:
            yield Movement(escrow(hotkey), POOL, ante, "ante_staked")


def _income(settlement: Settlement) -> Iterator[Movement]:
    yield Movement(ISSUANCE, POOL, settlement.emission_rao, "emission")
    yield Movement(ISSUANCE, VALIDATORS, settlement.validator_emission_rao, "emission")
    yield Movement(ISSUANCE, OWNER, settlement.owner_emission_rao, "emission")
    yield Movement(EXTERNAL, POOL, settlement.external_rao, "external")
    yield Movement(CARRY, POOL, settlement.carry_in_rao, "carry_in")


def _dividends(earned: Mapping[str, int]) -> Iterator[Movement]:
    for hotkey, amount in sorted(earned.items()):
        yield Movement(VALIDATORS, validator(hotkey), amount, "dividend")


def _spending(settlement: Settlement) -> Iterator[Movement]:
    paid = sorted(settlement.allocations)  # by hotkey, of which each has one
    burned = sum(settlement.allocations.ante_burned_rao)
    yield Movement(POOL, TREASURY, settlement.rake_rao, "rake")
    yield Movement(POOL, BURN, burned, "ante_burned")
    yield Movement(POOL, BURN, settlement.fee_burned_rao, "fee_burned")
    yield Movement(POOL, TREASURY, settlement.fee_treasury_rao, "fee")
    for each in paid:
        if each.standing in AT_STAKE:
            yield Movement(POOL, miner(each.hotkey), each.ante_returned_rao, "ante_returned")
    for each in paid:
        yield Movement(POOL, miner(each.hotkey), each.gross_rao - each.fee_rao, "reward")
    yield Movement(POOL, CARRY, settlement.carry_out_rao, "carry_out")


def ledger_table(moved: Sequence[Movement], epoch_id: str) -> pd.DataFrame:
    """Table ``LedgerEntries`` of a first settlement: a row per movement, numbered in order."""
    table = pd.DataFrame(
        {
            "epoch_id": epoch_id,
            "entry": range(1, len(moved) + 1),
            "version": 1,
            "from_account": [movement.from_account for movement in moved],
            "to_account": [movement.to_account for movement in moved],
            "amount_rao": [movement.amount_rao for movement in moved],
            "reason": [movement.reason for movement in moved],
            "reverses": pd.NA,
            "booked_in": epoch_id,
            "posting": 0,
            "note": "",
        },
        columns=list(COLUMNS),
    )
    return table.astype(COLUMNS)


def posted(ledger: pd.DataFrame) -> pd.DataFrame:
    """A ledger with all columns: before restatements were posted there was one version of each."""
    if "posting" in ledger:
        return ledger
    table = ledger.assign(version=1, booked_in=ledger["epoch_id"], posting=0, note="")
    table["reverses"] = pd.array([pd.NA] * len(table), dtype="Int64")
    return table[list(COLUMNS)].astype(COLUMNS)


def standing(ledger: pd.DataFrame) -> pd.DataFrame:
    """The movements that count: neither taken back, nor taking back, nor covering a difference."""
    between = {RESTATEMENT, *NETWORK}
    covers = ledger["from_account"].isin(between) & ledger["to_account"].isin(between)
    taken_back = ledger["entry"].isin(ledger["reverses"].dropna())
    return ledger[ledger["reverses"].isna() & ~taken_back & ~covers]


def balances(ledger: pd.DataFrame) -> "pd.Series[int]":
    """What each account received less what it paid, in rao, by account."""
    received = ledger.groupby("to_account")["amount_rao"].sum()
    paid = ledger.groupby("from_account")["amount_rao"].sum()
    accounts = received.index.union(paid.index).rename("account")
    # Both sides are filled before they are subtracted: a missing value would make them floats
    received, paid = (side.reindex(accounts, fill_value=0) for side in (received, paid))
    return (received - paid).rename("balance_rao")


def pool_balance(ledger: pd.DataFrame) -> int:
    """What is left in the pool: 0, or money was lost on the way."""
    return int(balances(ledger).get(POOL, 0))


def carry_of(ledgers: Iterable[pd.DataFrame], epoch_id: str) -> int:
    """What an epoch hands over to the next one: its carry-in, in rao.

    ``ledgers`` are the epoch's own and those of earlier epochs that were restated while it was the
    last settled one. An epoch takes the carry whole, so what it hands over is what was booked in it
    afterwards: its own carry-out, and what restatements then took from it or added.
    """
    moved = 0
    for ledger in ledgers:
        booked = ledger[ledger["booked_in"] == epoch_id]
        moved += sum(booked.loc[booked["to_account"] == CARRY, "amount_rao"].tolist())
        taken = (booked["from_account"] == CARRY) & (booked["posting"] > 0)
        moved -= sum(booked.loc[taken, "amount_rao"].tolist())
    return moved
