"""The steps of all assets in their order, for whoever computes an epoch outside the graph."""

from graphlib import TopologicalSorter
from importlib import import_module

from data_contracts.tables import PROVISIONAL, STAGES
from quanta_pipelines.contract_type import STEPS, Step


def steps_in_order() -> list[Step]:
    """The steps of a whole epoch, each after those whose tables it reads."""
    for stage in STAGES:  # a stage is a module; importing it declares its steps
        import_module(f"quanta_pipelines.assets.{stage}")
    steps = [step for step in STEPS.values() if not PROVISIONAL.keys() & set(step.tables)]
    maker = {table: step.name for step in steps for table in step.tables}
    reads = {step.name: [maker[table] for table in step.inputs] for step in steps}
    return [STEPS[name] for name in TopologicalSorter(reads).static_order()]
