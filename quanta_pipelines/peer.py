"""Another validator's service: what it shows of an epoch, checked and kept in the own store.

Commitments and reveals are judged again here, by hash and by time of receipt: a peer that made one
up, or that accepted what does not open its commitment, is found out before anything is scored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any

import pandas as pd

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.client import QuantaClient, Vote
from quanta_pipelines.protocol.commit_reveal import Reveal, Verdict
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.oracle import data_hash
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.votes import drawdown_columns

_PRICE_TYPES = {
    "ticker": "object",
    "session": "datetime64[ns]",
    "close": "float64",
    "total_return": "float64",
    "status": "object",
    "carried_sessions": "int64",
    "in_universe": "bool",
}


class UntrueRecord(RuntimeError):
    """What a peer shows does not hold together: it cannot be scored with."""


@dataclass(frozen=True, slots=True)
class PeerPrices:
    """A peer's settled prices of one epoch, which hash to what it says."""

    validator: str
    data_hash: str
    table: pd.DataFrame


@dataclass
class Peer:
    """The service of another validator, asked in the name of the own hotkey."""

    address: str
    key: HotkeyPair
    _client: QuantaClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = QuantaClient(self.address, self.key)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def mirror(self, store: SignalStore, epoch: Epoch) -> None:
        """Records an epoch's snapshot, universe, commitments and accepted reveals in ``store``.

        Run again, it adds what is missing. What contradicts an earlier answer raises
        ``ContradictsRecord``; a reveal that does not hold, ``UntrueRecord``. Reveals that failed
        stay hidden and are not in the mirror.
        """
        opening = self._client.epoch_record(epoch.id, "opening")
        signals = self._client.epoch_record(epoch.id, "signals")
        store.record_snapshot(
            epoch,
            emission_rao=int(opening["emission_rao"]),
            external_rao=int(opening["external_rao"]),
            stakes={row["validator_hotkey"]: int(row["stake_rao"]) for row in opening["stakes"]},
            source=opening["source"],
        )
        store.fix_universe(epoch, opening["universe"])
        self._mirror_commitments(store, epoch, signals["commitments"])
        self._mirror_reveals(store, epoch, signals["reveals"])

    def _mirror_commitments(
        self, store: SignalStore, epoch: Epoch, rows: list[Mapping[str, Any]]
    ) -> None:
        known = set(store.every_commitment(epoch.id)["commitment"])
        for row in rows:
            if row["commitment"] not in known:
                ante = Decimal(int(row["ante_rao"])) / RAO
                moment = datetime.fromisoformat(row["received_at"])
                hotkey, hidden = row["miner_hotkey"], row["commitment"]
                store.commit(hotkey, epoch, hidden, f"{ante:f}", received_at=moment)

    def _mirror_reveals(
        self, store: SignalStore, epoch: Epoch, rows: list[Mapping[str, Any]]
    ) -> None:
        revealed = store.reveals(epoch.id)
        known = set(revealed.loc[revealed["verdict"] == Verdict.ACCEPTED.value, "hotkey"])
        for row in rows:
            if row["miner_hotkey"] in known:
                continue
            claim = Reveal(
                hotkey=row["miner_hotkey"],
                epoch_id=epoch.id,
                commitment=row["commitment"],
                positions=tuple((ticker, weight) for ticker, weight in row["positions"]),
                secret=row["secret"],
            )
            moment = datetime.fromisoformat(row["received_at"])
            judgement = store.reveal(claim, received_at=moment)
            if judgement.verdict is not Verdict.ACCEPTED:
                raise UntrueRecord(
                    f"{self.address} accepted a reveal of {claim.hotkey} for {epoch} that is "
                    f"{judgement.verdict.value}: {judgement.reason}"
                )

    def prices(self, epoch: Epoch) -> PeerPrices:
        """The peer's settled prices; raises ``UntrueRecord`` where they are not what it hashed."""
        said = self._client.epoch_record(epoch.id, "prices")
        table = pd.DataFrame(said["prices"], columns=list(_PRICE_TYPES)).astype(_PRICE_TYPES)
        found = data_hash(table)
        if found != said["data_hash"]:
            raise UntrueRecord(
                f"{self.address} says that its prices of {epoch} hash to "
                f"{said['data_hash'][:12]}, they hash to {found[:12]}"
            )
        return PeerPrices(said["validator_hotkey"], found, table)

    def submit(self, epoch: Epoch, row: pd.DataFrame, hashed: str, sources: tuple[str, ...]) -> int:
        """Votes with a row as ``votes.validator_row`` gives it; returns the submission's number."""
        votes = [
            Vote(
                hotkey=cell["hotkey"],
                weight_units=int(cell["weight_units"]),
                composite=float(cell["composite"]),
                **{
                    name: None if pd.isna(cell[name]) else float(cell[name])
                    for name in drawdown_columns()
                },
            )
            for cell in row.to_dict("records")
        ]
        return self._client.submit_weights(epoch.id, hashed, votes, sources)
