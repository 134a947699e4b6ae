"""Cells of settled prices or portfolios in which another validator differs, as evidence.

A claim is what the other one has in one cell. Claims of all differing cells, laid over the own
table, give the other's table; that is what a replay scores with.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.contract_type import audit
from quanta_pipelines.protocol.errors import ProtocolError

PRICES, PORTFOLIOS = "validated_prices", "portfolios"
COLUMNS = {  # of each table, what a score can rest on
    PRICES: ("close", "total_return", "status", "carried_sessions", "in_universe"),
    PORTFOLIOS: ("weight",),
}
ABSENT = "absent"  # as a status: the other one has no such row
SAME_DIGITS = {"close": 6, "total_return": 12, "weight": 9}  # decimals that are compared

Value = str | float | int | bool | None


class InvalidEvidence(ProtocolError):
    """Claims that are no cells of the disputed table, or that contradict each other."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One cell as the other validator has it; ``where`` is a session, or a portfolio's hotkey."""

    ticker: str
    where: str
    column: str
    value: Value

    @property
    def cell(self) -> tuple[str, str, str]:
        """Which cell it is about."""
        return (self.ticker, self.where, self.column)


def claims_of(document: object, table: str) -> tuple[Claim, ...]:
    """Claims from JSON: a list of objects with ticker, where, column and value.

    Raises ``InvalidEvidence`` with the place of what is wrong.
    """
    if table not in COLUMNS:
        raise InvalidEvidence(f"a dispute is over {' or '.join(COLUMNS)}, not {table!r}")
    if not isinstance(document, list):
        raise InvalidEvidence("evidence is a list of cells")
    claims = []
    for number, given in enumerate(document, start=1):
        if not isinstance(given, dict) or set(given) != {"ticker", "where", "column", "value"}:
            raise InvalidEvidence(f"cell {number} has ticker, where, column and value, no more")
        claim = Claim(**given)
        if not all(isinstance(part, str) for part in claim.cell):
            raise InvalidEvidence(f"cell {number}: ticker, where and column are texts")
        if claim.column not in COLUMNS[table]:
            raise InvalidEvidence(f"cell {number}: {claim.column!r} is no column of {table}")
        if isinstance(claim.value, float) and not math.isfinite(claim.value):
            raise InvalidEvidence(f"cell {number}: {claim.value} is no value")
        claims.append(claim)
    return united(claims)


def united(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Claims in order, each cell once; raises where two say different things of one cell."""
    found: dict[tuple[str, str, str], Claim] = {}
    for claim in claims:
        other = found.setdefault(claim.cell, claim)
        if other != claim:
            raise InvalidEvidence(
                f"{' '.join(claim.cell)} is claimed to be {other.value!r} and {claim.value!r}"
            )
    return tuple(found[cell] for cell in sorted(found))


def as_json(claims: Sequence[Claim]) -> list[dict[str, Value]]:
    """The claims as ``claims_of`` reads them."""
    return [asdict(claim) for claim in claims]


def differences(own: pd.DataFrame, other: pd.DataFrame, table: str) -> tuple[Claim, ...]:
    """What ``other`` has in the cells in which it differs from ``own``.

    Where closes differ and no return does, as on another basis, the returns of those rows are
    stated too: nothing is to be derived from the closes then.
    """
    left, right = _keyed(own, table), _keyed(other, table)
    claims = []
    for at in sorted({*left, *right}):
        if at not in right:
            column, value = ("status", ABSENT) if table == PRICES else ("weight", None)
            claims.append(Claim(*at, column, value))
            continue
        before, now = left.get(at, {}), right[at]
        claims += [
            Claim(*at, column, now[column])
            for column in COLUMNS[table]
            if column not in before or _same(before[column], column) != _same(now[column], column)
        ]
    if not any(claim.column == "total_return" for claim in claims):
        rows = [(claim.ticker, claim.where) for claim in claims if claim.column == "close"]
        claims += [Claim(*at, "total_return", right[at]["total_return"]) for at in rows]
    return tuple(sorted(claims, key=lambda claim: claim.cell))


def own_value(own: pd.DataFrame, claim: Claim, table: str) -> Value:
    """What the own table has in a claimed cell; nothing where it has no such row."""
    row = _keyed(own[own["ticker"] == claim.ticker], table).get((claim.ticker, claim.where), {})
    return row.get(claim.column)


def claimed_table(
    own: pd.DataFrame, claims: Sequence[Claim], table: str, epoch_id: str
) -> pd.DataFrame:
    """The own table with the claims laid over it; raises where that breaks the table's contract.

    Where closes are claimed and no return at all, the returns of those sessions and of the next
    ones follow from them, as if nothing was paid out in them.
    """
    key = list(CONTRACTS[table].key())
    make = _with_prices if table == PRICES else _with_portfolios
    made = make(own, united(claims)).sort_values(key, ignore_index=True)
    made = made.astype(own.dtypes.to_dict())[list(own.columns)]
    if (failure := audit(CONTRACTS[table], made, epoch_id)) is not None:
        broken = ", ".join(sorted({str(check) for check in failure["check"]}))
        raise InvalidEvidence(f"{table} with the claimed cells breaks its contract: {broken}")
    return made


def _with_prices(own: pd.DataFrame, claims: Sequence[Claim]) -> pd.DataFrame:
    rows: dict[tuple[str, str], dict[str, object]] = {
        (str(row["ticker"]), f"{row['session']:%Y-%m-%d}"): {str(k): v for k, v in row.items()}
        for row in own.to_dict("records")
    }
    sessions = sorted({session for _, session in rows})
    before = {at: float(str(row["close"])) for at, row in rows.items()}
    said = {claim.cell for claim in claims}
    for claim in claims:
        at = (claim.ticker, claim.where)
        if claim.where not in sessions:
            raise InvalidEvidence(f"{claim.where} is no session of the epoch")
        if claim.value == ABSENT:
            rows.pop(at, None)
            continue
        row = rows.setdefault(at, _new_price(own, claim))
        row[claim.column] = math.nan if claim.value is None else claim.value
    stated = any(column == "total_return" for _, _, column in said)
    for ticker, session, column in sorted(said):
        if column == "close" and not stated and (ticker, session) in rows:
            following = [day for day in sessions if day > session][:1]
            _follow(rows, before, (ticker, session), following)
    return pd.DataFrame(list(rows.values()), columns=list(own.columns))


def _follow(
    rows: dict[tuple[str, str], dict[str, object]],
    before: Mapping[tuple[str, str], float],
    at: tuple[str, str],
    following: Sequence[str],
) -> None:
    """Returns into and out of a claimed close."""
    was, now = before.get(at, math.nan), float(str(rows[at]["close"]))
    rows[at]["total_return"] = _scaled(rows[at]["total_return"], now / was if was else math.nan)
    for next_at in [(at[0], day) for day in following]:
        if next_at in rows:
            ratio = was / now if now else math.nan
            rows[next_at]["total_return"] = _scaled(rows[next_at]["total_return"], ratio)


def _scaled(total_return: object, ratio: float) -> float:
    return (1 + float(str(total_return))) * ratio - 1


def _new_price(own: pd.DataFrame, claim: Claim) -> dict[str, object]:
    """A row that only the other one has; what no score rests on is empty."""
    flags = [str(name) for name in own.columns if own[name].dtype == bool]
    return {
        "epoch_id": own["epoch_id"].iloc[0],
        "ticker": claim.ticker,
        "session": pd.Timestamp(date.fromisoformat(claim.where)),
        "close": math.nan,
        "total_return": math.nan,
        "n_vendors": 0,
        "sources": "",
        "status": "missing",
        **dict.fromkeys(flags, False),
        "carried_sessions": 0,
    }


def _with_portfolios(own: pd.DataFrame, claims: Sequence[Claim]) -> pd.DataFrame:
    rows = {(str(row["ticker"]), str(row["hotkey"])): dict(row) for row in own.to_dict("records")}
    first = {hotkey: rows[ticker, hotkey] for ticker, hotkey in reversed(rows)}
    for claim in claims:
        at = (claim.ticker, claim.where)
        if claim.value is None:
            rows.pop(at, None)
            continue
        if claim.where not in first:
            raise InvalidEvidence(f"{claim.where} has no portfolio in this epoch")
        row = rows.setdefault(at, {**first[claim.where], "ticker": claim.ticker})
        row["weight"] = row["submitted_weight"] = claim.value
    return pd.DataFrame(list(rows.values()), columns=list(own.columns))


def _keyed(frame: pd.DataFrame, table: str) -> dict[tuple[str, str], dict[str, Value]]:
    """The columns that count, by ticker and session or hotkey; an empty cell is None."""
    where = frame["session"].dt.strftime("%Y-%m-%d") if table == PRICES else frame["hotkey"]
    cells = frame[list(COLUMNS[table])].astype(object).to_dict("records")
    return {
        (str(ticker), str(place)): {
            str(name): None if pd.isna(value) else value for name, value in row.items()
        }
        for ticker, place, row in zip(frame["ticker"], where, cells, strict=True)
    }


def _same(value: Value, column: str) -> Value:
    """A value as it is compared: the last digits of a float differ between processors."""
    if column in SAME_DIGITS and isinstance(value, float):
        return round(value, SAME_DIGITS[column]) + 0.0
    return value


def read_claims(text: str, table: str) -> tuple[Claim, ...]:
    """Claims from the text of a file."""
    try:
        return claims_of(json.loads(text), table)
    except json.JSONDecodeError as error:
        raise InvalidEvidence(f"evidence is JSON: {error}") from error
