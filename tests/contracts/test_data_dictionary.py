"""The page of tables says what the contracts say, and no link of the documentation is dead."""

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.settings import Settings

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def dictionary() -> ModuleType:
    """The script that writes the page; documentation is no package, so it is loaded by its path."""
    place = PROJECT / "docs" / "make_data_dictionary.py"
    spec = importlib.util.spec_from_file_location("make_data_dictionary", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_contracts_say(dictionary: ModuleType) -> None:
    stale = "docs/data.md is stale: .venv/bin/python docs/make_data_dictionary.py"
    assert dictionary.PAGE.read_text() == dictionary.page(), stale


def test_every_column_stands_on_the_page(dictionary: ModuleType) -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", dictionary.page(), re.M | re.S))
    for table, contract in CONTRACTS.items():
        listed = re.findall(r"^\| `(\w+)` \|", sections[table], re.M)
        assert listed == list(contract.to_schema().columns), table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    lost = [to for to in LINK.findall(page.read_text()) if not (page.parent / to).exists()]
    assert not lost


def test_every_worked_example_of_the_rules_is_what_the_code_gives() -> None:
    page = PROJECT / "docs" / "protocol.md"
    outcome = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert outcome.attempted > 50
    assert outcome.failed == 0, "see the captured output"


@pytest.mark.parametrize("page", [".env.example", "docs/operations.md"])
def test_every_setting_is_explained(page: str) -> None:
    text = (PROJECT / page).read_text()
    assert [name for name in Settings.model_fields if f"QUANTA_{name.upper()}" not in text] == []


def test_the_example_of_settings_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    shown = dict(line[1:].split("=", 1) for line in lines if line.startswith("#QUANTA_"))
    for name in [*shown, "DATABASE_URL", "ENVIRONMENT"]:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(_env_file=None)
    assert settings.home == PROJECT / shown["QUANTA_HOME"]
    assert settings.lake_root == str(PROJECT / shown["QUANTA_LAKE"])
    assert settings.signal_store_url == f"sqlite:///{PROJECT / 'var' / 'signals.db'}"
    assert settings.first_epoch == shown["QUANTA_FIRST_EPOCH"]
    assert settings.validator_hotkey == shown["QUANTA_VALIDATOR_HOTKEY"]
