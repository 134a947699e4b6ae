"""``quanta cases``: look at suspicions, and decide them with a name and a reason."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from quanta_pipelines.cli_options import json_option
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings

if TYPE_CHECKING:
    from quanta_pipelines.case_book import Case
    from quanta_pipelines.resources import Platform


@click.group("cases")
def cases() -> None:
    """Look at integrity's cases, and decide them.

    A case that nobody decides within 14 days is dismissed. Scores and money follow a decision with
    the next epoch that is run.
    """


@cases.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that are closed.")
@json_option
def list_cases(*, every: bool, as_json: bool) -> None:
    """List the cases that wait for a decision, with the moment until which it can be made."""
    from quanta_pipelines.case_book import case_lines, cases_at

    with _platform() as platform:
        found = cases_at(platform.lake, platform.store, platform.clock())
    shown = [case for case in found if every or case.waits]
    if as_json:
        click.echo(json.dumps([_record(case) for case in shown], indent=2))
        return
    click.echo("\n".join(case_lines(shown)) or "no case waits for a decision")


@cases.command()
@click.argument("case_id")
@json_option
def show(case_id: str, *, as_json: bool) -> None:
    """Show CASE_ID with its evidence: portfolios, sessions, numbers and thresholds."""
    from quanta_pipelines.case_book import find

    with _platform() as platform:
        case = find(platform.lake, platform.store, case_id, platform.clock())
    _print(case, as_json=as_json)


def _decision(name: str, help_text: str) -> click.Command:
    """A command that records one kind of event."""

    def record(case_id: str, author: str, reason: str, evidence: str, *, as_json: bool) -> None:
        from quanta_pipelines.adapters.signal_store import CaseEvent
        from quanta_pipelines.case_book import decide

        with _platform() as platform:
            case = decide(
                platform.lake,
                platform.store,
                case_id,
                CaseEvent(name),
                author=author,
                reason=reason,
                evidence=evidence,
                now=platform.clock(),
            )
        _print(case, as_json=as_json)

    decorators: list[Callable[..., Any]] = [
        json_option,
        click.option("--evidence", default="", help="Where it can be looked up."),
        click.option("--reason", required=True, help="Why."),
        click.option("--author", required=True, help="Who says so."),
        click.argument("case_id"),
    ]
    command: Callable[..., Any] = record
    for decorator in decorators:
        command = decorator(command)
    return click.command(name, help=help_text)(command)


cases.add_command(_decision("review", "Say that CASE_ID is looked at; its money keeps waiting."))
cases.add_command(
    _decision("confirm", "Confirm CASE_ID: what was held is burned, and the offence counts.")
)
cases.add_command(_decision("dismiss", "Dismiss CASE_ID: what was held goes back."))


@contextmanager
def _platform() -> "Iterator[Platform]":
    """The platform of the settings; what it refuses is an error of the command."""
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.signal_store import SchemaMismatch, StoreUnavailable
    from quanta_pipelines.resources import Platform

    try:
        platform = Platform.from_settings(current_settings())
        try:
            yield platform
        finally:
            platform.store.close()
    except (ProtocolError, GateNotPassed, SchemaMismatch, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _record(case: "Case") -> dict[str, Any]:
    moments = {
        "opened_at": case.opened_at.isoformat(),
        "decide_by": case.decide_by.isoformat(),
    }
    return asdict(case) | moments | {"evidence": json.loads(case.evidence)}


def _print(case: "Case", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_record(case), indent=2))
        return
    for name, value in _record(case).items():
        text = json.dumps(value, indent=2) if name == "evidence" else value
        click.echo(f"{name:<16} {text}")
