"""Integrity: who copies, who gambles, who is one hand behind many names, who votes in concert.

Pure rules over arrays and tables; each gives its verdict and the rows of evidence behind it:
portfolios, sessions, numbers, threshold. How a factor enters a score lives in ``scoring``, how a
case lives and dies in the platform.
"""

from quanta_pipelines.protocol.integrity.active_returns import ActiveReturns, active_returns
from quanta_pipelines.protocol.integrity.case_table import (
    CaseKind,
    NonReveal,
    Suspicion,
    awaiting_decision,
    case_table,
    one_hand,
    open_cases,
    plagiarists,
    suspicions,
    unrevealed,
)
from quanta_pipelines.protocol.integrity.cases import CaseState, case_state
from quanta_pipelines.protocol.integrity.collusion import (
    agreeing_validators,
    agreements,
    collusion_evidence,
    deviations,
)
from quanta_pipelines.protocol.integrity.committed import (
    all_positions,
    committed_positions,
    committed_table,
    ends_of_quarters,
    starts_quarter,
)
from quanta_pipelines.protocol.integrity.contribution import contribution
from quanta_pipelines.protocol.integrity.epoch_view import EpochView, epoch_view
from quanta_pipelines.protocol.integrity.flags_table import (
    EVIDENCE,
    Bonds,
    Opening,
    accusations,
    bonds_of,
    flags_table,
    for_scores,
    further_members,
    score_columns,
)
from quanta_pipelines.protocol.integrity.holdings import Holdings, holdings_of, shared_units
from quanta_pipelines.protocol.integrity.identity import (
    below_least_stake,
    identity_of,
    identity_score,
    least_stake_rao,
    percentile_average,
)
from quanta_pipelines.protocol.integrity.originality import originality, originality_table
from quanta_pipelines.protocol.integrity.overlap import overlapping_blocks
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
)
from quanta_pipelines.protocol.integrity.similarity_table import similarity_table
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
    "EVIDENCE",
    "ActiveReturns",
    "Bonds",
    "CaseKind",
    "CaseState",
    "Clusters",
    "EpochView",
    "Holdings",
    "NonReveal",
    "Opening",
    "Pairs",
    "Slash",
    "Suspicion",
    "accusations",
    "active_returns",
    "agreeing_validators",
    "agreements",
    "all_positions",
    "awaiting_decision",
    "below_least_stake",
    "bonds_of",
    "case_state",
    "case_table",
    "cluster_evidence",
    "clusters",
    "collusion_evidence",
    "committed_first",
    "committed_positions",
    "committed_table",
    "contribution",
    "correlated_blocks",
    "correlated_pairs",
    "deviations",
    "earlier_matrix",
    "ends_of_quarters",
    "epoch_view",
    "first_epochs",
    "flags_table",
    "for_scores",
    "forfeits",
    "further_members",
    "holdings_of",
    "identity_of",
    "identity_score",
    "least_stake_rao",
    "offence_numbers",
    "one_hand",
    "open_cases",
    "originality",
    "originality_table",
    "overlap_log10_chance",
    "overlapping_blocks",
    "percentile_average",
    "plagiarism_evidence",
    "plagiarists",
    "precedence",
    "require_before_opening",
    "score_columns",
    "shared_units",
    "similarity_table",
    "slash",
    "starts_quarter",
    "suspicions",
    "unrevealed",
    "variance_factor",
    "variance_flag",
    "variance_ratio",
    "winsorised_variance",
]
