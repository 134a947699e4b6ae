"""What a ledger says of itself: statements of its accounts, the identity, and what breaks it.

Everything is recomputed from the movements alone. Settlements, rewards and parameters are not
looked at, so an error of theirs cannot hide here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import (
    BURN,
    CARRY,
    EXTERNAL,
    ISSUANCE,
    NETWORK,
    POOL,
    RESTATEMENT,
    standing,
)

LARGEST_RAO = 2**63 - 1  # an int64 holds no more

# Accounts of the world outside: they go below zero by what came from there. All others never do,
# but for what stands between two versions of an epoch and is empty after each.
_OUTSIDE = (ISSUANCE, EXTERNAL, RESTATEMENT)
_OWN_MONEY = ("miner:", "validator:", "operator:", "stake:")

# In the order in which the money moved: a restatement stands behind the epoch it was booked in
_IN_ORDER = ["booked_in", "posting", "epoch_id", "entry"]
_POSTING = ["booked_in", "posting", "epoch_id"]

_INCOME = {
    "emission": "emission_rao",
    "ante_staked": "antes_rao",
    "external": "external_rao",
    "carry_in": "carry_in_rao",
}
_SPENDING = {
    "rake": "rake_rao",
    "ante_returned": "payout_rao",
    "reward": "payout_rao",
    "ante_burned": "ante_burned_rao",
    "fee_burned": "fee_burned_rao",
    "fee": "fee_treasury_rao",
    "carry_out": "carry_out_rao",
}
_PROBLEM = ["epoch_id", "entry", "account", "check", "detail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Both sides of one epoch: ``E + A + X + carry in = R + payouts + burned + fees + carry out``.

    ``payout_rao`` is what the pool pays to miners: rewards after fees, and returned antes.
    """

    emission_rao: int = 0
    antes_rao: int = 0
    external_rao: int = 0
    carry_in_rao: int = 0
    rake_rao: int = 0
    payout_rao: int = 0
    ante_burned_rao: int = 0
    fee_burned_rao: int = 0
    fee_treasury_rao: int = 0
    carry_out_rao: int = 0

    @property
    def came_rao(self) -> int:
        """The left side."""
        return self.emission_rao + self.antes_rao + self.external_rao + self.carry_in_rao

    @property
    def went_rao(self) -> int:
        """The right side."""
        burned = self.ante_burned_rao + self.fee_burned_rao
        return self.rake_rao + self.payout_rao + burned + self.fee_treasury_rao + self.carry_out_rao

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing made."""
        return self.came_rao == self.went_rao


def identity(ledger: pd.DataFrame) -> Identity:
    """The sides of one epoch's identity, from the movements into the pool and out of it.

    Those that count. A movement with a reason that the identity does not know is on neither side;
    ``problems`` names it.
    """
    amounts: dict[str, int] = {}
    counts = standing(ledger)
    for side, reasons in (("to_account", _INCOME), ("from_account", _SPENDING)):
        touching = counts[counts[side] == POOL]
        for reason, moved in touching.groupby("reason")["amount_rao"]:
            if (name := reasons.get(str(reason))) is not None:
                amounts[name] = amounts.get(name, 0) + sum(moved.tolist())
    return Identity(**amounts)


def identities(journal: pd.DataFrame) -> dict[str, Identity]:
    """The identity of each epoch that a journal has, oldest first."""
    return {str(epoch_id): identity(ledger) for epoch_id, ledger in journal.groupby("epoch_id")}


def statement(journal: pd.DataFrame, epochs: tuple[str, str] | None = None) -> pd.DataFrame:
    """One row per account of ``journal``, the movements of many epochs: by account, in rao.

    ``epochs`` are the first and the last of the statement; what moved earlier is the opening
    balance, what moved later is left out. A restatement counts where it was booked. Without it the
    statement covers everything. Columns: account, opening_rao, received_rao, paid_rao, closing_rao.
    """
    first, last = epochs or ("", "9")
    legs = _legs(journal[journal["booked_in"] <= last])
    within = legs["booked_in"] >= first
    columns = {
        "opening_rao": legs["amount_rao"].where(~within, 0),
        "received_rao": legs["amount_rao"].where(within & (legs["amount_rao"] > 0), 0),
        "paid_rao": -legs["amount_rao"].where(within & (legs["amount_rao"] < 0), 0),
        "closing_rao": legs["amount_rao"],
    }
    table = pd.DataFrame(columns).groupby(legs["account"]).sum().astype("int64")
    return table.rename_axis("account").reset_index()


def problems(journal: pd.DataFrame, sides: Mapping[str, Identity] | None = None) -> pd.DataFrame:
    """What breaks the rules of money in a journal of consecutive epochs, oldest first.

    ``sides`` are the journal's ``identities`` where they are known already.
    One row per problem: epoch_id, entry, account, check, detail. The checks: amounts are positive
    and move between two accounts, epochs follow each other, the pool knows every reason and each
    epoch's identity holds, pool and escrows end every epoch empty, no account inside goes below
    zero at any movement, the carry is handed over whole, and what was burned never moves.
    """
    legs = _legs(journal)
    legs["balance_rao"] = legs.groupby("account")["amount_rao"].cumsum()
    found = [
        _not_a_movement(journal),
        _missing_epochs(journal),
        _strange_reasons(journal),
        _not_identical(identities(journal) if sides is None else sides),
        _out_of_the_fire(journal),
        _not_compensated(journal),
        _below_zero(legs),
        *_left_over(legs),
    ]
    kept = [each for each in found if not each.empty]
    if not kept:
        return pd.DataFrame(columns=_PROBLEM)
    return pd.concat(kept, ignore_index=True).sort_values(_PROBLEM[:4], ignore_index=True)


def _legs(journal: pd.DataFrame) -> pd.DataFrame:
    """Two rows per movement, first what leaves and then what enters, in the order of the money."""
    total = sum(abs(amount) for amount in journal["amount_rao"].tolist())
    if total > LARGEST_RAO:
        raise InvalidEntries(
            f"{total} rao move in this journal, which is more than {LARGEST_RAO} and cannot be "
            "added up exactly: look at fewer epochs"
        )
    ordered = journal.sort_values(_IN_ORDER, ignore_index=True)
    sides = [
        ordered[_IN_ORDER].assign(
            account=ordered[side], amount_rao=sign * ordered["amount_rao"].astype("int64")
        )
        for side, sign in (("from_account", -1), ("to_account", 1))
    ]
    return pd.concat(sides).sort_index(kind="stable").reset_index(drop=True)


def _may_owe(accounts: "pd.Series[str]") -> "pd.Series[bool]":
    return accounts.isin(_OUTSIDE) | accounts.str.startswith(_OWN_MONEY)


def _not_a_movement(journal: pd.DataFrame) -> pd.DataFrame:
    wrong = journal[
        (journal["amount_rao"] <= 0) | (journal["from_account"] == journal["to_account"])
    ]
    detail = [
        f"{amount} rao from {start} to {end}"
        for amount, start, end in zip(
            wrong["amount_rao"], wrong["from_account"], wrong["to_account"], strict=True
        )
    ]
    return _rows(wrong.rename(columns={"from_account": "account"}), "moves_something", detail)


def _missing_epochs(journal: pd.DataFrame) -> pd.DataFrame:
    """Epochs between the first and the last that move nothing."""
    known = sorted(journal["epoch_id"].unique())
    due = Epoch.range(known[0], known[-1]) if known else ()
    absent = sorted({epoch.id for epoch in due} - set(known))
    table = pd.DataFrame({"epoch_id": absent, "entry": 0, "account": ""})
    return _rows(table, "no_epoch_is_missing", ["nothing is posted between two epochs"])


def _strange_reasons(journal: pd.DataFrame) -> pd.DataFrame:
    """Movements into the pool or out of it for a reason that no identity counts."""
    back = journal["reverses"].notna()
    start, end = (
        journal[side].where(~back, journal[other])
        for side, other in (("from_account", "to_account"), ("to_account", "from_account"))
    )
    inward = (end == POOL) & ~journal["reason"].isin(list(_INCOME))
    outward = (start == POOL) & ~journal["reason"].isin(list(_SPENDING))
    strange = journal[inward | outward].assign(account=POOL)
    detail = [f"the pool knows no {reason}" for reason in strange["reason"]]
    return _rows(strange, "reasons_are_known", detail)


def _not_identical(sides: Mapping[str, Identity]) -> pd.DataFrame:
    rows = [
        (
            epoch_id,
            0,
            POOL,
            "identity_holds",
            f"{each.came_rao} rao came, {each.went_rao} went",
        )
        for epoch_id, each in sides.items()
        if not each.holds
    ]
    return pd.DataFrame(rows, columns=_PROBLEM)


def _out_of_the_fire(journal: pd.DataFrame) -> pd.DataFrame:
    """Burned money that moves."""
    moved = journal[journal["from_account"] == BURN]
    detail = [
        f"{amount} rao to {account}"
        for amount, account in zip(moved["amount_rao"], moved["to_account"], strict=True)
    ]
    return _rows(moved.assign(account=BURN), "burned_stays_burned", detail)


def _not_compensated(journal: pd.DataFrame) -> pd.DataFrame:
    """Entries that take back something else than one entry, and versions not taken back whole."""
    again = (journal["posting"] > 0) | journal["reverses"].notna()
    if not again.any():
        return pd.DataFrame(columns=_PROBLEM)
    restated = journal[journal["epoch_id"].isin(journal.loc[again, "epoch_id"])]
    parts = [uncompensated(ledger) for _, ledger in restated.groupby("epoch_id")]
    wrong = pd.concat(parts, ignore_index=True)
    return _rows(
        wrong.rename(columns={"from_account": "account"}),
        "taken_back_whole",
        wrong["detail"].tolist(),
    )


def uncompensated(ledger: pd.DataFrame) -> pd.DataFrame:
    """Rows of one epoch's ledger that are not compensated as a restatement has to, with a detail.

    An entry that takes another back stands behind it, moves the same amount the other way (with the
    restatement's account for burn, treasury and carry) for the same reason, and only once. All
    entries of a version that was replaced are taken back, but those that cover a difference.
    """
    back = ledger[ledger["reverses"].notna()].assign(of=lambda rows: rows["reverses"].astype(int))
    pairs = back.merge(ledger, left_on="of", right_on="entry", how="left", suffixes=("", "_was"))
    mirrored = (
        pairs["from_account"].eq(_stand_in(pairs["to_account_was"]))
        & pairs["to_account"].eq(_stand_in(pairs["from_account_was"]))
        & pairs["amount_rao"].eq(pairs["amount_rao_was"])
        & pairs["reason"].eq(pairs["reason_was"])
        & pairs["posting"].gt(pairs["posting_was"])
        & ~pairs["of"].duplicated(keep=False)
    )
    left = standing(ledger)
    left = left[left["posting"] < ledger["posting"].max()]
    return pd.concat(
        [
            back[~mirrored.to_numpy()].drop(columns="of").assign(detail="takes back no one entry"),
            left.assign(detail="is not taken back"),
        ],
        ignore_index=True,
    )


def _stand_in(accounts: "pd.Series[str]") -> "pd.Series[str]":
    return accounts.where(~accounts.isin(NETWORK), RESTATEMENT)


def _below_zero(legs: pd.DataFrame) -> pd.DataFrame:
    """The first movement of an epoch that takes an account inside below zero."""
    below = legs[(legs["balance_rao"] < 0) & ~_may_owe(legs["account"])]
    first = below.drop_duplicates(["epoch_id", "account"])
    return _rows(first, "never_below_zero", [f"{rao} rao" for rao in first["balance_rao"]])


def _left_over(legs: pd.DataFrame) -> list[pd.DataFrame]:
    """Pools and escrows that are not empty at a posting's end, and a carry that was not taken."""
    ends = legs.drop_duplicates([*_POSTING, "account"], keep="last")
    empty = ends["account"].isin([POOL, RESTATEMENT]) | ends["account"].str.startswith("escrow:")
    full = ends[empty & (ends["balance_rao"] != 0)]
    left = [f"{rao} rao are left" for rao in full["balance_rao"]]
    carry = ends[(ends["account"] == CARRY) & (ends["posting"] == 0)]
    settled = (legs["account"] == CARRY) & (legs["amount_rao"] > 0) & (legs["posting"] == 0)
    added = legs[settled].groupby("epoch_id")["amount_rao"].sum()
    new = added.reindex(carry["epoch_id"], fill_value=0)
    kept = carry[carry["balance_rao"].to_numpy() != new.to_numpy()]
    stayed = [f"{rao} rao are held after the epoch's own" for rao in kept["balance_rao"]]
    return [
        _rows(full, "ends_empty", left),
        _rows(kept, "carry_is_handed_over", stayed),
    ]


def _rows(frame: pd.DataFrame, check: str, detail: list[str]) -> pd.DataFrame:
    """Problems of one check; a single detail stands for all."""
    said = detail * len(frame) if len(detail) == 1 and len(frame) > 1 else detail[: len(frame)]
    return frame.assign(check=check, detail=said)[_PROBLEM]
