"""What Prometheus scrapes and what a log line holds: counts, durations, no secrets."""

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}


class Monitoring:
    """The service's own registry: one process, one set of numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "quanta_http_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "quanta_http_request_seconds",
            "Duration of requests by route.",
            ("route",),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )
        self.commitments = Counter(
            "quanta_commitments", "Commitments that were taken.", registry=self.registry
        )
        self.reveals = Counter(
            "quanta_reveals", "Reveals by verdict.", ("verdict",), registry=self.registry
        )
        self.votes = Counter("quanta_votes", "Votes that were taken.", registry=self.registry)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a request; its numbers are looked up once per route, method and status."""
        known = (route, method if method in METHODS else "other", status)
        found = self._known.get(known)
        if found is None:
            found = (self.requests.labels(*known), self.seconds.labels(route))
            self._known[known] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


def service_log(level: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes one JSON object per line to standard error."""
    made: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
    return made.bind()  # what wrap_logger returns would bind again for every line
