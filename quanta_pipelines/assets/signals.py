"""Stage signals: what miners committed, what they revealed, and what they therefore hold."""

import pandas as pd

from data_contracts.signals import Commitments, CommittedPortfolios, Portfolios, Reveals
from quanta_pipelines.contract_type import Frames, epoch_asset
from quanta_pipelines.protocol import integrity, portfolio
from quanta_pipelines.protocol.epoch import reveals_close
from quanta_pipelines.resources import EpochRun


@epoch_asset(Commitments, due=reveals_close)
def commitments(run: EpochRun) -> pd.DataFrame:
    """Takes the commitments that stood when the window closed from the signal store."""
    return run.platform.store.commitments(run.id)


@epoch_asset(Reveals, due=reveals_close)
def reveals(run: EpochRun) -> pd.DataFrame:
    """Takes every reveal with the intake's verdict from the signal store."""
    return run.platform.store.reveals(run.id)


@epoch_asset(Portfolios, CommittedPortfolios, due=reveals_close)
def portfolios(run: EpochRun, commitments: pd.DataFrame, reveals: pd.DataFrame) -> Frames:
    """Holds each accepted portfolio, and the last one of a miner that sent none.

    What was committed is kept once more for the whole quarter: who was first is asked of all years.
    """
    held = portfolio.standing_portfolios(
        portfolio.accepted_positions(reveals, commitments),
        run.previous("portfolios", Portfolios.gates()),
        epoch=run.epoch,
        params=run.params,
    )
    before = None
    if not integrity.starts_quarter(run.epoch):
        before = run.previous("committed_portfolios", CommittedPortfolios.gates(), chained=True)
    return {
        "portfolios": held,
        "committed_portfolios": integrity.committed_table(held, before, epoch_id=run.id),
    }
