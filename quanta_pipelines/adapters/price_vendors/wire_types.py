"""What a number, a date and a time on the wire may be, and how a reply is read against that.

Strict: text is no number, a truth value is no number, NaN and infinity are none either. A reply
with one wrong row is refused whole, since whoever sent one wrong row may have sent others.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quanta_pipelines.adapters.price_vendors.errors import (
    ReplyRefused,
    UnknownSymbol,
    VendorClosed,
    VendorError,
    VendorOutage,
)
from quanta_pipelines.adapters.price_vendors.replies import Reply
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.protocol.epoch import sessions_between

T = TypeVar("T")
_SHOWN = 160  # characters of a vendor's own words in a reason
_AHEAD = timedelta(minutes=5)  # that a vendor's clock may run before ours
_OLDEST_QUOTE = datetime(2000, 1, 1, tzinfo=UTC)

_PLAIN_ZERO = AfterValidator(lambda number: number + 0.0)  # zero has one sign, and one set of bytes

Price = Annotated[float, Field(gt=0, le=10_000_000)]  # dollars; the dearest stock stands below 1 m
Bid = Annotated[float, Field(ge=0, le=10_000_000), _PLAIN_ZERO]  # dollars, 0 for none
Shares = Annotated[float, Field(ge=0, le=1e12), _PLAIN_ZERO]
Cash = Annotated[float, Field(ge=0, le=1_000_000), _PLAIN_ZERO]  # dollars a share
Adjusted = Annotated[float, Field(ge=-1e15, le=1e15)]  # a close less all that was paid later
Ratio = Annotated[float, Field(ge=1e-4, le=1e4)]  # new shares for an old one


class Wire(BaseModel):
    """One object of a reply; fields that are not named do not count."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


def parsed(shape: TypeAdapter[T], reply: Reply) -> T:
    """The body of a good reply; raises ``VendorError`` for another status or another shape."""
    refuse_status(reply)
    try:
        return shape.validate_json(reply.body)
    except ValidationError as error:
        refuse_allowance(reply)
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise ReplyRefused(f"{place}: {first['msg']}: {words(reply)}") from None


def refuse_status(reply: Reply) -> None:
    """Raise what a status other than 200 means for this question and for the next."""
    if reply.status == 200:
        return
    said = f"HTTP {reply.status}: {words(reply)}"
    kinds: dict[int, type[VendorError]] = {401: VendorClosed, 429: VendorClosed}
    kind = kinds.get(reply.status, VendorOutage if reply.status >= 500 else ReplyRefused)
    raise kind(said)


def refuse_allowance(reply: Reply) -> None:
    """Raise ``VendorClosed`` where the vendor says, under whatever status, that it is enough."""
    if b"you have run over your" in reply.body.lower():
        raise VendorClosed(f"allowance used up: {words(reply)}")


def words(reply: Reply) -> str:
    """The beginning of what a vendor said, on one line."""
    text = reply.body[: 4 * _SHOWN].decode(errors="replace")
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())[:_SHOWN] or "nothing"


def known(number: float | None) -> float:
    """A number, NaN where the vendor has none."""
    return np.nan if number is None else number


def known_adjusted(number: float | None) -> float:
    """An adjusted close, NaN where the vendor has none or more was paid later than it was worth."""
    return np.nan if number is None or number <= 0.0 else number


def own_ticker(symbol: str, symbols: SymbolMap, asked: Collection[str]) -> str:
    """The ticker of a row; raises ``ReplyRefused`` where nobody asked for it."""
    try:
        ticker = symbols.ticker(symbol)
    except UnknownSymbol as error:
        raise ReplyRefused(str(error)) from None
    if ticker not in asked:
        raise ReplyRefused(f"a row of {ticker}, which was not asked for")
    return ticker


def own_sessions(days: Iterable[date], first: date, last: date) -> list[date]:
    """Days that are sessions of the span, each once, in any order; else ``ReplyRefused``."""
    found = list(days)
    if len(set(found)) < len(found):
        twice = sorted(day for day in set(found) if found.count(day) > 1)
        raise ReplyRefused(f"{twice[0]} comes twice")
    if strangers := sorted(set(found) - set(sessions_between(first, last))):
        raise ReplyRefused(f"{strangers[0]} is no session from {first} to {last}")
    return found


def quote_time(at: datetime, fetched_at: datetime) -> datetime:
    """A price's own time; raises ``ReplyRefused`` for one that lies ahead or before the century."""
    if not _OLDEST_QUOTE <= at <= fetched_at + _AHEAD:
        raise ReplyRefused(f"a price of {at.isoformat()}, fetched {fetched_at.isoformat()}")
    return at
