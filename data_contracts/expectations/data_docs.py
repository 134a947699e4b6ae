"""Data Docs: a static site with a page per epoch and suite, and an index of all of them.

The site is built beside the one that people read and moved into it file by file, the index last: a
reader sees an epoch's old page or its new one, and no link that leads nowhere. What was found is
kept in ``.results`` below the folder, since the index is built from it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.data_context.types.resource_identifiers import (
        ValidationResultIdentifier,
    )

SITE = "prices"
_PLUGINS = Path(__file__).parent / "plugins"
_RESULTS = ".results"
_PAGES = "data_contracts.expectations.pages"


def quiet_context(folder: Path | None = None) -> "EphemeralDataContext":
    """A context that reports to nobody and draws no progress bars.

    With ``folder`` it keeps results and builds the site there, else in memory and nowhere.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, ProgressBarsConfig

    results = {"class_name": "ValidationResultsStore"}
    config = DataContextConfig(
        config_version=4.0,
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        plugins_directory=str(_PLUGINS),
        expectations_store_name="expectations",
        checkpoint_store_name="checkpoints",
        validation_results_store_name="results",
        stores={
            "expectations": {"class_name": "ExpectationsStore"},
            "checkpoints": {"class_name": "CheckpointStore"},
            "validation_definition_store": {"class_name": "ValidationDefinitionStore"},
            "results": results if folder is None else results | _below(folder / _RESULTS),
        },
        data_docs_sites={} if folder is None else {SITE: _site(folder)},
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def publish(
    result: "ExpectationSuiteValidationResult",
    *,
    batch: str,
    epoch_id: str,
    closes_at: datetime,
    folder: str,
) -> str:
    """Put an epoch's result into the site; returns its page, relative to ``folder``.

    ``batch`` names what was judged. The page's address follows from it and the epoch
    alone: judging it again replaces the page.
    """
    key = _key(result, batch, epoch_id, closes_at)
    result.meta = {
        "run_id": key.run_id.to_json_dict(),
        "active_batch_definition": result.meta["active_batch_definition"],
        "great_expectations_version": result.meta["great_expectations_version"],
    }
    name = Path(*key.to_tuple())  # type: ignore[no-untyped-call]
    page = Path("validations", name.with_suffix(".html"))
    site = Path(folder)
    site.mkdir(parents=True, exist_ok=True)
    with _alone(site), _beside(site) as built:
        for link in (built / page, built / _RESULTS / name.with_suffix(".json")):
            link.unlink(missing_ok=True)  # it would be written through
        context = quiet_context(built)
        context.validation_results_store.set(key, result)
        context.build_data_docs(site_names=[SITE], resource_identifiers=[key])
        _move(built, site)
    return page.as_posix()


def _key(
    result: "ExpectationSuiteValidationResult", batch: str, epoch_id: str, closes_at: datetime
) -> "ValidationResultIdentifier":
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    return ValidationResultIdentifier(
        expectation_suite_identifier=ExpectationSuiteIdentifier(name=result.suite_name),
        run_id=RunIdentifier(run_name=epoch_id, run_time=closes_at),
        batch_identifier=batch,
    )


def _site(folder: Path) -> dict[str, object]:
    """Pages of results alone: limits move from epoch to epoch, so no page of the suite is true."""
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        **_below(folder),
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "view": {"module_name": _PAGES, "class_name": "IndexPage"},
        },
        "site_section_builders": {
            "expectations": "none",
            "profiling": "none",
            "validations": {
                "class_name": "DefaultSiteSectionBuilder",
                "source_store_name": "results",
                "renderer": {"class_name": "ValidationResultsPageRenderer"},
                "view": {"module_name": _PAGES, "class_name": "EpochPage"},
            },
        },
    }


def _below(folder: Path) -> dict[str, object]:
    return {
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.resolve()),
            "suppress_store_backend_id": True,
        }
    }


@contextmanager
def _alone(site: Path) -> Iterator[None]:
    """One process at a time; the kernel takes the lock back from a process that was killed."""
    with (site / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _beside(site: Path) -> Iterator[Path]:
    """A site to build in: hard links to the pages and results that are already there."""
    for left_behind in site.glob(".build-*"):  # by a process that was killed
        shutil.rmtree(left_behind)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=site) as name:
        built = Path(name)
        for folder in ("validations", _RESULTS):
            if (site / folder).exists():
                shutil.copytree(site / folder, built / folder, copy_function=os.link)
        yield built


def _move(built: Path, site: Path) -> None:
    """Move what is new, the index last."""
    files = [file for file in built.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: (file.name == "index.html", file)):
        place = site / file.relative_to(built)
        if place.exists() and place.samefile(file):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
