"""The money of all epochs, checked from the published ledgers alone; and what one hotkey has.

Reads the lake and, for antes of epochs that are not settled, the signal store. Nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from data_contracts.rewards import LedgerEntries
from quanta_pipelines.adapters.lake import Lake, Loaded, MissingTable, content_hash
from quanta_pipelines.adapters.signal_store import NotRecorded, SignalStore
from quanta_pipelines.protocol import statement
from quanta_pipelines.protocol.ledger import posted
from quanta_pipelines.protocol.portfolio import RAO

TABLE = "ledger_entries"
OWNERS = (
    "miner",
    "escrow",
    "held",
    "validator",
    "operator",
    "stake",
)  # kinds of a hotkey's accounts


@dataclass(frozen=True, slots=True)
class AuditedEpoch:
    """One epoch's identity, and which version of its ledger it was computed from."""

    epoch_id: str
    content_hash: str
    movements: int
    identity: Mapping[str, int]  # both sides by name, in rao
    holds: bool


@dataclass(frozen=True, slots=True)
class RecordedRate:
    """An amount of an epoch that was stated in another unit, and how it became rao."""

    epoch_id: str
    purpose: str
    amount: str
    unit: str
    alpha: str  # for one of the unit
    source: str
    quoted_at: str
    rao: int


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account's statement, in rao."""

    account: str
    opening_rao: int
    received_rao: int
    paid_rao: int
    closing_rao: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where; entry 0 and an empty account where it is the whole epoch."""

    epoch_id: str
    entry: int
    account: str
    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Epochs, oldest first, the accounts over all of them, and everything that is wrong."""

    epochs: tuple[AuditedEpoch, ...]
    accounts: tuple[AccountLine, ...]
    problems: tuple[Problem, ...]
    rates: tuple[RecordedRate, ...] = ()  # where the signal store was asked for them


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """What moved to an account of a hotkey (or, below 0, from it) for one reason."""

    account: str
    reason: str
    amount_rao: int


@dataclass(frozen=True, slots=True)
class Balance:
    """A hotkey's money: net of all settled epochs, and antes that wait for theirs."""

    hotkey: str
    settled_epochs: int  # in which something of it moved
    lines: tuple[BalanceLine, ...]
    accounts: Mapping[str, int]  # net, in rao; a miner's own account is below 0 by what it lost
    waiting: Mapping[str, int]  # ante by epoch that is not settled


def audit(lake: Lake, epoch_id: str | None = None) -> Audit:
    """All published epochs, or those up to ``epoch_id``, which alone is then stated.

    Raises ``MissingTable`` where that epoch has no ledger. A ledger that is not what its file says,
    or whose gates did not pass, is a problem and is computed with nevertheless.
    """
    known = [epoch for epoch in lake.epochs(TABLE) if epoch_id is None or epoch <= epoch_id]
    if epoch_id is not None and epoch_id not in known:
        raise MissingTable(f"{TABLE} {epoch_id} is not published")
    loaded = {epoch: lake.load(TABLE, epoch) for epoch in known}
    if not loaded:
        return Audit((), (), ())
    journal = pd.concat([posted(each.frame) for each in loaded.values()], ignore_index=True)
    if epoch_id is not None:  # later epochs' books are closed to it
        journal = journal[journal["booked_in"] <= epoch_id]
    shown = [epoch for epoch in known if epoch_id in (None, epoch)]
    sides = statement.identities(journal)
    found = statement.problems(journal, sides).to_dict("records")
    return Audit(
        epochs=tuple(
            _audited(epoch, loaded[epoch], sides.get(epoch, statement.Identity()))
            for epoch in shown
        ),
        accounts=_accounts(journal, (shown[0], shown[-1])),
        problems=(
            *(problem for epoch in known for problem in _unreadable(lake, epoch, loaded[epoch])),
            *(Problem(**{str(key): value for key, value in row.items()}) for row in found),
        ),
    )


def with_rates(found: Audit, store: SignalStore) -> Audit:
    """An audit beside the recorded rates: what came from outside is what they convert to.

    An epoch without a snapshot in this store has no rates to show.
    """
    rates: list[RecordedRate] = []
    for epoch in found.epochs:
        try:
            said = store.snapshot(epoch.epoch_id)
        except NotRecorded:
            continue
        rates += [
            RecordedRate(
                epoch.epoch_id,
                each.purpose,
                each.amount,
                each.rate.unit,
                each.rate.alpha,
                each.rate.source,
                each.rate.quoted_at.isoformat(),
                each.rao,
            )
            for each in said.conversions
        ]
    came = {epoch.epoch_id: epoch.identity["external_rao"] for epoch in found.epochs}
    wrong = [
        Problem(
            rate.epoch_id,
            0,
            "external",
            "converted_as_recorded",
            f"{rate.amount} {rate.unit} are {rate.rao} rao, {came[rate.epoch_id]} came",
        )
        for rate in rates
        if rate.purpose == "external" and came[rate.epoch_id] != rate.rao
    ]
    return replace(found, rates=tuple(rates), problems=(*found.problems, *wrong))


def _audited(epoch_id: str, loaded: Loaded, sides: statement.Identity) -> AuditedEpoch:
    version = loaded.version.content_hash
    return AuditedEpoch(epoch_id, version, len(loaded.frame), asdict(sides), sides.holds)


def _accounts(journal: pd.DataFrame, epochs: tuple[str, str]) -> tuple[AccountLine, ...]:
    rows = statement.statement(journal, epochs).to_dict("records")
    return tuple(AccountLine(**{str(key): value for key, value in row.items()}) for row in rows)


def _unreadable(lake: Lake, epoch_id: str, loaded: Loaded) -> list[Problem]:
    """Why the platform itself would not read this ledger."""
    said, held = loaded.version.content_hash, content_hash(loaded.frame, TABLE)
    problems = []
    if held != said:
        detail = f"the file holds {held[:12]} and says that it holds {said[:12]}"
        problems.append(Problem(epoch_id, 0, "", "file_is_what_it_says", detail))
    refusal = lake.refusal(TABLE, epoch_id, LedgerEntries.gates())
    if refusal is not None:
        problems.append(Problem(epoch_id, 0, "", "gates_passed", refusal))
    return problems


def balance(lake: Lake, store: SignalStore, hotkey: str) -> Balance:
    """Everything that moved to or from a hotkey's accounts, from the ledgers and the store."""
    own = [f"{kind}:{hotkey}" for kind in OWNERS]
    settled = lake.epochs(TABLE)
    parts = [_touching(lake.read(TABLE, epoch), own) for epoch in settled]
    moved = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if moved.empty:
        return Balance(hotkey, 0, (), {}, _waiting(store, hotkey, settled))
    by_reason = moved.groupby(["account", "reason"], as_index=False)["amount_rao"].sum()
    return Balance(
        hotkey=hotkey,
        settled_epochs=int(moved["epoch_id"].nunique()),
        lines=tuple(
            BalanceLine(account, reason, rao)
            for account, reason, rao in zip(
                by_reason["account"],
                by_reason["reason"],
                by_reason["amount_rao"].tolist(),
                strict=True,
            )
        ),
        accounts={
            str(account): int(rao)
            for account, rao in moved.groupby("account")["amount_rao"].sum().items()
        },
        waiting=_waiting(store, hotkey, settled),
    )


def _touching(ledger: pd.DataFrame, accounts: Sequence[str]) -> pd.DataFrame:
    """The movements of some accounts, signed as each of them sees it."""
    sides = []
    for side, sign in (("from_account", -1), ("to_account", 1)):
        own = ledger.loc[ledger[side].isin(accounts), ["epoch_id", side, "reason", "amount_rao"]]
        own["amount_rao"] *= sign
        sides.append(own.rename(columns={side: "account"}))
    return pd.concat(sides, ignore_index=True)


def _waiting(store: SignalStore, hotkey: str, settled: Sequence[str]) -> dict[str, int]:
    """Antes in escrow by epoch, without the epochs whose ledger has moved them on."""
    return {epoch: rao for epoch, rao in store.escrow_of(hotkey).items() if epoch not in settled}


def in_alpha(rao: int) -> str:
    """Rao as ALPHA with all nine decimals and no rounding.

    >>> in_alpha(-1_500_000_001)
    '-1.500000001'
    """
    whole, rest = divmod(abs(rao), RAO)
    return f"{'-' if rao < 0 else ''}{whole:,}.{rest:09d}"


def audit_lines(found: Audit) -> list[str]:
    """An audit for people; ``dataclasses.asdict`` gives the same for machines."""
    return [
        *(line for epoch in found.epochs for line in _epoch_lines(epoch, found)),
        *(_rate_line(rate) for rate in found.rates),
        *_account_lines(found.accounts),
        *(_problem_line(problem) for problem in found.problems),
    ]


def _epoch_lines(epoch: AuditedEpoch, found: Audit) -> list[str]:
    sides = statement.Identity(**epoch.identity)
    verdict = "=" if epoch.holds else "IS NOT"
    head = (
        f"{epoch.epoch_id}  {epoch.movements} movements  came {in_alpha(sides.came_rao)} "
        f"{verdict} went {in_alpha(sides.went_rao)}"
    )
    if len(found.epochs) > 1:
        return [head]
    width = max(len(name) for name in epoch.identity)
    return [head, *(f"  {name:<{width}} {rao:>24,} rao" for name, rao in epoch.identity.items())]


def _rate_line(rate: RecordedRate) -> str:
    return (
        f"{rate.epoch_id}  {rate.purpose} {rate.amount} {rate.unit} at {rate.alpha} ALPHA "
        f"({rate.source}, {rate.quoted_at}) = {rate.rao:,} rao"
    )


def _account_lines(accounts: Sequence[AccountLine]) -> list[str]:
    if not accounts:
        return []
    width = max(len(line.account) for line in accounts)
    head = f"{'account':<{width}}" + "".join(
        f" {name:>22}" for name in ("opening", "received", "paid", "closing")
    )
    rows = [
        f"{line.account:<{width}}"
        + "".join(
            f" {in_alpha(rao):>22}"
            for rao in (line.opening_rao, line.received_rao, line.paid_rao, line.closing_rao)
        )
        for line in accounts
    ]
    return [head, *rows]


def _problem_line(problem: Problem) -> str:
    place = " ".join(
        str(part) for part in (problem.epoch_id, problem.account, problem.entry or "") if part
    )
    return f"PROBLEM {place}: {problem.check}: {problem.detail}"


def balance_lines(found: Balance) -> list[str]:
    """A balance for people."""
    lines = [f"{found.hotkey}: {found.settled_epochs} settled epochs"]
    for account, net in found.accounts.items():
        lines.append(f"  {account.partition(':')[0]:<10} {in_alpha(net):>22}")
        lines += [
            f"    {line.reason:<20} {in_alpha(line.amount_rao):>22}"
            for line in found.lines
            if line.account == account
        ]
    lines += [
        f"  waits in escrow for {epoch} {in_alpha(rao):>22}" for epoch, rao in found.waiting.items()
    ]
    return lines
