"""A causal language model from a folder of this machine: checks before its weights are read, and reading.

Nothing is downloaded, no code in the folder runs, and weights are read from safetensors alone.
``transformers`` and ``peft`` come with the extras ``adapters`` and ``llm`` and are imported inside functions.
"""

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unseen.errors import Explained
from unseen.files import brief, hash_of
from unseen.model import seeded
from unseen.process_group import best_device

PACKAGES = {"adapters": ("transformers", "peft", "tokenizers")}
PACKAGES["llm"] = (*PACKAGES["adapters"], "sacrebleu")
SPARE, WORK = 0.1, 2**28  # memory besides the weights: a share of them for the adapter; bytes for the rest
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


class BadBase(Explained, ValueError):
    """A folder is not a model that can be used here; the message says what is missing."""


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer, where it computes, and the id of the ``token`` that was added to it, if any."""

    model: nn.Module
    tokenizer: Any
    device: str
    token: int | None = None

    @property
    def pad(self) -> int:
        """The id that fills up batches; the model never attends to it."""
        own = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if own is None else own

    @property
    def settings(self) -> Any:
        """The configuration of the text model: width, layers, longest input."""
        return self.model.config.get_text_config()

    def padded(self, rows: Iterable[list[int]], fill: int, side: str = "right") -> Tensor:
        """Rows of numbers as one tensor (B, T), filled up on one side."""
        return pad_sequence([torch.tensor(row) for row in rows], True, fill, side).to(self.device)


def needed(extra: str) -> None:
    """Raise ``BadBase`` with the line that installs an extra, unless all its packages are there."""
    if missing := [name for name in PACKAGES[extra] if not find_spec(name)]:
        install = f"python -m pip install -c constraints.txt -e '.[{extra}]'"
        raise BadBase(f"a local language model needs {', '.join(missing)}: {install}")


def checked(folder: str | Path, chat: bool = False, device: str = "") -> Path:
    """The folder of a local model, if it can be tuned here; with ``chat`` it needs a chat template too.

    Raises ``BadBase``, before weights are read, for a missing package, file or end token, or little memory.
    """
    needed("llm" if chat else "adapters")
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise BadBase(f"base={str(folder)!r}: no such folder; it must hold a model, nothing is downloaded")
    if not (folder / "config.json").is_file():
        raise BadBase(f"{folder} holds no config.json, so it is not the folder of a model")
    if not any(folder.glob("*.safetensors")):
        raise BadBase(f"{folder} holds no weights as *.safetensors; other formats can hold code")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BadBase(f"{folder} holds no tokenizer (none of {', '.join(_TOKENIZERS)})")
    tokenizer = read_local("AutoTokenizer", folder)
    if tokenizer.eos_token_id is None:
        raise BadBase(f"{folder}: its tokenizer has no end token, so no answer could end")
    if chat and not tokenizer.chat_template:
        raise BadBase(f"{folder}: its tokenizer has no chat template; a model that was tuned to chat has one")
    device = device or best_device()
    takes, free = memory_needed(folder, device) / 2**30, memory_free(device) / 2**30
    if takes > free:
        needs = f"tuning this model takes about {takes:.1f} GiB of memory on {device}"
        raise BadBase(f"{folder}: {needs}, and {free:.1f} GiB are free")
    return folder


def memory_needed(folder: Path, device: str) -> int:
    """Bytes for tuning an adapter of a model: its weights as they are loaded, and an allowance."""
    from safetensors import safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                count += sum(math.prod(file.get_slice(name).get_shape()) for name in list(file.keys()))
        except Exception as error:
            raise BadBase(f"{path} cannot be loaded: {brief(error)}") from error
    return int(count * (2 if device == "cuda" else 4) * (1 + SPARE)) + WORK


def memory_free(device: str) -> int:
    """Bytes of free memory: of the GPU, or of this machine (as Linux reports it, or free pages)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        return 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fingerprint(folder: Path) -> str:
    """SHA-256 of all in a model's folder that decides its answers: weights, configuration, tokenizer."""
    kept = (".json", ".safetensors", ".model", ".txt")
    found = sorted(path for path in folder.iterdir() if path.suffix in kept and path.is_file())
    return _fingerprint(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in found))


@lru_cache(maxsize=4)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Reading weights takes long, so files of the same time and size are not read again."""
    lines = [f"{path.name} {hash_of(path)}\n" for path, *_ in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_local(kind: str, folder: Path, **options: Any) -> Any:
    """What an Auto class of ``transformers`` reads from a folder, offline, without code."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    options |= {"local_files_only": True, "trust_remote_code": False}
    try:
        return getattr(transformers, kind).from_pretrained(folder, **options)
    except Exception as error:  # a foreign folder: anything may be wrong in it
        raise BadBase(f"{folder} cannot be loaded: {type(error).__name__}: {brief(error)}") from error


def load(folder: Path, device: str = "") -> Loaded:
    """The model and tokenizer of a ``checked`` folder; raises ``BadBase`` when they cannot be read."""
    device = device or best_device()
    tokenizer = read_local("AutoTokenizer", folder)
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = read_local("AutoModelForCausalLM", folder, use_safetensors=True, dtype=kind)
    return Loaded(model.to(device), tokenizer, device)


def with_token(loaded: Loaded, token: str, seed: int = 0) -> Loaded:
    """The same model with a new token, whose embedding is drawn at random with the seed.

    DELIA's published code draws the rows beyond the vocabulary instead, which no token has.
    """
    from tokenizers import AddedToken

    loaded.tokenizer.add_tokens([AddedToken(token, lstrip=True, normalized=False, special=False)])
    model, size = loaded.model, len(loaded.tokenizer)
    number = loaded.tokenizer.convert_tokens_to_ids(token)
    with seeded(seed), torch.no_grad():
        if size > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(size, mean_resizing=False)
        table = model.get_input_embeddings().weight
        table[number] = (torch.randn(table.shape[1]) * table.float().std().item()).to(table)
    return replace(loaded, token=number)
