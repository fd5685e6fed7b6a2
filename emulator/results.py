"""What a training step looks like to a reader: metrics of an event or checkpoint, lines of results.csv."""

from emulator.catalogue import Method
from emulator.state import Row

LOSSES = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
"""Source: results file read by Microsoft's Image_FT_Chart_Analysis notebook, 2025-05 (the documentation writes
`validation_mean_token_accuracy`). Which columns the file of a DPO job has is not published: the same are assumed,
losses being those of the pairs and accuracies those of the preferred answers."""

REWARDS = (
    "train_mean_reward",
    "full_valid_mean_reward",
    "completion_tokens_mean",
    "reasoning_tokens_mean",
    "mean_unresponsive_rewards",
    "train_sample_parse_error_count",
    "train_other_error_count",
)
"""Source: Microsoft's fine-tuning notes, training curves, 2026-08 (the documentation of 2026-03-19 writes
`train_reward_mean`, `valid_reward_mean`)."""

COLUMNS: dict[Method, tuple[str, ...]] = {"supervised": LOSSES, "dpo": LOSSES, "reinforcement": REWARDS}


def number(value: float) -> str:
    """A number as Azure's events write it: shortest form, `E-06` for exponents."""
    return repr(float(value)).upper().removesuffix(".0")


def metrics(row: Row) -> dict[str, float]:
    """The metrics of a step under Azure's names; what was not measured is absent."""
    return {"step": row.step, **row.values}


def headline(row: Row) -> str:
    """What the log says of a step. How the log of a reinforcement job words it is not published."""
    if "train_loss" in row.values:
        return f"Step {row.step}: training loss={number(row.values['train_loss'])}"
    return f"Step {row.step}: training mean reward={number(row.values['train_mean_reward'])}"


def results_csv(rows: list[Row], method: Method) -> bytes:
    """The results file after these steps."""
    columns = ("step", *COLUMNS[method])
    lines = [",".join(columns)]
    for row in rows:
        known = metrics(row)
        lines.append(",".join(str(known.get(name, "")) for name in columns))
    return ("\n".join(lines) + "\n").encode()
