"""JSON read piece by piece says what ``json`` says, wherever the pieces end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.preparation import json_stream
from chatsearcher.preparation.json_stream import read_array, read_object, read_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "file.json"


@settings(max_examples=150, deadline=None)
@given(
    elements=st.lists(JSON, max_size=5),
    other=JSON,
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    escaped=st.booleans(),
)
def test_elements_are_those_of_json(
    file: Path, elements: list[Any], other: Any, chunk: int, indent: int | None, escaped: bool
) -> None:
    whole = {"first": other, "data": {"skip": [other, {"]": '"\\'}], "list": elements}, "n": 12}
    text = json.dumps(whole, indent=indent, ensure_ascii=escaped)
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    before = json_stream.CHUNK
    json_stream.CHUNK = chunk
    try:
        if not escaped and any(0xD800 <= ord(c) < 0xE000 for c in text):
            return  # not UTF-8
        assert list(read_array(file, "data", "list")) == elements
        assert dict(read_object(file)) == whole
        assert read_value(file, "n") == 12
    finally:
        json_stream.CHUNK = before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "expected one of"),
        ('[1, {"a": ', "broken or cut off"),
        ("[1 2]", "character 3"),
        ('{"a": 1}', r"expected an array, got \{"),
        ("", "got the end"),
        ("[1,]", "broken or cut off"),
    ],
)
def test_broken_files_are_errors_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_array(tmp_path / "x.json"))


def test_a_missing_key_is_a_key_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": {"b": [1]}, "c": {}}')
    for keys in (("a", "x"), ("c", "x"), ("x",)):
        with pytest.raises(KeyError, match="no 'x'"):
            read_value(tmp_path / "x.json", *keys)


def test_a_broken_file_is_not_read_into_memory_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "MAX_ELEMENT", 1000)
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    (tmp_path / "x.json").write_text("[[" + "1, " * 5000)
    with pytest.raises(ValueError, match="no whole value in 1000"):
        list(read_array(tmp_path / "x.json"))
