"""The promises about the code that reviews would otherwise have to keep: see CONTRIBUTING.md."""

import ast
import graphlib
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import it_incident_response

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "it_incident_response"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TEST_STACK = sorted((ROOT / "tests" / "real" / "stack").glob("*.py"))
BENCHMARKS = sorted((ROOT / "bench").rglob("*.py"))

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50

BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc"}
BANNED_CLASS_ENDINGS = ("Manager", "Handler", "Helper", "Utils", "Data", "Info")
BANNED_FUNCTION_BEGINNINGS = ("do_", "process_data", "handle_data")
NAMED_BY_THE_GUIDE = {"ApprovalManager"}

BROAD_EXCEPT_BOUNDARIES = {
    "agents": "workflow step",
    "workflow": "workflow step",
    "tools": "tool call",
    "servers": "server request",
}
"""Where `except Exception` may stand, and which boundary the comment beside it must name."""

CORE = ("domain", "ports", "analysis", "safety", "actions", "tools", "agents", "workflow", "config")
"""What neither reads a clock nor draws lots: both come in through a port or a seed."""

CLOCK_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.sleep",
}
CORE_CLOCK_CALLS = {"time.monotonic", "time.perf_counter", "asyncio.sleep"}
CLOCK_MODULES = {"ports/clock.py"}
"""The one module that reads the machine's time, for everybody."""

LOTTERY_MODULES = {"random", "secrets"}
LOTTERY_PLACES = ("simulation/", "integrations/", "executors/", "servers/")
"""Seeded worlds; jitter of retries; names and tokens that must not be guessed."""

# In pieces, so that this file does not contain what it forbids.
MACHINE_TEXTS = (
    re.compile(r"(?<![\w$}.)>])/" + r"(work|root)/[\w.]"),
    re.compile(
        "py" + r"pi\.org|files\.python" + "hosted|registry\\.npm" + "js|conda\\." + "anaconda"
    ),
    re.compile("deb\\.debian" + "\\.org|proxy\\.golang" + "\\.org|repo1?\\.maven" + "\\.org"),
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _in_package(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _dotted(node: ast.expr) -> str:
    """Return `a.b` of an attribute's last two parts; other expressions give their last name."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value).rpartition('.')[2]}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, _dotted(node.func)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 20
    assert TEST_STACK


def test_files_are_short() -> None:
    counts = {
        _name(path): len(path.read_text().splitlines())
        for path in [*SOURCES, *TEST_STACK, *BENCHMARKS]
    }
    assert {name: count for name, count in counts.items() if count > LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    long = {
        f"{_name(path)}:{node.lineno} {node.name}": lines
        for path in [*SOURCES, *TEST_STACK, *BENCHMARKS]
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_nothing_prints() -> None:
    found = [f"{_name(p)}:{n}" for p in SOURCES for n, call in _calls(p) if call == "print"]
    assert found == []


def test_modules_have_telling_names() -> None:
    names = [_name(p) for p in SOURCES if {p.stem.strip("_"), p.parent.name} & BANNED_MODULES]
    assert names == []


def test_classes_and_functions_have_telling_names() -> None:
    vague = []
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.ClassDef):
                is_vague = node.name.endswith(BANNED_CLASS_ENDINGS)
            else:
                is_vague = node.name.lstrip("_").startswith(BANNED_FUNCTION_BEGINNINGS)
            if is_vague and node.name not in NAMED_BY_THE_GUIDE:
                vague.append(f"{_name(path)}:{node.lineno} {node.name}")
    assert vague == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    names = {_dotted(kind) for kind in kinds if kind is not None}
    is_wide = caught is None or bool(names & {"Exception", "BaseException"})
    last = handler.body[-1]
    return is_wide and not (isinstance(last, ast.Raise) and last.exc is None)


def _names_boundary(path: Path, line: int) -> bool:
    """Tell whether the handler's line, or the one after it, says that it is the boundary."""
    boundary = BROAD_EXCEPT_BOUNDARIES.get(_in_package(path).split("/")[0])
    comment = " ".join(path.read_text().splitlines()[line - 1 : line + 1])
    return boundary is not None and boundary in comment and "boundary" in comment


def test_only_named_boundaries_catch_everything() -> None:
    astray = [
        f"{_name(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        and _is_broad(node)
        and not _names_boundary(path, node.lineno)
    ]
    assert astray == []


def test_nobody_but_the_clock_reads_the_time() -> None:
    found = []
    for path in SOURCES:
        inside = _in_package(path)
        if inside in CLOCK_MODULES:
            continue
        is_core = inside.split("/")[0] in CORE
        banned = CLOCK_CALLS | (CORE_CLOCK_CALLS if is_core else set())
        found += [f"{_name(path)}:{line} {call}" for line, call in _calls(path) if call in banned]
    assert found == []


def test_chance_has_its_places() -> None:
    found = []
    for path in SOURCES:
        if _in_package(path).startswith(LOTTERY_PLACES):
            continue
        for node in ast.walk(_tree(path)):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            found += [f"{_name(path)} imports {name}" for name in names & LOTTERY_MODULES]
        drawn = {"uuid.uuid4", "uuid4"}
        found += [f"{_name(path)}:{line} {call}" for line, call in _calls(path) if call in drawn]
    assert found == []


def test_only_the_composition_root_knows_real_from_simulated() -> None:
    places = ("system", "config/", "cli/")
    found = [
        f"{_name(path)}:{number}"
        for path in SOURCES
        if not _in_package(path).startswith(places)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\buse_real_data\b|\.use_real", line)
    ]
    assert found == []


def test_work_left_over_has_an_issue() -> None:
    found = [
        f"{_name(path)}:{number}"
        for path in [*SOURCES, *BENCHMARKS]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_every_package_says_what_may_enter() -> None:
    silent = []
    for init in PACKAGE.rglob("*.py"):
        if init.name != "__init__.py":
            continue
        docstring = ast.get_docstring(_tree(init)) or ""
        first = docstring.splitlines()[0] if docstring else ""
        if not first.endswith(".") or len(first) < 20:
            silent.append(_name(init))
    assert silent == []


def test_every_folder_of_python_files_is_a_package() -> None:
    folders = {path.parent for path in SOURCES}
    assert [_name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def _imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the package's own modules that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                as_module = f"{node.module}.{alias.name}"
                found.add(as_module if as_module in modules else node.module)
    return found & modules.keys()


def test_no_modules_import_each_other() -> None:
    modules = {}
    for path in SOURCES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    # The top package offers the façade lazily and its version to all: no edge of a real cycle.
    del modules[PACKAGE.name]
    graph = {name: _imports(path, modules) - {name} for name, path in modules.items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    headings = re.findall(r"(?m)^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text())
    assert headings, "CHANGELOG.md has no heading such as `## 0.1.0`"
    assert {headings[0], project["version"]} == {it_incident_response.__version__}


def test_no_tracked_text_names_a_machine_or_a_registry() -> None:
    found = []
    for path in _tracked_files():
        if path.name == "uv.lock":
            continue
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{_name(path)}:{number}"
            for number, line in enumerate(lines, 1)
            if any(pattern.search(line) for pattern in MACHINE_TEXTS)
        ]
    assert found == []


def test_test_modules_do_not_hide_each_other() -> None:
    """Pytest imports a test module outside a package by its bare name: two of a name clash."""
    bare = [
        path.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert [name for name, count in Counter(bare).items() if count > 1] == []
