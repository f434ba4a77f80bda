"""Silencing heads changes what it must and nothing else, and leaves the model as it was."""

import numpy as np
import pytest
import torch

from unseen.datasets import training_examples
from unseen.evaluation import all_right
from unseen.inside.heads import LETTERS, jobs_of_heads
from unseen.inside.surgery import WHOLE, dose, first_letter, mean_outputs, one_by_one, right, said, without
from unseen.instructions import draw_split
from unseen.model import Shape, build
from unseen.specs import RECIPES, ModelSpec, TaskSpec

TASK = TaskSpec(alphabet="abcdef", instructions=5, unseen_instructions=5, examples=40)
EXAMPLES = training_examples(TASK, draw_split(TASK))


def model_of(recipe):
    """A model that is far from its start, where silent heads would change nothing."""
    model = build(ModelSpec(recipe, layers=2, width=16, heads=2), Shape.of(EXAMPLES.encoding))
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=noise)
    return model


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_model_is_whole_again_afterwards(recipe):
    model = model_of(recipe)
    before, means = said(model, EXAMPLES), mean_outputs(model, EXAMPLES)
    with without(model, [(1, 1), (2, 2)], means):
        during = said(model, EXAMPLES)
    assert (during != before).any()
    assert (said(model, EXAMPLES) == before).all()
    with pytest.raises(ZeroDivisionError), without(model, [(1, 1)], means):
        raise ZeroDivisionError
    assert (said(model, EXAMPLES) == before).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_silencing_nothing_changes_nothing(recipe):
    model = model_of(recipe)
    before = said(model, EXAMPLES)
    with without(model, [], mean_outputs(model, EXAMPLES)):
        assert (said(model, EXAMPLES) == before).all()
    assert right(before, EXAMPLES)[WHOLE] == all_right(model, EXAMPLES).mean()


@pytest.mark.parametrize("recipe", RECIPES)
def test_with_every_head_silent_no_example_differs_from_another_by_attention(recipe):
    model = model_of(recipe)
    means, outputs = mean_outputs(model, EXAMPLES), []
    everyone = [(layer, head) for layer in (1, 2) for head in (1, 2)]
    with without(model, everyone, means):
        hook = model.blocks[0].register_forward_hook(lambda block, given, output: outputs.append(output - given[0]))
        said(model, EXAMPLES)
        hook.remove()
    same = EXAMPLES.prompts[:, -1]  # "=" everywhere, with z's last letters before it
    assert len(set(same)) == 1
    assert outputs[0].shape[1] == model.shape.context


@pytest.mark.parametrize("head", [(0, 1), (3, 1), (1, 0), (1, 3)])
def test_a_head_that_there_is_not_is_named(head):
    model = model_of("modern")
    with pytest.raises(ValueError, match="2 layers of 2 heads"), without(model, [head], []):
        pass


def test_what_stands_at_the_first_replaced_letter_is_named():
    right_, goes_on = EXAMPLES.answers.copy(), EXAMPLES.answers.copy()
    goes_on[:, : EXAMPLES.encoding.input_length] = EXAMPLES.inputs
    assert first_letter(right_, EXAMPLES)["right"] == 1
    table = first_letter(goes_on, EXAMPLES)
    assert table["goes on copying"] + table["right"] == 1  # right where x and y begin with the same letter
    assert sum(first_letter(np.full_like(right_, 200), EXAMPLES).values()) == 1
    assert first_letter(np.full_like(right_, 200), EXAMPLES)["something else"] == 1


def test_each_head_and_each_dose_has_its_rows():
    model = model_of("modern")
    single = one_by_one(model, EXAMPLES)
    assert len(single) == 4 * (len(LETTERS) + 1)
    table = dose(model, EXAMPLES, jobs_of_heads(model, EXAMPLES), (0, 1, 4), draws=3)
    sizes = table[table["what"] == WHOLE].groupby(["size", "chosen"]).size()
    assert sizes.to_dict() == {
        (0, "best"): 3,
        (0, "others"): 3,
        (1, "best"): 3,
        (1, "others"): 9,
        (4, "best"): 3,
        (4, "others"): 9,
    }
    none = table[table["size"] == 0].groupby("what")["share"].nunique()
    assert none.eq(1).all(), "nothing silenced is the same for all jobs"
