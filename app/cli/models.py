"""`kitae models …` and `kitae base-models`."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import words
from app.cli.exits import Exit
from app.cli.options import Json, Limit

if TYPE_CHECKING:
    from app.models.schemas import BaseModelRead

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
            ("trained on", f"{made.training.ref} ({made.training.examples} examples)"),
            ("validated on", made.validation.ref if made.validation else None),
            ("hyperparameters", chosen or "chosen by Azure"),
            ("trained tokens", made.trained_tokens),
            ("training cost", f"${made.cost_usd}" if made.cost_usd is not None else None),
            ("created", words.moment(found.created_at)),
        ]
    )


def base_models(
    name: Annotated[str | None, typer.Argument(help="Only this one, in full.")] = None, *, json_: Json = False
) -> None:
    """The catalogue: what can be trained, how, where, at which price."""
    from app.cli.door import connect

    with connect() as client:
        found = [client.models.base_model(name)] if name else client.models.base_models()
    if json_:
        words.put_json(found[0] if name else found)
        return
    if name:
        _show(found[0])
        return
    words.table(
        ["ID", "METHODS", "TRAINING TYPES", "TOKENS AN EXAMPLE"],
        [
            (
                item.id,
                ", ".join(item.methods),
                ", ".join(kind for kind, offered in item.training_types.items() if offered),
                f"{item.tokens_per_example:,}" if item.tokens_per_example else None,
            )
            for item in found
        ],
        right=["TOKENS AN EXAMPLE"],
    )
    if not found:
        raise typer.Exit(Exit.PROBLEM)


def _show(model: "BaseModelRead") -> None:
    pairs: list[tuple[str, object]] = [
        ("id", model.id),
        ("aliases", ", ".join(model.aliases)),
        ("methods", ", ".join(model.methods)),
        ("deployment SKUs", ", ".join(model.deployment_skus)),
        ("tokens an example", model.tokens_per_example),
        ("tokenizer", model.tokenizer),
        ("note", model.note),
        ("source", f"{model.source} (as of {model.as_of})"),
    ]
    pairs += [(f"regions {kind}", ", ".join(regions)) for kind, regions in model.regions.items()]
    pairs += [(f"{item.kind} ends", f"{item.on} ({item.source})") for item in model.retirements]
    pairs += [
        (f"price {item.kind}", f"${item.usd} per {item.unit}, {item.tier} ({item.source}, {item.confidence})")
        for item in model.prices
    ]
    words.facts(pairs)
