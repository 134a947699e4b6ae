"""What vendors that are asked over a network have in common: questions in, rows and losses out."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import TypeVar

import numpy as np
import pandas as pd
from pydantic import ValidationError

from quanta_pipelines.adapters.price_vendors.cache import NoCache
from quanta_pipelines.adapters.price_vendors.errors import ReplyRefused, UnknownSymbol, VendorError
from quanta_pipelines.adapters.price_vendors.interface import Loss, Outcome, observations, quotes
from quanta_pipelines.adapters.price_vendors.reading import Answer, Freshness, ReplyReader, Round
from quanta_pipelines.adapters.price_vendors.replies import Reply, Request
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.adapters.price_vendors.wire_types import Wire, own_ticker
from quanta_pipelines.protocol.params import QUANTA, MarketDataParams

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
RowT = TypeVar("RowT", bound=Wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One session of one ticker, on the vendor's basis; NaN is unknown, a NaN close is no row.

    ``adjusted_close`` is what the vendor makes of the close for later splits and dividends.
    """

    session: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float = np.nan
    dividend: float
    split: float
    adjusted_close: float = np.nan


@dataclass(frozen=True, slots=True)
class Days:
    """The sessions of one ticker; ``fetched_at`` is that of the latest reply they rest on."""

    rows: list[Day]
    basis: str
    fetched_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The newest price of one ticker; NaN is unknown."""

    ticker: str
    at: datetime
    price: float
    bid: float = np.nan
    ask: float = np.nan
    volume: float = np.nan
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class QuoteSheet:
    """The newest prices that one reply holds, and the tickers whose rows are wrong or missing."""

    quotes: list[Quote]
    losses: list[Loss]


@dataclass(frozen=True, slots=True)
class Reading:
    """How one round's questions are answered: by whom, and by how old a reply at most."""

    reader: ReplyReader
    fetch: Callable[[Request], Reply]
    freshness: Freshness

    def read(self, request: Request, parse: Callable[[Reply], T]) -> Answer[T]:
        """What the reply says; raises ``VendorError``."""
        return self.reader.read(request, self.fetch, parse, self.freshness)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedVendor(ABC):
    """A vendor with a watch list, whose replies are kept."""

    name: str
    symbols: SymbolMap
    watch_list: tuple[str, ...]
    reader: ReplyReader
    fetch: Callable[[Request], Reply]
    rules: MarketDataParams = QUANTA.market_data
    workers: int = 4  # questions under way at once
    batch: int = 100  # tickers in one question for live prices

    @abstractmethod
    def ask_days(self, ticker: str, first: date, last: date, reading: Reading) -> Days:
        """The sessions of one ticker; raises ``VendorError``."""

    @abstractmethod
    def ask_quotes(self, tickers: Sequence[str], reading: Reading) -> QuoteSheet:
        """The newest prices of up to ``batch`` tickers; raises ``VendorError``."""

    def tickers(self) -> tuple[str, ...]:
        """The watch list, sorted."""
        return tuple(sorted(set(self.watch_list)))

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """As ``PriceVendor`` says; what was lost is logged."""
        return self.ask(tickers, first, last).rows

    def ask(
        self,
        tickers: Sequence[str],
        first: date,
        last: date,
        *,
        since: datetime | None = None,
        refetch: bool = False,
    ) -> Outcome:
        """As ``ArchivedVendor`` says."""
        ttl = timedelta(seconds=self.rules.historical_cache_ttl_seconds)
        reading = Reading(self.reader, self.fetch, Freshness(ttl, since, refetch))

        def one(ticker: str) -> pd.DataFrame:
            return self._rows(ticker, self.ask_days(ticker, first, last, reading))

        wanted = sorted(set(tickers))
        found, losses = Round().ask_each(wanted, one, workers=self.workers)
        self._report(losses, len(wanted))
        filled = [rows for rows in found if not rows.empty]
        rows = pd.concat(filled, ignore_index=True) if filled else observations(pd.DataFrame())
        return Outcome(self.name, rows, losses)

    def from_archive(self) -> "AskedVendor":
        """As ``ArchivedVendor`` says."""
        return replace(self, reader=replace(self.reader, cache=NoCache()), fetch=_not_kept)

    def quotes(self, tickers: Sequence[str]) -> pd.DataFrame:
        """As ``QuoteVendor`` says."""
        ttl = timedelta(seconds=self.rules.price_cache_ttl_seconds)
        reading = Reading(self.reader, self.fetch, Freshness(ttl))
        wanted, losses = self._known(tickers)
        batches = {
            wanted[start]: wanted[start : start + self.batch]
            for start in range(0, len(wanted), self.batch)
        }
        sheets, lost = Round().ask_each(
            list(batches), lambda key: self.ask_quotes(batches[key], reading), workers=self.workers
        )
        losses += [Loss(ticker, loss.reason) for loss in lost for ticker in batches[loss.ticker]]
        losses += [loss for one in sheets for loss in one.losses]
        self._report(tuple(losses), len(set(tickers)))
        rows = [asdict(quote) for one in sheets for quote in one.quotes]
        return quotes(pd.DataFrame(rows).assign(vendor=self.name))

    def _rows(self, ticker: str, days: Days) -> pd.DataFrame:
        """Rows of ``OBSERVATION_TYPES``, oldest first."""
        lost = [
            day for day in days.rows if np.isnan(day.close) and (day.dividend or day.split != 1)
        ]
        if lost:
            raise ReplyRefused(f"{lost[0].session} has a dividend or a split but no close")
        rows = [asdict(day) for day in days.rows if not np.isnan(day.close)]
        frame = pd.DataFrame(rows, columns=list(Day.__dataclass_fields__)).sort_values("session")
        return observations(
            frame.assign(
                vendor=self.name, ticker=ticker, basis=days.basis, fetched_at=days.fetched_at
            )
        )

    def _known(self, tickers: Sequence[str]) -> tuple[list[str], list[Loss]]:
        wanted, losses = [], []
        for ticker in sorted(set(tickers)):
            try:
                self.symbols.symbol(ticker)
                wanted.append(ticker)
            except UnknownSymbol as error:
                losses.append(Loss(ticker, str(error)))
        return wanted, losses

    def _report(self, losses: Sequence[Loss], asked: int) -> None:
        if losses:
            first = losses[0]
            _LOG.warning(
                "%s lost %d of %d tickers, first %s: %s",
                self.name,
                len(losses),
                asked,
                first.ticker,
                first.reason,
            )


def _not_kept(request: Request) -> Reply:
    """Stands where a vendor would be asked."""
    raise ReplyRefused(f"no good reply to {request.path} is kept")


def sheet(
    rows: Sequence[object],
    shape: type[RowT],
    asked: Sequence[str],
    symbols: SymbolMap,
    quote: Callable[[str, RowT], Quote | None],
    *,
    named: str = "ticker",
) -> QuoteSheet:
    """Rows of live prices, each on its own: one that is wrong loses its ticker alone.

    ``named`` is the field that holds the symbol. A ticker without a row, or whose row has no price
    (``quote`` gives ``None``), is lost too. A row that is nobody's, or another's, or a second one
    refuses the whole reply.
    """
    found = _by_ticker(rows, asked, symbols, named)
    good: list[Quote] = []
    lost = dict.fromkeys(set(asked) - set(found), "no row in the reply")
    for ticker, row in sorted(found.items()):
        try:
            price = quote(ticker, shape.model_validate_json(json.dumps(row)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            lost[ticker] = f"{place}: {first['msg']}"
        except VendorError as error:
            lost[ticker] = str(error)
        else:
            if price is None:
                lost[ticker] = "no price in the reply"
            else:
                good.append(price)
    return QuoteSheet(good, [Loss(ticker, reason) for ticker, reason in sorted(lost.items())])


def _by_ticker(
    rows: Sequence[object], asked: Sequence[str], symbols: SymbolMap, named: str
) -> dict[str, object]:
    """The row of each ticker; raises ``ReplyRefused`` for one that is nobody's or a second one."""
    found: dict[str, object] = {}
    for row in rows:
        symbol = row.get(named) if isinstance(row, dict) else None
        if not isinstance(symbol, str):
            raise ReplyRefused("a row of live prices names no ticker")
        ticker = own_ticker(symbol, symbols, asked)
        if ticker in found:
            raise ReplyRefused(f"{ticker} comes twice")
        found[ticker] = row
    return found
