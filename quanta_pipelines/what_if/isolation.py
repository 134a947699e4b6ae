"""A lake of its own over the published one: reads fall through, writes never do.

Where a what-if would work inside the operator's lake, store or warehouse it does not start.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import make_url

from quanta_pipelines.adapters.lake import Lake, Loaded, Version, joined
from quanta_pipelines.adapters.signal_store import SignalStore, StoreUnavailable
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.resources import DataDocs, Platform
from quanta_pipelines.settings import Settings


class NotIsolated(ProtocolError):
    """A folder in which a what-if would touch what belongs to the operator."""


@dataclass(frozen=True)
class IsolatedLake(Lake):
    """Tables of one rule set; what it did not compute is what stands in the lake ``below``.

    Tables here were audited before they were written, so no gate is asked for again.
    """

    below: Lake

    def load(self, table: str, epoch_id: str, *, gates: Sequence[str] = ()) -> Loaded:
        """The own table where there is one, else the one below once its gates have passed."""
        if Lake.exists(self, table, epoch_id):
            return Lake.load(self, table, epoch_id)
        return self.below.load(table, epoch_id, gates=gates)

    def load_all(
        self, table: str, epoch_ids: Sequence[str], *, gates: Sequence[str]
    ) -> tuple[pd.DataFrame, tuple[Version, ...]]:
        """The tables that ``load`` gives, in one frame."""
        return joined([self.load(table, epoch_id, gates=gates) for epoch_id in epoch_ids])

    def exists(self, table: str, epoch_id: str) -> bool:
        """Whether the table stands here or below."""
        return Lake.exists(self, table, epoch_id) or self.below.exists(table, epoch_id)

    def version(self, table: str, epoch_id: str) -> Version:
        """The version that ``load`` gives."""
        if Lake.exists(self, table, epoch_id):
            return Lake.version(self, table, epoch_id)
        return self.below.version(table, epoch_id)

    def epochs(self, table: str) -> tuple[str, ...]:
        """Epochs whose table stands here or below, in their order."""
        return tuple(sorted({*Lake.epochs(self, table), *self.below.epochs(table)}))

    def publications(self, table: str) -> dict[str, int]:
        """How often what ``load`` gives was published, where it stands."""
        return self.below.publications(table) | Lake.publications(self, table)


@dataclass(frozen=True)
class History:
    """Where a deployment's recorded history lies, in words that another process can open."""

    lake_root: str
    store_url: str
    genesis: str
    own_validator: str
    kept: Mapping[str, str]  # folders and files of the operator by what they are

    @classmethod
    def of(cls, settings: Settings) -> "History":
        """The history that the settings describe."""
        places = {"lake": settings.lake_root, "warehouse": str(settings.warehouse)}
        database = make_url(settings.signal_store_url)
        if database.get_backend_name() == "sqlite" and database.database:
            places["signal store"] = database.database
        return cls(
            settings.lake_root,
            settings.signal_store_url,
            settings.first_epoch,
            settings.validator_hotkey,
            places,
        )

    def require_apart(self, folder: Path, *, what: str, above: bool) -> None:
        """Refuse a folder that is one of the operator's, lies in it or, ``above``, holds it."""
        chosen = folder.resolve()
        for name, place in self.kept.items():
            system, path = url_to_fs(place)
            if not isinstance(system, LocalFileSystem):
                continue
            kept = Path(path).resolve()
            if chosen == kept or kept in chosen.parents or (above and chosen in kept.parents):
                raise NotIsolated(f"{what} {chosen} would touch the {name} {kept}")

    @contextmanager
    def platform(self, home: Path, lake: Lake, params: ProtocolParams) -> Iterator[Platform]:
        """A platform on ``lake`` that has no vendors, and no other folder than ``home``.

        The store is opened as it is: an older schema is refused, not migrated.
        """
        file = self.kept.get("signal store")
        if file is not None and not Path(file).is_file():
            raise StoreUnavailable(f"there is no signal store at {file}")
        store = SignalStore.open(self.store_url, params, migrate=False)
        try:
            yield Platform(
                lake=lake,
                store=store,
                vendors=(),
                genesis=Epoch.parse(self.genesis),
                own_validator=self.own_validator,
                warehouse=Warehouse(home / "warehouse"),
                data_docs=DataDocs(home / "data_docs"),
                params=params,
            )
        finally:
            store.close()
