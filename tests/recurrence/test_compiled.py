"""The compiled executor of loops against the plain one, which runs in float64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dynvae.recurrence import compiled, plain
from dynvae.recurrence.functions import FUNCTIONS
from dynvae.recurrence.program import Gates, Linear, Map, Product, Program, Read, Sample, past
from dynvae.recurrence.schedule import FROM_OUTPUT, Loop, schedule

if not compiled.available():
    pytest.skip("there is no compiled library", allow_module_level=True)

TOLERANCE = 1e-5


def whole(name: str, width: int, delay: int = 0) -> Read:
    return Read(name, 0, width, delay)


class Case:
    """A loop with random inputs, weights and initial values."""

    def __init__(self, loop, widths, weights, batch=5, frames=6, seed=0, initial=True):
        torch.manual_seed(seed)
        self.loop = loop
        self.inputs = {name: torch.randn(batch, frames, widths[name]) for name in widths}
        self.weights = {name: torch.randn(shape) / shape[-1] ** 0.5 for name, shape in weights.items()}
        self.initial = {name: torch.randn(batch, w) * initial for name, w in loop.carried.items()}
        self.lengths = None
        self.frozen: set[str] = set()

    def run(self, executor, dtype):
        """What the executor gives, and the gradients of a random projection of it."""
        groups = [
            {name: x.to(dtype).detach().requires_grad_(name not in self.frozen) for name, x in group.items()}
            for group in (self.inputs, self.weights, self.initial)
        ]
        return self.project(executor, groups, dtype)

    def project(self, executor, groups, dtype):
        inputs, weights, initial = groups
        out = executor(self.loop, inputs, weights.__getitem__, initial, self.lengths)
        out = {name: out[name] for name in self.loop.computed if name in self.loop.outputs}
        generator = torch.Generator().manual_seed(1)
        total = sum((x * torch.randn(x.shape, generator=generator).to(dtype)).sum() for x in out.values())
        leaves = {f"{i}.{n}": x for i, group in enumerate(groups) for n, x in group.items() if x.requires_grad}
        if not total.requires_grad:
            return out, dict.fromkeys(leaves)
        gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return out, dict(zip(leaves, gradients, strict=True))

    def check(self, tolerance=TOLERANCE):
        values, gradients = self.run(compiled.run_loop, torch.float32)
        true_values, true_gradients = self.run(plain.run_loop, torch.float64)
        for name, true in true_values.items():
            close(values[name], true, name, tolerance)
        for name, true in true_gradients.items():
            shape = dict(self.inputs, **self.weights, **self.initial)[name.partition(".")[2]].shape
            mine, true = (torch.zeros(shape) if g is None else g for g in (gradients[name], true))
            close(mine, true, f"gradient of {name}", tolerance)
        return values, gradients


def close(mine: Tensor, true: Tensor, name: str, tolerance: float) -> None:
    assert mine.shape == true.shape, name
    error = (mine.double() - true.double()).abs().max().item()
    assert error <= tolerance * max(1.0, true.abs().max().item()), f"{name}: {error}"


def loop_of(*steps, backward=False, outputs=None) -> Loop:
    loop = Loop(steps, backward, ())
    return Loop(steps, backward, tuple(loop.computed if outputs is None else outputs))


def lstm(width: int, backward: bool = False, outputs=None) -> Case:
    delay = -1 if backward else 1
    gates = Linear("gates", 4 * width, (Product(whole("h", width, delay), "w"),), drive="drive")
    step = Gates("h", width, "lstm", (whole("gates", 4 * width),), whole("h.cell", width, delay))
    loop = loop_of(gates, step, backward=backward, outputs=outputs)
    return loop, {"drive": 4 * width}, {"w": (4 * width, width)}


def gru(width: int, backward: bool = False, drive: bool = True):
    delay = -1 if backward else 1
    if drive:
        of_input = Linear("input", 3 * width, (), drive="drive")
    else:
        of_input = Linear("input", 3 * width, (Product(whole("h", width, delay), "u"),), ("c",))
    of_state = Linear("state", 3 * width, (Product(whole("h", width, delay), "w"),), ("b",))
    both = (whole("input", 3 * width), whole("state", 3 * width))
    step = Gates("h", width, "gru", both, whole("h", width, delay))
    weights = {"w": (3 * width, width), "b": (3 * width,)}
    if not drive:
        weights |= {"u": (3 * width, width), "c": (3 * width,)}
    loop = loop_of(
        of_input, of_state, step, Map("k", width, "product", (whole("h", width), whole("x", width))), backward=backward
    )
    return replace(loop, outputs=("k", "h")), {"drive": 3 * width, "x": width}, weights


def posterior(backward: bool = False, latent: int = 3, hidden: int = 7):
    """Z -> hidden -> (mean, log-variance) -> z, with one matrix for two sources and a column range."""
    delay = -1 if backward else 1
    steps = (
        Linear(
            "a",
            hidden,
            (Product(whole("z", latent, delay), "w", 2), Product(Read("z", 1, latent, delay), "w", 2 + latent)),
            ("b", "c"),
            "tanh",
        ),
        Linear("k", hidden, (Product(Read("a", 0, 5), "w", 1),), (), "sigmoid", "drive"),
        Linear("heads", 2 * latent, (Product(whole("k", hidden), "v"),), ("d",)),
        Sample("z", latent, Read("heads", 0, latent), Read("heads", latent, 2 * latent), "noise"),
    )
    weights = {
        "w": (hidden, 2 * latent + 6),
        "v": (2 * latent, hidden),
        "b": (hidden,),
        "c": (hidden,),
        "d": (2 * latent,),
    }
    return loop_of(*steps, backward=backward), {"drive": hidden, "noise": latent}, weights


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("lengths", [None, (6, 1, 3, 5, 6)])
@pytest.mark.parametrize("width", [1, 12, 33])
def test_lstm(width, backward, initial, lengths):
    case = Case(*lstm(width, backward), initial=initial)
    case.lengths = None if lengths is None else torch.tensor(lengths)
    case.check()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("lengths", [None, (6, 1, 3, 5, 6)])
@pytest.mark.parametrize("drive", [False, True])
def test_gru(backward, lengths, drive):
    case = Case(*gru(9, backward, drive))
    case.lengths = None if lengths is None else torch.tensor(lengths)
    case.check()


@pytest.mark.parametrize("outputs", [("h",), ("gates",), ("h.cell",), ("h", "h.cell")])
def test_only_some_variables_are_needed_outside(outputs):
    Case(*lstm(8, outputs=outputs)).check()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("lengths", [None, (6, 1, 3, 5, 6)])
def test_posterior(backward, lengths):
    case = Case(*posterior(backward))
    case.lengths = None if lengths is None else torch.tensor(lengths)
    case.check()


@pytest.mark.parametrize("activation", sorted(FROM_OUTPUT))
def test_linear_recursion(activation):
    step = Linear("h", 5, (Product(whole("h", 5, 1), "w"), Product(whole("x", 4), "u")), ("b",), activation)
    case = Case(loop_of(step), {"x": 4}, {"w": (5, 5), "u": (5, 4), "b": (5,)})
    case.check()


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_maps(function):
    count = {"average": 4, "product": 2, "blend": 3, "standardise": 3, "gain": 2}.get(function, 1)
    width = 19
    sources = tuple(Read("h", i, i + width) for i in range(count - 1))
    step = Map("y", width, function, (*sources, whole("x", width)))
    linear = Linear("h", width + 3, (Product(Read("y", 0, width, 1), "w"),), ("b",))
    case = Case(loop_of(linear, step), {"x": width}, {"w": (width + 3, width), "b": (width + 3,)})
    case.inputs["x"] *= 3
    if function in ("log_power", "root_power", "standardise"):  # of powers, and by a deviation
        case.inputs["x"] = case.inputs["x"].square() + 0.1
    case.check(1e-4 if function == "power" else TOLERANCE)


@pytest.mark.parametrize("function", ["gelu", "silu", "log_softplus", "power", "elu", "sigmoid", "tanh"])
def test_maps_far_out(function):
    """At both ends, and where there is no number, as the plain executor does."""
    x = torch.tensor([-200.0, -90, -60, -40, -20, -9, -4, -1e-4, 0, 1e-4, 4, 9, 20, 40, 60, 90, 200, torch.nan])
    case = Case(loop_of(Map("y", 18, function, (whole("x", 18),))), {"x": 18}, {}, batch=1, frames=1)
    case.inputs["x"] = x.view(1, 1, -1).clone()
    values, gradients = case.run(compiled.run_loop, torch.float32)
    true_values, true_gradients = case.run(plain.run_loop, torch.float32)
    torch.testing.assert_close(values["y"], true_values["y"], rtol=2e-6, atol=1e-6, equal_nan=True)
    mine, true = gradients["0.x"][..., :-1], true_gradients["0.x"][..., :-1]
    torch.testing.assert_close(mine, true, rtol=1e-5, atol=1e-6)


def test_sample_far_out():
    """The log-variance is bounded, and its gradient passes as if it were not."""
    step = Sample("z", 4, Read("p", 0, 4), Read("p", 4, 8), "noise")
    case = Case(loop_of(step), {"p": 8, "noise": 4}, {}, batch=1, frames=1)
    case.inputs["p"] = torch.tensor([[[0.0, 1, 2, 3, -100, 100, 29, -31]]])
    values, gradients = case.run(compiled.run_loop, torch.float32)
    true_values, true_gradients = case.run(plain.run_loop, torch.float64)
    for mine, true in ((values["z"], true_values["z"]), *((gradients[n], true_gradients[n]) for n in gradients)):
        torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 7), (7, 1), (2, 2), (33, 3), (13, 20)])
@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_and_threads(monkeypatch, batch, frames, threads):
    monkeypatch.setattr(compiled, "_PRODUCTS_WORTH_A_THREAD", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for make in (lstm(17), lstm(17, True), posterior(latent=5, hidden=18), gru(20)):
            case = Case(*make, batch=batch, frames=frames)
            case.check()
            case.lengths = torch.randint(1, frames + 1, (batch,))
            case.check()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "layout", ["expanded in time", "expanded in batch", "time first", "columns", "every other column"]
)
def test_inputs_in_any_layout(layout):
    case = Case(*posterior())
    for name, x in case.inputs.items():
        case.inputs[name] = {
            "expanded in time": lambda x: x[:, :1].expand_as(x),
            "expanded in batch": lambda x: x[:1].expand_as(x),
            "time first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
            "columns": lambda x: torch.cat([x, x], -1)[..., 1 : 1 + x.shape[-1]],
            "every other column": lambda x: torch.cat([x, x], -1)[..., ::2],
        }[layout](x)
    case.check()


def test_weights_in_any_layout():
    case = Case(*posterior())
    case.weights["w"] = case.weights["w"].t().contiguous().t()
    case.weights["v"] = torch.cat([case.weights["v"]] * 2, 1)[:, 1:8]
    case.weights["b"] = torch.cat([case.weights["b"]] * 2)[::2]
    case.check()


@pytest.mark.parametrize(
    "frozen",
    [
        {"w", "v", "b", "c", "d"},
        {"drive", "noise"},
        {"z", "noise", "w"},
        {"drive", "noise", "z", "w", "v", "b", "c"},
        {"drive", "noise", "w", "v", "b", "c", "d"},
        {"drive", "noise", "w", "v", "b", "c", "d", "z"},
    ],
)
def test_only_the_wanted_gradients(frozen):
    case = Case(*posterior())
    case.frozen = frozen
    _, gradients = case.check() if len(frozen) < 8 else (None, {})
    assert {name.partition(".")[2] for name in gradients}.isdisjoint(frozen)


def test_a_drive_that_others_read_too():
    """Its gradient is a sum then, and not that of the linear step."""
    steps = (
        Linear("h", 6, (Product(whole("h", 6, 1), "w"),), (), "tanh", "drive"),
        Linear("k", 6, (Product(whole("h", 6), "w"),), (), "sigmoid", "drive"),
        Map("y", 6, "product", (whole("k", 6), whole("drive", 6))),
    )
    Case(loop_of(*steps), {"drive": 6}, {"w": (6, 6)}).check()


def test_gradients_from_outside_in_any_layout():
    case = Case(*lstm(6))
    groups = [{n: x.requires_grad_() for n, x in g.items()} for g in (case.inputs, case.weights, case.initial)]
    inputs, weights, initial = groups
    out = compiled.run_loop(case.loop, inputs, weights.__getitem__, initial, None)
    true = plain.run_loop(case.loop, inputs, weights.__getitem__, initial, None)
    for project in (
        lambda o: o["h"].sum(),
        lambda o: o["h"].transpose(0, 2).square().sum(),
        lambda o: o["h.cell"][:, -1].sum(),
    ):
        mine, theirs = (torch.autograd.grad(project(o), weights["w"], retain_graph=True)[0] for o in (out, true))
        close(mine, theirs, "w", TOLERANCE)


def test_padding_changes_nothing_valid():
    """Whatever lies in the padding, valid values and gradients stay bit for bit."""
    results = []
    for fill in (0.0, 1e3):
        case = Case(*lstm(10, backward=True), initial=True)
        case.lengths = torch.tensor([6, 1, 3, 5, 6])
        padding = torch.arange(6) >= case.lengths[:, None]
        case.inputs["drive"][padding] = fill
        drive, w = case.inputs["drive"].requires_grad_(), case.weights["w"].requires_grad_()
        out = compiled.run_loop(case.loop, {"drive": drive}, {"w": w}.__getitem__, case.initial, case.lengths)["h"]
        valid = out.masked_fill(padding[..., None], 0)
        results.append((valid.detach(), *torch.autograd.grad(valid.square().sum(), (drive, w))))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_every_run_is_the_same():
    case = Case(*posterior(latent=16, hidden=40), batch=20, frames=30)
    first, second = (case.run(compiled.run_loop, torch.float32) for _ in range(2))
    for mine, again in zip(first, second, strict=True):
        assert all(torch.equal(mine[name], again[name]) for name in mine)


@pytest.mark.parametrize("make", [lstm(12), gru(9), posterior(True)])
def test_without_gradients_the_values_are_the_same(make):
    case = Case(*make)
    groups = (case.inputs, case.weights.__getitem__, case.initial, None)
    plain_values = case.run(compiled.run_loop, torch.float32)[0]
    with torch.no_grad():
        values = compiled.run_loop(case.loop, *groups)
    with torch.inference_mode():
        inferred = compiled.run_loop(case.loop, *groups)
    for name, x in plain_values.items():
        assert torch.equal(values[name], x)
        assert torch.equal(inferred[name], x)


def test_carried_on():
    """Half of the frames, and the other half from the state in which the first ended, are all frames."""
    case = Case(*posterior())
    whole_run = case.run(compiled.run_loop, torch.float32)[0]
    state, parts = case.initial, []
    for chunk in (slice(0, 4), slice(4, 6)):
        inputs = {name: x[:, chunk] for name, x in case.inputs.items()}
        out = compiled.run_loop(case.loop, inputs, case.weights.__getitem__, state, None)
        state = {name: out[name][:, -1] for name in state}
        parts.append(out)
    for name, x in whole_run.items():
        assert torch.equal(torch.cat([part[name] for part in parts], 1), x)


def test_the_plain_executor_in_double_precision():
    """The oracle itself, against finite differences."""
    for make in (lstm(2), gru(2, True), posterior(latent=1, hidden=5)):
        case = Case(*make, batch=2, frames=3)
        if case.loop.backward:
            case.lengths = torch.tensor([3, 1])
        groups = (case.inputs, case.weights, case.initial)
        leaves = [x.double().requires_grad_() for group in groups for x in group.values()]

        def run(*values, case=case, groups=groups):
            rest = iter(values)
            inputs, weights, initial = ({name: next(rest) for name in group} for group in groups)
            return tuple(plain.run_loop(case.loop, inputs, weights.__getitem__, initial, case.lengths).values())

        assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize(
    ("name", "shape"), [("drive", (5, 5, 12)), ("drive", (5, 6, 11)), ("w", (12, 2)), ("w", (11, 3))]
)
def test_a_wrong_size_is_refused(name, shape):
    case = Case(*lstm(3))
    (case.inputs if name in case.inputs else case.weights)[name] = torch.zeros(shape)
    case.inputs = {"first": torch.zeros(5, 6, 1), **case.inputs}
    with pytest.raises(ValueError, match=f"'{name}' is"):
        compiled.run_loop(case.loop, case.inputs, case.weights.__getitem__, case.initial, None)


def test_a_second_derivative_is_refused():
    case = Case(*lstm(3))
    w = case.weights["w"].requires_grad_()
    out = compiled.run_loop(case.loop, case.inputs, {"w": w}.__getitem__, case.initial, None)["h"]
    (gradient,) = torch.autograd.grad(out.square().sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_plain_executor_takes_over(monkeypatch):
    case = Case(*lstm(3))
    out = compiled.run_loop(
        case.loop,
        {n: x.double() for n, x in case.inputs.items()},
        {n: x.double() for n, x in case.weights.items()}.__getitem__,
        {n: x.double() for n, x in case.initial.items()},
        None,
    )
    assert out["h"].dtype == torch.float64
    strange = loop_of(Map("y", 3, "not a function", (whole("x", 3),)))
    assert compiled.supports(case.loop)
    assert not compiled.supports(strange)
    monkeypatch.setattr(compiled, "library", lambda: None)
    assert not compiled.supports(case.loop)
    out = compiled.run_loop(case.loop, case.inputs, case.weights.__getitem__, case.initial, None)
    true = plain.run_loop(case.loop, case.inputs, case.weights.__getitem__, case.initial, None)
    assert torch.equal(out["h"], true["h"])


def test_inside_of_vmap():
    case = Case(*lstm(3))

    def run(drive):
        return compiled.run_loop(case.loop, {"drive": drive}, case.weights.__getitem__, case.initial, None)["h"]

    drives = torch.stack([case.inputs["drive"]] * 2)
    torch.testing.assert_close(torch.vmap(run)(drives)[1], run(drives[1]))


def test_torch_knows_the_operators():
    case = Case(*posterior(True))
    case.lengths = torch.tensor([6, 1, 3, 5, 6])
    compiled.run_loop(case.loop, case.inputs, case.weights.__getitem__, case.initial, case.lengths)
    layout = compiled.layout_of(case.loop)
    tensors = [*case.inputs.values(), *case.initial.values(), *(case.weights[name] for name in layout.parameters)]
    arguments = (tensors, case.lengths, layout.handle, 5, 6, True)
    torch.library.opcheck(torch.ops.dynvae.run_loop.default, arguments, test_utils=("test_schema", "test_faketensor"))
    values = torch.ops.dynvae.run_loop(*arguments)
    upstream = [torch.ones_like(x) for x in values[: len(layout.returned)]]
    back = (tensors, values, upstream, case.lengths, layout.handle, 5, 6, [True] * len(tensors))
    torch.library.opcheck(torch.ops.dynvae.run_loop_back.default, back, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_torch_compiles_and_exports_a_loop_as_one_operator():
    case = Case(*lstm(3))

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(case.weights["w"])

        def forward(self, drive):
            initial = {name: drive.new_zeros(drive.shape[0], width) for name, width in case.loop.carried.items()}
            return compiled.run_loop(case.loop, {"drive": drive}, {"w": self.w}.__getitem__, initial, None)["h"]

    module, drive = Module(), case.inputs["drive"].requires_grad_()
    faster = torch.compile(module, backend="aot_eager", fullgraph=True)
    results = []
    for run in (module, faster):
        out = run(drive)
        results.append((out, *torch.autograd.grad(out.square().sum(), (drive, module.w))))
    assert all(torch.equal(mine, true) for mine, true in zip(*results, strict=True))
    with torch.no_grad():
        exported = torch.export.export(module, (drive.detach(),))
    called = [str(node.target) for node in exported.graph.nodes]
    assert called.count("dynvae.run_loop.default") == 1
    assert torch.equal(exported.module()(drive.detach()), results[0][0])


def test_of_a_schedule():
    """A loop that the scheduler made: a generator that reads its own past output."""
    z, y = (whole("z", 3),), (whole("y", 4),)
    operations = [
        Linear("a", 6, (Product(past(y)[0], "w"), Product(z[0], "w", 4)), ("b",), "gelu"),
        Linear("y", 4, (Product(whole("a", 6), "v"),), (), "tanh"),
    ]
    program = Program({op.out: op for op in operations})
    *_, loop = schedule(program, {"z"}, {"y"}, training=True)
    assert compiled.supports(loop)
    Case(loop, {"a.linear.drive": 6, "a.drive": 6}, {"w": (6, 7), "b": (6,), "v": (4, 6)}).check()


@st.composite
def loops(draw):
    """A loop of a few steps, each of which reads what came before it or any variable at the frame before."""
    delay = -1 if draw(st.booleans()) else 1
    count = draw(st.integers(1, 5))
    widths = draw(st.lists(st.integers(1, 20), min_size=count, max_size=count))
    kinds = draw(st.lists(st.sampled_from(["linear", "map", "sample", "lstm", "gru"]), min_size=count, max_size=count))
    known = {"x": draw(st.integers(1, 20))}
    later = {f"v{i}": width for i, width in enumerate(widths)} | {
        f"v{i}.cell": width for i, (width, kind) in enumerate(zip(widths, kinds, strict=True)) if kind == "lstm"
    }
    inputs, weights, steps = dict(known), {}, []

    def read(width=None):
        now = {n: (w, 0) for n, w in known.items()}
        then = {n: (w, delay) for n, w in later.items()}
        fitting = [(n, w, d) for n, (w, d) in (*now.items(), *then.items()) if width is None or w >= width]
        if not fitting:
            inputs[f"u{len(inputs)}"] = width
            return whole(f"u{len(inputs) - 1}", width)
        name, w, d = draw(st.sampled_from(fitting))
        size = draw(st.integers(1, w)) if width is None else width
        start = draw(st.integers(0, w - size))
        return Read(name, start, start + size, d)

    def linear(name, width, activation):
        reads = [read() for _ in range(draw(st.integers(0, 3)))]
        column, products = 0, []
        for r in reads:
            products.append(Product(r, f"{name}.w", column))
            column += draw(st.integers(0, r.width))
        if products:
            weights[f"{name}.w"] = (width, max(p.column + p.read.width for p in products))
        drive = None
        if draw(st.booleans()) or not products:
            drive = f"{name}.drive"
            inputs[drive] = width
        biases = tuple(f"{name}.b{i}" for i in range(0 if drive else draw(st.integers(0, 2))))
        weights.update(dict.fromkeys(biases, (width,)))
        return Linear(name, width, tuple(products), biases, activation, drive)

    for i, (width, kind) in enumerate(zip(widths, kinds, strict=True)):
        name = f"v{i}"
        if kind == "linear":
            steps.append(linear(name, width, draw(st.sampled_from(["identity", "tanh", "sigmoid"]))))
        elif kind == "map":
            function = draw(st.sampled_from(["tanh", "average", "blend", "silu", "gelu", "log_softplus"]))
            size = {"average": 3, "blend": 3}.get(function, 1)
            steps.append(Map(name, width, function, tuple(read(width) for _ in range(size))))
        elif kind == "sample":
            inputs[f"{name}.noise"] = width
            steps += [linear(f"{name}.p", 2 * width, "tanh")]
            mean, variance = Read(f"{name}.p", 0, width), Read(f"{name}.p", width, 2 * width)
            steps.append(Sample(name, width, mean, variance, f"{name}.noise"))
        elif kind == "lstm":
            steps.append(linear(f"{name}.g", 4 * width, "identity"))
            steps.append(
                Gates(name, width, "lstm", (whole(f"{name}.g", 4 * width),), whole(f"{name}.cell", width, delay))
            )
            known[f"{name}.cell"] = width
        else:
            steps += [linear(f"{name}.{part}", 3 * width, "identity") for part in "gs"]
            both = (whole(f"{name}.g", 3 * width), whole(f"{name}.s", 3 * width))
            steps.append(Gates(name, width, "gru", both, whole(name, width, delay)))
        known[name] = width
    loop = Loop(tuple(steps), delay < 0, ())
    computed = list(loop.computed)
    outputs = draw(st.lists(st.sampled_from(computed), min_size=1, unique=True))
    return Loop(loop.steps, loop.backward, tuple(n for n in computed if n in outputs)), inputs, weights


@settings(max_examples=150, deadline=None)
@given(loops(), st.integers(1, 14), st.integers(1, 5), st.booleans(), st.data())
def test_any_loop(made, batch, frames, with_lengths, data):
    case = Case(*made, batch=batch, frames=frames, seed=data.draw(st.integers(0, 1000)))
    if with_lengths:
        case.lengths = torch.randint(1, frames + 1, (batch,))
    names = [*case.inputs, *case.weights, *case.initial]
    case.frozen = (
        set(data.draw(st.lists(st.sampled_from(names), max_size=len(names) - 1, unique=True))) if names else set()
    )
    case.check(3e-5)
