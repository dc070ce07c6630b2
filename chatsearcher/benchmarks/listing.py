"""What a benchmark asks, in order, for other code: ``evaluate NAME --list images|queries``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.task import Query, Task

Listed = Literal["images", "queries"]


def lines(benchmark: Any, what: Listed, context: Context) -> Iterator[dict[str, Any]]:
    """One JSON object a picture or a query, in the order of the vectors of ``--features``.

    Raises:
        ValueError: a benchmark without pictures and queries in an order of their own.
    """
    if not hasattr(benchmark, "load"):
        raise ValueError(f"{benchmark.name} has no list of {what}: its rounds are drawn as it runs")
    options = benchmark.card.checked_options(context.options)
    task: Task = benchmark.load(context.data_root, options)
    task = task.prompted(benchmark.card.prompt(context.prompt)[1])
    if what == "images":
        for name in task.images:
            yield {"id": name} | _path(task, name)
    else:
        for query in task.queries:
            yield query_line(task, query)


def query_line(task: Task, query: Query) -> dict[str, Any]:
    """``id`` and ``dialogue``; where they exist and are public ``target`` (``targets`` where there
    are several), ``round``, ``reference``, ``group``; pictures with their path, where they are
    files."""
    messages = query.dialogue.to_messages()
    for message in messages:
        for part in message["content"]:
            if part["type"] == "image":
                part.update(_path(task, part["id"]))
    line: dict[str, Any] = {"id": query.id, "dialogue": messages}
    if query.targets:
        line["target"] = query.target
    if len(query.targets) > 1:
        line["targets"] = list(query.targets)
    for name in ("round", "reference"):
        found = getattr(query, name)
        if found is not None:
            line[name] = found
    if query.group is not None:
        line["group"] = query.group if isinstance(query.group, str) else list(query.group)
    return line


def _path(task: Task, name: str) -> dict[str, str]:
    path = task.pictures.path(name)
    return {} if path is None else {"path": path}
