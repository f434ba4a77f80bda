"""Conversations as JSON lines, and DELIA's pipeline on models that are no more than functions."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unseen.delia.messages import BadMessages, Message, as_text, load, pair, save
from unseen.delia.pipeline import expand, hinted, mix, nucleus, self_sample


def test_rows_of_the_published_form_load_unchanged(tmp_path):
    """A row as the paper's code has it, escapes, a system turn and further fields included."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Write \\u00e9\\n<sep>"}, '
                    '{"role": "assistant", "content": "1. a"}], "id": 7}\r\n\n')  # fmt: skip
    assert load(path) == [(Message("system", ""), Message("user", "Write é\n<sep>"), Message("assistant", "1. a"))]


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    conversations = [pair(*row) for row in rows]
    try:
        as_text(conversations).encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    save(path, conversations)
    assert load(path) == conversations


@pytest.mark.parametrize(("line", "message"), [
    ("{", "line 2: not JSON"),
    ("[" * 100_000, "line 2: not JSON"),
    ("[]", "line 2: expected .*messages"),
    ('{"messages": []}', "line 2: expected .* at least one message"),
    ('{"messages": ["hi"]}', "line 2, message 1: its role must be one of system, user, assistant, got None"),
    ('{"messages": [{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]}', "line 2, message 2: .* got 'robot'"),
    ('{"messages": [{"role": "user", "content": 3}]}', "line 2, message 1: its content must be text, got 3"),
    ('{"messages": [{"role": ["user"], "content": "a"}]}', "its role must be one of"),
])  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(as_text([pair("a", "b")]) + line + "\n")
    with pytest.raises(BadMessages, match=message) as told:
        load(path)
    assert str(path) in str(told.value)
    assert len(str(told.value)) < 1_000


def test_bytes_that_are_no_text_and_missing_files_are_told(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(BadMessages, match="line 1: not JSON"):
        load(tmp_path / "rows.jsonl")
    with pytest.raises(BadMessages, match="No such file"):
        load(tmp_path / "none.jsonl")


def test_self_sampling_shows_the_reference_and_counts_what_it_leaves_out():
    shown, answers = [], iter(["BA", None, " ", "no"])

    def sampler(asked):
        shown.extend(asked)
        return [next(answers) for _ in asked]

    found = self_sample(sampler, [("q", "r")] * 4, keep=lambda answer: answer != "no")
    assert shown[0] == hinted("q", "r") == (Message("user", "q"), Message("assistant", "r"), Message("user", "q"))
    assert found == ([pair("q", "BA")], 1, 2)


def test_a_sampler_that_answers_too_few_is_no_sampler():
    with pytest.raises(ValueError, match="zip"):
        self_sample(lambda asked: [], [("q", "r")])


def test_mixing_keeps_all_task_rows_and_counts_what_is_there():
    task, diverse = [pair("t", str(i)) for i in range(10)], [pair("d", str(i)) for i in range(45)]
    mixed = mix(task, iter(diverse), 4, seed=1)
    assert sorted(mixed) == sorted([*task, *diverse[:40]])
    assert mixed != mix(task, diverse, 4, seed=2)
    assert mixed == mix(task, diverse, 4, seed=1)
    assert sorted(mix(task, [], 0, seed=0)) == sorted(task)
    with pytest.raises(ValueError, match="50 diverse rows are asked for, and there are 45"):
        mix(task, diverse, 5, seed=0)
    with pytest.raises(ValueError, match="ratio=-1"):
        mix(task, diverse, -1, seed=0)


def test_expanding_needs_instructions():
    with pytest.raises(ValueError, match="no instructions"):
        expand([pair("a", "b")], [], "{0} {1}".format)


def test_nucleus_sampling_takes_the_fewest_tokens_that_reach_p():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4_000, 4)
    generator = torch.Generator().manual_seed(0)
    drawn = nucleus(logits, 1.0, 0.75, generator).bincount(minlength=4) / 4_000
    assert drawn[2:].tolist() == [0, 0]
    assert drawn[0] == pytest.approx(0.625, abs=0.03)
    cold = nucleus(logits, 0.1, 1.0, generator).bincount(minlength=4) / 4_000
    assert cold[0] > 0.98
    assert nucleus(logits, 1.0, 0.01, generator).unique().tolist() == [0]


def test_the_nucleus_is_that_of_the_distribution_at_its_temperature():
    """At temperature 1/2 shares are squared: 0.5 and 0.3 of the four become 0.68 and 0.25 of all."""
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4_000, 4)
    generator = torch.Generator().manual_seed(0)
    assert nucleus(logits, 0.5, 0.6, generator).unique().tolist() == [0]  # at temperature 1 it takes two to reach 0.6
    drawn = nucleus(logits, 0.5, 0.9, generator).bincount(minlength=4) / 4_000
    assert drawn[:2].tolist() == pytest.approx([0.25 / 0.34, 0.09 / 0.34], abs=0.03)
    assert drawn[2:].tolist() == [0, 0]
    assert set(nucleus(logits, 4.0, 1.0, generator).tolist()) == {0, 1, 2, 3}


def test_text_of_rows_is_one_json_object_a_line():
    lines = as_text([pair("a\nb", "c"), pair("d", "e")]).splitlines()
    assert [json.loads(line)["messages"][0]["content"] for line in lines] == ["a\nb", "d"]
