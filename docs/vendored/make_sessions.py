"""Writes the sessions of the New York Stock Exchange that the protocol ships with.

Run it from the root of the project after a change of the calendar or of the last year, and look at
the difference before it is committed, because every validator must share one table:

    .venv/bin/python docs/vendored/make_sessions.py
"""

from pathlib import Path

import exchange_calendars

CALENDAR, FIRST, LAST = "XNYS", "2000-01-03", "2027-12-31"
TABLE = Path(__file__).parents[2] / "quanta_pipelines" / "protocol" / "sessions.csv"


def sessions_csv() -> str:
    """Table as text: its origin, its columns, then one line per session."""
    calendar = exchange_calendars.get_calendar(CALENDAR, start=FIRST, end=LAST)
    origin = f"exchange_calendars {exchange_calendars.__version__}"
    lines = [
        f"# {CALENDAR} sessions {FIRST} to {LAST} as {origin} gives them",
        "session,open_utc,close_utc",
    ]
    lines += [
        f"{session:%Y-%m-%d},{opens:%Y-%m-%dT%H:%M:%SZ},{closes:%Y-%m-%dT%H:%M:%SZ}"
        for session, opens, closes in calendar.schedule[["open", "close"]].itertuples()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(sessions_csv())
