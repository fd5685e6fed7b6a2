"""Base models that can be fine-tuned or deployed, as dated data; it must not know of any request."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["supervised", "dpo", "reinforcement"]
TrainingType = Literal["standard", "globalStandard", "developerTier"]

FORMATS = ("OpenAI", "Microsoft", "Mistral AI", "Meta", "Alibaba")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """One base model.

    `name` is what jobs echo and tuned names begin with; `short` is its ARM name, also accepted by jobs.
    `learning_rate_multiplier` is what Azure reports when none was asked.
    """

    name: str
    short: str
    version: str
    format: str
    methods: tuple[Method, ...]
    training_types: tuple[TrainingType, ...]
    skus: tuple[str, ...]
    learning_rate_multiplier: float = 1.0

    @property
    def is_openai(self) -> bool:
        return self.format == "OpenAI"


_ALL: tuple[TrainingType, ...] = ("standard", "globalStandard", "developerTier")
_SKUS = ("Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier")
_NO_DEVELOPER = ("Standard", "GlobalStandard", "DataZoneStandard")
_SFT: tuple[Method, ...] = ("supervised",)
_SFT_DPO: tuple[Method, ...] = ("supervised", "dpo")
_RFT: tuple[Method, ...] = ("reinforcement",)
_GLOBAL: tuple[TrainingType, ...] = ("globalStandard",)
_GLOBAL_SKU = ("GlobalStandard",)

BASE_MODELS = (
    BaseModel("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "2024-07-18", "OpenAI", _SFT, _ALL, _NO_DEVELOPER),
    BaseModel("gpt-4o-2024-08-06", "gpt-4o", "2024-08-06", "OpenAI", _SFT_DPO, _ALL, _NO_DEVELOPER),
    BaseModel("gpt-4.1-2025-04-14", "gpt-4.1", "2025-04-14", "OpenAI", _SFT_DPO, _ALL, _SKUS, 2.0),
    BaseModel("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini", "2025-04-14", "OpenAI", _SFT_DPO, _ALL, _SKUS),
    BaseModel("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano", "2025-04-14", "OpenAI", _SFT_DPO, _ALL, _SKUS, 0.1),
    BaseModel("o4-mini-2025-04-16", "o4-mini", "2025-04-16", "OpenAI", _RFT, _ALL, _SKUS),
    BaseModel(
        "gpt-5-2025-08-07", "gpt-5", "2025-08-07", "OpenAI", _RFT, ("standard", "globalStandard"), ("Standard",)
    ),
    BaseModel("gpt-oss-20b", "gpt-oss-20b", "1", "Microsoft", _SFT, _GLOBAL, _GLOBAL_SKU),
    BaseModel("Ministral-3B", "ministral-3b", "2411", "Mistral AI", _SFT, _GLOBAL, _GLOBAL_SKU),
    BaseModel("Qwen3-32B", "qwen3-32b", "1", "Alibaba", _SFT, _GLOBAL, _GLOBAL_SKU),
    BaseModel("Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct", "1", "Meta", _SFT, _GLOBAL, _GLOBAL_SKU),
)
"""Source: Microsoft Learn, fine-tune-supported-models, 2026-10-06. Default multipliers: job objects in Microsoft's
fine-tuning notebooks (2025-05 … 2025-12). Versions "1" of open models are not published; they stand for "any"."""

_BY_NAME = {name.lower(): model for model in BASE_MODELS for name in (model.name, model.short)}


def find(name: str) -> BaseModel | None:
    """The base model of a full or short name, in any case."""
    return _BY_NAME.get(name.lower())
