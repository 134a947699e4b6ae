"""Why a miner got what it got: every number of an epoch from its commitment to its payout.

Numbers are taken from the epoch's tables and name the row they stand in; what follows from them is
computed by the rules themselves, in ``quanta_pipelines.protocol``. Nothing here decides anything.
"""

from quanta_pipelines.explanation.epoch import (
    ALSO_READ,
    READ,
    NotExplained,
    explain_epoch,
)
from quanta_pipelines.explanation.parts import (
    Counterfactual,
    Explanation,
    Fact,
    RecordLine,
    Source,
    Step,
)

__all__ = [
    "ALSO_READ",
    "READ",
    "Counterfactual",
    "Explanation",
    "Fact",
    "NotExplained",
    "RecordLine",
    "Source",
    "Step",
    "explain_epoch",
]
