"""An epoch's page: what the tables say, escaped, whatever they say, and nothing from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.epoch_report import charts, epoch_page, index_page
from quanta_pipelines.epoch_report.page import rendered
from quanta_pipelines.epoch_report.sections import EpochTables
from quanta_pipelines.explanation import READ, explain_epoch
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.publication import publish_pages
from quanta_pipelines.resources import Platform
from tests.conftest import SETTLED

EPOCH = SETTLED[-1]
HOSTILE = '</td><script>alert(1)</script><a href="//elsewhere">'


@pytest.fixture(scope="module")
def frames(settled_home: Path) -> dict[str, pd.DataFrame]:
    """The epoch's tables; tests copy what they change."""
    lake = Lake(str(settled_home / "lake"))
    found = {name: lake.read(name, EPOCH.id) for name in CONTRACTS}
    read = {name: found[name] for name in READ}
    explained = explain_epoch(read, None, epoch_id=EPOCH.id, params=QUANTA)
    return {**found, "explanations": explained}


def page_of(frames: dict[str, pd.DataFrame], platform: Platform) -> str:
    versions = tuple(platform.lake.version(name, EPOCH.id) for name in CONTRACTS)
    return rendered(EpochTables(frames, versions), EPOCH, QUANTA, digest="0" * 64).decode()


class Links(HTMLParser):
    """What a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def links(page: str) -> Links:
    found = Links()
    found.feed(page)
    return found


def test_a_page_holds_every_miner_and_loads_nothing(
    platform: Platform, frames: dict[str, pd.DataFrame]
) -> None:
    page = page_of(frames, platform)
    for hotkey in frames["explanations"]["hotkey"]:
        assert f'title="{hotkey}"' in page
    found = links(page)
    assert set(found.places) == {"index.html"}
    assert not {"script", "img", "link", "iframe", "object"} & set(found.tags)
    version = platform.lake.version("rewards", EPOCH.id)
    assert version.content_hash in page
    assert version.params_version in page
    for table in ("integrity_flags", "integrity_cases", "pool_payouts", "validator_collusion"):
        if table not in frames:
            assert f"<code>{table}</code> is not published" in page


def test_whatever_a_table_says_is_text(platform: Platform, frames: dict[str, pd.DataFrame]) -> None:
    payouts = pd.DataFrame({"epoch_id": [EPOCH.id], "operator": [HOSTILE], "note": [HOSTILE]})
    others = frames["explanations"].assign(reason=HOSTILE)
    consensus = frames["consensus"].assign(reason=HOSTILE)
    spoiled = {**frames, "explanations": others, "consensus": consensus, "pool_payouts": payouts}
    page = page_of(spoiled, platform)
    found = links(page)
    assert "script" not in found.tags
    assert set(found.places) == {"index.html"}
    assert page.count("&lt;script&gt;") > 2


def test_money_on_both_sides_is_the_ledgers(frames: dict[str, pd.DataFrame]) -> None:
    flows = EpochTables(frames, ()).flows()
    came = sum(flow.amount for flow in flows if flow.target == "Pool")
    went = sum(flow.amount for flow in flows if flow.source == "Pool")
    ledger = frames["ledger_entries"]
    assert came == went == ledger.loc[ledger["to_account"] == "pool", "amount_rao"].sum()


def test_an_epoch_without_consensus_has_a_page(
    platform: Platform, frames: dict[str, pd.DataFrame]
) -> None:
    nobody = frames["rewards"].assign(
        standing="unranked", reason="no consensus", rank=pd.NA, tier=None, final_tier=None
    )
    nobody = nobody.assign(gross_rao=0)
    empty = {name: frames[name].head(0) for name in ("consensus", "validator_weights")}
    page = page_of({**frames, **empty, "rewards": nobody}, platform)
    assert "Nobody is ranked in this epoch." in page
    assert "nan" not in re.sub(r"[0-9A-Za-z]{20,}", "", page).lower().split()


def test_pictures_are_well_formed_and_true() -> None:
    drawn = charts.interval_plot([charts.Span("<1>", "top_tier", 0.5, 0.25, 0.75)])
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    line = next(one for one in root.iter() if one.get("class") == "whisker top_tier")
    dot = next(one for one in root.iter() if one.get("class") == "dot top_tier")
    ends = float(line.get("x1", "")), float(line.get("x2", ""))
    assert float(dot.get("cx", "")) == pytest.approx(sum(ends) / 2)  # 0.5 lies in the middle
    assert ends[1] - ends[0] == pytest.approx(0.5 * (charts.WIDTH - 170))  # half of the axis
    bars = ElementTree.fromstring(charts.reward_curve([(1, "top_tier", 4), (2, "profitable", 1)]))  # noqa: S314
    heights = [float(one.get("height", "")) for one in bars.iter() if "rect" in one.tag]
    assert heights[0] == pytest.approx(4 * heights[1])
    for nothing in (charts.reward_curve([]), charts.interval_plot([]), charts.sankey([], [[], []])):
        ElementTree.fromstring(nothing)  # noqa: S314


def test_pages_are_current_until_a_table_changes(platform: Platform) -> None:
    publish_pages(platform, [EPOCH.id])
    page = platform.warehouse.folder / "reports" / f"{EPOCH.id}.html"
    first = page.read_bytes()
    assert first == epoch_page(platform.lake, EPOCH, platform.params)
    done = publish_pages(platform, [EPOCH.id, "2018-Q4-W48"])
    assert [bool(each.page) for each in done] == [False, True]
    assert "2018-Q4-W48" in done[0].reason
    assert page.read_bytes() == first


def test_the_index_lists_the_newest_first() -> None:
    page = index_page(["2019-Q3-W29", "2019-Q3-W30"]).decode()
    assert links(page).places == ["2019-Q3-W30.html", "2019-Q3-W29.html"]
    assert "No epoch has a page yet" in index_page([]).decode()
