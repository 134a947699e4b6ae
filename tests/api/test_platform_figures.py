"""What Prometheus finds at ``/metrics``: the platform's figures against the tables themselves."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
import yaml

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.settings import PROJECT
from tests.api.conftest import Service, serving, settings
from tests.api.server_process import free_port
from tests.conftest import SETTLED

LAST = SETTLED[-1]
WITHIN = 60.0  # seconds until Prometheus has scraped
Samples = dict[tuple[str, ...], float]
COUNTED = ("quanta_http", "quanta_commitments", "quanta_reveals", "quanta_votes")
FIGURES = {
    "quanta_part_read",
    "quanta_settled_epochs",
    "quanta_last_closed_epoch",
    "quanta_last_closed_epoch_age_seconds",
    "quanta_last_settled_epoch",
    "quanta_last_settled_epoch_age_seconds",
    "quanta_validators",
    "quanta_miners",
    "quanta_composite_score",
    "quanta_epoch_moved_rao",
    "quanta_ledger_balance_rao",
    "quanta_disputed_cells",
    "quanta_failed_checks",
    "quanta_alerts_outstanding",
}


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus with the project's scrape settings."""

    address: str

    def ask(self, query: str, label: str = "") -> Samples:
        """Values of an instant query by one label; empty where there is no series."""
        answer = requests.get(
            f"{self.address}/api/v1/query", params={"query": query}, timeout=10
        ).json()
        assert answer["status"] == "success", answer
        return {
            tuple(found["metric"][name] for name in filter(None, [label])): float(found["value"][1])
            for found in answer["data"]["result"]
        }

    def one(self, query: str) -> float:
        """The value of the only series."""
        [value] = self.ask(query).values()
        return value


@contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """Prometheus over the shipped configuration, with this target and a shorter interval."""
    config: dict[str, Any] = yaml.safe_load(
        (PROJECT / "deploy/prometheus/prometheus.yml").read_text()
    )
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    shutil.copy(PROJECT / "deploy/prometheus/rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    found = Prometheus(f"http://{address}")
    until = time.monotonic() + WITHIN
    try:
        while not scraped(found):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield found
    finally:
        process.kill()
        process.wait()


def scraped(prometheus: Prometheus) -> bool:
    """Whether the target answered and its last series are stored."""
    try:
        return prometheus.ask('up{job="quanta-api"}') == {(): 1.0} and bool(
            prometheus.ask("quanta_part_read", "part")
        )
    except requests.RequestException:
        return False


def kinds_of(home: Path) -> dict[str, int]:
    """Balances by kind of account, summed movement by movement in whole numbers."""
    held: dict[str, int] = {}
    for path in sorted((home / "lake/ledger_entries").glob("*.parquet")):
        for row in pd.read_parquet(path).itertuples():
            for account, amount in (
                (row.to_account, int(row.amount_rao)),
                (row.from_account, -int(row.amount_rao)),
            ):
                kind = account.split(":")[0]
                held[kind] = held.get(kind, 0) + amount
    return held


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="apt-get install prometheus")
def test_a_real_prometheus_finds_what_the_tables_say(published_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(published_home, home)
    (home / "alerts/waiting").mkdir(parents=True)
    for name in ("one", "two"):
        (home / f"alerts/waiting/{name}.json").write_text("{}")
    withdraw_a_price(home)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with serving(settings(home)) as service:
        target = service.address.removeprefix("http://")
        with scraping(folder, target) as prometheus:
            require_figures(prometheus, service, home)


def require_figures(prometheus: Prometheus, service: Service, home: Path) -> None:
    epochs = pd.read_parquet(home / "warehouse/epochs.parquet")
    last = epochs.iloc[-1]
    assert last["epoch_id"] == LAST.id
    ask, one = prometheus.ask, prometheus.one
    platform = {key[0] for key in ask('{__name__=~"quanta_.+",job="quanta-api"}', "__name__")}
    assert {name for name in platform if not name.startswith(COUNTED)} == FIGURES
    assert ask("quanta_part_read", "part") == {
        (part,): 1.0 for part in ("marts", "ledger", "lake", "alerts")
    }
    assert one("quanta_settled_epochs") == len(SETTLED)
    for state in ("closed", "settled"):
        assert ask(f"quanta_last_{state}_epoch", "epoch") == {(LAST.id,): 1.0}
        age = one(f"quanta_last_{state}_epoch_age_seconds")
        true = (service.services.now() - LAST.closes_at).total_seconds()
        assert 0 <= true - age < 2 * WITHIN
    validators = pd.read_parquet(home / f"lake/validator_results/{LAST.id}.parquet")
    assert one("quanta_validators") == len(validators)
    scores = pd.read_parquet(home / f"lake/scores/{LAST.id}.parquet")
    standing = scores["standing"].value_counts()
    assert {k[0]: v for k, v in ask("quanta_miners", "standing").items()} == {
        name: float(standing.get(name, 0))
        for name in ("ranked", "provisional", "unranked", "unrevealed")
    }
    ranked = scores.loc[scores["standing"] == "ranked", "composite"]
    composite = {k[0]: v for k, v in ask("quanta_composite_score", "statistic").items()}
    assert composite["best"] == ranked.max()
    assert composite["mean"] == pytest.approx(ranked.mean(), abs=1e-6)
    assert composite["median"] == pytest.approx(ranked.median(), abs=1e-6)
    moved = {k[0]: v for k, v in ask("quanta_epoch_moved_rao", "movement").items()}
    ledger = pd.read_parquet(home / f"lake/ledger_entries/{LAST.id}.parquet")
    sums = ledger.groupby("reason")["amount_rao"].sum()
    for movement, reason in (
        ("rewards", "reward"),
        ("rake", "rake"),
        ("carried_over", "carry_out"),
    ):
        assert moved[movement] == float(sums.get(reason, 0)), movement
    held = {k[0]: v for k, v in ask("quanta_ledger_balance_rao", "account").items()}
    assert held == {kind: float(amount) for kind, amount in kinds_of(home).items()}
    assert held["escrow"] == held["pool"] == 0
    assert sum(kinds_of(home).values()) == 0
    assert ask("quanta_disputed_cells", "epoch") == {(LAST.id,): 1.0}
    assert ask("quanta_failed_checks", "epoch") == {(LAST.id,): 1.0}
    assert one("quanta_alerts_outstanding") == 2


def withdraw_a_price(home: Path) -> None:
    """One settled close of the newest epoch is disputed, and a check says so: nothing hides it."""
    lake = Lake(str(home / "lake"))
    prices = lake.read("validated_prices", LAST.id)
    held = lake.version("validated_prices", LAST.id)
    prices.loc[prices.index[-1], "status"] = "disputed"
    changed = lake.publish(
        "validated_prices",
        LAST.id,
        prices,
        params_version=held.params_version,
        code_version=held.code_version,
    )
    lake.record_verdict(
        "validated_prices",
        LAST.id,
        "benchmark_is_settled",
        passed=False,
        content_hash=changed.content_hash,
        detail="disputed by the test",
    )


def samples(service: Service) -> dict[str, float]:
    """What ``/metrics`` says of the platform itself, by series as it is written."""
    lines = service.get("/metrics").text.splitlines()
    said = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in said if not name.startswith("quanta_http")}


def test_what_is_unknown_has_no_sample(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as empty:
        said = samples(empty)
    parts = {name: value for name, value in said.items() if name.startswith("quanta_part_read")}
    assert parts == {
        'quanta_part_read{part="marts"}': 0.0,
        'quanta_part_read{part="ledger"}': 0.0,
        'quanta_part_read{part="lake"}': 1.0,
        'quanta_part_read{part="alerts"}': 0.0,
    }
    known = {name.partition("{")[0] for name in said}
    assert known & FIGURES == {"quanta_part_read"}


def test_the_figures_follow_a_new_publication(
    published_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(published_home, home)
    monkeypatch.setattr("quanta_pipelines.api.platform_figures.FRESH_SECONDS", 0.0)
    with serving(settings(home)) as service:
        before = samples(service)
        lake = Lake(str(home / "lake"))
        held = lake.load("ledger_entries", LAST.id)
        rows = held.frame.copy()
        assert rows.loc[0, "reason"] == "ante_posted"
        rows.loc[0, "amount_rao"] += 7
        lake.publish(
            "ledger_entries",
            LAST.id,
            rows,
            params_version=held.version.params_version,
            code_version=held.version.code_version,
        )
        after = samples(service)
    account = 'quanta_ledger_balance_rao{{account="{}"}}'
    for kind, change in (("miner", -7), ("escrow", 7), ("burn", 0)):
        name = account.format(kind)
        assert after[name] - before[name] == pytest.approx(change, abs=2), kind
    assert before['quanta_last_closed_epoch{epoch="' + LAST.id + '"}'] == 1.0
