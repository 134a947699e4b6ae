"""Tickers as the protocol writes them and as vendors do: BRK.B is BRK-B at Tiingo and Yahoo."""

import re
from dataclasses import dataclass

from quanta_pipelines.adapters.price_vendors.errors import UnknownSymbol

_TICKER = re.compile(r"([A-Z]{1,5})(?:\.([A-Z]{1,2}))?")


@dataclass(frozen=True, slots=True)
class SymbolMap:
    """One vendor's spelling: what stands between a stock and its share class."""

    vendor: str
    separator: str

    def symbol(self, ticker: str) -> str:
        """The vendor's symbol of a ticker; raises ``UnknownSymbol``.

        >>> SymbolMap("tiingo", "-").symbol("BRK.B")
        'BRK-B'
        """
        match = _TICKER.fullmatch(ticker)
        if match is None:
            raise UnknownSymbol(f"{ticker!r} is no ticker of the form {_TICKER.pattern}")
        return match[1] if match[2] is None else f"{match[1]}{self.separator}{match[2]}"

    def ticker(self, symbol: str) -> str:
        """The ticker of a vendor's symbol, in any case; raises ``UnknownSymbol``.

        >>> SymbolMap("tiingo", "-").ticker("brk-b")
        'BRK.B'
        """
        stock, separator, share_class = symbol.upper().partition(self.separator)
        ticker = f"{stock}.{share_class}" if separator else stock
        if "." in stock or _TICKER.fullmatch(ticker) is None:
            raise UnknownSymbol(f"{self.vendor} symbol {symbol!r} is no ticker")
        return ticker
