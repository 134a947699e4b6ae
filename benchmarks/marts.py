"""What one more epoch costs the marts after ten years, and what a look at the leaderboard costs.

Tables of one settled epoch, of `make demo`, are repeated: its miners several times under other
hotkeys, its tickers under other names, for each week of ten years. Prices look back over their
sixty sessions in the new epoch alone. Beside the published file stands a peer: the same leaderboard
as 260 small Parquet files, read by the same DuckDB. Processor and wall time; nothing is asserted.
"""

import hashlib
import os
import statistics
import string
import time
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from quanta_pipelines.adapters.dbt_runs import DBT_PROJECT, model_names, parse_manifest, tables_read
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.protocol.epoch import Epoch

FIRST = Epoch.parse("2015-Q1-W02")
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
OF_THE_EPOCH = ("epoch_id", "booked_in", "earned_epoch")
TICKERS = 500
PEER_FILES = 260
QUERY = (
    "select rank, hotkey, composite, tier, return_30d, payout_rao from {} "
    "where epoch_id = ? order by rank limit 50"
)


def main_tables(lake: Path, copies: int) -> dict[str, pa.Table]:
    """Every table of the lake's last epoch, grown; prices without what lies before the epoch."""
    epoch = max(path.stem for path in (lake / "rewards").glob("*.parquet"))
    frames = {name: pd.read_parquet(lake / name / f"{epoch}.parquet") for name in tables_read()}
    sessions = frames["validated_prices"]["session"]
    raw = frames["raw_prices"]
    frames["raw_prices"] = raw[raw["session"].isin(sessions)]
    frames["raw_prices_of_the_last"] = raw
    keys = sorted(
        set(frames["participants"]["hotkey"]) - set(frames["validator_results"]["validator"])
    )
    types = {name: pq.read_schema(lake / name / f"{epoch}.parquet") for name in tables_read()}
    types["raw_prices_of_the_last"] = types["raw_prices"]
    return {
        name: pa.Table.from_pandas(
            _grown(name, frame, keys, copies),
            schema=types[name].remove_metadata(),
            preserve_index=False,
        )
        for name, frame in frames.items()
    }


def _grown(name: str, frame: pd.DataFrame, keys: list[str], copies: int) -> pd.DataFrame:
    if "prices" in name:
        parts = _other_tickers(frame)
    elif name in ("validator_results", "validator_collusion"):
        parts = [frame]
    else:
        copies = 1 if name == "integrity_cases" else copies
        parts = [_renamed(frame, keys, at) for at in range(copies)]
    return _numbered(name, frame, pd.concat(parts, ignore_index=True), copies)


def _numbered(name: str, frame: pd.DataFrame, whole: pd.DataFrame, copies: int) -> pd.DataFrame:
    """Ranks go on from copy to copy; what is counted is counted anew."""
    for number in ("entry", "reveal_id"):
        if number in whole:
            whole[number] = range(1, len(whole) + 1)
    if name == "participants":
        whole = whole.drop_duplicates("hotkey").assign(uid=pd.NA).astype({"uid": "Int64"})
    for rank in ("rank", "score_rank"):
        if rank in whole:
            step = frame[rank].max()
            offset = pd.Series(range(copies)).repeat(len(frame)).to_numpy() * int(step)
            whole[rank] = (whole[rank] + offset).astype("Int64")
    return whole


def _other_tickers(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The same prices under other names, and under their own, as portfolios hold them."""
    many = -(-TICKERS // frame["ticker"].nunique())
    names = ["Z" + "".join(letters) for letters in product(string.ascii_uppercase, repeat=3)]
    old = sorted(frame["ticker"].unique())
    maps = [dict(zip(old, names[at::many], strict=False)) for at in range(1, many)]
    return [*(frame.assign(ticker=frame["ticker"].map(other)) for other in maps), frame]


def _renamed(frame: pd.DataFrame, keys: list[str], at: int) -> pd.DataFrame:
    """The same rows of other miners, also where an account names them."""
    other = {key: _key(key, at) for key in keys}
    changed = frame.copy()
    for column in frame.select_dtypes(object).columns:
        values = {value: _with_key(str(value), other) for value in frame[column].dropna().unique()}
        changed[column] = frame[column].map(values)
    return changed


def _with_key(value: str, other: Mapping[str, str]) -> str:
    kind, colon, key = value.rpartition(":")
    return f"{kind}{colon}{other.get(key, key)}"


def _key(key: str, at: int) -> str:
    digest = hashlib.sha512(f"{key} {at}".encode()).digest()
    return "5" + "".join(BASE58[byte % 58] for byte in digest[:47])


def write_epoch(lake: Path, tables: Mapping[str, pa.Table], epoch: str, *, last: bool) -> None:
    """One epoch's files; the last one's observations look back."""
    for name in tables_read():
        rows = tables["raw_prices_of_the_last" if last and name == "raw_prices" else name]
        for column in OF_THE_EPOCH:
            if column in rows.column_names:
                at = rows.column_names.index(column)
                rows = rows.set_column(at, column, pa.array([epoch] * len(rows), pa.string()))
        (lake / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, lake / name / f"{epoch}.parquet", compression="zstd")


def timed_build(warehouse: Warehouse, lake: Path, epochs: list[str], marts: tuple[str, ...]) -> str:
    """A build, in words; an error if a test of the marts failed."""
    wall, processor = time.monotonic(), time.process_time()
    build = warehouse.build(str(lake), epochs, marts)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    if not build.passed:
        raise click.ClickException(str([node for node in build.nodes if not node.passed]))
    return (
        f"{len(build.epochs):4} epochs read, {len(build.nodes)} models and tests: "
        f"{processor:.1f} s of processor time, {wall:.1f} s wall"
    )


def milliseconds(run: Callable[[], object], repeat: int = 40) -> str:
    """Median and worst of some runs, wall time."""
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - start))
    return f"median {statistics.median(taken):.1f} ms, slowest {max(taken):.1f} ms"


def look(warehouse: Warehouse, folder: Path, epoch: str) -> None:
    """The leaderboard's query on the published file, beside small Parquet files."""
    place = str(warehouse.database)
    with duckdb.connect(place, read_only=True) as connection:
        rows = connection.execute("from leaderboard").to_arrow_table()
        click.echo(f"leaderboard: {len(rows):,} rows")
        click.echo(f"  published file, open: {asked(connection, 'leaderboard', epoch)}")

    def opened() -> object:
        with duckdb.connect(place, read_only=True) as fresh:
            return fresh.execute(QUERY.format("leaderboard"), [epoch]).fetchall()

    click.echo(f"  published file, opened for it: {milliseconds(opened)}")
    many = folder / "many"
    many.mkdir()
    size = -(-len(rows) // PEER_FILES)
    for at in range(PEER_FILES):
        pq.write_table(rows.slice(at * size, size), many / f"{at:03}.parquet", compression="zstd")
    with duckdb.connect() as connection:
        small, one = f"'{many}/*.parquet'", f"'{warehouse.mart('leaderboard')}'"
        click.echo(f"  {PEER_FILES} Parquet files: {asked(connection, small, epoch)}")
        click.echo(f"  the one Parquet file: {asked(connection, one, epoch)}")


def asked(connection: duckdb.DuckDBPyConnection, source: str, epoch: str) -> str:
    """The query on a table or on files, in words."""
    return milliseconds(lambda: connection.execute(QUERY.format(source), [epoch]).fetchall())


@click.command()
@click.option("--home", type=Path, default=Path("var"), show_default=True, help="Of make demo.")
@click.option(
    "--epochs", type=int, default=520, show_default=True, help="History before the new epoch."
)
@click.option("--copies", type=int, default=8, show_default=True, help="Of each miner.")
def main(home: Path, epochs: int, copies: int) -> None:
    """Time a full build, the build of one new epoch, and the leaderboard's query."""
    marts = model_names(parse_manifest(DBT_PROJECT / "target"), "marts")
    ids = [epoch.id for epoch in Epoch.range(FIRST, "2025-Q4-W52")][: epochs + 1]
    with TemporaryDirectory() as name:
        folder = Path(name)
        tables = main_tables(home / "lake", copies)
        for epoch in ids:
            write_epoch(folder / "lake", tables, epoch, last=epoch == ids[-1])
        click.echo(
            f"{len(ids)} epochs, {tables['scores'].num_rows} miners, load {os.getloadavg()[0]:.1f}"
        )
        warehouse = Warehouse(folder / "warehouse")
        click.echo(timed_build(warehouse, folder / "lake", ids[:-1], marts))
        click.echo(timed_build(warehouse, folder / "lake", ids, marts))
        size = sum(path.stat().st_size for path in warehouse.folder.glob("*.*")) / 2**20
        click.echo(f"published: {size:.0f} MiB; load {os.getloadavg()[0]:.1f}")
        look(warehouse, folder, ids[-1])


if __name__ == "__main__":
    main()
