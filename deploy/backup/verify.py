"""Reads all tables of a lake, compares their hashes: ``verify.py LAKE [--empty-lake]``."""

import sys

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.lake import Lake, content_hash


def main(root: str, empty: str = "") -> int:
    """Leaves with 1 and names each table that is not what it says.

    A lake without a table is none either, unless ``--empty-lake`` says so.
    """
    lake, problems, checked = Lake(root), [], 0
    files = AtomicFiles(root)
    tables = {name.partition("/")[0] for name in files.below("") if name.endswith(".parquet")}
    for table in sorted(tables):
        for epoch_id in lake.epochs(table):
            loaded = lake.load(table, epoch_id)
            checked += 1
            if content_hash(loaded.frame, table) != loaded.version.content_hash:
                problems.append(f"{table} {epoch_id} does not hold {loaded.version.content_hash}")
            for version in lake.versions(table, epoch_id):
                checked += 1
                frame = lake.read_version(table, epoch_id, version.content_hash)
                if content_hash(frame, table) != version.content_hash:
                    problems.append(f"{version.path} does not hold its content")
    sys.stdout.write("\n".join([*problems, f"{checked} tables read, {len(problems)} wrong"]) + "\n")
    if not checked and empty != "--empty-lake":
        sys.stderr.write(
            f"{root} holds no table: is it the lake? Until an epoch ran: --empty-lake\n"
        )
        return 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
