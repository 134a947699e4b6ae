"""One miner's record and portfolio, from the tables of the last settled epoch.

Who may see what: the owner its newest accepted portfolio, exact; others the last settled one, in
buckets, and only once that epoch's sessions are over.
"""

import datetime as dt
from typing import Any

import pandas as pd

from quanta_pipelines.adapters.published_marts import Publication
from quanta_pipelines.api.boards import number, tier_of
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.responses import (
    Bucket,
    HeldPortfolio,
    Holding,
    MinerResponse,
    TrackRecord,
)
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import UnknownSessions

BUCKETS: tuple[tuple[float, Bucket], ...] = ((0.05, "0-5%"), (0.10, "5-10%"), (0.15, "10-15%"))
_LIVE = 3  # epochs that may be open at one moment: two windows overlap, one settles


def miner_record(services: Services, hotkey: str, *, is_owner: bool) -> MinerResponse:
    """The record of a miner; raises ``unknown_miner`` where the last settled epoch has none."""
    publication = services.publication()
    epoch_id = publication.settled[-1]
    paid = _of(services.table("rewards", epoch_id), hotkey)
    if paid.empty:
        raise Problem("unknown_miner", f"{hotkey} took no part in {epoch_id}")
    scored = _of(services.table("scores", epoch_id), hotkey)
    row = paid.iloc[0]
    past = _of(publication.leaderboard, hotkey).tail(1)
    return MinerResponse(
        miner_hotkey=hotkey,
        epoch_id=epoch_id,
        standing=row["standing"],
        reason=row["reason"],
        current_rank=None if pd.isna(row["rank"]) else int(row["rank"]),
        current_score=number(scored["composite"].iloc[0]) if len(scored) else None,
        performance_tier=tier_of(row["tier"]),
        epochs_participated=int(past["epochs_participated"].iloc[0]) if len(past) else 0,
        avg_rank_percentile=number(past["average_percentile"].iloc[0]) if len(past) else None,
        track_record=_track_record(services, epoch_id, hotkey),
        portfolio=_portfolio(services, publication, hotkey, is_owner=is_owner),
    )


def bucket(weight: float) -> Bucket:
    """The span a weight lies in, its upper end included."""
    return next((name for upper, name in BUCKETS if weight <= upper), "15-20%")


def _track_record(services: Services, epoch_id: str, hotkey: str) -> TrackRecord:
    measured = _of(services.table("horizon_metrics", epoch_id), hotkey).set_index("horizon")

    def value(horizon: int, name: str) -> float | None:
        return number(measured.loc[horizon, name]) if horizon in measured.index else None

    return TrackRecord(
        return_7d=value(7, "total_return"),
        return_30d=value(30, "total_return"),
        return_90d=value(90, "total_return"),
        sharpe_30d=value(30, "sharpe_ratio"),
        sortino_30d=value(30, "sortino_ratio"),
        max_drawdown_30d=value(30, "max_drawdown"),
    )


def _portfolio(
    services: Services, publication: Publication, hotkey: str, *, is_owner: bool
) -> HeldPortfolio:
    if is_owner and (own := _newest(services, hotkey)) is not None:
        return own
    epoch_id = publication.settled[-1]
    held = _of(services.table("portfolios", epoch_id), hotkey)
    if held.empty or services.now() < Epoch.parse(epoch_id).closes_at:
        return HeldPortfolio(epoch_id=None, positions=[], last_updated=None)
    return HeldPortfolio(
        epoch_id=epoch_id,
        positions=[
            _holding(ticker, weight, is_owner=is_owner)
            for ticker, weight in zip(held["ticker"], held["submitted_weight"], strict=True)
        ],
        last_updated=held["committed_at"].max(),
    )


def _newest(services: Services, hotkey: str) -> HeldPortfolio | None:
    """The owner's accepted portfolio of an epoch that is not settled yet, if there is one."""
    for epoch in _open_epochs(services.now()):
        reveals = _of(services.store.reveals(epoch.id), hotkey)
        accepted = reveals[reveals["verdict"] == "accepted"]
        if len(accepted):
            row = accepted.iloc[0]
            parts = (part.split(":") for part in row["positions"].split("|"))
            positions = [_holding(name, float(weight), is_owner=True) for name, weight in parts]
            return HeldPortfolio(
                epoch_id=epoch.id, positions=positions, last_updated=row["received_at"]
            )
    return None


def _open_epochs(now: dt.datetime) -> list[Epoch]:
    """Epochs around a moment, the newest first; none outside the table of sessions."""
    newest = Epoch.containing(now.date()).next()
    try:
        newest.opens_at  # noqa: B018 - outside the table this raises
    except UnknownSessions:
        return []
    epochs = [newest]
    while len(epochs) < _LIVE:
        epochs.append(epochs[-1].previous())
    return epochs


def _holding(ticker: str, weight: float, *, is_owner: bool) -> Holding:
    shown = f"{weight:.6f}" if is_owner else None
    return Holding(ticker=ticker, weight=shown, bucket=bucket(weight))


def _of(table: pd.DataFrame, hotkey: str) -> Any:
    return table[table["hotkey"] == hotkey]
