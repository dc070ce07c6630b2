"""docs/reproduce.md: every command parses, and what it names exists."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, expand
from chatsearcher.cli import VERBS, _parser
from chatsearcher.commands.evaluate import read_options
from chatsearcher.preparation import PREPARATIONS
from chatsearcher.retrievers import CHECKPOINTS, RETRIEVERS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
STARTS = ("chatsearcher", "python", "deepspeed", "make")
TRAININGS = {"stage1": "STAGE1", "stage2": "STAGE2", "tower": "TOWERS"}


def commands() -> list[str]:
    """Of code spans and fenced blocks; a mention of a verb or script alone is no command."""
    fenced = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```sh\n.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    found = [line for block in fenced for line in block.splitlines()]
    found += re.findall(r"`([^`\n]+)`", rest)
    return [each for each in dict.fromkeys(found) if each.split()[0] in STARTS]


class Parsed(Exception):
    """Carries what a script's own parser made of its words."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.arguments = arguments


def test_there_are_commands() -> None:
    assert len(commands()) > 50


@pytest.mark.parametrize("command", commands())
def test_a_command_parses(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{re.escape(words[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "chatsearcher":
        assert words[0] in VERBS
        if words[0] == "prepare" and len(words) == 2:
            assert words[1] in PREPARATIONS
        elif words[0] == "plan" and len(words) == 2:
            check_plan(_parser(words).parse_args(words))
        else:
            check_verb(words[0], _parser(words).parse_args(words))
    else:
        script = ROOT / words[0]
        assert script.is_file()
        if script.parent.name == "train":
            check_training(script.stem, words[1:])
        else:
            script_arguments(script, words[1:], monkeypatch)


def check_verb(verb: str, arguments: argparse.Namespace) -> None:
    """The names behind a verb exist."""
    if verb == "evaluate":
        names = expand(arguments.benchmarks)
        for name in names:
            benchmark = BENCHMARKS[name]
            benchmark.card.checked_options(read_options(arguments.option))
            benchmark.card.prompt(arguments.prompt)
            if arguments.features is not None:
                assert hasattr(benchmark, "run_features")
        if arguments.features is None and not arguments.list:
            check_retriever(arguments.retriever)
        else:
            assert len(names) == 1
    elif verb == "score":
        assert hasattr(SCORERS[arguments.benchmark], "score_predictions")
    elif verb == "report":
        for text in arguments.data_root:
            name, equals, _ = text.partition("=")
            assert not equals or name in BENCHMARKS
    elif verb == "chat":
        check_retriever(arguments.retriever)
    elif verb == "prepare":
        parser = argparse.ArgumentParser()
        PREPARATIONS[arguments.name].add_arguments(parser)
        parser.parse_args(arguments.rest)
    elif verb == "plan":
        check_plan(arguments)
    else:
        assert verb in ("demo", "index", "list")


def check_plan(arguments: argparse.Namespace) -> None:
    from chatsearcher.training.recipes import STAGE1, STAGE2

    assert arguments.recipe in STAGE1 or arguments.recipe in STAGE2


def check_retriever(spec: str) -> None:
    """A shipped checkpoint, a known kind, or the folder of a run that a recipe writes."""
    from chatsearcher.training.recipes import STAGE1, STAGE2

    if spec.startswith("clip:"):
        from chatsearcher.retrievers.clip import parse_spec

        parse_spec(spec.partition(":")[2])
        return
    kind, colon, _ = spec.partition(":")
    if colon:
        assert kind in RETRIEVERS
        return
    runs = {table[name].run for table in (STAGE1, STAGE2) for name in table}
    assert spec in runs or (CHECKPOINTS / spec).is_dir()


def check_training(stem: str, words: list[str]) -> None:
    """Recipe and every dotted override."""
    pytest.importorskip("tyro")
    from chatsearcher.training import main, recipes

    table: Any = getattr(recipes, TRAININGS[stem])
    main.parse(table, "nano-tower" if stem == "tower" else "nano", words)


def script_arguments(
    script: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, Any]:
    """Run a script up to where it has parsed its words."""
    real = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> argparse.Namespace:
        raise Parsed(real(parser, words))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(script), run_name="__main__")
    return vars(parsed.value.arguments)


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target


def test_every_row_has_a_known_status() -> None:
    known = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", PAGE, re.MULTILINE)
    known = [name for name in known if name not in ("status", "---")]
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") == 4]
    heads = [line for line in rows if line.startswith("| what ")]
    assert len(heads) == 4
    for line in rows:
        if line in heads:
            continue
        status = line.rstrip(" |").rpartition(" | ")[2]
        assert any(status.startswith((name, f"[{name}]")) for name in known), line
