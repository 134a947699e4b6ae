import datetime as dt

import numpy as np
import pandas as pd
import pytest

from data_contracts.rewards import Participants
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.integrity.case_table import NonReveal, case_table, unrevealed
from quanta_pipelines.protocol.integrity.identity import percentile_average
from quanta_pipelines.protocol.participants import (
    EpochFacts,
    participants_table,
    percentiles_of,
)
from quanta_pipelines.protocol.portfolio import RAO

FIRST = Epoch.parse("2025-Q3-W30")
WEEKS = Epoch.range(FIRST, "2025-Q4-W52")
A, B, C, V = ("5" + letter * 47 for letter in "ABCV")
NO_EVENTS = pd.DataFrame(columns=["case_id", "event", "author", "reason", "evidence", "at"])
LONG_AGO = pd.Timestamp("2025-01-03", tz="UTC")


def registered(**roles: str) -> pd.DataFrame:
    names = {"a": A, "b": B, "c": C, "v": V}
    rows = [(names[who], role, LONG_AGO) for who, role in roles.items()]
    return pd.DataFrame(rows, columns=["hotkey", "role", "since"])


def facts(epoch, ranks, *, silent=(), provisional=(), said=None, cases=None, bonds=None):
    """Ranked miners with percentiles, some that never revealed, some that revealed unranked."""
    committed = [*ranks, *silent, *provisional]
    opens = pd.Timestamp(epoch.opens_at) - pd.Timedelta(hours=1)
    commitments = pd.DataFrame(
        {"hotkey": committed, "commitment": ["ab" * 32] * len(committed), "received_at": opens}
    )
    reveals = pd.DataFrame(
        {"hotkey": [*ranks, *provisional, *silent], "verdict": "accepted"}
    ).assign(verdict=lambda rows: rows["verdict"].mask(rows["hotkey"].isin(silent), "expired"))
    standing = {**dict.fromkeys(ranks, "ranked"), **dict.fromkeys(silent, "unrevealed")}
    standing |= dict.fromkeys(provisional, "provisional")
    if cases is None:
        missed = unrevealed(commitments, reveals, epoch.id)
        cases = case_table([], NO_EVENTS, None, epoch_id=epoch.id, non_reveals=missed)
    return EpochFacts(
        consensus=pd.DataFrame({"hotkey": list(ranks), "percentile": list(ranks.values())}),
        scores=pd.DataFrame({"hotkey": list(standing), "standing": list(standing.values())}),
        commitments=commitments,
        reveals=reveals,
        flags=pd.DataFrame({"hotkey": [], "least_stake_rao": pd.array([], dtype="Int64")}),
        cases=cases,
        registered=registered() if said is None else said,
        validators=[V],
        bonds=bonds or {},
    )


def played(weeks, **given):
    """Tables of consecutive epochs, each on the one before."""
    tables, previous = [], None
    for epoch, ranks in zip(WEEKS, weeks, strict=False):
        previous = participants_table(facts(epoch, ranks, **given), previous, epoch_id=epoch.id)
        Participants.validate(previous)
        tables.append(previous.set_index("hotkey"))
    return tables


def test_a_record_grows_by_an_epoch_that_was_due():
    first, second, third = played([{A: 1.0, B: 0.5}, {A: 0.25}, {A: 0.5, B: 1.0}])
    assert first.loc[A, "record"] == "1.000000000"
    assert third.loc[A, "record"] == "1.000000000 0.250000000 0.500000000"
    # B missed the second: two of three reveals
    assert second.loc[B, "record"] == "0.500000000 -"
    assert third.loc[B, ["epochs_due", "reveals_accepted"]].tolist() == [3, 2]
    assert third.loc[B, "uptime"] == pytest.approx(2 / 3, abs=1e-9)
    assert pd.isna(second.loc[B, "standing"])
    # the average of what was carried on is that of the whole history
    whole = percentile_average(np.array([[1.0, 0.25, 0.5], [0.5, np.nan, 1.0]]))
    assert third.loc[[A, B], "percentile_average"].tolist() == pytest.approx(whole, abs=2e-9)


def test_reputation_forgets_what_uptime_remembers():
    # 60 days are 8 whole weeks: of 9 epochs the missed first one after the start is out at the 10th
    weeks = [{A: 1.0}, {}, *([{A: 1.0}] * 8)]
    last = played(weeks)[-1].loc[A]
    assert (last["uptime"], last["reputation"]) == (0.9, 1.0)


def test_an_epoch_without_a_rank_is_neither_missed_nor_scored():
    said = registered(a="solo_miner")
    tables = played([{}] * 5, provisional=[A], said=said)
    assert tables[-1].loc[A, "record"] == ". . . . ."
    assert percentiles_of(". . - 0.250000000") == [None, 1 / 4]
    assert tables[-1].loc[A, "next_role"] == "solo_miner"
    assert tables[-1].loc[A, "uptime"] == 1.0


def test_a_generator_rises_by_its_record_and_begins_a_new_one():
    # registered months ago: 8 scored epochs are what lacks, and the ninth is an operator's first
    tables = played([{A: 0.7}] * 9, said=registered(a="signal_generator"))
    assert tables[6].loc[A, "next_role"] == "signal_generator"
    assert tables[7].loc[A, ["role", "next_role"]].tolist() == ["signal_generator", "pool_operator"]
    assert tables[8].loc[A, ["role", "record"]].tolist() == ["pool_operator", "0.700000000"]
    assert tables[8].loc[A, "since"] == pd.Timestamp(WEEKS[8].opens_at)


def test_a_solo_miner_falls_after_four_weak_epochs_and_gives_its_uid_back():
    tables = played([{A: 0.74, B: 0.75}] * 5, said=registered(a="solo_miner", b="solo_miner"))
    assert tables[3].loc[[A, B], "next_role"].tolist() == ["pool_operator", "solo_miner"]
    # V's stake counts from the first opening on, the miners are registered since long
    assert tables[3].loc[[A, B, V], "uid"].tolist() == [0, 1, 2]
    assert pd.isna(tables[4].loc[A, "uid"])
    assert tables[4].loc[[B, V], "uid"].tolist() == [1, 2]


def test_who_is_not_registered_has_no_role_and_is_forgotten_after_five_missed_epochs():
    tables = played([{A: 1.0, B: 1.0}, *([{B: 1.0}] * 5)])
    assert pd.isna(tables[0].loc[A, "role"])
    assert A in tables[4].index
    assert A not in tables[5].index
    kept = played([{A: 1.0}, *([{}] * 6)], said=registered(a="signal_generator"))
    assert kept[-1].loc[A, "record"] == "1.000000000 - - - - - -"


def test_a_commitment_that_is_never_revealed_is_an_offence():
    table = played([{B: 1.0}], silent=[A])[0]
    row = table.loc[A]
    assert (row["standing"], row["record"], row["offences"]) == ("unrevealed", "-", 1)
    assert row["open_offence"]
    assert not table.loc[B, "open_offence"]


def test_non_reveals_and_bonds_give_a_slash_that_grows():
    # 5 % of 1000 tokens; a week later 7.5 %; the bond is what the snapshot says each time
    bonds, cases = {A: 1000 * RAO}, None
    for epoch, burned in zip(WEEKS, [50 * RAO, 75 * RAO], strict=False):
        at = epoch.opens_at + dt.timedelta(hours=47)
        missed = [NonReveal(A, "ab" * 32, at)]
        known = {"epoch_id": epoch.id, "bonds": bonds, "non_reveals": missed}
        cases = case_table([], NO_EVENTS, cases, **known)
        now = cases[cases["closed_epoch"] == epoch.id].iloc[0]
        assert (now["kind"], now["state"], now["slash_rao"]) == ("non_reveal", "confirmed", burned)
        again = case_table([], NO_EVENTS, None, **known)
        assert now["case_id"] in set(again["case_id"])  # the same epoch again names the same case
        said = facts(epoch, {B: 1.0}, silent=[A], cases=cases, bonds=bonds)
        found = participants_table(said, None, epoch_id=epoch.id).set_index("hotkey")
        assert found.loc[A, "slashed_rao"] == burned
        assert found.loc[B, "stake_rao"] == 0
    assert cases["offence_number"].tolist() == [1, 2]


def test_identity_stands_where_stakes_are_known():
    # minimum ante 10: stake 100 is ten times S_min, .5; average .1 * 1.0 times .3; no day yet
    said = facts(FIRST, {A: 1.0}, bonds={A: 100 * RAO})
    found = participants_table(said, None, epoch_id=FIRST.id).set_index("hotkey")
    assert found.loc[A, "identity"] == pytest.approx(0.53)
    assert pd.isna(found.loc[V, "identity"])
    assert played([{A: 1.0}])[0]["identity"].isna().all()
