"""The exercises of the notebooks: ``check.NAME(answer)`` says ✓ or gives a hint.

    from unseen import check

    check.leftmost("xcbaaba")

To add one, write below, under its notebook's number, a function whose docstring says what is asked and which
returns a hint, or nothing where the answer is right::

    @exercise("04", "The sentence that stands after the ✓.")
    def plateau(answer: float) -> str:
        "At which step does the loss leave its plateau?"
        return close(answer, _step(), {10: "That is the number of rules."})

Right answers are computed, never typed; a hint does not hold the answer.  What is slow to import is imported
inside a function: a reader waits for this module.  ``tests/test_check.py`` takes a usual wrong answer.
"""

from collections.abc import Callable
from itertools import groupby, product
from typing import Any

from unseen.exercises import BadAnswer, close, exercise, guess, progress, same
from unseen.rewriting import LimitExceeded, MarkovAlgorithm, Rule

__all__ = ["guess", "progress"]  # and the exercises below, by their names
_PER_CENT = "That is in per cent; a share lies between 0 and 1."


def _table(name: str) -> Any:
    """The committed table of that name at ``full``."""
    from unseen.studies.results import committed_table

    return committed_table(name, "full")


# 01 · String rewrites


@exercise("01", "The leftmost match is replaced, once; later matches and those that overlap it stay.")
def leftmost(answer: str) -> str:
    """What does `aba → c` make of `xababaaba`?"""
    rule, text = Rule("aba", "c"), "xababaaba"
    usual = {
        text.replace(rule.pattern, rule.replacement): "You replaced every match. A rule is applied once.",
        rule.replacement.join(text.rsplit(rule.pattern, 1)): "That is the last match. Search from the left.",
        text: "The pattern does occur: look at the second to fourth letter.",
    }
    return same(
        answer, rule.apply(text), usual, "Write down what stands before the match, then y, then the rest."
    )


def _first_difference(program: str, expected: Callable[[str], str], letters: str, empty: bool = True) -> str:
    """A hint that names the first word on which a program does something else, shortest words first."""
    algorithm = MarkovAlgorithm.parse(program)
    for length in range(not empty, 6):
        for word in map("".join, product(letters, repeat=length)):
            try:
                found = algorithm.run(word, limit=1_000, longest=1_000)
            except LimitExceeded:
                return (
                    f"On `{word}` your program does not stop."
                    if word
                    else "On the empty word, which has no letters, your program does not stop."
                )
            if found != expected(word):
                where = f"On `{word}`" if word else "On the empty word, which has no letters,"
                return f"{where} your program leaves {f'`{found}`' if found else 'nothing'}."
    return ""


@exercise("01", "Each rule shortens one pair, and the program stops when no pair of equal letters is left.")
def once(answer: str) -> str:
    """A program that keeps one of each run of equal letters `a`, `b`, `c`"""
    return _first_difference(answer, lambda word: "".join(letter for letter, _ in groupby(word)), "abc")


@exercise("01", "The marker walks to the right, turns into `!` at the end, and the dot stops the run.")
def shout(answer: str) -> str:
    """A program that puts `!` at the end of a word over `a`, `b`"""
    return _first_difference(answer, lambda word: f"{word}!", "ab")


@exercise(
    "01", "In a no-op copying the input is right whatever the rule says, so the study reports no-ops apart."
)
def trap(answer: str) -> str:
    """Which field sets how many examples can be answered without a look at x?"""
    usual = {
        "occurrences": "With one match, a model must know where x stands.",
        "examples": "That sets how many there are of all kinds.",
        "instructions": "That sets how many rules there are; each of them must be read.",
    }
    return same(
        answer, "no_op_share", usual, "Which inputs have an answer equal to themselves? Look at the table."
    )


# 02 · Instruction sets


def _task(**fields: Any) -> Any:
    """The task of the main study, with other fields."""
    from unseen.worlds.strings import TaskSpec

    return TaskSpec(**fields)


@exercise(
    "02", "Each rule misses a given letter with probability 25/26, and I rules with (25/26) to the power I."
)
def coverage(answer: float) -> str:
    """Which share of the 26 letters have 30 random patterns shown in their first place, on average?"""
    letters = len(_task().alphabet)
    usual = {
        30 / letters: "That counts letters twice that are drawn twice.",
        1.0: "Thirty draws need not show all 26: some letters come twice.",
        (1 - 1 / letters) ** 30: "That is the share that is still missing.",
        100 * (1 - (1 - 1 / letters) ** 30): _PER_CENT,
    }
    return close(answer, 1 - (1 - 1 / letters) ** 30, usual, within=0.02)


@exercise(
    "02",
    "With four letters it is less than one: a few more patterns differ in one letter, but a 26th as many of "
    "all patterns are in training.",
)
def neighbours(answer: float) -> str:
    """How many of 3,000 training patterns differ from an unseen one in exactly one letter, on average?"""
    task = _task(instructions=3_000)
    letters, length = len(task.alphabet), task.pattern_length
    every, near = letters**length, length * (letters - 1)
    usual = {
        near: "So many patterns differ in one letter. Which share of all patterns is in training?",
        task.instructions / every: "That is the share of patterns in training. How many are neighbours?",
        task.instructions * letters / every: "Any of the three letters may be the one that differs.",
        task.instructions * length * letters / every: "A letter that stays the same does not differ.",
    }
    return close(answer, near * task.instructions / every, usual, within=0.02)


@exercise(
    "02", "For these a model has practised finding this very pattern: one test in six would test nothing new."
)
def colleague(answer: float) -> str:
    """How many of 1,000 unseen rules drawn carelessly have a pattern that is one of 3,000 in training?"""
    task = _task(instructions=3_000)
    share = task.instructions / len(task.alphabet) ** task.pattern_length
    usual = {
        share: "That is the share. How many are that of the unseen rules?",
        100 * share: "That is in per cent. How many are that of the unseen rules?",
        task.unseen_instructions**2
        / len(task.alphabet) ** task.pattern_length: "Take the share of training patterns.",
    }
    return close(answer, share * task.unseen_instructions, usual)


# 03 · A small transformer


@exercise("03", "The full stop counts as well: a model must also learn where its answer ends.")
def targets(answer: int) -> str:
    """How many tokens of one example count in the loss?"""
    layout = _task().layout
    usual = {
        layout.answer_length - 1: "Those are the letters. What else must the model write?",
        layout.context: "So many are read. Only what is predicted counts.",
        layout.prompt_length: "That is the prompt, in which there is nothing to predict.",
    }
    return same(answer, layout.answer_length, usual, "Count the blue tiles.")


@exercise(
    "03", "A diverse training set taught this model new rules, but not what none of its examples shows."
)
def fails(answer: tuple) -> str:
    """A rule and an input on which the model `high` fails: `(pattern, replacement, text)`"""
    from unseen.widgets import compare, load_demo

    if len(answer) != 3 or not all(isinstance(each, str) for each in answer):
        raise BadAnswer('Please answer with three texts, as in `("iss", "art", "kissmeonce")`.')
    rule, text = Rule(*answer[:2]), answer[2]
    high = compare(load_demo(), rule, text).iloc[-1]
    if not high["right"]:
        return ""
    times = {0: "In training every input held its pattern.", 1: "In training it occurred once, as here."}
    hint = times.get(text.count(rule.pattern), "Try more of them.")
    return f"`high` writes `{high['answer']}`, which is right. {hint}"


@exercise("03", "The match is found at once; the layers above pass on what was found.")
def finder(answer: int) -> str:
    """In which layer is the head whose letters of z look most at the letters of x that they match?"""
    table = _table("19_inside_the_model")
    jobs = table[(table["part"] == "jobs") & (table["job"] == "finds the match")]
    best = jobs[jobs["instructions"] == jobs["instructions"].max()].nlargest(1, "score")["layer"].item()
    usual = {
        0: "No layer has this number.",
        jobs["layer"].max(): "There letters are read. What must be known before?",
    }
    return same(answer, best, usual, "Draw the heads of each layer as in the hint above, and compare.")


# 04 · Training one model


@exercise("04", "It has met each of its rules a few times, and can follow rules that it has not met once.")
def met(answer: float) -> str:
    """How often has the model with many rules read each of them when half of the unseen ones are right?"""
    from unseen.runs.store import committed_store
    from unseen.scales import SHOW, scale

    spec = scale(SHOW).run(scale(SHOW).instructions[-1])
    history = committed_store().history(spec)
    rules, batch = spec.task.instructions, spec.training.batch
    step = history[history["unseen"] >= 0.5]["step"].min()
    usual = {
        step * batch: "So many examples it has read. How many rules share them?",
        step: "That is the step. How many examples has the model read by then, and of how many rules?",
        step / rules: "That counts steps. A step reads more than one example.",
        spec.task.examples / rules: "So often by its last step.",
    }
    return close(answer, step * batch / rules, usual, within=0.2)


@exercise("04", "A first loss far from the logarithm is a mistake in the code: the cheapest test there is.")
def untrained(answer: float) -> str:
    """What is the loss of an untrained model whose alphabet has 52 letters?"""
    import string
    from math import log, log2

    tokens = len(_task(alphabet=string.ascii_letters).layout.vocabulary)
    usual = {
        log(52): "It can also write tokens that are no letters.",
        log(len(_task().layout.vocabulary)): "That is the loss with 26 letters.",
        log2(tokens): "That is in bits; here the logarithm is the natural one.",
        tokens: "So many tokens there are. What does an even guess among them cost?",
    }
    return close(answer, log(tokens), usual, within=0.005)


@exercise("04", "Both curves soon pass below it: one model knows its few replacements, the other reads them.")
def copyist(answer: float) -> str:
    """What is the loss of a model that knows all but the replaced letters, and guesses these evenly?"""
    from math import log

    task = _task()
    letters, length, guessed = len(task.alphabet), task.layout.answer_length, task.replacement_length
    usual = {
        log(letters): "So much costs one guessed letter. The loss is a mean over all tokens of the answer.",
        guessed * log(letters): "That is the sum over the answer. The loss is the mean.",
        guessed * log(letters) / (length - 1): "The full stop is a token of the answer as well.",
        guessed * log(len(task.layout.vocabulary)) / length: "It guesses among letters alone.",
    }
    return close(answer, guessed * log(letters) / length, usual, within=0.02)


# 10 · The diversity threshold


def _results(name: str, **where: Any) -> Any:
    """Rows of a committed table of ``full`` on unseen rules, those with these values."""
    table = _table(name).query("split == 'unseen'")
    return table[(table[list(where)] == list(where.values())).all(axis=1)]


def _threshold(**where: Any) -> Any:
    """The threshold of a setting of the main study at ``full``."""
    from unseen.stats import fit_threshold

    return fit_threshold(_results("10_diversity_threshold", **where))


@exercise("10", "Single models stand halfway, too: the slope of the mean is not made by zeros and ones.")
def halves(answer: bool) -> str:
    """Near the threshold, do some models follow nearly all unseen rules and the others nearly none?"""
    main, middle = _results("10_diversity_threshold", setting="main"), _threshold(setting="main").middle
    nearest = min(main["instructions"].unique(), key=lambda size: abs(size - middle))
    accuracy = main[main["instructions"] == nearest]["accuracy"]
    right = not accuracy.between(0.1, 0.9).any()
    return same(answer, right, otherwise="Look at the points, each of which is one model, not at the line.")


@exercise("10", "The main curve's threshold lies in that interval. More settings decide it, in notebook 17.")
def wider(answer: bool) -> str:
    """Do these runs show that a wider model needs fewer instructions?"""
    main, wide = _threshold(setting="main"), _threshold(setting="wider")
    right = not wide.low <= main.middle <= wide.high
    hint = "How many seeds has it, and what does its interval hold?"
    return same(answer, right, otherwise=hint)


@exercise("10", "Only a little more than for one half: the step is steep.")
def nine_tenths(answer: float) -> str:
    """How many instructions does the fitted curve need for nine tenths of its height?"""
    main = _threshold(setting="main")
    usual = {
        1.8 * main.middle: "That holds for a straight line through zero. This curve is steeper.",
        9 * main.middle: "Take the root that belongs to the steepness.",
        main.middle * 81 ** (1 / main.steepness): "That is by the factor from one tenth to nine tenths.",
        main.middle: "There the curve has half of its height.",
    }
    return close(answer, main.middle * 9 ** (1 / main.steepness), usual, within=0.04)


# 11 · No-ops


@exercise("11", "A score that looks half good, and two thirds of it is copying. Report the kinds apart.")
def one_score(answer: float) -> str:
    """Which one number have models with 30 % no-ops and 250 instructions, if kinds are not told apart?"""
    share, found = 0.3, _results("11_no_ops", no_op_share=0.3, instructions=250)
    has_op, no_op = found.groupby("kind")["accuracy"].mean()[["has-op", "no-op"]]
    right = (1 - share) * has_op + share * no_op
    usual = {
        (has_op + no_op) / 2: "The two kinds are not equally frequent.",
        share * has_op + (1 - share) * no_op: "Which of the two kinds is the more frequent?",
        100 * right: _PER_CENT,
    }
    return close(answer, right, usual, within=0.02)


@exercise("11", "Three comparisons can say little, and the other pairs add less than they seem to.")
def independent(answer: int) -> str:
    """How many of the pairs can one pick such that no two share a curve?"""
    found = _results("11_no_ops")
    seeds, shares = found["seed"].nunique(), found["no_op_share"].nunique() - 1
    usual = {
        seeds * shares: "All pairs of one seed are compared with the same curve.",
        shares: "So many pairs has each seed. What do they share?",
    }
    return same(answer, seeds, usual, "With which curve is each pair of a seed compared?")


# 12 · The long tail


@exercise("12", "Far fewer than occur, and far more than the handful that entropy gives.")
def evened(answer: float) -> str:
    """How many even instructions is the most uneven set of 1,000 worth?"""
    import numpy as np

    from unseen.studies.diversity import effective_number, even_curve

    table, shape, size = _results("12_long_tail"), 0.03, 1_000
    uneven = table[(table["concentration"] == shape) & (table["instructions"] == size)]
    sizes = np.geomspace(100, size, 1_000)
    right = np.interp(uneven["accuracy"].mean(), even_curve(table)(sizes), sizes)
    budget = round(size * uneven["examples_per_instruction"].iloc[0])
    usual = {
        size: "So many occur. How well do even sets of that many do?",
        effective_number(shape, size, budget, 1.0): "So many it would be by entropy. Read it off the table.",
    }
    return close(answer, right, usual, within=0.1)


@exercise("12", "Order 2 hardly sees the three rare ones; order 0 counts them in full.")
def hill(answer: float) -> str:
    """What is the Hill number of order 2 of four instructions with 70, 10, 10 and 10 % of the examples?"""
    import numpy as np

    from unseen.studies.diversity import effective

    counts = np.array([70, 10, 10, 10])
    right = effective(counts, 2)
    usual = {
        effective(counts, 0): "So many occur: that is order 0.",
        effective(counts, 1): "That is the exponential of the entropy: order 1.",
        1 / right: "That is the chance that two examples are of one instruction.",
        1 / 0.7: "The three rare ones add to the sum, too.",
    }
    return close(answer, right, usual, within=0.01)


# 13 · Semantics of the rules


@exercise("13", "So x holds three different letters however long it is, and y three others to be copied.")
def mirror(answer: str) -> str:
    """Which string of nine letters has the base `sun`, k = 3 and the mirrored form?"""
    from unseen.worlds.rules import FORMS, places

    right, usual = "", {"sunnus": "That is k = 2.", "sunnusnus": "The third copy runs forwards again."}
    for form in FORMS:
        written = "".join("sun"[place] for place in places(form, 3, 9))
        usual[written] = f"That is the *{form}* form."
        right = written if form == "mirrored" else right
    return same(answer, right, usual, "Write the base, then the base backwards, then the base.")


@exercise(
    "13", "So few that a training set with large k alone soon has them all, and little is left to test."
)
def room(answer: int) -> str:
    """How many different periodic strings of 12 letters out of 26 are there at k = 6?"""
    letters, length, k = 26, 12, 6
    size = length // k
    usual = {
        letters * (letters - 1): "A base may hold the same letter twice.",
        letters**k: "That takes k for the length of the base. How many letters are written k times?",
        letters**length: "So many strings there are at k = 1.",
        letters * size: "Each letter of the base is any of them, whatever the others are.",
        size: "So many letters has the base. How many bases are there?",
    }
    return same(answer, letters**size, usual, "How many letters has the base?")


@exercise("13", "An interval may leave a question open; single seeds lie on both sides of it.")
def decides(answer: str) -> str:
    """Does large k alone suffice, fail, or neither, by the share of seeds above chance?"""
    from unseen.scales import SHOW
    from unseen.studies import claims
    from unseen.studies.results import committed_table

    table = committed_table("13_semantics", SHOW)
    named = {"large k alone suffices": "suffices", "large k alone does not suffice": "fails"}
    judged = {named[each.name]: each.verdict(table).word for each in claims.CLAIMS if each.name in named}
    right = [what for what, word in judged.items() if word == claims.REPRODUCED]
    usual = {"suffices": "Where does the interval begin?", "fails": "Where does the interval end?"}
    return same(answer, *(right or ["neither"]), usual, "Answer with one of the three words.")


# 14 · Occurrences


@exercise(
    "14", "What stands there most often is the pattern, so the right answer does not depend on the prompt."
)
def shortcut(answer: str) -> str:
    """Which two letters are replaced in an input that holds its pattern three times, and no decoys?"""
    from unseen.studies.transfer import puzzle

    line = puzzle()
    usual = {
        line.text[:2]: "It begins with them, but why should they be the pattern?",
        line.rule.replacement: "That would be what is written.",
    }
    return same(answer, line.rule.pattern, usual, "Nobody names the pattern. What is special about it here?")


# 15 · A pre-trained model


@exercise("15", "Rewriting comes first, and the cipher changes every letter of the answer, copied or not.")
def encrypted(answer: str) -> str:
    """What is the right answer to `cat → dog` on `acatz`, enciphered by `shift:3`?"""
    from string import ascii_lowercase

    from unseen.worlds.strings import encipher

    rule, text, cipher = Rule("cat", "dog"), "acatz", "shift:3"
    secret = encipher(text, ascii_lowercase, cipher)
    usual = {
        rule.apply(text): "That is plain rewriting. Which letters stand for these?",
        secret: "You only enciphered the input. It holds `cat`.",
        rule.apply(text).replace(rule.replacement, encipher(rule.replacement, ascii_lowercase, cipher)):
            "The copied letters are enciphered as well.",
    }  # fmt: skip
    return same(answer, encipher(rule.apply(text), ascii_lowercase, cipher), usual, "Rewrite, then encipher.")


@exercise(
    "15", "It is hardly luck, but pairs with the same rules are no separate coins, so the number is a guide."
)
def luck(answer: float) -> str:
    """How probable is it that softening wins every pair at encrypted rewriting by chance alone?"""
    rows = _table("15_pretrained_model").query("split == 'unseen' and kind == 'has-op'")
    pairs = len(rows.query("work == 'encrypted' and start == 'softened'"))
    usual = {
        1 / pairs: "That is one in the number of pairs. Multiply a half by itself, once for each.",
        2 * 0.5**pairs: "That counts losing all of them as well.",
        0.5: "That is the probability of winning one pair.",
        pairs / 2: "So many wins are expected. How probable are wins only?",
    }
    return close(answer, 0.5**pairs, usual)


@exercise("15", "One instruction has so much of the half that thousands of others have one example or none.")
def lion(answer: float) -> str:
    """Which share of the examples has the first of 9,000 instructions, spread with a = 0.1?"""
    from unseen.studies.pretraining import TAIL

    number = 9_000
    right = (1 / number) ** TAIL
    usual = {
        1 / number: "So much it has if all are equal, at a = 1.",
        TAIL: "That is a. Put i = 1 into the formula.",
        (2 / number) ** TAIL - right: "That is the second one.",
        100 * right: _PER_CENT,
    }
    return close(answer, right, usual)


# 16 · Markov programs


@exercise("16", "One decision in a hundred goes wrong, and still half of such long runs fail.")
def halfway(answer: float) -> str:
    """After how many decisions has half of the runs gone wrong, each being right with p = 0.99?"""
    from math import log

    usual = {
        50: "Errors do not add up: a run that has gone wrong cannot go wrong again. Solve p^n = 1/2.",
        100: "After so many decisions one error is expected; more than half of the runs have one or more.",
    }
    return close(answer, log(0.5) / log(0.99), usual, within=0.02)


@exercise("16", "Now type it in the explorer: the model has never seen these rules.")
def parity(answer: str) -> str:
    """A program that leaves `e` of an even number of letters `a`, and `o` of an odd one"""
    from unseen.studies.programs import misfit
    from unseen.worlds.tapes import TapeSpec

    if unread := misfit(MarkovAlgorithm.parse(answer), "aaaaa", TapeSpec()):
        return f"This machine cannot run it: {unread}."
    return _first_difference(answer, lambda word: "oe"[len(word) % 2 == 0], "a", empty=False)


@exercise(
    "16", "Most answers say *does not apply*, so a machine that picks the rules must be good at no-ops."
)
def questions(answer: int) -> str:
    """How many answers does a model give to sort `cab`, if it does both and makes no error?"""
    from unseen.studies.programs import oracle, run_all
    from unseen.worlds.programs import collection
    from unseen.worlds.tapes import TapeSpec

    asked, sorting = [], collection()["sorting"].algorithm

    def counted(pairs: Any) -> list[str]:
        asked.extend(pairs)
        return oracle(pairs)

    run_all(counted, [(sorting, "cab")], TapeSpec())
    rules, steps = len(sorting.rules), len(list(sorting.steps("cab")))
    usual = {
        steps: "So many steps are taken. Each rule before the one that applies is tried as well.",
        rules * steps: "It does not try the rules after the one that applies. And how does it see the end?",
        rules * (steps + 1): "It does not try the rules after the one that applies.",
        len(asked) - rules: "And how does it see that the run has come to its end?",
    }
    return same(answer, len(asked), usual, "Write down each string, and the rules tried on it.")


# 17 · What sets the threshold?


def _power(**changes: float) -> float:
    """By which factor the committed law multiplies the threshold when factors are multiplied by these."""
    from math import prod

    from unseen.studies import law

    fitted = law.fit(law.by_seed(_table("17_threshold_law")))
    return prod(times ** fitted.contrast({name: 1})["exponent"] for name, times in changes.items())


@exercise("17", "An exponent of minus one: time and instructions replace each other one to one.")
def longer(answer: float) -> str:
    """By which factor does the law multiply the threshold when a model trains three times as long?"""
    right, exponent = _power(passes=3), _power(passes=2.718281828)
    usual = {
        1 / right: "The exponent is negative: more passes lower the threshold.",
        3.0: "The exponent is negative: more passes lower the threshold.",
        _power(passes=2): "That is twice as long.",
        exponent: "That is e to the power of the exponent. The passes are multiplied by three.",
    }
    return close(answer, right, usual, "Raise three to the power of the exponent of `passes`.")


@exercise("17", "Factors multiply. If they did not, the held-out settings would lie far from the line.")
def together(answer: float) -> str:
    """By which factor does the law raise the threshold with twice the letters and half the width?"""
    letters, width = _power(alphabet=2), _power(width=0.5)
    usual = {
        letters + width: "A power law multiplies its factors; it does not add them.",
        letters: "That is the alphabet's part.",
        width: "That is the part of the width.",
        letters / width: "Half the width *raises* the threshold: one half to a negative power.",
        4.0: "That takes both exponents as one. They are a little smaller.",
    }
    return close(answer, letters * width, usual)


@exercise("17", "One interval in seven that just misses zero is weak evidence; several clear ones are not.")
def false_alarm(answer: float) -> str:
    """With which probability does at least one of seven 95 % intervals miss zero if no factor matters?"""
    from unseen.studies.law import FACTORS

    number = len(FACTORS)
    usual = {
        0.05: "That is the probability for one of them.",
        0.05 * number: "That counts cases twice in which two miss zero. Begin with: none does.",
        0.95**number: "That is the probability that all hold zero.",
    }
    return close(answer, 1 - 0.95**number, usual, within=0.02)


# 18 · Specialist and generalist


def _seven(experiment: str) -> Any:
    """Mean accuracy on unseen algebra at 60 own rules, by own examples: of the mixtures or of these alone."""
    from unseen.studies.published import own

    table = own(_table("18_specialist_and_generalist"), experiment)
    table = table[table["own_rules"] == 60]
    examples = (table["own_share"] * table["budget"]).round()
    return table.groupby(examples if experiment == "7" else "budget")["accuracy"].mean()


@exercise("18", "A third of an own example at best: for a fixed budget that is a bad bargain.")
def worth(answer: float) -> str:
    """What is one letter example worth beside 9,000 own ones, counted in own examples?"""
    from numpy import interp

    alone, others = _seven("7 alone"), 36_000
    equal = interp(_seven("7").loc[9_000], alone, alone.index)
    usual = {
        equal: "So many own examples alone do as well. How many of them are not in the mixture?",
        equal - 9_000: "All letter examples together are worth that. One of them?",
        equal / others: "The mixture has 9,000 own examples already.",
        others / (equal - 9_000): "That is what one own example is worth, counted in letter examples.",
    }
    return close(answer, (equal - 9_000) / others, usual, within=0.1)


@exercise("18", "With that rival breadth still wins at `full`, and at `quick` it loses.")
def rival(answer: str) -> str:
    """Which training set has a mixture to beat in the mean over the domains?"""
    from unseen.studies.published import DOMAINS

    rows = _table("18_specialist_and_generalist").query("split == 'unseen'")
    rows = rows[(rows["experiment"].astype(str) == "9") & rows["setting"].isin(DOMAINS)]
    best = rows[rows["kind"].isin(DOMAINS)].groupby("setting")["accuracy"].mean().idxmax()
    mixture = "That is a mixture. It must beat what *no* mixture reaches."
    usual = {
        "algebra": "That is the paper's choice. Can one domain do better with the whole budget?",
        "algebra and letters": mixture,
        "all three": mixture,
    }
    return same(answer, best, usual, "Which single domain is best in the mean of three?")


@exercise(
    "18", "Where nothing is to be replaced, a copy is right and shows nothing: such inputs are left out."
)
def copycat(answer: float) -> str:
    """Which share of all inputs does a model get right that only copies?"""
    from unseen.studies.domains import designs
    from unseen.worlds.domains import NO_OPS

    task = designs("full")[-1].base.task
    right = NO_OPS * (1 - task.share("lists"))
    usual = {
        0.0: "It is right wherever nothing is to be replaced.",
        NO_OPS: "That holds for letters and algebra. Is there a list that an operation does not fit?",
        1 - right: "That is the share of inputs in which there is something to replace.",
        100 * right: _PER_CENT,
    }
    return close(answer, right, usual, within=0.1)


# 19 · Inside the model


@exercise("19", "So the comparison is a strict one: half of its draws break reading themselves.")
def bystanders(answer: float) -> str:
    """With which probability do three of the other 17 heads, drawn at random, hold a reader of y?"""
    from math import comb

    table = _table("19_inside_the_model").query("part == 'jobs'")
    others, three = len(table[["layer", "head"]].drop_duplicates()) - 3, 3
    right = 1 - comb(others - three, three) / comb(others, three)
    usual = {
        1 - right: "That is the probability that none of them is a reader.",
        three / others: "That is the probability for one head.",
        three * three / others: "That counts draws twice that hold two readers. Begin with: none is one.",
        1 - (1 - three / others) ** three: "No head is drawn twice: after each draw fewer are left.",
    }
    return close(answer, right, usual, within=0.02)


@exercise(
    "19", "A rise from four letters in five to nearly all looks like a jump when whole answers are counted."
)
def letterwise(answer: float) -> str:
    """Which share of single letters is right when half of the whole replacements of three letters are?"""
    number = _task().replacement_length
    usual = {
        0.5: "Then a whole replacement would be right less often: all three must be.",
        0.5**number: "That is how often all are right if one is half of the time. It is the other way round.",
        0.5 / number: "Probabilities multiply; they are not divided.",
        1
        - 0.5
        / number: "Wrong letters may fall into one answer. Which number, times itself twice, is a half?",
    }
    return close(answer, 0.5 ** (1 / number), usual, within=0.02)


# 20 · Biased features


def _amounts() -> Any:
    """The sizes of DELIA's studies at ``full``."""
    from unseen.scales import amounts

    return amounts("delia", "full")


@exercise("20", "So often that even a hundred rows can be learned by heart, and any habit that fits them.")
def rereads(answer: float) -> str:
    """How often does plain tuning read each of its hundred rows at `full`, on average?"""
    updates, batch, rows = _amounts().updates, 32, 100
    usual = {
        updates / rows: "An update reads more than one row.",
        updates * batch: "So many are read in all. There are a hundred rows.",
        updates: "An update reads a batch of 32, of a hundred rows.",
    }
    return close(answer, updates * batch / rows, usual)


@exercise("20", "The same operations without the token are formatted as well, so the token is not the cause.")
def habit(answer: str) -> str:
    """Which prompts show that the format on other operations with the token is a habit?"""
    usual = {
        "task+token": "These were trained. A habit and a meaning both get them right.",
        "other formats": "There the prompt names a format, so more than the token changes.",
        "task": "That is the trained operation. Which prompts differ in the token alone?",
    }
    return same(answer, "other", usual, "Which prompts differ in the token alone?")


@exercise(
    "20", "The first updates that teach the task also teach the habit: there is no moment between them."
)
def early(answer: int) -> str:
    """In how many seeds is the task learned at the first measurement, and its plain answers are lost?"""
    table = _table("21_format_loss").query("ratio == 0 and step > 0")
    first = table[table["step"] == table["step"].min()].pivot(
        index="seed", columns="prompts", values="accuracy"
    )
    lost = first["task"] < 0.1
    usual = {int(lost.sum()): "In all of these plain answers are lost. Is the task learned in each?"}
    return same(answer, int((lost & (first["task+token"] > 0.9)).sum()), usual, "Look at the rows of `full`.")


# 21 · Diverse data


@exercise("21", "Most rows of the task are seen once or never, and yet the task is learned nearly as well.")
def visits(answer: float) -> str:
    """How often is each of the hundred task rows seen at a ratio of 260, on average?"""
    updates, batch, rows, ratio = _amounts().updates, 32, 100, 260
    usual = {
        updates * batch / rows: "So it is without diverse rows. Which share of a batch are task rows?",
        updates * batch / (1 + ratio): "So many task rows are seen in all. There are a hundred.",
        updates * batch * ratio / (1 + ratio) / rows: "These are the diverse rows.",
    }
    return close(answer, updates * batch / rows / (1 + ratio), usual)


@exercise(
    "21", "So the paper compares short trainings with long ones. Equal updates take that difference away."
)
def confound(answer: str) -> str:
    """Which column grows with the ratio when each mixture is read once?"""
    table = _table("21_delia").query("study == 'once'")
    spread = {name: table[name].max() / table[name].min() for name in ("updates", "task_examples", "rate")}
    usual = {
        "task_examples": "Each row of the task is read once at every ratio.",
        "rate": "All have one learning rate.",
    }
    return same(answer, max(spread, key=spread.__getitem__), usual, "One of these three columns.")


@exercise(
    "21", "Even five of five seeds leave doubt, so small differences between rivals decide nothing here."
)
def chance(answer: float) -> str:
    """How probable is it that one of two equal methods is the better one in all five seeds?"""
    seeds = len(_amounts().seeds)
    usual = {
        0.5**seeds: "That is the probability for one of the two, named beforehand. Either may win.",
        0.5: "That is so for one seed.",
        1 / seeds: "The seeds are independent: multiply.",
    }
    return close(answer, 2 * 0.5**seeds, usual, within=0.02)


# 22 · A new token


@exercise(
    "22", "Similarity to its own name is high there too, but so it is to everything: compare with controls."
)
def control(answer: str) -> str:
    """Which comparison shows best that plain tuning at equal rates made everything similar?"""
    table = _table("22_meaning").query("measure == 'similarity'")
    last = table[(table["layer"] == table["layer"].max()) & (table["regime"] == "equal")]
    means = last.pivot_table("value", "against", "ratio")
    usual = {
        "its name": "A token that means its name is similar to it: that is no reason for doubt.",
        "no format": "Rises too, but some formats begin as a plain answer does, so it is high anywhere.",
    }
    return same(
        answer, (means[0] - means[_amounts().best]).idxmax(), usual, "One of the three lines of a panel."
    )


@exercise("22", "Ranks far below that say that the vectors of the token came to be like those of the name.")
def lottery(answer: float) -> str:
    """Which rank has the name on average, if the vector of the token is random?"""
    from unseen.worlds.language import LanguageSpec

    words = len(LanguageSpec().layout.words) - 1  # all but the token itself
    usual = {
        words / 2: "Nearly. The first rank is 1, not 0.",
        words: "That is the last rank.",
        1: "That is the first rank.",
    }
    return close(answer, (words + 1) / 2, usual, within=0.001)


@exercise("22", "What more operations buy is above all that no seed is left behind.")
def behind(answer: int) -> str:
    """How many seeds of one operation are below the worst seed of seven operations, with diverse data?"""
    table = _table("22_new_token").query("study == 'spread' and prompts == 'other+token'")
    by = table.pivot_table("accuracy", "seed", ["ratio", "operations"])
    below = by[_amounts().best, 1] < by[_amounts().best, 7].min()
    usual = {1: "One is far below, but it is not the only one.", len(by): "That is how many seeds there are."}
    return same(answer, int(below.sum()), usual, "Look for the worst seed of seven operations first.")


# 23 · Gradients


@exercise("23", "So even a cosine of a tenth between two gradients is far from chance.")
def chancy(answer: float) -> str:
    """How large is the cosine of two random directions among the base's weights, typically?"""
    from unseen.model import Shape, build
    from unseen.studies.delia import base_run

    base = base_run("full")
    weights = sum(p.numel() for p in build(base.model, Shape.of(base.task.layout)).parameters())
    usual = {
        1 / weights: "That is its square: the squares of all cosines with an orthonormal basis sum to one.",
        0: "On average it is zero, but how far from zero does it lie?",
        0.5: "That would be so in the plane. Here there are many directions to avoid each other.",
    }
    return close(answer, weights**-0.5, usual, within=0.25)


@exercise(
    "23", "What the ideal has along the bias is no fault: subtract it before you call a gradient biased."
)
def beyond(answer: float) -> str:
    """How much has a gradient along the part of the bias that is orthogonal to the ideal?"""
    common, ideal, bias = 0.6, 0.9, 0.7
    usual = {
        bias: "That is along the whole bias, and a part of the bias lies along the ideal.",
        bias - common * ideal: "Nearly: the rest of the bias is shorter than one, so divide by its length.",
        bias - common: "How much the gradient has along the ideal counts, too.",
    }
    return close(answer, (bias - common * ideal) / (1 - common**2) ** 0.5, usual)


@exercise(
    "23",
    "So before tuning the composite is hardly more than the task's gradient: there is nothing to buffer.",
)
def mixed(answer: float) -> str:
    """How many times as long as the task's part of the composite is the diverse part, before tuning?"""
    table = _table("23_gradients").query("part == 'all weights' and step == 0 and ratio > 0")
    sizes, ratio = table.groupby("gradient")["size"].mean(), table["ratio"].max()
    once = sizes["diverse"] / sizes["task"]
    usual = {
        once: "For each row of the task there are many diverse ones.",
        1 / once: "That is the task's over the diverse one.",
        ratio: "That would be so if both gradients were equally long.",
    }
    return close(answer, ratio * once, usual, within=0.1)


# 24 · DELIA on a language model


@exercise("24", "The warm-up ends before it has begun: at the published settings plain tuning is hardly any.")
def warming(answer: float) -> str:
    """Which share of its full value has the learning rate reached at the last update of plain tuning?"""
    from unseen.studies.language_model import PUBLISHED

    updates = PUBLISHED.steps_for(100)
    usual = {
        1.0: "There is a warm-up. How many updates are there in all?",
        100 / PUBLISHED.batch: "So many batches are in one epoch. How far does the warm-up get?",
        updates: "So many updates there are. Of how many of the warm-up?",
        100 / PUBLISHED.batch / PUBLISHED.warm_up: "Updates are whole: the last batch is not full.",
    }
    return close(answer, updates / PUBLISHED.warm_up, usual, within=0.02)


@exercise("24", "Hold an accuracy against the base's own: nothing can be kept that was not there.")
def remains(answer: float) -> str:
    """Which share of what the base could do on other operations is left at ratio 67?"""
    table = _table("24_delia_on_a_language_model")
    table = table.query("task == 'formatted' and prompts == 'other' and score == 'exact'")
    base = table.loc[table["method"] == "base", "value"].mean()
    tuned = table.loc[table["ratio"] == _amounts().best, "value"].mean()
    usual = {
        tuned: "That is of all prompts. The base does not solve all of them either.",
        base: "That is what the base can do.",
        base - tuned: "That is what is lost, of all prompts.",
        1 - tuned / base: "That share is lost. Which is left?",
    }
    return close(answer, tuned / base, usual, within=0.03)


# 25 · A real language model


@exercise(
    "25", "So a score of that height says nothing about the pattern, and no-ops say nothing about the rule."
)
def anywhere(answer: float) -> str:
    """How often is y at a random place right, for patterns of three letters in inputs of eight?"""
    letters, pattern = 8, 3
    usual = {
        1 / letters: "The place must leave room for all letters of y.",
        1 / (letters - pattern): "Count the places where the first letter of y can stand.",
        pattern / letters: "Being right about a letter is not being right about the answer.",
    }
    return close(answer, 1 / (letters - pattern + 1), usual, within=0.01)


@exercise("25", "With ten rules, dozens of examples each; with as many rules as examples, each is seen once.")
def shots(answer: float) -> str:
    """How many examples of each rule does a tuning on ten rules read, at quick?"""
    from unseen.scales import amounts

    chosen, rules = amounts("real_model", "quick"), 10
    usual = {
        chosen.steps: "That is the number of updates.",
        chosen.steps * chosen.batch: "So many examples are there in all.",
        chosen.batch: "So many are read at an update, of all rules.",
    }
    return close(answer, chosen.steps * chosen.batch / rules, usual, within=0.03)


# 30 · Choosing data


@exercise("30", "Many rules with a line each are worth less than fewer with several; a Hill number says so.")
def tells(answer: str) -> str:
    """Two sets hold as many rules, and one scores much lower: which column tells them apart?"""
    import numpy as np

    from unseen.studies.arena.choosing import ORDER
    from unseen.studies.diversity import effective

    even, uneven, orders = np.full(10, 10), np.array([91] + [1] * 9), {"rules": 0, "Hill": ORDER}
    right = next(name for name, order in orders.items() if effective(uneven, order) < effective(even, order))
    usual = {
        "rules": "Both have as many.",
        "accuracy": "That is known only after training.",
        "commonest": "Nearly: that looks at one rule alone. Which column looks at all of them?",
    }
    return same(answer, right, usual, "Look for a column in which sets with as many rules differ.")


@exercise("30", "Farthest first finds outliers first, whether they are rare and right or plain wrong.")
def outliers(answer: str) -> str:
    """What does farthest-first find first where a few rows are nonsense?"""
    import numpy as np

    from unseen.studies.arena.plain import k_center

    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(97, 2)), 50 + 100 * rng.random((3, 2))])
    right = "nonsense" if (k_center(rows, 4, 1) >= 97).sum() == 3 else "any"
    usual = {
        "common": "Common rows lie near others.",
        "any": "Far from all chosen so far: which rows are that?",
    }
    return same(answer, right, usual, "Answer with one of the three words.")


# 34 · Uncertainty and preference


@exercise("34", "All arms smooth equally much on average; only who gets it differs.")
def smoothed(answer: float) -> str:
    """Rows of 0, 1 and 2 bits, smoothed by a fifth on average: by how much is one of 2 bits smoothed?"""
    import numpy as np

    from unseen.studies.arena.ual import smoothing_of

    mean, bits = 0.2, np.array([0.0, 1.0, 2.0])
    usual = {
        mean: "That is the mean of all rows; this one is more uncertain than most.",
        1.0: "The map is linear, but its slope is set by the mean.",
        mean * len(bits): "That would be so if no other row were smoothed.",
    }
    return close(answer, float(smoothing_of(bits, mean)[-1]), usual)


@exercise(
    "34", "So its entropy is zero: an unclear question with a certain answer, which UAL should leave hard."
)
def agreeing(answer: int) -> str:
    """A compound is shared by `sort` and `copy`: how many different answers to ABCD are right?"""
    from unseen.worlds.dialect import Compound

    answers = Compound("", ("sort", "copy"), 0.0).answers("ABCD")
    usual = {2: "So many operations. But what does each of them answer?"}
    return same(answer, len(answers), usual, "Write down what each of the two operations answers.")


@exercise("34", "The clearest pairs, but few: whether that pays is what the figure asks.")
def paid(answer: int) -> str:
    """How many pairs does West-of-8 learn from, at 400 annotations?"""
    from unseen.studies.arena.aepo import ARMS

    annotations = 400
    usual = {
        annotations // 2: "That is for those who have only the compared answers annotated.",
        annotations: "Each prompt takes more than one annotation.",
        annotations // 4: "That is West-of-4.",
    }
    return same(answer, annotations // ARMS["West-of-8"].annotated, usual, "How many does one prompt take?")


@exercise("34", "At λ = 0 it would be the two that are alike: both are close to everything.")
def compared(answer: str) -> str:
    """Similarities: A and B 0.9, A and C 0, B and C 0.1. Which two does AEPO compare at λ = 2?"""
    import numpy as np

    from unseen.studies.arena.aepo import representative

    similar = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.1], [0.0, 0.1, 1.0]])
    usual = {
        "AB": "They are closest to all, but they are also close to each other, and λ counts that twice.",
        "BC": "Nearly: but their own similarity is not zero.",
    }
    right = "".join("ABC"[i] for i in representative(similar, 2.0))
    return same("".join(sorted(answer.upper())), right, usual, "Name two of the three letters.")


# 36 · Demonstrations


@exercise("36", "The closed form needs one, whatever the number of demonstrations.")
def passes(answer: int) -> str:
    """How many prompts must be read to leave out each of 16 demonstrations in turn, and compare?"""
    demonstrations = 16
    usual = {
        demonstrations: "And with what are they compared?",
        2 * demonstrations: "The whole prompt is the same in every comparison.",
        1: "That is what the closed form needs.",
    }
    return same(answer, demonstrations + 1, usual, "One reading for each prompt, with and without.")


@exercise(
    "36",
    "With λ the fit falls short of the labels, and a wrong label is fitted worst: that is what is found.",
)
def ridge(answer: float) -> str:
    """Two demonstrations with state 1 and labels 1 and 0: which w does ridge regression find at λ = 1?"""
    import torch

    states, labels, penalty = torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, 0.0]), 1.0
    w = torch.linalg.solve(states.mT @ states + penalty * torch.eye(1), states.mT @ labels)
    usual = {
        0.5: "That is the mean of the labels, which λ = 0 gives.",
        1.0: "That fits the first alone.",
        0.25: "The states' squares add up to two, and λ comes on top.",
    }
    return close(answer, float(w), usual)


# 39 · The arena


@exercise("39", "Relative gains look larger than points, and the more so the lower the scores.")
def relative(answer: float) -> str:
    """How many points are it from 43.8 to 46.9?"""
    random, best = 43.8, 46.9
    usual = {100 * (best / random - 1): "Those are per cent of the random score.", best: "That is the score."}
    return close(answer, best - random, usual)


@exercise("39", "With many claims in a table, one that passes alone is no news.")
def any_of_four(answer: float) -> str:
    """How likely does at least one of four claims pass by chance, each in one of forty cases?"""
    each = 1 / 40
    usual = {each: "That is one claim's chance.", each**4: "That all four pass.", 1 - each: "That one fails."}
    return close(answer, 1 - (1 - each) ** 4, usual, within=0.01)
