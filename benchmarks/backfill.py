"""`quanta backfill` from an empty lake: time and memory of the command that operators use.

Plays simulated miners on the recorded closes into the signal store first, which is not part of the
measure. Then the installed command runs as a process of its own: every epoch from prices to ledger
and the marts once. Wall time, processor time and the largest resident memory; nothing is asserted.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


@click.command()
@click.option("--epochs", type=int, default=52, show_default=True)
@click.option("--miners", type=int, default=256, show_default=True)
@click.option("--first", default="2019-Q2-W23", show_default=True, help="The first epoch.")
@click.option("--home", type=click.Path(path_type=Path), help="Kept; otherwise a temporary one.")
def main(epochs: int, miners: int, first: str, home: Path | None) -> None:
    """Play epochs, run the backfill over them, print what it took."""
    if home is not None and (home / "lake").exists():
        raise click.UsageError(f"{home / 'lake'} exists: a backfill is measured from an empty lake")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"QUANTA_HOME": str(home or folder), "QUANTA_FIRST_EPOCH": first}
        os.environ |= settings
        last = play(epochs, miners)
        click.echo(json.dumps(measured(f"{first}..{last}") | {"miners": miners}))


def play(epochs: int, miners: int) -> str:
    """Fills the store with what miners and validators send; returns the last epoch's id."""
    from quanta_pipelines.resources import Platform
    from quanta_pipelines.settings import current_settings
    from quanta_pipelines.simulation.season import Season

    platform = Platform.from_settings(current_settings())
    season = Season(
        platform.store, platform.vendors[0], platform.genesis, platform.params, miners=miners
    )
    epoch = platform.genesis
    for number in range(epochs):
        epoch = epoch.next() if number else epoch
        season.play(epoch)
    platform.store.close()
    return epoch.id


def measured(epochs: str) -> dict[str, object]:
    """One run of the command over epochs ``A..B``."""
    program = Path(sys.executable).with_name("quanta")
    load, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(  # noqa: S603 - the installed command
        [program, "backfill", epochs, "--json"], capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - began
    if done.returncode:
        raise click.ClickException(done.stdout + done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = json.loads(done.stdout)
    return {
        "epochs": epochs,
        "runs": len(runs),
        "seconds": round(wall, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "marts_seconds": runs[-1]["seconds"],
        "peak_mib": round(used.ru_maxrss / 1024),  # of the largest process; Linux counts KiB
        "load_before": round(load, 1),
    }


if __name__ == "__main__":
    main()
