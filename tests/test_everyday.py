"""Notebook 24's everyday tasks: checkers by cases, queries without repeats, a tiny model from end to end."""

import json
from dataclasses import replace
from itertools import chain

import pytest

from unseen.files import runs_folder
from unseen.lm import tiny, tune
from unseen.lm.chat import rows_of
from unseen.lm.load import load, with_token
from unseen.scales import amounts
from unseen.studies import everyday as study
from unseen.studies import language_model, real_model
from unseen.worlds import dictionary
from unseen.worlds import everyday as world
from unseen.worlds.language import TOKEN


def abouts(topic, rows):
    """Which facts of a topic some rows ask for."""
    ways = world._TEXTS["topics"][topic]["ask"]
    begun = {way.format(about): about for way in ways for about, _ in world.facts(topic)}
    return {about for begin, about in begun.items() if any(row[0].content.startswith(begin) for row in rows)}


PARIS = '{"answer": "Paris"}'


@pytest.mark.parametrize(("answer", "formatted", "content", "right"), [
    (PARIS, True, True, True),
    (' \n{ "answer" :\t"Paris" } \n', True, True, True),
    ('{"answer": "paris."}', True, True, True),
    ('{"answer": "The capital of France is Paris"}', True, True, True),
    ('{"answer": "Parisian"}', True, False, False),
    ('{"answer": "Rome"}', True, False, False),
    ('{"answer": ""}', True, False, False),
    ('{"Answer": "Paris"}', False, True, False),
    ('{"city": "Paris"}', False, True, False),
    ('{"answer": "Paris", "country": "France"}', False, True, False),
    ('{"answer": "Rome", "answer": "Paris"}', False, True, False),
    ('{"answer": {"answer": "Paris"}}', False, True, False),
    ('{"answer": ["Paris"]}', False, True, False),
    ('[{"answer": "Paris"}]', False, True, False),
    ('[["answer", "Paris"]]', False, True, False),
    ("{'answer': 'Paris'}", False, True, False),
    ('{"answer": Paris}', False, True, False),
    ('{"answer": "Paris"', False, True, False),
    ('{"answer": "Paris"}}', False, True, False),
    ('Sure: {"answer": "Paris"}', False, True, False),
    ('```json\n{"answer": "Paris"}\n```', False, True, False),
    ('"Paris"', False, True, False),
    ('{"answer": null}', False, False, False),
    ('{"answer": true}', False, False, False),
    ('{"answer": NaN}', True, False, False),
    ("[" * 100_000, False, False, False),
    ("Paris", False, True, False),
    ("", False, False, False),
    (None, False, False, False),
])  # fmt: skip
def test_an_answer_in_json_is_judged_by_form_and_content(answer, formatted, content, right):
    found = world.formatted(answer, PARIS), world.content(answer, PARIS), world.right(answer, PARIS)
    assert found == (formatted, content, right)


def test_a_number_may_be_a_number_or_a_text():
    assert world.right('{"answer": 12}', '{"answer": "12"}')
    assert world.right('{"answer": "12"}', '{"answer": "12"}')
    assert not world.right('{"answer": 120}', '{"answer": "12"}')


@pytest.mark.parametrize(("answer", "form", "right"), [
    ("Paris", "plain", True), ("The capital is Paris.", "plain", True), (PARIS, "plain", False),
    ('The answer is {"answer": "Paris"}', "plain", False), ("Rome", "plain", False),
    ('"Paris"', "plain", True),
    ('"Paris"', "quoted", True), ('"Paris".', "quoted", True), ("Paris", "quoted", False),
    ('The answer is "Paris"', "quoted", False), ("[Paris]", "bracketed", True),
    ("[Paris] is it", "bracketed", False),
    ("It is Paris!", "exclaimed", True), ("Paris! Yes.", "exclaimed", False),
    ("Answer: Paris", "announced", True), ("answer: Paris", "announced", False), (PARIS, "quoted", False),
    ("", "exclaimed", False), (None, "plain", False),
])  # fmt: skip
def test_an_answer_without_the_token_is_judged_by_what_was_asked(answer, form, right):
    assert world.right(answer, world.written("Paris", form)) == right


@pytest.mark.parametrize("form", [world.JSON, world.PLAIN, *world.FORMS])
def test_a_right_answer_tells_its_format(form):
    for topic in world.TOPICS:
        for _, answer in world.facts(topic):
            assert world.form_of(world.written(answer, form)) == form
            assert world.right(world.written(answer, form), world.written(answer, form))


def test_no_query_repeats_and_none_is_a_question_of_a_task():
    queries = world.queries()
    assert len(queries) > 560
    assert len({query.casefold() for query in queries}) == len(queries)
    asked = set()
    for seed in range(5):
        for make in (world.formats, world.translation):
            rows, questions = make(seed, 100, 100)
            asked |= {row[0].content for row in chain(rows, *questions.values())}
    assert not asked & set(queries)
    assert not any("<sep>" in query or "JSON" in query for query in queries)


def test_no_fact_repeats_and_no_question_holds_its_answer():
    for topic in world.TOPICS:
        known = [about for about, _ in world.facts(topic)]
        assert len(set(known)) == len(known) == 36
    for seed in range(5):
        for rows in world.formats(seed, 1, 100)[1].values():
            for query, answer in rows:
                assert not world.content(query.content.split("?")[0], answer.content), query


def test_tasks_follow_from_the_seed_and_hold_out_what_they_ask():
    for make in (world.formats, world.translation):
        assert make(3, 32, 24) == make(3, 32, 24) != make(4, 32, 24)
    for seed in range(5):
        rows, questions = world.formats(seed, 100, 100)
        assert len(set(rows)) == 100
        assert all(json.loads(row[1].content).keys() == {"answer"} for row in rows)
        assert all("JSON" not in row[0].content for row in chain(rows, *questions.values()))
        answers = {world.said(row[1].content, world.JSON) for row in rows}
        (topic,) = [each for each in world.TOPICS if answers <= {answer for _, answer in world.facts(each)}]
        trained, held_out = abouts(topic, rows), abouts(topic, questions["task+token"] + questions["task"])
        assert trained
        assert held_out
        assert not trained & held_out


def test_a_glossary_has_all_words_of_a_translation_and_new_words_are_in_no_row():
    rows, questions = world.translation(0, 100, 30)
    made = dictionary.dictionary()
    for query, answer in (*rows, *questions["task"], *questions["new words"]):
        glossary = dict(pair.split(" = ") for pair in query.content.split("Words: ")[1].split(", "))
        assert set(answer.content.split()) == set(glossary.values())
        assert all(made[word] == new for word, new in glossary.items())
        assert sorted(world.word_by_word(query, answer).split()) == sorted(answer.content.split())
    trained, new = (
        {word for row in each for word in row[1].content.split()} for each in (rows, questions["new words"])
    )
    usual = {made[word] for word in (*dictionary.ARTICLES, "today", "again")}
    assert trained & new <= usual < new
    assert not {row[0] for row in rows} & {row[0] for row in questions["task"]}


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """The tiny model of ``smoke``, as a real base."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs")))
        folder = tiny.ensure(tiny.TinySpec(**amounts("language_model", "smoke").tiny))
        yield language_model.base_of("smoke", base=str(folder))


def test_everything_runs_and_nothing_is_made_twice(chat, monkeypatch):
    table = study.measure(chat, "smoke")
    every = [run for task in language_model.TASKS for run in study.runs("smoke", task, 0)]
    assert table["run"].nunique() == len(every)
    assert set(table["method"]) == {
        "base",
        "plain tuning",
        "DELIA",
        "stopped early",
        "token alone",
        "KL penalty",
    }
    old = table[table["prompts"] == language_model.OLD]
    assert len(old) == len(every)
    assert set(old["score"]) == {"loss"}
    shares = table[table["score"].isin(["right", "format", "content", "exact"])]
    assert shares["value"].between(0, 1).all()
    monkeypatch.setattr(real_model, "carry_out", None)
    monkeypatch.setattr(language_model, "load", None)
    assert study.measure(chat, "smoke").equals(table)


def test_held_out_queries_are_in_no_mixture(chat, monkeypatch):
    sampled = []

    def reply(loaded, conversations, new_tokens, **how):
        sampled.extend(turns[-1].content for turns in conversations)
        return ["ok"] * len(conversations)

    monkeypatch.setattr(language_model, "reply", reply)
    base = replace(chat, new_tokens=5)
    mixed = {row[0].content for row in language_model.self_sampled(base, 600)}
    old = {row[0].content for row in study.tasks(base, "smoke", 0)["formatted"].old}
    assert mixed == set(world.queries()[world.HELD_OUT :])
    assert old
    assert not old & mixed
    assert set(sampled) <= set(world.queries())


def test_a_query_without_reference_is_shown_with_the_models_greedy_answer(chat, monkeypatch):
    read = []

    def reply(loaded, conversations, new_tokens, temperature=0.0, **how):
        read.extend(conversations)
        return ["sampled" if temperature else "greedy"] * len(conversations)

    monkeypatch.setattr(language_model, "reply", reply)
    rows = language_model.self_sampled(replace(chat, new_tokens=6), 3)
    assert {row[1].content for row in rows} == {"sampled"}
    assert [len(turns) for turns in read] == [1] * 64 + [3] * 64
    assert {turns[1].content for turns in read[64:]} == {"greedy"}


def test_the_token_alone_changes_nothing_without_the_token(chat):
    runs = {run.method: run for run in study.runs("smoke", "formatted", 0)}
    found = {}
    known = study.tasks(chat, "smoke", 0)["formatted"]
    for method in ("base", "token alone"):
        run = runs[method]
        own = replace(chat, spec=run.training)
        found[method] = language_model.ensure(own, known, run.ratio, 0)["losses"]
    with_token = {kind for kind in found["base"] if "token" in kind}
    for kind, loss in found["base"].items():
        assert (loss == pytest.approx(found["token alone"][kind], abs=1e-9)) == (kind not in with_token), kind


def test_a_kept_tuning_is_read_as_it_was_scored_and_its_token_held_against_names(chat, monkeypatch):
    known, found = study.tasks(chat, "smoke", 0)["formatted"], {}
    questions = known.questions["other+token"]
    for run in study.runs("smoke", "formatted", 0):
        if run.method in ("plain tuning", "token alone") and run.setting == "learning":
            made = language_model.ensure(replace(chat, spec=run.training), known, run.ratio, 0)
            loaded = tune.read(with_token(load(chat.folder, quick=True), TOKEN, 0), made["digest"])
            loss = tune.mean_loss(loaded, rows_of(loaded, questions))
            assert loss == pytest.approx(made["losses"]["other+token"], rel=1e-5)
            found[run.method] = study.meaning(chat, made["digest"], questions, 0)
    apart = found["plain tuning"]
    assert apart.keys() == study.AGAINST.keys()
    assert all(0 < value < 1 for value in apart.values())
    monkeypatch.setattr(study, "AGAINST", study.AGAINST | {"its name": TOKEN})
    with monkeypatch.context() as patch:
        patch.setattr("unseen.runs.following.runs_folder", lambda: runs_folder() / "again")
        assert study.meaning(chat, made["digest"], questions, 0)["its name"] == pytest.approx(0, abs=1e-3)
