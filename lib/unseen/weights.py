"""Weights on disk: one file of tensors, checked against the spec that it claims to be of before it is believed.

Files are safetensors, which hold numbers and names and cannot hold code.  How many bytes a spec's weights take is
known beforehand, so a file that claims more is refused unread.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from unseen.encoding import Encoding
from unseen.files import BrokenRun, TooLarge, provenance, read, write
from unseen.model import Shape, Transformer, build
from unseen.specs import RunSpec

HEADER = 16 * 2**20  # bytes that names, shapes and a history may take beside the numbers


def to_bytes(tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> bytes:
    """Tensors by name, and a few words about them, as the content of a safetensors file."""
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, about)


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of ``to_bytes``; raises ``ValueError`` when the content is anything else."""
    try:
        size = int.from_bytes(content[:8], "little")
        if not 0 < size <= min(HEADER, len(content)):
            raise ValueError(f"its header claims {size:,} bytes")
        about = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
        return load(content), about
    except (SafetensorError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not a file of tensors ({error})") from error


def count(spec: RunSpec) -> int:
    """The number of weights of a spec's model; nothing is allocated.

    >>> count(RunSpec())
    130560
    """
    with torch.device("meta"):
        return sum(value.numel() for value in _build(spec).state_dict().values())


def read_model(path: Path, spec: RunSpec) -> Transformer:
    """A model of ``spec`` with the weights in a file; raises ``BrokenRun`` when they do not fit or are not finite."""
    try:
        tensors, _ = from_bytes(read(path, 8 * count(spec) + HEADER))
        if sum(value.numel() for value in tensors.values()) != count(spec):  # before anything of that size is built
            raise ValueError("it holds another number of weights")
        if not all(value.is_floating_point() and value.isfinite().all() for value in tensors.values()):
            raise ValueError("not all of its numbers are finite")
        model = _build(spec)
        model.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (OSError, ValueError, RuntimeError) as error:
        raise BrokenRun(f"{path} does not hold the weights of its spec: {error}") from error
    return model.eval()


def _build(spec: RunSpec) -> Transformer:
    return build(spec.model, Shape.of(Encoding.of(spec.task)))


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
        described = json.loads(read(path.with_suffix(".json")))
        spec = RunSpec.from_dict(described["spec"])
        whole = hashlib.sha256(read(path, 8 * count(spec) + HEADER)).hexdigest() == described["sha256"]
    except TooLarge as error:
        raise BrokenRun(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenRun(f"{path} and {path.with_suffix('.json').name} are not an exported model: {error}") from error
    if not whole:
        raise BrokenRun(f"{path} is not the file that {path.with_suffix('.json').name} describes")
    return read_model(path, spec), spec
