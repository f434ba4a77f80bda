"""Fine-tuning a local model by an adapter: a tiny random Llama on disk, no network, nothing computed twice."""

import json
import shutil
import socket
from dataclasses import replace

import pytest
import torch

from llamas import write_llama
from unseen.datasets import training_examples
from unseen.disk.files import BrokenRun
from unseen.errors import Explained
from unseen.instructions import draw_split
from unseen.pretrained import bases, local, plan, shelf
from unseen.pretrained.adapters import AdapterRun, AdapterSpec
from unseen.specs import EvaluationSpec, TaskSpec

TASK = TaskSpec(instructions=4, unseen_instructions=4, examples=64, no_op_share=0.4, pattern_length=1,
                replacement_length=1, input_length=3, alphabet="abcdefghijkl")  # fmt: skip
TINY = AdapterSpec(rank=4, alpha=8, steps=6, batch=8, micro_batch=4, learning_rate=1e-2, checkpoint_every=2)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def run(llama, runs):
    return AdapterRun(TASK, EvaluationSpec(examples=20), TINY, local.fingerprint(local.checked(llama)))


@pytest.fixture(scope="module")
def loaded(llama):
    return local.adapted(local.load(llama, "cpu"), TINY)


@pytest.fixture(scope="module")
def rows(loaded):
    return local.rows_of(loaded, TINY, training_examples(TASK, draw_split(TASK)))


def never(*given, **named):
    raise AssertionError("this must not happen again")


def test_what_is_done_is_kept_and_never_trained_again(run, llama, monkeypatch):
    told = shelf.ensure(run, llama)
    assert {(line["split"], line["kind"]) for line in told["scores"]} == {
        (split, kind) for split in ("seen", "unseen") for kind in ("has-op", "no-op")
    }
    assert {path.name for path in shelf.folder_of(run).iterdir()} - {".lock"} == {"adapter", "manifest.json"}
    assert (shelf.folder_of(run) / "adapter" / "adapter_model.safetensors").is_file()
    assert shelf.scores(run, shelf.adapter_of(run, llama)) == told["scores"]  # what peft saved is what was trained
    monkeypatch.setattr(local, "load", never)
    assert shelf.ensure(run, llama) == told


def test_an_interrupted_run_goes_on_to_the_same_adapter(run, llama, monkeypatch):
    whole = shelf.ensure(run, llama)["files"]
    shutil.rmtree(shelf.folder_of(run))
    said, steps, backward = [], [], local.backward

    def dies(*given):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return backward(*given)

    monkeypatch.setattr(local, "backward", dies)
    with pytest.raises(KeyboardInterrupt):
        shelf.ensure(run, llama)
    monkeypatch.setattr(local, "backward", backward)
    told = shelf.ensure(run, llama, said.append)
    assert said == [f"adapter {run.digest()} goes on from step 2"]
    assert told["began_at_step"] == 2
    assert told["files"] == whole
    assert not (shelf.folder_of(run) / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "manifest.json"])
def test_a_changed_file_is_told_and_not_trained_again(run, llama, monkeypatch, name):
    shelf.ensure(run, llama)
    path = shelf.folder_of(run) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(local, "load", never)
    with pytest.raises(BrokenRun, match=path.name):
        shelf.ensure(run, llama)


def test_a_rotten_checkpoint_is_told(run, llama):
    path = shelf.folder_of(run) / "checkpoint.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rotten")
    with pytest.raises(BrokenRun, match="is not a checkpoint of this run"):
        shelf.ensure(run, llama)


def test_training_lowers_the_loss_and_leaves_the_base_alone(run, llama, rows):
    tuned = local.adapted(local.load(llama, "cpu"), TINY)
    frozen = {name: value.clone() for name, value in tuned.model.named_parameters() if not value.requires_grad}
    before = local.loss_of(tuned, local.batch_of(tuned, rows)).item()
    optimizer = torch.optim.AdamW(local.trained_weights(tuned).values(), lr=TINY.learning_rate, weight_decay=0.0)
    local.train(tuned, optimizer, replace(run, adapter=TINY.but(steps=30)), rows, 0, lambda step: None)
    assert (
        local.loss_of(tuned, local.batch_of(tuned, rows)).item() < 0.98 * before
    )  # frozen random weights leave little to learn
    assert all(torch.equal(value, dict(tuned.model.named_parameters())[name]) for name, value in frozen.items())
    assert all("lora" in name for name in local.trained_weights(tuned))


# Prompts, loss, decoding


def test_a_prompt_is_plain_text_and_the_answer_ends(loaded, rows):
    prompt, answer = rows[0]
    line = training_examples(TASK, draw_split(TASK)).line(0)
    asked = f"<s>Rule: {line.rule.pattern} -> {line.rule.replacement}\nInput: {line.text}\nOutput: "
    assert loaded.tokenizer.decode(prompt) == asked
    assert loaded.tokenizer.decode(answer) == f"{line.answer}</s>"


def test_the_loss_counts_the_answer_alone(loaded, rows):
    batch = local.batch_of(loaded, rows[:3])
    assert (batch["labels"] != -100).sum() == sum(len(answer) for _, answer in rows[:3])
    logits = loaded.model(input_ids=torch.tensor([rows[0][0] + rows[0][1]])).logits[0]
    prompt, answer = rows[0]
    chances = logits.log_softmax(-1)
    by_hand = -sum(chances[len(prompt) - 1 + i, token] for i, token in enumerate(answer))
    assert torch.isclose(local.loss_of(loaded, local.batch_of(loaded, rows[:1])), by_hand, rtol=1e-4)


def test_what_fills_up_a_batch_changes_nothing(loaded, rows):
    longer = ([*rows[1][0], *rows[1][0]], rows[1][1])
    together = local.loss_of(loaded, local.batch_of(loaded, [rows[0], longer]))
    apart = sum(local.loss_of(loaded, local.batch_of(loaded, [row])) for row in (rows[0], longer))
    assert torch.isclose(together, apart, rtol=1e-4)
    assert local.answers(loaded, [rows[0], longer]) == [local.answers(loaded, [row])[0] for row in (rows[0], longer)]


@pytest.mark.parametrize("micro_batch", [1, 2, 8])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(loaded, rows, micro_batch):
    weights = list(local.trained_weights(loaded).values())
    loaded.model.zero_grad()
    loss = sum(local.backward(loaded, micro_batch, rows[:8]))
    tokens = sum(len(answer) for _, answer in rows[:8])
    mean = local.loss_of(loaded, local.batch_of(loaded, rows[:8])) / tokens
    wanted = torch.autograd.grad(mean, weights)
    assert loss == pytest.approx(mean.item(), rel=1e-4)
    assert all(torch.allclose(w.grad, g, atol=1e-5) for w, g in zip(weights, wanted, strict=True))


# What is no base


def test_nobody_is_asked_for_a_model(llama, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    assert local.load(local.checked(llama), "cpu").tokenizer.eos_token_id == 1


@pytest.mark.parametrize(("gone", "told"), [
    (["config.json"], r"holds no config\.json"), (["model.safetensors"], r"no weights as \*\.safetensors"),
    (["tokenizer.json"], "holds no tokenizer"),
])  # fmt: skip
def test_a_folder_that_lacks_something_is_refused(llama, tmp_path, gone, told):
    folder = shutil.copytree(llama, tmp_path / "model")
    for name in gone:
        (folder / name).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(local.BadBase, match=told):
        local.checked(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(local.BadBase, match="no such folder; it must be that of a model"):
        bases.base_of(str(tmp_path / "missing"), "smoke")
    with pytest.raises(local.BadBase, match="no such folder"):
        bases.base_of("meta-llama/Llama-2-7b-hf", "smoke")
    assert issubclass(local.BadBase, Explained)


def test_without_the_extra_a_person_reads_how_to_get_it(llama, monkeypatch):
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == "peft" else name)
    with pytest.raises(local.BadBase, match=r"needs peft: .*\[adapters\]"):
        local.checked(llama)


def test_a_rank_that_is_not_low_is_refused(llama):
    with pytest.raises(local.BadBase, match="rank=17 is not allowed: this model is 16 wide"):
        local.adapted(local.load(llama, "cpu"), TINY.but(rank=17))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_of_rubbish_is_one_sentence(llama, tmp_path, name):
    folder = shutil.copytree(llama, tmp_path / "model")
    (folder / name).write_text('{"model_type": "no such thing"}')
    with pytest.raises(local.BadBase, match="cannot be loaded"):
        local.load(folder, "cpu")


def test_code_in_the_folder_is_not_run(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": names}))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(local.BadBase, match="cannot be loaded"):
        local.load(folder, "cpu")
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_an_end_is_refused(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    del told["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(local.BadBase, match="no end token"):
        local.load(folder, "cpu")


# The spec, and the one interface


@pytest.mark.parametrize(("changes", "told"), [
    ({"rank": 0}, "must be at least 1"), ({"rank": 4.0}, "expected int"), ({"learning_rate": 0.0}, "at least 1e-08"),
    ({"batch": 10, "micro_batch": 4}, "must divide batch=10"), ({"template": "{x}{y}"}, "each once"),
    ({"template": "{x}{y}{z}{z}"}, "each once"), ({"template": "{x}{y}{z.__class__}"}, "each once"),
    ({"template": "{x}{y}{z!r}"}, "each once"), ({"template": "{x}{y}{z"}, "each once"), ({"template": "{x}{y}{z:9}"}, "each once"),
])  # fmt: skip
def test_an_impossible_adapter_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        TINY.but(**changes)


def test_the_defaults_are_the_papers():
    paper = AdapterSpec()
    assert (paper.rank, paper.alpha, paper.learning_rate, paper.batch, paper.steps) == (512, 1024, 1e-5, 64, 2_000)
    assert bases.AMOUNTS["paper"].examples == 40_000
    assert {each.setting.base.evaluation.examples for each in plan.tunings("paper")} == {5_000}


def test_another_base_task_or_adapter_is_another_run(run, llama, tmp_path):
    wider = write_llama(tmp_path / "other", width=32)
    changed = [replace(run, base=local.fingerprint(wider)), replace(run, adapter=TINY.but(steps=7)),
               replace(run, task=TASK.but(example_seed=3)), replace(run, evaluation=EvaluationSpec(21))]  # fmt: skip
    assert len({each.digest() for each in [run, *changed]}) == 5


def test_a_local_base_answers_as_the_own_one_does(llama, runs):
    base = bases.base_of(str(llama), "smoke", rank=8)
    assert (base.adapter.rank, base.adapter.alpha, base.adapter.steps) == (8, 16, 12)
    both = plan.tunings("smoke")[:2]
    few = [each._replace(setting=replace(each.setting, instructions=(2,), seeds=(0,))) for each in both]
    quick = replace(base, adapter=TINY)
    table = quick.measure(few)
    own = bases.base_of("", "smoke").measure(few)
    assert {*own} == {*table}
    assert table["start"].tolist() == ["pre-trained"] * 4
    assert table[["split", "kind"]].apply(tuple, axis=1).nunique() == 4
    assert table["width"].unique().tolist() == [16]


def test_dropout_of_a_base_follows_from_the_run_alone(run, llama, rows):
    def after(begun):
        torch.manual_seed(begun)  # what another cell may have done before
        tuned = local.adapted(local.load(llama, "cpu"), TINY)
        for layer in tuned.model.get_base_model().model.layers:
            layer.self_attn.attention_dropout = 0.5
        optimizer = torch.optim.AdamW(local.trained_weights(tuned).values(), lr=TINY.learning_rate, weight_decay=0.0)
        return local.train(tuned, optimizer, run, rows, 0, lambda step: None)

    assert after(1) == after(2)


def test_a_model_that_was_replaced_is_another_one(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    before = local.fingerprint(folder)
    assert before == local.fingerprint(llama)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert local.fingerprint(folder) != before


def test_what_is_broken_says_which_folder_to_delete(run, llama):
    shelf.ensure(run, llama)
    (shelf.folder_of(run) / "manifest.json").write_text("{}")
    with pytest.raises(BrokenRun, match=f"delete {shelf.folder_of(run)}, and it is trained again"):
        shelf.ensure(run, llama)
