"""A hotkey in a file that its owner alone may read.

The JSON names are those of Bittensor's hotkey files, which can be used as they are. The seed is the
key: whoever reads it may sign, and nothing restores it once it is lost.
"""

import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import sr25519

from quanta_pipelines.protocol.commit_reveal import hotkey_from_public_key

_SEED = re.compile("(0x)?([0-9a-fA-F]{64})")


class UnusableKey(ValueError):
    """A key file that is missing, readable by others, or holds no key."""


@dataclass(frozen=True, slots=True)
class HotkeyPair:
    """An sr25519 key pair; its private half is never shown."""

    hotkey: str
    public: bytes
    private: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "HotkeyPair":
        """The pair of a 32-byte seed."""
        public, private = sr25519.pair_from_seed(seed)
        return cls(hotkey_from_public_key(public), public, private)

    def sign(self, message: bytes) -> bytes:
        """Signature under the context ``substrate``."""
        return bytes(sr25519.sign((self.public, self.private), message))


def new_key(path: Path) -> HotkeyPair:
    """Draws a key and writes it; an existing file is never touched."""
    seed = secrets.token_bytes(32)
    pair = HotkeyPair.from_seed(seed)
    document = {
        "ss58Address": pair.hotkey,
        "publicKey": f"0x{pair.public.hex()}",
        "secretSeed": f"0x{seed.hex()}",
    }
    write_private(path, json.dumps(document, indent=2) + "\n")
    return pair


def load_key(path: Path) -> HotkeyPair:
    """The key in a file; raises ``UnusableKey``, which never repeats what the file holds."""
    try:
        mode = path.stat().st_mode
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise UnusableKey(f"there is no key file {path}") from None
    except ValueError:
        raise UnusableKey(f"{path} is no JSON document") from None
    if mode & 0o077:
        raise UnusableKey(f"others may read {path}: chmod 600 {path}")
    seed = document.get("secretSeed") if isinstance(document, dict) else None
    match = _SEED.fullmatch(seed) if isinstance(seed, str) else None
    if match is None:
        raise UnusableKey(f"{path} has no secretSeed of 64 hex digits")
    pair = HotkeyPair.from_seed(bytes.fromhex(match[2]))
    if document.get("ss58Address", pair.hotkey) != pair.hotkey:
        raise UnusableKey(f"{path}: the seed is that of {pair.hotkey}, not of its ss58Address")
    return pair


def write_private(path: Path, text: str) -> None:
    """A new file of mode 0600, flushed to the disk; raises ``FileExistsError``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
