"""Each single-character error in a formula of money is seen by the tests of settlements.

``mutations.csv`` lists them: file, line, what stands there, what is put in its place. Each is made
in a copy of the package, beside a copy of its tests; the project's own files are not touched.
"""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PROTOCOL = Path("quanta_pipelines") / "protocol"
COPIED = ("quanta_pipelines/protocol", "data_contracts")
SETTLEMENTS = ("test_known_settlements.py", "test_rewards.py")
TESTS = {
    "ledger.py": ("test_ledger.py", "test_restatement.py"),
    "restatement.py": ("test_restatement.py",),
}
IN_THE_NORMAL_RUN = 4
LONGEST = 600  # seconds


@dataclass(frozen=True)
class Mutation:
    """One character of one line of a file of the protocol, changed."""

    file: str
    line: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}: {self.before} becomes {self.after}"

    def made(self, source: str) -> str:
        """The source with this error in it."""
        wrong = self.line.replace(self.before, self.after)
        return source.replace(f"\n{self.line}\n", f"\n{wrong}\n")


def mutations() -> list[Mutation]:
    with Path(__file__).with_name("mutations.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [Mutation(*row) for row in rows]


ALL = mutations()
EVERY = -(-len(ALL) // IN_THE_NORMAL_RUN)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules and the tests of settlements, and nothing else of the project."""
    home = tmp_path_factory.mktemp("mutated")
    for name in COPIED:
        shutil.copytree(PROJECT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "quanta_pipelines" / "__init__.py", home / "quanta_pipelines")
    (home / "tests" / "protocol").mkdir(parents=True)
    shutil.copy(PROJECT / "tests" / "conftest.py", home / "tests")
    for name in {*SETTLEMENTS, *(test for tests in TESTS.values() for test in tests)}:
        shutil.copy(PROJECT / "tests" / "protocol" / name, home / "tests" / "protocol")
    shutil.copy(PROJECT / "pyproject.toml", home)
    return home


def settled(home: Path, tests: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """The tests, file by file, run on the copy's rules until the first fails."""
    for name in tests[:-1]:
        if (done := _run(home, name)).returncode:
            return done
    return _run(home, tests[-1])


def _run(home: Path, test: str) -> "subprocess.CompletedProcess[str]":
    options = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=line")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"tests/protocol/{test}"],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def test_each_is_one_character_of_one_line_that_stands_there_once() -> None:
    assert len(ALL) >= 20
    assert len(set(ALL)) == len(ALL)
    for each in ALL:
        source = (PROJECT / PROTOCOL / each.file).read_text()
        assert source.split("\n").count(each.line) == 1, each
        assert each.line.count(each.before) == 1, each
        pairs = zip(each.before, each.after, strict=True)
        assert sum(one != other for one, other in pairs) == 1, each


def test_the_copy_without_an_error_passes(copy: Path) -> None:
    place = (
        "import quanta_pipelines.protocol.rewards as rules; import sys; sys.stdout.write"
        "(rules.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", place],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout) == copy / PROTOCOL / "rewards.py"  # and not the project's own
    done = settled(copy, ("test_known_settlements.py",))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(each, marks=() if at % EVERY == 0 else pytest.mark.soak, id=str(each))
        for at, each in enumerate(ALL)
    ],
)
def test_an_error_is_seen(mutation: Mutation, copy: Path) -> None:
    file = copy / PROTOCOL / mutation.file
    right = file.read_text()
    try:
        file.write_text(mutation.made(right))
        assert file.read_text() != right
        done = settled(copy, TESTS.get(mutation.file, SETTLEMENTS))
    finally:
        file.write_text(right)
    # 1: a test failed; 2 and above would be a file that cannot be read, or a wrong command
    assert done.returncode == 1, f"{mutation} is not seen:\n{done.stdout}\n{done.stderr}"
    assert " failed" in done.stdout, done.stdout
