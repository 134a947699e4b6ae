"""A simulated chain in a SQLite file: one subnet, blocks that advance when something is sent."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from quanta_pipelines.adapters.chain.errors import ChainRefused

_SCHEMA = """
create table if not exists neurons (
    netuid integer not null, uid integer not null, hotkey text not null, stake_rao text not null,
    primary key (netuid, uid), unique (netuid, hotkey)
);
create table if not exists rows (
    block integer primary key autoincrement, netuid integer not null, hotkey text not null
);
create table if not exists weights (
    block integer not null references rows (block), uid integer not null, weight integer not null
        check (weight between 1 and 65535),
    primary key (block, uid)
);
"""


class SimulatedChain:
    """A chain that exists only in a file; it takes what Subtensor would take, and refuses the rest.

    Stakes are text in the file, since SQLite's integers end at 2^63.
    """

    def __init__(self, path: Path, netuid: int) -> None:
        self._path, self.netuid = path, netuid
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as file:
            file.executescript(_SCHEMA)

    def register(self, stakes: Mapping[str, int]) -> None:
        """Gives each new hotkey the next uid, in the order given, and sets its stake in rao."""
        with self._open() as file:
            for hotkey, stake in stakes.items():
                free = "select coalesce(max(uid) + 1, 0) from neurons where netuid = ?"
                (uid,) = file.execute(free, (self.netuid,)).fetchone()
                file.execute(
                    "insert into neurons values (?, ?, ?, ?) on conflict (netuid, hotkey) "
                    "do update set stake_rao = excluded.stake_rao",
                    (self.netuid, uid, hotkey, str(stake)),
                )

    def block(self) -> int:
        """The number of rows that were ever sent."""
        with self._open() as file:
            return int(file.execute("select coalesce(max(block), 0) from rows").fetchone()[0])

    def uids(self) -> dict[str, int]:
        """Uid by hotkey."""
        with self._open() as file:
            query = "select hotkey, uid from neurons where netuid = ? order by uid"
            return {name: int(uid) for name, uid in file.execute(query, (self.netuid,))}

    def stakes(self) -> dict[str, int]:
        """Stake in rao by hotkey."""
        with self._open() as file:
            query = "select hotkey, stake_rao from neurons where netuid = ? order by uid"
            return {name: int(stake) for name, stake in file.execute(query, (self.netuid,))}

    def set_weights(self, hotkey: str, uids: Sequence[int], weights: Sequence[int]) -> int:
        """Keeps a registered validator's row in a new block.

        Raises ``ChainRefused`` for who is not registered, an empty row, a uid that is unknown or
        given twice, and a weight that is no u16 above 0.
        """
        known = self.uids()
        if hotkey not in known:
            raise ChainRefused(f"{hotkey} is not registered on subnet {self.netuid}")
        if not uids or len(uids) != len(weights) or len(set(uids)) != len(uids):
            raise ChainRefused(f"{len(uids)} uids and {len(weights)} weights are no row")
        unknown = sorted(set(uids) - set(known.values()))
        if unknown:
            raise ChainRefused(f"subnet {self.netuid} has no uid {unknown[0]}")
        wrong = [weight for weight in weights if not 0 < weight < 2**16]
        if wrong:
            raise ChainRefused(f"a weight is a u16 above 0, not {wrong[0]}")
        with self._open() as file:
            head = "insert into rows (netuid, hotkey) values (?, ?)"
            block = int(file.execute(head, (self.netuid, hotkey)).lastrowid or 0)
            cells = [(block, uid, weight) for uid, weight in zip(uids, weights, strict=True)]
            file.executemany("insert into weights values (?, ?, ?)", cells)
        return block

    def weights(self, hotkey: str) -> dict[int, int]:
        """The newest row of a validator, weight by uid; empty where it never sent one."""
        query = (
            "select uid, weight from weights where block = "
            "(select max(block) from rows where netuid = ? and hotkey = ?) order by uid"
        )
        with self._open() as file:
            return {int(u): int(w) for u, w in file.execute(query, (self.netuid, hotkey))}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        file = sqlite3.connect(self._path)
        try:
            with file:  # commits, or rolls back on an error
                yield file
        finally:
            file.close()
