"""Runs epochs of real history over HTTP replicas, in a process of its own.

    python real_history.py HOME VENDORS COUNT FIRST..LAST

Partitions start with ``QUANTA_FIRST_EPOCH``, which is read when Dagster's definitions are imported.
The season is played first, where it is not in the home yet. Outcomes of the epochs and what the
vendors took are written to ``HOME/outcomes.json``.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings
from tests.pipeline.replica_platform import Evenings, platform_over, play, run_epochs
from tests.vendor_replicas.tables import reference_tables, reference_tickers, table_servers


def main(home: Path, names: list[str], count: int, epochs: tuple[Epoch, ...]) -> None:
    evenings = Evenings()
    tables = {name: reference_tables(count)[name] for name in names}
    with table_servers(tables) as servers:
        urls = {name: server.url for name, server in servers.items()}
        genesis = current_settings().genesis
        platform = platform_over(home, urls, reference_tickers(count), genesis, clock=evenings)
        season = list(Epoch.range(genesis, epochs[-1]))
        started = time.monotonic()
        play(platform, tables, season)
        played = time.monotonic() - started
        outcomes = run_epochs(platform, evenings, epochs)
        platform.store.close()
        said = {
            "season_seconds": round(played, 2),
            "requests": {name: server.asked() for name, server in servers.items()},
            "epochs": [
                {
                    "epoch_id": one.epoch_id,
                    "succeeded": one.succeeded,
                    "seconds": one.seconds,
                    "problems": one.problems,
                }
                for one in outcomes
            ],
        }
    (home / "outcomes.json").write_text(json.dumps(said, indent=2))


if __name__ == "__main__":
    folder, vendors, tickers, spell = sys.argv[1:]
    main(
        Path(folder),
        vendors.split(","),
        int(tickers),
        tuple(Epoch.range(*spell.split(".."))),
    )
