"""Portfolios: what a miner may submit, how it is hashed, and which one stands in an epoch.

Weights and antes are exact decimals until they are scored or paid. How a portfolio is hidden and
opened lives in ``commit_reveal``; what it earns lives in ``returns``.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidCommitment, InvalidEpoch, InvalidPortfolio
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

RAO = 10**9  # in one token

_TICKER = re.compile(r"[A-Z]{1,5}(\.[A-Z]{1,2})?")
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,30})?")  # no sign, exponent, underscore, NaN

Positions = Mapping[str, Decimal | str] | Iterable[tuple[str, Decimal | str]]

_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "ticker": "object",
    "weight": "float64",
    "submitted_weight": "float64",
    "source_epoch": "object",
    "filled_epochs": "int64",
    "history_epoch": "object",
    "committed_at": "datetime64[ns, UTC]",
}


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Positions that passed ``parse_portfolio``: canonical tickers in order, submitted weights."""

    positions: tuple[tuple[str, Decimal], ...]

    @property
    def text(self) -> str:
        """``AAPL:0.150000|AMZN:...``, the submitted weights as they are hashed."""
        return "|".join(f"{ticker}:{weight:.6f}" for ticker, weight in self.positions)

    @property
    def hash(self) -> str:
        """SHA-256 of ``text``."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()

    @property
    def tickers(self) -> tuple[str, ...]:
        """Tickers in order."""
        return tuple(ticker for ticker, _ in self.positions)

    def scored_weights(self) -> dict[str, float]:
        """Weights divided by their exact sum, each rounded once."""
        total = sum(Fraction(weight) for _, weight in self.positions)
        return {ticker: float(Fraction(weight) / total) for ticker, weight in self.positions}


def canonical_ticker(text: str) -> str:
    """Ticker as the exchange writes it: ``BRK.B`` for ``" brk-b"``."""
    ticker = text.strip().upper().replace("-", ".")
    # Upper case turns some letters outside ASCII into letters inside it
    if not text.isascii() or _TICKER.fullmatch(ticker) is None:
        raise InvalidPortfolio(f"a ticker looks like AAPL or BRK.B, not {text!r}")
    return ticker


def parse_portfolio(
    positions: Positions,
    *,
    universe: Collection[str] | None = None,
    params: ProtocolParams = QUANTA,
) -> Portfolio:
    """Portfolio as submitted, checked against every limit; ``universe`` of None allows any ticker.

    Weights are decimals or their text, never binary floats: 0.1 + 0.2 has no exact hash.
    """
    pairs = positions.items() if isinstance(positions, Mapping) else positions
    weights = [(canonical_ticker(text), _weight(text, value, params)) for text, value in pairs]
    portfolio = Portfolio(tuple(sorted(weights)))
    _check_tickers(portfolio.tickers, universe, params)
    _check_sum(portfolio, params)
    return portfolio


def portfolio_hash(positions: Positions, params: ProtocolParams = QUANTA) -> str:
    """Hash of a portfolio that is within the limits."""
    return parse_portfolio(positions, params=params).hash


def _weight(ticker: str, value: Decimal | str, params: ProtocolParams) -> Decimal:
    limits = params.epoch
    weight = _decimal(value)
    if weight is None:
        raise InvalidPortfolio(f"{ticker}: a weight is a decimal or its text, not {_shown(value)}")
    if not 0 < weight <= limits.max_weight:
        raise InvalidPortfolio(f"{ticker}: weight {weight} outside (0, {limits.max_weight}]")
    rounded = weight.quantize(Decimal(1).scaleb(-limits.weight_decimals))
    if weight != rounded:
        raise InvalidPortfolio(f"{ticker}: {weight} has over {limits.weight_decimals} decimals")
    return rounded


def _check_tickers(
    tickers: tuple[str, ...], universe: Collection[str] | None, params: ProtocolParams
) -> None:
    repeated = [ticker for ticker, times in Counter(tickers).items() if times > 1]
    if repeated:
        raise InvalidPortfolio(f"each ticker stands once, not {', '.join(repeated)}")
    least, most = params.epoch.min_positions, params.epoch.max_positions
    if not least <= len(tickers) <= most:
        raise InvalidPortfolio(f"a portfolio holds {least} to {most} tickers, not {len(tickers)}")
    unknown = [] if universe is None else sorted(set(tickers) - set(universe))
    if unknown:
        raise InvalidPortfolio(f"outside the epoch's universe: {', '.join(unknown)}")


def _check_sum(portfolio: Portfolio, params: ProtocolParams) -> None:
    total = sum((weight for _, weight in portfolio.positions), Decimal(0))
    tolerance = params.epoch.weight_sum_tolerance
    if abs(total - 1) > tolerance:
        raise InvalidPortfolio(f"weights sum to {total}, not to 1 within {tolerance}")


def ante_rao(amount: Decimal | str, params: ProtocolParams = QUANTA) -> int:
    """Ante in rao, from tokens: exact, or refused."""
    least, most = params.tokenomics.minimum_ante, params.tokenomics.maximum_ante
    tokens = _decimal(amount)
    if tokens is None:
        raise InvalidCommitment(f"an ante is a decimal or its text, not {_shown(amount)}")
    if not least <= tokens <= most:
        raise InvalidCommitment(f"an ante is {least} to {most} ALPHA, not {tokens}")
    rao = Fraction(tokens) * RAO
    if rao.denominator != 1:
        raise InvalidCommitment(f"an ante has at most 9 decimals, not {tokens}")
    return rao.numerator


def _decimal(value: Decimal | str) -> Decimal | None:
    """Exact value of a finite decimal or of its plain text, or None."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return None


def _shown(value: object) -> str:
    return f"the {type(value).__name__} {value!r}"


def accepted_positions(reveals: pd.DataFrame, commitments: pd.DataFrame) -> pd.DataFrame:
    """Positions of the accepted reveals, with the moment each was committed.

    Both are tables of one epoch; columns hotkey, ticker, weight (submitted over their sum, rounded
    once), submitted_weight and committed_at, one row per miner and ticker.
    """
    accepted = reveals.loc[reveals["verdict"] == "accepted", ["hotkey", "positions"]]
    parts = [
        (hotkey, *part.split(":"))
        for hotkey, text in zip(accepted["hotkey"], accepted["positions"], strict=True)
        for part in text.split("|")
    ]
    rows = pd.DataFrame(parts, columns=["hotkey", "ticker", "text"], dtype=object)
    # six decimals make whole millionths, whose quotient is the correctly rounded weight
    units = pd.Series([int(text.replace(".", "")) for text in rows["text"]], dtype="int64")
    rows["submitted_weight"] = units / 10**6
    rows["weight"] = units / units.groupby(rows["hotkey"]).transform("sum")
    moments = commitments.set_index("hotkey")["received_at"]
    rows["committed_at"] = rows["hotkey"].map(moments).astype("datetime64[ns, UTC]")
    columns = ["hotkey", "ticker", "weight", "submitted_weight", "committed_at"]
    return rows[columns].sort_values(["hotkey", "ticker"], ignore_index=True)


def standing_portfolios(
    accepted: pd.DataFrame,
    previous: pd.DataFrame | None,
    *,
    epoch: Epoch,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per miner and ticker: what each miner holds in an epoch.

    ``accepted`` has the positions of this epoch's accepted reveals (hotkey, ticker, weight,
    submitted_weight, committed_at); ``previous`` is this table of the epoch before, None at
    genesis. A miner without an accepted portfolio keeps its last one until it has been missing
    for ``max_filled_epochs`` in a row: then its history ends, and its next portfolio starts one.
    """
    before = _typed(pd.DataFrame(columns=list(_COLUMNS))) if previous is None else previous
    _check_previous(before, epoch)
    fresh = accepted.assign(
        source_epoch=epoch.id, filled_epochs=0, history_epoch=_history(accepted, before, epoch)
    )
    missing = before[~before["hotkey"].isin(accepted["hotkey"])]
    filled = missing.assign(filled_epochs=missing["filled_epochs"] + 1)
    kept = filled[filled["filled_epochs"] < params.scoring.max_filled_epochs]
    # Empty frames would lend their types to the others
    parts = [part for part in (fresh, kept) if not part.empty] or [fresh]
    table = pd.concat(parts).assign(epoch_id=epoch.id)
    return _typed(table).sort_values(["hotkey", "ticker"], ignore_index=True)


def _history(accepted: pd.DataFrame, before: pd.DataFrame, epoch: Epoch) -> "pd.Series[str]":
    """Where the unbroken history of each accepted row's miner starts."""
    starts = before.drop_duplicates("hotkey").set_index("hotkey")["history_epoch"]
    return accepted["hotkey"].map(starts).astype("object").fillna(epoch.id)


def _check_previous(before: pd.DataFrame, epoch: Epoch) -> None:
    found = sorted(set(before["epoch_id"]))
    if found and found != [epoch.previous().id]:
        raise InvalidEpoch(f"{epoch} follows on {epoch.previous()}, not on {', '.join(found)}")


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table[list(_COLUMNS)].astype(_COLUMNS)
