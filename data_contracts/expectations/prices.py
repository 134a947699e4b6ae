"""The Great Expectations suite on one epoch's prices."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from data_contracts.expectations.epoch_profile import EpochProfile, epoch_profile
from data_contracts.expectations.limits import STATISTICS, Limits, limits_of
from data_contracts.expectations.suite import Place, Quality, judge_table

PRICES = Place(suite="validated_prices", source="lake", batch="prices")


def epoch_limits(profile: EpochProfile, trailing: Sequence[EpochProfile]) -> list[Limits]:
    """Limits of every statistic that is judged.

    Volumes are not where no vendor reports one; that they are missing where they used to be known
    is a statistic of its own.
    """
    return [
        limits_of(statistic, trailing)
        for name, statistic in STATISTICS.items()
        if name != "volume" or profile.volume_known > 0.0
    ]


def judge(
    cells: pd.DataFrame,
    trailing: Sequence[EpochProfile],
    *,
    epoch_id: str,
    closes_at: datetime,
    folder: str,
) -> Quality:
    """Run the suite on an epoch's ``price_cells`` and put its page into the Data Docs.

    ``trailing`` are the profiles of earlier epochs, oldest first; ``folder`` is the folder of the
    Data Docs, which keeps one page an epoch. Raises what Great Expectations raises.
    """
    return judge_table(
        cells,
        epoch_limits(epoch_profile(cells, epoch_id), trailing),
        [earlier.epoch_id for earlier in trailing],
        place=PRICES,
        epoch_id=epoch_id,
        closes_at=closes_at,
        folder=folder,
    )
