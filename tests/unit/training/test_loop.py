"""The loop on a toy: exact resume, clean stops, accumulation, checkpoints."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.training import checkpoints
from chatsearcher.training.loop import train
from chatsearcher.training.settings import (
    EngineSettings,
    LogSettings,
    OptimiserSettings,
    RunSettings,
)
from tests.fixtures.training_toys import ToyModel, ToyObjective, ToySource

RUN = RunSettings(
    optimiser=OptimiserSettings(steps=7, warmup=2, learning_rate=0.05),
    engine=EngineSettings(deepspeed="off", precision="fp32"),
    log=LogSettings(every=1, save_every=2, keep=2, trackers=(), progress=False),
)


def go(folder, run=RUN, source=ToySource, dropout=0.3, **options):
    torch.manual_seed(0)
    return train(run, ToyModel(dropout), ToyObjective(), source, folder, **options)


def losses(folder) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def weights(outcome) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in outcome.state_dict.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return losses_and_weights(folder, go(folder))


def losses_and_weights(folder, outcome):
    return losses(folder), weights(outcome)


class Killed(BaseException):
    """Stands for a kill: nothing in the loop may catch it."""


class KilledAt(ToySource):
    at = 0

    def __iter__(self):
        for batch in super().__iter__():
            if self.next > self.at:
                raise Killed
            yield batch


@settings(max_examples=7, deadline=None)
@given(st.integers(0, 6))
def test_a_run_killed_at_any_step_and_resumed_is_the_same_bit_for_bit(
    tmp_path_factory, undisturbed, step
):
    folder = tmp_path_factory.mktemp("killed")
    killer = type("Killer", (KilledAt,), {"at": step})
    with pytest.raises(Killed):
        go(folder, source=killer)
    torch.rand(3)  # another process would have another random state
    resumed = go(folder, resume=True)
    expected, expected_weights = undisturbed
    assert losses(folder) == expected
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected_weights[name]), name


def test_ctrl_c_saves_the_step_in_progress_and_the_run_goes_on(tmp_path, undisturbed):
    class Pressed(ToySource):
        def __iter__(self):
            for batch in super().__iter__():
                if self.next == 4:
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

    outcome = go(tmp_path, source=Pressed)
    assert outcome.interrupted
    assert outcome.step == 4
    assert checkpoints.steps(tmp_path)[-1] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    outcome = go(tmp_path, resume=True)
    assert not outcome.interrupted
    assert losses(tmp_path) == undisturbed[0]


def test_a_loss_that_is_not_finite_stops_with_the_keys_and_updates_nothing(tmp_path):
    def poisoned(rank, world):
        return ToySource(rank, world, poison=3)

    before = go(tmp_path / "before", replace(RUN, log=replace(RUN.log, save_every=1)), stop_after=3)
    model = ToyModel()
    torch.manual_seed(0)
    model = ToyModel()
    with pytest.raises(FloatingPointError, match=r"step 4.*nothing was updated.*toy-3-0, toy-3-1"):
        train(RUN, model, ToyObjective(), poisoned, tmp_path / "poisoned")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before.state_dict[name]), name


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value

        @staticmethod
        def backward(context, gradient):
            return gradient * float("inf")

    class Broken(ToyObjective):
        def __call__(self, model, batch):
            result = super().__call__(model, batch)
            result.loss = Root.apply(result.loss)
            return result

    with pytest.raises(FloatingPointError, match="gradient norm is"):
        train(RUN, ToyModel(), Broken(), ToySource, tmp_path)


def test_accumulated_micro_batches_are_one_batch(tmp_path):
    def small(rank, world):
        return Halves()

    class Halves(ToySource):
        """Every batch of ToySource in two halves."""

        def __iter__(self):
            for batch in super().__iter__():
                for part in (slice(0, 4), slice(4, 8)):
                    yield replace(
                        batch,
                        inputs=batch.inputs[part],
                        labels=batch.labels[part],
                        keys=batch.keys[part],
                    )

    whole = go(tmp_path / "whole", dropout=0.0)
    halved = replace(RUN, optimiser=replace(RUN.optimiser, accumulation=2))
    parts = go(tmp_path / "parts", halved, small, dropout=0.0)
    for name, value in weights(whole).items():  # measured worst: 6e-8
        torch.testing.assert_close(parts.state_dict[name], value, atol=1e-6, rtol=0)
    for step, loss in losses(tmp_path / "whole").items():
        assert losses(tmp_path / "parts")[step] == pytest.approx(loss, abs=1e-6)


def test_momentum_moves_once_a_step_and_old_checkpoints_leave(tmp_path):
    outcome = go(tmp_path)
    assert int(outcome.model.updates) == 7
    assert checkpoints.steps(tmp_path) == [6, 7]


def test_evaluation_leaves_no_trace_in_the_training(tmp_path, undisturbed):
    seen = []

    def hook(model, step):
        seen.append((step, model.training, torch.is_grad_enabled()))
        return {"noise": float(torch.rand(1))}

    go(tmp_path, replace(RUN, log=replace(RUN.log, evaluate_every=3)), hooks=[hook])
    assert seen == [(step, False, False) for step in (3, 6, 7)]
    assert losses(tmp_path) == undisturbed[0]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    go(tmp_path, stop_after=2)
    with pytest.raises(ValueError, match="--resume"):
        go(tmp_path)


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path):
    go(tmp_path, stop_after=4)
    (tmp_path / "checkpoints" / ".step-00000006.draft").mkdir()
    assert checkpoints.steps(tmp_path) == [2, 4]


def test_a_state_that_would_not_load_back_is_refused_when_saving(tmp_path):
    class Odd(ToySource):
        def state_dict(self):
            return {"next": object()}

    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported"):
        go(tmp_path, source=Odd, stop_after=2)
    assert checkpoints.steps(tmp_path) == []
