"""Results as one HTML page that needs nothing else: no script, nothing fetched from anywhere.

Tables with intervals beside published rows, curves over rounds, successes and failures with
pictures. It follows the reader's light or dark setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

import chatsearcher
from chatsearcher.benchmarks.reporting import curves, examples
from chatsearcher.benchmarks.reporting.published import sources
from chatsearcher.benchmarks.reporting.reading import Group, read_groups
from chatsearcher.benchmarks.reporting.tables import anchor, facts, figures_table, overview

TITLE = "Benchmark results"


def write_report(
    files: Sequence[Path], out: Path, data_roots: Sequence[str] = (), title: str = TITLE
) -> list[str]:
    """Write the page.

    Args:
        files: written by ``chatsearcher evaluate … --out`` or ``score … --out``.
        out: the page; its folder is made.
        data_roots: ``FOLDER`` or ``NAME=FOLDER``, for the words and pictures of examples.
        title: the heading.

    Returns:
        What could not be shown, and why.

    Raises:
        FileNotFoundError, ValueError: a file that is not there or of another shape, an unknown
            benchmark, a folder that does not hold what it was named for.
    """
    groups = read_groups(files)
    text, said = page(groups, examples.Roots(data_roots), title)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    return said


def page(
    groups: Sequence[Group], roots: examples.Roots, title: str = TITLE
) -> tuple[str, list[str]]:
    """The whole page, and what could not be shown."""
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    sections, said = [], []
    for group in groups:
        shown, missed = examples.section(group, roots)
        said += missed
        sections.append(section(group, shown))
    links = "".join(
        f'<li><a href="#{anchor(group.name)}">{escape(group.name)}</a></li>' for group in groups
    )
    files = list(dict.fromkeys(e.file.name for group in groups for e in group.entries))
    used = {row.source for group in groups for row in group.published}
    cited = "".join(
        f'<li id="source-{escape(key)}"><b>{escape(source.short)}</b> {escape(source.full)}</li>'
        for key, source in sources().items()
        if key in used
    )
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header class="top">
<h1>{escape(title)}</h1>
<p>{len(groups)} benchmark{"s" * (len(groups) != 1)} from {escape(", ".join(files))}. Shares are in
percent. Rows marked “published” are others' figures as printed there; all other figures were
measured. † marks a gallery that lacks pictures: its figures do not compare with whole ones.</p>
<nav aria-label="benchmarks"><ul>{links}</ul></nav>
</header>
<main>
{overview(groups) if len(groups) > 1 else ""}
{"".join(sections)}
</main>
<footer>
{f"<h2>Sources of published figures</h2><ul>{cited}</ul>" if cited else ""}
<p>Written by <code>chatsearcher report</code>, version {escape(chatsearcher.__version__)}.</p>
</footer>
</body>
</html>
"""
    return text, list(dict.fromkeys(said))


def section(group: Group, shown: str) -> str:
    """One benchmark."""
    card = group.card
    protocols = list(dict.fromkeys(entry.result.protocol for entry in group.entries))
    about = "".join(f"<p>{escape(protocol)}</p>" for protocol in protocols)
    if card is not None:
        about += f'<p class="source">{escape(card.source)}</p>'
    return f"""<section id="{anchor(group.name)}">
<h2>{escape(group.name)}</h2>
<div class="about">{about}</div>
{figures_table(group)}
{curves.section(group)}
{shown}
<details><summary>How it was measured</summary>{facts(group)}</details>
</section>
"""
