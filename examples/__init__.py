"""The datasets that are shipped, for the demo and for a first try; knows nothing of the service or of Azure."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Example", "load", "names", "path"]

_ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Example:
    """A dataset in two files and what to ask a model before and after it was trained on them."""

    name: str
    """The name of its folder."""

    title: str
    description: str

    training: Path
    """Chat examples, JSONL; all share one system prompt."""

    validation: Path
    """Other chat examples of the same kind, none of which is in the training file."""

    system_prompt: str
    """The system prompt of every example; ask the questions under it."""

    questions: list[str]
    """Five questions that stand in neither file."""


def names() -> list[str]:
    """The names of the examples, in alphabetical order."""
    return sorted(questions.parent.name for questions in _ROOT.glob("*/questions.json"))


def path(name: str) -> Path:
    """The folder of an example.

    Raises:
        LookupError: there is no example of that name; the message lists those there are.
    """
    if name not in names():
        raise LookupError(f"There is no example named {name!r}. There are: {', '.join(names())}.")
    return _ROOT / name


def load(name: str) -> Example:
    """An example, its questions read; the two dataset files stay on disk.

    Raises:
        LookupError: there is no example of that name.
    """
    folder = path(name)
    about = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    training = folder / "train.jsonl"
    with training.open(encoding="utf-8") as lines:
        first = json.loads(next(lines))
    return Example(
        name=name,
        title=about["title"],
        description=about["description"],
        training=training,
        validation=folder / "validation.jsonl",
        system_prompt=first["messages"][0]["content"],
        questions=about["questions"],
    )
