"""`kitae graders …`: check a grader, try it on samples, see what each method may be told."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json

if TYPE_CHECKING:
    from app.calibrations.schemas import Calibration, GraderFinding

group = typer.Typer(no_args_is_help=True, help="Graders of reinforcement training.")

File = Annotated[Path, typer.Argument(help="JSON file with the grader, as OpenAI writes it.")]
MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="graders")


def json_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file. Raises `Told` (usage)."""
    from app.kit.wire import strict_json

    try:
        found = strict_json(path.read_bytes())
    except OSError as error:
        raise Told(f"{path} cannot be read: {error.strerror}", code=Exit.USAGE) from error
    except ValueError as error:
        raise Told(f"{path} is no {what}: {error}", code=Exit.USAGE) from error
    if not isinstance(found, dict):
        raise Told(f"{path} is no {what}: it must be a JSON object", code=Exit.USAGE)
    return found


@group.command()
def validate(
    file: File,
    *,
    connection: Annotated[str | None, typer.Option("--connection", "-c", help="Ask Azure there, too.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Hold every row of this version against it.")] = None,
    response_format: Annotated[Path | None, typer.Option(help="JSON file with the response_format.")] = None,
    json_: Json = False,
) -> None:
    """Check a grader; without --connection and --dataset on this machine alone. Exit code 4 when it is none."""
    from app.calibrations.schemas import GraderCheck
    from app.cli.door import connect

    wanted = GraderCheck(
        grader=json_object(file, "grader"),
        response_format=json_object(response_format, "response_format") if response_format else None,
        connection=connection,
        version=dataset,
    )
    if connection is None and dataset is None:
        found = _here(wanted.grader, has_format=response_format is not None)
    else:
        with connect() as client:
            told = client.graders.validate(wanted)
        found = told.findings
    ok = all(finding.verdict != "error" for finding in found)
    if json_:
        words.put_json({"ok": ok, "findings": [finding.model_dump() for finding in found]})
    else:
        console = words.data_console()
        for finding in found:
            mark, style = MARKS[finding.verdict]
            place = f"{finding.pointer}: " if finding.pointer else ""
            words.marked(mark, style, place + finding.detail, to=console)
        if ok:
            words.marked("✓", "green", "the grader can be used", to=console)
    if not ok:
        raise typer.Exit(Exit.BAD_OUTCOME)


def _here(grader: dict[str, Any], *, has_format: bool) -> "list[GraderFinding]":
    """What can be said of a grader without a service."""
    from app.calibrations.schemas import GraderFinding
    from app.graders import GraderFault, parse, remarks

    try:
        read = parse(grader)
    except GraderFault as error:
        return [
            GraderFinding(code=fault.code, verdict="error", detail=fault.detail, pointer=fault.pointer)
            for fault in error.faults
        ]
    return [
        GraderFinding(code=code, verdict="warning", detail=said, pointer="/grader")
        for code, said in remarks(read, has_response_format=has_format)
    ]


@group.command()
def calibrate(  # noqa: PLR0913  each is a choice about the trial
    file: File,
    *,
    connection: Annotated[str, typer.Option("--connection", "-c", help="Where Azure grades.")] = "emulator",
    dataset: Annotated[str, typer.Option(help="Version whose rows are sampled.")],
    field: Annotated[str | None, typer.Option(help="Grade the data's own answers in this field.")] = None,
    deployment: Annotated[str | None, typer.Option(help="Grade what this deployment answers.")] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, max=50)] = 20,
    pass_threshold: Annotated[float | None, typer.Option(help="From which score on an answer passes.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Refuse if it may cost more, in USD.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what it may cost; grade nothing.")] = False,
    json_: Json = False,
) -> None:
    """Try a grader on samples before training by it; spends a little. Exit code 4 unless the verdict is ok."""
    from app.calibrations.schemas import CalibrationCreate
    from app.cli.door import connect

    if (field is None) == (deployment is None):
        raise Told("Say whose answers are graded: --field NAME or --deployment NAME.", code=Exit.USAGE)
    answers = (
        {"source": "field", "field": field}
        if field is not None
        else {"source": "deployment", "deployment": deployment}
    )
    wanted = CalibrationCreate.model_validate(
        {
            "connection": connection,
            "grader": json_object(file, "grader"),
            "version": dataset,
            "samples": samples,
            "answers": answers,
            "pass_threshold": pass_threshold,
            "max_cost_usd": None if max_cost is None else Decimal(str(max_cost)),
            "dry_run": dry_run,
        }
    )
    with connect() as client:
        told = client.graders.calibrate(wanted)
    if json_:
        words.put_json(told)
    else:
        _show(told)
    if told.verdict not in {"ok", "planned"}:
        raise typer.Exit(Exit.BAD_OUTCOME)


def _show(told: "Calibration") -> None:
    console = words.data_console()
    mark, style = MARKS["ok" if told.verdict in {"ok", "planned"} else "error"]
    words.marked(mark, style, f"{told.verdict}: {told.words}", to=console)
    if told.advice:
        words.say(f"    → {told.advice}", to=console)
    if told.pass_rate is not None:
        words.say(
            f"  {told.passed} of {told.graded} pass from {told.pass_threshold:g} on; mean {told.mean:g}, "
            f"{told.lowest:g} to {told.highest:g}",
            to=console,
        )
    most = max((one.count for one in told.distribution), default=0)
    for one in told.distribution:
        bar = "█" * round(30 * one.count / most) if most else ""
        words.say(f"  {one.low:>7.2f} … {one.high:<7.2f} {bar} {one.count}", to=console)
    for name, count in (told.errors | {f"without {path}": rows for path, rows in told.lacking.items()}).items():
        words.say(f"  {name}: {count}", to=console)
    cost = told.cost_usd if told.cost_usd is not None else told.highest_cost_usd
    if cost is not None:
        words.say(f"  cost: ${cost:.4f}" + (" at most" if told.cost_usd is None else ""), to=console)
    for note in told.notes:
        words.say(f"  {note}", style="dim", to=console)


@group.command()
def hyperparameters(
    *,
    method: Annotated[str | None, typer.Option(help="supervised, dpo or reinforcement.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Tell this base model's own defaults.")] = None,
    json_: Json = False,
) -> None:
    """What each method may be told: range, default and why."""
    from app.cli.door import connect

    with connect() as client:
        found = client.graders.hyperparameters(method=method, model=model)
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "METHODS", "RANGE", "DEFAULT", "WHY"],
        [
            (
                item.name,
                ", ".join(item.methods),
                ", ".join(item.choices) or f"{item.lowest:g} to {item.highest:g}",
                item.default,
                item.reason,
            )
            for item in found
        ],
    )
