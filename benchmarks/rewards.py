"""What settling an epoch costs, beside the same formulas with a decimal per miner.

One core, processor time, the best of a few repetitions, the positions' weights computed anew each
time. Entries are simulated. The peer is the straightforward way: ``p ** -gamma`` as a decimal of 28
digits, shares rounded to a rao, ties by position. It keeps to the rao nothing but what rounding
leaves; the report says how many rao it makes or loses.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from timing import timed  # isort: skip  it limits numpy to one thread
import click
import numpy as np

from quanta_pipelines.protocol.power_law import position_weights
from quanta_pipelines.protocol.rewards import RewardEntry, Settlement, settle

EMISSION = 1_000_000 * 10**9
RAO = Decimal("1e-9")


def entries_of(miners: int) -> list[RewardEntry]:
    """Simulated entries with scores that differ and antes between 10 and 500."""
    rng = np.random.default_rng(miners)
    scores = (rng.permutation(miners) + 1).tolist()
    antes = rng.integers(10 * 10**9, 500 * 10**9, miners).tolist()
    return [
        RewardEntry(f"5{number:047d}", Decimal(score).scaleb(-9), ante)
        for number, (score, ante) in enumerate(zip(scores, antes, strict=True))
    ]


def settled(entries: list[RewardEntry]) -> Settlement:
    """The protocol's settlement, without weights from an earlier run."""
    position_weights.cache_clear()
    return settle(entries, emission_rao=EMISSION)


@dataclass(frozen=True)
class Plain:
    """What the decimal settlement pays by hotkey, and what it burns and keeps."""

    payouts: dict[str, Decimal]
    burned: Decimal
    kept: Decimal


def plain(entries: list[RewardEntry]) -> Plain:
    """The same formulas as they are written, in tokens, miner by miner."""
    emission, n = Decimal(EMISSION) / 10**9 * Decimal("0.41"), len(entries)
    antes = {entry.hotkey: Decimal(entry.ante_rao) / 10**9 for entry in entries}
    ranked = sorted(entries, key=lambda entry: (-entry.score, entry.hotkey))
    places = range(1, n + 1)
    winners = [
        entry.hotkey for p, entry in zip(places, ranked, strict=True) if 100 * (p - 1) < 50 * n
    ]
    losers = [
        entry.hotkey for p, entry in zip(places, ranked, strict=True) if 100 * (p - 1) >= 70 * n
    ]
    pool = emission + sum(antes.values())
    rake = pool * Decimal("0.08")
    burns = {h: (antes[h] * Decimal("0.5")).quantize(RAO, ROUND_DOWN) for h in losers}
    rest = emission + sum(antes[hotkey] - burns[hotkey] for hotkey in losers) - rake
    weights = [Decimal(p) ** Decimal("-1.5") for p in range(1, len(winners) + 1)]
    whole = sum(weights)
    lost = set(losers)
    payouts = {hotkey: ante for hotkey, ante in antes.items() if hotkey not in lost}
    fees = Decimal(0)
    for hotkey, weight in zip(winners, weights, strict=True):
        gross = (rest * weight / whole).quantize(RAO, ROUND_DOWN)
        fee = (gross * Decimal("0.02")).quantize(RAO, ROUND_DOWN)
        payouts[hotkey] += gross - fee
        fees += fee
    burned = sum(burns.values(), Decimal(0)) + fees * Decimal("0.25")
    return Plain(payouts, burned, rake + fees * Decimal("0.75"))


def most_apart(entries: list[RewardEntry]) -> tuple[int, Decimal]:
    """The largest difference of a payout in rao, and what the decimal settlement makes of it."""
    ours, theirs = settled(entries), plain(entries)
    apart = max(
        abs(each.payout_rao - int(theirs.payouts.get(each.hotkey, Decimal(0)) * 10**9))
        for each in ours.allocations
    )
    came = Decimal(EMISSION) * Decimal("0.41") + sum(entry.ante_rao for entry in entries)
    went = (sum(theirs.payouts.values()) + theirs.burned + theirs.kept) * 10**9
    return apart, went - came


@click.command()
@click.option("--miners", default=50_000, show_default=True)
def main(miners: int) -> None:
    """Print seconds for all miners."""
    entries = entries_of(miners)
    apart, made = most_apart(entries)
    if apart > 2:
        raise click.ClickException(f"the two settlements are {apart} rao apart")
    ours = timed("settle", "quanta", miners, lambda: settled(entries), repeat=7)
    theirs = timed("settle", "decimal", miners, lambda: plain(entries))
    click.echo(f"{miners} miners, one core; payouts differ by {apart} rao at most")
    click.echo(
        f"quanta           {ours.seconds:>8.3f} s {ours.peak_mib:>6.0f} MiB, to the last rao"
    )
    click.echo(
        f"decimal a miner  {theirs.seconds:>8.3f} s {theirs.peak_mib:>6.0f} MiB, {made:+} rao"
    )
    click.echo(f"ratio            {theirs.seconds / ours.seconds:>8.1f}")


if __name__ == "__main__":
    main()
