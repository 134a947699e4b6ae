"""Each single-character error in the arithmetic of a mart is seen by dbt's tests.

``mart_mutations.csv`` lists them. Each is made in a copy of the dbt project, and dbt builds the
mart with its tests of data and of made-up rows. An error of SQL would be seen without any test, so
it does not count: the model has to run, or a test on made-up rows to fail before it.
"""

import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from dbt.artifacts.schemas.run import RunExecutionResult

from quanta_pipelines.adapters import dbt_runs
from tests.conftest import SETTLED

pytestmark = pytest.mark.slow

MODELS = Path("models")
LAST = [SETTLED[-1].id]
IN_THE_NORMAL_RUN = 2


@dataclass(frozen=True)
class Mutation:
    """One character of one line of a model, changed."""

    model: str
    line: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.model}: {self.before} becomes {self.after}"

    @property
    def file(self) -> Path:
        """Of the model, in the project."""
        return MODELS / f"{self.model}.sql"

    def made(self, source: str) -> str:
        """The source with this error in it."""
        wrong = self.line.replace(self.before, self.after)
        return source.replace(f"\n{self.line}\n", f"\n{wrong}\n")


def mutations() -> list[Mutation]:
    with Path(__file__).with_name("mart_mutations.csv").open(newline="") as file:
        return [Mutation(*row) for row in list(csv.reader(file))[1:]]


ALL = mutations()
EVERY = -(-len(ALL) // IN_THE_NORMAL_RUN)


@dataclass(frozen=True)
class Copy:
    """A copy of the project, a database in which all models are built, and the lake."""

    project: Path
    database: Path
    lake: Path

    def run(self, *options: str) -> RunExecutionResult:
        """dbt on the copy."""
        result = dbt_runs.run_on_lake(
            ["build", *options],
            self.database,
            str(self.lake),
            LAST,
            self.project.parent / "target",
        )
        assert isinstance(result.result, RunExecutionResult), result.exception
        return result.result


@pytest.fixture(scope="module")
def copied(marts_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    home = tmp_path_factory.mktemp("mutated")
    skipped = shutil.ignore_patterns("target", "logs")
    project = Path(shutil.copytree(dbt_runs.DBT_PROJECT, home / "dbt_project", ignore=skipped))
    database = Path(
        shutil.copyfile(marts_home / "warehouse" / "quanta.duckdb", home / dbt_runs.DATABASE)
    )
    return Copy(project, database, marts_home / "lake")


@pytest.fixture
def copy(copied: Copy, monkeypatch: pytest.MonkeyPatch) -> Copy:
    """The copy, which is where dbt looks for the time of a test."""
    monkeypatch.setattr(dbt_runs, "DBT_PROJECT", copied.project)
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    return copied


@pytest.fixture
def built(copy: Copy) -> Copy:
    """The copy's views over the lake stand in its database, and all its tests pass."""
    marker = copy.project.parent / "built"
    if not marker.exists():
        done = copy.run()
        wrong = [each for each in dbt_runs.node_results(done) if not each.passed]
        assert not wrong
        assert any(each.unique_id.startswith("unit_test.") for each in dbt_runs.node_results(done))
        marker.touch()
    return copy


def test_each_is_one_character_of_one_line_and_every_mart_has_one() -> None:
    assert len(set(ALL)) == len(ALL)
    for each in ALL:
        source = (dbt_runs.DBT_PROJECT / each.file).read_text()
        assert source.split("\n").count(each.line) == 1, each
        assert each.line.count(each.before) == 1, each
        pairs = zip(each.before, each.after, strict=True)
        assert sum(one != other for one, other in pairs) == 1, each
    marts = {
        f"marts/{path.stem}" for path in (dbt_runs.DBT_PROJECT / MODELS / "marts").glob("*.sql")
    }
    assert {each.model for each in ALL} >= marts


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(each, marks=() if at % EVERY == 3 else pytest.mark.soak, id=str(each))
        for at, each in enumerate(ALL)
    ],
)
def test_an_error_is_seen(mutation: Mutation, built: Copy) -> None:
    file = built.project / mutation.file
    right = file.read_text()
    try:
        file.write_text(mutation.made(right))
        assert file.read_text() != right
        # dbt parses a file again when it looks newer than what it has parsed
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime + 2))
        done = built.run("--select", file.stem)
    finally:
        file.write_text(right)
    said = {each.node.unique_id: (str(each.status), each.message) for each in done.results}
    assert not [each for each in said.items() if each[1][0] == "error"], said
    seen = [name for name, (status, _) in said.items() if status == "fail"]
    assert seen, f"{mutation} is not seen: {said}"
