"""Models that break one promise each: every check of the battery has to notice at least one of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from model_toys import SMALL, X_DIM, Z_DIM, small
from torch import nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.distributions import ComplexGaussian, FixedGaussianLikelihood
from dynvae.models import CVAE, DVAE, ELBO, MDVAE, SRNN, Latents
from dynvae.recurrence import past

BROKEN: dict[str, Callable[[], DVAE]] = {}
"""A model that breaks the promise, by the name of the check."""


def breaks(check: str) -> Callable[[Any], Any]:
    """Register a class (made small) or a function that makes a model."""

    def register(maker: Any) -> Any:
        def make() -> DVAE:
            if not isinstance(maker, type):
                return maker()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return maker(X_DIM, Z_DIM, **SMALL["srnn"])

        assert check not in BROKEN
        BROKEN[check] = make
        return maker

    return register


# ---- interface ---------------------------------------------------------------------------------------------------


@breaks("check_shapes")
class PriorOfScalars(SRNN):
    """The features are part of the batch shape."""

    def prior(self, latents, x, lengths=None):
        return super().prior(latents, x, lengths).base_dist


@breaks("check_single_frame")
class Standardized(SRNN):
    """One frame has no deviation over time."""

    def features(self, x, lengths=None):
        return super().features(x, lengths) / x.std(1, keepdim=True)


@breaks("check_input_is_refused")
class Lenient(SRNN):
    """A typing error in the mode goes unnoticed."""

    def resynthesize(self, x, lengths=None, *, mode="teacher-forced", **options):
        return super().resynthesize(x, lengths, mode=mode if mode == "generation" else "teacher-forced", **options)


@breaks("check_config")
def forgets_an_argument() -> DVAE:
    model = small("srnn")
    del model.config["z_dim"]
    return model


@breaks("check_state_dict")
def hides_a_weight() -> DVAE:
    class Loud(SRNN):
        gain = 1.0

        def features(self, x, lengths=None):
            return self.gain * super().features(x, lengths)

    model = Loud(X_DIM, Z_DIM, **SMALL["srnn"])
    model.gain = 2.0
    return model


@breaks("check_save_load")
def changes_its_likelihood() -> DVAE:
    model = small("srnn", likelihood="fixed_gaussian")
    model.observation = FixedGaussianLikelihood(3.0)
    return model


@breaks("check_no_state_is_kept")
class Remembers(SRNN):
    """The last input stays on the model."""

    def features(self, x, lengths=None):
        self.seen = x
        return super().features(x, lengths)


@breaks("check_text")
class Nameless(SRNN):
    """No title."""

    title = ""


@breaks("check_single_precision")
class AlwaysDouble(SRNN):
    """The decoder's output is made double."""

    def generative(self, latents, x, lengths=None, seen=None):
        prior, likelihood = super().generative(latents, x, lengths, seen)
        return prior, ComplexGaussian(likelihood.log_variance.double())


@breaks("check_observations_of_other_types")
class StrictAboutTypes(SRNN):
    """Observations must have the type of the weights."""

    def features(self, x, lengths=None):
        assert x.dtype == self.weight.dtype
        return super().features(x, lengths)


@breaks("check_device")
class NoiseOnTheDefaultDevice(SRNN):
    """Noise is made wherever tensors are made."""

    def draw_noise(self, batch, time, generator=None):
        return Latents(torch.randn(batch, time, self.z_dim, generator=generator, dtype=self.weight.dtype))


@breaks("check_autocast")
class HalfPrecisionDivergence(SRNN):
    """The prior is computed in whatever type the network gives."""

    def _prior(self, values, latents):
        mean, log_variance = values["prior_net"].chunk(2, -1)
        return Independent(Normal(mean, log_variance.exp()), 1)


@breaks("check_dropout")
def never_stops_dropping() -> DVAE:
    class Drops(SRNN):
        def features(self, x, lengths=None):
            return F.dropout(super().features(x, lengths), 0.5, training=True)

    return Drops(X_DIM, Z_DIM, **SMALL["srnn"], dropout=0.3)


@breaks("check_seeds")
class IgnoresTheGenerator(SRNN):
    """Noise comes from the global generator."""

    def draw_noise(self, batch, time, generator=None):
        return super().draw_noise(batch, time)


# ---- sequences ---------------------------------------------------------------------------------------------------


@breaks("check_padding_is_ignored")
class ForgetsLengths(SRNN):
    """The backward LSTM starts in the padding."""

    def posterior(self, x, lengths=None, **options):
        return super().posterior(x, None, **options)


@breaks("check_padding_gets_no_gradient")
class KeepsThePadding(SRNN):
    """Padding reaches the networks, where NaN times zero is NaN."""

    def features(self, x, lengths=None):
        return super().features(x)


@breaks("check_padded_terms_are_zero")
class CountsThePadding(SRNN):
    """Padded frames have a log-likelihood."""

    def elbo(self, x, lengths=None, **options):
        elbo = super().elbo(x, lengths, **options)
        return dataclasses.replace(elbo, log_likelihood=elbo.log_likelihood - 1)


@breaks("check_batch_equals_loop")
class NormalizesOverTheBatch(SRNN):
    """A sequence depends on its neighbours."""

    def features(self, x, lengths=None):
        seen = super().features(x, lengths)
        return seen - seen.mean(0)


@breaks("check_full_lengths")
class MindsLengths(SRNN):
    """With lengths, even full ones, it does something else."""

    def features(self, x, lengths=None):
        seen = super().features(x, lengths)
        return seen if lengths is None else 0.5 * seen


@breaks("check_lengths_are_refused")
class MendsLengths(SRNN):
    """Lengths that cannot be are made possible without a word."""

    def elbo(self, x, lengths=None, **options):
        return super().elbo(x, None if lengths is None else lengths.clamp(1, x.shape[1]), **options)


@breaks("check_nothing_sees_what_it_predicts")
class Peeks(SRNN):
    """The forward state has seen the present frame."""

    def inference(self, p):
        h = p(self.forward_rnn, p(self.x_net, p.x))
        g = p(self.backward_rnn, p(self.hx_net, h, p.x))
        p.posterior(p(self.encoder, g, past(p.z)))

    def generation(self, p):
        h = p(self.forward_rnn, p(self.x_net, p.x))
        p.prior(p(self.prior_net, h, past(p.z)))
        p.likelihood(p(self.decoder, h, p.z))


@breaks("check_declared_dependencies")
class DeclaresLess(SRNN):
    """Its prior does see x."""

    dependencies = Dependencies(prior="z[t-1]", likelihood="z[t], x[1:t-1]", posterior="z[t-1], x[1:T]")


# ---- bounds ------------------------------------------------------------------------------------------------------


def _with_elbo(change: Callable[[ELBO, int], ELBO]) -> type[DVAE]:
    class Changed(SRNN):
        def elbo(self, x, lengths=None, *, samples=1, **options):
            return change(super().elbo(x, lengths, samples=samples, **options), samples)

    return Changed


def _scaled_kl(elbo: ELBO, factor: float = 1.0, offset: float = 0.0) -> ELBO:
    return dataclasses.replace(elbo, kl=factor * elbo.kl + offset)


breaks("check_kl_is_not_negative")(_with_elbo(lambda elbo, _: _scaled_kl(elbo, offset=-0.5)))
breaks("check_kl_of_equal_laws")(_with_elbo(lambda elbo, _: _scaled_kl(elbo, offset=0.5)))
breaks("check_elbo_terms")(_with_elbo(lambda elbo, _: _scaled_kl(elbo, factor=0.1)))
breaks("check_elbo_averages_samples")(_with_elbo(lambda elbo, samples: _scaled_kl(elbo, factor=samples)))


@breaks("check_elbo_is_expected_log_weight")
class DropsPi(SRNN):
    """The Itakura-Saito divergence for a log-likelihood: a constant is missing, and the bound is none."""

    def elbo(self, x, lengths=None, **options):
        elbo = super().elbo(x, lengths, **options)
        return dataclasses.replace(elbo, log_likelihood=elbo.log_likelihood + self.x_dim * math.log(math.pi))


@breaks("check_bounds_are_ordered")
class HarmonicMean(SRNN):
    """Signs are mixed up: the mean of 1 / weight."""

    def iwae(self, x, lengths=None, *, samples=64, **options):
        weights = super().iwae(x.repeat_interleave(samples, 0), samples=1, **options).unflatten(0, (-1, samples))
        return math.log(samples) - (-weights).logsumexp(1)


@breaks("check_iwae_averages_weights")
class SumsWeights(SRNN):
    """Does not divide by the number of samples."""

    def iwae(self, x, lengths=None, *, samples=64, **options):
        return super().iwae(x, lengths, samples=samples, **options) + math.log(samples)


@breaks("check_gradients_reach_parameters")
def has_an_idle_parameter() -> DVAE:
    model = small("srnn")
    model.idle = nn.Parameter(torch.zeros(2))
    return model


@breaks("check_gradients_are_right")
class CutsTheGraph(SRNN):
    """The decoder's gradient does not reach the encoder."""

    def generative(self, latents, x, lengths=None, seen=None):
        return super().generative(latents._replace(z=latents.z.detach()), x, lengths, seen)


@breaks("check_extreme_inputs")
class Explodes(SRNN):
    """An exponential without a bound."""

    def features(self, x, lengths=None):
        return super().features(x, lengths).exp()


# ---- generation --------------------------------------------------------------------------------------------------


@breaks("check_noise_makes_the_sample")
class Restless(SRNN):
    """The noise is twice what it should be."""

    def posterior(self, x, lengths=None, *, noise=None, generator=None, latents=None):
        noise = None if noise is None else Latents(2 * noise.z + 1)
        return super().posterior(x, lengths, noise=noise, generator=generator, latents=latents)


@breaks("check_posterior_along_a_path")
class LosesThePath(SRNN):
    """Along a given path, it starts from the path's end."""

    def posterior(self, x, lengths=None, *, latents=None, **options):
        if latents is None:
            return super().posterior(x, lengths, **options)
        rolled = super().posterior(x, lengths, latents=Latents(latents.z.flip(1)))
        return rolled._replace(latents=latents)


@breaks("check_generative_is_both")
class TwoLikelihoods(SRNN):
    """The likelihood is not that of the bound."""

    def likelihood(self, latents, x, lengths=None, seen=None):
        return ComplexGaussian(super().likelihood(latents, x, lengths, seen).log_variance + 1)


@breaks("check_step_equals_parallel")
class Stuck(SRNN):
    """A step does not move the LSTM on."""

    def advance(self, state, z, x):
        stuck = {name: state.before[name] for name in ("forward_rnn", "forward_rnn.cell")}
        return self._head(super().advance(state, z, x).before | stuck, {}, state.origin)


@breaks("check_step_draws_from_its_laws")
class FeedsNoiseBack(SRNN):
    """What a step hands on is not the likelihood's mean."""

    def step(self, state, *, z=None, x=None, generator=None):
        frame, state = super().step(state, z=z, x=x, generator=generator)
        return frame._replace(x=2 * frame.x), state


@breaks("check_generation_mode")
class AlwaysTeacherForced(SRNN):
    """Generation mode is not one."""

    def resynthesize(self, x, lengths=None, *, mode="teacher-forced", **options):
        return super().resynthesize(x, lengths, **options)


@breaks("check_free_running")
class NeverFree(SRNN):
    """Scheduled sampling is ignored."""

    def elbo(self, x, lengths=None, *, free_running=0.0, **options):
        return super().elbo(x, lengths, **options)


@breaks("check_sample")
class NegativePower(SRNN):
    """A power below zero."""

    def sample(self, n, length, **options):
        drawn = super().sample(n, length, **options)
        return drawn._replace(x=-drawn.x, mean=-drawn.mean)


@breaks("check_sample_follows_the_model")
class OtherMeans(SRNN):
    """The means are louder than the model's."""

    def sample(self, n, length, **options):
        drawn = super().sample(n, length, **options)
        return drawn._replace(mean=1.01 * drawn.mean)


@breaks("check_sample_follows_the_prior")
class NarrowSamples(SRNN):
    """The latents are drawn from something narrower than the prior."""

    def step_prior(self, state) -> Any:
        prior = super().step_prior(state).base_dist
        narrow = Normal(prior.loc, 0.8 * prior.scale)
        return Independent(narrow, 1)

    def _sample(self, *arguments):
        return DVAE._sample(self, *arguments)


# ---- conditions --------------------------------------------------------------------------------------------------


def conditioned(kind: type[DVAE]) -> DVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(X_DIM, Z_DIM, **SMALL["av-cvae"])


@breaks("check_gaps_are_ignored")
def looks_into_gaps() -> DVAE:
    class Curious(CVAE):
        """The presence mask is ignored."""

        def _given(self, condition, x, samples=1):
            return super()._given(None if condition is None else Condition.of(condition.features), x, samples)

    return conditioned(Curious)


@breaks("check_no_condition_is_one_gap")
def imagines_a_condition() -> DVAE:
    class Imaginative(CVAE):
        """Without a condition, there is one of zeros."""

        def elbo(self, x, lengths=None, *, condition=None, **options):
            if condition is None:
                condition = Condition.of(x.new_ones(*x.shape[:2], self.condition_dim))
            return super().elbo(x, lengths, condition=condition, **options)

    return conditioned(Imaginative)


@breaks("check_condition_in_batches")
def mixes_conditions() -> DVAE:
    class Mixing(CVAE):
        """All sequences of a batch see the condition of the first."""

        def _given(self, condition, x, samples=1):
            given = super()._given(condition, x, samples)
            return {key: Condition(*(part[:1].expand_as(part) for part in value)) for key, value in given.items()}

    return conditioned(Mixing)


@breaks("check_condition_step_by_step")
def always_sees_the_first_frame() -> DVAE:
    class Slow(CVAE):
        """Step by step, every frame sees the condition of the first."""

        def advance(self, state, z, x):
            return super().advance(state._replace(frame=-1), z, x)

    return conditioned(Slow)


@breaks("check_condition_is_refused")
def takes_anything() -> DVAE:
    class Careless(CVAE):
        """Nothing is looked at."""

        def _given(self, condition, x, samples=1):
            return {}

    return conditioned(Careless)


@breaks("check_bound_given_the_condition")
def forgets_the_condition_in_the_bound() -> DVAE:
    class Forgetful(CVAE):
        """The divergence is halved."""

        def elbo(self, x, lengths=None, **options):
            elbo = super().elbo(x, lengths, **options)
            return dataclasses.replace(elbo, kl=0.5 * elbo.kl)

    return conditioned(Forgetful)


# ---- parts in order ----------------------------------------------------------------------------------------------


@breaks("check_parts_are_inferred_in_order")
def looks_at_later_parts() -> DVAE:
    class Backwards(MDVAE):
        """Each part of a latent is inferred from those after it, too."""

        def posterior(self, x, lengths=None, *, latents=None, **options):
            found = super().posterior(x, lengths, latents=latents, **options)
            if latents is None:
                return found
            law = Independent(Normal(found.z.mean + 0.1 * latents.z.flip(-1), found.z.stddev), 1)
            return found._replace(z=law)

    model = small("mdvae")
    model.__class__ = Backwards
    return model
