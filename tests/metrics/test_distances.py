"""Both distances against textbook computations, known Gaussians, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dynvae.metrics import compare, frechet_distance, kernel_distance


def features(n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    """Correlated features of uneven size, away from zero."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return scale * noise @ mixing * torch.linspace(0.01, 3, d, dtype=torch.float64) + 0.1 * seed


def textbook(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance as everybody writes it, with a square root of a matrix."""
    linalg = pytest.importorskip("scipy.linalg")
    moments = [(x.mean(0), torch.cov(x.T)) for x in (a, b)]
    (mean_a, cov_a), (mean_b, cov_b) = moments
    root = linalg.sqrtm((cov_a @ cov_b).numpy())
    trace = cov_a.trace() + cov_b.trace() - 2 * float(root.trace().real)
    return float((mean_a - mean_b).square().sum() + trace)


def through_eigenvalues(a: Tensor, b: Tensor) -> float:
    """The same through the eigenvalues of S_a^½ S_b S_a^½."""
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap)


def exactly(mean: Tensor, deviations: Tensor, n: int, seed: int) -> Tensor:
    """Samples whose own moments are exactly these, the covariance diagonal."""
    d = len(deviations)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    white = torch.linalg.qr(noise - noise.mean(0)).Q * math.sqrt(n - 1)
    return white * deviations + mean


@pytest.mark.parametrize(("n", "d"), [(60, 12), (40, 39), (300, 64), (13, 12)])
def test_frechet_distance_is_the_textbooks(n: int, d: int) -> None:
    a, b = features(n, d, 1), features(n, d, 2, 1.5)
    found = frechet_distance(a, b)
    assert found.mean == pytest.approx(textbook(a, b), rel=1e-6)
    assert found.mean == pytest.approx(through_eigenvalues(a, b), rel=1e-8)
    assert found.deviation == 0


@pytest.mark.parametrize(("n", "d"), [(10, 30), (12, 12), (31, 30), (2, 5)])
def test_with_fewer_samples_than_features(n: int, d: int) -> None:
    a, b = features(n, d, 3), features(n, d, 4, 0.5)
    assert frechet_distance(a, b).mean == pytest.approx(through_eigenvalues(a, b), rel=1e-6)


@pytest.mark.parametrize("d", [7, 40])
def test_both_routes_agree(d: int) -> None:
    """Features of zeros beside the others change nothing, but take n from above d to below it."""
    a, b = features(20, d, 5), features(20, d, 6)
    wide = [torch.cat([x, torch.zeros(20, 50, dtype=torch.float64)], 1) for x in (a, b)]
    assert frechet_distance(*wide).mean == pytest.approx(frechet_distance(a, b).mean, rel=1e-10)


@pytest.mark.parametrize("n", [50, 9])
def test_known_gaussians(n: int) -> None:
    """|m - m'|² + |s - s'|² for diagonal covariances s², s'²; with n = 9 there are fewer samples than features."""
    d = 8
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, d, generator=generator, dtype=torch.float64)
    deviations = torch.rand(2, d, generator=generator, dtype=torch.float64) + 0.1
    a, b = (exactly(mean, deviation, n, 1) for mean, deviation in zip(means, deviations, strict=True))
    if n == 9:
        a, b = (torch.cat([x, torch.zeros(n, 30, dtype=torch.float64)], 1) for x in (a, b))
    expected = float((means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum())
    assert frechet_distance(a, b).mean == pytest.approx(expected, abs=1e-9)


def test_rotated_gaussians() -> None:
    """Covariances that do not commute: in two dimensions Tr (S S')^½ = √(Tr S S' + 2 √(|S| |S'|))."""
    a, b = (exactly(torch.zeros(2).double(), torch.tensor(s).double(), 40, 3) for s in ([1.0, 2.0], [3.0, 0.5]))
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    b = b @ turn
    s, t = torch.cov(a.T), torch.cov(b.T)
    overlap = math.sqrt(float((s @ t).trace()) + 2 * math.sqrt(float(s.det() * t.det())))
    expected = float(s.trace() + t.trace()) - 2 * overlap
    assert frechet_distance(a, b).mean == pytest.approx(expected, abs=1e-10)


def test_distance_to_itself_is_zero_and_order_does_not_matter() -> None:
    a, b = features(30, 50, 7), features(30, 50, 8)
    assert frechet_distance(a, a).mean == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b).mean == pytest.approx(frechet_distance(b, a).mean, rel=1e-12)
    assert kernel_distance(a, b).mean == pytest.approx(kernel_distance(b, a).mean, rel=1e-12)


def test_bias_of_few_samples_is_as_large_as_said() -> None:
    """The same law, n of the order of d: the estimate is far from zero, and the floor says so."""
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(128, 100, generator=generator) for _ in range(3)]
    found = compare(*sets, splits=1)
    assert found.frechet.mean > 30
    assert found.frechet.mean == pytest.approx(found.frechet_floor.mean, rel=0.1)
    assert abs(found.kernel.mean) < 0.05


@pytest.mark.parametrize("n", [5, 1500])
def test_kernel_distance_is_its_definition(n: int) -> None:
    a, b = features(n, 3, 9), features(n, 3, 10)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return ((x[:, None] * y[None]).mean(-1) + 1) ** 3

    def off_diagonal(k: Tensor) -> float:
        return float(k.sum() - k.diagonal().sum()) / (n * (n - 1))

    expected = off_diagonal(kernel(a, a)) + off_diagonal(kernel(b, b)) - 2 * float(kernel(a, b).mean())
    assert kernel_distance(a, b).mean == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(1)
    draws = [kernel_distance(*torch.randn(2, 8, 4, generator=generator)).mean for _ in range(400)]
    mean, deviation = torch.tensor(draws).mean(), torch.tensor(draws).std()
    assert abs(mean) < 3 * deviation / math.sqrt(len(draws))
    assert min(draws) < 0 < max(draws)


def test_parts() -> None:
    a, b = features(40, 6, 11), features(40, 6, 12)
    for distance in (frechet_distance, kernel_distance):
        parts = torch.tensor([distance(a[k : k + 10], b[k : k + 10]).mean for k in range(0, 40, 10)])
        found = distance(a, b, splits=4)
        assert found.mean == pytest.approx(float(parts.mean()), rel=1e-6)
        assert found.deviation == pytest.approx(float(parts.std(correction=0)), rel=1e-5)


def test_float32_features_are_computed_in_float64() -> None:
    a, b = (features(30, 10, seed).float() for seed in (13, 14))
    assert frechet_distance(a, b) == frechet_distance(a.double(), b.double())


def test_comparison_as_plain_values() -> None:
    found = compare(features(20, 3, 1), features(20, 3, 2), features(20, 3, 3), splits=2).to_dict()
    assert (found["n"], found["d"], found["splits"]) == (20, 3, 2)
    assert set(found["frechet_floor"]) == {"mean", "deviation"}


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_what_is_refused(distance) -> None:
    a = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    for b, splits, message in [
        (a[:9], 1, "equally many samples"),
        (a[:, :2], 1, "equally many samples and features"),
        (a, 3, "10 samples cannot be split into 3 equal parts"),
        (a, 10, "parts of two or more"),
        (a, 0, "cannot be split"),
        (a[0], 1, r"must be \(n, d\)"),
        (a / 0, 1, "NaN or infinity"),
    ]:
        with pytest.raises(ValueError, match=message):
            distance(a, b, splits)
