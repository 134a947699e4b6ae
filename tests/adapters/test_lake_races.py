"""Several processes publish one table at once: one of them wins, and the others are told so."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.adapters.lake import ChangedMeanwhile, Lake

EPOCHS = ("2025-Q4-W48", "2025-Q4-W49")
STAMPS = {"params_version": "p", "code_version": "c"}
ROUNDS = 12


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


def two_processes(tmp_path: Path, *, same: bool) -> list[list[str]]:
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2, timeout=120), tmp_path / "said"
    workers = [
        context.Process(
            target=settle_at_once, args=(str(tmp_path / "lake"), barrier, me, same, str(told))
        )
        for me in (1, 2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
        assert worker.exitcode == 0
    return [Path(f"{told}.{me}").read_text().split() for me in (1, 2)]


def test_of_two_settlements_at_once_one_counts_and_the_other_is_told(tmp_path: Path) -> None:
    said = two_processes(tmp_path, same=False)
    assert [sorted(pair) for pair in zip(*said, strict=True)] == [["published", "refused"]] * ROUNDS
    lake = Lake(str(tmp_path / "lake"))
    kept = lake.read("ledger", EPOCHS[0])["amount_rao"].tolist()
    winners = [1 if first == "published" else 2 for first, _ in zip(*said, strict=True)]
    assert kept == [100 * number + winner for number, winner in enumerate(winners)]
    assert lake.publications("ledger") == {EPOCHS[0]: ROUNDS}


def test_the_same_settlement_at_once_changes_nothing(tmp_path: Path) -> None:
    said = two_processes(tmp_path, same=True)
    assert said == [["published"] * ROUNDS] * 2
    lake = Lake(str(tmp_path / "lake"))
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
