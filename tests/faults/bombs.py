"""What somebody may put in a file's place: code, texts that are much work, tensors that lie, odd words, random changes."""

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import torch
from deeds import LONG

from bad_parameters import payloads
from unseen.runs.checkpoints import from_bytes, to_bytes

# Code


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def rubbish(canary):
    """Contents that no file of ours has, most of which make a file when they are read as code; six pickles first."""
    evil, found = Evil(canary), [pickle.dumps(Evil(canary), protocol) for protocol in range(6)]
    for save in (lambda file: np.save(file, np.array([evil], dtype=object)), lambda file: torch.save(evil, file),
                 lambda file: np.savez(file, np.array([evil], dtype=object)),
                 lambda file: torch.save({"a": evil}, file, _use_new_zipfile_serialization=False)):  # fmt: skip
        save(file := io.BytesIO())
        found.append(file.getvalue())
    yaml = f"!!python/object/apply:pathlib.Path.touch [{canary}]"
    texts = [*payloads(canary), yaml, json.dumps({"py/object": "pathlib.Path", "py/reduce": yaml})]
    return [
        *found,
        *(text.encode() for text in texts),
        b"",
        b"\0" * 999,
        b"\xff" * 999,
        b"\x80\x05.",
        b"PK\3\4",
        b"\x1f\x8b\x08",
    ]


# Text

LIGHT = {"deep lists": b"[" * 10**5, "deep and closed": b"[" * 5 * 10**4 + b"]" * 5 * 10**4, "deep objects": b'{"a":' * 10**5,
         "as deep as goes": b"[" * 900 + b"]" * 900, "long integer": b"9" * 5_000, "longest integer": b"9" * 4_000,
         "infinite": b"1e999", "nan": b"NaN", "null": b"null", "true": b"true", "list": b"[]", "object": b"{}", "text": b'""',
         "UTF-16": '{"state": "running"}'.encode("utf-16"), "half a character": b'"\\ud800"', "lists": b"[[[]], {}]",
         "nan rows": b"step,loss,seen,unseen,seconds\nnan,nan,nan,nan,nan\n", "odd rows": b"step,loss\n1,2\n",
         "ragged": b"step,loss,seen,unseen,seconds\n1,2,3,4,5\n1,2,3\n", "open": b'step,loss,seen,unseen,seconds\n"1,2,3,4,5\n',
         "infinite rows": b"step,loss,seen,unseen,seconds\n1,1e999,0,0,0\n"}  # fmt: skip
MANY = {"empty lists": b"[],", "empty objects": b"{},", "numbers": b"1.5,", "names": b'"aaa",', "lines": b"\n", "commas": b",",
        "quotes": b'"', "nulls": b"\0", "rows": b"1\n", "texts": b'"a\n'}  # fmt: skip


def heavy(what, size):
    """A text of one of ``MANY``, many times."""
    return b"[" + MANY[what] * (size // len(MANY[what]) - 9) + b'""]'


# Tensors


def tensors_file(header, data=b""):
    """A file of tensors with any header."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def apart(content):
    """The header and the numbers of a file of tensors."""
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def entry(kind, shape, begin=0, end=0):
    """What a header says of a tensor."""
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def bad_headers(content):
    """Files of tensors with headers that lie: about their own length, about the first tensor, about one more at the end."""
    (header, data), rest = apart(content), content[8:]
    first = next(name for name in header if name != "__metadata__")
    kind, (begin, end), shape = header[first]["dtype"], header[first]["data_offsets"], header[first]["shape"]
    lies = {"no bytes": entry(kind, [10**12]), "negative": entry(kind, [-1]), "product too large": entry(kind, [2**32, 2**32]),
            "overlapping": entry(kind, shape, begin + 4, end + 4), "behind the end": entry(kind, shape, begin, 2**40),
            "backwards": entry(kind, shape, end, begin), "huge offsets": entry(kind, shape, 2**64 - 1, 2**64 - 1),
            "shape of floats": entry(kind, [1.0]), "no shape": {"dtype": kind, "data_offsets": [begin, end]}, "a list": [],
            "nothing": None, "deep": json.loads("[" * 200 + "]" * 200), "of a type of code": entry("pickle", shape, begin, end)}  # fmt: skip
    sides = {"one": [0], "wide": [0, 2**62], "too wide": [2**63, 0], "wider": [2**64, 0], "as wide as many": [0] + [2**40] * 5,
             "of many sides": [0] + [1] * 10**5}  # fmt: skip
    more = {f"one more, {what}": entry(kind, each, len(data), len(data)) for what, each in sides.items()}
    return {
        **{f"header of {length:,} bytes": struct.pack("<Q", length) + rest
           for length in (0, 1, len(rest), len(rest) + 1, 200 * 2**20, 2**31, 2**63, 2**64 - 1)},
        **{what: tensors_file({**header, first: lie}, data) for what, lie in lies.items()},
        **{what: tensors_file({**header, "more": lie}, data) for what, lie in more.items()},
        "deep header": tensors_file(b'{"a":' * 10**5),
        "words of numbers": tensors_file({**header, "__metadata__": {"state": 3}}, data),
        "twice the same": tensors_file(json.dumps(header)[:-1].encode() + b"," + json.dumps({first: entry(kind, [1], 0, 4)})[1:].encode(), data),
        "more numbers": content + b"\0" * 4,
        "fewer numbers": content[:-4],
    }  # fmt: skip


def bad_tensors(content):
    """Files of tensors that are such, and are not those of the spec."""
    whole, about = from_bytes(content)
    names, wide = sorted(whole), max(sorted(whole), key=lambda name: whole[name].numel())
    kinds = [
        torch.float64,
        torch.bfloat16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
        torch.float8_e4m3fn,
    ]
    kinds += [torch.float16] if about else []  # weights alone may be of half precision
    odd = {f"all as {kind}": {name: value.to(kind) for name, value in whole.items()} for kind in kinds}
    for value in (float("nan"), float("inf"), float("-inf"), 1e300):
        for name in (names[0], wide, names[-1]):
            new = (whole[name].double() if value == 1e300 else whole[name]).clone()
            new.view(-1)[0] = value
            odd[f"{value} in {name}"] = whole | {name: new}
    odd |= {
        "flat": whole | {wide: whole[wide].flatten()},
        "cut": whole | {wide: whole[wide][..., :1].contiguous()},
        "a letter more": {n: torch.cat([v, v[-1:]]) if v.ndim > 1 else v for n, v in whole.items()},
        "one less": {name: whole[name] for name in names[1:]},
        "only one": {wide: whole[wide]},
        "renamed": {"__class__" if name == wide else name: value for name, value in whole.items()},
        "memory of one shape": {n: v if n.startswith("model.") else torch.zeros(2, 2) for n, v in whole.items()} | {"x": torch.ones(1)},
    }  # fmt: skip
    if about:
        odd["half a memory"] = {name: value for name, value in whole.items() if not name.startswith("optimizer.1.")}
        odd["no memory"] = {name: value for name, value in whole.items() if name.startswith("model.")}
    return {what: to_bytes(tensors, about) for what, tensors in odd.items()}


HEADERS = (
    "200 MB",
    "lists",
    "objects",
    "numbers",
    "words",
    "state",
    "tensors",
    "fewer tensors",
    "sides",
    "sides of one",
)


def heavy_header(what, size):
    """A file of tensors whose header takes a multiple of its size as memory, or claims to; by a name of ``HEADERS``."""
    tensor = b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return tensors_file({
        "200 MB": lambda: b"{" + b'"a":[],' * (200 * 2**20 // 7) + b'"b":0}',
        "lists": lambda: b'{"__metadata__":[' + b"[]," * (size // 3) + b"[]]}",
        "objects": lambda: b'{"__metadata__":[' + b"{}," * (size // 3) + b"{}]}",
        "numbers": lambda: b'{"__metadata__":[' + b"1.5," * (size // 4) + b"1]}",
        "words": lambda: b'{"__metadata__":{' + b",".join(b'"%x":""' % i for i in range(size // 12)) + b"}}",
        "state": lambda: b'{"__metadata__":{"state":"' + b"[]," * (size // 3) + b'[]"}}',
        "tensors": lambda: b"{" + b",".join(tensor % i for i in range(size // 65)) + b"}",
        "fewer tensors": lambda: b"{" + b",".join(tensor % i for i in range(120_000)) + b"}",
        "sides": lambda: b'{"a":{"dtype":"F32","shape":[0,' + b"999," * (size // 4 - 99) + b'1],"data_offsets":[0,0]}}',
        "sides of one": lambda: b'{"a":{"dtype":"F32","shape":[' + b"1," * (size // 2 - 99) + b'1],"data_offsets":[0,4]}}',
    }[what](), b"\0" * 4 if what == "sides of one" else b"")  # fmt: skip


# Words


def words(content):
    """The words that a checkpoint holds beside its tensors."""
    return json.loads(from_bytes(content)[1]["state"])


def with_words(content, said):
    """A checkpoint that says something else."""
    return to_bytes(from_bytes(content)[0], {"state": said if isinstance(said, str) else json.dumps(said)})


ROW = {"step": 3, "loss": 1.0, "seen": 0.0, "unseen": 0.0, "seconds": 1.0}
BAD_WORDS = {"step": [-1, 61, 10**400, 3.5, "3", True, None, [3], {}],
             "history": [{}, "", 3, None, [3], [{}], [ROW | {"loss": "nan"}], [ROW | {"loss": None}], [ROW | {"seconds": "x"}],
                         [ROW | {"loss": 10**400}], [ROW | {"seconds": True}], [ROW | {"more": 1}], [[*ROW]],
                         [{f"{row} {n}": 0 for n in range(200)} for row in range(200)]],
             "wrote": [None, 3, [], {"versions": []}, {"versions": {"torch": 3}}, {"versions": {"torch": "\x1b[2J"}},
                       {"versions": {"torch": "9" * 10**5}}, {"more": "x" * 2**21}],
             "before": [None, 3, [3], ["x"], [{"more": "x" * 2**21}]],
             "spec": [None, 3, [], {}, {"task": 3}, {"\x1b[2J": {"x": "y" * 10**5}}, LONG.with_seed(9).to_dict()]}  # fmt: skip


def bad_words(content):
    """Checkpoints that say what none says."""
    said = words(content)
    odd = {f"{what}: {value!r:.80}": said | {what: value} for what, values in BAD_WORDS.items() for value in values}
    odd |= {f"no {what}": {name: each for name, each in said.items() if name != what} for what in BAD_WORDS}
    odd |= {"deep": "[" * 10**5, "lists": "[" + "[]," * 5 * 10**6 + "[]]", "list": "[]", "null": "null", "nothing": "",
            "infinite": json.dumps(said | {"history": [ROW]}).replace('"loss": 1.0', '"loss": 1e999')}  # fmt: skip
    return {what: with_words(content, each) for what, each in odd.items()}


# Anything


def changed(content, rng):
    """Some bytes, changed here and there."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        place, end = sorted(rng.choices(range(len(content) + 1), k=2))
        end = min(end, place + rng.choice([0, 1, 1, 1, 8, 10**6]))
        signs = b'{ } [ ] " , : \n 0 1 9 - . e E'.split(b" ")
        content[place:end] = rng.choice(
            [rng.randbytes(end - place), b"", bytes(content[place:end] * 2), b"\0" * 8, b"\xff" * 8, *signs]
        )
    return bytes(content)


AWKWARD = [None, True, -1, 0, 3, 2**63, 10**400, 1e308, -0.0, 0.5, "", "x", "x" * 10**5, "\x1b[2J", "\u202e", "../../x", "\ud800", [],
           {}, [[]], {"": 0}, json.loads("[" * 300 + "]" * 300), list(range(1_000)), "F32", "I8", [0], [10**12], "9" * 60]  # fmt: skip


def rewritten(value, rng):
    """JSON in which something, somewhere, is something else, twice, gone, or new."""
    value = {"": value}
    for _ in range(rng.randrange(1, 3)):
        value = json.loads(json.dumps(value))  # nothing in it is shared
        places, level = [], [value]
        while level:
            places += [
                (each, key) for each in level for key in (list(each) if isinstance(each, dict) else range(len(each)))
            ]
            level = [
                inner
                for each in level
                for inner in (each.values() if isinstance(each, dict) else each)
                if isinstance(inner, dict | list)
            ]
        holder, key = rng.choice(places)
        what = rng.randrange(4) if holder is not value else 0
        if what == 0:
            holder[key] = rng.choice(AWKWARD)
        elif what == 1:
            del holder[key]
        elif what == 2:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        elif isinstance(holder, dict):
            holder[rng.choice(["x", "__class__", "\x1b[2J", "y" * 999])] = rng.choice(AWKWARD)
    return json.dumps(value[""])


def rewritten_file(name, content, rng):
    """A file whose JSON was rewritten, wherever in it that stands."""
    if name == "sweep":
        lines = content.decode().splitlines()
        place = rng.randrange(1, len(lines) - 1)
        return "\n".join(
            [*lines[:place], rewritten(json.loads(lines[place].rstrip(",")), rng) + ",", *lines[place + 1 :]]
        ).encode()
    if name == "checkpoint" and rng.random() < 0.5:
        return with_words(content, rewritten(words(content), rng))
    if name in ("checkpoint", "weights", "model"):
        header, data = apart(content)
        return tensors_file(rewritten(header, rng).encode(), data)
    return rewritten(json.loads(content), rng).encode()
