"""The client and the commands of a miner, against the running service."""

import datetime as dt
import json
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quanta_pipelines.adapters.hotkey_file import HotkeyPair, UnusableKey, load_key, new_key
from quanta_pipelines.cli import main
from quanta_pipelines.client import (
    AlreadyRevealed,
    ApiError,
    Expired,
    QuantaClient,
    TooEarly,
    Unreachable,
    Vote,
)
from quanta_pipelines.protocol.commit_reveal import commitment, verify_signature
from quanta_pipelines.protocol.portfolio import portfolio_hash
from tests.api.conftest import FIVE, HOUR, OPENS, SECRET, W48, Service, key

POSITIONS = dict.fromkeys(FIVE, "0.2")


def client(service: Service, name: str) -> QuantaClient:
    return QuantaClient(service.address, key(name))


def hidden(pair: HotkeyPair) -> str:
    return commitment(portfolio_hash(POSITIONS), SECRET, pair.hotkey, W48.id)


def test_a_week_through_the_client(service: Service) -> None:
    service.at(OPENS - HOUR)
    with client(service, "client") as miner:
        assert miner.key is not None
        claim = hidden(miner.key)
        receipt = miner.commit(W48.id, claim, "12.5")
        assert (receipt.ante_rao, receipt.replaced) == (12_500_000_000, 0)
        assert receipt.reveal_window_starts - receipt.received_at == 14 * HOUR
        service.at(OPENS + HOUR)
        with pytest.raises(TooEarly) as early:
            miner.reveal(W48.id, claim, POSITIONS, SECRET)
        assert early.value.retry_after == pytest.approx(12 * 3600, abs=10)
        service.at(OPENS + 14 * HOUR)
        name = miner.reveal(W48.id, claim, POSITIONS, SECRET)
        own = miner.signal(W48.id)
        assert (own.signal_id, own.state) == (name, "revealed")
        assert own.verdicts == ("too_early", "accepted")
        with pytest.raises(AlreadyRevealed):
            miner.reveal(W48.id, claim, POSITIONS, SECRET)


def test_errors_carry_their_code(service: Service) -> None:
    service.at(OPENS - HOUR)
    with client(service, "codes") as miner:
        with pytest.raises(ApiError) as refusal:
            miner.commit(W48.id, "a" * 63, "50")
        assert (refusal.value.status, refusal.value.code) == (400, "invalid_commitment_length")
        assert miner.key is not None
        service.at(OPENS - 20 * HOUR)
        miner.commit(W48.id, hidden(miner.key), "50")
        service.at(OPENS + 40 * HOUR)
        with pytest.raises(Expired):
            miner.reveal(W48.id, hidden(miner.key), POSITIONS, SECRET)
        with pytest.raises(ApiError, match="epoch_not_ready"):
            miner.submit_weights(W48.id, "c" * 64, [Vote(key("a").hotkey, 10**9, 0.5)])
        with pytest.raises(ApiError, match="unknown_pool"):
            miner.join_pool(key("nobody").hotkey)


def test_reading_needs_no_key(published: Service) -> None:
    with QuantaClient(published.address) as reader:
        board = reader.leaderboard(limit=3)
        assert [entry.rank for entry in board.entries] == [1, 2, 3]
        with pytest.raises(ValueError, match="hotkey"):
            reader.signal(W48.id)


# Retries, against a server that fails as told


class Flaky(BaseHTTPRequestHandler):
    answers: list[int | None]
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        status = self.answers.pop(0)
        if status is None:
            self.connection.close()
            return
        body = json.dumps(
            {"submission_id": 7} if status == 200 else {"code": "store_unavailable", "detail": ""}
        ).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def flaky() -> Iterator[Callable[..., str]]:
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def answering(*answers: int | None) -> str:
        Flaky.answers, Flaky.seen = list(answers), []
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield answering
    server.shutdown()
    server.server_close()


VOTE = [Vote(key("a").hotkey, 10**9, 0.5)]


def test_a_vote_is_repeated_with_a_new_nonce(flaky: Callable[..., str]) -> None:
    with QuantaClient(flaky(503, None, 200), key("repeat")) as validator:
        assert validator.submit_weights(W48.id, "c" * 64, VOTE) == 7
    nonces = {headers["Quanta-Nonce"] for headers in Flaky.seen}
    assert len(nonces) == 3


def test_a_reveal_is_never_repeated(flaky: Callable[..., str]) -> None:
    for answer, kind in ((503, ApiError), (None, Unreachable)):
        miner = QuantaClient(flaky(answer), key("once"))
        with pytest.raises(kind), miner:
            miner.reveal(W48.id, "a" * 64, POSITIONS, SECRET)
        assert len(Flaky.seen) == 1


def test_after_the_last_attempt_the_error_is_raised(flaky: Callable[..., str]) -> None:
    miner = QuantaClient(flaky(503, 503), key("last"), attempts=2)
    with pytest.raises(ApiError, match="store_unavailable"), miner:
        miner.submit_weights(W48.id, "c" * 64, VOTE)
    assert len(Flaky.seen) == 2


def test_what_a_caller_did_wrong_is_not_repeated(flaky: Callable[..., str]) -> None:
    miner = QuantaClient(flaky(401, 200), key("wrong"))
    with pytest.raises(ApiError), miner:
        miner.submit_weights(W48.id, "c" * 64, VOTE)
    assert len(Flaky.seen) == 1


# Key files


def test_a_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "hotkey.json"
    pair = new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).hotkey == pair.hotkey
    assert verify_signature(b"said", load_key(path).sign(b"said"), pair.hotkey)
    with pytest.raises(FileExistsError):
        new_key(path)
    path.chmod(0o644)
    with pytest.raises(UnusableKey, match="chmod 600"):
        load_key(path)


@pytest.mark.parametrize("held", ["", "[]", "{}", '{"secretSeed": "0x12"}', '{"secretSeed": 5}'])
def test_a_file_without_a_key(tmp_path: Path, held: str) -> None:
    path = tmp_path / "hotkey.json"
    path.write_text(held)
    path.chmod(0o600)
    with pytest.raises(UnusableKey, match=r"hotkey\.json"):
        load_key(path)
    with pytest.raises(UnusableKey, match="no key file"):
        load_key(tmp_path / "missing.json")


def test_a_file_of_two_keys(tmp_path: Path) -> None:
    path = tmp_path / "hotkey.json"
    new_key(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "ss58Address": key("other").hotkey}))
    with pytest.raises(UnusableKey) as refusal:
        load_key(path)
    assert document["secretSeed"].removeprefix("0x") not in str(refusal.value)


def test_alices_seed_is_alices_hotkey() -> None:
    # Substrate's public development account //Alice
    seed = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a"
    alice = HotkeyPair.from_seed(bytes.fromhex(seed))
    assert alice.hotkey == "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert seed not in repr(alice)


# Commands


@pytest.fixture
def miner(tmp_path: Path, service: Service) -> Callable[..., Result]:
    """The commands of one miner, with a portfolio, a key and a state folder of its own."""
    (tmp_path / "portfolio.json").write_text(json.dumps(dict.fromkeys(FIVE, 0.2)))
    place = ["--key", str(tmp_path / "hotkey.json"), "--api", service.address]
    kept = ["--state", str(tmp_path / "state"), "--epoch", W48.id]
    assert CliRunner().invoke(main, ["key", "new", str(tmp_path / "hotkey.json")]).exit_code == 0

    def run(command: str, *options: str) -> Result:
        files = [str(tmp_path / "portfolio.json")] if command != "reveal" else []
        folders = kept if command != "submit" else kept[2:]
        return CliRunner().invoke(main, [command, *files, *place, *folders, *options])

    return run


def test_commit_and_reveal_from_the_command_line(
    miner: Callable[..., Result], service: Service, tmp_path: Path
) -> None:
    service.at(OPENS - HOUR)
    said = json.loads(miner("commit", "--json").stdout)
    assert said["hotkey"] == load_key(tmp_path / "hotkey.json").hotkey
    kept = Path(said["file"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    secret = json.loads(kept.read_text())["secret"]

    service.at(OPENS + HOUR)
    early = miner("reveal", "--json")
    assert (early.exit_code, json.loads(early.stdout)[0]["outcome"]) == (1, "too early")

    service.at(OPENS + 14 * HOUR)
    revealed = miner("reveal")
    assert (revealed.exit_code, revealed.stdout) == (0, f"{W48.id} revealed\n")
    assert secret not in revealed.output
    assert not kept.exists()  # set aside, not deleted
    assert kept.with_suffix(".revealed").exists()
    assert miner("reveal").stdout == "nothing to reveal\n"
    reveals = service.store.reveals(W48.id)
    assert list(reveals[reveals["hotkey"] == said["hotkey"]]["verdict"]) == [
        "too_early",
        "accepted",
    ]


def test_reveal_waits_for_its_time(miner: Callable[..., Result], service: Service) -> None:
    service.at(OPENS - HOUR)
    assert miner("commit").exit_code == 0
    service.at(OPENS + 13 * HOUR - dt.timedelta(seconds=2))
    waited = miner("reveal", "--wait")
    assert (waited.exit_code, waited.stdout) == (0, f"{W48.id} revealed\n"), waited.output


def test_a_refused_commitment_is_set_aside(
    miner: Callable[..., Result], service: Service, tmp_path: Path
) -> None:
    service.at(OPENS + HOUR)
    refusal = miner("commit")
    assert refusal.exit_code == 1
    assert "window_closed" in refusal.output
    assert not list((tmp_path / "state").rglob("*.json"))


def test_an_expired_commitment_is_said(miner: Callable[..., Result], service: Service) -> None:
    service.at(OPENS - 20 * HOUR)
    assert miner("commit").exit_code == 0
    service.at(OPENS + 40 * HOUR)
    late = miner("reveal")
    assert (late.exit_code, late.stdout) == (1, f"{W48.id} expired\n")


def test_submit_in_one_step(miner: Callable[..., Result]) -> None:
    assert miner("submit").exit_code == 0
    again = miner("submit")
    assert again.exit_code == 1
    assert "already" in again.output or "contradicts" in again.output


def test_a_portfolio_that_breaks_a_limit_is_not_sent(
    miner: Callable[..., Result], tmp_path: Path
) -> None:
    for held, said in (("{", "Expecting"), ("[]", "maps tickers"), ('{"AAPL": 1}', "outside (0")):
        (tmp_path / "portfolio.json").write_text(held)
        refusal = miner("commit")
        assert refusal.exit_code == 1
        assert said in refusal.output
    assert not (tmp_path / "state").exists()


def test_key_commands(tmp_path: Path) -> None:
    path = str(tmp_path / "hotkey.json")
    made = CliRunner().invoke(main, ["key", "new", path, "--json"])
    assert "no mnemonic" in made.stderr
    seed = json.loads(Path(path).read_text())["secretSeed"]
    assert seed not in made.output
    shown = CliRunner().invoke(main, ["key", "show", "--key", path])
    assert shown.stdout.strip() == json.loads(made.stdout)["hotkey"]
    again = CliRunner().invoke(main, ["key", "new", path])
    assert (again.exit_code, "never overwritten" in again.output) == (1, True)
