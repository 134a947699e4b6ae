"""Which rules a table was computed with: a hash of the sources of ``protocol``."""

import hashlib
from functools import lru_cache
from pathlib import Path

_RULES = Path(__file__).parents[1] / "protocol"


@lru_cache(maxsize=1)
def code_version() -> str:
    """SHA-256 over the rules' Python and CSV files, by name; a comment counts as a change."""
    return sources_version(_RULES)


def sources_version(folder: Path) -> str:
    """SHA-256 over the Python and CSV files of a folder, by name."""
    digest = hashlib.sha256()
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    for name in sorted(name.as_posix() for name in names if name.suffix in {".py", ".csv"}):
        source = (folder / name).read_bytes()
        digest.update(f"{name}\n{len(source)}\n".encode() + source)
    return digest.hexdigest()
