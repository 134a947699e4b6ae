"""What is not parsed again: the caller's frame is its own, and a changed file is always seen."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.adapters import atomic_files, parsed_tables, table_format
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.parsed_tables import Kept, parsed
from quanta_pipelines.adapters.table_format import UnsupportedColumn, to_parquet

EPOCH = "2019-Q4-W52"
STAMP = {"params_version": "0" * 64, "code_version": "0" * 64}


def frame(value: float) -> pd.DataFrame:
    return pd.DataFrame({"epoch_id": [EPOCH], "value": [value]})


def test_a_frame_belongs_to_its_reader() -> None:
    data = to_parquet(frame(1.0), "numbers", {})
    first = parsed(data)
    first.loc[0, "value"] = 2.0
    first["more"] = 1
    pd.testing.assert_frame_equal(parsed(data), frame(1.0))


def test_equal_bytes_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = to_parquet(frame(0.123456789), "numbers", {})
    parsed(data)
    monkeypatch.setattr(table_format.pq, "ParquetFile", None)  # parsing again would fail
    pd.testing.assert_frame_equal(parsed(data), frame(0.123456789))


def test_the_least_recently_used_goes_first_and_what_is_too_heavy_is_not_kept() -> None:
    kept: Kept[str, int] = Kept(10, weight=lambda value: value)
    for name, weight in (("a", 4), ("b", 5), ("too heavy", 11)):
        kept.put(name, weight)
    assert kept.get("a") == 4  # so b is the older one now
    kept.put("c", 3)  # 4 + 5 + 3 > 10
    assert [kept.get(name) for name in ("a", "b", "c", "too heavy")] == [4, None, 3, None]
    kept.put("c", 6)  # in place of 3: 4 + 6 = 10
    assert [kept.get("a"), kept.get("c")] == [4, 6]


def test_what_is_forgotten_is_everything_that_is_kept() -> None:
    kept: Kept[str, int] = Kept(10)
    kept.put("a", 1)
    parsed_tables.forget()
    assert kept.get("a") is None


def test_a_frame_weighs_what_its_texts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    # 100 texts of 10,000 letters are a megabyte, and all but nothing in the file
    data = to_parquet(pd.DataFrame({"epoch_id": ["x" * 10_000] * 100}), "texts", {})
    assert len(data) < 10_000
    small = Kept[bytes, tuple[pd.DataFrame, int]](999_999, lambda kept: kept[1])
    monkeypatch.setattr(parsed_tables, "_FRAMES", small)
    parsed(data)
    assert small.get(hashlib.sha256(data).digest()) is None
    large = Kept[bytes, tuple[pd.DataFrame, int]](1_100_000, lambda kept: kept[1])
    monkeypatch.setattr(parsed_tables, "_FRAMES", large)
    parsed(data)
    assert large.get(hashlib.sha256(data).digest()) is not None


@pytest.mark.parametrize("age_seconds", [0, 10])
def test_a_version_is_that_of_the_file_that_is_there(tmp_path: Path, age_seconds: int) -> None:
    lake = Lake(str(tmp_path))
    current = tmp_path / "numbers" / f"{EPOCH}.parquet"
    hashes = []
    for value in (1.0, 2.0, 1.0):
        hashes.append(lake.publish("numbers", EPOCH, frame(value), **STAMP).content_hash)
        then = current.stat().st_mtime - age_seconds
        os.utime(current, (then, then))
        assert lake.version("numbers", EPOCH).content_hash == hashes[-1]
        assert lake.version("numbers", EPOCH).content_hash == hashes[-1]
    assert hashes[0] == hashes[2] != hashes[1]
    current.unlink()
    assert lake.refusal("numbers", EPOCH, ["contract"]) is not None


def test_a_file_is_not_read_again_for_its_version_once_it_has_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_files, "SETTLED_NS", -1)
    lake = Lake(str(tmp_path))
    lake.publish("numbers", EPOCH, frame(1.0), **STAMP)
    said = lake.version("numbers", EPOCH)
    monkeypatch.setattr(atomic_files.AtomicFiles, "open", None)
    assert lake.version("numbers", EPOCH) == said


def test_a_file_that_rots_where_it_lies_is_refused_although_it_was_read_before(
    tmp_path: Path,
) -> None:
    lake = Lake(str(tmp_path))
    version = lake.publish("numbers", EPOCH, frame(1.0), **STAMP)
    lake.record_verdict(
        "numbers", EPOCH, "contract", passed=True, content_hash=version.content_hash, detail=""
    )
    gates = {"gates": ["contract"]}
    assert lake.read("numbers", EPOCH, **gates)["value"].tolist() == [1.0]
    stamps = {"epoch_id": EPOCH, "content_hash": version.content_hash, **STAMP}
    (tmp_path / "numbers" / f"{EPOCH}.parquet").write_bytes(
        to_parquet(frame(3.0), "numbers", stamps)
    )
    with pytest.raises(GateNotPassed, match="does not hold"):
        lake.read("numbers", EPOCH, **gates)


@pytest.mark.parametrize("text", ["\ud800", "a – \udfff", "\ud83d\ude00"])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    with pytest.raises(UnsupportedColumn, match="surrogate"):
        to_parquet(pd.DataFrame({"epoch_id": [text]}), "texts", {})


def test_other_letters_are_text() -> None:
    texts = pd.DataFrame({"epoch_id": ["–", "😀", "\ud7ff", "\ue000", ""]})
    assert parsed(to_parquet(texts, "texts", {}))["epoch_id"].tolist() == list(texts["epoch_id"])
