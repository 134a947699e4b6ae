"""The client and the commands of a miner, against the running service."""

import datetime as dt
import json
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from quanta_pipelines import cli_signals
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
from tests.api.conftest import (
    FIVE,
    HOUR,
    OPENS,
    SECRET,
    UNIVERSE,
    W48,
    Service,
    key,
    serving,
    settings,
)

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
        files = [str(tmp_path / "portfolio.json")] if command in ("commit", "submit") else []
        folders = kept if command in ("commit", "reveal") else kept[2:]
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
    (outcome,) = json.loads(early.stdout)
    assert (early.exit_code, outcome["outcome"]) == (1, "too_early")
    assert "must be within 2025-11-22T10:00:00+00:00" in outcome["detail"]  # 14 h after 20:00

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


def test_waiting_outlasts_a_universe_that_is_not_fixed_and_a_service_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pause changes one thing in the miner's way; the reveal arrives at the end."""
    monkeypatch.setattr(cli_signals, "POLL_SECONDS", 0.01)
    pair = new_key(tmp_path / "hotkey.json")
    (tmp_path / "portfolio.json").write_text(json.dumps(dict.fromkeys(FIVE, 0.2)))
    with serving(settings(tmp_path / "home")) as running:
        place = ["--key", str(tmp_path / "hotkey.json"), "--api", running.address]
        kept = ["--state", str(tmp_path / "state"), "--epoch", W48.id]
        running.at(OPENS - HOUR)
        portfolio = str(tmp_path / "portfolio.json")
        assert CliRunner().invoke(main, ["commit", portfolio, *place, *kept]).exit_code == 0
        away = True

        def reveal(client: QuantaClient, *args: Any) -> str:
            nonlocal away
            if away:
                away = False
                raise ApiError(503, "store_unavailable", "the store is away", 0)
            return answered(client, *args)

        def sleep(_: float) -> None:
            steps.pop(0)()

        steps = [
            lambda: running.at(OPENS + 14 * HOUR),  # after the store came back: too early
            lambda: None,  # in time, without a universe
            lambda: running.store.fix_universe(W48, UNIVERSE),
        ]
        answered = QuantaClient.reveal
        monkeypatch.setattr(QuantaClient, "reveal", reveal)
        monkeypatch.setattr(cli_signals.time, "sleep", sleep)
        running.at(OPENS + HOUR)
        waited = CliRunner().invoke(main, ["reveal", "--wait", *place, *kept])
        assert (waited.exit_code, waited.stdout) == (0, f"{W48.id} revealed\n"), waited.output
        for reason in ("store_unavailable", "epoch_not_ready"):
            assert waited.stderr.count(reason) == 1
        assert steps == []
        rows = running.store.reveals(W48.id)
        assert list(rows[rows["hotkey"] == pair.hotkey]["verdict"]) == ["accepted"]


def test_a_commitment_of_unknown_fate_is_kept(tmp_path: Path, flaky: Callable[..., str]) -> None:
    new_key(tmp_path / "hotkey.json")
    (tmp_path / "portfolio.json").write_text(json.dumps(dict.fromkeys(FIVE, 0.2)))
    place = ["--key", str(tmp_path / "hotkey.json"), "--state", str(tmp_path / "state")]
    for status, pending in ((500, True), (429, True), (409, False)):
        address = flaky(*[status] * 4)
        options = [*place, "--epoch", W48.id, "--api", address]
        said = CliRunner().invoke(main, ["commit", str(tmp_path / "portfolio.json"), *options])
        assert said.exit_code == 1
        found = list((tmp_path / "state").rglob("*.json"))
        assert bool(found) is pending, status
        for path in found:
            path.unlink()


def test_the_window_that_opens_next_is_named(
    miner: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sunday(dt.datetime):
        """After the half day of 27 November 2026, whose close ended the window of W49."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Sunday":
            return cls(2026, 11, 29, 17, tzinfo=tz)

    monkeypatch.setattr(cli_signals.dt, "datetime", Sunday)
    portfolio, own = str(tmp_path / "portfolio.json"), str(tmp_path / "hotkey.json")
    refusal = CliRunner().invoke(main, ["commit", portfolio, "--key", own])
    assert refusal.exit_code == 2
    # W50 opens with the close of Friday, 4 December, 21:00 UTC; its window 24 hours before
    said = "that of 2026-Q4-W50 opens 2026-12-03 21:00 UTC"
    assert said in " ".join(refusal.output.split())


def test_a_miner_reads_its_verdicts(miner: Callable[..., Result], service: Service) -> None:
    service.at(OPENS - HOUR)
    assert miner("commit", "--ante", "12.5").exit_code == 0
    service.at(OPENS + HOUR)
    assert miner("reveal").exit_code == 1
    shown = miner("signal", "--json")
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert (said["state"], said["ante_rao"], said["escrow_rao"]) == (
        "committed",
        "12500000000",
        "12500000000",
    )
    assert [each["verdict"] for each in said["reveals"]] == ["too_early"]
    assert "must be within" in said["reveals"][0]["reason"]
    assert "too_early received" in miner("signal").stdout


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
