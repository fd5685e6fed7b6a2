"""The shipped character set trained for 1, 3, 10 and 30 epochs: curves and verdicts for the handbook.

    python benchmarks/character_epochs.py [--publish]

Runs the whole service with the emulated Azure, its clock instant, one training after the other with the same seed.
With `--publish` it writes docs/concepts/img/character-*.svg and the generated part of
docs/concepts/character-set.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_life import instance, until

import examples
from app.client import Client
from app.datasets.schemas import DatasetCreate
from app.jobs.schemas import JobComparison, JobCreate

EPOCHS = (1, 3, 10, 30)
MODEL = "gpt-4.1-mini"
SEED = 7
PATIENCE_SECONDS = 900.0
"""The emulator really trains; thirty epochs take minutes on a busy machine."""
PAGE = Path(__file__).parent.parent / "docs" / "concepts" / "character-set.md"
PICTURES = PAGE.parent / "img"
BEGIN, END = "<!-- generated: benchmarks/character_epochs.py -->", "<!-- end of what is generated -->"


@dataclass(frozen=True)
class Trained:
    """One training as the service tells it."""

    epochs: int
    job: str
    told: dict[str, Any]
    picture: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publish", action="store_true", help="write the page and its pictures")
    publish = parser.parse_args().publish
    with (
        tempfile.TemporaryDirectory(prefix="character-") as folder,
        instance(Path(folder)) as running,
        Client(running["url"], running["key"]) as kitae,
    ):
        bring(kitae)
        trained = [train(kitae, epochs) for epochs in EPOCHS]
        jobs = [one.job for one in trained]
        compared, overlay = kitae.jobs.compare(jobs), kitae.jobs.compare_svg(jobs)
    text = "\n".join(page(trained, compared))
    print(text)
    if publish:
        for one in trained:
            (PICTURES / f"character-{one.epochs}.svg").write_bytes(one.picture)
        (PICTURES / "character-compared.svg").write_bytes(overlay)
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def bring(kitae: Client) -> None:
    example = examples.load("character")
    for name, content in (("character", example.training), ("character-validation", example.validation)):
        kitae.datasets.create(DatasetCreate(name=name))
        kitae.datasets.upload(name, content, model=MODEL)
        until(lambda name=name: kitae.datasets.version(f"{name}@1").status == "ready")


def train(kitae: Client, epochs: int) -> Trained:
    wanted = {
        "connection": "emulator",
        "model": MODEL,
        "training": "character@1",
        "validation": "character-validation@1",
        "hyperparameters": {"n_epochs": epochs},
        "seed": SEED,
        "suffix": f"epochs-{epochs}",
    }
    job = kitae.jobs.create(JobCreate.model_validate(wanted)).id
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (status := kitae.jobs.get(job).status) != "succeeded":
        if status in {"failed", "cancelled"} or time.monotonic() > deadline:
            raise SystemExit(f"{epochs} epochs: the job is {status}")
        time.sleep(1)
    return Trained(epochs, job, kitae.jobs.analysis(job).analysis, kitae.jobs.chart_svg(job))


def page(trained: list[Trained], compared: JobComparison) -> Iterator[str]:
    yield from table(trained)
    yield ""
    yield "![The four curves over one another](img/character-compared.svg)"
    for one in trained:
        told = one.told
        yield ""
        yield f"### {named(one)}: `{told['verdict']}`"
        yield ""
        yield f"![Loss and token accuracy over {named(one)}](img/character-{one.epochs}.svg)"
        yield ""
        yield f"> {told['headline']}"
        yield ">"
        yield f"> Confidence: {told['confidence']['level']}. {told['confidence']['why']}"
        yield ""
        yield from (f"* {item['text']}" for item in told["evidence"])
        yield f"* Best: {'step ' + str(told['best_step']) if told['best_step'] else 'none'}. {told['best_reason']}"
        yield f"* Next: {told['next_experiment']['action']} {told['next_experiment']['why']}"
    yield ""
    yield "### The four compared"
    yield ""
    yield f"> {without_ids(compared.why, trained)}"
    yield from (f"> {caution}" for caution in compared.cautions)


def named(one: Trained) -> str:
    return "1 epoch" if one.epochs == 1 else f"{one.epochs} epochs"


def without_ids(text: str, trained: list[Trained]) -> str:
    """Ids differ from run to run; the page should not."""
    for one in trained:
        text = text.replace(f"epochs-{one.epochs} · {one.job[-6:]}", f"`epochs-{one.epochs}`")
    return text


def table(trained: list[Trained]) -> Iterator[str]:
    yield "| epochs | steps | training loss | validation: first epoch → best → last | verdict | best step |"
    yield "|--:|--:|--:|--:|---|--:|"
    for one in trained:
        found = one.told["summary"]
        validation = " → ".join(f"{found[f'valid_loss_{which}']:.3g}" for which in ("first", "best", "last"))
        training = f"{found['train_loss_first']:.3g} → {found['train_loss_last']:.3g}"
        verdict = f"`{one.told['verdict']}` ({one.told['confidence']['level']})"
        best = one.told["best_step"] or "–"
        yield f"| {one.epochs} | {found['steps']:,} | {training} | {validation} | {verdict} | {best} |"


if __name__ == "__main__":
    main()
