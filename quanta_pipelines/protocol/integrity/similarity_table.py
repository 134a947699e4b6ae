"""Table ``PortfolioSimilarity``: every pair over a threshold, with the numbers behind it.

Rows measured by ``returns`` are pairs whose active returns move alike, or against each other, up to
the epoch's last session. Rows measured by ``holdings`` are the copies of a suspected pair.
"""

from itertools import starmap

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.integrity.epoch_view import EpochView, epochs_named
from quanta_pipelines.protocol.integrity.holdings import UNITS, shared_units
from quanta_pipelines.protocol.integrity.ordered import rounded
from quanta_pipelines.protocol.integrity.plagiarism import (
    overlap_log10_chance,
    plagiarism_evidence,
)
from quanta_pipelines.protocol.integrity.precedence import first_epochs
from quanta_pipelines.protocol.integrity.similarity import Pairs, correlated_pairs
from quanta_pipelines.protocol.metrics import IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

RETURNS, HOLDINGS = "returns", "holdings"

SIMILARITY_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "other_hotkey": "object",
    "measure": "object",
    "held_epoch": "object",
    "lag": "int64",
    "correlation": "float64",
    "correlation_threshold": "float64",
    "sessions": "int64",
    "first_session": "datetime64[ns]",
    "last_session": "datetime64[ns]",
    "shared_tickers": "int64",
    "overlap": "float64",
    "overlap_threshold": "float64",
    "shared_weight": "float64",
    "shared_weight_threshold": "float64",
    "tickers_in_use": "int64",
    "log10_chance": "float64",
    "log10_chance_threshold": "float64",
    "suspect_epochs": "int64",
    "since_epoch": "object",
    "other_since_epoch": "object",
    "earlier_hotkey": "object",
}
KEY = ["hotkey", "other_hotkey", "measure", "held_epoch", "lag"]


def similarity_table(view: EpochView, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """One row per pair, measure, portfolio and lag that is over a threshold, in key order.

    ``hotkey`` is the later one where it is known who was first. ``since_epoch`` is the first epoch
    in which ``hotkey`` committed what ``other_hotkey`` holds now, ``other_since_epoch`` the other
    way round; empty where that is no claim (``precedence.first_epochs``).
    """
    tables = [
        table for table in (_by_returns(view, params), _by_holdings(view, params)) if len(table)
    ]
    if not tables:
        return pd.DataFrame(columns=list(SIMILARITY_COLUMNS)).astype(SIMILARITY_COLUMNS)
    table = pd.concat(tables).assign(
        epoch_id=view.epoch.id,
        overlap_threshold=float(params.security.ticker_overlap_threshold),
        shared_weight_threshold=float(params.security.plagiarism_shared_weight),
        log10_chance_threshold=float(rounded(np.log10(params.security.plagiarism_chance))),
    )
    table = table[list(SIMILARITY_COLUMNS)].astype(SIMILARITY_COLUMNS)
    return table.sort_values(KEY, ignore_index=True)


def _by_returns(view: EpochView, params: ProtocolParams) -> pd.DataFrame:
    """Pairs with a correlation of at least 0.70, or of at most -0.95."""
    above = params.scoring.originality_correlation_threshold
    below = -params.security.sybil_correlation
    pairs = correlated_pairs(view.active.values, above=above, below=below, params=params)
    holdings = view.holdings
    since = first_epochs(holdings, pairs.first, pairs.second, params)
    other_since = first_epochs(holdings, pairs.second, pairs.first, params)
    later = other_since < since  # the second one was first, so the first one is later
    i, j = np.where(later | (since == other_since), (pairs.first, pairs.second), _swapped(pairs))
    own, others = np.where(i == pairs.first, (since, other_since), (other_since, since))
    known = np.minimum(view.active.sessions[i], view.active.sessions[j])
    window = view.sessions[view.active.columns]
    names = holdings.hotkeys.to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "hotkey": names[i],
            "other_hotkey": names[j],
            "measure": RETURNS,
            "held_epoch": view.epoch.id,
            "lag": 0,
            "correlation": pairs.correlation,
            "correlation_threshold": np.where(pairs.correlation > 0, above, below),
            "sessions": known,
            "first_session": window[len(window) - known],
            "last_session": window[np.full(len(known), -1)],
            **_overlaps(view, i, j, params),
            "suspect_epochs": 0,
            **_who_was_first(view, i, j, own, others),
        }
    )


def _swapped(pairs: Pairs) -> tuple[IntArray, IntArray]:
    return pairs.second, pairs.first


def _overlaps(
    view: EpochView, i: IntArray, j: IntArray, params: ProtocolParams
) -> dict[str, object]:
    """What the portfolios of this epoch share; a miner without one shares nothing."""
    units, held = view.holdings.units[-1], view.holdings.held(-1, params)
    sizes = np.diff(held.indptr).astype(np.int64)
    shared = shared_units(held, held, i, j)
    smaller = np.minimum(sizes[i], sizes[j])
    in_use = len(np.unique(held.indices))
    return {
        "shared_tickers": shared,
        "overlap": rounded(shared / np.maximum(smaller, 1)),
        "shared_weight": shared_units(units, units, i, j) / UNITS,
        "tickers_in_use": in_use,
        "log10_chance": overlap_log10_chance(
            np.full(len(i), in_use, dtype=np.int64), sizes[i], sizes[j], shared
        ),
    }


def _who_was_first(
    view: EpochView, i: IntArray, j: IntArray, own: IntArray, others: IntArray
) -> dict[str, object]:
    names = view.holdings.hotkeys.to_numpy(dtype=object)
    earlier = np.full(len(i), None, dtype=object)
    earlier[own < others], earlier[others < own] = names[i[own < others]], names[j[others < own]]
    return {
        "since_epoch": pd.Series(epochs_named(view.holdings, own.tolist()), dtype=object),
        "other_since_epoch": pd.Series(epochs_named(view.holdings, others.tolist()), dtype=object),
        "earlier_hotkey": pd.Series(earlier, dtype=object),
    }


def _by_holdings(view: EpochView, params: ProtocolParams) -> pd.DataFrame:
    """Copies of suspected pairs: each epoch of the window, each lag."""
    found = plagiarism_evidence(view.holdings, params)
    if found.empty:
        return found
    i, j = (
        view.hotkeys.get_indexer(pd.Index(found[name])) for name in ("hotkey", "earlier_hotkey")
    )
    pair = i.astype(np.int64), j.astype(np.int64)
    since, other_since = starmap(
        lambda one, other: first_epochs(view.holdings, one, other, params), (pair, pair[::-1])
    )
    return pd.DataFrame(
        {
            "hotkey": found["hotkey"],
            "other_hotkey": found["earlier_hotkey"],
            "measure": HOLDINGS,
            "held_epoch": found["epoch_id"],
            "lag": found["lag"],
            "correlation": np.nan,
            "correlation_threshold": np.nan,
            "sessions": 0,
            "first_session": pd.NaT,
            "last_session": pd.NaT,
            "shared_tickers": found["shared_tickers"],
            "overlap": found["overlap"],
            "shared_weight": found["shared_weight"],
            "tickers_in_use": found["tickers_in_use"],
            "log10_chance": found["log10_chance"],
            "suspect_epochs": found["suspect_epochs"],
            "since_epoch": epochs_named(view.holdings, since.tolist()),
            "other_since_epoch": epochs_named(view.holdings, other_since.tolist()),
            # Inside one epoch the earlier commitment was first
            "earlier_hotkey": found["earlier_hotkey"],
        }
    )
