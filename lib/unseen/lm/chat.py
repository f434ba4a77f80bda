"""Tokens in, answers out: conversations by a model's own chat template, and the one generator."""

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from unseen.files import brief
from unseen.lm.load import BadBase, Loaded
from unseen.messages import Conversation, Message
from unseen.model import seeded

Row = tuple[list[int], list[int]]  # token ids of a prompt and of its answer, the end included
_ESCAPE, _FIRST = "\U000f0000", 0xF0001  # of signs for the text of a control token
_ANSWER = 2 * _ESCAPE  # where an answer will stand
_PAUSE = 15  # seconds between two lines of progress
_DATED = "{% macro strftime_now(form) %}26 Jul 2024{% endmacro %}\n"  # no answer may depend on the day


def unhurried(say: Callable[[str], Any]) -> Callable[[str], Any]:
    """``say``, for progress: it says nothing within some seconds after it was made, or spoke."""
    last = time.monotonic()

    def maybe(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PAUSE:
            last = time.monotonic()
            say(line)

    return maybe


def prompts_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[list[int]]:
    """Token ids of conversations that end with a query, up to where the answer begins."""
    return _ids(loaded, [_opened(loaded, turns) for turns in _escaped(loaded, conversations)])


def rows_of(loaded: Loaded, conversations: Sequence[Conversation]) -> list[Row]:
    """Prompts and answers of conversations that end with an answer, tokenized apart as in evaluation.

    Raises ``BadBase`` when the chat template refuses a conversation, or one is too long for the model.
    """
    rows = _rows(loaded, conversations)
    readable(loaded, max(len(prompt) + len(answer) for prompt, answer in rows), "a conversation")
    return rows


def _rows(loaded: Loaded, conversations: Sequence[Conversation]) -> list[Row]:
    """The rows, each answer such that a model that writes it has written the last turn's content."""
    prompts, written = [], []
    stop = _either([text for text in loaded.tokenizer.convert_ids_to_tokens(ends(loaded)) if text])
    unseen = _either(_control(loaded))
    for turns in _escaped(loaded, conversations):
        prompt, right, whole = _opened(loaded, turns[:-1]), turns[-1].content, _text(loaded, turns, False)
        found = whole.removeprefix(prompt) if whole.startswith(prompt) else right
        body = found.lstrip().removeprefix(right.strip())
        extra = re.sub(unseen, "", re.split(stop, body)[0]).strip()
        written.append(right if extra or not found.lstrip().startswith(right.strip()) else found)
        prompts.append(prompt)
    end, answers = loaded.tokenizer.eos_token_id, []
    for ids in _ids(loaded, written):
        at = _end(loaded, ids)
        answers.append([*ids, end] if at is None else ids[: at + 1])
    return list(zip(_ids(loaded, prompts), answers, strict=True))


def unfit(
    loaded: Loaded, conversations: Sequence[Conversation], new_tokens: int
) -> tuple[dict[int, str], dict[int, int]]:
    """Which conversations cannot be used, by their place from 1 on: why the template refuses one, and how
    many tokens one has, with as many new ones, that is too long for the model.
    """
    refused, most = {}, loaded.longest or math.inf
    try:
        rows = _rows(loaded, conversations)
    except BadBase:
        for number, turns in enumerate(conversations, 1):
            try:
                _rows(loaded, [turns])
            except BadBase as error:
                refused[number] = str(error)
        return refused, {}
    lengths = [len(prompt) + max(len(answer), new_tokens) for prompt, answer in rows]
    return {}, {number: length for number, length in enumerate(lengths, 1) if length > most}


def ids_of(loaded: Loaded, texts: list[str]) -> list[list[int]]:
    """Token ids of plain texts: without special tokens around them, or in them."""
    return loaded.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _control(loaded: Loaded) -> list[str]:
    """The sign that escapes control tokens, and the texts that the tokenizer would take for one."""
    known = loaded.tokenizer.added_tokens_decoder.items()
    special = {str(token) for number, token in known if token.special and number != loaded.token}
    return [_ESCAPE, *sorted(special, key=lambda text: (-len(text), text))]


def _either(texts: Sequence[str]) -> str:
    """A regular expression of any of these texts."""
    return "|".join(map(re.escape, texts)) or "(?!)"


def _escaped(loaded: Loaded, conversations: Sequence[Conversation]) -> list[Conversation]:
    """Conversations in which texts of control tokens are signs, which ``_ids`` reads as plain text."""
    control = _control(loaded)
    pattern = re.compile(_either(control))

    def plain(turn: Message) -> Message:
        signs = pattern.sub(lambda found: _ESCAPE + chr(_FIRST + control.index(found[0])), turn.content)
        return turn._replace(content=signs)

    return [tuple(map(plain, turns)) for turns in conversations]


def _ids(loaded: Loaded, texts: list[str]) -> list[list[int]]:
    """Token ids of what the template wrote, control tokens among them; escaped ones are plain text."""
    found, control = loaded.tokenizer(texts, add_special_tokens=False)["input_ids"], _control(loaded)
    for i, text in enumerate(texts):
        if _ESCAPE in text:
            found[i] = []
            for part in re.split(f"({_either(control[1:])})", text):
                plain = re.sub(f"{_ESCAPE}(.)", lambda sign: control[ord(sign[1]) - _FIRST], part)
                split = {"split_special_tokens": plain != part}
                found[i] += loaded.tokenizer(plain, add_special_tokens=False, **split)["input_ids"]
    return found


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
    top_p: float = 1.0, seed: int = 0, at_once: int = 64, say: Callable[[str], Any] | None = None,
    unended: bool = False, never: Sequence[int] = (),
) -> list[str | None]:  # fmt: skip
    """Answers to prompts in their order, None for one that did not end (``unended``: as far as it came).

    Greedy at temperature 0, else sampled from the nucleus ``top_p``.  A batch has prompts of about the same
    length, filled up on the left; ``say`` gets their progress.  Tokens in ``never`` are not written.  Raises
    ``BadBase`` for a prompt that is too long.
    """
    from transformers import GenerationConfig

    longest = max(map(len, prompts), default=0) + new_tokens
    readable(loaded, longest, f"a prompt with {new_tokens} new tokens")
    sampled = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    how = {"max_new_tokens": new_tokens, "pad_token_id": loaded.pad, "eos_token_id": ends(loaded)}
    how |= {"suppress_tokens": list(never)} if never else {}
    config = GenerationConfig(**how, **(sampled if temperature else {"do_sample": False}))
    spoken = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    found: dict[int, str] = {}
    loaded.model.eval()
    with seeded(seed, loaded.device):
        for begin in range(0, len(order), at_once):
            chosen = order[begin : begin + at_once]
            read = loaded.batch([prompts[i] for i in chosen], "left")
            written = loaded.model.generate(**read, generation_config=config)
            for i, answer in zip(chosen, written[:, read["input_ids"].shape[1] :].tolist(), strict=True):
                if (at := _end(loaded, answer)) is not None or unended:
                    found[i] = loaded.tokenizer.decode(answer[:at], **spoken).strip()
            if say:
                say(f"{min(begin + at_once, len(order)):,} of {len(order):,} answers")
    return [found.get(i) for i in range(len(prompts))]


def _end(loaded: Loaded, ids: list[int]) -> int | None:
    """Where the first end token is."""
    known = ends(loaded)
    return next((i for i, token in enumerate(ids) if token in known), None)


def _opened(loaded: Loaded, turns: Conversation) -> str:
    """The text up to where an answer begins, and what the template writes before any, as an empty thought."""
    prompt = _text(loaded, turns, True)
    before, found, _ = _text(loaded, (*turns, Message("assistant", _ANSWER)), False).partition(_ANSWER)
    longer = before.rstrip(" ")  # a space belongs to the first word
    return longer if found and longer.startswith(prompt) and longer.strip() != prompt.strip() else prompt


def _text(loaded: Loaded, turns: Conversation, prompts: bool) -> str:
    messages, how = [turn._asdict() for turn in turns], {"tokenize": False, "add_generation_prompt": prompts}
    try:
        how["chat_template"] = _DATED + loaded.tokenizer.get_chat_template()
        return loaded.tokenizer.apply_chat_template(messages, **how)
    except Exception as error:  # a template is a program in the folder: it may raise anything
        raise BadBase(f"the chat template of this model refuses a conversation: {brief(error)}") from error


def readable(loaded: Loaded, length: int, what: str) -> None:
    """Raise ``BadBase`` for more tokens than the model reads."""
    most = loaded.longest or length
    if length > most:
        raise BadBase(f"{what} has {length:,} tokens, more than the {most:,} that this model reads")
