"""A real HTTP server for one replica, with faults for requests that match a pattern."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.vendor_replicas.formats import Asked, Replica, Response

Change = Callable[[Response], Response]


@dataclass
class Fault:
    """What goes wrong with the first ``times`` requests whose target matches ``pattern``."""

    pattern: str
    change: Change = lambda good: good
    times: int = 10**9
    slow: float = 0.0  # seconds before the status line
    drip: float = 0.0  # seconds between single bytes of the body
    cut: int | None = None  # bytes of the body after which the connection ends
    reset: bool = False  # the connection is reset without a reply
    raw: bytes | None = None  # sent instead of a status line, headers and body


@dataclass
class Server:
    """A replica behind an address; ``log`` holds what was asked, with its time."""

    replica: Replica
    faults: list[Fault] = field(default_factory=list)
    garble: "Callable[[str, Response], Fault | None]" = lambda _target, _good: None
    log: list[tuple[float, str]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, pattern: str = "") -> int:
        """How many requests matched."""
        return sum(re.search(pattern, target) is not None for _, target in self.log)

    def fault_of(self, target: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, target):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one write, at once: a second small write would wait for the
    # acknowledgement of the first, which clients delay by 40 ms.
    wbufsize = 2**18
    disable_nagle_algorithm = True
    owner: Server

    def do_GET(self) -> None:
        with self.owner.lock:
            self.owner.log.append((time.monotonic(), self.path))
        good = self.owner.replica.respond(Asked.of(self.path, dict(self.headers.items())))
        fault = self.owner.fault_of(self.path) or self.owner.garble(self.path, good) or Fault("")
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True  # the socket lives as long as the handler reads from it
            return
        if fault.raw is not None:
            self.wfile.write(fault.raw)
            self.close_connection = True
            return
        time.sleep(fault.slow)
        self._send(fault.change(good), fault)

    def _send(self, response: Response, fault: Fault) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        body = response.body if fault.cut is None else response.body[: fault.cut]
        if fault.drip:
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
                time.sleep(fault.drip)
        else:
            self.wfile.write(body)
        self.close_connection = fault.cut is not None

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def serving(replica: Replica) -> Iterator[Server]:
    """The replica at a local port, as long as the context lasts."""
    owner = Server(replica)
    http = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": owner}))
    owner.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=lambda: http.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
