"""Models as bytes: NumPy archives, no pickle; knows nothing of where the bytes are kept."""

import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np

from emulator.learning.contexts import EXPERTS, PromptReader
from emulator.learning.evidence import Evidence
from emulator.learning.mixture import N_FEATURES, Mixture
from emulator.learning.neighbours import Neighbours
from emulator.learning.pointer import Pointer

_FORMAT = 2


def to_bytes(model: Mixture, base: Mixture | None) -> bytes:
    """The model with all it stands on above ``base``; counts are rounded to float16."""
    links: list[Mixture] = []
    link: Mixture | None = model
    while link is not None and link is not base:
        links.insert(0, link)
        link = link.below
    arrays: dict[str, Any] = {"header": _text({"format": _FORMAT, "experts": EXPERTS, "links": len(links)})}
    for number, link in enumerate(links):
        context, pair, count = link.evidence.kept()
        reader, pointer = link.reader, link.pointer
        arrays |= {
            f"{number}.context": context,
            f"{number}.pair": pair,
            f"{number}.count": np.minimum(count, 6e4).astype(np.float16),
            f"{number}.gates": link.gate_weights,
            f"{number}.pointer_keys": pointer.keys,
            f"{number}.pointer_rates": np.stack([pointer.hits, pointer.tries]).astype(np.float32),
            f"{number}.rare_tokens": np.array(list(reader.rarity), np.int32),
            f"{number}.rarity": np.array(list(reader.rarity.values())),
            f"{number}.numbers": _text(
                {
                    "unseen": reader.unseen,
                    "hears_system": reader.hears_system,
                    "exponent": reader.neighbours.exponent,
                    "mean_answer_tokens": link.mean_answer_tokens,
                }
            ),
            f"{number}.texts": _text(reader.neighbours.texts),
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes, base: Mixture | None) -> Mixture:
    """The model again, over ``base``: a later emulator's base model shifts its probabilities a little.

    Raises:
        ValueError: the bytes are no model, or one of another format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays["header"].tobytes())
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"These {len(data)} bytes are no model of the emulator: {error}") from error
    if header["format"] != _FORMAT or tuple(header["experts"]) != EXPERTS:
        raise ValueError(f"The model has format {header['format']}, this emulator reads {_FORMAT}; train it again")
    model = base
    for number in range(header["links"]):
        part = {name.split(".", 1)[1]: value for name, value in arrays.items() if name.startswith(f"{number}.")}
        rates = part["pointer_rates"].astype(np.float64)
        numbers = json.loads(part["numbers"].tobytes())
        rarity = dict(zip(part["rare_tokens"].tolist(), part["rarity"].tolist(), strict=True))
        texts = json.loads(part["texts"].tobytes())
        model = Mixture(
            model,
            PromptReader(
                rarity,
                numbers["unseen"],
                Neighbours(texts, numbers["exponent"]),
                hears_system=numbers["hears_system"],
            ),
            Evidence(part["context"], part["pair"], part["count"].astype(np.float32)),
            Pointer(part["pointer_keys"], rates[0], rates[1]),
            part["gates"].reshape(len(EXPERTS), N_FEATURES),
            numbers["mean_answer_tokens"],
        )
    if model is None:
        raise ValueError("The archive holds no model")
    return model


def _text(value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(json.dumps(value, ensure_ascii=True).encode(), np.uint8)
