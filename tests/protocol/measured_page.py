"""Tables on a page of the docs that a long run writes, and compares with what it finds again."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest


def table(header: str, rows: Iterable[str]) -> str:
    """A Markdown table of rows that are written already."""
    columns = header.count("|") - 1
    return "\n".join([header, "|---" * columns + "|", *rows]) + "\n"


def compare(page: Path, place: re.Pattern[str], text: str, request: pytest.FixtureRequest) -> None:
    """Fails where the page shows other tables; with ``--golden-update`` it is written first.

    ``place`` has two groups, the marks before and behind the tables.
    """
    said = page.read_text()
    if request.config.getoption("--golden-update"):
        page.write_text(said := place.sub(lambda at: f"{at[1]}{text}{at[2]}", said))
    shown = place.search(said)
    assert shown is not None
    assert text in shown[0], "look at the change, then run it with --golden-update"
