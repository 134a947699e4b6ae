"""The page of an epoch and the index of all pages, from the lake's tables and two templates."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.epoch_report import charts
from quanta_pipelines.epoch_report.sections import EpochTables, versions_of
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.params import ProtocolParams, params_version

HEAD = 2000  # bytes of a page within which it says what it follows from


def epoch_page(lake: Lake, epoch: Epoch, params: ProtocolParams) -> bytes:
    """The page of a settled epoch whose explanations are published.

    Raises ``MissingTable`` and ``GateNotPassed`` where a table cannot be read.
    """
    read = EpochTables.of(lake, epoch.id)
    return rendered(read, epoch, params, digest=inputs_digest(lake, epoch, params))


def rendered(read: EpochTables, epoch: Epoch, params: ProtocolParams, *, digest: str) -> bytes:
    """The page of tables that were read; ``digest`` says what it follows from."""
    return _rendered(
        "epoch.html.j2",
        epoch=epoch,
        facts=read.facts(),
        board=read.board(),
        others=read.others(),
        intervals=charts.interval_plot(read.spans()),
        levels=read.levels_picture(),
        drawdowns=read.drawdowns_picture(),
        tiers=read.tiers(),
        rewards=charts.reward_curve(read.rewards()),
        money=charts.sankey(read.flows(), read.flow_columns()),
        validators=read.validators(),
        quality=read.quality(),
        beside=read.beside(),
        provenance=read.provenance(params),
        inputs=read.found,
        drawn=read.drawn(),
        digest=digest,
    )


def inputs_digest(lake: Lake, epoch: Epoch, params: ProtocolParams) -> str:
    """What a page follows from: the versions of its tables, the rules, this code."""
    digest = hashlib.sha256(_own_version().encode() + params_version(params).encode())
    for version in versions_of(lake, epoch.id):
        digest.update(f"{version.table} {version.content_hash}\n".encode())
    return digest.hexdigest()


def is_current(page: bytes, lake: Lake, epoch: Epoch, params: ProtocolParams) -> bool:
    """Whether a page is the one that ``epoch_page`` would give."""
    return inputs_digest(lake, epoch, params).encode() in page[:HEAD]


def index_page(epoch_ids: Sequence[str]) -> bytes:
    """A page that links the pages of these epochs, the newest first."""
    return _rendered("index.html.j2", epochs=sorted(epoch_ids, reverse=True))


@lru_cache(maxsize=1)
def _own_version() -> str:
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *(folder / "templates").iterdir()]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _rendered(template: str, **values: Any) -> bytes:
    return (_templates().get_template(template).render(**values) + "\n").encode()


@lru_cache(maxsize=1)
def _templates() -> Environment:
    """Everything is escaped unless it is markup already; a name that is missing is an error."""
    found = Environment(
        loader=PackageLoader("quanta_pipelines.epoch_report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["alpha"] = charts.alpha
    return found
