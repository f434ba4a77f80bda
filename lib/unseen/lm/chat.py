"""Tokens in, answers out: conversations by a model's own chat template, and the one generator."""

from collections.abc import Sequence

import torch

from unseen.disk.files import brief
from unseen.lm.load import BadBase, Loaded, seeded
from unseen.messages import Conversation

Row = tuple[list[int], list[int]]  # token ids of a prompt and of its answer, the end included


def prompts_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[list[int]]:
    """Token ids of conversations that end with a query, up to where the answer begins; raises ``BadBase``."""
    return ids_of(loaded, [_text(loaded, turns, True) for turns in conversations])


def rows_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[Row]:
    """Prompts and answers of conversations that end with an answer, tokenized alike in training and evaluation.

    Raises ``BadBase`` when the chat template refuses a conversation, or one is longer than the model can read.
    """
    prompts = [_text(loaded, turns[:-1], True) for turns in conversations]
    whole = [_text(loaded, turns, False) for turns in conversations]
    answers = [full[len(prompt) :] if full.startswith(prompt) else turns[-1].content
               for full, prompt, turns in zip(whole, prompts, conversations, strict=True)]  # fmt: skip
    ended = [_ended(loaded, ids) for ids in ids_of(loaded, answers)]
    rows = list(zip(ids_of(loaded, prompts), ended, strict=True))
    _readable(loaded, max(len(prompt) + len(answer) for prompt, answer in rows), "a conversation")
    return rows


def ids_of(loaded: Loaded, texts: list[str]) -> list[list[int]]:
    """Token ids of texts, without any special token around them."""
    return loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]


def ends(loaded: Loaded) -> list[int]:
    """The tokens that end an answer: those of the model's own settings, and the tokenizer's."""
    own = getattr(loaded.model.generation_config, "eos_token_id", None)
    found = own if isinstance(own, list) else [own]
    return [each for each in dict.fromkeys([*found, loaded.tokenizer.eos_token_id]) if each is not None]


@torch.no_grad()
def answers(
    loaded: Loaded,
    prompts: Sequence[list[int]],
    new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    at_once: int = 64,
) -> list[str | None]:
    """Answers to prompts, in their order, None for one that did not end: greedy, or sampled from the nucleus ``top_p``.

    Prompts of about the same length form a batch, filled up on the left.  Raises ``BadBase`` for one that is too long.
    """
    from transformers import GenerationConfig

    _readable(
        loaded, max(map(len, prompts), default=0) + new_tokens, f"a prompt with {new_tokens} new tokens"
    )
    how = (
        {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        if temperature
        else {"do_sample": False}
    )
    last, pad = ends(loaded), loaded.pad
    config = GenerationConfig(**how, max_new_tokens=new_tokens, pad_token_id=pad, eos_token_id=last)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    found: list[str | None] = [None] * len(prompts)
    loaded.model.eval()
    with seeded(seed, loaded.device):
        for at in range(0, len(order), at_once):
            chosen = order[at : at + at_once]
            width = len(prompts[chosen[-1]])
            empty = [width - len(prompts[i]) for i in chosen]
            ids = [[pad] * gap + prompts[i] for i, gap in zip(chosen, empty, strict=True)]
            mask = [[0] * gap + [1] * (width - gap) for gap in empty]
            inputs = {"input_ids": ids, "attention_mask": mask}
            tensors = {name: torch.tensor(values, device=loaded.device) for name, values in inputs.items()}
            written = loaded.model.generate(**tensors, generation_config=config)[:, width:].tolist()
            for i, tokens in zip(chosen, written, strict=True):
                found[i] = _up_to_end(loaded, tokens, last)
    return found


def reply(
    loaded: Loaded, conversations: Sequence[Conversation], new_tokens: int, **how: float
) -> list[str | None]:
    """Answers to conversations that end with a query; options as for ``answers``."""
    return answers(loaded, prompts_of(loaded, conversations), new_tokens, **how)


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


def _ended(loaded: Loaded, ids: list[int]) -> list[int]:
    """An answer up to its end token, which is appended where the template has none."""
    last = ends(loaded)
    at = next((i for i, token in enumerate(ids) if token in last), None)
    return [*ids, loaded.tokenizer.eos_token_id] if at is None else ids[: at + 1]


def _up_to_end(loaded: Loaded, ids: list[int], last: list[int]) -> str | None:
    at = next((i for i, token in enumerate(ids) if token in last), None)
    return None if at is None else loaded.tokenizer.decode(ids[:at], skip_special_tokens=True).strip()
