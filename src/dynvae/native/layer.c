/* A linear layer with its activation, forward and backward, over rows that threads share. */
#include "gemm.h"
#include "vector.h"

/* Rows that stay in the second-level cache between the product and what is done to its result. */
#define CHUNK (8 * gemm_tall)

/* Rows `first` to `first + count` with one stride between them: as they lie where possible, else copied. */
static const float *even_rows(struct rows x, long inner, long first, long count, long k, long *stride) {
    const long o = first / inner, i = first % inner;
    const float *begin = x.data + o * x.outer + i * x.inner;
    *stride = inner > 1 ? x.inner : x.outer;
    if (i + count <= inner || inner == 1 || x.outer == inner * x.inner) return begin;
    float *copy = gemm_workspace(SLOT_ROWS, (size_t)(count * k));
    gemm_gather(copy, x, inner, first, count, k);
    *stride = k;
    return copy;
}

static float *pack_shared(const float *w, long ldw, long n, long k, int transposed, long threads) {
    float *packed = gemm_workspace(SLOT_PACKED, gemm_packed_size(n, k));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long from = gemm_share(n, 2 * LANES, t, threads), to = gemm_share(n, 2 * LANES, t + 1, threads);
        if (from == to) continue;
        if (transposed)
            gemm_pack_transposed(packed + from * k, w + from, ldw, to - from, k);
        else
            gemm_pack(packed + from * k, w + from * ldw, ldw, to - from, k);
    }
    return packed;
}

/* y = activation(y + bias + add), rows `first` on; bias and add.data may be NULL. */
static void finish(float *y, long count, long n, const float *bias, struct rows add, long inner, long first,
                   enum activation kind) {
    for (long r = first; r < first + count; r++, y += n) {
        const float *extra = add.data ? add.data + r / inner * add.outer + r % inner * add.inner : NULL;
#define LOOP(KIND)                                                                 \
    {                                                                              \
        long j = 0;                                                                \
        for (; j + LANES <= n; j += LANES) {                                       \
            vf v = vf_load(y + j);                                                 \
            if (bias) v += vf_load(bias + j);                                      \
            if (extra) v += vf_load(extra + j);                                    \
            vf_store(y + j, vf_activate(KIND, v));                                 \
        }                                                                          \
        if (j < n) {                                                               \
            vf v = vf_load_part(y + j, n - j);                                     \
            if (bias) v += vf_load_part(bias + j, n - j);                          \
            if (extra) v += vf_load_part(extra + j, n - j);                        \
            vf_store_part(y + j, vf_activate(KIND, v), n - j);                     \
        }                                                                          \
    }
        FOR_EACH_ACTIVATION(kind, LOOP)
#undef LOOP
    }
}

/* y (rows, n) = activation(x W^T + bias + add), where w is (n, k) and x and add are (outer, inner, .). */
void layer_forward(float *y, struct rows x, long outer, long inner, const float *w, long ldw, const float *bias,
                   struct rows add, long n, long k, int kind, long threads) {
    const long rows = outer * inner;
    const float *packed = pack_shared(w, ldw, n, k, 0, threads);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long end = gemm_share(rows, gemm_tall, t + 1, threads);
        for (long r = gemm_share(rows, gemm_tall, t, threads), count; r < end; r += count) {
            count = end - r < CHUNK ? end - r : CHUNK;
            long stride;
            const float *a = even_rows(x, inner, r, count, k, &stride);
            gemm_packed(y + r * n, n, a, stride, packed, count, n, k, 0);
            if (bias || add.data || kind != IDENTITY) finish(y + r * n, count, n, bias, add, inner, r, kind);
        }
    }
}

/* y = activation(y + bias + add) for a product that is already there. */
void layer_finish(float *y, long outer, long inner, const float *bias, struct rows add, long n, int kind,
                  long threads) {
    const long rows = outer * inner;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long begin = gemm_share(rows, 1, t, threads), end = gemm_share(rows, 1, t + 1, threads);
        finish(y + begin * n, end - begin, n, bias, add, inner, begin, kind);
    }
}

/* drive = gradient * activation'(y), and the sum of its rows added to `bias_sum`; y is the output. */
static void backward_rows(float *drive, const float *gradient, const float *y, long count, long n, float *bias_sum,
                          enum activation kind) {
    if (kind != IDENTITY) activate_backward(kind, drive, gradient, y, count * n);
    if (!bias_sum) return;
    for (long r = 0; r < count; r++, drive += n) {
        long j = 0;
        for (; j + LANES <= n; j += LANES) vf_store(bias_sum + j, vf_load(bias_sum + j) + vf_load(drive + j));
        for (; j < n; j++) bias_sum[j] += drive[j];
    }
}

/* dw = sum of d^T x over many rows: each thread sums its share of them, so that each reads only its own. */
static void sum_shares(float *dw, struct rows d, struct rows x, long outer, long inner, long n, long k,
                       long threads) {
    float *parts = gemm_workspace(SLOT_PARTS, (size_t)((threads - 1) * n * k));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long all = outer == 1 ? inner : outer;
        const long from = gemm_share(all, 1, t, threads), count = gemm_share(all, 1, t + 1, threads) - from;
        const long step_d = outer == 1 ? d.inner : d.outer, step_x = outer == 1 ? x.inner : x.outer;
        const struct rows my_d = {d.data + from * step_d, d.outer, d.inner};
        const struct rows my_x = {x.data + from * step_x, x.outer, x.inner};
        gemm_tn(t ? parts + (t - 1) * n * k : dw, k, my_d, my_x, outer == 1 ? 1 : count, outer == 1 ? count : inner, n,
                k, 0);
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long to = gemm_share(n * k, 1, t + 1, threads);
        for (long part = 0; part < threads - 1; part++)
            for (long j = gemm_share(n * k, 1, t, threads); j < to; j++) dw[j] += parts[part * n * k + j];
    }
}

/* The same where the rows are few: each thread has its share of the longer side of the weight. */
static void share_sums(float *dw, struct rows d, struct rows x, long outer, long inner, long n, long k,
                       long threads) {
    const int by_output = n >= k;
    const long side = by_output ? n : k, unit = by_output ? gemm_tall : 2 * LANES;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long from = gemm_share(side, unit, t, threads), count = gemm_share(side, unit, t + 1, threads) - from;
        const struct rows my_d = {d.data + from, d.outer, d.inner}, my_x = {x.data + from, x.outer, x.inner};
        if (count && by_output) gemm_tn(dw + from * k, k, my_d, x, outer, inner, count, k, 0);
        if (count && !by_output) gemm_tn(dw + from, k, d, my_x, outer, inner, n, count, 0);
    }
}

/* From the gradient of the output (rows, n) those of the pre-activation, the input, the weight and the bias.
 *
 * `drive` holds the gradient of the pre-activation; with the identity, pass the gradient of the output itself.
 * dx (rows, k), dw (n, k) and dbias may be NULL.
 */
void layer_backward(float *drive, float *dx, float *dw, float *dbias, const float *gradient, const float *y,
                    struct rows x, long outer, long inner, const float *w, long ldw, long n, long k, int kind,
                    long threads) {
    const long rows = outer * inner;
    const float *packed = dx ? pack_shared(w, ldw, k, n, 1, threads) : NULL;
    float *sums = dbias ? gemm_workspace(SLOT_SUMS, (size_t)(threads * n)) : NULL;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        const long end = gemm_share(rows, gemm_tall, t + 1, threads);
        float *sum = sums ? sums + t * n : NULL;
        if (sum) memset(sum, 0, (size_t)n * sizeof(float));
        for (long r = gemm_share(rows, gemm_tall, t, threads), count; r < end; r += count) {
            count = end - r < CHUNK ? end - r : CHUNK;
            backward_rows(drive + r * n, gradient + r * n, y + r * n, count, n, sum, kind);
            if (dx) gemm_packed(dx + r * k, k, drive + r * n, n, packed, count, k, n, 0);
        }
    }
    for (long j = 0; dbias && j < n; j++) {
        double total = 0;
        for (long t = 0; t < threads; t++) total += sums[t * n + j];
        dbias[j] = (float)total;
    }
    const struct rows d = {drive, inner * n, n};
    if (dw && (outer == 1 || outer >= 8 * threads) && rows >= 1024 * threads)
        sum_shares(dw, d, x, outer, inner, n, k, threads);
    else if (dw)
        share_sums(dw, d, x, outer, inner, n, k, threads);
}
