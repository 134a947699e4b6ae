"""What must hold between published tables: each function returns the rows that break it.

Contracts say what one table looks like; these say that tables agree with each other and with the
rules. They recompute as little as possible of what they check, and never with the code they check.
"""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from quanta_pipelines.protocol.commit_reveal import commitment as commitment_of
from quanta_pipelines.protocol.disagreements import vendors_said
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.portfolio import portfolio_hash
from quanta_pipelines.protocol.votes import WEIGHT_UNITS

SHARED_TOLERANCE = 1e-6  # of factors with 9 decimals, and of up to 30 weights in units of 1e-9
BOND_TOLERANCE = 1e-9  # far above the rounding of as many published bonds as there are validators
INTERNAL_ACCOUNTS = ("pool", "treasury", "burn", "carry", "validators", "owner")


def missing_sessions(table: pd.DataFrame, entity: str, sessions: Sequence[date]) -> pd.DataFrame:
    """Pairs of ``entity`` and session that are missing from the table or do not belong there."""
    names = sorted(table[entity].unique())
    due = pd.MultiIndex.from_product(
        [names, pd.to_datetime(list(sessions))], names=[entity, "session"]
    )
    found = pd.MultiIndex.from_frame(table[[entity, "session"]])
    if not names:  # an empty table misses every session
        return pd.DataFrame({entity: "(none)", "session": pd.to_datetime(list(sessions))})
    return pd.concat(
        [
            due.difference(found).to_frame(index=False).assign(problem="missing"),
            found.difference(due).to_frame(index=False).assign(problem="not a session here"),
        ],
        ignore_index=True,
    )


def disputed_benchmark(
    prices: pd.DataFrame, vendor_prices: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """Rows of the benchmark's ticker whose close is disputed, with what each vendor said."""
    benchmark = prices["ticker"] == params.market_data.benchmark
    disputed = prices[benchmark & (prices["status"] == "disputed")]
    return _with_vendors(disputed, vendor_prices, params)


def disputed_holdings(
    portfolios: pd.DataFrame,
    prices: pd.DataFrame,
    vendor_prices: pd.DataFrame,
    params: ProtocolParams,
) -> pd.DataFrame:
    """Disputed prices that are held, when together they touch too much of all portfolio weight.

    ``held_weight`` is the ticker's share of all portfolio weight, the most held first.
    """
    disputed = prices[prices["status"] == "disputed"]
    total = portfolios["submitted_weight"].sum()
    shares = portfolios.groupby("ticker")["submitted_weight"].sum() / total
    held = shares[shares.index.isin(disputed["ticker"])]
    if held.sum() <= params.market_data.max_disputed_weight:
        return disputed.head(0)
    cells = disputed[disputed["ticker"].isin(held.index)]
    cells = cells.assign(held_weight=cells["ticker"].map(held)).sort_values(
        ["held_weight", "ticker", "session"], ascending=[False, True, True]
    )
    return _with_vendors(cells, vendor_prices, params)


def _with_vendors(
    cells: pd.DataFrame, vendor_prices: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """Disputed cells as who must settle them wants to see them."""
    kept = ["ticker", "session", "held_weight", "n_vendors", "sources"]
    shown = cells[[name for name in kept if name in cells.columns]]
    return shown.assign(vendors=vendors_said(shown, vendor_prices, params))


def uncommitted_portfolios(
    portfolios: pd.DataFrame,
    reveals: pd.DataFrame,
    commitments: pd.DataFrame,
    *,
    epoch_id: str,
    params: ProtocolParams,
) -> pd.DataFrame:
    """Portfolios of this epoch whose hash and secret do not open the commitment that stood."""
    new = portfolios.loc[portfolios["source_epoch"] == epoch_id]
    held = {
        hotkey: dict(zip(rows["ticker"], rows["submitted_weight"].round(6), strict=True))
        for hotkey, rows in new.groupby("hotkey")
    }
    standing = dict(zip(commitments["hotkey"], commitments["commitment"], strict=True))
    accepted = reveals[reveals["verdict"] == "accepted"]
    columns = (accepted[name] for name in ("hotkey", "positions", "secret"))
    opened = {
        hotkey: held.get(hotkey) == _weights(positions)
        and _opens(positions, secret, hotkey, epoch_id, params) == standing.get(hotkey)
        for hotkey, positions, secret in zip(*columns, strict=True)
    }
    bad = {hotkey for hotkey in held if not opened.get(hotkey, False)}
    lost = [hotkey for hotkey in opened if hotkey not in held]
    missing = pd.DataFrame({"hotkey": lost, "problem": "accepted reveal without a portfolio"})
    return pd.concat([new[new["hotkey"].isin(bad)], missing], ignore_index=True)


def uncovered_portfolios(
    returns: pd.DataFrame, portfolios: pd.DataFrame, sessions: Sequence[date]
) -> pd.DataFrame:
    """Miners and sessions without a return, and returns of miners without a portfolio."""
    lost = sorted(set(portfolios["hotkey"]) ^ set(returns["hotkey"]))
    strangers = pd.DataFrame({"hotkey": lost, "problem": "in only one of the two tables"})
    if returns.empty:
        return strangers
    return pd.concat([missing_sessions(returns, "hotkey", sessions), strangers], ignore_index=True)


def inconsistent_metrics(
    metrics: pd.DataFrame, returns: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """Rows of miners without returns, and rows whose parts do not add up to the horizon's score."""
    rules = params.scoring
    expected = (
        rules.sortino_weight * metrics["sortino_score"]
        + rules.calmar_weight * metrics["calmar_score"]
        + rules.max_drawdown_weight * metrics["drawdown_score"]
        + rules.turnover_weight * metrics["turnover_score"]
    )
    off = (expected - metrics["horizon_score"]).abs() > 2e-9  # every part has 9 decimals
    return metrics[off | ~metrics["hotkey"].isin(returns["hotkey"])]


def unshared_pairs(
    similarity: pd.DataFrame, portfolios: pd.DataFrame, epoch_id: str
) -> pd.DataFrame:
    """Pairs whose shared weight in this epoch is not the sum of the smaller weights they hold.

    Portfolios that only fill the epoch were not committed in it and share nothing.
    """
    now = similarity[(similarity["held_epoch"] == epoch_id) & (similarity["lag"] == 0)]
    own = portfolios[portfolios["filled_epochs"] == 0]
    held = {
        hotkey: dict(zip(rows["ticker"], rows["weight"], strict=True))
        for hotkey, rows in own.groupby("hotkey")
    }
    due = [
        sum(
            min(weight, held.get(other, {}).get(ticker, 0.0))
            for ticker, weight in held.get(hotkey, {}).items()
        )
        for hotkey, other in zip(now["hotkey"], now["other_hotkey"], strict=True)
    ]
    known = set(portfolios["hotkey"])
    there = now["hotkey"].isin(known) & now["other_hotkey"].isin(known)
    apart = (now["shared_weight"] - due).abs() > SHARED_TOLERANCE
    columns = ["hotkey", "other_hotkey", "measure", "shared_weight"]
    return now.assign(due=due).loc[apart | ~there, [*columns, "due"]]


def unfounded_flags(
    flags: pd.DataFrame, portfolios: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """Miners without a row, rows without a miner, factors and clusters that do not follow.

    A correlation of rho leaves ``(1 - rho) / (1 - threshold)``; a cluster has one position.
    """
    rules = params.scoring
    room = 1 - rules.originality_correlation_threshold
    rho = flags["correlation"].fillna(-1.0)
    original = ((1 - rho) / room).clip(0, 1).where(flags["originality"].notna())
    steady = (rules.variance_ratio_threshold / flags["variance_ratio"]).clip(upper=1)
    wrong = ~_same(flags["originality"], original) | ~_same(flags["variance_factor"], steady)
    wrong |= (flags["hotkey"] == flags["cluster_id"]) == flags["cluster_member"]
    seen = flags.groupby("cluster_id")["hotkey"].transform("size") > flags["cluster_size"]
    missing = pd.DataFrame({"hotkey": sorted(set(portfolios["hotkey"]) - set(flags["hotkey"]))})
    wrong |= seen | ~flags["hotkey"].isin(set(portfolios["hotkey"]))
    columns = ["hotkey", "originality", "correlation", "variance_factor", "variance_ratio"]
    offending = flags.loc[wrong, [*columns, "cluster_id", "cluster_member"]]
    return offending if missing.empty else pd.concat([offending, missing], ignore_index=True)


def _same(found: "pd.Series[float]", due: "pd.Series[float]") -> "pd.Series[bool]":
    return (found.isna() & due.isna()) | ((found - due).abs() <= SHARED_TOLERANCE)


def unmoved_cases(
    cases: pd.DataFrame, before: pd.DataFrame | None, params: ProtocolParams
) -> pd.DataFrame:
    """Cases of the epoch before that are gone or not what they were; new ones that are not new.

    An open case may move; one that is closed stays as it is. One that nobody decided in time is
    dismissed.
    """
    columns = ["case_id", "state", "opened_epoch", "closed_epoch"]
    opened = cases["opened_epoch"] == cases["epoch_id"]
    if before is None:
        return cases.loc[~opened, columns]
    fixed = ["kind", "hotkey", "other_hotkey", "opened_epoch", "evidence"]
    settled = [*fixed, "state", "closed_epoch", "author", "reason"]
    both = before.merge(cases, on="case_id", how="outer", suffixes=("_before", ""), indicator=True)
    old = both["_merge"] != "right_only"
    was_closed = both["state_before"].isin(["confirmed", "dismissed"])
    changed = pd.Series(data=False, index=both.index)
    for name in settled:
        differs = both[name].fillna("") != both[f"{name}_before"].fillna("")
        changed |= differs & (was_closed | (name in fixed))
    new = both["_merge"] == "right_only"
    strange = new & (both["opened_epoch"] != both["epoch_id"])
    limit = pd.Timedelta(days=params.security.case_decision_days)
    late = both["state"].eq("confirmed") & (both["closed_at"] - both["opened_at"] > limit)
    lost = both["_merge"] == "left_only"
    return both.loc[lost | strange | late | (old & changed), columns]


def misranked(table: pd.DataFrame, score: str, rank: str, params: ProtocolParams) -> pd.DataFrame:
    """Ranked rows whose rank is not one more than the number of better scores, or of another tier.

    Where ties are ordered by arrival, every rank within the tie is right. An agreed weight of 0 is
    in the penalty band at any rank. The tiers of the ``percentile`` rule are floats' and not
    compared.
    """
    ranked = table[table[rank].notna()]
    scores = np.sort(ranked[score].to_numpy(dtype=float))
    own = ranked[score].to_numpy(dtype=float)
    better = scores.size - np.searchsorted(scores, own, side="right")
    tied = np.searchsorted(scores, own, side="right") - np.searchsorted(scores, own, side="left")
    found = ranked[rank].to_numpy(dtype=np.int64)
    if params.scoring.tie_order == "arrival":
        wrong = (found <= better) | (found > better + tied)
    else:
        wrong = found != better + 1
    percentile = 1 - (found - 1) / max(scores.size, 1)
    wrong |= np.abs(ranked["percentile"].to_numpy(dtype=float) - percentile) > 1e-12
    if params.scoring.tier_rule == "exact":
        tiers = _tiers_of(found.tolist(), params)
        if score == "consensus_weight":
            tiers[own == 0] = "penalty_band"
        wrong |= ranked["tier"].to_numpy(dtype=object) != tiers
    offending: pd.DataFrame = ranked.loc[wrong]
    return offending


def _tiers_of(ranks: Sequence[int], params: ProtocolParams) -> npt.NDArray[np.object_]:
    """Tiers of all ranks, from the shares of better miners that each tier leaves in front."""
    rules = params.scoring
    cuts = (
        ("top_tier", Fraction(rules.top_tier_percent)),
        ("profitable", Fraction(rules.profitable_tier_percent)),
        ("break_even", 1 - Fraction(rules.penalty_band_percent)),
        ("penalty_band", Fraction(2)),
    )
    n = len(ranks)
    return np.array(
        [next(tier for tier, cut in cuts if rank - 1 < cut * n) for rank in ranks], dtype=object
    )


def rows_not_one(votes: pd.DataFrame) -> pd.DataFrame:
    """Validators whose weights do not sum to exactly one."""
    sums = votes.groupby("validator", as_index=False)["weight_units"].sum()
    odd: pd.DataFrame = sums.loc[sums["weight_units"] != WEIGHT_UNITS]
    return odd


def inconsistent_consensus(
    consensus: pd.DataFrame, votes: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """Agreed weights that no validator gave, miners without a vote, ranks that do not follow.

    Zero is possible for who has a vote: a validator that leaves it out gives it nothing.
    """
    given = set(zip(votes["hotkey"], votes["weight_units"], strict=True))
    voted = set(votes["hotkey"])
    units = np.rint(consensus["consensus_weight"].to_numpy() * WEIGHT_UNITS).astype(np.int64)
    known = np.array(
        [
            (unit == 0 and hotkey in voted) or (hotkey, unit) in given
            for hotkey, unit in zip(consensus["hotkey"], units, strict=True)
        ],
        dtype=bool,
    )
    if params.consensus.rank_by == "own_score":
        return consensus[~known]
    misplaced = misranked(consensus, "consensus_weight", "rank", params)
    return consensus[~known | consensus["hotkey"].isin(misplaced["hotkey"])]


def unbalanced_bonds(bonds: pd.DataFrame, params: ProtocolParams) -> pd.DataFrame:
    """Miners whose bonds do not sum to one, where bonds are shares of a miner (Yuma 1)."""
    if params.consensus.bond_mode != "yuma1":
        return bonds.head(0)
    sums = bonds.groupby("hotkey", as_index=False)["bond"].sum()
    odd: pd.DataFrame = sums.loc[(sums["bond"] - 1).abs() > BOND_TOLERANCE]
    return odd


def unshared_dividends(
    results: pd.DataFrame, bonds: pd.DataFrame, consensus: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """The sum of all dividends, where it is neither one nor, without a bond that earns, nothing.

    A bond earns on a miner with incentive; under Yuma 3 only for a validator with stake.
    """
    earning = bonds[bonds["hotkey"].isin(consensus.loc[consensus["incentive"] > 0, "hotkey"])]
    if params.consensus.bond_mode != "yuma1":
        staked = results.loc[results["stake_share"] > 0, "validator"]
        earning = earning[earning["validator"].isin(staked)]
    total = int(results["dividend_units"].sum())
    due = WEIGHT_UNITS if len(earning) else 0
    sums = pd.DataFrame({"dividend_units": [total], "due": [due]})
    return sums[sums["dividend_units"] != sums["due"]]


def mistrusted(results: pd.DataFrame, votes: pd.DataFrame, consensus: pd.DataFrame) -> pd.DataFrame:
    """Validators whose trust is not the sum of their weights, each at most the agreed one."""
    cells = votes.merge(consensus[["hotkey", "consensus_weight"]], on="hotkey")
    agreed = np.rint(cells["consensus_weight"] * WEIGHT_UNITS).astype("int64")
    left = cells["weight_units"].clip(upper=agreed).groupby(cells["validator"]).sum()
    names = results["validator"]
    due = names.map(left).fillna(0) / WEIGHT_UNITS
    due = due.where(names.isin(votes["validator"]) & (len(consensus) > 0))
    found = results["validator_trust"]
    same = (found.isna() & due.isna()) | ((found - due).abs() <= BOND_TOLERANCE)
    offending: pd.DataFrame = results.assign(due=due)[["validator", "validator_trust", "due"]]
    return offending[~same]


def unmatched_dividends(results: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Validators that the ledger pays a rao or more beside their share of what was emitted.

    Where anything was earned, all of it is paid: nothing stays in ``validators``.
    """
    ledger = _counting(ledger)
    emitted = int(ledger.loc[ledger["to_account"] == "validators", "amount_rao"].sum())
    paid = ledger[ledger["to_account"].str.startswith("validator:")]
    moved = paid["amount_rao"].groupby(paid["to_account"].str.removeprefix("validator:")).sum()
    units = results.set_index("validator")["dividend_units"]
    both = pd.DataFrame(
        {
            "dividend_units": _whole(units, units.index.union(moved.index)),
            "moved_rao": _whole(moved, units.index.union(moved.index)),
        }
    ).assign(emitted_rao=emitted)
    apart = [
        abs(rao * WEIGHT_UNITS - emitted * unit) >= WEIGHT_UNITS
        for rao, unit in zip(
            both["moved_rao"].tolist(), both["dividend_units"].tolist(), strict=True
        )
    ]
    lost = bool(units.any()) and emitted != int(moved.sum())
    return both[lost | np.array(apart, dtype=bool)].rename_axis("validator").reset_index()


def unmatched_payouts(rewards: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Miners whose payout differs from what the ledger moves to them.

    What a dismissed case frees was paid in an earlier epoch.
    """
    counting = _counting(ledger)
    paid_out = counting["reason"].isin(["ante_refunded", "ante_returned", "reward"])
    to_miners = counting[paid_out & counting["to_account"].str.startswith("miner:")]
    moved = to_miners.groupby(to_miners["to_account"].str.removeprefix("miner:"))[
        "amount_rao"
    ].sum()
    paid = rewards.set_index("hotkey")["payout_rao"]
    miners = paid.index.union(moved.index)
    both = pd.DataFrame({"payout_rao": _whole(paid, miners), "moved_rao": _whole(moved, miners)})
    return both[both["payout_rao"] != both["moved_rao"]].rename_axis("hotkey").reset_index()


def unmatched_pools(payouts: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Members and operators to whom the ledger passes on another sum than the table says."""
    due = payouts[payouts["state"].isin(["paid", "released"])]
    fees = due.drop_duplicates(["earned_epoch", "operator"])
    said = pd.concat(
        [
            _passed_on(due["operator"], "miner:" + due["member"], due["payout_rao"]),
            _passed_on(fees["operator"], "operator:" + fees["operator"], fees["operator_fee_rao"]),
        ]
    )
    counting = _counting(ledger)
    moved = counting[counting["reason"].isin(["pool_payout", "operator_fee"])]
    from_whom = moved["from_account"].str.removeprefix("miner:")
    found = _passed_on(from_whom, moved["to_account"], moved["amount_rao"])
    keys = ["operator", "to_account"]
    sums = [side.groupby(keys)["amount_rao"].sum() for side in (said, found)]
    both = pd.concat(sums, axis=1, keys=["due_rao", "moved_rao"]).astype("Int64").fillna(0)
    return both[both["due_rao"] != both["moved_rao"]].reset_index()


def _passed_on(
    operators: "pd.Series[str]", accounts: "pd.Series[str]", amounts: "pd.Series[int]"
) -> pd.DataFrame:
    return pd.DataFrame(
        {"operator": operators, "to_account": accounts, "amount_rao": amounts.astype("int64")}
    )


def unmatched_slashes(cases: pd.DataFrame, ledger: pd.DataFrame, epoch_id: str) -> pd.DataFrame:
    """Stakes of which the ledger burns another sum than the cases that are confirmed in it."""
    closed = cases[cases["closed_epoch"] == epoch_id]
    due = closed.groupby("hotkey")["slash_rao"].sum()
    counting = _counting(ledger)
    burned = counting[counting["reason"] == "slashed"]
    moved = burned.groupby(burned["from_account"].str.removeprefix("stake:"))["amount_rao"].sum()
    both = pd.concat([due, moved], axis=1, keys=["slash_rao", "moved_rao"]).astype("Int64")
    both = both.fillna(0).rename_axis("hotkey")
    return both[both["slash_rao"] != both["moved_rao"]].reset_index()


def unfounded_roles(participants: pd.DataFrame) -> pd.DataFrame:
    """Participants whose next role is more than one step away, or whose uptime is another one."""
    steps = {"signal_generator": 0, "pool_operator": 1, "solo_miner": 2}
    apart = participants["next_role"].map(steps) - participants["role"].map(steps)
    stays = participants["next_role"].eq(participants["role"]) | participants["role"].isna()
    due = participants["epochs_due"]
    ratio = (participants["reveals_accepted"] / due.where(due > 0)).round(9)
    same = (ratio - participants["uptime"]).abs().fillna(0) <= 1e-9
    columns = ["hotkey", "role", "next_role", "epochs_due", "reveals_accepted", "uptime"]
    return participants.loc[~((stays | apart.abs().eq(1)) & same), columns]


def _counting(ledger: pd.DataFrame) -> pd.DataFrame:
    """Movements that were not taken back and take nothing back."""
    taken_back = ledger["entry"].isin(ledger["reverses"].dropna())
    return ledger[ledger["reverses"].isna() & ~taken_back]


def open_accounts(ledger: pd.DataFrame) -> pd.DataFrame:
    """Accounts that do not end as they must: pool and escrows at zero, none of ours below it.

    What was burned never moves, so an account ``burn`` that pays is wrong whatever it holds. The
    carry starts with what it hands over in its first movement of the epoch. After a restatement the
    treasury may have made good what was burned, with money of other epochs.
    """
    paid = ledger.groupby("from_account")["amount_rao"].sum()
    received = ledger.groupby("to_account")["amount_rao"].sum()
    accounts = received.index.union(paid.index)
    balance = (_whole(received, accounts) - _whole(paid, accounts)).rename("balance_rao")
    name = balance.index.to_series()
    must_be_zero = name.isin(["pool", "restatement"]) | name.str.startswith("escrow:")
    elsewhere = {"carry", "treasury"} if (ledger["posting"] > 0).any() else {"carry"}
    internal = name.isin([account for account in INTERNAL_ACCOUNTS if account not in elsewhere])
    undone = (name == "burn") & name.isin(paid.index)
    wrong = (must_be_zero & (balance != 0)) | (internal & (balance < 0)) | undone
    return balance[wrong].rename_axis("account").reset_index()


def _whole(amounts: "pd.Series[int]", accounts: pd.Index) -> "pd.Series[int]":
    """Amounts of all accounts, 0 where there is none; a missing value would make them floats."""
    return amounts.reindex(accounts, fill_value=0)


def _weights(positions: str) -> dict[str, float]:
    """Submitted weights of a portfolio as it was hashed."""
    pairs = (part.split(":") for part in positions.split("|"))
    return {ticker: round(float(weight), 6) for ticker, weight in pairs}


def _opens(positions: str, secret: str, hotkey: str, epoch_id: str, params: ProtocolParams) -> str:
    """The commitment that a reveal's own parts hash to."""
    pairs = (part.partition(":") for part in positions.split("|"))
    digest = portfolio_hash(((ticker, weight) for ticker, _, weight in pairs), params)
    return commitment_of(digest, secret, hotkey, epoch_id, params=params)
