"""Bittensor's chain through its own package, which is imported when this chain is used.

The package is no dependency of the platform: it brings its own wallets, and only who sets weights
on the real network needs it.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from quanta_pipelines.adapters.chain.errors import ChainAbsent, ChainRefused


class BittensorChain:
    """One subnet of a Bittensor network; the wallet is that of the SDK's own configuration."""

    def __init__(self, network: str, netuid: int) -> None:
        try:
            self._sdk: Any = import_module("bittensor")
        except ImportError as absent:
            raise ChainAbsent(
                "QUANTA_CHAIN is bittensor, but the package is absent: pip install bittensor"
            ) from absent
        self.netuid = netuid
        self._subtensor = self._sdk.Subtensor(network=network)

    def block(self) -> int:
        """The number of the newest block."""
        return int(self._subtensor.get_current_block())

    def uids(self) -> dict[str, int]:
        """Uid by hotkey."""
        return {one.hotkey: int(one.uid) for one in self._neurons()}

    def stakes(self) -> dict[str, int]:
        """Stake in rao by hotkey."""
        return {one.hotkey: int(one.total_stake.rao) for one in self._neurons()}

    def set_weights(self, hotkey: str, uids: Sequence[int], weights: Sequence[int]) -> int:
        """Sends the row signed by the SDK's wallet, which must be that of ``hotkey``."""
        wallet = self._sdk.Wallet()
        if wallet.hotkey.ss58_address != hotkey:
            raise ChainRefused(f"the wallet signs as {wallet.hotkey.ss58_address}, not {hotkey}")
        answer = self._subtensor.set_weights(
            wallet=wallet, netuid=self.netuid, uids=list(uids), weights=list(weights)
        )
        if not answer[0]:
            raise ChainRefused(str(answer[1]))
        return self.block()

    def _neurons(self) -> list[Any]:
        return list(self._subtensor.neurons_lite(netuid=self.netuid))
