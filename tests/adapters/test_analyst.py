"""Every query of the analysts' page runs on the published marts as it stands there."""

import re
from pathlib import Path

import duckdb
import pytest

from quanta_pipelines.assets.marts import MARTS

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "analyst.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.M | re.S)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
MAY_BE_EMPTY = ("price_quality",)  # of eight good weeks no price has a fault


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_a_query_answers(number: int, marts_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = QUERIES[number]
    monkeypatch.chdir(marts_home / "warehouse")
    with duckdb.connect("quanta.duckdb", read_only=True) as connection:
        rows = connection.execute(query).fetchall()
    assert rows or any(mart in query for mart in MAY_BE_EMPTY), query


def test_balances_of_the_page_add_up_to_nothing(marts_home: Path) -> None:
    (query,) = (each for each in QUERIES if "ledger_balances" in each)
    place = str(marts_home / "warehouse" / "quanta.duckdb")
    with duckdb.connect(place, read_only=True) as connection:
        assert sum(rao for _, rao in connection.execute(query).fetchall()) == 0


def test_every_mart_has_its_line_and_a_query() -> None:
    for mart in MARTS:
        assert f"| `{mart}` |" in PAGE
        assert any(re.search(rf"\b{mart}\b", query) for query in QUERIES), mart


def test_the_example_in_python_runs(marts_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = PYTHON
    (marts_home.parent / "var").unlink(missing_ok=True)
    (marts_home.parent / "var").symlink_to(marts_home)
    monkeypatch.chdir(marts_home.parent)
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102 - the page's own words
    assert len(names["board"]) > 0  # type: ignore[arg-type]
