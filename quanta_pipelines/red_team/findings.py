"""What one season shows: who gained or lost what in each epoch, and whom the rules pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from quanta_pipelines.protocol.integrity.case_table import CONFIRMED, DISMISSED, CaseKind
from quanta_pipelines.protocol.ledger import balances
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.ranking import Standing

UNREVEALED = "unrevealed"  # an offence that honest miners commit too, by forgetting


@dataclass
class Findings:
    """One season's money and alarms, one row per epoch and hotkey, in tokens."""

    seed: int
    cast: str
    players: dict[str, set[str]]  # hotkeys that attacked, by attack
    seats: dict[str, frozenset[str]] = field(
        default_factory=dict
    )  # that were taken over, by attack
    all_seats: tuple[str, ...] = ()
    miners: frozenset[str] = frozenset()  # of the population, seats included
    copied: dict[str, str] = field(default_factory=dict)  # target by attack
    money: list[pd.DataFrame] = field(default_factory=list)
    alarms: list[pd.DataFrame] = field(default_factory=list)

    def add(
        self, epoch_id: str, quanta: pd.DataFrame, spec: pd.DataFrame, alarms: pd.DataFrame
    ) -> None:
        """Keeps an epoch."""
        for rules, money in (("QUANTA", quanta), ("SPEC", spec)):
            self.money.append(money.assign(epoch_id=epoch_id, rules=rules))
        self.alarms.append(alarms.assign(epoch_id=epoch_id))

    @property
    def epoch_ids(self) -> list[str]:
        """The measured epochs, oldest first."""
        return list(dict.fromkeys(str(frame["epoch_id"].iloc[0]) for frame in self.money))

    def gains(self, rules: str) -> pd.DataFrame:
        """Columns epoch_id, hotkey, gain, at_risk and slashed under one rule set."""
        table = pd.concat(self.money, ignore_index=True)
        return table[table["rules"] == rules]

    def pointed_at(self) -> pd.DataFrame:
        """Columns epoch_id, hotkey, alarm."""
        return pd.concat(self.alarms, ignore_index=True)


def money_of(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Gain of every miner and validator by the ledger, and the antes that were at risk.

    ``slashed`` is what confirmed offences burn beside that.
    """
    held = balances(tables["ledger_entries"])
    accounts = held.index.str.partition(":").to_frame(index=False)
    table = pd.DataFrame(
        {"kind": accounts[0], "hotkey": accounts[2], "gain": held.to_numpy() / RAO}
    )
    antes = tables["commitments"].set_index("hotkey")["ante_rao"] / RAO
    table = table[table["kind"].isin(["miner", "validator"])]
    burned = table["hotkey"].map(_slashed(tables)).fillna(0.0)
    return table.assign(at_risk=table["hotkey"].map(antes).fillna(0.0), slashed=burned)


def _slashed(tables: Mapping[str, pd.DataFrame]) -> "pd.Series[float]":
    """What the cases that were confirmed in this epoch burn of a bond or a stake, by hotkey."""
    if "integrity_cases" not in tables:
        return pd.Series(dtype="float64")
    cases = tables["integrity_cases"]
    now = cases[(cases["state"] == CONFIRMED) & (cases["closed_epoch"] == cases["epoch_id"])]
    return now.groupby("hotkey")["slash_rao"].sum().astype("float64") / RAO


def alarms_of(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Whom the rules point at in an epoch, and by what: one row per hotkey and alarm."""
    scores, reveals = tables["scores"], tables["reveals"]
    refused = reveals.loc[reveals["verdict"] == "invalid_portfolio", "hotkey"]
    found = {
        "invalid portfolio": set(refused),
        "originality": set(scores.loc[scores["originality"] < 1, "hotkey"]),
        "variance": set(scores.loc[scores["variance_factor"] < 1, "hotkey"]),
        UNREVEALED: set(scores.loc[scores["standing"] == Standing.UNREVEALED, "hotkey"]),
        "low variance": set(
            scores.loc[scores["reason"].str.startswith("annualised volatility"), "hotkey"]
        ),
        "cluster": set(scores.loc[scores["reason"].str.contains("of its cluster"), "hotkey"]),
    }
    flags, cases = tables["integrity_flags"], tables["integrity_cases"]
    found["cluster"] |= set(flags.loc[flags["cluster_member"], "hotkey"])
    found["plagiarism"] = set(flags.loc[flags["plagiarism_suspected"], "hotkey"])
    live = cases[cases["state"] != DISMISSED]
    for kind in (CaseKind.HEDGED_PAIR, CaseKind.COLLUSION):
        both = live[live["kind"] == kind]
        found[kind.replace("_", " ")] = {*both["hotkey"], *both["other_hotkey"]}
    rows = [(hotkey, alarm) for alarm, names in found.items() for hotkey in sorted(names)]
    return pd.DataFrame(rows, columns=["hotkey", "alarm"])
