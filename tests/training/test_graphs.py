"""Steps as CUDA graphs: which batches are captured, what a step does; on a GPU, that graphs train as eager steps do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from training_toys import BINS, FRAMES, toy_model

from benchmarks import gpu
from benchmarks.cases import CASES
from dynvae.errors import ConfigError
from dynvae.models import DVAE, PRESETS, build
from dynvae.recurrence import executor
from dynvae.training.graphs import GraphedStep, Stepped, negative_elbo


def batch(*, rows: int = 4, seed: int = 0, device: str = "cpu") -> Tensor:
    return torch.rand(rows, FRAMES, BINS, generator=torch.Generator().manual_seed(seed)).to(device)


class Pretending(GraphedStep):
    """Captures on the CPU, where a graph is a list entry and an eager step."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.done: list[str] = []

    def _can_capture(self, x: Tensor) -> bool:
        return True

    def _step(self, x: Tensor, lengths: Tensor | None) -> Stepped:
        self.done.append("eager")
        return super()._step(x, lengths)

    def _beside(self, x: Tensor) -> Stepped:
        self.done.append("warm up")
        return super()._step(x, None)

    def _capture(self, x: Tensor) -> Callable[[Tensor], Stepped]:
        self.done.append("capture")

        def replay(x: Tensor) -> Stepped:
            self.done.append("replay")
            return super(Pretending, self)._step(x, None)

        return replay


def pretending(**options: Any) -> Pretending:
    model = toy_model()
    return Pretending(model, torch.optim.Adam(model.parameters()), **options)


def test_a_shape_is_captured_once_it_is_warm() -> None:
    step = pretending(warmup=2)
    for seed in range(4):
        step(batch(seed=seed))
    assert step.done == ["warm up", "warm up", "capture", "replay", "replay"]


def test_each_shape_has_its_graph_and_there_are_not_too_many() -> None:
    step = pretending(warmup=1, most=2)
    for rows in (4, 4, 3, 3, 4, 2, 2, 2, 3):
        step(batch(rows=rows))
    a = ["warm up", "capture", "replay"]
    assert step.done == [*a, *a, "replay", "warm up", "eager", "eager", "replay"]


def test_other_types_and_modes_are_other_shapes() -> None:
    step = pretending(warmup=1)
    step(batch())
    step(batch().double())
    step.model.eval()
    step(batch())
    assert step.done == ["warm up"] * 3


def test_lengths_are_never_captured() -> None:
    step = pretending(warmup=1)
    for _ in range(3):
        step(batch(), torch.tensor([FRAMES, 3, 4, 5]))
    assert step.done == ["eager"] * 3


def test_the_cpu_never_captures() -> None:
    model = toy_model()
    step = GraphedStep(model, torch.optim.Adam(model.parameters()), warmup=1)
    assert not step._can_capture(batch())
    for _ in range(3):
        step(batch())


def test_a_step_is_a_step() -> None:
    """Loss, gradient, clipping and update, written out."""
    model = toy_model()
    other = copy.deepcopy(model)
    step = GraphedStep(
        model, torch.optim.Adam(model.parameters(), lr=0.01), clip=0.1, generator=torch.Generator().manual_seed(5)
    )
    generator, optimizer = torch.Generator().manual_seed(5), torch.optim.Adam(other.parameters(), lr=0.01)
    for seed in range(3):
        done = step(batch(seed=seed))
        optimizer.zero_grad()
        loss = -other.elbo(batch(seed=seed), generator=generator).per_frame
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 0.1)
        optimizer.step()
        assert torch.equal(done.loss, loss.detach())
        assert torch.equal(done.norm, norm)
    assert norm > 0.1
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"clip": -1.0}, {"warmup": 0}, {"most": -1}):
        with pytest.raises(ConfigError, match="are needed"):
            pretending(**wrong)


class Asks(TorchDispatchMode):
    """Notes operations for which the processor waits for the device or hands it a number: they cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "lift_fresh", "is_nonzero"):
            self.asked.add(name)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("free_running", [0.0, 0.5])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "kvae"])
def test_a_step_asks_nothing_of_the_device(name: str, free_running: float) -> None:
    """What can be told of a capture without a GPU."""
    model = build(name, x_dim=BINS, z_dim=2)

    def objective(model: DVAE, x: Tensor, lengths: Tensor | None, generator: torch.Generator) -> Tensor:
        return -model.elbo(x, lengths, generator=generator, free_running=free_running).per_frame

    step = GraphedStep(model, torch.optim.SGD(model.parameters(), lr=1e-3, foreach=True), objective, clip=1.0)
    with executor("plain"), Asks() as asks:
        step(batch())
    assert asks.asked == set()


def test_what_asks_the_device_is_noticed() -> None:
    step = GraphedStep(toy_model(), torch.optim.SGD([torch.zeros(1, requires_grad=True)]))
    with Asks() as asks:
        step(batch(), torch.tensor([FRAMES, 3, 4, 5]))
        torch.tensor(1.0)
    assert asks.asked == {"_local_scalar_dense", "lift_fresh"}


def test_the_benchmark_compares_equal_steps() -> None:
    row = gpu.measure(CASES["vrnn"], torch.rand(2, 3, 513), steps=2)
    assert (row.model, row.batch, row.frames, row.deviation) == ("vrnn", 2, 3, 0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_says_that_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--models", "vrnn"]) == 2
    assert "there is no GPU" in capsys.readouterr().err


# ---- on a GPU ------------------------------------------------------------------------------------------------------

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU, and there is none")


def on_gpu(model: DVAE, **options: Any) -> GraphedStep:
    rate = torch.tensor(1e-3, device="cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, capturable=True)
    generator = torch.Generator("cuda").manual_seed(0)
    return GraphedStep(model, optimizer, negative_elbo, clip=1.0, generator=generator, **options)


@needs_a_gpu
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "kvae"])
def test_graphs_train_as_eager_steps_do(name: str) -> None:
    model = build(name, x_dim=BINS, z_dim=2)
    twin = copy.deepcopy(model)
    graphed, eager = on_gpu(model.cuda(), warmup=2), on_gpu(twin.cuda(), most=0)
    for i in range(10):
        x = batch(seed=i, rows=3 + i % 2, device="cuda")
        lengths = torch.tensor([FRAMES, 3, 4], device="cuda") if i == 8 else None
        for step in (graphed, eager):
            step.optimizer.param_groups[0]["lr"].fill_(1e-3 / (1 + i))
        done, expected = graphed(x, lengths), eager(x, lengths)
        torch.testing.assert_close(done.loss, expected.loss, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(done.norm, expected.norm, rtol=1e-3, atol=1e-4)
    assert len(graphed._graphs) == 2
    assert not eager._graphs
    for mine, other in zip(graphed.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@needs_a_gpu
def test_the_noise_is_new_in_each_replay_and_follows_the_seed() -> None:
    step = on_gpu(build("vrnn", x_dim=BINS, z_dim=2).cuda(), warmup=1)
    step.optimizer.param_groups[0]["lr"].zero_()
    losses = []
    for seed in (None, None, None, 1, 1):
        if seed is not None:
            step.generator.manual_seed(seed)
        losses.append(float(step(batch(device="cuda")).loss))
    assert len({*losses[1:4]}) == 3
    assert losses[3] == losses[4]


@needs_a_gpu
def test_an_optimizer_that_cannot_be_captured_is_refused() -> None:
    model = toy_model().cuda()
    with pytest.raises(ConfigError, match="capturable=True"):
        GraphedStep(model, torch.optim.Adam(model.parameters()))
