"""Validators over settled epochs: bonds as state, dividends in the ledger, weights for a chain."""

from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pandas as pd
import pytest

from quanta_pipelines.adapters.chain import SimulatedChain
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.audit import audit
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.resources import Platform
from quanta_pipelines.weight_export import export_weights, register_participants

from .conftest import PLAYED

SETTLED = PLAYED[:-1]
EPOCH = PLAYED[-1]


def test_dividends_empty_the_account_of_the_validators(platform: Platform) -> None:
    for epoch in SETTLED:
        ledger = platform.lake.read("ledger_entries", epoch.id)
        results = platform.lake.read("validator_results", epoch.id)
        emitted = ledger.loc[ledger["to_account"] == "validators", "amount_rao"].sum()
        paid = ledger[ledger["reason"] == "dividend"]
        units = results.set_index("validator")["dividend_units"]
        if not units.any():  # nobody is ranked before there are enough sessions
            assert paid.empty
            continue
        assert units.sum() == 10**9
        assert paid["amount_rao"].sum() == emitted
        for account, rao in zip(paid["to_account"], paid["amount_rao"], strict=True):
            share = int(units[account.removeprefix("validator:")])
            assert abs(int(rao) * 10**9 - int(emitted) * share) < 10**9


def test_what_stays_with_the_validators_is_the_emission_of_epochs_without_a_dividend(
    platform: Platform,
) -> None:
    # Six weeks of provisional miners: stake, but nobody to rank and no vote. 410 ALPHA each
    unearned = 0
    for epoch in SETTLED:
        ledger = platform.lake.read("ledger_entries", epoch.id)
        earned = platform.lake.read("validator_results", epoch.id)["dividend_units"].any()
        emitted = int(ledger.loc[ledger["to_account"] == "validators", "amount_rao"].sum())
        unearned += 0 if earned else emitted
        standings = platform.lake.read("scores", epoch.id)["standing"]
        assert earned == (standings == "ranked").any()
    (line,) = [one for one in audit(platform.lake).accounts if one.account == "validators"]
    assert line.closing_rao == unearned == 6 * 410 * 10**9


def test_bonds_follow_from_those_of_the_epoch_before(platform: Platform) -> None:
    # Yuma 1 in long form: a tenth of what stake times clipped weight buys, nine tenths of before
    before, epoch = SETTLED[-2:]
    agreed = platform.lake.read("consensus", epoch.id).set_index("hotkey")["consensus_weight"]
    shares = platform.lake.read("validator_results", epoch.id).set_index("validator")["stake_share"]
    votes = platform.lake.read("validator_weights", epoch.id)
    votes = votes[votes["hotkey"].isin(agreed.index)]
    clipped = (votes["weight_units"] / 10**9).clip(upper=votes["hotkey"].map(agreed))
    staked = (clipped * votes["validator"].map(shares)).groupby(
        [votes["validator"], votes["hotkey"]]
    )
    bought = staked.sum().unstack(fill_value=0.0).reindex(shares.index, fill_value=0.0)
    old, new = (
        platform.lake.read("validator_bonds", one.id)
        .pivot(index="validator", columns="hotkey", values="bond")
        .reindex(shares.index)
        .fillna(0.0)
        for one in (before, epoch)
    )
    held = sorted({*old.columns} & {*bought.columns[bought.sum() > 0]})
    assert len(held) > 20
    expected = 0.1 * bought[held] / bought[held].sum() + 0.9 * old[held]
    pd.testing.assert_frame_equal(new[held], expected, atol=1e-9, check_names=False)


def test_an_upheld_dispute_lowers_the_next_bonds_once(platform: Platform) -> None:
    from quanta_pipelines.adapters.signal_store.disputes import DisputeEvent
    from quanta_pipelines.protocol.epoch import distribution_starts, settles_at
    from quanta_pipelines.resources import EpochRun

    last, epoch = SETTLED[-1], PLAYED[-1]
    one, other = sorted(platform.store.snapshot(last.id).stakes)[:2]
    opened = settles_at(last, platform.params)
    number = platform.store.disputes.open(
        other, last, "another close", {"against": one, "cells": []}, at=opened
    )
    assert EpochRun(platform, epoch).upheld_disputes() == {}
    closed = distribution_starts(last, platform.params)
    platform.store.disputes.record(number, DisputeEvent.UPHELD, "operator", at=closed)
    assert EpochRun(platform, epoch).upheld_disputes() == {one: 1}
    assert EpochRun(platform, last).upheld_disputes() == {}
    assert EpochRun(platform, epoch.next()).upheld_disputes() == {}


def test_the_own_row_is_exported_and_the_chain_takes_it(
    platform: Platform,
) -> None:
    epoch = SETTLED[-1]
    chain = SimulatedChain(platform.data_docs.folder.parent / "chain.db", 3)
    register_participants(platform, epoch, chain)
    row = export_weights(platform, epoch, chain, salt=[1, 2])
    votes = platform.lake.read("validator_weights", epoch.id)
    own = votes[votes["validator"] == platform.own_validator].set_index("hotkey")["weight_units"]
    top, uids = int(own.max()), chain.uids()
    expected = {uids[name]: (2 * 65_535 * int(u) + top) // (2 * top) for name, u in own.items()}
    assert dict(zip(row.uids, row.weights, strict=True)) == {u: w for u, w in expected.items() if w}
    assert max(row.weights) == 65_535
    chain.set_weights(row.hotkey, row.uids, row.weights)
    assert chain.weights(row.hotkey) == dict(zip(row.uids, row.weights, strict=True))


def test_nothing_is_exported_where_nothing_was_agreed_or_voted(platform: Platform) -> None:
    chain = SimulatedChain(platform.data_docs.folder.parent / "chain.db", 3)
    empty = [one for one in SETTLED if platform.lake.read("consensus", one.id).empty]
    for epoch in empty:
        with pytest.raises(InvalidWeights, match="agree on nobody"):
            export_weights(platform, epoch, chain, salt=[])
    assert empty
    stranger = replace(platform, own_validator="5" + "A" * 47)
    with pytest.raises(InvalidWeights, match="did not vote"):
        export_weights(stranger, SETTLED[-1], chain, salt=[])


def test_every_settled_table_of_results_lists_the_snapshot(platform: Platform) -> None:
    for epoch in SETTLED:
        results: pd.DataFrame = platform.lake.read("validator_results", epoch.id)
        assert dict(zip(results["validator"], results["stake_rao"], strict=True)) == dict(
            sorted(platform.store.snapshot(epoch.id).stakes.items())
        )


def test_a_pair_that_votes_alike_for_three_epochs_is_evidence_in_the_graph(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In the last three epochs two validators add 30 % to the same third of the miners.
    last = PLAYED[-3:]
    others = {*platform.store.snapshot(EPOCH.id).stakes} - {platform.own_validator}
    first, second = sorted(others)[:2]
    honest = SignalStore.validator_weights

    def colluding(store: SignalStore, epoch_id: str) -> pd.DataFrame:
        votes = honest(store, epoch_id)
        favoured = votes["hotkey"].isin(sorted(votes["hotkey"].unique())[::3])
        pair = votes["validator"].isin([first, second])
        units = votes["weight_units"].where(~(pair & favoured), votes["weight_units"] * 13 // 10)
        sums = units.groupby(votes["validator"]).transform("sum")
        shares = units * 10**9 // sums
        short = 10**9 - shares.groupby(votes["validator"]).transform("sum")
        lead = ~votes.duplicated("validator")
        return votes.assign(weight_units=shares + short.where(lead, 0))

    clean = platform.lake.read("validator_collusion", last[0].id)
    assert not clean["flagged"].any()
    with monkeypatch.context() as patch:
        patch.setattr(SignalStore, "validator_weights", colluding)
        for epoch in last:
            assert run_epoch(epoch, restate="two validators collude").success
    table = platform.lake.read("validator_collusion", EPOCH.id)
    flagged = table[table["flagged"]]
    assert set(zip(flagged["validator"], flagged["other"], strict=True)) == {(first, second)}
    assert flagged["voted_in"].tolist() == [epoch.id for epoch in last]
    assert (flagged["correlation"] >= 0.95).all()
    # two epochs before there was one agreement, and no suspicion
    assert not platform.lake.read("validator_collusion", last[0].id)["flagged"].any()
