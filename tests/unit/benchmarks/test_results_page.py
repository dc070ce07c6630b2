"""The report's page: figures as in the JSON, curves with every point, nothing unescaped."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.reporting.curves import ticks
from chatsearcher.benchmarks.reporting.examples import Roots
from chatsearcher.benchmarks.reporting.page import page, write_report
from chatsearcher.benchmarks.reporting.reading import Entry, Group, distinct, read_groups
from chatsearcher.benchmarks.results import Result, write_results
from chatsearcher.cli import main
from tests.fixtures.miniatures import all_miniatures

VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """What a browser would find: elements that close, texts, values of ``<data>``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str, name: str) -> list[str]:
        return [
            str(found[name]) for each, found in self.attributes if each == tag and name in found
        ]

    @property
    def text(self) -> str:
        return "".join(self.words)


def result(**changes: Any) -> Result:
    """Eleven rounds of ChatIR."""
    rising = [60.0 + number / 3 for number in range(11)]
    plain = Result(
        benchmark="chatir-visdial",
        protocol="recorded rounds",
        primary="Hits@10",
        metrics={"Hits@10": rising[-1], "Hits@10 round 0": 60.0, "ATR": 12.345678},
        intervals={"Hits@10": (61.23, 65.43)},
        counts={"queries": 22_704, "truncated texts": None},
        data="abc",
        retriever={"spec": "one", "fingerprint": "f"},
        curves={"Hits@10": rising, "ATR": [100.0 - number for number in range(11)]},
    )
    return replace(plain, **changes)


def written(folder: Path, *results: Result, name: str = "results.json") -> Path:
    write_results(folder / name, results)
    return folder / name


def rendered(*files: Path) -> tuple[str, Page]:
    text, _ = page(read_groups(files), Roots())
    return text, Page(text)


def test_every_figure_of_the_files_stands_on_the_page_as_it_is(tmp_path: Path) -> None:
    other = result(retriever={"spec": "two"}, metrics={"Hits@10": 1 / 3, "ATR": 7.0})
    text, found = rendered(written(tmp_path, result(), other))
    values = [float(value) for value in found.of("data", "value")]
    for each in (result(), other):
        for value in each.metrics.values():
            assert value in values
        for curve in each.curves.values():
            assert set(curve) <= set(values)
    assert "[61.23, 65.43]" in found.text
    assert "0.33" in found.text
    assert "<strong>" not in text.partition("<tbody")[0]
    # Of two whole results the better is set off, upwards and downwards.
    bold = re.findall(r'<strong><data value="([^"]+)"', text)
    assert [float(value) for value in bold] == [result().metrics["Hits@10"], 7.0]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text, found = rendered(written(tmp_path, result()))
    assert found.tags["script"] == found.tags["link"] == found.tags["iframe"] == 0
    assert all(link.startswith("#") for link in found.of("a", "href"))
    assert all(source.startswith("data:") for source in found.of("img", "src"))
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text
    ids = [str(a["id"]) for _, a in found.attributes if "id" in a]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in found.of("a", "href")} <= set(ids)
    for named in found.of("svg", "aria-labelledby"):
        assert set(named.split()) <= set(ids)


def test_a_curve_has_a_mark_for_every_round_and_published_ones_for_theirs(tmp_path: Path) -> None:
    two = result(retriever={"spec": "two"}, shrunken=True)
    text, found = rendered(written(tmp_path, result(), two))
    plots = re.findall(r'<svg [^>]*role="img".*?</svg>', text)
    assert len(plots) == 2
    hits, ranks = plots
    assert "Hits@10 by round" in hits
    # two systems of 11 rounds, and the two published ones of 7
    assert hits.count('class="point"') == 2 * 11 + 2 * 7
    assert ranks.count('class="point"') == 2 * 11
    lines = re.findall(r'<g class="line ([^"]+)"><path d="([^"]+)"', hits)
    assert sorted(len(way.split("L")) for _, way in lines) == [7, 7, 11, 11]
    assert sum("shrunken" in style for style, _ in lines) == 1
    assert sum("printed" in style for style, _ in lines) == 2
    assert len({style.split()[0] for style, _ in lines}) == 4
    assert "less is better" in ranks
    assert "two †: 60.00 at round 0, 63.33 at round 10" in found.text.replace("\n", " ")


def test_the_marks_lie_where_their_values_say(tmp_path: Path) -> None:
    curve = [10.0, 30.0, 20.0]
    text, _ = rendered(written(tmp_path, result(benchmark="world-rounds", curves={"R@1": curve})))
    way = re.search(r'<g class="line c0"><path d="M([^"]+)"/><g class="point">', text)
    assert way is not None
    points = [tuple(map(float, each.split())) for each in way[1].split("L")]
    steps = np.diff([x for x, _ in points])
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    first, second, third = (y for _, y in points)
    assert second < third < first  # down the page is less
    assert first - third == pytest.approx((first - second) / 2, abs=0.2)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_an_axis_encloses_its_values_in_equal_round_steps(low: float, high: float) -> None:
    low, high = sorted((low, high))
    marks = ticks(low, high)
    room = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert marks[0] <= low + room
    assert marks[-1] >= high - room
    assert 2 <= len(marks) <= 12
    assert np.allclose(np.diff(marks), marks[1] - marks[0], rtol=1e-3)


def test_a_shrunken_gallery_is_marked_everywhere(tmp_path: Path) -> None:
    shrunken = result(shrunken=True, missing={"a.jpg": "no file a.jpg"}, notes=["shrunken: 1 of 2"])
    whole = result(retriever={"spec": "two"}, metrics={"Hits@10": 1.0})
    text, found = rendered(written(tmp_path, shrunken, whole))
    assert "one †" in found.text
    for value in shrunken.metrics.values():
        assert f"{value:.2f}</data>†" in text
    assert "† one: shrunken: 1 of 2" in found.text
    assert "a.jpg: no file a.jpg" in found.text
    assert "<strong><data" not in text  # one whole result alone is not the best of anything
    quiet, _ = rendered(written(tmp_path, result(shrunken=True, notes=[])))
    assert "smaller than the benchmark" in quiet


def test_other_data_and_other_rules_are_said(tmp_path: Path) -> None:
    other = result(data="other", protocol="other rules")
    found = rendered(written(tmp_path, result(), other))[1]
    assert "Not all of these were measured on the same data" in found.text
    assert "Not all of these were measured by the same rules" in found.text
    assert "Not all" not in rendered(written(tmp_path, result()))[1].text


def test_published_rows_are_beside_and_called_so(tmp_path: Path) -> None:
    found = rendered(written(tmp_path, result()))[1]
    assert "Published, not measured here" in found.text
    assert "ChatIR (BLIP, trained on VisDial)" in found.text
    assert "81.83" in found.text
    assert "that script breaks ties arbitrarily" in found.text
    nothing = rendered(written(tmp_path, result(benchmark="world-rounds")))[0]
    assert 'class="published"' not in nothing


def test_hidden_targets_are_said(tmp_path: Path) -> None:
    bare = result(benchmark="cirr-test1", metrics={}, primary="", intervals={}, curves={})
    found = rendered(written(tmp_path, bare))[1]
    assert "the targets are not public" in found.text
    assert "58.94" in found.text


def test_systems_of_one_name_are_told_apart(tmp_path: Path) -> None:
    asked = [result(settings={"prompt": prompt}) for prompt in ("plain-1", "show-1")]
    entries = [Entry("one", each, tmp_path / "a.json") for each in asked]
    assert [each.system for each in distinct(entries)] == ["one (plain-1)", "one (show-1)"]
    entries = [Entry("one", result(), tmp_path / name) for name in ("a.json", "b.json", "b.json")]
    assert [each.system for each in distinct(entries)] == ["one (a)", "one (b)", "one (b) #2"]


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1), st.text(), st.text())
def test_no_text_is_taken_for_markup(system: str, note: str, figure: str) -> None:
    odd = "</style><script>\"&'" + figure
    shown = result(
        retriever={"spec": system},
        notes=[note, odd],
        protocol=odd,
        metrics={"Hits@10": 1.0, odd: 2.0},
        curves={odd: [1.0, 2.0], "Hits@10": [1.0]},
        settings={"prompt": odd},
        missing={odd: odd},
        examples=[
            {
                "query": odd, "target": odd, "rank": 3, "found": [odd, system],
                "dialogue": [{"role": "user", "content": [{"type": "text", "text": odd},
                                                          {"type": "image", "id": odd}]}],
            }
        ],
    )  # fmt: skip
    group = Group("world-interactive", None, (Entry(system, shown, Path(odd)),), ())
    text, _ = page([group], NoRoots(), odd)
    plain = Page(text)
    assert plain.tags["script"] == 0
    assert plain.tags["style"] == 1
    assert odd in plain.text
    allowed = {"class", "id", "href", "lang", "charset", "name", "content", "http-equiv", "viewbox",
               "role", "tabindex", "aria-label", "aria-labelledby", "aria-hidden", "scope",
               "colspan", "value", "title", "width", "height", "d", "cx", "cy", "r", "x", "y",
               "points", "text-anchor", "alt", "src"}  # fmt: skip
    assert {name for _, found in plain.attributes for name in found} <= allowed


class NoRoots(Roots):
    """No data anywhere."""

    def shelf(self, entry: Entry) -> Any:
        from chatsearcher.benchmarks.reporting.examples import Shelf

        return Shelf(why="<b>no data</b>")


@pytest.mark.parametrize("name", ["cirr-val", "chatir-visdial", "fashioniq-dress-paper"])
def test_examples_have_their_words_and_pictures(name: str, tmp_path: Path) -> None:
    miniature = all_miniatures()[name]
    root = miniature.make(tmp_path / "data")
    task = BENCHMARKS[name].load(root, {})
    rng = np.random.default_rng(0)
    file = tmp_path / "vectors.safetensors"
    vectors = {"images": len(task.images), "queries": len(task.queries)}
    save_file(
        {key: rng.normal(size=(n, 8)).astype(np.float32) for key, n in vectors.items()}, str(file)
    )
    measured = BENCHMARKS[name].run_features(file, Context(data_root=root))
    results = written(tmp_path, measured)
    assert write_report([results], tmp_path / "page.html", [str(root)]) == []
    found = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found.tags["article"] == len(measured.examples)
    queries = {query.id: query for query in task.queries}
    shown = 0
    for example in measured.examples:
        query = queries[example["query"]]
        assert query.dialogue.turns[-1].text in found.text
        first = example["found"][:5]
        away = example["target"] not in first
        shown += len(first) + away + len(query.dialogue.images)
    assert found.tags["img"] == shown
    assert all(source.startswith("data:image/webp;base64,") for source in found.of("img", "src"))
    # Without the data the ids remain, and the page says why; of other data it says that.
    assert "needs --data-root" in write_report([results], tmp_path / "page.html")[0]
    bare = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert bare.tags["img"] == 0
    assert bare.tags["article"] == len(measured.examples)
    other = written(tmp_path, replace(measured, data="0" * 64))
    assert "other data" in write_report([other], tmp_path / "page.html", [str(root)])[0]
    page_text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page_text  # a page travels; where data lie on a machine does not
    with pytest.raises(ValueError, match="measured on other data"):
        write_report([other], tmp_path / "page.html", [f"{name}={root}"])


def test_the_verb_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, result(benchmark="world-rounds"))
    out = tmp_path / "new" / "page.html"
    assert main(["report", str(file), "--out", str(out), "--title", "A & B"]) == 0
    assert "<h1>A &amp; B</h1>" in out.read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == str(out)
    assert main(["report", str(tmp_path / "none.json"), "--out", str(out)]) == 1
    assert "no such results file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "is no file of results"),
        ("{", "is no file of results"),
        ('{"results": []}', "holds no result"),
        ('{"results": ["x"]}', "is no file of results"),
        ({"benchmark": "cirr-vall"}, "did you mean 'cirr-val'"),
        ({"benchmark": 3}, "expected a name"),
        ({"primary": "R@7"}, "primary figure 'R@7'"),
        ({"metrics": {"Hits@10": "many"}}, r"metrics\['Hits@10'\] is 'many', expected a number"),
        ({"intervals": [1]}, "is no file of results"),
        ({"curves": {"R@1": 3}}, r"curves\['R@1'\] is 3, expected a list"),
        ({"curves": {"R@1": [1, None]}}, "is None, expected a number"),
        ({"counts": []}, "counts is .*, expected names with values"),
        ({"examples": [{"query": "q"}]}, r"examples\[0\] has rank=None, expected int"),
        ({"notes": "x"}, "notes is no list"),
        ({"surplus": 1}, "is no file of results"),
    ],
)
def test_broken_files_are_named_with_the_remedy(
    content: str | dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, result())
    if isinstance(content, dict):
        whole = json.loads(file.read_text())
        whole["results"][0].update(content)
        content = json.dumps(whole)
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_groups([file])
    assert str(file) in str(error.value)


def test_data_roots_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        Roots([str(tmp_path / "none")])
    with pytest.raises(ValueError, match="unknown benchmark 'cirr-vall'"):
        Roots([f"cirr-vall={tmp_path}"])
    with pytest.raises(ValueError, match="given twice"):
        Roots([f"cirr-val={tmp_path}"] * 2)
    assert Roots([str(tmp_path), f"cirr-val={tmp_path}"]).named == {"cirr-val": tmp_path}
