"""One season: the honest miners of a world, some attackers, and every epoch settled by the steps.

Tables of the season stay in memory, by table and epoch, and reach the next step as they were
computed; ``audited`` holds each against its contract first. Intervals of scores are left out:
nobody is paid by them.
"""

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, Loaded, Version
from quanta_pipelines.adapters.signal_store.cases import CaseEvent, OpenCase
from quanta_pipelines.contract_type import audit
from quanta_pipelines.protocol.epoch import Epoch, settles_at, submission_offset
from quanta_pipelines.protocol.integrity.case_table import OPEN
from quanta_pipelines.protocol.ledger import pool_balance
from quanta_pipelines.protocol.oracle import data_hash
from quanta_pipelines.protocol.params import params_version
from quanta_pipelines.protocol.portfolio import RAO, accepted_positions
from quanta_pipelines.protocol.votes import validator_row
from quanta_pipelines.red_team.findings import Findings, alarms_of, money_of
from quanta_pipelines.red_team.specification import SpecificationSeason
from quanta_pipelines.red_team.world import NEAR_CASH, PRICE_TABLES, WARM_UP, World, closes_at
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.simulation.attackers.scene import Leak, MinerAttack, Scene, honest
from quanta_pipelines.simulation.attackers.validators import HonestVoter, Voter, season_rng
from quanta_pipelines.simulation.keys import OWN_VALIDATOR, simulated_key
from quanta_pipelines.simulation.miners import Plan, commit_all, reveal_all
from quanta_pipelines.steps import steps_in_order

EMISSION_RAO = 1_000 * RAO  # of the whole subnet, an epoch
STAKE_RAO = 100_000 * RAO  # of every validator
BOND_RAO = 100 * RAO  # of every miner, above S_min of a cluster of five
DELIBERATION = dt.timedelta(days=3)  # from the opening of a case to the operator's decision
BOARD = ("hotkey", "rank", "final_tier")
OTHERS = 12  # validators beside the platform's own, where votes are attacked
LEFT_OUT = "score_intervals"
LEDGER = "ledger_entries"


@dataclass(frozen=True)
class Cast:
    """Who attacks in a season, with the seats each takes over, and who votes how."""

    name: str
    attacks: Mapping[str, tuple[MinerAttack, tuple[int, ...]]] = field(default_factory=dict)
    voters: Mapping[str, Voter] = field(default_factory=dict)  # by hotkey; the others are honest
    voting: bool = False  # whether validators other than the platform's own vote


@dataclass(frozen=True)
class RememberedRun(EpochRun):
    """A run whose earlier tables are those that this season computed."""

    memory: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    rules: str = ""  # version of the rule set

    def _load(self, table: str, epoch: Epoch, gates: Sequence[str]) -> Loaded:
        if (table, epoch.id) not in self.memory:
            return EpochRun._load(self, table, epoch, gates)
        frame = self.memory[table, epoch.id]
        return Loaded(frame, Version(table, epoch.id, "", len(frame), "", self.rules, ""))

    def together(self, table: str, gates: Sequence[str], epochs: Sequence[Epoch]) -> pd.DataFrame:
        """Earlier tables in one frame, those of the season from its memory."""
        frames = [self._load(table, epoch, gates).frame for epoch in epochs]
        return pd.concat(frames, ignore_index=True)


def others() -> tuple[str, ...]:
    """Hotkeys of the validators beside the platform's own."""
    return tuple(simulated_key(f"red team validator {n}").hotkey for n in range(1, OTHERS + 1))


@dataclass
class Season:
    """Plays one cast through the epochs of a world."""

    world: World
    cast: Cast
    home: Path
    audited: bool = False
    memory: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    players: dict[str, set[str]] = field(default_factory=dict)  # hotkeys by attack

    def play(self) -> Findings:
        """The measured epochs, after the warm-up that all seasons share, and what came of them."""
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.world.folder / "signals.db", self.home / "signals.db")
        shared = self.world.folder / "lake" / LEDGER
        shutil.copytree(shared, self.home / "lake" / LEDGER)  # the books are the season's own
        platform = replace(self.world.platform(self.home), lake=Lake(str(self.home / "lake")))
        self.memory = _remembered(self.world.lake, self.world.epochs[:WARM_UP])
        specification = SpecificationSeason(self._returns, EMISSION_RAO)
        findings = self._findings()
        for epoch in self.world.measured:
            tables = self.settle(platform, epoch)
            spec = specification.settle(epoch, tables, partial(self._rows, epoch))
            findings.add(epoch.id, money_of(tables), money_of(spec), alarms_of(tables))
        findings.copied = {
            name: str(target)
            for name, (attack, _) in self.cast.attacks.items()
            if (target := getattr(attack, "target", ""))
        }
        platform.store.close()
        return findings

    def settle(self, platform: Platform, epoch: Epoch) -> dict[str, pd.DataFrame]:
        """One epoch: what the seats send, every step, and the operator's decisions."""
        self._signals(platform, epoch)
        tables = self._steps(platform, epoch)
        decide(platform, tables["integrity_cases"])
        return tables

    @cached_property
    def _returns(self) -> pd.DataFrame:
        return self.world.total_returns()

    def _findings(self) -> Findings:
        seats = tuple(seat.hotkey for seat in self.world.seats)
        return Findings(
            self.world.seed,
            self.cast.name,
            players=self.players,
            seats={
                name: frozenset(seats[at] for at in taken)
                for name, (_, taken) in self.cast.attacks.items()
            },
            all_seats=seats,
            miners=frozenset({*seats, *(miner.hotkey for miner in self.world.honest)}),
        )

    def _snapshot(self, platform: Platform, epoch: Epoch, sent: Sequence[Plan]) -> None:
        """Everyone has bonded the same, under whatever name it comes."""
        voters = (OWN_VALIDATOR, *(others() if self.cast.voting else ()))
        platform.store.record_snapshot(
            epoch,
            emission_rao=EMISSION_RAO,
            external_rao=0,
            stakes=dict.fromkeys(voters, STAKE_RAO),
            source="simulated",
            bonds=dict.fromkeys(
                sorted({*self._findings().miners, *(_sender(plan) for plan in sent)}), BOND_RAO
            ),
        )

    def _signals(self, platform: Platform, epoch: Epoch) -> None:
        """The seats send what they send; the honest miners' signals are in the store."""
        taken = {seat for _, seats in self.cast.attacks.values() for seat in seats}
        attacking = self._attacking(epoch)
        scene = self._scene(platform, epoch, watched=attacking and bool(taken))
        free = [seat for at, seat in enumerate(self.world.seats) if not (attacking and at in taken)]
        plans: list[Plan] = honest(scene, free)
        if attacking:
            for name, (attack, seats) in self.cast.attacks.items():
                moves = attack.moves(scene, [self.world.seats[at] for at in seats])
                names = {step.miner.hotkey for move in moves for step in move.commits}
                self.players.setdefault(name, set()).update(names)
                plans += moves
        self._snapshot(platform, epoch, plans)
        commit_all(platform.store, epoch, plans)
        reveal_all(platform.store, epoch, plans)

    def _attacking(self, epoch: Epoch) -> bool:
        return epoch >= self.world.measured[0]

    def _scene(self, platform: Platform, epoch: Epoch, *, watched: bool) -> Scene:
        """What attackers see; nothing but prices where none of them looks."""
        store, before = platform.store, epoch.previous().id
        day = pd.Timestamp(epoch.sessions[0])
        board = self.memory.get(("rewards", before), pd.DataFrame(columns=BOARD))
        return Scene(
            epoch=epoch,
            closes=closes_at(self._returns, store.universe(epoch.id), epoch),
            revealed={
                held: frame for (table, held), frame in self.memory.items() if table == "portfolios"
            },
            board=board[list(BOARD)],
            leaks=_leaks(platform, epoch) if watched else {},
            first_session=self._returns[self._returns.index == day].iloc[0],
            near_cash=NEAR_CASH,
            params=platform.params,
        )

    def _steps(self, platform: Platform, epoch: Epoch) -> dict[str, pd.DataFrame]:
        """Every step of the epoch, votes of the others in time for theirs."""
        rules = params_version(platform.params)
        run = RememberedRun(platform, epoch, memory=self.memory, rules=rules)
        tables = {name: self.world.lake.read(name, epoch.id) for name in sorted(PRICE_TABLES)}
        for step in steps_in_order():
            if step.name == LEFT_OUT or PRICE_TABLES.issuperset(step.tables):
                continue
            if step.name == "validator_weights" and self.cast.voting:
                self._vote(platform, epoch, tables)
            tables |= step(run, tables)
        if self.audited:
            _require_contracts(tables, epoch)
        self.memory |= {(name, epoch.id): frame for name, frame in tables.items()}
        _post(platform, epoch, tables[LEDGER])
        return tables

    def _vote(self, platform: Platform, epoch: Epoch, tables: Mapping[str, pd.DataFrame]) -> None:
        scored = validator_row(tables["scores"], tables["horizon_metrics"], platform.params)
        agreed = self.memory.get(("consensus", epoch.previous().id), pd.DataFrame())
        prices = data_hash(tables["validated_prices"])
        for hotkey, row in self._rows(epoch, scored, agreed).items():
            at = settles_at(epoch, platform.params) + submission_offset(hotkey, epoch)
            platform.store.submit_weights(hotkey, epoch, row, prices, received_at=at)

    def _rows(
        self, epoch: Epoch, scored: pd.DataFrame, agreed: pd.DataFrame
    ) -> dict[str, pd.DataFrame]:
        """Votes of the validators beside the platform's own; nobody's where nobody is ranked."""
        if scored.empty or not self.cast.voting:
            return {}
        attacking = self._attacking(epoch)
        rows = {}
        for hotkey in others():
            voter = self.cast.voters.get(hotkey, HonestVoter()) if attacking else HonestVoter()
            rows[hotkey] = voter.vote(scored, agreed, season_rng(hotkey, epoch.id))
        return rows


def warm_up(world: World) -> None:
    """Settles the epochs before the attacks, once for all seasons of a world; all are honest."""
    season = Season(world, Cast("warm-up"), world.folder)
    platform = world.platform(world.folder)
    for epoch in world.epochs[:WARM_UP]:
        tables = season.settle(platform, epoch)
        for name, frame in tables.items():
            if name == LEDGER or name in PRICE_TABLES:
                continue
            stamp = platform.stamp()
            platform.lake.publish(
                name,
                epoch.id,
                frame,
                params_version=stamp["params_version"],
                code_version=stamp["code_version"],
            )
    platform.store.close()


def _post(platform: Platform, epoch: Epoch, ledger: pd.DataFrame) -> None:
    """Publishes the epoch's ledger, which the next one carries on from, once it closes."""
    _require_contracts({LEDGER: ledger}, epoch)
    if left := pool_balance(ledger):
        raise ValueError(f"{left} rao are left in the pool of {epoch}")
    stamp = platform.stamp()
    version = platform.lake.publish(
        LEDGER,
        epoch.id,
        ledger,
        params_version=stamp["params_version"],
        code_version=stamp["code_version"],
    )
    for gate in CONTRACTS[LEDGER].gates():
        platform.lake.record_verdict(
            LEDGER,
            epoch.id,
            gate,
            passed=True,
            content_hash=version.content_hash,
            detail="the season's own look at contract and pool",
        )


def _remembered(lake: Lake, epochs: Sequence[Epoch]) -> dict[tuple[str, str], pd.DataFrame]:
    """All tables of some settled epochs."""
    return {
        (name, epoch.id): lake.read(name, epoch.id)
        for epoch in epochs
        for name in CONTRACTS
        if name != LEFT_OUT
    }


def _leaks(platform: Platform, epoch: Epoch) -> dict[str, Leak]:
    """What the honest miners will reveal: it is in the store before an attacker acts."""
    store = platform.store
    known = accepted_positions(store.reveals(epoch.id), store.commitments(epoch.id))
    return {
        str(hotkey): Leak(
            tuple(
                (str(ticker), f"{weight:.6f}")
                for ticker, weight in zip(rows["ticker"], rows["submitted_weight"], strict=True)
            ),
            rows["committed_at"].iloc[0].to_pydatetime(),
        )
        for hotkey, rows in known.groupby("hotkey")
    }


def _sender(plan: Plan) -> str:
    return plan.commits[0].miner.hotkey


def decide(platform: Platform, cases: pd.DataFrame) -> None:
    """The operator confirms every case some days after it was opened, and knows no names."""
    for row in cases[cases["state"] == OPEN].itertuples():
        opened, last = pd.Timestamp(str(row.opened_at)), pd.Timestamp(str(row.decide_by))
        case = OpenCase(str(row.case_id), opened.to_pydatetime(), last.to_pydatetime())
        platform.store.cases.record(
            case,
            CaseEvent.CONFIRM,
            author="simulated operator",
            reason="the evidence is over every threshold",
            at=case.opened_at + DELIBERATION,
        )


def _require_contracts(tables: Mapping[str, pd.DataFrame], epoch: Epoch) -> None:
    for name, frame in tables.items():
        failure = audit(CONTRACTS[name], frame, epoch.id)
        if failure is not None:
            raise ValueError(f"{name} of {epoch} breaks its contract: {failure.iloc[0].to_dict()}")
