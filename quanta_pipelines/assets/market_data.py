"""Stage market_data: what vendors say, and the one price that is settled from it."""

import dagster as dg
import pandas as pd

from data_contracts.market_data import PriceCorrections, RawPrices, ValidatedPrices
from quanta_pipelines.adapters.price_vendors import loss_report, raw_rows
from quanta_pipelines.contract_type import epoch_asset
from quanta_pipelines.protocol import oracle
from quanta_pipelines.resources import DataDocs, EpochRun
from quanta_pipelines.settings import current_settings

_SETTINGS = current_settings()
DATA_DOCS = DataDocs(_SETTINGS.data_docs, _SETTINGS.data_docs_url).link()


@epoch_asset(RawPrices, pool="vendors")
def raw_prices(run: EpochRun) -> pd.DataFrame:
    """Asks every configured vendor and stores what it answers, unchanged."""
    outcomes = run.platform.ask_vendors(run.epoch, run.sessions[-1])
    run.remarks["vendors"] = dg.MetadataValue.json(loss_report(outcomes))
    return raw_rows(outcomes, run.epoch)


@epoch_asset(PriceCorrections)
def price_corrections(run: EpochRun) -> pd.DataFrame:
    """Takes the corrections that stand for the observed sessions from the signal store."""
    return run.platform.corrections(run.epoch)


@epoch_asset(ValidatedPrices, metadata={"data docs": DATA_DOCS})
def validated_prices(
    run: EpochRun, raw_prices: pd.DataFrame, price_corrections: pd.DataFrame
) -> pd.DataFrame:
    """Compares vendors, settles one close per session, and fixes who may be held.

    The check ``price_quality`` compares the epoch's prices with those of the epochs before and
    links their page in the Data Docs.
    """
    return oracle.epoch_prices(
        raw_prices,
        epoch_id=run.id,
        sessions=run.sessions,
        entry_session=run.epoch.entry_session,
        params=run.params,
        corrections=price_corrections,
    )
