"""An explanation is an account: its payout follows from its printed numbers, its cells exist."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.cli import main
from quanta_pipelines.explanation import READ, NotExplained, explain_epoch
from quanta_pipelines.explanation.counterfactuals import TERMS, without_term
from quanta_pipelines.explanation.payout import income_of
from quanta_pipelines.protocol.ledger import posted
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.settlement import settlement_tables
from quanta_pipelines.publication import explained, publish_pages
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import current_settings
from tests.conftest import SETTLED

LAST = SETTLED[-1].id
RAO = 10**9
Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def lake(settled_home: Path) -> Path:
    return settled_home / "lake"


def tables_of(lake: Path, epoch_id: str) -> Tables:
    return {name: Lake(str(lake)).read(name, epoch_id) for name in READ}


def settled_again(tables: Tables) -> Tables:
    """The tables with the money that follows from them, as the rules settle it."""
    income = income_of(tables["ledger_entries"])
    paid = settlement_tables(
        tables["consensus"],
        tables["scores"],
        tables["commitments"],
        emission_rao=income.emission_rao,
        external_rao=7 * RAO + 3,
        carry_in_rao=income.carry_in_rao,
        epoch_id=LAST,
        voted=True,
    )
    return {**tables, "rewards": paid.rewards, "ledger_entries": paid.ledger_entries}


def refused_antes(tables: Tables) -> None:
    """Two ranked miners staked less than the minimum, and one more than the maximum."""
    first = tables["consensus"].sort_values("rank")["hotkey"].iloc[[0, 20, 40]]
    for hotkey, ante in zip(first, (9 * RAO, 1, 10_001 * RAO), strict=True):
        at = tables["commitments"]["hotkey"] == hotkey
        tables["commitments"].loc[at, "ante_rao"] = ante


def ineligible_winners(tables: Tables) -> None:
    at = tables["consensus"]["rank"].isin([1, 3, 4])
    tables["consensus"].loc[at, "eligible"] = False
    tables["consensus"].loc[at, "reason"] = "drawdown 0.2000 over 7 sessions is not below 0.1000"


def tied_winners(tables: Tables) -> None:
    at = tables["consensus"]["rank"].between(2, 6)
    tables["consensus"].loc[at, "consensus_weight"] = 0.02


def no_consensus(tables: Tables) -> None:
    tables["consensus"] = tables["consensus"].head(0)


SPOILED = (refused_antes, ineligible_winners, tied_winners, no_consensus)


@pytest.fixture(scope="module")
def accounts(lake: Path) -> dict[str, tuple[Tables, pd.DataFrame]]:
    """Twelve epochs with their explanations: eight as they were played, four made difficult."""
    found: dict[str, tuple[Tables, pd.DataFrame]] = {}
    previous = None
    for epoch in SETTLED:
        tables = tables_of(lake, epoch.id)
        previous = explain_epoch(tables, previous, epoch_id=epoch.id, params=QUANTA)
        found[epoch.id] = (tables, previous)
    for spoil in SPOILED:
        tables = {name: table.copy() for name, table in found[LAST][0].items()}
        spoil(tables)
        tables = settled_again(tables)
        made = explain_epoch(tables, None, epoch_id=LAST, params=QUANTA)
        found[spoil.__name__] = (tables, made)
    return found


def said(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    return (json.loads(text) for text in table["explanation"])


def printed(explanation: Mapping[str, Any], step: str = "payout") -> dict[str, int]:
    """Whole numbers of a step by name, read from what is printed and nothing else."""
    facts = next(one for one in explanation["steps"] if one["name"] == step)["facts"]
    return {fact["name"]: int(fact["value"]) for fact in facts}


def recomputed(money: Mapping[str, int]) -> int:
    """A payout from its printed numbers, in whole rao."""
    if not money:  # no ante was posted, and the step says so
        return 0
    gross = 0
    if "weight_units" in money:
        left = money["pool_emission_rao"] + money["pool_antes_rao"] + money["pool_external_rao"]
        left += money["carry_in_rao"] // 4
        left -= money["antes_burned_rao"] + money["antes_returned_rao_of_all"]
        due = 8 * (
            money["pool_emission_rao"] + money["pool_antes_rao"] + money["pool_external_rao"]
        )
        pool = left - min(due // 100, left)
        gross = pool * money["weight_units"] // money["weight_units_of_all"]
        gross += money["remainder_rao"]
    return gross - 2 * gross // 100 + money["ante_returned_rao"]


def test_every_payout_follows_to_the_last_rao(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    seen = set()
    for name, (tables, table) in accounts.items():
        connection = duckdb.connect()
        connection.register("ledger", tables["ledger_entries"])
        owed = connection.execute(
            "select replace(to_account, 'miner:', '') as hotkey, sum(amount_rao)::bigint as rao "
            "from ledger where to_account like 'miner:%' "
            "and reason in ('reward', 'ante_returned', 'ante_refunded') group by 1"
        ).fetchall()
        moved = dict(owed)
        for explanation in said(table):
            money = printed(explanation)
            hotkey = explanation["hotkey"]
            assert recomputed(money) == moved.get(hotkey, 0), (name, hotkey, money)
            assert money.get("payout_rao", 0) == moved.get(hotkey, 0)
            seen.add((explanation["standing"], explanation["record"][-1]["tier"]))
        assert set(moved) <= set(table["hotkey"])
        assert sum(moved.values()) == tables["rewards"]["payout_rao"].sum()
    assert len(accounts) >= 10
    tiers = ("top_tier", "profitable", "break_even", "penalty_band")
    wanted = {("ranked", tier) for tier in tiers}
    assert wanted | {(other, None) for other in ("provisional", "unranked", "unrevealed")} <= seen


def test_rounding_is_what_is_left_of_the_pool(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    for name, (_, table) in accounts.items():
        winners = [money for one in said(table) if "weight_units" in (money := printed(one))]
        if not winners:
            assert name in (no_consensus.__name__, *(epoch.id for epoch in SETTLED[:6]))
            continue
        pool, whole = winners[0]["winner_pool_rao"], winners[0]["weight_units_of_all"]
        floors = sum(pool * money["weight_units"] // whole for money in winners)
        assert sum(money["remainder_rao"] for money in winners) == pool - floors
        assert {money["remainder_rao"] for money in winners} <= {0, 1}
        assert sum(money["weight_units"] for money in winners) == whole


def test_a_weight_is_the_mean_of_its_positions(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    _, table = accounts[tied_winners.__name__]
    for explanation in said(table):
        money = printed(explanation)
        if "weight_units" not in money:
            continue
        tie = range(money["first_position"], money["last_position"] + 1)
        mean = sum(Decimal(p) ** Decimal("-1.5") for p in tie) / len(tie)
        first = Fraction(money["weight_units"], money["weight_units_of_all"])
        total = sum(Decimal(p) ** Decimal("-1.5") for p in range(1, n_winners(table) + 1))
        assert float(first) == pytest.approx(float(mean / total), rel=1e-12)


def n_winners(table: pd.DataFrame) -> int:
    return sum("weight_units" in printed(one) for one in said(table))


def test_every_number_is_the_cell_it_names(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    tables, table = accounts[LAST]
    looked = 0
    for row in table.head(24).to_dict("records"):
        steps = [*json.loads(row["explanation"])["steps"], *json.loads(row["for_owner"])]
        for fact in (fact for step in steps for fact in step["facts"]):
            if fact["source"] is None:
                assert fact["formula"] or fact["name"].endswith(("position", "_all", "ranked"))
                continue
            looked += 1
            assert fact["value"] == cell(tables, fact), fact
    assert looked > 1000


def cell(tables: Tables, fact: Mapping[str, Any]) -> str | None:
    """A fact's text, looked up in the table: one row's cell, or the sum of the ledger's rows."""
    source = fact["source"]
    rows = tables[source["table"]]
    for column, value in source["key"].items():
        rows = rows[rows[column].astype(str) == value]
    values = rows[source["column"]]
    if source["table"] == "ledger_entries":
        return str(int(values.sum()))
    assert len(values) == 1, fact
    value = values.iloc[0]
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return str(value).replace(" ", "T")
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


def test_gamma_moves_rewards_as_the_power_law_says(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    tables, table = accounts[LAST]
    winners = [money for one in said(table) if "weight_units" in (money := printed(one))]
    pool = winners[0]["winner_pool_rao"]
    k = n_winners(table)
    antes = tables["rewards"].set_index("hotkey")["ante_returned_rao"]
    for explanation in said(table):
        money = printed(explanation)
        if "weight_units" not in money:
            continue
        other = next(o for o in explanation["counterfactuals"] if o["name"] == "gamma_1_2")
        p = money["first_position"]
        gross = pool * p**-1.2 / sum(q**-1.2 for q in range(1, k + 1))
        expected = 0.98 * gross + antes[explanation["hotkey"]]
        assert int(other["payout_rao"]) == pytest.approx(expected, abs=5)
        assert int(other["change_rao"]) == int(other["payout_rao"]) - money["payout_rao"]


def test_without_originality_a_copier_rises_and_who_did_not_reveal_gets_nothing(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    tables, table = accounts[LAST]
    factor = tables["scores"].set_index("hotkey")["originality"].fillna(1.0)
    moves = {}
    for one in said(table):
        for other in one["counterfactuals"]:
            if one["standing"] == "unrevealed":
                assert (other["rank"], other["payout_rao"]) == (None, "0")
            if other["name"] == "without_originality" and other["rank"] and other["base_rank"]:
                moves[one["hotkey"]] = other["base_rank"] - other["rank"]
    lowest = factor[list(moves)].idxmin()
    if factor[lowest] == 1:
        assert set(moves.values()) == {0}
    else:
        assert moves[lowest] >= 0
        assert any(moves.values())


def test_without_the_turnover_term_a_trader_rises(
    accounts: dict[str, tuple[Tables, pd.DataFrame]],
) -> None:
    """Of all ranked, the one who trades most gains places, the one who trades least gains none."""
    tables, table = accounts[LAST]
    traded = tables["portfolio_returns"].drop_duplicates("hotkey").set_index("hotkey")["turnover"]
    moves = {}
    for one in said(table):
        other = next((o for o in one["counterfactuals"] if o["name"] == "without_turnover"), None)
        if one["standing"] == "ranked" and other and other["rank"]:
            moves[one["hotkey"]] = other["base_rank"] - other["rank"]
    ranked = traded[list(moves)].sort_values()
    assert moves[ranked.index[-1]] > 0
    assert moves[ranked.index[0]] <= 0


@pytest.mark.parametrize("term", TERMS)
def test_without_a_term_the_others_sum_to_one(term: str) -> None:
    changes = without_term(QUANTA, term)
    kept = {name: Fraction(str(value)) for name, value in changes.items()}
    assert kept[f"scoring__{term}"] == 0
    assert sum(kept.values()) == 1
    QUANTA.changed(**changes)  # refused where they did not


def test_the_record_compounds(accounts: dict[str, tuple[Tables, pd.DataFrame]]) -> None:
    whole = pd.concat(accounts[epoch.id][0]["portfolio_returns"] for epoch in SETTLED)
    explanation = next(one for one in said(accounts[LAST][1]) if len(one["record"]) == len(SETTLED))
    own = whole[whole["hotkey"] == explanation["hotkey"]].sort_values("session")
    level = (1 + own["portfolio_return"]).prod()
    assert explanation["record"][-1]["level"] == pytest.approx(level, abs=1e-7)
    levels = [1.0, *(line["level"] for line in explanation["record"])]
    falls = [1 - level / max(levels[: at + 1]) for at, level in enumerate(levels)]
    shown = [line["drawdown"] for line in explanation["record"]]
    assert shown == pytest.approx(falls[1:], abs=1e-8)


def test_no_position_is_for_everyone(accounts: dict[str, tuple[Tables, pd.DataFrame]]) -> None:
    for _, table in accounts.values():
        for text in table["explanation"]:
            assert '"column":"weight"' not in text
            assert "validated_prices" not in text
            assert '"column":"portfolio_return"' not in text
            assert "validator_weights" not in text


def test_money_that_does_not_follow_is_not_explained(lake: Path) -> None:
    tables = tables_of(lake, LAST)
    first = tables["rewards"]["gross_rao"].idxmax()
    tables["rewards"].loc[first, ["gross_rao", "payout_rao"]] += 1
    with pytest.raises(NotExplained, match=LAST):
        explain_epoch(tables, None, epoch_id=LAST, params=QUANTA)


def test_what_a_restatement_took_back_does_not_count(lake: Path) -> None:
    tables = tables_of(lake, LAST)
    before = explain_epoch(tables, None, epoch_id=LAST, params=QUANTA)
    first = posted(tables["ledger_entries"])
    n = len(first)
    back = first.assign(
        entry=first["entry"] + n,
        from_account=first["to_account"],
        to_account=first["from_account"],
        reverses=first["entry"].astype("Int64"),
        posting=1,
    )
    again = first.assign(entry=first["entry"] + 2 * n, version=2, posting=1)
    tables["ledger_entries"] = pd.concat([first, back, again], ignore_index=True)
    after = explain_epoch(tables, None, epoch_id=LAST, params=QUANTA)
    assert [printed(one) for one in said(after)] == [printed(one) for one in said(before)]


def test_an_epoch_is_explained_once_and_again_when_it_is_restated(
    platform: Platform,
) -> None:
    epochs = SETTLED[-2:]
    publish_pages(platform, [epoch.id for epoch in epochs])
    folder = platform.warehouse.folder / "reports"
    before = {page.name: page.read_bytes() for page in folder.iterdir()}
    assert set(before) == {"index.html", *(f"{epoch.id}.html" for epoch in epochs)}
    stamps = {page.name: page.stat().st_mtime_ns for page in folder.iterdir()}
    publish_pages(platform, [epoch.id for epoch in epochs])
    assert stamps == {page.name: page.stat().st_mtime_ns for page in folder.iterdir()}
    for page in folder.iterdir():
        page.unlink()
    publish_pages(platform, [epoch.id for epoch in epochs])
    assert before == {page.name: page.read_bytes() for page in folder.iterdir()}  # same bytes
    with pytest.raises(GateNotPassed, match=r"scores .* evaluated for another version"):
        explained_anew(platform)


def explained_anew(platform: Platform) -> pd.DataFrame:
    """Explanations asked for after a table below them was written again and not yet judged."""
    scores = platform.lake.read("scores", LAST)
    stamp = platform.lake.version("scores", LAST)
    platform.lake.publish(
        "scores",
        LAST,
        scores.assign(reason=scores["reason"] + " "),
        params_version=stamp.params_version,
        code_version=stamp.code_version,
    )
    return explained(platform, SETTLED[-1])


@pytest.fixture
def home(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("QUANTA_HOME", str(platform.warehouse.folder.parent))
    current_settings.cache_clear()
    yield platform.warehouse.folder.parent
    current_settings.cache_clear()


def test_the_commands(home: Path) -> None:
    hotkey = pd.read_parquet(home / "lake" / "rewards" / f"{LAST}.parquet")["hotkey"].iloc[0]
    told = CliRunner().invoke(main, ["explain", LAST, hotkey])
    assert told.exit_code == 0, told.output
    for words in ("Payout:", "rewards[", "at gamma 1.2", "without the turnover term", "Positions:"):
        assert words in told.output
    machine = json.loads(CliRunner().invoke(main, ["explain", LAST, hotkey, "--json"]).output)
    assert recomputed(printed(machine)) == printed(machine)["payout_rao"]
    assert [step["name"] for step in machine["for_owner"]] == ["positions", "sessions", "votes"]
    page = CliRunner().invoke(main, ["report", LAST, "--json"])
    written = Path(json.loads(page.output)["page"]).read_text()
    assert f"Epoch {LAST}" in written
    stranger = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    for wrong in (["explain", LAST, "5short"], ["explain", LAST, stranger]):
        refusal = CliRunner().invoke(main, wrong)
        assert refusal.exit_code == 1
        assert wrong[2] in refusal.output
    absent = CliRunner().invoke(main, ["report", "2018-Q4-W48"])
    assert (absent.exit_code, "2018-Q4-W48" in absent.output) == (1, True)
