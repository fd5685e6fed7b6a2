"""`kitae deployments …` and `kitae compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.options import Json, Limit, Wait

if TYPE_CHECKING:
    from app.deployments.schemas import AnswerRead, ComparisonDetail, ComparisonRow, DeploymentRead

group = typer.Typer(no_args_is_help=True, help="Models made callable, for a time.")

Deployment = Annotated[str, typer.Argument(help="A deployment, by name or id.")]
Hours = Annotated[float | None, typer.Option("--hours", min=0.02, max=720, help="Life from now on; then deleted.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="deployments")
    app.command()(compare)


@group.command()
def create(  # noqa: PLR0913  each is a fact about the deployment
    model: Annotated[str, typer.Argument(help="A model, by name or id, or a base model.")],
    *,
    connection: Annotated[str | None, typer.Option("--connection", "-c", help="Needed for a base model.")] = None,
    name: Annotated[str | None, typer.Option(help="The deployment's name at Azure.")] = None,
    sku: Annotated[
        str | None, typer.Option(help="Standard, GlobalStandard, DataZoneStandard or DeveloperTier.")
    ] = None,
    capacity: Annotated[int | None, typer.Option(min=1, help="Thousands of tokens per minute.")] = None,
    hours: Hours = None,
    on_removal: Annotated[
        str | None, typer.Option(help="When Azure removes it before its end: park, or recreate.")
    ] = None,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Make a model callable. Hosting costs money until it is deleted or expires; exit code 4 when it fails."""
    from app.cli.door import connect
    from app.cli.waiting import deployed
    from app.deployments.schemas import DeploymentCreate

    body: dict[str, Any] = {"model": model} | {
        key: value
        for key, value in {
            "connection": connection,
            "name": name,
            "sku": sku,
            "capacity": capacity,
            "ttl_seconds": round(hours * 3600) if hours is not None else None,
            "on_removal": on_removal,
        }.items()
        if value is not None
    }
    with connect() as client:
        made = client.deployments.create(DeploymentCreate.model_validate(body))
        if wait:
            made = deployed(client, made)
    if json_:
        words.put_json(made)
    else:
        words.put(made.name)
    if wait:
        _tell_end(made)


def _tell_end(deployment: "DeploymentRead") -> None:
    if deployment.status == "ready":
        price = f", ${deployment.hourly_usd} an hour" if deployment.hourly_usd else ""
        words.done(f"{deployment.name} answers{price}; it is deleted at {words.moment(deployment.expires_at)}.")
        return
    reason = (deployment.error or deployment.last_error or {}).get("message") or deployment.parked_reason or ""
    words.error(f"{deployment.name} is {deployment.status}" + (f": {reason}" if reason else ""))
    raise typer.Exit(Exit.BAD_OUTCOME)


@group.command("list")
def list_deployments(*, limit: Limit = 20, json_: Json = False) -> None:
    """List deployments, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.deployments.list(limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "STATUS", "SKU", "USD/HOUR", "EXPIRES", "ID"],
        [
            (item.name, item.status, item.sku, item.hourly_usd, words.moment(item.expires_at), item.id)
            for item in found
        ],
        right=["USD/HOUR"],
    )


@group.command()
def show(deployment: Deployment, *, json_: Json = False) -> None:
    """Show a deployment."""
    from app.cli.door import connect

    with connect() as client:
        found = client.deployments.get(deployment)
    if json_:
        words.put_json(found)
        return
    words.facts(
        [
            ("name", found.name),
            ("id", found.id),
            ("status", found.status),
            ("at Azure", found.provisioning_state),
            ("model", found.remote_model),
            ("SKU", found.sku),
            ("capacity", f"{found.capacity} thousand tokens a minute"),
            ("hosting", f"${found.hourly_usd} an hour" if found.hourly_usd is not None else "price not known"),
            ("cost", f"${found.cost_usd}" if found.cost_usd is not None else None),
            ("expires", words.moment(found.expires_at)),
            ("last used", words.moment(found.last_used_at)),
            ("changed at Azure", ", ".join(sorted(found.drift)) if found.drift else None),
            ("error", (found.error or {}).get("message")),
            ("parked", found.parked_reason),
        ]
    )


@group.command()
def chat(
    deployment: Deployment,
    question: Annotated[str | None, typer.Argument(help="What to ask; left out: a conversation.")] = None,
    *,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    json_: Json = False,
) -> None:
    """Ask a deployment, once or in a conversation (Ctrl-D ends it). Answers come as they are made."""
    import sys

    from app.cli.door import connect
    from app.deployments.schemas import ChatRequest

    messages = [{"role": "system", "content": system}] if system else []
    chosen = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in chosen.items() if value is not None}

    def request(text: str) -> ChatRequest:
        messages.append({"role": "user", "content": text})
        return ChatRequest.model_validate({"messages": messages, **options})

    with connect() as client:
        if json_:
            if question is None:
                raise Told("--json answers one question; say which.", code=Exit.USAGE)
            words.put_json(client.deployments.chat(deployment, request(question)))
            return
        while True:
            text = question if question is not None else _asked()
            if not text:
                return
            answer = []
            for piece in client.deployments.chat_stream(deployment, request(text)):
                answer.append(piece)
                sys.stdout.write(words.clean(piece))
                sys.stdout.flush()
            sys.stdout.write("\n")
            if question is not None:
                return
            messages.append({"role": "assistant", "content": "".join(answer)})


def _asked() -> str:
    """The next question of a conversation; empty at its end."""
    import sys

    words.word_console().print("› ", end="", style="bold")
    return sys.stdin.readline().strip()


@group.command()
def extend(
    deployment: Deployment,
    *,
    hours: Annotated[float, typer.Option(min=0.02, max=720, help="Life from now on.")] = 24.0,
    json_: Json = False,
) -> None:
    """Let a deployment live longer, or end sooner."""
    from app.cli.door import connect
    from app.deployments.schemas import DeploymentPatch

    with connect() as client:
        found = client.deployments.change(deployment, DeploymentPatch(ttl_seconds=round(hours * 3600)))
    if json_:
        words.put_json(found)
    else:
        words.done(f"{found.name} is deleted at {words.moment(found.expires_at)}.")


@group.command()
def delete(deployment: Deployment, *, wait: Wait = True, json_: Json = False) -> None:
    """Delete a deployment and wait until Azure no longer has it."""
    from app.cli.door import connect
    from app.cli.waiting import deleted

    with connect() as client:
        found = client.deployments.delete(deployment)
        if wait:
            found = deleted(client, found)
    if json_:
        words.put_json(found)
    cost = f"; its hosting cost ${found.cost_usd}" if found.cost_usd is not None else ""
    words.done(f"{found.name} is {found.status}{cost}.")


def compare(
    deployment: Annotated[list[str], typer.Argument(help="Two to five deployments, by name or id.")],
    *,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="A question; may be repeated.")] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A text file with one question a line.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message for all of them.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    json_: Json = False,
) -> None:
    """Put the same questions to several deployments and show the answers side by side."""
    from app.cli.door import connect
    from app.cli.waiting import compared
    from app.deployments.schemas import ComparisonCreate

    lines = prompts_file.read_text(encoding="utf-8").splitlines() if prompts_file else []
    asked = [*(prompt or []), *(line.strip() for line in lines if line.strip())]
    if not asked:
        raise Told("There is nothing to ask.", hint="Give --prompt or --prompts-file.", code=Exit.USAGE)
    candidate = {"system": system} if system else {}
    chosen = {"max_tokens": max_tokens, "temperature": temperature}
    wanted = ComparisonCreate.model_validate(
        {"candidates": [{"deployment": name} | candidate for name in deployment], "prompts": asked}
        | {name: value for name, value in chosen.items() if value is not None}
    )
    with connect() as client:
        found = compared(client, client.comparisons.create(wanted))
    if json_:
        words.put_json(found)
    else:
        _show_side_by_side(found)
    if found.status != "succeeded":
        words.error(f"The comparison is {found.status}.")
        raise typer.Exit(Exit.BAD_OUTCOME)


def _show_side_by_side(found: "ComparisonDetail") -> None:
    from app.cli.reports import side_by_side

    names = [candidate.name for candidate in found.candidates]
    rows = [(row.prompt, row_texts(row)) for row in found.rows]
    side_by_side(names, rows, to=words.data_console())
    for candidate in found.candidates:
        mean = (
            f", {candidate.latency_seconds_mean:.2f} s each" if candidate.latency_seconds_mean is not None else ""
        )
        cost = f", ${candidate.cost_usd}" if candidate.cost_usd is not None else ""
        words.note(f"{candidate.name}: {candidate.completion_tokens:,} tokens answered{mean}{cost}")


def row_texts(row: "ComparisonRow") -> list[str]:
    """Each candidate's answer, or why there is none."""
    return [
        answer.text if answer and answer.text is not None else f"[{_why_none(answer)}]" for answer in row.answers
    ]


def _why_none(answer: "AnswerRead | None") -> str:
    return str((answer.error or {}).get("message", "no answer")) if answer else "not asked"
