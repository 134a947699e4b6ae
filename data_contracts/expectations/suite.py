"""A Great Expectations suite of statistics with limits: run on a table, and what it found.

``prices`` and ``marts`` say which table and which statistics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from data_contracts.expectations.limits import TRAILING_EPOCHS, Limits, Statistic

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a suite stands in the Data Docs: its name, the source and the kind of its batches."""

    suite: str
    source: str
    batch: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation of one epoch; ``observed`` is NaN where the table has no such number."""

    expectation: str
    observed: float
    limits: Limits
    passed: bool
    problem: str = ""

    def row(self) -> dict[str, str]:
        """As a row of text, for people."""
        written = self.limits.statistic.written
        return {
            "expectation": self.expectation,
            "observed": written(self.observed),
            "at least": written(self.limits.low),
            "at most": written(self.limits.high),
            "result": "as expected" if self.passed else self.problem or "not as expected",
            "basis": self.limits.basis,
        }


@dataclass(frozen=True, slots=True)
class Quality:
    """What the suite found in one epoch.

    ``compared_with`` are the earlier epochs, oldest first; ``page`` is the epoch's page below the
    folder of the Data Docs.
    """

    epoch_id: str
    findings: tuple[Finding, ...]
    compared_with: tuple[str, ...]
    page: str

    @property
    def passed(self) -> bool:
        """Whether the epoch is as expected."""
        return all(finding.passed for finding in self.findings)

    @property
    def comparison(self) -> str:
        """Which epochs were compared with, in words."""
        return comparison_in_words(self.compared_with)


def comparison_in_words(epochs: Sequence[str]) -> str:
    """Which earlier epochs an epoch is compared with; fewer than a full history is said."""
    if not epochs:
        return "no earlier epoch is published: only limits that always hold"
    count = f"{len(epochs)} earlier epoch{'s' if len(epochs) > 1 else ''}"
    span = epochs[0] if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    missing = TRAILING_EPOCHS - len(epochs)
    return f"{count}, {span}" + (f"; {missing} fewer than {TRAILING_EPOCHS}" if missing > 0 else "")


def judge_table(
    cells: pd.DataFrame,
    limits: Sequence[Limits],
    compared_with: Sequence[str],
    *,
    place: Place,
    epoch_id: str,
    closes_at: datetime,
    folder: str,
) -> Quality:
    """Run the suite of ``limits`` on ``cells`` and put its page into the Data Docs.

    ``cells`` has the column that each statistic is ``of``; ``compared_with`` are the earlier
    epochs, oldest first; ``folder`` is the folder of the Data Docs, which keeps one page a suite
    and epoch. Raises what Great Expectations raises.
    """
    from data_contracts.expectations.data_docs import publish

    suite = _suite(place.suite, limits, comparison_in_words(compared_with))
    result = _validated(_shown_cells(cells, limits), suite, place)
    page = publish(result, batch=place.batch, epoch_id=epoch_id, closes_at=closes_at, folder=folder)
    return Quality(epoch_id, _findings(result, limits), tuple(compared_with), page)


def _suite(name: str, limits: Sequence[Limits], comparison: str) -> "ExpectationSuite":
    """One expectation per statistic, its limits and where they come from in words and in meta."""
    import great_expectations as gx

    expectations = [_expectation(each) for each in limits]
    return gx.ExpectationSuite(name, expectations=expectations, meta={"compared_with": comparison})


def _validated(
    cells: pd.DataFrame, suite: "ExpectationSuite", place: Place
) -> "ExpectationSuiteValidationResult":
    from data_contracts.expectations.data_docs import quiet_context

    asset = quiet_context().data_sources.add_pandas(place.source).add_dataframe_asset(place.suite)
    batch = asset.add_batch_definition_whole_dataframe("epoch")
    return batch.get_batch({"dataframe": cells}).validate(suite)


def _shown_cells(cells: pd.DataFrame, limits: Sequence[Limits]) -> pd.DataFrame:
    """The judged columns under the names and in the units that a page shows."""
    return pd.DataFrame(
        {
            _column(statistic): cells[statistic.of] * _PERCENT
            if statistic.percent
            else cells[statistic.of]
            for statistic in (each.statistic for each in limits)
        }
    )


def _column(statistic: Statistic) -> str:
    return statistic.of.replace("_", " ") + (", percent" if statistic.percent else "")


def _expectation(limits: Limits) -> "Expectation":
    import great_expectations.expectations as gxe

    statistic = limits.statistic
    kinds: dict[str, Any] = {
        "mean": gxe.ExpectColumnMeanToBeBetween,
        "median": gxe.ExpectColumnMedianToBeBetween,
        "stdev": gxe.ExpectColumnStdevToBeBetween,
        "distinct": gxe.ExpectColumnUniqueValueCountToBeBetween,
    }
    low, high = _bounds(limits)
    expectation: Expectation = kinds[statistic.by](
        column=_column(statistic),
        min_value=low,
        max_value=high,
        severity="warning",
        description=(
            f"{statistic.words}: {statistic.between(limits.low, limits.high)}. {limits.basis}"
            + (f" {statistic.why}" if statistic.why else "")
        ),
        notes=limits.basis,
        meta={
            "statistic": statistic.name,
            "usual": None if math.isnan(limits.usual) else limits.usual,
            "robust_sigma": None if math.isnan(limits.sigma) else limits.sigma,
            "earlier_epochs": limits.epochs,
        },
    )
    return expectation


def _bounds(limits: Limits) -> tuple[float, float | None]:
    """In the unit that a page shows; a count is a whole number, an open end is nothing."""
    factor = _PERCENT if limits.statistic.percent else 1.0
    low, high = limits.low * factor, limits.high * factor
    if limits.statistic.by == "distinct":
        low, high = math.ceil(low), high if math.isinf(high) else math.floor(high)
    return low, None if math.isinf(high) else high


def _findings(
    result: "ExpectationSuiteValidationResult", limits: Sequence[Limits]
) -> tuple[Finding, ...]:
    """In the order of the statistics; the result has an order of its own."""
    by_name = {
        found.expectation_config.meta["statistic"]: found
        for found in result.results
        if found.expectation_config is not None
    }
    findings = []
    for each in limits:
        found = by_name[each.statistic.name]
        observed = found.result.get("observed_value")
        factor = _PERCENT if each.statistic.percent else 1.0
        raised = found.exception_info.get("raised_exception", False)
        findings.append(
            Finding(
                expectation=each.statistic.words,
                observed=math.nan if observed is None else float(observed) / factor,
                limits=each,
                passed=bool(found.success),
                problem=str(found.exception_info["exception_message"]) if raised else "",
            )
        )
    return tuple(findings)
