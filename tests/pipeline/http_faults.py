"""What can go wrong between a vendor over HTTP and us, and what three vendors then answer.

Faults of the table (``market_faults``) are served by a replica; those of the wire strike its
replies. What a vendor answers depends on its own faults alone, so each is asked once with each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import combinations_with_replacement
from pathlib import Path

import pandas as pd

from quanta_pipelines.adapters.price_vendors import Outcome, PriceVendor, ask_vendors, raw_rows
from quanta_pipelines.adapters.price_vendors.http import Patience
from quanta_pipelines.protocol.epoch import Epoch
from tests.vendor_replicas.formats import Response, reply
from tests.vendor_replicas.garbling import garbling
from tests.vendor_replicas.server import Fault, Server
from tests.vendor_replicas.tables import table_servers
from tests.vendor_replicas.wired import vendor_at

from .fault_page import ending
from .market_faults import SETTLED, VENDORS, Market, Scenario
from .replica_platform import HURRIED, NOWHERE, PATIENT

DOWN, SLOW_CLOCK, SLOW = "connection refused", "clock three weeks slow", "slow replies"
WIRE = ["ticker", "session", "close", "volume", "dividend", "split"]


def _always(response: Response) -> Callable[[Server], None]:
    return lambda server: server.faults.append(Fault("", lambda _: response))


def _once(response: Response) -> Callable[[Server], None]:
    return lambda server: server.faults.append(Fault("", lambda _: response, times=1))


_TOO_MANY = b'{"detail": "Error: You have run over your hourly request allocation."}'
_CAP = {"detail": "You have run over your 500 symbol look up for this month."}
_HTML = Response(200, b"Internal error, please try again later", {"Content-Type": "text/html"})
_BROKEN = Response(500, b"Internal Server Error")
WIRE_FAULTS: dict[str, Callable[[Server], None]] = {
    "refused key": _always(Response(401, b'{"detail": "Invalid token."}')),
    "429 without Retry-After": _always(Response(429, _TOO_MANY)),
    "429 with Retry-After of an hour": _always(Response(429, _TOO_MANY, {"Retry-After": "3600"})),
    "429 once, Retry-After of a second": _once(Response(429, _TOO_MANY, {"Retry-After": "1"})),
    "500": _always(_BROKEN),
    "500 once, then an answer": _once(_BROKEN),
    "error text under status 200": _always(_HTML),
    "allowance used up under status 200": _always(reply(200, _CAP)),
    "connections reset": lambda server: server.faults.append(Fault("", reset=True)),
    "truncated bodies": lambda server: server.faults.append(Fault("", cut=40)),
    SLOW: lambda server: server.faults.append(Fault("", slow=1.2)),
    "garbage in a fifth of replies": lambda server: setattr(
        server, "garble", garbling(11, server.replica, names_tickers=False)
    ),
}


def duplicated(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    """The subject's row of the split a second time."""
    twice = (rows["ticker"] == market.subject) & (rows["session"] == market.split_day)
    return pd.concat([rows, rows[twice]])


TABLE_FAULTS = {
    name: SETTLED[name]
    for name in SETTLED
    if name not in ("vendor down", "fetch dated before the split")  # over HTTP: DOWN, SLOW_CLOCK
} | {"duplicated rows": duplicated}
FAULTS = (DOWN, *WIRE_FAULTS, *TABLE_FAULTS, SLOW_CLOCK)


def on_the_wire(market: Market, vendor: str, faults: Sequence[str] = ()) -> pd.DataFrame:
    """A vendor's rows on its own basis, with the faults that are those of a table."""
    rows = market.honest(vendor)
    for fault in faults:
        if fault in TABLE_FAULTS:
            rows = TABLE_FAULTS[fault](rows, market)
    return rows[WIRE]


@dataclass(frozen=True)
class Asking:
    """Whom to ask for what: the evening after the market's last session is when."""

    market: Market

    @property
    def last(self) -> date:
        return self.market.truth["session"].max().date()

    @property
    def epoch(self) -> Epoch:
        return Epoch.containing(self.last)

    def clock(self, faults: Sequence[str]) -> Callable[[], datetime]:
        evening = datetime(self.last.year, self.last.month, self.last.day, 3, tzinfo=UTC)
        late = timedelta(days=1 - (21 if SLOW_CLOCK in faults else 0))
        return lambda: evening + late

    @contextmanager
    def vendors(self, faults: Mapping[str, Sequence[str]], home: Path) -> Iterator[list]:
        """The vendors that ``faults`` names, over HTTP, each with its own."""
        tables = {name: on_the_wire(self.market, name, own) for name, own in faults.items()}
        with ExitStack() as stack:
            servers = stack.enter_context(table_servers(tables, adjusted=True))
            yield [self._vendor(name, servers[name], own, home) for name, own in faults.items()]

    def _vendor(self, name: str, server: Server, faults: Sequence[str], home: Path) -> PriceVendor:
        for fault in faults:
            if fault in WIRE_FAULTS:
                WIRE_FAULTS[fault](server)
        patience: Patience = HURRIED if SLOW in faults else PATIENT
        return vendor_at(
            name,
            NOWHERE if DOWN in faults else server.url,
            home,
            clock=self.clock(faults),
            patience=patience,
            watch_list=tuple(sorted(self.market.truth["ticker"].unique())),
        )

    def answers(self, faults: Mapping[str, Sequence[str]], home: Path) -> tuple[Outcome, ...]:
        """What the vendors answer that are asked side by side."""
        with self.vendors(faults, home) as vendors:
            return ask_vendors(vendors, self.epoch, last=self.last)

    def rows(self, outcomes: Sequence[Outcome]) -> pd.DataFrame:
        """The table ``raw_prices`` that they make."""
        return raw_rows(outcomes, self.epoch)


Answers = Mapping[tuple[str, str], Outcome]  # by vendor and fault, "" for none


def all_answers(asking: Asking, home: Path) -> Answers:
    """Every vendor asked once without a fault and once with each."""
    found = {}
    for vendor in VENDORS:
        for number, fault in enumerate(("", *FAULTS)):
            (found[vendor, fault],) = asking.answers(
                {vendor: (fault,) if fault else ()}, home / f"{vendor}-{number}"
            )
    return found


def composed(asking: Asking, answers: Answers, scenario: Scenario) -> pd.DataFrame:
    """``raw_prices`` of a scenario, from what each vendor answers with its fault."""
    faults = dict(scenario.faults)
    return asking.rows([answers[vendor, faults.get(vendor, "")] for vendor in VENDORS])


HEADING = "## Over HTTP\n"
OPENING = """\
Written by [test_http_faults.py](../tests/pipeline/test_http_faults.py). The same three stocks,
served by a local replica of each vendor in its own format, and asked with one retry. The columns
are the rows of {rows} that came from each vendor. A reply that is refused loses its ticker at that
vendor, and says so on `raw_prices`.

### One fault over HTTP

| fault | tiingo | polygon | yahoo | what happened | sessions lost |
| --- | --- | --- | --- | --- | --- |
"""
PAIRS = """
Both faults at one vendor: the other two settle every session, in all pairs.

### Two faults at two vendors over HTTP

What left nothing of any vendor ends alike and stands here as *nothing came*:
{nothing}.
What all three got over stands here as *recovered*: {whole}.
{counted}

| fault | with | what happened | sessions lost |
| --- | --- | --- | --- |
"""
NOTHING, RECOVERED = "nothing came", "recovered"


def kind_of(answers: Answers, fault: str) -> str:
    """The fault, or what stands for it: at every vendor nothing, or all there is, came of it."""
    came = [len(answers[vendor, fault].rows) for vendor in VENDORS]
    if not any(came):
        return NOTHING
    same = [answers[vendor, fault].rows.equals(answers[vendor, ""].rows) for vendor in VENDORS]
    return RECOVERED if all(same) else fault


def http_page(answers: Answers, single: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The part of ``docs/price-faults.md`` about HTTP, from the outcomes of all scenarios."""
    counts = ["lost", "flagged", "near"]
    by_name = single.groupby("faults")[counts].max()
    whole = len(answers[VENDORS[0], ""].rows)
    lines = [HEADING + "\n" + OPENING.format(rows=whole).rstrip()]
    for name in FAULTS:
        came = " | ".join(str(len(answers[vendor, name].rows)) for vendor in VENDORS)
        lost = by_name.loc[name, "lost"]
        lines.append(f"| {name} | {came} | {ending(by_name.loc[name])} | {lost} |")
    kinds = {name: kind_of(answers, name) for name in FAULTS}
    listed = {
        kind: "; ".join(name for name in FAULTS if kinds[name] == kind)
        for kind in (NOTHING, RECOVERED)
    }
    all_of_them = 3 * len(FAULTS) ** 2
    counted = f"Of {all_of_them} pairs at two of the vendors {len(pairs)} differ."
    text = PAIRS.format(nothing=listed[NOTHING], whole=listed[RECOVERED], counted=counted)
    lines.append(text.rstrip())
    named = pairs["faults"].str.split(" + ", regex=False)
    both = named.map(lambda two: " + ".join(sorted(kinds[name] for name in two)))
    worst = pairs.groupby(both)[counts].max()
    order = list(dict.fromkeys(kinds[name] for name in FAULTS))
    for first, second in combinations_with_replacement(order, 2):
        row = worst.loc[" + ".join(sorted((first, second)))]
        lines.append(f"| {first} | {second} | {ending(row)} | {row['lost']} |")
    return "\n".join(lines) + "\n"
