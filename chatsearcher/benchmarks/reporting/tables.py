"""The tables of a report, as HTML: measured rows with intervals, published rows beneath them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from chatsearcher.benchmarks.reporting.published import PublishedRow, sources
from chatsearcher.benchmarks.reporting.reading import Entry, Group

DAGGER = "†"
ARROWS = {-1: ' <abbr title="less is better">↓</abbr>', 0: "", 1: ""}
MISSING_SHOWN = 20
_JOINTS = re.compile(r"([:/,._=-])(?=\w)")


def figures_table(group: Group) -> str:
    """One row a system: every figure with its 95 % interval, ``†`` where the gallery is shrunken.

    The full value stands in the markup (``<data value>``), rounded to two places for the eye.
    """
    columns, best = group.columns, best_rows(group)
    if not columns:
        return ""
    head = "".join(
        f'<th scope="col"{_primary(group, name)}>{escape(name)}{ARROWS[group.better(name)]}</th>'
        for name in columns
    )
    measured = "".join(
        _row(
            breaking(entry.system) + (f" {DAGGER}" if entry.result.shrunken else ""),
            [_measured(entry, name, best.get(name) == row, group) for name in columns],
        )
        for row, entry in enumerate(group.entries)
        if entry.result.metrics
    )
    hidden = [entry.system for entry in group.entries if not entry.result.metrics]
    said = [
        f"{escape(', '.join(hidden))}: no figures here, as the targets are not public; the test "
        "server gives them."
    ] * bool(hidden)
    caveats = list(dict.fromkeys(row.caveat for row in group.published if row.caveat))
    printed = "".join(_published(row, columns, caveats, group) for row in group.published)
    if printed:
        printed = (
            f'<tbody class="published"><tr><th scope="rowgroup" colspan="{len(columns) + 1}">'
            f"Published, not measured here</th></tr>{printed}</tbody>"
        )
    notes = "".join(f"<li>{text}</li>" for text in [*said, *_notes(group)])
    notes += "".join(
        f"<li><sup>{_letter(place)}</sup> {escape(text)}</li>" for place, text in enumerate(caveats)
    )
    return scrolling(
        f"<caption>{escape(group.name)}: {escape(_caption(group))}</caption>"
        f'<thead><tr><th scope="col">system</th>{head}</tr></thead>'
        + (f"<tbody>{measured}</tbody>" if measured else "")
        + printed,
        f"figures of {group.name}",
    ) + (f'<ul class="notes">{notes}</ul>' if notes else "")


def best_rows(group: Group) -> dict[str, int]:
    """figure -> the entry that is best at it, where several whole ones are compared alone."""
    whole = [(row, e.result) for row, e in enumerate(group.entries) if not e.result.shrunken]
    found = {}
    for name in group.columns:
        values = [(result.metrics[name], row) for row, result in whole if name in result.metrics]
        sign = group.better(name)
        if len(values) > 1 and sign:
            found[name] = max(values, key=lambda pair: sign * pair[0])[1]
    return found


def overview(groups: Sequence[Group]) -> str:
    """Benchmarks down, systems across: the primary figure of each."""
    systems = list(dict.fromkeys(entry.system for group in groups for entry in group.entries))
    head = "".join(f'<th scope="col">{breaking(name)}</th>' for name in systems)
    rows = ""
    for group in groups:
        table = {entry.system: entry for entry in group.entries}
        cells = [
            _measured(table[name], group.primary, False, group) if name in table else "<td>–</td>"
            for name in systems
        ]
        title = f'<a href="#{anchor(group.name)}">{escape(group.name)}</a>'
        rows += _row(f"{title}<small>{escape(group.primary)}</small>", cells)
    return scrolling(
        "<caption>The first figure of each benchmark</caption>"
        f'<thead><tr><th scope="col">benchmark</th>{head}</tr></thead><tbody>{rows}</tbody>',
        "overview",
    )


def rounds_table(
    lines: Mapping[str, Sequence[tuple[str, Mapping[int, float]]]], word: str, last: int, first: int
) -> str:
    """The values behind the curves.

    Args:
        lines: figure -> (system, round -> value).
        word: what a round is called.
        first, last: round numbers.
    """
    numbers = range(first, last + 1)
    head = "".join(f'<th scope="col">{number}</th>' for number in numbers)
    body = ""
    for figure, rows in lines.items():
        span = f'colspan="{len(numbers) + 1}"'
        body += f'<tbody><tr><th scope="rowgroup" {span}>{escape(figure)}</th></tr>'
        for system, points in rows:
            cells = [
                f'<td><data value="{points[n]!r}">{points[n]:.2f}</data></td>'
                if n in points
                else "<td>–</td>"
                for n in numbers
            ]
            body += _row(breaking(system), cells)
        body += "</tbody>"
    return scrolling(
        f"<caption>The values of the curves, by {escape(word)}</caption>"
        f'<thead><tr><th scope="col">{escape(word)}</th>{head}</tr></thead>{body}',
        f"values by {word}",
    )


def facts(group: Group) -> str:
    """How each entry was measured: counts, data, settings, what was missing."""
    return "".join(
        f"<h4>{escape(entry.system)}</h4>{_definitions(_facts_of(entry))}"
        for entry in group.entries
    )


def _facts_of(entry: Entry) -> dict[str, str]:
    result = entry.result
    counts = {
        name: "not counted by the system" if count is None else f"{count:,}"
        for name, count in result.counts.items()
    }
    lost = list(result.missing.items())
    missing = "; ".join(f"{name}: {reason}" for name, reason in lost[:MISSING_SHOWN])
    if len(lost) > MISSING_SHOWN:
        missing += f"; and {len(lost) - MISSING_SHOWN:,} more, named in {entry.file.name}"
    return {
        "file": entry.file.name,
        "protocol": result.protocol,
        **counts,
        "missing pictures": missing,
        "data": result.data,
        "system": json.dumps(dict(result.retriever), ensure_ascii=False),
        "settings": json.dumps(dict(result.settings), ensure_ascii=False),
        "seconds": f"{result.seconds:,.1f}",
        "version": str(result.version),
    }


def _definitions(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    return f"<dl>{rows}</dl>"


def _notes(group: Group) -> Iterable[str]:
    """What must be said beside the figures, and which of them do not compare."""
    for entry in group.entries:
        for note in entry.result.notes:
            mark = f"{DAGGER} " if str(note).startswith("shrunken") else ""
            yield f"{mark}{escape(entry.system)}: {escape(str(note))}"
        if entry.result.shrunken and not any(
            str(note).startswith("shrunken") for note in entry.result.notes
        ):
            yield f"{DAGGER} {escape(entry.system)}: the gallery is smaller than the benchmark's"
    for what, values in (
        ("on the same data", {entry.result.data for entry in group.entries}),
        ("by the same rules", {entry.result.protocol for entry in group.entries}),
    ):
        if len(values) > 1:
            yield (
                f"<strong>Not all of these were measured {what}</strong>, so that they do not "
                "compare; see “How it was measured”."
            )


def _caption(group: Group) -> str:
    parts = []
    if any(entry.result.intervals for entry in group.entries):
        parts.append("in brackets the 95 % bootstrap interval")
    if best_rows(group):
        parts.append("bold, the best that was measured")
    return "; ".join(parts) or "figures"


def _measured(entry: Entry, name: str, best: bool, group: Group) -> str:
    result = entry.result
    if name not in result.metrics:
        return "<td>–</td>"
    value = result.metrics[name]
    mark = DAGGER if result.shrunken else ""
    text = f'<data value="{value!r}">{value:.2f}</data>{mark}'
    if best:
        text = f"<strong>{text}</strong>"
    if name in result.intervals:
        low, high = result.intervals[name]
        text += f"<small>[{low:.2f}, {high:.2f}]</small>"
    return f"<td{_primary(group, name)}>{text}</td>"


def _published(
    row: PublishedRow, columns: Sequence[str], caveats: Sequence[str], group: Group
) -> str:
    mark = f"<sup>{_letter(caveats.index(row.caveat))}</sup>" if row.caveat else ""
    title = (
        f'{escape(row.system)}{mark}<small>published: <a href="#source-{escape(row.source)}">'
        f"{escape(sources()[row.source].short)}</a>, {escape(row.where)}</small>"
    )
    cells = [
        f'<td{_primary(group, name)}><data value="{row.metrics[name]!r}">{row.metrics[name]:g}'
        "</data></td>"
        if name in row.metrics
        else "<td>–</td>"
        for name in columns
    ]
    return _row(title, cells)


def _row(title: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{title}</th>{"".join(cells)}</tr>'


def _primary(group: Group, name: str) -> str:
    return ' class="primary"' if name == group.primary else ""


def _letter(place: int) -> str:
    return chr(ord("a") + place)


def scrolling(content: str, label: str) -> str:
    """A table in a frame that scrolls sideways where it must, also by keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"<table>{content}</table></div>"
    )


def breaking(name: str) -> str:
    """A system's name, which may be a path or a spec, with places where a line may break."""
    return _JOINTS.sub(r"\1<wbr>", escape(name))


def anchor(name: str) -> str:
    """A benchmark's place on the page, safe in an attribute."""
    return escape(f"benchmark-{name}")
