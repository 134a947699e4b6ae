"""The web leaderboard and the epoch's page in a real browser: they work, and for everyone.

Each page is looked at in light and dark, on a desk and on a phone, by axe-core's rules: contrast,
labels, roles, order of headings. Nothing may be said on the console or asked of another origin.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.api.conftest import Service, serving, settings
from tests.conftest import SETTLED

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LAST = SETTLED[-1].id
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@dataclass
class Watched:
    """A page, what it said on the console, and what it asked for."""

    page: Page
    home: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        self.page.goto(self.home + address)
        expect(self.page.locator("main h1")).to_be_visible(timeout=20_000)
        return self.page

    def was_quiet(self) -> None:
        assert self.said == []
        assert [one for one in self.asked if not one.startswith(self.home)] == []


def watched(context: BrowserContext, home: str) -> Watched:
    found = Watched(context.new_page(), home)
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("request", lambda request: found.asked.append(request.url))
    return found


@pytest.fixture
def desk(browser: Browser, published: Service) -> Iterator[Watched]:
    context = browser.new_context(viewport=DESK)
    yield watched(context, published.address)
    context.close()


@pytest.fixture(scope="module")
def explained(published_home: Path) -> pd.DataFrame:
    return pd.read_parquet(published_home / "lake" / "explanations" / f"{LAST}.parquet")


@pytest.fixture(scope="module")
def rewards(published_home: Path) -> pd.DataFrame:
    return pd.read_parquet(published_home / "lake" / "rewards" / f"{LAST}.parquet")


def miner(table: pd.DataFrame, rank: int = 1) -> str:
    return str(table.loc[table["rank"] == rank, "hotkey"].iloc[0])


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_for_everyone(
    browser: Browser, published: Service, explained: pd.DataFrame, scheme: str, size: dict[str, int]
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    look = watched(context, published.address)
    for address in ("/#/", f"/#/miner/{LAST}/{miner(explained)}", f"/reports/{LAST}.html"):
        page = look.open(address)
        for closed in page.locator("summary").all():
            if closed.locator("..").get_attribute("open") is None:
                closed.click()
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    look.was_quiet()
    context.close()


def test_the_rules_see_a_page_that_is_not_for_everyone(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<p style="color:#ccc">pale</p><img src="data:,"><input>')
    found = {one["id"] for one in Axe().run(page, options=RULES).response["violations"]}
    assert {"color-contrast", "image-alt", "label", "html-has-lang"} <= found
    page.close()


def test_the_board_shows_every_ranked_miner(desk: Watched, rewards: pd.DataFrame) -> None:
    page = desk.open("/")
    rows = page.locator("table.board tbody tr")
    ranked = rewards[rewards["standing"] == "ranked"].sort_values(["rank", "hotkey"])
    expect(rows).to_have_count(len(ranked))
    titles = [row.get_attribute("title") for row in page.locator("table.board tbody a").all()]
    assert titles == list(ranked["hotkey"])
    paid = rows.first.locator("td").last.inner_text().replace(",", "")
    whole = int(ranked["payout_rao"].iloc[0])
    assert paid == f"{whole // 10**9}.{whole % 10**9 // 10**7:02d}"
    others = rewards[rewards["standing"] != "ranked"]
    for hotkey in others["hotkey"]:
        expect(page.locator(f'a[title="{hotkey}"]')).to_have_count(1)
    desk.was_quiet()


def test_search_tier_and_order(desk: Watched, rewards: pd.DataFrame) -> None:
    page = desk.open("/")
    rows = page.locator("table.board tbody tr")
    hotkey = miner(rewards, 3)
    page.get_by_label("Search a hotkey").fill(hotkey[4:14].lower())
    expect(rows).to_have_count(1)
    expect(rows.first.locator("a")).to_have_attribute("title", hotkey)
    expect(page.get_by_role("status")).to_have_text("1 miners shown")
    page.get_by_label("Search a hotkey").fill("nobody is called that")
    expect(page.get_by_text("No miner fits")).to_be_visible()
    page.get_by_label("Search a hotkey").fill("")
    page.get_by_label("Tier").select_option("penalty_band")
    expect(rows).to_have_count(int((rewards["final_tier"] == "penalty_band").sum()))
    page.get_by_label("Tier").select_option("")
    page.get_by_role("button", name="Payout").click()
    expect(page.locator('th[aria-sort="descending"]')).to_contain_text("Payout")
    most = rewards.loc[rewards[rewards["standing"] == "ranked"]["payout_rao"].idxmax(), "hotkey"]
    expect(rows.first.locator("a")).to_have_attribute("title", str(most))
    desk.was_quiet()


def test_a_reader_without_a_mouse_gets_to_a_miner_and_to_another_epoch(
    desk: Watched, rewards: pd.DataFrame
) -> None:
    page = desk.open("/")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    order = []
    while "miner/" not in (order[-1] if order else ""):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "(e => e.getAttribute('href') || e.ariaLabel || e.labels?.[0]?.textContent"
                " || e.textContent)(document.activeElement)"
            )
        )
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    shape = [re.sub(r"2019.*", "", one) for one in order]
    assert shape[:2] == [f"/reports/{LAST}.html".split("2019")[0], "Earlier epoch"]
    assert "Search a hotkey" in order
    assert order.index("Search a hotkey") < order.index("Rank")
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_be_focused()
    expect(page.locator("main h1 span")).to_have_attribute("title", miner(rewards))
    page.get_by_role("button", name="Earlier epoch").press("Enter")
    expect(page).to_have_url(re.compile(f"/miner/{SETTLED[-2].id}/"))
    desk.was_quiet()


def test_a_miners_page_shows_its_payout_to_the_last_rao(
    desk: Watched, explained: pd.DataFrame
) -> None:
    for standing in ("ranked", "provisional", "unranked", "unrevealed"):
        of_kind = explained[explained["standing"] == standing]
        if of_kind.empty:
            continue
        row = of_kind.iloc[0]
        page = desk.open(f"/#/miner/{LAST}/{row['hotkey']}")
        whole = int(row["payout_rao"])
        paid = f"Paid {whole // 10**9}.{whole % 10**9:09d} ALPHA"
        expect(page.get_by_text(paid)).to_be_visible()
        expect(page.get_by_role("heading", name="If one thing were different")).to_be_visible()
        page.goto("about:blank")
    desk.asked = [one for one in desk.asked if one != "about:blank"]
    desk.was_quiet()


def test_text_stays_text(desk: Watched, explained: pd.DataFrame) -> None:
    hostile = '<img src=x onerror="document.title=1">'

    def spoiled(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["summary"] = hostile
        told["steps"][0]["says"] = hostile
        route.fulfill(response=answer, json=told)

    desk.page.route("**/v1/explanations/**", spoiled)
    page = desk.open(f"/#/miner/{LAST}/{miner(explained)}")
    expect(page.get_by_text(hostile).first).to_be_visible()
    assert page.locator("main img").count() == 0
    desk.was_quiet()


def test_what_cannot_be_shown_is_said(browser: Browser, desk: Watched, tmp_path: Path) -> None:
    page = desk.open("/#/epoch/2018-Q4-W48")
    expect(page.locator("h1")).to_have_text("This cannot be shown")
    with serving(settings(tmp_path)) as empty:
        context = browser.new_context()
        look = watched(context, empty.address)
        expect(look.open("/").locator("h1")).to_have_text("Nothing is published yet")
        context.close()


def test_the_report_works_without_a_network(browser: Browser, published_home: Path) -> None:
    context = browser.new_context(offline=True)
    look = watched(context, "file://")
    page = look.open(f"{published_home}/warehouse/reports/{LAST}.html")
    assert page.locator("svg").count() == 5
    assert look.asked == [page.url]
    page.get_by_role("link", name="all epochs").click()
    expect(page.locator("h1")).to_have_text("Settled epochs")
    look.was_quiet()
    context.close()
