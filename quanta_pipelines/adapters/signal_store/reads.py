"""The store's history as tables, exactly as their contracts want them."""

from decimal import Decimal

import pandas as pd
from sqlalchemy import Connection, func, select

from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of, typed
from quanta_pipelines.adapters.signal_store.tables import (
    COMMITMENTS,
    REVEALS,
    SNAPSHOT_STAKES,
    SUBMITTED_WEIGHTS,
    WEIGHT_SUBMISSIONS,
)
from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.portfolio import Portfolio, canonical_ticker

_COMMITMENTS = {
    "epoch_id": "object",
    "hotkey": "object",
    "commitment": "object",
    "ante_rao": "int64",
    "received_at": INSTANT,
    "n_replaced": "int64",
}
_REVEALS = {
    "epoch_id": "object",
    "reveal_id": "int64",
    "hotkey": "object",
    "commitment": "object",
    "received_at": INSTANT,
    "verdict": "object",
    "reason": "object",
    "portfolio_hash": "object",
    "positions": "object",
    "secret": "object",
}
_WEIGHTS = {
    "epoch_id": "object",
    "validator": "object",
    "hotkey": "object",
    "weight_units": "int64",
    "composite": "float64",
    "max_drawdown_7d": "float64",
    "max_drawdown_30d": "float64",
    "max_drawdown_90d": "float64",
    "stake_rao": "int64",
    "data_hash": "object",
    "received_at": INSTANT,
}


def commitments(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per miner that committed: its newest commitment."""
    miner = COMMITMENTS.c.hotkey
    ranked = (
        select(
            COMMITMENTS,
            func.max(COMMITMENTS.c.ordinal).over(partition_by=miner).label("newest"),
            (COMMITMENTS.c.ordinal - 1).label("n_replaced"),
        )
        .where(COMMITMENTS.c.epoch_id == epoch_id)
        .subquery()
    )
    standing = select(ranked).where(ranked.c.ordinal == ranked.c.newest)
    return table_of(connection, standing, _COMMITMENTS).sort_values("hotkey", ignore_index=True)


def every_commitment(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per commitment of an epoch in the order of receipt; a miner's last one stands."""
    query = (
        select(COMMITMENTS)
        .where(COMMITMENTS.c.epoch_id == epoch_id)
        .order_by(COMMITMENTS.c.received_at, COMMITMENTS.c.hotkey, COMMITMENTS.c.ordinal)
    )
    columns = {name: kind for name, kind in _COMMITMENTS.items() if name != "n_replaced"}
    return table_of(connection, query, columns)


def price_sources(connection: Connection, epoch_id: str) -> dict[str, tuple[str, ...]]:
    """The sources named by each vote of an epoch; none where a vote named none."""
    query = select(WEIGHT_SUBMISSIONS).where(WEIGHT_SUBMISSIONS.c.epoch_id == epoch_id)
    rows = connection.execute(query.order_by(WEIGHT_SUBMISSIONS.c.validator))
    return {row.validator: tuple(row.price_sources or ()) for row in rows}


def reveals(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per reveal, numbered within the epoch in the order of receipt.

    The database's own numbers would depend on what other epochs received meanwhile. Positions and
    secret stand where the reveal was accepted: what failed has revealed nothing.
    """
    number = func.row_number().over(order_by=(REVEALS.c.received_at, REVEALS.c.id))
    numbered = (
        select(REVEALS, number.label("reveal_id"))
        .where(REVEALS.c.epoch_id == epoch_id)
        .order_by(number)
    )
    rows = [dict(row) for row in connection.execute(numbered).mappings()]
    for row in rows:
        accepted = row["verdict"] == Verdict.ACCEPTED.value
        row["positions"] = _portfolio(row["positions"]).text if accepted else ""
        row["secret"] = row["secret"] if accepted else ""
    return typed(pd.DataFrame(rows, columns=list(_REVEALS)), _REVEALS)


def _portfolio(submitted: list[list[str]]) -> Portfolio:
    """A portfolio that was within the limits when it was accepted."""
    exact = [(canonical_ticker(ticker), Decimal(weight)) for ticker, weight in submitted]
    return Portfolio(tuple(sorted(exact)))


def validator_weights(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per validator and miner: the votes, with the snapshot's stakes."""
    votes = WEIGHT_SUBMISSIONS.join(SUBMITTED_WEIGHTS).join(
        SNAPSHOT_STAKES,
        (SNAPSHOT_STAKES.c.epoch_id == WEIGHT_SUBMISSIONS.c.epoch_id)
        & (SNAPSHOT_STAKES.c.validator == WEIGHT_SUBMISSIONS.c.validator),
    )
    query = (
        select(SUBMITTED_WEIGHTS, WEIGHT_SUBMISSIONS, SNAPSHOT_STAKES.c.stake_rao)
        .select_from(votes)
        .where(WEIGHT_SUBMISSIONS.c.epoch_id == epoch_id)
    )
    table = table_of(connection, query, _WEIGHTS)
    return table.sort_values(["validator", "hotkey"], ignore_index=True)
