"""The page that maps the specification's agents names every schedule and sensor there is."""

import re

from quanta_pipelines.definitions import defs
from quanta_pipelines.settings import PROJECT

AGENTS = ("market data, 30 s", "scoring, 5 min", "consensus, 10 min", "distribution, 1 h")
MONITORING = "monitoring, 1 min"


def section(title: str) -> str:
    page = (PROJECT / "docs/operations.md").read_text()
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_agent_is_mapped_and_every_schedule_and_sensor_belongs_to_one() -> None:
    rows = [line.split("|")[1:-1] for line in section("The specification's agents").splitlines()]
    mapped = {row[0].strip(): row[2] for row in rows if len(row) == 4}
    assert {*AGENTS, MONITORING} <= set(mapped)
    known = {each.name for each in (*(defs.schedules or ()), *(defs.sensors or ()))}
    named = {name for cell in mapped.values() for name in re.findall(r"`([a-z_]+)`", cell)}
    assert named == known


def test_every_schedule_has_its_phase() -> None:
    named = set(re.findall(r"`((?:epoch|marts)_[a-z_]+)`", section("Phases, and who acts in each")))
    assert named == {each.name for each in defs.schedules or ()}
