"""The whole network: its loss, its masks, its checkpoints."""

import math
from functools import partial

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

from chatsearcher.model import Batch, ChatSearcherModel
from tests.fixtures.tiny import (
    picture,
    seeing_model,
    tiny_config,
    tiny_processor,
    tiny_samples,
    tiny_tokenizer,
)

VOCABULARY = 320
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
LANGUAGE_MODELS = {
    "llama": LlamaConfig(vocab_size=VOCABULARY, **SMALL),
    "llama-tied": LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **SMALL),
    "qwen2": Qwen2Config(vocab_size=VOCABULARY, num_key_value_heads=1, **SMALL),
    "gpt-neox": GPTNeoXConfig(vocab_size=VOCABULARY, **SMALL),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=256,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    ),
    # windows in every other layer, a soft cap and scaling around the head
    "gemma3": Gemma3TextConfig(
        vocab_size=VOCABULARY,
        head_dim=16,
        num_key_value_heads=1,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        final_logit_softcapping=3.0,
        pad_token_id=0,
        **SMALL,
    ),
}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return ChatSearcherModel(tiny_config(**changes))


def samples(count=3):
    return tiny_samples(tiny_processor(), range(count))


def in_rows(processor, rows):
    """The batch of several samples a row, in the given arrangement: a list of lists of samples."""
    batches = [processor.batch(row) for row in rows]
    length = max(sum(len(s.input_ids) for s in row) for row in rows)
    fields = {name: [] for name in ("input_ids", "position_ids", "segment_ids", "labels")}
    positions = []
    for number, row in enumerate(rows):
        columns = {name: [] for name in fields}
        for segment, sample in enumerate(row, start=1):
            offset = len(columns["input_ids"])
            positions += [[number, offset + image.start] for image in sample.images]
            columns["input_ids"] += sample.input_ids
            columns["labels"] += sample.labels
            columns["position_ids"] += range(len(sample.input_ids))
            columns["segment_ids"] += [segment] * len(sample.input_ids)
        for name, fill in (
            ("input_ids", 0),
            ("position_ids", 0),
            ("segment_ids", 0),
            ("labels", -100),
        ):
            fields[name].append(columns[name] + [fill] * (length - len(columns[name])))
    return Batch(
        **{name: torch.tensor(values) for name, values in fields.items()},
        pixel_values=torch.cat([b.pixel_values for b in batches]),
        image_positions=torch.tensor(positions),
        image_ids=torch.cat([b.image_ids for b in batches]),
        image_targets=torch.cat([b.image_targets for b in batches]),
    )


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_packed_equals_unpacked_with_any_language_model(name, attention):
    processor = tiny_processor()
    first, second, third = samples(3)
    # the same pictures in the same order, so that the queues agree too
    arrangements = (
        [[first], [second], [third]],
        [[first, second], [third]],
        [[first, second, third]],
    )
    results = []
    for rows in arrangements:
        model = make(llm_config=LANGUAGE_MODELS[name], attention=attention).train()
        output = model(in_rows(processor, rows))
        output.loss.backward()
        results.append((output, gradients(model)))
    for output, gradient in results[1:]:
        # float32; worst seen 1e-6
        assert output.loss.item() == pytest.approx(results[0][0].loss.item(), abs=1e-5)
        assert output.image_loss.item() == pytest.approx(results[0][0].image_loss.item(), abs=1e-5)
        for key, value in results[0][1].items():
            assert torch.allclose(value, gradient[key], atol=1e-5), key


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_save_and_load_give_the_same_vectors_rows_and_queue(name, tmp_path):
    processor = tiny_processor()
    model = make(llm_config=LANGUAGE_MODELS[name]).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    batch = processor.batch(samples())
    for _ in range(2):
        model(batch).loss.backward()
        optimizer.step()
        model.update_momentum()
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, ChatSearcherModel)
    saved, read = model.state_dict(), loaded.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[key], read[key]) for key in saved)
    assert int(read["queue.pushed"]) == 12
    assert not torch.equal(read["key_projection.average.value"], read["key_projection.weight"])
    rows = [model.config.image_start_token_id, model.config.image_end_token_id]
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(model, layer)().weight, getattr(loaded, layer)().weight
        assert torch.equal(old[rows], new[rows])
    model.eval()
    queries = processor.batch([processor.encode_query(_question(1))])
    pixels = processor.pixel_values([picture(1)])
    # Equal weights may be added up in another order where they lie elsewhere in memory (seen on an
    # AVX2 processor). Measured worst: 1.2e-7.
    close = partial(torch.testing.assert_close, atol=1e-6, rtol=0)
    close(model.encode_queries(queries), loaded.encode_queries(queries))
    close(model.encode_images(pixels), loaded.encode_images(pixels))


def _question(number):
    from chatsearcher.dialogue import Dialogue, Image

    return Dialogue().user("like this", Image(f"p{number}", pixels=picture(number)), "but at night")


def test_what_is_frozen_stays_frozen_after_loading(tmp_path):
    make(freeze_llm=True).save_pretrained(tmp_path)
    loaded = ChatSearcherModel.from_pretrained(tmp_path)
    trained = {name for name, p in loaded.named_parameters() if p.requires_grad}
    assert not any(name.startswith("tower.") for name in trained)
    assert {n for n in trained if n.startswith("llm.")} == {
        "llm.model.embed_tokens.weight",
        "llm.lm_head.weight",
    }


def test_loading_in_bfloat16_keeps_ids_and_averages(tmp_path):
    model = make().train()
    model(tiny_processor().batch(samples()))
    model.save_pretrained(tmp_path)
    loaded = ChatSearcherModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(loaded.queue.ids, model.queue.ids)
    assert loaded.queue.features.dtype == loaded.key_projection.average.value.dtype == torch.float32
    assert loaded.llm.dtype == torch.bfloat16
    assert math.isfinite(loaded.train()(tiny_processor().batch(samples())).loss.item())


@pytest.mark.parametrize("tied", [False, True])
def test_a_frozen_language_model_learns_the_two_rows_alone(tied):
    config = LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=tied, **SMALL)
    model = make(freeze_llm=True, llm_config=config).train()
    before = {name: tensor.clone() for name, tensor in model.llm.state_dict().items()}
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0
    )
    model(tiny_processor().batch(samples())).loss.backward()
    optimizer.step()
    rows = sorted([model.config.image_start_token_id, model.config.image_end_token_id])
    for name, tensor in model.llm.state_dict().items():
        changed = (tensor != before[name]).any(dim=-1).nonzero().flatten().tolist()
        assert changed == (rows if "embed_tokens" in name or "lm_head" in name else []), name


def test_new_rows_start_at_the_mean_of_the_old_ones():
    model = make()
    old = [
        model.get_input_embeddings().weight.clone(),
        model.get_output_embeddings().weight.clone(),
    ]
    model.resize_tokens(VOCABULARY + 3)
    for before, layer in zip(
        old, (model.get_input_embeddings(), model.get_output_embeddings()), strict=True
    ):
        assert torch.equal(layer.weight[:VOCABULARY], before)
        assert torch.allclose(layer.weight[VOCABULARY:], before.mean(0).expand(3, -1))
    assert model.config.llm_config.vocab_size == VOCABULARY + 3


def test_text_alone_gives_the_language_models_own_loss():
    model = make().eval().double()  # both add up in another order, which float32 shows
    ids = torch.randint(6, VOCABULARY, (3, 17))
    expected = model.llm(input_ids=ids, labels=ids).loss
    output = model(Batch.text(ids, labels=ids))
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert output.text_count.item() == 3 * 16
    assert output.image_count.item() == 0


@pytest.mark.parametrize("pictures", [False, True])
def test_every_trained_weight_gets_a_gradient_with_and_without_pictures(pictures):
    model = make(freeze_tower=False).train()
    ids = torch.randint(6, VOCABULARY, (2, 9))
    batch = tiny_processor().batch(samples()) if pictures else Batch.text(ids, labels=ids)
    model(batch).loss.backward()
    missing = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert missing == set()


def test_a_batch_without_any_loss_is_zero_and_finite():
    model = make().train()
    output = model(Batch.text(torch.randint(6, VOCABULARY, (2, 9))))
    output.loss.backward()
    assert output.loss.item() == 0
    assert all(torch.isfinite(g).all() for g in gradients(model).values())


def test_equal_keys_lose_log_of_the_queue():
    """With M_Q at zero all keys are equal, and each picture loses the log of the entries."""
    model = make(momentum=0.0).train()
    torch.nn.init.zeros_(model.key_projection.weight)
    output = model(tiny_processor().batch(samples(3)))
    assert output.dictionary_size.item() == 6
    assert output.image_loss.item() == pytest.approx(math.log(6), abs=1e-5)
    output = model(tiny_processor().batch(tiny_samples(tiny_processor(), range(3, 8))))
    assert output.dictionary_size.item() == 16
    assert output.image_loss.item() == pytest.approx(math.log(16), abs=1e-5)


def test_entries_of_the_same_picture_do_not_count():
    model = make(momentum=0.0).train()
    torch.nn.init.zeros_(model.key_projection.weight)
    batch = tiny_processor().batch(samples(3))
    for _ in range(2):  # the second time each picture has two entries, and one of them counts
        output = model(batch)
    assert output.dictionary_size.item() == 12
    assert output.image_loss.item() == pytest.approx(math.log(11), abs=1e-5)


def test_in_batch_negatives_leave_the_queue_alone():
    model = make(negatives="batch").train()
    for _ in range(2):
        output = model(tiny_processor().batch(samples(3)))
        assert output.dictionary_size.item() == 6
    assert len(model.queue) == 0


def test_evaluation_changes_no_state():
    model = make().train()
    batch = tiny_processor().batch(samples())
    model(batch)
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = model(batch).loss, model(batch).loss
    assert first.item() == second.item()
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_the_weight_of_a_picture():
    batch = tiny_processor().batch(samples())
    plain, heavy = (make(retrieval_weight=w).train()(batch) for w in (1.0, 3.0))
    words, images = plain.text_count.item(), plain.image_count.item()
    text, image = plain.text_loss.item(), plain.image_loss.item()
    total = words + images
    assert plain.target_count.item() == total
    assert plain.loss.item() == pytest.approx((words * text + images * image) / total, abs=1e-5)
    assert heavy.loss.item() == pytest.approx((words * text + 3 * images * image) / total, abs=1e-5)


def test_the_divisor_can_be_given():
    batch = tiny_processor().batch(samples())
    plain, given = make().train()(batch), make().train()(batch, target_count=7.0)
    assert given.loss.item() == pytest.approx(
        plain.loss.item() * plain.target_count.item() / 7, rel=1e-5
    )


def test_the_temperature_is_learned_and_bounded():
    model = make(temperature=0.07, max_logit_scale=20.0)
    assert model.logit_scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert model.logit_scale.item() == pytest.approx(20.0, rel=1e-5)


def test_pictures_without_places_are_refused():
    batch = tiny_processor().batch(samples())
    batch.image_positions = batch.image_positions[:-1]
    with pytest.raises(ValueError, match="6 pictures but 5 places"):
        make().train()(batch)


def test_queries_without_an_open_picture_are_refused():
    with pytest.raises(ValueError, match="encode_query"):
        make().eval().encode_queries(tiny_processor().batch(samples()))


def test_queries_come_in_the_order_of_their_rows_whatever_their_lengths():
    processor, model = tiny_processor(), make().eval()
    encoded = [processor.encode_query(_question(n)) for n in range(3)]
    encoded[1].input_ids[1:1] = encoded[1].input_ids[1:4] * 3
    encoded[1].labels[1:1] = [-100] * 9
    for image in encoded[1].images:
        image.start += 9
    together = model.encode_queries(processor.batch(encoded))
    alone = torch.cat([model.encode_queries(processor.batch([e])) for e in encoded])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(3))


def test_a_trained_tower_learns_through_the_keys_and_its_average_follows():
    model = make(freeze_tower=False, momentum=0.5).train()
    before = model.average_tower.tower.visual.conv1.weight.clone()
    model(tiny_processor().batch(samples())).loss.backward()
    assert model.tower.visual.attnpool.c_proj.weight.grad.abs().sum() > 0
    with torch.no_grad():
        model.tower.visual.conv1.weight.add_(1)
    model.update_momentum()
    moved = model.average_tower.tower.visual.conv1.weight
    assert torch.allclose(moved, before + 0.5, atol=1e-6)


def test_a_few_dialogues_are_learned_by_heart():
    processor = tiny_processor()
    model = seeing_model(temperature=0.1).train()
    batch = processor.batch(samples(4))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0)
    for _ in range(80):
        output = model(batch)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update_momentum()
    assert output.text_loss.item() < 0.1
    assert output.retrieval_accuracy.item() == 1.0


def test_the_language_model_can_be_put_in():
    """A language model with weights of its own: text keeps its logits."""
    torch.manual_seed(3)
    other = AutoModelForCausalLM.from_config(LANGUAGE_MODELS["qwen2"])
    model = make(llm_config=LANGUAGE_MODELS["qwen2"])
    model.llm.load_state_dict(other.state_dict())
    ids = torch.randint(6, len(tiny_tokenizer()), (2, 8))
    expected = other(input_ids=ids, labels=ids).loss.item()
    assert model.eval()(Batch.text(ids, labels=ids)).loss.item() == pytest.approx(
        expected, abs=1e-6
    )
