"""Text to ids and back; what cannot be encoded is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen.layout import SPECIAL, Layout
from unseen.rewriting import Rule
from unseen.worlds import TapeSpec, TaskSpec

LAYOUT, TAPES = TaskSpec().layout, TapeSpec().layout
TEXTS = Layout("ab", 6, 5)
WORDS = Layout("ABC:", 7, 3, ("flip", "<sep>"))


@given(tasks(), st.data())
def test_a_prompt_has_the_promised_layout(task, data):
    layout = task.layout
    x, y, z = (data.draw(st.text(task.alphabet, min_size=n, max_size=n)) for n in layout.parts)
    prompt = layout.prompt(Rule(x, y), z)
    assert prompt == f"{x}→{y}|{z}="
    assert len(layout.ids(prompt)) == layout.prompt_length
    answers = {len(z), len(z) - len(x) + len(y)} if task.no_op_share else {len(z) - len(x) + len(y)}
    assert layout.answer_length == max(answers) + 1
    assert layout.context == layout.prompt_length + layout.answer_length - 1


def test_letters_come_first_then_the_special_tokens_then_words():
    assert "".join(LAYOUT.vocabulary) == "abcdefghijklmnopqrstuvwxyz→|=."
    assert "".join(TEXTS.vocabulary) == "ab→|=.·"
    assert WORDS.vocabulary[-2:] == ("flip", "<sep>")
    assert [LAYOUT.text([LAYOUT.special(name)]) for name in SPECIAL] == list(SPECIAL.values())
    largest = TaskSpec(alphabet="".join(map(chr, range(0x4E00, 0x4E00 + 200)))).layout
    assert largest.ids("".join(largest.vocabulary)).tolist() == list(range(204))


@pytest.mark.parametrize(("text", "answer"), [("abc.", "abc"), ("abc....", "abc"), (".", ""), ("abc", "abc"),
                                              ("", ""),
                                              ("ab.c.", "ab"), ("a|b.", "a|b")])  # fmt: skip
def test_an_answer_is_the_text_before_the_first_end(text, answer):
    assert LAYOUT.answer(LAYOUT.ids(text)) == answer


def test_texts_are_padded_where_they_are_not_read():
    assert [TEXTS.text(ids) for ids in TEXTS.prompts(["a=", "bab="])] == ["····a=", "··bab="]
    assert [TEXTS.text(ids) for ids in TEXTS.answers(["a", ""])] == ["a....", "....."]


@pytest.mark.parametrize(("layout", "rule", "text", "message"), [
    (LAYOUT, Rule("ab", "abc"), "abcdefghij", "^pattern: 2 letters, but this model reads exactly 3"),
    (LAYOUT, Rule("abc", "abcd"), "abcdefghij", "^replacement: 4 letters, .* exactly 3"),
    (LAYOUT, Rule("abc", "abc"), "", "^input: 0 letters, .* exactly 10"),
    (LAYOUT, Rule("aBc", "abc"), "abcdefghij", "^pattern: unknown letter 'B'; the alphabet is 'abc"),
    (LAYOUT, Rule("abc", "abc"), "abcdefghi=", "^input: unknown letter '='"),  # a special token is no letter
    (TAPES, Rule("", "a"), "a", "^pattern: 0 letters, but this model reads 1 to 3"),
    (TAPES, Rule("a", "bbbbb"), "a", "^replacement: 5 letters, .* 0 to 4"),
    (TAPES, Rule("a", ""), "a" * 17, "^input: 17 letters, .* 1 to 16"),
])  # fmt: skip
def test_a_prompt_that_the_model_cannot_read_is_refused(layout, rule, text, message):
    with pytest.raises(ValueError, match=message):
        layout.prompt(rule, text)


@pytest.mark.parametrize(("layout", "text", "message"), [
    (TEXTS, "abcabc", "no token for 'c'"), (TEXTS, "abababa", "7 tokens, but this model has 6"),
    (TEXTS, "é", "no token for 'é'"),
    (WORDS, "flop : AB=", "no token for 'flop' in 'flop : AB='"),
    (WORDS, "A" * 8, "8 tokens, but this model has 7"),
])  # fmt: skip
def test_what_does_not_fit_is_named(layout, text, message):
    with pytest.raises(ValueError, match=message):
        layout.prompts([text])
