"""The table ``Explanations`` of an epoch, from its tables and that of the epoch before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from quanta_pipelines.explanation import path
from quanta_pipelines.explanation.counterfactuals import counterfactuals
from quanta_pipelines.explanation.parts import (
    Counterfactual,
    Explanation,
    RecordLine,
    Step,
    number,
    tokens,
    whole,
    word,
)
from quanta_pipelines.explanation.payout import Money, income_of
from quanta_pipelines.protocol import ledger
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.metrics import total_return
from quanta_pipelines.protocol.params import ProtocolParams

READ = (
    "validated_prices",
    "commitments",
    "reveals",
    "portfolios",
    "portfolio_returns",
    "horizon_metrics",
    "score_intervals",
    "scores",
    "integrity_flags",
    "integrity_cases",
    "validator_weights",
    "consensus",
    "rewards",
    "ledger_entries",
)
# Tables that an epoch may have beside these: title and key of their rows
_NAMES: dict[type, tuple[str, ...]] = {}  # of the fields of a part's class
ALSO_READ = {"pool_payouts": ("Pool", ("operator", "member", "hotkey"))}
RECORD_EPOCHS = 104  # of a record that are kept

_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "standing": "object",
    "reason": "object",
    "rank": "Int64",
    "final_tier": "object",
    "payout_rao": "int64",
    "explanation": "object",
    "for_owner": "object",
}


class NotExplained(ValueError):
    """An epoch whose tables do not fit together, so that nothing follows from them."""


def explain_epoch(
    tables: Mapping[str, pd.DataFrame],
    previous: pd.DataFrame | None,
    *,
    epoch_id: str,
    params: ProtocolParams,
) -> pd.DataFrame:
    """Table ``Explanations``: one row per miner with a portfolio or a commitment, by hotkey.

    ``tables`` holds ``READ`` and what there is of ``ALSO_READ``; ``previous`` is this table of the
    epoch before, whose records go on. Raises ``NotExplained``.
    """
    try:
        return _Epoch(tables, previous, epoch_id, params).table()
    except (ValueError, ProtocolError) as error:
        raise NotExplained(f"{epoch_id}: {error}") from error


class _Epoch:
    """One epoch's tables, split by miner once."""

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        previous: pd.DataFrame | None,
        epoch_id: str,
        params: ProtocolParams,
    ) -> None:
        # a restated epoch's ledger also holds what was taken back
        moved = ledger.standing(ledger.posted(tables["ledger_entries"]))
        tables = {**tables, "ledger_entries": moved}
        self._tables, self._epoch_id, self._params = tables, epoch_id, params
        self._rows = {
            name: _by(table, "hotkey") for name, table in tables.items() if "hotkey" in table
        }
        self._prices = path.priced(_rows(tables["validated_prices"]))
        self._roles = {name: _by_any(tables.get(name), key) for name, (_, key) in ALSO_READ.items()}
        self._earlier = {} if previous is None else _records(previous)
        self._money = Money.of(tables["rewards"], tables["ledger_entries"], params)
        income = income_of(tables["ledger_entries"])
        self._other: Mapping[str, tuple[Counterfactual, ...]] = {}
        self._without = ""
        try:
            self._other = counterfactuals(tables, income, epoch_id, params)
        except (ValueError, ProtocolError) as error:
            self._without = f"not computed: {error}"

    def table(self) -> pd.DataFrame:
        hotkeys = sorted({*self._tables["scores"]["hotkey"], *self._tables["rewards"]["hotkey"]})
        rows = [self._row(hotkey) for hotkey in hotkeys]
        return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object).astype(_COLUMNS)

    def _row(self, hotkey: str) -> dict[str, Any]:
        paid, score = self._one("rewards", hotkey), self._one("scores", hotkey)
        judged = paid or score or {}
        line = self._record_line(hotkey, judged, score)
        explained = Explanation(
            epoch_id=self._epoch_id,
            hotkey=hotkey,
            standing=str(judged["standing"]),
            reason=str(judged["reason"]),
            summary=self._summary(judged),
            steps=tuple(self._steps(hotkey, line, score)),
            counterfactuals=self._other.get(hotkey, ()),
            without_counterfactuals=self._why_without(hotkey),
            record=(*self._continued(hotkey), line),
        )
        owned = path.owner_steps(
            self._of("portfolios", hotkey),
            self._prices,
            self._of("portfolio_returns", hotkey),
            self._of("validator_weights", hotkey),
        )
        return {
            "epoch_id": self._epoch_id,
            "hotkey": hotkey,
            "standing": explained.standing,
            "reason": explained.reason,
            "rank": line.rank,
            "final_tier": line.tier,
            "payout_rao": int(line.payout_rao),
            "explanation": _json(explained),
            "for_owner": _json(owned),
        }

    def _steps(self, hotkey: str, line: RecordLine, score: Mapping[str, Any] | None) -> list[Step]:
        params = self._params
        return [
            path.signal_step(
                self._of("commitments", hotkey),
                self._of("reveals", hotkey),
                self._of("portfolios", hotkey),
            ),
            path.returns_step(
                self._of("portfolio_returns", hotkey), line.epoch_return, line.benchmark_return
            ),
            path.horizons_step(self._of("horizon_metrics", hotkey), params),
            path.integrity_step(
                self._of("integrity_flags", hotkey), self._of("integrity_cases", hotkey)
            ),
            path.score_step(score, self._one("score_intervals", hotkey), params),
            path.consensus_step(self._one("consensus", hotkey), len(self._tables["consensus"])),
            self._money.step(hotkey),
            self._beside("pool_payouts", hotkey),
        ]

    def _beside(self, name: str, hotkey: str) -> Step:
        """What a table that not every epoch has says of the miner, in any of its roles."""
        title, key = ALSO_READ[name]
        roles = self._roles[name]
        if roles is None:
            return path.table_step(name, title, None, key)
        known = tuple(column for column in key if column in self._tables[name])
        return path.table_step(name, title, roles.get(hotkey, []), known)

    def _record_line(
        self, hotkey: str, judged: Mapping[str, Any], score: Mapping[str, Any] | None
    ) -> RecordLine:
        sessions = self._of("portfolio_returns", hotkey)
        own = _compounded(sessions, "portfolio_return")
        benchmark = _compounded(sessions, "benchmark_return")
        before = self._continued(hotkey)
        last = before[-1] if before else None
        level = _grown(last.level if last else None, own)
        peak = None if level is None else max((last.peak if last else None) or 1.0, level)
        return RecordLine(
            epoch_id=self._epoch_id,
            standing=str(judged["standing"]),
            rank=whole(judged.get("rank")),
            tier=word(judged.get("final_tier")),
            final_score=None if score is None else number(score["final_score"]),
            epoch_return=own,
            benchmark_return=benchmark,
            level=level,
            benchmark_level=_grown(last.benchmark_level if last else None, benchmark),
            peak=peak,
            drawdown=None if level is None or peak is None else round(1.0 - level / peak, 9),
            ante_rao=str(int(judged.get("ante_rao", 0))),
            payout_rao=str(int(judged.get("payout_rao", 0))),
        )

    def _continued(self, hotkey: str) -> tuple[RecordLine, ...]:
        """The record up to the epoch before; empty where a new history begins in this one."""
        held = self._of("portfolios", hotkey)
        if held and held[0]["history_epoch"] == self._epoch_id:
            return ()
        return self._earlier.get(hotkey, ())[-(RECORD_EPOCHS - 1) :]

    def _summary(self, judged: Mapping[str, Any]) -> str:
        paid = tokens(int(judged.get("payout_rao", 0)))
        if judged["standing"] != "ranked":
            return f"{str(judged['standing']).capitalize()}: {judged['reason']}. Paid {paid} ALPHA."
        ranked = len(self._tables["consensus"])
        tier = str(judged["final_tier"]).replace("_", " ")
        return f"Rank {whole(judged['rank'])} of {ranked}, {tier}. Paid {paid} ALPHA."

    def _why_without(self, hotkey: str) -> str:
        if self._without or hotkey in self._other:
            return self._without
        return "no ante was posted, so no rule would have paid anything"

    def _of(self, name: str, hotkey: str) -> path.Rows:
        return self._rows[name].get(hotkey, [])

    def _one(self, name: str, hotkey: str) -> Mapping[str, Any] | None:
        found = self._of(name, hotkey)
        return found[0] if found else None


def _by(table: pd.DataFrame, column: str) -> dict[str, list[dict[Any, Any]]]:
    """Rows of a table by one of its columns, in their order."""
    found: dict[str, list[dict[Any, Any]]] = {}
    for row in _rows(table):
        found.setdefault(row[column], []).append(row)
    return found


def _by_any(
    table: pd.DataFrame | None, columns: Sequence[str]
) -> dict[str, list[dict[Any, Any]]] | None:
    """Rows of a table by what stands in any of some columns, in their order."""
    if table is None:
        return None
    found: dict[str, list[dict[Any, Any]]] = {}
    known = [column for column in columns if column in table]
    for row in _rows(table):
        for said in dict.fromkeys(row[column] for column in known):
            found.setdefault(said, []).append(row)
    return found


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return list(table.to_dict("records"))


def _records(previous: pd.DataFrame) -> dict[str, tuple[RecordLine, ...]]:
    return {
        hotkey: tuple(RecordLine(**line) for line in json.loads(text)["record"])
        for hotkey, text in zip(previous["hotkey"], previous["explanation"], strict=True)
    }


def _compounded(sessions: path.Rows, column: str) -> float | None:
    """Return of the sessions together, 9 decimals; nothing where one is not known."""
    known = np.array([row[column] for row in sessions], dtype=np.float64)
    if known.size == 0 or np.isnan(known).any():
        return None
    return round(float(total_return(known)), 9)


def _grown(level: float | None, by: float | None) -> float | None:
    """A level after a return, 9 decimals; the first starts from 1."""
    return level if by is None else round((1.0 if level is None else level) * (1.0 + by), 9)


def _json(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_fields
    )


def _fields(part: Any) -> dict[str, Any]:
    """A part of an explanation as the dictionary that JSON has for it."""
    kind = type(part)
    names = _NAMES.get(kind) or _NAMES.setdefault(kind, tuple(spec.name for spec in fields(kind)))
    return {name: getattr(part, name) for name in names}
