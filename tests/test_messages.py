"""Conversations as JSON lines, and DELIA's pipeline on models that are mere functions."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen import messages
from unseen.messages import BadMessages, Message, answered, as_text, load, mix, pair, save, self_sample

Q, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
ROW = json.dumps({"messages": [Q, A]})


@pytest.fixture
def rows(written):
    """Write a file of rows and give its path."""
    return partial(written, "rows.jsonl")


def test_rows_of_the_published_form_load_unchanged(tmp_path):
    """A row as the paper's code has it, with escapes, a system turn, further fields and a byte-order mark."""
    path = tmp_path / "rows.jsonl"
    turns = [{"role": "system", "content": ""}, {"role": "user", "content": "Write é\n<sep>", "id": 1}]
    path.write_text("\ufeff" + json.dumps({"messages": turns, "id": 7}) + "\r\n\n")
    assert load(path) == [(Message("system", ""), Message("user", "Write é\n<sep>"))]


@pytest.mark.parametrize("content", [
    f"{ROW}\r{ROW}\r", f"\ufeff{ROW}\n\n\ufeff{ROW}\n\ufeff", f"{ROW}{ROW}", f"{ROW},\n{ROW},\n",
    json.dumps([json.loads(ROW)] * 2, indent=2),
    json.dumps(json.loads(ROW), indent=1) * 2, f"[{ROW},\n{ROW}]",
    json.dumps([Q, A]) * 2, json.dumps([[Q, A]] * 2),
])  # fmt: skip
def test_rows_are_read_however_they_are_divided(rows, content):
    assert load(rows(content)) == [pair("q", "a")] * 2


@pytest.mark.parametrize(("row", "note"), [
    ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "id": 1},
     "messages made of conversations; turns read: gpt as assistant, human as user; fields not read: id"),
    ({"messages": [{"role": "User", "content": "q"}, {"role": "model", "content": "a"}]},
     "turns read: User as user, model as assistant"),
    ({"instruction": "q", "input": "", "output": "a"}, "messages made of instruction and output"),
    ({"instruction": "q", "output": "a", "history": [], "tools": None},
     "messages made of instruction and output"),
    ({"prompt": "q", "completion": "a", "messages": None, "name": "", "refusal": False},
     "messages made of completion and prompt"),
    ({"prompt": [Q], "completion": [A]}, "messages made of completion and prompt"),
    ({"question": "q", "answer": "a"}, "messages made of answer and question"),
    ({"prompt": "other", "messages": [Q, A], "name": "row 7"}, "fields not read: name, prompt"),
    ({"messages": json.dumps([Q, A])}, "a text is read as the JSON that it holds"),
    ({"messages": [{**Q, "content": [{"type": "text", "text": "q", "cache": 1}]}, A]},
     "fields not read: cache; parts of a turn are joined to one text"),
    ({"messages": [Q, A], "score": float("nan"), "number": int("9" * 4_200)}, "fields not read: number"),
    ({"instruction": "q", "input": float("nan"), "output": "a", "system": float("nan"), "tools": "[]"},
     "messages made of instruction and output"),
    *(({"prompt": "q", "completion": "a", "label": label},
       "messages made of completion and prompt; fields not read: label") for label in (True, 3)),
    ({"messages": [Q, {**A, "weight": 1, "tool_calls": [], "name": None}]}, ""),
])  # fmt: skip
def test_forms_that_people_publish_are_read_with_a_note(rows, capsys, row, note):
    path = rows(json.dumps(row))
    assert answered(path) == [pair("q", "a")]
    assert capsys.readouterr().out == (f"{path}: {note}\n" if note else "")


def test_instruction_and_input_are_joined_and_a_system_field_comes_first(rows, capsys):
    content = [{"instruction": "q", "input": "i", "output": "a", "system": "s"},
               {"instruction": "q", "context": "i", "response": "a", "system_prompt": "s"}]  # fmt: skip
    assert load(rows(json.dumps(content))) == [(Message("system", "s"), *pair("q\ni", "a"))] * 2
    assert "context and instruction and response and system_prompt" in capsys.readouterr().out


def test_an_earlier_answer_of_weight_0_is_not_learned_and_the_last_one_is(rows):
    first, last = {**A, "weight": 0}, {**A, "train": True}
    assert load(rows(json.dumps([Q, first, Q, last]))) == [pair("q", "a") * 2]


@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"))] * 2), max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    conversations = [pair(*row) for row in rows]
    save(path, conversations)
    assert load(path) == conversations
    assert len(path.read_bytes().splitlines()) == len(rows)  # one JSON object per line


@pytest.mark.parametrize(("line", "message"), [
    ("{", "line 2: not JSON .* at line 3, column 1"),
    ("{'messages': []}", "line 2: not JSON .Expecting property name enclosed in double quotes"),
    ("prompt,completion", 'line 2: not JSON .*; expected a row such as {"messages": '),
    ("prompt,completion\nq,a", "this looks like a table: pandas.read_csv.* writes rows"),
    ("instruction;input\tä", "looks like a table"), ("[{'messages': []}]", "looks like Python's own"),
    ('{"instruction": {"0": "q", "1": "r"}, "output": {"0": "a", "1": "b"}}', "line 2: a table by columns"),
    ("[" * 100_000, "line 2: lists in lists, nested too deeply"),
    (json.dumps({"messages": "[" * 100_000}), "line 2: lists in lists, nested too deeply"),
    ("[]", "line 2: messages List should have at least 1 item"),
    ("7", "line 2: expected a row such as .*, got 7"),
    (f"[{ROW}, 7]", "line 2, item 2: expected a row such as .*, got 7"),
    ('{"messages": []}', "line 2: messages List should have at least 1 item"),
    ('{"messages": "[\'q\']"}', "line 2: its turns are a text that is not JSON .*; use json.dumps"),
    ('{"messages": ["hi"]}', "line 2: messages 0 expected a turn such as {.*}, got 'hi'"),
    ('{"messages": [], "messages": []}', "line 2: the field 'messages' occurs twice"),
    ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "line 2: .*'content' occurs"),
    (r'{"messages": [{"role": "user", "content": "a \ud83d"}]}', "line 2: messages 0 content holds half"),
    (r'{"messages": [{"role": "user", "content": "a"}], "\ud83d": 1}', "line 2: .*unicode"),
    *((json.dumps(row), f"line 2: .*{words}") for row, words in [
        ({"text": "q a"}, "expected a row such as .*, got {'text'"),
        ({"prompt": "q", "chosen": "a"}, "expected a row such as"),
        ({"prompt": "q", "completion": "a", "answer": "b"}, "expected a row such as"),
        ({"question": "q", "context": "c", "answer": "a"}, "expected a row such as"),
        *(({"instruction": "q", "input": odd, "output": "a"}, "instruction and input must be texts, got ")
          for odd in (5, {"x": 1}, ["x"])),
        ({"question": "q", "answer": ["a", "b"]}, "messages 1 expected a turn such as .*, got 'a'"),
        ({"prompt": "q", "completion": "a", "label": False}, "label=False of the row cannot be kept"),
        ({"messages": [Q, A], "tools": [{}]}, "'tools' is not the text of a turn and would be lost"),
        ({"messages": [Q, A], "weight": 0.5}, "weight=0.5 of the row cannot be kept"),
        ({"instruction": "q", "output": "a", "history": [["q", "a"]]}, "'history' is not the text"),
        ([Q, {"role": "assistant", "content": None, "tool_calls": [1]}, A], "1 'tool_calls' is not the text"),
        ([{**Q, "name": "Ada"}, A], "messages 0 'name' is not the text"),
        ([Q, {**A, "reasoning_content": "so"}], "messages 1 'reasoning_content' is not the text"),
        ([{"role": "developer", "content": "b"}, Q, A], "messages 0 role few chat templates have"),
        ([Q, {"role": "tool", "content": "b"}, A], "messages 1 role .* got 'tool'"),
        ([Q, {"role": "assistant", "content": None}], "messages 1 content .* got None"),
        ([{"role": "user", "content": [{"type": "image_url"}]}, A], "messages 0 content .* not 'image_url'"),
        ([Q, {"role": "assistant", "content": [{"type": "thinking", "text": "t"}]}], ".* not 'thinking'"),
        ([Q, {**A, "weight": 0}], "weight=0 of turn 2 cannot be kept: the last turn of a row is learned"),
        ([Q, {**A, "weight": 1}, Q, A], "weight=1 of turn 2 cannot be kept"),
        ([Q, {**A, "train": False}], "train=False of turn 2 cannot be kept"),
    ]),
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
    assert "\n" not in str(error.value)


def test_all_bad_rows_are_counted_and_the_first_named(rows):
    content = f"{ROW}\n" + "{}\n" * 9 + json.dumps([Q])
    with pytest.raises(BadMessages) as error:
        load(rows(content))
    assert [line.split(": ")[0].split(", ")[-1] for line in str(error.value).split("\n")] == [
        *(f"line {number}" for number in range(2, 7)), "and 4 more",
    ]  # fmt: skip
    with pytest.raises(BadMessages, match=r"line 2: expected to end with a user's query and its answer$"):
        answered(rows(f"{ROW}\n{json.dumps([Q])}"))


def test_bytes_that_are_no_text_and_missing_files_are_refused(tmp_path):
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        (tmp_path / "rows.jsonl").write_text(ROW, name)
        with pytest.raises(BadMessages, match=f"jsonl: this is text in {name[:6].upper()}; save it"):
            load(tmp_path / "rows.jsonl")
    for content, what in {
        b"\0" * 9: "this is binary", b"{\\rtf1\\": "formatted text", b"\xff" * 4 + b"\x10\0": "a table in",
        b"\xef\xbb\xbf<table>": "a web page", ROW.encode() + b"\n\0\0": "line 2 holds a zero byte",
    }.items():  # fmt: skip
        (tmp_path / "rows.jsonl").write_bytes(content)
        with pytest.raises(BadMessages, match=what):
            load(tmp_path / "rows.jsonl")
    with pytest.raises(BadMessages, match="a pipe or a device"):
        load("/dev/null")
    (tmp_path / "rows.jsonl").write_text(f"{ROW}\n{ROW.replace('q', 'é')}", "latin-1")
    with pytest.raises(BadMessages, match=r"jsonl: line 2: byte 0xe9 is not UTF-8"):
        load(tmp_path / "rows.jsonl")
    with pytest.raises(BadMessages, match="no such file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(BadMessages, match="it is a folder, not a file"):
        load(tmp_path)


def test_self_sampling_shows_the_reference_and_counts_what_it_leaves_out():
    shown, answers = [], iter(["BA", None, " ", ""])

    def sampler(conversations):
        shown.extend(conversations)
        return [next(answers) for _ in conversations]

    found = self_sample(sampler, [("q", "r")] * 4)
    assert (
        shown[0]
        == messages.hinted("q", "r")
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
        messages.expand([pair("a", "b")], [], "{instruction} {input}")
