"""What the routes work with: one instance of each part per application."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated

import pandas as pd
from fastapi import Depends, Request
from structlog.typing import FilteringBoundLogger

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.published_marts import Publication, PublishedMarts
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.api.clock import Clock
from quanta_pipelines.api.monitoring import Monitoring
from quanta_pipelines.api.rate_limits import RateLimits
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.settings import Settings

STORE_SECONDS = 10.0


@dataclass
class Services:
    """Settings, storage, clock and counters of one application."""

    settings: Settings
    limits: RateLimits
    log: FilteringBoundLogger
    clock: Clock = field(default_factory=Clock)
    monitoring: Monitoring = field(default_factory=Monitoring)
    params: ProtocolParams = QUANTA
    marts: PublishedMarts = field(init=False)
    _store: SignalStore | None = field(init=False, default=None)
    _publication: Publication | None = field(init=False, default=None)
    _tables: dict[tuple[str, str, str], pd.DataFrame] = field(init=False, default_factory=dict)
    _opening: Lock = field(init=False, default_factory=Lock)
    _loading: Lock = field(init=False, default_factory=Lock)

    def __post_init__(self) -> None:
        self.marts = PublishedMarts(str(self.settings.warehouse / "quanta.duckdb"))

    @property
    def store(self) -> SignalStore:
        """The signal store, opened when it is first needed; raises ``StoreUnavailable``."""
        with self._opening:
            if self._store is None:
                self._store = SignalStore.open(
                    self.settings.signal_store_url, self.params, timeout_seconds=STORE_SECONDS
                )
            return self._store

    def close(self) -> None:
        """Closes the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def lake(self) -> Lake:
        """The published tables of the epochs."""
        return Lake(self.settings.lake_root)

    def publication(self) -> Publication:
        """The published marts, read once per publication.

        Raises ``NothingPublished`` and ``OutdatedMarts``.
        """
        version = self.marts.version()
        with self._loading:
            if self._publication is None or self._publication.version != version:
                self._publication = self.marts.load()
                self._tables = {}
            return self._publication

    def table(
        self, name: str, epoch_id: str, *, gates: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A table of a settled epoch whose gates have passed, read once per publication.

        Raises ``MissingTable`` and ``GateNotPassed``.
        """
        key = (self.publication().version, name, epoch_id)
        found = self._tables.get(key)
        if found is None:
            asked = CONTRACTS[name].gates() if gates is None else gates
            found = self.lake.read(name, epoch_id, gates=asked)
            self._tables[key] = found
        return found

    def now(self) -> dt.datetime:
        """The moment by which windows are judged."""
        return self.clock.now()


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    found: Services = request.app.state.services
    return found


Using = Annotated[Services, Depends(services_of)]
