"""No fault over HTTP changes a price silently, alone or with another one at another vendor."""

from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from .http_faults import (
    DOWN,
    FAULTS,
    HEADING,
    NOTHING,
    RECOVERED,
    SLOW_CLOCK,
    TABLE_FAULTS,
    WIRE_FAULTS,
    Answers,
    Asking,
    all_answers,
    composed,
    http_page,
    kind_of,
)
from .market_faults import (
    VENDORS,
    Scenario,
    alone,
    assert_nothing_is_silent,
    at_two_vendors,
    outcomes,
    recorded_market,
    settled,
    within_tolerance,
)

PAGE = Path(__file__).parents[2] / "docs" / "price-faults.md"
ASKING = Asking(recorded_market())
SINGLES, PAIRS = alone(FAULTS), at_two_vendors(FAULTS)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return all_answers(ASKING, tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def single(answers: Answers) -> pd.DataFrame:
    """The outcomes of one fault; two honest vendors are enough for every session."""
    table = assert_nothing_is_silent(
        ASKING.market, SINGLES, lambda scenario: composed(ASKING, answers, scenario)
    )
    assert (table["status"] == "settled").all()
    return outcomes(table, SINGLES)


@pytest.fixture(scope="module")
def pairs(answers: Answers) -> pd.DataFrame:
    """The outcomes of all pairs that differ: what answers alike with two faults is settled once."""
    first_of = {kind_of(answers, fault): fault for fault in reversed(FAULTS)}
    scenarios = at_two_vendors([fault for fault in FAULTS if fault in first_of.values()])
    table = assert_nothing_is_silent(
        ASKING.market, scenarios, lambda scenario: composed(ASKING, answers, scenario)
    )
    return outcomes(table, scenarios)


def test_a_fault_of_the_wire_loses_tickers_of_its_vendor_with_a_reason(answers: Answers) -> None:
    for vendor in VENDORS:
        whole = answers[vendor, ""]
        assert (len(whole.rows), whole.losses) == (111, ())
        for fault in (DOWN, *WIRE_FAULTS):
            outcome = answers[vendor, fault]
            lost = {loss.ticker for loss in outcome.losses}
            assert all(loss.reason for loss in outcome.losses)
            kept = whole.rows[~whole.rows["ticker"].isin(lost)].reset_index(drop=True)
            # what came is what an undisturbed vendor says, byte for byte
            pd.testing.assert_frame_equal(outcome.rows, kept, check_exact=True)


def test_what_is_for_good_leaves_nothing_and_what_happens_once_is_got_over(
    answers: Answers,
) -> None:
    kinds = {fault: kind_of(answers, fault) for fault in (DOWN, *WIRE_FAULTS)}
    once = {"500 once, then an answer", "429 once, Retry-After of a second"}
    assert {fault for fault, kind in kinds.items() if kind == NOTHING} == set(kinds) - once - {
        "garbage in a fifth of replies"
    }
    for fault in once:
        for vendor in ("tiingo", "polygon"):
            assert answers[vendor, fault].losses == ()
    assert RECOVERED not in {kind_of(answers, fault) for fault in TABLE_FAULTS}


def test_a_table_that_is_wrong_ends_over_http_as_it_does_in_memory(
    answers: Answers, single: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    shared = [name for name in TABLE_FAULTS if name != "duplicated rows"]  # of those memory stops
    for scenarios, over_http in ((alone(shared), single), (at_two_vendors(shared), pairs)):
        in_memory = outcomes(settled(ASKING.market, scenarios), scenarios)
        both = in_memory.merge(over_http, on=["faults", "vendors"], suffixes=("", "_http"))
        assert len(both) == len(in_memory)
        for count in ("lost", "flagged", "near"):
            assert list(both[count]) == list(both[f"{count}_http"]), count


def test_the_page_says_what_happened_over_http(
    answers: Answers,
    single: pd.DataFrame,
    pairs: pd.DataFrame,
    request: pytest.FixtureRequest,
) -> None:
    text = http_page(answers, single, pairs)
    before, _, now = PAGE.read_text().partition(HEADING)
    if request.config.getoption("--golden-update"):
        PAGE.write_text(before.rstrip() + "\n\n" + text)
        now = text.removeprefix(HEADING)
    assert text == HEADING + now, "look at what changed, then: make golden"


def side_by_side(scenario: Scenario, answers: Answers, home: Path) -> None:
    """All three vendors at once give what each gives alone, so that a pair is two single faults."""
    faults = {vendor: tuple(n for v, n in scenario.faults if v == vendor) for vendor in VENDORS}
    rows = ASKING.rows(ASKING.answers(faults, home))
    pd.testing.assert_frame_equal(rows, composed(ASKING, answers, scenario), check_exact=True)


@pytest.mark.parametrize(
    "faults",
    [
        (("tiingo", DOWN), ("yahoo", "split missed")),
        (("tiingo", "500 once, then an answer"), ("polygon", "garbage in a fifth of replies")),
        (("polygon", "connections reset"), ("yahoo", SLOW_CLOCK)),
    ],
)
def test_a_pair_of_faults_side_by_side_is_its_two_single_ones(
    faults: tuple[tuple[str, str], ...], answers: Answers, tmp_path: Path
) -> None:
    side_by_side(Scenario(faults), answers, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("first", FAULTS)
def test_every_pair_of_faults_side_by_side_is_its_two_single_ones(
    first: str, answers: Answers, tmp_path: Path
) -> None:
    ours = [scenario for scenario in PAIRS if scenario.faults[0][1] == first]
    assert len(ours) == 3 * len(FAULTS)
    for number, scenario in enumerate(ours):
        side_by_side(scenario, answers, tmp_path / f"{number}")


@pytest.mark.soak
@pytest.mark.parametrize("vendor", VENDORS)
def test_two_faults_of_one_vendor_over_http_are_corrected(
    vendor: str, answers: Answers, tmp_path: Path
) -> None:
    scenarios = [Scenario(((vendor, one), (vendor, two))) for one, two in combinations(FAULTS, 2)]

    def answered(scenario: Scenario) -> pd.DataFrame:
        faults = tuple(name for _, name in scenario.faults)
        home = tmp_path / f"{scenarios.index(scenario)}"
        (harmed,) = ASKING.answers({vendor: faults}, home)
        honest = [answers[name, ""] for name in VENDORS if name != vendor]
        return ASKING.rows([harmed, *honest])

    table = assert_nothing_is_silent(ASKING.market, scenarios, answered)
    assert (table["status"] == "settled").all()
    assert within_tolerance(table).all()
