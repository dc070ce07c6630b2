"""Reading shards beside a bare loop over the same decoder; memory at ten thousand and a million.

python eval/speed/reading.py                              # pictures of its own making
python eval/speed/reading.py --shards FOLDER --split train
python eval/speed/reading.py --memory 10000 1000000       # converting and streaming, peak memory

The bare loop goes through the shards with ``tarfile`` and does nothing but decode and resize; ours
reads the records that training reads, in a shuffled order, through ``datasets``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from chatsearcher.data.records import SourceConfig
from chatsearcher.images import SUFFIXES, open_image

SIDE = 224


def resized(picture: Image.Image) -> Image.Image:
    """The short side to 224 pixels, the middle square: CLIP's preprocessing."""
    width, height = picture.size
    scale = SIDE / min(width, height)
    width, height = max(SIDE, round(width * scale)), max(SIDE, round(height * scale))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return picture.crop((left, top, left + SIDE, top + SIDE))


def bare(paths: list[Path], limit: int) -> int:
    """Pictures decoded and resized, straight from the tar files."""
    done = 0
    for path in paths:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if not info.name.lower().endswith(tuple(SUFFIXES)):
                    continue
                file = tar.extractfile(info)
                assert file is not None
                resized(open_image(file.read(), name=info.name))
                done += 1
                if done == limit:
                    return done
    return done


def ours(paths: list[Path], limit: int) -> int:
    """The same through the stream that training reads, captions read too."""
    from chatsearcher.data.record_kinds import as_record
    from chatsearcher.data.streaming import open_stream
    from chatsearcher.data.tar_index import shard_members

    config = SourceConfig("shard-pairs", path=str(paths[0].parent))
    done = 0
    for place in open_stream(paths, "speed"):
        stored = shard_members(Path(place["shard"])).records[place["record"]]
        record = as_record(stored, config, "speed", stored.key, random.Random(0))
        for part in record.content:
            if hasattr(part, "id"):
                resized(record.load(part.id))
        done += 1
        if done == limit:
            break
    return done


def make_shards(folder: Path, shards: int, records: int) -> list[Path]:
    """JPEG pictures of 640 x 480 with something in them, as img2dataset writes them."""
    rng = random.Random(0)
    paths = []
    for shard in range(shards):
        path = folder / f"train-{shard:06}.tar"
        with tarfile.open(path, "w") as tar:
            for n in range(records):
                noise = Image.effect_noise((80, 60), 60).resize(
                    (640, 480), Image.Resampling.BICUBIC
                )
                colour = Image.new("L", (640, 480), rng.randrange(256))
                buffer = io.BytesIO()
                Image.merge("RGB", (noise, colour, noise)).save(buffer, "JPEG", quality=90)
                key = f"{shard:05}{n:04}"
                for ending, data in (
                    ("jpg", buffer.getvalue()),
                    ("txt", b"a picture of something"),
                    ("json", json.dumps({"key": key, "url": f"http://x/{key}"}).encode()),
                ):
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        paths.append(path)
    return paths


def measure_speed(paths: list[Path], limit: int, rounds: int) -> None:
    ratios = []
    for number in range(rounds + 1):
        rates = []
        for function in (bare, ours) if number % 2 else (ours, bare):
            start = time.process_time()
            done = function(paths, limit)
            rates.append((function.__name__, done / (time.process_time() - start)))
        found = dict(rates)
        if number == 0:
            continue  # the first round fills the caches
        ratios.append(found["ours"] / found["bare"])
        print(
            f"round {number}: bare {found['bare']:.0f}/s, ours {found['ours']:.0f}/s, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"decoded and resized to {SIDE} px: {statistics.median(ratios):.3f} x the bare loop")


# Memory: each job in a process of its own, which prints what it had once everything was imported,
# and its peak. (Streaming imports torch and datasets, several hundred MiB; converting does not.)


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def convert_job(name: str, count: int, folder: Path) -> float:
    """Convert; returns the memory before."""
    from chatsearcher.preparation.convert import Settings, convert
    from chatsearcher.preparation.converters.llava import Llava
    from chatsearcher.preparation.converters.mmc4 import Mmc4
    from chatsearcher.preparation.converters.pairs import PairShards
    from chatsearcher.preparation.pictures import Pictures

    source = folder / name
    if name == "llava":
        converter = Llava([source / "llava_instruct_150k.json"])
    elif name == "mmc4":
        converter = Mmc4([source / "docs.jsonl"])  # type: ignore[assignment]
    else:
        converter = PairShards("pairs", sorted(source.glob("*.tar")))  # type: ignore[assignment]
    before = peak()
    report = convert(
        converter, folder / f"{name}-out", lambda at: Pictures([source], at), Settings()
    )
    made = sum(report.manifest["records"].values())
    assert made == count, report.manifest
    return before


def stream_job(name: str, count: int, folder: Path) -> float:
    """Go through all records of the training split once; returns the memory before."""
    import datasets  # noqa: F401 - part of the memory before

    from chatsearcher.data.streaming import RecordStream

    kinds = {"llava": "shard-conversations", "mmc4": "shard-documents", "pairs": "shard-pairs"}
    source = RecordStream(SourceConfig(kinds[name], path=str(folder / f"{name}-out")), 0)
    train = sum(
        json.loads(line)["records"]
        for line in (folder / f"{name}-out" / "shards.jsonl").open()
        if '"train-' in line
    )
    source.item(0)
    before = peak()
    for _ in range(train - 1):
        source.item(0)
    return before


def write_input(name: str, count: int, folder: Path) -> None:
    """``count`` entries in the published layout, with a picture of a few hundred bytes."""
    source = folder / name
    source.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "JPEG")
    picture = buffer.getvalue()
    if name == "pairs":
        per = 1000
        for shard in range(-(-count // per)):
            with tarfile.open(source / f"{shard:05}.tar", "w") as tar:
                for n in range(shard * per, min(count, (shard + 1) * per)):
                    for ending, data in (("jpg", picture), ("txt", b"words %d" % n)):
                        info = tarfile.TarInfo(f"{n:09}.{ending}")
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))
        return
    (source / "a.jpg").write_bytes(picture)
    with open(
        source / ("docs.jsonl" if name == "mmc4" else "llava_instruct_150k.json"), "w"
    ) as out:
        for line in _lines(name, count):
            out.write(line)


def _lines(name: str, count: int) -> Iterator[str]:
    if name == "llava":
        yield "["
    for n in range(count):
        if name == "mmc4":
            info = {"image_name": "a.jpg", "raw_url": f"http://x/{n}", "matched_text_index": 1}
            texts = [f"Sentence {k} of {n}." for k in range(4)]
            matrix = [[0.2] * 4]
            entry = {"text_list": texts, "image_info": [info], "similarity_matrix": matrix}
            yield json.dumps({**entry, "url": f"http://p/{n}"}) + "\n"
        else:
            turns = [
                {"from": "human", "value": f"<image>\nWhat is {n}?"},
                {"from": "gpt", "value": f"A number, {n}."},
            ]
            entry = {"id": str(n), "image": "a.jpg", "conversations": turns}
            yield ("," if n else "") + json.dumps(entry)
    if name == "llava":
        yield "]"


def measure_memory(counts: list[int], names: list[str]) -> None:
    for name in names:
        peaks: dict[str, list[float]] = {"convert": [], "stream": []}
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                write_input(name, count, Path(folder))
                for job, found in peaks.items():
                    start = time.perf_counter()
                    words = ["--job", job, name, str(count), folder]
                    done = subprocess.run(
                        [sys.executable, __file__, *words],
                        check=True,
                        capture_output=True,
                        text=True,
                    )
                    before, most = map(float, done.stdout.split()[-2:])
                    found.append(most)
                    rate = count / (time.perf_counter() - start)
                    print(
                        f"{job} {name}, {count:,} records: {most:.0f} MiB, {most - before:.0f} of "
                        f"them above the imports; {rate:,.0f}/s"
                    )
                    sys.stdout.flush()
        for job, found in peaks.items():
            print(f"{job} {name}: {found[-1] / found[0]:.3f} x the memory of the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, help="a folder of WebDataset shards")
    parser.add_argument("--split", default="train")
    parser.add_argument("--limit", type=int, default=1500, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="counts of records")
    parser.add_argument("--sets", nargs="+", default=["pairs", "mmc4", "llava"])
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job, name, count, folder = args.job
        before = {"convert": convert_job, "stream": stream_job}[job](name, int(count), Path(folder))
        print(before, peak())
    elif args.memory:
        measure_memory(args.memory, args.sets)
    elif args.shards:
        paths = sorted(args.shards.glob(f"{args.split}*.tar"))
        measure_speed(paths, args.limit, args.rounds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            paths = make_shards(Path(folder), 3, args.limit // 3)
            measure_speed(paths, args.limit, args.rounds)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
