"""Where vendors differ and why: per vendor and ticker for an operator, per cell for a dispute.

Settling does not depend on it. A reason is found by looking at all sessions of a ticker at once,
which one session's rule can not.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.observations import FloatArray, as_traded, asked_vendors
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def classify_disagreement(ratios: FloatArray, params: ProtocolParams = QUANTA) -> str:
    """Why a vendor is apart: ``constant_ratio``, ``varying_ratio`` or ``isolated``.

    ``ratios`` has shape (sessions,): the vendor's closes over the others', oldest first. Sessions
    apart that are never consecutive are isolated prints; a lasting ratio that stays the same is a
    wrong adjustment basis, one that moves is another security.
    """
    tolerance = params.market_data.agreement_bps / 10_000
    apart = np.abs(ratios - 1.0) > tolerance
    if not apart.any():
        raise InvalidPrices(f"none of {ratios.size} ratios is apart by more than {tolerance}")
    if not (apart[1:] & apart[:-1]).any():
        return "isolated"
    level = np.median(ratios[apart])
    same = np.abs(ratios[apart] / level - 1.0) <= tolerance
    return "constant_ratio" if same.all() else "varying_ratio"
