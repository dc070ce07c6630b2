"""Time to the first token, or to the ``[IMG]`` state, of a later turn: with kept keys and values,
and computed anew.

    python eval/speed/first_token.py --retriever nano --history 512

Both hold the same conversation of at least ``--history`` positions and then hear the same next
turn. The history is words alone by default: pictures, which the kept cache need not look at again
either, would only widen the gap (``--pictures`` shows it). Bound: kept / anew at most 0.40.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import torch

from chatsearcher.benchmarks.world import load_picture
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model.generation import ChatSession
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.chatsearcher import ChatSearcherRetriever

BOUND = 0.40
PICTURE = "beach.day|left:2-big-red-plain-cat|right:1-small-blue-striped-chair#{}"
SAID = "Two big red cats on the left and a small blue striped chair on the right, on the beach."
ASKED = "How many cats are there, and what colour is the chair?"
NEXT = "The same picture, but at night, please."


def history(system: ChatSearcherRetriever, positions: int, pictures: bool) -> Dialogue:
    """A conversation of at least that many positions that ends in an assistant's turn."""
    dialogue = Dialogue()
    for number in itertools.count():
        name = PICTURE.format(number)
        picture = Image(name, pixels=load_picture(name)) if pictures else "Here it is."
        dialogue = dialogue.user(SAID).assistant(picture).user(ASKED).assistant("Two. Blue.")
        if len(system.processor.encode_query(dialogue).input_ids) >= positions:
            break
    return dialogue


@torch.no_grad()
def measure(system: ChatSearcherRetriever, dialogue: Dialogue, repeats: int) -> dict[str, float]:
    """Milliseconds of both ways, in turns: to the first token, and to the ``[IMG]`` state."""
    limit = system.model.config.llm_config.get_text_config().max_position_embeddings
    kept = ChatSession(system.model, system.processor)
    kept.read(dialogue.user(NEXT))
    kept.next_log_probabilities()
    if kept.forgotten_rounds:
        raise ValueError(f"the history is longer than the {limit} positions that the model reads")
    begin = kept.mark()
    times: dict[str, list[float]] = {"kept": [], "anew": [], "kept_image": [], "anew_image": []}
    for _ in range(repeats + 1):
        for what in ("", "_image"):
            _settle(system)
            kept.read(dialogue.user(NEXT))  # what an undo leaves: the last turn must be read again
            kept.rewind(begin - _turn_length(system))
            times[f"kept{what}"].append(_seconds(system, kept, what, dialogue))
            fresh = ChatSession(system.model, system.processor)
            times[f"anew{what}"].append(_seconds(system, fresh, what, dialogue))
    found = {name: 1e3 * statistics.median(values[1:]) for name, values in times.items()}
    return {
        "positions": len(kept),
        **{f"{name}_ms": value for name, value in found.items()},
        "ratio": _ratio(times["kept"], times["anew"]),
        "ratio_image": _ratio(times["kept_image"], times["anew_image"]),
        "bound": BOUND,
    }


def _turn_length(system: ChatSearcherRetriever) -> int:
    """Positions of the next turn and the ``ASSISTANT:`` after it."""
    bos = system.processor.tokenizer.bos_token_id is not None
    return len(system.processor.encode_query(Dialogue().user(NEXT)).input_ids) - 1 - bos


def _seconds(
    system: ChatSearcherRetriever, session: ChatSession, what: str, dialogue: Dialogue
) -> float:
    started = time.perf_counter()
    session.read(dialogue.user(NEXT))
    if what:
        session.query_vector()
    else:
        session.next_log_probabilities()
    _settle(system)
    return time.perf_counter() - started


def _settle(system: ChatSearcherRetriever) -> None:
    if system.device.type == "cuda":
        torch.cuda.synchronize()


def _ratio(kept: list[float], anew: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(kept[1:], anew[1:], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retriever", default="nano", help="nano or a ChatSearcher's folder")
    parser.add_argument("--history", type=int, default=512, help="positions, at least")
    parser.add_argument("--pictures", action="store_true", help="with pictures in the history")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    system = load_retriever(arguments.retriever, arguments.device)
    if not isinstance(system, ChatSearcherRetriever):
        parser.error(f"{arguments.retriever} is no ChatSearcher: it keeps no cache")
    dialogue = history(system, arguments.history, arguments.pictures)
    row = measure(system, dialogue, arguments.repeats)
    print(f"{system.device}, {torch.get_num_threads()} threads, {row['positions']} positions")
    for what, title in (("", "first token"), ("_image", "[IMG] state")):
        print(
            f"{title:>12}: kept {row[f'kept{what}_ms']:7.1f} ms, anew {row[f'anew{what}_ms']:7.1f} "
            f"ms, ratio {row[f'ratio{what}']:.2f} (bound {BOUND:.2f})"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
