"""The Great Expectations suite on the published marts: the newest epoch, and faults over all.

dbt's tests ask whether each row can be true, and stop a publication in which one cannot. This asks
whether the newest epoch looks like the thirteen before it. Each limit says why it is there.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime

import numpy as np
import pandas as pd

from data_contracts.expectations.limits import TRAILING_EPOCHS, Limits, Statistic, limits_of
from data_contracts.expectations.mart_profile import MartProfile, mart_faults, mart_profiles
from data_contracts.expectations.suite import Place, Quality, judge_table

MARTS = Place(suite="published_marts", source="warehouse", batch="marts")

STATISTICS = (
    Statistic(
        name="ranked",
        words="Ranked miners",
        of="ranked",
        always=(0.0, np.inf),  # nobody is in a network's first weeks
        floor=0.25,
        scale="relative",
        above=False,
        why="Lost commitments, or a condition that shuts miners out by mistake, show here first.",
    ),
    Statistic(
        name="eligible",
        words="Share of ranked miners that are eligible for rewards",
        of="eligible",
        always=(0.0, 1.0),
        floor=0.25,
        percent=True,
        why="A condition that starts or stops to bite moves who is paid without moving a rank.",
    ),
    Statistic(
        name="composite",
        words="Median composite of the ranked",
        of="composite",
        always=(0.02, 0.98),
        compared=False,  # with the market it moves by half the scale from one week to the next
        why="At an end of the scale, scores no longer tell the better half of miners apart.",
    ),
    Statistic(
        name="composite_spread",
        words="Spread of composites (standard deviation over the ranked)",
        of="composite_spread",
        always=(0.001, 0.5),
        floor=3.0,
        scale="ratio",
        why="Composites that are all alike rank by nothing, and pay by it.",
    ),
    Statistic(
        name="first_payout",
        words="Largest payout's share of all payouts",
        of="first_payout",
        always=(0.0, 1.0),
        floor=0.10,
        percent=True,
        why="One miner that takes much more than usual has found something, or all others failed.",
    ),
    Statistic(
        name="burned",
        words="Share of what entered the pool that is burned",
        of="burned",
        always=(0.0, 0.5),
        floor=0.10,
        percent=True,
        why="Burned money does not come back: a rule that burns more must show in its first week.",
    ),
    Statistic(
        name="validators",
        words="Validators that voted",
        of="validators",
        always=(0.0, np.inf),  # where nobody is ranked there is nobody to vote for
        floor=0.25,
        scale="relative",
        above=False,
        why="Consensus rests on fewer votes, each of which then moves it further.",
    ),
    Statistic(
        name="rank_faults",
        words="Rows of the leaderboard, over all epochs, whose rank leaves a hole or is doubled",
        of="rank_faults",
        always=(0.0, 0.0),
        compared=False,
        why="Ranks go 1..n, with equal ranks for equal weights: a hole is a miner that was lost.",
    ),
    Statistic(
        name="unbalanced",
        words="Epochs whose ledger balances do not add up to 0 or do not continue those before",
        of="unbalanced",
        always=(0.0, 0.0),
        compared=False,
        why="Each movement has two sides: any other sum is money that was made or lost.",
    ),
    Statistic(
        name="behind",
        words="Settled epochs that a mart does not show",
        of="behind",
        always=(0.0, 0.0),
        compared=False,
        why="An analyst who reads an older publication cannot tell it from its rows.",
    ),
)

_OF_THE_RANKED = frozenset(("eligible", "composite", "composite_spread", "first_payout", "burned"))


def mart_limits(newest: MartProfile, trailing: list[MartProfile]) -> list[Limits]:
    """Limits of every statistic that is judged.

    Where nobody is ranked the ranked and their money have no numbers, one miner has no spread, and
    where nobody is eligible nobody is paid. That nobody is paid although some are eligible is odd.
    """
    without = set(_OF_THE_RANKED) if newest.ranked == 0.0 else set()
    if newest.ranked < 2.0:
        without.add("composite_spread")
    if newest.eligible == 0.0:
        without.add("first_payout")
    return [limits_of(each, trailing) for each in STATISTICS if each.name not in without]


def judge_marts(
    marts: Mapping[str, pd.DataFrame],
    settled: Collection[str],
    *,
    epoch_id: str,
    closes_at: datetime,
    folder: str,
) -> Quality:
    """Run the suite on the newest epoch of the marts, and put its page into the Data Docs.

    ``marts`` are the tables of ``MARTS_READ`` by name; ``epoch_id`` the newest epoch in them, with
    its close; ``settled`` the epochs that are settled; ``folder`` the folder of the Data Docs.
    Raises what Great Expectations raises.
    """
    *earlier, newest = mart_profiles(marts)
    trailing = earlier[-TRAILING_EPOCHS:]
    figures = asdict(newest) | asdict(mart_faults(marts, settled))
    return judge_table(
        pd.DataFrame([figures]),
        mart_limits(newest, trailing),
        [profile.epoch_id for profile in trailing],
        place=MARTS,
        epoch_id=epoch_id,
        closes_at=closes_at,
        folder=folder,
    )
