"""Conversations as JSON lines, and DELIA's pipeline on models that are mere functions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.messages import BadMessages, Message, as_text, expand, hinted, load, mix, pair, save, self_sample


def test_rows_of_the_published_form_load_unchanged(tmp_path):
    """A row as the paper's code has it, with escapes, a system turn, further fields and a byte-order mark."""
    path = tmp_path / "rows.jsonl"
    turns = [{"role": "system", "content": ""}, {"role": "user", "content": "Write é\n<sep>", "id": 1}]
    path.write_text("\ufeff" + json.dumps({"messages": turns, "id": 7}) + "\r\n\n")
    assert load(path) == [(Message("system", ""), Message("user", "Write é\n<sep>"))]


@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"))] * 2), max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    conversations = [pair(*row) for row in rows]
    save(path, conversations)
    assert load(path) == conversations
    assert len(path.read_bytes().splitlines()) == len(rows)  # one JSON object per line


@pytest.mark.parametrize(("line", "message"), [
    ("{", "line 2: Invalid JSON"),
    ("[" * 100_000, "line 2: Invalid JSON"),
    ("[]", "line 2: Input should be an object"),
    ('{"messages": []}', "line 2: messages List should have at least 1 item"),
    ('{"messages": ["hi"]}', "line 2: messages 0 Input should be an object, got 'hi'"),
    ('{"messages": [{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]}',
     "line 2: messages 1 role .*'user' or 'assistant', got 'robot'"),
    ('{"messages": [{"role": "user", "content": 3}]}', "line 2: messages 0 content .* got 3"),
])  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(as_text([pair("a", "b")]) + line + "\n")
    with pytest.raises(BadMessages, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1_000


def test_bytes_that_are_no_text_and_missing_files_are_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(BadMessages, match="line 1: Invalid JSON"):
        load(tmp_path / "rows.jsonl")
    with pytest.raises(BadMessages, match="no such file"):
        load(tmp_path / "none.jsonl")


def test_self_sampling_shows_the_reference_and_counts_what_it_leaves_out():
    shown, answers = [], iter(["BA", None, " ", ""])

    def sampler(conversations):
        shown.extend(conversations)
        return [next(answers) for _ in conversations]

    found = self_sample(sampler, [("q", "r")] * 4)
    assert (
        shown[0]
        == hinted("q", "r")
        == (Message("user", "q"), Message("assistant", "r"), Message("user", "q"))
    )
    assert found == ([pair("q", "BA")], 1, 2)
    with pytest.raises(ValueError, match="zip"):
        self_sample(lambda conversations: [], [("q", "r")])


def test_mixing_keeps_all_task_rows_and_counts_what_is_there():
    task, diverse = [pair("t", str(i)) for i in range(10)], [pair("d", str(i)) for i in range(45)]
    mixed = mix(task, iter(diverse), 4, seed=1)
    assert sorted(mixed) == sorted([*task, *diverse[:40]])
    assert mixed != mix(task, diverse, 4, seed=2)
    assert mixed == mix(task, diverse, 4, seed=1)
    with pytest.raises(ValueError, match="needs 50 diverse rows, and there are 45"):
        mix(task, diverse, 5, seed=0)
    with pytest.raises(ValueError, match="ratio=-1"):
        mix(task, diverse, -1, seed=0)


def test_expanding_needs_instructions():
    with pytest.raises(ValueError, match="no instructions"):
        expand([pair("a", "b")], [], "{instruction} {input}")
