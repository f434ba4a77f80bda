"""Tokens in, answers out: conversations by a model's own chat template, and the one generator."""

from collections.abc import Sequence
from typing import Any

import torch

from unseen.files import brief
from unseen.lm.load import BadBase, Loaded
from unseen.messages import Conversation
from unseen.model import seeded

Row = tuple[list[int], list[int]]  # token ids of a prompt and of its answer, the end included


def prompts_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[list[int]]:
    """Token ids of conversations that end with a query, up to where the answer begins."""
    return ids_of(loaded, [_text(loaded, turns, True) for turns in conversations])


def rows_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[Row]:
    """Prompts and answers of conversations that end with an answer, tokenized apart as in evaluation.

    Raises ``BadBase`` when the chat template refuses a conversation, or one is too long for the model.
    """
    prompts = [_text(loaded, turns[:-1], True) for turns in conversations]
    written = []
    for prompt, turns in zip(prompts, conversations, strict=True):
        whole = _text(loaded, turns, False)
        written.append(whole.removeprefix(prompt) if whole.startswith(prompt) else turns[-1].content)
    end, answers = loaded.tokenizer.eos_token_id, []
    for ids in ids_of(loaded, written):
        at = _end(loaded, ids)
        answers.append([*ids, end] if at is None else ids[: at + 1])
    rows = list(zip(ids_of(loaded, prompts), answers, strict=True))
    _readable(loaded, max(len(prompt) + len(answer) for prompt, answer in rows), "a conversation")
    return rows


def ids_of(loaded: Loaded, texts: list[str]) -> list[list[int]]:
    """Token ids of texts, without special tokens around them."""
    return loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]


def ends(loaded: Loaded) -> list[int]:
    """The tokens that end an answer: those of the model's own settings, and the tokenizer's."""
    own = loaded.model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own]
    return list({*own, loaded.tokenizer.eos_token_id} - {None})


def reply(
    loaded: Loaded, conversations: Sequence[Conversation], new_tokens: int, **how: Any
) -> list[str | None]:
    """Answers to conversations that end with a query; further options are those of ``answers``."""
    return answers(loaded, prompts_of(loaded, conversations), new_tokens, **how)


@torch.no_grad()
def answers(
    loaded: Loaded, prompts: Sequence[list[int]], new_tokens: int, temperature: float = 0.0,
    top_p: float = 1.0, seed: int = 0, at_once: int = 64,
) -> list[str | None]:  # fmt: skip
    """Answers to prompts in their order, None for one that did not end.

    Greedy at temperature 0, else sampled from the nucleus ``top_p``.  A batch has prompts of about the same
    length, filled up on the left.  Raises ``BadBase`` for a prompt that is too long.
    """
    from transformers import GenerationConfig

    longest = max(map(len, prompts), default=0) + new_tokens
    _readable(loaded, longest, f"a prompt with {new_tokens} new tokens")
    sampled = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    how = {"max_new_tokens": new_tokens, "pad_token_id": loaded.pad, "eos_token_id": ends(loaded)}
    config = GenerationConfig(**how, **(sampled if temperature else {"do_sample": False}))
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    found: dict[int, str] = {}
    loaded.model.eval()
    with seeded(seed, loaded.device):
        for at in range(0, len(order), at_once):
            chosen = order[at : at + at_once]
            ids = loaded.padded([prompts[i] for i in chosen], loaded.pad, "left")
            mask = loaded.padded([[1] * len(prompts[i]) for i in chosen], 0, "left")
            written = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
            for i, answer in zip(chosen, written[:, ids.shape[1] :].tolist(), strict=True):
                if (at := _end(loaded, answer)) is not None:
                    found[i] = loaded.tokenizer.decode(answer[:at], skip_special_tokens=True).strip()
    return [found.get(i) for i in range(len(prompts))]


def _end(loaded: Loaded, ids: list[int]) -> int | None:
    """Where the first end token is."""
    known = ends(loaded)
    return next((i for i, token in enumerate(ids) if token in known), None)


def _text(loaded: Loaded, turns: Conversation, prompts: bool) -> str:
    messages = [turn._asdict() for turn in turns]
    try:
        return loaded.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompts)
    except Exception as error:  # a template is a program in the folder: it may raise anything
        raise BadBase(f"the chat template of this model refuses a conversation: {brief(error)}") from error


def _readable(loaded: Loaded, length: int, what: str) -> None:
    most = getattr(loaded.settings, "max_position_embeddings", None) or length
    if length > most:
        raise BadBase(f"{what} has {length:,} tokens, more than the {most:,} that this model reads")
