"""Alerts reach a real web server and a real SMTP server, once for each cause."""

import datetime as dt
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_string, policy
from pathlib import Path

import pytest

from quanta_pipelines.adapters.alert_channels import Alert, Email, NotDelivered, Slack, Webhook
from quanta_pipelines.adapters.alert_outbox import AlertOutbox
from tests.http_receiver import Receiver

ALERT = Alert(
    cause="run/close 2025-Q4-W48/raw_prices/2025-11-28",
    severity="critical",
    subject="run of close 2025-Q4-W48 failed",
    text="raw_prices: nobody answered <tiingo> & co",
    at=dt.datetime(2025, 11, 29, 1, 36, tzinfo=dt.UTC),
    epoch_id="2025-Q4-W48",
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_a_webhook_gets_the_alert_as_json(receiver):
    Webhook(receiver.url).send(ALERT)
    assert receiver.bodies == [
        {
            "source": "quanta",
            "cause": ALERT.cause,
            "severity": "critical",
            "subject": ALERT.subject,
            "text": ALERT.text,
            "epoch": "2025-Q4-W48",
            "at": "2025-11-29T01:36:00+00:00",
        }
    ]


def test_slack_gets_one_text_with_its_markup_escaped(receiver):
    Slack(receiver.url).send(ALERT)
    assert receiver.bodies == [
        {
            "text": "[critical] run of close 2025-Q4-W48 failed\n"
            "raw_prices: nobody answered &lt;tiingo&gt; &amp; co"
        }
    ]


def test_a_webhook_is_tried_three_times(receiver):
    receiver.answers = [503, 429]
    Webhook(receiver.url).send(ALERT)
    assert receiver.calls == 3
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    ("answers", "calls", "said"),
    [
        ([500, 500, 500], 3, "webhook: answered 500"),
        ([404], 1, "webhook: answered 404"),
        ([302], 1, "webhook: answered 302"),  # an alert does not follow to another host
    ],
)
def test_a_refusal_is_an_error_without_the_address(receiver, answers, calls, said):
    receiver.answers = answers
    with pytest.raises(NotDelivered) as caught:
        Webhook(receiver.url).send(ALERT)
    assert str(caught.value) == said
    assert receiver.calls == calls


def test_nobody_there_is_an_error_without_the_address(receiver):
    url = receiver.url
    receiver.server.server_close()
    with pytest.raises(NotDelivered) as caught:
        Webhook(url).send(ALERT)
    assert "hook-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


class SmtpServer(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as taking one message needs."""

    taken: list[str]

    def handle(self) -> None:
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            command = line.split(":")[0].split()[0].upper()
            if command == "DATA":
                self._say("354 go on")
                text = ""
                while (part := self.rfile.readline().decode()) != ".\r\n":
                    text += part
                self.taken.append(text)
            refused = "nobody@" in line
            self._say("221 bye" if command == "QUIT" else "550 no" if refused else "250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def email() -> Iterator[tuple[Email, list[str]]]:
    """A channel to a server on the loopback address, and what the server took."""
    taken: list[str] = []
    handler = type("Handler", (SmtpServer,), {"taken": taken})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield (
            Email(
                "127.0.0.1",
                server.server_address[1],
                "quanta@example.org",
                ("a@example.org", "b@example.org"),
                starttls=False,
            ),
            taken,
        )
        server.shutdown()
        thread.join()


def test_an_email_holds_the_alert(email):
    channel, taken = email
    channel.send(replace(ALERT, subject="two\r\nBcc: lines"))
    message = message_from_string(taken[0], policy=policy.default)
    assert message["Subject"] == "[quanta] critical: two Bcc: lines"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Bcc"] is None
    assert ALERT.text in message.get_content()


def test_a_refused_recipient_is_an_error(email):
    channel, _ = email
    with pytest.raises(NotDelivered, match="1 recipients were refused"):
        replace(channel, recipients=("a@example.org", "nobody@example.org")).send(ALERT)


def test_no_mail_goes_without_encryption_unless_that_is_wanted(email):
    channel, taken = email
    with pytest.raises(NotDelivered, match="SMTPNotSupportedError"):
        replace(channel, starttls=True).send(ALERT)
    assert taken == []


# The outbox


def test_a_cause_is_told_once(tmp_path, receiver):
    outbox = AlertOutbox(tmp_path, (Webhook(receiver.url),))
    assert outbox.put([ALERT, ALERT]) == 1
    assert outbox.deliver().told == 1
    assert outbox.put([ALERT]) == 0
    assert AlertOutbox(tmp_path, outbox.channels).deliver().told == 0  # another process
    assert len(receiver.bodies) == 1


def test_what_was_not_taken_waits_and_only_the_channel_that_failed_is_asked_again(tmp_path):
    with Receiver() as well, Receiver(answers=[404]) as ill:
        channels = (Webhook(well.url), Slack(ill.url))
        outbox = AlertOutbox(tmp_path, channels)
        outbox.put([ALERT])
        first = outbox.deliver()
        assert (first.told, first.waiting, first.failures) == (0, 1, ("slack: answered 404",))
        assert outbox.put([ALERT]) == 0
        second = outbox.deliver()
        assert (second.told, second.waiting, second.failures) == (1, 0, ())
        assert (len(well.bodies), len(ill.bodies)) == (1, 1)


def test_a_dead_channel_is_asked_once_a_delivery_and_the_oldest_goes_first(tmp_path, receiver):
    alerts = [
        replace(ALERT, cause=str(n), subject=str(n), at=ALERT.at - dt.timedelta(hours=n))
        for n in range(3)
    ]
    outbox = AlertOutbox(tmp_path, (Webhook(receiver.url),))
    outbox.put(alerts)
    receiver.answers = [404]
    assert outbox.deliver().waiting == 3
    assert receiver.calls == 1
    outbox.deliver()
    assert receiver.subjects == ["2", "1", "0"]


def test_a_process_killed_before_telling_loses_nothing(tmp_path: Path, receiver):
    AlertOutbox(tmp_path, ()).put([ALERT])
    assert AlertOutbox(tmp_path, (Webhook(receiver.url),)).deliver().told == 1
    assert receiver.subjects == [ALERT.subject]
