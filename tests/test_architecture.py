"""The shape of the project: what imports what, and what the graph looks like."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from data_contracts.tables import CONTRACTS, STAGES
from quanta_pipelines.checks import INVARIANTS
from quanta_pipelines.definitions import build_defs

PROJECT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).parent / "golden" / "graph.json"
MAIN_LINE = (
    "raw_prices",
    "validated_prices",
    "portfolio_returns",
    "horizon_metrics",
    "scores",
    "consensus",
    "rewards",
)

WITHOUT_ORCHESTRATOR = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dagster", "sqlalchemy", "pyarrow", "duckdb", "pandera"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from quanta_pipelines.protocol import consensus, epoch, metrics, rewards
print(epoch.Epoch.parse("2025-Q4-W48").closes_at.isoformat())
"""


def test_the_rules_import_where_dagster_is_not_installed() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_ORCHESTRATOR],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert run.stdout.strip() == "2025-11-28T18:00:00+00:00", run.stderr


def test_the_definitions_load_as_a_repository() -> None:
    dg.Definitions.validate_loadable(build_defs())


def specs() -> dict[str, dg.AssetSpec]:
    assets = build_defs().resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in assets}


def test_the_main_line_has_its_keys_and_its_order() -> None:
    found = specs()
    for before, after in pairwise(MAIN_LINE):
        deps = {dep.asset_key.to_user_string() for dep in found[after].deps}
        assert before in deps, f"{after} does not read {before}"


def test_every_asset_explains_itself() -> None:
    for name, spec in specs().items():
        assert spec.description, name
        assert spec.owners, name
        assert spec.group_name in {*STAGES, "marts"}, name
        assert "dagster/column_schema" in spec.metadata, name


def test_every_declared_invariant_is_implemented_and_used() -> None:
    declared = [gate for contract in CONTRACTS.values() for gate in contract.gates()[1:]]
    assert sorted(declared) == sorted(INVARIANTS)


def test_no_default_io_manager_is_bound() -> None:
    # the default one pickles, and whoever can write its files can run code here
    io_manager = build_defs().resources["io_manager"]
    assert type(io_manager).__name__ == "NoValues"


def test_the_graph_is_the_reviewed_one(request: pytest.FixtureRequest) -> None:
    found = {
        name: {
            "group": spec.group_name,
            "partitioned": spec.partitions_def is not None,
            "reads": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        }
        for name, spec in sorted(specs().items())
    }
    text = json.dumps(found, indent=2) + "\n"
    if request.config.getoption("--golden-update"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), "look at the change, then: make golden"
