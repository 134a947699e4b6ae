"""Who plays the week, what each sends when, and what the rules say it is answered.

The tables below are read from section 2 of the protocol and from the codes in docs/api.md, not from
the service. Hours count from the moment at which the epoch opens. A commitment made six hours
before may be revealed from 8 hours after it (14 later) to 42 (48 later).
"""

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import requests

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.request_signing import signing_headers
from quanta_pipelines.protocol.commit_reveal import commitment
from quanta_pipelines.protocol.portfolio import portfolio_hash
from quanta_pipelines.simulation.keys import simulated_key

COMMIT, REVEAL = "/v1/signals/commit", "/v1/signals/reveal"
ANTE = "50"
WEAK = "ab" * 16  # long enough, of two characters where eight are due
KNOWN = 64  # players that are miners of the settled epochs, so that they may be ranked


@dataclass(frozen=True)
class Step:
    """One request: when, what, how it is spoiled, and the answer that is due."""

    hours: float
    route: str
    status: int
    code: str = ""  # of the problem
    verdict: str = ""  # of the row that a reveal leaves
    how: str = ""


def commits(hours: float = -6, status: int = 200, code: str = "", *, how: str = "") -> Step:
    return Step(hours, COMMIT, status, code, how=how)


def reveals(
    hours: float = 10,
    status: int = 200,
    code: str = "",
    *,
    how: str = "",
    verdict: str | None = None,
) -> Step:
    found = ("accepted" if status == 200 else code) if verdict is None else verdict
    return Step(hours, REVEAL, status, code, found, how)


@dataclass(frozen=True)
class Kind:
    """A way to play, and where it leaves the signal."""

    steps: tuple[Step, ...]
    ends: str  # as GET /v1/signals/{epoch}/{hotkey} says; "absent" for 404
    replaced: int = 0


KINDS: dict[str, Kind] = {
    "honest": Kind((commits(), reveals()), "revealed"),
    "at the last minutes": Kind((commits(), reveals(41.9)), "revealed"),
    "at the opening": Kind((commits(-20), reveals(0.1)), "revealed"),
    "early": Kind((commits(), reveals(7.9, 425, "too_early"), reveals()), "revealed"),
    "late": Kind((commits(), reveals(42.1, 410, "expired")), "unrevealed"),
    "twice": Kind((commits(), reveals(), reveals(11, 409, "already_revealed")), "revealed"),
    "mistyped secret": Kind(
        (commits(), reveals(10, 400, "hash_mismatch", how="wrong secret"), reveals(11)), "revealed"
    ),
    "someone else's commitment": Kind(
        (commits(), reveals(10, 404, "unknown_commitment", how="other commitment"), reveals(11)),
        "revealed",
    ),
    "tampered weights": Kind(
        (commits(), reveals(10, 400, "hash_mismatch", how="tampered weights")), "unrevealed"
    ),
    "replaces": Kind(
        (
            commits(-10, how="older"),
            commits(-6),
            commits(-5, 409, "replaced", how="older"),
            reveals(10, 404, "unknown_commitment", how="older"),
            reveals(11),
        ),
        "revealed",
        replaced=1,
    ),
    "copies the commitment": Kind(
        # the same bytes stand, but the hotkey is hashed with them, so they never open
        (commits(-5, how="victim"), reveals(30, 400, "hash_mismatch", how="victim")),
        "unrevealed",
    ),
    "copies the portfolio": Kind(
        # a copy that is committed in time is taken: it is integrity that judges it, not the intake
        (commits(how="copy"), reveals(how="copy")),
        "revealed",
    ),
    "replays its commitment": Kind(
        (commits(), commits(-5.9, 409, "replayed_nonce", how="replay"), reveals()), "revealed"
    ),
    "replays its reveal": Kind(
        (commits(), reveals(), reveals(10.1, 409, "replayed_nonce", how="replay", verdict="")),
        "revealed",
    ),
    "stale timestamp": Kind((commits(-6, 401, "stale_timestamp", how="-301 s"),), "absent"),
    "timestamp ahead": Kind(
        (commits(-6, 401, "stale_timestamp", how="+330 s"), commits(-5), reveals(11)), "revealed"
    ),
    "in another's name": Kind((commits(-5, 403, "not_the_signer", how="forged"),), "absent"),
    "changed on its way": Kind((commits(-6, 401, "bad_signature", how="tampered"),), "absent"),
    "after the close": Kind((commits(0.05, 409, "window_closed"),), "absent"),
    "before the window": Kind((commits(-24.1, 409, "window_closed"),), "absent"),
    "one heavy weight": Kind(
        (commits(), reveals(10, 422, "invalid_portfolio", how="heavy")), "unrevealed"
    ),
    "four tickers": Kind(
        (commits(), reveals(10, 422, "invalid_portfolio", how="few")), "unrevealed"
    ),
    "outside the universe": Kind(
        (commits(), reveals(10, 422, "invalid_portfolio", how="foreign")), "unrevealed"
    ),
    "weights of 0.998": Kind(
        (commits(), reveals(10, 422, "invalid_portfolio", how="short sum")), "unrevealed"
    ),
    "a hash of its own": Kind(
        (commits(), reveals(10, 400, "hash_mismatch", how="wrong hash"), reveals(11)), "revealed"
    ),
    "a guessable secret": Kind(
        (commits(how="weak"), reveals(10, 400, "hash_mismatch", how="weak")), "unrevealed"
    ),
    "a small ante": Kind(
        (commits(-7, 400, "ante_below_minimum", how="9.99"), commits(), reveals()), "revealed"
    ),
    "silent": Kind((commits(),), "unrevealed"),
}


@dataclass
class Player:
    """A miner of a kind, with a real key."""

    number: int
    kind: str
    epoch_id: str
    universe: tuple[str, ...]
    victim: "Player | None" = None
    answers: list[tuple[Step, requests.Response]] = field(default_factory=list)
    _last: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # the seed of the season's miner with this number, or of nobody who was there before
        name = f"miner {self.number:02d}" if self.number < KNOWN else f"week {self.number}"
        seed = hashlib.sha256(f"quanta/simulation/key/{name}".encode()).digest()
        self.pair = HotkeyPair.from_seed(seed)
        assert self.pair.hotkey == simulated_key(name).hotkey

    @property
    def hotkey(self) -> str:
        return self.pair.hotkey

    def positions(self) -> dict[str, str]:
        """Eight tickers, not the same for any two neighbours; 0.125 each."""
        order = sorted(
            self.universe,
            key=lambda ticker: hashlib.sha256(f"{ticker}{self.number}".encode()).digest(),
        )
        return dict.fromkeys(order[:8], "0.125000")

    def secret(self, what: str = "") -> str:
        return hashlib.sha256(f"week/{self.number}/{what}".encode()).hexdigest()

    def hidden(self, how: str = "") -> str:
        """The commitment that this player sends."""
        if how == "victim":
            return self._victim.hidden()
        if how == "weak":  # nobody but a miner with a program of its own gets this far
            return hashlib.sha256(WEAK.encode()).hexdigest()
        positions = self._victim.positions() if how == "copy" else self.positions()
        secret = self.secret("older" if how == "older" else "")
        return commitment(portfolio_hash(positions), secret, self.hotkey, self.epoch_id)

    @property
    def _victim(self) -> "Player":
        assert self.victim is not None
        return self.victim

    def commit_body(self, how: str) -> dict[str, Any]:
        return {
            "commitment": self.hidden(how),
            "miner_hotkey": self._victim.hotkey if how == "forged" else self.hotkey,
            "epoch_id": self.epoch_id,
            "ante_amount": "9.99" if how == "9.99" else ANTE,
        }

    def reveal_body(self, how: str) -> dict[str, Any]:
        owner = self._victim if how in ("victim", "copy") else self
        positions = spoiled(owner.positions(), how)
        secrets_of = {
            "victim": owner.secret(),
            "older": self.secret("older"),
            "weak": WEAK,
            "wrong secret": self.secret("typo"),
        }
        named = self._victim.hidden() if how == "other commitment" else self.hidden(how)
        signal = {
            "epoch_id": self.epoch_id,
            "miner_hotkey": self.hotkey,
            "positions": [{"ticker": name, "weight": w} for name, w in positions.items()],
            **({"portfolio_hash": "0" * 64} if how == "wrong hash" else {}),
        }
        return {"commitment": named, "signal": signal, "secret": secrets_of.get(how, self.secret())}

    def send(self, address: str, step: Step) -> None:
        """Sends a step's request and keeps the answer."""
        if step.how == "replay":
            data, headers = self._last[step.route]
        else:
            data, headers = self._request(step)
            self._last[step.route] = (data, headers)
        if step.how == "tampered":
            data = data.replace(b'"50"', b'"51"')
        answer = requests.post(address + step.route, data=data, headers=headers, timeout=60)
        self.answers.append((step, answer))

    def _request(self, step: Step) -> tuple[bytes, dict[str, str]]:
        make = self.commit_body if step.route == COMMIT else self.reveal_body
        data = json.dumps(make(step.how)).encode()
        shift = {"-301 s": -302, "+330 s": 330}.get(step.how, 0)
        headers = signing_headers(
            hotkey=self.hotkey,
            sign=self.pair.sign,
            method="POST",
            target=step.route,
            body=data,
            timestamp=int(time.time()) + shift,
            nonce=secrets.token_urlsafe(24),
        )
        return data, {"Content-Type": "application/json", **headers}

    def due(self) -> Kind:
        return KINDS[self.kind]


def spoiled(positions: dict[str, str], how: str) -> dict[str, str]:
    """Eight weights of 0.125 with something wrong about them, or as they are."""
    first, second, *rest = positions
    changes: dict[str, dict[str, str]] = {
        "tampered weights": {**positions, first: "0.120000", second: "0.130000"},
        "heavy": {**positions, first: "0.200001", second: "0.049999"},
        "few": dict.fromkeys((first, second, *rest[:2]), "0.200000"),
        "foreign": {**dict.fromkeys((second, *rest), "0.125000"), "ZZZZ": "0.125000"},
        "short sum": {**positions, first: "0.123000"},
    }
    return changes.get(how, positions)


def players(count: int, epoch_id: str, universe: tuple[str, ...]) -> list[Player]:
    """So many players; kinds take turns, and whoever needs a victim takes the first honest one."""
    kinds = list(KINDS)
    made = [Player(n, kinds[n % len(kinds)], epoch_id, universe) for n in range(count)]
    for player in made[1:]:
        player.victim = made[0]
    return made
