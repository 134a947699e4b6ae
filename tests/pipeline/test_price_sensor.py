"""The sensor of live quotes: when it asks, what it says, and that it never starts a run."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import QUOTE_TYPES
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.definitions import defs
from quanta_pipelines.price_sensor import LiveQuotes, live_quotes_sensor

DAY = dt.timedelta(days=1)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@dataclass
class SimulatedVendor:
    """Quotes everything at 100 dollars, at the moment it is told; counts how often it is asked."""

    now: list[dt.datetime]
    name: str = "tiingo"
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def quotes(self, tickers: Sequence[str]) -> pd.DataFrame:
        self.asked.append(tuple(tickers))
        rows = pd.DataFrame({"ticker": list(tickers)})
        moment = pd.Timestamp(self.now[0])
        return (
            rows.assign(vendor=self.name, at=moment, fetched_at=moment, price=100.0)
            .reindex(columns=list(QUOTE_TYPES))
            .astype(QUOTE_TYPES)
        )


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveQuotes]:
    """Live quotes of two tickers; the clock is the vendor's."""
    vendor = SimulatedVendor([utc("2025-11-25 17:00")])
    store = QuoteStore.open(f"sqlite:///{tmp_path / 'quotes.db'}")
    yield LiveQuotes((vendor,), ("AAPL", "MSFT"), store, clock=lambda: vendor.now[0])
    store.close()


def tick(live: LiveQuotes | None, moment: str = "2025-11-25 17:00") -> str:
    """What the sensor says at a moment, as Dagster evaluates it."""
    if live is not None:
        live.vendors[0].now[0] = utc(moment)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance, resources={"live_quotes": live}) as context,
    ):
        found = live_quotes_sensor.evaluate_tick(context)
    assert not found.run_requests
    return str(found.skip_message)


def test_an_open_market_is_polled_and_the_tick_says_what_it_stored(live):
    assert tick(live) == "2 tickers at 2025-11-25T17:00:00+00:00: tiingo 2 new"
    rows = live.store.read(["AAPL", "MSFT"], utc("2025-11-25 16:00"), utc("2025-11-25 18:00"))
    assert rows["ticker"].tolist() == ["AAPL", "MSFT"]
    assert live.vendors[0].asked == [("AAPL", "MSFT")]


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2025-11-25 14:29:59", "2025-11-25T14:30"),  # before the open
        ("2025-11-25 21:00:00", "2025-11-26T14:30"),  # at the close
        ("2025-11-27 17:00:00", "2025-11-28T14:30"),  # Thanksgiving
        ("2025-11-28 18:00:00", "2025-12-01T14:30"),  # a half day's close, then a weekend
        ("2025-10-31 20:00:00", "2025-11-03T14:30"),  # over the end of summer time
        ("2025-10-31 13:29:59", "2025-10-31T13:30"),
    ],
)
def test_a_shut_market_is_not_polled_and_the_tick_names_the_next_opening(live, moment, opens):
    assert tick(live, moment) == f"the market is shut and opens at {opens}:00+00:00"
    assert live.vendors[0].asked == []


def test_the_store_is_pruned_once_after_each_session(live):
    live = replace(live, retention=20 * DAY)
    for day in (3, 4, 5):
        tick(live, f"2025-11-{day:02d} 17:00")
    assert tick(live, "2025-11-24 17:00").endswith("tiingo 2 new")  # nothing goes meanwhile

    def kept() -> list[int]:
        rows = live.store.read(["AAPL"], utc("2025-11-01"), utc("2025-12-01"))
        return rows["at"].dt.day.tolist()

    assert kept() == [3, 4, 5, 24]
    shut = "the market is shut and opens at 2025-11-25T14:30:00+00:00"
    # two tickers of the 3rd and of the 4th, 17:00, are 20 days old on the 24th, 21:00
    assert tick(live, "2025-11-24 21:00") == f"{shut}; 4 quotes past their retention deleted"
    assert kept() == [5, 24]
    assert tick(live, "2025-11-25 14:29") == shut
    assert tick(live, "2025-11-25 21:00").endswith("; 2 quotes past their retention deleted")
    assert kept() == [24]


@pytest.mark.parametrize("moment", ["2025-11-28 17:59:59", "2025-10-31 13:30:00"])
def test_half_days_and_summer_time_are_polled_to_the_second(live, moment):
    assert "tiingo 2 new" in tick(live, moment)


def test_a_deployment_without_live_vendors_says_so():
    assert tick(None) == "no vendor of QUANTA_VENDORS gives live prices"


def test_after_the_table_of_sessions_the_tick_says_what_the_table_holds(live):
    assert "2000-01-03 to 2027-12-31" in tick(live, "2028-02-01 15:00")


def test_a_failing_vendor_fails_no_tick(live):
    class Broken:
        name = "yahoo"

        def quotes(self, tickers: Sequence[str]) -> pd.DataFrame:
            raise ConnectionError(f"no route to ask for {tickers}")

    both = replace(live, vendors=(*live.vendors, Broken()))
    assert tick(both).endswith("tiingo 2 new; yahoo failed: ConnectionError")


def test_the_sensor_is_stopped_until_someone_starts_it_and_ticks_every_30_seconds():
    sensor = defs.resolve_sensor_def("live_quotes")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.minimum_interval_seconds == 30
