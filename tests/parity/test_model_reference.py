"""The loss and its gradients against a plain writing-down of the paper's section 4.2."""

import pytest
import torch

from tests.fixtures.tiny import seeing_model, tiny_processor, tiny_samples


def reference_loss(model, batches):
    """Equations 1 to 3 by loops, with logits everywhere: the loss of the last batch."""
    size = model.config.queue_size
    queue = []  # (id, raw feature), oldest first
    for batch in batches:
        tokens, pooled = model.tower(batch.pixel_values)
        visual = model.connector(tokens, pooled)
        queue = (queue + list(zip(batch.image_ids.tolist(), pooled.detach(), strict=True)))[-size:]
        total, count = torch.zeros(()), 0
        for row in range(len(batch.input_ids)):
            length = int((batch.segment_ids[row] > 0).sum())
            embeddings = list(model.llm.get_input_embeddings()(batch.input_ids[row, :length]))
            here = [i for i, (r, _) in enumerate(batch.image_positions.tolist()) if r == row]
            for image in here:
                start = int(batch.image_positions[image, 1])
                for offset, vector in enumerate(visual[image], start=1):
                    embeddings[start + offset] = vector
            output = model.llm(
                inputs_embeds=torch.stack(embeddings)[None], output_hidden_states=True
            )
            log_p = output.logits[0].log_softmax(dim=-1)
            for position in range(1, length):
                label = int(batch.labels[row, position])
                if label != -100:
                    total = total - log_p[position - 1, label]
                    count += 1
            for image in here:
                if not batch.image_targets[image]:
                    continue
                hidden = output.hidden_states[-1][0, int(batch.image_positions[image, 1])]
                query = hidden @ model.query_projection.weight.T
                scores, own = [], None
                newest = max(
                    i for i, (name, _) in enumerate(queue) if name == batch.image_ids[image]
                )
                for index, (name, feature) in enumerate(queue):
                    if name == batch.image_ids[image] and index != newest:
                        continue
                    key = feature @ model.key_projection.weight.T
                    own = len(scores) if index == newest else own
                    cosine = (query @ key) / (query.norm() * key.norm())
                    scores.append(cosine * model.log_scale.exp())
                total = total - torch.stack(scores).log_softmax(dim=0)[own]
                count += 1
    return total / count


@pytest.mark.parametrize("steps", [[(0, 1)], [(0, 1), (2, 3, 0), (4, 1)]])
def test_without_momentum_the_loss_and_its_gradients_are_the_papers(steps):
    processor = tiny_processor()
    batches = [processor.batch(tiny_samples(processor, numbers)) for numbers in steps]
    ours, theirs = (seeing_model(momentum=0.0, queue_size=9).train() for _ in range(2))
    for batch in batches:
        loss = ours(batch).loss
    loss.backward()
    expected = reference_loss(theirs, batches)
    expected.backward()
    # float32; worst seen 5e-7 for the loss, 2e-6 for a gradient
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    others = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(parameter.grad, others[name].grad, atol=2e-5), name


def test_a_fresh_average_changes_nothing():
    """At the first step the average is where the weights are: momentum is then equation 2 too."""
    processor = tiny_processor()
    batch = processor.batch(tiny_samples(processor, (0, 1, 2)))
    results = []
    for momentum in (0.0, 0.99):
        model = seeing_model(momentum=momentum).train()
        loss = model(batch).loss
        loss.backward()
        results.append((loss.item(), model.key_projection.weight.grad, model.log_scale.grad))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-6)
    assert torch.allclose(results[0][2], results[1][2], atol=1e-6)
