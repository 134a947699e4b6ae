"""Alerts that are to be told, and those that were: one small file for each cause.

An alert is put here before anybody is told, so nothing is lost when a channel does not answer or
the process is killed; the next delivery takes it up. A cause that was told is never told again. A
process that is killed between telling and noting it tells twice.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quanta_pipelines.adapters.alert_channels import Alert, Channel, NotDelivered
from quanta_pipelines.adapters.atomic_files import AtomicFiles

MOST_PER_DELIVERY = 20


@dataclass(frozen=True)
class Delivery:
    """What one delivery did."""

    told: int
    waiting: int
    failures: tuple[str, ...]


@dataclass(frozen=True)
class AlertOutbox:
    """Alerts under a folder, and the channels that tell them."""

    folder: Path
    channels: tuple[Channel, ...]

    def put(self, alerts: Sequence[Alert]) -> int:
        """Keeps alerts whose cause is new; says how many are."""
        new = [alert for alert in alerts if not self.knows(alert.cause)]
        for alert in new:
            self._write("waiting", alert, ())
        return len({alert.cause for alert in new})

    def knows(self, cause: str) -> bool:
        """Whether a cause was told, or waits for it."""
        name = _name(cause)
        return any((self.folder / state / name).exists() for state in ("waiting", "told"))

    def deliver(self) -> Delivery:
        """Tells what waits, oldest first; a channel that fails is not asked again this time."""
        failures: dict[str, str] = {}
        waiting = self._waiting()
        told = 0
        for alert, done in waiting[:MOST_PER_DELIVERY]:
            reached = list(done)
            for channel in self.channels:
                if channel.name in done or channel.name in failures:
                    continue
                try:
                    channel.send(alert)
                except NotDelivered as error:
                    failures[channel.name] = str(error)
                    continue
                reached.append(channel.name)
                self._write("waiting", alert, reached)
            if {channel.name for channel in self.channels} <= set(reached):
                self._write("told", alert, reached)
                (self.folder / "waiting" / _name(alert.cause)).unlink()
                told += 1
        return Delivery(told, len(waiting) - told, tuple(failures.values()))

    def _waiting(self) -> list[tuple[Alert, tuple[str, ...]]]:
        files = AtomicFiles(str(self.folder))
        found = []
        for stem in files.stems("waiting", ".json"):
            kept = json.loads(files.read(f"waiting/{stem}.json"))
            done = tuple(kept.pop("reached"))
            kept["at"] = dt.datetime.fromisoformat(kept["at"])
            found.append((Alert(**kept), done))
        return sorted(found, key=lambda each: (each[0].at, each[0].cause))

    def _write(self, state: str, alert: Alert, reached: Sequence[str]) -> None:
        kept = {**asdict(alert), "at": alert.at.isoformat(), "reached": list(reached)}
        text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
        AtomicFiles(str(self.folder)).write(f"{state}/{_name(alert.cause)}", text.encode())


def _name(cause: str) -> str:
    return f"{hashlib.sha256(cause.encode()).hexdigest()}.json"
