"""A tiny language model of the Llama architecture, made and pre-trained here, in a folder as any local model has.

It is pre-trained on the project's two small languages (``llm_data.any_query``), in one turn and in two, as self-sampling asks.
It never sees the token ``<sep>``, nor a request to translate.

::

    runs/llama/<digest>/
        .lock               held by the process that makes it
        config.json, model.safetensors, tokenizer.json, tokenizer_config.json
        made.json           what it was made of and how well it does, written last
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from unseen.delia import dictionary, language
from unseen.delia.llm_data import any_query
from unseen.delia.messages import Conversation, Message, pair
from unseen.disk.files import provenance, read_json, runs_folder, write
from unseen.instructions import generator
from unseen.pretrained.local import Loaded, batch_of, loss_of
from unseen.pretrained.turns import rows_of

FORMAT = 1  # raised when the same spec would make another model
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<pad>", "</s>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>")
_TWO_TURNS = 0.25  # share of conversations with an earlier turn, half of them with the same query
_CHUNK = 32  # batches that are drawn at a time and sorted by length


@dataclass(frozen=True)
class TinySpec:
    """Size and pre-training of a tiny model; one spec is one folder."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    steps: int = 1_500
    batch: int = 64
    learning_rate: float = 0.01  # AdamW, embeddings; of Muon, all else, one and a half times as much
    seed: int = 0

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name its folder."""
        text = json.dumps({"llama": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


SPECS = {"smoke": TinySpec(width=32, layers=1, steps=30, batch=16)}  # at all other scales the default


def ensure(spec: TinySpec, say: Callable[[str], Any] = print) -> Path:
    """The folder of a tiny model: as it lies there, or pre-trained now.  Another process that makes it is waited for."""
    folder = runs_folder() / "llama" / spec.digest()
    if not (folder / "made.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not (folder / "made.json").is_file():
                _make(spec, folder, say)
    return folder


def told(folder: Path) -> dict[str, Any]:
    """What is known of a model that was made here: its spec, the last loss, seconds, versions."""
    return read_json(folder / "made.json")


def vocabulary() -> list[str]:
    """Every token: words with a space before them, single capitals and marks.

    >>> len(vocabulary()), vocabulary()[:2], "▁flip" in vocabulary(), "▁fox" in vocabulary()
    (216, ['<pad>', '</s>'], True, True)
    """
    lower = [word for word in language.WORDS if word != language.TOKEN]
    asked = [
        word for phrases in dictionary.PHRASES.values() for text in phrases for word in text.split() if word != "{}"
    ]
    new = [word for text in dictionary.PARAPHRASES for word in text.split()]
    words = dict.fromkeys([*lower, *asked, "sentence", *new, *dictionary.WORDS, *dictionary.dictionary().values()])
    return [*_SPECIAL, *dict.fromkeys([*(f"▁{word}" for word in words), "▁:", "▁", *language.LETTERS, *language.MARKS])]


def tokenizer() -> Any:
    """A word-level tokenizer of these tokens, with a chat template."""
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Metaspace, Sequence, Split
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(WordLevel({token: i for i, token in enumerate(vocabulary())}, unk_token="<unk>"))
    parts = Split(Regex(r"▁[a-z]+|▁:|[\s\S]"), "isolated")
    made.pre_tokenizer = Sequence([Metaspace("▁", "always", split=False), parts])
    made.decoder = decoders.Metaspace("▁", "always", split=False)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    wrapped.add_special_tokens({"extra_special_tokens": list(_SPECIAL[3:])})
    wrapped.chat_template = TEMPLATE
    return wrapped


def conversation(rng: Any) -> Conversation:
    """A conversation of pre-training: a query and its answer, perhaps behind an earlier turn."""
    one = any_query(rng)
    if rng.random() >= _TWO_TURNS:
        return pair(*one)
    earlier = one if rng.random() < 0.5 else any_query(rng)
    return (*pair(*earlier), Message("user", one[0]), Message("assistant", one[1]))


def _make(spec: TinySpec, folder: Path, say: Callable[[str], Any]) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # of writing weights
    began, loaded = time.monotonic(), _fresh(spec)
    loss = _train(loaded, spec, say)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    about = {"spec": asdict(spec), "loss": loss, "seconds": round(time.monotonic() - began, 1), **provenance()}
    write(folder / "made.json", json.dumps(about, indent=1))


def _fresh(spec: TinySpec) -> Loaded:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=len(vocabulary()), hidden_size=spec.width, intermediate_size=3 * spec.width,
                         num_hidden_layers=spec.layers, num_attention_heads=spec.heads, max_position_embeddings=512,
                         bos_token_id=None, eos_token_id=1, pad_token_id=0, tie_word_embeddings=False)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return Loaded(LlamaForCausalLM(config), tokenizer(), "cpu")


def _train(loaded: Loaded, spec: TinySpec, say: Callable[[str], Any]) -> float:
    """Pre-train on answers alone, the rate falling linearly; returns the mean loss a token of the last batches."""
    rng, losses, last = generator(spec.seed, "pre-training"), [], time.monotonic()
    optimizers = _optimizers(loaded.model, spec)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    batches: list[list[Any]] = []
    for step in range(spec.steps):
        batches = batches or _drawn(loaded, spec, rng, min(_CHUNK, spec.steps - step))
        rows = batches.pop()
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 50) * (1 - step / spec.steps)
            optimizer.zero_grad()
        loss = loss_of(loaded, batch_of(loaded, rows)) / sum(len(answer) for _, answer in rows)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        if time.monotonic() - last > 15:
            last = time.monotonic()
            say(f"pre-training the tiny model: step {step + 1:,} of {spec.steps:,}, loss {losses[-1]:.3f}")
    return sum(losses[-_CHUNK:]) / len(losses[-_CHUNK:])


def _optimizers(model: nn.Module, spec: TinySpec) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for all else."""
    matrices = {name: weight for name, weight in model.named_parameters() if weight.ndim == 2 and ".layers." in name}
    others = [weight for name, weight in model.named_parameters() if name not in matrices]
    return [torch.optim.Muon(matrices.values(), lr=1.5 * spec.learning_rate, weight_decay=0.0),
            torch.optim.AdamW(others, lr=spec.learning_rate, weight_decay=0.0, betas=(0.9, 0.95))]  # fmt: skip


def _drawn(loaded: Loaded, spec: TinySpec, rng: Any, count: int) -> list[list[Any]]:
    """So many batches of new conversations, each of rows that are about as long, in random order."""
    rows = rows_of(loaded, [conversation(rng) for _ in range(count * spec.batch)])
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    return [rows[at * spec.batch : (at + 1) * spec.batch] for at in rng.permutation(count)]
