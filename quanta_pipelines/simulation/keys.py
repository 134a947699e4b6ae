"""Key pairs and random streams of simulated participants: each follows from a name alone.

Anyone can derive these keys, so nothing of value may ever belong to one of them.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import sr25519

from quanta_pipelines.protocol.commit_reveal import hotkey_from_public_key

OWN_VALIDATOR = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
"""The platform's own validator in a simulation: Substrate's public development account Alice."""


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """An sr25519 key pair that is no secret."""

    hotkey: str
    public: bytes
    private: bytes

    def sign(self, message: bytes) -> bytes:
        """Signature under the context ``substrate``."""
        return bytes(sr25519.sign((self.public, self.private), message))


def simulated_key(name: str) -> SimulatedKey:
    """The key pair of a simulated participant."""
    public, private = sr25519.pair_from_seed(_digest("key", name))
    return SimulatedKey(hotkey_from_public_key(public), public, private)


def simulated_secret(purpose: str, name: str, epoch_id: str) -> str:
    """What a simulated miner hides a portfolio with: 64 hex digits."""
    return _digest(purpose, name, epoch_id).hex()


def simulated_rng(purpose: str, name: str, when: str) -> np.random.Generator:
    """A stream of its own for each purpose, participant and epoch (or session)."""
    return np.random.default_rng(int.from_bytes(_digest(purpose, name, when), "big"))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("/".join(("quanta", "simulation", *parts)).encode()).digest()
