"""What holds for every registered benchmark, on miniature data folders.

A new benchmark is covered by a module in ``tests/fixtures/miniatures``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from chatsearcher.benchmarks import BENCHMARKS, JOINTS, SCORERS, SUITES, Context
from chatsearcher.benchmarks.listing import lines
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vector_benchmark import VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.miniatures import Miniature, all_miniatures

MINIATURES = all_miniatures()
TOYS = {"toy", "scripted", "scripted-val"}  # registered by other tests
NAMES = [name for name in BENCHMARKS if name not in TOYS]
SMALL = [
    name
    for name in NAMES
    if not name.startswith(("world-", "real-")) and isinstance(BENCHMARKS[name], VectorBenchmark)
]
CHANCE_DRAWS = 40


@pytest.fixture
def root(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """The miniature data of the test's ``name``."""
    miniature = miniature_of(request.node.callspec.params["name"])
    for variable, value in (miniature.environment or (lambda _: {}))(tmp_path).items():
        monkeypatch.setenv(variable, value)
    return miniature.make(tmp_path)


def miniature_of(name: str) -> Miniature:
    assert name in MINIATURES, f"{name} has no miniature: add a module to tests/fixtures/miniatures"
    return MINIATURES[name]


def loaded(name: str, root: Path | None) -> tuple[VectorBenchmark, Task]:
    benchmark = BENCHMARKS[name]
    return benchmark, benchmark.load(root, miniature_of(name).options)


def unit(rng: np.random.Generator, rows: int, width: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(task: Task, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    return Vectors(unit(rng, len(task.images)), unit(rng, len(task.queries)))


def figures_of(name: str, task: Task, vectors: Vectors) -> dict[str, float]:
    """Scored, or nothing where the targets are not public."""
    if not all(query.targets for query in task.queries):
        return {}
    return dict(BENCHMARKS[name].score(task, vectors, miniature_of(name).options).metrics)


@lru_cache(maxsize=1)
def known_names() -> frozenset[str]:
    return frozenset(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_it_is(name: str) -> None:
    card = BENCHMARKS[name].card
    assert card.name == name == BENCHMARKS[name].name
    assert card.data
    assert card.source
    assert card.protocol
    assert card.metrics
    assert card.primary in card.metrics
    for template in card.prompts.values():
        assert "{" in template
    for prompt in card.prompts:
        assert prompt.rpartition("-")[2].isdigit(), f"{prompt} has no version"


@pytest.mark.parametrize("name", NAMES)
def test_who_treats_everything_alike_gets_chance_or_less(name: str, root: Path | None) -> None:
    miniature, benchmark = miniature_of(name), BENCHMARKS[name]
    if miniature.constant is not None:
        constant, chance = miniature.constant(benchmark, root)
    else:
        assert isinstance(benchmark, VectorBenchmark), f"{name}: its miniature needs `constant`"
        _, task = loaded(name, root)
        same = np.full((1, 4), 0.5, np.float32)
        alike = Vectors(same.repeat(len(task.images), 0), same.repeat(len(task.queries), 0))
        constant = figures_of(name, task, alike)
        draws = CHANCE_DRAWS if name in SMALL else 1
        drawn = [figures_of(name, task, random_vectors(task, seed)) for seed in range(draws)]
        chance = {key: float(np.mean([each[key] for each in drawn])) for key in constant}
    card = benchmark.card
    for key in set(constant) & set(chance) - card.undirected:
        if key in card.lower:
            assert constant[key] >= chance[key] - 1e-9, key
        else:
            assert constant[key] <= chance[key] + 1e-9, key
    for key, value in miniature.exact.items():
        assert constant[key] == pytest.approx(value), key


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_pictures_does_not_matter(name: str, root: Path) -> None:
    _, task = loaded(name, root)
    vectors = random_vectors(task, 0)
    vectors.images[1] = vectors.images[0]  # a tie
    order = np.random.default_rng(1).permutation(len(task.images))
    moved = replace(task, images=tuple(task.images[int(row)] for row in order))
    other = replace(vectors, images=vectors.images[order])
    assert figures_of(name, moved, other) == pytest.approx(figures_of(name, task, vectors))


@pytest.mark.parametrize("name", SMALL)
def test_what_is_listed_can_be_scored_from_a_file(name: str, root: Path, tmp_path: Path) -> None:
    benchmark, task = loaded(name, root)
    context = Context(
        data_root=root, options=miniature_of(name).options, submission=tmp_path / "upload"
    )
    if all(query.targets for query in task.queries):
        context = replace(context, submission=None)
    images = list(lines(benchmark, "images", context))
    queries = list(lines(benchmark, "queries", context))
    json.dumps([images, queries])
    assert [line["id"] for line in images] == list(task.images)
    assert [line["id"] for line in queries] == [query.id for query in task.queries]
    for line, query in zip(queries, task.queries, strict=True):
        assert line["dialogue"]
        assert ("target" in line) == bool(query.targets)
        for key in ("round", "reference", "group"):
            assert (key in line) == (getattr(query, key) is not None)
    vectors = random_vectors(task, 3)
    file = tmp_path / "vectors.safetensors"
    save_file({"images": vectors.images, "queries": 7 * vectors.queries}, file)
    result = benchmark.run_features(file, context)
    assert dict(result.metrics) == pytest.approx(figures_of(name, task, vectors))
    assert set(result.metrics) <= set(benchmark.card.metrics)
    assert result.counts["queries"] == len(queries)
    assert not result.shrunken


@pytest.mark.parametrize("name", SMALL)
def test_a_missing_picture_is_counted_named_and_marked(
    name: str, root: Path, tmp_path: Path
) -> None:
    benchmark, task = loaded(name, root)
    if not all(query.targets for query in task.queries):
        pytest.skip("no public targets: an upload needs every picture")
    vectors = random_vectors(task, 4)
    marks = np.zeros(len(task.images), np.uint8)
    marks[2] = 1
    file = tmp_path / "vectors.safetensors"
    save_file({"images": vectors.images, "queries": vectors.queries, "missing": marks}, file)
    context = Context(data_root=root, options=miniature_of(name).options)
    result = benchmark.run_features(file, context)
    assert result.shrunken
    assert result.counts["missing images"] == 1
    assert list(result.missing) == [task.images[2]]
    assert result.counts["gallery"] == len(task.images) - 1
    assert any(note.startswith("shrunken: 1 of") for note in result.notes)


def test_saying_what_there_is_brings_nothing_heavy_in() -> None:
    code = (
        "import sys\n"
        "from chatsearcher.benchmarks import BENCHMARKS, SCORERS\n"
        "for table in (BENCHMARKS, SCORERS):\n"
        "    [table[name] for name in table]\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'pyarrow', 'pycocoevalcap'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`list benchmarks` brings in {done.stderr.strip()}"


def test_suites_and_formats_name_what_exists() -> None:
    for suite, members in SUITES.items():
        assert set(members) <= known_names()
        assert callable(JOINTS[suite])
    for name in SCORERS:
        assert callable(SCORERS[name].score_predictions)
