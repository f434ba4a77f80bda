"""Conversations as the tokens of a chat model: prompts by its own chat template, answers with their end."""

from collections.abc import Sequence
from typing import Any

from unseen.disk.files import brief
from unseen.pretrained.local import BadBase, Loaded, Row

Turns = Sequence[Any]  # of messages with a role and a content, as ``delia.messages.Message``


def prompts_of(loaded: Loaded, conversations: Sequence[Turns]) -> list[list[int]]:
    """Token ids of conversations that end with a query, with what makes the model answer behind them."""
    return _ids(loaded, [_text(loaded, turns, True) for turns in conversations])


def rows_of(loaded: Loaded, conversations: Sequence[Turns]) -> list[Row]:
    """Prompts and answers of conversations that end with an answer, cut alike in training and when the model is asked.

    Raises ``BadBase`` when the chat template does not take a conversation, or one is longer than the model can read.
    """
    asked = [_text(loaded, turns[:-1], True) for turns in conversations]
    whole = [_text(loaded, turns, False) for turns in conversations]
    said = [full[len(prompt) :] if full.startswith(prompt) else turns[-1].content
            for full, prompt, turns in zip(whole, asked, conversations, strict=True)]  # fmt: skip
    answers = [_ended(loaded, ids) for ids in _ids(loaded, said)]
    rows = list(zip(_ids(loaded, asked), answers, strict=True))
    longest, most = max(len(prompt) + len(answer) for prompt, answer in rows), reads(loaded)
    if longest > most:
        raise BadBase(f"a conversation of {longest:,} tokens is longer than the {most:,} that this model reads")
    return rows


def reads(loaded: Loaded) -> int:
    """How many tokens a model can read at once."""
    return getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or 10**9


def ends(loaded: Loaded) -> list[int]:
    """The tokens that end an answer: those of the model's own settings, and the tokenizer's."""
    told = getattr(loaded.model.generation_config, "eos_token_id", None)
    found = told if isinstance(told, list) else [told]
    return [each for each in dict.fromkeys([*found, loaded.tokenizer.eos_token_id]) if each is not None]


def _text(loaded: Loaded, turns: Turns, asks: bool) -> str:
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        return loaded.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
    except Exception as error:  # a template is a program of the folder's: it may raise anything
        raise BadBase(f"the chat template of this model does not take a conversation: {brief(error)}") from error


def _ids(loaded: Loaded, texts: list[str]) -> list[list[int]]:
    return loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]


def _ended(loaded: Loaded, ids: list[int]) -> list[int]:
    """An answer up to its end token, with one put behind it where the template has none."""
    known = ends(loaded)
    at = next((i for i, token in enumerate(ids) if token in known), None)
    return [*ids, loaded.tokenizer.eos_token_id] if at is None else ids[: at + 1]
