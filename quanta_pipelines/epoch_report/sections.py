"""What stands on an epoch's page: rows and numbers of its tables, in the order people read them."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from data_contracts.tables import PROVISIONAL, TABLES
from quanta_pipelines.adapters.lake import Lake, Version
from quanta_pipelines.epoch_report import charts
from quanta_pipelines.protocol import ledger
from quanta_pipelines.protocol.integrity import EVIDENCE
from quanta_pipelines.protocol.params import ProtocolParams, params_version

TIERS = ("top_tier", "profitable", "break_even", "penalty_band")
BESIDE = {
    "integrity_flags": "Integrity",
    "integrity_cases": "Integrity cases",
    "pool_payouts": "Pools",
    "participants": "Participants",
    "validator_collusion": "Collusion of validators",
}
READ = (
    "validated_prices",
    "horizon_metrics",
    "score_intervals",
    "scores",
    "validator_weights",
    "consensus",
    "validator_results",
    "rewards",
    "ledger_entries",
    "explanations",
)
_COLUMNS: dict[str, tuple[str, ...]] = {
    "integrity_flags": EVIDENCE,
    "integrity_cases": (
        "case_id",
        "kind",
        "hotkey",
        "other_hotkey",
        "state",
        "opened_epoch",
        "closed_epoch",
        "reason",
    ),
}
DRAWN = 5  # equity curves of the first ranks
_SHOWN_ROWS = 25
_IN = {
    "emission": "Emission",
    "external": "External revenue",
    "ante_staked": "Antes at stake",
    "carry_in": "Carried in",
}
_OUT = {
    "reward": "Rewards",
    "ante_returned": "Antes returned",
    "ante_burned": "Burned",
    "fee_burned": "Burned",
    "rake": "Treasury",
    "fee": "Treasury",
    "carry_out": "Carried out",
}


@dataclass(frozen=True)
class EpochTables:
    """The tables of one epoch that its page shows, and the versions of all that it has."""

    frames: Mapping[str, pd.DataFrame]
    found: tuple[Version, ...]

    @classmethod
    def of(cls, lake: Lake, epoch_id: str) -> "EpochTables":
        """Reads what the page shows; raises ``MissingTable`` and ``GateNotPassed``."""
        found = versions_of(lake, epoch_id)
        shown = [each.table for each in found if each.table in (*READ, *BESIDE)]
        frames = {
            name: lake.read(name, epoch_id, gates=TABLES[name].gates()) for name in (*READ, *shown)
        }
        entries = ledger.standing(ledger.posted(frames["ledger_entries"]))
        return cls({**frames, "ledger_entries": entries}, found)

    def facts(self) -> list[tuple[str, str]]:
        """The epoch in a few numbers."""
        standings = Counter(self.frames["rewards"]["standing"])
        paid = self.frames["rewards"]["gross_rao"]
        results = self.frames["validator_results"]
        return [
            ("ranked", str(standings["ranked"])),
            ("not ranked", str(sum(standings.values()) - standings["ranked"])),
            ("earned a reward", str(int((paid > 0).sum()))),
            ("validators voted", f"{int(results['voted'].sum())} of {len(results)}"),
            ("ALPHA won", charts.alpha(sum(paid.tolist()))),
            ("ALPHA burned", charts.alpha(self._moved("ante_burned", "fee_burned"))),
        ]

    def board(self) -> list[dict[str, Any]]:
        """Ranked miners, best first."""
        table = self.frames["consensus"][["hotkey", "rank", "eligible", "reason"]]
        table = table.merge(self._scores(), on="hotkey", how="left")
        money = ["hotkey", "tier", "final_tier", "ante_rao", "gross_rao", "payout_rao"]
        table = table.merge(self.frames["rewards"][money], on="hotkey")
        return _plain(table.sort_values(["rank", "hotkey"]))

    def others(self) -> list[dict[str, Any]]:
        """Who took part and is not ranked, with the reason."""
        table = self.frames["explanations"]
        return _plain(table.loc[table["standing"] != "ranked", ["hotkey", "standing", "reason"]])

    def spans(self) -> list[charts.Span]:
        """Scores and intervals of the ranked."""
        return [
            charts.Span(
                f"{row['rank']} {row['hotkey'][:8]}…",
                row["final_tier"],
                row["composite"],
                row["lower"],
                row["upper"],
            )
            for row in self.board()
            if row["composite"] is not None
        ]

    def tiers(self) -> list[tuple[str, int]]:
        """How many miners were settled in each tier."""
        counts = Counter(self.frames["rewards"]["final_tier"].dropna())
        return [(tier, counts[tier]) for tier in TIERS]

    def rewards(self) -> list[tuple[int, str, int]]:
        """Rank, tier and reward of who earned one."""
        return [
            (row["rank"], row["final_tier"], row["gross_rao"])
            for row in self.board()
            if row["gross_rao"]
        ]

    def drawn(self) -> list[tuple[str, str]]:
        """Whose curves are drawn: the class of the line, and rank with hotkey."""
        first = self.board()[:DRAWN]
        return [
            (f"line{at}", f"{row['rank']} {row['hotkey'][:8]}…") for at, row in enumerate(first, 1)
        ]

    def levels_picture(self) -> Markup:
        """Equity of the first ranks and of the benchmark, by epoch."""
        lines = self._lines("level")
        longest = max(self._records(), key=len, default=[])
        benchmark = [1.0, *(line["benchmark_level"] or 1.0 for line in longest)]
        return charts.curves(
            [*lines, ("benchmark", benchmark)],
            ["", *(line["epoch_id"] for line in longest)],
            1.0,
            f"Equity of the first {len(lines)} ranks and the benchmark (dashed), by epoch",
        )

    def drawdowns_picture(self) -> Markup:
        """The same miners' distance from their highest level, by epoch."""
        longest = max(self._records(), key=len, default=[])
        lines = [
            (name, [None if value is None else -value for value in line])
            for name, line in self._lines("drawdown", start=0.0)
        ]
        return charts.curves(
            lines,
            ["", *(line["epoch_id"] for line in longest)],
            0.0,
            f"Drawdown of the first {len(lines)} ranks, by epoch",
        )

    def flows(self) -> list[charts.Flow]:
        """Into the pool and out of it, by what it was for; nothing that is 0."""
        came = [
            charts.Flow(name, "Pool", self._into_pool(reason), name) for reason, name in _IN.items()
        ]
        went: dict[str, int] = {}
        for reason, name in _OUT.items():
            went[name] = went.get(name, 0) + self._moved(reason)
        out = [charts.Flow("Pool", name, amount, name) for name, amount in went.items()]
        return [flow for flow in [*came, *out] if flow.amount]

    def flow_columns(self) -> list[list[str]]:
        """Names of the flows from left to right."""
        flows = self.flows()
        came = [flow.source for flow in flows if flow.target == "Pool"]
        return [came, ["Pool"], [flow.target for flow in flows if flow.source == "Pool"]]

    def validators(self) -> list[dict[str, Any]]:
        """How each validator's vote stood."""
        columns = ["validator", "voted", "stake_share", "agreement", "divergence"]
        table = self.frames["validator_results"][[*columns, "validator_trust", "dividend_units"]]
        return _plain(table.sort_values(["stake_share", "validator"], ascending=[False, True]))

    def quality(self) -> list[tuple[str, str]]:
        """What the settled prices are worth."""
        prices = self.frames["validated_prices"]
        status = Counter(prices["status"])
        flags = ("anomaly", "stale", "low_volume", "flat_line")
        corrected = int(prices["sources"].str.contains("correction").sum())
        return [
            ("tickers", str(prices["ticker"].nunique())),
            ("sessions", str(prices["session"].nunique())),
            ("closes settled", f"{status['settled']} of {len(prices)}"),
            ("disputed", str(status["disputed"])),
            ("missing", str(status["missing"])),
            ("corrected by an operator", str(corrected)),
            *((flag.replace("_", " "), str(int(prices[flag].sum()))) for flag in flags),
        ]

    def beside(self) -> list[dict[str, Any]]:
        """Tables that not every epoch has: their first rows, or that they are not there."""
        found = []
        for name, title in BESIDE.items():
            table = self.frames.get(name)
            told = pd.DataFrame() if table is None else _told(name, table)
            found.append(
                {
                    "title": title,
                    "name": name,
                    "there": table is not None,
                    "rows": len(told),
                    "columns": [str(column) for column in told.columns],
                    "shown": _plain(told.head(_SHOWN_ROWS)),
                }
            )
        return found

    def provenance(self, params: ProtocolParams) -> list[tuple[str, str]]:
        """Under which rules and from which prices the epoch was settled."""
        settled = next(each for each in self.found if each.table == "rewards")
        votes = sorted(set(self.frames["validator_weights"]["data_hash"]))
        return [
            ("params_version", settled.params_version),
            ("rules of this page", params_version(params)),
            ("code_version", settled.code_version),
            *((f"data_hash of votes {at}", value) for at, value in enumerate(votes, 1)),
        ]

    def _scores(self) -> pd.DataFrame:
        table = self.frames["scores"][["hotkey", "composite", "final_score"]]
        table = table.merge(
            self.frames["score_intervals"][["hotkey", "lower", "upper"]], how="left"
        )
        month = self.frames["horizon_metrics"]
        month = month[month["horizon"] == 30]
        return table.merge(
            month[["hotkey", "total_return", "max_drawdown", "sharpe_ratio"]], how="left"
        )

    def _records(self) -> list[list[Mapping[str, Any]]]:
        """Records of the first ranks, as their explanations have them."""
        table = self.frames["explanations"].set_index("hotkey")["explanation"]
        first = [row["hotkey"] for row in self.board()[:DRAWN]]
        return [list(json.loads(table[hotkey])["record"]) for hotkey in first]

    def _lines(self, column: str, start: float = 1.0) -> list[tuple[str, list[float | None]]]:
        """A line per drawn miner, with nothing before its history began."""
        records = self._records()
        longest = max(map(len, records), default=0)
        return [
            (
                f"line{at}",
                [*[None] * (longest - len(record)), start, *(line[column] for line in record)],
            )
            for at, record in enumerate(records, 1)
        ]

    def _moved(self, *reasons: str) -> int:
        entries = self.frames["ledger_entries"]
        return sum(entries.loc[entries["reason"].isin(reasons), "amount_rao"].tolist())

    def _into_pool(self, reason: str) -> int:
        entries = self.frames["ledger_entries"]
        fits = (entries["reason"] == reason) & (entries["to_account"] == ledger.POOL)
        return sum(entries.loc[fits, "amount_rao"].tolist())


def _told(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """What the page shows of a table: of the flags, those that cost somebody something."""
    wanted = [column for column in _COLUMNS.get(name, tuple(table.columns)) if column in table]
    shown = table[[column for column in wanted if column != "epoch_id"]]
    if name != "integrity_flags":
        return shown
    costs = (table["originality"] < 1) | (table["variance_factor"] < 1)
    return shown[
        costs | table["cluster_member"] | table["plagiarism_suspected"] | table["below_least_stake"]
    ]


def versions_of(lake: Lake, epoch_id: str) -> tuple[Version, ...]:
    """The versions of every table that the epoch has, in the order of the stages."""
    return tuple(
        lake.version(name, epoch_id)
        for name in TABLES
        if name not in PROVISIONAL and lake.exists(name, epoch_id)
    )


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with ``None`` where the table has nothing."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]
