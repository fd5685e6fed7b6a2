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
    month: Annotated[str | None, typer.Option(help="Set a month's cap in USD, or `none`.")] = None,
    day: Annotated[str | None, typer.Option(help="Set a day's cap in USD, or `none`.")] = None,
    job: Annotated[str | None, typer.Option(help="Set the cap of a single job in USD, or `none`.")] = None,
    deployments: Annotated[str | None, typer.Option(help="Set how many deployments may live, or `none`.")] = None,
    jobs: Annotated[str | None, typer.Option(help="Set how many jobs may be unfinished, or `none`.")] = None,
    json_: Json = False,
) -> None:
    """Show the project's caps and how much of them is used; with options, set them."""
    from app.cli.door import connect
    from app.costs.schemas import BudgetPut

    asked = {
        "month_cap_usd": month,
        "day_cap_usd": day,
        "job_cap_usd": job,
        "deployments_max": deployments,
        "unfinished_jobs_max": jobs,
    }
    with connect() as client:
        found = client.costs.budget()
        if any(cap is not None for cap in asked.values()):
            caps: dict[str, Any] = {name: getattr(found, name) for name in asked}
            caps |= {name: _cap(cap) for name, cap in asked.items() if cap is not None}
            found = client.costs.set_budget(BudgetPut.model_validate(caps))
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("a month", f"${found.month_cap_usd}" if found.month_cap_usd is not None else "no cap"),
            ("a day", f"${found.day_cap_usd}" if found.day_cap_usd is not None else "no cap"),
            ("one job", f"${found.job_cap_usd}" if found.job_cap_usd is not None else "no cap"),
            ("living deployments", found.deployments_max if found.deployments_max is not None else "no cap"),
            ("unfinished jobs", found.unfinished_jobs_max if found.unfinished_jobs_max is not None else "no cap"),
            ("used this month", f"${found.month_used_usd}"),
            ("begun today", f"${found.day_used_usd}"),
        ]
    )


def _cap(text: str) -> str | int | None:
    if text.lower() == "none":
        return None
    return int(text) if text.isdigit() else text
