"""Every recipe parses, prints, and says what the paper says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from chatsearcher.data.sources import SOURCES
from chatsearcher.training.main import parse
from chatsearcher.training.recipes import READING, STAGE1, STAGE2, TOWERS
from chatsearcher.training.settings import as_json

ALL = [(table, name) for table in (TOWERS, STAGE1, STAGE2) for name in table]


@pytest.mark.parametrize(("table", "name"), ALL, ids=lambda v: v if isinstance(v, str) else v.what)
def test_every_recipe_takes_overrides_and_saves_as_json(table, name):
    call = parse(
        table, "none", ["--recipe", name, "--optimiser.steps", "17", "--run", "x", "--seed", "5"]
    )
    assert (call.recipe.optimiser.steps, call.recipe.run, call.recipe.seed) == (17, "x", 5)
    assert call.resume is False
    untouched = table[name]
    assert call.recipe.optimiser.learning_rate == untouched.optimiser.learning_rate
    assert json.loads(json.dumps(as_json(call.recipe)))["optimiser"]["steps"] == 17


def test_the_launchers_rank_and_resume_are_understood():
    call = parse(STAGE1, "nano", ["--local_rank=0", "--resume", "--data.sources.pairs.count", "3"])
    assert call.resume
    assert call.recipe.data.sources["pairs"].count == 3
    assert call.recipe.data.sources["documents"] == STAGE1["nano"].data.sources["documents"]


def test_torchrun_passes_the_folder_on():
    """It completes shortened options, also behind the script's name: its own is --run-path."""
    from torch.distributed.run import get_args_parser

    words = ["--nproc-per-node", "2", "train/stage1.py", "--recipe", "nano", "--run-dir", "x"]
    passed = get_args_parser().parse_args([*words, "--seed", "5"]).training_script_args
    recipe = parse(STAGE1, "vicuna-7b", passed).recipe
    assert (recipe.run, recipe.seed) == ("x", 5)
    assert recipe.model == STAGE1["nano"].model


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'vicuna-7b'"):
        parse(STAGE1, "nano", ["--recipe", "vicuna7b"])


def test_a_misspelt_setting_is_an_error(capsys):
    with pytest.raises(SystemExit):
        parse(STAGE1, "nano", ["--optimizer.steps", "3"])
    assert "optimiser" in capsys.readouterr().err


def test_nano_reads_what_the_world_gives_and_stage_2_follows_stage_1():
    for table in (STAGE1, STAGE2):
        for name in ("nano", "nano-short"):
            kinds = {source.kind for source in table[name].data.sources.values()}
            assert all(kind in SOURCES for kind in kinds)
    runs = {STAGE2[name].run for name in STAGE2}
    for name in STAGE2:
        if name in STAGE1:
            assert STAGE2[name].start == STAGE1[name].run
        else:  # a further tuning of a stage 2
            assert STAGE2[name].start in runs - {STAGE2[name].run}
    for name in STAGE1:
        first = STAGE1[name]
        if first.tower_recipe:
            assert first.model.tower == f"{TOWERS[first.tower_recipe].run}/model"
            assert first.model.tokenizer == f"{TOWERS[first.tower_recipe].run}/tokenizer"
        if first.reading_recipe:
            reading = READING[first.reading_recipe]
            assert first.model.start == f"{reading.run}/model"
            assert replace(first.model, start=None) == reading.model


def test_vicuna_is_the_papers_table():
    """Section 5.1: the two stages' settings."""
    first, second = STAGE1["vicuna-7b"], STAGE2["vicuna-7b"]
    counts = {name: source.count for name, source in first.data.sources.items()}
    assert counts == {"cc3m": 256, "mmc4": 64}
    assert first.data.batch == 0  # exactly these counts in every step
    assert second.data.batch == 64
    # in proportion to 150k, 10k, 10k
    mix = {name: source.count for name, source in second.data.sources.items()}
    assert mix == {"llava": 15, "instructpix2pix": 1, "chatsearch": 1}
    for recipe, steps, rate, warmup in (
        (first, 200_000, 2e-5, 6_000),
        (second, 10_000, 2e-6, 300),
    ):
        optimiser = recipe.optimiser
        assert (optimiser.steps, optimiser.learning_rate, optimiser.warmup) == (steps, rate, warmup)
        assert optimiser.weight_decay == 0
        assert optimiser.floor == 0
        assert optimiser.accumulation == 1
    model = first.model
    assert (model.query_tokens, model.queue_size, model.momentum) == (32, 1000, 0.0)
    assert (model.negatives, model.retrieval_weight) == ("queue", 1.0)
    assert model.freeze_tower
    assert not model.freeze_llm
    assert model.lora.rank == 0
    assert (model.tower, first.data.image_size) == ("ViT-L-14/openai", 224)
    assert second.data.image_size == 224
    assert model.llm.pretrained == "lmsys/vicuna-7b-v1.5"
    assert Path(model.qformer.pretrained).name == "blip2_pretrained_vitL.pth"


FACTS = Path(__file__).resolve().parents[4] / "shared" / "facts" / "papers.md"


@pytest.mark.skipif(not FACTS.is_file(), reason="the shared folder of facts is not here")
def test_vicuna_is_the_table_in_the_facts_number_for_number():
    """The figures are read from the page, not from this file."""
    rows, data = {}, []
    for line in FACTS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0]:
            data = cells[1:] if cells[0] == "data" else data
            rows[cells[0]] = [
                [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", c)]
                for c in cells[1:]
            ]
    first, second = STAGE1["vicuna-7b"], STAGE2["vicuna-7b"]
    counts = [float(source.count) for source in first.data.sources.values()]
    assert rows["batch"] == [[counts[0], 3.0, counts[1], 4.0], [float(second.data.batch)]]
    sizes = [int(n) for n in re.findall(r"(\d+)k\b", data[1])]  # LLaVA-150k + 10k … + 10k …
    assert [10 * source.count for source in second.data.sources.values()] == sizes
    assert rows["steps"] == [[float(r.optimiser.steps)] for r in (first, second)]
    assert rows["peak LR, warm-up, schedule"] == [
        [r.optimiser.learning_rate, float(r.optimiser.warmup)] for r in (first, second)
    ]
    assert rows["optimiser"][0] == [first.optimiser.weight_decay]
    assert rows["queue"] == [[float(first.model.queue_size)]] * 2


def test_the_papers_weights_want_the_activation_that_the_tower_gets():
    """ViT-L-14 is named without it, and open_clip only warns."""
    import open_clip

    name, _, tag = STAGE1["vicuna-7b"].model.tower.rpartition("/")
    assert not open_clip.get_model_config(name).get("quick_gelu", False)
    assert open_clip.get_pretrained_cfg(name, tag)["quick_gelu"] is True


def test_lora_keeps_the_papers_batches():
    for table in (STAGE1, STAGE2):
        paper, lora = table["vicuna-7b"], table["vicuna-7b-lora"]
        pieces = lora.optimiser.accumulation
        assert paper.data.batch == lora.data.batch * pieces
        if not paper.data.batch:
            for source, config in paper.data.sources.items():
                assert config.count == lora.data.sources[source].count * pieces
    assert STAGE1["vicuna-7b-lora"].model.lora.rank > 0


def test_llava665k_goes_on_from_stage_2_with_its_loss_and_optimiser():
    before, after = STAGE2["vicuna-7b"], STAGE2["vicuna-7b-llava665k"]
    assert after.start == before.run
    assert set(after.data.sources) == {"llava"}
    assert after.optimiser.steps == 665_298 // after.data.batch  # one epoch
    assert after.optimiser.betas == before.optimiser.betas
    assert STAGE2["nano-questions"].start == STAGE2["nano"].run


def test_every_part_that_a_recipe_names_is_known():
    import open_clip

    for name in STAGE1:
        tower = STAGE1[name].model.tower
        if not tower.startswith("runs/"):
            model, _, tag = tower.rpartition("/")
            assert (model, tag) in open_clip.list_pretrained(), tower
    for table in (STAGE1, STAGE2):
        for name in table:
            for source in table[name].data.sources.values():
                assert source.kind in SOURCES, (name, source.kind)
