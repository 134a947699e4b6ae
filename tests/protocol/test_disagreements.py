"""Where vendors differ: the report by vendor and ticker, and what a disputed cell says."""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.disagreements import disagreements, vendors_said

SESSIONS = pd.bdate_range("2025-09-01", periods=6)


def seen(vendor: str, closes: list[float], ticker: str = "AAPL", **columns: object) -> pd.DataFrame:
    rows = {
        "vendor": vendor,
        "ticker": ticker,
        "session": SESSIONS[: len(closes)],
        "close": closes,
        "volume": 1e6,
        "dividend": 0.0,
        "split": 1.0,
        "basis": "as_traded",
        "fetched_at": pd.Timestamp("2026-01-02 22:00", tz="UTC"),
    }
    return pd.DataFrame(rows | columns)


def test_a_wrong_scale_is_a_constant_ratio_of_one_vendor() -> None:
    # yahoo shows a quarter of the close for three of six sessions
    steady = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    scaled = [100.0, 101.0, 25.5, 25.75, 26.0, 105.0]
    report = disagreements(
        pd.concat([seen("tiingo", steady), seen("polygon", steady), seen("yahoo", scaled)])
    )
    assert len(report) == 1
    row = report.iloc[0]
    assert (row["vendor"], row["ticker"], row["kind"]) == ("yahoo", "AAPL", "constant_ratio")
    assert (row["sessions_compared"], row["sessions_apart"], row["ratio"]) == (6, 3, 0.25)
    assert (row["first_session"], row["last_session"]) == (SESSIONS[2], SESSIONS[4])
    assert row["agreeing"] == "polygon,tiingo"


def test_another_security_is_a_varying_ratio_and_a_bad_print_is_isolated() -> None:
    steady = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    other = [100.0, 101.0, 50.0, 55.0, 49.0, 60.0]
    typo = [100.0, 110.0, 102.0, 103.0, 104.0, 105.0]
    rows = [seen("tiingo", steady), seen("polygon", steady), seen("yahoo", other)]
    rows += [seen(name, steady, "MSFT") for name in ("tiingo", "yahoo")]
    report = disagreements(pd.concat([*rows, seen("polygon", typo, "MSFT")]))
    kinds = report.set_index(["vendor", "ticker"])["kind"].to_dict()
    assert kinds == {("polygon", "MSFT"): "isolated", ("yahoo", "AAPL"): "varying_ratio"}


def test_of_two_vendors_apart_both_are_reported_and_nobody_agrees() -> None:
    report = disagreements(pd.concat([seen("tiingo", [100.0]), seen("yahoo", [125.0])]))
    assert list(report["vendor"]) == ["tiingo", "yahoo"]
    assert list(report["ratio"]) == [0.8, 1.25]
    assert list(report["agreeing"]) == ["", ""]


def test_vendors_that_agree_and_a_vendor_alone_are_not_reported() -> None:
    rows = [seen("tiingo", [100.0]), seen("yahoo", [100.0]), seen("yahoo", [7.0], "LONE")]
    report = disagreements(pd.concat(rows))
    assert report.empty
    assert report.dtypes["sessions_apart"] == np.int64


def test_a_cell_says_what_each_vendor_that_was_asked_said() -> None:
    rows = pd.concat(
        [
            seen("tiingo", [100.0, 50.5], split=[1.0, 2.0], dividend=[0.0, 0.25]),
            seen("yahoo", [100.0, np.nan], split=np.nan),
        ]
    ).assign(asked="polygon,tiingo,yahoo")
    cells = pd.DataFrame({"ticker": "AAPL", "session": SESSIONS[:2]})
    assert vendors_said(cells, rows) == [
        "polygon no answer, tiingo 100, yahoo 100 split unknown",
        "polygon no answer, tiingo 50.5 split 2 dividend 0.25, yahoo no close split unknown",
    ]
