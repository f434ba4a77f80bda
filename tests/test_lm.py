"""Language models in local folders: a tiny random Llama on disk, no network, nothing computed twice."""

import hashlib
import json
import math
import shutil
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from llamas import write_llama
from unseen.errors import Explained
from unseen.files import BrokenRun
from unseen.lm import chat, load, rules, scores, tiny, tune
from unseen.lm.load import BadBase
from unseen.lm.rules import AdapterRun
from unseen.lm.tune import AdapterSpec
from unseen.messages import Message, pair, self_sample
from unseen.model import seeded
from unseen.specs import EvaluationSpec
from unseen.studies import pretraining
from unseen.worlds.strings import TaskSpec

TASK = TaskSpec(instructions=4, unseen_instructions=4, examples=64, no_op_share=0.4, pattern_length=1,
                replacement_length=1, input_length=3, alphabet="abcdefghijkl")  # fmt: skip
SPEC = AdapterSpec(rank=4, alpha=8, steps=6, batch=8, micro_batch=4, learning_rate=1e-2, checkpoint_every=2)
CHAT = SPEC.but(modules="q_proj,k_proj,v_proj,o_proj,embed_tokens", steps=1, decay=False)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """The tiny model that is made here, hardly trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("made")))
        return tiny.ensure(tiny.TinySpec(width=16, layers=1, heads=2, steps=2, batch=4))


@pytest.fixture
def run(llama, runs):
    return AdapterRun(TASK, EvaluationSpec(examples=20), SPEC, load.fingerprint(llama))


@pytest.fixture(scope="module")
def loaded(llama):
    return tune.adapted(load.load(llama, "cpu"), SPEC)


@pytest.fixture(scope="module")
def rows(loaded):
    return rules.rows_of(loaded, TASK.training(TASK.split()))


@pytest.fixture
def copy(llama, tmp_path):
    """A copy of the model's folder, to be damaged."""
    return shutil.copytree(llama, tmp_path / "model")


def never(*given, **named):
    raise AssertionError("this must not happen")


def rewrite(path, **changes):
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def random_model(folder, name, **shape):
    """Write a random model of an architecture into a folder, in place of the one there."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**shape)
    with seeded(0):
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)


# Folders that are refused, before any work


@pytest.mark.parametrize(("gone", "there", "message"), [
    ("config.json", "", r"holds no config\.json"), ("tokenizer.json", "", "holds no tokenizer"),
    ("model.safetensors", "pytorch_model.bin", r"no weights as \*\.safetensors.*pickle.*save_pretrained"),
    ("model.safetensors", "consolidated.pth", "pickle"), ("model.safetensors", "a.msgpack", "another form"),
    ("model.safetensors", "model-Q4_K_M.gguf", "llama.cpp's form"),
    ("model.safetensors", "consolidated.safetensors", "neither model.safetensors nor named in"),
    ("config.json", "adapter_config.json", r"it is an adapter: merge it into its base"),
    ("", "adapter_config.json", r"adapter_config.json; it is an adapter"),
    ("tokenizer.json", "trainer_state.json", "a Trainer's checkpoint: copy what is missing"),
    ("config.json", "checkpoint-40/adapter_config.json", "a Trainer's output: try .*checkpoint-40"),
    ("config.json", "snapshots/0a1b/config.json", "the hub's cache: try .*snapshots/0a1b"),
    ("config.json", "models--a--b/snapshots/0a1b/config.json", "the hub's cache: try .*a--b/snapshots/0a1b"),
    ("config.json", "hub/models--a--b/snapshots/0a1b/config.json", "the hub's cache: try .*snapshots/0a1b"),
    ("config.json", "llama/config.json", "a folder of folders: try .*llama"),
])  # fmt: skip
def test_a_folder_that_lacks_something_is_refused_by_what_it_most_likely_is(copy, gone, there, message):
    if gone:
        (copy / gone).unlink()
    if there:
        (copy / there).parent.mkdir(parents=True, exist_ok=True)
        (copy / there).write_bytes(b"{}")
    with pytest.raises(BadBase, match=message):
        load.checked(copy)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"]
)
def test_a_pointer_of_git_lfs_is_named(copy, name):
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 135\n")
    with pytest.raises(BadBase, match=f"{name} is a pointer of git-lfs.*git lfs pull"):
        load.checked(copy)


def test_a_part_of_a_file_and_a_lost_shard_are_named(copy):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-9])
    with pytest.raises(BadBase, match="not copied whole"):
        load.checked(copy)
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadBase, match=r"lacks model-00002-of-00002\.safetensors"):
        load.checked(copy)


def test_links_that_lead_nowhere_are_named(copy):
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to("../../blobs/0a1b")
    with pytest.raises(BadBase, match=r"a link to \.\./\.\./blobs/0a1b, which is not there: copy .*cp -rL"):
        load.checked(copy)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(("form", "what"), [("utf-16", "UTF-16"), ("utf-8-sig", "BOM"), ("ascii", "line 1")])
def test_a_setting_that_is_no_json_is_named(copy, name, form, what):
    (copy / name).write_text("{" * (form == "ascii") + (copy / name).read_text(), form)
    with pytest.raises(BadBase, match=f"{name} cannot be loaded, since it is no JSON in UTF-8: .*{what}"):
        load.checked(copy)


@pytest.mark.parametrize("name", ["quantization_config", "quantization"])
def test_a_quantised_model_is_refused_by_name_before_any_work(copy, name):
    rewrite(copy / "config.json", **{name: {"quant_method": "gptq", "bits": 4}})
    with pytest.raises(BadBase, match=r"quantised \(gptq\).*take the model that it was made from"):
        load.checked(copy)


@pytest.mark.parametrize(("change", "what"), [
    (lambda name: f"_orig_mod.{name}", r"lm_head\.weight and \d+ more .* it holds _orig_mod\.lm_head"),
    (lambda name: name.replace("layers.1.", "layers.7."), r"layers\.1\..* more are missing .*layers\.7\."),
    (lambda name: name.replace("model.norm", "model.last"), r"model\.norm\.weight are .* model\.last"),
])  # fmt: skip
def test_weights_that_would_be_drawn_at_random_are_refused_before_any_work(copy, change, what):
    weights = load_file(copy / "model.safetensors")
    there = {change(name): weight for name, weight in weights.items()}
    save_file(there, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadBase, match=what):
        load.outline(load.checked(copy))


def test_weights_of_another_size_or_not_finite_are_refused(copy):
    config, weights = (copy / "config.json").read_text(), load_file(copy / "model.safetensors")
    rewrite(copy / "config.json", vocab_size=7)
    with pytest.raises(BadBase, match=r"lm_head\.weight and 1 more are missing or of another size"):
        load.outline(load.checked(copy))
    (copy / "config.json").write_text(config)
    damaged = {name: math.nan * each for name, each in weights.items()}
    save_file(damaged, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadBase, match="numbers that are not finite"):
        load.load(load.checked(copy), "cpu")


def test_how_a_model_usually_generates_changes_no_answer(chatty, tmp_path):
    folder = shutil.copytree(chatty, tmp_path / "model")
    odd = {"repetition_penalty": 9.0, "suppress_tokens": [*range(5, 99)], "max_length": 2, "eos_token_id": 1}
    (folder / "generation_config.json").write_text(json.dumps(odd))
    models, query = [load.load(each, "cpu") for each in (chatty, folder)], pair("flip this : A", "")[:1]
    prompts = chat.prompts_of(models[0], [query])
    usual, same = (chat.answers(model, prompts, 20, unended=True) for model in models)
    assert usual == same


def test_answers_kept_when_they_followed_the_day_or_penalties_do_not_come_back(llama, copy):
    """Before those were kept out of answers, the fingerprint was the hash of the files alone."""

    def alone(folder):
        found = load._deciding(folder)
        lines = (f"{path.relative_to(folder).as_posix()} {load.hash_of(path)}\n" for path in found)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    assert load.fingerprint(llama) == alone(llama)
    usual = {"eos_token_id": 1, "top_p": 0.9, "use_cache": True}
    for name, content, same in (
        ("generation_config.json", json.dumps(usual), True),
        ("generation_config.json", json.dumps({**usual, "no_repeat_ngram_size": 3}), False),
        ("chat_template.jinja", "{{ strftime_now('%d') }}", False), ("chat_template.jinja", "today", True),
    ):  # fmt: skip
        (copy / name).write_text(content)
        assert (load.fingerprint(copy) == alone(copy)) == same, content
        (copy / name).unlink()


@pytest.mark.parametrize("base", ["{}/config.json", "{}/model.gguf"])
def test_a_file_is_no_folder(copy, base):
    (copy / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadBase, match=r"is a file; .*a model($|; .*llama\.cpp)"):
        load.checked(base.format(copy))


@pytest.mark.parametrize("name", ["Bert", "ModernBert", "XLM", "T5", "ViT"])
def test_a_model_that_is_not_causal_is_refused_by_name_before_its_weights_are_read(copy, name):
    import transformers

    config = getattr(transformers, f"{name}Config")(architectures=[f"{name}Model"])
    (copy / "config.json").write_text(config.to_json_string())
    with pytest.raises(BadBase, match=f"holds {name}Model, .*a base must be causal"):
        load.checked(copy)


SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(("name", "shape"), [
    ("GPT2", {"n_embd": 16, "n_layer": 1, "n_head": 2}), ("GPTNeoX", SHAPE), ("Phi", SHAPE), ("Llama", SHAPE),
    ("OPT", SHAPE | {"word_embed_proj_dim": 16, "ffn_dim": 16}), ("Bert", SHAPE | {"is_decoder": True}),
])  # fmt: skip
def test_an_adapter_fits_every_architecture(copy, name, shape):
    random_model(copy, name, vocab_size=60, **shape)
    outline, spec = load.outline(load.checked(copy)), SPEC.but(modules=tune.ALL, steps=2)
    assert bool(tune.lacking(outline, CHAT.modules)) == (name != "Llama")
    model = tune.adapted(load.load(copy, "cpu"), spec)
    assert {*tune.trained_weights(model)} == {*tune.trained_weights(tune.adapted(outline, spec))}
    assert any("lora_embedding_A" in weight for weight in tune.trained_weights(model))
    assert len(tune.tune(model, spec, [([3, 4], [5, 1])] * 8)) == 2


def test_models_that_look_ahead_cannot_be_read_or_take_no_adapter_are_refused(copy):
    shape = {"vocab_size": 60, "n_layer": 1, "n_head": 2}
    random_model(copy, "XLNet", d_model=16, d_inner=16, **shape)  # whatever its configuration says
    with pytest.raises(BadBase, match="reads tokens that come later"):
        load.load(load.checked(copy), "cpu")
    random_model(copy, "CodeGen", n_embd=16, rotary_dim=8, **shape)
    with pytest.raises(BadBase, match=r"cannot read four tokens, .*: shape .* is invalid"):
        load.load(load.checked(copy), "cpu")
    random_model(copy, "Mamba", vocab_size=60, hidden_size=16, num_hidden_layers=1)
    with pytest.raises(BadBase, match=r"no adapter can be put on this model: .*Mamba"):
        tune.adapted(load.outline(load.checked(copy)), SPEC.but(modules=tune.ALL))


def test_a_missing_folder_is_refused_and_nobody_is_contacted(llama, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    with pytest.raises(BadBase, match=r"no such folder.*hf download .* --local-dir"):
        load.checked("meta-llama/Llama-2-7b-hf")
    assert load.load(load.checked(llama), "cpu").tokenizer.eos_token_id == 1
    assert issubclass(BadBase, Explained)


@pytest.mark.parametrize(("extra", "package"), [("adapters", "peft"), ("llm", "sacrebleu")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(llama, monkeypatch, extra, package):
    monkeypatch.setattr(load, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(BadBase, match=rf"needs {package}: .*\[{extra}\]"):
        load.checked(llama, chat=extra == "llm")


def test_a_tokenizer_without_end_or_template_is_refused(copy):
    with pytest.raises(BadBase, match="no chat template;"):
        load.checked(copy, chat=True)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    rewrite(copy / "tokenizer_config.json", chat_template=[{"name": "rag", "template": "x"}])
    with pytest.raises(BadBase, match="no chat template, only rag and no default;"):
        load.checked(copy, chat=True)
    del settings["eos_token"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    (copy / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(BadBase, match="no end token"):
        load.checked(copy)


def test_too_little_memory_is_reported_with_both_numbers(chatty, monkeypatch):
    weights = sum(weight.numel() for weight in load.load(chatty, "cpu").model.parameters())
    assert load.memory_needed(chatty, "cpu") - load.WORK == int(weights * 4 * 1.1)
    assert load.memory_needed(chatty, "cuda") - load.WORK == int(weights * 2 * 1.1)
    assert load.memory_free("cpu") > 2**26
    twice = [chatty / f"{name}.safetensors" for name in ("consolidated", "model-00001-of-00001")]
    for path in twice:  # would be counted again
        shutil.copy(chatty / "model.safetensors", path)
    assert load.memory_needed(chatty, "cpu") - load.WORK == int(weights * 4 * 1.1)
    for path in twice:
        path.unlink()
    monkeypatch.setattr(load, "memory_free", lambda device: 2**20)
    with pytest.raises(BadBase, match=r"about 0\.3 GiB of memory on cpu, and 0\.0 GiB are free"):
        load.checked(chatty, True, "cpu")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_of_rubbish_is_one_sentence(copy, name):
    (copy / name).write_text('{"model_type": "no such thing"}')
    with pytest.raises(BadBase, match="cannot be loaded"):
        load.load(load.checked(copy, device="cpu"), "cpu")


def test_code_in_the_folder_does_not_run(copy, tmp_path):
    names = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    rewrite(copy / "config.json", model_type="evil", auto_map=names)
    ran = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n"
    (copy / "evil.py").write_text(ran)
    with pytest.raises(BadBase, match="cannot be loaded"):
        load.load(copy, "cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", [
    "config.json", "chat_template.jinja", "additional_chat_templates/tool.jinja", "generation_config.json",
    "merges.txt", "vocab.bpe", "qwen.tiktoken", "source.spm", "special_tokens_map.json", "part/settings.yaml",
])  # fmt: skip
def test_whatever_decides_an_answer_is_in_the_fingerprint_and_nothing_else(llama, copy, name):
    for other in ("README.md", "pytorch_model.bin", "checkpoint-9/config.json", ".cache/a.json"):
        (copy / other).parent.mkdir(exist_ok=True)
        (copy / other).write_text("x")
    before = load.fingerprint(copy)
    assert before == load.fingerprint(llama)
    (copy / name).parent.mkdir(exist_ok=True)
    with (copy / name).open("a") as file:
        file.write("\n")
    assert load.fingerprint(copy) != before


# The adapter and the loop


@pytest.mark.parametrize(("changes", "message"), [
    ({"rank": 0}, "rank=0"), ({"rank": 4.0}, "rank=4.0"), ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ({"dropout": 1.0}, "dropout=1.0"), ({"token_rate": -1.0}, "token_rate=-1.0"),
    ({"batch": 10}, "micro_batch=4: must divide batch=10"),
])  # fmt: skip
def test_an_impossible_adapter_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SPEC.but(**changes)


def test_an_adapter_that_does_not_fit_the_model_is_refused(llama):
    model = load.load(llama, "cpu")
    with pytest.raises(BadBase, match="rank=17 is not allowed: this model is 16 wide"):
        tune.adapted(model, SPEC.but(rank=17))
    with pytest.raises(BadBase, match="no layers c_attn"):
        tune.adapted(model, SPEC.but(modules="q_proj,c_attn"))


def test_tuning_lowers_the_loss_leaves_the_base_alone_and_says_how_far_it_is(llama, rows, monkeypatch):
    tuned, said = tune.adapted(load.load(llama, "cpu"), SPEC), []
    monkeypatch.setattr(chat, "_PAUSE", 0)
    named = dict(tuned.model.named_parameters())
    frozen = {name: value.clone() for name, value in named.items() if not value.requires_grad}
    before = tune.mean_loss(tuned, rows)
    tune.tune(tuned, SPEC.but(steps=30), rows, say=said.append)
    assert [line.split(",")[0] for line in said[:2]] == ["adapter: step 1 of 30", "adapter: step 2 of 30"]
    assert tune.mean_loss(tuned, rows) < 0.98 * before  # frozen random weights leave little to learn
    assert all(torch.equal(value, named[name]) for name, value in frozen.items())
    assert all("lora" in name for name in tune.trained_weights(tuned))


def test_the_loss_counts_the_answer_alone(loaded, rows):
    prompt, answer = rows[0]
    chances = loaded.model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    by_hand = -sum(chances[len(prompt) - 1 + i, token] for i, token in enumerate(answer))
    assert torch.isclose(tune.loss_of(loaded, rows[:1]), by_hand, rtol=1e-4)


def test_the_penalty_is_the_divergence_from_the_base(llama, rows):
    tuned = tune.adapted(load.load(llama, "cpu"), SPEC)
    plain, drawn = tune.loss_of(tuned, rows[:4]), tune.loss_of(tuned, rows[:4], 2.0)
    assert drawn.item() == pytest.approx(plain.item(), rel=1e-5)  # a new adapter changes nothing yet
    tune.tune(tuned, SPEC, rows, say=str)
    apart = tune.loss_of(tuned, rows[:4], 1.0) - tune.loss_of(tuned, rows[:4])
    with torch.no_grad(), tuned.model.disable_adapter():
        base = [tuned.model(input_ids=torch.tensor([ask + right])).logits[0] for ask, right in rows[:4]]
    own = [tuned.model(input_ids=torch.tensor([ask + right])).logits[0] for ask, right in rows[:4]]
    wanted = 0.0
    for (ask, _), said, known in zip(rows, own, base, strict=False):
        said, known = (each[len(ask) - 1 : -1].log_softmax(-1) for each in (said, known))
        wanted += (known.exp() * (known - said)).sum().item()
    assert apart.item() == pytest.approx(wanted, rel=1e-3)
    held = tune.adapted(load.load(llama, "cpu"), SPEC)
    tune.tune(held, SPEC.but(kl=100.0), rows, say=str)
    assert (tune.loss_of(held, rows, 1.0) - tune.loss_of(held, rows)) < apart / 2


def test_what_fills_up_a_batch_changes_nothing(loaded, rows):
    both = [rows[0], ([*rows[1][0], *rows[1][0]], rows[1][1])]
    apart = sum(tune.loss_of(loaded, [row]) for row in both)
    assert torch.isclose(tune.loss_of(loaded, both), apart, rtol=1e-4)
    prompts = [prompt for prompt, _ in both]
    assert chat.answers(loaded, prompts, 5) == [chat.answers(loaded, [prompt], 5)[0] for prompt in prompts]


def test_the_head_is_given_one_block_in_tuning_and_in_answers(chatty):
    """Of a slice torch multiplies every row by a copy of the vocabulary: twice the time of an update."""
    first = load.load(chatty, "cpu")
    for model in (first, load.untaught(first, 0), load.with_token(load.load(chatty, "cpu"), "<new>")):
        seen, head = [], model.model.get_output_embeddings()
        head.register_forward_hook(lambda layer, given, out, seen=seen: seen.append(given[0].is_contiguous()))
        tune.loss_of(model, [([5, 6, 7], [8, 1]), ([5, 6], [9, 1])])
        chat.answers(model, [[5, 6, 7], [5, 6, 8]], 2)
        assert seen
        assert all(seen)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(loaded, rows):
    weights = list(tune.trained_weights(loaded).values())
    loaded.model.zero_grad()
    loss = tune.backward(loaded, rows[:8], 3, tune.ANSWERS)
    mean = tune.loss_of(loaded, rows[:8]) / sum(len(answer) for _, answer in rows[:8])
    expected = torch.autograd.grad(mean, weights)
    assert loss == pytest.approx(mean.item(), rel=1e-4)
    assert all(torch.allclose(w.grad, g, atol=1e-5) for w, g in zip(weights, expected, strict=True))


# A new token


def test_the_new_token_has_an_embedding_drawn_by_the_seed(chatty):
    before = load.load(chatty, "cpu").model.get_input_embeddings().weight
    models = [load.with_token(load.load(chatty, "cpu"), "<sep>", seed) for seed in (0, 0, 1)]
    tables = [each.model.get_input_embeddings().weight for each in models]
    assert torch.equal(tables[0], tables[1])
    assert all(torch.equal(table[:-1], before) for table in tables)
    assert not torch.equal(tables[0][-1], tables[2][-1])
    assert models[0].token == len(before)
    ids = models[0].tokenizer("flip this in <sep> format : AB")["input_ids"]
    assert models[0].tokenizer.convert_ids_to_tokens(ids)[3:6] == ["<sep>", "▁format", "▁:"]
    for text in ("A<sep>B", "A <sep> B", "A<sep></s>B"):
        assert models[0].token in chat.prompts_of(models[0], [pair(text, "")[:1]])[0]


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_the_token_can_have_a_rate_of_its_own(chatty, factor):
    moved = []
    for token_rate in (0.0, factor * CHAT.learning_rate):
        model = tune.adapted(load.with_token(load.load(chatty, "cpu"), "<sep>"), CHAT)
        weights = tune.trained_weights(model)
        table = next(value for name, value in weights.items() if "lora_embedding_A" in name)
        start = table.detach().clone()
        rows = chat.rows_of(model, [pair("flip this in <sep> format : AB", "BA")] * 8)
        tune.tune(model, CHAT.but(token_rate=token_rate), rows)
        moved.append((table - start).detach())
    assert torch.equal(moved[0][:, :-1], moved[1][:, :-1])
    assert torch.allclose(moved[1][:, -1], (factor or 1.0) * moved[0][:, -1], atol=1e-7)
    assert moved[0][:, -1].abs().max() > 1e-3


# Conversations and answers


def test_a_prompt_is_the_chat_template_and_the_answer_ends(chatty):
    model = load.load(chatty, "cpu")
    turns = (*pair("flip this : AB", "BA"), *pair("copy it : AB", "AB"))
    ((prompt, answer),) = chat.rows_of(model, [turns])
    assert model.tokenizer.decode(answer).strip() == "AB</s>"
    messages = [message._asdict() for message in turns[:-1]]
    template = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert prompt == template == chat.prompts_of(model, [turns[:-1]])[0]


@pytest.fixture(scope="module")
def bytewise():
    """A tokenizer that loses nothing, with a model that is never called."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

    vocabulary = {sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="<pad>")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]})
    model = SimpleNamespace(generation_config=GenerationConfig(), config=LlamaConfig(), eval=lambda: None)
    return load.Loaded(model, tokenizer, "cpu")


THOUGHT = "<think>\n\n</think>\n\n"
TEMPLATES = {  # what an assistant's turn begins with, and what the prompt for one ends with
    "plain": ("", ""), "thought in a turn": (THOUGHT, ""), "in a prompt": ("", THOUGHT),
    "in both": (THOUGHT, THOUGHT), "opened in a prompt": ("", "<think>\n"),
    "opened, then empty": (THOUGHT, "<think>\n"), "space": (" ", ""), "name": ("answer: ", "answer:"),
}  # fmt: skip
TURNS = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% if message['role'] == 'assistant' %}{{ TURN }}"
    "{% endif %}{{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ PROMPT }}{% endif %}"
)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("trims", [False, True])
def test_a_model_that_writes_what_it_was_trained_on_is_right(bytewise, monkeypatch, name, trims):
    turn, prompt = map(repr, TEMPLATES[name])
    template = TURNS.replace("TURN", turn).replace("PROMPT", prompt)
    template = template.replace("['content']", "['content'] | trim") if trims else template
    monkeypatch.setattr(bytewise.tokenizer, "chat_template", template)
    for answer in ("BA", " BA ", "", "<think> B </think> A", "B</s>A", "</s>"):
        turns = pair("flip this : </s>AB", answer)
        ((ids, right),) = chat.rows_of(bytewise, [turns])
        assert chat.prompts_of(bytewise, [turns[:1]]) == [ids]
        assert bytewise.tokenizer.decode(ids).endswith(TEMPLATES[name][0].strip(" "))
        said = torch.tensor([ids + right])
        monkeypatch.setattr(bytewise.model, "generate", lambda said=said, **how: said, raising=False)
        assert chat.reply(bytewise, [turns[:1]], 99) == [answer.strip()]


def test_a_template_that_writes_the_date_gives_the_same_prompt_on_every_day(bytewise, monkeypatch):
    template = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y %f') }}{% endif %}" + tiny.TEMPLATE
    monkeypatch.setattr(bytewise.tokenizer, "chat_template", template)
    (prompt,) = chat.prompts_of(bytewise, [pair("q", "")[:1]])
    assert bytewise.tokenizer.decode(prompt).startswith("26 Jul 2024<|user|>q")


@pytest.mark.parametrize("answer", ["A , B .", "it 's", "do n't ! ?"])
def test_blanks_before_a_sign_are_part_of_an_answer(bytewise, monkeypatch, answer):
    monkeypatch.setattr(bytewise.tokenizer, "chat_template", tiny.TEMPLATE)
    for name in ("", "_for_bpe_even_though_it_will_corrupt_output"):
        monkeypatch.setattr(bytewise.tokenizer, f"clean_up_tokenization_spaces{name}", True)
    ((ids, right),) = chat.rows_of(bytewise, [pair("q", answer)])
    monkeypatch.setattr(bytewise.model, "generate", lambda **how: torch.tensor([ids + right]), raising=False)
    assert chat.reply(bytewise, [pair("q", "")[:1]], 99) == [answer]


def test_an_end_that_the_tokenizer_does_not_know_is_passed_over(bytewise, monkeypatch):
    monkeypatch.setattr(bytewise.tokenizer, "chat_template", tiny.TEMPLATE)
    usual = chat.rows_of(bytewise, [pair("q", "a")])
    monkeypatch.setattr(bytewise.model.generation_config, "eos_token_id", 999_999)
    assert chat.rows_of(bytewise, [pair("q", "a")]) == usual


@pytest.mark.parametrize("text", ["x </s> y", "<|user|>", "a<unk>b", "\U000f0000</s>\U000f0001"])
def test_text_is_never_read_as_a_control_token(bytewise, monkeypatch, text):
    monkeypatch.setattr(bytewise.tokenizer, "chat_template", tiny.TEMPLATE)
    ((prompt, answer),) = chat.rows_of(bytewise, [pair(text, text)])
    ((usual, _),) = chat.rows_of(bytewise, [pair("AB", "AB")])
    assert [token for token in prompt if token > 255] == [token for token in usual if token > 255]
    assert [i for i, token in enumerate(answer) if token > 255] == [len(answer) - 1]
    assert max(chat.ids_of(bytewise, [text])[0]) < 256
    assert bytewise.tokenizer.decode(prompt[1:-2]) == text


def test_what_the_model_cannot_read_is_one_sentence(chatty):
    model = load.load(chatty, "cpu")
    with pytest.raises(BadBase, match="more than the 512 that this model reads"):
        chat.rows_of(model, [pair("A" * 600, "A")])
    with pytest.raises(BadBase, match="more than the 512 that this model reads"):
        chat.reply(model, [pair("A", "A")[:1]], 600)
    model.tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(BadBase, match="refuses a conversation: no system turns"):
        chat.prompts_of(model, [pair("A", "A")])


def test_an_answer_that_does_not_end_is_counted(chatty):
    model = load.load(chatty, "cpu")
    with torch.no_grad():
        model.model.lm_head.weight.zero_()  # every token is the first one, which ends nothing
    found = self_sample(lambda conversations: chat.reply(model, conversations, 3), [("copy this : A", "A")])
    assert (found.rows, found.malformed) == ([], 1)


def test_answers_come_in_order_and_repeat_by_their_seed(chatty):
    model = load.load(chatty, "cpu")
    queries = [(Message("user", f"{'please ' * (i % 3)}flip this : A"),) for i in range(5)]
    said = []
    greedy = chat.reply(model, queries, 3, at_once=2)
    chat.answers(model, [[3]] * 3, 2, at_once=2, say=said.append)
    assert said == ["2 of 3 answers", "3 of 3 answers"]
    assert greedy == [chat.reply(model, [query], 3)[0] for query in queries]
    how = {"temperature": 0.7, "top_p": 0.95}
    assert chat.reply(model, queries, 9, seed=1, **how) == chat.reply(model, queries, 9, seed=1, **how)


# Rewriting rules, and what is kept


def test_a_rule_is_plain_text_and_the_answer_ends(loaded, rows):
    line = TASK.training(TASK.split()).line(0)
    prompt = f"<s>Rule: {line.rule.pattern} -> {line.rule.replacement}\nInput: {line.text}\nOutput: "
    assert [loaded.tokenizer.decode(ids) for ids in rows[0]] == [prompt, f"{line.answer}</s>"]


def test_what_is_done_is_kept_and_never_tuned_again(run, llama, runs, monkeypatch):
    from peft import PeftModel

    manifest = rules.ensure(run, llama)
    kinds = {(line["split"], line["kind"]) for line in manifest["scores"]}
    assert kinds == {(split, kind) for split in ("seen", "unseen") for kind in ("has-op", "no-op")}
    folder = tune.folder_of(manifest["digest"])
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"adapter", "manifest.json"}
    base = load.load(llama)
    again = load.Loaded(PeftModel.from_pretrained(base.model, folder / "adapter"), base.tokenizer, "cpu")
    assert rules.scores(run, again) == manifest["scores"]  # what peft saved is what was tuned
    monkeypatch.setattr(rules, "load", never)
    assert rules.ensure(run, llama) == manifest


def test_an_interrupted_run_resumes_to_the_same_adapter(run, llama, monkeypatch):
    run = run._replace(training=SPEC.but(dropout=0.1))
    whole, lines, steps, update = rules.ensure(run, llama), [], [], tune.update
    shutil.rmtree(tune.folder_of(whole["digest"]))

    def dies(*given):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return update(*given)

    monkeypatch.setattr(tune, "update", dies)
    with pytest.raises(KeyboardInterrupt):
        rules.ensure(run, llama)
    monkeypatch.setattr(tune, "update", update)
    assert rules.ensure(run, llama, lines.append)["files"] == whole["files"]
    assert lines == [f"adapter {whole['digest']} resumes from step 3"]  # kept at every tenth of the steps


@pytest.mark.parametrize(("seconds", "steps"), [(120, 200), (0, 9)])
def test_a_tuning_resumes_from_a_tenth_or_a_while_ago(loaded, rows, tmp_path, monkeypatch, seconds, steps):
    said, spec = [], SPEC.but(steps=steps, batch=1, micro_batch=1, checkpoint_every=500)
    monkeypatch.setattr(tune, "_PAUSE", seconds)
    dies = iter([*[0.5] * (steps - 1), math.nan])
    monkeypatch.setattr(tune, "update", lambda *given: next(dies))
    with pytest.raises(tune.Diverged):
        tune.tune(loaded, spec, rows, tmp_path / "checkpoint.safetensors", said.append)
    monkeypatch.setattr(tune, "update", lambda *given: 0.25)
    losses = tune.tune(loaded, spec, rows, tmp_path / "checkpoint.safetensors", said.append)
    assert said == [f"adapter {tmp_path.name} resumes from step {180 if seconds else 8}"]
    assert (len(losses), losses[0], losses[-1]) == (steps, 0.5, 0.25)


def test_a_changed_file_or_checkpoint_is_refused_with_advice(run, llama, monkeypatch):
    folder = tune.folder_of(rules.ensure(run, llama)["digest"])
    path = folder / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenRun, match=rf"adapter_model.*delete {folder} .*and it is computed again"):
        rules.ensure(run, llama)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "checkpoint.safetensors").write_bytes(b"rotten")
    with pytest.raises(BrokenRun, match="is not a checkpoint of this run"):
        rules.ensure(run, llama)


def test_another_base_task_evaluation_or_adapter_is_another_run(run, llama, monkeypatch):
    monkeypatch.setattr(tune, "once", lambda folder, about, *_, **__: about)
    changes = [{"base": "x"}, {"task": TASK.but(example_seed=3)}, {"evaluation": EvaluationSpec(21)},
               {"training": SPEC.but(steps=2)}]  # fmt: skip
    digests = {rules.ensure(run._replace(**change), llama)["digest"] for change in [{}, *changes]}
    assert len(digests) == 5


def test_a_local_base_answers_like_the_own_one(llama, runs):
    small = {"instructions": (2,), "seeds": (0,)}
    few = [replace(each, **small) for each in pretraining.tunings("smoke")[:2]]
    table = pretraining.measure("smoke", few, base=str(llama), rank=8)
    own = pretraining.measure("smoke", few)
    assert {*table} - {*own} == {"copied"}  # a language model may repeat the input
    assert {*own} <= {*table}
    assert table["start"].tolist() == ["pre-trained"] * 4
    assert table["width"].unique().tolist() == [16]


# Scores


def test_scores_have_their_known_values():
    written, right = ["the cat sat on the mat"], ["the cat is on the mat"]
    assert scores.exact(written, right) == 0.0
    assert scores.bleu(right, right) == pytest.approx(100)
    # BLEU by hand: precisions 5/6, 3/5, 1/4 and 1/6 (none of three, smoothed to a half), no brevity penalty
    assert scores.bleu(written, right) == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25)
    assert scores.chrf(["abc"], ["xyz"]) == 0.0
    assert scores.exact([" "], [""]) == 1
    assert scores.chrf([None, *right], ["a", *right]) == scores.chrf(["", *right], ["a", *right])


def test_bleurt_is_read_from_a_local_checkpoint_with_one_output(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = tiny.tokenizer()
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    with seeded(0):
        config = BertConfig(vocab_size=len(tokenizer), num_labels=1, **shape)
        BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    score = scores.scores(str(tmp_path))["BLEURT"]
    alike, apart = score(["the red fox"], ["the red fox"]), score(["the red fox"], ["a cold river"])
    assert alike != apart
    assert math.isfinite(score([None, None], ["", "the red fox"]))
    assert score(["the [SEP] fox"], ["the </s> fox"]) == score(["the [SEP] fox"], ["the </s> fox"])
    both = score(["the red fox"] * 2, ["the red fox", "a cold river"])
    assert both == pytest.approx((alike + apart) / 2, abs=1e-5)
    with pytest.raises(BadBase, match="no folder with config"):
        scores.scores(str(tmp_path / "missing"))
    rewrite(tmp_path / "config.json", id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    with pytest.raises(BadBase, match=r"2 outputs|cannot be loaded"):
        scores.bleurt_of(str(tmp_path))
