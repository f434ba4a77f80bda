"""The lens says after the last layer what the model says, and leaves nothing behind in the model."""

import numpy as np
import pytest
import torch

from unseen.encoding import Encoding
from unseen.evaluation import greedy_answers
from unseen.inside.lens import by_layer, candidates, probabilities
from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.specs import RECIPES, ModelSpec, TaskSpec
from unseen.tour.probes import one_example

ENCODING = Encoding.of(TaskSpec())
EXAMPLE = one_example(ENCODING, Rule("iss", "art"), "kissmeonce")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_last_layer_is_the_model(recipe):
    model = build(ModelSpec(recipe, layers=2, width=16, heads=2), Shape.of(ENCODING))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
        expected = model(torch.from_numpy(EXAMPLE.tokens()).long()[:, :-1]).softmax(-1).numpy()
    found = probabilities(model, EXAMPLE.tokens())
    assert found.shape == (3, 1, 11, 30)
    np.testing.assert_allclose(found[-1], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert not any(block._forward_hooks for block in model.blocks)


def test_candidates_are_ranked_and_right_ones_marked():
    model = build(ModelSpec(layers=2, width=16, heads=2), Shape.of(ENCODING))
    answer = greedy_answers(model, EXAMPLE.prompts)[0]
    table = candidates(model, EXAMPLE, answer, most=3)
    assert len(table) == 3 * 11 * 3
    for _, part in table.groupby(["layer", "place"]):
        assert part.sort_values("rank")["probability"].is_monotonic_decreasing
    last = table[(table["layer"] == 2) & (table["rank"] == 1)].sort_values("place")
    assert "".join(last["letter"]) == ENCODING.text(answer)
    assert last["right"].tolist() == (answer == EXAMPLE.answers[0]).tolist()


def test_each_layer_has_a_mean_for_each_kind_of_letter():
    table = by_layer(build(ModelSpec(layers=2, width=16, heads=2), Shape.of(ENCODING)), EXAMPLE)
    assert table.groupby("layer").size().tolist() == [4, 4, 4]
    assert table["probability"].between(0, 1).all()
