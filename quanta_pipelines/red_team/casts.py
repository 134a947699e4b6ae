"""Which seasons are played so that every attack that was asked for is seen once."""

from collections.abc import Sequence

from quanta_pipelines.red_team.season import Cast, others
from quanta_pipelines.red_team.world import World
from quanta_pipelines.simulation.attackers import IDLE, KINDS, RING, SHARED, VALIDATOR_KINDS
from quanta_pipelines.simulation.attackers.validators import (
    Colluder,
    HonestVoter,
    LazyValidator,
    Voter,
    WeightCopier,
)

HONEST, VOTING = "honest", "honest, voting"
RING_SEATS = (0, 1, 2)  # the miners that the ring votes up
RING_VOTERS = (0, 1)  # places among the other validators
IDLE_VOTERS = {IDLE[0]: 0, IDLE[1]: 1}


def names_of_casts(attacks: Sequence[str], *, apart: bool = False) -> list[str]:
    """The seasons in which the attacks are seen, those without an attack first."""
    groups = _groups([name for name in attacks if name in KINDS], apart=apart)
    voting = [name for name in attacks if name in VALIDATOR_KINDS]
    names = [HONEST] if groups else []
    names += [" + ".join(group) for group in groups]
    names += [VOTING] if voting else []
    names += [RING] if RING in voting else []
    idle = [name for name in IDLE if name in voting]
    return names + ([" + ".join(idle)] if idle else [])


def cast_of(name: str, world: World) -> Cast:
    """The people of a season, with fresh attackers."""
    if name in (HONEST, VOTING):
        return Cast(name, voting=name == VOTING)
    parts = name.split(" + ")
    if parts[0] in VALIDATOR_KINDS:
        return Cast(name, voters=_voters(parts, world), voting=True)
    attacks, taken = {}, 0
    for part in parts:
        attack = KINDS[part].create()
        attacks[part] = (attack, tuple(range(taken, taken + attack.seats)))
        taken += attack.seats
    return Cast(name, attacks=attacks)


def _groups(names: Sequence[str], *, apart: bool) -> list[list[str]]:
    """Attacks by season: those that may share one together, all others by themselves."""
    shared = [] if apart else [[name for name in group if name in names] for group in SHARED]
    known = {name for group in shared for name in group}
    alone = [[name] for name in names if name not in known]
    return [group for group in (*shared, *alone) if group]


def _voters(parts: Sequence[str], world: World) -> dict[str, Voter]:
    hotkeys = others()
    if RING in parts:
        friends = [world.seats[at].hotkey for at in RING_SEATS]
        return {hotkeys[at]: Colluder(friends) for at in RING_VOTERS}
    made: dict[str, Voter] = {IDLE[0]: WeightCopier(), IDLE[1]: LazyValidator()}
    return {
        hotkeys[at]: made[name] if name in parts else HonestVoter()
        for name, at in IDLE_VOTERS.items()
    }
