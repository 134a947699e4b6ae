"""Which publication of a table came when, so that of two publishers at once one is last for all.

``_order/<epoch_id>/<number>.json`` names the content of each publication; the last is current. A
number is taken once, whoever asks. A publication may be conditional on what was counted before.
On S3, where no lock keeps others out, ``_order/_claims/<number>.json`` is what it takes: one number
of the whole table, which says all that whoever comes next needs to complete it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.lake_files import (
    EPOCH,
    NAME,
    current_file,
    stored,
    valid,
    versions_folder,
)


class ChangedMeanwhile(RuntimeError):
    """A table that another process published since it was read for this publication."""


@dataclass(frozen=True, slots=True)
class PublicationOrder:
    """The publications of one table, numbered by epoch."""

    files: AtomicFiles
    table: str

    def append(
        self, epoch_id: str, content_hash: str, unless_changed: Mapping[str, int] | None
    ) -> None:
        """Make a version that is stored already the last one and the current one.

        ``unless_changed`` is what ``counted`` said before; ``None`` publishes whatever happened.
        """
        with self.files.alone(self._folder()):
            if unless_changed is None:
                while not self._numbered(epoch_id, content_hash):
                    pass  # another process took the number; the next is free or taken by the same
            else:
                self._claim(epoch_id, content_hash, unless_changed)
            self._finish(epoch_id)

    def published(self, epoch_id: str) -> tuple[str, ...]:
        """Content hashes in the order of publication; one that came back stands there again."""
        folder = self._folder(epoch_id)
        names = self.files.stems(folder, ".json")
        texts = [self.files.read(f"{folder}/{name}.json") for name in names]
        return tuple(json.loads(text)["content_hash"] for text in texts)

    def counted(self) -> dict[str, int]:
        """Publications by epoch; what is current afterwards is at least as new as these."""
        with self.files.alone(self._folder()):
            counted, names = self._counted()
            if self.files.locks:
                return counted
            if self._complete(sum(counted.values()) + 1):
                return self.counted()
            for epoch_id, number in counted.items():
                if f"{epoch_id}/{number:06}.done" not in names:
                    self._finish(epoch_id)
        return counted

    def _counted(self) -> tuple[dict[str, int], frozenset[str]]:
        """Publications by epoch, and the names below the table's order."""
        names = frozenset(self.files.below(self._folder()))
        numbers = [name for name in names if name.endswith(".json") and "_claims/" not in name]
        counts = Counter(name.partition("/")[0] for name in numbers)
        return dict(sorted(counts.items())), names

    def _claim(self, epoch_id: str, hashed: str, unless_changed: Mapping[str, int]) -> None:
        """Take the next number for a conditional publication, or say what came in between.

        On S3 the number is one of the whole table: of two publications for different epochs that
        were counted alike one is refused too.
        """
        said = self.published(epoch_id)
        if said and said[-1] == hashed:
            return
        now, _ = self._counted()
        changed = [e for e in sorted(now) if now[e] != unless_changed.get(e, 0)]
        if self.files.locks:
            taken = not changed and self._numbered(epoch_id, hashed)
        else:
            number = sum(unless_changed.values()) + 1
            nth = unless_changed.get(epoch_id, 0) + 1
            claim = {"content_hash": hashed, "epoch_id": epoch_id, "number": nth}
            text = json.dumps(claim, sort_keys=True) + "\n"
            taken = not changed and self.files.create(self._claim_file(number), text.encode())
            self._complete(number)
            taken = taken or self.published(epoch_id)[-1:] == (hashed,)
        if not taken:
            raise ChangedMeanwhile(
                f"{self.table} of {', '.join(changed) or epoch_id} was published by another "
                f"process since this one read it; {self.table} {epoch_id} is not published: run it "
                "again"
            )

    def _complete(self, number: int) -> bool:
        """Publish what a claim says, whoever made it; its maker may have been killed."""
        try:
            claim = json.loads(self.files.read(self._claim_file(number)))
        except FileNotFoundError:
            return False
        self._number(claim["epoch_id"], claim["number"], claim["content_hash"])
        self._finish(claim["epoch_id"])
        return True

    def _numbered(self, epoch_id: str, hashed: str) -> bool:
        """Give the next number to a publication; False where another process took it first."""
        said = self.published(epoch_id)
        if said and said[-1] == hashed:
            return True
        return self._number(epoch_id, len(said) + 1, hashed)

    def _number(self, epoch_id: str, number: int, hashed: str) -> bool:
        text = json.dumps({"content_hash": hashed}) + "\n"
        return self.files.create(f"{self._folder(epoch_id)}/{number:06}.json", text.encode())

    def _finish(self, epoch_id: str) -> None:
        """Make the last publication in the order the current one.

        On S3 no lock keeps others out: a publisher that is late would put its table over a newer
        one. So it writes only over what it saw before it read the order, and looks at the order
        again afterwards; any publisher, and whoever counts publications, finishes for one that
        was killed. The mark ``.done`` says that a number needs no finishing.
        """
        current = current_file(self.table, epoch_id)
        while True:
            tag = None if self.files.locks else self.files.tag(current)
            said = self.published(epoch_id)
            name = f"{versions_folder(self.table, epoch_id)}/{said[-1]}.parquet"
            data = stored(self.files, self.table, epoch_id, name)
            if self.files.locks:
                self.files.write(current, data)
                return
            if not self._holds(current, data) and not self.files.replace(current, data, tag):
                continue
            if len(self.published(epoch_id)) == len(said):
                self.files.write(f"{self._folder(epoch_id)}/{len(said):06}.done", b"")
                return

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.files.read(name) == data
        except FileNotFoundError:
            return False

    def _folder(self, epoch_id: str | None = None) -> str:
        folder = f"{valid(NAME, self.table)}/_order"
        return folder if epoch_id is None else f"{folder}/{valid(EPOCH, epoch_id)}"

    def _claim_file(self, number: int) -> str:
        return f"{self._folder()}/_claims/{number:08}.json"
