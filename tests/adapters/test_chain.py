"""Rows for the chain, their commit hash, and the simulated chain that takes them."""

import hashlib
import importlib.util

import pytest

from quanta_pipelines.adapters.chain import SimulatedChain, chain_of
from quanta_pipelines.adapters.chain.errors import ChainAbsent, ChainRefused
from quanta_pipelines.protocol.chain_weights import (
    ChainRow,
    TempoPlace,
    chain_row,
    commit_hash,
    tempo_place,
)
from quanta_pipelines.protocol.commit_reveal import hotkey_from_public_key
from quanta_pipelines.protocol.errors import InvalidWeights

A, B, C, D = (hotkey_from_public_key(bytes([at]) * 32) for at in range(1, 5))


def test_a_row_is_upscaled_rounded_half_up_and_without_zeros():
    # of 2 : 1 the half is 32767.5; 1 of 10^9 is far below half a unit
    row = chain_row({A: 2 * 10**9, B: 10**9, C: 1, D: 0}, {A: 7, B: 3, C: 1, D: 0})
    assert (row.uids, row.weights, row.unregistered) == ((3, 7), (32_768, 65_535), ())


def test_a_miner_without_a_uid_is_left_out_and_named():
    row = chain_row({A: 90, B: 10}, {B: 4})
    assert row == ChainRow((4,), (65_535,), (A,))


@pytest.mark.parametrize("units", [{}, {A: 0}, {B: 5}])
def test_nothing_is_never_made_uniform(units):
    with pytest.raises(InvalidWeights, match="no miner that the chain knows"):
        chain_row(units, {A: 0, C: 1})


def test_the_commit_hash_is_that_of_the_scale_tuple():
    # by hand: 32 bytes of key; netuid 300 = 2c01; two uids, 2 << 2 = 08, 0300 0700; two values;
    # one salt, 1 << 2 = 04, 0900; version key 5 in eight bytes
    row = ChainRow((3, 7), (32_768, 65_535), ())
    text = "01" * 32 + "2c01" + "0803000700" + "080080ffff" + "040900" + "0500000000000000"
    digest = hashlib.blake2b(bytes.fromhex(text), digest_size=32).hexdigest()
    assert commit_hash(row, hotkey=A, netuid=300, salt=[9], version_key=5) == f"0x{digest}"


def test_a_long_vector_has_a_length_of_two_bytes():
    # 64 << 2 | 1 = 257 = 0101
    row = ChainRow(tuple(range(64)), (1,) * 64, ())
    cells = "".join(f"{uid:02x}00" for uid in range(64))
    text = "01" * 32 + "0000" + "0101" + cells + "0101" + "0100" * 64 + "00" + "00" * 8
    digest = hashlib.blake2b(bytes.fromhex(text), digest_size=32).hexdigest()
    assert commit_hash(row, hotkey=A, netuid=0, salt=[], version_key=0) == f"0x{digest}"


@pytest.mark.parametrize(
    "wrong", [{"netuid": 2**16}, {"salt": [2**16]}, {"salt": [-1]}, {"version_key": -1}]
)
def test_what_is_no_u16_is_not_hashed(wrong):
    arguments = {"hotkey": A, "netuid": 0, "salt": [1], "version_key": 0} | wrong
    with pytest.raises(InvalidWeights, match="u16"):
        commit_hash(ChainRow((1,), (1,), ()), **arguments)


@pytest.fixture
def chain(tmp_path):
    chain = SimulatedChain(tmp_path / "chain.db", 5)
    chain.register({A: 10**20, B: 1})
    return chain


def test_the_simulated_chain_keeps_uids_stakes_and_the_newest_row(chain, tmp_path):
    chain.register({B: 2, C: 3})
    assert chain.uids() == {A: 0, B: 1, C: 2}
    assert chain.stakes() == {A: 10**20, B: 2, C: 3}
    assert (chain.block(), chain.weights(A)) == (0, {})
    assert chain.set_weights(A, [1, 2], [65_535, 7]) == 1
    assert chain.set_weights(A, [2], [65_535]) == 2
    again = SimulatedChain(tmp_path / "chain.db", 5)  # another process sees the same
    assert (again.block(), again.weights(A)) == (2, {2: 65_535})
    assert SimulatedChain(tmp_path / "chain.db", 6).uids() == {}


@pytest.mark.parametrize(
    ("hotkey", "uids", "weights", "said"),
    [
        (D, [0], [1], "not registered on subnet 5"),
        (A, [], [], "0 uids and 0 weights"),
        (A, [0, 0], [1, 1], "2 uids and 2 weights"),
        (A, [9], [1], "no uid 9"),
        (A, [0], [0], "above 0, not 0"),
        (A, [0], [65_536], "not 65536"),
    ],
)
def test_the_simulated_chain_refuses_what_is_no_row(chain, hotkey, uids, weights, said):
    with pytest.raises(ChainRefused, match=said):
        chain.set_weights(hotkey, uids, weights)
    assert chain.block() == 0


@pytest.mark.skipif(
    importlib.util.find_spec("bittensor") is not None, reason="the package is installed"
)
def test_without_its_package_the_real_chain_says_what_to_install(tmp_path):
    with pytest.raises(ChainAbsent, match="pip install bittensor"):
        chain_of("bittensor", home=tmp_path, network="finney", netuid=5)
    assert isinstance(chain_of("simulated", home=tmp_path, network="", netuid=5), SimulatedChain)


def test_a_tempo_of_360_blocks_has_60_for_submission_and_240_for_evaluation() -> None:
    # blocks 0..59, 60..299, 300..359, then the next tempo
    edges = {0: (0, "submission"), 59: (59, "submission"), 60: (60, "evaluation")}
    edges |= {299: (299, "evaluation"), 300: (300, "distribution"), 359: (359, "distribution")}
    for block, (place, phase) in edges.items():
        assert tempo_place(block) == TempoPlace(0, place, phase), block  # type: ignore[arg-type]
        assert tempo_place(block + 2 * 360).tempo == 2
    with pytest.raises(InvalidWeights, match="numbered from 0, not -1"):
        tempo_place(-1)
