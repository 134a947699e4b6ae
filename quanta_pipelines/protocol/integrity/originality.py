"""Originality: how little a miner's active return is that of an earlier one.

Only the later one of a pair pays; who that is says ``precedence``.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.active_returns import ActiveReturns
from quanta_pipelines.protocol.integrity.holdings import Holdings
from quanta_pipelines.protocol.integrity.ordered import rounded
from quanta_pipelines.protocol.integrity.precedence import FIRST, SECOND, precedence
from quanta_pipelines.protocol.integrity.similarity import (
    Strongest,
    correlated_blocks,
    together,
)
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def originality(
    active_returns: FloatArray, earlier: BoolArray, params: ProtocolParams = QUANTA
) -> FloatArray:
    """``clip((1 - rho) / (1 - 0.70), 0, 1)`` of each miner, 9 decimals: ``[p]``.

    ``active_returns`` is ``[p, n]``, NaN before a history began; ``earlier[i, j]``: j counts as
    earlier than i. rho is the largest correlation with an earlier miner, over the sessions that
    both have (at least 10). 1 where no earlier miner can be compared; NaN for a miner with fewer
    than 10 sessions. A series that does not vary correlates with nobody.
    """
    known, before = np.asarray(active_returns, dtype=np.float64), np.asarray(earlier, dtype=bool)
    if known.ndim != 2 or before.shape != (len(known), len(known)):
        raise InvalidIntegrityInput(
            "active_returns have the shape (miners, sessions) and earlier (miners, miners): not "
            f"{known.shape} and {before.shape}"
        )
    strongest = Strongest(len(known))
    above = params.scoring.originality_correlation_threshold
    for pairs in correlated_blocks(known, above=above, params=params):
        for row, other in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
            counts = before[row, other]
            strongest.see(row[counts], other[counts], pairs.correlation[counts])
    return _factor(strongest.correlation, known, params)


def _factor(rho: FloatArray, active: FloatArray, params: ProtocolParams) -> FloatArray:
    """The factor of each miner; NaN where there are too few sessions to compare."""
    room = 1.0 - params.scoring.originality_correlation_threshold
    factor = rounded(np.clip((1.0 - rho) / room, 0.0, 1.0))
    sessions = np.count_nonzero(~np.isnan(active), axis=1)
    return np.where(sessions < params.security.min_active_sessions, np.nan, factor)


def originality_table(
    active: ActiveReturns,
    holdings: Holdings,
    sessions: pd.DatetimeIndex,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per miner, by its place in ``holdings``: factor, and what it rests on.

    ``sessions`` are those that the active returns were computed from. ``correlation`` and
    ``earlier_hotkey`` are those of the earlier miner that is most alike, both empty where none
    reaches ``threshold``. ``shared_weight`` is the sum of min weights with its last portfolio.
    No table of all pairs is held in memory.
    """
    strongest = Strongest(len(holdings.hotkeys))
    above = params.scoring.originality_correlation_threshold
    for pairs in together(correlated_blocks(active.values, above=above, params=params)):
        found = precedence(holdings, pairs.first, pairs.second, params)
        for who, row, other in (
            (SECOND, pairs.first, pairs.second),
            (FIRST, pairs.second, pairs.first),
        ):
            counts = found == who
            strongest.see(row[counts], other[counts], pairs.correlation[counts])
    paired = strongest.other >= 0
    names = holdings.hotkeys.to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "hotkey": names,
            "originality": _factor(strongest.correlation, active.values, params),
            "correlation": np.where(paired, strongest.correlation, np.nan),
            "threshold": above,
            "earlier_hotkey": np.array([*names, None], dtype=object)[strongest.other],
            **window_columns(active, sessions),
            "reason": active.reasons,
        }
    )


def window_columns(active: ActiveReturns, sessions: pd.DatetimeIndex) -> dict[str, object]:
    """Number, first and last of the sessions that each miner's active returns cover."""
    counted = active.sessions
    window = sessions[active.columns]
    first = pd.Series(pd.NaT, index=range(len(counted)), dtype=sessions.dtype)
    last = first.copy()
    known = counted > 0
    if known.any():
        first[known] = window[len(window) - counted[known]]
        last[known] = window[-1]
    return {"sessions": counted, "first_session": first, "last_session": last}
