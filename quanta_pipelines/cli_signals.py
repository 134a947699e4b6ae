"""Commands of a miner: draw a key, commit a portfolio, reveal it when its time has come."""

import datetime as dt
import json
import secrets
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import click

from quanta_pipelines.adapters.hotkey_file import HotkeyPair, UnusableKey, load_key, new_key
from quanta_pipelines.adapters.miner_state import HiddenPortfolio, MinerState
from quanta_pipelines.client import ApiError, QuantaClient, Unreachable
from quanta_pipelines.protocol.commit_reveal import commitment
from quanta_pipelines.protocol.epoch import Epoch, commit_window
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.portfolio import parse_portfolio

FOLDER = Path.home() / ".quanta"
POLL_SECONDS = 30.0

_UNDECIDED = frozenset((408, 429))  # an attempt before this answer may have arrived
_PASSING = frozenset(("too_early", "epoch_not_ready", "unreachable", "rate_limited"))

_key = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=FOLDER / "hotkey.json",
    show_default=True,
    help="File of the hotkey.",
)
_api = click.option(
    "--api",
    default="http://127.0.0.1:8000",
    envvar="QUANTA_API",
    show_default=True,
    help="Address of the service.",
)
_state = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER / "signals",
    show_default=True,
    help="Folder that keeps secrets until they are revealed.",
)
_epoch = click.option("--epoch", "epoch_id", help="The epoch, as 2025-Q4-W48.")
_ante = click.option("--ante", default="10", show_default=True, help="Ante in ALPHA.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (key_group, commit, reveal, signal, submit):
        main.add_command(command)


@click.group("key")
def key_group() -> None:
    """Draw a hotkey, or show the address of one."""


@key_group.command("new")
@click.argument(
    "path", type=click.Path(path_type=Path, dir_okay=False), default=FOLDER / "hotkey.json"
)
@_json
def key_new(path: Path, *, as_json: bool) -> None:
    """Draw a hotkey and write it to PATH, which only you can read."""
    try:
        pair = new_key(path)
    except FileExistsError:
        raise click.ClickException(f"{path} exists: a key is never overwritten") from None
    _say({"hotkey": pair.hotkey, "file": str(path)}, f"{pair.hotkey}\n{path}", as_json=as_json)
    click.echo(
        f"The seed in {path} is the key. There is no other copy and no mnemonic: whoever reads it "
        "can sign for you, and without it your antes are out of reach. Back it up offline.",
        err=True,
    )


@key_group.command("show")
@_key
@_json
def key_show(key_file: Path, *, as_json: bool) -> None:
    """Show the address of a hotkey."""
    pair = _loaded(key_file)
    _say({"hotkey": pair.hotkey}, pair.hotkey, as_json=as_json)


@click.command()
@click.argument("portfolio", type=click.File())
@_epoch
@_ante
@_key
@_api
@_state
@_json
def commit(
    portfolio: TextIO,
    epoch_id: str | None,
    ante: str,
    key_file: Path,
    api: str,
    state: Path,
    *,
    as_json: bool,
) -> None:
    """Commit the weights in PORTFOLIO, a JSON file such as {"AAPL": "0.20", …}.

    The secret is kept in the state folder before anything is sent; `quanta reveal` needs it.
    """
    pair = _loaded(key_file)
    epoch = _chosen(epoch_id)
    positions = _portfolio(portfolio)
    secret = secrets.token_hex(32)
    hidden = HiddenPortfolio(
        hotkey=pair.hotkey,
        epoch_id=epoch.id,
        commitment=commitment(parse_portfolio(positions).hash, secret, pair.hotkey, epoch.id),
        positions=positions,
        secret=secret,
    )
    path = MinerState(state).keep(hidden)
    try:
        with QuantaClient(api, pair) as client:
            receipt = client.commit(epoch.id, hidden.commitment, ante)
    except ApiError as error:
        if 400 <= error.status < 500 and error.status not in _UNDECIDED:
            MinerState(state).settle(hidden, "refused")
        raise click.ClickException(str(error)) from error
    _say(
        {
            "epoch_id": epoch.id,
            "hotkey": pair.hotkey,
            "commitment": receipt.commitment,
            "reveal_window_starts": receipt.reveal_window_starts.isoformat(),
            "expires_at": receipt.expires_at.isoformat(),
            "replaced": receipt.replaced,
            "file": str(path),
        },
        f"{epoch.id} committed: {receipt.commitment}\nreveal between "
        f"{receipt.reveal_window_starts:%Y-%m-%d %H:%M} and {receipt.expires_at:%Y-%m-%d %H:%M} "
        f"UTC\nsecret kept in {path}",
        as_json=as_json,
    )


@click.command()
@_epoch
@_key
@_api
@_state
@click.option("--wait", is_flag=True, help="Wait until every commitment may be revealed.")
@_json
def reveal(
    epoch_id: str | None,
    key_file: Path,
    api: str,
    state: Path,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Reveal what was committed, when its time has come; leaves with 1 when something was not."""
    pair = _loaded(key_file)
    kept = MinerState(state)
    chosen = None if epoch_id is None else _chosen(epoch_id).id
    outcomes = []
    with QuantaClient(api, pair) as client:
        for hidden in kept.pending(pair.hotkey, chosen):
            outcome, detail = _revealed(client, hidden, wait=wait)
            if outcome in ("revealed", "replaced", "expired"):
                kept.settle(hidden, outcome)
            outcomes.append({"epoch_id": hidden.epoch_id, "outcome": outcome, "detail": detail})
    lines = [
        f"{each['epoch_id']} {each['outcome']}" + (each["detail"] and f": {each['detail']}")
        for each in outcomes
    ]
    _say(outcomes, "\n".join(lines) or "nothing to reveal", as_json=as_json)
    if any(each["outcome"] not in ("revealed", "replaced") for each in outcomes):
        sys.exit(1)


@click.command()
@_epoch
@_key
@_api
@_json
def signal(epoch_id: str | None, key_file: Path, api: str, *, as_json: bool) -> None:
    """Show what the service holds of your signal: its state, its escrow, every verdict."""
    pair, epoch = _loaded(key_file), _chosen(epoch_id)
    try:
        with QuantaClient(api, pair) as client:
            own = client.signal(epoch.id)
    except ApiError as error:
        raise click.ClickException(str(error)) from error
    document = {
        "epoch_id": own.epoch_id,
        "state": own.state,
        "commitment": own.commitment,
        "reveal_window_starts": _text(own.reveal_window_starts),
        "expires_at": _text(own.expires_at),
        "ante_rao": str(own.ante_rao),
        "escrow_rao": str(own.escrow_rao),
        "reveals": [{"verdict": each.verdict, "reason": each.reason} for each in own.reveals],
    }
    lines = [
        f"{own.epoch_id} {own.state}: {own.commitment}",
        f"ante {own.ante_rao} rao, of it in escrow {own.escrow_rao}",
        f"reveal from {document['reveal_window_starts']} to {document['expires_at']}",
        *(f"{each.verdict} {each.reason}".rstrip() for each in own.reveals),
    ]
    _say(document, "\n".join(lines), as_json=as_json)


@click.command()
@click.argument("portfolio", type=click.File())
@_epoch
@_ante
@_key
@_api
@_json
def submit(
    portfolio: TextIO,
    epoch_id: str | None,
    ante: str,
    key_file: Path,
    api: str,
    *,
    as_json: bool,
) -> None:
    """Commit and reveal PORTFOLIO in one step: a service in production refuses it."""
    pair, epoch, positions = _loaded(key_file), _chosen(epoch_id), _portfolio(portfolio)
    try:
        with QuantaClient(api, pair) as client:
            number = client.submit(epoch.id, positions, ante)
    except ApiError as error:
        raise click.ClickException(str(error)) from error
    _say({"epoch_id": epoch.id, "signal_id": number}, f"{epoch.id} {number}", as_json=as_json)


def _revealed(client: QuantaClient, hidden: HiddenPortfolio, *, wait: bool) -> tuple[str, str]:
    """What became of a commitment: revealed, replaced, expired, or the error's code and detail.

    Waiting outlasts whatever passes: the time before, a universe that is not fixed yet, a service
    that is away. What it waits for is said on standard error, once each.
    """
    said = ""
    while True:
        try:
            return _attempt(client, hidden), ""
        except ApiError as error:
            passes = error.code in _PASSING or error.status >= 500
            if not (wait and passes):
                return error.code, error.detail
            if str(error) != said:
                said = str(error)
                click.echo(f"{hidden.epoch_id} waits, {said}", err=True)
            pause = POLL_SECONDS if error.retry_after is None else max(error.retry_after, 1.0)
            time.sleep(min(pause, POLL_SECONDS))


def _attempt(client: QuantaClient, hidden: HiddenPortfolio) -> str:
    """One look at what the service holds, and a reveal; a reveal that got no answer is looked up.

    Raises ``ApiError`` where nothing is decided yet.
    """
    held = client.signal(hidden.epoch_id)
    if held.commitment != hidden.commitment:
        return "replaced"
    if held.state in ("revealed", "unrevealed"):
        return "revealed" if held.state == "revealed" else "expired"
    try:
        client.reveal(hidden.epoch_id, hidden.commitment, hidden.positions, hidden.secret)
    except Unreachable:
        if client.signal(hidden.epoch_id).state != "revealed":
            raise
    return "revealed"


def _loaded(path: Path) -> HotkeyPair:
    try:
        return load_key(path)
    except UnusableKey as error:
        raise click.ClickException(str(error)) from error


def _chosen(epoch_id: str | None) -> Epoch:
    """The epoch that is named, else the one whose commit window is open."""
    try:
        if epoch_id is not None:
            return Epoch.parse(epoch_id)
        now = dt.datetime.now(dt.UTC)
        epoch = Epoch.containing(now.date())
        while commit_window(epoch).closes <= now:
            epoch = epoch.next()
        window = commit_window(epoch)
    except ProtocolError as error:
        raise click.UsageError(str(error)) from error
    if window.contains(now):
        return epoch
    raise click.UsageError(
        f"no commit window is open by this machine's clock; that of {epoch} opens "
        f"{window.opens:%Y-%m-%d %H:%M} UTC (--epoch names another)"
    )


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _portfolio(file: TextIO) -> dict[str, str]:
    """Positions as text, checked as far as they can be without the epoch's universe."""
    try:
        read = json.load(file, parse_float=Decimal, parse_int=Decimal)
        if not isinstance(read, dict):
            raise click.ClickException(f"{file.name}: a portfolio maps tickers to weights")
        checked = parse_portfolio(read)
    except (ProtocolError, json.JSONDecodeError) as error:
        raise click.ClickException(f"{file.name}: {error}") from error
    return {ticker: f"{weight:f}" for ticker, weight in checked.positions}


def _say(document: Any, text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(document, indent=2) if as_json else text)
