"""The right answers of the exercises that are read off results, or of which many are right: a function of the
name that an exercise has in ``exercises.toml``, whose table has all other right answers.

It returns the right answer; or a dictionary that has it under ``right``, and usual wrong answers under the
names that they have among the hints; or, where many answers are right, a function that takes an answer and
returns a hint, empty for a right one.

What imports torch or pandas is imported inside a function: a reader waits for this module.
"""

from collections.abc import Callable
from itertools import groupby, product
from math import prod
from typing import Any

import numpy as np

from unseen.rewriting import LimitExceeded, MarkovAlgorithm, Rule
from unseen.scales import SHOW, amounts, scale
from unseen.worlds.tapes import TapeSpec

DELIA = amounts("delia", "full")
Judge = Callable[[Any], str]
WithWrong = dict[str, Any]


def _table(name: str, scale: str = "full") -> Any:
    from unseen.studies.results import committed_table

    return committed_table(name, scale)


def _first_difference(program: str, expected: Callable[[str], str], letters: str, empty: bool = True) -> str:
    """A hint that names the first word on which a program does something else, shortest words first."""
    algorithm = MarkovAlgorithm.parse(program)
    words = ("".join(word) for length in range(not empty, 6) for word in product(letters, repeat=length))
    for word in words:
        where = f"On `{word}`" if word else "On the empty word, which has no letters,"
        try:
            found = algorithm.run(word, limit=1_000, longest=1_000)
        except LimitExceeded:
            return f"{where} your program does not stop."
        if found != expected(word):
            return f"{where} your program leaves {f'`{found}`' if found else 'nothing'}."
    return ""


def once() -> Judge:
    def expected(word: str) -> str:
        return "".join(letter for letter, _ in groupby(word))

    return lambda program: _first_difference(program, expected, "abc")


def shout() -> Judge:
    return lambda program: _first_difference(program, lambda word: f"{word}!", "ab")


def fails() -> Judge:
    from unseen.widgets import compare, load_demo

    def judge(answer: tuple) -> str:
        if len(answer) != 3 or not all(isinstance(each, str) for each in answer):
            raise ValueError('Please answer with three texts, as in `("iss", "art", "kissmeonce")`.')
        rule, text = Rule(*answer[:2]), answer[2]
        high = compare(load_demo(), rule, text).iloc[-1]
        if not high["right"]:
            return ""
        times = {0: "In training every input held its pattern.", 1: "In training it occurred once, as here."}
        hint = times.get(text.count(rule.pattern), "Try more of them.")
        return f"`high` writes `{high['answer']}`, which is right. {hint}"

    return judge


def finder() -> WithWrong:
    table = _table("19_inside_the_model")
    jobs = table[(table["part"] == "jobs") & (table["job"] == "finds the match")]
    best = jobs[jobs["instructions"] == jobs["instructions"].max()].nlargest(1, "score")["layer"].item()
    return {"right": best, "last": jobs["layer"].max()}


def met() -> WithWrong:
    from unseen.runs.store import committed_store

    spec = scale(SHOW).ends()[1]
    history = committed_store().history(spec)
    rules, step = spec.task.instructions, history[history["unseen"] >= 0.5]["step"].min()
    read = step * spec.training.batch
    at_the_end = spec.task.examples / rules
    return {"right": read / rules, "read": read, "step": step, "steps": step / rules, "end": at_the_end}


def _results(name: str, **where: Any) -> Any:
    """Rows of a committed table of ``full`` on unseen rules, those with these values."""
    table = _table(name).query("split == 'unseen'")
    return table[(table[list(where)] == list(where.values())).all(axis=1)]


def _threshold(setting: str) -> Any:
    """The threshold of a setting of the main study at ``full``."""
    from unseen.stats import fit_threshold

    return fit_threshold(_results("10_diversity_threshold", setting=setting))


def halves() -> bool:
    main, middle = _results("10_diversity_threshold", setting="main"), _threshold("main").middle
    nearest = min(main["instructions"].unique(), key=lambda size: abs(size - middle))
    return not main[main["instructions"] == nearest]["accuracy"].between(0.1, 0.9).any()


def wider() -> bool:
    wide = _threshold("wider")
    return not wide.low <= _threshold("main").middle <= wide.high


def nine_tenths() -> WithWrong:
    main = _threshold("main")
    middle, factor = main.middle, 9 ** (1 / main.steepness)
    usual = {"line": 1.8 * middle, "no root": 9 * middle, "twice": middle * factor**2, "half": middle}
    return {"right": middle * factor, **usual}


def one_score() -> WithWrong:
    share, found = 0.3, _results("11_no_ops", no_op_share=0.3, instructions=250)
    has_op, no_op = found.groupby("kind")["accuracy"].mean()[["has-op", "no-op"]]
    right, swapped = (1 - share) * has_op + share * no_op, share * has_op + (1 - share) * no_op
    return {"right": right, "even": (has_op + no_op) / 2, "swapped": swapped, "per cent": 100 * right}


def independent() -> WithWrong:
    found = _results("11_no_ops")
    seeds, shares = found["seed"].nunique(), found["no_op_share"].nunique() - 1
    return {"right": seeds, "all": seeds * shares, "of a seed": shares}


def evened() -> WithWrong:
    from unseen.studies.diversity import effective_number, even_curve

    table, shape, size = _results("12_long_tail"), 0.03, 1_000
    uneven = table[(table["concentration"] == shape) & (table["instructions"] == size)]
    sizes = np.geomspace(100, size, 1_000)
    right = np.interp(uneven["accuracy"].mean(), even_curve(table)(sizes), sizes)
    budget = round(size * uneven["examples_per_instruction"].iloc[0])
    return {"right": right, "entropy": effective_number(shape, size, budget, 1.0)}


def decides() -> str:
    from unseen.studies import claims

    table = _table("13_semantics", SHOW)
    named = {"large k alone suffices": "suffices", "large k alone does not suffice": "fails"}
    judged = {named[each.name]: each.verdict(table).word for each in claims.CLAIMS if each.name in named}
    return next((what for what, word in judged.items() if word == claims.REPRODUCED), "neither")


def luck() -> WithWrong:
    rows = _table("15_pretrained_model").query("split == 'unseen' and kind == 'has-op'")
    pairs = len(rows.query("work == 'encrypted' and start == 'softened'"))
    return {"right": 0.5**pairs, "share": 1 / pairs, "all or none": 2 * 0.5**pairs, "expected": pairs / 2}


def parity() -> Judge:
    from unseen.studies.programs import misfit

    def judge(program: str) -> str:
        if unread := misfit(MarkovAlgorithm.parse(program), "aaaaa", TapeSpec()):
            return f"This machine cannot run it: {unread}."
        return _first_difference(program, lambda word: "oe"[len(word) % 2 == 0], "a", empty=False)

    return judge


def _power(**changes: float) -> float:
    """By which factor the committed exponents multiply the threshold when factors are multiplied by these."""
    from unseen.studies import law

    fitted = law.fit(law.by_seed(_table("17_threshold_law")))
    return prod(times ** fitted.contrast({name: 1})["exponent"] for name, times in changes.items())


def longer() -> WithWrong:
    right = _power(passes=3)
    return {"right": right, "inverse": 1 / right, "two": _power(passes=2), "e": _power(passes=2.718281828)}


def together() -> WithWrong:
    letters, width = _power(alphabet=2), _power(width=0.5)
    usual = {"sum": letters + width, "letters": letters, "width": width, "raised": letters / width}
    return {"right": letters * width, **usual}


def _seven(experiment: str) -> Any:
    """Mean accuracy on unseen algebra at 60 own rules, by own examples: of the mixtures or of these alone."""
    from unseen.studies.domains import own

    table = own(_table("18_specialist_and_generalist"), experiment)
    table = table[table["own_rules"] == 60]
    examples = (table["own_share"] * table["budget"]).round()
    return table.groupby(examples if experiment == "7" else "budget")["accuracy"].mean()


def worth() -> WithWrong:
    alone, mine, others = _seven("7 alone"), 9_000, 36_000
    equal = np.interp(_seven("7").loc[mine], alone, alone.index)
    more = equal - mine
    usual = {"equal": equal, "more": more, "of all": equal / others, "own": others / more}
    return {"right": more / others, **usual}


def rival() -> str:
    from unseen.worlds.domains import DOMAINS

    rows = _table("18_specialist_and_generalist").query("split == 'unseen'")
    rows = rows[(rows["experiment"].astype(str) == "9") & rows["setting"].isin(DOMAINS)]
    return rows[rows["kind"].isin(DOMAINS)].groupby("setting")["accuracy"].mean().idxmax()


def early() -> WithWrong:
    table = _table("21_format_loss").query("ratio == 0 and step > 0")
    first = table[table["step"] == table["step"].min()]
    first = first.pivot(index="seed", columns="prompts", values="accuracy")
    lost = first["task"] < 0.1
    return {"right": (lost & (first["task+token"] > 0.9)).sum(), "lost": lost.sum()}


def confound() -> str:
    table = _table("21_delia").query("study == 'once'")[["updates", "task_examples", "rate"]]
    return (table.max() / table.min()).idxmax()


def control() -> str:
    table = _table("22_meaning").query("measure == 'similarity'")
    last = table[(table["layer"] == table["layer"].max()) & (table["regime"] == "equal")]
    means = last.pivot_table("value", "against", "ratio")
    return (means[0] - means[DELIA.best]).idxmax()


def behind() -> WithWrong:
    table = _table("22_new_token").query("study == 'spread' and prompts == 'other+token'")
    by = table.pivot_table("accuracy", "seed", ["ratio", "operations"])
    return {"right": (by[DELIA.best, 1] < by[DELIA.best, 7].min()).sum(), "seeds": len(by)}


def mixed() -> WithWrong:
    table = _table("23_gradients").query("part == 'all weights' and step == 0 and ratio > 0")
    sizes, ratio = table.groupby("gradient")["size"].mean(), table["ratio"].max()
    row = sizes["diverse"] / sizes["task"]
    return {"right": ratio * row, "row": row, "inverse": 1 / row, "ratio": ratio}


def remains() -> WithWrong:
    table = _table("24_delia_on_a_language_model")
    table = table.query("task == 'formatted' and prompts == 'other' and score == 'exact'")
    base = table.loc[table["method"] == "base", "value"].mean()
    tuned = table.loc[table["ratio"] == DELIA.best, "value"].mean()
    usual = {"tuned": tuned, "base": base, "difference": base - tuned, "lost": 1 - tuned / base}
    return {"right": tuned / base, **usual}
