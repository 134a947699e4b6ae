"""Evidence of collusion as a table: what the votes of five epochs say of a pair."""

import numpy as np
import pandas as pd
import pytest

from data_contracts.consensus import ValidatorCollusion
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity import collusion_evidence
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.validator_collusion import collusion_table, misflagged

EPOCHS = [epoch.id for epoch in Epoch.range("2025-Q4-W43", "2025-Q4-W48")]
NAMES = ["5" + letter * 47 for letter in "ABCDEFG"]
MINERS = ["5" + letter * 47 for letter in "HJKLMNPQRSTUVWXYZ"]


def votes(epoch_id, *, together=False, seed=0):
    """Seven honest rows with their own noise of 0.1 %; A and B may add 30 % to the same miners."""
    rng = np.random.default_rng([seed, EPOCHS.index(epoch_id)])
    rows = rng.normal(1.0, 0.001, (7, len(MINERS)))
    if together:
        rows[:2, :5] *= 1.3
    units = np.rint(rows / rows.sum(axis=1, keepdims=True) * 10**9).astype(np.int64)
    return pd.DataFrame(
        {
            "validator": np.repeat(NAMES, len(MINERS)),
            "hotkey": np.tile(MINERS, 7),
            "weight_units": units.ravel(),
        }
    )


def season(agreeing, names=EPOCHS):
    return {one: votes(one, together=one in agreeing) for one in names}


def test_two_epochs_of_agreement_are_evidence_and_no_suspicion():
    table = collusion_table(season(EPOCHS[-2:]), epoch_id=EPOCHS[-1])
    assert table["voted_in"].tolist() == EPOCHS[-2:]
    assert set(zip(table["validator"], table["other"], strict=True)) == {(NAMES[0], NAMES[1])}
    assert table["agreeing_epochs"].tolist() == [2, 2]
    assert not table["flagged"].any()


def test_the_numbers_of_an_agreement_by_hand():
    # 17 miners, of them 5 at 1.3: a row is 1.3 or 1 over 5 x 1.3 + 12 = 18.5, the others' median is
    # 1/17. Off by 5 (1.3/18.5 - 1/17) + 12 (1/17 - 1/18.5) = 0.0572 + 0.0572 = 0.1144
    table = collusion_table({EPOCHS[-1]: votes(EPOCHS[-1], together=True)}, epoch_id=EPOCHS[-1])
    (row,) = table.to_dict("records")
    assert row["miners"] == 17
    assert row["deviation"] == pytest.approx(0.1144, abs=0.002)
    assert row["other_deviation"] == pytest.approx(0.1144, abs=0.002)
    assert row["correlation"] > 0.999
    assert (row["threshold"], row["deviation_threshold"]) == (0.95, 0.01)


@pytest.mark.parametrize(
    ("agreeing", "rows", "flagged"),
    [
        ([1, 3, 5], 3, True),
        ([0, 4, 5], 2, False),  # the first of six lies outside the window
        ([1, 2, 3], 3, True),  # and not only where the newest epoch is one of them
        ([0, 1, 2, 3, 4, 5], 5, True),
        ([], 0, False),
    ],
)
def test_three_of_five_epochs_are_a_suspicion(agreeing, rows, flagged):
    given = season([EPOCHS[at] for at in agreeing])
    table = collusion_table(given, epoch_id=EPOCHS[-1])
    assert len(table) == rows
    assert table["flagged"].tolist() == [flagged] * rows
    # what is flagged is what the rule calls evidence
    units = {
        one: frame.pivot(index="validator", columns="hotkey", values="weight_units").to_numpy(float)
        for one, frame in given.items()
    }
    evidence = collusion_evidence(units, dict.fromkeys(units, NAMES))
    assert len(evidence) == int(table["flagged"].sum())


def test_an_epoch_without_votes_is_one_without_agreement():
    given = season(EPOCHS[1:4])
    given[EPOCHS[-1]] = given[EPOCHS[-1]].head(0)
    table = collusion_table(given, epoch_id=EPOCHS[-1])
    assert table["flagged"].tolist() == [True] * 3
    ValidatorCollusion.validate(table)


def test_a_table_without_rows_keeps_its_contract():
    table = collusion_table(season([]), epoch_id=EPOCHS[-1])
    assert table.empty
    ValidatorCollusion.validate(table)
    assert misflagged(table).empty


def test_validators_in_another_order_are_the_same_table():
    given = season(EPOCHS[-3:])
    shuffled = {one: frame.sample(frac=1, random_state=3) for one, frame in given.items()}
    pd.testing.assert_frame_equal(
        collusion_table(given, epoch_id=EPOCHS[-1]),
        collusion_table(shuffled, epoch_id=EPOCHS[-1]),
    )


def test_a_miner_that_only_one_scored_is_not_compared():
    only = votes(EPOCHS[-1], together=True)
    only = only[~((only["validator"] == NAMES[1]) & only["hotkey"].isin(MINERS[5:]))]
    # 5 common miners, 8 are due
    assert collusion_table({EPOCHS[-1]: only}, epoch_id=EPOCHS[-1]).empty


def test_the_votes_end_with_the_epoch():
    with pytest.raises(InvalidIntegrityInput, match="not up to 2025-Q4-W47"):
        collusion_table(season([], EPOCHS[:-1]), epoch_id=EPOCHS[-1])
    with pytest.raises(InvalidIntegrityInput, match="not up to none"):
        collusion_table({}, epoch_id=EPOCHS[-1])


def test_wrong_counts_and_flags_are_seen():
    table = collusion_table(season(EPOCHS[-3:]), epoch_id=EPOCHS[-1])
    assert misflagged(table).empty
    assert len(misflagged(table.assign(flagged=False))) == 3
    assert len(misflagged(table.head(2))) == 2
    assert len(misflagged(table, QUANTA.changed(consensus__collusion_epochs=4))) == 3
    narrow = QUANTA.changed(consensus__collusion_window=2, consensus__collusion_epochs=2)
    assert len(misflagged(table, narrow)) == 3
