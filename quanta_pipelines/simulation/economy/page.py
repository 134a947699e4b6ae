"""The economy as a page, whose first paragraph says what becomes of an average miner; JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from quanta_pipelines.pictures import write_whole
from quanta_pipelines.simulation.economy import skill
from quanta_pipelines.simulation.economy.market import WEEKS_A_YEAR, market
from quanta_pipelines.simulation.economy.summary import Economy, Estimate, Scene, economy

FOLDER = "economics"  # of the pictures and the JSON, beside the page
COMMAND = "quanta economics"


def write_economy(found: Economy, folder: Path) -> tuple[Path, ...]:
    """Write ``economics.md`` and, beside it, the folder of pictures and JSON."""
    from quanta_pipelines.simulation.economy.plots import write_pictures

    beside = folder / FOLDER
    beside.mkdir(parents=True, exist_ok=True)
    report = beside / "economics.json"
    write_whole(report, as_text(found).encode())
    pictures = write_pictures(found, beside)
    page = folder / "economics.md"
    write_whole(page, economy_page(found, check_tables(shorter_run())).encode())
    return (page, report, *pictures)


def as_text(found: Economy) -> str:
    """Everything as JSON with sorted keys."""
    return json.dumps(asdict(found), indent=1, sort_keys=True) + "\n"


def economy_page(found: Economy, check: str) -> str:
    """The whole page in Markdown; ``check`` are tables of a shorter run that anybody can repeat."""
    return "\n".join(
        [
            "# The economy over years",
            "",
            first_paragraph(found),
            "",
            *_rest(found),
            "## A shorter run, to compare",
            "",
            check,
        ]
    )


def first_paragraph(found: Economy) -> str:
    """What the rules do to an average miner when no emission comes in, in plain words."""
    scene, other, assumed = found.without, found.emitting, found.assumed
    rules = (
        "the default parameters" if found.default_rules else "these parameters, not the default,"
    )
    return (
        f"**Without emission {rules} make an average miner poorer every week: of all it posts as "
        f"ranked antes in a year it {_loses(scene)} {_percent(scene.lost)}.** Of every ante "
        f"{_percent(scene.burned)} is burned and {_percent(scene.treasury)} goes to the treasury. "
        "What winners earn is what is left of the losers' antes, so miners as a whole can only "
        f"lose. With an ante of {assumed.ante} ALPHA a week that comes to {_amount(scene.yearly)} "
        f"ALPHA a year, {abs(scene.yearly.mean) / assumed.ante:.1f} times the ante.{_lasts(found)} "
        f"{_number(scene.broke)} of 100 seats a year change hands, because their miner can not "
        f"post an ante any more. With {assumed.emission:,} ALPHA of emission a week for the whole "
        f"subnet the average miner still {_loses(other)} {_percent(other.lost)}. Of the ten "
        f"deciles of skill {_gaining(scene)} gain without emission, {_gaining(other)} with it."
    )


def _loses(scene: Scene) -> str:
    return "loses" if scene.lost.mean >= 0 else "loses, below 0 for a gain,"


def _lasts(found: Economy) -> str:
    """How long a newcomer's wallet lasts at the average loss; nothing where there is none."""
    yearly, assumed = found.without.yearly.mean, found.assumed
    if yearly >= 0:
        return ""
    weeks = assumed.wallet / -yearly * WEEKS_A_YEAR
    antes = assumed.wallet // assumed.ante
    return f" A wallet of {assumed.wallet:,} ALPHA, {antes} antes, lasts {weeks:.0f} weeks at that."


def _gaining(scene: Scene) -> str:
    """How many deciles have a positive mean result."""
    count = sum(one.result.mean > 0 for one in scene.deciles)
    return str(count) if count else "none"


def _rest(found: Economy) -> list[str]:
    return [
        *_basis(found),
        "",
        "## Money",
        "",
        *money_table(found),
        "",
        f"![Totals over the years]({FOLDER}/totals.png)",
        "",
        "## By skill",
        "",
        *decile_table(found),
        "",
        f"![Results by decile of skill]({FOLDER}/deciles.png)",
        "",
        *_model(found),
    ]


def _basis(found: Economy) -> list[str]:
    short = (
        f" {found.asked_epochs} were asked for, the prices hold no more."
        if found.epochs < found.asked_epochs
        else ""
    )
    return [
        f"{found.epochs} weekly epochs, {found.first} to {found.last}, on real total returns of "
        f"{found.tickers} tickers ({found.source}); {found.left_out} without a close in every "
        f"session are left out.{short} Benchmark: {found.benchmark}. Numbers are means of "
        f"{found.seeds} seeds with the 95 % interval of the mean (Student) in brackets: it covers "
        "who the miners are and what they like, not another market. Rules: `params_version` "
        f"{found.params_version[:12]}. Miners, skill, wallets and emission are simulated. Written "
        f"by `{COMMAND}`."
    ]


def money_table(found: Economy) -> list[str]:
    """Flows a year and what an average miner gets, without and with emission."""
    rows: Sequence[tuple[str, str, str]] = [
        (name, say(found.without), say(found.emitting))
        for name, say in (
            ("average miner loses, of an ante at stake", lambda one: _percent(one.lost)),
            ("average miner, ALPHA a year", lambda one: _amount(one.yearly)),
            ("burned, ALPHA a year", lambda one: _amount(one.burned_a_year)),
            ("treasury, ALPHA a year", lambda one: _amount(one.treasury_a_year)),
            ("issued, ALPHA a year", lambda one: _amount(one.issued_a_year)),
            ("supply, ALPHA a year", lambda one: _amount(one.supply_a_year)),
            ("broke, of 100 seats a year", lambda one: _number(one.broke)),
            ("epochs a broke miner lasted, median", _life),
            ("ranked miners an epoch", lambda one: _number(one.ranked)),
            ("carry at the end, ALPHA", lambda one: _amount(one.carry_at_end)),
        )
    ]
    return _table(("", "without emission", "with emission"), rows)


def decile_table(found: Economy) -> list[str]:
    """Net result, ALPHA a year and churn by decile, without and with emission."""
    head = (
        "information coefficient",
        "net of an ante, without",
        "ALPHA a year",
        "broke of 100 a year",
        "net of an ante, with",
        "ALPHA a year",
        "broke of 100 a year",
    )
    rows = [
        (
            f"{one.coefficient:g}{' (control)' if one.coefficient == 0 else ''}",
            _percent(one.result),
            _amount(one.yearly),
            _number(one.broke),
            _percent(other.result),
            _amount(other.yearly),
            _number(other.broke),
        )
        for one, other in zip(found.without.deciles, found.emitting.deciles, strict=True)
    ]
    return _table(head, rows)


def _model(found: Economy) -> list[str]:
    assumed = found.assumed
    return [
        "## What is simulated, exactly",
        "",
        f"- {assumed.miners} seats in ten deciles of skill. A miner comes with {assumed.wallet:,} "
        f"ALPHA and posts {assumed.ante} each week, the same for all: with `ante_theta` 0 a larger "
        "ante earns nothing more.",
        "- Who can not post the ante leaves with the rest of its wallet. A newcomer of the same "
        "skill, with a full wallet and no history, takes the seat: deciles stay equal in size, and "
        "there is no selection between them. Nobody else gives up, nobody adds to a wallet.",
        "- Skill is declared hindsight. Each week a miner has the signal "
        "`s = IC z + sqrt(1 - IC^2) x` for every ticker: `z` is the normal score of the ticker's "
        "return in the week to come, `x` the miner's own taste, an AR(1) with weekly "
        f"autocorrelation {skill.PERSISTENCE} that knows nothing. It holds its "
        f"{skill.FEWEST_NAMES} to {skill.MOST_NAMES} strongest tickers, weighted by "
        f"`exp({skill.TILT} s)`, none above 20 %. IC, the information coefficient, is 0 for the "
        f"first decile, the control, and grows by {assumed.coefficient_step:g} a decile.",
        "- All after the portfolio is production code: horizon scores, standing (30 sessions "
        "before a rank), eligibility, the vote of one validator, `settle`. Originality, variance "
        "factor, clusters, S_min, pools and slashing play no part.",
        "- Prices and tastes are the same in both columns, only emission differs. With it the "
        f"subnet gets {assumed.emission:,} ALPHA an epoch, of which the miners' share enters the "
        "pool. Supply is what was issued less what was burned; what newcomers bring was bought, "
        "not issued.",
        "- Only tickers priced through the whole span are there. Companies that failed are "
        "missing, which flatters the market and hardly the order of miners.",
        "- The token's price, external revenue and what miners spend on their work are left out: "
        "losses are before costs.",
        "",
        f"Repeat it: `{COMMAND} --prices FOLDER --seeds {found.seeds} --out docs`, with a folder "
        "of Parquet files with the columns ticker, date, close, dividend and split.",
        "",
    ]


def check_tables(found: Economy) -> str:
    """The tables of a shorter run on the prices that ship, as they stand on the page."""
    return "\n".join(
        [
            f"`{COMMAND} --years 1 --seeds {found.seeds}` on the prices that ship: {found.epochs} "
            f"epochs, {found.first} to {found.last}, {found.source}.",
            "",
            *money_table(found),
            "",
            *decile_table(found),
            "",
        ]
    )


def shorter_run() -> Economy:
    """A year of three seeds on the prices that ship: what anybody, and a test, can repeat."""
    return economy(market(None, 1), years_asked=1, seeds=3)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    line = "| " + " | ".join(["---", *["---:"] * (len(head) - 1)]) + " |"
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def _percent(found: Estimate) -> str:
    return f"{100 * found.mean:.1f} %{_between(found, 100, '.1f')}"


def _number(found: Estimate) -> str:
    return f"{found.mean:.1f}{_between(found, 1, '.1f')}"


def _amount(found: Estimate) -> str:
    return f"{found.mean:,.0f}{_between(found, 1, ',.0f')}"


def _life(scene: Scene) -> str:
    return "-" if scene.life is None else _number(scene.life)


def _between(found: Estimate, scale: float, form: str) -> str:
    """The interval in brackets, where there is one that is not a point."""
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    return f" [{found.low * scale:{form}}, {found.high * scale:{form}}]"
