"""What an epoch leaves each validator with: bonds, dividends, and how its vote stood.

Bonds are the state that one epoch hands to the next; they are rounded when they are published, and
everything that rests on them rests on the rounded ones. The formulas over matrices live in
``yuma`` and ``votes``; how dividends become money in ``settlement``.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.apportion import largest_remainder
from quanta_pipelines.protocol.ballots import placed, voters_of
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.stakes import capped_stakes
from quanta_pipelines.protocol.votes import (
    WEIGHT_UNITS,
    agreement,
    divergence,
    penalised_bonds,
)
from quanta_pipelines.protocol.yuma import dividends, normalised_columns, yuma_by

DECIMALS = 12  # of published bonds and shares: far below a unit, far above a float's last bits

_BONDS = {"epoch_id": "object", "validator": "object", "hotkey": "object", "bond": "float64"}
_RESULTS = {
    "epoch_id": "object",
    "validator": "object",
    "stake_rao": "int64",
    "voted": "bool",
    "stake_share": "float64",
    "stake_cap": "float64",
    "agreement": "float64",
    "divergence": "float64",
    "validator_trust": "float64",
    "dividend_units": "int64",
    "upheld_disputes": "int64",
}


def bonds_table(
    votes: pd.DataFrame,
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    stakes: Mapping[str, int],
    previous: pd.DataFrame | None,
    upheld: Mapping[str, int],
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``ValidatorBonds``: one row per bond above 0, by validator and miner.

    ``stakes`` holds the rao of every eligible validator; who is not among them has no bonds any
    more. ``previous`` is the table of the epoch before, nothing at genesis, less the penalty for
    the disputes that were ``upheld`` against each validator since. A miner without a row in
    ``scores`` has left, and the bonds on it end. An epoch without consensus leaves bonds as they
    are.
    """
    names = sorted(stakes)
    earlier = pd.DataFrame(columns=list(_BONDS)) if previous is None else previous
    stays = earlier["hotkey"].isin(scores["hotkey"])
    miners = sorted({*consensus["hotkey"], *earlier.loc[stays, "hotkey"]})
    old = penalised_bonds(
        _bond_matrix(earlier, names, miners), [upheld.get(name, 0) for name in names], params
    )
    if consensus.empty:
        new = normalised_columns(old) if params.consensus.bond_mode == "yuma1" else old
    else:
        agreed = votes[votes["hotkey"].isin(consensus["hotkey"])]
        given = placed(agreed, names, pd.Series(miners, dtype=object)).weights()
        shares = [_shares(votes, stakes, params)[0].get(name, Fraction(0)) for name in names]
        new = yuma_by(params, given, shares, bonds=old, row_normalise=False).bonds
    return _bond_rows(np.round(new, DECIMALS), names, miners, epoch_id)


def results_table(
    votes: pd.DataFrame,
    consensus: pd.DataFrame,
    bonds: pd.DataFrame,
    *,
    stakes: Mapping[str, int],
    upheld: Mapping[str, int],
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``ValidatorResults``: one row per eligible validator, by hotkey.

    ``dividend_units`` sum to 10^9, or are all 0 where no bond earns anything. Without consensus,
    or for who did not vote, agreement, divergence and trust are NaN.
    """
    names = sorted(stakes)
    shares, cap = _shares(votes, stakes, params) if len(consensus) else ({}, Fraction(0))
    given = placed(votes, names, consensus["hotkey"]).weights()
    agreed = consensus["consensus_weight"].to_numpy(dtype=np.float64)
    voted = np.array([name in set(votes["validator"]) for name in names], dtype=bool)
    units = _dividend_units(bonds, consensus, names, shares, params)
    table = pd.DataFrame(
        {
            "epoch_id": epoch_id,
            "validator": names,
            "stake_rao": [stakes[name] for name in names],
            "voted": voted,
            "stake_share": [_rounded(shares.get(name, Fraction(0))) for name in names],
            "stake_cap": _rounded(cap),
            "agreement": np.round(agreement(given, agreed), DECIMALS),
            "divergence": np.round(divergence(given, agreed), DECIMALS),
            "validator_trust": _trust(given, agreed, voted),
            "dividend_units": units,
            "upheld_disputes": [upheld.get(name, 0) for name in names],
        }
    )
    return table[list(_RESULTS)].astype(_RESULTS)


def dividend_payouts(results: pd.DataFrame, emission_rao: int) -> dict[str, int]:
    """The validators' emission in rao by hotkey, largest remainder; nobody where none is earned."""
    units = dict(zip(results["validator"], results["dividend_units"].tolist(), strict=True))
    if not any(units.values()):
        return {}
    parts = largest_remainder(emission_rao, list(units.values()))
    return dict(zip(units, parts, strict=True))


def _shares(
    votes: pd.DataFrame, stakes: Mapping[str, int], params: ProtocolParams
) -> tuple[dict[str, Fraction], Fraction]:
    """Capped shares of the validators whose votes counted, and the cap that was feasible."""
    voters = voters_of(votes, stakes, params)
    capped = capped_stakes([stakes[name] for name in voters], params)
    return dict(zip(voters, capped.shares, strict=True)), capped.cap


def _dividend_units(
    bonds: pd.DataFrame,
    consensus: pd.DataFrame,
    names: Sequence[str],
    shares: Mapping[str, Fraction],
    params: ProtocolParams,
) -> list[int]:
    """Dividends in units of 10^-9 that sum to 10^9; ties are served by hotkey."""
    earned = dividends(
        _bond_matrix(bonds, names, consensus["hotkey"].tolist()),
        consensus["incentive"].to_numpy(dtype=np.float64),
        [shares.get(name, Fraction(0)) for name in names],
        mode=params.consensus.bond_mode.partition("_")[0],
    )
    fine = np.rint(earned * 10**DECIMALS).astype(np.int64).tolist()
    return largest_remainder(WEIGHT_UNITS, fine) if any(fine) else fine


def _trust(given: FloatArray, agreed: FloatArray, voted: BoolArray) -> FloatArray:
    """What is left of each row after clipping, in whole units; NaN for who did not vote."""
    units = np.rint(np.minimum(given, agreed) * WEIGHT_UNITS).sum(axis=1)
    return np.where(voted & (agreed.size > 0), units / WEIGHT_UNITS, np.nan)


def _bond_matrix(table: pd.DataFrame, names: Sequence[str], miners: Sequence[str]) -> FloatArray:
    """Bonds ``[v, m]``; 0 where there is no row, what others hold has no place."""
    rows = pd.Index(pd.Series(names, dtype=object)).get_indexer(pd.Index(table["validator"]))
    columns = pd.Index(pd.Series(miners, dtype=object)).get_indexer(pd.Index(table["hotkey"]))
    here = (rows >= 0) & (columns >= 0)
    matrix = np.zeros((len(names), len(miners)))
    matrix[rows[here], columns[here]] = table["bond"].to_numpy(dtype=np.float64)[here]
    return matrix


def _bond_rows(
    bonds: FloatArray, names: Sequence[str], miners: Sequence[str], epoch_id: str
) -> pd.DataFrame:
    rows, columns = np.nonzero(bonds)
    table = pd.DataFrame(
        {
            "epoch_id": epoch_id,
            "validator": np.array(names, dtype=object)[rows],
            "hotkey": np.array(miners, dtype=object)[columns],
            "bond": bonds[rows, columns],
        }
    )
    return table.astype(_BONDS)


def _rounded(share: Fraction) -> float:
    return float(round(share, DECIMALS))
