"""Stage ``compose``: the three sub-tasks, as the paper composes them (sections 3.1 and 3.2).

- t: the text dialogues;
- i: the single rounds: MDC-I, and the second round of MDC-T alone (reference text);
- m: the two rounds of MDC-T, and text dialogues merged with the MDC-I round of their picture.

i and m share their final rounds (section 5.1), which record ``round`` tells. A dialogue ends with
the user's turn that the target answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.stage import Result, reject

KINDS = {
    "text": "t",
    "reference-image": "i",
    "reference-text": "i",
    "merged": "m",
    "two-round": "m",
}


def compose_inputs(
    source: StageFolder, text: StageFolder, mdc_i: StageFolder, mdc_t: StageFolder
) -> Iterator[Entry]:
    """What was made of each picture. All stages are in the order of the source, so they are joined
    by going through them side by side."""
    others = {
        name: _Follower(folder) for name, folder in (("text", text), ("i", mdc_i), ("t", mdc_t))
    }
    for entry in source.records():
        yield {"id": entry["id"], **{n: other.of(entry["id"]) for n, other in others.items()}}
    for name, other in others.items():
        if (left := other.next) is not None:
            raise ValueError(
                f"{name}: record {left['id']!r} is not in the order of {source.path}; the stages "
                "were not made from it"
            )


class _Follower:
    """A stage's records, given where the source's order meets them."""

    def __init__(self, folder: StageFolder) -> None:
        self._records = folder.records()
        self.next: Entry | None = next(self._records, None)

    def of(self, id: str) -> Entry | None:
        if self.next is None or self.next["id"] != id:
            return None
        found, self.next = self.next, next(self._records, None)
        return found


async def compose_work(entries: Sequence[Entry]) -> list[Result]:
    return [composed(entry) for entry in entries]


def composed(entry: Entry) -> Result:
    """Up to five records of one picture."""
    text, mdc_i, mdc_t = entry["text"], entry["i"], entry["t"]
    result = Result()
    if text is not None:
        result.records.append(_record("text", text, text["picture"], _text_dialogue(text)))
    if mdc_i is not None and text is not None:
        result.records += _merged(text, mdc_i)
    elif mdc_i is not None:
        # i and m share their final rounds: without the one, the other is left out too.
        result.rejects.append(
            reject(f"i/{mdc_i['id']}", "unpaired", problem="no text dialogue to merge it with")
        )
    if mdc_t is not None:
        result.records += _reference_text(mdc_t)
    if text is None and mdc_i is None and mdc_t is None:
        result.rejects.append(
            reject(entry["id"], "nothing was made of it", problem="see the stages' rejects")
        )
    return result


def _text_dialogue(text: Entry) -> Dialogue:
    dialogue = Dialogue()
    for turn in text["rounds"]:
        dialogue = dialogue.user(turn["user"]).assistant(turn["assistant"])
    return dialogue.user(text["request"])


def _merged(text: Entry, mdc_i: Entry) -> list[Entry]:
    """MDC-I alone, and behind the text dialogue that leads to its reference picture."""
    shown = Image(mdc_i["picture"]["id"])
    single = Dialogue().user(shown, mdc_i["modification"])
    merged = _text_dialogue(text).assistant(shown).user(mdc_i["modification"])
    common = {
        "round": f"mdc-i/{mdc_i['id']}",
        "similarity": mdc_i["similarity"],
        "captions": {
            mdc_i["picture"]["id"]: mdc_i["caption"],
            mdc_i["neighbour"]["id"]: mdc_i["neighbour_caption"],
        },
    }
    target, context = mdc_i["neighbour"], [mdc_i["picture"]]
    return [
        _record("reference-image", mdc_i, target, single, context, **common),
        _record("merged", mdc_i, target, merged, context, **common),
    ]


def _reference_text(mdc_t: Entry) -> list[Entry]:
    """MDC-T's second round alone, and both of its rounds."""
    shown = Image(mdc_t["first_picture"]["id"])
    single = Dialogue().user(shown, mdc_t["second_request"])
    both = Dialogue().user(mdc_t["first_request"]).assistant(shown).user(mdc_t["second_request"])
    common = {
        "round": f"mdc-t/{mdc_t['id']}",
        "similarity": mdc_t["similarity"],
        "captions": {
            mdc_t["first_picture"]["id"]: mdc_t["first_caption"],
            mdc_t["picture"]["id"]: mdc_t["caption"],
        },
    }
    target, context = mdc_t["picture"], [mdc_t["first_picture"]]
    return [
        _record("reference-text", mdc_t, target, single, context, **common),
        _record("two-round", mdc_t, target, both, context, **common),
    ]


def _record(
    kind: str,
    made_of: Entry,
    target: Entry,
    dialogue: Dialogue,
    context: Sequence[Entry] = (),
    **about: object,
) -> Entry:
    fields = {"round": None, "captions": {target["id"]: made_of["caption"]}, **about}
    return {
        "id": f"{kind}/{made_of['id']}",
        "task": KINDS[kind],
        "kind": kind,
        "source": made_of["id"],
        "split": made_of["split"],
        "messages": dialogue.to_messages(),
        "target": target,
        "pictures": list(context),
        **fields,
    }
