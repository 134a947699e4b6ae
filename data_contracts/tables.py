"""All contracts by stage, in the order in which an epoch runs."""

import re

from data_contracts.consensus import (
    Consensus,
    ValidatorBonds,
    ValidatorCollusion,
    ValidatorResults,
    ValidatorWeights,
)
from data_contracts.contract import EpochTable
from data_contracts.explanations import Explanations
from data_contracts.integrity import IntegrityCases, IntegrityFlags, PortfolioSimilarity
from data_contracts.market_data import PriceCorrections, RawPrices, ValidatedPrices
from data_contracts.rewards import LedgerEntries, Participants, PoolPayouts, Rewards
from data_contracts.scoring import (
    HorizonMetrics,
    PortfolioReturns,
    ProvisionalScores,
    ScoreIntervals,
    Scores,
)
from data_contracts.signals import Commitments, CommittedPortfolios, Portfolios, Reveals

STAGES: dict[str, tuple[type[EpochTable], ...]] = {
    "market_data": (RawPrices, PriceCorrections, ValidatedPrices),
    "signals": (Commitments, Reveals, Portfolios, CommittedPortfolios),
    "scoring": (PortfolioReturns, HorizonMetrics, ScoreIntervals, Scores),
    "integrity": (PortfolioSimilarity, IntegrityFlags, IntegrityCases),
    "consensus": (
        ValidatorWeights,
        ValidatorCollusion,
        Consensus,
        ValidatorBonds,
        ValidatorResults,
    ),
    "rewards": (Rewards, LedgerEntries, PoolPayouts, Participants),
}


def table_name(contract: type[EpochTable]) -> str:
    """Name of the table and asset: ``HorizonMetrics`` is ``horizon_metrics``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", contract.__name__).lower()


# What a running epoch shows; nothing else reads it, and a settled epoch does without.
PROVISIONAL = {table_name(ProvisionalScores): ProvisionalScores}

# What people read of a settled epoch; written with the marts, and nothing is settled on it.
FOR_PEOPLE = {table_name(Explanations): Explanations}

CONTRACTS = {table_name(contract): contract for stage in STAGES.values() for contract in stage}
TABLES: dict[str, type[EpochTable]] = {**CONTRACTS, **PROVISIONAL, **FOR_PEOPLE}
STAGE_OF = {table_name(contract): name for name, stage in STAGES.items() for contract in stage}
STAGE_OF |= dict.fromkeys(PROVISIONAL, "scoring") | dict.fromkeys(FOR_PEOPLE, "marts")
