"""References in texts of graders: `{{ sample.output_text }}`, `{{ item.answer.value }}`."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

REFERENCE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_ROOT: Final = re.compile(r"[A-Za-z_]\w*")

Path = tuple[str, ...]
"""Root and steps: `("item", "answer", "value")`; a number names a place in a list."""


def references_in(text: str) -> Iterator[tuple[str, Path | None]]:
    """Each reference as it stands, and where it leads; None when it cannot be read."""
    for found in REFERENCE.finditer(text):
        yield found[1].strip(), _path(found[1].strip())


def _path(text: str) -> Path | None:
    root = _ROOT.match(text)
    if root is None:
        return None
    steps, at = [root[0]], root.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return None
        steps.append(next(part for part in step.groups() if part is not None))
        at = step.end()
    return tuple(steps)


def dotted(path: Sequence[str]) -> str:
    """As people write it: `item.answers.0`."""
    return ".".join(path)


def leads_somewhere(value: Any, steps: Sequence[str]) -> bool:
    """Whether a value has what the steps lead to; null is something, an absent member is not."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    return True
