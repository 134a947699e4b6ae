# ruff: noqa: E402  threads are limited before numpy is imported
"""What one more epoch costs after 10, 30, 150 or 500 of them, by what the time is spent on.

Takes the home of a played demo and copies it. Where more epochs are asked for than were played,
the tables that an epoch reads of all earlier ones, ``portfolios`` and ``ledger_entries``, are
published again under the ids of the weeks before: simulated history, real tables. Where fewer are,
the later ones are taken away. Then the last epoch is run anew, through Dagster, in a process of its
own as the weekly schedule does. Processor time; nothing is asserted.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

for threads in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{threads}_NUM_THREADS"] = "1"

import click

READ_OF_ALL = ("portfolios", "ledger_entries")


@click.command()
@click.option("--home", type=click.Path(path_type=Path, exists=True), default=Path("var"))
@click.option("--after", multiple=True, type=int, default=(10, 30, 150, 500), show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(home: Path, after: tuple[int, ...], out: Path | None) -> None:
    """Print a line for each length of history."""
    found = []
    for epochs in after:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(home, Path(folder) / "home"))
            command = [sys.executable, __file__, "--one", str(copy), str(epochs)]
            done = subprocess.run(  # noqa: S603 - this very file
                command, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise click.ClickException(done.stderr)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        click.echo(json.dumps(found[-1]))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")


def one(home: Path, epochs: int) -> dict[str, Any]:
    """Seconds of the last epoch of a home whose history is made that long."""
    from quanta_pipelines.adapters.lake import Lake
    from quanta_pipelines.protocol.epoch import Epoch

    lake = Lake(str(home / "lake"))
    played = [Epoch.parse(name) for name in lake.epochs("ledger_entries")]
    at = min(epochs, len(played)) - 1
    for epoch in played[at:]:
        _remove(home / "lake", epoch.id)
    last, first = played[at], _earlier(played[at], epochs - 1)
    if first < played[0]:
        _lengthen(lake, Epoch.range(first, played[0].previous()), played[:at])
    os.environ["QUANTA_HOME"], os.environ["QUANTA_FIRST_EPOCH"] = str(home), first.id
    return {"epochs": epochs, "epoch": last.id} | _measured(last)


def _earlier(epoch: Any, steps: int) -> Any:
    for _ in range(steps):
        epoch = epoch.previous()
    return epoch


def _remove(lake: Path, epoch_id: str) -> None:
    """Take an epoch out of the lake, its versions, their order and its verdicts too."""
    for path in lake.glob(f"*/{epoch_id}.parquet"):
        path.unlink()
    for kind in ("_versions", "_order", "_gates"):
        for folder in lake.glob(f"*/{kind}/{epoch_id}"):
            shutil.rmtree(folder)


def _lengthen(lake: Any, weeks: list[Any], played: list[Any]) -> None:
    """Publish earlier weeks: the played epochs' tables over and over, under other ids."""
    from data_contracts.tables import CONTRACTS

    for table in READ_OF_ALL:
        kept = [lake.load(table, epoch.id) for epoch in played]
        for at, week in enumerate(weeks):
            source = kept[at % len(kept)]
            frame = source.frame.assign(epoch_id=week.id)
            for column in {"source_epoch", "history_epoch", "booked_in"} & set(frame.columns):
                frame[column] = week.id
            version = source.version
            made = lake.publish(
                table,
                week.id,
                frame,
                params_version=version.params_version,
                code_version=version.code_version,
            )
            for gate in CONTRACTS[table].gates():
                lake.record_verdict(
                    table, week.id, gate, passed=True, content_hash=made.content_hash, detail=""
                )


def _measured(epoch: Any) -> dict[str, Any]:
    """One run of the epoch job, split by what it spends its time on."""
    from quanta_pipelines import contract_type
    from quanta_pipelines.adapters.lake import Lake
    from quanta_pipelines.backfill import Backfill, recorded_instance
    from quanta_pipelines.definitions import defs
    from quanta_pipelines.settings import current_settings

    spent: Counter[str] = Counter()
    for name in ("load", "publish", "publications", "record_verdict"):
        _count(Lake, name, spent, f"lake: {name}")
    _count(contract_type, "audit", spent, "contracts")
    _count(contract_type.Step, "__call__", spent, "rules and what they read")
    with recorded_instance(current_settings()) as instance:
        began = time.process_time()
        outcome = Backfill(defs, instance).epoch(epoch)
        total = time.process_time() - began
    if not outcome.succeeded:
        raise RuntimeError("; ".join(outcome.problems))
    return {
        "seconds": round(total, 2),
        "spent": {name: round(value, 2) for name, value in spent.most_common()},
        "load": round(os.getloadavg()[0], 1),
    }


def _count(owner: Any, name: str, spent: Counter[str], label: str) -> None:
    """Add the processor time of a function to a label; calls inside it count there too."""
    inner: Callable[..., Any] = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return inner(*arguments, **options)
        finally:
            spent[label] += time.process_time() - began
            if label.startswith("rules"):
                spent[f"rules: {arguments[0].name}"] += time.process_time() - began

    setattr(owner, name, counted)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
