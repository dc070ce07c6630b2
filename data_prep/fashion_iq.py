"""Fashion IQ's own construction: missing pictures, pairs of products, attributes, predictor's data.

python data_prep/fashion_iq.py DOWNLOADS --pictures IMAGES     # what is not there is passed over

    DOWNLOADS/fashion-iq/            captions/, image_splits/
    DOWNLOADS/fashion-iq-metadata/   image_url/asin2url.….txt
    DOWNLOADS/products/              McAuley's product metadata
    DOWNLOADS/deepfashion/           Anno/, Eval/, Img/
"""

import argparse
from pathlib import Path

from chatsearcher.preparation import attempt


def steps(downloads: Path, pictures: Path, out: Path) -> list[tuple[str, list[Path], list[str]]]:
    """(name, what it needs, its words) in order; each may read what those before it wrote."""
    source, products = downloads / "fashion-iq", downloads / "products"
    links, fashion = downloads / "fashion-iq-metadata" / "image_url", downloads / "deepfashion"
    vocabulary, attributes = fashion / "Anno" / "list_attr_cloth.txt", out / "fashion-iq-attributes"
    found = [
        ("fashion-iq-links", {"source": source, "links": links, "pictures": pictures}),
        ("fashion-iq-pairs", {"source": source, "products": products}),
        (
            "fashion-iq-attributes",
            {"source": source, "products": products, "vocabulary": vocabulary},
        ),
        (
            "fashion-iq-predictor",
            {"source": attributes, "pictures": pictures, "vocabulary": vocabulary},
        ),
        ("fashion-iq-predictor", {"source": fashion}),
    ]
    ends = ("fashion-iq-missing.csv", "fashion-iq-pairs.jsonl", attributes.name)
    ends += ("fashion-iq-predictor", "deepfashion-predictor")
    return [
        (
            name,
            list(given.values()),
            [f"--{key}={path}" for key, path in {**given, "out": out / end}.items()],
        )
        for (name, given), end in zip(found, ends, strict=True)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path)
    parser.add_argument("--pictures", type=Path, help="of Fashion IQ; default: DOWNLOADS/images")
    parser.add_argument("--out", type=Path, default=Path("data"), help="default: data")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = arguments.pictures or arguments.downloads / "images"
    failed = False
    for name, needed, words in steps(arguments.downloads, pictures, arguments.out):
        missing = [str(path) for path in needed if not path.exists()]
        if missing:
            print(f"{name}: no {', '.join(missing)}, passed over")
        else:
            print(f"{name} …", flush=True)
            failed |= attempt(name, words) != 0
    raise SystemExit(int(failed))
