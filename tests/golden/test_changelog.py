"""A change of rules or of golden tables must be stated in the changelog: it can split consensus."""

import hashlib
import re
from pathlib import Path

import pytest

from quanta_pipelines.protocol.params import QUANTA, params_version

PROJECT = Path(__file__).parents[2]
HASHES = Path(__file__).parent / "hashes.json"


def newest_rules(changelog: str) -> str:
    """The first section ``Rules``, which is that of the newest version that has one."""
    section = re.search(r"^### Rules\n(.*?)(?=^##|\Z)", changelog, re.MULTILINE | re.DOTALL)
    assert section is not None, "CHANGELOG.md has no section Rules"
    return section[1]


def stated() -> dict[str, str]:
    text = newest_rules((PROJECT / "CHANGELOG.md").read_text("utf-8"))
    return dict(re.findall(r"`(params_version|golden): ([0-9a-f]{12})`", text))


def test_the_changelog_states_the_rule_set() -> None:
    line = f"params_version: {params_version(QUANTA)[:12]}"
    assert f"params_version: {stated().get('params_version')}" == line, (
        f"the rules changed: say how under Rules in CHANGELOG.md, with the line `{line}`"
    )


def test_the_changelog_states_the_golden_tables(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--golden-update"):
        pytest.skip("the golden tables are being written")
    line = f"golden: {hashlib.sha256(HASHES.read_bytes()).hexdigest()[:12]}"
    assert f"golden: {stated().get('golden')}" == line, (
        f"the golden tables changed: say why under Rules in CHANGELOG.md, with the line `{line}`"
    )


def test_only_the_newest_rules_count() -> None:
    text = (
        "# C\n\n## 2\n\n### Rules\n\n- new\n\n### Fixed\n\n- a bug\n\n## 1\n\n### Rules\n\n- old\n"
    )
    assert newest_rules(text).split() == ["-", "new"]
