"""Contract of what people read of a settled epoch: why each miner got what it got."""

import pandera.pandas as pa

from data_contracts.columns import STANDINGS, TIERS, Int, hotkey, member, rao, text
from data_contracts.contract import EpochTable


class Explanations(EpochTable, key=("hotkey",)):
    """One row per miner with a portfolio or a commitment: its explanation, ready to be shown."""

    hotkey: str = hotkey()
    standing: str = member(STANDINGS, "How the miner takes part, by the votes first.")
    reason: str = text("Why it is not ranked; empty when it is.")
    rank: Int = pa.Field(ge=1, nullable=True, description="Competition rank on consensus.")
    final_tier: str = member(TIERS, "Tier that was settled.", nullable=True)
    payout_rao: int = rao("Reward less fee, plus the ante that comes back")
    explanation: str = text("What anyone may read, as JSON: steps, counterfactuals, record.")
    for_owner: str = text("What only the miner may read besides, as JSON: steps.")
