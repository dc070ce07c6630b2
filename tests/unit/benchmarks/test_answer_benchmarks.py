"""What the benchmarks of questions about pictures have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
from chatsearcher.benchmarks.listing import lines
from tests.fixtures.miniatures import all_miniatures
from tests.fixtures.miniatures.answers import Says

SIZES = {
    "vqav2": {"queries": 214_354, "test-dev queries": 107_394, "test queries": 447_793},
    "gqa": {"queries": 12_578},
    "mmbench": {"questions": 1164, "test questions": 1784},
    "seed": {"queries": 14_233},
}
MINIATURES = all_miniatures()


@pytest.mark.parametrize("name", SIZES)
def test_official_sizes(name: str) -> None:
    assert BENCHMARKS[name].card.sizes == SIZES[name]
    assert SCORERS[name] is BENCHMARKS[name]


@pytest.mark.parametrize("name", SIZES)
def test_what_is_asked_can_be_listed(name: str, tmp_path: Path) -> None:
    root = MINIATURES[name].make(tmp_path)
    context = Context(data_root=root)
    task = BENCHMARKS[name].load(root, {})
    queries = list(lines(BENCHMARKS[name], "queries", context))
    assert [line["id"] for line in queries] == [query.id for query in task.queries]
    shown = [part for part in queries[0]["dialogue"][0]["content"] if part["type"] == "image"]
    assert [part["id"] for part in shown] == [task.images[0]]
    images = list(lines(BENCHMARKS[name], "images", context))
    assert [line["id"] for line in images] == list(task.images)
    for line in images if name != "mmbench" else ():
        assert (root / line["path"]).is_file()  # type: ignore[operator]


@pytest.mark.parametrize("name", SIZES)
def test_options_and_prompts_that_do_not_exist_are_refused(name: str, tmp_path: Path) -> None:
    root = MINIATURES[name].make(tmp_path)
    with pytest.raises(ValueError, match="has no option 'colour'"):
        BENCHMARKS[name].run(Says("A"), Context(data_root=root, options={"colour": "red"}))
    with pytest.raises(ValueError, match="has no prompt 'shout-1'"):
        BENCHMARKS[name].run(Says("A"), Context(data_root=root, prompt="shout-1"))
    with pytest.raises(ValueError, match="2 files of answers"):
        SCORERS[name].score_predictions([tmp_path, tmp_path], Context(data_root=root))
    with pytest.raises(FileNotFoundError, match="needs --data-root"):
        BENCHMARKS[name].run(Says("A"), Context())
