"""Epochs, standings and explanations as they were published; nothing is computed or left out."""

from pathlib import Path

import pandas as pd

from data_contracts.explanations import Explanations
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import MissingTable
from quanta_pipelines.adapters.published_marts import Publication
from quanta_pipelines.api.boards import settled_epoch, text, tier_of
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.responses import (
    EpochsResponse,
    SettledEpoch,
    StandingEntry,
    StandingsResponse,
)
from quanta_pipelines.api.services import Services

TABLE = "explanations"


def epochs(services: Services, publication: Publication) -> EpochsResponse:
    """Every settled epoch, the newest first."""
    rows = publication.epochs.sort_values("epoch_id", ascending=False).to_dict("records")
    found = [
        SettledEpoch(
            epoch_id=row["epoch_id"],
            has_consensus=bool(row["has_consensus"]),
            ranked=int(row["n_ranked"]),
            paid=int(row["n_paid"]),
            report=report_of(services, row["epoch_id"]).is_file(),
        )
        for row in rows
    ]
    return EpochsResponse(updated_at=publication.published_at, epochs=found)


def standings(services: Services, epoch_id: str) -> StandingsResponse:
    """Everyone who took part; raises ``not_explained`` where the epoch has no explanations."""
    entries = [
        StandingEntry(
            miner_hotkey=row["hotkey"],
            standing=row["standing"],
            reason=row["reason"],
            rank=None if pd.isna(row["rank"]) else int(row["rank"]),
            final_tier=tier_of(text(row["final_tier"])),
            payout_rao=str(int(row["payout_rao"])),
        )
        for row in _table(services, epoch_id).to_dict("records")
    ]
    return StandingsResponse(epoch_id=epoch_id, entries=entries)


def explanation(services: Services, epoch_id: str, hotkey: str, *, is_owner: bool) -> bytes:
    """A miner's explanation, as it was published: with what is its owner's for the owner alone."""
    table = _table(services, epoch_id)
    mine = table[table["hotkey"] == hotkey]
    if mine.empty:
        raise Problem("unknown_miner", f"{hotkey} took no part in {epoch_id}")
    row = mine.iloc[0]
    said, owned = row["explanation"], row["for_owner"] if is_owner else "null"
    return f'{said.removesuffix("}")},"for_owner":{owned}}}'.encode()


def report_of(services: Services, epoch_id: str) -> Path:
    """Where the page of an epoch lies, if there is one."""
    return services.settings.warehouse / "reports" / f"{epoch_id}.html"


def _table(services: Services, epoch_id: str) -> pd.DataFrame:
    """The explanations of a settled epoch, if they rest on the tables that stand there now."""
    settled_epoch(services, services.publication(), epoch_id)
    try:
        services.lake.version(TABLE, epoch_id)
        return services.table(TABLE, epoch_id, gates=Explanations.gates())
    except (MissingTable, GateNotPassed) as absent:
        raise Problem("not_explained", str(absent)) from absent
