"""Instruction position (Post-Ins): the instruction behind the input, in training and in the test.

*Claim.* At equal data a model with the instruction behind the input follows it better than one with the
instruction before it, more so for long inputs and for instructions it was not trained on.
*Source.* Liu and others, arXiv 2308.12097; the released code (Adaxry/Post-Instruction) has no licence.
*Method.* Only the order of a prompt changes.  The paper's argument is Bayes' rule: behind the input a model
needs p(instruction | answer, input), before it p(input | answer, instruction).
*Ours.* The world: rules ``x→y`` and inputs z, so prompts ``x→y|z=`` or ``z|x→y=``.  Three more arms: the rule
on both sides, a mix of the two orders, and each model asked in the order it was not trained on.  A language
model reads from left to right, so here a prompt does too (``prompt_attention="causal"``), which the
main study's models do not; the embeddings of the two tokens before are added to each (``look_back`` 2), as
there.  A control reads its prompt in both directions: for it the order should hardly matter.
*A real model.* SmolLM2 as in notebook 25, tuned with the rule before its input, or behind it in the same
words.

    >>> [setting.name for setting in settings("smoke")][:2]
    ['before, 4 letters, causal', 'behind, 4 letters, causal']
"""

from pathlib import Path

import pandas as pd

from unseen.evaluation import all_right, share
from unseen.lm import rules, tune
from unseen.lm.load import fingerprint, load
from unseen.once import once
from unseen.runs.following import followed, path_of
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import Setting, amounts, run_of
from unseen.specs import RunSpec
from unseen.studies import real_model
from unseen.worlds.strings import TaskSpec

REAL = "orders"  # what is tuned of a real model, in its table of scales
OWN = "its own order"  # of the prompts that a tuned model is asked; the others are in the other one
_OTHER = {"words": "words behind", "words behind": "words"}


def settings(name: str) -> list[Setting]:
    """What a scale trains: a setting for each order of the prompt, attention and length of the input."""
    much, found = amounts("position", name), []
    for position, attention, letters, sizes in much.arms:
        task = {"input_length": letters, "position": position, "instructions": sizes[0]}
        model = much.model | {"prompt_attention": attention}
        parts = {"task": much.task | task, "model": model, "evaluation": {"examples": much.asked}}
        base, label = run_of(TaskSpec, vars(much) | parts), f"{position}, {letters} letters, {attention}"
        found.append(Setting(label, base, sizes, much.seeds, scale=name))
    return found


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per run, order in which it is asked, and split; missing runs are trained first.

    Columns: arm (how a model was trained and, where that differs, asked), letters (of the input), attention,
    instructions, seed, split, accuracy, low, high, examples, run.
    """
    runs = [run for setting in settings(name) for run in setting.runs()]
    frame(runs, Store(), executor)
    return pd.concat(followed(runs, follow_asked, "position-1", executor, "ask"), ignore_index=True)


def follow_asked(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """Ask a trained model in every order that its prompts have room for, for a worker."""
    model, task, lines = Store().model(run), run.task, []
    about = {"letters": task.input_length, "attention": run.model.prompt_attention}
    about |= {"instructions": task.instructions, "seed": task.rule_seed}
    for asked in ("both",) if task.position == "both" else ("before", "behind"):
        arm = asked if asked == task.position else f"{task.position}, asked {asked}"
        evaluation = run.evaluation
        drawn = task.but(position=asked).evaluation(task.split(), evaluation.examples, evaluation.seed)
        lines += [{"arm": arm, **about, "split": split, **share(all_right(model, examples)),
                   "run": run.digest()} for split, examples in drawn.items()]  # fmt: skip
    return pd.DataFrame(lines)


# A real language model


def measure_real(name: str, folder: Path) -> pd.DataFrame:
    """What ``real_model.measure`` says of the two orders, and the tuned models asked in the other order
    too; its columns, and whether the order ``asked`` is a model's own.
    """
    table = real_model.measure(name, folder, REAL).assign(asked=OWN)
    crossed = []
    for run, about in real_model.runs(name, fingerprint(folder), REAL).items():
        if about["start"] == "pre-trained":
            of = table.loc[table["run"] == run.digest(), ["seconds", "run", "base"]].iloc[0]
            rows = [about | row | dict(of) for row in asked_otherwise(run, folder)]
            crossed.append(pd.DataFrame(rows).assign(asked="the other order"))
    return pd.concat([table, *crossed], ignore_index=True)


def asked_otherwise(run: rules.AdapterRun, folder: Path) -> list[dict[str, object]]:
    """The scores of a tuned model with the rule on the other side of the input, kept beside its own."""

    def make(_: Path) -> dict[str, object]:
        other = run._replace(form=_OTHER[run.form])
        return {"scores": rules.scores(other, tune.read(load(folder, quick=True), run.digest()))}

    about = {"run": run.digest(), "name": "asked otherwise"}
    return once(path_of(run.digest(), "asked-otherwise"), about, make)["scores"]
