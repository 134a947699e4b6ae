"""Table ``IntegrityFlags``: what integrity says of each miner, and the numbers behind it.

Factors and standings that follow from it live in ``scoring``, what an operator decides in
``case_table``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.integrity.contribution import contribution
from quanta_pipelines.protocol.integrity.epoch_view import EpochView, epochs_named
from quanta_pipelines.protocol.integrity.holdings import NEVER, UNITS, shared_units
from quanta_pipelines.protocol.integrity.identity import below_least_stake, least_stake_rao
from quanta_pipelines.protocol.integrity.originality import originality_table
from quanta_pipelines.protocol.integrity.precedence import first_epochs
from quanta_pipelines.protocol.integrity.similarity_table import HOLDINGS
from quanta_pipelines.protocol.integrity.sybil import Clusters, clusters, require_before_opening
from quanta_pipelines.protocol.integrity.variance import variance_factor, variance_ratio
from quanta_pipelines.protocol.metrics import FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.ranking import Standing

FLAG_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "originality": "float64",
    "correlation": "float64",
    "correlation_threshold": "float64",
    "earlier_hotkey": "object",
    "earlier_since_epoch": "object",
    "own_since_epoch": "object",
    "shared_weight": "float64",
    "active_sessions": "int64",
    "first_session": "datetime64[ns]",
    "last_session": "datetime64[ns]",
    "active_reason": "object",
    "variance_ratio": "float64",
    "variance_threshold": "float64",
    "variance_factor": "float64",
    "variance_high_epochs": "int64",
    "variance_flag": "bool",
    "cluster_id": "object",
    "cluster_size": "int64",
    "cluster_member": "bool",
    "cluster_link": "object",
    "cluster_other": "object",
    "cluster_correlation": "float64",
    "cluster_threshold": "float64",
    "cluster_sessions": "int64",
    "cluster_last_session": "datetime64[ns]",
    "plagiarism_suspected": "bool",
    "suspected_of": "object",
    "suspect_epochs": "int64",
    "suspect_threshold": "int64",
    "contribution": "float64",
    "stake_rao": "Int64",
    "least_stake_rao": "Int64",
    "below_least_stake": "bool",
}


# What people see of a flag: whose portfolios, since when, which sessions, numbers and thresholds
EVIDENCE = (
    *("hotkey", "originality", "correlation", "correlation_threshold", "earlier_hotkey"),
    *("earlier_since_epoch", "own_since_epoch", "shared_weight"),
    *("active_sessions", "first_session", "last_session"),
    *("variance_factor", "variance_ratio", "variance_threshold", "variance_high_epochs"),
    *("variance_flag", "cluster_id", "cluster_size", "cluster_member", "cluster_link"),
    *("cluster_other", "cluster_correlation", "cluster_threshold", "cluster_sessions"),
    *("cluster_last_session", "plagiarism_suspected", "suspected_of", "suspect_epochs"),
    *("suspect_threshold", "stake_rao", "least_stake_rao", "below_least_stake"),
)


@dataclass(frozen=True, slots=True)
class Bonds:
    """What miners have bonded at ``opens_at``, and the rewards that S_min rests on.

    Without any bond that was recorded nobody's stake is known, and nobody is below S_min.
    """

    stakes_rao: Mapping[str, int] = field(default_factory=dict)
    net_rewards_rao: Sequence[int] = ()  # of the last epochs, oldest first
    ranked: Sequence[int] = ()

    @property
    def known(self) -> bool:
        """Whether anybody's bond was recorded."""
        return bool(self.stakes_rao)


NO_BONDS = Bonds()


@dataclass(frozen=True, slots=True)
class Opening:
    """What was known when the epoch opened: who committed, whose hand it is, what was bonded."""

    committed: frozenset[str]  # hotkeys that committed for the epoch
    coldkeys: Mapping[str, str] = field(default_factory=dict)  # by hotkey, where it was given
    one_hand: Sequence[tuple[str, str]] = ()  # pairs that an operator confirmed
    bonds: Bonds = NO_BONDS


def flags_table(
    view: EpochView,
    similarity: pd.DataFrame,
    ticker_returns: "pd.Series[float]",
    opening: Opening,
    previous: pd.DataFrame | None,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per miner with a portfolio, by hotkey.

    ``similarity`` is the epoch's table ``PortfolioSimilarity``; ``ticker_returns`` the epoch's
    return of each ticker; ``previous`` the table of the epoch before, which says how long a
    variance has been high.
    """
    require_before_opening([day.date() for day in view.opening_sessions], view.epoch)
    clustered = _clusters(view, opening, params)
    table = pd.DataFrame(
        {
            "epoch_id": pd.Series(view.epoch.id, index=range(len(view.hotkeys)), dtype=object),
            **_originality(view, params),
            **_variance(view, previous, params),
            **clustered,
            **_suspicion(view, similarity, params),
            "contribution": _contribution(view, ticker_returns, opening.bonds),
            **_stakes(view, clustered["cluster_size"], opening.bonds, params),
        }
    )
    return table[list(FLAG_COLUMNS)].astype(FLAG_COLUMNS)


def bonds_of(stakes_rao: Mapping[str, int], paid: Sequence[pd.DataFrame]) -> Bonds:
    """Bonds with the rewards behind S_min; ``paid`` are tables ``Rewards``, newest first."""
    ranked = [table[table["standing"] == Standing.RANKED] for table in reversed(paid)]
    return Bonds(
        stakes_rao,
        [int(table["payout_rao"].sum()) - int(table["ante_rao"].sum()) for table in ranked],
        [len(table) for table in ranked],
    )


def accusations(flags: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``IntegrityFlags`` that say something, as people read them."""
    said = (
        (flags["originality"] < 1)
        | (flags["variance_factor"] < 1)
        | (flags["cluster_size"] > 1)
        | flags["plagiarism_suspected"]
        | flags["below_least_stake"]
    )
    return flags.loc[said, list(EVIDENCE)].reset_index(drop=True)


def for_scores(flags: pd.DataFrame, plagiarists: Collection[str]) -> pd.DataFrame:
    """What ``scoring.score_table`` reads: factors and standings, one row per miner."""
    columns = ["hotkey", "originality", "variance_factor", "cluster_member", "below_least_stake"]
    return flags[columns].assign(plagiarism=flags["hotkey"].isin(set(plagiarists)))


def score_columns(
    view: EpochView, opening: Opening, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """What ``for_scores`` takes from the flags, without the evidence: for whoever only scores."""
    clustered = _clusters(view, opening, params)
    stakes = _stakes(view, clustered["cluster_size"], opening.bonds, params)
    return pd.DataFrame(
        {
            "hotkey": view.hotkeys,
            "originality": originality_table(view.active, view.holdings, view.sessions, params)[
                "originality"
            ],
            "variance_factor": variance_factor(variance_ratio(view.returns, params), params),
            "cluster_member": clustered["cluster_member"],
            "below_least_stake": stakes["below_least_stake"],
            "plagiarism": False,
        }
    )


def further_members(flags: pd.DataFrame) -> set[str]:
    """Cluster members that do not hold their cluster's rank position."""
    return set(flags.loc[flags["cluster_member"], "hotkey"])


def _originality(view: EpochView, params: ProtocolParams) -> dict[str, object]:
    found = originality_table(view.active, view.holdings, view.sessions, params)
    other = view.hotkeys.get_indexer(pd.Index(found["earlier_hotkey"].fillna("")))
    paired = np.flatnonzero(other >= 0)
    pair = paired, other[paired].astype(np.int64)
    never = len(view.holdings.epoch_ids)
    own, others = np.full(len(found), never), np.full(len(found), never)
    own[paired] = first_epochs(view.holdings, *pair, params)
    others[paired] = first_epochs(view.holdings, *pair[::-1], params)
    shared = np.full(len(found), np.nan)
    units = view.holdings.units[-1]
    shared[paired] = shared_units(units, units, *pair) / UNITS
    return {
        "hotkey": found["hotkey"],
        "originality": found["originality"],
        "correlation": found["correlation"],
        "correlation_threshold": found["threshold"],
        "earlier_hotkey": found["earlier_hotkey"],
        "earlier_since_epoch": epochs_named(view.holdings, others.tolist()),
        "own_since_epoch": epochs_named(view.holdings, own.tolist()),
        "shared_weight": shared,
        "active_sessions": found["sessions"],
        "first_session": found["first_session"],
        "last_session": found["last_session"],
        "active_reason": found["reason"],
    }


def _variance(
    view: EpochView, previous: pd.DataFrame | None, params: ProtocolParams
) -> dict[str, object]:
    """Ratio, factor, and for how many epochs in a row the ratio has been at the threshold."""
    ratio = variance_ratio(view.returns, params)
    limit = params.scoring.variance_ratio_threshold
    before = np.zeros(len(ratio), dtype=np.int64)
    if previous is not None:
        counted = previous.set_index("hotkey")["variance_high_epochs"]
        before = counted.reindex(view.hotkeys, fill_value=0).to_numpy(dtype=np.int64)
    high = np.where(ratio >= limit, before + 1, 0)  # NaN is not
    return {
        "variance_ratio": ratio,
        "variance_threshold": limit,
        "variance_factor": variance_factor(ratio, params),
        "variance_high_epochs": high,
        "variance_flag": high >= params.security.variance_flag_epochs,
    }


def _clusters(view: EpochView, opening: Opening, params: ProtocolParams) -> dict[str, object]:
    """Clusters of all who hold or committed something; the columns are of those who hold."""
    silent = sorted(opening.committed - set(view.hotkeys))  # committed, and never revealed a thing
    names = [*view.hotkeys, *silent]
    known = view.opening.values
    active = np.concatenate([known, np.full((len(silent), known.shape[1]), np.nan)])
    found = clusters(
        active,
        _hands(names, opening),
        _place_in_line(view, names, opening),
        names,
        params,
    )
    holder = np.empty(len(names), dtype=object)
    holder[found.cluster[found.holds_position]] = np.array(names, dtype=object)[
        found.holds_position
    ]
    rows = slice(len(view.hotkeys))
    other, value = found.strongest[rows], found.correlation[rows]
    counted = view.opening.sessions
    last = view.opening_sessions[-1] if len(view.opening_sessions) else pd.NaT
    judged = {name for pair in opening.one_hand for name in pair}
    return {
        "cluster_id": holder[found.cluster][rows],
        "cluster_size": found.size[rows],
        "cluster_member": ~found.holds_position[rows],
        "cluster_link": _links(found, names[rows], judged),
        "cluster_other": np.array([*names, None], dtype=object)[other],
        "cluster_correlation": value,
        "cluster_threshold": params.security.sybil_correlation,
        "cluster_sessions": counted,
        "cluster_last_session": pd.Series(
            [last if sessions else pd.NaT for sessions in counted], dtype="datetime64[ns]"
        ),
    }


def _links(found: Clusters, names: Sequence[str], judged: Collection[str]) -> list[str]:
    """Why each miner is in its cluster; empty for one on its own."""
    by_return, by_hand = found.strongest >= 0, found.same_coldkey
    return [
        ",".join(
            link
            for link, holds in (
                ("correlation", by_return[at]),
                ("coldkey", by_hand[at] and name not in judged),
                ("case", by_hand[at] and name in judged),
            )
            if holds
        )
        for at, name in enumerate(names)
    ]


def _hands(names: Sequence[str], opening: Opening) -> list[str]:
    """The hand behind each miner: its coldkey, or itself; confirmed pairs are one hand."""
    hand = {name: opening.coldkeys.get(name, name) for name in names}
    for one, other in opening.one_hand:
        if one in hand and other in hand:
            old, new = hand[other], hand[one]
            hand = {name: new if key == old else key for name, key in hand.items()}
    return [hand[name] for name in names]


def _place_in_line(view: EpochView, names: Sequence[str], opening: Opening) -> IntArray:
    """Places by first commitment ever; who did not commit for this epoch stands behind all who did.

    Who committed is fixed when the epoch opens: a position that is not revealed is lost, so no
    cluster chooses its member in hindsight.
    """
    first = np.full(len(names), NEVER)
    if len(view.hotkeys):
        first[: len(view.hotkeys)] = view.holdings.committed_at.min(axis=0)
    absent = np.array([name not in opening.committed for name in names], dtype=bool)
    place = np.empty(len(names), dtype=np.int64)
    ordered = np.lexsort((first, absent))
    ahead = np.ones(len(names), dtype=np.int64)
    ahead[1:] = (first[ordered][1:] != first[ordered][:-1]) | (
        absent[ordered][1:] != absent[ordered][:-1]
    )
    place[ordered] = np.cumsum(ahead)
    return place


def _suspicion(
    view: EpochView, similarity: pd.DataFrame, params: ProtocolParams
) -> dict[str, object]:
    """Who is suspected of plagiarism, of whom most, and in how many epochs."""
    copies = similarity[similarity["measure"] == HOLDINGS]
    worst = copies.sort_values(
        ["hotkey", "suspect_epochs", "other_hotkey"], ascending=[True, False, True]
    ).drop_duplicates("hotkey")
    found = worst.set_index("hotkey").reindex(view.hotkeys)
    epochs = found["suspect_epochs"].fillna(0).to_numpy(dtype=np.int64)
    return {
        "plagiarism_suspected": epochs > 0,
        "suspected_of": [
            name if count else None
            for name, count in zip(found["other_hotkey"], epochs, strict=True)
        ],
        "suspect_epochs": epochs,
        "suspect_threshold": params.security.plagiarism_epochs,
    }


def _contribution(view: EpochView, ticker_returns: "pd.Series[float]", bonds: Bonds) -> FloatArray:
    """Contribution of the portfolios of this epoch; NaN for who filled it.

    Weighed by bonded stake; where none is known, each portfolio counts the same.
    """
    units = view.holdings.units[-1]
    held = np.flatnonzero(np.diff(units.indptr))
    found = np.full(len(view.hotkeys), np.nan)
    used = np.unique(units.indices)
    if not len(held):
        return found
    weights = units[held][:, used].toarray() / UNITS
    names = view.hotkeys[held].tolist()
    stakes = np.array(
        [float(bonds.stakes_rao.get(name, 0)) if bonds.known else 1.0 for name in names]
    )
    earned = ticker_returns.reindex(view.holdings.tickers[used]).fillna(0.0)
    found[held] = contribution(weights, stakes, np.asarray(earned, dtype=np.float64))
    return found


def _stakes(
    view: EpochView, cluster_size: object, bonds: Bonds, params: ProtocolParams
) -> dict[str, object]:
    """Stake and S_min in rao, and who is below; nothing is known without bonds."""
    n = len(view.hotkeys)
    if not bonds.known:
        nothing = pd.array([pd.NA] * n, dtype="Int64")
        return {
            "stake_rao": nothing,
            "least_stake_rao": nothing,
            "below_least_stake": np.zeros(n, dtype=bool),
        }
    stakes = [bonds.stakes_rao.get(hotkey, 0) for hotkey in view.hotkeys]
    sizes = np.asarray(cluster_size, dtype=np.int64)
    least = least_stake_rao(bonds.net_rewards_rao, bonds.ranked, sizes, params)
    return {
        "stake_rao": pd.array(stakes, dtype="Int64"),
        "least_stake_rao": pd.array(least, dtype="Int64"),
        "below_least_stake": below_least_stake(stakes, least),
    }
