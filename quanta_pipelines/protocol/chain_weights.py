"""Weights as the chain takes them: uids with u16 values, the hash that commits to them, and when.

Where uids come from, and how a row is sent, lives in ``adapters.chain``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.votes import u16_weights

U16, U64 = 2**16, 2**64


@dataclass(frozen=True, slots=True)
class ChainRow:
    """One row for ``set_weights``, by uid; ``unregistered`` are miners without a uid."""

    uids: tuple[int, ...]
    weights: tuple[int, ...]
    unregistered: tuple[str, ...]


class ChainPhase(StrEnum):
    """What a tempo's blocks are for, in their order."""

    SUBMISSION = "submission"
    EVALUATION = "evaluation"
    DISTRIBUTION = "distribution"


@dataclass(frozen=True, slots=True)
class TempoPlace:
    """Where a block lies on the chain's own clock."""

    tempo: int
    block_in_tempo: int
    phase: ChainPhase


def tempo_place(block: int, params: ProtocolParams = QUANTA) -> TempoPlace:
    """The tempo of a block, and its phase: this clock governs setting weights and nothing else.

    Distribution is what submission and evaluation leave of a tempo.
    """
    if block < 0:
        raise InvalidWeights(f"a block is numbered from 0, not {block}")
    rules = params.epoch
    tempo, place = divmod(block, rules.blocks_per_epoch)
    if place < rules.submission_phase_blocks:
        return TempoPlace(tempo, place, ChainPhase.SUBMISSION)
    if place < rules.submission_phase_blocks + rules.evaluation_phase_blocks:
        return TempoPlace(tempo, place, ChainPhase.EVALUATION)
    return TempoPlace(tempo, place, ChainPhase.DISTRIBUTION)


def chain_row(units: Mapping[str, int], uids: Mapping[str, int]) -> ChainRow:
    """Whole weights by hotkey, max-upscaled to 65535, half up, without what becomes 0.

    Miners without a uid are left out before scaling: the chain has no place for them. No row is
    made of nothing: raises ``InvalidWeights`` where no registered miner has a weight.
    """
    strangers = tuple(sorted(name for name in units if units[name] > 0 and name not in uids))
    known = sorted((uids[name], unit) for name, unit in units.items() if name in uids)
    if not any(unit > 0 for _, unit in known):
        raise InvalidWeights("no miner that the chain knows has a weight above 0")
    values = u16_weights([unit for _, unit in known]).tolist()
    kept = [(uid, value) for (uid, _), value in zip(known, values, strict=True) if value]
    return ChainRow(tuple(uid for uid, _ in kept), tuple(value for _, value in kept), strangers)


def commit_hash(
    row: ChainRow, *, hotkey: str, netuid: int, salt: Sequence[int], version_key: int
) -> str:
    """What commit-reveal publishes before the weights: ``0x`` and 64 hex digits.

    BLAKE2b-256 over the SCALE encoding of ``(who, netuid, uids, values, salt, version_key)``: the
    hotkey's 32 bytes, u16, three vectors of u16, u64; numbers little-endian, a vector led by its
    compact length. Subtensor computes ``BlakeTwo256::hash_of`` of that tuple, Bittensor's SDK the
    same in ``generate_weight_hash``.
    """
    if not 0 <= netuid < U16 or not 0 <= version_key < U64:
        raise InvalidWeights(f"netuid is a u16 and version_key a u64: {netuid}, {version_key}")
    parts = (
        public_key(hotkey),
        netuid.to_bytes(2, "little"),
        *(_vector(numbers) for numbers in (row.uids, row.weights, salt)),
        version_key.to_bytes(8, "little"),
    )
    return "0x" + hashlib.blake2b(b"".join(parts), digest_size=32).hexdigest()


def _vector(numbers: Sequence[int]) -> bytes:
    """A SCALE ``Vec<u16>``."""
    if any(not 0 <= number < U16 for number in numbers):
        raise InvalidWeights(f"uids, weights and salt are u16 numbers, not {list(numbers)}")
    return _compact(len(numbers)) + b"".join(number.to_bytes(2, "little") for number in numbers)


def _compact(length: int) -> bytes:
    """A SCALE compact length below 2^30; the lowest two bits say how many bytes it takes."""
    if length < 2**6:
        return (length << 2).to_bytes(1, "little")
    if length < 2**14:
        return (length << 2 | 1).to_bytes(2, "little")
    return (length << 2 | 2).to_bytes(4, "little")
