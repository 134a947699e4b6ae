"""Which vendors a deployment asks: names, keys, limits and addresses from its settings."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from quanta_pipelines.adapters.price_vendors.cache import ReplyCache, StoredCache
from quanta_pipelines.adapters.price_vendors.http import HeaderKey, HttpSource, RateLimit
from quanta_pipelines.adapters.price_vendors.interface import PriceVendor
from quanta_pipelines.adapters.price_vendors.massive import MassiveVendor
from quanta_pipelines.adapters.price_vendors.reading import ReplyReader, utc_now
from quanta_pipelines.adapters.price_vendors.recorded import RecordedVendor
from quanta_pipelines.adapters.price_vendors.replies import ReplyArchive
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.adapters.price_vendors.tiingo import TiingoVendor
from quanta_pipelines.settings import Settings

_LOG = logging.getLogger(__name__)
VENDOR_NAMES: Final = ("recorded", "tiingo", "polygon", "yahoo")
_OTHER_NAMES: Final = {"massive": "polygon"}


class InvalidVendors(ValueError):
    """A vendor that does not exist, or no watch list to ask vendors for."""


def configured_vendors(
    settings: Settings, clock: Callable[[], datetime] = utc_now
) -> tuple[PriceVendor, ...]:
    """The vendors that ``settings`` name and have a key for, in the order of the setting.

    A vendor without its key is left out, with a line in the log. Raises ``InvalidVendors``.
    """
    names = [_OTHER_NAMES.get(name, name) for name in settings.vendors]
    if unknown := sorted(set(names) - set(VENDOR_NAMES)):
        raise InvalidVendors(
            f"QUANTA_VENDORS names {', '.join(unknown)}; there are {', '.join(VENDOR_NAMES)}"
        )
    found = (_vendor(name, settings, clock) for name in dict.fromkeys(names))
    vendors = tuple(vendor for vendor in found if vendor is not None)
    if not vendors:
        raise InvalidVendors(f"no vendor of QUANTA_VENDORS={','.join(names)} can be asked")
    return vendors


def read_watch_list(path: Path) -> tuple[str, ...]:
    """Tickers of a text file, one or more a line; ``#`` begins a comment.

    Raises ``InvalidVendors`` for a file without tickers, ``UnknownSymbol`` for what is none.
    """
    lines = (line.partition("#")[0] for line in path.read_text("utf-8").splitlines())
    words = {word for line in lines for word in re.split(r"[\s,]+", line) if word}
    dotted = SymbolMap("watch list", ".")
    tickers = tuple(sorted({dotted.ticker(word.replace("-", ".")) for word in words}))
    if not tickers:
        raise InvalidVendors(f"the watch list {path} holds no ticker")
    return tickers


@dataclass(frozen=True, slots=True)
class _Deployment:
    """What every vendor over a network is given."""

    settings: Settings
    clock: Callable[[], datetime]
    watch_list: tuple[str, ...]

    def tiingo(self) -> TiingoVendor | None:
        said = self.settings
        http = self._http("tiingo", "Token", said.tiingo_api_key, said.tiingo_url, said.tiingo_rate)
        if http is None:
            return None
        return TiingoVendor(watch_list=self.watch_list, reader=self._reader(), fetch=http.fetch)

    def polygon(self) -> MassiveVendor | None:
        said = self.settings
        http = self._http(
            "polygon", "Bearer", said.polygon_api_key, said.polygon_url, said.polygon_rate
        )
        if http is None:
            return None
        return MassiveVendor(watch_list=self.watch_list, reader=self._reader(), fetch=http.fetch)

    def yahoo(self) -> PriceVendor:
        # Takes a second to import, which nobody waits for who does not ask Yahoo.
        from quanta_pipelines.adapters.price_vendors.yahoo import YahooVendor
        from quanta_pipelines.adapters.price_vendors.yahoo_source import YahooSource

        source = YahooSource(
            rate=RateLimit(self.settings.yahoo_rate),
            archive=self._archive,
            own_files=self.settings.home / "yfinance",
            base_url=self.settings.yahoo_url,
            clock=self.clock,
        )
        return YahooVendor(watch_list=self.watch_list, reader=self._reader(), fetch=source.fetch)

    @property
    def _archive(self) -> ReplyArchive:
        return ReplyArchive(self.settings.lake_root)

    def _reader(self) -> ReplyReader:
        cache: ReplyCache = StoredCache.on_disk(self.settings.home / "reply_cache")
        if address := self.settings.redis_url.get_secret_value():
            cache = StoredCache.in_redis(address)
        return ReplyReader(self._archive, cache, self.clock)

    def _http(
        self, name: str, scheme: str, key: SecretStr | None, url: str, rate: str
    ) -> HttpSource | None:
        if key is None or not key.get_secret_value().strip():
            _LOG.warning("vendor %s is off: %s_API_KEY is not set", name, name.upper())
            return None
        return HttpSource(
            base_url=url,
            key=HeaderKey(scheme, key),
            rate=RateLimit(rate),
            archive=self._archive,
            clock=self.clock,
        )


def _vendor(name: str, settings: Settings, clock: Callable[[], datetime]) -> PriceVendor | None:
    if name == "recorded":
        return RecordedVendor()
    if settings.watch_list is None:
        raise InvalidVendors(f"{name} is asked for a watch list: set QUANTA_WATCH_LIST to its file")
    deployment = _Deployment(settings, clock, read_watch_list(settings.watch_list))
    chosen: dict[str, Callable[[], PriceVendor | None]] = {
        "tiingo": deployment.tiingo,
        "polygon": deployment.polygon,
        "yahoo": deployment.yahoo,
    }
    return chosen[name]()
