"""The code version follows the sources of the rules."""

from pathlib import Path

from quanta_pipelines.adapters import code_version as module
from quanta_pipelines.adapters.code_version import code_version


def test_the_code_version_follows_the_sources_and_nothing_else(tmp_path: Path) -> None:
    def hashed() -> str:
        return module.sources_version(tmp_path)

    (tmp_path / "rules.py").write_text("x = 1\n")
    first = hashed()
    (tmp_path / "rules.pyc").write_text("compiled")
    assert hashed() == first
    (tmp_path / "sessions.csv").write_text("2025-11-24\n")
    second = hashed()
    (tmp_path / "rules.py").write_text("x = 2\n")
    assert len({first, second, hashed()}) == 3


def test_the_code_version_is_a_hash_of_the_rules() -> None:
    assert code_version() == code_version()
    assert len(code_version()) == 64
