"""The table ``score_intervals``: how sure each composite of an epoch is.

The resampling lives in ``bootstrap``, the composite itself in ``scoring``.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.bootstrap import intervals
from quanta_pipelines.protocol.horizons import history_sessions, panel_of
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def interval_table(
    history: pd.DataFrame, *, epoch_id: str, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """Table ``ScoreIntervals``: one row per miner of the epoch, with a reason where there is none.

    ``history`` is that of ``horizons.horizon_table``.
    """
    panel = panel_of(history, epoch_id, params)
    lower, upper = intervals(panel.returns, panel.turnover, epoch_id=epoch_id, params=params)
    sessions = history_sessions(panel.returns)
    least = max(params.scoring.min_interval_sessions, min(params.scoring.horizons))
    short = [f"{n} sessions, an interval needs {least}" for n in sessions]
    return pd.DataFrame(
        {
            "epoch_id": np.full(len(panel.hotkeys), epoch_id, dtype=object),
            "hotkey": panel.hotkeys,
            "lower": lower,
            "upper": upper,
            "reason": np.where(np.isnan(lower), np.array(short, dtype=object), ""),
        }
    )
