"""`kitae sweep`: the reaper for cron, which needs nothing but the database and Azure."""

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.operate import PANEL, read_settings
from app.cli.options import Json

if TYPE_CHECKING:
    from app.upkeep.reaper import Torn, Unseen


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(sweep)


def sweep(
    *,
    teardown_expired: Annotated[
        bool, typer.Option("--teardown-expired", help="Delete every deployment of ours past its end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for Azure to have deleted everything.")
    ] = 900.0,
    json_: Json = False,
) -> None:
    """Delete deployments whose end has passed. For cron: needs the database and Azure, no API, worker or Redis.

    What the database has lost is known by its tags, on every account that a connection names. Harmless beside
    running workers.

    Exit codes: 0 nothing past its end is left · 1 an account could not be looked at · 2 wrong command line or
    settings · 4 something past its end is still there, or with --dry-run was found.
    """
    from app.bootstrap import SettingMissing, open_workbench
    from app.upkeep.reaper import Reaper

    if not teardown_expired:
        raise Told("Say what to sweep.", hint="`kitae sweep --teardown-expired`", code=Exit.USAGE)
    try:
        with open_workbench(read_settings(), pool_size=2) as bench:
            reaper = Reaper(bench, patience_seconds=timeout)
            torn, unseen = reaper.reap(dry_run=dry_run, tell=_tell if not json_ else _nothing)
    except SettingMissing as error:
        raise Told(str(error), code=Exit.USAGE) from error
    saved = sum((item.hourly_usd or Decimal(0) for item in torn if item.outcome == "deleted"), Decimal(0))
    if json_:
        words.put_json(
            {
                "dry_run": dry_run,
                "saved_usd_per_hour": f"{saved:.4f}",
                "deployments": [_as_json(item) for item in torn],
                "problems": [asdict(item) for item in unseen],
            }
        )
    else:
        _sum_up(torn, unseen, saved, dry_run=dry_run)
    if any(item.outcome != "deleted" for item in torn):
        raise typer.Exit(Exit.BAD_OUTCOME)
    if unseen:
        raise typer.Exit(Exit.PROBLEM)


def _nothing(_item: "Torn") -> None:
    """All is told at the end."""


def _tell(item: "Torn") -> None:
    price = f"${item.hourly_usd} an hour" if item.hourly_usd is not None else "price not known"
    origin = "" if item.has_row else ", no row"
    ended = words.moment(item.expired_at)
    words.put(
        f"{item.outcome}  {item.name}  {item.account}  ended {ended}  {price}{origin}  {item.detail}".rstrip()
    )


def _sum_up(torn: "list[Torn]", unseen: "list[Unseen]", saved: Decimal, *, dry_run: bool) -> None:
    for problem in unseen:
        words.warn(f"{problem.account} could not be looked at: {problem.message}")
    deleted = sum(1 for item in torn if item.outcome == "deleted")
    left = len(torn) - deleted
    if dry_run:
        words.say(f"{left} deployment(s) are past their end." if left else "Nothing is past its end.")
    elif deleted:
        words.done(f"{deleted} deleted; that saves ${saved:.2f} an hour.")
    elif not left:
        words.done("Nothing is past its end.")
    if left and not dry_run:
        words.warn(f"{left} still there; run it again.")


def _as_json(item: "Torn") -> dict[str, object]:
    shown = asdict(item)
    shown["expired_at"] = item.expired_at.isoformat()
    shown["hourly_usd"] = None if item.hourly_usd is None else f"{item.hourly_usd:.4f}"
    return shown
