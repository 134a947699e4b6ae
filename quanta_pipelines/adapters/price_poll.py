"""One round of questions to all vendors at once; what each answered is stored before the next.

A vendor that fails, comes too late or answers for someone else loses its own quotes and no others.
"""

import datetime as dt
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeAlias

import pandas as pd

from quanta_pipelines.adapters.price_vendors.interface import QUOTE_TYPES, QuoteVendor
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.protocol.errors import InvalidQuotes, ProtocolError

DEADLINE_SECONDS = 10.0

_Answers: TypeAlias = "SimpleQueue[tuple[str, pd.DataFrame | str]]"


@dataclass(frozen=True, slots=True, eq=False)
class Polled:
    """What became of one vendor's answer.

    ``refused`` has the columns of ``QUOTE_TYPES`` and a ``reason``; ``problem`` is empty or says
    why nothing of the answer could be used.
    """

    vendor: str
    new: int = 0
    known: int = 0
    tickers: frozenset[str] = frozenset()
    refused: pd.DataFrame = field(default_factory=lambda: _none_refused())
    problem: str = ""

    def in_words(self) -> str:
        """``tiingo 30 new, 2 known, 1 refused``, or the problem."""
        if self.problem:
            return f"{self.vendor} {self.problem}"
        counts = {"new": self.new, "known": self.known, "refused": len(self.refused)}
        said = [f"{count} {what}" for what, count in counts.items() if count]
        return f"{self.vendor} {', '.join(said) or 'no quote'}"


@dataclass(frozen=True, slots=True)
class Poll:
    """One round: when it began, what was asked for, and the vendors in the order given."""

    began_at: dt.datetime
    tickers: tuple[str, ...]
    vendors: tuple[Polled, ...]

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Tickers for which no vendor had a quote."""
        answered = frozenset[str]().union(*(polled.tickers for polled in self.vendors))
        return tuple(ticker for ticker in self.tickers if ticker not in answered)

    def in_words(self) -> str:
        """The vendors' outcomes in one line, and the tickers that nobody quoted."""
        said = "; ".join(polled.in_words() for polled in self.vendors)
        silent = ", ".join(self.unanswered)
        return f"{said}; no vendor quotes {silent}" if silent else said


def poll(
    vendors: Sequence[QuoteVendor],
    store: QuoteStore,
    tickers: Sequence[str],
    now: dt.datetime,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    under_way: dict[str, threading.Thread] | None = None,
) -> Poll:
    """Asks all vendors at once for all tickers and stores what they answer in time.

    ``now`` is when the round begins. A vendor that has not answered ``deadline_seconds`` later is
    given up; its thread ends with its own timeouts, and what it then answers is not stored. A
    caller that asks again and again hands in the same ``under_way``: a vendor that is still busy
    with an earlier round is then not asked a second time. Raises ``InvalidQuotes`` for two vendors
    of one name; an error of the store itself is raised too.
    """
    names = [vendor.name for vendor in vendors]
    if len(set(names)) < len(names):
        raise InvalidQuotes(f"each vendor is asked once, not {', '.join(sorted(names))}")
    wanted = tuple(sorted(set(tickers)))
    ends = time.monotonic() + deadline_seconds
    answers: _Answers = SimpleQueue()
    running = {} if under_way is None else under_way
    late = f"gave no answer within {deadline_seconds:g} s"
    outcomes = {name: Polled(name, problem="is busy with an earlier round") for name in names}
    for vendor in vendors:
        if (earlier := running.get(vendor.name)) is None or not earlier.is_alive():
            outcomes[vendor.name] = Polled(vendor.name, problem=late)
            running[vendor.name] = _started(vendor, wanted, answers)
    for _ in range(sum(polled.problem == late for polled in outcomes.values())):
        try:
            name, answer = answers.get(timeout=max(ends - time.monotonic(), 0.0))
        except Empty:
            break
        outcomes[name] = _kept(name, answer, wanted, store)
    return Poll(now, wanted, tuple(outcomes[name] for name in names))


def _started(vendor: QuoteVendor, tickers: Sequence[str], answers: _Answers) -> threading.Thread:
    """A thread that asks one vendor; a daemon, so that a vendor that hangs keeps no process."""
    thread = threading.Thread(target=_ask, args=(vendor, tickers, answers), daemon=True)
    thread.start()
    return thread


def _ask(vendor: QuoteVendor, tickers: Sequence[str], answers: _Answers) -> None:
    """Puts a vendor's quotes, or what went wrong, where the round waits for them."""
    try:
        answers.put((vendor.name, vendor.quotes(tickers)))
    except ProtocolError as error:
        answers.put((vendor.name, f"failed: {error}"))
    except Exception as error:  # whatever a vendor's library raises is an outage of that vendor
        # its words may hold the address that was asked, and that the key
        answers.put((vendor.name, f"failed: {type(error).__name__}"))


def _kept(
    name: str, answer: "pd.DataFrame | str", tickers: Sequence[str], store: QuoteStore
) -> Polled:
    """Stores what a vendor answered for itself and for what it was asked."""
    if isinstance(answer, str):
        return Polled(name, problem=answer)
    try:
        foreign = ~(answer["vendor"].eq(name) & answer["ticker"].isin(tickers))
        stored = store.append(answer[~foreign])
    except (KeyError, InvalidQuotes) as error:
        return Polled(name, problem=f"gave no table of quotes: {error}")
    strange = answer.loc[foreign, list(QUOTE_TYPES)].assign(reason="nobody asked for it")
    refused = [table for table in (stored.refused, strange) if not table.empty]
    return Polled(
        vendor=name,
        new=stored.new,
        known=stored.known,
        tickers=frozenset(answer.loc[~foreign, "ticker"]),
        refused=pd.concat(refused, ignore_index=True) if refused else _none_refused(),
    )


def _none_refused() -> pd.DataFrame:
    return pd.DataFrame(columns=[*QUOTE_TYPES, "reason"]).astype(QUOTE_TYPES)
