"""A tiny language model of the Llama architecture, pre-trained here, in a folder like any local model.

It is pre-trained on the project's two small languages, in one turn and in two, as self-sampling needs.  It
never sees the token ``<sep>``, nor a request to translate.  ``runs/llama/<digest>/model/`` holds it.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.files import runs_folder, seal
from unseen.lm.chat import Row, rows_of
from unseen.lm.load import Loaded
from unseen.lm.tune import ANSWERS, resuming, update
from unseen.messages import Conversation, pair
from unseen.model import seeded
from unseen.once import once
from unseen.training import State
from unseen.worlds import dictionary, language
from unseen.worlds.base import generator
from unseen.worlds.language import at_large

FORMAT = 2  # raised when the same spec would make another model, or is stored in another form
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<pad>", "</s>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>")
_TWO_TURNS = 0.25  # share of conversations with an earlier turn, half of them with the same query
_CHUNK = 32  # batches that are drawn at a time and sorted by length
_WARM_UP = 50  # steps


@dataclass(frozen=True)
class TinySpec:
    """Size and pre-training of a tiny model; one spec is one folder."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    steps: int = 1_500
    batch: int = 64
    learning_rate: float = 0.01  # of AdamW; Muon has one and a half times as much
    seed: int = 0

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name its folder."""
        return seal({"llama": FORMAT, **asdict(self)})[:16]


def ensure(spec: TinySpec, say: Callable[[str], Any] = print) -> Path:
    """The folder of a tiny model, pre-trained now if it is not there; raises as ``once`` does."""

    def make(folder: Path) -> dict[str, Any]:
        from transformers.utils import logging

        logging.disable_progress_bar()  # of writing weights
        began, loaded = time.monotonic(), fresh(spec)
        checkpoint = folder / "checkpoint.safetensors"
        loss = train(loaded, spec, say, checkpoint)
        loaded.model.save_pretrained(folder / "model")
        loaded.tokenizer.save_pretrained(folder / "model")
        checkpoint.unlink(missing_ok=True)
        return {"loss": loss, "seconds": round(time.monotonic() - began, 1)}

    folder = runs_folder() / "llama" / spec.digest()
    once(folder, {"spec": asdict(spec)}, make, say=say)
    return folder / "model"


def vocabulary() -> list[str]:
    """Every token: words with a space before them, single capitals and marks.

    >>> len(vocabulary()), vocabulary()[:2], "▁flip" in vocabulary(), "▁fox" in vocabulary()
    (216, ['<pad>', '</s>'], True, True)
    """
    exercises = " ".join(itertools.chain(*dictionary.PHRASES.values())).split()
    translating = ["sentence", *" ".join(dictionary.PARAPHRASES).split()]
    words = [*language.WORDS, *exercises, *translating, *dictionary.WORDS, *dictionary.dictionary().values()]
    known = [f"▁{word}" for word in words if word not in (language.TOKEN, "{}")]
    return [*dict.fromkeys([*_SPECIAL, *known, "▁:", "▁", *language.LETTERS, *language.MARKS])]


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
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, **special)
    wrapped.add_special_tokens({"extra_special_tokens": list(_SPECIAL[3:])})
    wrapped.chat_template = TEMPLATE
    return wrapped


def any_query(rng: np.random.Generator) -> tuple[str, str]:
    """A query of any kind that it is pre-trained on, and its right answer."""
    if rng.random() < 0.3:
        return dictionary.exercise(rng)
    query = at_large(rng)
    return query.content, query.answer


def conversation(rng: np.random.Generator) -> Conversation:
    """A conversation of pre-training: a query and its answer, perhaps after an earlier turn."""
    query = any_query(rng)
    if rng.random() >= _TWO_TURNS:
        return pair(*query)
    earlier = query if rng.random() < 0.5 else any_query(rng)
    return (*pair(*earlier), *pair(*query))


def fresh(spec: TinySpec) -> Loaded:
    """The model with random weights, and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    layers = {"num_hidden_layers": spec.layers, "num_attention_heads": spec.heads}
    widths = {"hidden_size": spec.width, "intermediate_size": 3 * spec.width, "vocab_size": len(vocabulary())}
    special = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "max_position_embeddings": 512}
    config = LlamaConfig(**layers, **widths, **special, tie_word_embeddings=False)
    with seeded(spec.seed):
        return Loaded(LlamaForCausalLM(config), tokenizer(), "cpu")


def train(loaded: Loaded, spec: TinySpec, say: Callable[[str], Any], checkpoint: Path | None = None) -> float:
    """Pre-train on answers alone; returns the mean loss per token of the last batches.

    It resumes from the ``checkpoint`` if that is there.  Muon trains the matrices of the layers, AdamW all
    else; rates fall linearly.
    """
    parts: dict[bool, list[Tensor]] = {True: [], False: []}  # whether a matrix of a layer
    for name, weight in loaded.model.named_parameters():
        parts[weight.ndim == 2 and ".layers." in name].append(weight)
    muon = torch.optim.Muon(parts[True], lr=1.5 * spec.learning_rate, weight_decay=0.0)
    adam = torch.optim.AdamW(parts[False], lr=spec.learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
    muon.memory = ("momentum_buffer",)  # what ``State`` keeps of it
    state = State(loaded.model, [muon, adam])
    batches = enumerate(_batches(loaded, spec))
    for step in resuming(state, spec.steps, checkpoint, say, "pre-training the tiny model"):
        rows = next(rows for at, rows in batches if at == step)  # those before were read already
        warm, left = min(1.0, (step + 1) / _WARM_UP), 1 - step / spec.steps
        rates = {muon: 1.5 * spec.learning_rate * warm * left, adam: spec.learning_rate * warm * left}
        loss = update(loaded, rates, rows, spec.batch, ANSWERS)
        state.losses.append(torch.tensor(loss, dtype=torch.float64))
    last = [loss.item() for loss in state.losses[-_CHUNK:]]
    return sum(last) / len(last)


def _batches(loaded: Loaded, spec: TinySpec) -> Iterator[list[Row]]:
    """The batch of each step, drawn a chunk of steps at a time."""
    rng = generator(spec.seed, "pre-training")
    for begin in range(0, spec.steps, _CHUNK):
        yield from reversed(_drawn(loaded, spec, rng, min(_CHUNK, spec.steps - begin)))


def _drawn(loaded: Loaded, spec: TinySpec, rng: np.random.Generator, count: int) -> list[list[Row]]:
    """So many batches of new conversations, each of rows of about the same length, in random order."""
    rows = rows_of(loaded, [conversation(rng) for _ in range(count * spec.batch)])
    rows.sort(key=lambda row: len(row[0] + row[1]))
    return [rows[at * spec.batch : (at + 1) * spec.batch] for at in rng.permutation(count)]
