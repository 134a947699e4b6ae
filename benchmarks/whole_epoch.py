"""The compute of a whole epoch: from weights and prices to four published tables."""

import string
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from timing import Timing, timed

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.protocol import horizons, intervals, returns, scoring
from quanta_pipelines.protocol.epoch import Epoch

EPOCH = Epoch.parse("2019-Q4-W50")


@dataclass(frozen=True)
class EpochInputs:
    """What the stage scoring of one epoch reads."""

    portfolios: pd.DataFrame
    previous: pd.DataFrame
    prices: pd.DataFrame
    benchmark: "pd.Series[float]"
    history: list[pd.DataFrame]
    commitments: pd.DataFrame


def epoch_inputs(miners: int, held: int = 20, tickers: int = 500) -> EpochInputs:
    """Simulated tables: each miner holds some of the tickers since a year."""
    rng = np.random.default_rng(miners)
    names = ["".join(letters) for letters in product(string.ascii_uppercase, repeat=2)][:tickers]
    hotkeys = np.array([f"5{number:047d}" for number in range(miners)], dtype=object)
    moment = pd.Timestamp(EPOCH.opens_at).as_unit("ns")
    chosen = np.sort(rng.random((miners, tickers)).argsort(axis=1)[:, :held], axis=1)
    portfolios = pd.DataFrame(
        {
            "epoch_id": EPOCH.id,
            "hotkey": np.repeat(hotkeys, held),
            "ticker": np.array(names, dtype=object)[chosen.ravel()],
            "weight": 1.0 / held,
            "submitted_weight": 1.0 / held,
            "source_epoch": EPOCH.id,
            "filled_epochs": 0,
            "history_epoch": "2019-Q1-W02",
            "committed_at": moment,
        }
    )
    cells = pd.MultiIndex.from_product([names, pd.DatetimeIndex(EPOCH.sessions)])
    prices = cells.to_frame(index=False, name=["ticker", "session"]).assign(carried_sessions=0)
    prices["total_return"] = rng.normal(0.0005, 0.015, len(prices))
    epochs = Epoch.range("2019-Q1-W02", EPOCH.previous())[-20:]
    return EpochInputs(
        portfolios=portfolios,
        previous=portfolios.assign(epoch_id=EPOCH.previous().id),
        prices=prices,
        benchmark=prices.groupby("session")["total_return"].mean(),
        history=[_earlier_returns(epoch, hotkeys, rng) for epoch in epochs],
        commitments=pd.DataFrame({"hotkey": hotkeys, "received_at": moment}),
    )


def _earlier_returns(
    epoch: Epoch, hotkeys: npt.NDArray[np.object_], rng: np.random.Generator
) -> pd.DataFrame:
    sessions = len(epoch.sessions)
    rows = len(hotkeys) * sessions
    return pd.DataFrame(
        {
            "epoch_id": epoch.id,
            "hotkey": np.repeat(hotkeys, sessions),
            "session": np.tile(pd.DatetimeIndex(epoch.sessions).to_numpy(), len(hotkeys)),
            "portfolio_return": rng.normal(0.0005, 0.01, rows),
            "benchmark_return": np.tile(rng.normal(0.0005, 0.008, sessions), len(hotkeys)),
            "unpriced_weight": 0.0,
            "turnover": 0.1,
            "filled_epochs": 0,
            "history_epoch": "2019-Q1-W02",
        }
    )


def whole_epoch(inputs: EpochInputs, lake: Lake) -> None:
    """From weights and prices to four published tables."""
    held = returns.epoch_returns(
        inputs.portfolios, inputs.previous, inputs.prices, inputs.benchmark, epoch_id=EPOCH.id
    )
    history = pd.concat([held, *inputs.history], ignore_index=True)
    measured = horizons.horizon_table(history, epoch_id=EPOCH.id)
    tables = {
        "portfolio_returns": held,
        "horizon_metrics": measured,
        "score_intervals": intervals.interval_table(history, epoch_id=EPOCH.id),
        "scores": scoring.score_table(
            measured, inputs.portfolios, held, inputs.commitments, epoch_id=EPOCH.id
        ),
    }
    for name, frame in tables.items():
        lake.publish(name, EPOCH.id, frame, params_version="0" * 64, code_version="0" * 64)


def epoch_timing(miners: int = 500) -> Timing:
    """Each run publishes to a lake of its own, so that every file is written."""
    inputs = epoch_inputs(miners)
    with tempfile.TemporaryDirectory() as folder:
        lakes = (Lake(str(Path(folder) / f"{number}")) for number in range(100))
        return timed(
            "a whole epoch, to Parquet",
            "quanta",
            miners,
            lambda: whole_epoch(inputs, next(lakes)),
            repeat=7,
        )
