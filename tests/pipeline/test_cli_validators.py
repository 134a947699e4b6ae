"""``quanta export-weights`` and the refusals of ``quanta validator`` and ``quanta dispute``."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quanta_pipelines.adapters.chain import SimulatedChain
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.epoch import settles_at
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY, current_settings
from tests.conftest import SETTLED

Quanta = Callable[..., Result]
LAST, FIRST = SETTLED[-1].id, SETTLED[0].id


@pytest.fixture
def home(settled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Eight settled epochs that the command's settings point to."""
    copy = Path(shutil.copytree(settled_home, tmp_path / "home"))
    monkeypatch.setenv("QUANTA_HOME", str(copy))
    current_settings.cache_clear()
    yield copy
    current_settings.cache_clear()


@pytest.fixture
def quanta(home: Path) -> Quanta:
    """The command, called with arguments."""
    return lambda *arguments: CliRunner().invoke(main, arguments)


def scale_hash(hotkey: str, netuid: int, row: dict[str, list[int]], version_key: int) -> str:
    """The commitment in long form: SCALE of (who, netuid, uids, values, salt, version key)."""

    def vector(numbers: list[int]) -> bytes:
        assert len(numbers) < 2**14
        short = len(numbers) < 64
        length = len(numbers) * 4 if short else len(numbers) * 4 + 1
        head = length.to_bytes(1 if short else 2, "little")
        return head + b"".join(number.to_bytes(2, "little") for number in numbers)

    encoded = public_key(hotkey) + netuid.to_bytes(2, "little")
    encoded += vector(row["uids"]) + vector(row["weights"]) + vector(row["salt"])
    encoded += version_key.to_bytes(8, "little")
    return hashlib.blake2b(encoded, digest_size=32).hexdigest()


def test_the_own_row_is_exported_with_the_hash_that_commits_to_it(
    home: Path, quanta: Quanta
) -> None:
    result = quanta("export-weights", LAST, "--salt", "1,2,65535", "--version-key", "7", "--json")
    assert result.exit_code == 0, result.stderr
    row = json.loads(result.stdout)
    assert (row["hotkey"], row["salt"], row["block"]) == (DEVELOPMENT_HOTKEY, [1, 2, 65535], None)
    votes = Lake(str(home / "lake")).read("validator_weights", LAST)
    own = votes[votes["validator"] == DEVELOPMENT_HOTKEY].set_index("hotkey")["weight_units"]
    # the largest is 65535, halves round up: floor(w 65535 / max + 1/2)
    top = int(own.max())
    scaled = [(2 * 65535 * int(units) + top) // (2 * top) for units in own]
    assert sorted(row["weights"]) == sorted(weight for weight in scaled if weight)
    assert row["unregistered"] == []
    expected = scale_hash(DEVELOPMENT_HOTKEY, row["netuid"], row, 7)
    assert row["commit_hash"].removeprefix("0x") == expected
    # the same without JSON
    lines = quanta("export-weights", LAST, "--salt", "1,2,65535").stdout.splitlines()
    assert len(lines) == len(row["uids"]) + 3
    assert lines[-3] == "salt 1,2,65535"
    assert lines[-2].startswith("commit ")
    assert lines[-1] == f"at block {row['seen_block']}: tempo {row['tempo']}, {row['phase']}"


def test_sent_weights_are_on_the_chain(home: Path, quanta: Quanta) -> None:
    result = quanta("export-weights", LAST, "--send", "--json")
    assert result.exit_code == 0, result.stderr
    row = json.loads(result.stdout)
    assert row["block"] is not None
    assert len(row["salt"]) == 8
    chain = SimulatedChain(next(home.glob("*chain*")), row["netuid"])
    sent = dict(zip(row["uids"], row["weights"], strict=True))
    assert chain.weights(DEVELOPMENT_HOTKEY) == sent


def test_where_nothing_was_scored_nothing_is_exported(quanta: Quanta) -> None:
    result = quanta("export-weights", FIRST, "--send", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "agree on nobody: the chain's weights stand" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("export-weights", SETTLED[-1].next().next().id),
            1,
            "is not recorded|no snapshot|no file",
        ),
        (("export-weights", LAST, "--salt", "1,x"), 2, "numbers separated by commas"),
        (("dispute", "resolve", "7", "--by", "me"), 1, "there is no dispute 7"),
        (("dispute", "evidence", "7"), 1, "there is no dispute 7"),
        (("validator", "run", "--peer", "http://127.0.0.1:9", "--key", "/no"), 1, "no key file"),
    ],
)
def test_what_can_not_be_done_is_said(
    arguments: tuple[str, ...], code: int, says: str, quanta: Quanta
) -> None:
    result = quanta(*arguments)
    assert result.exit_code == code, result.output
    assert any(part in result.output for part in says.split("|")), result.output


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "give --cells FILE or --peer URL"),
        (("--cells", "{good}", "--peer", "http://127.0.0.1:9"), 2, "give --cells FILE or"),
        (("--peer", "http://127.0.0.1:9"), 2, "needs --key FILE"),
        (("--cells", "{good}"), 1, "is taken from"),  # today is years later
        (("--cells", "{empty}", "--at", "{at}"), 1, "no cell is claimed"),
        (("--cells", "{broken}", "--at", "{at}"), 1, "evidence is JSON"),
        (("--cells", "{column}", "--at", "{at}"), 1, "is no column of validated_prices"),
        (("--cells", "{day}", "--at", "{at}"), 1, "is no session of the epoch"),
        (("--cells", "{negative}", "--at", "{at}"), 1, "breaks its contract"),
        (("--cells", "{good}", "--at", "2019-07-28T02:00:00"), 2, "carries its time zone"),
        (("--cells", "{good}", "--at", "{at}", "--by", "5" + "A" * 47), 1, "is no validator"),
        (("--cells", "{good}", "--at", "{at}", "--by", "{other}"), 1, "is this side"),
    ],
)
def test_a_dispute_that_can_not_be_opened_says_why(
    more: tuple[str, ...], code: int, says: str, home: Path, quanta: Quanta, tmp_path: Path
) -> None:
    day, other = f"{SETTLED[-1].sessions[0]}", another_validator(home)
    cell = {"ticker": "AAPL", "where": day, "column": "close", "value": 50.0}
    files = {
        "good": [cell],
        "empty": [],
        "column": [{**cell, "column": "volume"}],
        "day": [{**cell, "where": "2019-01-01"}],
        "negative": [{**cell, "value": -1.0}],
    }
    names = {"at": settles_at(SETTLED[-1]).isoformat(), "other": other}
    for name, cells in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(cells))
        names[name] = str(path)
    (tmp_path / "broken.json").write_text("{")
    names["broken"] = str(tmp_path / "broken.json")
    given = [part.format(**names) for part in more]
    result = quanta("dispute", "open", LAST, "--against", other, "--reason", "so", *given)
    assert result.exit_code == code, result.output
    assert says in result.output


def another_validator(home: Path) -> str:
    results = Lake(str(home / "lake")).read("validator_results", LAST)
    return str(next(name for name in results["validator"] if name != DEVELOPMENT_HOTKEY))
