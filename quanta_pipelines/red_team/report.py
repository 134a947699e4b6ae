"""What a run found, as text: tables for the terminal and for a page, and JSON for machines."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from quanta_pipelines.adapters.code_version import code_version
from quanta_pipelines.protocol.params import QUANTA, SPEC, params_version
from quanta_pipelines.red_team.campaign import Campaign
from quanta_pipelines.red_team.measures import Earned, Interval, Line

PER = 1_000  # tokens at risk that a difference is stated for
PLACE = re.compile(r"(<!-- measured -->\n).*(<!-- end -->)", re.DOTALL)
VERDICTS = {
    "above": "pays",
    "below": "loses",
    "neither": "no difference shown",
    "one seed": "one seed says nothing",
}


def as_json(found: Campaign) -> dict[str, object]:
    """Everything that was measured, with the rules and the code that it was measured on."""
    return {
        "size": asdict(found.size),
        "weeks": [asdict(played) for played in found.weeks],
        "rules": {"QUANTA": params_version(QUANTA), "SPEC": params_version(SPEC)},
        "code_version": code_version(),
        "attacks": [
            {
                **asdict(line),
                "verdict": {rules: VERDICTS[one.difference.verdict] for rules, one in pairs(line)},
            }
            for line in found.lines
        ],
        "false_alarms": [asdict(alarm) for alarm in found.false_alarms],
    }


def pairs(line: Line) -> list[tuple[str, Earned]]:
    """The rule sets and what is earned under them, in order."""
    return list(line.earned.items())


def for_page(found: Campaign) -> str:
    """The tables in Markdown."""
    return "\n".join(
        [
            _sizes(found),
            "",
            *_money(found.lines, "QUANTA"),
            "",
            *_money(found.lines, "SPEC"),
            "",
            *_detection(found.lines),
            "",
            *_honest(found),
            "",
        ]
    )


def for_terminal(found: Campaign) -> str:
    """The same tables, without Markdown's padding of words."""
    return for_page(found).replace("**", "")


def write_page(page: Path, found: Campaign) -> None:
    """Puts the tables between the marks of a page."""
    text = page.read_text()
    if PLACE.search(text) is None:
        raise ValueError(f"{page} has no place for the tables: <!-- measured --> … <!-- end -->")
    page.write_text(PLACE.sub(lambda at: f"{at[1]}\n{for_page(found)}\n{at[2]}", text))


def _sizes(found: Campaign) -> str:
    weeks = ", ".join(f"{one.first} to {one.last}" for one in found.weeks)
    return (
        f"{found.size.seeds} seeds, {found.size.tickers} tickers and {found.size.epochs} measured "
        f"epochs each: {weeks}."
    )


def _money(lines: Sequence[Line], rules: str) -> list[str]:
    head = (
        f"| under `{rules}` | gains an epoch | honest counterpart | per {PER:,} at risk | "
        f"difference, 95 % | |"
    )
    body = [
        f"| {line.attack} | {_tokens(one.profit)} | {_tokens(one.honest_profit)} | "
        f"{_per(one.per_token)} | {_interval(one.difference)} | {_verdict(one)} |"
        for line in lines
        for name, one in pairs(line)
        if name == rules
    ]
    return [head, "|---|--:|--:|--:|--:|---|", *body]


def _verdict(one: Earned) -> str:
    word = VERDICTS[one.difference.verdict]
    return f"**{word}**" if one.difference.verdict == "above" else word


def _detection(lines: Sequence[Line]) -> list[str]:
    head = "| attack | what it does | detected | after epochs | by | slashed an epoch |"
    body = [
        f"| {line.attack} | {line.does} | {line.detected:.0%} | "
        f"{'' if line.epochs_to_detection is None else f'{line.epochs_to_detection:g}'} | "
        f"{', '.join(line.alarms) or 'no rule'} | {_tokens(line.earned['QUANTA'].slashed)} |"
        for line in lines
    ]
    return [head, "|---|---|--:|--:|---|--:|", *body]


def _honest(found: Campaign) -> list[str]:
    head = "| honest miners pointed at | without attackers | among attackers |"
    body = [
        f"| {alarm.alarm} | {alarm.honest_season:.3%} | {alarm.with_attackers:.3%} |"
        for alarm in found.false_alarms
    ]
    return [head, "|---|--:|--:|", *body]


def _tokens(amount: float) -> str:
    return f"{amount:,.2f}"


def _per(share: float) -> str:
    return _digits(share * PER)


def _interval(one: Interval) -> str:
    if one.low is None or one.high is None:
        return _per(one.mean)
    return f"{_per(one.mean)} ({_per(one.low)} to {_per(one.high)})"


def _digits(value: float) -> str:
    """Whole where that is enough, else three digits: a validator's stake dwarfs what it earns."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"
