"""What a miner must not lose between commitment and reveal: portfolio and secret, in 0600 files.

One file per commitment, ``<folder>/<hotkey>/<epoch>-<commitment>.json``. It is written before the
commitment is sent and gets another ending once the reveal was accepted.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from quanta_pipelines.adapters.hotkey_file import write_private


@dataclass(frozen=True, slots=True)
class HiddenPortfolio:
    """A portfolio behind a commitment; weights as submitted."""

    hotkey: str
    epoch_id: str
    commitment: str
    positions: dict[str, str] = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MinerState:
    """The folder of one miner's secrets."""

    folder: Path

    def keep(self, hidden: HiddenPortfolio) -> Path:
        """Writes it down before anything is sent."""
        path = self._path(hidden)
        write_private(path, json.dumps(asdict(hidden), indent=2) + "\n")
        return path

    def pending(self, hotkey: str, epoch_id: str | None = None) -> list[HiddenPortfolio]:
        """What was committed and not yet revealed, in the order of epochs."""
        paths = sorted((self.folder / hotkey).glob(f"{epoch_id or '*'}-*.json"))
        return [HiddenPortfolio(**json.loads(path.read_text())) for path in paths]

    def settle(self, hidden: HiddenPortfolio, ending: str) -> None:
        """Sets it aside as ``revealed``, ``replaced`` or ``expired``; nothing is deleted."""
        path = self._path(hidden)
        path.rename(path.with_suffix(f".{ending}"))

    def _path(self, hidden: HiddenPortfolio) -> Path:
        return self.folder / hidden.hotkey / f"{hidden.epoch_id}-{hidden.commitment}.json"
