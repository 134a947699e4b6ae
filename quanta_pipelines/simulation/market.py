"""The market that a simulated season is played on: what several vendors say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from quanta_pipelines.adapters.price_vendors import PriceVendor


@dataclass(frozen=True, slots=True)
class Market:
    """Several vendors as one: their rows side by side, which the rules settle as an epoch's.

    The column ``asked`` names all of them, so the rule of two holds where one is silent. A
    vendor's error is not caught: a season is not played on half a market.
    """

    vendors: tuple[PriceVendor, ...]
    name: str = "market"

    def tickers(self) -> tuple[str, ...]:
        """What any of the vendors is asked for, sorted."""
        return tuple(sorted({ticker for one in self.vendors for ticker in one.tickers()}))

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """The rows of every vendor, as ``PriceVendor`` says, and who was asked."""
        answers = [vendor.observe(tickers, first, last) for vendor in self.vendors]
        filled = [rows for rows in answers if not rows.empty] or answers[:1]
        asked = ",".join(sorted(vendor.name for vendor in self.vendors))
        return pd.concat(filled, ignore_index=True).assign(asked=asked)
