"""Write, audit, publish: what every asset of an epoch does around its one protocol call.

``epoch_asset`` reads the inputs by name once their gates have passed, runs the function, audits
the result against its contract and only then publishes it. A table that breaks its contract never
becomes visible; its offending rows stand on the failed check of that partition, and the recorded
verdict also stops a later run of the downstream assets alone.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import pandas as pd
import pandera.errors
from pandera.pandas import Check

from data_contracts.contract import EpochTable
from data_contracts.tables import CONTRACTS, STAGE_OF, TABLES, table_name
from quanta_pipelines.adapters.code_version import code_version
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import MissingTable, content_hash
from quanta_pipelines.adapters.table_format import UnsupportedColumn
from quanta_pipelines.books import require_unsettled
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.resources import EpochRun, Platform

OWNERS = ["team:quanta"]
SHOWN_ROWS = 20
RESTATE_TAG = "quanta/restate"  # of a run that settles a settled epoch again; its value says why

Frames = Mapping[str, pd.DataFrame]
Link = dg.UrlMetadataValue | dg.PathMetadataValue
Function = Callable[..., pd.DataFrame | Frames]


@dataclass(frozen=True)
class Step:
    """What one asset computes, without its orchestrator: tables by name in, tables by name out."""

    name: str
    tables: tuple[str, ...]
    inputs: tuple[str, ...]
    function: Function

    def __call__(self, run: EpochRun, tables: Frames) -> dict[str, pd.DataFrame]:
        """The step's tables, computed from ``tables`` and nothing of the lake's current epoch."""
        arguments: dict[str, object] = {name: tables[name] for name in self.inputs}
        if "run" in inspect.signature(self.function).parameters:
            arguments["run"] = run
        result = self.function(**arguments)
        frames = result if isinstance(result, Mapping) else {self.tables[0]: result}
        return {name: frames[name] for name in self.tables}


STEPS: dict[str, Step] = {}  # of every asset that was imported, by name


def epoch_asset(
    *contracts: type[EpochTable],
    pool: str | None = None,
    due: Callable[[Epoch, ProtocolParams], datetime] = settles_at,
    metadata: Mapping[str, Link] | None = None,
) -> Callable[[Function], dg.AssetsDefinition]:
    """Turn a function into the asset or assets that ``contracts`` describe.

    The function's parameters are the names of upstream tables, and ``run`` for the epoch. It
    returns the table, or one table per contract by name. Before ``due`` it refuses to run.
    ``metadata`` stands on the assets beside their schema.
    """

    def decorate(function: Function) -> dg.AssetsDefinition:
        inputs = [name for name in inspect.signature(function).parameters if name != "run"]
        names = [table_name(contract) for contract in contracts]
        work = Step(function.__name__, tuple(names), tuple(inputs), function)
        STEPS[work.name] = work

        @dg.multi_asset(
            name=function.__name__,
            specs=[
                _spec(contract, inputs, function.__doc__, metadata or {}) for contract in contracts
            ],
            check_specs=[_contract_check(name) for name in names],
            partitions_def=EPOCHS,
            required_resource_keys={"platform"},
            pool=pool,
        )
        def step(
            context: dg.AssetExecutionContext,
        ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
            run = start_run(
                context.resources.platform,
                context.partition_key,
                due,
                restates=context.run.tags.get(RESTATE_TAG, ""),
            )
            with explained():
                frames = work(
                    run, {name: run.read(name, CONTRACTS[name].gates()) for name in inputs}
                )
                require_unsettled(run, frames)
            yield from write_audit_publish(run, frames)

        return step

    return decorate


def start_run(
    platform: Platform,
    epoch_id: str,
    due: Callable[[Epoch, ProtocolParams], datetime],
    *,
    restates: str = "",
) -> EpochRun:
    """The run of one epoch; refuses an epoch before its prices, votes or disputes are final."""
    epoch = Epoch.parse(epoch_id)
    moment = due(epoch, platform.params)
    if platform.clock() < moment:
        reason = due.__name__.replace("_", " ")
        raise dg.Failure(
            f"too early: {epoch_id} {reason} {moment:%Y-%m-%d %H:%M} UTC", allow_retries=False
        )
    return EpochRun(platform, epoch, restates=restates)


@contextmanager
def explained() -> Iterator[None]:
    """Turn an absent or refused input into a failure that says what to do and is not retried."""
    try:
        yield
    except (MissingTable, GateNotPassed) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def write_audit_publish(
    run: EpochRun, frames: Frames
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Publish the tables of one step, all or none of them, and report each contract's verdict."""
    failures = {name: audit(TABLES[name], frame, run.id) for name, frame in frames.items()}
    if any(failure is not None for failure in failures.values()):
        for name, failure in failures.items():
            yield _refused(run, name, frames[name], failure)
        return
    for name, frame in frames.items():
        yield _published(run, name, frame)


def audit(contract: type[EpochTable], frame: pd.DataFrame, epoch_id: str) -> pd.DataFrame | None:
    """Failure cases of a table against its contract, nothing when it keeps it.

    Beyond its contract a table belongs to the epoch that is run, and the lake can hold its types.
    """
    schema = contract.to_schema()
    if "epoch_id" not in frame or not frame["epoch_id"].eq(epoch_id).all():
        # copying a schema costs as much as keeping it, so only where rows are to be named
        schema = schema.update_column("epoch_id", checks=Check.equal_to(epoch_id))
    try:
        schema.validate(frame, lazy=True)
        content_hash(frame, table_name(contract))
    except pandera.errors.SchemaErrors as errors:
        cases: pd.DataFrame = errors.failure_cases
        return cases
    except UnsupportedColumn as error:
        return pd.DataFrame({"column": [""], "check": [str(error)], "failure_case": "", "index": 0})
    return None


def rows_table(frame: pd.DataFrame) -> dg.TableMetadataValue:
    """The first rows of a frame as the UI shows them."""
    shown = frame.head(SHOWN_ROWS).astype(object).where(frame.head(SHOWN_ROWS).notna(), "")
    records = [
        dg.TableRecord({str(column): str(value) for column, value in row.items()})
        for row in shown.to_dict("records")
    ]
    columns = [dg.TableColumn(str(column)) for column in frame.columns]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _published(run: EpochRun, name: str, frame: pd.DataFrame) -> dg.MaterializeResult[None]:
    lake = run.platform.lake
    version = lake.publish(
        name,
        run.id,
        frame,
        **run.platform.stamp(),
        unless_changed=run.publications.get(name),
    )
    lake.record_verdict(
        name,
        run.id,
        "contract",
        passed=True,
        content_hash=version.content_hash,
        detail="",
        inputs=run.inputs,
    )
    return dg.MaterializeResult(
        asset_key=name,
        data_version=dg.DataVersion(version.content_hash),
        check_results=[
            dg.AssetCheckResult(
                asset_key=name,
                check_name="contract",
                passed=True,
                metadata={"rows": version.rows},
            )
        ],
        metadata={
            "dagster/row_count": version.rows,
            "dagster/uri": version.path,
            "epoch": run.id,
            "rests on": dict(run.inputs),
            "first rows": rows_table(frame.head(5)),
            "content_hash": version.content_hash,
            **run.remarks,
            **run.platform.stamp(),
        },
    )


def _refused(
    run: EpochRun, name: str, frame: pd.DataFrame, failure: pd.DataFrame | None
) -> dg.AssetCheckResult:
    """A failed verdict; a table that keeps its contract waits for the one beside it."""
    if failure is None:
        detail, rows = "another table of this step broke its contract", frame.head(0)
    else:
        broken = sorted({str(check) for check in failure["check"]})
        detail = f"{name} {run.id} breaks its contract: {', '.join(broken)}"
        at = failure["index"].dropna().unique()
        rows = frame.loc[frame.index.isin(at)]
    run.platform.lake.record_verdict(
        name, run.id, "contract", passed=False, content_hash=None, detail=detail
    )
    return dg.AssetCheckResult(
        asset_key=name,
        check_name="contract",
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=detail,
        metadata={
            "epoch": run.id,
            "rows": len(frame),
            "offending_rows": len(rows),
            "worst rows": rows_table(rows),
            "broken": rows_table(
                pd.DataFrame() if failure is None else failure[["column", "check", "failure_case"]]
            ),
            "refused_content_hash": _hash_or_reason(frame),
            **run.remarks,
            **run.platform.stamp(),
        },
    )


def _hash_or_reason(frame: pd.DataFrame) -> str:
    """Hash of a refused table; its columns may be of a type that no table may have."""
    try:
        return content_hash(frame)
    except (TypeError, ValueError) as error:
        return f"none: {error}"


def _spec(
    contract: type[EpochTable],
    inputs: list[str],
    doc: str | None,
    metadata: Mapping[str, Link],
) -> dg.AssetSpec:
    name = table_name(contract)
    grain = inspect.cleandoc(contract.__doc__ or "")
    return dg.AssetSpec(
        name,
        deps=inputs,
        group_name=STAGE_OF[name],
        description=f"{grain}\n\n{inspect.cleandoc(doc or '')}",
        owners=OWNERS,
        kinds={"pandas", "parquet"},
        code_version=code_version()[:12],
        skippable=True,
        metadata={"dagster/column_schema": column_schema(contract), **metadata},
    )


def _contract_check(name: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "contract",
        asset=name,
        blocking=True,
        partitions_def=EPOCHS,
        description=f"The table has the shape that {TABLES[name].__name__} promises.",
    )


def column_schema(contract: type[EpochTable]) -> dg.TableSchema:
    """A contract as the UI shows it: columns with types, limits and descriptions."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=contract.key() == (name,),
                    other=[limit_in_words(check) for check in column.checks],
                ),
            )
            for name, column in contract.to_schema().columns.items()
        ]
    )


def limit_in_words(check: Check) -> str:
    """One limit of a column, as a reader would say it."""
    words = {
        "greater_than": "above {min_value:g}",
        "greater_than_or_equal_to": "at least {min_value:g}",
        "less_than_or_equal_to": "at most {max_value:g}",
        "isin": "one of {allowed_values}",
        "str_matches": "matches {pattern}",
    }
    return words[str(check.name)].format(**(check.statistics or {}))
