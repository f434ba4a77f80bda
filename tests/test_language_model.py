"""Notebook 24's study: its tiny model, small tasks, files, self-sampled rows and tunings."""

import json
import shutil
import socket
from dataclasses import replace

import pytest

from unseen.files import BrokenRun
from unseen.lm import load, tiny, tune
from unseen.lm.load import BadBase
from unseen.messages import BadMessages, Message, as_text, pair
from unseen.scales import amounts
from unseen.studies import language_model as study
from unseen.worlds.base import generator

SMALL = tiny.TinySpec(width=16, layers=1, heads=2, steps=2, batch=4)
SPEC = study.TINY.but(rank=4, alpha=4, warm_up=0, batch=4, micro_batch=4, steps=3)
ROWS = [pair("Name one.\n<sep>", "- red"), (Message("system", "Be brief."), *pair("Say Á", "Á")),
        (*pair("A", "B"), *pair("C", "D"))]  # fmt: skip
PUBLISHED = as_text(ROWS).replace('{"m', '{"id": 7, "m')  # with fields besides the messages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("made")))
        return tiny.ensure(SMALL)


@pytest.fixture
def base(folder, runs):
    return study.Base(folder, SPEC, new_tokens=4)


@pytest.fixture
def task():
    task = study.demo("formatted", seed=0, rows=6, examples=2)
    return task._replace(questions={kind: task.questions[kind] for kind in ("task+token", "other")})


def never(*given, **named):
    raise AssertionError("this must not happen")


def texts_of(rows):
    return " ".join(message.content for row in rows for message in row)


def write_rows(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text(as_text(rows), "utf-8")
    return str(path)


def test_the_tiny_model_is_made_once_always_the_same_and_offline(folder, runs, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", never)
    made = tiny.ensure(SMALL)
    assert load.fingerprint(made) == load.fingerprint(folder)
    monkeypatch.setattr(tiny, "train", never)
    assert tiny.ensure(SMALL) == made
    assert load.checked(made, chat=True) == made


def test_its_pre_training_resumes_to_the_same_weights(runs, monkeypatch):
    spec, update, said = replace(SMALL, steps=40), tiny.update, []
    whole = load.fingerprint(tiny.ensure(spec))
    shutil.rmtree(tiny.ensure(spec).parent)
    left = iter(range(37))
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "update", lambda *given: next(left) + update(*given))
        with pytest.raises(StopIteration):
            tiny.ensure(spec)
    assert load.fingerprint(tiny.ensure(spec, said.append)) == whole
    assert said == ["pre-training the tiny model resumes from step 36"]


def test_its_tokenizer_loses_no_word_and_its_pre_training_holds_neither_the_token_nor_a_translation():
    tokenizer, unknown = tiny.tokenizer(), tiny.vocabulary().index("<unk>")
    rows = [row for name in study.TASKS for row in study.demo(name, 1, 100, 30).rows]
    texts = [message.content for row in rows for message in row if "<sep>" not in message.content]
    texts += [text for line in study.diverse(300, 0) for text in line]
    ids = tokenizer(texts)["input_ids"]
    assert not any(unknown in each for each in ids)
    assert [tokenizer.decode(each) for each in ids] == texts
    rng = generator(0, "look")
    text = texts_of(tiny.conversation(rng) for _ in range(500))
    assert not {"<sep>", "translate", "english"} & set(text.split())


def test_new_words_and_held_out_paraphrases_are_in_no_row_of_the_translation():
    task = study.demo("translation", seed=0, rows=100, examples=20)
    trained = set(texts_of(row[1:] for row in task.rows).split())
    new = set(texts_of(row[1:] for row in task.questions["new words"]).split())
    assert trained & new <= {"the", "a", "today", "again"} < new
    trained_on = {row[0].content.split(" : ")[0] for row in task.rows}
    assert not trained_on & {row[0].content.split(" : ")[0] for row in task.questions["task"]}


def test_the_settings_are_the_published_ones():
    other, spec = tune.AdapterSpec(), study.PUBLISHED  # of notebook 15, of this one
    assert (other.rank, other.alpha, other.learning_rate, other.batch) == (512, 1024, 1e-5, 64)
    assert (other.steps, other.rate(1_000, 2_000), other.dropout) == (2_000, 0.5e-5, 0.0)
    assert (spec.rank, spec.alpha, spec.dropout, spec.learning_rate) == (16, 16, 0.05, 2e-4)
    assert (spec.warm_up, spec.weight_decay, spec.batch, spec.micro_batch) == (25, 0.01, 64, 16)
    assert [spec.rate(step, 815) for step in (0, 24, 814)] == pytest.approx([2e-4 / 25, 2e-4, 2e-4])
    assert [spec.steps_for(100 * (1 + ratio)) for ratio in (0, 520)] == [2, 815]
    assert amounts("language_model", "paper").ratios == (0, 67, 135, 260, 520)


def test_files_of_the_published_form_load_unchanged_and_can_be_tuned_on(tmp_path, base, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text(PUBLISHED * 2, "utf-8")
    monkeypatch.setattr(tiny, "ensure", lambda spec: base.folder)
    found = study.base_of("smoke", task_file=str(path), diverse_file=str(path))
    (task,) = study.tasks_of(found, "smoke", 0)
    assert (len(task.rows), {kind: len(rows) for kind, rows in task.questions.items()}) == (5, {"task": 1})
    assert found.references[:3] == (("Name one.\n<sep>", "- red"), ("Say Á", "Á"), ("C", "D"))
    assert study.ensure(replace(found, spec=SPEC), task, 0, 0)["updates"] == 3


def test_a_file_that_is_no_task_is_refused_before_the_model_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "ensure", never)
    open_end = [(Message("user", "A"),)]
    for rows, message in ((ROWS, "3 rows are too few, at least 5"), (open_end, "line 1: expected to end")):
        with pytest.raises(BadMessages, match=message):
            study.base_of("smoke", task_file=write_rows(tmp_path, rows))


REFUSES = {  # what a template may insist on, as those of published models do
    "a system turn": "messages[0]['role'] == 'system'",
    "two users in a row": "messages | selectattr('role', 'eq', 'user') | list | length > 2",
    "an assistant first": "messages[0]['role'] == 'assistant'",
}


@pytest.mark.parametrize(("what", "row"), [
    ("a system turn", (Message("system", "Be brief."), *pair("A", "B"))),
    ("two users in a row", (*pair("A", "B"), Message("user", "C"), *pair("D", "E"))),
    ("an assistant first", (Message("assistant", "Hello"), *pair("A", "B"))),
    ("length", pair("A " * 300, "B")), ("length", pair("A", "B " * 600)),
])  # fmt: skip
def test_a_row_that_the_base_cannot_read_is_named(folder, tmp_path, runs, monkeypatch, capsys, what, row):
    """Before any work; of a diverse row only the last query and its answer are read."""
    base, rows = shutil.copytree(folder, tmp_path / "base"), [pair("A", "B")] * 8
    if condition := REFUSES.get(what):
        raises = f"{{% if {condition} %}}{{{{ raise_exception('no {what}') }}}}{{% endif %}}"
        (base / "chat_template.jinja").write_text(raises + tiny.TEMPLATE)
    monkeypatch.setattr(study, "PUBLISHED", SPEC.but(modules=study.MODULES))
    monkeypatch.setattr(study, "load", never)
    path = write_rows(tmp_path, [*rows[:2], row, *rows[2:], row])
    refusal = rf"rows\.jsonl, row 3, 10: .*(no {what}|tokens .* that this model reads)"
    for file in ("task_file", "diverse_file"):
        given = {"base": str(base), file: path}
        if file == "diverse_file" and condition:
            assert len(study.base_of("smoke", **given).references) == 10
            assert "only the last query and its answer are read" in capsys.readouterr().out
            continue
        with pytest.raises(BadBase, match=refusal):
            study.base_of("smoke", **given)
        if condition:
            continue
        found = study.base_of("smoke", **given, leave_out_long=True)
        assert len(found.rows or found.references) == 8
        assert "row 3, 10: " in (said := capsys.readouterr().out)
        assert "2 of 10 rows left out" in said


@pytest.mark.parametrize(("file", "message"), [
    ("task_file", "4 rows are short enough, at least 5"), ("diverse_file", "0 rows are short enough"),
])  # fmt: skip
def test_a_file_of_which_too_little_is_left_is_refused(folder, tmp_path, runs, monkeypatch, file, message):
    short = 4 if file == "task_file" else 0
    path = write_rows(tmp_path, [pair("A", "B")] * short + [pair("A " * 600, "B")] * 9)
    monkeypatch.setattr(tiny, "ensure", never)
    with pytest.raises(BadBase, match=message):
        study.base_of("smoke", **{file: path}, leave_out_long=True)


def test_a_base_of_few_positions_gets_fewer_new_tokens(folder, tmp_path, runs, monkeypatch, capsys):
    base = shutil.copytree(folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    monkeypatch.setattr(study, "PUBLISHED", SPEC.but(modules="q_proj"))
    monkeypatch.setattr(study, "unfit", lambda *given: ({}, {}))
    path = write_rows(tmp_path, [pair("A", "B")] * 5)
    for most, new in ((513, 512), (512, 256), (256, 128)):
        (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": most}))
        load._fingerprint.cache_clear()
        assert study.base_of("smoke", base=str(base), task_file=path).new_tokens == new
        assert (f"at most {new} of them" in capsys.readouterr().out) == (new < 512)


@pytest.mark.parametrize(("rows", "queries", "message"), [
    (5, 4, "4 queries are too few for ratio 1: left out; DELIA is not run, only plain tuning"), (5, 5, ""),
])  # fmt: skip
def test_a_file_too_short_for_delia_is_named(tmp_path, runs, monkeypatch, capsys, rows, queries, message):
    """Before any work."""
    for name, count in (("task", rows), ("diverse", queries)):
        (tmp_path / name).write_text(as_text([pair("A", "B")] * count))

    def made(spec):
        assert message in capsys.readouterr().out
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny, "ensure", made)
    with pytest.raises(KeyboardInterrupt):
        study.base_of("smoke", task_file=str(tmp_path / "task"), diverse_file=str(tmp_path / "diverse"))


def test_an_answer_that_did_not_end_is_kept_as_none(base, task, monkeypatch):
    task = task._replace(questions={"other": [pair("A", ""), pair("B", "")]})
    monkeypatch.setattr(study, "reply", lambda *given, **how: [None, ""])
    assert study.answers(study.ensure(base, task, None, 0), "other") == [None, ""]


def test_only_what_is_needed_is_sampled_and_an_interrupted_block_keeps_the_rest(base, monkeypatch):
    sampled, stops = [], [2]  # the block whose sampling is interrupted

    def reply(loaded, conversations, new_tokens, seed, **how):
        if seed in stops:
            raise KeyboardInterrupt
        sampled.append(len(conversations))
        return ["ok"] * len(conversations)

    monkeypatch.setattr(study, "reply", reply)
    assert len(study.self_sampled(base, 12)) == 12
    assert sampled == [64]
    with pytest.raises(KeyboardInterrupt):
        study.self_sampled(base, 150)
    stops.clear()
    assert len(study.self_sampled(base, 150)) == 150
    assert sampled == [64] * 3


def test_a_finished_tuning_is_kept_with_its_answers(base, task, monkeypatch):
    found = study.ensure(base, task, ratio=1, seed=0)
    assert (found["updates"], len(study.answers(found, "other"))) == (3, 2)
    others = [study.ensure(base, task, ratio, seed) for ratio, seed in ((None, 0), (0, 0), (1, 1))]
    assert len({each["digest"] for each in [found, *others]}) == 4
    assert others[0]["updates"] == 0
    monkeypatch.setattr(study, "load", never)
    assert study.ensure(base, task, ratio=1, seed=0) == found
    (tune.folder_of(found["digest"]) / "answers other.jsonl").write_text("{}")
    with pytest.raises(BrokenRun, match="answers other"):
        study.ensure(base, task, ratio=1, seed=0)


def test_self_sampled_rows_are_kept_and_too_few_are_reported_not_sampled_for_ever(base, monkeypatch):
    base = replace(base, references=tuple((f"copy this : {letter}", letter) for letter in "ABC"))
    monkeypatch.setattr(study, "reply", lambda *given, **how: [None, "", "ok"])
    assert study.self_sampled(base, 1) == [pair("copy this : C", "ok")]
    assert study.samples.counts(base.samples, 0).items() >= {"kept": 1, "malformed": 1, "rejected": 1}.items()
    with pytest.raises(ValueError, match="2 diverse rows are needed, and the 3 queries give 1"):
        study.self_sampled(base, 2)
    monkeypatch.setattr(study, "_BLOCK", 2)
    monkeypatch.setattr(study, "reply", lambda *given, **how: [None, None])
    with pytest.raises(BadBase, match="9 diverse rows are needed, and the 4 queries give 0"):
        study.self_sampled(replace(base, references=()), 9)


def test_a_short_file_of_queries_leaves_large_ratios_out(base, tmp_path):
    assert study.ratios_of(base, "quick") == (0, 5, 67)
    assert study.ratios_of(replace(base, references=(("A", "A"),) * 600), "quick") == (0, 5)
