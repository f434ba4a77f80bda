"""Notebook 25: experiment 6 on a real language model, tuned by an adapter on rules written for it.

What varies: the number of rules, the ``form`` of the prompt (English words, or signs alone), the ``work``
(plain, or enciphered afterwards), where the weights ``start``, and the ``data`` (all, or one of ``HALVES``).
All tunings of a scale take as many steps, so more rules are fewer examples of each, and half of the data is
read twice.

>>> [setting.name for setting in settings("quick")][:3]
['untouched, plain, words', 'untouched, plain, signs', 'pre-trained, plain, words']
>>> len(runs("quick", "the fingerprint of a model"))
6
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from unseen.evaluation import baselines, exact_match, share_by_kind, without_pattern
from unseen.files import check_room
from unseen.lm import rules, tiny
from unseen.lm.load import checked, fingerprint, memory_free, memory_needed, outline
from unseen.lm.rules import AdapterRun
from unseen.lm.tune import AdapterSpec, adapted, folder_of
from unseen.once import done
from unseen.process_group import best_device
from unseen.runs.sweep import carry_out
from unseen.runs.workers import Processes, Serial, Trainer, cores
from unseen.scales import SHOW, amounts
from unseen.specs import EvaluationSpec
from unseen.studies.pretraining import HALVES, NO_OPS, Tuning
from unseen.worlds.base import generator
from unseen.worlds.strings import TaskSpec

CIPHER = "substitution:7"  # of encrypted rewriting, as in notebook 15
OWN = "smollm2"  # the model of the committed results


def adapter(name: str) -> AdapterSpec:
    """How each model of a scale is tuned: on all linear layers, alpha twice the rank."""
    chosen = amounts("real_model", name)
    size = {"rank": chosen.rank, "alpha": 2 * chosen.rank, "batch": chosen.batch}
    steps = {"steps": chosen.steps, "warm_up": min(4, chosen.steps), "learning_rate": chosen.rate}
    return AdapterSpec(**size, **steps, micro_batch=min(16, chosen.batch))


def settings(name: str, rows: str = "tuned") -> tuple[Tuning, ...]:
    """What is tuned at a scale, by the rows ``tuned`` of its table, or the ``orders`` of notebook 35."""
    return tuple(
        Tuning(
            ", ".join([start, work, form, data]).removesuffix(", all"),
            adapter(name), sizes, seeds, start, work, data, form=form, scale=name,
        )
        for start, work, form, data, sizes, seeds in getattr(amounts("real_model", name), rows)
    )  # fmt: skip


def task_of(name: str, work: str, rules: int, seed: int, data: str = "all") -> TaskSpec:
    """The task of a tuning: so many rules, as many examples as it reads, or half as many.

    Of ``HALVES`` the second has half of the rules, which is what ``rules`` then counts.
    """
    chosen = amounts("real_model", name)
    world = {"alphabet": chosen.alphabet, "input_length": chosen.input, "no_op_share": NO_OPS}
    lengths = {"pattern_length": chosen.pattern, "replacement_length": chosen.pattern}
    amount = {"instructions": max(1, rules), "unseen_instructions": chosen.unseen}
    examples = max(chosen.steps * chosen.batch // (2 if data in HALVES else 1), rules)
    seeds = {"rule_seed": seed, "example_seed": seed}
    rest = {"cipher": CIPHER if work == "encrypted" else "", **HALVES.get(data, {})}
    return TaskSpec(**world, **lengths, **amount, **seeds, examples=examples, **rest)


def runs(name: str, base: str, rows: str = "tuned") -> dict[AdapterRun, dict[str, Any]]:
    """Every tuning of a scale on a base (its fingerprint), and its columns; whole curves first.

    >>> first = next(iter(runs("smoke", "...").values()))
    >>> first["setting"], first["instructions"], first["seed"]
    ('untouched, plain, words', 0, 0)
    """
    found, test = {}, EvaluationSpec(examples=amounts("real_model", name).tested)
    for turn in range(max(len(each.seeds) for each in settings(name, rows))):
        for each in settings(name, rows):
            for size in each.instructions if turn < len(each.seeds) else ():
                seed = each.seeds[turn]
                task, spec = task_of(name, each.work, size, seed, each.data), each.base.but(seed=seed)
                run = AdapterRun(task, test, spec, base, each.form, each.start)
                about = {"setting": each.name, "start": each.start, "work": each.work, "form": each.form}
                about["data"] = each.data
                found[run] = about | {"instructions": size, "seed": seed, "updates": spec.steps * bool(size)}
    return found


def base_of(name: str, base: str = OWN) -> Path:
    """The folder of the base: at ``smoke`` a tiny model in place of the usual one; raises ``BadBase``, and
    ``ValueError`` at ``show``.
    """
    if name == SHOW:
        raise ValueError(
            "base has to be tuned, and scale='show' trains nothing: choose 'quick' or a larger one"
        )
    if name == "smoke" and base == OWN:
        return checked(tiny.ensure(tiny.TinySpec(**amounts("language_model", name).tiny)))
    folder = checked(base)
    adapted(outline(folder), adapter(name))  # whether it fits, before anything is loaded
    return folder


def measure(name: str, folder: Path, rows: str = "tuned") -> pd.DataFrame:
    """Tune what is missing, as many at a time as there are cores and memory for; the table of a scale.

    One row per run, split and kind of input.  Columns: setting, start, work, form, data, instructions, seed,
    updates, split, kind, accuracy, low, high, examples, copied (the share of answers that are the input),
    seconds, run, base.
    Raises ``SweepFailed`` when a tuning failed; the others are kept.
    """
    every = runs(name, fingerprint(folder), rows)
    tune_all({run: folder_of(run.digest()) for run in every}, folder, partial(rules.tune_one, base=folder))
    table = []
    for run, about in every.items():
        made = rules.ensure(run, folder)
        last = {"seconds": made["seconds"], "run": made["digest"], "base": folder.name}
        table += [about | row | last for row in made["scores"]]
    return pd.DataFrame(table)


def tune_all(folders: Mapping[Any, Path], base: Path, trainer: Trainer, what: str = "tunings") -> None:
    """Let processes tune a base for each run whose folder is not done, as many at a time as there are cores
    and memory for.

    Raises ``CannotWrite`` for too little room on the disk, ``SweepFailed`` when a tuning failed.
    """
    missing = [run for run, folder in folders.items() if not done(folder, {}, whole=False)]
    print(f"{len(folders)} {what}: {len(folders) - len(missing)} are done, {len(missing)} to do", flush=True)
    if not missing:
        return
    check_room(folder_of("").parent, len(missing) * 2**26)
    device = best_device()
    many = min(cores(), int(memory_free(device) / (2 * memory_needed(base, device))), len(missing))
    small = max(run.training.steps for run in missing) <= 2  # takes less time than starting workers
    executor = Serial() if device != "cpu" or small else Processes(max(1, many))
    carry_out(missing, trainer, executor)


def unread(name: str) -> pd.DataFrame:
    """What answers score on unseen rules that learn nothing, as rows like those of ``measure``."""
    task, amount = task_of(name, "plain", max(settings(name)[2].instructions), 0), 10_000
    split = task.split()
    examples = task.evaluation(split, amount, 25)["unseen"]
    known = baselines(examples, split.unseen, split.seen) | without_pattern(
        examples, generator(0, "anywhere")
    )
    return pd.DataFrame([
        {"setting": answer, **row}
        for answer, written in known.items()
        for row in share_by_kind(exact_match(written, examples), examples)
    ])  # fmt: skip
