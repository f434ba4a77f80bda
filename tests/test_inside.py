"""One model opened: heads are named for what they look at, ablation changes what it must and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given

from strategies import tasks
from unseen.evaluation import all_right
from unseen.model import Shape, build
from unseen.specs import RECIPES, ModelSpec
from unseen.studies import inside
from unseen.studies.inside import WHOLE
from unseen.worlds.strings import TaskSpec

TASK = TaskSpec(alphabet="abcdef", instructions=5, unseen_instructions=5, examples=40, no_op_share=0.3)
EXAMPLES = TASK.training(TASK.split())
RULED = EXAMPLES.where(EXAMPLES.applies)


def model_of(recipe="modern"):
    """A model far from its initial weights, at which ablation would change nothing."""
    model = build(ModelSpec(recipe, layers=2, width=16, heads=2), Shape.of(EXAMPLES.layout))
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=noise)
    return model


# Heads


@given(tasks())
def test_matches_and_kinds_of_letters_are_those_of_plain_strings(task):
    found = task.training(task.split())
    lines, kinds = [found.line(i) for i in range(len(found))], inside.kinds_of_letters(found)
    assert inside.match_places(found).tolist() == [line.text.find(line.rule.pattern) for line in lines]
    total = sum(mask.astype(int) for mask in kinds.values())
    assert (total == (found.answers != found.layout.special("end"))).all(), "each letter is of one kind"
    assert (kinds["first replaced"].sum(1) <= found.applies).all(), "a no-op has no letter to replace"


def perfect(examples, x_looks):
    """Attention in which letters of the match look at x, or x at the match, others at themselves."""
    layout, at = examples.layout, inside.match_places(examples)
    size, z = layout.context, layout.prompt_length - 1 - layout.input_length
    weights = np.tile(np.eye(size), (len(examples), 1, 1))
    for i in np.flatnonzero(at >= 0):
        for j in range(layout.pattern_length):
            here, there = (j, z + at[i] + j) if x_looks else (z + at[i] + j, j)
            weights[i, here] = np.eye(size)[there]
    return weights


@pytest.mark.parametrize(("x_looks", "score"), [(False, 1), (True, 0.7)])  # even attention puts 3 of 10 there
def test_a_head_that_finds_the_match_scores_and_an_even_one_does_not(x_looks, score):
    size = EXAMPLES.layout.context
    even = np.full((len(EXAMPLES), size, size), 1 / size)
    table = inside.finds_match([np.stack([perfect(EXAMPLES, x_looks), even], 1)], EXAMPLES)
    assert table["score"].tolist() == [pytest.approx(score), pytest.approx(0)]


# Mean ablation


@pytest.mark.parametrize("recipe", RECIPES)
def test_ablation_changes_predictions_and_leaves_the_model_as_it_was(recipe):
    model = model_of(recipe)
    before, means = inside.predictions(model, EXAMPLES), inside.mean_outputs(model, EXAMPLES)
    assert inside.shares_right(before, EXAMPLES)[WHOLE] == all_right(model, EXAMPLES).mean()
    assert (inside.ablated(model, EXAMPLES, [], means) == before).all()
    assert (inside.ablated(model, EXAMPLES, [(1, 1), (2, 2)], means) != before).any()
    with pytest.raises(IndexError):
        inside.ablated(model, EXAMPLES, [(1, 1)], [])
    assert (inside.predictions(model, EXAMPLES) == before).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_ablated_layer_adds_the_same_to_every_example(recipe):
    model, added = model_of(recipe), []
    means = inside.mean_outputs(model, EXAMPLES)
    norm = model.blocks[0].norm_mlp
    model.blocks[0].__dict__["norm_mlp"] = lambda x: added.append(x) or norm(x)
    inside.ablated(model, EXAMPLES, inside.all_heads(model), means)
    tokens = torch.from_numpy(EXAMPLES.tokens()).long()[:, : model.shape.context]
    added = added[0] - model.embed(tokens)
    torch.testing.assert_close(added, added[:1].expand_as(added), atol=1e-5, rtol=0)


@pytest.mark.parametrize("head", [(0, 1), (1, 3)])
def test_a_head_that_does_not_exist_is_named(head):
    with pytest.raises(ValueError, match=r"head \(.*2 layers of 2 heads"):
        inside.ablated(model_of(), EXAMPLES, [head], [])


def test_what_is_predicted_for_the_first_replaced_letter_is_named():
    copied = RULED.answers.copy()
    copied[:, : RULED.layout.input_length] = RULED.inputs
    cases = (RULED.answers, copied, np.full_like(copied, 200))
    right, copied, odd = (inside.first_letter(letters, RULED) for letters in cases)
    assert right["first letter: right"] == odd["first letter: something else"] == 1
    assert copied["first letter: goes on copying"] + copied["first letter: right"] == 1


# The logit lens


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_lens_says_after_the_last_layer_what_the_model_says(recipe):
    model, tokens = model_of(recipe), EXAMPLES.tokens()
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens).long()[:, :-1]).softmax(-1).numpy()
    found = inside.after_each_layer(model, tokens)
    np.testing.assert_allclose(found[-1], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
