"""``chatsearcher search "a red car" --gallery GALLERY``"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "search",
        help="find pictures by words or by a picture",
        description="Find pictures by words, by a picture (--image), or by both.",
    )
    parser.add_argument("words", nargs="?", default="", help="what to look for")
    parser.add_argument("--gallery", required=True, metavar="GALLERY")
    parser.add_argument("--image", action="append", default=[], type=Path, metavar="FILE")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="how many (default 10)")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="ID", help="leave this picture out"
    )
    parser.add_argument("--retriever", metavar="NAME", help="default: the gallery's own, or nano")
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    parser.add_argument("--index", default="exact", metavar="NAME", help="exact, faiss or milvus")
    parser.add_argument("--address", metavar="URL", help="of a Milvus cluster")
    parser.add_argument("--json", action="store_true", help="a JSON object on each line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from chatsearcher.dialogue import Dialogue, Image
    from chatsearcher.gallery import Gallery
    from chatsearcher.images import open_image
    from chatsearcher.index import open_index
    from chatsearcher.retrievers import load_retriever

    if not arguments.words.strip() and not arguments.image:
        raise ValueError("nothing to look for; give words, or a picture with --image FILE")
    gallery = Gallery.open(arguments.gallery)
    if not len(gallery):
        raise ValueError(f"the gallery {gallery.path} is empty; add to it with chatsearcher index")
    exclude = {gallery.row(id) for id in arguments.exclude}
    pictures = [Image(str(path), str(path), open_image(path)) for path in arguments.image]
    words = [arguments.words] if arguments.words.strip() else []
    retriever = load_retriever(arguments.retriever or gallery.retriever or "nano", arguments.device)
    gallery.check(retriever)
    query = retriever.encode_queries([Dialogue().user(*pictures, *words)])
    index = open_index(gallery, arguments.index, address=arguments.address)
    scores, rows = index.search(query, arguments.k, [exclude])
    for rank, (score, row) in enumerate(zip(scores[0], rows[0], strict=True), start=1):
        if row < 0:
            break
        id = gallery.ids[row]
        caption = gallery.metadata(id).get("caption")
        if arguments.json:
            found = {
                "rank": rank,
                "score": round(float(score), 6),
                "id": id,
                "source": gallery.source(id),
                "caption": caption,
                "copies": gallery.copies(id),
            }
            print(json.dumps(found, ensure_ascii=False))
        else:
            said = f"  {' '.join(str(caption).split())[:100]}" if caption else ""
            print(f"{rank:>3}  {score:7.4f}  {id}{said}")
    return 0
