"""A service under load and builds of the marts: neither waits for the other, none fails."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.assets.marts import MARTS
from tests.conftest import SETTLED

from .server_process import ServerProcess

IDS = [epoch.id for epoch in SETTLED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clients", "builds"), [(2, 1), pytest.param(4, 10, marks=pytest.mark.soak)]
)
def test_a_service_under_load_shows_every_publication(
    clients: int, builds: int, marts_home: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(marts_home, tmp_path / "home"))
    warehouse, stop = Warehouse(home / "warehouse"), threading.Event()
    server = ServerProcess(home, f"sqlite:///{home / 'signals.db'}")

    def newest() -> str:
        answer = requests.get(f"{server.address}/v1/leaderboard?limit=500", timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["epoch_id"])

    def ask() -> list[str]:
        answers = []
        while not stop.is_set():
            answers.append(newest())
        return answers

    server.start()
    try:
        with ThreadPoolExecutor(clients) as pool:
            asked = [pool.submit(ask) for _ in range(clients)]
            try:
                for number in range(builds):
                    settled = IDS if number % 2 else IDS[:-1]
                    build = warehouse.build(str(home / "lake"), settled, MARTS)
                    assert build.passed, [node for node in build.nodes if not node.passed]
                    assert newest() == settled[-1]  # at once, not after a while
            finally:
                stop.set()
            answers = [epoch for each in asked for epoch in each.result()]
    finally:
        server.stop()
    assert set(answers) == set(IDS[-2:])
    assert len(answers) > 10 * builds
