"""The one partition definition of the platform: a key is an epoch's id, text order is time order.

Keys are static, from the configured first epoch to the end of the quarter after the current one;
a quarter cannot be said in a time-window format, and dynamic keys would live in one machine's
database instead of in the code.
"""

import warnings
from datetime import UTC, datetime

import dagster as dg

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings

# Checks with partitions are what records a gate per epoch; Dagster 1.13 calls them a preview, and
# the graph's tests run them on the pinned version.
warnings.filterwarnings("ignore", "Specifying a partitions_def", category=dg.PreviewWarning)


def epoch_ids(first: Epoch, today: datetime) -> list[str]:
    """Ids from the first epoch to the end of the quarter after today's."""
    last = Epoch.containing(today.date())
    turns = 0
    while turns < 2:
        following = last.next()
        turns += following.quarter != last.quarter
        last = following if turns < 2 else last
    return [epoch.id for epoch in Epoch.range(first, last)]


EPOCHS = dg.StaticPartitionsDefinition(epoch_ids(current_settings().genesis, datetime.now(UTC)))
