"""The rooms of the house: who may know whom, and what no module does."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lib" / "unseen"


def name_of(path: Path) -> str:
    """The dotted name of a module inside the package: ``specs``, ``tapes.world``, ``tapes`` for its ``__init__``."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(LIBRARY.rglob("*.py"))}

ROOMS = {  # module: the modules of this package that it may import; imports point upwards only
    "__init__": set(),
    "rewriting": set(),
    "tour": set(),
    "diversity": set(),
    "running": set(),
    "disk": set(),
    "crossing": set(),
    "bench": set(),
    "fields": set(),
    "tasks": {"fields"},
    "tapes": set(),
    "tapes.spec": {"fields", "tasks"},
    "tapes.programs": {"instructions", "rewriting"},
    "tapes.world": {"datasets", "encoding", "instructions", "rewriting", "specs", "tapes.programs", "tapes.spec", "tasks"},
    "tapes.machine": {"encoding", "evaluation", "model", "rewriting", "tapes.spec", "tapes.world"},
    "tapes.settings": {"scales", "specs", "tapes.spec"},
    "tapes.results": {"evaluation", "rewriting", "running.workers", "scales", "specs", "store", "sweep", "tapes.machine",
                      "tapes.programs", "tapes.spec"},
    "tapes.pictures": {"plots", "rewriting", "tapes.machine", "tapes.results"},
    "tapes.explorer": {"rewriting", "running.progress", "scales", "store", "tapes.machine", "tapes.pictures", "tapes.programs",
                       "tapes.results", "tapes.spec", "tapes.world"},
    "domains": set(),
    "domains.spec": {"fields", "tasks"},
    "delia": set(),
    "delia.language": set(),
    "delia.spec": {"delia.language", "fields", "tasks"},
    "pretrained": set(),
    "pretrained.spec": {"fields", "tasks"},
    "specs": {"delia.spec", "domains.spec", "fields", "pretrained.spec", "tapes.spec", "tasks"},
    "optim": {"model", "specs"},
    "objectives": {"model", "specs"},
    "families": set(),
    "ciphers": {"tasks"},
    "encoding": {"rewriting", "specs", "tasks"},
    "instructions": {"families", "rewriting", "specs"},
    "datasets": {"ciphers", "encoding", "instructions", "rewriting", "specs", "tasks"},
    "model": {"encoding", "specs"},
    "evaluation": {"ciphers", "datasets", "encoding", "instructions", "model", "rewriting"},
    "parallel": set(),
    "pretrained.drills": {"datasets", "encoding", "instructions", "pretrained.spec", "rewriting", "specs"},
    "domains.algebra": set(),
    "domains.chains": set(),
    "domains.kinds": {"domains.algebra", "domains.chains", "domains.spec", "instructions"},
    "domains.draw": {"datasets", "domains.kinds", "domains.spec", "encoding", "instructions", "specs"},
    "delia.messages": {"disk.files", "errors", "fields"},
    "delia.pipeline": {"delia.messages"},
    "delia.prompts": {"delia.language", "delia.messages", "delia.spec", "instructions"},
    "delia.samples": {"delia.messages", "delia.pipeline", "delia.spec", "disk.files", "errors"},
    "delia.world": {"datasets", "delia", "delia.language", "delia.messages", "delia.pipeline", "delia.prompts", "delia.samples",
                    "delia.spec", "encoding", "instructions", "specs"},
    "delia.sampling": {"delia", "delia.messages", "delia.pipeline", "delia.prompts", "delia.samples", "delia.spec", "delia.world",
                       "encoding", "model", "specs", "store"},
    "delia.follow": {"datasets", "delia", "delia.methods", "delia.prompts", "delia.sampling", "delia.world", "evaluation", "model",
                     "running.following", "running.workers", "specs", "store", "sweep", "training"},
    "delia.bases": {"disk.files", "running.workers", "specs", "store", "sweep"},
    "delia.gradients": {"delia", "delia.follow", "delia.language", "delia.methods", "delia.prompts", "delia.sampling", "delia.world",
                        "instructions", "model", "objectives", "running.following", "running.workers", "specs", "store", "sweep",
                        "training"},
    "delia.meaning": {"delia", "delia.language", "delia.messages", "delia.methods", "delia.prompts", "delia.spec", "delia.world",
                      "encoding", "instructions", "model", "specs", "store"},
    "delia.explorer": {"delia.language", "delia.methods", "delia.prompts", "encoding", "evaluation", "model", "running.progress", "specs",
                       "store"},
    "delia.plots": {"delia.methods", "delia.prompts", "plots"},
    "delia.methods": {"delia.spec", "scales", "specs"},
    "delia.measure": {"delia.bases", "delia.methods", "delia.prompts", "delia.sampling", "delia.world", "evaluation", "model",
                      "running.following", "running.workers", "scales", "specs", "store", "sweep"},
    "delia.dictionary": {"instructions"},
    "delia.llm_data": {"delia", "delia.dictionary", "delia.messages", "delia.pipeline", "delia.prompts", "delia.spec", "instructions"},
    "delia.tiny_llama": {"delia", "delia.dictionary", "delia.language", "delia.llm_data", "delia.messages", "disk.files", "instructions",
                         "pretrained.local", "pretrained.turns"},
    "delia.llm_checks": {"disk.files", "pretrained.local", "sweep"},
    "delia.llm": {"delia.language", "delia.messages", "delia.pipeline", "fields", "instructions", "pretrained.local", "pretrained.turns",
                  "training"},
    "delia.llm_scores": {"pretrained.local"},
    "delia.llm_runs": {"delia", "delia.llm", "delia.llm_checks", "delia.llm_data", "delia.llm_scores", "delia.messages", "delia.pipeline",
                       "delia.samples", "delia.tiny_llama", "disk.files", "fields", "pretrained", "pretrained.local", "pretrained.shelf",
                       "pretrained.turns", "scales"},
    "delia.llm_plots": set(),
    "worlds": {"datasets", "delia", "delia.spec", "delia.world", "domains", "domains.draw", "domains.spec", "instructions",
               "pretrained.drills", "pretrained.spec", "specs", "tapes", "tapes.spec", "tapes.world", "tasks"},
    "training": {"encoding", "errors", "evaluation", "instructions", "model", "objectives", "optim", "parallel", "specs", "tasks", "worlds"},
    "tour.coverage": {"instructions", "specs"},
    "tour.attention": {"datasets", "encoding", "model"},
    "tour.probes": {"datasets", "encoding", "evaluation", "instructions", "model", "rewriting", "specs"},
    "scales": {"specs"},
    "diversity.experiments": {"scales", "specs"},
    "claims.judging": set(),
    "claims.transfer": {"claims.judging"},
    "claims.domains": {"claims.judging"},
    "claims.pretrained": {"claims.judging"},
    "claims.delia": {"claims.judging"},
    "claims": {"claims.delia", "claims.domains", "claims.judging", "claims.pretrained", "claims.transfer"},
    "transfer": set(),
    "transfer.settings": {"diversity.experiments", "families", "scales", "specs"},
    "transfer.ask": {"datasets", "evaluation", "families", "instructions", "running.following", "running.workers", "scales", "specs",
                     "store", "sweep"},
    "transfer.pictures": {"claims.transfer", "plots"},
    "domains.designs": {"domains.spec", "scales", "specs"},
    "domains.measure": {"claims.domains", "domains.designs", "domains.draw", "domains.kinds", "domains.spec", "evaluation",
                        "running.workers", "scales", "specs", "store", "sweep"},
    "diversity.thresholds": set(),
    "errors": set(),
    "disk.files": {"errors"},
    "disk.names": set(),
    "running.tables": {"disk.files", "specs"},
    "parameters": {"disk.files", "disk.names", "errors", "scales", "tasks"},
    "running.signals": set(),
    "running.workers": {"errors", "running.signals", "specs"},
    "running.cluster": {"errors", "parameters", "running.workers", "specs"},
    "running.progress": {"encoding", "running.workers", "specs"},
    "disk.weights": {"disk.files", "encoding", "model", "specs"},
    "disk.checkpoints": {"disk.files", "disk.weights", "optim", "specs", "training"},
    "disk.holding": {"disk.files", "errors", "running.signals"},
    "disk.space": {"disk.files"},
    "store": {"disk.checkpoints", "disk.files", "disk.holding", "disk.weights", "errors", "model", "specs", "training"},
    "sweep": {"disk.checkpoints", "disk.files", "disk.holding", "disk.space", "errors", "evaluation", "model", "objectives", "parallel",
              "running.progress", "running.workers", "specs", "store", "training"},
    "running.following": {"disk.files", "running.progress", "running.workers", "specs", "training"},
    "running.inventory": {"disk.checkpoints", "disk.files", "disk.holding", "specs", "store"},
    "running.named": {"disk.checkpoints", "disk.files", "disk.names", "running.inventory", "running.workers", "specs", "store", "sweep"},
    "diversity.curve": {"claims", "datasets", "diversity.thresholds", "evaluation", "instructions", "running.workers", "scales", "store",
                        "sweep"},
    "diversity.effective": {"datasets", "specs"},
    "diversity.variations": {"running.workers", "scales", "store", "sweep"},
    "law": set(),
    "law.factors": {"specs", "training"},
    "law.design": {"law.factors", "scales", "specs"},
    "law.reading": {"crossing", "diversity.thresholds"},
    "law.measure": {"diversity.variations", "law.design", "law.factors", "law.reading", "running.workers", "store"},
    "law.fit": {"law.factors", "law.measure", "law.reading"},
    "law.words": {"law.fit"},
    "law.plots": {"law.factors", "law.fit", "law.reading", "plots"},
    "law.widgets": {"law.factors", "law.fit", "running.progress"},
    "plots": {"claims", "diversity.thresholds"},
    "domains.plots": {"claims.domains", "plots"},
    "pretrained.plan": {"claims.pretrained", "diversity.experiments", "pretrained.spec", "scales", "specs"},
    "pretrained.own": {"diversity.variations", "evaluation", "pretrained.drills", "pretrained.plan", "rewriting", "running.workers",
                       "store", "sweep", "training", "worlds"},
    "pretrained.adapters": {"fields", "specs"},
    "pretrained.local": {"datasets", "disk.files", "errors", "pretrained.adapters", "sweep", "training"},
    "pretrained.turns": {"disk.files", "pretrained.local"},
    "pretrained.shelf": {"datasets", "disk.files", "disk.holding", "disk.weights", "errors", "evaluation", "instructions",
                         "pretrained.adapters", "pretrained.local"},
    "pretrained.bases": {"pretrained.adapters", "pretrained.local", "pretrained.own", "pretrained.plan", "pretrained.shelf",
                         "running.workers", "scales"},
    "pretrained.figures": {"claims.pretrained", "diversity.variation_plots", "plots", "pretrained.plan"},
    "diversity.variation_plots": {"diversity.effective", "plots"},
    "tour.pictures": {"encoding", "model", "plots", "rewriting"},
    "tour.set_pictures": {"instructions", "plots", "tour.coverage"},
    "widgets": {"disk.files", "disk.weights", "encoding", "evaluation", "model", "plots", "rewriting", "running.progress",
                "running.workers", "scales", "specs", "store", "sweep", "training"},
    "inside": set(),
    "inside.heads": {"datasets", "encoding", "model", "rewriting", "specs", "tour.attention", "tour.probes"},
    "inside.surgery": {"datasets", "inside.heads", "instructions", "model", "specs"},
    "inside.lens": {"datasets", "inside.heads", "model", "specs"},
    "inside.axis": {"crossing", "datasets", "diversity.thresholds", "evaluation", "instructions", "model", "specs", "tour.probes"},
    "inside.instead": {"datasets", "evaluation", "inside.heads", "instructions", "model", "specs"},
    "inside.progress": {"crossing", "datasets", "evaluation", "inside.heads", "model", "running.following", "running.workers",
                        "scales", "specs", "tour.probes", "training"},
    "inside.pictures": {"diversity.variation_plots", "inside.axis", "inside.heads", "inside.instead", "inside.progress", "inside.surgery",
                        "plots"},
    "inside.explorer": {"datasets", "evaluation", "inside", "inside.lens", "inside.pictures", "plots", "rewriting", "running.progress",
                        "tour.attention", "tour.probes", "widgets"},
    "running.kernels": {"running.signals"},
    "headless": {"disk.files", "disk.names", "errors", "parameters", "running.kernels"},
    "report": {"claims", "disk.files", "diversity.curve", "plots", "running.progress", "scales", "sweep"},
    "cli": {"disk.checkpoints", "disk.files", "disk.weights", "errors", "headless", "parallel", "parameters", "report", "running.cluster",
            "running.inventory", "running.named", "running.progress", "running.signals", "running.tables", "running.workers", "scales",
            "store", "sweep"},
    "__main__": {"cli"},
    "bench.huggingface": {"datasets", "encoding", "model", "specs", "training"},
    "bench.measures": {"bench.huggingface", "datasets", "encoding", "evaluation", "model", "rewriting", "specs", "training"},
    "bench.compare": {"bench.huggingface", "bench.measures", "scales", "specs", "training"},
    "bench.__main__": {"bench.compare"},
}  # fmt: skip
GLOBAL_SEEDS = {"random.seed", "np.random.seed", "numpy.random.seed", "torch.seed", "torch.manual_seed",
                "torch.random.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all"}  # fmt: skip
BY_SPEC = ("rewriting", "specs", "optim", "encoding", "instructions", "datasets", "model", "evaluation", "training")
LONGEST_BODY = 40  # lines of a function, its docstring left out

every_module = pytest.mark.parametrize("module", MODULES)


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def notebook_code(path: Path) -> str:
    """All code of a notebook, without the lines that only IPython reads."""
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def imported(tree: ast.AST) -> set[str]:
    """The modules of ``unseen`` that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            where = "unseen" if node.level else node.module or ""
            where = f"unseen.{node.module}" if node.level and node.module else where
            found |= {f"{where}.{alias.name}" for alias in node.names}
    inside = {name.removeprefix("unseen.") for name in found if name.startswith("unseen.")} - {"__version__"}
    return {module_in(name) for name in inside}


def module_in(name: str) -> str:
    """The module that a dotted name lies in: the longest part of it that is one, or its first word."""
    parts = name.split(".")
    ends = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
    return next((end for end in ends if end in MODULES), parts[0])


def offences(tree: ast.AST) -> list[str]:
    """What no code of this project does, as ``line: what``."""
    forked = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.With)
              if any("fork_rng" in ast.unparse(item.context_expr) for item in node.items) for inner in ast.walk(node)}  # fmt: skip
    found = [(node.lineno, offence(node)) for node in ast.walk(tree) if id(node) not in forked and offence(node)]
    return [f"{line}: {what}" for line, what in found]


def offence(node: ast.AST) -> str | None:
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        return "import *"
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
        return "pickle" if names & {"pickle", "cPickle", "dill", "cloudpickle"} else None
    if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
        return "sys.path"
    return forbidden_call(node) if isinstance(node, ast.Call) else None


def forbidden_call(node: ast.Call) -> str | None:
    name = ast.unparse(node.func)
    values = [ast.unparse(value) for value in node.args] + [f"{k.arg}={ast.unparse(k.value)}" for k in node.keywords]
    if name.endswith(("filterwarnings", "simplefilter")):
        return "warnings switched off" if {"'ignore'", "action='ignore'"} & set(values) else None
    if name.endswith("read_pickle"):
        return "reading a pickle"
    if name == "torch.load":
        return None if "weights_only=True" in values else "torch.load without weights_only=True"
    if name.endswith("load") and "allow_pickle=True" in values:
        return "reading a pickle"
    return "global seeding" if name in GLOBAL_SEEDS else None


@every_module
def test_every_module_has_a_room(module):
    assert module in ROOMS, (
        f"unseen.{module} has no room yet: add it to ROOMS in {Path(__file__).name}, with what it may import"
    )


def test_every_room_has_a_module():
    assert set(ROOMS) - set(MODULES) == set()


def test_the_rooms_form_a_house_without_circles():
    above: set[str] = set()
    while rest := {room: known for room, known in ROOMS.items() if room not in above}:
        ready = {room for room, known in rest.items() if known <= above}
        assert ready, f"circular imports among {sorted(rest)}"
        above |= ready


@pytest.mark.parametrize("module", [module for module in MODULES if module in ROOMS])
def test_imports_point_upwards_only(module):
    assert imported(tree_of(module)) <= ROOMS[module]


@every_module
def test_no_module_does_what_the_house_forbids(module):
    assert offences(tree_of(module)) == []


@pytest.mark.parametrize("module", BY_SPEC)
def test_the_numbers_of_a_run_follow_from_its_spec_alone(module):
    read = {ast.unparse(node) for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)}
    assert read & {"os.environ", "os.getenv", "sys.argv"} == set()


def test_no_notebook_does_what_the_house_forbids():
    found = {
        path.name: offences(ast.parse(notebook_code(path))) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


@every_module
def test_what_is_public_has_a_docstring(module):
    tree = tree_of(module)
    public = [tree] + [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    bare = [getattr(node, "name", module) for node in public if not ast.get_docstring(node)]
    assert [name for name in bare if not name.startswith("_") or name == module] == []


@every_module
def test_no_function_is_long(module):
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: body_length(node) for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_BODY} == {}


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


# The checks themselves


@pytest.mark.parametrize(
    "code",
    [
        "from torch import *",
        "import pickle",
        "from pickle import loads",
        "import sys; sys.path.insert(0, '.')",
        "warnings.filterwarnings('ignore')",
        "warnings.filterwarnings(action='ignore', module='torch')",
        "warnings.simplefilter('ignore')",
        "pd.read_pickle('x')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.random.seed(0)",
        "random.seed(0)",
        "def f():\n    torch.manual_seed(0)",
        "with torch.no_grad():\n    torch.manual_seed(0)",
        "torch.cuda.manual_seed_all(0)",
    ],
)
def test_an_offence_is_noticed(code):
    assert len(offences(ast.parse(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "with torch.random.fork_rng(devices=[]):\n    torch.manual_seed(0)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.random.default_rng(0)",
        "torch.Generator().manual_seed(0)",
        "warnings.filterwarnings('error')",
        "json.load(file)",
        "text = 'import * and sys.path'",
    ],
)
def test_what_is_allowed_is_no_offence(code):
    assert offences(ast.parse(code)) == []


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import unseen.specs", {"specs"}),
        ("import unseen.specs as s", {"specs"}),
        ("from unseen import specs, model", {"specs", "model"}),
        ("from unseen.specs import TaskSpec", {"specs"}),
        ("from . import specs", {"specs"}),
        ("from .specs import TaskSpec", {"specs"}),
        ("def f():\n    from unseen import model", {"model"}),
        ("from unseen import __version__", set()),
        ("import unseenly.specs, numpy", set()),
    ],
)
def test_every_way_to_import_is_seen(code, modules):
    assert imported(ast.parse(code)) == modules
