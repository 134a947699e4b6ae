"""Commands of whoever keeps the platform running: is it sound, and who is told if not."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click

from quanta_pipelines.cli_options import json_option
from quanta_pipelines.settings import current_settings


@click.command()
@click.option("--alert", is_flag=True, help="Tell problems through the configured channels.")
@json_option
def doctor(*, alert: bool, as_json: bool) -> None:
    """Ask every part of this deployment whether it is sound; leave with 1 where one is not.

    Warnings do not fail it. Start it from the machine's own scheduler with --alert: a daemon that
    stopped tells nobody.
    """
    from quanta_pipelines.alerting import outbox_of
    from quanta_pipelines.definitions import defs
    from quanta_pipelines.doctor import Doctor, alerts_about
    from quanta_pipelines.resources import Platform

    settings = current_settings()
    names = sorted(each.name for each in (*(defs.schedules or ()), *(defs.sensors or ())))
    now = datetime.now(UTC)
    examined = Doctor(settings, lambda: Platform.from_settings(settings), tuple(names), now)
    findings = examined.findings()
    problems = [finding for finding in findings if finding.status == "problem"]
    if as_json:
        rows = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"sound": not problems, "findings": rows}, indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.status:<8} {finding.part:<13} {finding.detail}")
    if alert:
        outbox = outbox_of(settings)
        if not outbox.channels:
            raise click.ClickException("no channel is configured: QUANTA_ALERT_WEBHOOK_URL")
        outbox.put(alerts_about(findings, now))
        for failure in outbox.deliver().failures:
            click.echo(f"not told: {failure}", err=True)
    if problems:
        sys.exit(1)
