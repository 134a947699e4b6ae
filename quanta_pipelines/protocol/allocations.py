"""What each miner of a settled epoch gets, kept column by column.

An object per miner would cost tens of thousands of them more than the arithmetic behind them, and
as much again when garbage is looked for. A row is made when somebody asks for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

from quanta_pipelines.protocol.ranking import PerformanceTier


class Allocation(NamedTuple):
    """What one miner gets back and what it earns; rank and tiers are those of ranked miners."""

    hotkey: str
    standing: str
    eligible: bool
    rank: int | None
    tier: PerformanceTier | None
    final_tier: PerformanceTier | None
    weight: float  # share of the winners' pool
    ante_rao: int
    gross_rao: int
    fee_rao: int
    payout_rao: int
    ante_returned_rao: int
    ante_burned_rao: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocations(Sequence[Allocation]):
    """Rows of ``Allocation``; every column has one value per row, in the same order."""

    hotkey: Sequence[str]
    standing: Sequence[str]
    eligible: Sequence[bool]
    rank: Sequence[int | None]
    tier: Sequence[PerformanceTier | None]
    final_tier: Sequence[PerformanceTier | None]
    weight: Sequence[float]
    ante_rao: Sequence[int]
    gross_rao: Sequence[int]
    fee_rao: Sequence[int]
    payout_rao: Sequence[int]
    ante_returned_rao: Sequence[int]
    ante_burned_rao: Sequence[int]

    def __len__(self) -> int:
        return len(self.hotkey)

    def __iter__(self) -> Iterator[Allocation]:
        columns = (getattr(self, name) for name in Allocation._fields)
        return map(Allocation._make, zip(*columns, strict=True))

    @overload
    def __getitem__(self, at: int) -> Allocation: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Allocation, ...]: ...

    def __getitem__(self, at: int | slice) -> Allocation | tuple[Allocation, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        return Allocation._make(getattr(self, name)[at] for name in Allocation._fields)
