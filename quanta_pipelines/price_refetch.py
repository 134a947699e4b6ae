"""Raw prices that a new run would read: archived replies that are newer than the published table.

A vendor that is asked again may have restated a price. Its reply is kept beside the earlier ones
and counts in the next run; until then the published table rests on the earlier ones.
"""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from data_contracts.market_data import RawPrices
from quanta_pipelines.adapters.price_vendors import (
    ArchivedVendor,
    Outcome,
    PriceVendor,
    ask_vendors,
)
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform

_SERIES = ["vendor", "ticker"]  # what one question is about


def refetch(platform: Platform, epoch: Epoch) -> tuple[Outcome, ...]:
    """Ask every vendor again for what ``epoch`` looks at; replies are kept, no table is written."""
    return replace(platform, refetch=True).ask_vendors(epoch)


def newer_replies(platform: Platform) -> Callable[[Epoch], pd.DataFrame | None]:
    """For an epoch: its published raw prices with newer kept replies in their place, or None.

    A reply counts where it is good and the latest that its vendor's rows of a ticker rest on was
    fetched after those published, or where none are published. No vendor is asked. Rows of vendors
    that keep no replies stay as they are published.
    """

    def candidate(epoch: Epoch) -> pd.DataFrame | None:
        published = platform.lake.read("raw_prices", epoch.id, gates=RawPrices.gates())
        kept = _kept_rows(platform, epoch)
        newer = _newer(published, kept)
        if newer.empty:
            return None
        stays = published[~pd.MultiIndex.from_frame(published[_SERIES]).isin(newer)]
        comes = kept[pd.MultiIndex.from_frame(kept[_SERIES]).isin(newer)]
        rows = pd.concat([part for part in (stays, comes) if not part.empty], ignore_index=True)
        rows = rows.assign(epoch_id=epoch.id, asked=_asked(published, kept))
        return rows[list(published.columns)].sort_values([*_SERIES, "session"], ignore_index=True)

    return candidate


def _kept_rows(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    """What the archive alone answers for an epoch; raises nothing where it answers nothing."""
    offline: tuple[PriceVendor, ...] = tuple(
        vendor.from_archive() for vendor in platform.vendors if isinstance(vendor, ArchivedVendor)
    )
    outcomes = ask_vendors(offline, epoch, platform.params)
    found = [outcome.rows for outcome in outcomes if not outcome.rows.empty]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _newer(published: pd.DataFrame, kept: pd.DataFrame) -> pd.Index:
    """Vendors and tickers whose kept rows were fetched after the published ones."""
    if kept.empty:
        return pd.MultiIndex.from_arrays([[], []], names=_SERIES)
    before = published.groupby(_SERIES)["fetched_at"].max()
    now = kept.groupby(_SERIES)["fetched_at"].max()
    known = before.reindex(now.index)
    return now.index[known.isna() | (now > known)]


def _asked(published: pd.DataFrame, kept: pd.DataFrame) -> str:
    """Who was asked for the published table, and whoever answers since."""
    names = {name for told in published["asked"].unique() for name in told.split(",")}
    return ",".join(sorted(names | set(kept["vendor"])))
