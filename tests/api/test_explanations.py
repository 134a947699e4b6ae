"""What is served of explanations, standings and pages is what was published, and no more."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.api.responses import ExplanationResponse
from quanta_pipelines.simulation.keys import simulated_key
from tests.api.conftest import Service, key, refused, serving, settings
from tests.conftest import SETTLED

LAST = SETTLED[-1].id
WEB = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"


@pytest.fixture(scope="module")
def published_table(published_home: Path) -> pd.DataFrame:
    return pd.read_parquet(published_home / "lake" / "explanations" / f"{LAST}.parquet")


def test_every_explanation_is_served_as_it_was_published(
    published: Service, published_table: pd.DataFrame
) -> None:
    for row in published_table.to_dict("records"):
        answer = published.get(f"/v1/explanations/{LAST}/{row['hotkey']}")
        assert answer.json() == json.loads(row["explanation"]) | {"for_owner": None}
        ExplanationResponse.model_validate_json(answer.content)  # closed: no field beside
        again = published.get(
            f"/v1/explanations/{LAST}/{row['hotkey']}",
            headers={"If-None-Match": answer.headers["ETag"]},
        )
        assert (again.status_code, again.content) == (304, b"")


def test_positions_are_the_miners_alone(published: Service, published_table: pd.DataFrame) -> None:
    own = simulated_key("miner 00")
    target = f"/v1/explanations/{LAST}/{own.hotkey}"
    mine = published.signed(own, "GET", target)
    steps = {step["name"]: step for step in mine.json()["for_owner"]}
    assert set(steps) == {"positions", "sessions", "votes"}
    assert len(steps["sessions"]["facts"]) == 2 * len(SETTLED[-1].sessions)
    held = steps["positions"]["facts"]
    assert sum(float(one["value"]) for one in held if one["name"] == "weight") == pytest.approx(1)
    assert mine.headers["Cache-Control"] == "no-store"
    another = published.signed(simulated_key("miner 01"), "GET", target)
    for other in (published.get(target), another):
        assert other.json()["for_owner"] is None
        assert '"weight"' not in other.text


def test_everyone_has_a_standing(published: Service, published_table: pd.DataFrame) -> None:
    served = published.get(f"/v1/standings/{LAST}").json()
    assert served["epoch_id"] == LAST
    assert [one["miner_hotkey"] for one in served["entries"]] == list(published_table["hotkey"])
    for one, row in zip(served["entries"], published_table.to_dict("records"), strict=True):
        assert (one["standing"], one["reason"]) == (row["standing"], row["reason"])
        assert one["payout_rao"] == str(row["payout_rao"])


def test_epochs_come_the_newest_first(published: Service) -> None:
    served = published.get("/v1/epochs").json()["epochs"]
    assert [one["epoch_id"] for one in served] == [epoch.id for epoch in reversed(SETTLED)]
    assert all(one["report"] for one in served)


def test_what_is_not_there_is_said(published: Service, tmp_path: Path) -> None:
    refused(published.get(f"/v1/explanations/{LAST}/{key('a').hotkey}"), 404, "unknown_miner")
    refused(published.get(f"/v1/explanations/2018-Q4-W48/{key('a').hotkey}"), 404, "unknown_epoch")
    refused(published.get("/v1/standings/2018-Q4-W48"), 404, "unknown_epoch")
    refused(published.get("/reports/2018-Q4-W48.html"), 404, "not_explained")
    refused(published.get("/web/../app.py"), 404, "no_such_route")
    refused(published.get("/web/dom.py"), 404, "no_such_route")
    with serving(settings(tmp_path)) as empty:
        for target in ("/v1/epochs", f"/v1/standings/{LAST}"):
            refused(empty.get(target), 404, "nothing_published")
        assert empty.get("/").status_code == 200  # the page says so itself


def test_an_explanation_of_other_tables_is_not_served(published_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(published_home, tmp_path / "home"))
    lake = Lake(str(home / "lake"))
    rewards, stamp = lake.read("rewards", LAST), lake.version("rewards", LAST)
    with serving(settings(home)) as running:
        hotkey = rewards["hotkey"].iloc[0]
        assert running.get(f"/v1/explanations/{LAST}/{hotkey}").status_code == 200
    rewards.loc[0, "reason"] += "!"
    lake.publish(
        "rewards", LAST, rewards, params_version=stamp.params_version, code_version="another"
    )
    with serving(settings(home)) as running:
        refused(running.get(f"/v1/explanations/{LAST}/{hotkey}"), 404, "not_explained")


def test_pages_may_load_nothing_from_elsewhere(published: Service) -> None:
    for target, kind in (("/", "text/html"), ("/web/app.js", "text/javascript")):
        page = published.get(target)
        assert page.headers["Content-Security-Policy"].startswith(WEB)
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["Content-Type"].startswith(kind)
        again = published.get(target, headers={"If-None-Match": page.headers["ETag"]})
        assert again.status_code == 304
    for target in (f"/reports/{LAST}.html", "/reports/index.html"):
        page = published.get(target)
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
        assert "<script" not in page.text
    html = published.get("/").text
    assert "onclick" not in html
    assert html.count("<script") == html.count('<script type="module" src="/web/') == 1
