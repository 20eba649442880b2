/* The log-density of complex Gaussian frames, from log-variances that a network gives, in one pass. */
#include "gemm.h"
#include "vector.h"

/* Mantissas are below 2, so that a product of this many is finite. */
#define FACTORS 64

INLINE vf variance(vf raw, float limit) { return vf_exp(vf_min(vf_max(raw, vf_set(-limit)), vf_set(limit))); }

/* Sums over a frame of log(v) and of p / v: the exponents of v are summed as integers and its mantissas multiplied,
 * so that one logarithm serves FACTORS variances and rounds less than they would one by one. */
struct sums {
    vf logs, ratios, product;
    vi exponents;
};

INLINE void add_bins(struct sums *s, vf v, vf p) {
    s->exponents += ((vi)v >> 23) - 127;
    s->product *= (vf)(((vi)v & 0x007fffff) | 0x3f800000);
    s->ratios += p / v;
}

static float frame_log_prob(const float *raw, const float *power, long n, float floor, float limit) {
    struct sums s = {.product = vf_set(1)};
    long j = 0;
    vf ratios = {0}; /* of the parts before: a sum of sums rounds less */
    while (j + LANES <= n) {
        const long stop = n - j < FACTORS * LANES ? n : j + FACTORS * LANES;
        for (; j + LANES <= stop; j += LANES)
            add_bins(&s, variance(vf_load(raw + j), limit) + floor, vf_load(power + j));
        s.logs += vf_log(s.product);
        s.product = vf_set(1);
        ratios += s.ratios;
        s.ratios = vf_set(0);
    }
    if (j < n) {
        vf v = variance(vf_load_part(raw + j, n - j), limit) + floor, one = vf_set(1);
        vf_store_part((float *)&one, v, n - j); /* the lanes beyond the frame count log(1) and 0 / 1 */
        add_bins(&s, one, vf_load_part(power + j, n - j));
        s.logs += vf_log(s.product);
    }
    double total = n * 1.1447298858494002; /* log(pi) */
    for (int i = 0; i < LANES; i++)
        total += (double)s.logs[i] + ratios[i] + s.ratios[i] + s.exponents[i] * 0.6931471805599453;
    return (float)-total;
}

/* out[r] = -sum_f (log(pi) + log(v) + p / v) with v = exp(clamp(raw)) + floor, for n bins a frame. */
void complex_gaussian_forward(float *out, struct rows raw, struct rows power, long outer, long inner, long n,
                              float floor, float limit, long threads) {
    const long rows = outer * inner;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rows; r++)
        out[r] = frame_log_prob(raw.data + r / inner * raw.outer + r % inner * raw.inner,
                                power.data + r / inner * power.outer + r % inner * power.inner, n, floor, limit);
}

/* draw = -gradient * e / v * (1 - p / v) with e = exp(clamp(raw)): as if there were no clamp outside its limits. */
void complex_gaussian_backward(float *draw, const float *gradient, struct rows raw, struct rows power, long outer,
                               long inner, long n, float floor, float limit, long threads) {
    const long rows = outer * inner;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rows; r++) {
        const float *l = raw.data + r / inner * raw.outer + r % inner * raw.inner;
        const float *p = power.data + r / inner * power.outer + r % inner * power.inner;
        float *to = draw + r * n;
        const float scale = -gradient[r];
        long j = 0;
#define BIN(raw, power)                                        \
    const vf e = variance(raw, limit), over = 1.0f / (e + floor); \
    const vf slope = scale * (e * over) * (1.0f - power * over)
        for (; j + LANES <= n; j += LANES) {
            BIN(vf_load(l + j), vf_load(p + j));
            vf_store(to + j, slope);
        }
        if (j < n) {
            BIN(vf_load_part(l + j, n - j), vf_load_part(p + j, n - j));
            vf_store_part(to + j, slope, n - j);
        }
#undef BIN
    }
}
