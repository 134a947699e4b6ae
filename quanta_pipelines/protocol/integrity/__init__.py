"""Integrity: who copies, who gambles, who is one hand behind many names, who votes in concert.

Pure rules over arrays and tables; each gives its verdict and the rows of evidence behind it:
portfolios, sessions, numbers, threshold. How a factor enters a score lives in ``scoring``, how a
case lives and dies in the platform.
"""

from quanta_pipelines.protocol.integrity.active_returns import ActiveReturns, active_returns
from quanta_pipelines.protocol.integrity.cases import CaseState, case_state
from quanta_pipelines.protocol.integrity.collusion import (
    agreements,
    collusion_evidence,
    deviations,
)
from quanta_pipelines.protocol.integrity.contribution import contribution
from quanta_pipelines.protocol.integrity.holdings import Holdings, holdings_of, shared_units
from quanta_pipelines.protocol.integrity.identity import (
    below_least_stake,
    identity_score,
    least_stake_rao,
    percentile_average,
)
from quanta_pipelines.protocol.integrity.originality import originality, originality_table
from quanta_pipelines.protocol.integrity.plagiarism import (
    overlap_log10_chance,
    plagiarism_evidence,
)
from quanta_pipelines.protocol.integrity.precedence import (
    committed_first,
    earlier_matrix,
    first_epochs,
    precedence,
)
from quanta_pipelines.protocol.integrity.similarity import (
    Pairs,
    correlated_blocks,
    correlated_pairs,
    overlapping_blocks,
)
from quanta_pipelines.protocol.integrity.slashing import Slash, offence_numbers, slash
from quanta_pipelines.protocol.integrity.sybil import (
    Clusters,
    cluster_evidence,
    clusters,
    forfeits,
    require_before_opening,
)
from quanta_pipelines.protocol.integrity.variance import (
    variance_factor,
    variance_flag,
    variance_ratio,
    winsorised_variance,
)

__all__ = [
    "ActiveReturns",
    "CaseState",
    "Clusters",
    "Holdings",
    "Pairs",
    "Slash",
    "active_returns",
    "agreements",
    "below_least_stake",
    "case_state",
    "cluster_evidence",
    "clusters",
    "collusion_evidence",
    "committed_first",
    "contribution",
    "correlated_blocks",
    "correlated_pairs",
    "deviations",
    "earlier_matrix",
    "first_epochs",
    "forfeits",
    "holdings_of",
    "identity_score",
    "least_stake_rao",
    "offence_numbers",
    "originality",
    "originality_table",
    "overlap_log10_chance",
    "overlapping_blocks",
    "percentile_average",
    "plagiarism_evidence",
    "precedence",
    "require_before_opening",
    "shared_units",
    "slash",
    "variance_factor",
    "variance_flag",
    "variance_ratio",
    "winsorised_variance",
]
