"""What expectations look at: the price cells of one epoch, and the numbers that describe them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class EpochProfile:
    """One epoch's prices in a few numbers; NaN where there is nothing to compute one from.

    ``median_return`` and ``return_spread`` (standard deviation) are of one session's total return
    over all cells, 0.01 for one percent; ``agreement`` is the share of compared cells whose vendors
    all agree; ``vendors`` the mean number compared per cell; ``volume`` the median of a cell in
    shares; ``volume_known`` and ``settled`` are shares of all cells.
    """

    epoch_id: str
    median_return: float
    return_spread: float
    agreement: float
    vendors: float
    volume: float
    volume_known: float
    tickers: float
    settled: float


def price_cells(validated_prices: pd.DataFrame, raw_prices: pd.DataFrame) -> pd.DataFrame:
    """One row per ticker and session of the epoch: what was settled, and what was said of it.

    ``raw_prices`` may reach back before the epoch; its other rows are left out. ``volume`` is the
    median of the vendors that report one, NaN where none does. ``agreement`` is 1 where all
    vendors that were compared agree, 0 where they do not, NaN where none was compared.
    """
    keys = ["ticker", "session"]
    cells = validated_prices[[*keys, "total_return", "n_vendors", "status"]].copy()
    compared = cells["n_vendors"] > 0
    sources = validated_prices["sources"]
    agreeing = (sources.str.count(",") + 1).where(sources != "", 0)
    cells["agreement"] = (agreeing == cells["n_vendors"]).astype(np.float64).where(compared)
    said = raw_prices[raw_prices["session"].isin(cells["session"].unique())]
    volumes = said.groupby(keys)["volume"].median().rename("volume").reset_index()
    cells = cells.merge(volumes, on=keys, how="left", validate="one_to_one")
    cells["volume_known"] = cells["volume"].notna().astype(np.float64)
    cells["settled"] = (cells["status"] == "settled").astype(np.float64)
    return cells


def epoch_profile(cells: pd.DataFrame, epoch_id: str) -> EpochProfile:
    """The numbers that describe an epoch; ``cells`` is what ``price_cells`` returns."""
    return EpochProfile(
        epoch_id=epoch_id,
        median_return=float(cells["total_return"].median()),
        return_spread=float(cells["total_return"].std()),
        agreement=float(cells["agreement"].mean()),
        vendors=float(cells["n_vendors"].mean()),
        volume=float(cells["volume"].median()),
        volume_known=float(cells["volume_known"].mean()),
        tickers=float(cells["ticker"].nunique()),
        settled=float(cells["settled"].mean()),
    )
