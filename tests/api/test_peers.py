"""What another validator is shown of an epoch: when, and who else is not."""

import datetime as dt
from pathlib import Path

import pytest

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.signal_store import ContradictsRecord, SignalStore
from quanta_pipelines.peer import Peer, UntrueRecord
from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.epoch import Epoch
from tests.api.conftest import (
    HOUR,
    OPENS,
    W48,
    Service,
    commit_body,
    key,
    refused,
    reveal_body,
)

EPOCHS = "/v1/validators/epochs"
PARTS = ("signals", "prices")
CLOSES = dt.datetime(2025, 11, 28, 18, tzinfo=dt.UTC)  # 13:00 in New York: a half day
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(scope="module")
def validator(service: Service) -> HotkeyPair:
    """The snapshot's validator; two miners committed, one of them twice, and one revealed."""
    pair = key("peer validator")
    stakes = {pair.hotkey: 5, key("no stake").hotkey: 0}
    service.store.record_snapshot(W48, emission_rao=7, external_rao=3, stakes=stakes)
    for name, secret in (("kept", "a"), ("hidden", "b"), ("kept", "c")):
        body = commit_body(key(name), secret=secret * 16 + "0123456789abcdef")
        service.at(OPENS - 23 * HOUR + HOUR * "abc".index(secret))
        assert service.signed(key(name), "POST", "/v1/signals/commit", body).ok
    service.at(OPENS + HOUR)
    revealed = reveal_body(key("kept"), secret="c" * 16 + "0123456789abcdef")
    assert service.signed(key("kept"), "POST", "/v1/signals/reveal", revealed).ok
    wrong = {**reveal_body(key("hidden")), "secret": "another secret 0123456789abcdefg"}
    assert not service.signed(key("hidden"), "POST", "/v1/signals/reveal", wrong).ok
    return pair


def test_stakes_and_universe_are_public(service: Service, validator: HotkeyPair) -> None:
    said = service.get(f"{EPOCHS}/{W48.id}/opening").json()
    assert {row["validator_hotkey"]: row["stake_rao"] for row in said["stakes"]} == {
        validator.hotkey: "5",
        key("no stake").hotkey: "0",
    }
    assert (said["emission_rao"], said["external_rao"]) == ("7", "3")
    assert said["universe"] == sorted(said["universe"])
    assert len(said["universe"]) == 6
    refused(service.get(f"{EPOCHS}/2025-Q4-W50/opening"), 409, "epoch_not_ready")


@pytest.mark.parametrize("part", PARTS)
def test_signals_and_prices_are_for_validators_with_stake(
    service: Service, validator: HotkeyPair, part: str
) -> None:
    service.at(CLOSES + 30 * HOUR)
    target = f"{EPOCHS}/{W48.id}/{part}"
    refused(service.get(target), 401, "not_signed")
    for name in ("kept", "no stake"):
        refused(service.signed(key(name), "GET", target), 403, "not_permitted")


def test_positions_are_hidden_until_the_epoch_closes(
    service: Service, validator: HotkeyPair
) -> None:
    target = f"{EPOCHS}/{W48.id}/signals"
    service.at(CLOSES - SECOND)
    refused(service.signed(validator, "GET", target), 409, "window_closed")
    service.at(CLOSES)
    said = service.signed(validator, "GET", target).json()
    assert [row["miner_hotkey"] for row in said["commitments"]] == [
        key(name).hotkey for name in ("kept", "hidden", "kept")
    ]
    assert [row["miner_hotkey"] for row in said["reveals"]] == [key("kept").hotkey]
    assert said["failed_reveals"] == 1
    assert "another secret" not in str(said)


def test_nobody_sees_prices_before_it_has_voted(service: Service, validator: HotkeyPair) -> None:
    target = f"{EPOCHS}/{W48.id}/prices"
    settles = dt.datetime(2025, 11, 29, 1, 30, tzinfo=dt.UTC)
    service.at(settles + HOUR / 4)
    refused(service.signed(validator, "GET", target), 409, "window_closed")
    vote = {
        "validator_hotkey": validator.hotkey,
        "epoch_id": W48.id,
        "data_hash": "c" * 64,
        "price_sources": ["yahoo", "tiingo"],
        "weights": [{"miner_hotkey": key("kept").hotkey, "weight_units": 10**9, "composite": 0.5}],
    }
    for sources in (["yahoo", "yahoo"], ["A vendor"]):
        spoiled = {**vote, "price_sources": sources}
        assert (
            service.signed(validator, "POST", "/v1/validators/weights", spoiled).status_code == 422
        )
    assert service.signed(validator, "POST", "/v1/validators/weights", vote).ok
    # it may look now; this service has settled nothing
    refused(service.signed(validator, "GET", target), 409, "epoch_not_settled")
    own = service.signed(validator, "GET", f"/v1/validators/weights/{W48.id}/{validator.hotkey}")
    assert own.json()["price_sources"] == ["tiingo", "yahoo"]


def test_a_mirror_holds_what_the_peer_accepted_and_adds_nothing_twice(
    service: Service, validator: HotkeyPair, tmp_path: Path
) -> None:
    service.at(CLOSES + 30 * HOUR)
    own = SignalStore.open(f"sqlite:///{tmp_path}/signals.db")
    with Peer(service.address, validator) as peer:
        for _ in range(2):
            peer.mirror(own, W48)
    assert own.commitments(W48.id).equals(service.store.commitments(W48.id))
    assert own.every_commitment(W48.id).equals(service.store.every_commitment(W48.id))
    theirs = service.store.reveals(W48.id)
    accepted = theirs[theirs["verdict"] == Verdict.ACCEPTED.value]
    columns = ["hotkey", "commitment", "received_at", "portfolio_hash", "positions", "secret"]
    left, right = (side[columns].reset_index(drop=True) for side in (own.reveals(W48.id), accepted))
    assert left.equals(right)
    assert own.snapshot(W48.id) == service.store.snapshot(W48.id)
    assert own.universe(W48.id) == service.store.universe(W48.id)
    assert own.problems() == ()
    own.close()


class Lying(Peer):
    """A peer that says something else than it recorded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        honest = self._client.epoch_record

        def lies(epoch_id: str, part: str) -> object:
            said = honest(epoch_id, part)
            if part == "signals":
                said["reveals"][0]["positions"][0] = ["AAPL", "0.190000"]
            return said

        self._client.epoch_record = lies  # type: ignore[method-assign]


def test_a_reveal_that_does_not_open_its_commitment_is_found_out(
    service: Service, validator: HotkeyPair, tmp_path: Path
) -> None:
    service.at(CLOSES + 30 * HOUR)
    own = SignalStore.open(f"sqlite:///{tmp_path}/signals.db")
    with Lying(service.address, validator) as peer, pytest.raises(UntrueRecord, match="accepted"):
        peer.mirror(own, W48)
    own.close()


def test_a_peer_that_changes_its_snapshot_is_found_out(
    service: Service, validator: HotkeyPair, tmp_path: Path
) -> None:
    service.at(CLOSES + 30 * HOUR)
    own = SignalStore.open(f"sqlite:///{tmp_path}/signals.db")
    own.record_snapshot(W48, emission_rao=8, external_rao=3, stakes={validator.hotkey: 5})
    with Peer(service.address, validator) as peer, pytest.raises(ContradictsRecord):
        peer.mirror(own, W48)
    own.close()


def test_prices_of_a_settled_epoch_hash_to_what_is_said(published: Service) -> None:
    from quanta_pipelines.simulation.keys import simulated_key
    from tests.conftest import SETTLED

    epoch: Epoch = SETTLED[-1]
    found = simulated_key("validator 1")
    pair = HotkeyPair(found.hotkey, found.public, found.private)
    with Peer(published.address, pair) as peer:
        prices = peer.prices(epoch)
    votes = published.services.lake.read("validator_weights", epoch.id)
    own = votes[votes["validator"] == prices.validator]
    assert set(own["data_hash"]) == {prices.data_hash}
    settled = published.services.lake.read("validated_prices", epoch.id)
    assert len(prices.table) == len(settled)
    assert prices.table["total_return"].tolist() == settled["total_return"].tolist()
