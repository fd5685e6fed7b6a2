"""`kitae costs` and `kitae budget`."""

from typing import Annotated, Any

import typer

from app.cli import words
from app.cli.options import Json


def add_to(app: typer.Typer) -> None:
    app.command()(costs)
    app.command()(budget)


def costs(
    *,
    group_by: Annotated[str | None, typer.Option(help="category, key, subject or day.")] = None,
    json_: Json = False,
) -> None:
    """What was spent in the last 30 days, what is reserved, what runs."""
    from app.cli.door import connect

    with connect() as client:
        found = client.costs.summary(group_by=group_by)
    if json_:
        words.put_json(found)
        return
    words.table(
        [found.group_by.upper(), "SPENT USD", "RESERVED USD"],
        [(line.group, f"{line.settled_usd:.4f}", f"{line.reserved_usd:.4f}") for line in found.data],
        right=["SPENT USD", "RESERVED USD"],
    )
    words.facts(
        [
            ("spent", f"${found.settled_usd:.4f}"),
            ("reserved", f"${found.reserved_usd:.4f}"),
            ("hosting that runs", f"${found.running_usd:.4f} so far"),
            ("from", words.moment(found.since)),
            ("until", words.moment(found.until)),
        ]
    )


def budget(
    *,
    month: Annotated[str | None, typer.Option(help="Set this month's cap in USD, or `none`.")] = None,
    job: Annotated[str | None, typer.Option(help="Set the cap of a single job in USD, or `none`.")] = None,
    json_: Json = False,
) -> None:
    """Show the project's caps and how much of them is used; with options, set them."""
    from app.cli.door import connect
    from app.costs.schemas import BudgetPut

    with connect() as client:
        found = client.costs.budget()
        if month is not None or job is not None:
            caps: dict[str, Any] = {"month_cap_usd": found.month_cap_usd, "job_cap_usd": found.job_cap_usd}
            caps |= {"month_cap_usd": _cap(month)} if month is not None else {}
            caps |= {"job_cap_usd": _cap(job)} if job is not None else {}
            found = client.costs.set_budget(BudgetPut.model_validate(caps))
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("a month", f"${found.month_cap_usd}" if found.month_cap_usd is not None else "no cap"),
            ("one job", f"${found.job_cap_usd}" if found.job_cap_usd is not None else "no cap"),
            ("used this month", f"${found.month_used_usd}"),
        ]
    )


def _cap(text: str) -> str | None:
    return None if text.lower() == "none" else text
