"""Where alerts go: a webhook, Slack or e-mail. A channel delivers or raises ``NotDelivered``.

Addresses of webhooks are secrets: whoever knows one may post. No message of an error holds one.
"""

import datetime as dt
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

TIMEOUT_SECONDS = 4.0
ATTEMPTS = 3  # with the pauses between them 15 seconds at most, a tick has 60
_AGAIN = (408, 429, 500, 502, 503, 504)


class NotDelivered(RuntimeError):
    """A channel that did not take an alert."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that somebody has to know. The same ``cause`` is told once."""

    cause: str
    severity: Literal["critical", "warning"]
    subject: str
    text: str
    at: dt.datetime
    epoch_id: str | None = None


class Channel(Protocol):
    """Takes alerts to people."""

    @property
    def name(self) -> str:
        """What the record of delivered alerts calls it."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert; raises ``NotDelivered``."""


@dataclass(frozen=True)
class Webhook:
    """Posts an alert as JSON."""

    url: str
    name: str = "webhook"

    def send(self, alert: Alert) -> None:
        """One POST, tried three times; anything but 2xx is a failure."""
        _post(self.url, self.name, {
            "source": "quanta",
            "cause": alert.cause,
            "severity": alert.severity,
            "subject": alert.subject,
            "text": alert.text,
            "epoch": alert.epoch_id,
            "at": alert.at.isoformat(),
        })  # fmt: skip


@dataclass(frozen=True)
class Slack:
    """Posts an alert to an incoming webhook of Slack."""

    url: str
    name: str = "slack"

    def send(self, alert: Alert) -> None:
        """Slack reads ``&``, ``<`` and ``>`` as markup, so they are escaped as it asks."""
        text = f"[{alert.severity}] {alert.subject}\n{alert.text}"
        for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(sign, escaped)
        _post(self.url, self.name, {"text": text})


@dataclass(frozen=True)
class Email:
    """Sends an alert through an SMTP server, under TLS unless that is switched off."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = ""
    starttls: bool = True
    name: str = "email"

    def send(self, alert: Alert) -> None:
        """One message to all recipients; a recipient that is refused is a failure."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        # a header is one line: a subject may hold words of a vendor
        message["Subject"] = " ".join(f"[quanta] {alert.severity}: {alert.subject}".split())
        message["Date"] = alert.at
        message.set_content(f"{alert.text}\n\ncause: {alert.cause}\n")
        try:
            with self._connection() as server:
                refused = server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"{self.name}: {type(error).__name__}") from error
        if refused:
            raise NotDelivered(f"{self.name}: {len(refused)} recipients were refused")

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS) as server:
            if self.starttls:
                server.starttls()
            if self.user:
                server.login(self.user, self.password)
            yield server


def _post(url: str, name: str, body: dict[str, str | None]) -> None:
    retry = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=0.5,
        status_forcelist=_AGAIN,
        allowed_methods={"POST"},
        respect_retry_after_header=False,  # a tick can not wait that long; the next one can
        raise_on_status=False,
    )
    with requests.Session() as session:
        session.trust_env = False  # no password of a .netrc goes to a webhook
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            answer = session.post(url, json=body, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            # not its text: it holds the address
            raise NotDelivered(f"{name}: {type(error).__name__}") from None
    if not 200 <= answer.status_code < 300:
        raise NotDelivered(f"{name}: answered {answer.status_code}")
