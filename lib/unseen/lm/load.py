"""A causal language model from a folder of this machine: checks before its weights are read, and reading.

Nothing is downloaded, no code in the folder runs, and weights are read from safetensors alone.
``transformers`` and ``peft`` come with the extras ``adapters`` and ``llm`` and are imported inside functions.
"""

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unseen.errors import Explained
from unseen.files import (
    LARGEST_TEXT,
    POINTER,
    absolute,
    brief,
    hash_of,
    read,
    read_json,
    runs_folder,
    text_of,
)
from unseen.model import seeded
from unseen.process_group import best_device

PACKAGES = {"adapters": ("transformers", "peft", "tokenizers")}
PACKAGES["llm"] = (*PACKAGES["adapters"], "sacrebleu")
NAMED = {"smollm2": "smollm2-135m-instruct"}  # models that have a name here: their folder in runs/models
SPARE, WORK = 0.1, 2**28  # memory besides the weights: a share of them for the adapter; bytes for the rest
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_PICKLES, _OTHER = (".bin", ".pt", ".pth", ".ckpt"), (".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data")
_NOTES = ("LICENSE", "NOTICE", "manifest.json", "state.json")  # of a fetched model, as ``once`` writes them
_IDLE = {*_PICKLES, *_OTHER, ".md", ".py", ".png", ".jpg", ".jpeg", ".svg", ".pdf"}  # decides no answer
_FOLLOWED = re.compile(rb'strftime_now|"clean_up_tokenization_spaces": true')  # once, by answers
_USUAL = {  # keys of generation_config.json that no answer follows or followed
    "_from_model_config", "bos_token_id", "do_sample", "eos_token_id", "max_length", "max_new_tokens",
    "output_attentions", "output_hidden_states", "pad_token_id", "temperature", "top_k", "top_p",
    "transformers_version", "use_cache",
}  # fmt: skip
_STAMPS = ("st_mtime_ns", "st_ctime_ns", "st_size")  # of a file: the same as long as its content is
_INSIDE = ("*", "snapshots/*", "*/snapshots/*", "hub/*/snapshots/*")  # where else a model may lie


class BadBase(Explained, ValueError):
    """A folder is not a model that can be used here; the message says what is missing."""


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer, where it computes, and the id of the ``token`` that was added to it, if any."""

    model: nn.Module
    tokenizer: Any
    device: str
    token: int | None = None

    @property
    def pad(self) -> int:
        """The id that fills up batches; the model never attends to it."""
        own = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if own is None else own

    @property
    def settings(self) -> Any:
        """The configuration of the text model: width, layers, longest input."""
        return self.model.config.get_text_config()

    @property
    def longest(self) -> int | None:
        """How many tokens the model reads at most, None where its configuration sets no limit."""
        names = ("max_position_embeddings", "max_seq_len", "n_positions")
        return next((most for name in names if (most := getattr(self.settings, name, None))), None)

    def padded(self, rows: Iterable[list[int]], fill: int, side: str = "right") -> Tensor:
        """Rows of numbers as one tensor (B, T), filled up on one side."""
        return pad_sequence([torch.tensor(row) for row in rows], True, fill, side).to(self.device)

    def batch(self, rows: Sequence[list[int]], side: str = "right") -> dict[str, Tensor]:
        """Rows of token ids as a model reads them: filled up on one side, which it does not attend to."""
        mask = self.padded([[1] * len(row) for row in rows], 0, side)
        return {"input_ids": self.padded(rows, self.pad, side), "attention_mask": mask}

    def last_states(self, read: dict[str, Tensor]) -> Tensor:
        """The last hidden states (B, T, C) of a batch as floats; only the last logits are computed."""
        found = self.model(**read, output_hidden_states=True, logits_to_keep=1)
        return found.hidden_states[-1].float()


def models_folder() -> Path:
    """Where ``unseen model`` writes models."""
    return runs_folder() / "models"


def place_of(base: str, fetched: bool = False, name: str = "base") -> Path:
    """Where a base lies: one that ``unseen model`` has ``fetched`` is given by name, any other by path.

    Raises ``BadPath``, with the ``name`` that it was given by, for what is most likely no path.

    >>> place_of("smollm2").name, place_of("/models/mine"), place_of("org/name", fetched=True).name
    ('smollm2-135m-instruct', PosixPath('/models/mine'), 'org--name')
    """
    here = models_folder() / NAMED.get(base, base.replace("/", "--"))
    known = fetched or base in NAMED or (not os.path.exists(absolute(base, name)) and os.path.isdir(here))
    return here if known else absolute(base, name)


def needed(extra: str, *more: str) -> None:
    """Raise ``BadBase`` with the line that installs an extra, unless its packages, and more, are there."""
    if missing := [name for name in (*PACKAGES[extra], *more) if not find_spec(name)]:
        install = f"python -m pip install -c constraints.txt -e '.[{extra}]'"
        raise BadBase(f"a local language model needs {', '.join(missing)}: {install}")


def checked(folder: str | Path, chat: bool = False, device: str = "") -> Path:
    """The folder of a local model, if it can be tuned here; with ``chat`` it needs a chat template too.

    Raises ``BadBase``, before weights are read, for a missing package, file or end token, or little memory.
    """
    needed("llm" if chat else "adapters")
    folder = _folder(str(folder))
    weights_of(folder)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BadBase(f"{folder} holds no tokenizer (none of {', '.join(_TOKENIZERS)}){_instead(folder)}")
    tokenizer = read_local("AutoTokenizer", folder)
    if tokenizer.eos_token_id is None:
        raise BadBase(f"{folder}: its tokenizer has no end token, so no answer could end")
    template = tokenizer.chat_template
    if chat and not (template.get("default") if isinstance(template, dict) else template):
        others = f", only {', '.join(template)} and no default" if template else ""
        why = f"its tokenizer has no chat template{others}; a model that was tuned to chat has one"
        raise BadBase(f"{folder}: {why}")
    _left_to_right(folder)
    device = device or best_device()
    takes, free = memory_needed(folder, device) / 2**30, memory_free(device) / 2**30
    if takes > free:
        needs = f"tuning this model takes about {takes:.1f} GiB of memory on {device}"
        raise BadBase(f"{folder}: {needs}, and {free:.1f} GiB are free")
    return folder


def _folder(given: str) -> Path:
    """A folder with a configuration, whose files are there and no pointers; raises ``BadBase``."""
    folder = place_of(given)
    if given in NAMED and not (folder / "config.json").is_file():
        raise BadBase(f"base={given!r} is not on this machine yet: 'make model' fetches it, once ({folder})")
    if folder.is_file():
        raise BadBase(f"base={given!r} is a file; give the folder of a model{_form(folder)}")
    if not folder.is_dir():
        how = f"; for a model of the hub: 'unseen model {given}', then base={given!r}; or "
        how += f"hf download {given} --local-dir FOLDER, then base=FOLDER"
        how *= given.count("/") == 1 and given[0] not in "./~"
        raise BadBase(f"base={str(folder)!r}: no such folder, and nothing is downloaded{how}")
    for path in folder.iterdir():
        if path.is_symlink() and not path.exists():
            how = "copy the folder with what its links lead to (cp -rL, rsync -L)"
            raise BadBase(f"{path} is a link to {os.readlink(path)}, which is not there: {how}")
    if not (folder / "config.json").is_file():
        raise BadBase(f"{folder} holds no config.json, so it is not the folder of a model{_instead(folder)}")
    for path in _deciding(folder):
        if path.stat().st_size < 1_000 and path.read_bytes().startswith(POINTER):
            raise BadBase(f"{path} is a pointer of git-lfs, not the file: run 'git lfs pull' in {folder}")
    for path in folder.glob("*config.json"):  # of some of them transformers ignores one that is broken
        try:
            content = read(path)
            text_of(content)
            json.loads(content.decode())
        except (OSError, ValueError) as error:
            raise BadBase(f"{path} cannot be loaded, since it is no JSON in UTF-8: {brief(error)}") from error
    return folder


def _instead(folder: Path) -> str:
    """What a folder that holds no whole model most likely is, and what to do, as the end of a sentence."""
    if (folder / "adapter_config.json").is_file():
        how = "by peft's merge_and_unload(), then save_pretrained() of the model and of its tokenizer"
        return f"; it is an adapter: merge it into its base {how} gives a folder that can be used"
    inside = [path.parent for pattern in _INSIDE for path in folder.glob(f"{pattern}/*config.json")]
    if inside:
        newest = max(inside, key=lambda path: path.stat().st_mtime)
        cache, trainer = "snapshots" in newest.parts, newest.name.startswith("checkpoint-")
        what = "the hub's cache" if cache else "a Trainer's output" if trainer else "a folder of folders"
        return f"; it is most likely {what}: try {newest}"
    if (folder / "trainer_state.json").is_file():
        return "; it is a Trainer's checkpoint: copy what is missing from the base that was trained"
    return next(filter(None, map(_form, sorted(folder.iterdir()))), "")


def _form(path: Path) -> str:
    """What to do about weights in a form that is not read, as the end of a sentence."""
    if path.suffix == ".gguf":
        return f"; {path.name} is llama.cpp's form: get the folder that it was made from, with *.safetensors"
    if path.suffix in (*_PICKLES, *_OTHER):
        why = "a pickle, which can hold code" if path.suffix in _PICKLES else "another form"
        return f"; {path.name} is {why}: load it where you trust it and save_pretrained() writes safetensors"
    return ""


def weights_of(folder: Path) -> list[Path]:
    """The files that ``transformers`` reads weights from: one, or those of the index; raises ``BadBase``."""
    if (folder / "adapter_config.json").is_file():  # else the base that it names would be loaded
        raise BadBase(f"{folder} holds adapter_config.json{_instead(folder)}")
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        there = [path.name for path in sorted(folder.glob("*.safetensors"))]
        odd = f"; {there[0]} is neither model.safetensors nor named in a {index.name}" if there else ""
        raise BadBase(f"{folder} holds no weights as *.safetensors to read{odd or _instead(folder)}")
    try:
        found = [folder / name for name in sorted(set(read_json(index, LARGEST_TEXT)["weight_map"].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBase(f"{index} cannot be loaded: {brief(error)}") from error
    if lost := [path.name for path in found if not path.is_file()]:
        raise BadBase(f"{folder} lacks {', '.join(lost[:3])}, named in {index.name}: fetch the whole model")
    return found


def _left_to_right(folder: Path) -> None:
    """Raise ``BadBase`` for the configuration of a model that is quantised, or does not read from left to
    right.
    """
    config = read_local("AutoConfig", folder)
    if packed := getattr(config, "quantization_config", None) or getattr(config, "quantization", None):
        how = packed.get("quant_method", "") if isinstance(packed, dict) else ""
        why = f"its weights are quantised{f' ({how})' * bool(how)}, and an adapter is tuned on whole ones"
        raise BadBase(f"{folder}: {why}: take the model that it was made from")
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    decodes = getattr(config, "is_decoder", False) or getattr(config, "causal", False)
    if config.is_encoder_decoder:
        what = "an encoder and a decoder"
    elif kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not decodes:
        what = "a bidirectional model: every token sees those after it"
    elif kind not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        what = "no language model that transformers can continue a text with"
    else:
        return
    name = ", ".join(config.architectures or [kind])
    raise BadBase(f"{folder} holds {name}, {what}; a base must be causal, as Llama, Qwen or GPT-2 are")


def memory_needed(folder: Path, device: str) -> int:
    """Bytes for tuning an adapter of a model: its weights as they are loaded, and an allowance."""
    from safetensors import safe_open

    count = 0
    for path in weights_of(folder):
        try:
            with safe_open(path, "pt") as file:
                count += sum(math.prod(file.get_slice(name).get_shape()) for name in list(file.keys()))
        except Exception as error:
            why = f"{brief(error)}; most likely it was not copied whole: fetch it again"
            raise BadBase(f"{path} cannot be loaded: {why}") from error
    return int(count * (2 if device == "cuda" else 4) * (1 + SPARE)) + WORK


def memory_free(device: str) -> int:
    """Bytes of free memory: of the GPU, or of this machine (as Linux reports it, or free pages)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        return 1024 * int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fingerprint(folder: Path) -> str:
    """SHA-256 of all in a model's folder that decides its answers: weights, settings, tokenizer, template."""
    files = [(path, path.stat()) for path in _deciding(folder)]
    return _fingerprint(folder, tuple((path, *map(at.__getattribute__, _STAMPS)) for path, at in files))


def _deciding(folder: Path) -> list[Path]:
    """The files of a folder and its sub-folders, but those known to decide nothing: hidden ones, pages,
    weights in other forms, checkpoints of a training.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "checkpoint-")) for part in path.relative_to(folder).parts)
        idle = hidden or path.suffix in _IDLE or path.name in _NOTES
        if path.is_file() and not idle:
            found.append(path)
    return found


@lru_cache(maxsize=4)
def _fingerprint(folder: Path, files: tuple[tuple[Any, ...], ...]) -> str:
    """Reading weights takes long, so files of the same times and size are not read again.

    A model whose answers once followed the day, or penalties of its own, has another fingerprint since.
    """
    lines = [f"{path.relative_to(folder).as_posix()} {hash_of(path)}\n" for path, *_ in files]
    if any(_once_followed(path) for path, *_ in files):
        lines.append("neither the day nor how the model usually generates\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _once_followed(path: Path) -> bool:
    """Whether a file holds what answers no longer follow."""
    if path.name == "generation_config.json":
        return not {key.decode() for key in re.findall(rb'"(\w+)"\s*:', path.read_bytes())} <= _USUAL
    settings = path.suffix == ".jinja" or path.name in ("tokenizer_config.json", "chat_template.json")
    return settings and bool(_FOLLOWED.search(path.read_bytes()))


def read_local(kind: str, folder: Path, **options: Any) -> Any:
    """What an Auto class of ``transformers`` reads from a folder, offline, without code."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    options |= {"local_files_only": True, "trust_remote_code": False}
    try:
        return getattr(transformers, kind).from_pretrained(folder, **options)
    except Exception as error:  # a foreign folder: anything may be wrong in it
        raise BadBase(f"{folder} cannot be loaded: {type(error).__name__}: {brief(error)}") from error


@lru_cache(maxsize=1)
def quicker() -> torch.dtype:
    """bfloat16 where this processor multiplies matrices of it faster than in float32: measured, once."""
    seconds = {}
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(256, 512, dtype=kind), torch.ones(512, 512, dtype=kind)
        times = []
        for _ in range(4):
            began = time.perf_counter()
            left @ right
            times.append(time.perf_counter() - began)
        seconds[kind] = min(times)
    return min(seconds, key=seconds.get)


def load(folder: Path, device: str = "", quick: bool = False) -> Loaded:
    """The model and tokenizer of a ``checked`` folder; raises ``BadBase`` unless they can be read, and the
    model is causal.

    On a processor it computes in float32, with ``quick`` in what is ``quicker``.
    """
    device = device or best_device()
    kind = torch.bfloat16 if device == "cuda" else quicker() if quick else torch.float32
    loaded = _read(folder, device, dtype=kind)
    ids = torch.tensor([[2, 3, 4, 5], [2, 3, 4, 6]], device=device)
    try:
        with torch.no_grad():
            one, other = loaded.model.to(device).eval()(input_ids=ids).logits[:, :3].float()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, LookupError) as error:
        why = "this model cannot read four tokens, so it is broken, or no decoder alone"
        raise BadBase(f"{folder}: {why}: {brief(error)}") from error
    if not one.isfinite().all():
        raise BadBase(f"{folder}: this model gives numbers that are not finite; its weights are damaged")
    if (one - other).abs().max() > torch.finfo(kind).eps ** 0.5 * one.std():
        raise BadBase(f"{folder}: this model reads tokens that come later; a base must be causal")
    return loaded


def untaught(loaded: Loaded, seed: int) -> Loaded:
    """The same architecture and tokenizer with random weights."""
    from transformers import AutoModelForCausalLM

    with seeded(seed):
        model = AutoModelForCausalLM.from_config(loaded.model.config)
    _contiguous(model)
    return replace(loaded, model=model.to(loaded.device, loaded.model.dtype))


def outline(folder: Path) -> Loaded:
    """A model without its weights, and its tokenizer: what is known before anything is loaded."""
    return _read(folder, "meta", device_map="meta")


def _read(folder: Path, device: str, **options: Any) -> Loaded:
    """Model and tokenizer; of how the model usually generates only its end tokens are kept."""
    tokenizer = read_local("AutoTokenizer", folder)
    options |= {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = read_local("AutoModelForCausalLM", folder, **options)
    odd = sorted([*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])])
    if odd:
        what = f"{odd[0]} and {len(odd) - 1:,} more" if len(odd) > 1 else odd[0]
        there = f"; it holds {min(found['unexpected_keys'])} instead" if found["unexpected_keys"] else ""
        why = f"its weights are not those of its config.json: {what} are missing or of another size{there}"
        raise BadBase(f"{folder}: {why}; save the whole model by its own save_pretrained()")
    _contiguous(model)
    own = model.generation_config  # ``generate`` would add its penalties
    model.generation_config = type(own)(eos_token_id=own.eos_token_id)
    return Loaded(model, tokenizer, device)


def _contiguous(model: nn.Module) -> None:
    """Let the head read the positions it is given as one block.

    Of a slice torch would multiply each row of a batch by a copy of the whole vocabulary.
    """
    head = model.get_output_embeddings()
    head.register_forward_pre_hook(lambda layer, given: tuple(part.contiguous() for part in given))


def with_token(loaded: Loaded, token: str, seed: int = 0) -> Loaded:
    """The same model with a new token, whose embedding is drawn at random with the seed.

    DELIA's published code draws the rows beyond the vocabulary instead, which no token has.
    """
    from tokenizers import AddedToken

    loaded.tokenizer.add_tokens([AddedToken(token, lstrip=True, normalized=False, special=False)])
    model, size = loaded.model, len(loaded.tokenizer)
    number = loaded.tokenizer.convert_tokens_to_ids(token)
    if loaded.device == "meta":
        return replace(loaded, token=number)
    with seeded(seed), torch.no_grad():
        if size > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(size, mean_resizing=False)
            _contiguous(model)  # the head may be a new one
        table = model.get_input_embeddings().weight
        table[number] = (torch.randn(table.shape[1]) * table.float().std().item()).to(table)
    return replace(loaded, token=number)
