"""The chain as the platform sees it: who is registered, with which stake, and a row of weights.

``SimulatedChain`` is a file, for development and tests, and says so. ``BittensorChain`` needs the
package ``bittensor``, which is no dependency of the platform and is imported when it is configured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from quanta_pipelines.adapters.chain.simulated import SimulatedChain


class Chain(Protocol):
    """What a chain is asked for."""

    netuid: int

    def block(self) -> int:
        """The number of the newest block."""
        ...

    def uids(self) -> dict[str, int]:
        """Uid by hotkey, of everyone registered on the subnet."""
        ...

    def stakes(self) -> dict[str, int]:
        """Stake in rao by hotkey."""
        ...

    def set_weights(self, hotkey: str, uids: Sequence[int], weights: Sequence[int]) -> int:
        """Sends a validator's row; returns the block that holds it."""
        ...


def chain_of(kind: str, *, home: Path, network: str, netuid: int) -> Chain:
    """The configured chain: ``simulated`` under the platform's home, or ``bittensor``."""
    if kind == "simulated":
        return SimulatedChain(home / "chain.db", netuid)
    from quanta_pipelines.adapters.chain.bittensor import BittensorChain

    return BittensorChain(network, netuid)


__all__ = ["Chain", "SimulatedChain", "chain_of"]
