"""Holds the sums of a file against what Azure takes of one.

Must not know how anything was counted.
"""

from __future__ import annotations

from typing import Final

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Limits

EPOCHS_TOLD: Final = 50
"""A file that can be read so often is within any plan: our own requests take no more. Ours."""


def report_totals(findings: Findings, limits: Limits, *, tokens: int, with_images: int) -> None:
    """Add what is wrong with the whole.

    Args:
        tokens: of one epoch.
        with_images: examples that have an image.
    """
    if with_images > limits.examples_with_images_max:
        findings.add_file(
            "too-many-image-examples",
            f"{with_images:,} examples have images; Azure takes {limits.examples_with_images_max:,}.",
        )
    epochs = limits.tokens_times_epochs_max // max(tokens, 1)
    if epochs < EPOCHS_TOLD:
        findings.add_file(
            "tokens-times-epochs",
            f"An epoch has {tokens:,} tokens: with more than {epochs:,} epochs the training passes Azure's "
            f"{limits.tokens_times_epochs_max:,} tokens.",
        )
