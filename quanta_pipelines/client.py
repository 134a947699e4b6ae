"""A client of the service: signs with a hotkey, retries what may be repeated, raises by code.

What is repeated: reads, commitments, votes and memberships, on a lost connection, 429 and 503; each
attempt has a nonce of its own. A reveal is never repeated by itself: ``signal`` tells whether it
arrived.
"""

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.request_signing import signing_headers

_WAIT_AT_MOST = 30.0  # seconds between two attempts
_REPEATED = frozenset((429, 503))


class ApiError(RuntimeError):
    """An answer that is no success; ``code`` says which."""

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class TooEarly(ApiError):
    """A reveal before its time; ``retry_after`` says how long to wait."""


class AlreadyRevealed(ApiError):
    """The epoch's reveal was accepted before."""


class Expired(ApiError):
    """A commitment that can no longer be revealed."""


class Unreachable(ApiError):
    """No answer came: whether the request arrived is not known."""


_BY_CODE = {"too_early": TooEarly, "already_revealed": AlreadyRevealed, "expired": Expired}


@dataclass(frozen=True, slots=True)
class Receipt:
    """When a commitment may be revealed, and what stands in escrow for it."""

    commitment: str
    epoch_id: str
    received_at: dt.datetime
    reveal_window_starts: dt.datetime
    expires_at: dt.datetime
    replaced: int
    ante_rao: int


@dataclass(frozen=True, slots=True)
class OwnReveal:
    """What was said of one attempt to reveal; the reason is empty for an accepted one."""

    commitment: str
    received_at: dt.datetime
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class OwnSignal:
    """What the service holds of a miner's signal for an epoch."""

    signal_id: str
    epoch_id: str
    state: str
    commitment: str | None
    reveal_window_starts: dt.datetime | None
    expires_at: dt.datetime | None
    ante_rao: int
    escrow_rao: int
    reveals: tuple[OwnReveal, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdicts alone, the oldest first."""
        return tuple(each.verdict for each in self.reveals)


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of the leaderboard."""

    rank: int
    hotkey: str
    composite: float | None
    tier: str
    eligible: bool
    reward_rao: int
    payout_rao: int


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A page of an epoch's ranking."""

    epoch_id: str
    total_miners: int
    median_score: float | None
    entries: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """A validator's cell for one miner."""

    hotkey: str
    weight_units: int
    composite: float
    max_drawdown_7d: float | None = None
    max_drawdown_30d: float | None = None
    max_drawdown_90d: float | None = None


@dataclass
class QuantaClient:
    """One service, and the hotkey that signs; without one only public reads are possible."""

    address: str
    key: HotkeyPair | None = None
    timeout: float = 30.0
    attempts: int = 4
    _session: requests.Session = field(init=False, repr=False, default_factory=requests.Session)

    def __enter__(self) -> "QuantaClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    def commit(self, epoch_id: str, commitment: str, ante: Decimal | str) -> Receipt:
        """Commits for an epoch; the same commitment again gives the same receipt."""
        body = {
            "commitment": commitment,
            "miner_hotkey": self._own,
            "epoch_id": epoch_id,
            "ante_amount": str(ante),
        }
        got = self._ask("POST", "/v1/signals/commit", body)
        return Receipt(
            commitment=got["commitment"],
            epoch_id=got["epoch_id"],
            received_at=_moment(got["received_at"]),
            reveal_window_starts=_moment(got["reveal_window_starts"]),
            expires_at=_moment(got["expires_at"]),
            replaced=got["replaced"],
            ante_rao=int(got["ante_rao"]),
        )

    def reveal(
        self, epoch_id: str, commitment: str, positions: Mapping[str, Decimal | str], secret: str
    ) -> str:
        """Reveals a portfolio; returns the signal's id. May raise ``TooEarly``."""
        body = {
            "commitment": commitment,
            "signal": {
                "epoch_id": epoch_id,
                "miner_hotkey": self._own,
                "positions": _positions(positions),
            },
            "secret": secret,
        }
        return str(self._ask("POST", "/v1/signals/reveal", body, repeat=False)["signal_id"])

    def submit(
        self, epoch_id: str, positions: Mapping[str, Decimal | str], ante: Decimal | str
    ) -> str:
        """Commits and reveals in one step, in development; returns the signal's id."""
        body = {
            "epoch_id": epoch_id,
            "miner_hotkey": self._own,
            "positions": _positions(positions),
            "ante_amount": str(ante),
        }
        return str(self._ask("POST", "/v1/signals/submit", body, repeat=False)["signal_id"])

    def signal(self, epoch_id: str) -> OwnSignal:
        """The own commitment for an epoch and the verdicts on its reveals."""
        got = self._ask("GET", f"/v1/signals/{epoch_id}/{self._own}")
        return OwnSignal(
            signal_id=got["signal_id"],
            epoch_id=got["epoch_id"],
            state=got["state"],
            commitment=got["commitment"],
            reveal_window_starts=_optional(got["reveal_window_starts"]),
            expires_at=_optional(got["expires_at"]),
            ante_rao=int(got["ante_rao"]),
            escrow_rao=int(got["escrow_rao"]),
            reveals=tuple(
                OwnReveal(
                    commitment=each["commitment"],
                    received_at=_moment(each["received_at"]),
                    verdict=each["verdict"],
                    reason=each["reason"],
                )
                for each in got["reveals"]
            ),
        )

    def submit_weights(
        self,
        epoch_id: str,
        data_hash: str,
        votes: Sequence[Vote],
        price_sources: Sequence[str] = (),
    ) -> int:
        """Votes for an epoch; returns the submission's number. The same vote again gives it too."""
        cells = [
            {
                "miner_hotkey": vote.hotkey,
                "weight_units": vote.weight_units,
                "composite": vote.composite,
                "max_drawdown_7d": vote.max_drawdown_7d,
                "max_drawdown_30d": vote.max_drawdown_30d,
                "max_drawdown_90d": vote.max_drawdown_90d,
            }
            for vote in votes
        ]
        body = {
            "validator_hotkey": self._own,
            "epoch_id": epoch_id,
            "data_hash": data_hash,
            "price_sources": list(price_sources),
            "weights": cells,
        }
        return int(self._ask("POST", "/v1/validators/weights", body)["submission_id"])

    def epoch_record(self, epoch_id: str, part: str) -> Any:
        """What a validator is shown of an epoch: its ``opening``, ``signals`` or ``prices``."""
        return self._ask("GET", f"/v1/validators/epochs/{epoch_id}/{part}")

    def join_pool(self, operator: str) -> tuple[str, ...]:
        """Joins a pool; returns its members."""
        got = self._ask("POST", f"/v1/pools/{operator}/members", {"member_hotkey": self._own})
        return tuple(got["members"])

    def leave_pool(self, operator: str) -> tuple[str, ...]:
        """Leaves a pool; returns its members."""
        got = self._ask("DELETE", f"/v1/pools/{operator}/members/{self._own}")
        return tuple(got["members"])

    def leaderboard(
        self,
        epoch_id: str | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
        tier: str | None = None,
    ) -> Leaderboard:
        """A page of an epoch's ranking, the last settled one where none is named."""
        asked = {"epoch_id": epoch_id, "limit": limit, "offset": offset, "tier": tier}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        got = self._ask("GET", f"/v1/leaderboard?{query}", signed=False)
        entries = (
            Standing(
                rank=row["rank"],
                hotkey=row["miner_hotkey"],
                composite=row["composite_score"],
                tier=row["performance_tier"],
                eligible=row["eligible"],
                reward_rao=int(row["reward_rao"]),
                payout_rao=int(row["payout_rao"]),
            )
            for row in got["entries"]
        )
        return Leaderboard(
            got["epoch_id"], got["total_miners"], got["median_score"], tuple(entries)
        )

    @property
    def _own(self) -> str:
        if self.key is None:
            raise ValueError("this needs a hotkey: QuantaClient(address, key)")
        return self.key.hotkey

    def _ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeat: bool = True,
        signed: bool = True,
    ) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        for attempt in range(1, self.attempts + 1):
            try:
                return self._once(method, target, data, signed=signed)
            except ApiError as error:
                again = isinstance(error, Unreachable) or error.status in _REPEATED
                if not (repeat and again) or attempt == self.attempts:
                    raise
                pause = 0.25 * 2**attempt if error.retry_after is None else error.retry_after
                time.sleep(min(pause, _WAIT_AT_MOST))
        raise ValueError(f"attempts is at least 1, not {self.attempts}")

    def _once(self, method: str, target: str, data: bytes, *, signed: bool) -> Any:
        headers = {"Content-Type": "application/json"} if data else {}
        if signed and self.key is not None:
            headers |= signing_headers(
                hotkey=self.key.hotkey,
                sign=self.key.sign,
                method=method,
                target=urlsplit(self.address).path.rstrip("/") + target,
                body=data,
                timestamp=int(time.time()),
            )
        url = self.address.rstrip("/") + target
        try:
            answer = self._session.request(
                method, url, data=data or None, headers=headers, timeout=self.timeout
            )
        except requests.RequestException as error:
            raise Unreachable(0, "unreachable", type(error).__name__, None) from error
        if answer.ok:
            return answer.json()
        raise _error(answer)


def _error(answer: requests.Response) -> ApiError:
    """The error that an answer is, whoever sent it: a proxy's has no code."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = str(problem.get("code", f"http_{answer.status_code}"))
    detail = str(problem.get("detail", answer.reason))
    wait = answer.headers.get("Retry-After", "")
    kind = _BY_CODE.get(code, ApiError)
    return kind(answer.status_code, code, detail, float(wait) if wait.isdigit() else None)


def _positions(positions: Mapping[str, Decimal | str]) -> list[dict[str, str]]:
    return [
        {"ticker": ticker, "weight": f"{weight:f}" if isinstance(weight, Decimal) else weight}
        for ticker, weight in positions.items()
    ]


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _optional(text: str | None) -> dt.datetime | None:
    return None if text is None else _moment(text)
