"""The signal store: windows, replacement, idempotence, verdicts, durability, tables."""

import datetime as dt
import hashlib
import re
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from data_contracts.consensus import ValidatorWeights
from data_contracts.signals import Commitments, Reveals
from quanta_pipelines.adapters.signal_store import (
    ContradictsRecord,
    NotPermitted,
    NotRecorded,
    OutsideWindow,
    SignalState,
    SignalStatus,
    SignalStore,
)
from quanta_pipelines.protocol.antes import RewardEntry
from quanta_pipelines.protocol.commit_reveal import (
    Reveal,
    Verdict,
    commitment,
    hotkey_from_public_key,
)
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import (
    InvalidCommitment,
    InvalidEpoch,
    InvalidPortfolio,
    InvalidWeights,
    ProtocolError,
)
from quanta_pipelines.protocol.ledger import ledger_table, movements
from quanta_pipelines.protocol.portfolio import accepted_positions, portfolio_hash
from quanta_pipelines.protocol.rewards import settle

EPOCH = Epoch.parse("2019-Q1-W10")
OPENS = EPOCH.opens_at
TICKERS = ("AAPL", "BRK.B", "GE", "JPM", "PG", "WMT")
POSITIONS = tuple((ticker, "0.2") for ticker in ("WMT", "AAPL", "brk-b", "GE", "JPM"))
SECRET = "0123456789abcdef" * 2
HOUR = dt.timedelta(hours=1)
MICROSECOND = dt.timedelta(microseconds=1)


def hotkey(name: str) -> str:
    return hotkey_from_public_key(hashlib.sha256(name.encode()).digest())


ALICE, BOB = hotkey("alice"), hotkey("bob")


def opening(miner: str = ALICE, secret: str = SECRET) -> Reveal:
    text = commitment(portfolio_hash(POSITIONS), secret, miner, EPOCH.id)
    return Reveal(miner, EPOCH.id, text, POSITIONS, secret)


@pytest.fixture
def store(url: str):
    store = SignalStore.open(url)
    store.fix_universe(EPOCH, TICKERS)
    yield store
    store.close()


def commit(store: SignalStore, reveal: Reveal, *, ante="50", at=OPENS - 2 * HOUR):
    return store.commit(reveal.hotkey, EPOCH, reveal.commitment, ante, received_at=at)


# Commitments


def test_a_receipt_says_when_to_reveal(store):
    receipt = commit(store, opening())
    assert receipt.revealable_from == OPENS + 12 * HOUR  # 14 hours after the commitment
    assert receipt.expires_at == OPENS + 46 * HOUR  # 48 hours after it
    assert receipt.replaced == 0


@pytest.mark.parametrize("at", [OPENS - 24 * HOUR - MICROSECOND, OPENS, OPENS + HOUR])
def test_a_commitment_outside_its_window_is_refused_with_window_and_moment(store, at):
    with pytest.raises(OutsideWindow, match=r"from 2019-02-28T21:00:00.* to 2019-03-01T21:00:00"):
        commit(store, opening(), at=at)
    assert store.commitments(EPOCH.id).empty


@pytest.mark.parametrize("at", [OPENS - 24 * HOUR, OPENS - MICROSECOND])
def test_the_window_takes_its_first_and_not_its_last_moment(store, at):
    commit(store, opening(), at=at)
    assert store.commitments(EPOCH.id)["received_at"].tolist() == [pd.Timestamp(at)]


def test_the_same_commitment_again_changes_nothing_even_after_the_window(store, url):
    first = commit(store, opening())
    again = commit(store, opening(), at=OPENS + 50 * HOUR)
    assert again == first
    assert count(url, "commitments") == 1


def test_a_newer_commitment_replaces_and_the_old_row_stays(store, url):
    commit(store, opening())
    newer = opening(secret=SECRET[::-1])
    receipt = commit(store, newer, ante=Decimal("12.5"), at=OPENS - HOUR)
    (row,) = store.commitments(EPOCH.id).to_dict("records")
    assert (row["commitment"], row["ante_rao"], row["n_replaced"]) == (
        newer.commitment,
        12_500_000_000,
        1,
    )
    assert receipt.replaced == 1
    assert count(url, "commitments") == 2


def test_a_replaced_commitment_does_not_come_back(store):
    commit(store, opening())
    commit(store, opening(secret=SECRET[::-1]), at=OPENS - HOUR)
    with pytest.raises(ContradictsRecord, match="a newer one replaced it"):
        commit(store, opening(), at=OPENS - HOUR / 2)


def test_a_commitment_that_was_received_before_the_standing_one_leaves_no_row(store, url):
    # two intake machines: the second hands in what it received an hour before the first did
    stands = opening(secret=SECRET[::-1])
    commit(store, stands, at=OPENS - HOUR)
    with pytest.raises(ContradictsRecord, match=r"received at 2019-03-01T20:00.*one at .*T19:00"):
        commit(store, opening(), at=OPENS - 2 * HOUR)
    (row,) = store.commitments(EPOCH.id).to_dict("records")
    assert (row["commitment"], row["n_replaced"]) == (stands.commitment, 0)
    assert count(url, "commitments") == 1


def test_of_two_commitments_of_one_moment_the_second_stands(store):
    commit(store, opening())
    assert commit(store, opening(secret=SECRET[::-1])).replaced == 1


def test_a_refused_change_of_ante_leaves_no_row(store, url):
    commit(store, opening())
    with pytest.raises(ContradictsRecord):
        commit(store, opening(), ante="51", at=OPENS - HOUR)
    assert count(url, "commitments") == 1


def test_a_commitment_has_one_ante(store):
    commit(store, opening())
    with pytest.raises(ContradictsRecord, match="ante of 50000000000 rao"):
        commit(store, opening(), ante="51")


@pytest.mark.parametrize(
    ("change", "ante"),
    [
        ({"hotkey": ALICE[:-1] + ("1" if ALICE[-1] != "1" else "2")}, "50"),
        ({"commitment": "A" * 64}, "50"),
        ({}, "9.999"),
    ],
)
def test_a_malformed_commitment_is_refused(store, change, ante):
    with pytest.raises(InvalidCommitment):
        commit(store, replace(opening(), **change), ante=ante)


def test_a_moment_without_zone_is_refused(store):
    with pytest.raises(ProtocolError, match="time zone"):
        commit(store, opening(), at=dt.datetime(2019, 3, 1, 20))  # noqa: DTZ001


def test_a_reveal_without_zone_is_refused_too(store):
    with pytest.raises(ProtocolError, match="time zone"):
        store.reveal(opening(), received_at=dt.datetime(2019, 3, 1, 20))  # noqa: DTZ001


# Universe and snapshot


def test_a_universe_is_fixed_once(store):
    store.fix_universe(EPOCH, reversed(TICKERS))
    assert store.universe(EPOCH.id) == TICKERS
    with pytest.raises(ContradictsRecord, match="differs in MSFT"):
        store.fix_universe(EPOCH, (*TICKERS, "MSFT"))
    with pytest.raises(InvalidPortfolio, match="empty"):
        store.fix_universe(EPOCH.next(), ())
    with pytest.raises(NotRecorded, match=EPOCH.next().id):
        store.universe(EPOCH.next().id)


def snapshot(store: SignalStore, **changes):
    values = {"emission_rao": 10**12, "external_rao": 0, "stakes": {BOB: 7, ALICE: 2**62}}
    store.record_snapshot(EPOCH, **(values | changes))


def test_a_snapshot_is_recorded_once(store):
    snapshot(store, source="simulated")
    snapshot(store, source="simulated", stakes={ALICE: 2**62, BOB: 7})
    found = store.snapshot(EPOCH.id)
    assert (found.emission_rao, found.external_rao, found.source) == (10**12, 0, "simulated")
    assert found.stakes == {ALICE: 2**62, BOB: 7}
    with pytest.raises(ContradictsRecord):
        snapshot(store, source="chain")
    with pytest.raises(NotRecorded, match=EPOCH.next().id):
        store.snapshot(EPOCH.next().id)


@pytest.mark.parametrize("changes", [{"stakes": {}}, {"emission_rao": -1}, {"stakes": {ALICE: -1}}])
def test_a_snapshot_without_sense_is_refused(store, changes):
    with pytest.raises(InvalidWeights):
        snapshot(store, **changes)


# Reveals


def test_an_accepted_reveal_gives_positions(store):
    commit(store, opening())
    judgement = store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    assert judgement.verdict is Verdict.ACCEPTED
    table = accepted_positions(store.reveals(EPOCH.id), store.commitments(EPOCH.id))
    assert table["ticker"].tolist() == ["AAPL", "BRK.B", "GE", "JPM", "WMT"]
    assert table["weight"].tolist() == [0.2] * 5
    assert set(table["committed_at"]) == {pd.Timestamp(OPENS - 2 * HOUR)}


@pytest.mark.parametrize(
    ("reveal", "after", "verdict"),
    [
        (opening(), 12 * HOUR - MICROSECOND, Verdict.TOO_EARLY),
        (opening(), -HOUR, Verdict.TOO_EARLY),
        (opening(), 46 * HOUR + MICROSECOND, Verdict.EXPIRED),
        (replace(opening(), secret=SECRET[::-1]), 20 * HOUR, Verdict.HASH_MISMATCH),
        (replace(opening(), secret="\ud800\x00" * 32), 20 * HOUR, Verdict.HASH_MISMATCH),
        (replace(opening(), commitment="0" * 64), 20 * HOUR, Verdict.UNKNOWN_COMMITMENT),
        (opening(BOB), 20 * HOUR, Verdict.UNKNOWN_COMMITMENT),
        (
            replace(opening(), positions=(*POSITIONS[1:], ("TSLA", "0.2"))),
            20 * HOUR,
            Verdict.INVALID_PORTFOLIO,
        ),
    ],
)
def test_a_failed_reveal_is_recorded_and_may_be_tried_again(store, reveal, after, verdict):
    commit(store, opening())
    assert store.reveal(reveal, received_at=OPENS + after).verdict is verdict
    assert store.reveal(opening(), received_at=OPENS + 46 * HOUR).verdict is Verdict.ACCEPTED
    table = Reveals.validate(store.reveals(EPOCH.id))
    verdicts = dict(zip(table["verdict"], table["reason"], strict=True))
    assert set(verdicts) == {verdict, Verdict.ACCEPTED}
    assert verdicts[verdict] != ""
    assert verdicts[Verdict.ACCEPTED] == ""


def test_only_what_was_accepted_is_public(store):
    commit(store, opening())
    store.reveal(opening(), received_at=OPENS)
    store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    table = store.reveals(EPOCH.id)
    assert table["positions"].tolist() == [
        "",
        "AAPL:0.200000|BRK.B:0.200000|GE:0.200000|JPM:0.200000|WMT:0.200000",
    ]
    assert table["secret"].tolist() == ["", SECRET]


def test_an_accepted_reveal_uses_the_reveal_up(store):
    commit(store, opening())
    moments = [OPENS + hours * HOUR for hours in (20, 20, 21)]
    found = [store.reveal(opening(), received_at=moment).verdict for moment in moments]
    assert found == [Verdict.ACCEPTED, Verdict.ALREADY_REVEALED, Verdict.ALREADY_REVEALED]
    assert store.reveals(EPOCH.id)["reveal_id"].tolist() == [1, 2, 3]


def test_the_newest_commitment_is_the_one_to_open(store):
    commit(store, opening())
    commit(store, opening(secret=SECRET[::-1]), at=OPENS - HOUR)
    moment = OPENS + 20 * HOUR
    assert store.reveal(opening(), received_at=moment).verdict is Verdict.UNKNOWN_COMMITMENT
    newest = opening(secret=SECRET[::-1])
    assert store.reveal(newest, received_at=moment).verdict is Verdict.ACCEPTED


def test_an_epoch_id_is_stored_in_its_canonical_form(store):
    epoch = Epoch.parse("2019-Q1-W09")
    store.fix_universe(epoch, TICKERS)
    text = commitment(portfolio_hash(POSITIONS), SECRET, ALICE, epoch.id)
    store.commit(ALICE, epoch, text, "50", received_at=epoch.opens_at - HOUR)
    claim = Reveal(ALICE, "2019-Q1-W9", text, POSITIONS, SECRET)
    assert store.reveal(claim, received_at=epoch.opens_at + 20 * HOUR).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"hotkey": "5" + "a" * 47}, InvalidCommitment),
        ({"commitment": "xyz"}, InvalidCommitment),
        ({"epoch_id": "2019-Q1-W99"}, InvalidEpoch),
    ],
)
def test_a_malformed_reveal_leaves_no_row(store, url, change, error):
    with pytest.raises(error):
        store.reveal(replace(opening(), **change), received_at=OPENS + 20 * HOUR)
    assert count(url, "reveals") == 0


def test_content_is_not_judged_without_a_universe(url):
    store = SignalStore.open(url)
    commit(store, opening())
    assert store.reveal(opening(), received_at=OPENS - HOUR).verdict is Verdict.TOO_EARLY
    with pytest.raises(NotRecorded, match="universe of 2019-Q1-W10"):
        store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    assert count(url, "reveals") == 1  # the verdict; what could not be judged left no row
    store.close()


# Escrow and status


def test_an_ante_goes_into_escrow_and_a_replaced_one_back(store):
    commit(store, opening())
    commit(store, opening(BOB), ante="20")
    commit(store, opening(secret=SECRET[::-1]), ante="12.5", at=OPENS - HOUR)
    held = store.escrow(EPOCH.id).set_index("hotkey")["escrow_rao"].to_dict()
    assert held == {ALICE: 12_500_000_000, BOB: 20_000_000_000}
    moved = store.escrow_movements(EPOCH.id)
    columns = ["entry", "from_account", "to_account", "amount_rao", "reason", "moved_at"]
    assert moved[columns].to_numpy().tolist() == [
        [1, f"miner:{ALICE}", f"escrow:{ALICE}", 50_000_000_000, "ante_posted", OPENS - 2 * HOUR],
        [2, f"miner:{BOB}", f"escrow:{BOB}", 20_000_000_000, "ante_posted", OPENS - 2 * HOUR],
        [3, f"escrow:{ALICE}", f"miner:{ALICE}", 50_000_000_000, "ante_replaced", OPENS - HOUR],
        [4, f"miner:{ALICE}", f"escrow:{ALICE}", 12_500_000_000, "ante_posted", OPENS - HOUR],
    ]
    assert moved["amount_rao"].dtype == "int64"


def test_escrow_is_what_the_settlement_posts_again(store):
    commit(store, opening())
    commit(store, opening(secret=SECRET[::-1]), ante="12.5", at=OPENS - HOUR)
    commit(store, opening(BOB), ante="20")
    standing = store.commitments(EPOCH.id)
    entries = [
        RewardEntry(row.hotkey, 0, row.ante_rao, standing="unranked")
        for row in standing.itertuples()
    ]
    antes = {entry.hotkey: entry.ante_rao for entry in entries}
    ledger = ledger_table(movements(settle(entries, emission_rao=0), antes), EPOCH.id)
    posted = ledger[ledger["reason"] == "ante_posted"].set_index("to_account")["amount_rao"]
    held = store.escrow(EPOCH.id)
    assert posted.to_dict() == {f"escrow:{row.hotkey}": row.escrow_rao for row in held.itertuples()}


def test_the_same_commitment_again_moves_no_money(store):
    commit(store, opening())
    commit(store, opening(), at=OPENS + 50 * HOUR)
    assert len(store.escrow_movements(EPOCH.id)) == 1


def test_a_refused_commitment_moves_no_money(store):
    commit(store, opening())
    with pytest.raises(OutsideWindow):
        commit(store, opening(secret=SECRET[::-1]), at=OPENS)
    with pytest.raises(ContradictsRecord):
        commit(store, opening(secret=SECRET[::-1]), at=OPENS - 3 * HOUR)
    assert store.escrow_movements(EPOCH.id)["amount_rao"].tolist() == [50_000_000_000]


def test_a_commitment_that_was_held_up_does_not_replace_a_revealed_one(store):
    # one machine took it at 20:59 and hands it in after another one has accepted the reveal
    commit(store, opening())
    store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    with pytest.raises(ContradictsRecord, match="has revealed its portfolio"):
        commit(store, opening(secret=SECRET[::-1]), at=OPENS - MICROSECOND)
    assert store.escrow(EPOCH.id)["escrow_rao"].tolist() == [50_000_000_000]
    assert store.problems() == ()


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (-HOUR, SignalState.COMMITTED),
        (12 * HOUR - MICROSECOND, SignalState.COMMITTED),
        (12 * HOUR, SignalState.REVEALABLE),  # 14 hours after the commitment
        (46 * HOUR, SignalState.REVEALABLE),
        (46 * HOUR + MICROSECOND, SignalState.UNREVEALED),  # 48 hours after it
    ],
)
def test_a_status_says_where_a_signal_stands(store, after, state):
    commit(store, opening())
    commit(store, opening(secret=SECRET[::-1]))
    status = store.signal_status(ALICE, EPOCH, at=OPENS + after)
    assert (status.state, status.replaced) == (state, 1)
    assert status.commitment == opening(secret=SECRET[::-1]).commitment
    assert (status.ante_rao, status.escrow_rao) == (50_000_000_000, 50_000_000_000)
    assert (status.committed_at, status.revealed_at) == (OPENS - 2 * HOUR, None)
    assert (status.revealable_from, status.expires_at) == (OPENS + 12 * HOUR, OPENS + 46 * HOUR)


def test_a_status_of_nobody_and_of_a_revealed_signal(store):
    absent = store.signal_status(ALICE, EPOCH, at=OPENS)
    assert absent == SignalStatus(ALICE, EPOCH.id, SignalState.ABSENT, escrow_rao=0)
    commit(store, opening())
    store.reveal(opening(), received_at=OPENS)  # too early
    assert store.signal_status(ALICE, EPOCH, at=OPENS).revealed_at is None
    store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    revealed = store.signal_status(ALICE, EPOCH, at=OPENS + 50 * HOUR)
    assert revealed.state is SignalState.REVEALED
    assert revealed.revealed_at == OPENS + 20 * HOUR


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "UPDATE escrow_movements SET amount_rao = 7",
            rf"escrow is not the standing commitment's ante: {EPOCH.id}, {ALICE}, 50000000000, 7",
        ),
        ("DELETE FROM escrow_movements", rf"escrow is not .*: {EPOCH.id}, {ALICE}, 50000000000, 0"),
        ("UPDATE escrow_movements SET to_account = 'burn'", "not that of its commitment: 1, ante_"),
        ("UPDATE commitments SET ordinal = 2", "not numbered from 1 without a gap"),
        (f"UPDATE reveals SET commitment = '{'0' * 64}'", "it opens no standing commitment"),
    ],
)
def test_what_is_done_past_the_triggers_is_found(store, url, change, problem):
    commit(store, opening())
    store.reveal(opening(), received_at=OPENS + 20 * HOUR)
    assert store.problems() == ()
    engine = create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
        else:
            for table in ("escrow_movements", "commitments", "reveals"):
                for kind in ("update", "delete"):
                    connection.exec_driver_sql(f"DROP TRIGGER {table}_no_{kind}")
        connection.exec_driver_sql(change)
    engine.dispose()
    assert re.search(problem, "\n".join(store.problems()))


# Votes

DATA_HASH = "d" * 64


def vote(**changes) -> pd.DataFrame:
    cells = {
        "hotkey": [BOB, ALICE],
        "weight_units": [400_000_000, 600_000_000],
        "composite": [0.1 + 0.2, 0.5],
        "max_drawdown_7d": [0.01, 0.02],
        "max_drawdown_30d": [0.01, float("nan")],
        "max_drawdown_90d": [float("nan")] * 2,
    }
    return pd.DataFrame(cells | changes)


def submit(store: SignalStore, row: pd.DataFrame, *, at=EPOCH.settles_at, data_hash=DATA_HASH):
    return store.submit_weights(BOB, EPOCH, row, data_hash, received_at=at)


def test_a_vote_is_read_back_with_the_stake_of_the_snapshot(store):
    snapshot(store)
    submit(store, vote(), at=EPOCH.settles_at + HOUR / 2)
    table = ValidatorWeights.validate(store.validator_weights(EPOCH.id))
    assert table["hotkey"].tolist() == sorted([ALICE, BOB])
    assert dict(zip(table["hotkey"], table["composite"], strict=True))[BOB] == 0.1 + 0.2
    assert set(table["stake_rao"]) == {7}
    assert set(table["received_at"]) == {pd.Timestamp(EPOCH.settles_at + HOUR / 2)}


def test_the_first_vote_counts(store, url):
    snapshot(store)
    number = submit(store, vote())
    assert submit(store, vote().iloc[::-1], at=EPOCH.settles_at + HOUR) == number
    with pytest.raises(ContradictsRecord, match="already voted"):
        submit(store, vote(weight_units=[500_000_000] * 2))
    with pytest.raises(ContradictsRecord, match="already voted"):
        submit(store, vote(), data_hash="e" * 64)
    assert (count(url, "weight_submissions"), count(url, "submitted_weights")) == (1, 2)


@pytest.mark.parametrize("late", [-MICROSECOND, HOUR / 2 + MICROSECOND])
def test_a_vote_outside_its_window_is_refused_and_leaves_no_row(store, url, late):
    snapshot(store)
    with pytest.raises(OutsideWindow, match=r"a vote for 2019-Q1-W10 is taken from"):
        submit(store, vote(), at=EPOCH.settles_at + late)
    assert (count(url, "weight_submissions"), count(url, "submitted_weights")) == (0, 0)


def test_only_validators_of_the_snapshot_vote(store):
    with pytest.raises(NotRecorded, match=r"no snapshot .* 2019-Q1-W10"):
        submit(store, vote())
    snapshot(store, stakes={ALICE: 1})
    with pytest.raises(NotPermitted, match=BOB):
        submit(store, vote())


@pytest.mark.parametrize(
    "row",
    [
        vote(weight_units=[400_000_000, 600_000_001]),
        vote(weight_units=[-1, 1_000_000_001]),
        vote(weight_units=[0.4e9, 0.6e9]),
        vote(weight_units=[2**62, 2**62]),
        vote(hotkey=[ALICE, ALICE]),
        vote(composite=[float("nan"), 0.5]),
        vote(composite=[1.5, 0.5]),
        vote(max_drawdown_7d=[float("inf"), 0.1]),
        vote().drop(columns="composite"),
        vote().iloc[:0],
    ],
)
def test_a_malformed_vote_is_refused_whole(store, row):
    snapshot(store)
    with pytest.raises(InvalidWeights):
        submit(store, row)


def test_a_vote_names_real_hotkeys_and_a_real_hash(store):
    snapshot(store)
    with pytest.raises(InvalidCommitment, match="SS58 prefix"):
        submit(store, vote(hotkey=["5" + "a" * 47, ALICE]))
    with pytest.raises(InvalidCommitment, match="data hash"):
        submit(store, vote(), data_hash="d")


# Tables


def test_empty_tables_keep_their_contracts(store):
    Commitments.validate(store.commitments(EPOCH.id))
    Reveals.validate(store.reveals(EPOCH.id))
    ValidatorWeights.validate(store.validator_weights(EPOCH.id))


def test_moments_are_read_back_in_utc_with_microseconds(store):
    moment = OPENS - HOUR + MICROSECOND
    commit(store, opening(), at=moment.astimezone(dt.timezone(5 * HOUR)))
    table = Commitments.validate(store.commitments(EPOCH.id))
    assert table["received_at"].tolist() == [pd.Timestamp(moment)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE commitments SET ante_rao = 1",
        "UPDATE escrow_movements SET amount_rao = 1",
        "DELETE FROM universes",
    ],
)
def test_rows_are_never_changed(store, url, change):
    commit(store, opening())
    engine = create_engine(url)
    with pytest.raises(DBAPIError, match="only grows"), engine.begin() as connection:
        connection.exec_driver_sql(change)
    engine.dispose()


# The database


def count(url: str, table: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    engine.dispose()
    return found


def test_a_store_may_live_in_memory():
    store = SignalStore.open("sqlite://")
    commit(store, opening())
    assert len(store.commitments(EPOCH.id)) == 1
    store.close()
