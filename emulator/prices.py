"""What things cost, as dated data that a lever may change; it must not know what was bought."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Prices = dict[str, dict[str, str]]

PRICES: Prices = {
    "training": {
        "gpt-4o-2024-08-06": "25",
        "gpt-4o-mini-2024-07-18": "3",
        "gpt-4.1-2025-04-14": "25",
        "gpt-4.1-mini-2025-04-14": "5",
        "gpt-4.1-nano-2025-04-14": "1.5",
    },
    "training_factor": {"standard": "1.1", "globalStandard": "1", "developerTier": "0.5"},
    "hosting": {"Standard": "1.70", "GlobalStandard": "1.70", "DataZoneStandard": "1.70", "DeveloperTier": "0"},
    "input": {
        "gpt-4o-2024-08-06": "2.50",
        "gpt-4o-mini-2024-07-18": "0.15",
        "gpt-4.1-2025-04-14": "2",
        "gpt-4.1-mini-2025-04-14": "0.40",
        "gpt-4.1-nano-2025-04-14": "0.10",
    },
    "output": {
        "gpt-4o-2024-08-06": "10",
        "gpt-4o-mini-2024-07-18": "0.60",
        "gpt-4.1-2025-04-14": "8",
        "gpt-4.1-mini-2025-04-14": "1.60",
        "gpt-4.1-nano-2025-04-14": "0.40",
    },
}
"""USD: training (Global), input and output by a million tokens, hosting by the hour; a factor for each type.

Source: Microsoft Learn, fine-tuning cost management, 2026-03-19 (hosting, 10 % and 50 %); LiteLLM's price table,
2026-11 (input, output); the price page as remembered, unverified (training)."""


class BadPrice(ValueError):
    """A price that cannot be read; the message says where."""


def changed(prices: Prices, given: Mapping[str, Any]) -> Prices:
    """The prices with some replaced or added.

    Raises:
        BadPrice: an unknown kind, or something that is no amount.
    """
    found = {kind: dict(table) for kind, table in prices.items()}
    for kind, table in given.items():
        if kind not in found or not isinstance(table, dict):
            raise BadPrice(f"'{kind[:80]}' is no table of prices; there are {', '.join(found)}")
        for name, amount in table.items():
            try:
                value = Decimal(str(amount))
            except ArithmeticError as error:
                raise BadPrice(f"'{kind}.{name}' must be an amount in USD, such as \"1.70\"") from error
            if not value.is_finite() or not 0 <= value <= 1_000_000:
                raise BadPrice(f"'{kind}.{name}' must be between 0 and 1,000,000")
            found[kind][name] = str(value)
    return found
