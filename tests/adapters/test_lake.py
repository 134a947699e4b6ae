"""Tables by epoch: same bytes, nothing torn, nothing lost, no reading past a gate."""

import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import GlancedLake, Lake, MissingTable, Version, content_hash
from quanta_pipelines.adapters.lake_files import InvalidName
from quanta_pipelines.adapters.table_format import UnsupportedColumn

EPOCH = "2025-Q4-W48"
_roots = itertools.count()


@pytest.fixture(params=["folder", "memory", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    if request.param == "s3":
        return Lake(f"{request.getfixturevalue('bucket')}/lake-{next(_roots)}")
    return Lake(f"memory://lake-{next(_roots)}")


def publish(
    lake: Lake, frame: pd.DataFrame, *, epoch_id: str = EPOCH, params: str = "p"
) -> Version:
    return lake.publish("scores", epoch_id, frame, params_version=params, code_version="c")


def scores(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"score": np.array(values, dtype="float64")})


def test_rows_keep_their_order_and_lose_their_index(lake: Lake) -> None:
    publish(lake, scores(3.0, 1.0, 2.0).set_index(pd.Index([7, 8, 9])))
    pd.testing.assert_frame_equal(lake.read("scores", EPOCH), scores(3.0, 1.0, 2.0))


def test_a_frame_that_would_not_come_back_publishes_nothing(lake: Lake) -> None:
    with pytest.raises(UnsupportedColumn, match=r"scores\.score: int32"):
        publish(lake, scores(1.0).astype("int32"))
    assert not lake.epochs("scores")
    assert not lake.versions("scores", EPOCH)


def test_the_same_frame_is_the_same_bytes_in_both_places(tmp_path: Path) -> None:
    frame = scores(2.0, 1.0, 3.0)
    first, second = Lake(str(tmp_path / "a")), Lake(str(tmp_path / "b"))
    version = publish(first, frame)
    publish(second, frame.copy().set_index(pd.Index([5, 6, 7])))
    history = tmp_path / f"a/scores/_versions/{EPOCH}/{version.content_hash}.parquet"
    assert Path(version.path).read_bytes() == (tmp_path / f"b/scores/{EPOCH}.parquet").read_bytes()
    assert Path(version.path).read_bytes() == history.read_bytes()


def test_publishing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = Path(publish(lake, scores(1.0)).path)
    before = path.stat()
    publish(lake, scores(1.0))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_footer_carries_the_stamps_and_no_library_but_the_writer(tmp_path: Path) -> None:
    version = publish(Lake(str(tmp_path)), scores(1.0))
    assert pq.read_metadata(version.path).metadata == {
        b"epoch_id": EPOCH.encode(),
        b"params_version": b"p",
        b"code_version": b"c",
        b"content_hash": version.content_hash.encode(),
    }


def test_a_version_is_known_without_its_rows(lake: Lake) -> None:
    published = publish(lake, scores(1.0, 2.0))
    assert lake.version("scores", EPOCH) == published
    assert (published.rows, published.content_hash) == (2, content_hash(scores(1.0, 2.0)))


def test_a_restatement_keeps_what_was_published(lake: Lake) -> None:
    old, new = publish(lake, scores(1.0)), publish(lake, scores(2.0))
    assert lake.version("scores", EPOCH).content_hash == new.content_hash
    assert {v.content_hash for v in lake.versions("scores", EPOCH)} == {
        old.content_hash,
        new.content_hash,
    }
    pd.testing.assert_frame_equal(lake.read_version("scores", EPOCH, old.content_hash), scores(1.0))


def test_other_rules_with_the_same_result_restamp_the_version(lake: Lake) -> None:
    publish(lake, scores(1.0))
    publish(lake, scores(1.0), params="q")
    assert [v.params_version for v in lake.versions("scores", EPOCH)] == ["q"]
    assert lake.version("scores", EPOCH).params_version == "q"


def test_epochs_are_listed_oldest_first(lake: Lake) -> None:
    assert lake.epochs("scores") == ()
    for epoch_id in ("2025-Q4-W48", "2019-Q4-W52", "2025-Q3-W40"):
        publish(lake, scores(1.0), epoch_id=epoch_id)
    assert lake.epochs("scores") == ("2019-Q4-W52", "2025-Q3-W40", "2025-Q4-W48")
    assert lake.versions("scores", "2020-Q1-W01") == ()


def test_what_is_absent_is_named(lake: Lake) -> None:
    for read in (lake.read, lake.version):
        with pytest.raises(MissingTable, match=rf"scores {EPOCH}: no file"):
            read("scores", EPOCH)
    with pytest.raises(MissingTable, match=rf"scores {EPOCH}: no file .*{'0' * 64}"):
        lake.read_version("scores", EPOCH, "0" * 64)
    assert not lake.exists("scores", EPOCH)


@pytest.mark.parametrize(
    "epoch_id", ["2025-Q4-W48\n", "2025-Q5-W48", "../2025-Q4-W48", "٢٠٢٥-Q4-W48"]
)
def test_an_epoch_that_is_no_epoch_is_refused(lake: Lake, epoch_id: str) -> None:
    with pytest.raises(InvalidName, match="form"):
        publish(lake, scores(1.0), epoch_id=epoch_id)


def test_names_that_leave_their_folder_are_refused(lake: Lake) -> None:
    with pytest.raises(InvalidName):
        lake.read("../scores", EPOCH)
    with pytest.raises(InvalidName):
        lake.verdict("scores", EPOCH, "a/b")
    with pytest.raises(InvalidName):
        lake.read_version("scores", EPOCH, "../x")
    with pytest.raises(InvalidName):
        lake.epochs("")


def record(lake: Lake, check: str, content: str | None, *, passed: bool) -> None:
    lake.record_verdict(
        "scores", EPOCH, check, passed=passed, content_hash=content, detail="2 rows of 9"
    )


def test_a_passed_gate_opens_for_exactly_its_content(lake: Lake) -> None:
    record(lake, "contract", publish(lake, scores(1.0)).content_hash, passed=True)
    assert len(lake.read("scores", EPOCH, gates=("contract",))) == 1
    publish(lake, scores(2.0))
    with pytest.raises(GateNotPassed, match=rf"scores {EPOCH}: check contract .*another version"):
        lake.read("scores", EPOCH, gates=("contract",))


def test_every_gate_must_have_been_evaluated(lake: Lake) -> None:
    record(lake, "contract", publish(lake, scores(1.0)).content_hash, passed=True)
    with pytest.raises(GateNotPassed, match="check ranks_follow_scores was never evaluated"):
        lake.read("scores", EPOCH, gates=("contract", "ranks_follow_scores"))


def test_a_failed_invariant_closes_its_gate(lake: Lake) -> None:
    held = publish(lake, scores(1.0)).content_hash
    record(lake, "ranks", held, passed=False)
    with pytest.raises(GateNotPassed, match="check ranks failed: 2 rows of 9"):
        lake.read("scores", EPOCH, gates=("ranks",))
    assert len(lake.read("scores", EPOCH)) == 1


def test_a_table_that_broke_its_contract_hides_the_good_one_before_it(lake: Lake) -> None:
    record(lake, "contract", publish(lake, scores(1.0)).content_hash, passed=True)
    record(lake, "contract", None, passed=False)
    with pytest.raises(GateNotPassed, match="check contract failed: 2 rows of 9"):
        lake.read("scores", EPOCH, gates=("contract",))


def test_a_failure_on_an_older_version_says_nothing_of_this_one(lake: Lake) -> None:
    record(lake, "ranks", publish(lake, scores(1.0)).content_hash, passed=False)
    publish(lake, scores(2.0))
    with pytest.raises(GateNotPassed, match="another version"):
        lake.read("scores", EPOCH, gates=("ranks",))


def test_a_verdict_reads_back_and_its_file_is_canonical(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert lake.verdict("scores", EPOCH, "ranks") is None
    said = lake.record_verdict("scores", EPOCH, "ranks", passed=True, content_hash="h", detail="é")
    assert lake.verdict("scores", EPOCH, "ranks") == said
    text = (tmp_path / f"scores/_gates/{EPOCH}/ranks.json").read_text()
    assert text == '{"content_hash":"h","detail":"\\u00e9","inputs":{},"passed":true}\n'
    with pytest.raises(ValueError, match="ranks cannot pass on no content"):
        record(lake, "ranks", None, passed=True)


def test_a_process_killed_before_the_rename_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    lake = Lake(str(tmp_path))
    old = publish(lake, scores(1.0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Killed):
            publish(lake, scores(2.0))
    assert lake.version("scores", EPOCH) == old
    pd.testing.assert_frame_equal(lake.read("scores", EPOCH), scores(1.0))


def test_what_a_killed_process_leaves_behind_is_no_table(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    version = publish(lake, scores(1.0))
    for folder in (tmp_path / "scores", tmp_path / f"scores/_versions/{EPOCH}"):
        (folder / f".{EPOCH}.parquet.0123456789abcdef.tmp").write_bytes(b"PAR1 torn")
    assert lake.epochs("scores") == (EPOCH,)
    assert [v.content_hash for v in lake.versions("scores", EPOCH)] == [version.content_hash]
    publish(lake, scores(2.0))
    pd.testing.assert_frame_equal(lake.read("scores", EPOCH), scores(2.0))


def test_publishers_at_the_same_time_never_show_a_torn_table(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    whole = {content_hash(scores(*range(n))) for n in (1, 2000)}
    publish(lake, scores(0.0))

    def publish_often(rows: int) -> None:
        for _ in range(15):
            publish(lake, scores(*range(rows)))

    publishers = [threading.Thread(target=publish_often, args=(n,)) for n in (1, 2000, 1, 2000)]
    for thread in publishers:
        thread.start()
    while any(thread.is_alive() for thread in publishers):
        assert content_hash(lake.read("scores", EPOCH)) in whole
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_users_may_read_a_table(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        version = publish(Lake(str(tmp_path)), scores(1.0))
    finally:
        os.umask(mask)
    assert Path(version.path).stat().st_mode & 0o777 == 0o644


def test_a_verdict_holds_only_as_long_as_the_tables_it_rests_on(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    stamps = {"params_version": "p", "code_version": "c"}
    returns = lake.publish("returns", EPOCH, pd.DataFrame({"r": [0.1]}), **stamps)
    scores = lake.publish("scores", EPOCH, pd.DataFrame({"s": [1.0]}), **stamps)
    lake.record_verdict(
        "scores",
        EPOCH,
        "contract",
        passed=True,
        content_hash=scores.content_hash,
        detail="",
        inputs={f"returns {EPOCH}": returns.content_hash},
    )
    assert lake.refusal("scores", EPOCH, ["contract"]) is None
    lake.publish("returns", EPOCH, pd.DataFrame({"r": [0.2]}), **stamps)
    refusal = lake.refusal("scores", EPOCH, ["contract"])
    assert refusal is not None
    assert f"rests on another version of returns {EPOCH}: run scores again" in refusal
    with pytest.raises(GateNotPassed, match="rests on another version of returns"):
        lake.read("scores", EPOCH, gates=["contract"])


def test_a_glance_looks_each_version_up_once(lake: Lake) -> None:
    glanced = GlancedLake(lake.root)
    first = publish(lake, scores(1.0))
    assert glanced.version("scores", EPOCH) == first
    second = publish(lake, scores(2.0))
    assert glanced.version("scores", EPOCH) == first
    assert GlancedLake(lake.root).version("scores", EPOCH) == second
    own = publish(glanced, scores(3.0))  # it sees what it publishes itself
    assert glanced.version("scores", EPOCH) == own == lake.version("scores", EPOCH)


def test_many_tables_are_read_as_one_and_judged_each(lake: Lake) -> None:
    epochs = ("2025-Q4-W47", "2025-Q4-W48", "2025-Q4-W49")
    frames = {
        epoch: scores(1.0, float(at)).assign(hotkey=f"miner {at % 2}")
        for at, epoch in enumerate(epochs)
    }
    made = {epoch: publish(lake, frame, epoch_id=epoch) for epoch, frame in frames.items()}
    with pytest.raises(GateNotPassed, match="2025-Q4-W47: check contract was never evaluated"):
        lake.load_all("scores", epochs, gates=["contract"])
    for epoch, version in made.items():
        lake.record_verdict(
            "scores", epoch, "contract", passed=True, content_hash=version.content_hash, detail=""
        )
    found, versions = lake.load_all("scores", epochs, gates=["contract"])
    assert list(versions) == list(made.values())
    assert isinstance(found["hotkey"].dtype, pd.CategoricalDtype)
    expected = pd.concat(frames.values(), ignore_index=True)
    pd.testing.assert_frame_equal(found.astype({"hotkey": object}), expected)
    with pytest.raises(MissingTable, match="2025-Q4-W50"):
        lake.load_all("scores", [*epochs, "2025-Q4-W50"], gates=["contract"])
