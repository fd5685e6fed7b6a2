"""Commands of whoever runs Kitae: the laptop mode, single processes, migrations, a look at what works."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.exits import Exit, Told

if TYPE_CHECKING:
    from types import FrameType

    from app.cli.laptop import Running
    from app.settings import Settings

PANEL = "Operate"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(up)
    app.command(rich_help_panel=PANEL)(api)
    app.command(rich_help_panel=PANEL)(worker)
    app.command(rich_help_panel=PANEL)(beat)
    as_it_is = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(rich_help_panel=PANEL, context_settings=as_it_is, add_help_option=False)(emulator)
    app.command(rich_help_panel=PANEL)(migrate)
    app.command(rich_help_panel=PANEL)(doctor)
    app.command(rich_help_panel=PANEL)(halt)
    app.command(rich_help_panel=PANEL)(unhalt)


def up(
    *,
    port: Annotated[int, typer.Option(help="Port of the API; 0 takes a free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    data_dir: Annotated[Path | None, typer.Option(help="Directory for everything. [KITAE_DATA_DIR, var]")] = None,
    no_emulator: Annotated[bool, typer.Option("--no-emulator", help="Without the local Azure OpenAI.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout when it is ready.")] = False,
) -> None:
    """Run everything on this machine: database, worker, API and a local Azure OpenAI. Ctrl-C ends it.

    PostgreSQL is embedded unless KITAE_DATABASE_URL names one. The emulator stands in for Azure until a connection
    to a real resource has been made and the emulator's was archived.
    """
    from app.cli import laptop

    words.say("Starting Kitae …", style="dim")
    directory = data_dir or Path(os.environ.get("KITAE_DATA_DIR", "var"))

    def ready(running: "Running") -> None:
        if json_:
            from dataclasses import asdict

            words.put_json(asdict(running) | {"data_dir": str(directory.resolve())})
        _tell(running, directory)

    laptop.run(
        data_dir=directory, host=host, port=port, emulator=not no_emulator, emulator_environment={}, on_ready=ready
    )
    words.say("Kitae has ended; everything is kept for the next start.", style="dim")


def _tell(running: "Running", directory: Path) -> None:
    words.say()
    words.done(f"Kitae runs at {running.url}")
    pairs = [
        ("documentation", f"{running.url}/docs"),
        ("API key", f"{running.key}  (also in {directory / 'laptop.json'})"),
    ]
    if running.emulator:
        pairs.append(("connection", f"emulator → a local Azure OpenAI at {running.emulator}"))
    else:
        pairs.append(("connection", "none of ours; make one with `kitae connections create`"))
    for name, value in pairs:
        words.say(f"  {name:<14} {value}")
    words.say()
    words.say("In another terminal, in this directory: `kitae datasets create travel`, or `kitae --help`.")
    words.say("Ctrl-C ends it.", style="dim")


def read_settings() -> "Settings":
    """From the environment. Raises `Told` when one cannot be used."""
    from pydantic import ValidationError

    from app.kit.logging import never_log, set_up_logging
    from app.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        problems = "\n".join(
            f"  KITAE_{str(item['loc'][0]).upper()}: {item['msg']}" if item["loc"] else f"  {item['msg']}"
            for item in error.errors()
        )
        raise Told(f"The settings cannot be used:\n{problems}", code=Exit.USAGE) from error
    for secret in settings.secrets():
        never_log(secret)
    set_up_logging(level=settings.log_level, as_json=settings.log_json)
    return settings


def _missing(error: Exception) -> Told:
    return Told(str(error), code=Exit.USAGE)


def api() -> None:
    """Run the HTTP API. Needs KITAE_DATABASE_URL and KITAE_REDIS_URL."""
    from app.bootstrap import SettingMissing, open_workbench, refuse_missing_keys
    from app.http.server import make_server
    from app.main import create_app
    from worker.celery_app import api_nudges

    settings = read_settings()
    # uvicorn hands the signal back once it has ended; by default that would kill us before we have closed anything
    signal.signal(signal.SIGTERM, _leave)
    try:
        with (
            api_nudges(settings) as send_nudge,
            open_workbench(settings, send_nudge=send_nudge, pool_size=settings.api_threads // 2) as bench,
        ):
            refuse_missing_keys(bench)
            make_server(create_app(settings, bench), host=settings.host, port=settings.port).run()
    except SettingMissing as error:
        raise _missing(error) from error


def _leave(_number: int, _frame: "FrameType | None") -> None:
    sys.exit(Exit.OK)


def worker() -> None:
    """Run a worker, which takes steps until SIGTERM. Run as many as you like."""
    from app.bootstrap import SettingMissing
    from worker.celery_app import run_worker

    try:
        run_worker(read_settings())
    except SettingMissing as error:
        raise _missing(error) from error


def beat() -> None:
    """Run the clock that finds due work. One is enough, two are harmless."""
    from app.bootstrap import SettingMissing
    from worker.celery_app import run_beat

    try:
        run_beat(read_settings())
    except SettingMissing as error:
        raise _missing(error) from error


def emulator(context: typer.Context) -> None:
    """Run the local Azure OpenAI alone; `kitae emulator --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "emulator", *context.args])  # noqa: S606  our own module


def migrate() -> None:
    """Bring the database to this release's schema. Safe to run again, and by several at once."""
    from app.bootstrap import SettingMissing
    from app.cli.desk import on_this_machine
    from app.cli.schema import migrate as run

    try:
        with on_this_machine("migrate"):
            before, after = run(read_settings())
    except SettingMissing as error:
        raise _missing(error) from error
    except ValueError as error:
        raise Told(str(error), code=Exit.USAGE) from error
    if before == after:
        words.done(f"The database is at {after} already.")
    else:
        words.done(f"The database went from {before or 'empty'} to {after}.")


def doctor(
    *,
    json_: Annotated[bool, typer.Option("--json", help="The checks as JSON.")] = False,
) -> None:
    """Look at everything this installation needs and say what works; exit code 1 when something does not."""
    from app.cli.diagnosis import diagnose

    found = diagnose(read_settings())
    if json_:
        words.put_json([{"name": item.name, "verdict": item.verdict, "detail": item.detail} for item in found])
    else:
        words.table(["CHECK", "VERDICT", "DETAIL"], [(item.name, item.verdict, item.detail) for item in found])
    if any(item.verdict == "failed" for item in found):
        raise typer.Exit(Exit.PROBLEM)


def halt(*, reason: Annotated[str, typer.Option(help="Why, for whoever finds it halted.")]) -> None:
    """Throw the kill switch over every project: nothing that costs money is begun. Needs an operator's key.

    Cancelling, deleting and watching go on; what waits costs nothing and goes on after `unhalt`.
    """
    from app.cli.door import connect

    with connect() as client:
        found = client.installation.halt(reason)
    words.done(f"Halted since {words.moment(found.halted_at)}: {found.reason}")


def unhalt() -> None:
    """Let the installation spend again. Needs an operator's key."""
    from app.cli.door import connect

    with connect() as client:
        found = client.installation.unhalt()
    if found.halted_by_setting:
        words.warn("KITAE_HALTED is still set: restart the processes without it.")
    else:
        words.done("The installation may spend again.")
