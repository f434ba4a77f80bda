"""Prompts: orders of a rule and its input, the two towers, and DAPT's losses against values worked out by
hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unseen.layout import Layout
from unseen.rewriting import Rule
from unseen.studies.arena import dispersion, position, towers
from unseen.studies.arena.dispersion import ARMS, BOTH, Tuned, inter, loss_of, prototypes, tuned
from unseen.studies.arena.towers import TowersSpec
from unseen.worlds.language import VERBS, WITHOUT_ARGUMENT

SPEC = TowersSpec(width=16, layers=1, heads=2, steps=3, batch=8)
MUCH = dispersion.amounts("dapt", "smoke")


@pytest.fixture(scope="module")
def frozen():
    """Two towers, hardly trained."""
    return towers.pretrained(SPEC)


# Orders


def test_parts_are_found_where_they_stand_padding_included():
    layout = Layout("abc", 13, 7, parts=(3, 4, 6), least=(1, 0, 1), form="z|x→y=")
    prompt = layout.prompt(Rule("ab", "c"), "aab")
    assert prompt == "aab···|·ab→···c="
    assert [prompt[layout.place(part)] for part in "xyz"] == ["·ab", "···c", "aab···"]


def test_each_model_is_asked_in_every_order_it_has_room_for(runs):
    table = position.measure("smoke")
    assert {*table["arm"]} == {
        "before", "before, asked behind", "behind", "behind, asked before", "both",
        "mixed, asked before", "mixed, asked behind",
    }  # fmt: skip
    trained = [run for setting in position.settings("smoke") for run in setting.runs()]
    assert {*table["run"]} == {run.digest() for run in trained}
    assert all(run.model.prompt_attention == "causal" and run.model.look_back == 2 for run in trained)
    assert table.groupby(["run", "arm"]).size().eq(2).all()


# Towers


def test_pretraining_never_shows_a_held_out_class_nor_its_verb_with_a_format():
    spec = TowersSpec(seed=3)
    shown, said = towers.pairs(3)
    words = {token: at for at, token in enumerate(towers.WordTask.layout.vocabulary)}
    last = [words[VERBS[name][-1]] for name in WITHOUT_ARGUMENT]
    formats = [words[name] for name in towers.FORMATS]
    named = torch.isin(said, torch.tensor(formats)).any(1)
    assert not (torch.isin(said, torch.tensor(last)).any(1) & named).any()
    assert torch.isin(said, torch.tensor(last)).any()
    held = [
        [words[verb] for verb in VERBS[operation]] + [words[format]] for operation, format in spec.classes
    ]
    for *verbs, format in held:
        both = torch.isin(said, torch.tensor(verbs)).any(1) & (said == format).any(1)
        assert not both.any()
    assert len(shown) == len(said)


def test_a_picture_shows_the_input_and_the_right_output():
    shown = towers.pictures([("reverse", "square"), ("copy", "")], np.random.default_rng(0))
    texts = ["".join(towers.WordTask.layout.vocabulary[i] for i in row).rstrip("·") for row in shown]
    text, answer = texts[0].split("=")
    assert answer == f"[{text[::-1]}]"
    assert texts[1].split("=")[0] == texts[1].split("=")[1]


def test_the_contrastive_loss_is_clips(frozen):
    shown, said = (each[:5] for each in towers.pairs(0))
    logits = frozen.scale.exp() * frozen.picture(shown) @ frozen.text(said).mT
    rows, columns = (each.log_softmax(1).diagonal().mean() for each in (logits, logits.mT))
    assert towers.agreement(frozen, shown, said).item() == pytest.approx(-(rows + columns).item() / 2)
    assert frozen.picture(shown).norm(dim=1).numpy() == pytest.approx(1)


def test_a_stopped_pre_training_of_towers_resumes_to_the_same_weights(tmp_path, monkeypatch):
    spec, seen, real = SPEC.but(steps=7), [], towers.agreement
    whole = towers.pretrained(spec).state_dict()

    def stopping(*given):
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(towers, "agreement", stopping)
    checkpoint, said = tmp_path / "checkpoint.safetensors", []
    with pytest.raises(KeyboardInterrupt):
        towers.pretrained(spec, checkpoint)
    resumed = towers.pretrained(spec, checkpoint, said.append).state_dict()
    assert said == ["towers of seed 0 resumes from step 4"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


# DAPT


def test_dispersions_are_right_by_hand():
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # squared distances 2, 4, 2
    assert inter(corners).item() == pytest.approx((2 * np.exp(-4) + np.exp(-8)) / 3)
    labels = torch.tensor([0, 1])
    seen, middles = corners[:2], torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    scale, off = torch.tensor(3.0), (0.0, 0.0)
    plain = F.cross_entropy(3 * seen @ corners.mT, labels).item()
    assert loss_of(seen, corners, labels, middles, scale, off).item() == pytest.approx(plain)
    with_both = loss_of(seen, corners, labels, middles, scale, (2.0, 5.0)).item()
    assert with_both == pytest.approx(plain + 2 * 1 / 4 + 5 * inter(corners).item())


def test_prototypes_are_the_means_of_classes():
    features, labels = torch.tensor([[0.0, 2.0], [4.0, 0.0], [2.0, 2.0]]), torch.tensor([0, 1, 0])
    assert prototypes(features, labels).tolist() == [[1.0, 2.0], [4.0, 0.0]]


@pytest.mark.parametrize(("name", "arm"), ARMS.items())
def test_an_arm_trains_what_it_names_and_nothing_else(frozen, name, arm):
    model = tuned(frozen, arm, SPEC, 2, MUCH)
    moved = any(
        not torch.equal(a, b) for a, b in zip(frozen.parameters(), model.towers.parameters(), strict=True)
    )
    assert moved == ("all" in arm.trains)
    assert {*model.prompts} == {*arm.trains} & {*BOTH}
    assert (model.probe is not None) == ("probe" in arm.trains)


def test_prototypes_draw_pictures_to_their_class_and_shuffled_ones_to_another(frozen):
    strong = dispersion.SimpleNamespace(**vars(MUCH) | {"betas": (500.0, 0.0), "updates": 20})
    shown = towers.pictures(SPEC.classes * 4, dispersion.generator(SPEC.seed, "shots"))
    labels = torch.arange(12).repeat(4)
    middles = prototypes(frozen.picture(shown), labels)[labels]

    def far(name):
        """How far the pictures of the shots are from their prototypes after tuning."""
        seen, _ = tuned(frozen, ARMS[name], SPEC, 4, strong).features(shown)
        return F.mse_loss(seen, middles).item()

    assert far("DAPT") < far("both")
    assert far("DAPT") < far("DAPT, shuffled prototypes")


def test_few_shots_are_the_first_of_many_and_are_tuned_once(runs, monkeypatch):
    table = dispersion.measure("smoke")
    assert {*table["arm"]} == {*ARMS, dispersion.ORACLE}
    assert table.groupby(["seed", "shots"]).size().tolist() == [10, 11, 10, 11]
    monkeypatch.setattr(dispersion, "tuned", None)
    assert dispersion.measure("smoke").equals(table)
    few, many = (towers.pictures(SPEC.classes * shots, dispersion.generator(0, "shots")) for shots in (1, 4))
    assert torch.equal(few, many[:12])
    assert Tuned(towers.Towers(SPEC), ARMS["zero-shot"], SPEC).says(few).shape == (12,)
