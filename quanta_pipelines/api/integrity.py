"""One miner's integrity in the last settled epoch, from the mart and the table of pairs.

Its owner sees it as soon as it is published, others once the epoch's sessions are over: pairs tell
what portfolios have in common.
"""

from typing import Any

import pandas as pd

from quanta_pipelines.api.boards import number
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.responses.integrity import (
    CaseSummary,
    ClusterEvidence,
    IntegrityResponse,
    OriginalityEvidence,
    PlagiarismEvidence,
    SessionWindow,
    SimilarPair,
    StakeEvidence,
    VarianceEvidence,
)
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.epoch import Epoch, sessions_before
from quanta_pipelines.protocol.params import QUANTA


def miner_integrity(services: Services, hotkey: str, *, is_owner: bool) -> IntegrityResponse:
    """What is said of a miner; raises ``unknown_miner`` where the epoch has no portfolio of it."""
    publication = services.publication()
    epoch_id = publication.settled[-1]
    report = publication.integrity
    found = report[(report["epoch_id"] == epoch_id) & (report["hotkey"] == hotkey)]
    hidden = not is_owner and services.now() < Epoch.parse(epoch_id).closes_at
    if found.empty or hidden:
        raise Problem("unknown_miner", f"{hotkey} holds no portfolio in {epoch_id}")
    row = found.iloc[0]
    return IntegrityResponse(
        miner_hotkey=hotkey,
        epoch_id=epoch_id,
        standing=row["standing"],
        originality=_originality(row),
        variance=_variance(row, epoch_id),
        cluster=_cluster(row),
        plagiarism=PlagiarismEvidence(
            suspected=row["plagiarism_suspected"],
            of=_text(row["suspected_of"]),
            epochs=row["suspect_epochs"],
            threshold=row["suspect_threshold"],
        ),
        stake=StakeEvidence(
            stake_rao=_rao(row["stake_rao"]),
            least_rao=_rao(row["least_stake_rao"]),
            below=row["below_least_stake"],
        ),
        contribution=number(row["contribution"]),
        confirmed_cases=row["n_confirmed"],
        case=_case(row),
        pairs=_pairs(services.table("portfolio_similarity", epoch_id), hotkey),
    )


def _originality(row: Any) -> OriginalityEvidence:
    return OriginalityEvidence(
        factor=number(row["originality"]),
        correlation=number(row["correlation"]),
        threshold=row["correlation_threshold"],
        earlier_hotkey=_text(row["earlier_hotkey"]),
        earlier_since_epoch=_text(row["earlier_since_epoch"]),
        own_since_epoch=_text(row["own_since_epoch"]),
        shared_weight=number(row["shared_weight"]),
        window=SessionWindow(
            sessions=row["active_sessions"],
            first=_text(row["first_session"]),
            last=_text(row["last_session"]),
        ),
        reason=row["active_reason"],
    )


def _variance(row: Any, epoch_id: str) -> VarianceEvidence:
    """The ratio rests on the last sessions up to the epoch's last one, where there is a ratio."""
    ratio, none = number(row["variance_ratio"]), SessionWindow(sessions=0, first=None, last=None)
    count, last = QUANTA.security.variance_sessions, Epoch.parse(epoch_id).sessions[-1]
    first = [*sessions_before(last, count - 1), last][0]
    known = SessionWindow(sessions=count, first=first.isoformat(), last=last.isoformat())
    return VarianceEvidence(
        factor=number(row["variance_factor"]),
        ratio=ratio,
        threshold=row["variance_threshold"],
        high_epochs=row["variance_high_epochs"],
        flagged=row["variance_flag"],
        window=none if ratio is None else known,
    )


def _cluster(row: Any) -> ClusterEvidence:
    return ClusterEvidence(
        position_of=row["cluster_id"],
        identities=row["cluster_size"],
        ranked_by_another=row["cluster_member"],
        links=[link for link in row["cluster_link"].split(",") if link],
        most_alike=_text(row["cluster_other"]),
        correlation=number(row["cluster_correlation"]),
        threshold=row["cluster_threshold"],
        window=SessionWindow(
            sessions=row["cluster_sessions"],
            first=None,
            last=_text(row["cluster_last_session"]),
        ),
    )


def _case(row: Any) -> CaseSummary | None:
    if pd.isna(row["case_id"]):
        return None
    return CaseSummary(
        case_id=row["case_id"],
        state=row["case_state"],
        opened_epoch=row["case_opened_epoch"],
        decide_by=row["case_decide_by"],
    )


def _pairs(similarity: pd.DataFrame, hotkey: str) -> list[SimilarPair]:
    """Every comparison that the miner is one side of, in the order of the table."""
    own = similarity[(similarity["hotkey"] == hotkey) | (similarity["other_hotkey"] == hotkey)]
    return [
        SimilarPair(
            hotkey=row["hotkey"],
            other_hotkey=row["other_hotkey"],
            measure=row["measure"],
            held_epoch=row["held_epoch"],
            lag=row["lag"],
            correlation=number(row["correlation"]),
            correlation_threshold=number(row["correlation_threshold"]),
            window=SessionWindow(
                sessions=row["sessions"],
                first=_day(row["first_session"]),
                last=_day(row["last_session"]),
            ),
            shared_tickers=row["shared_tickers"],
            overlap=row["overlap"],
            overlap_threshold=row["overlap_threshold"],
            shared_weight=row["shared_weight"],
            shared_weight_threshold=row["shared_weight_threshold"],
            tickers_in_use=row["tickers_in_use"],
            log10_chance=row["log10_chance"],
            log10_chance_threshold=row["log10_chance_threshold"],
            since_epoch=_text(row["since_epoch"]),
            other_since_epoch=_text(row["other_since_epoch"]),
            earlier_hotkey=_text(row["earlier_hotkey"]),
        )
        for _, row in own.iterrows()
    ]


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _day(value: Any) -> str | None:
    return None if pd.isna(value) else f"{value:%Y-%m-%d}"


def _rao(value: Any) -> str | None:
    return None if pd.isna(value) else str(int(value))
