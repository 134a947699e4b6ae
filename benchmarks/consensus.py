"""What consensus and Yuma 1 cost for 64 validators, beside a loop over miners in plain Python.

One core, processor time, the best of a few repetitions. Weights are simulated. Both must agree on
every consensus weight. The loop runs over a part of the miners and is scaled up.
"""

from collections.abc import Sequence
from fractions import Fraction

from timing import FloatArray, timed  # isort: skip  it limits numpy to one thread
import click
import numpy as np

from quanta_pipelines.protocol.consensus import stake_weighted_median, yuma
from quanta_pipelines.protocol.yuma import normalised_rows

VALIDATORS, LOOPED = 64, 1_000


def plain_loop(weights: FloatArray, stakes: Sequence[int]) -> list[float]:
    """The median as it is written, miner by miner."""
    half, found = Fraction(sum(stakes), 2), []
    for column in weights.T.tolist():
        support = 0
        for weight, stake in sorted(zip(column, stakes, strict=True), reverse=True):
            support += stake
            if support >= half:
                found.append(weight)
                break
    return found


@click.command()
@click.option("--miners", default=50_000, show_default=True)
def main(miners: int) -> None:
    """Print seconds for all miners."""
    rng = np.random.default_rng(64)
    weights = normalised_rows(rng.random((VALIDATORS, miners)))
    stakes = [int(stake) for stake in rng.integers(1, 10**15, VALIDATORS)]
    bonds = rng.random((VALIDATORS, miners))
    part = weights[:, :LOOPED]
    if plain_loop(part, stakes) != stake_weighted_median(part, stakes).tolist():
        raise click.ClickException("the loop and the library disagree")
    runs = {
        "median": timed("median", "quanta", miners, lambda: stake_weighted_median(weights, stakes)),
        "consensus and Yuma 1": timed(
            "yuma1", "quanta", miners, lambda: yuma(weights, stakes, bonds=bonds)
        ),
        "consensus and Yuma 3": timed(
            "yuma3", "quanta", miners, lambda: yuma(weights, stakes, bonds=bonds, mode="yuma3")
        ),
    }
    loop = timed("median", "loop", LOOPED, lambda: plain_loop(part, stakes))
    click.echo(f"{VALIDATORS} validators, {miners} miners, one core")
    for name, run in runs.items():
        click.echo(f"{name:<24}{run.seconds:>8.3f} s {run.peak_mib:>8.0f} MiB above the inputs")
    scaled = loop.seconds * miners / LOOPED
    click.echo(f"{'median, loop by miner':<24}{scaled:>8.3f} s  scaled from {LOOPED} miners")


if __name__ == "__main__":
    main()
