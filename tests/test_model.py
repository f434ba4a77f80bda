"""Both recipes: what may look at what, the two ways to decode, and the parts against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unseen.model import Cache, Shape, _SquaredReLUMLP, attend, build
from unseen.specs import ModelSpec

RECIPES = ("modern", "gpt2")
SHORT, LONG = Shape(vocabulary=10, prompt=9, context=15), Shape(vocabulary=30, prompt=93, context=143)
both = pytest.mark.parametrize("recipe", RECIPES)
short_and_long = pytest.mark.parametrize("shape", [SHORT, LONG], ids=["short", "long: fused attention"])


def shaken(recipe, shape=SHORT, **values):
    """A model in which no weight is zero: some are at the start, and would hide what flows through them."""
    spec = ModelSpec(recipe, layers=2, width=16, heads=2, mlp_ratio=3).but(**values)
    model = build(spec, shape)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=rng)
    return model.requires_grad_(False)


def some_tokens(shape=SHORT, size=3):
    rng = torch.Generator().manual_seed(2)
    return torch.randint(shape.vocabulary, (size, shape.context), generator=rng)


def changed_outputs(read, tokens, position):
    """The positions of the output that change with the token at ``position``."""
    other = tokens.clone()
    other[:, position] = (other[:, position] + 1) % SHORT.vocabulary
    difference = (read(tokens) - read(other)).abs().amax((0, 2))
    assert not ((difference > 1e-6) & (difference < 1e-4)).any()  # clearly changed or clearly not
    return (difference > 1e-5).nonzero().flatten().tolist()


@both
@short_and_long
def test_decoding_with_a_cache_gives_the_same_logits(recipe, shape):
    model, tokens = shaken(recipe, shape), some_tokens(shape)
    ones = [1] * (shape.context - shape.prompt)
    for sizes in ([shape.prompt, *ones], [shape.prompt, 3, *ones[3:]]):  # also several tokens at once
        cache = Cache(len(model.blocks))
        logits = [model(part, cache) for part in tokens.split(sizes, 1)]
        torch.testing.assert_close(torch.cat(logits, 1), model(tokens), atol=1e-4, rtol=1e-4)


@both
def test_an_answer_depends_on_the_whole_prompt_and_on_earlier_answer_tokens_only(recipe):
    model, tokens, answers = shaken(recipe), some_tokens(), range(SHORT.context - SHORT.prompt + 1)
    for position in range(SHORT.context):
        first = max(0, position - SHORT.prompt + 1)  # the answer token that is predicted from this position
        assert changed_outputs(model, tokens, position) == list(answers[first:])


@pytest.mark.parametrize(("recipe", "values", "both_ways"), [
    ("gpt2", {}, False), ("modern", {}, True),
    ("modern", {"look_back": 0, "prompt_attention": "causal"}, False),
])  # fmt: skip
def test_a_prompt_is_read_from_left_to_right_or_both_ways_but_never_the_answer(recipe, values, both_ways):
    model = shaken(recipe, **values)
    for position in range(SHORT.context):
        changed = changed_outputs(lambda t: model(t, record=[]), some_tokens(), position)
        first = 0 if both_ways and position < SHORT.prompt else position
        assert changed == list(range(first, SHORT.context))


@pytest.mark.parametrize("look_back", [0, 1, 2, 4])
def test_modern_embeddings_look_back_so_many_tokens(look_back):
    model = shaken("modern", look_back=look_back)
    assert ("before" in model.state_dict()) == bool(look_back)
    for position in range(SHORT.context):
        changed = changed_outputs(model.embed, some_tokens(), position)
        assert changed == list(range(SHORT.context))[position : position + 1 + look_back]


@both
@short_and_long
def test_recorded_attention_is_a_distribution_over_visible_tokens(recipe, shape):
    model, tokens, record = shaken(recipe, shape), some_tokens(shape), []
    logits = model(tokens, record=record)
    assert len(record) == len(model.blocks)
    for weights in record:
        assert weights.shape == (3, 2, shape.context, shape.context)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert torch.equal(weights > 0, model.mask.isfinite().expand_as(weights))
    assert logits.shape == (3, shape.context, shape.vocabulary)
    torch.testing.assert_close(logits[:, shape.prompt - 1 :], model(tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 40, 97])  # two products up to 96 keys, the fused kernel above
def test_attention_equals_torchs(length):
    rng = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 4, n, 8, generator=rng) for n in (5, length, length))
    mask = torch.zeros(5, length).masked_fill(torch.rand(5, length, generator=rng) < 0.3, float("-inf"))
    mask[:, 0] = 0
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attend(q, k, v, mask), expected)
    torch.testing.assert_close(attend(q, k, v, mask, record=[]), expected)


def test_a_gpt2_block_equals_torchs_encoder_layer():
    model = shaken("gpt2", layers=1, mlp_ratio=4)
    block, x = model.blocks[0], torch.randn(3, 15, 16, generator=torch.Generator().manual_seed(4))
    theirs = nn.TransformerEncoderLayer(
        16, 2, 64, 0.0, lambda h: F.gelu(h, approximate="tanh"), batch_first=True, norm_first=True
    )
    weights = {
        "self_attn.in_proj_": block.inputs,
        "self_attn.out_proj.": block.output,
        "linear1.": block.mlp[0],
        "linear2.": block.mlp[2],
        "norm1.": block.norm_attention,
        "norm2.": block.norm_mlp,
    }
    theirs.load_state_dict(
        {name + kind: getattr(part, kind) for name, part in weights.items() for kind in ("weight", "bias")}
    )
    expected = theirs(x, src_mask=nn.Transformer.generate_square_subsequent_mask(15))
    torch.testing.assert_close(block(x, 0, 0, model.mask, None, None), expected, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_squared_relu_mlp_is_right():
    rng = torch.Generator().manual_seed(6)
    sizes = (5, 4), (7, 4), (4, 7)
    inputs = [torch.randn(size, generator=rng, dtype=torch.float64).requires_grad_() for size in sizes]
    assert torch.autograd.gradcheck(_SquaredReLUMLP.apply, inputs)
    x, up, down = inputs
    torch.testing.assert_close(_SquaredReLUMLP.apply(x, up, down), (x @ up.T).relu().square() @ down.T)


@both
def test_every_weight_gets_a_gradient(recipe):
    model = shaken(recipe).requires_grad_(True)
    model(some_tokens()).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@both
def test_a_seed_decides_the_weights_whatever_was_drawn_before(recipe):
    torch.manual_seed(1)
    first = build(ModelSpec(recipe, seed=5), SHORT).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build(ModelSpec(recipe, seed=5), SHORT).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = build(ModelSpec(recipe, seed=6), SHORT).state_dict()
    assert not torch.equal(first["embedding"], third["embedding"])


def test_gpt2_has_the_parameters_of_the_paper():
    layers, width, vocabulary, context = 6, 256, 30, 143
    model = build(ModelSpec("gpt2", layers, width, mlp_ratio=4), Shape(vocabulary, 93, context))
    expected = (vocabulary + context) * width + layers * (12 * width**2 + 13 * width) + 2 * width
    assert sum(p.numel() for p in model.parameters()) == expected
