"""Copies a lake, whole files only, into a place where there is none: ``lake_copy.py FROM TO``."""

import sys

from quanta_pipelines.adapters.atomic_files import AtomicFiles


def main(source: str, target: str) -> int:
    """Copies every file that is no half-written one; leaves with 1 where the target has files."""
    old, new = AtomicFiles(source), AtomicFiles(target)
    if new.below(""):
        sys.stderr.write(f"{target} is not empty\n")
        return 1
    names = [name for name in old.below("") if not name.endswith(".tmp")]
    # what others name goes first, so that a copy made while epochs run names nothing it lacks
    for name in sorted(names, key=lambda name: ("/_versions/" not in name, name)):
        new.write(name, old.read(name))
    sys.stdout.write(f"{len(names)} files copied\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
