"""What the modules of the command line share."""

from typing import Any

import click

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.restatement import NOTE_LIMIT

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _why(_context: click.Context, _parameter: click.Parameter, reason: str | None) -> str:
    if reason is None:
        return ""
    if not reason.strip() or len(reason) > NOTE_LIMIT:
        raise click.BadParameter(f"say why, in 1 to {NOTE_LIMIT} characters")
    return reason


restate_option = click.option(
    "--restate",
    metavar="REASON",
    callback=_why,
    help="Settle what is settled again, and say why; without it a paid epoch stays as it is.",
)


class EpochId(click.ParamType[Epoch]):
    """An epoch's id on the command line."""

    name = "epoch"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Epoch:
        """The epoch, or a usage error that says what an id looks like."""
        try:
            return value if isinstance(value, Epoch) else Epoch.parse(str(value))
        except ProtocolError as error:
            return self.fail(str(error), param, ctx)


class EpochRange(click.ParamType[tuple[Epoch, ...]]):
    """Epochs ``A..B``, both included."""

    name = "range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Epoch, ...]:
        """The epochs, oldest first."""
        if isinstance(value, tuple):
            return value
        first, dots, last = str(value).partition("..")
        if not dots:
            self.fail(f"a range looks like 2019-Q4-W50..2019-Q4-W52, not {value}", param, ctx)
        try:
            return Epoch.range(first, last)
        except ProtocolError as error:
            return self.fail(str(error), param, ctx)
