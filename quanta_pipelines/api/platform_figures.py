"""How the platform stands, for Prometheus: read from published tables and marts at each scrape.

Nothing here is counted by the service itself, so every process says the same. What cannot be read
has no sample, and ``quanta_part_read`` says 0 for its part: absence is not zero. Amounts in rao
pass through a float, exact up to 2^53 rao, some nine million tokens.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock

import duckdb
import numpy as np
import pandas as pd
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.adapters.published_marts import NothingPublished, OutdatedMarts, Publication
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.ledger import balances, posted

LEDGER, SCORES, PRICES = "ledger_entries", "scores", "validated_prices"
FRESH_SECONDS = 15.0  # two scrapes within it get the same answer: a lake may be far away
UNREADABLE = (NothingPublished, OutdatedMarts, MissingTable, OSError, duckdb.Error)
MOVED = {
    "emission": "emission_rao",
    "rewards": "rewards_rao",
    "antes_returned": "antes_returned_rao",
    "antes_burned": "antes_burned_rao",
    "fees_burned": "fees_burned_rao",
    "rake": "rake_rao",
    "carried_over": "carry_out_rao",
}
SCORED = {"best": "best_composite", "mean": "mean_composite", "median": "median_composite"}
STANDINGS = ("ranked", "provisional", "unranked", "unrevealed")

Family = GaugeMetricFamily


@dataclass(eq=False)  # the registry keeps it in a dictionary
class PlatformFigures(Collector):
    """The platform's gauges over what one service can read."""

    services: Services
    _taken: tuple[float, list[Family]] | None = None
    _balances: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def collect(self) -> Iterator[Family]:
        """All families that are known now."""
        with self._lock:
            now = time.monotonic()
            if self._taken is None or now - self._taken[0] > FRESH_SECONDS:
                self._taken = (now, list(self._read()))
            yield from self._taken[1]

    def _read(self) -> Iterator[Family]:
        read = Family(
            "quanta_part_read", "Whether a part could be read for these figures.", labels=["part"]
        )
        parts: dict[str, Callable[[], list[Family]]] = {
            "marts": lambda: list(self._of_marts(self.services.publication())),
            "ledger": lambda: list(self._of_ledger(self.services.publication().settled)),
            "lake": lambda: list(self._of_lake()),
            "alerts": lambda: list(self._of_alerts()),
        }
        for name, figures in parts.items():
            try:
                found = figures()
            except UNREADABLE as error:
                self.services.log.warning("figures_unknown", part=name, detail=str(error))
                read.add_metric([name], 0)
                continue
            read.add_metric([name], 1)
            yield from found
        yield read

    def _of_marts(self, publication: Publication) -> Iterator[Family]:
        """What stands in the marts: counts, and the scores and money of the last settled epoch."""
        yield Family(
            "quanta_settled_epochs", "Epochs in the published marts.", len(publication.settled)
        )
        if not publication.settled:
            return
        yield from self._place("settled", Epoch.parse(publication.settled[-1]))
        last = publication.epochs.iloc[-1]
        network = publication.network.set_index("epoch_id").loc[last["epoch_id"]]
        yield Family(
            "quanta_validators",
            "Validators that voted in the last settled epoch.",
            int(network["n_validators"]),
        )
        yield _labelled(
            "quanta_miners",
            "Miners of the last settled epoch by standing.",
            "standing",
            {each: last[f"n_{each}"] for each in STANDINGS},
        )
        yield _labelled(
            "quanta_composite_score",
            "Composite scores of ranked miners in the last settled epoch.",
            "statistic",
            {name: last[column] for name, column in SCORED.items()},
        )
        yield _labelled(
            "quanta_epoch_moved_rao",
            "What moved in the last settled epoch, in rao.",
            "movement",
            {name: last[column] for name, column in MOVED.items()},
        )

    def _of_ledger(self, settled: tuple[str, ...]) -> Iterator[Family]:
        """Balances over the ledgers of the epochs in the marts, by kind of account."""
        total: Counter[str] = Counter()
        for epoch_id in settled:
            total.update(self._moved_in(epoch_id))  # adds, and keeps what is negative
        yield _labelled(
            "quanta_ledger_balance_rao",
            "What accounts hold by kind, over all settled epochs, in rao.",
            "account",
            dict(sorted(total.items())),
        )

    def _moved_in(self, epoch_id: str) -> Mapping[str, int]:
        """Balances of one ledger, by kind of account; a version is read once."""
        lake = self.services.lake
        key = (epoch_id, lake.version(LEDGER, epoch_id).content_hash)
        if key not in self._balances:
            held = balances(posted(lake.read(LEDGER, epoch_id)))
            kinds = held.groupby([str(account).partition(":")[0] for account in held.index]).sum()
            self._balances[key] = {str(kind): int(amount) for kind, amount in kinds.items()}
        return self._balances[key]

    def _of_lake(self) -> Iterator[Family]:
        """The last epoch that was closed, and what is wrong since the last settled one."""
        lake = self.services.lake
        closed = _last_passed(lake, SCORES)
        if closed is not None:
            yield from self._place("closed", closed)
        paid = _last_passed(lake, LEDGER)
        begun = [each for each in lake.epochs(PRICES) if paid is None or each >= paid.id]
        yield _labelled(
            "quanta_failed_checks",
            "Gates that did not pass on what is published, of epochs since the last paid one.",
            "epoch",
            {epoch_id: _failed(lake, epoch_id) for epoch_id in begun},
        )
        if begun:
            status = lake.read(PRICES, begun[-1])["status"]
            yield _labelled(
                "quanta_disputed_cells",
                "Prices on which vendors disagree, in the newest validated prices.",
                "epoch",
                {begun[-1]: int((status == "disputed").sum())},
            )

    def _of_alerts(self) -> Iterator[Family]:
        """Alerts that no channel, or not every one, has taken; unknown where no sensor ran."""
        folder = self.services.settings.alerts
        if not folder.is_dir():
            raise MissingTable(f"there is no {folder}: the sensor of alerts has not run here")
        waiting = len(list((folder / "waiting").glob("*.json")))
        yield Family("quanta_alerts_outstanding", "Alerts that wait to be told.", waiting)

    def _place(self, state: str, epoch: Epoch) -> Iterator[Family]:
        """Which epoch is the last one in a state, and how long ago it ended."""
        yield _labelled(
            f"quanta_last_{state}_epoch", f"The last {state} epoch.", "epoch", {epoch.id: 1}
        )
        age = (self.services.now() - epoch.closes_at).total_seconds()
        yield Family(
            f"quanta_last_{state}_epoch_age_seconds",
            f"Seconds since the last session of the last {state} epoch closed.",
            age,
        )


def _labelled(name: str, words: str, label: str, values: Mapping[str, float | int]) -> Family:
    """A family with one sample per value that is known."""
    family = Family(name, words, labels=[label])
    for value, number in values.items():
        if not pd.isna(number):
            family.add_metric([value], float(np.float64(number)))
    return family


def _last_passed(lake: Lake, table: str) -> Epoch | None:
    """The newest epoch whose table passed its gates."""
    gates = CONTRACTS[table].gates()
    epochs = reversed(lake.epochs(table))
    found = next((each for each in epochs if lake.passed(table, each, gates)), None)
    return None if found is None else Epoch.parse(found)


def _failed(lake: Lake, epoch_id: str) -> int:
    """Gates that said no to the table that is published, or let none be published."""
    failed = 0
    for table, contract in CONTRACTS.items():
        held = lake.version(table, epoch_id).content_hash if lake.exists(table, epoch_id) else None
        verdicts = (lake.verdict(table, epoch_id, gate) for gate in contract.gates())
        failed += sum(
            not verdict.passed and verdict.content_hash in (None, held)
            for verdict in verdicts
            if verdict is not None
        )
    return failed
