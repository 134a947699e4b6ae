"""An S3 service of the tests' own: moto's server, one request at a time, over real HTTP.

One at a time, because moto looks at a condition and writes in two steps, which S3 does in one.
Run as a program it serves the port it is given until it is killed.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

BUCKET = "quanta-tests"
KEYS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class S3Server:
    """A server process; ``environment`` is what a client needs to find it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = KEYS | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | KEYS,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the S3 server did not start")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return

    def create_bucket(self, name: str = BUCKET) -> str:
        """Makes a bucket and returns its address."""
        import s3fs

        system = s3fs.S3FileSystem(
            key="tests",
            secret="tests",
            endpoint_url=self.environment["AWS_ENDPOINT_URL_S3"],
            client_kwargs={"region_name": "us-east-1"},
        )
        system.call_s3("create_bucket", Bucket=name)
        return f"s3://{name}"

    def stop(self) -> None:
        """Ends the server; its objects are gone."""
        self.process.kill()
        self.process.wait()


def serve(port: int) -> None:
    """Serve S3 alone, with a lock around every request."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def in_turn(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with lock:
            return application(environ, start_response)  # type: ignore[no-any-return]

    run_simple("127.0.0.1", port, in_turn, threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
