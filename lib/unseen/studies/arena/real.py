"""What the arena's methods share on a real chat model: arms as pieces of work, done by workers and kept.

A method has a table of scales with its ``seeds``, its ``updates`` and what else it needs, a list of arms, and
a function that does one piece of work: it loads the base, tunes adapters, and returns the rows of its table.

    >>> work = Work("everyday", "one arm", "smoke", AdapterSpec(seed=3), base="a fingerprint")
    >>> work.name, len(work.digest())
    ('everyday, one arm, seed 3', 16)
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.fields import lasting
from unseen.files import seal
from unseen.lm.chat import Row, answers, ids_of
from unseen.lm.load import Loaded, fingerprint, load
from unseen.lm.tune import AdapterSpec, adapted, log_probabilities
from unseen.once import once
from unseen.runs.following import path_of
from unseen.runs.workers import Tell
from unseen.scales import Setting, amounts
from unseen.studies import real_model
from unseen.worlds.styles import Asked

LONGEST = 16  # tokens of an answer
_AT_ONCE = 32  # rows whose answers are read at a time


class Work(NamedTuple):
    """One arm of a method, whose table of scales is ``study``, on the seed of its adapter.

    ``arm`` is the name of one, or of several that share what takes long.
    """

    study: str
    arm: str
    scale: str
    training: AdapterSpec
    base: str

    @property
    def seed(self) -> int:
        """It draws rows and adapter."""
        return self.training.seed

    @property
    def name(self) -> str:
        """It in a few words."""
        return f"{self.study.removeprefix('real_')}, {self.arm}, seed {self.seed}"

    def about(self) -> dict[str, Any]:
        """What its rows depend on; other seeds are no part of it."""
        much = {
            name: value for name, value in vars(amounts(self.study, self.scale)).items() if name != "seeds"
        }
        of = {"study": self.study, "arm": self.arm, "base": self.base}
        return of | {"much": much, "adapter": lasting(self.training)}

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name it."""
        return seal(self.about())[:16]


Do = Callable[[Work, Path, Tell], list[dict[str, Any]]]  # rows of a piece of work on a base


def works(study: str, arms: Sequence[str], scale: str, base: str) -> list[Work]:
    """Every piece of work of a scale on a base (its fingerprint), first seeds first."""
    (how,) = settings(study, scale)
    return [Work(study, arm, scale, how.base.but(seed=seed), base) for seed in how.seeds for arm in arms]


def settings(study: str, scale: str) -> list[Setting]:
    """What a method trains at a scale, as a table says it of itself."""
    much = amounts(study, scale)
    spec = real_model.adapter(scale).but(steps=much.updates)
    return [Setting(study, spec, (), much.seeds, scale=scale)]


def measure(study: str, arms: Sequence[str], scale: str, folder: Path, do: Do) -> pd.DataFrame:
    """Do what is missing, as many at a time as there are cores and memory for; the table of a method.

    Its columns are those of ``do``'s rows, arm (where they do not say it), seed, seconds (of a core, for a
    piece of work), run and base.  Raises ``SweepFailed`` when a piece failed; the others are kept.
    """
    every = works(study, arms, scale, fingerprint(folder))
    trainer = partial(keep, folder=folder, do=do)
    real_model.tune_all({work: _folder(work) for work in every}, folder, trainer, "pieces of work")
    tables = []
    for work in every:
        made = keep(work, lambda step, note="": None, folder, do)
        last = {"seed": work.seed, "seconds": made["seconds"], "run": work.digest(), "base": folder.name}
        tables += [{"arm": work.arm} | row | last for row in made["rows"]]
    return pd.DataFrame(tables)


def keep(work: Work, tell: Tell, folder: Path, do: Do) -> dict[str, Any]:
    """What a worker does with a piece of work: its rows, kept; raises ``Held``."""

    def make(_: Path) -> dict[str, Any]:
        began = time.process_time()
        rows = do(work, folder, tell)
        return {"rows": rows, "seconds": round(time.process_time() - began, 3)}

    return once(_folder(work), work.about(), make, patience=0, say=lambda note: tell(0, note))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as they can be kept: None where there is no number.

    >>> records(pd.DataFrame({"right": [0.5, np.nan]}))
    [{'right': 0.5}, {'right': None}]
    """
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _folder(work: Work) -> Path:
    return path_of(work.digest(), work.study.replace("_", "-"))


def begun(work: Work, folder: Path) -> Loaded:
    """The base with a new adapter."""
    return adapted(load(folder, quick=True), work.training)


# Lines of styles as a model reads and answers them


def rows_of(loaded: Loaded, lines: Sequence[Asked], form: str = "") -> list[Row]:
    """Prompts and answers of lines as tokens, in the format that was drawn or in another."""
    return rows_with(loaded, lines, [line.right(form) for line in lines])


def rows_with(loaded: Loaded, lines: Sequence[Asked], texts: Sequence[str]) -> list[Row]:
    """Prompts of lines with other answers, as tokens."""
    end = loaded.tokenizer.eos_token_id
    prompts = prompts_of(loaded, lines)
    answered = ids_of(loaded, [f" {text}" for text in texts])
    return [(prompt, [*answer, end]) for prompt, answer in zip(prompts, answered, strict=True)]


@torch.no_grad()
def likely(loaded: Loaded, rows: Sequence[Row]) -> np.ndarray:
    """The log probability (N,) in nats of each row's answer, its end included."""
    parts = [rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE)]
    return np.concatenate([log_probabilities(loaded, part).cpu().numpy() for part in parts])


def prompts_of(loaded: Loaded, lines: Sequence[Asked]) -> list[list[int]]:
    """The prompts of lines as tokens."""
    return ids_of(loaded, [line.prompt for line in lines])


def written(loaded: Loaded, lines: Sequence[Asked], **how: Any) -> list[str | None]:
    """What a model answers to lines, None where it did not end; ``how`` as in ``chat.answers``."""
    return answers(loaded, prompts_of(loaded, lines), LONGEST, **how)


@torch.no_grad()
def last_states(loaded: Loaded, prompts: Sequence[list[int]]) -> Tensor:
    """The last hidden state (N, C) of the last token of each prompt, which are read one by one."""
    return torch.stack([loaded.last_states(loaded.batch([ids]))[0, -1].cpu() for ids in prompts])
