"""What the demo shows at its end: the last epoch's leaderboard and where everything lies."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from quanta_pipelines.backfill import Outcome
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.publication import reports_folder
from quanta_pipelines.resources import Platform

SHOWN = 15
WIDTH = 120  # columns that the table needs


def print_demo(platform: Platform, outcomes: Sequence[Outcome], epoch_id: str) -> None:
    """Print the leaderboard of one epoch, its money, and the next commands."""
    console = Console()
    console.width = max(console.width, WIDTH)
    board = platform.warehouse.read("leaderboard")
    epoch = platform.warehouse.read("epochs").set_index("epoch_id").loc[epoch_id].to_dict()
    console.print(leaderboard_table(board[board["epoch_id"] == epoch_id], epoch_id))
    console.print(
        f"{int(epoch['n_ranked'])} ranked, {int(epoch['n_provisional'])} provisional, "
        f"{int(epoch['n_unranked'])} unranked, {int(epoch['n_unrevealed'])} unrevealed; "
        f"{int(epoch['n_validators'])} validators voted; "
        f"{int(epoch['n_paid'])} miners earned {_alpha(epoch['rewards_rao'])} ALPHA, "
        f"{_alpha(epoch['burned_rao'])} were burned"
    )
    epochs = sum(outcome.epoch_id is not None for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    console.print(
        f"\n{epochs} epochs in {seconds:.0f} s. Prices are real closes of 2019; miners, validators "
        "and stakes are simulated.\n",
        highlight=False,
    )
    for name, place in (
        ("warehouse", platform.warehouse.database),
        ("lake", platform.lake.root),
        ("pages", reports_folder(platform) / "index.html"),
        ("web", "make api, then http://127.0.0.1:8000"),
        ("Dagster UI", "make ui, then http://127.0.0.1:3000"),
    ):
        console.print(f"  {name:<11}{place}", soft_wrap=True, highlight=False)


def leaderboard_table(board: pd.DataFrame, epoch_id: str) -> Table:
    """The best miners of one epoch."""
    title = f"Leaderboard of {epoch_id}: the first {min(SHOWN, len(board))} of {len(board)}"
    table = Table(title=title, title_justify="left")
    for name in (
        "rank",
        "hotkey",
        "composite",
        "interval",
        "tier",
        "7d",
        "30d",
        "Sharpe",
        "drawdown",
        "ALPHA",
    ):
        table.add_column(name, justify="left" if name in ("hotkey", "tier") else "right")
    for row in board.head(SHOWN).to_dict("records"):
        table.add_row(
            str(row["rank"]),
            f"{row['hotkey'][:8]}…",
            f"{row['composite']:.6f}",
            f"{row['composite_lower']:.3f} to {row['composite_upper']:.3f}",
            row["tier"].replace("_", " ") + ("" if row["eligible"] else ", not eligible"),
            f"{row['return_7d']:+.2%}",
            f"{row['return_30d']:+.2%}",
            f"{row['sharpe_30d']:.2f}",
            f"{row['max_drawdown_30d']:.2%}",
            _alpha(row["gross_rao"]),
        )
    return table


def _alpha(rao: int) -> str:
    """Rao as ALPHA with three decimals, without passing through a float."""
    whole, rest = divmod(int(rao), RAO)
    return f"{whole}.{rest:09d}"[:-6]
