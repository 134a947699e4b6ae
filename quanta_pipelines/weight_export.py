"""The own validator's row of a settled epoch, as the chain takes it."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.chain import Chain, SimulatedChain
from quanta_pipelines.protocol.chain_weights import chain_row, commit_hash, tempo_place
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.resources import Platform


class NothingToSend(InvalidWeights):
    """An epoch without a row: nobody was agreed on, or the own validator did not vote."""


@dataclass(frozen=True, slots=True)
class WeightExport:
    """What ``set_weights`` or commit-reveal needs; ``salt`` is secret until the reveal."""

    epoch_id: str
    hotkey: str
    netuid: int
    uids: tuple[int, ...]
    weights: tuple[int, ...]
    version_key: int
    salt: tuple[int, ...]
    commit_hash: str
    unregistered: tuple[str, ...]
    seen_block: int  # the chain's newest when the row was made
    tempo: int
    phase: str  # of the tempo


def export_weights(
    platform: Platform, epoch: Epoch, chain: Chain, *, salt: Sequence[int], version_key: int = 0
) -> WeightExport:
    """The row of an epoch: the own vote, or, where the chain pays the miners, gross rewards.

    Raises ``InvalidWeights`` where nothing was scored or nothing was agreed: nothing is sent then,
    never uniform weights; ``MissingTable`` or ``GateNotPassed`` where a table is not there to read.
    """
    hotkey = platform.own_validator
    row = chain_row(_units(platform, epoch), chain.uids())
    seen = chain.block()
    place = tempo_place(seen, platform.params)
    return WeightExport(
        epoch_id=epoch.id,
        hotkey=hotkey,
        netuid=chain.netuid,
        uids=row.uids,
        weights=row.weights,
        version_key=version_key,
        salt=tuple(salt),
        commit_hash=commit_hash(
            row, hotkey=hotkey, netuid=chain.netuid, salt=salt, version_key=version_key
        ),
        unregistered=row.unregistered,
        seen_block=seen,
        tempo=place.tempo,
        phase=place.phase.value,
    )


def register_participants(platform: Platform, epoch: Epoch, chain: SimulatedChain) -> None:
    """Registers an epoch's validators and miners on a simulated chain that nobody else fills."""
    stakes = platform.store.snapshot(epoch.id).stakes
    miners = platform.lake.read("scores", epoch.id)["hotkey"]
    chain.register(
        {**dict(sorted(stakes.items())), **dict.fromkeys(sorted({*miners} - {*stakes}), 0)}
    )


def _units(platform: Platform, epoch: Epoch) -> dict[str, int]:
    def read(name: str) -> dict[str, list[object]]:
        table = platform.lake.read(name, epoch.id, gates=CONTRACTS[name].gates())
        return {str(column): table[column].tolist() for column in table.columns}

    if not read("consensus")["hotkey"]:
        raise NothingToSend(f"the votes of {epoch} agree on nobody: the chain's weights stand")
    if platform.params.tokenomics.emission_mode == "chain":
        paid = read("rewards")
        rows = zip(paid["hotkey"], paid["gross_rao"], strict=True)
        return {str(name): int(str(rao)) for name, rao in rows}
    votes = read("validator_weights")
    cells = zip(votes["validator"], votes["hotkey"], votes["weight_units"], strict=True)
    own = {
        str(name): int(str(units)) for who, name, units in cells if who == platform.own_validator
    }
    if not own:
        raise NothingToSend(f"{platform.own_validator} did not vote in {epoch}: nothing to send")
    return own
