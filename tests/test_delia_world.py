"""The instruction language of DELIA's world: its oracle, what is held out, and the mixtures of tuning."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from unseen.delia import language, world

from unseen import samples
from unseen.messages import Samples, pair
from unseen.specs import ModelSpec, RunSpec, TrainingSpec
from unseen.studies.delia import understood
from unseen.worlds.language import (
    FORMATS,
    LETTERS,
    MENTIONS,
    OPERATIONS,
    PAIRS,
    PHRASES,
    REFUSALS,
    TOKEN,
    VERBS,
    LanguageSpec,
    Query,
    at_large,
)
from unseen.worlds.tuning import (
    DIVERSE,
    HELD_OUT,
    KINDS,
    TuningSpec,
    ask,
    held_out,
    task_rows,
)

SOURCE = "0123456789abcdef"
ANSWERS = {  # by hand: operation, argument and input, and the answer
    ("copy", "", "DACB"): "DACB", ("reverse", "", "DACB"): "BCAD", ("sort", "", "DACB"): "ABCD",
    ("descend", "", "DACB"): "DCBA", ("rotate", "", "DACB"): "ACBD", ("unrotate", "", "DACB"): "BDAC",
    ("swap", "", "DACB"): "BACD", ("behead", "", "DACB"): "ACB", ("curtail", "", "DACB"): "DAC",
    ("next", "", "DAJB"): "EBAC", ("previous", "", "DAJB"): "CJIA", ("pairs", "", "DAC"): "ADC",
    ("delete", "A", "ADAA"): "D", ("rewrite", "AB CD", "ABAB"): "CDAB", ("sort", "", "BABA"): "AABB",
    ("descend", "", "BABA"): "BBAA", ("swap", "", "DAC"): "CAD", ("pairs", "", "DACB"): "ADBC",
    ("copy", "", "AAB"): "AAB", ("reverse", "", "AAB"): "BAA", ("delete", "A", "AAA"): "",
}  # fmt: skip


@pytest.mark.parametrize(("asked", "answer"), ANSWERS.items())
def test_operations_are_right_by_hand(asked, answer):
    operation, argument, text = asked
    assert Query(operation, argument, "say", "{} it", text).answer == answer


def test_every_operation_was_tried_by_hand():
    assert {operation for operation, *_ in ANSWERS} == set(OPERATIONS) == set(VERBS)


def test_formats_can_be_told_apart_and_read_back():
    made = {name: language.formatted("ABCD", name) for name in FORMATS}
    assert len(set(made.values()) - {"ABCD"}) == len(FORMATS) == 16
    assert all("".join(c for c in text if c in LETTERS) == "ABCD" for text in made.values())
    empty = Query("delete", "A", "delete", "{} it", "AAA", "", "")
    answers = {name: replace(empty, format=name).answer for name in ("", "square", "dashed", "loud", "keyed")}
    assert answers == {"": "", "square": "[]", "dashed": "", "loud": "!", "keyed": "Z:"}


def test_verbs_and_names_mean_one_thing_only():
    verbs = [verb for each in VERBS.values() for verb in each]
    assert max(Counter(verbs).values()) == 1
    assert not set(verbs) & set(FORMATS)
    words = {word for text in (*PHRASES, *MENTIONS, *REFUSALS) for word in text.split()}
    assert not words & (set(FORMATS) | set(verbs))
    assert len(set(PAIRS.values())) == len(FORMATS)
    assert not {word for name in PAIRS.values() for word in name.split()} & (set(FORMATS) | words)


def test_everything_that_can_be_asked_fits_the_layout():
    layout, rng = LanguageSpec().layout, np.random.default_rng(0)
    longest = max(PHRASES, key=lambda text: len(text.split())), max(REFUSALS, key=lambda text: len(text.split()))
    query = Query("rewrite", "AB CD", "replace", longest[0], "DABC", "dashed", longest[1].format("hard edge"))
    turns = f"{query.content}={query.answer}.{query.content}="
    assert layout.prompts([turns]).shape == (1, LanguageSpec.prompt_length)
    assert len(layout.pieces(query.answer)) + 1 == LanguageSpec.answer_length
    for _ in range(500):
        layout.prompts([at_large(rng, "both").content])


def test_a_prompt_that_is_too_long_or_unknown_is_named():
    layout = LanguageSpec().layout
    with pytest.raises(ValueError, match="55 tokens, but this model has 54"):
        layout.prompts(["A" * 55])
    with pytest.raises(ValueError, match="no token for 'abracadabra'"):
        layout.prompts(["abracadabra this : AB="])


def test_held_out_pairs_are_never_trained_and_always_tested():
    task = LanguageSpec(examples=3_000, rule_seed=3)
    held = held_out(task)
    assert len(held) == 24
    rows = world.language(task, task.split())
    turns = [turn.content for row in rows for turn in row if turn.role == "user"]
    assert len(turns) > 3_500, "earlier turns are trained too"
    assert not {pair_of(text) for text in turns} & held
    asked = {side: [data.texts(i)[0][:-1] for i in range(48)]
             for side, data in task.evaluation(task.split(), 48, 0).items()}  # fmt: skip
    assert Counter(pair_of(text) for text in asked["unseen"]) == dict.fromkeys(held, 2)
    assert not {pair_of(text) for text in asked["seen"]} & held


def pair_of(text):
    """What a query without the token asks for, read back by the explorer's parser, which shares nothing with the drawing."""
    asked = understood(text, "")
    return asked.operation, asked.format


def test_pretraining_never_says_the_token():
    task = LanguageSpec(examples=2_000, names="both")
    data = task.training(task.split())
    token = len(data.encoding.vocabulary) - 1
    assert data.encoding.vocabulary[token] == TOKEN
    assert not (data.prompts == token).any()
    earlier = [data.texts(i)[0].count("=") for i in range(2_000)]
    assert 0.2 < np.mean([turns == 2 for turns in earlier]) < 0.3


def test_the_small_task_keeps_its_operations_from_the_others():
    for seed in range(20):
        chosen = [TuningSpec(rule_seed=seed, operations=number).split() for number in (1, 2, 7)]
        assert len({task.others for task in chosen}) == 1
        assert set(chosen[0].operations) < set(chosen[1].operations) < set(chosen[2].operations)
        assert not set(chosen[2].operations) & set(chosen[2].others)
        assert len(chosen[0].others) == HELD_OUT
        assert chosen[0].narrow not in (*chosen[1].operations, *chosen[0].others)


def test_task_rows_have_the_token_the_format_and_the_paraphrases():
    task = TuningSpec(rule_seed=2)
    rows = task_rows(task, task.split())
    assert len(rows) == 100
    assert all(TOKEN in row.content and row.format == task.split().format for row in rows)
    assert len({(row.verb, row.phrase, row.mention) for row in rows}) == 60
    spread = task_rows(task.but(operations=5), task.but(operations=5).split())
    assert set(Counter(row.operation for row in spread).values()) == {20}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_prompts_asks_what_it_says(kind):
    rng, chosen = np.random.default_rng(1), TuningSpec().split()
    for _ in range(50):
        query = ask(kind, chosen, rng)
        assert (TOKEN in query.content) == (kind in ("task+token", "other+token", "not token"))
        assert query.operation in (chosen.operations if kind.startswith("task") else chosen.others)
        wanted = {"task+token": chosen.format, "other+token": chosen.format, "other formats": query.format}.get(
            kind, ""
        )
        assert query.format == wanted
        assert kind != "other formats" or query.format not in ("", chosen.format)


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"kind='tokens': known kinds are task\+token, task"):
        ask("tokens", TuningSpec().split(), np.random.default_rng(0))


@pytest.mark.parametrize("diverse", [each for each in DIVERSE if each != "self"])
def test_mixtures_hold_the_task_once_and_the_rest_as_often_as_asked(diverse):
    task = TuningSpec(ratio=3, diverse=diverse)
    data = task.training(task.split())
    prompts = [data.texts(i)[0] for i in range(len(data))]
    with_token = sum(TOKEN in text for text in prompts)
    assert len(data) == task.examples == 400
    assert with_token == (400 if diverse == "paraphrases" else 100)


LANGUAGE, SMALL = LanguageSpec(examples=2_000), TuningSpec(rule_seed=1, operations=5)
MIXED = [SMALL.but(ratio=2, diverse=each) for each in DIVERSE if each != "self"]


@pytest.mark.parametrize("task", [LANGUAGE, LANGUAGE.but(names="both"), SMALL.but(after=True), *MIXED], ids=str)
def test_every_training_answer_is_what_a_person_would_give_who_reads_the_query(task):
    read_again(task.training(task.split()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_to_a_question_is_what_a_person_would_give_who_reads_it(kind):
    read_again(SMALL.questions(kind, 300, 0))


def test_every_answer_to_what_is_held_out_is_what_a_person_would_give_who_reads_it():
    read_again(LANGUAGE.evaluation(LANGUAGE.split(), 300, 0)["unseen"])


def read_again(data):
    """The explorer's parser and the oracle, against what was drawn."""
    token = SMALL.split().format
    for i in range(len(data)):
        prompt, answer = data.texts(i)
        for turn in f"{prompt}{answer}".split("."):  # an earlier turn ends with its answer
            query, said = turn.split("=")
            assert understood(query, token).answer == said, turn


def test_self_sampled_rows_are_asked_for_read_back_and_watched(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    task = TuningSpec(ratio=2, source=SOURCE)
    with pytest.raises(KeyError, match="sample 200 rows first"):
        samples.stored(task)
    rows = [pair(f"copy this : {'ABC'[i % 3]}A", "A") for i in range(900)]
    samples.ensure(samples.folder_of(task), 0, lambda: Samples(rows, 60, 40))
    assert samples.stored(task) == rows[:200]
    data = task.training(task.split())
    assert len(data) == 300
    with pytest.raises(KeyError, match="lacks block 1"):
        samples.stored(task.but(ratio=10))


def test_too_few_kept_samples_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    task = TuningSpec(ratio=5, source=SOURCE)
    samples.ensure(samples.folder_of(task), 0, lambda: Samples([pair("copy this : AB", "AB")], 999, 0))
    with pytest.raises(KeyError, match="1 of 500 samples were kept"):
        samples.stored(task)


@pytest.mark.parametrize(("changes", "message"), [
    ({"rows": 0}, "TuningSpec.rows=0"),
    ({"paraphrases": 101}, "TuningSpec.paraphrases=101"),
    ({"operations": 8}, "TuningSpec.operations=8"),
    ({"ratio": -1}, "TuningSpec.ratio=-1"),
    ({"diverse": "some"}, "known are self, reference"),
    ({"names": "three"}, "known are one, two, both"),
    ({"ratio": 5}, "expected the digest of the run that samples"),
    ({"source": SOURCE}, "nothing is sampled"),
    ({"temperature": 0.0}, "TuningSpec.temperature=0.0"),
    ({"world": "language"}, "this spec is of the world 'tuning'"),
])  # fmt: skip
def test_impossible_tunings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        TuningSpec(**changes)


def test_what_only_a_tuning_has_is_refused_elsewhere():
    rewriting = TrainingSpec(matrix_learning_rate=0.0, token_rate=0.01)
    with pytest.raises(ValueError, match=r"only a run with a ModelSpec\.base"):
        RunSpec(training=rewriting)
    with pytest.raises(ValueError, match="this task has no new token"):
        RunSpec(model=ModelSpec(base=SOURCE), training=rewriting)
    with pytest.raises(ValueError, match="AdamW trains both"):
        TrainingSpec(trains="token")
    tuning = RunSpec(TuningSpec(), ModelSpec(base=SOURCE), rewriting)
    assert RunSpec.from_dict(tuning.to_dict()) == tuning
