"""Several processes publish one table at once: one of them wins, and the others are told so."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.adapters.atomic_files import AtomicFiles, UnsupportedStore
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.publication_order import ChangedMeanwhile, PublicationOrder

EPOCHS = ("2025-Q4-W48", "2025-Q4-W49")
STAMPS = {"params_version": "p", "code_version": "c"}
ROUNDS = 6


def ledger(*amounts: int) -> pd.DataFrame:
    return pd.DataFrame({"epoch_id": EPOCHS[0], "amount_rao": list(amounts)})


def settle_at_once(root: str, barrier: Barrier, me: int, same: bool, told: str) -> None:
    """In each round: read, wait for the other, and publish what follows from what was read."""
    lake, said = Lake(root), []
    for number in range(ROUNDS):
        seen = lake.publications("ledger")
        held = lake.read("ledger", EPOCHS[0]) if lake.exists("ledger", EPOCHS[0]) else ledger()
        barrier.wait()
        more = ledger(*held["amount_rao"], number if same else 100 * number + me)
        try:
            lake.publish("ledger", EPOCHS[0], more, **STAMPS, unless_changed=seen)
            said.append("published")
        except ChangedMeanwhile:
            said.append("refused")
        barrier.wait()
    Path(f"{told}.{me}").write_text(" ".join(said))


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where two processes meet: a folder with its locks, S3 with its conditional writes."""
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return str(tmp_path / "lake")


def two_processes(root: str, tmp_path: Path, *, same: bool) -> list[list[str]]:
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2, timeout=120), tmp_path / "said"
    workers = [
        context.Process(target=settle_at_once, args=(root, barrier, me, same, str(told)))
        for me in (1, 2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
        assert worker.exitcode == 0
    return [Path(f"{told}.{me}").read_text().split() for me in (1, 2)]


def test_of_two_settlements_at_once_one_counts_and_the_other_is_told(
    root: str, tmp_path: Path
) -> None:
    said = two_processes(root, tmp_path, same=False)
    assert [sorted(pair) for pair in zip(*said, strict=True)] == [["published", "refused"]] * ROUNDS
    lake = Lake(root)
    kept = lake.read("ledger", EPOCHS[0])["amount_rao"].tolist()
    winners = [1 if first == "published" else 2 for first, _ in zip(*said, strict=True)]
    assert kept == [100 * number + winner for number, winner in enumerate(winners)]
    assert lake.publications("ledger") == {EPOCHS[0]: ROUNDS}


def test_the_same_settlement_at_once_changes_nothing(root: str, tmp_path: Path) -> None:
    said = two_processes(root, tmp_path, same=True)
    assert said == [["published"] * ROUNDS] * 2
    lake = Lake(root)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == list(range(ROUNDS))
    assert lake.publications("ledger") == {EPOCHS[0]: ROUNDS}


def test_a_publication_for_another_epoch_counts_as_a_change(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS)
    seen = lake.publications("ledger")
    lake.publish("ledger", EPOCHS[1], ledger(2), **STAMPS)
    with pytest.raises(ChangedMeanwhile, match=f"ledger of {EPOCHS[1]} was published by another"):
        lake.publish("ledger", EPOCHS[0], ledger(3), **STAMPS, unless_changed=seen)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [1]
    now = lake.publications("ledger")
    assert lake.publish("ledger", EPOCHS[0], ledger(3), **STAMPS, unless_changed=now)


def test_a_publisher_that_died_between_its_number_and_the_table_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refuse_current)
        with pytest.raises(KeyboardInterrupt):
            lake.publish("ledger", EPOCHS[0], ledger(2), **STAMPS)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [1]
    seen = lake.publications("ledger")
    lake.publish("ledger", EPOCHS[0], ledger(2), **STAMPS, unless_changed=seen)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [2]
    assert lake.publications("ledger") == {EPOCHS[0]: 2}


def refuse_current(source: Path, target: Path) -> None:
    """Stands in for a kill right before the current table is replaced."""
    if "_" in target.parent.name:
        source.rename(target)
        return
    if target.parent.name == "ledger":
        raise KeyboardInterrupt
    source.rename(target)


def test_versions_stand_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    made = [lake.publish("ledger", EPOCHS[0], ledger(n), **STAMPS) for n in (3, 1, 2, 1)]
    hashes = [version.content_hash for version in made]
    assert [version.content_hash for version in lake.versions("ledger", EPOCHS[0])] == hashes[:3]
    assert lake.published("ledger", EPOCHS[0]) == tuple(hashes)
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS)  # what is current is no publication
    assert len(lake.published("ledger", EPOCHS[0])) == 4


def test_a_remote_store_numbers_its_publications_too() -> None:
    lake = Lake("memory://races")
    seen = lake.publications("ledger")
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS, unless_changed=seen)
    with pytest.raises(ChangedMeanwhile):
        lake.publish("ledger", EPOCHS[0], ledger(2), **STAMPS, unless_changed=seen)
    assert lake.publications("ledger") == {EPOCHS[0]: 1}


def finished_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher takes its number and dies; another counts, and finishes for it."""
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS)
    with monkeypatch.context() as patch:
        patch.setattr(PublicationOrder, "_finish", die)
        with pytest.raises(KeyboardInterrupt):
            lake.publish("ledger", EPOCHS[0], ledger(2), **STAMPS)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [1]


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_who_counts_publications_on_s3_sees_the_table_of_the_last(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(f"{bucket}/{tmp_path.name}")
    finished_by_the_next(lake, monkeypatch)
    assert lake.publications("ledger") == {EPOCHS[0]: 2}
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [2]


def test_a_claim_on_s3_whose_maker_was_killed_is_completed_once(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(f"{bucket}/{tmp_path.name}")
    seen = lake.publications("ledger")
    with monkeypatch.context() as patch:
        patch.setattr(PublicationOrder, "_complete", die)
        with pytest.raises(KeyboardInterrupt):
            lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS, unless_changed=seen)
    assert not lake.exists("ledger", EPOCHS[0])
    with pytest.raises(ChangedMeanwhile):
        lake.publish("ledger", EPOCHS[1], ledger(2), **STAMPS, unless_changed=seen)
    now = lake.publications("ledger")
    assert now == {EPOCHS[0]: 1}
    lake.publish("ledger", EPOCHS[0], ledger(3), **STAMPS, unless_changed=now)
    with pytest.raises(ChangedMeanwhile):
        lake.publish("ledger", EPOCHS[0], ledger(4), **STAMPS, unless_changed=now)
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [3]
    assert len(lake.published("ledger", EPOCHS[0])) == 2


def test_a_publisher_on_s3_that_is_late_does_not_undo_a_newer_publication(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late one has read the order; before it writes, another publishes."""
    lake = Lake(f"{bucket}/{tmp_path.name}")
    lake.publish("ledger", EPOCHS[0], ledger(1), **STAMPS)
    replace, late = AtomicFiles.replace, []

    def overtaken(self: AtomicFiles, name: str, data: bytes, tag: str | None) -> bool:
        if not late:
            late.append(name)
            lake.publish("ledger", EPOCHS[0], ledger(3), **STAMPS)
        return replace(self, name, data, tag)

    monkeypatch.setattr(AtomicFiles, "replace", overtaken)
    lake.publish("ledger", EPOCHS[0], ledger(2), **STAMPS)
    assert late
    assert lake.read("ledger", EPOCHS[0])["amount_rao"].tolist() == [3]
    assert len(lake.published("ledger", EPOCHS[0])) == 3


def test_a_store_without_locks_and_conditions_is_refused() -> None:
    with pytest.raises(UnsupportedStore, match="ftp://example"):
        Lake("ftp://example/lake").exists("ledger", EPOCHS[0])
