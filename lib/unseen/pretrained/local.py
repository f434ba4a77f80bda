"""A causal language model from a local folder, fine-tuned by an adapter: prompts, loss on the answer, greedy decoding.

Needs the ``adapters`` extra, imported inside the functions: the rest of the library never is in need of it.  Nothing is
ever downloaded, no code that lies in the folder is run, and weights are read from safetensors alone.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseen.datasets import Examples
from unseen.disk.files import brief, hash_of
from unseen.errors import Explained
from unseen.pretrained.adapters import AdapterRun, AdapterSpec
from unseen.sweep import best_device
from unseen.training import Diverged, batch_rows, schedule

INSTALL = "python -m pip install -c constraints.txt -e '.[{}]'"  # of an extra
PACKAGES = ("transformers", "peft", "tokenizers")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_IGNORED = -100  # the label that transformers leaves out of the loss
Row = tuple[list[int], list[int]]  # token ids of a prompt and of its answer, the end included


class BadBase(Explained, ValueError):
    """A folder is not a model that can be fine-tuned here; the message says what is missing."""


@dataclass
class Loaded:
    """A model, its tokenizer, and where it computes."""

    model: nn.Module
    tokenizer: Any
    device: str

    @property
    def pad(self) -> int:
        """The id that fills up batches; its positions are never looked at."""
        own = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if own is None else own


def needed(packages: Iterable[str] = PACKAGES, extra: str = "adapters") -> None:
    """Raise ``BadBase`` with the line that installs an extra, where a package of it is missing."""
    if missing := [name for name in packages if not find_spec(name)]:
        raise BadBase(f"fine-tuning a local model needs {', '.join(missing)}: {INSTALL.format(extra)}")


def checked(folder: str | Path) -> Path:
    """The folder of a local model, if it looks like one; raises ``BadBase`` with what is missing."""
    needed()
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise BadBase(
            f"base={str(folder)!r}: no such folder; it must be that of a model on this machine, and nothing is downloaded"
        )
    if not (folder / "config.json").is_file():
        raise BadBase(f"{folder} holds no config.json, so it is not the folder of a model")
    if not any(folder.glob("*.safetensors")):
        raise BadBase(f"{folder} holds no weights as *.safetensors; other formats can hold code and are not read")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BadBase(f"{folder} holds no tokenizer (none of {', '.join(_TOKENIZERS)})")
    return folder


def fingerprint(folder: Path) -> str:
    """SHA-256 of everything in a model's folder that decides its answers: weights, configuration, tokenizer."""
    kept = (".json", ".safetensors", ".model", ".txt")
    found = sorted(path for path in folder.iterdir() if path.suffix in kept and path.is_file())
    return _fingerprint(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in found))


@lru_cache(maxsize=4)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Reading weights takes long, so files of the same time and size are not read again."""
    return hashlib.sha256("".join(f"{path.name} {hash_of(path)}\n" for path, _, _ in files).encode()).hexdigest()


def read_local(kind: str, folder: Path, **options: Any) -> Any:
    """What an Auto class of ``transformers`` reads from a folder, offline, running no code of it; raises ``BadBase``."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # of reading weights, once for each run
    try:
        return getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:  # a foreign folder: anything may be wrong in it
        raise BadBase(f"{folder} cannot be loaded: {type(error).__name__}: {brief(error)}") from error


def load(folder: Path, device: str = "auto") -> Loaded:
    """The model and tokenizer of a folder that was ``checked``; raises ``BadBase`` when they cannot be read."""
    device = best_device() if device == "auto" else device
    tokenizer = read_local("AutoTokenizer", folder)
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = read_local("AutoModelForCausalLM", folder, use_safetensors=True, dtype=kind)
    if tokenizer.eos_token_id is None:
        raise BadBase(f"{folder}: its tokenizer has no end token, so no answer could end")
    return Loaded(model.to(device), tokenizer, device)


def adapted(loaded: Loaded, spec: AdapterSpec) -> Loaded:
    """The same model with a new adapter, all else frozen; raises ``BadBase`` for a rank above the model's width."""
    from peft import LoraConfig, get_peft_model

    width = loaded.model.config.get_text_config().hidden_size
    if spec.rank > width:
        raise BadBase(
            f"rank={spec.rank} is not allowed: this model is {width} wide, and an adapter of low rank has less"
        )
    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return Loaded(get_peft_model(loaded.model, config), loaded.tokenizer, loaded.device)


def with_adapter(loaded: Loaded, folder: Path) -> Loaded:
    """The same model with an adapter that ``peft`` saved."""
    from peft import PeftModel

    return Loaded(PeftModel.from_pretrained(loaded.model, folder), loaded.tokenizer, loaded.device)


def rows_of(loaded: Loaded, spec: AdapterSpec, examples: Examples) -> list[Row]:
    """Prompts and answers as the model's own tokens, each by itself, so that both are cut alike in training and test."""
    lines = [examples.line(i) for i in range(len(examples))]
    begin, end = loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id
    prompts = [spec.prompt(line.rule.pattern, line.rule.replacement, line.text) for line in lines]
    ids = [loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]
           for texts in (prompts, [line.answer for line in lines])]  # fmt: skip
    start = [] if begin is None else [begin]
    return [([*start, *prompt], [*answer, end]) for prompt, answer in zip(*ids, strict=True)]


def batch_of(loaded: Loaded, rows: Iterable[Row]) -> dict[str, Tensor]:
    """Rows as one batch (B, T), filled up on the right, with every label but those of the answers ignored."""
    rows = list(rows)
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for prompt, answer in rows:
        empty = longest - len(prompt) - len(answer)
        columns["input_ids"].append([*prompt, *answer, *[loaded.pad] * empty])
        columns["attention_mask"].append([1] * (longest - empty) + [0] * empty)
        columns["labels"].append([_IGNORED] * len(prompt) + answer + [_IGNORED] * empty)
    return {name: torch.tensor(values, device=loaded.device) for name, values in columns.items()}


def loss_of(loaded: Loaded, batch: dict[str, Tensor]) -> Tensor:
    """The sum of cross-entropies over the answers' tokens."""
    logits = loaded.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    flat, labels = logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten()
    return nn.functional.cross_entropy(flat, labels, ignore_index=_IGNORED, reduction="sum")


def trained_weights(loaded: Loaded) -> dict[str, nn.Parameter]:
    """The weights of the adapter, by name."""
    return {name: weight for name, weight in loaded.model.named_parameters() if weight.requires_grad}


def train(loaded: Loaded, optimizer: torch.optim.Optimizer, run: AdapterRun, rows: list[Row], begin: int,
          save: Callable[[int], Any]) -> float:  # fmt: skip
    """Train from step ``begin`` to the last, ``save`` at every checkpoint; returns the last loss a token.

    The order of the examples, and dropout where the base has it, follow from the run alone.  Raises ``Diverged`` when the loss is not finite.
    """
    spec, training, loss = run.adapter, run.adapter.training(), math.nan
    loaded.model.train()
    for step in range(begin, spec.steps):
        optimizer.param_groups[0]["lr"] = spec.learning_rate * schedule(training, step)
        optimizer.zero_grad()
        chosen = [rows[i] for i in batch_rows(run.task, training, step)]
        with torch.random.fork_rng(devices=[0] if loaded.device == "cuda" else []):
            torch.manual_seed(spec.seed * 1_000_003 + step)
            loss = sum(backward(loaded, spec.micro_batch, chosen))
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {step} of {spec.steps}")
        optimizer.step()
        if (step + 1) % spec.checkpoint_every == 0 and step + 1 < spec.steps:
            save(step + 1)
    loaded.model.eval()
    return loss


def backward(loaded: Loaded, micro_batch: int, rows: list[Row]) -> Iterator[float]:
    """Gradients of the mean loss over a batch's answer tokens, a part of it at a time; yields each part's share of it."""
    total = sum(len(answer) for _, answer in rows)
    for at in range(0, len(rows), micro_batch):
        loss = loss_of(loaded, batch_of(loaded, rows[at : at + micro_batch])) / total
        loss.backward()
        yield loss.item()


@torch.no_grad()
def answers(loaded: Loaded, rows: list[Row], at_once: int = 64) -> list[str]:
    """What the model answers to prompts, greedily, as text; it may write as many tokens as the longest right answer has."""
    from transformers import GenerationConfig

    found, longest = [], max(len(answer) for _, answer in rows)
    config = GenerationConfig(do_sample=False, max_new_tokens=longest, pad_token_id=loaded.pad,
                              eos_token_id=loaded.tokenizer.eos_token_id)  # fmt: skip
    for at in range(0, len(rows), at_once):
        prompts = [prompt for prompt, _ in rows[at : at + at_once]]
        width = max(map(len, prompts))
        ids = torch.tensor([[loaded.pad] * (width - len(prompt)) + prompt for prompt in prompts], device=loaded.device)
        seen = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=loaded.device
        )
        written = loaded.model.generate(input_ids=ids, attention_mask=seen, generation_config=config)[:, width:]
        found += loaded.tokenizer.batch_decode(written, skip_special_tokens=True)
    return [text.strip() for text in found]
