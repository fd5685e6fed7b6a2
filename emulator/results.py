"""What a training step looks like to a reader: metrics of an event or checkpoint, lines of results.csv."""

from emulator.state import Row


def number(value: float) -> str:
    """A number as Azure's events write it: shortest form, `E-06` for exponents."""
    return repr(float(value)).upper().removesuffix(".0")


def metrics(row: Row) -> dict[str, float]:
    """The metrics of a step under Azure's names; what was not measured is absent."""
    values = {
        "step": row.step,
        "train_loss": row.train_loss,
        "train_mean_token_accuracy": row.train_accuracy,
        "valid_loss": row.valid_loss,
        "valid_mean_token_accuracy": row.valid_accuracy,
        "full_valid_loss": row.full_valid_loss,
        "full_valid_mean_token_accuracy": row.full_valid_accuracy,
    }
    return {name: value for name, value in values.items() if value is not None}


CSV_HEADER = (
    "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,"
    "full_valid_mean_token_accuracy"
)
"""Source: results file read by Microsoft's Image_FT_Chart_Analysis notebook, 2025-05 (the documentation writes
`validation_mean_token_accuracy`)."""


def results_csv(rows: list[Row]) -> bytes:
    """The results file after these steps."""
    lines = [CSV_HEADER]
    for row in rows:
        known = metrics(row)
        lines.append(",".join(str(known.get(name, "")) for name in CSV_HEADER.split(",")))
    return ("\n".join(lines) + "\n").encode()
