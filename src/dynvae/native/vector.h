/* The machine's widest float vector, and the elementary functions on it.
 *
 * Everything is GCC's vector extension (clang has it too), so that one source serves AVX-512, AVX2, SSE and NEON.
 * The functions keep to 3e-7 of the true value, give the right limits at +-infinity, and let NaN through.
 * They need strict float arithmetic: -ffast-math would remove the rounding by a large constant in vf_exp.
 */
#ifndef DYNVAE_VECTOR_H
#define DYNVAE_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
typedef float vf_anywhere __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

INLINE vf vf_set(float x) { return x - (vf){0}; }
INLINE vi vi_set(int32_t x) { return x - (vi){0}; }
INLINE vf vf_load(const float *p) { return *(const vf_anywhere *)p; }
INLINE void vf_store(float *p, vf x) { *(vf_anywhere *)p = x; }

/* The first n < LANES numbers at p; the other lanes are zero. */
INLINE vf vf_load_part(const float *p, long n) {
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    vf x = {0};
    memcpy(&x, p, (size_t)n * sizeof(float));
    return x;
#endif
}

INLINE void vf_store_part(float *p, vf x, long n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
    memcpy(p, &x, (size_t)n * sizeof(float));
#endif
}

/* Lane by lane: a where the mask (the result of a comparison) is true, else b. */
INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* The smaller and the larger one; NaN in x stays, which is why the processor's own instructions get x second. */
#if defined(__AVX512F__)
INLINE vf vf_min(vf x, vf bound) { return (vf)_mm512_min_ps((__m512)bound, (__m512)x); }
INLINE vf vf_max(vf x, vf bound) { return (vf)_mm512_max_ps((__m512)bound, (__m512)x); }
#elif defined(__AVX__)
INLINE vf vf_min(vf x, vf bound) { return (vf)_mm256_min_ps((__m256)bound, (__m256)x); }
INLINE vf vf_max(vf x, vf bound) { return (vf)_mm256_max_ps((__m256)bound, (__m256)x); }
#else
INLINE vf vf_min(vf x, vf bound) { return vf_select(x > bound, bound, x); }
INLINE vf vf_max(vf x, vf bound) { return vf_select(x < bound, bound, x); }
#endif
INLINE vf vf_abs(vf x) { return (vf)((vi)x & vi_set(0x7fffffff)); }
INLINE vf vf_copysign(vf size, vf sign) { return (vf)(((vi)sign & vi_set(INT32_MIN)) | (vi)size); }

INLINE float vf_sum(vf x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

/* exp(x) = 2^n exp(r) with n whole and |r| <= ln(2) / 2. */
INLINE vf vf_exp(vf x) {
    const vf round = vf_set(12582912.0f); /* 1.5 * 2^23: adding it leaves no room for a fraction */
    x = vf_min(vf_max(x, vf_set(-104.0f)), vf_set(89.0f));
    vf shifted = x * 1.44269504f + round;
    vf n = shifted - round;
    vf r = x - n * 0.693359375f; /* ln(2) in two parts, the first short enough to be exact in the product */
    r = r + n * 2.12194440e-4f;
    vf y = r * (1.0f / 5040) + 1.0f / 720;
    y = y * r + 1.0f / 120;
    y = y * r + 1.0f / 24;
    y = y * r + 1.0f / 6;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    /* 2^n in two factors, so that n = 128 and the subnormal results are reached. */
    vi whole = (vi)shifted - (vi)round;
    vi half = whole >> 1;
    vf first = (vf)((half + 127) << 23), second = (vf)((whole - half + 127) << 23);
    return y * first * second;
}

/* log(x) = e ln(2) + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = 2 artanh(f / (2 + f)). */
INLINE vf vf_log(vf x) {
    vi subnormal = x < 1.17549435e-38f;
    vf scaled = vf_select(subnormal, x * 8388608.0f, x);
    vi bits = (vi)scaled - 0x3f3504f3; /* sqrt(1/2) */
    vi exponent = bits >> 23;
    vf f = (vf)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    vf e = __builtin_convertvector(exponent, vf) - vf_select(subnormal, vf_set(23.0f), vf_set(0.0f));
    vf s = f / (f + 2.0f), q = s * s;
    vf y = q * (1.0f / 9) + 1.0f / 7;
    y = y * q + 1.0f / 5;
    y = y * q + 1.0f / 3;
    y = (y * q) * s * 2.0f + s * 2.0f;
    y = e * 0.693359375f + (y - e * 2.12194440e-4f);
    y = vf_select(x == 0.0f, vf_set(-INFINITY), y);
    y = vf_select(x < 0.0f, vf_set(NAN), y);
    return vf_select((x == INFINITY) | (x != x), x, y);
}

/* x P(x^2) / Q(x^2), the least relative error (2e-8) where |x| <= 9.01; beyond, tanh is 1 in this precision. */
INLINE vf vf_tanh(vf x) {
    x = vf_min(vf_max(x, vf_set(-9.01f)), vf_set(9.01f));
    vf q = x * x;
    vf over = q * 1.3335601e-8f + 2.0595377e-5f;
    over = over * q + 3.4947575e-3f;
    over = over * q + 1.3380328e-1f;
    over = over * q + 1.0f;
    vf under = q * 7.7687718e-7f + 3.2842743e-4f;
    under = under * q + 2.5873825e-2f;
    under = under * q + 4.6713641e-1f;
    under = under * q + 1.0f;
    return vf_min(vf_max(x * over / under, vf_set(-1.0f)), vf_set(1.0f));
}

INLINE vf vf_sigmoid(vf x) { return 1.0f / (1.0f + vf_exp(-x)); }
INLINE vf vf_relu(vf x) { return vf_max(x, vf_set(0.0f)); }
INLINE vf vf_leaky_relu(vf x) { return vf_select(x < 0.0f, x * 0.01f, x); }
INLINE vf vf_elu(vf x) { return vf_select(x < 0.0f, vf_exp(x) - 1.0f, x); }

/* max(x, 0) + log(1 + u) with u = exp(-|x|); the ratio undoes what 1 + u rounds away. */
INLINE vf vf_softplus(vf x) {
    vf u = vf_exp(-vf_abs(x)), w = u + 1.0f, d = w - 1.0f;
    vf tail = vf_select(d == 0.0f, u, vf_log(w) * (u / d));
    return vf_relu(x) + tail;
}

/* The order is part of the interface: Python passes these numbers. */
enum activation { IDENTITY, TANH, SIGMOID, RELU, ELU, LEAKY_RELU, EXP, SOFTPLUS };

INLINE vf vf_activate(enum activation kind, vf x) {
    switch (kind) {
        case TANH: return vf_tanh(x);
        case SIGMOID: return vf_sigmoid(x);
        case RELU: return vf_relu(x);
        case ELU: return vf_elu(x);
        case LEAKY_RELU: return vf_leaky_relu(x);
        case EXP: return vf_exp(x);
        case SOFTPLUS: return vf_softplus(x);
        default: return x;
    }
}

/* The derivative of the activation at the point where its value is y. */
INLINE vf vf_derivative(enum activation kind, vf y) {
    const vf one = vf_set(1.0f), zero = vf_set(0.0f);
    switch (kind) {
        case TANH: return 1.0f - y * y;
        case SIGMOID: return y * (1.0f - y);
        case RELU: return vf_select(y > 0.0f, one, zero);
        case ELU: return vf_select(y > 0.0f, one, y + 1.0f);
        case LEAKY_RELU: return vf_select(y > 0.0f, one, vf_set(0.01f));
        case EXP: return y;
        case SOFTPLUS: return 1.0f - vf_exp(-y);
        default: return one;
    }
}

/* One case of the switch for each loop, so that the choice is made once and the loop is straight code. */
#define FOR_EACH_ACTIVATION(kind, LOOP)        \
    switch (kind) {                            \
        case TANH: LOOP(TANH); break;          \
        case SIGMOID: LOOP(SIGMOID); break;    \
        case RELU: LOOP(RELU); break;          \
        case ELU: LOOP(ELU); break;            \
        case LEAKY_RELU: LOOP(LEAKY_RELU); break; \
        case EXP: LOOP(EXP); break;            \
        case SOFTPLUS: LOOP(SOFTPLUS); break;  \
        default: LOOP(IDENTITY); break;        \
    }

/* y = activation(x), n numbers; y may be x. */
void activate(enum activation kind, float *y, const float *x, long n);
/* out = gradient * activation'(at the output y), n numbers; out may be gradient. */
void activate_backward(enum activation kind, float *out, const float *gradient, const float *y, long n);

#endif
