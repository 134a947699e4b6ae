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


@click.command()
@click.option("--run-days", type=click.IntRange(min=7), default=90, show_default=True)
@click.option("--superseded", is_flag=True, help="Also versions that were published once.")
@click.option("--yes", is_flag=True, help="Delete; without it nothing is deleted.")
@json_option
def prune(run_days: int, *, superseded: bool, yes: bool, as_json: bool) -> None:
    """List what nobody needs again, with its bytes, and delete it with --yes.

    Builds of marts, files and versions in the lake that a kill left behind, a day old; records of
    runs that failed more than --run-days ago and were made good. With --superseded also published
    versions that are not current and that no verdict rests on, ledgers excepted. Live quotes have
    their own: quanta prices prune.
    """
    from quanta_pipelines.adapters.lake import Lake
    from quanta_pipelines.backfill import recorded_instance
    from quanta_pipelines.retention import Retention

    settings, now = current_settings(), datetime.now(UTC)
    chosen = Retention(Lake(settings.lake_root), settings.home, now, run_days, superseded)
    with recorded_instance(settings) as instance:
        found = list(chosen.leftovers(instance))
        for each in found if yes else ():
            each.delete()
    total = sum(each.size for each in found)
    if as_json:
        rows = [{"kind": each.kind, "name": each.name, "bytes": each.size} for each in found]
        said = {"deleted": yes, "count": len(found), "bytes": total, "leftovers": rows}
        click.echo(json.dumps(said, indent=2))
        return
    for each in found:
        click.echo(f"{each.size:>12,}  {each.kind:<15} {each.name}")
    done = "deleted" if yes else "would be deleted: --yes does it"
    click.echo(f"{total:>12,}  bytes of {len(found)} things {done}")
