"""Concentration, stability and carried votes by hand, apart from any lake."""

import pandas as pd
import pytest

from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.what_if.comparison import Outcome, compared
from quanta_pipelines.what_if.figures import (
    EpochFigures,
    Stability,
    alpha,
    gini,
    stability,
    summed,
    top_share,
)
from quanta_pipelines.what_if.tracing import Trace, traced
from quanta_pipelines.what_if.votes import carried_votes

UNIT = 10**9
DRAWDOWNS = ("max_drawdown_7d", "max_drawdown_30d", "max_drawdown_90d")


def test_gini_is_half_the_mean_difference_of_all_pairs_over_the_mean() -> None:
    assert gini([5, 5, 5]) == 0.0
    assert gini([0, 0, 0, 8]) == pytest.approx(3 / 4)  # (n - 1) / n
    # pairs of 1, 2, 3: differences 1, 2, 1, each twice, of 9 pairs: mean 8/9; over twice the mean 2
    assert gini([3, 1, 2]) == pytest.approx(8 / 9 / 4)
    assert gini([0, 0]) is None
    assert gini([]) is None


def test_the_top_share_is_the_largest_part() -> None:
    assert top_share([1, 3]) == 0.75
    assert top_share([0, 0]) is None


def test_rank_correlations_are_over_miners_in_both() -> None:
    # 1 2 3 against 1 3 2: Spearman 1 - 6 x 2 / 24 = 0.5; Kendall (2 - 1) / 3
    found = stability({"a": 1, "b": 2, "c": 3, "gone": 4}, {"a": 1, "b": 3, "c": 2, "new": 4})
    assert found.miners == 3
    assert found.spearman == pytest.approx(0.5)
    assert found.kendall == pytest.approx(1 / 3)
    assert stability({"a": 1}, {"a": 1}) == Stability(1, None, None)
    assert stability({"a": 1, "b": 1}, {"a": 1, "b": 2}) == Stability(2, None, None)  # all tied


def test_amounts_are_exact_decimals() -> None:
    assert alpha(-1) == "-0.000000001"
    assert alpha(1_234_000_000_005) == "1234.000000005"
    assert alpha(10**18) == "1000000000.000000000"
    assert summed([{"b": 1, "a": 2}, {"a": -5}]) == {"a": -3, "b": 1}


def figures(epoch_id: str, net: dict[str, int]) -> EpochFigures:
    rewards = {name: max(amount, 0) for name, amount in net.items()}
    ranks = {name: at for at, name in enumerate(sorted(net, key=lambda one: -net[one]), start=1)}
    return EpochFigures(epoch_id, 1, 2, 3, sum(rewards.values()), ranks, rewards, net)


def test_movers_are_differences_of_the_span_largest_first() -> None:
    one, two = "2019-Q3-W29", "2019-Q3-W30"
    base = Outcome(
        "base", (), "p", (figures(one, {"a": 5, "b": 1}), figures(two, {"a": 5})), "", 0, 0
    )
    other = Outcome(
        "x", (), "q", (figures(one, {"a": 4, "b": 9}), figures(two, {"a": 5, "c": 2})), "", 1, 1
    )
    found = compared(other, base)
    assert [(mover.hotkey, mover.difference) for mover in found.gained] == [
        ("b", "0.000000008"),
        ("c", "0.000000002"),
    ]
    assert [(mover.hotkey, mover.difference) for mover in found.lost] == [("a", "-0.000000001")]
    assert (found.winners, found.losers) == (2, 1)
    # a span that ended early is compared with the same epochs of the base
    broken = compared(Outcome("y", (), "q", other.epochs[:1], "why", 1, 1), base)
    assert [mover.difference for mover in broken.lost] == ["-0.000000001"]
    assert broken.problem == "why"


def own(units: dict[str, int], composite: dict[str, float]) -> pd.DataFrame:
    row = pd.DataFrame({"hotkey": list(units), "weight_units": list(units.values())})
    row["composite"] = [composite[name] for name in units]
    return row.assign(**dict.fromkeys(DRAWDOWNS, 0.05))


def cast(units: dict[str, int], composite: dict[str, float]) -> pd.DataFrame:
    beside = {
        "epoch_id": "2019-Q3-W30",
        "validator": "v",
        "stake_rao": 7,
        "data_hash": "h",
        "received_at": pd.Timestamp("2019-07-26 21:00", tz="UTC").as_unit("ns"),
    }
    return own(units, composite).assign(**beside)


def test_a_validator_keeps_the_ratio_to_the_own_weight_and_its_distance() -> None:
    before = own({"a": 500_000_000, "b": 500_000_000}, {"a": 0.5, "b": 0.5})
    recorded = cast({"a": 600_000_000, "b": 400_000_000}, {"a": 0.52, "b": 0.48})
    now = own({"a": 250_000_000, "b": 750_000_000}, {"a": 0.4, "b": 0.99})
    found = carried_votes(recorded, before, now).set_index("hotkey")
    # ratios 1.2 and 0.8 on 1/4 and 3/4: 0.3 and 0.6 of 0.9
    assert found["weight_units"].to_dict() == {"a": 333_333_333, "b": 666_666_667}
    assert found["composite"].to_dict() == pytest.approx({"a": 0.42, "b": 0.97})
    assert (found["stake_rao"] == 7).all()
    assert list(carried_votes(recorded, before, now).columns) == list(recorded.columns)


def test_equal_own_votes_leave_what_was_cast() -> None:
    before = own({"a": 400_000_000, "b": 600_000_000}, {"a": 0.5, "b": 0.6})
    recorded = cast({"b": UNIT}, {"b": 0.6})
    assert carried_votes(recorded, before, before.copy()) is recorded


def test_who_is_ranked_by_others_follows_who_was() -> None:
    before = own({"a": 500_000_000, "b": 500_000_000}, {"a": 0.5, "b": 0.5})
    recorded = cast({"b": UNIT}, {"b": 0.5})  # did not rank a
    now = own(
        {"a": 400_000_000, "b": 400_000_000, "new": 200_000_000}, {"a": 0.5, "b": 0.5, "new": 0.3}
    )
    found = carried_votes(recorded, before, now).set_index("hotkey")
    # b at twice the own weight, 0.8; new at the own weight, 0.2
    assert found["weight_units"].to_dict() == {"b": 800_000_000, "new": 200_000_000}
    assert found.loc["new", "composite"] == 0.3
    # where b is not ranked any more and nobody is new, the validator has nobody to rank
    nobody = carried_votes(recorded, before, own({"a": UNIT}, {"a": 0.5}))
    assert nobody.empty
    assert list(nobody.columns) == list(recorded.columns)
    assert nobody.dtypes.equals(recorded.dtypes)


def test_reads_of_parameters_are_noted_properties_and_hashes_included() -> None:
    rules, read = traced(QUANTA)
    assert rules.tokenomics.rake == QUANTA.tokenomics.rake
    assert read == {"tokenomics.rake": QUANTA.tokenomics.rake}
    assert rules.scoring.horizon_weights == QUANTA.scoring.horizon_weights
    assert {"scoring.horizon_7d_weight", "scoring.horizon_90d_weight"} <= set(read)
    assert "scoring.drift" not in read
    hash(rules.scoring)  # as a cache would: everything may matter then
    assert "scoring.drift" in read
    assert isinstance(rules.scoring, type(QUANTA.scoring))


def test_a_step_is_run_again_for_a_table_a_state_or_a_parameter_that_changed() -> None:
    trace = Trace((("scores", "now"), ("bonds", "before")), {"scoring.drift": False}, {})
    assert trace.sees_no_change(QUANTA, set())
    assert trace.sees_no_change(QUANTA, {("scores", "before"), ("rewards", "now")})
    assert not trace.sees_no_change(QUANTA, {("bonds", "before")})
    assert not trace.sees_no_change(QUANTA.changed(scoring__drift=True), set())
