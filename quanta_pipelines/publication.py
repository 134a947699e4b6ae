"""What people read of settled epochs: explanations in the lake, a page for each epoch, an index.

Written beside the marts. What is current already is left alone: an explanation whose verdict rests
on the tables that stand there now, a page whose bytes are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from data_contracts.explanations import Explanations
from data_contracts.tables import CONTRACTS
from quanta_pipelines import epoch_report, explanation
from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.code_version import code_version, sources_version
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import MissingTable, Version, glanced
from quanta_pipelines.contract_type import audit
from quanta_pipelines.explanation import NotExplained
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import UnknownSessions
from quanta_pipelines.resources import EpochRun, Platform

TABLE = "explanations"
INDEX = "index.html"


@dataclass(frozen=True)
class Published:
    """What became of one epoch: where its page is, or why it has none."""

    epoch_id: str
    page: str
    miners: int
    reason: str = ""


def reports_folder(platform: Platform) -> Path:
    """Where the pages lie."""
    return platform.warehouse.folder / "reports"


def publish_pages(platform: Platform, epoch_ids: Sequence[str]) -> list[Published]:
    """Explains and reports epochs, oldest first, and writes the index of all pages.

    An epoch that was settled under other rules, or whose tables do not fit together, is left
    without, and says why.
    """
    platform = replace(platform, lake=glanced(platform.lake))
    done = [_published(platform, epoch_id) for epoch_id in sorted(epoch_ids)]
    files = AtomicFiles(str(reports_folder(platform)))
    known = [stem for stem in files.stems("", ".html") if stem != "index"]
    files.write(INDEX, epoch_report.index_page(known))
    return done


def explained(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    """The table of explanations of a settled epoch; published where it is not current.

    Raises ``MissingTable``, ``GateNotPassed`` and ``NotExplained``.
    """
    _explain(platform, epoch)
    return platform.lake.read(TABLE, epoch.id, gates=Explanations.gates())


def report(platform: Platform, epoch: Epoch) -> Path:
    """Publishes the page of a settled epoch and the index; raises as ``explained`` does."""
    _explain(platform, epoch)
    done = publish_pages(platform, [epoch.id])
    if not done[0].page:
        raise NotExplained(done[0].reason)
    return reports_folder(platform) / done[0].page


def _explain(platform: Platform, epoch: Epoch) -> Version:
    """The version of the explanations that stands there, once it is current."""
    lake, rules = platform.lake, _explanation_version()
    if lake.refusal(TABLE, epoch.id, Explanations.gates()) is None:
        found = lake.version(TABLE, epoch.id)
        if found.code_version == rules:
            return found
    run = EpochRun(platform, epoch)
    previous = _previous(run)
    table = explanation.explain_epoch(
        _tables(run), previous, epoch_id=epoch.id, params=platform.params
    )
    return _publish(run, table, rules)


def _published(platform: Platform, epoch_id: str) -> Published:
    epoch, name = Epoch.parse(epoch_id), f"{epoch_id}.html"
    files = AtomicFiles(str(reports_folder(platform)))
    try:
        miners = _explain(platform, epoch).rows
        if not epoch_report.is_current(_head(files, name), platform.lake, epoch, platform.params):
            files.write(name, epoch_report.epoch_page(platform.lake, epoch, platform.params))
    except (MissingTable, GateNotPassed, NotExplained) as error:
        return Published(epoch_id, "", 0, str(error))
    return Published(epoch_id, name, miners)


def _head(files: AtomicFiles, name: str) -> bytes:
    """The beginning of a page, where it says what it follows from; nothing where there is none."""
    try:
        with files.open(name) as file:
            return file.read(epoch_report.HEAD)
    except FileNotFoundError:
        return b""


def _tables(run: EpochRun) -> Mapping[str, pd.DataFrame]:
    """The tables that an explanation reads, with those of them that not every epoch has."""
    lake = run.platform.lake
    beside = [
        name for name in explanation.ALSO_READ if name in CONTRACTS and lake.exists(name, run.id)
    ]
    names = [*explanation.READ, *beside]
    return {name: run.read(name, CONTRACTS[name].gates()) for name in names}


def _previous(run: EpochRun) -> pd.DataFrame | None:
    """Explanations of the epoch before, whose records go on; nothing where there are none."""
    try:
        before = run.epoch.previous()
    except UnknownSessions:
        return None
    lake = run.platform.lake
    if lake.refusal(TABLE, before.id, Explanations.gates()) is not None:
        return None
    found = lake.load(TABLE, before.id, gates=Explanations.gates())
    run.inputs[f"{TABLE} {before.id}"] = found.version.content_hash
    return found.frame


def _publish(run: EpochRun, table: pd.DataFrame, rules: str) -> Version:
    cases = audit(Explanations, table, run.id)
    if cases is not None:
        broken = ", ".join(sorted({str(check) for check in cases["check"]}))
        raise NotExplained(f"explanations of {run.id} break their contract: {broken}")
    lake, stamp = run.platform.lake, run.platform.stamp()
    version = lake.publish(
        TABLE, run.id, table, params_version=stamp["params_version"], code_version=rules
    )
    lake.record_verdict(
        TABLE,
        run.id,
        "contract",
        passed=True,
        content_hash=version.content_hash,
        detail="",
        inputs=run.inputs,
    )
    return version


def _explanation_version() -> str:
    """Hash of the rules and of the code that explains them."""
    own = sources_version(Path(explanation.__file__).parent)
    return f"{code_version()[:32]}{own[:32]}"
