"""Table ``CommittedPortfolios``: what was committed in a quarter so far, in one place.

Who was first is decided by every portfolio since the first epoch. An epoch's table holds all of
its quarter until then, so all that was ever committed before an epoch is the last table of each
quarter until then.
"""

from itertools import pairwise

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput

POSITION_COLUMNS = {
    "held_epoch": "object",
    "hotkey": "object",
    "ticker": "object",
    "weight": "float64",
    "committed_at": "datetime64[ns, UTC]",
}
COMMITTED_COLUMNS = {"epoch_id": "object"} | POSITION_COLUMNS
_KEY = ["held_epoch", "hotkey", "ticker"]


def committed_positions(portfolios: pd.DataFrame) -> pd.DataFrame:
    """The positions of ``Portfolios`` that were committed in their epoch; it may be of several.

    A portfolio that only fills an epoch was not.
    """
    own = portfolios[portfolios["filled_epochs"] == 0].rename(columns={"epoch_id": "held_epoch"})
    return own[list(POSITION_COLUMNS)].reset_index(drop=True)


def committed_table(
    portfolios: pd.DataFrame, previous: pd.DataFrame | None, *, epoch_id: str
) -> pd.DataFrame:
    """The table of an epoch from its portfolios and the table of the epoch before.

    ``previous`` is left out at the start of a quarter, and nothing at the start of all. One row per
    portfolio and ticker, by epoch, hotkey and ticker.
    """
    parts = [committed_positions(portfolios)]
    if previous is not None and not starts_quarter(Epoch.parse(epoch_id)):
        parts.append(previous[list(POSITION_COLUMNS)])
    table = pd.concat(parts).assign(epoch_id=epoch_id)[list(COMMITTED_COLUMNS)]
    table = table.sort_values(_KEY, ignore_index=True).astype(COMMITTED_COLUMNS)
    if (late := table.loc[table["held_epoch"] > epoch_id, "held_epoch"]).size:
        raise InvalidIntegrityInput(f"{late.iloc[0]} was not committed by {epoch_id}")
    return table


def starts_quarter(epoch: Epoch) -> bool:
    """Whether an epoch is the first of its quarter."""
    return epoch.previous().quarter != epoch.quarter


def ends_of_quarters(first: Epoch, epoch: Epoch) -> tuple[Epoch, ...]:
    """The last epoch before ``epoch`` of each quarter since ``first``, oldest first."""
    if first >= epoch:
        return ()
    weeks = pairwise(Epoch.range(first, epoch))
    return tuple(week for week, after in weeks if after == epoch or starts_quarter(after))


def all_positions(earlier: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Positions of earlier quarters and of this one, texts as categories.

    A history of years says the same few texts over and over.
    """
    columns = {}
    for name, kind in POSITION_COLUMNS.items():
        parts = [earlier[name], now[name]]
        if kind == "object":
            texts = [part.astype("category") for part in parts]
            columns[name] = pd.Series(pd.api.types.union_categoricals(texts))
        else:
            columns[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns)
