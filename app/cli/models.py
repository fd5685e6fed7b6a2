"""`kitae models …` and `kitae base-models`."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.exits import Exit
from app.cli.options import Json, Limit, Wait

if TYPE_CHECKING:
    from app.models.schemas import BaseModelRead, LiveRead

group = typer.Typer(no_args_is_help=True, help="Models that jobs have made.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="models")
    app.command("base-models")(base_models)


@group.command("list")
def list_models(
    *,
    job: Annotated[str | None, typer.Option(help="Only models of this job.")] = None,
    limit: Limit = 20,
    json_: Json = False,
) -> None:
    """List models and deployable checkpoints, newest first."""
    from app.cli.door import connect

    with connect() as client:
        found = list(client.models.list(job=job, limit=limit))
    if json_:
        words.put_json(found)
        return
    words.table(
        ["NAME", "KIND", "STEP", "BASE MODEL", "CREATED", "ID"],
        [
            (item.name, item.kind, item.step, item.base_model, words.moment(item.created_at), item.id)
            for item in found
        ],
        right=["STEP"],
    )


@group.command()
def show(model: Annotated[str, typer.Argument(help="Name or id.")], *, json_: Json = False) -> None:
    """Show a model and where it comes from."""
    from app.cli.door import connect

    with connect() as client:
        found = client.models.get(model)
    if json_:
        words.put_json(found)
        return
    made = found.lineage
    chosen = ", ".join(f"{name} {value}" for name, value in made.hyperparameters.items() if value is not None)
    words.facts(
        [
            ("name", found.name),
            ("id", found.id),
            ("at Azure", found.remote_name),
            ("base model", found.base_model),
            ("kind", f"{found.kind}, step {found.step}" if found.step is not None else found.kind),
            ("made by", made.job),
            (
                "trained on",
                f"{made.training.ref} ({made.training.examples} examples)" if made.training else "not known",
            ),
            ("validated on", made.validation.ref if made.validation else None),
            ("hyperparameters", chosen or "chosen by Azure"),
            ("trained tokens", made.trained_tokens),
            ("training cost", f"${made.cost_usd}" if made.cost_usd is not None else None),
            ("created", words.moment(found.created_at)),
        ]
    )


@group.command()
def copy(
    model: Annotated[str, typer.Argument(help="Name or id of a model, or a checkpoint's id (ckp_…).")],
    connection: Annotated[str, typer.Argument(help="The resource to copy it to.")],
    *,
    wait: Wait = True,
    json_: Json = False,
) -> None:
    """Copy a model to another resource, where it can then be deployed under the same name."""
    from app.cli import waiting
    from app.cli.door import connect

    with connect() as client:
        found = client.models.copy(model, connection)
        if wait:
            found = waiting.copied(client, found)
    if json_:
        words.put_json(found)
    elif found.status == "ready":
        words.done(f"Copied. Deploy it there: kitae deployments create {found.model} --connection {connection}")
    else:
        reason = found.error or found.last_error or {}
        words.say(f"The copy is {found.status}. {reason.get('message', '')}".strip())
    if found.status == "failed" or found.parked_reason is not None:
        raise typer.Exit(Exit.PROBLEM)


@group.command()
def copies(
    model: Annotated[str, typer.Argument(help="Name or id.")],
    *,
    json_: Json = False,
) -> None:
    """Where a model was copied to."""
    from app.cli.door import connect

    with connect() as client:
        found = client.models.copies(model)
    if json_:
        words.put_json(found)
        return
    words.table(
        ["CONNECTION", "STATUS", "ASKED", "ENDED", "WHY"],
        [
            (
                item.connection,
                item.status,
                words.moment(item.created_at),
                words.moment(item.finished_at),
                (item.error or {}).get("message"),
            )
            for item in found
        ],
    )


@group.command()
def retirements(
    *,
    within: Annotated[int, typer.Option("--within", min=0, max=3660, help="Days from today.")] = 365,
    json_: Json = False,
) -> None:
    """What ends when, who says so, and what to train instead."""
    from app.cli.door import connect

    with connect() as client:
        found = client.models.retirements(within_days=within)
    if json_:
        words.put_json(found)
        return
    words.table(
        ["ON", "DAYS", "LEVEL", "WHAT", "NAME", "ENDS", "INSTEAD", "EXPECTED"],
        [
            (
                f"{item.on}{'!' if item.contradicted_by else ''}",
                item.days_left,
                item.level,
                item.subject_kind,
                item.name,
                item.ends.replace("_", " "),
                (item.retraining.successor or "none known") if item.retraining else None,
                f"${item.retraining.expected_usd:.2f}"
                if item.retraining and item.retraining.expected_usd is not None
                else None,
            )
            for item in found
        ],
        right=["DAYS", "EXPECTED"],
    )
    if any(item.contradicted_by for item in found):
        words.say("! another source names another day; --json shows both.")


def base_models(
    name: Annotated[str | None, typer.Argument(help="Only this one, in full.")] = None,
    *,
    connection: Annotated[
        str | None, typer.Option("--connection", "-c", help="Merge with what ARM said of this resource.")
    ] = None,
    json_: Json = False,
) -> None:
    """The catalogue: what can be trained, how, where, at which price, and when it ends."""
    from app.cli.door import connect

    with connect() as client:
        if name:
            shown = client.models.base_model(name, connection=connection)
            words.put_json(shown) if json_ else _show(shown)
            return
        answer = client.models.base_models(connection=connection)
    if json_:
        words.put_json(answer)
        return
    found = answer.data
    words.table(
        ["ID", "METHODS", "TRAINING TYPES", "TOKENS AN EXAMPLE", "TRAINING ENDS", "TUNED MODELS END"],
        [
            (
                item.id,
                ", ".join(item.methods),
                ", ".join(kind for kind, offered in item.training_types.items() if offered),
                f"{item.tokens_per_example:,}" if item.tokens_per_example else None,
                _holds(item, "training ends"),
                _holds(item, "tuned inference ends"),
            )
            for item in found
        ],
        right=["TOKENS AN EXAMPLE"],
    )
    if answer.live is not None:
        _tell_live(answer.live)
    if not found:
        raise typer.Exit(Exit.PROBLEM)


def _holds(model: "BaseModelRead", name: str) -> str | None:
    """The value to go by; `*` = of this very account, `!` = somebody says otherwise."""
    for fact in model.facts:
        if fact.name == name:
            return f"{fact.value}{'*' if fact.origin == 'arm' else ''}{'!' if fact.contradicted_by else ''}"
    return None


def _tell_live(live: "LiveRead") -> None:
    if live.read_at is None:
        words.say(
            "ARM has not said anything of this resource yet; a sweep asks: kitae connections sweep CONNECTION."
        )
    else:
        words.say(
            f"* as ARM said at {words.moment(live.read_at)}; ! somebody says otherwise: name the model to see."
        )
    if live.error is not None:
        words.say(f"The last asking was in vain: {live.error.get('message')}")
    if live.not_in_catalogue:
        words.say(f"Can be trained there, and is not in the catalogue: {', '.join(live.not_in_catalogue)}")


def _show(model: "BaseModelRead") -> None:
    pairs: list[tuple[str, object]] = [
        ("id", model.id),
        ("aliases", ", ".join(model.aliases)),
        ("training types", ", ".join(kind for kind, offered in model.training_types.items() if offered)),
        ("tokenizer", model.tokenizer),
        ("note", model.note),
        ("source", f"{model.source} (as of {model.as_of})"),
    ]
    pairs += [(f"regions {kind}", ", ".join(regions)) for kind, regions in model.regions.items()]
    for fact in model.facts:
        pairs.append((fact.name, f"{fact.value} ({fact.source}, {fact.as_of[:16]})"))
        pairs += [("", f"but {other.value} ({other.source}, {other.as_of[:16]})") for other in fact.contradicted_by]
    if model.tuned_capacity:
        left = ", ".join(f"{sku} {amount:g}" for sku, amount in model.tuned_capacity.items())
        pairs.append(("left for tuned models", f"{left} (thousands of tokens per minute)"))
    pairs += [
        (f"price {item.kind}", f"${item.usd} per {item.unit}, {item.tier} ({item.source}, {item.confidence})")
        for item in model.prices
    ]
    words.facts(pairs)
