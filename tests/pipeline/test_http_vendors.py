"""Three epochs through the whole graph over HTTP replicas; faults there; a restated close."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import recorded_closes
from quanta_pipelines.price_impact import price_impact
from quanta_pipelines.price_refetch import newer_replies, refetch
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from quanta_pipelines.simulation.strategies import SECTORS, sector_of
from tests.pipeline.market_faults import BASIS, Market
from tests.vendor_replicas.tables import Tables, table_servers

from .http_faults import DOWN, SLOW, TABLE_FAULTS, WIRE_FAULTS, on_the_wire
from .replica_platform import NOWHERE, Evenings, platform_over, play, run_epochs, run_job

EPOCHS = Epoch.range(Epoch.parse("2019-Q2-W23"), "2019-Q2-W25")
LAST = EPOCHS[-1]
DAY = pd.Timestamp(LAST.sessions[2])  # the split of AAPL; a dividend the session after
NEAR = 2.01 * 0.001  # how far two that agree with their median may be apart


def recorded_market() -> Market:
    """Fifteen recorded stocks as traded, with one split and one dividend of AAPL made up."""
    tickers = list(recorded_closes().columns[:15])
    assert "AAPL" in tickers
    closes = recorded_closes().loc["2019-01-02":"2019-07-31", tickers]
    truth = closes.melt(ignore_index=False, var_name="ticker", value_name="close")
    truth = truth.rename_axis("session").reset_index().sort_values(["ticker", "session"])
    apple, paid_on = truth["ticker"] == "AAPL", pd.Timestamp(LAST.sessions[3])
    truth = truth.assign(
        close=truth["close"].mask(apple & (truth["session"] < DAY), truth["close"] * 4.0),
        split=np.where(apple & (truth["session"] == DAY), 4.0, 1.0),
        dividend=np.where(apple & (truth["session"] == paid_on), 0.4, 0.0),
        volume=1e7 + 4000.0 * np.arange(len(truth)),
    ).reset_index(drop=True)
    return Market(truth, "AAPL", str(tickers[-1]), DAY, paid_on)


MARKET = recorded_market()
TICKERS = tuple(sorted(MARKET.truth["ticker"].unique()))
TRUTH: Tables = dict.fromkeys(BASIS, MARKET.truth)


SLOW_BY_DAYS = "clock three days slow"
OVER_HTTP = (DOWN, *WIRE_FAULTS, *TABLE_FAULTS, SLOW_BY_DAYS)
Faulty = tuple[tuple[str, str], ...]  # vendor, fault


@dataclass(frozen=True)
class Played:
    """A home with two published epochs, signals of the third, and the third's tables, unharmed."""

    home: Path
    prices: pd.DataFrame
    scores: pd.DataFrame


def table(platform: Platform, name: str) -> pd.DataFrame:
    return platform.lake.read(name, LAST.id)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    home = tmp_path_factory.mktemp("http")
    before = home.with_name("http-before")
    evenings = Evenings()
    with table_servers(TRUTH) as servers:
        urls = {name: server.url for name, server in servers.items()}
        platform = platform_over(home, urls, TICKERS, EPOCHS[0], clock=evenings)
        play(platform, TRUTH, EPOCHS)
        outcomes = run_epochs(platform, evenings, EPOCHS[:-1])
        assert all(one.succeeded for one in outcomes), outcomes[-1].problems
        platform.store.close()
        copytree(home, before)
        platform = platform_over(home, urls, TICKERS, EPOCHS[0], clock=evenings)
        (last,) = run_epochs(platform, evenings, [LAST])
        assert last.succeeded, last.problems
        found = Played(before, table(platform, "validated_prices"), table(platform, "scores"))
        assert platform.lake.exists("ledger_entries", LAST.id)
        platform.store.close()
    return found


@pytest.fixture
def harmed(played: Played, tmp_path: Path) -> Iterator[Callable[..., tuple[Platform, list[str]]]]:
    """Runs the last epoch up to scores with faults; the platform, and what failed in words."""
    with ExitStack() as stack:

        def run(faults: Faulty, vendors: tuple[str, ...] = tuple(BASIS)) -> tuple[Platform, list]:
            home = Path(copytree(played.home, tmp_path / "home"))
            own = {vendor: [name for at, name in faults if at == vendor] for vendor in BASIS}
            tables = {vendor: on_the_wire(MARKET, vendor, own[vendor]) for vendor in vendors}
            servers = stack.enter_context(table_servers(tables, adjusted=True))
            urls = {name: server.url for name, server in servers.items()}
            evenings, slow = Evenings(), Evenings()
            evenings.move_to(LAST)
            slow.move_to(LAST, timedelta(days=-3))
            for vendor, name in faults:
                if name in WIRE_FAULTS:
                    WIRE_FAULTS[name](servers[vendor])
            urls |= {vendor: NOWHERE for vendor, name in faults if name == DOWN}
            platform = platform_over(
                home,
                urls,
                TICKERS,
                EPOCHS[0],
                clock=evenings,
                slow_clocks={vendor: slow for vendor, name in faults if name == SLOW_BY_DAYS},
                hurried=frozenset(vendor for vendor, name in faults if name == SLOW),
            )
            stack.callback(platform.store.close)
            result = run_job(platform, LAST, "close")
            failed = [
                f"{one.check_name}: {one.description}"
                for one in result.get_asset_check_evaluations()
                if not one.passed and one.blocking
            ]
            assert result.success == (not failed), result.all_events[-1]
            return platform, failed

        yield run


@dataclass(frozen=True)
class Ending:
    """Cells of the last epoch's prices beside the unharmed ones, and whether scores moved."""

    changed: int
    held: int
    flagged: int
    near: int
    scores_moved: bool


def ending(platform: Platform, played: Played) -> Ending:
    """Compares with the unharmed run; every changed cell must be held, flagged or near."""
    keys = ["ticker", "session"]
    now = table(platform, "validated_prices").set_index(keys)
    was = played.prices.set_index(keys).reindex(now.index)
    numbers = ["close", "total_return"]
    apart = (now[numbers] - was[numbers]).abs().gt(1e-12).any(axis=1)
    apart |= (now[numbers].isna() != was[numbers].isna()).any(axis=1)
    apart |= (now[["status", "in_universe"]] != was[["status", "in_universe"]]).any(axis=1)
    held = apart & (now["status"] != "settled")
    flagged = apart & ~held & now["anomaly"]
    near = apart & ~held & ~flagged & ((now["close"] / was["close"] - 1).abs() <= NEAR)
    silent = apart & ~held & ~flagged & ~near
    assert not silent.any(), now[silent].join(was[numbers], rsuffix="_true").head()
    assert len(now) == len(played.prices)
    moved = False
    if platform.lake.exists("scores", LAST.id):
        scores = table(platform, "scores")
        moved = not scores.equals(played.scores)
        assert not moved or apart.any(), "scores changed, and no price did"
    return Ending(*(int(one.sum()) for one in (apart, held, flagged, near)), scores_moved=moved)


def test_three_vendors_over_http_settle_the_truth_and_the_graph_runs_to_the_ledger(
    played: Played,
) -> None:
    true = MARKET.truth[MARKET.truth["session"].isin(pd.DatetimeIndex(LAST.sessions))]
    both = played.prices.merge(true, on=["ticker", "session"], suffixes=("", "_true"))
    assert len(both) == 15 * len(LAST.sessions)
    assert set(both["status"]) == {"settled"}
    assert set(both["sources"]) == {"polygon,tiingo,yahoo"}
    np.testing.assert_allclose(both["close"], both["close_true"], rtol=1e-12)
    assert played.scores["composite"].notna().any()


@pytest.mark.parametrize(
    ("vendor", "fault"),
    [("tiingo", DOWN), ("polygon", "truncated bodies"), ("tiingo", "wrong scale for three weeks")],
)
def test_one_fault_is_corrected_by_the_others(
    vendor: str, fault: str, harmed: Callable[..., tuple[Platform, list[str]]], played: Played
) -> None:
    platform, failed = harmed(((vendor, fault),))
    found = ending(platform, played)
    assert failed == []
    assert (found.held, found.near, found.scores_moved) == (0, 0, False)
    raw = table(platform, "raw_prices")
    assert set(raw["asked"]) == {"polygon,tiingo,yahoo"}
    silent = fault in (DOWN, "truncated bodies")
    assert (vendor in set(raw["vendor"])) != silent


def test_a_vendor_that_is_down_does_not_make_the_rule_of_two_a_rule_of_one(
    harmed: Callable[..., tuple[Platform, list[str]]],
) -> None:
    platform, failed = harmed((("tiingo", DOWN),), ("tiingo", "yahoo"))
    raw, prices = table(platform, "raw_prices"), table(platform, "validated_prices")
    assert set(raw["vendor"]) == {"yahoo"}
    assert set(raw["asked"]) == {"tiingo,yahoo"}
    assert set(prices["status"]) == {"disputed"}
    assert not prices["in_universe"].any()
    assert len(failed) == 1
    assert failed[0].startswith("held_tickers_are_priced: ")
    assert f"{LAST.sessions[0]} (tiingo no answer, yahoo " in failed[0]
    assert not platform.lake.exists("scores", LAST.id)


@pytest.mark.soak
@pytest.mark.parametrize("vendor", BASIS)
@pytest.mark.parametrize("fault", OVER_HTTP)
def test_no_fault_over_http_is_silent(
    vendor: str,
    fault: str,
    harmed: Callable[..., tuple[Platform, list[str]]],
    played: Played,
    request: pytest.FixtureRequest,
) -> None:
    platform, failed = harmed(((vendor, fault),))
    found = ending(platform, played)
    request.node.add_report_section("call", "ending", f"{fault} | {vendor} | {found} | {failed}")
    assert failed == []  # two honest vendors are enough
    assert found.held == 0


def test_a_restated_close_is_named_by_the_impact_and_a_new_run_gives_exactly_that(
    played: Played, tmp_path: Path
) -> None:
    home = Path(copytree(played.home, tmp_path / "home"))
    evenings = Evenings()
    with table_servers(TRUTH) as servers:
        urls = {name: server.url for name, server in servers.items()}
        platform = platform_over(home, urls, TICKERS, EPOCHS[0], clock=evenings)
        (done,) = run_epochs(platform, evenings, [LAST])
        assert done.succeeded, done.problems
        assert newer_replies(platform)(LAST) is None
        before = {name: table(platform, name) for name in ("raw_prices", "scores", "rewards")}
    ticker = played.prices.loc[played.prices["in_universe"], "ticker"].iloc[3]
    restated = {name: restate(rows, ticker) for name, rows in TRUTH.items()}
    with table_servers(restated) as servers:
        urls = {name: server.url for name, server in servers.items()}
        platform.store.close()
        platform = platform_over(home, urls, TICKERS, EPOCHS[0], clock=evenings)
        evenings.move_to(LAST, timedelta(hours=12))
        assert all(not one.losses for one in refetch(platform, LAST))
        assert table(platform, "raw_prices").equals(before["raw_prices"])  # nothing is published
        (impact,) = price_impact(platform, LAST, newer_replies(platform))
        candidate = newer_replies(platform)(LAST)
        asked = sum(server.asked() for server in servers.values())
        result = run_job(platform, LAST, "epoch", restate="vendors restated a close")
        assert result.success
        assert sum(server.asked() for server in servers.values()) == asked  # all from the archive
    after = {name: table(platform, name) for name in before}
    pd.testing.assert_frame_equal(candidate, after["raw_prices"])
    named = {(cell.ticker, cell.session) for cell in impact.cells if cell.column == "close"}
    assert named == {(ticker, f"{DAY:%Y-%m-%d}")}
    old, new = (
        side["scores"].set_index("hotkey")["composite"].astype(object) for side in (before, after)
    )
    said = {one.hotkey: (one.before["composite"], one.after["composite"]) for one in impact.miners}
    moved = {
        hotkey: (str(old[hotkey]), str(new[hotkey]))
        for hotkey in old.index
        if not pd.isna(new[hotkey]) and old[hotkey] != new[hotkey]
    }
    assert moved
    assert {hotkey: said[hotkey] for hotkey in moved} == moved
    paid = [side["rewards"].set_index("hotkey")["payout_rao"] for side in (before, after)]
    assert impact.total_rao == int(paid[1].sum()) - int(paid[0].sum())
    assert impact.moved_rao == int((paid[1] - paid[0]).abs().sum())
    platform.store.close()


def restate(rows: pd.DataFrame, ticker: str) -> pd.DataFrame:
    """The close of one ticker on the day of the split, two percent higher."""
    there = (rows["ticker"] == ticker) & (rows["session"] == DAY)
    return rows.assign(close=rows["close"].mask(there, np.round(rows["close"] * 1.02, 6)))


def test_a_ticker_that_was_not_recorded_has_one_sector_for_good() -> None:
    assert sector_of("AAPL") == "technology"
    dealt = [sector_of(f"T{number}") for number in range(100)]
    assert set(dealt) == set(SECTORS)
    assert dealt == [sector_of(f"T{number}") for number in range(100)]
