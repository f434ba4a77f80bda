"""Text to ids and back; what cannot be encoded is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen.encoding import Encoding
from unseen.rewriting import Rule
from unseen.specs import SPECIAL, TaskSpec

ENCODING = Encoding.of(TaskSpec())


@given(tasks(), st.data())
def test_text_survives_the_round_trip(task, data):
    encoding = Encoding.of(task)
    text = data.draw(st.text(encoding.vocabulary))
    ids = encoding.ids(text)
    assert encoding.text(ids) == text
    assert (ids.dtype, ids.shape) == (np.uint8, (len(text),))


@given(tasks(), st.data())
def test_a_prompt_has_the_promised_layout(task, data):
    encoding = Encoding.of(task)
    x, y, z = (data.draw(st.text(task.alphabet, min_size=n, max_size=n))
               for n in (task.pattern_length, task.replacement_length, task.input_length))  # fmt: skip
    prompt = encoding.prompt(Rule(x, y), z)
    assert prompt == f"{x}→{y}|{z}="
    assert len(encoding.ids(prompt)) == encoding.prompt_length
    answers = {len(z), len(Rule(x, y).apply(x + z[len(x) :]))} if task.no_op_share else {len(z) - len(x) + len(y)}
    assert encoding.answer_length == max(answers) + 1
    assert encoding.context == encoding.prompt_length + encoding.answer_length - 1


def test_letters_come_first_then_the_special_tokens():
    assert ENCODING.vocabulary == "abcdefghijklmnopqrstuvwxyz→|=."
    assert ENCODING.ids("az→|=.").tolist() == [0, 25, 26, 27, 28, 29]
    for name, token in SPECIAL.items():
        assert ENCODING.text([ENCODING.special(name)]) == token


def test_the_largest_alphabet_fits_in_a_byte():
    encoding = Encoding.of(TaskSpec(alphabet="".join(map(chr, range(0x4E00, 0x4E00 + 200)))))
    assert encoding.ids(encoding.vocabulary).tolist() == list(range(204))


@pytest.mark.parametrize(
    ("text", "answer"),
    [("abc.", "abc"), ("abc....", "abc"), (".", ""), ("abc", "abc"), ("", ""), ("ab.c.", "ab"), ("a|b.", "a|b")],
)
def test_an_answer_is_the_text_before_the_first_end(text, answer):
    assert ENCODING.answer(ENCODING.ids(text)) == answer


@pytest.mark.parametrize(
    ("rule", "text", "message"),
    [
        (Rule("ab", "abc"), "abcdefghij", "^pattern: 2 letters, but this model reads exactly 3"),
        (Rule("abc", "abcd"), "abcdefghij", "^replacement: 4 letters, .* exactly 3"),
        (Rule("abc", "abc"), "abcdefghi", "^input: 9 letters, .* exactly 10"),
        (Rule("abc", "abc"), "", "^input: 0 letters"),
        (Rule("aBc", "abc"), "abcdefghij", "^pattern: unknown letter 'B'; the alphabet is 'abc"),
        (Rule("abc", "ab "), "abcdefghij", "^replacement: unknown letter ' '"),
        (Rule("abc", "abc"), "abcdefghi=", "^input: unknown letter '='"),  # a special token is no letter
    ],
)
def test_a_prompt_that_the_model_cannot_read_is_refused(rule, text, message):
    with pytest.raises(ValueError, match=message):
        ENCODING.prompt(rule, text)


@pytest.mark.parametrize("text", ["abc D", "ä", "ab\n"])
def test_a_character_without_a_token_is_named(text):
    odd = next(c for c in text if c not in ENCODING.vocabulary)
    with pytest.raises(ValueError, match=r"^no token for ") as refused:
        ENCODING.ids(text)
    assert f"no token for {odd!r}; the vocabulary is" in str(refused.value)
