"""The house's walls: which room may import which (docs: CONTRIBUTING.md, "The rooms")."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "chatsearcher"

# Files that every room may use: they know nothing of the rest.
COMMON = {"registry", "device", "images", "__init__"}
MAY_IMPORT: dict[str, set[str]] = {
    "dialogue": set(),
    "registry": set(),
    "auto_classes": set(),
    "device": set(),
    "images": set(),
    "gallery": {"dialogue"},
    "retriever": {"dialogue", "gallery"},
    "index": set(),
    "world": {"dialogue", "retriever"},
    "model": {"dialogue"},
    "foundation": {"dialogue"},
    "retrievers": {"model", "foundation", "retriever", "dialogue"},
    "adapters": {"retrievers", "retriever", "dialogue"},
    "roles": {"foundation", "retriever", "dialogue"},
    "data": {"model", "world", "dialogue"},
    "preparation": {"foundation", "data", "index", "gallery", "retriever", "dialogue"},
    "training": {"model", "data", "retrievers", "roles", "dialogue"},
    "benchmarks": {"retriever", "index", "roles", "dialogue", "gallery"},
    "indexing": {"gallery", "retriever", "dialogue"},
    "conversation": {"retriever", "gallery", "index", "dialogue"},
    "transcript": {"dialogue", "conversation"},
    "terminal": {"conversation", "dialogue", "gallery"},
    "serving": {"retriever", "gallery", "index", "conversation", "dialogue"},
}
# The command line may import everything.
FREE = {"cli", "commands", "demo", "__main__", "__init__"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every module imported anywhere in a file, function bodies included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""
            if node.module == "chatsearcher":
                yield from ((node.lineno, f"chatsearcher.{a.name}") for a in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    p for folder in ("train", "data_prep", "eval") for p in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_the_house_allows(path: Path) -> None:
    room = room_of(path)
    if room in FREE:
        return
    assert room in MAY_IMPORT, f"{room} is a new room: give it a line in MAY_IMPORT"
    for line, module in imports_of(path):
        if not module.startswith("chatsearcher."):
            assert module.split(".")[0] not in {"train", "eval", "data_prep", "tests"}, (
                f"{path}:{line} imports the top-level script {module}"
            )
            continue
        other = module.split(".")[1]
        assert other == room or other in COMMON | MAY_IMPORT[room], (
            f"{path.relative_to(ROOT)}:{line}: room {room!r} imports {module}"
        )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_scripts_do_not_import_scripts(path: Path) -> None:
    for line, module in imports_of(path):
        assert module.split(".")[0] not in {"train", "eval", "data_prep"}, (
            f"{path}:{line}: {module}"
        )


def test_a_retriever_does_not_import_another() -> None:
    for path in (PACKAGE / "retrievers").glob("*.py"):
        if path.stem == "__init__":
            continue
        others = {p.stem for p in path.parent.glob("*.py")} - {path.stem, "__init__"}
        for line, module in imports_of(path):
            parts = module.split(".")
            assert not (parts[:2] == ["chatsearcher", "retrievers"] and set(parts[2:]) & others), (
                f"{path}:{line}: {module}"
            )


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").glob("*.py")), ids=lambda p: p.name)
def test_the_network_knows_no_trainer(path: Path) -> None:
    for line, module in imports_of(path):
        assert module.split(".")[0] not in {"deepspeed", "accelerate", "argparse", "tyro"}, (
            f"{path}:{line}: {module}"
        )


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, chatsearcher, chatsearcher.dialogue, chatsearcher.cli\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'datasets'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"import chatsearcher brings in {done.stderr.strip()}"


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_unsafe_loading(path: Path) -> None:
    """Pickles are never loaded, remote code never trusted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        assert name not in {"pickle.load", "pickle.loads", "joblib.load", "eval", "exec"}, where
        assert keywords.get("trust_remote_code", "False") == "False", where
        assert keywords.get("allow_pickle", "False") == "False", where
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{where}: torch.load needs weights_only"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_hold_one_idea(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines: move the walls"
