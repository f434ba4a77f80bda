"""Weights on disk: one file of tensors, checked against the spec that it claims to be of before it is believed.

Files are safetensors, which hold numbers and names and cannot hold code.  How many bytes a spec's weights take is
known beforehand, so a file that claims more is refused unread.
"""

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor

from unseen.disk.files import BrokenRun, brief, provenance, read, read_json, write
from unseen.encoding import layout_of
from unseen.model import Shape, Transformer, build
from unseen.specs import ModelSpec, RunSpec

HEADER = 16 * 2**20  # bytes that names, shapes and a history may take beside the numbers
LARGEST = 2**26  # numbers of an imported model and of its mask: ten times the paper's
_MOST_LISTS, _MOST_DIMENSIONS = 250_000, 4  # in a header, which has two for each tensor; of a tensor
_TYPES = {"F32": "f4", "F16": "f2"}  # those of weights, and their names in numpy
_BROKEN = (SafetensorError, RuntimeError, ArithmeticError, LookupError, AttributeError, AssertionError, TypeError,
           MemoryError)  # of a file that is none: three parsers look at it  # fmt: skip


def to_bytes(tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> bytes:
    """Tensors by name, and a few words about them, as the content of a safetensors file."""
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, about)


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of ``to_bytes``; raises ``ValueError`` when the content is anything else."""
    try:
        size = int.from_bytes(content[:8], "little")
        if not 0 < size <= min(HEADER, len(content) - 8):
            raise ValueError(f"its header claims {size:,} bytes")
        if content.count(b"[", 8, 8 + size) > _MOST_LISTS or content.count(b",", 8, 8 + size) > 100 + size // 8:
            raise ValueError("its header holds too much")  # it would take a multiple of its size as memory
        tensors = {
            name: _tensor(**view) for name, view in deserialize(content)
        }  # takes names, types and shapes, no more
        return tensors, json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    except _BROKEN as error:
        raise ValueError(f"it is not a file of tensors ({brief(error)})") from error


def _tensor(dtype: str, shape: list[int], data: bytearray) -> Tensor:
    """One tensor of a file; those that nothing here writes are refused: torch takes minutes for one of 100,000 dimensions."""
    if dtype not in _TYPES or len(shape) > _MOST_DIMENSIONS or not data:
        raise ValueError(
            f"a tensor of type {dtype} with {len(shape)} dimensions and {len(data)} bytes is none of a model"
        )
    return torch.from_numpy(np.frombuffer(data, f"<{_TYPES[dtype]}").astype(_TYPES[dtype], copy=False)).reshape(shape)


def shapes(spec: RunSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of a spec's weights by name, in the time and memory that one layer takes."""
    found, first = {}, "blocks.0."
    for name, shape in _first_layer(spec.model.but(layers=1, seed=0), _shape(spec)).items():
        layers = range(spec.model.layers if name.startswith(first) else 1)
        found |= {name.replace(first, f"blocks.{layer}.", 1): shape for layer in layers}
    return found


@lru_cache(maxsize=64)
def _first_layer(model: ModelSpec, shape: Shape) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build(model, shape).state_dict().items()}


def count(spec: RunSpec) -> int:
    """The number of weights of a spec's model.

    >>> count(RunSpec())
    130560
    """
    return sum(map(math.prod, shapes(spec).values()))


def check(tensors: dict[str, Tensor], spec: RunSpec) -> None:
    """Raise ``ValueError`` unless tensors are weights of ``spec``: its names and shapes, all numbers finite."""
    wanted, found = shapes(spec), {name: tuple(value.shape) for name, value in tensors.items()}
    if odd := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ValueError(f"{short(odd[0])} is missing, unknown or of another shape")
    check_numbers(tensors, torch.float32, torch.float16)


def check_numbers(tensors: dict[str, Tensor], *types: torch.dtype) -> None:
    """Raise ``ValueError`` unless all numbers of some tensors are finite and of one of some types."""
    for name, value in sorted(tensors.items()):
        if value.dtype not in types or not value.isfinite().all():
            raise ValueError(f"not all numbers of {short(name)} are finite, or they are of another type")


def model_of(content: bytes, spec: RunSpec, path: Path) -> Transformer:
    """A model of ``spec`` with the weights that a file holds; raises ``BrokenRun`` when they do not fit or are not finite."""
    try:
        tensors, _ = from_bytes(content)
        check(tensors, spec)  # before anything of that size is built
        model = _build(spec)
        model.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise BrokenRun(f"{path} does not hold the weights of its spec: {brief(error)}") from error
    return model.eval()


def _shape(spec: RunSpec) -> Shape:
    return Shape.of(layout_of(spec.task))


def _build(spec: RunSpec) -> Transformer:
    return build(spec.model, _shape(spec))


def export_model(model: Transformer, spec: RunSpec, path: Path, **more: Any) -> None:
    """Write a model for the demonstration: half-precision weights, and what they are as JSON beside them.

    ``more`` goes into the JSON; what trained the model may stand there in place of what writes it now.
    """
    digest = write(path, to_bytes({name: value.half() for name, value in model.state_dict().items()}))
    described = {"spec": spec.to_dict(), "sha256": digest, **provenance(), **more}
    write(path.with_suffix(".json"), json.dumps(described, indent=1) + "\n")


def import_model(path: Path) -> tuple[Transformer, RunSpec]:
    """The model and spec that ``export_model`` wrote; raises ``BrokenRun`` when a file is missing or was changed."""
    try:
        described = read_json(path.with_suffix(".json"))
        spec = RunSpec.from_dict(described["spec"])
        if (size := count(spec) + _shape(spec).context ** 2) > LARGEST:  # a mask is as wide as it is long
            raise ValueError(f"a model of {size:,} numbers is too large")
        content = read(path, 8 * count(spec) + HEADER)
        whole = hashlib.sha256(content).hexdigest() == described["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        told = f"{path} and {path.with_suffix('.json').name} are not an exported model: {brief(error)}"
        raise BrokenRun(told) from error
    if not whole:
        raise BrokenRun(f"{path} is not the file that {path.with_suffix('.json').name} describes")
    return model_of(content, spec, path), spec
