"""Whole settlements in single rao, worked out by hand, with winners' antes first and pooled.

gamma is 1, so positions weigh 1, 1/2, 1/3, 1/4; antes are at least 10 rao unless a case says none.
"""

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.rewards import RewardEntry, settle

TEN_RAO = Decimal("1E-8")
NOTHING = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Miners as (name, score, ante) or (name, score, ante, eligible); what each mode must give."""

    miners: tuple
    external: int = 0
    emission: int = 0  # T
    least: Decimal = TEN_RAO
    ante_first: dict  # payout by miner
    pooled: dict
    rake: int
    burned: int = 0  # antes
    fees: tuple = (0, 0)  # burned, treasury; of both modes unless pooled has its own
    pooled_fees: tuple | None = None
    carry: int = 0
    refused: tuple = field(default=())


FOUR = (("a", 4, 10), ("b", 3, 10), ("c", 2, 10), ("d", 1, 10))

CASES = {
    # nobody: all 17 wait
    "n = 0": Known(miners=(), external=17, ante_first={}, pooled={}, rake=0, carry=17),
    # rake floor(.08 * 17) = 1; fee floor(.02 * 16) = 0
    "n = 1": Known(
        miners=(("a", 1, 0),),
        external=17,
        least=NOTHING,
        ante_first={"a": 16},
        pooled={"a": 16},
        rake=1,
    ),
    # rank 2 of 2: 1 < .50 * 2 does not hold, 1 < .70 * 2 does: break-even
    "n = 2": Known(
        miners=(("a", 2, 0), ("b", 1, 0)),
        external=17,
        least=NOTHING,
        ante_first={"a": 16, "b": 0},
        pooled={"a": 16, "b": 0},
        rake=1,
    ),
    # rank 2 of 3 wins: 16 * 2/3 = 10.67 and 5.33, the rao left goes to the larger remainder
    "n = 3": Known(
        miners=(("a", 3, 0), ("b", 2, 0), ("c", 1, 0)),
        external=17,
        least=NOTHING,
        ante_first={"a": 11, "b": 5, "c": 0},
        pooled={"a": 11, "b": 5, "c": 0},
        rake=1,
    ),
    # E = 410, A = 561, X = 29: P = 1000, rake 80. Ranks 1 2 2 4 | 5 | 6 6. f burns 25 and leaves
    # 25, g burns floor(31 / 2) = 15 and leaves 16. W = 410 + 29 + 41 - 80 = 400; b and c share
    # (1/2 + 1/3) / 2 = 5/12, the sum of weights is 25/12: 192, 80, 80, 48, fees 3, 1, 1, 0.
    # pooled: 400 more: 384, 160, 160, 96, fees 7, 3, 3, 1
    "7 with ties and unequal antes": Known(
        miners=(
            ("a", 9, 100),
            ("b", 8, 40),
            ("c", 8, 60),
            ("d", 7, 200),
            ("e", 5, 80),
            ("f", 3, 50),
            ("g", 3, 31),
        ),
        external=29,
        emission=1000,
        ante_first={"a": 289, "b": 119, "c": 139, "d": 248, "e": 80, "f": 0, "g": 0},
        pooled={"a": 377, "b": 157, "c": 157, "d": 95, "e": 80, "f": 0, "g": 0},
        rake=80,
        burned=40,
        fees=(1, 4),
        pooled_fees=(3, 11),
    ),
    # all first, all win: P = 57, rake 4, W = 13 = 4 + 3 * 3; pooled 53 = 14 + 3 * 13
    "all tied": Known(
        miners=tuple((name, 1, 10) for name in "cabd"),
        external=17,
        ante_first={"a": 14, "b": 13, "c": 13, "d": 13},
        pooled={"a": 14, "b": 13, "c": 13, "d": 13},
        rake=4,
    ),
    # two hold rank 2 of 4 and both win: P = 100, rake 8, d burns 5 and leaves 5, W = 57:
    # 57 * 12/22 = 31.09, 57 * 5/22 = 12.95 twice. pooled W = 87: 47.45 and 19.77 twice
    "a tie across the 50 % line": Known(
        miners=(("a", 4, 10), ("b", 3, 10), ("c", 3, 10), ("d", 1, 10)),
        external=60,
        ante_first={"a": 41, "b": 23, "c": 23, "d": 0},
        pooled={"a": 47, "b": 20, "c": 20, "d": 0},
        rake=8,
        burned=5,
    ),
    # the same in front of the line's other side: ranks 1, 2, 3, 3: c and d break even
    # P = 100, rake 8, W = 60 - 8 = 52: 34.67 and 17.33; pooled W = 72: 48 and 24
    "a tie behind the 50 % line": Known(
        miners=(("a", 4, 10), ("b", 3, 10), ("c", 2, 10), ("d", 2, 10)),
        external=60,
        ante_first={"a": 45, "b": 27, "c": 10, "d": 10},
        pooled={"a": 48, "b": 24, "c": 10, "d": 10},
        rake=8,
    ),
    # E = 41: P = 20 141; the rake would be 1611, more than the 41 that nobody gets back.
    # pooled: it takes the winners' 100 as well. The large ante comes back whole in both.
    "a large ante in break-even": Known(
        miners=(("a", 3, 50), ("b", 2, 50), ("c", 1, 20_000)),
        emission=100,
        ante_first={"a": 50, "b": 50, "c": 20_000},
        pooled={"a": 0, "b": 0, "c": 20_000},
        rake=41,
    ),
    # d burns 5 and leaves 5; rake floor(.08 * 40) = 3, W = 2: 1.33 and .67
    # pooled: W = 22: 14.67 and 7.33
    "zero emission": Known(
        miners=FOUR,
        ante_first={"a": 11, "b": 11, "c": 10, "d": 0},
        pooled={"a": 15, "b": 7, "c": 10, "d": 0},
        rake=3,
        burned=5,
    ),
    # E = floor(.41 * 100) = 41, rake 3, W = 38: 25.33 and 12.67; nothing to burn
    "zero antes": Known(
        miners=tuple((name, score, 0) for name, score, _ in FOUR),
        emission=100,
        least=NOTHING,
        ante_first={"a": 25, "b": 13, "c": 0, "d": 0},
        pooled={"a": 25, "b": 13, "c": 0, "d": 0},
        rake=3,
    ),
    # d never took part: n = 3, c breaks even. P = 90, rake 7, W = 53: 35.33 and 17.67;
    # pooled W = 73: 48.67 and 24.33
    "an ante below the minimum": Known(
        miners=(*FOUR[:3], ("d", 9, 9)),
        external=60,
        ante_first={"a": 45, "b": 28, "c": 10},
        pooled={"a": 49, "b": 24, "c": 10},
        rake=7,
        refused=("d",),
    ),
    # a is settled as break-even, b alone holds position 1. P = 100, rake 8, d burns 5:
    # W = 57, fee 1, of which floor(.25) = 0 burns. pooled: b's ante is in W = 67, fee 1
    "the gate fails for some": Known(
        miners=(("a", 4, 10, False), *FOUR[1:]),
        external=60,
        ante_first={"a": 10, "b": 66, "c": 10, "d": 0},
        pooled={"a": 10, "b": 66, "c": 10, "d": 0},
        rake=8,
        burned=5,
        fees=(0, 1),
    ),
    # nobody wins: the 57 wait
    "the gate fails for all": Known(
        miners=tuple((*miner, False) for miner in FOUR),
        external=60,
        ante_first={"a": 10, "b": 10, "c": 10, "d": 0},
        pooled={"a": 10, "b": 10, "c": 10, "d": 0},
        rake=8,
        burned=5,
        carry=57,
    ),
}


@pytest.mark.parametrize("mode", ["ante_first", "pooled"])
@pytest.mark.parametrize("known", CASES.values(), ids=CASES)
def test_a_settlement_by_hand(known, mode):
    params = QUANTA.changed(
        tokenomics__power_law_gamma=Decimal(1),
        tokenomics__minimum_ante=known.least,
        tokenomics__ante_mode=mode,
    )
    found = settle(
        [RewardEntry(*miner) for miner in known.miners],
        emission_rao=known.emission,
        external_rao=known.external,
        params=params,
    )
    payouts = known.pooled if mode == "pooled" else known.ante_first
    rake = found.rake_rao
    if mode == "pooled" and known is CASES["a large ante in break-even"]:
        assert rake == known.rake + 100
    else:
        assert rake == known.rake
    assert {each.hotkey: each.payout_rao for each in found.allocations} == payouts
    assert sum(each.ante_burned_rao for each in found.allocations) == known.burned
    fees = known.pooled_fees if mode == "pooled" and known.pooled_fees else known.fees
    assert (found.fee_burned_rao, found.fee_treasury_rao) == fees
    assert found.carry_out_rao == known.carry
    assert found.refused == known.refused


def test_200_000_tokens_in_break_even_come_back_to_the_last_rao():
    # E = 410, P = 410 + 50 + 50 + 200 000; the rake of 16 040.8 stops at the 410 that are there
    token = 10**9
    params = QUANTA.changed(tokenomics__maximum_ante=Decimal(1_000_000))
    miners = [
        RewardEntry("a", 3, 50 * token),
        RewardEntry("b", 2, 50 * token),
        RewardEntry("c", 1, 200_000 * token),
    ]
    found = settle(miners, emission_rao=1000 * token, params=params)
    assert [each.payout_rao for each in found.allocations] == [
        50 * token,
        50 * token,
        200_000 * token,
    ]
    assert (found.rake_rao, found.winner_pool_rao) == (410 * token, 0)
    # by default it is above the 10 000 that one ante may be, and goes back unranked
    assert settle(miners, emission_rao=1000 * token).refused == ("c",)
