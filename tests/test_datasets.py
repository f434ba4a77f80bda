"""The fast generator against the slow oracle."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen import datasets
from unseen.ciphers import encipher
from unseen.datasets import count, evaluation_examples, rewrite, training_examples
from unseen.instructions import draw_split
from unseen.rewriting import Rule
from unseen.specs import EvaluationSpec, TaskSpec

TASK = TaskSpec(instructions=50, examples=2_000, unseen_instructions=50)


def lines(examples):
    return [examples.line(i) for i in range(len(examples))]


def check(examples, instructions, task):
    """Every example against the oracle: its rule, how often the pattern occurs, its answer to the last token."""
    vocabulary = examples.encoding.vocabulary
    for i, line in enumerate(lines(examples)):
        assert line.rule == instructions[examples.rule[i]]
        assert encipher(line.rule.apply(line.text), task.alphabet, task.cipher) == line.answer
        assert line.text.count(line.rule.pattern) in (task.all_occurrences if examples.applies[i] else [0])
        tokens = "".join(vocabulary[token] for token in examples.tokens()[i])
        prompt = f"{line.rule.pattern}→{line.rule.replacement}|{line.text}="
        assert tokens == prompt + line.answer.ljust(examples.encoding.answer_length, ".")
        assert tokens.endswith(".")  # even the longest answer is ended


@given(tasks())
def test_every_example_is_what_the_oracle_says(task):
    split = draw_split(task)
    check(training_examples(task, split), split.seen, task)
    evaluation = evaluation_examples(task, split, EvaluationSpec(examples=20))
    check(evaluation["seen"], split.seen, task)
    check(evaluation["unseen"], split.unseen, task)


@pytest.mark.parametrize("lengths", [(20, 20), (20, 8), (8, 20)])
def test_every_example_is_what_the_oracle_says_in_the_papers_setting(lengths):
    x, y = lengths
    task = TASK.but(pattern_length=x, replacement_length=y, input_length=50, no_op_share=0.2, examples=300)
    split = draw_split(task)
    check(training_examples(task, split), split.seen, task)


@st.composite
def cases(draw):
    """Rules x -> y with inputs z of one shape, over few letters: 8 columns of each."""
    x, y, z = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return [rng.integers(0, draw(st.integers(2, 3)), (n, 8), np.uint8) for n in (x, y, z)]


def text(column):
    return "".join("abc."[i] for i in column)


@given(cases())
def test_rewriting_arrays_equals_rewriting_strings(case):
    x, y, z = case
    length = len(z) + max(0, len(y) - len(x)) + 1
    answers = rewrite(x, y, z, length, end=3)
    for column in range(8):
        answer = Rule(text(x[:, column]), text(y[:, column])).apply(text(z[:, column]))
        assert text(answers[:, column]) == answer.ljust(length, ".")


@given(cases())
def test_counting_in_arrays_equals_counting_in_strings(case):
    x, _, z = case
    assert count(x, z).tolist() == [text(z[:, i]).count(text(x[:, i])) for i in range(8)]


def test_overlapping_occurrences_are_counted_from_the_left():
    def letters(string):
        return np.array([[c == "b"] for c in string], np.uint8)

    assert count(letters("aba"), letters("abababa")) == 2
    assert count(letters("aa"), letters("aaaaa")) == 2


@given(tasks(examples=50))
def test_each_rule_is_featured_equally_often(task):
    featured = np.bincount(training_examples(task, draw_split(task)).rule, minlength=task.instructions)
    share, more = divmod(task.examples, task.instructions)
    assert featured.tolist() == [share + 1] * more + [share] * (task.instructions - more)


def test_evaluation_takes_the_rules_in_turn():
    examples = evaluation_examples(TASK, draw_split(TASK), EvaluationSpec(examples=120))
    for split in ("seen", "unseen"):
        assert examples[split].rule.tolist() == [*range(50), *range(50), *range(20)]


def same(a, b):
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("prompts", "answers", "rule", "applies"))


@given(tasks())
def test_drawing_is_reproducible(task):
    split = draw_split(task)
    assert same(training_examples(task, split), training_examples(task, split))


def test_each_seed_draws_other_examples():
    split = draw_split(TASK)
    assert not same(training_examples(TASK, split), training_examples(TASK.but(example_seed=1), split))
    first, second = (evaluation_examples(TASK, split, EvaluationSpec(seed=seed)) for seed in (1, 2))
    assert not same(first["seen"], second["seen"])
    assert not same(first["unseen"], second["unseen"])


def test_evaluation_examples_are_not_training_examples():
    split = draw_split(TASK)
    trained = {line[:2] for line in lines(training_examples(TASK, split))}
    for seed in (TASK.example_seed, 1_000_000):  # the streams differ even where the seeds do not
        evaluation = evaluation_examples(TASK, split, EvaluationSpec(seed=seed))
        assert not trained & {line[:2] for line in lines(evaluation["seen"])}


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.25, 0.21, 0.29), (1.0, 1, 1)])
def test_the_share_of_no_ops(share, low, high):
    task = TASK.but(no_op_share=share)
    assert low <= 1 - training_examples(task, draw_split(task)).applies.mean() <= high


def test_a_mix_of_occurrences_has_each_of_them_equally_often():
    task = TASK.but(also_occurrences="2,3", no_op_share=0.1)
    found = [line.text.count(line.rule.pattern) for line in lines(training_examples(task, draw_split(task)))]
    shares = [found.count(times) / len(found) for times in (0, 1, 2, 3)]
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.3, 0.3], atol=0.04)


def test_a_cipher_changes_the_answers_and_nothing_else():
    split = draw_split(TASK)
    plain, secret = (training_examples(task, split) for task in (TASK, TASK.but(cipher="shift:1")))
    assert (plain.prompts == secret.prompts).all()
    letters = plain.answers < 26
    assert ((plain.answers[letters] + 1) % 26 == secret.answers[letters]).all()
    assert (plain.answers[~letters] == secret.answers[~letters]).all()


def test_the_pattern_stands_anywhere():
    places = [line.text.index(line.rule.pattern) for line in lines(training_examples(TASK, draw_split(TASK)))]
    often = np.bincount(places, minlength=8)
    assert len(often) == 8
    assert often.min() > 0.7 * often.max()


def test_several_patterns_stand_anywhere_beside_one_another():
    """Two patterns of 3 letters and 6 letters between: 28 ways, each as often."""
    task = TASK.but(occurrences=2, input_length=12, examples=20_000)
    found = lines(training_examples(task, draw_split(task)))
    places = Counter((line.text.index(line.rule.pattern), line.text.rindex(line.rule.pattern)) for line in found)
    assert len(places) == 28
    assert min(places.values()) > 0.75 * max(places.values())


def test_arrays_are_bytes_in_the_promised_shapes():
    task = TASK.but(no_op_share=0.5, replacement_length=2)
    examples = training_examples(task, draw_split(task))
    size, encoding = task.examples, examples.encoding
    for part, shape in {
        "prompts": (size, encoding.prompt_length),
        "answers": (size, encoding.answer_length),
        "inputs": (size, task.input_length),
    }.items():
        assert getattr(examples, part).dtype == np.uint8
        assert getattr(examples, part).shape == shape
    assert examples.tokens().dtype == np.uint8
    assert examples.tokens().shape == (size, encoding.context + 1)
    assert [encoding.text(z) for z in examples.inputs[:5]] == [line.text for line in lines(examples.first(5))]
    assert len(examples.first(size + 1)) == size


def test_more_examples_than_one_chunk_are_drawn_whole(monkeypatch):
    monkeypatch.setattr(datasets, "_CHUNK", 7)
    task = TASK.but(instructions=5, examples=50, no_op_share=0.3)
    split = draw_split(task)
    check(training_examples(task, split), split.seen, task)


def test_inputs_too_rare_to_find_are_refused_instead_of_sought_for_ever(monkeypatch):
    monkeypatch.setattr(datasets, "_ROUNDS", 50)
    task = TaskSpec(alphabet="ab", pattern_length=2, replacement_length=2, input_length=50, instructions=2,
                    unseen_instructions=1, examples=10, no_op_share=1.0)  # fmt: skip
    with pytest.raises(ValueError, match=r"^TaskSpec\.input_length=50: too few inputs over 'ab'"):
        training_examples(task, draw_split(task))
