"""Invariants: what must hold on a published table before the next stage may read it.

Each runs as a blocking asset check, and its verdict is recorded beside the table, bound to the
table's content hash: a later run of the downstream assets alone meets the same gate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg
import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.contract_type import rows_table
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol import invariants, statement, validator_collusion
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform


@dataclass(frozen=True)
class Look:
    """What an invariant may look at: the published tables of one epoch, and the rules."""

    platform: Platform
    epoch: Epoch
    seen: dict[str, str] = field(default_factory=dict)

    def __call__(self, table: str) -> pd.DataFrame:
        """A published table of this epoch; its own gates are judged elsewhere."""
        return self.of(self.epoch, table)

    def of(self, epoch: Epoch, table: str) -> pd.DataFrame:
        """A published table of this epoch or of an earlier one."""
        loaded = self.platform.lake.load(table, epoch.id)
        self.seen[f"{table} {epoch.id}"] = loaded.version.content_hash
        return loaded.frame


NAMED_CELLS = 5  # prices that a failure names in its own line; its table shows more

Invariant = Callable[[Look], pd.DataFrame]


def no_session_missing(look: Look) -> pd.DataFrame:
    """Every ticker has a row for every session of the epoch, and no other."""
    return invariants.missing_sessions(look("validated_prices"), "ticker", look.epoch.sessions)


def benchmark_is_settled(look: Look) -> pd.DataFrame:
    """The benchmark's close is not disputed in any session."""
    return invariants.disputed_benchmark(
        look("validated_prices"), look("raw_prices"), look.platform.params
    )


def every_portfolio_was_committed(look: Look) -> pd.DataFrame:
    """Each portfolio of this epoch opens the commitment that stood, hash by hash."""
    return invariants.uncommitted_portfolios(
        look("portfolios"),
        look("reveals"),
        look("commitments"),
        epoch_id=look.epoch.id,
        params=look.platform.params,
    )


def held_tickers_are_priced(look: Look) -> pd.DataFrame:
    """Disputed prices touch no more of all portfolio weight than the rules allow."""
    return invariants.disputed_holdings(
        look("portfolios"), look("validated_prices"), look("raw_prices"), look.platform.params
    )


def returns_cover_the_epoch(look: Look) -> pd.DataFrame:
    """Every miner with a portfolio has a return for every session of the epoch."""
    return invariants.uncovered_portfolios(
        look("portfolio_returns"), look("portfolios"), look.epoch.sessions
    )


def metrics_agree_with_returns(look: Look) -> pd.DataFrame:
    """Only miners with returns are measured, and scores add up to the horizon's score."""
    return invariants.inconsistent_metrics(
        look("horizon_metrics"), look("portfolio_returns"), look.platform.params
    )


def pairs_hold_what_they_share(look: Look) -> pd.DataFrame:
    """Who is like another holds a portfolio, and shares the weight that the table says."""
    return invariants.unshared_pairs(
        look("portfolio_similarity"), look("portfolios"), look.epoch.id
    )


def flags_follow_their_numbers(look: Look) -> pd.DataFrame:
    """Every miner with a portfolio has its row; factors follow from the numbers beside them."""
    return invariants.unfounded_flags(
        look("integrity_flags"), look("portfolios"), look.platform.params
    )


def cases_only_go_forward(look: Look) -> pd.DataFrame:
    """No case of the epoch before is lost, reopened or opened anew."""
    before = look.epoch.previous()
    known = None if look.epoch <= look.platform.genesis else look.of(before, "integrity_cases")
    return invariants.unmoved_cases(look("integrity_cases"), known, look.platform.params)


def ranks_follow_scores(look: Look) -> pd.DataFrame:
    """A better score never has a worse rank, and ranks, percentiles and tiers agree."""
    return invariants.misranked(look("scores"), "final_score", "score_rank", look.platform.params)


def validators_rows_sum_to_one(look: Look) -> pd.DataFrame:
    """Each validator's weights sum to exactly one."""
    return invariants.rows_not_one(look("validator_weights"))


def collusion_is_counted(look: Look) -> pd.DataFrame:
    """A pair of validators is flagged exactly where its own rows are enough for it."""
    return validator_collusion.misflagged(look("validator_collusion"), look.platform.params)


def consensus_within_votes(look: Look) -> pd.DataFrame:
    """The agreed weight is one that some validator gave; ranks and tiers follow it."""
    return invariants.inconsistent_consensus(
        look("consensus"), look("validator_weights"), look.platform.params
    )


def bonds_follow_their_mode(look: Look) -> pd.DataFrame:
    """Under Yuma 1 the bonds on each miner sum to one."""
    return invariants.unbalanced_bonds(look("validator_bonds"), look.platform.params)


def dividends_sum_to_one(look: Look) -> pd.DataFrame:
    """Dividends sum to exactly one, or to nothing where no bond earns."""
    return invariants.unshared_dividends(
        look("validator_results"),
        look("validator_bonds"),
        look("consensus"),
        look.platform.params,
    )


def trust_is_what_was_left(look: Look) -> pd.DataFrame:
    """Each validator's trust is what is left of its row under the agreed weights."""
    return invariants.mistrusted(
        look("validator_results"), look("validator_weights"), look("consensus")
    )


def dividends_match_the_ledger(look: Look) -> pd.DataFrame:
    """What the ledger moves to each validator is its share of their emission."""
    return invariants.unmatched_dividends(look("validator_results"), look("ledger_entries"))


def payouts_match_the_ledger(look: Look) -> pd.DataFrame:
    """What each miner is paid is what the ledger moves to it."""
    return invariants.unmatched_payouts(look("rewards"), look("ledger_entries"))


def pool_payouts_match_the_ledger(look: Look) -> pd.DataFrame:
    """What each operator passes on is what the table divides, to each account."""
    return invariants.unmatched_pools(look("pool_payouts"), look("ledger_entries"))


def slashes_match_the_cases(look: Look) -> pd.DataFrame:
    """What the ledger burns of stakes is what the cases that close in the epoch say."""
    return invariants.unmatched_slashes(
        look("integrity_cases"), look("ledger_entries"), look.epoch.id
    )


def roles_follow_their_records(look: Look) -> pd.DataFrame:
    """Nobody rises or falls by more than a step, and uptime is reveals over epochs due."""
    return invariants.unfounded_roles(look("participants"))


def ledger_closes(look: Look) -> pd.DataFrame:
    """Pool and escrows end at zero and no internal account goes below it."""
    return invariants.open_accounts(look("ledger_entries"))


def restatements_compensate(look: Look) -> pd.DataFrame:
    """Each version that was replaced is taken back entry by entry, and nothing else is."""
    return statement.uncompensated(look("ledger_entries"))


# What an invariant reads besides its own table and the inputs of that table's asset: Dagster must
# not evaluate it before they are published.
ALSO_READS: dict[Invariant, list[str]] = {
    held_tickers_are_priced: ["validated_prices", "raw_prices"]
}

INVARIANTS: dict[str, Invariant] = {
    invariant.__name__: invariant
    for invariant in (
        no_session_missing,
        benchmark_is_settled,
        every_portfolio_was_committed,
        held_tickers_are_priced,
        returns_cover_the_epoch,
        metrics_agree_with_returns,
        pairs_hold_what_they_share,
        flags_follow_their_numbers,
        cases_only_go_forward,
        ranks_follow_scores,
        validators_rows_sum_to_one,
        collusion_is_counted,
        consensus_within_votes,
        bonds_follow_their_mode,
        dividends_sum_to_one,
        trust_is_what_was_left,
        dividends_match_the_ledger,
        payouts_match_the_ledger,
        pool_payouts_match_the_ledger,
        slashes_match_the_cases,
        roles_follow_their_records,
        ledger_closes,
        restatements_compensate,
    )
}


def in_words(offending: pd.DataFrame, place: str, name: str) -> str:
    """What a failed invariant says: how many rows, and the first prices by name."""
    text = f"{len(offending)} rows of {place} break {name}"
    if not {"ticker", "session"} <= set(offending.columns):
        return text
    cells = [
        f"{row['ticker']} {row['session']:%Y-%m-%d}" + (f" ({said})" if said else "")
        for row in offending.head(NAMED_CELLS).to_dict("records")
        for said in [row.get("vendors", row.get("problem", ""))]
    ]
    more = [f"{len(offending) - NAMED_CELLS} more"] if len(offending) > NAMED_CELLS else []
    return f"{text}: {'; '.join([*cells, *more])}"


def invariant_check(table: str, name: str) -> dg.AssetChecksDefinition:
    """The blocking check of one invariant on one table."""
    invariant = INVARIANTS[name]

    @dg.asset_check(
        asset=table,
        name=name,
        description=invariant.__doc__,
        blocking=True,
        additional_deps=ALSO_READS.get(invariant, []),
        partitions_def=EPOCHS,
        required_resource_keys={"platform"},
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        platform: Platform = context.resources.platform
        epoch = Epoch.parse(context.partition_key)
        look = Look(platform, epoch)
        offending = invariant(look)
        passed = offending.empty
        detail = "" if passed else in_words(offending, f"{table} {epoch.id}", name)
        platform.lake.record_verdict(
            table,
            epoch.id,
            name,
            passed=passed,
            content_hash=look.seen.pop(f"{table} {epoch.id}"),
            detail=detail,
            inputs=look.seen,
        )
        return dg.AssetCheckResult(
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=detail or None,
            metadata={
                "epoch": epoch.id,
                "offending_rows": len(offending),
                "worst rows": rows_table(offending),
            },
        )

    return check


ALL_CHECKS = [
    invariant_check(table, name)
    for table, contract in CONTRACTS.items()
    for name in contract.gates()
    if name != "contract"
]
