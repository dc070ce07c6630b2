"""Tower features on disk: exact, bounded, shared by processes, of one tower only."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace

import pytest
import torch

from chatsearcher.data.batches import MixedBatches
from chatsearcher.data.feature_cache import FeatureCache, feature_key
from chatsearcher.data.records import DataConfig, SourceConfig
from chatsearcher.model import ChatSearcherProcessor
from chatsearcher.training.efficiency import engine_settings, open_feature_cache
from chatsearcher.training.settings import EngineSettings
from tests.fixtures.tiny import (
    seeing_model,
    tiny_config,
    tiny_processor,
    tiny_samples,
    tiny_tokenizer,
)

CPU = torch.device("cpu")
MEGABYTE = 1_000_000


def features_of(key: int, dtype=torch.bfloat16) -> tuple[torch.Tensor, torch.Tensor]:
    """[1, 5, 3] and [1, 7]: what a tower would say of picture ``key``, in two precisions."""
    generator = torch.Generator().manual_seed(key)
    tokens = torch.randn(1, 5, 3, generator=generator).to(dtype)
    return tokens, torch.randn(1, 7, generator=generator)


def is_right(found, key: int) -> bool:
    tokens, pooled = features_of(key)
    return torch.equal(found.tokens_PC, tokens[0]) and torch.equal(found.pooled_F, pooled[0])


def test_what_is_put_comes_back_bit_for_bit_also_in_another_process(tmp_path):
    cache = FeatureCache(tmp_path, "tower-a", MEGABYTE)
    assert cache.get(5) is None
    pairs = zip(features_of(5), features_of(6), strict=True)
    assert cache.put([5, 2**63 - 1], *map(torch.cat, pairs)) == 2
    again = FeatureCache(tmp_path, "tower-a", MEGABYTE)
    assert is_right(again.get(5), 5)
    assert is_right(again.get(2**63 - 1), 6)
    assert again.get(7) is None
    assert FeatureCache(tmp_path, "tower-a", MEGABYTE).__getstate__()["_file"] is None


def test_another_tower_and_another_precision_are_refused_with_the_remedy(tmp_path):
    cache = FeatureCache(tmp_path, "tower-a", MEGABYTE)
    cache.put([1], *features_of(1))
    with pytest.raises(ValueError, match=r"another tower.*give --engine.feature-cache another"):
        FeatureCache(tmp_path, "tower-b", MEGABYTE)
    with pytest.raises(ValueError, match="computes differently"):
        cache.put([2], *features_of(2, torch.float32))


def test_a_bound_that_is_too_small_or_too_large_is_refused(tmp_path):
    with pytest.raises(ValueError, match="too small for one picture"):
        FeatureCache(tmp_path, "a", 10).put([1], *features_of(1))
    with pytest.raises(ValueError, match="does not fit on the disk"):
        FeatureCache(tmp_path / "new", "a", 10**18)


def test_it_stays_within_its_bound_and_keeps_what_it_kept(tmp_path):
    cache = FeatureCache(tmp_path, "a", 3000)
    kept = [key for key in range(300) if cache.put([key], *features_of(key))]
    assert 20 < len(kept) < 300
    assert os.path.getsize(tmp_path / "entries.bin") <= 3000
    for key in range(300):
        found = cache.get(key)
        assert is_right(found, key) if key in kept else found is None


def test_a_damaged_entry_is_not_there_and_can_be_written_again(tmp_path):
    cache = FeatureCache(tmp_path, "a", 80)  # one slot
    cache.put([3], *features_of(3))
    with open(tmp_path / "entries.bin", "r+b") as file:
        file.seek(30)
        byte = file.read(1)
        file.seek(30)
        file.write(bytes([byte[0] ^ 1]))
    assert cache.get(3) is None
    cache.put([3], *features_of(3))
    assert is_right(cache.get(3), 3)


def work(folder: str, seed: int, wrong) -> None:
    torch.set_num_threads(1)
    cache = FeatureCache(folder, "a", 20_000)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed)).tolist()
    for key in order:
        cache.put([key], *features_of(key))
        other = order[(key * 7) % 200]
        found = cache.get(other)
        if found is not None and not is_right(found, other):
            wrong.value += 1


def test_processes_that_write_the_same_slots_never_read_a_wrong_picture(tmp_path):
    context = multiprocessing.get_context("fork")  # as a loader's workers; spawn imports all anew
    wrong = context.Value("i", 0)
    processes = [context.Process(target=work, args=(str(tmp_path), n, wrong)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert wrong.value == 0
    cache = FeatureCache(tmp_path, "a", 20_000)
    assert sum(cache.get(key) is not None for key in range(200)) > 150


def test_pictures_of_two_folders_have_two_keys():
    assert feature_key("/a/cc3m", "0001") != feature_key("/b/cc3m", "0001")


def losses(model, batches, steps, calls):
    """Losses and gradients of some steps, and how many pictures the tower read."""
    calls.clear()
    made = []
    for step in steps:
        model.zero_grad()
        loss = model(batches(step).batch).loss
        loss.backward()
        made.append((loss.item(), [p.grad for p in model.parameters() if p.grad is not None]))
    return made, sum(calls)


@pytest.mark.parametrize("autocast", [False, True])
def test_cached_steps_are_the_uncached_ones_without_the_tower(tmp_path, autocast):
    processor = tiny_processor()
    data = DataConfig(
        sources={"pairs": SourceConfig("world-pairs", 3)}, length=200, image_size=32, workers=0
    )
    engine = EngineSettings(feature_cache=str(tmp_path), feature_cache_gb=0.01, precision="fp32")
    calls: list[int] = []

    def prepared(features=None):
        model = seeing_model(momentum=0.0).train()
        model.tower.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
        return model, MixedBatches(data, processor, 0, 1, 0, features)

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        plain, read = losses(*prepared(), (0, 1), calls)
        assert read == 6
        model, _ = prepared()
        with engine_settings(model, engine, CPU, processor) as features:
            batches = MixedBatches(data, processor, 0, 1, 0, features)
            _, read = losses(model, batches, (0,), calls)
            assert read == 3
        model, _ = prepared()
        with engine_settings(model, engine, CPU, processor) as features:
            batches = MixedBatches(data, processor, 0, 1, 0, features)
            assert len(batches(0).batch.pixel_values) == 0  # not even decoded
            # step 0 is known, step 1 is not
            second, read = losses(model, batches, (0, 1), calls)
            assert read == 3
        model, _ = prepared()
        with engine_settings(model, engine, CPU, processor) as features:
            other = replace(data, sources={"pairs": SourceConfig("world-pairs", 8)})
            mixed = MixedBatches(other, processor, 0, 1, 0, features)(0).batch
            assert 0 < len(mixed.pixel_values) < 8  # known in part
            whole = MixedBatches(other, processor, 0, 1, 0)(0).batch
            reference, _ = prepared()
            assert model(mixed).loss.item() == reference(whole).loss.item()
    for (loss, gradients), (cached_loss, cached) in zip(plain, second, strict=True):
        assert cached_loss == loss
        assert all(map(torch.equal, gradients, cached))


@pytest.mark.parametrize("parted", [False, True])
def test_a_tower_parted_over_ranks_runs_even_where_all_is_known(parted):
    from chatsearcher.model.batch import KnownFeatures

    model = seeing_model().train()
    batch = tiny_processor().batch(tiny_samples(tiny_processor(), range(2)))
    whole = model(batch).loss.item()
    tokens, pooled = model.tower(batch.pixel_values)
    none = torch.zeros(0, dtype=torch.long)
    batch.known = KnownFeatures(torch.arange(len(tokens)), tokens, pooled, none)
    batch.pixel_values = batch.pixel_values[:0]
    calls: list[int] = []
    model = seeing_model().train()
    if parted:  # as ZeRO-3 marks weights that the other ranks must help to gather
        next(model.tower.parameters()).ds_id = 0
    model.tower.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    assert model(batch).loss.item() == whole
    assert calls == ([1] if parted else [])


def test_a_trained_tower_has_no_features_to_keep(tmp_path):
    from chatsearcher.model import ChatSearcherModel

    model = ChatSearcherModel(tiny_config(freeze_tower=False))
    with pytest.raises(ValueError, match="frozen tower"):
        open_feature_cache(model, EngineSettings(feature_cache=str(tmp_path)), tiny_processor())
    assert open_feature_cache(model, EngineSettings(), None) is None


def fingerprint(folder, precision="fp32", change=None, resample=None, **changes) -> str:
    """What a cache for this model, preprocessing and precision is called."""
    model = seeing_model(**changes)
    if change is not None:
        with torch.no_grad():
            model.get_parameter(change).view(-1)[0] += 1e-3
    processor = ChatSearcherProcessor.from_config(model.config, tiny_tokenizer())
    if resample is not None:
        processor.image_processor.resample = resample
    engine = EngineSettings(feature_cache=str(folder), feature_cache_gb=0.001, precision=precision)
    cache = open_feature_cache(model, engine, processor)
    assert cache is not None
    return cache.fingerprint


def test_all_that_changes_features_changes_the_name_and_nothing_else_does(tmp_path):
    different = [
        {},
        {"change": "tower.visual.conv1.weight"},
        {"precision": "bf16"},
        {"tower_layer": 0},
        {"tower_class_token": True},
        {"image_size": 40},
        {"image_resize": "squash"},
        {"resample": 0},
        {"image_mean": [0.5] * 3},
        {"image_std": [0.5] * 3},
        {"tower_config": {**seeing_model().config.tower_config, "quick_gelu": True}},
    ]
    names = [fingerprint(tmp_path, **one) for one in different]
    assert len(set(names)) == len(different)
    # stage 2 loads the processor that stage 1 made: the same name
    model = seeing_model()
    ChatSearcherProcessor.from_config(model.config, tiny_tokenizer()).save_pretrained(tmp_path)
    loaded = ChatSearcherProcessor.from_pretrained(tmp_path)
    engine = EngineSettings(feature_cache=str(tmp_path), feature_cache_gb=0.001, precision="fp32")
    assert open_feature_cache(model, engine, loaded).fingerprint == names[0]
    # the language model, the connector and the heads see features, and do not make them
    for same in ({"change": "connector.query_projection.weight"}, {"num_query_tokens": 3}):
        assert fingerprint(tmp_path, **same) == names[0]


def test_a_cache_needs_to_know_how_pictures_are_prepared(tmp_path):
    with pytest.raises(ValueError, match="give engine_settings the processor"):
        open_feature_cache(seeing_model(), EngineSettings(feature_cache=str(tmp_path)), None)


def test_pictures_of_two_splits_of_a_folder_have_two_namespaces(tmp_path):
    source = SourceConfig("shard-pairs", 1, path=str(tmp_path))
    data = DataConfig(
        sources={"a": source, "b": replace(source, split="val"), "c": SourceConfig("world-pairs")},
        image_size=32,
    )
    batches = MixedBatches(data, tiny_processor(), 0, 1, 0, None, dict.fromkeys("abc"))
    assert len({batches._namespace(name) for name in "abc"}) == 3
