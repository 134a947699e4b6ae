"""Which vendors a deployment asks is a matter of its settings and of the keys it has."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from quanta_pipelines.adapters.price_vendors import ArchivedVendor, PriceVendor, QuoteVendor
from quanta_pipelines.adapters.price_vendors.configured import (
    InvalidVendors,
    configured_vendors,
    read_watch_list,
)
from quanta_pipelines.adapters.price_vendors.errors import UnknownSymbol
from quanta_pipelines.settings import Settings
from tests.vendor_replicas.server import serving
from tests.vendor_replicas.wired import FETCHED_AT, FIRST, KEY, LAST, replica_of, require_true


@pytest.fixture
def watch_list(tmp_path: Path) -> Path:
    path = tmp_path / "tickers.txt"
    path.write_text("# held names\nKO, AAPL\nBRK.B brk-b  # both spellings\n\nXOM\n")
    return path


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TIINGO_API_KEY", "POLYGON_API_KEY", "MASSIVE_API_KEY", "REDIS_URL"):
        monkeypatch.delenv(f"QUANTA_{name}", raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("QUANTA_VENDORS", raising=False)
    monkeypatch.chdir(tmp_path)  # no .env


def test_the_recording_alone_is_asked_by_default() -> None:
    assert [vendor.name for vendor in configured_vendors(Settings())] == ["recorded"]


def test_the_environment_names_vendors_keys_and_watch_list(
    monkeypatch: pytest.MonkeyPatch, watch_list: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUANTA_VENDORS", "tiingo, Massive,yahoo,tiingo")
    monkeypatch.setenv("QUANTA_WATCH_LIST", str(watch_list))
    monkeypatch.setenv("TIINGO_API_KEY", KEY)
    monkeypatch.setenv("MASSIVE_API_KEY", KEY)
    settings = Settings(home=tmp_path)
    vendors = configured_vendors(settings)
    assert [vendor.name for vendor in vendors] == ["tiingo", "polygon", "yahoo"]
    for vendor in vendors:
        priced: PriceVendor = vendor
        assert priced.tickers() == ("AAPL", "BRK.B", "KO", "XOM")
        assert isinstance(vendor, ArchivedVendor)
        assert isinstance(vendor, QuoteVendor)
    assert KEY not in f"{settings!r}{settings}{vendors!r}{settings.model_dump_json()}"


def test_polygon_key_is_known_by_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "older")
    assert Settings().polygon_api_key == SecretStr("older")


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_vendor_without_its_key_is_off_and_says_so_once(
    key: str | None, watch_list: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(home=tmp_path, vendors="tiingo,recorded", watch_list=watch_list)
    settings.tiingo_api_key = None if key is None else SecretStr(key)
    assert [vendor.name for vendor in configured_vendors(settings)] == ["recorded"]
    assert caplog.messages == ["vendor tiingo is off: TIINGO_API_KEY is not set"]


@pytest.mark.parametrize(
    ("vendors", "reason"),
    [
        ("bloomberg", "QUANTA_VENDORS names bloomberg; there are recorded, tiingo, polygon, yahoo"),
        ("tiingo", "tiingo is asked for a watch list: set QUANTA_WATCH_LIST"),
        ("", "no vendor of QUANTA_VENDORS= can be asked"),
    ],
)
def test_what_cannot_be_asked_is_refused(vendors: str, reason: str) -> None:
    with pytest.raises(InvalidVendors, match=reason):
        configured_vendors(Settings(vendors=vendors))


def test_no_key_at_all_is_refused(watch_list: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, vendors="tiingo,polygon", watch_list=watch_list)
    with pytest.raises(InvalidVendors, match="no vendor of QUANTA_VENDORS=tiingo,polygon"):
        configured_vendors(settings)


def test_a_watch_list_without_tickers_or_with_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tickers.txt"
    path.write_text("# nothing\n")
    with pytest.raises(InvalidVendors, match="holds no ticker"):
        read_watch_list(path)
    path.write_text("AAPL\n^GSPC\n")
    with pytest.raises(UnknownSymbol, match="GSPC"):
        read_watch_list(path)


def test_a_configured_vendor_fetches_archives_and_caches(watch_list: Path, tmp_path: Path) -> None:
    now = [FETCHED_AT]
    with serving(replica_of("tiingo")) as running:
        settings = Settings(
            home=tmp_path, vendors="tiingo", watch_list=watch_list, tiingo_url=running.url
        )
        settings.tiingo_api_key = SecretStr(KEY)
        (vendor,) = configured_vendors(settings, clock=lambda: now[0])
        require_true("tiingo", vendor.observe(vendor.tickers(), FIRST, LAST))
        now[0] += timedelta(hours=1)
        (another,) = configured_vendors(settings, clock=lambda: now[0])
        require_true("tiingo", another.observe(vendor.tickers(), FIRST, LAST))
        assert running.asked() == 4
    assert len(list((tmp_path / "lake" / "replies" / "tiingo").rglob("*.json.gz"))) == 4
    assert len(list((tmp_path / "reply_cache").glob("*.json"))) == 4
