"""`kitae studies …`: variations of one training within one budget (hyperparameter sweeps)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json, Limit, Wait, pair

if TYPE_CHECKING:
    from app.studies.schemas import StudyCreate, StudyPlan, StudyRead

group = typer.Typer(
    no_args_is_help=True, help="Variations of one training within one budget: hyperparameter sweeps."
)

Study = Annotated[str, typer.Argument(help="A study, by id.")]
Training = Annotated[str, typer.Argument(help="Dataset version to train on: travel@3, or travel.")]
Connection = Annotated[str, typer.Option("--connection", "-c", help="Azure OpenAI resource, by name or id.")]
BaseModel = Annotated[str, typer.Option("--model", "-m", help="Base model.")]
Validation = Annotated[str, typer.Option("--validation", "-v", help="What all trials are measured on.")]
Vary = Annotated[
    list[str] | None,
    typer.Option(help="name=value,value,…: a hyperparameter, model, training, training_type, goal or seed."),
]
Variations = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Instead of --vary: a JSON list of objects, a trial each."),
]
Job = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="JSON object with more of what all trials' jobs have."),
]
Budget = Annotated[str, typer.Option(help="Nothing is begun that could take the study beyond it, in USD.")]
Cases = Annotated[
    int | None,
    typer.Option(min=1, max=200, help="Compare answers: put every trial's model to so many validation cases."),
]
Grader = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="With --cases: a grader in OpenAI's schema, JSON.")
]
AtOnce = Annotated[int, typer.Option(min=1, max=5, help="Trainings under way at the same time.")]
Name = Annotated[str | None, typer.Option(help="For people.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="studies")


@group.command()
def plan(  # noqa: PLR0913  each is a choice about the study
    training: Training,
    *,
    validation: Validation,
    budget: Budget,
    vary: Vary = None,
    variations: Variations = None,
    connection: Connection = "emulator",
    model: BaseModel = "gpt-4.1-mini",
    job: Job = None,
    cases: Cases = None,
    grader: Grader = None,
    at_once: AtOnce = 2,
    name: Name = None,
    json_: Json = False,
) -> None:
    """Show every trial with its cost; nothing is made."""
    from app.cli.door import connect

    fixed = {"training": training, "validation": validation, "connection": connection, "model": model}
    wanted = _wanted(
        fixed,
        job,
        vary,
        variations,
        budget_usd=budget,
        at_once=at_once,
        name=name,
        evaluation=_evaluation(cases, grader),
    )
    with connect() as client:
        planned = client.studies.plan(wanted)
    if json_:
        words.put_json(planned)
    else:
        _show_plan(planned)


@group.command()
def create(  # noqa: PLR0913  as for plan
    training: Training,
    *,
    validation: Validation,
    budget: Budget,
    vary: Vary = None,
    variations: Variations = None,
    connection: Connection = "emulator",
    model: BaseModel = "gpt-4.1-mini",
    job: Job = None,
    cases: Cases = None,
    grader: Grader = None,
    at_once: AtOnce = 2,
    name: Name = None,
    wait: Wait = False,
    json_: Json = False,
) -> None:
    """Train them. Spends at most the budget; `plan` tells how much. With --wait, exit code 4 if none went well."""
    from app.cli.door import connect
    from app.cli.waiting import studied

    fixed = {"training": training, "validation": validation, "connection": connection, "model": model}
    wanted = _wanted(
        fixed,
        job,
        vary,
        variations,
        budget_usd=budget,
        at_once=at_once,
        name=name,
        evaluation=_evaluation(cases, grader),
    )
    with connect() as client:
        made = client.studies.create(wanted)
        if wait:
            words.note(f"{made.id} is on its way; `kitae studies show {made.id}` tells how far it is.")
            made = studied(client, made)
    if json_:
        words.put_json(made)
    elif wait:
        _show(made)
    else:
        words.put(made.id)
    if wait and made.status != "succeeded":
        raise typer.Exit(Exit.BAD_OUTCOME)


def _wanted(
    fixed: dict[str, Any], job: Path | None, vary: list[str] | None, variations: Path | None, **more: Any
) -> "StudyCreate":
    from app.studies.schemas import StudyCreate

    body: dict[str, Any] = {"job": fixed | (_json(job, dict) if job else {})}
    body |= {name: value for name, value in more.items() if value is not None}
    if variations is not None:
        body["variations"] = _json(variations, list)
    else:
        axes = (pair(text, "axis") for text in vary or [])
        body["vary"] = {name: [_value(one) for one in values.split(",")] for name, values in axes}
    return StudyCreate.model_validate(body)


def _evaluation(cases: int | None, grader: Path | None) -> dict[str, Any] | None:
    if cases is None:
        if grader is not None:
            raise typer.BadParameter("--grader needs --cases: how many cases every trial's model is put to")
        return None
    return {"cases_max": cases} | ({"grader": _json(grader, dict)} if grader is not None else {})


def _value(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text.strip()


def _json(file: Path, kind: type) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise Told(f"{file} is not JSON: {error}", code=Exit.USAGE) from error
    if not isinstance(found, kind):
        raise Told(f"{file}: a JSON {'list' if kind is list else 'object'} is expected.", code=Exit.USAGE)
    return found


@group.command("list")
def list_studies(*, limit: Limit = 20, json_: Json = False) -> None:
    """List studies, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.studies.list(limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["STATUS", "NAME", "TRIALS", "MEASURED", "USD", "OF", "CREATED", "ID"],
        [
            (
                f"{one.status} (parked)" if one.parked_reason else one.status,
                one.name,
                len(one.trials),
                sum(trial.score is not None for trial in one.trials),
                one.spent_usd,
                one.budget_usd,
                words.moment(one.created_at),
                one.id,
            )
            for one in found
        ],
        right=["TRIALS", "MEASURED", "USD", "OF"],
    )


@group.command()
def show(study: Study, *, json_: Json = False) -> None:
    """Show the table of a study, and which trial to take."""
    from app.cli.door import connect

    with connect() as client:
        found = client.studies.get(study)
    if json_:
        words.put_json(found)
    else:
        _show(found)


@group.command()
def cancel(study: Study, *, json_: Json = False) -> None:
    """Begin nothing more and cancel what is being trained."""
    from app.cli.door import connect

    with connect() as client:
        found = client.studies.cancel(study)
    if json_:
        words.put_json(found)
    else:
        words.done(f"{found.id} ends; what was measured stays readable.")


@group.command()
def retry(study: Study, *, json_: Json = False) -> None:
    """Look again at a parked study."""
    from app.cli.door import connect

    with connect() as client:
        found = client.studies.retry(study)
    if json_:
        words.put_json(found)
    else:
        words.done(f"{found.id} is looked after again.")


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _show_plan(planned: "StudyPlan") -> None:
    words.table(
        ["TRIAL", "SETTINGS", "EXPECTED USD", "AT MOST", "FITS"],
        [
            (one.number, _settings(one.settings), one.expected_usd, one.high_usd, "yes" if one.fits else "maybe")
            for one in planned.trials
        ],
        right=["TRIAL", "EXPECTED USD", "AT MOST"],
    )
    if planned.training_type is not None:
        words.note(f"Trained as {planned.training_type}, the cheapest that the model offers.")
    for warning in planned.warnings:
        words.warn(warning)
    if planned.expected_usd is not None and planned.high_usd is not None:
        words.note(
            f"Expected ${planned.expected_usd:.2f}, at most ${planned.high_usd:.2f}; "
            f"the budget is ${planned.budget_usd:.2f}."
        )


def _show(found: "StudyRead") -> None:
    words.table(
        ["TRIAL", "SETTINGS", "STATUS", "SCORE", "LOSS", "STEP", "VERDICT", "USD", "GAINED", "USD A POINT", "JOB"],
        [
            (
                one.number,
                _settings(one.settings),
                one.status if one.job_status in {None, "succeeded"} else f"{one.status} ({one.job_status})",
                None if one.score is None else f"{one.score:.2f}",
                None if one.loss is None else f"{one.loss:.3f}",
                one.step,
                one.verdict,
                one.cost_usd,
                None if one.points_gained is None else f"{one.points_gained:+.2f}",
                one.usd_per_point_gained,
                one.job,
            )
            for one in found.trials
        ],
        right=["TRIAL", "SCORE", "LOSS", "STEP", "USD", "GAINED", "USD A POINT"],
    )
    words.note(f"{found.status}: ${found.spent_usd:.4f} of ${found.budget_usd:.2f} spent.")
    for one in found.trials:
        if one.status == "left_out" and one.error:
            words.warn(f"Trial {one.number} was left out: {one.error.get('message', '')}")
    if found.recommendation is not None:
        words.done(found.recommendation.headline)
        for reason in found.recommendation.reasons:
            words.note(f"  {reason}")
        if found.recommendation.next_experiment:
            words.note(f"  Next: {found.recommendation.next_experiment}")
