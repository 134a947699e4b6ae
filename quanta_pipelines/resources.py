"""What the graph is given to work with: lake, signal store, vendors and the rule set.

``Platform`` is built once per run from the settings; tests hand in their own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from quanta_pipelines.adapters.chain_state import (
    ChainState,
    NoChainState,
    configured_chain_state,
)
from quanta_pipelines.adapters.code_version import code_version
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import Lake, Loaded, MissingTable
from quanta_pipelines.adapters.price_vendors import Outcome, PriceVendor, ask_vendors, raw_rows
from quanta_pipelines.adapters.price_vendors.configured import configured_vendors
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.price_correction import standing_corrections
from quanta_pipelines.protocol.epoch import Epoch, voting_closes
from quanta_pipelines.protocol.errors import ParameterOutOfRange
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams, params_version
from quanta_pipelines.settings import Settings, current_settings


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class DataDocs:
    """The folder of the pages on data quality, and the address that shows it, if there is one."""

    folder: Path
    url: str = ""

    def link(self, page: str = "index.html") -> dg.UrlMetadataValue | dg.PathMetadataValue:
        """What the UI shows: a browser does not follow a link from a web page to a file."""
        if self.url:
            return dg.MetadataValue.url(f"{self.url.rstrip('/')}/{page}")
        return dg.MetadataValue.path(str(self.folder / page))


@dataclass(frozen=True)
class Platform:
    """One validator's instance of the platform."""

    lake: Lake
    store: SignalStore
    vendors: tuple[PriceVendor, ...]
    genesis: Epoch
    own_validator: str
    warehouse: Warehouse
    data_docs: DataDocs
    params: ProtocolParams = QUANTA
    clock: Callable[[], datetime] = utc_now
    settles: bool = True  # a second validator only scores: votes and payouts are its peer's
    refetch: bool = False  # ask vendors again where their kept replies would do
    chain_state: ChainState = field(default_factory=NoChainState)

    def __post_init__(self) -> None:
        if self.params.scoring.return_basis != "held":
            raise ParameterOutOfRange(
                f"an epoch scores held portfolios; {self.params.scoring.return_basis} weights are "
                "an analysis of one portfolio"
            )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Platform":
        """The platform that the settings describe; creates what does not exist yet."""
        settings.home.mkdir(parents=True, exist_ok=True)
        return cls(
            lake=Lake(settings.lake_root),
            store=SignalStore.open(settings.signal_store_url),
            vendors=configured_vendors(settings),
            genesis=settings.genesis,
            own_validator=settings.validator_hotkey,
            warehouse=Warehouse(settings.warehouse),
            data_docs=DataDocs(settings.data_docs, settings.data_docs_url),
            refetch=settings.refetch,
            chain_state=configured_chain_state(settings.chain_state),
        )

    def ask_vendors(self, epoch: Epoch, last: date | None = None) -> tuple[Outcome, ...]:
        """Every vendor's answer for the epoch's sessions and the lookback before them.

        ``last`` is the last session so far of an epoch that still runs.
        """
        return ask_vendors(self.vendors, epoch, self.params, last=last, refetch=self.refetch)

    def observe(self, epoch: Epoch, last: date | None = None) -> pd.DataFrame:
        """What the vendors answered, as one table."""
        return raw_rows(self.ask_vendors(epoch, last), epoch)

    def corrections(self, epoch: Epoch) -> pd.DataFrame:
        """The table ``price_corrections``: what stands for the sessions that vendors observe."""
        return standing_corrections(self, epoch)

    def stamp(self) -> dict[str, str]:
        """Which rules a table is written under."""
        return {"params_version": params_version(self.params), "code_version": code_version()}


@dataclass(frozen=True)
class EpochRun:
    """One epoch on one platform, and a record of the tables it looked at, by content hash."""

    platform: Platform
    epoch: Epoch
    inputs: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, dg.MetadataValue[Any]] = field(default_factory=dict)  # beside the table
    through: date = date.max  # a running epoch is looked at up to a session
    restates: str = ""  # why an operator settles a settled epoch again
    replays: bool = False  # computes what was published again, and publishes nothing
    anew: bool = False  # replays as if the epoch had never been settled
    publications: dict[str, Mapping[str, int]] = field(default_factory=dict)  # publish unless more

    @property
    def sessions(self) -> tuple[date, ...]:
        """The epoch's sessions that are looked at, oldest first: all of them once it is over."""
        return tuple(day for day in self.epoch.sessions if day <= self.through)

    @property
    def id(self) -> str:
        """The epoch's id."""
        return self.epoch.id

    @property
    def params(self) -> ProtocolParams:
        """The rule set."""
        return self.platform.params

    def read(self, table: str, gates: Sequence[str]) -> pd.DataFrame:
        """A table of this epoch, once its gates have passed, written under the same rules."""
        loaded = self._load(table, self.epoch, gates)
        rules, own = loaded.version.params_version, params_version(self.params)
        if rules != own:
            raise GateNotPassed(
                f"{table} {self.id} was written under rules {rules[:12]}, this run has {own[:12]}: "
                f"run {table} again"
            )
        return loaded.frame

    def previous(
        self, table: str, gates: Sequence[str], *, chained: bool = False
    ) -> pd.DataFrame | None:
        """The previous epoch's published table; nothing before the first epoch.

        ``chained``: what this run publishes rests on all earlier tables of this name that the
        previous one rests on, too. Raises ``MissingTable`` that names the epoch to run first.
        """
        if self.is_genesis(table, self.epoch):
            return None
        before = self.epoch.previous()
        found = self._earlier(table, before, gates)
        verdict = self.platform.lake.verdict(table, before.id, "contract") if chained else None
        if verdict is not None:
            own = {at: held for at, held in verdict.inputs.items() if at.split(" ")[0] == table}
            self.inputs.update(own)
        return found

    def upheld_disputes(self) -> dict[str, int]:
        """Disputes by the validator they were upheld against, that this epoch's bonds pay for.

        Those that closed since the votes of the epoch before were in, so each counts once.
        """
        first = self.epoch <= self.platform.genesis
        since = None if first else voting_closes(self.epoch.previous(), self.params)
        until = voting_closes(self.epoch, self.params)
        return self.platform.store.disputes.upheld(since, until)

    def history(self, table: str, gates: Sequence[str], sessions: int) -> list[pd.DataFrame]:
        """Published tables of the epochs before this one that hold the last ``sessions`` sessions.

        Newest first, not beyond the first epoch. Raises as ``previous`` does.
        """
        found: list[pd.DataFrame] = []
        epoch, missing = self.epoch, sessions
        while missing > 0 and not self.is_genesis(table, epoch):
            epoch = epoch.previous()
            found.append(self._earlier(table, epoch, gates))
            missing -= len(epoch.sessions)
        return found

    def together(self, table: str, gates: Sequence[str], epochs: Sequence[Epoch]) -> pd.DataFrame:
        """Published tables of some earlier epochs, at least one, in one frame: many at little cost.

        Texts are categories. Raises as ``previous`` does.
        """
        ids = [epoch.id for epoch in epochs]
        try:
            frame, versions = self.platform.lake.load_all(table, ids, gates=gates)
        except MissingTable as missing:
            raise MissingTable(f"{self.id} needs {missing}: run that epoch first") from missing
        self.inputs.update({f"{table} {each.epoch_id}": each.content_hash for each in versions})
        return frame

    def earlier(
        self, table: str, gates: Sequence[str], epochs: int | None = None
    ) -> dict[str, pd.DataFrame]:
        """Published tables of the epochs before this one by id, newest first: all, or the last few.

        Not beyond the first epoch. Raises as ``previous`` does.
        """
        found: dict[str, pd.DataFrame] = {}
        epoch = self.epoch
        while (epochs is None or len(found) < epochs) and not self.is_genesis(table, epoch):
            epoch = epoch.previous()
            found[epoch.id] = self._earlier(table, epoch, gates)
        return found

    def is_genesis(self, table: str, epoch: Epoch) -> bool:
        """Whether nothing comes before an epoch; the setting may not cut a history that exists."""
        if epoch > self.platform.genesis:
            return False
        before = epoch.previous().id
        if self.platform.lake.exists(table, before):
            raise GateNotPassed(
                f"{self.platform.genesis} is configured as the first epoch, but {table} of "
                f"{before} is published before it"
            )
        return True

    def _earlier(self, table: str, epoch: Epoch, gates: Sequence[str]) -> pd.DataFrame:
        try:
            return self._load(table, epoch, gates).frame
        except MissingTable as missing:
            raise MissingTable(
                f"{self.id} needs {table} of {epoch.id}, which is not published: "
                f"run epoch {epoch.id} first"
            ) from missing

    def _load(self, table: str, epoch: Epoch, gates: Sequence[str]) -> Loaded:
        loaded = self.platform.lake.load(table, epoch.id, gates=gates)
        self.inputs[f"{table} {epoch.id}"] = loaded.version.content_hash
        return loaded


@dg.resource(description="Lake, signal store, vendors and rule set of this deployment.")
def platform_from_settings(_context: dg.InitResourceContext) -> Platform:
    """The platform of the current settings."""
    return Platform.from_settings(current_settings())


class NoValues(dg.IOManager):
    """Stands where Dagster's default would pickle: tables go through the lake, values nowhere."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Refuse a value that an asset returned past the lake."""
        raise TypeError(f"{context.step_key} returned a {type(obj).__name__} past the lake")

    def load_input(self, context: dg.InputContext) -> object:
        """Refuse to load: assets read the lake by table name."""
        raise TypeError(f"{context.name}: inputs are read from the lake")
