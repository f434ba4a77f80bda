"""DELIA on a language model: a tiny Llama on disk, offline; what is refused, what moves, what is kept."""

import json
import shutil
import socket
from dataclasses import replace

import pytest
import torch

from llamas import write_llama
from unseen.delia import llm, llm_checks, llm_data, llm_runs, llm_scores, tiny_llama
from unseen.delia.llm import Chat, LlmSpec
from unseen.delia.llm_data import SmallTask
from unseen.delia.messages import BadMessages, Message, pair, save
from unseen.delia.pipeline import self_sample
from unseen.disk.files import BrokenRun
from unseen.errors import Explained
from unseen.pretrained import local, turns
from unseen.pretrained.local import BadBase

SMALL = tiny_llama.TinySpec(width=16, layers=1, heads=2, steps=2, batch=4)
TINY = LlmSpec(rank=4, alpha=4, learning_rate=1e-2, warm_up=0, micro_batch=4, accumulate=1, updates=3, new_tokens=4)
PUBLISHED = (  # lines as in the published files: fields beside the messages, a system turn, an earlier turn
    '{"messages": [{"role": "user", "content": "Name a colour.\\n<sep>"}, {"role": "assistant", "content": "- red"}]}\n'
    '{"id": 7, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say Á"}, '
    '{"role": "assistant", "content": "Á"}]}\n'
    '{"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}, '
    '{"role": "assistant", "content": "D"}]}\n'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny model itself, hardly trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("made")))
        return tiny_llama.ensure(SMALL)


@pytest.fixture
def base(folder, runs):
    return llm_runs.Base(folder, TINY)


@pytest.fixture
def task():
    task = llm_data.demo("formatted", seed=0, rows=6, examples=2)
    return replace(task, questions={kind: task.questions[kind] for kind in ("task+token", "other")})


def never(*given, **named):
    raise AssertionError("this must not happen again")


# Errors before any work


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadBase, match="no such folder"):
        llm_runs.base_of("smoke", str(tmp_path / "missing"))
    assert issubclass(BadBase, Explained)


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "load", never)
    with pytest.raises(BadBase, match="its tokenizer has no chat template"):
        llm_runs.base_of("smoke", str(write_llama(tmp_path / "plain")))


def test_too_little_memory_is_told_with_both_numbers_before_weights_are_read(folder, monkeypatch):
    monkeypatch.setattr(llm_checks, "memory_free", lambda device: 2**20)
    monkeypatch.setattr(local, "load", never)
    with pytest.raises(BadBase, match=r"takes about 0\.3 GiB of memory on cpu, and 0\.0 GiB are free"):
        llm_checks.ready(folder, "cpu")


def test_memory_is_reckoned_from_the_weights_as_they_are_loaded(folder):
    weights = sum(weight.numel() for weight in local.load(folder, "cpu").model.parameters())
    assert llm_checks.memory_needed(folder, "cpu") - llm_checks.WORK == int(weights * 4 * 1.1)
    assert llm_checks.memory_needed(folder, "cuda") - llm_checks.WORK == int(weights * 2 * 1.1)
    assert llm_checks.memory_free("cpu") > 2**26


def test_without_the_extra_a_person_reads_how_to_get_it(monkeypatch):
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == "sacrebleu" else name)
    with pytest.raises(BadBase, match=r"needs sacrebleu: .*\[llm\]"):
        llm_runs.base_of("smoke")


def test_a_model_with_other_layers_is_refused(folder):
    loaded = local.load(folder, "cpu")
    loaded.model.model.layers = torch.nn.ModuleList()
    with pytest.raises(BadBase, match=r"no layers q_proj, k_proj, v_proj, o_proj, which the published adapter"):
        llm.adapted(loaded, TINY)


def test_a_row_that_the_model_cannot_read_is_refused(folder):
    with pytest.raises(BadBase, match="longer than the 512 that this model reads"):
        turns.rows_of(local.load(folder, "cpu"), [pair("A" * 600, "A")])


def test_a_template_that_refuses_is_one_sentence(folder):
    loaded = local.load(folder, "cpu")
    loaded.tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(BadBase, match="does not take a conversation: no system turns"):
        turns.prompts_of(loaded, [pair("A", "A")])


@pytest.mark.parametrize(("changes", "told"), [
    ({"rank": 0}, "must be at least 1"), ({"dropout": 1.0}, "at most 0.9"), ({"learning_rate": 0.0}, "at least 1e-08"),
    ({"token_rate": -1.0}, "at least 0"), ({"updates": 1.5}, "expected int"),
])  # fmt: skip
def test_an_impossible_setting_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        TINY.but(**changes)


def test_the_defaults_are_the_published_ones():
    spec = LlmSpec()
    assert (spec.rank, spec.alpha, spec.dropout, spec.learning_rate, spec.warm_up, spec.weight_decay) == (
        16,
        16,
        0.05,
        2e-4,
        25,
        0.01,
    )
    assert (spec.micro_batch, spec.accumulate, spec.updates, spec.new_tokens, spec.token_rate) == (16, 4, 0, 512, 0.0)
    assert llm_runs.PLANS["paper"].ratios == (0, 67, 135, 260, 520)
    assert {row[0].content.endswith(" format") for row in llm_data.demo("formatted", 0, 100, 1).rows} == {True}


# Files


def test_files_of_the_published_form_load_unchanged_and_can_be_tuned_on(tmp_path, base):
    path = tmp_path / "rows.jsonl"
    path.write_text(PUBLISHED * 2, "utf-8")
    task = llm_data.from_file(str(path), seed=0)
    assert (len(task.rows), {kind: len(asked) for kind, asked in task.questions.items()}) == (5, {"task": 1})
    assert llm_data.references(str(path))[:3] == [("Name a colour.\n<sep>", "- red"), ("Say Á", "Á"), ("C", "D")]
    assert llm_runs.ensure(base, task, 0, 0)["updates"] == 3


@pytest.mark.parametrize(("lines", "told"), [
    ("[1]\n", "line 1: expected"), ('{"messages": [{"role": "user", "content": "A"}]}\n', "row 1: expected to end with"),
    (PUBLISHED, "3 rows are too few"),
])  # fmt: skip
def test_a_file_that_is_no_task_is_refused(tmp_path, lines, told):
    (tmp_path / "rows.jsonl").write_text(lines, "utf-8")
    with pytest.raises(BadMessages, match=told):
        llm_data.from_file(str(tmp_path / "rows.jsonl"), seed=0)


# The tiny model


def test_its_tokenizer_knows_every_word_and_loses_none():
    tokenizer, unknown = tiny_llama.tokenizer(), tiny_llama.vocabulary().index("<unk>")
    rows = [row for name in llm_data.TASKS for row in llm_data.demo(name, 1, 100, 30).rows]
    texts = [message.content for row in rows for message in row if "<sep>" not in message.content]
    texts += [text for line in llm_data.diverse(300, 0) for text in line]
    ids = tokenizer(texts)["input_ids"]
    assert not any(unknown in each for each in ids)
    assert [tokenizer.decode(each) for each in ids] == texts


def test_it_is_made_once_and_asks_nobody(folder, runs, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", never)
    made = tiny_llama.ensure(SMALL)
    assert (made / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(tiny_llama, "_train", never)
    assert tiny_llama.ensure(SMALL) == made
    assert tiny_llama.told(made)["spec"]["steps"] == 2
    assert local.load(llm_checks.ready(made, "cpu"), "cpu").tokenizer.chat_template == tiny_llama.TEMPLATE


def test_its_pre_training_knows_no_token_and_no_translation():
    rng = llm_data.generator(0, "look")
    texts = " ".join(message.content for _ in range(2_000) for message in tiny_llama.conversation(rng))
    assert not {"<sep>", "translate", "english"} & set(texts.split())


def test_new_words_are_in_no_row_of_the_translation():
    task = llm_data.demo("translation", seed=0, rows=100, examples=20)
    trained = {word for row in task.rows for word in row[1].content.split()}
    asked = {word for row in task.questions["new words"] for word in row[1].content.split()}
    assert asked - {"the", "a", "today", "again"}
    assert not trained & (asked - {"the", "a", "today", "again"})
    assert not {row[0].content.split(" : ")[0] for row in task.rows} & {
        row[0].content.split(" : ")[0] for row in task.questions["task"]
    }


# Prompts and answers


def test_a_prompt_is_the_chat_template_and_the_answer_ends(folder):
    loaded = local.load(folder, "cpu")
    turn = (*pair("flip this : AB", "BA"), *pair("copy it : AB", "AB"))
    ((prompt, answer),) = turns.rows_of(loaded, [turn])
    assert loaded.tokenizer.decode(answer).strip() == "AB</s>"
    assert prompt == loaded.tokenizer.apply_chat_template(
        [message._asdict() for message in turn[:-1]], add_generation_prompt=True, return_dict=False
    )
    assert turns.prompts_of(loaded, [turn[:-1]]) == [prompt]


def test_an_answer_that_does_not_end_is_counted(folder):
    loaded = llm.with_token(folder)
    with torch.no_grad():
        loaded.model.lm_head.weight.zero_()  # every token is the first one, which is none of the ends
    assert Chat(loaded, new_tokens=3, temperature=0.0)([(Message("user", "copy this : AB"),)]) == [None]
    said = self_sample(Chat(loaded, new_tokens=3, temperature=0.0), [("copy this : AB", "AB")])
    assert (said.rows, said.malformed) == ([], 1)


def test_the_sampler_answers_in_order_and_repeats_itself_by_its_seed(folder):
    loaded = llm.with_token(folder)
    asked = [(Message("user", f"{'please ' * (i % 3)}flip this : A"),) for i in range(5)]
    greedy = Chat(loaded, new_tokens=3, temperature=0.0, at_once=2)(asked)
    assert greedy == [Chat(loaded, new_tokens=3, temperature=0.0)([each])[0] for each in asked]
    first, same = (Chat(loaded, new_tokens=9, seed=1)(asked) for _ in range(2))
    assert first == same


# Tuning


def test_the_new_token_has_a_row_of_its_own_drawn_by_the_seed(folder):
    before = local.load(folder, "cpu").model.get_input_embeddings().weight
    tables = [llm.with_token(folder, seed, "cpu").model.get_input_embeddings().weight for seed in (0, 0, 1)]
    assert torch.equal(tables[0], tables[1])
    assert torch.equal(tables[0][:-1], before)
    assert torch.equal(tables[2][:-1], before)
    assert not torch.equal(tables[0][-1], tables[2][-1])
    loaded = llm.with_token(folder)
    assert llm.token_id(loaded) == len(before)
    ids = loaded.tokenizer("flip this in <sep> format : AB")["input_ids"]
    assert loaded.tokenizer.convert_ids_to_tokens(ids)[3:6] == ["<sep>", "▁format", "▁:"]


def test_the_tokens_embedding_changes_and_what_is_frozen_does_not(folder, task):
    loaded = llm.adapted(llm.with_token(folder), TINY)
    embed, token = loaded.model.get_input_embeddings(), torch.tensor([llm.token_id(loaded)])
    frozen = {name: value.clone() for name, value in loaded.model.named_parameters() if not value.requires_grad}
    before = embed(token).detach().clone()
    losses = llm.tune(loaded, TINY.but(updates=30), turns.rows_of(loaded, task.rows))
    assert losses[-1] < losses[0]
    assert (embed(token) - before).abs().max() > 1e-3
    assert all(torch.equal(value, dict(loaded.model.named_parameters())[name]) for name, value in frozen.items())
    assert all("lora" in name for name in local.trained_weights(loaded))


@pytest.mark.parametrize("factor", [0.0, 1.0, 3.0])
def test_the_token_can_have_a_rate_of_its_own(folder, task, factor):
    spec, moved = TINY.but(updates=1, weight_decay=0.0, dropout=0.0), []
    for token_rate in (0.0, factor * spec.learning_rate):
        loaded = llm.adapted(llm.with_token(folder), spec)
        own = llm._own(loaded)
        table = next(value for name, value in local.trained_weights(loaded).items() if "lora_embedding_A" in name)
        start = table.detach().clone()
        llm.tune(loaded, spec.but(token_rate=token_rate), turns.rows_of(loaded, task.rows))
        moved.append(
            ((table - start)[:, : llm.token_id(loaded)].detach(), (own - start[:, llm.token_id(loaded)]).detach())
        )
    assert torch.equal(moved[0][0], moved[1][0])
    assert torch.allclose(moved[1][1], (factor or 1.0) * moved[0][1], atol=1e-7)
    assert moved[0][1].abs().max() > 0


def test_a_finished_tuning_is_kept_and_not_trained_again(base, task, monkeypatch):
    told = llm_runs.ensure(base, task, ratio=1, seed=0)
    assert told["updates"] == 3
    assert len(llm_runs.answers(told, "other")) == 2
    monkeypatch.setattr(llm, "load", never)
    assert llm_runs.ensure(base, task, ratio=1, seed=0) == told
    place = llm_runs.runs_folder() / "adapters" / told["digest"] / "adapter" / "answers other.jsonl"
    place.write_text("{}")
    with pytest.raises(BrokenRun, match="answers other"):
        llm_runs.ensure(base, task, ratio=1, seed=0)


def test_another_setting_row_question_or_base_is_another_run(base, task):
    run = llm_runs.LlmRun(TINY, "rows", "questions", "base")
    others = [
        replace(run, spec=TINY.but(rank=3)),
        *(replace(run, **{name: "x"}) for name in ("rows", "questions", "base")),
    ]
    assert len({each.digest() for each in [run, *others]}) == 5


def test_a_tuning_goes_on_from_its_checkpoint_to_the_same_adapter(base, task, monkeypatch):
    base = replace(base, spec=TINY.but(updates=4, checkpoint_every=2))
    whole = llm_runs.ensure(base, task, 0, 0)["files"]
    folder = llm_runs.runs_folder() / "adapters"
    shutil.rmtree(folder)
    steps, stepped = [], llm._stepped

    def dies(*given):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        stepped(*given)

    monkeypatch.setattr(llm, "_stepped", dies)
    with pytest.raises(KeyboardInterrupt):
        llm_runs.ensure(base, task, 0, 0)
    monkeypatch.setattr(llm, "_stepped", stepped)
    told = llm_runs.ensure(base, task, 0, 0)
    assert told["began_at_step"] == 2
    assert told["files"] == whole


def test_self_sampled_rows_are_kept_and_too_few_are_told(base, tmp_path, monkeypatch):
    path = tmp_path / "diverse.jsonl"
    save(path, [pair(f"copy this : {letter}", letter) for letter in "ABC"])
    base = replace(base, diverse=str(path))
    monkeypatch.setattr(llm_runs.Chat, "__call__", lambda self, asked: [None, "", "ok"])
    assert llm_runs.self_sampled(base, 1) == [pair("copy this : C", "ok")]
    assert llm_runs.sampled_counts(base) == {"kept": 1, "malformed": 1, "rejected": 1}
    with pytest.raises(ValueError, match="2 diverse rows are asked for, and the 3 queries give 1"):
        llm_runs.self_sampled(base, 2)


def test_a_short_file_of_queries_leaves_large_ratios_out(base, tmp_path):
    assert llm_runs.ratios_of(base, "quick") == (0, 5, 67)
    save(tmp_path / "diverse.jsonl", [pair("A", "A")] * 600)
    assert llm_runs.ratios_of(replace(base, diverse=str(tmp_path / "diverse.jsonl")), "quick") == (0, 5)


def test_rows_of_an_epoch_come_once_each():
    batches = list(llm.batches(LlmSpec(micro_batch=3, accumulate=2), 20))
    assert sorted(row for batch in batches for row in batch) == list(range(20))
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]


# Scores


def test_scores_have_their_known_values():
    said, right = ["the cat sat on the mat"], ["the cat is on the mat"]
    assert llm_scores.exact(said, right) == 0.0
    assert llm_scores.bleu(right, right) == pytest.approx(100)
    assert llm_scores.chrf(right, right) == pytest.approx(100)
    # BLEU by hand: precisions 5/6, 3/5, 1/4 and 1/6 (none of three, smoothed to a half), no brevity penalty
    assert llm_scores.bleu(said, right) == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25)
    assert llm_scores.chrf(["abc"], ["xyz"]) == 0.0


def test_bleurt_is_read_from_a_local_checkpoint_with_one_output(folder, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    place = tmp_path / "bleurt"
    tokenizer = tiny_llama.tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1,
                num_attention_heads=1, intermediate_size=8, num_labels=1, max_position_embeddings=512))  # fmt: skip
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    score = llm_scores.scores(str(place))["BLEURT"]
    alike, apart = score(["the red fox"], ["the red fox"]), score(["the red fox"], ["a cold river"])
    assert alike != apart
    assert score(["the red fox"] * 2, ["the red fox", "a cold river"]) == pytest.approx((alike + apart) / 2, abs=1e-5)
    with pytest.raises(BadBase, match="no folder with config"):
        llm_scores.scores(str(tmp_path / "missing"))
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(
        json.dumps({**config, "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}})
    )
    with pytest.raises(BadBase, match=r"2 outputs|cannot be loaded"):
        llm_scores.bleurt_of(str(place))


def test_a_frame_has_a_row_for_each_tuning_kind_and_score(base, task, monkeypatch):
    monkeypatch.setitem(llm_runs.PLANS, "smoke", llm_runs.Plan((0,), 1, 6, 2))
    monkeypatch.setattr(
        llm_runs, "tasks_of", lambda base, name, seed: [SmallTask("formatted", task.rows, task.questions)]
    )
    table = llm_runs.measure(base, "smoke")
    assert set(table["method"]) == {"base", "plain tuning"}
    assert set(table["score"]) == {"exact", "chrF", "BLEU", "loss"}
    assert len(table) == 2 * 2 * 4
    assert table[["value", "examples"]].notna().all().all()
