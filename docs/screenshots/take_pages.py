"""Takes pictures of the web leaderboard and of a report; needs Chromium and a run ``make demo``.

Starts the service on a port of its own over the demo's data, photographs each page in light and
dark, on a desk and on a phone, and stops it.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import sync_playwright
from take import HERE, PROJECT, wait_for

PORT = 3918
EPOCH = "2019-Q4-W52"
SIZES = {"desktop": {"width": 1180, "height": 1180}, "phone": {"width": 390, "height": 844}}


@contextmanager
def running_service() -> Iterator[str]:
    """The service over the demo's data, reachable at the address that is given."""
    environment = {**os.environ, "QUANTA_API_PORT": str(PORT), "QUANTA_HOME": str(PROJECT / "var")}
    service = subprocess.Popen(
        [sys.executable, "-m", "quanta_pipelines.api"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{PORT}"
    try:
        wait_for(f"{address}/health")
        yield address
    finally:
        service.terminate()
        service.wait(60)


def photograph(address: str) -> None:
    """Every page in every look; what the console says ends it."""
    with urllib.request.urlopen(f"{address}/v1/leaderboard?epoch_id={EPOCH}&limit=2") as answer:
        hotkey = json.load(answer)["entries"][1]["miner_hotkey"]
    pages = {
        "leaderboard": f"/#/epoch/{EPOCH}",
        "miner": f"/#/miner/{EPOCH}/{hotkey}",
        "report": f"/reports/{EPOCH}.html",
    }
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            for size, viewport in SIZES.items():
                page = browser.new_page(viewport=viewport, color_scheme=scheme)
                page.on("console", lambda message: sys.exit(f"console: {message.text}"))
                for name, place in pages.items():
                    page.goto(address + place)
                    page.wait_for_selector("main h1")
                    page.screenshot(path=HERE / f"{name}-{size}-{scheme}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    with running_service() as service_address:
        photograph(service_address)
