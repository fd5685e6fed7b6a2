"""The `kitae` command. Commands import what they use only when they run, so that `--help` is quick."""

import sys
from typing import Annotated

import typer

from app.cli import (
    adopting,
    audit,
    baselines,
    bundles,
    connections,
    datasets,
    demo,
    deployments,
    events,
    generation,
    graders,
    jobs,
    mlflow,
    models,
    money,
    openai_history,
    operate,
    projects,
    secrets,
    strays,
    studies,
    sweeping,
)
from app.cli.exits import Exit

HELP = """The whole life of a fine-tuned model on Azure OpenAI.

`kitae up` starts everything on this machine; `kitae demo` shows it at work. Commands for users speak to the
service that KITAE_URL and KITAE_API_KEY name, else to the one that `kitae up` runs here. Data goes to stdout,
words to stderr.

Exit codes: 0 done · 1 refused or failed, stderr says why; of a file on this machine: findings block it ·
2 wrong command line · 3 no service answers · 4 a bad outcome at the service, such as a rejected dataset or a
failed job · 130 Ctrl-C.
"""

app = typer.Typer(
    name="kitae",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

operate.add_to(app)
sweeping.add_to(app)
demo.add_to(app)
datasets.add_to(app)
jobs.add_to(app)
graders.add_to(app)
models.add_to(app)
bundles.add_to(app)
openai_history.add_to(app)
mlflow.add_to(app)
deployments.add_to(app)
generation.add_to(app)
baselines.add_to(app)
studies.add_to(app)
connections.add_to(app)
adopting.add_to(app)
strays.add_to(app)
projects.add_to(app)
money.add_to(app)
events.add_to(app)
audit.add_to(app)
secrets.add_to(app)


def _version(wanted: bool) -> None:  # noqa: FBT001  typer calls it so
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"kitae {version('kitae')}\n")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The door: runs the command, tells what went wrong, ends with an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us, such as `head`, has enough
        sys.exit(Exit.OK)
    except Exception as error:
        from app.cli.door import explain

        code = explain(error)
        if code is None:
            raise
        sys.exit(code)


if __name__ == "__main__":
    main()
