"""What a vendor lost stands on the asset; the rows of the others are published."""

from dataclasses import replace
from pathlib import Path

import dagster as dg

from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.definitions import build_defs
from tests.conftest import PLAYED, platform_at
from tests.vendor_replicas.wired import QUICK, vendor_at


def raw_prices(home: Path, *, recorded: bool) -> dg.ExecuteInProcessResult:
    """Materialises raw_prices with a vendor that is down, alone or beside the recording."""
    down = vendor_at("tiingo", "http://127.0.0.1:9", home, patience=replace(QUICK, retries=0))
    vendors = (RecordedVendor(), down) if recorded else (down,)
    platform = replace(platform_at(home), vendors=vendors)
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            return (
                build_defs(platform=platform)
                .resolve_job_def("epoch")
                .execute_in_process(
                    instance=instance,
                    partition_key=PLAYED[0].id,
                    asset_selection=[dg.AssetKey("raw_prices")],
                    raise_on_error=False,
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            )
    finally:
        platform.store.close()


def test_losses_stand_on_the_asset(tmp_path: Path) -> None:
    result = raw_prices(tmp_path, recorded=True)
    assert result.success
    (event,) = result.asset_materializations_for_node("raw_prices")
    said = event.metadata["vendors"].value
    assert said["recorded"] == {"rows": 20 * 66, "lost": {}}
    assert said["tiingo"]["rows"] == 0
    lost = [ticker for tickers in said["tiingo"]["lost"].values() for ticker in tickers]
    assert sorted(lost) == ["AAPL", "BRK.B", "KO", "XOM"]


def test_an_epoch_that_nobody_answers_for_fails_with_the_reason(tmp_path: Path) -> None:
    result = raw_prices(tmp_path, recorded=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.error_display_string
    assert "no vendor answered for any ticker: tiingo: no reply after 1 attempts" in said
