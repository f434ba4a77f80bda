"""What is checked of a local chat model before any of its weights are read: the extra, the folder, the template, memory."""

import math
import os
from pathlib import Path

import torch

from unseen.disk.files import brief
from unseen.pretrained.local import BadBase, checked, needed, read_local
from unseen.sweep import best_device

EXTRA, PACKAGES = "llm", ("transformers", "peft", "tokenizers", "sacrebleu")
SPARE, WORK = 0.1, 2**28  # memory beside the weights: a share of them for adapter and optimizer; bytes for all else


def ready(folder: str | Path, device: str = "auto") -> Path:
    """The folder of a chat model that can be tuned here, all checks passed before any weights are read.

    Raises ``BadBase``: a package or the folder is missing, its tokenizer has no chat template, or memory is too small.
    """
    needed(PACKAGES, EXTRA)
    folder = checked(folder)
    if not read_local("AutoTokenizer", folder).chat_template:
        raise BadBase(f"{folder}: its tokenizer has no chat template, so it is not known how to ask this model; "
                      "a model that was tuned to chat has one")  # fmt: skip
    device = best_device() if device == "auto" else device
    wants, has = memory_needed(folder, device), memory_free(device)
    if wants > has:
        raise BadBase(f"{folder}: tuning this model takes about {wants / 2**30:.1f} GiB of memory on {device}, and {has / 2**30:.1f} "
                      "GiB are free")  # fmt: skip
    return folder


def memory_needed(folder: Path, device: str) -> int:
    """Bytes that a model takes while an adapter of it is tuned: its weights as they are loaded, and an allowance."""
    from safetensors import safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        except Exception as error:
            raise BadBase(f"{path} cannot be read: {brief(error)}") from error
    return int(count * (2 if device == "cuda" else 4) * (1 + SPARE)) + WORK


def memory_free(device: str) -> int:
    """Bytes of memory that can be had: of the GPU, or of this machine (what Linux says, or the pages that nobody has)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
