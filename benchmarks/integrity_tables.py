"""What the whole tables of integrity cost for many miners: similarity, flags, suspicion.

One core, processor time. Portfolios are simulated, eight weeks long and unchanged, which is the
most that a search for copies can meet; returns follow from them. Nothing is asserted.
"""

import resource
import time

from timing import FloatArray  # isort: skip  it limits numpy to one thread
import click
import numpy as np
import pandas as pd
from scipy import sparse

from quanta_pipelines.protocol import integrity
from quanta_pipelines.protocol.epoch import Epoch

EPOCHS = Epoch.range("2025-Q1-W10", "2025-Q2-W17")
TICKERS = 500


def holdings(size: int) -> sparse.csr_array:
    """Miners that each hold 5 to 30 of 500 tickers, popular ones more often: ``[p, k]``."""
    rng = np.random.default_rng(size)
    popular = (1.0 / np.sqrt(np.arange(1.0, TICKERS + 1.0))).astype(np.float32)
    count = rng.integers(5, 31, size)
    draws = rng.exponential(size=(size, TICKERS)).astype(np.float32) / popular
    order = np.argpartition(draws, 30, axis=1)[:, :31]
    taken = (np.arange(31) < count[:, None]).ravel()
    miner = np.repeat(np.arange(size), 31)[taken]
    weight = rng.exponential(size=len(miner))
    weight /= np.bincount(miner, weight, size)[miner]
    return sparse.csr_array((weight, (miner, order.ravel()[taken])), shape=(size, TICKERS))


def tables(
    held: sparse.csr_array,
) -> tuple[pd.DataFrame, pd.DataFrame, "pd.Series[float]"]:
    """Portfolios and returns of all epochs, and the universe's returns."""
    size = held.shape[0]
    rng = np.random.default_rng(size + 1)
    names = np.array([f"5{at:047d}" for at in range(size)], dtype=object)
    tickers = np.array([f"T{at:03d}" for at in range(TICKERS)], dtype=object)
    cells = held.tocoo()
    one = pd.DataFrame(
        {
            "hotkey": names[cells.row],
            "ticker": tickers[cells.col],
            "weight": cells.data,
            "filled_epochs": 0,
        }
    )
    portfolios = pd.concat(
        [
            one.assign(epoch_id=epoch.id, committed_at=pd.Timestamp(epoch.opens_at).as_unit("ns"))
            for epoch in EPOCHS
        ],
        ignore_index=True,
    )
    days = pd.DatetimeIndex([day for epoch in EPOCHS for day in epoch.sessions]).as_unit("ns")
    market = rng.normal(0.0005, 0.01, (len(days), 1))
    moves: FloatArray = market + rng.normal(0.0, 0.02, (len(days), TICKERS))
    universe = pd.Series(moves.mean(axis=1), index=days)
    of_day = np.array([epoch.id for epoch in EPOCHS for _ in epoch.sessions], dtype=object)
    returns = pd.DataFrame(
        {
            "epoch_id": np.tile(of_day, size),
            "hotkey": np.repeat(names, len(days)),
            "session": np.tile(days, size),
            "portfolio_return": np.asarray(held @ moves.T).ravel(),
            "benchmark_return": np.tile(universe.to_numpy(), size),
            "turnover": 0.0,
            "history_epoch": EPOCHS[0].id,
        }
    )
    return portfolios, returns, universe


@click.command()
@click.option("--size", type=int, default=5_000, show_default=True, help="Miners.")
def main(size: int) -> None:
    """Time the tables of integrity of one epoch, and the memory above their inputs."""
    portfolios, returns, universe = tables(holdings(size))
    earned = pd.Series(0.01, index=sorted(portfolios["ticker"].unique()))
    opening = integrity.Opening(frozenset(returns["hotkey"]))
    positions = integrity.committed_positions(portfolios)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    view = integrity.epoch_view(positions, returns, universe, epoch_id=EPOCHS[-1].id)
    viewed = time.process_time()
    pairs = integrity.similarity_table(view)
    paired = time.process_time()
    flags = integrity.flags_table(view, pairs, earned, opening, None)
    flagged = time.process_time()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    click.echo(
        f"{size:,} miners: view {viewed - start:.2f} s, similarity {paired - viewed:.2f} s, "
        f"flags {flagged - paired:.2f} s, together {flagged - start:.2f} s; "
        f"{len(pairs):,} pairs, {len(flags):,} flags; {peak:.0f} MiB above the inputs"
    )


if __name__ == "__main__":
    main()
