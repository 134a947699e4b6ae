"""Takes the README's pictures from the real Dagster UI; needs Chromium and a run ``make demo``.

Starts the UI on a port of its own, waits until the graph is loaded, photographs it and stops.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote

PROJECT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PORT = 3917
START_SECONDS = 90
OPENED = ("scoring",)  # with all six open the graph is larger than a picture
GROUPS = ",".join(f"global@global:{stage}" for stage in OPENED)
# name of the picture, page, window
PICTURES = (
    (
        "graph.png",
        f"asset-groups~{quote('not group:')}%22marts%22/?expanded={quote(GROUPS)}",
        "2000,1150",
    ),
    ("checks.png", "assets/scores?view=checks", "1500,900"),
)
QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def running_ui() -> Iterator[str]:
    """The UI over the demo's records, reachable at the address that is given."""
    environment = {**os.environ, "DAGSTER_HOME": str(PROJECT / "var" / "dagster")}
    dagster = Path(sys.executable).with_name("dagster")
    # a shell that starts jobs in the background has them ignore the interrupt that stops the UI
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ui = subprocess.Popen(
        [dagster, "dev", "--workspace", "workspace.yaml", "--port", str(PORT)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{PORT}"
    try:
        wait_for(f"{address}/server_info")
        yield address
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(60)


def wait_for(address: str) -> None:
    """Wait until an address answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (URLError, ConnectionError):
            time.sleep(1)
        else:
            return
    raise TimeoutError(f"{address} did not answer within {START_SECONDS} s")


def photograph(address: str, picture: Path, window: str) -> None:
    """Open a page in a fresh browser and keep what it shows."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("a picture needs Chromium on the PATH")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *QUIET,
                f"--user-data-dir={profile}",
                f"--window-size={window}",
                "--virtual-time-budget=25000",
                f"--screenshot={picture}",
                address,
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    with running_ui() as ui_address:
        for name, page, size in PICTURES:
            photograph(f"{ui_address}/{page}", HERE / name, size)
