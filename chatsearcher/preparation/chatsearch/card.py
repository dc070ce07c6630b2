"""The dataset card: what the data are, how they were made, what they may be used for."""

from __future__ import annotations

from typing import Any

from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.run import STAGES, Run
from chatsearcher.preparation.chatsearch.statistics import PAPER, TASKS, table

_CONFIGS = {"t": "t", "i": "i", "m": "m"}


def card(
    run: Run,
    numbers: dict[str, Any],
    files: dict[str, dict[str, str]],
    settings: Entry,
    digest: str,
) -> str:
    """The card as Markdown with the YAML head that ``datasets`` reads.

    Args:
        files: config -> split -> pattern of its Parquet files.
        settings: of the run, as it noted them.
        digest: of what is exported. It stands in the head, since ``datasets`` knows a folder that
            it has read before by its name and its card's head alone, and would give what it read
            then.
    """
    return "\n".join(
        [
            _head(files, digest),
            "# Conversational image retrieval dialogues",
            "",
            "Made by the construction pipeline of *ChatSearch* (Zhao et al., section 3.1) as "
            "ChatSearcher implements it. These are not the authors' data.",
            "",
            _tables(numbers),
            "## How to read it",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            'dialogues = load_dataset(FOLDER, "m", split="test")',
            'pictures = load_dataset(FOLDER, "pictures", split="gallery")',
            "```",
            "",
            "A dialogue is a list of messages in the chat format; its pictures are named by id. It "
            "ends with the user's turn that `target` answers. Records of i and m with the same "
            "`round` share their final round. The gallery that a test task is searched in is the "
            'pictures whose `galleries` names it ("test/t").',
            "",
            "## How it was made",
            "",
            _making(run, settings),
            "",
            "## What was left out",
            "",
            _left_out(run),
            "",
            "## Review by people",
            "",
            _review(run),
            "",
            "## Limits",
            "",
            "- The words were written by a language model, the second pictures found by a "
            "retriever, and their captions partly written by a captioner: all of them err.",
            "- Training dialogues were not reviewed by people.",
            "- The pictures and captions keep the licences of the sets and services they come "
            "from; this card grants none.",
            "",
        ]
    )


def _head(files: dict[str, dict[str, str]], digest: str) -> str:
    lines = ["---", "license: other", "task_categories:", "- visual-question-answering", "configs:"]
    for config, splits in files.items():
        lines += [f"- config_name: {config}", f"  description: export {digest}", "  data_files:"]
        for split, pattern in splits.items():
            lines += [f"  - split: {split}", f"    path: {pattern}"]
    return "\n".join([*lines, "---"])


def _tables(numbers: dict[str, Any]) -> str:
    parts = []
    for split, tasks in numbers.items():
        parts += [f"## {split}", "", table(tasks), ""]
    published = ", ".join(f"{task} {PAPER[task][0]:,} ({PAPER[task][1]})" for task in TASKS)
    parts += [
        f"For comparison, ChatSearch's test split as published (table 1; samples and context "
        f"length, whose unit the paper does not name): {published}.",
        "",
    ]
    return "\n".join(parts)


def _making(run: Run, settings: Entry) -> str:
    lines = []
    for name in ("source", "model", "gallery", "captioner", "similarity", "neighbours", "seed"):
        if settings.get(name) is not None:
            value = settings[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"- {name}: `{text}`")
    for path in sorted((run.path / "prompts").glob("*.txt")):
        lines.append(f"- prompt `prompts/{path.name}`, word for word")
    return "\n".join(lines)


def _left_out(run: Run) -> str:
    lines = ["| stage | inputs | records | left out |", "|---|---|---|---|"]
    for name in STAGES:
        done = run.stage(name).done()
        if done is not None:
            reasons = ", ".join(f"{reason} {count}" for reason, count in done["rejects"].items())
            lines.append(f"| {name} | {done['inputs']} | {done['records']} | {reasons or '–'} |")
    return "\n".join(lines)


def _review(run: Run) -> str:
    from chatsearcher.preparation.chatsearch.review.agreement import agreement
    from chatsearcher.preparation.chatsearch.review.log import Log

    if not run.reviewed:
        return "**None yet.** The test split is as the pipeline left it."
    found = agreement(Log.read(run.log).latest())
    fleiss = found["fleiss"]
    lines = [
        f"{len(found['reviewers'])} reviewers looked at {found['records']} records. A record was "
        "kept where most of its reviewers accepted or rewrote it."
    ]
    if fleiss["kappa"] is not None:
        lines.append(
            f"Fleiss' kappa over the {fleiss['records']} records with {fleiss['raters']} reviewers "
            f"(keep, quality, relevance): {fleiss['kappa']}."
        )
    return "\n".join(lines)
