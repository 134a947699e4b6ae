"""Sybil clusters: miners that are one hand hold one rank position.

What a cluster's identities must stake, and what an identity is worth, lives in ``identity``.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.similarity import (
    Pairs,
    Strongest,
    collected,
    correlated_blocks,
)
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which miners are one hand, and why; an array is ``[p]``."""

    cluster: IntArray  # number of the cluster, in the order of the miners
    size: IntArray  # identities in the miner's cluster, 1 for one on its own
    holds_position: BoolArray  # the one member that is ranked
    strongest: IntArray  # the miner with the largest correlation over the threshold, -1: none
    correlation: FloatArray  # with it; NaN without one
    same_coldkey: BoolArray  # another miner has the same coldkey
    opposites: Pairs  # correlation at or below minus the threshold: a case, and no cluster


def require_before_opening(sessions: Collection[dt.date], epoch: Epoch) -> None:
    """Refuses sessions that end after ``opens_at``: clusters are fixed from earlier data."""
    late = sorted(session for session in sessions if session > epoch.entry_session)
    if late:
        raise InvalidIntegrityInput(
            f"clusters of {epoch.id} rest on sessions up to {epoch.entry_session}, not on {late[0]}"
        )


def clusters(
    active_returns: FloatArray,
    coldkeys: Sequence[str],
    first_committed_at: IntArray,
    hotkeys: Sequence[str],
    params: ProtocolParams = QUANTA,
) -> Clusters:
    """Connected components of miners with one coldkey or a correlation of at least 0.95.

    ``active_returns`` is ``[p, n]`` of sessions before ``opens_at``; a pair is compared when both
    have 30. Of a cluster the member whose first commitment ever came first holds the position
    (ties: hotkey). Memory grows with the number of miners, not of pairs, but for ``opposites``.
    """
    known = np.asarray(active_returns, dtype=np.float64)
    if not len(known) == len(coldkeys) == len(first_committed_at) == len(hotkeys):
        raise InvalidIntegrityInput(
            f"{len(known)} rows of returns, {len(coldkeys)} coldkeys, {len(first_committed_at)} "
            f"commitments and {len(hotkeys)} hotkeys are not of the same miners"
        )
    owner = pd.factorize(pd.Index(list(coldkeys), dtype=object))[0].astype(np.int64)
    label, strongest, opposites = owner, Strongest(len(known)), list[Pairs]()
    least = params.security.sybil_correlation
    blocks = correlated_blocks(
        known,
        above=least,
        below=-least,
        least_sessions=params.security.active_sessions,
        params=params,
    )
    for pairs in blocks:
        alike = pairs.correlation >= least
        linked = pairs.chosen(alike)
        label = _joined(label, linked.first, linked.second)
        strongest.see(linked.first, linked.second, linked.correlation)
        strongest.see(linked.second, linked.first, linked.correlation)
        opposites.append(pairs.chosen(~alike))
    cluster = pd.factorize(label)[0].astype(np.int64)
    return Clusters(
        cluster=cluster,
        size=_size_of(cluster),
        holds_position=_earliest(cluster, first_committed_at, hotkeys),
        strongest=strongest.other,
        correlation=np.where(strongest.other >= 0, strongest.correlation, np.nan),
        same_coldkey=_size_of(owner) > 1,
        opposites=collected(opposites),
    )


def cluster_evidence(
    found: Clusters,
    hotkeys: Sequence[str],
    coldkeys: Sequence[str],
    sessions: Sequence[dt.date],
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per link of a cluster member: its coldkey, or the miner that is most alike.

    ``sessions`` are those of the active returns; numbers stand where the link is a correlation.
    """
    names = np.array(list(hotkeys), dtype=object)
    holder = np.empty(len(names), dtype=object)
    holder[found.cluster[found.holds_position]] = names[found.holds_position]
    owned = np.flatnonzero(found.same_coldkey)
    alike = np.flatnonzero(found.strongest >= 0)
    rows = np.concatenate([alike, owned])
    by_return = np.arange(len(rows)) < len(alike)
    ends = (sessions[0], sessions[-1]) if len(sessions) else (None, None)
    others = [*names[found.strongest[alike]], *(coldkeys[int(at)] for at in owned)]
    table = pd.DataFrame(
        {
            "hotkey": names[rows],
            "cluster_holder": holder[found.cluster[rows]],
            "cluster_size": found.size[rows],
            "link": np.where(by_return, "correlation", "coldkey"),
            "other": pd.Series(others, dtype=object),
            "correlation": np.where(by_return, found.correlation[rows], np.nan),
            "threshold": np.where(by_return, params.security.sybil_correlation, np.nan),
            "first_session": pd.Series(ends[0], index=range(len(rows))).where(by_return),
            "last_session": pd.Series(ends[1], index=range(len(rows))).where(by_return),
        }
    )
    return table.sort_values(["hotkey", "link"], ignore_index=True)


def forfeits(
    final_score: FloatArray,
    cluster_member: BoolArray,
    ranked_scores: FloatArray,
    in_penalty_band: BoolArray,
) -> BoolArray:
    """Cluster members without the position whose score lies below the penalty cut: ``[p]``.

    The cut is the lowest score of a ranked miner that is not in the penalty band; without one,
    everybody ranked is penalised and every such member forfeits. Without a ranked miner, or a score
    of its own (NaN), nobody does.
    """
    given = np.asarray(final_score, dtype=np.float64)
    if not len(ranked_scores):
        return np.zeros(len(given), dtype=bool)
    above = np.asarray(ranked_scores)[~np.asarray(in_penalty_band, dtype=bool)]
    cut = above.min() if above.size else np.inf
    return np.asarray(cluster_member, dtype=bool) & (given < cut)


def _joined(label: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """Labels after joining the components of the pairs."""
    if not len(first):
        return label
    n = int(label.max()) + 1
    edges = (np.ones(len(first), dtype=np.int8), (label[first], label[second]))
    graph = sparse.coo_array(edges, shape=(n, n))
    component: npt.NDArray[np.int32] = csgraph.connected_components(graph, directed=False)[1]
    return component[label].astype(np.int64)


def _size_of(cluster: IntArray) -> IntArray:
    return np.bincount(cluster)[cluster].astype(np.int64) if len(cluster) else cluster


def _earliest(cluster: IntArray, committed_at: IntArray, hotkeys: Sequence[str]) -> BoolArray:
    """The first member of each cluster by first commitment, then hotkey."""
    names = np.unique(np.array(list(hotkeys), dtype=object), return_inverse=True)[1]
    order = np.lexsort((names, np.asarray(committed_at, dtype=np.int64), cluster))
    first = np.ones(len(order), dtype=bool)
    first[1:] = cluster[order][1:] != cluster[order][:-1]
    holds = np.zeros(len(order), dtype=bool)
    holds[order[first]] = True
    return holds
