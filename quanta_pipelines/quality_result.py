"""What expectations found, as the result of a check that warns and stops nothing.

An expectation that cannot be evaluated is a warning too, with its reason: whatever happens here, an
epoch goes on.
"""

import traceback
from collections.abc import Callable

import dagster as dg
import pandas as pd

from data_contracts.expectations.suite import Quality
from quanta_pipelines.contract_type import rows_table
from quanta_pipelines.resources import DataDocs


def quality_result(
    judge: Callable[[], Quality], data_docs: DataDocs, *, subject: str, epoch_id: str | None = None
) -> dg.AssetCheckResult:
    """What ``judge`` finds; ``subject`` names what is judged, ``epoch_id`` its epoch if known."""
    try:
        quality = judge()
    except Exception as error:  # a warning must never fail the epoch that it is about
        return _not_judged(subject, epoch_id, error)
    return _judged(data_docs, quality)


def _judged(data_docs: DataDocs, quality: Quality) -> dg.AssetCheckResult:
    odd = [finding.expectation for finding in quality.findings if not finding.passed]
    return dg.AssetCheckResult(
        passed=quality.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(odd) or None,
        metadata={
            "epoch": quality.epoch_id,
            "data docs": data_docs.link(quality.page),
            "compared with": quality.comparison,
            "expectations": rows_table(pd.DataFrame([one.row() for one in quality.findings])),
            **{
                one.limits.statistic.name: one.observed
                for one in quality.findings
                if one.observed == one.observed  # the UI plots numbers over epochs
            },
        },
    )


def _not_judged(subject: str, epoch_id: str | None, error: Exception) -> dg.AssetCheckResult:
    reason = f"{subject} could not be judged: {type(error).__name__}: {error}"
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=reason,
        metadata={
            **({"epoch": epoch_id} if epoch_id else {}),
            "reason": reason,
            "traceback": dg.MetadataValue.text("".join(traceback.format_exception(error))),
        },
    )
