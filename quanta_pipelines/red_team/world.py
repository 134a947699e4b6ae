"""What all seasons of one seed share: prices, weeks, honest signals and settled prices.

Written to a folder once, so that every season starts from a copy of the same store and reads the
same settled prices. The attackers are played in ``season``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from data_contracts.tables import STAGES, table_name
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.protocol.epoch import Epoch, sessions_before
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.oracle import settle_closes, universe
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.resources import DataDocs, EpochRun, Platform
from quanta_pipelines.simulation.keys import OWN_VALIDATOR, simulated_key, simulated_rng
from quanta_pipelines.simulation.miners import commit_all, plan, reveal_all
from quanta_pipelines.simulation.population import Habits, SimulatedMiner, population
from quanta_pipelines.simulation.price_table import PriceTable
from quanta_pipelines.simulation.strategies import EqualWeight
from quanta_pipelines.steps import steps_in_order

HONEST, SEATS = 60, 12  # miners that are always honest; those that attackers may take over
ANTE = QUANTA.tokenomics.minimum_ante  # of everyone: rewards do not grow with it, so why post more
WARM_UP = 7  # epochs before the attacks, until everyone has the 30 sessions that a rank needs
LOOKBACK = 126  # sessions before the first epoch: 90 calendar days, 60 returns, and flags
SEEN = 61  # sessions of closes that a strategy looks at
NEAR_CASH = ("ZZCA", "ZZCB", "ZZCC", "ZZCD", "ZZCE")  # simulated tickers that hardly move
BENCHMARK = QUANTA.market_data.benchmark
PRICE_TABLES = {table_name(contract) for contract in STAGES["market_data"]}


@dataclass(frozen=True)
class World:
    """One seed's weeks, tickers and people; its files lie under ``folder``."""

    folder: Path
    seed: int
    epochs: tuple[Epoch, ...]  # the warm-up, then those that are measured
    prices: PriceTable
    people: int = HONEST

    @property
    def measured(self) -> tuple[Epoch, ...]:
        """The epochs in which attackers attack."""
        return self.epochs[WARM_UP:]

    @cached_property
    def tickers(self) -> tuple[str, ...]:
        """What honest miners know of: all tickers but the benchmark and the near-cash ones."""
        return tuple(name for name in self.prices.tickers() if name not in (BENCHMARK, *NEAR_CASH))

    @cached_property
    def honest(self) -> tuple[SimulatedMiner, ...]:
        """The miners that are honest in every season."""
        people = population(self.tickers, size=self.people, called=f"seed {self.seed} miner")
        return tuple(replace(miner, ante=ANTE) for miner in people)

    @cached_property
    def seats(self) -> tuple[SimulatedMiner, ...]:
        """Miners without skill, each with ten stocks of its own: honest until taken over."""
        return tuple(self._seat(number) for number in range(SEATS))

    def _seat(self, number: int) -> SimulatedMiner:
        name = f"seed {self.seed} seat {number:02d}"
        order = simulated_rng("order", name, "always").permutation(list(self.tickers))
        return SimulatedMiner(
            name,
            simulated_key(name).hotkey,
            EqualWeight(names=10),
            order=tuple(str(ticker) for ticker in order),
            breadth=10,
            ante=ANTE,
            habits=Habits(),
        )

    @property
    def lake(self) -> Lake:
        """Prices of all epochs, and every table of the warm-up."""
        return Lake(str(self.folder / "lake"))

    def platform(self, home: Path) -> Platform:
        """A platform on this world's lake whose store lies in ``home``."""
        return Platform(
            lake=self.lake,
            store=SignalStore.open(f"sqlite:///{home / 'signals.db'}"),
            vendors=(self.prices,),
            genesis=self.epochs[0],
            own_validator=OWN_VALIDATOR,
            warehouse=Warehouse(home / "warehouse"),
            data_docs=DataDocs(home / "data_docs"),
        )

    def total_returns(self) -> pd.DataFrame:
        """Settled total returns, sessions by tickers, from before the first epoch on."""
        return pd.read_parquet(self.folder / "returns.parquet")


def opened(folder: Path) -> World:
    """The world that ``build`` wrote there."""
    said = json.loads((folder / "world.json").read_text())
    epochs = tuple(Epoch.parse(name) for name in said["epochs"])
    prices = PriceTable(pd.read_parquet(folder / "prices.parquet"), name=said["vendor"])
    return World(folder, said["seed"], epochs, prices, said["honest"])


def build(
    folder: Path,
    prices: PriceTable,
    *,
    seed: int,
    tickers: int,
    epochs: int,
    honest: int = HONEST,
) -> World:
    """Draws weeks and tickers, settles the prices, and lets the honest miners send everything."""
    drawn = _drawn(prices, seed, tickers, epochs + WARM_UP)
    world = World(folder, seed, *drawn, honest)
    folder.mkdir(parents=True)
    world.prices.rows.to_parquet(folder / "prices.parquet")
    said = {
        "seed": seed,
        "vendor": prices.name,
        "honest": honest,
        "epochs": [each.id for each in world.epochs],
    }
    (folder / "world.json").write_text(json.dumps(said))
    platform = world.platform(folder)
    settled = settle_closes(world.prices.rows, platform.params)
    returns = settled.pivot(index="session", columns="ticker", values="total_return")
    returns.to_parquet(folder / "returns.parquet")
    for number, epoch in enumerate(world.epochs):
        _fix_universe(platform, epoch, settled, world)
        _settle_prices(platform, epoch)
        closes = closes_at(returns, platform.store.universe(epoch.id), epoch)
        plans = [plan(miner, epoch, closes, number=number) for miner in world.honest]
        commit_all(platform.store, epoch, plans)
        reveal_all(platform.store, epoch, plans)
    platform.store.close()
    return world


def closes_at(returns: pd.DataFrame, universe: Sequence[str], epoch: Epoch) -> pd.DataFrame:
    """Closes of the universe, dividends reinvested, up to the one from which returns start."""
    past = returns.loc[: pd.Timestamp(epoch.entry_session), list(universe)].tail(SEEN)
    return 100 * (1 + past.fillna(0.0)).cumprod()


def _drawn(
    prices: PriceTable, seed: int, tickers: int, epochs: int
) -> tuple[tuple[Epoch, ...], PriceTable]:
    """Weeks at a random place of the table, and so many tickers that are priced in all of them."""
    rng = np.random.default_rng(seed)
    days = pd.DatetimeIndex(sorted(prices.rows["session"].unique()))
    earliest = Epoch.containing(days[LOOKBACK].date()).next()
    latest = Epoch.containing(days[-1].date()).previous()
    weeks = Epoch.range(earliest, latest)
    if len(weeks) < epochs:
        raise InvalidPrices(f"{epochs} epochs are wanted, the prices hold {len(weeks)}")
    start = int(rng.integers(len(weeks) - epochs + 1))
    chosen = weeks[start : start + epochs]
    first = sessions_before(chosen[0].sessions[0], LOOKBACK)[0]
    inside = prices.rows["session"].between(
        pd.Timestamp(first), pd.Timestamp(chosen[-1].sessions[-1])
    )
    window = prices.rows[inside]
    counted = window.dropna(subset="close").groupby("ticker").size()
    whole = [name for name in counted.index[counted == counted.max()] if name != BENCHMARK]
    if len(whole) < tickers:
        raise InvalidPrices(f"{tickers} tickers are wanted, {len(whole)} have prices on all days")
    names = sorted(rng.choice(np.array(whole), size=tickers, replace=False))
    kept = window[window["ticker"].isin([*names, BENCHMARK])]
    table = pd.concat([kept, _near_cash(kept, rng)]).sort_values(["ticker", "session"])
    return chosen, PriceTable(table.reset_index(drop=True), prices.name)


def _near_cash(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Simulated rows of tickers with 2 % a year and hardly any risk, like shares under a bid."""
    like = rows[rows["ticker"] == rows["ticker"].iloc[0]]
    made: list[pd.DataFrame] = []
    for name in NEAR_CASH:
        gains = rng.normal(0.02 / 252, 0.0003, len(like))
        close = np.round(50 * np.cumprod(1 + gains), 4)
        made.append(like.assign(ticker=name, close=close, volume=1e6, dividend=0.0, split=1.0))
    table = pd.concat(made)
    table[["open", "high", "low", "vwap"]] = np.nan
    return table


def _fix_universe(platform: Platform, epoch: Epoch, settled: pd.DataFrame, world: World) -> None:
    entry = epoch.entry_session
    first = sessions_before(entry, SEEN - 1)[0]
    seen = world.prices.observe(world.prices.tickers(), first, entry)
    window = settled[settled["session"].between(pd.Timestamp(first), pd.Timestamp(entry))]
    platform.store.fix_universe(epoch, universe(seen, window, entry, platform.params))


def _settle_prices(platform: Platform, epoch: Epoch) -> None:
    """The steps of the stage ``market_data``, published as the graph would."""
    run = EpochRun(platform, epoch)
    tables: dict[str, pd.DataFrame] = {}
    for step in steps_in_order():
        if PRICE_TABLES.issuperset(step.tables):
            tables |= step(run, tables)
    for name, frame in tables.items():
        stamp = platform.stamp()
        platform.lake.publish(
            name,
            epoch.id,
            frame,
            params_version=stamp["params_version"],
            code_version=stamp["code_version"],
        )
