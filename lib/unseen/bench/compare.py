"""Speed, side by side in one run: ``python -m unseen.bench`` (``make bench`` installs what it needs).

Three contenders learn the same task on one thread, one after another: ``modern`` (the library's
defaults), ``gpt2`` (our model of the paper with the paper's optimizer) and ``transformers`` (Hugging
Face's GPT-2 in Hugging Face's Trainer, the paper's recipe again).

    >>> options(["--quick", "--rounds", "7"]).rounds
    7
    >>> specs_of(RunSpec(), steps=5)["gpt2"].training.learning_rate
    0.001
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from unseen.bench import measures
from unseen.bench.huggingface import INSTALL, HuggingFace, difference, installed
from unseen.bench.measures import ACCURACY, Contender, Learned, Library
from unseen.scales import GPT2, GPT2_TRAINING
from unseen.specs import RunSpec, TaskSpec
from unseen.training import Data, data_of, start

PAPER_EXAMPLES = 1_000_000
SCORED = 512  # unseen examples behind each look at the accuracy
SOONER = 15  # times: the target for time to accuracy
FAITHFUL = 1e-4  # bound on the logits' difference between our gpt2 and Hugging Face's
NAMES = ("modern", "gpt2", "transformers")
QUICK = {"steps": 10, "modern_steps": 10, "rounds": 2, "block": 6, "every": 5, "loop": 2_000, "fast": 100_000}
WHOLE = {"steps": 10_000, "modern_steps": 850, "rounds": 5, "block": 25, "every": 25, "loop": 20_000, "fast": 1_000_000}


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the defaults of a quick or a whole bench filled in."""
    parser = argparse.ArgumentParser("unseen.bench", description="Speed, side by side in one run.")
    parser.add_argument(
        "--quick", action="store_true", help="under a minute, to see that it works; nobody gets accurate"
    )
    parser.add_argument("--steps", type=_positive, help="length of the paper's linear schedule, and so where those "
                        f"who follow it are stopped ({WHOLE['steps']})")  # fmt: skip
    parser.add_argument("--modern-steps", type=_positive, help="length of modern's own schedule, likewise "
                        f"({WHOLE['modern_steps']})")  # fmt: skip
    parser.add_argument("--examples", type=_positive, default=PAPER_EXAMPLES, help="training examples to draw from, for "
                        f"all alike (the paper's {PAPER_EXAMPLES:,}: on fewer its recipe overfits before 95 %%)")  # fmt: skip
    parser.add_argument("--rounds", type=_positive, help=f"alternating rounds of each measure ({WHOLE['rounds']})")
    parser.add_argument("--skip", nargs="+", choices=NAMES, default=[], help="leave out their time to accuracy")
    parser.add_argument("--seed", type=int, default=0, help="of rules, examples and initial weights (0)")
    parser.add_argument("--out", type=Path, help="write everything measured to this JSON file")
    chosen = parser.parse_args(arguments)
    for name, value in (QUICK if chosen.quick else WHOLE).items():
        setattr(chosen, name, getattr(chosen, name, None) or value)
    return chosen


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def specs_of(modern: RunSpec, steps: int) -> dict[str, RunSpec]:
    """``modern`` as given, and the paper's recipe (section 2: AdamW 1e-3, linear schedule) over ``steps``."""
    paper = modern.but(model=GPT2.but(seed=modern.model.seed), training=GPT2_TRAINING.but(steps=steps))
    return dict(zip(NAMES, (modern, paper, paper), strict=True))


def contenders_of(specs: dict[str, RunSpec], data: Data) -> dict[str, Contender]:
    """Everybody who can take part; without the extra, transformers cannot.

    Raises ``ValueError`` when our ``gpt2`` with Hugging Face's weights answers otherwise than theirs.
    """
    *ours, theirs = NAMES
    contenders: dict[str, Contender] = {name: Library(specs[name], data) for name in ours}
    if not installed():
        print(f"\nWithout transformers: to compare with it, {INSTALL}")
        return contenders
    apart = difference(specs[theirs], data.evaluation["unseen"].first(SCORED))
    if not apart < FAITHFUL:
        raise ValueError(f"gpt2 is not GPT-2: with the same weights logits differ by {apart:.2g}")
    print(f"\ngpt2 is GPT-2: with the same weights its logits and transformers' differ by {apart:.1g} (< {FAITHFUL:g})")
    return {**contenders, theirs: HuggingFace(specs[theirs], data)}


def pace_table(rounds: pd.DataFrame, contenders: dict[str, Contender]) -> pd.DataFrame:
    """Medians over the rounds; ratios of tokens/s to transformers' are taken within each round first."""
    seconds = rounds.pivot(index="round", columns="contender", values="seconds")[list(contenders)]
    table = pd.DataFrame({"ms/step": (1e3 * seconds.median()).round(1), "steps/s": (1 / seconds).median().round(2)})
    table["tokens/step"] = [contender.tokens for contender in contenders.values()]
    table["tokens/s"] = (table["tokens/step"] / seconds.median()).round(-1).astype(int)
    if NAMES[-1] in seconds:
        per_token = seconds / table["tokens/step"]
        ratios = per_token.rdiv(per_token[NAMES[-1]], axis=0)
        table["x transformers"] = ratios.median().round(2)
        table["per round"] = [" ".join(f"{ratio:.2f}" for ratio in ratios[name]) for name in contenders]
    return table


def share_table(rounds: pd.DataFrame, specs: dict[str, RunSpec]) -> pd.DataFrame:
    """Counted arithmetic of forward and backward pass over what the peak would do in a step's time."""
    rows = {}
    for name in NAMES[:-1]:
        model, batch = start(specs[name]).model, specs[name].training.batch
        counted, mine = measures.multiply_adds(model, batch), rounds[rounds.contender == name]
        rows[name] = {
            "Gmul-add/step": counted / 1e9,
            "torch counts": measures.counted_by_torch(model, batch) / 1e9,
            "at Gmul-add/s": (counted / mine.seconds).median() / 1e9,
            "peak Gmul-add/s": mine.peak.median() / 1e9,
            "share": (counted / (mine.seconds * mine.peak)).median(),
        }
    return pd.DataFrame(rows).T.round(3)


def time_table(learned: dict[str, Learned], specs: dict[str, RunSpec], rounds: pd.DataFrame) -> pd.DataFrame:
    """When each contender got there; the last column clocks its steps at the pace of the alternating rounds."""
    pace = rounds.groupby("contender").seconds.median()
    rows = {name: {
        "schedule": specs[name].training.steps,
        "steps": f"{'' if it.reached else '> '}{it.steps}",
        "seconds": f"{it.seconds:.1f}" if it.reached else f"> limit (reached {it.accuracy:.3f})",
        "s at rounds' pace": round(it.steps * pace[name], 1),
    } for name, it in learned.items()}  # fmt: skip
    return pd.DataFrame(rows).T


def speed_up(learned: dict[str, Learned]) -> tuple[float | None, str]:
    """How many times sooner than transformers ``modern`` gets there, and the same in words; None if unknown."""
    mine, theirs = learned.get(NAMES[0]), learned.get(NAMES[-1])
    if mine is None or theirs is None:
        return None, "not measured"
    if not mine.reached:
        return 0.0, f"modern reached {mine.accuracy:.3f}"
    ratio = theirs.seconds / mine.seconds
    if theirs.reached:
        return ratio, f"{ratio:.1f}x"
    return ratio if ratio >= SOONER else None, f"> {ratio:.1f}x"  # they were stopped: no more than a bound


def targets_table(learned: dict[str, Learned], share: float, generator: float) -> pd.DataFrame:
    """What was aimed at beside what was measured."""
    ratio, words = speed_up(learned)
    rows = {
        f"{ACCURACY:.0%} on unseen rules: modern sooner than transformers": (f"{SOONER}x", words, ratio, SOONER),
        "arithmetic of modern as a share of the machine's peak": ("60 %", f"{share:.0%}", share, 0.6),
        "generator faster than the oracle loop (table)": ("50x", f"{generator:.1f}x", generator, 50),
    }
    return pd.DataFrame({
        what: {"target": target, "measured": words, "verdict": _verdict(value, least)}
        for what, (target, words, value, least) in rows.items()
    }).T  # fmt: skip


def _verdict(value: float | None, least: float) -> str:
    if value is None:
        return "open"
    return "met" if value >= least else "not met"


def describe(specs: dict[str, RunSpec], about: dict[str, str]) -> str:
    """The heading: where this runs, and what each contender is."""
    one, other, _ = specs.values()
    task, training = one.task, other.training
    return "\n".join([
        " | ".join([*(f"{name} {value}" for name, value in about.items()), "one thread, one process"]),
        f"task          {task.instructions:,} rules, {task.examples:,} examples, |x|={task.pattern_length}, "
        f"|y|={task.replacement_length}, |z|={task.input_length}; {other.model.layers} layers, width {other.model.width}",
        f"modern        the library's defaults: batch {one.training.batch}, {one.training.steps} steps",
        f"gpt2          the paper's recipe: AdamW {training.learning_rate:g}, linear schedule over {training.steps} steps "
        f"(--steps), batch {training.batch}",
        "transformers  GPT2LMHeadModel in Trainer: the same recipe, sizes and batch, no warm-up, loss on the answer only, "
        "dropout 0,\n              everything else its default (tied embeddings, gradients clipped at norm 1)",
    ])  # fmt: skip


def show(title: str, table: pd.DataFrame) -> None:
    """Print one section at once: a whole bench takes its time."""
    print(f"\n{title}\n{table.to_string()}", flush=True)


def run(chosen: argparse.Namespace, specs: dict[str, RunSpec]) -> dict[str, Any]:
    """Measure and print everything but the heading; returns it as plain data."""
    data = data_of(specs["modern"])
    contenders = contenders_of(specs, data)
    rounds = measures.measure_rounds(contenders, chosen.rounds, chosen.block)
    show(f"Pace: medians of {chosen.rounds} rounds of {chosen.block} steps in turn", pace_table(rounds, contenders))
    shares = share_table(rounds, specs)
    show("Arithmetic of forward and backward pass (multiply-adds), beside a float32 product of 1024 in turn", shares)
    drawn = measures.measure_generator(data, specs["modern"].task, chosen.rounds, chosen.loop, chosen.fast)
    show(f"Generator: examples/s of {chosen.fast:,} drawn, in turn with {chosen.loop:,} in a loop", drawn.round(1))
    scored = data.evaluation["unseen"].first(SCORED)
    learned = {name: measures.measure_learning(contender, scored, chosen.every, name)
               for name, contender in contenders.items() if name not in chosen.skip}  # fmt: skip
    if learned:
        show(f"Time to {ACCURACY:.0%} of {SCORED} answers to unseen rules, looked at every {chosen.every} steps with the "
             "clock stopped", time_table(learned, specs, rounds))  # fmt: skip
    targets = targets_table(learned, shares.share["modern"], drawn["x loop, table"].median())
    show("Targets" + (" (--quick: too short to say anything)" if chosen.quick else ""), targets)
    return {
        "rounds": rounds.to_dict("records"),
        "arithmetic": shares.to_dict("index"),
        "generator": drawn.to_dict("records"),
        "learned": {name: asdict(it) | {"reached": it.reached} for name, it in learned.items()},
        "targets": targets.to_dict("index"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench and write ``--out``."""
    chosen, about = options(arguments), measures.machine()
    torch.set_num_threads(1)
    modern = RunSpec(task=TaskSpec(instructions=3_000, examples=chosen.examples)).with_seed(chosen.seed)
    modern = modern.but(training=modern.training.but(steps=chosen.modern_steps))
    specs = specs_of(modern, chosen.steps)
    print(describe(specs, about))
    measured = run(chosen, specs)
    if chosen.out:
        settings = {name: spec.to_dict() for name, spec in specs.items()}
        chosen.out.write_text(json.dumps({"machine": about, "specs": settings, **measured}, indent=1) + "\n")
