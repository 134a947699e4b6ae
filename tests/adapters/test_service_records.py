"""Nonces, participants, pools, disputes and the log of administrators, on both databases."""

import datetime as dt
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

from quanta_pipelines.adapters.signal_store import (
    NONCE_WINDOW,
    ContradictsRecord,
    DisputeEvent,
    InvalidRecord,
    NotRecorded,
    OutsideWindow,
    Participant,
    ReplayedNonce,
    Role,
    SignalStore,
)
from quanta_pipelines.protocol.errors import InvalidCommitment, ProtocolError
from tests.adapters.store_clients import EPOCH, hotkey

ALICE, BOB, CAROL = sorted(hotkey(name) for name in ("alice", "bob", "carol"))
NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SECOND, DAY = dt.timedelta(seconds=1), dt.timedelta(days=1)
NAIVE = dt.datetime(2026, 3, 2)  # noqa: DTZ001


@pytest.fixture
def store(url: str) -> Iterator[SignalStore]:
    store = SignalStore.open(url)
    yield store
    store.close()


def nonces(url: str) -> list[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        query = "SELECT nonce FROM nonces ORDER BY nonce"
        found = connection.exec_driver_sql(query).scalars().all()
    engine.dispose()
    return list(found)


# Nonces


def test_a_nonce_is_used_once_by_each_hotkey(store):
    store.use_nonce(ALICE, "nonce-01", NOW, NOW)
    store.use_nonce(BOB, "nonce-01", NOW, NOW)
    store.use_nonce(ALICE, "nonce-02", NOW, NOW)
    with pytest.raises(ReplayedNonce, match=f"{ALICE} has used the nonce nonce-01"):
        store.use_nonce(ALICE, "nonce-01", NOW, NOW + SECOND)


@pytest.mark.parametrize("off", [NONCE_WINDOW, -NONCE_WINDOW])
def test_a_request_is_taken_to_the_end_of_its_window_and_no_longer(store, off):
    store.use_nonce(ALICE, "nonce-01", NOW + off, NOW)
    further = off + SECOND if off > dt.timedelta(0) else off - SECOND
    with pytest.raises(OutsideWindow, match="0:05:00"):
        store.use_nonce(ALICE, "nonce-02", NOW + further, NOW)


def test_a_nonce_is_pruned_when_its_moment_alone_refuses_the_replay(store, url):
    # signed five minutes ahead, so refused by its moment from ten minutes on; one window is slack
    store.use_nonce(ALICE, "nonce-01", NOW + NONCE_WINDOW, NOW)
    store.use_nonce(ALICE, "nonce-02", NOW, NOW)
    for minutes, left in ((9, 2), (10, 2), (11, 1), (15, 1), (16, 0)):
        moment = NOW + dt.timedelta(minutes=minutes)
        store.use_nonce(BOB, f"nonce-at-{minutes}", moment, moment)
        assert len([nonce for nonce in nonces(url) if nonce < "nonce-a"]) == left, minutes
        if minutes <= 10:
            with pytest.raises(ReplayedNonce):
                store.use_nonce(ALICE, "nonce-01", NOW + NONCE_WINDOW, moment)


def test_a_replay_leaves_nothing_and_prunes_nothing(store, url):
    store.use_nonce(ALICE, "nonce-01", NOW, NOW)
    with pytest.raises(ReplayedNonce):
        store.use_nonce(ALICE, "nonce-01", NOW, NOW)
    assert nonces(url) == ["nonce-01"]


@pytest.mark.parametrize("nonce", ["", "short", "x" * 65, "with space", "né-nonce", "nonce-01\n"])
def test_a_malformed_nonce_is_refused(store, nonce):
    with pytest.raises(InvalidCommitment, match="a nonce is 8 to 64"):
        store.use_nonce(ALICE, nonce, NOW, NOW)


def test_a_nonce_needs_a_hotkey_and_moments_with_a_zone(store):
    with pytest.raises(InvalidCommitment):
        store.use_nonce(ALICE[:-1] + "0", "nonce-01", NOW, NOW)
    for moments in ((NAIVE, NOW), (NOW, NAIVE)):
        with pytest.raises(ProtocolError, match="time zone"):
            store.use_nonce(ALICE, "nonce-01", *moments)


# Participants


def test_a_participant_is_read_as_it_was_at_a_moment(store):
    store.participants.register(ALICE, Role.SIGNAL_GENERATOR, since=NOW, coldkey=CAROL)
    store.participants.register(ALICE, Role.POOL_OPERATOR, since=NOW + DAY)
    store.participants.register(ALICE, Role.GONE, since=NOW + 3 * DAY)
    find = store.participants.find
    assert find(ALICE, at=NOW - SECOND) is None
    assert find(ALICE, at=NOW) == Participant(ALICE, CAROL, Role.SIGNAL_GENERATOR, NOW)
    assert find(ALICE, at=NOW + 2 * DAY) == Participant(ALICE, CAROL, Role.POOL_OPERATOR, NOW + DAY)
    assert find(ALICE, at=NOW + 3 * DAY) is None
    assert find(BOB, at=NOW) is None


def test_the_registry_lists_who_takes_part(store):
    store.participants.register(BOB, Role.VALIDATOR, since=NOW)
    store.participants.register(ALICE, Role.SIGNAL_GENERATOR, since=NOW, coldkey=CAROL)
    store.participants.register(CAROL, Role.SOLO_MINER, since=NOW)
    store.participants.register(CAROL, Role.GONE, since=NOW + DAY)
    table = store.participants.at(NOW + DAY)
    assert table.to_numpy().tolist() == [
        [ALICE, CAROL, "signal_generator", NOW],
        [BOB, None, "validator", NOW],
    ]
    assert store.participants.at(NOW)["hotkey"].tolist() == [ALICE, BOB, CAROL]
    assert store.participants.events()["ordinal"].tolist() == [1, 1, 1, 2]
    assert store.participants.at(NOW - DAY).empty


def test_roles_are_counted_at_a_moment(store):
    for hotkey_, role, since in (
        (ALICE, Role.VALIDATOR, NOW),
        (BOB, Role.SOLO_MINER, NOW),
        (CAROL, Role.SOLO_MINER, NOW),
        (BOB, Role.SIGNAL_GENERATOR, NOW + DAY),
        (CAROL, Role.GONE, NOW + DAY),
    ):
        store.participants.register(hotkey_, role, since=since)
    nobody = dict.fromkeys((role for role in Role if role is not Role.GONE), 0)
    assert store.participants.counts(NOW - DAY) == nobody
    assert store.participants.counts(NOW) == nobody | {Role.VALIDATOR: 1, Role.SOLO_MINER: 2}
    assert store.participants.counts(NOW + DAY) == nobody | {
        Role.VALIDATOR: 1,
        Role.SIGNAL_GENERATOR: 1,
    }


def test_a_coldkey_is_never_forgotten(store):
    # sybil clusters are found by it, so a second registration without one must not hide it
    store.participants.register(ALICE, Role.SIGNAL_GENERATOR, since=NOW, coldkey=CAROL)
    store.participants.register(ALICE, Role.GONE, since=NOW + DAY)
    store.participants.register(ALICE, Role.SIGNAL_GENERATOR, since=NOW + 2 * DAY)
    assert store.participants.find(ALICE, at=NOW + 2 * DAY).coldkey == CAROL


def test_the_same_registration_again_adds_no_event(store):
    for _ in range(2):
        store.participants.register(ALICE, Role.VALIDATOR, since=NOW, coldkey=CAROL)
    store.participants.register(ALICE, Role.VALIDATOR, since=NOW + DAY)
    assert len(store.participants.events()) == 1


def test_a_registration_is_not_put_before_the_last_one(store):
    store.participants.register(ALICE, Role.VALIDATOR, since=NOW)
    with pytest.raises(ContradictsRecord, match=r"validator since 2026-03-02T12:00:00"):
        store.participants.register(ALICE, Role.GONE, since=NOW - SECOND)


def test_a_registration_names_real_keys_and_a_moment(store):
    with pytest.raises(InvalidCommitment):
        store.participants.register("5" + "a" * 47, Role.VALIDATOR, since=NOW)
    with pytest.raises(InvalidCommitment):
        store.participants.register(ALICE, Role.VALIDATOR, since=NOW, coldkey="5" + "a" * 47)
    with pytest.raises(ProtocolError, match="time zone"):
        store.participants.register(ALICE, Role.VALIDATOR, since=NAIVE)
    with pytest.raises(ValueError, match="is not a valid Role"):
        store.participants.register(ALICE, "emperor", since=NOW)
    assert store.participants.events().empty


# Pools


def test_a_membership_is_read_as_it_was_at_a_moment(store):
    store.pools.join(BOB, CAROL, at=NOW)
    store.pools.join(ALICE, CAROL, at=NOW + SECOND)
    store.pools.leave(BOB, CAROL, at=NOW + DAY)
    store.pools.join(BOB, ALICE, at=NOW + DAY)
    assert store.pools.members(CAROL, at=NOW - SECOND) == ()
    assert store.pools.members(CAROL, at=NOW) == (BOB,)
    assert store.pools.members(CAROL, at=NOW + SECOND) == (ALICE, BOB)
    assert store.pools.members(CAROL, at=NOW + DAY) == (ALICE,)
    assert store.pools.at(NOW + DAY).to_numpy().tolist() == [
        [ALICE, CAROL, NOW + SECOND],
        [BOB, ALICE, NOW + DAY],
    ]
    assert store.pools.events()["event"].tolist() == ["joined", "joined", "left", "joined"]


def test_a_member_is_in_one_pool_at_a_time(store):
    store.pools.join(ALICE, CAROL, at=NOW)
    with pytest.raises(ContradictsRecord, match=f"in the pool of {CAROL}: it leaves that first"):
        store.pools.join(ALICE, BOB, at=NOW + DAY)
    with pytest.raises(ContradictsRecord, match=f"not in the pool of {BOB}"):
        store.pools.leave(ALICE, BOB, at=NOW + DAY)
    with pytest.raises(ContradictsRecord, match="not in the pool"):
        store.pools.leave(BOB, CAROL, at=NOW)


def test_joining_and_leaving_again_changes_nothing(store):
    for _ in range(2):
        store.pools.join(ALICE, CAROL, at=NOW)
    for _ in range(2):
        store.pools.leave(ALICE, CAROL, at=NOW + DAY)
    assert store.pools.events()["ordinal"].tolist() == [1, 2]


def test_a_membership_is_not_put_before_the_last_event(store):
    store.pools.join(ALICE, CAROL, at=NOW)
    with pytest.raises(ContradictsRecord, match=r"joined the pool of .* at 2026-03-02T12"):
        store.pools.leave(ALICE, CAROL, at=NOW - SECOND)


def test_the_database_itself_refuses_two_pools_at_once(store, url):
    store.pools.join(ALICE, CAROL, at=NOW)
    engine = create_engine(url)
    moment = "2026-03-03 00:00:00.000000"
    values = f"('{ALICE}', 2, '{BOB}', 'joined', '{moment}')"
    with pytest.raises(IntegrityError, match="joined_and_left_in_turn"):  # noqa: SIM117
        with engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO pool_events VALUES {values}")
    engine.dispose()


# Disputes

EVIDENCE = {"validator": ALICE, "divergence": 0.25, "cells": [1, None, "x\x00\ud800"]}


def test_a_dispute_is_read_as_it_stood_at_a_moment(store):
    number = store.disputes.open(ALICE, EPOCH, "weights differ", EVIDENCE, at=NOW)
    other = store.disputes.open(BOB, EPOCH.next(), "the same", {}, at=NOW)
    record = store.disputes.record
    record(number, DisputeEvent.COMMENTED, "operator", "looking", at=NOW + SECOND)
    record(number, DisputeEvent.UPHELD, "operator", "the vendor was wrong", at=NOW + DAY)
    opened = store.disputes.find(number, at=NOW)
    assert (opened.status, opened.changed_at, opened.opened_by) == ("open", NOW, ALICE)
    assert json.loads(opened.evidence) == EVIDENCE
    assert store.disputes.find(number, at=NOW + SECOND).changed_at == NOW + SECOND
    assert store.disputes.find(number, at=NOW + DAY).status == "upheld"
    table = store.disputes.at(NOW + DAY)
    assert table["dispute_id"].tolist() == [number, other]
    assert table["status"].tolist() == ["upheld", "open"]
    assert table["changed_at"].tolist() == [NOW + DAY, NOW]
    mine = store.disputes.at(NOW + DAY, epoch_id=EPOCH.next().id)
    assert mine["dispute_id"].tolist() == [other]
    assert store.disputes.at(NOW - SECOND).empty
    events = store.disputes.events(number)
    assert events[["ordinal", "event", "actor", "note"]].to_numpy().tolist() == [
        [1, "commented", "operator", "looking"],
        [2, "upheld", "operator", "the vendor was wrong"],
    ]


def test_the_same_dispute_again_is_the_same_one(store):
    first = store.disputes.open(ALICE, EPOCH, "weights differ", {"a": 1, "b": 2}, at=NOW)
    again = store.disputes.open(ALICE, EPOCH, "weights differ", {"b": 2, "a": 1}, at=NOW + DAY)
    assert again == first
    different = (
        store.disputes.open(BOB, EPOCH, "weights differ", {"a": 1, "b": 2}, at=NOW),
        store.disputes.open(ALICE, EPOCH, "weights differ", {"a": 1}, at=NOW),
        store.disputes.open(ALICE, EPOCH, "other", {"a": 1, "b": 2}, at=NOW),
        store.disputes.open(ALICE, EPOCH.next(), "weights differ", {"a": 1, "b": 2}, at=NOW),
    )
    assert len({first, *different}) == 5


def test_a_dispute_closes_once(store, url):
    number = store.disputes.open(ALICE, EPOCH, "weights differ", {}, at=NOW)
    record = store.disputes.record
    for _ in range(2):
        record(number, DisputeEvent.DISMISSED, "operator", at=NOW + DAY)
    assert len(store.disputes.events(number)) == 1
    for event in (DisputeEvent.UPHELD, DisputeEvent.COMMENTED):
        with pytest.raises(ContradictsRecord, match="is closed: it was dismissed"):
            record(number, event, "operator", at=NOW + DAY)
    engine = create_engine(url)
    values = f"({number}, 2, 'upheld', '\"x\"', '\"\"', '2026-03-04 00:00:00.000000')"
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO dispute_events VALUES {values}")
    engine.dispose()


def test_an_event_needs_a_dispute_and_comes_after_the_last_one(store):
    with pytest.raises(NotRecorded, match="no dispute 7"):
        store.disputes.record(7, DisputeEvent.COMMENTED, "operator", at=NOW)
    with pytest.raises(NotRecorded, match="no dispute 7"):
        store.disputes.find(7, at=NOW)
    number = store.disputes.open(ALICE, EPOCH, "weights differ", {}, at=NOW)
    with pytest.raises(ContradictsRecord, match="lies before that"):
        store.disputes.record(number, DisputeEvent.COMMENTED, "operator", at=NOW - SECOND)
    store.disputes.record(number, DisputeEvent.COMMENTED, "operator", at=NOW + DAY)
    with pytest.raises(ContradictsRecord, match="can be recorded"):
        store.disputes.record(number, DisputeEvent.UPHELD, "operator", at=NOW)


@pytest.mark.parametrize(
    ("reason", "evidence", "message"),
    [
        ("x" * 4001, {}, "at most 4000 characters, not 4001"),
        ("long", "x" * 65_535, "at most 65536 characters, not 65537"),
        ("nan", {"n": float("nan")}, "is no JSON"),
        ("object", {"n": object()}, "is no JSON"),
    ],
)
def test_a_dispute_without_sense_is_refused(store, reason, evidence, message):
    with pytest.raises(InvalidRecord, match=message):
        store.disputes.open(ALICE, EPOCH, reason, evidence, at=NOW)
    assert store.disputes.at(NOW).empty


# The log of administrators


def test_every_action_is_an_entry(store):
    record = store.admin_log.record
    first = record("operator", "correct_price", {"ticker": "AAPL", "close": "1.5"}, at=NOW)
    second = record("operator", "correct_price", {"ticker": "AAPL", "close": "1.5"}, at=NOW)
    later = record("Zoë\x00", "open_epoch", None, at=NOW + DAY)
    table = store.admin_log.entries()
    assert table["entry"].tolist() == [first, second, later]
    assert table["payload"].tolist() == ['{"close":"1.5","ticker":"AAPL"}'] * 2 + ["null"]
    assert table["actor"].tolist() == ["operator", "operator", "Zoë\x00"]
    assert store.admin_log.entries(since=NOW + SECOND)["entry"].tolist() == [later]
    assert store.admin_log.entries(until=NOW + DAY)["entry"].tolist() == [first, second]
    assert store.admin_log.entries(since=NOW, until=NOW).empty


@pytest.mark.parametrize(
    ("actor", "action", "payload"),
    [("", "act", {}), ("  ", "act", {}), ("x" * 65, "act", {}), ("me", "", {}), ("me", "act", {1})],
)
def test_an_entry_without_sense_is_refused(store, actor, action, payload):
    with pytest.raises(InvalidRecord):
        store.admin_log.record(actor, action, payload, at=NOW)
    assert store.admin_log.entries().empty
