"""What integrity looks at in one epoch: unbroken histories, active returns, committed portfolios.

Two windows end at different moments: originality and variance look at sessions up to the epoch's
last one, clusters at those before it opened. What follows from it lives in ``similarity_table`` and
``flags_table``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.horizons import panel_of
from quanta_pipelines.protocol.integrity.active_returns import ActiveReturns, active_returns
from quanta_pipelines.protocol.integrity.holdings import Holdings, holdings_of
from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


@dataclass(frozen=True, slots=True)
class EpochView:
    """An epoch's miners with a portfolio, by hotkey, and what they did until its end."""

    epoch: Epoch
    holdings: Holdings  # of every epoch so far, this one last
    returns: FloatArray  # [p, n] of unbroken histories, NaN before they began
    sessions: pd.DatetimeIndex  # [n]
    active: ActiveReturns  # up to the last session
    opening: ActiveReturns  # up to the session that opens the epoch
    opening_sessions: pd.DatetimeIndex

    @property
    def hotkeys(self) -> pd.Index:
        """The miners, ``[p]``."""
        return self.holdings.hotkeys


def epoch_view(
    positions: pd.DataFrame,
    portfolio_returns: pd.DataFrame,
    universe: "pd.Series[float]",
    *,
    epoch_id: str,
    holdings: Holdings | None = None,
    params: ProtocolParams = QUANTA,
) -> EpochView:
    """The view of an epoch from its tables and those of the epochs before.

    ``positions`` are all that were committed since the first epoch (``committed_positions``): who
    was first is decided by all of them.
    ``portfolio_returns`` reaches back 30 sessions before the epoch opened, or as far as there are
    any; ``universe`` is ``oracle.universe_returns`` over the same sessions. ``holdings`` may be
    those of an earlier view of the same positions.
    """
    epoch = Epoch.parse(epoch_id)
    panel = panel_of(portfolio_returns, epoch_id, params)
    sessions = pd.DatetimeIndex(np.sort(portfolio_returns["session"].unique()))
    sessions = sessions[-panel.returns.shape[1] :]
    n = len(sessions)
    unused = panel.returns.shape[1] - n  # columns left of the first session
    returns, benchmark = panel.returns[:, unused:], panel.benchmark[unused:]
    of_all = np.asarray(universe.reindex(sessions), dtype=np.float64)
    before = int(sessions.searchsorted(pd.Timestamp(epoch.entry_session), side="right"))
    if holdings is None:
        first = min({*positions["held_epoch"].unique(), epoch_id})
        epoch_ids = [each.id for each in Epoch.range(first, epoch)]
        holdings = holdings_of(positions, list(panel.hotkeys), epoch_ids)
    return EpochView(
        epoch=epoch,
        holdings=holdings,
        returns=returns,
        sessions=sessions,
        active=active_returns(returns, benchmark, of_all, params),
        opening=active_returns(returns[:, :before], benchmark[:before], of_all[:before], params),
        opening_sessions=sessions[:before],
    )


def epochs_named(holdings: Holdings, at: Sequence[int]) -> list[str | None]:
    """Ids of epochs by place; nothing for the place after the last, which means never."""
    names = [*holdings.epoch_ids, None]
    return [names[int(place)] for place in at]
