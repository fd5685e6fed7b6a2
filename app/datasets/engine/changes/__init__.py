"""Changes a dataset: operations as values, applied to rows in constant memory, with lineage down to the row.

Pure, like the rest of the engine: no database, no network.
"""

from app.datasets.engine.changes.alike import Dedupe
from app.datasets.engine.changes.choosing import Part, Sample, Shuffle, Split
from app.datasets.engine.changes.comparing import Differences, differences, shown
from app.datasets.engine.changes.converting import Convert, Merge, Rename
from app.datasets.engine.changes.dropping import Condition, Drop, Keep
from app.datasets.engine.changes.fixing import Fix
from app.datasets.engine.changes.lineage import Lineage, lineage_of
from app.datasets.engine.changes.prompts import Prune, System
from app.datasets.engine.changes.recipe import (
    EDITION,
    OPERATIONS_MAX,
    AnyOperation,
    Done,
    Outcome,
    method_after,
    others_of,
    parts_of,
    transform,
)
from app.datasets.engine.changes.redacting import Redact
from app.datasets.engine.changes.rows import Origin, Row, Target
from app.datasets.engine.changes.steps import CannotChange, Open

__all__ = [
    "EDITION",
    "OPERATIONS_MAX",
    "AnyOperation",
    "CannotChange",
    "Condition",
    "Convert",
    "Dedupe",
    "Differences",
    "Done",
    "Drop",
    "Fix",
    "Keep",
    "Lineage",
    "Merge",
    "Open",
    "Origin",
    "Outcome",
    "Part",
    "Prune",
    "Redact",
    "Rename",
    "Row",
    "Sample",
    "Shuffle",
    "Split",
    "System",
    "Target",
    "differences",
    "lineage_of",
    "method_after",
    "others_of",
    "parts_of",
    "shown",
    "transform",
]
