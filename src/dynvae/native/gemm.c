/* How the products go: the right factor lies in panels of WIDE columns, each panel contiguous along the contraction.
 * A kernel keeps a tile of C (some rows by some panels) in registers and runs along the contraction: per step it
 * loads one row of each panel and one number of each of its rows of A, and multiplies them all with each other.
 */
#if defined(__GNUC__) && !defined(__clang__)
/* The addresses of a tile are best left as they are written; and -O3 takes twice the time for nothing. */
#pragma GCC optimize("O2", "no-ivopts")
#endif

#include "gemm.h"

#include <stdio.h>
#include <stdlib.h>

#include "vector.h"

#define WIDE (2 * LANES)

/* Rows of the tallest tile: its accumulators, two loads of the panel and one broadcast fill the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define TALL 12
#else
#define TALL 6
#endif

/* A block of the packed factor, at most BLOCK numbers, stays in the second-level cache while CHUNK rows pass by. */
#define DEEP 576
#define BLOCK (DEEP * 256)
#define CHUNK (TALL * 16)

const long gemm_tall = TALL;

float *gemm_allocate(size_t floats) {
    float *memory = aligned_alloc(64, (floats * sizeof(float) + 64) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "dynvae: no memory for %zu floats\n", floats);
        abort();
    }
    return memory;
}

float *gemm_workspace(enum gemm_slot slot, size_t floats) {
    static _Thread_local struct { float *data; size_t floats; } kept[SLOTS];
    if (floats > kept[slot].floats) {
        free(kept[slot].data);
        kept[slot].data = gemm_allocate(floats);
        kept[slot].floats = floats;
    }
    return kept[slot].data;
}

/* Columns up to and with the last panel, which may be one vector wide. */
static long padded(long n) { return (n + LANES - 1) / LANES * LANES; }

size_t gemm_packed_size(long n, long k) { return (size_t)padded(n) * (size_t)k; }

static long panel_width(long n, long column) { return n - column > LANES ? WIDE : LANES; }

typedef float quad __attribute__((vector_size(16), may_alias));
typedef float quad_anywhere __attribute__((vector_size(16), may_alias, aligned(4)));
#if defined(__clang__)
#define SHUFFLE(x, y, i, j, k, l) __builtin_shufflevector(x, y, i, j, k, l)
#else
#define SHUFFLE(x, y, i, j, k, l) __builtin_shuffle(x, y, (int __attribute__((vector_size(16)))){i, j, k, l})
#endif

/* to[i * width + j] = from[j * ld + i] for i, j < 4. */
INLINE void transpose_quad(float *to, long width, const float *from, long ld) {
    quad row[4], pair[4];
    for (int j = 0; j < 4; j++) row[j] = *(const quad_anywhere *)(from + j * ld);
    for (int j = 0; j < 2; j++) {
        pair[j] = SHUFFLE(row[j], row[j + 2], 0, 4, 1, 5);
        pair[j + 2] = SHUFFLE(row[j], row[j + 2], 2, 6, 3, 7);
    }
    for (int j = 0; j < 4; j += 2) {
        *(quad_anywhere *)(to + j * width) = SHUFFLE(pair[j], pair[j + 1], 0, 4, 1, 5);
        *(quad_anywhere *)(to + (j + 1) * width) = SHUFFLE(pair[j], pair[j + 1], 2, 6, 3, 7);
    }
}

void gemm_pack(float *packed, const float *w, long ldw, long n, long k) {
    for (long column = 0; column < n; column += WIDE) {
        const long width = panel_width(n, column), given = n - column < width ? n - column : width;
        const float *from = w + column * ldw;
        for (long j = 0; j < width; j += 4) {
            long i = 0;
            if (j + 4 <= given)
                for (; i + 4 <= k; i += 4) transpose_quad(packed + i * width + j, width, from + j * ldw + i, ldw);
            for (; i < k; i++)
                for (long l = j; l < j + 4; l++) packed[i * width + l] = l < given ? from[l * ldw + i] : 0;
        }
        packed += k * width;
    }
}

void gemm_pack_transposed(float *packed, const float *w, long ldw, long n, long k) {
    for (long column = 0; column < n; column += WIDE) {
        const long width = panel_width(n, column), given = n - column < width ? n - column : width;
        for (long i = 0; i < k; i++, packed += width) {
            memcpy(packed, w + i * ldw + column, (size_t)given * sizeof(float));
            for (long j = given; j < width; j++) packed[j] = 0;
        }
    }
}

/* The size of each part but the last, where a length is cut into even parts of at most `most`. */
static long part(long length, long most) {
    const long parts = (length + most - 1) / most;
    return parts ? (length + parts - 1) / parts : 1;
}

/* Where a tile takes its numbers of A: row m, step i at a + m * row + i * step. */
struct left {
    const float *a;
    long row, step;
};

/* One tile: M rows of A by PANELS panels of V vectors each, of which `columns` columns are real.
 *
 * UNROLL sums run side by side where the tile alone has too few of them to keep the multipliers busy.
 * The sizes are constants wherever this is called, so that the compiler makes a kernel for each.
 */
INLINE void tile(const long M, const long PANELS, const long V, const long UNROLL, float *c, long ldc, struct left a,
                 const float *b, long panel, long k, long columns, int accumulate) {
    enum { MOST = 32 };
    vf sum[MOST];
#define EACH(index, count) _Pragma("GCC unroll 32") for (long index = 0; index < (count); index++)
#define SUM(u, m, p, v) sum[(((u)*M + (m)) * PANELS + (p)) * V + (v)]
#define STEP(i, u)                                                                     \
    {                                                                                  \
        vf row[8];                                                                     \
        EACH(p, PANELS) EACH(v, V) row[p * V + v] = vf_load(b + p * panel + ((i)*V + v) * LANES); \
        EACH(m, M) {                                                                   \
            const vf x = vf_set(a.a[m * a.row + (i)*a.step]);                          \
            EACH(p, PANELS) EACH(v, V) SUM(u, m, p, v) += x * row[p * V + v];          \
        }                                                                              \
    }
    /* The next tile's place in C, which this tile's work gives the time to fetch. */
    EACH(m, M) EACH(p, PANELS) EACH(v, V) __builtin_prefetch(c + m * ldc + ((PANELS + p) * V + v) * LANES, 1);
    EACH(s, UNROLL * M * PANELS * V) sum[s] = vf_set(0);
    long i = 0;
    for (; i + UNROLL <= k; i += UNROLL) EACH(u, UNROLL) STEP(i + u, u)
    for (; i < k; i++) STEP(i, 0)
    EACH(m, M) EACH(p, PANELS) EACH(v, V) {
        vf total = SUM(0, m, p, v);
        EACH(u, UNROLL - 1) total += SUM(u + 1, m, p, v);
        const long column = (p * V + v) * LANES, left = columns - column;
        float *to = c + m * ldc + column;
        if (left >= LANES) {
            if (accumulate) total += vf_load(to);
            vf_store(to, total);
        } else if (left > 0) {
            if (accumulate) total += vf_load_part(to, left);
            vf_store_part(to, total, left);
        }
    }
#undef STEP
#undef SUM
#undef EACH
}

/* M rows by all the columns of a packed block: tiles of several panels where M is small, then the rest.
 *
 * The block begins `skip` steps into its panels, which lie `panel` numbers apart.
 */
INLINE void strip(const long M, float *c, long ldc, struct left a, const float *b, long skip, long panel, long k,
                  long columns, int accumulate) {
    const long PANELS = M * 8 <= 2 * TALL ? 4 : M * 4 <= 2 * TALL ? 2 : 1;
    const long UNROLL = M >= 4 ? 1 : M >= 2 ? 2 : 4;
    if (PANELS > 1) {
        for (; columns > (PANELS - 1) * WIDE + LANES; columns -= PANELS * WIDE) {
            tile(M, PANELS, 2, 1, c, ldc, a, b + skip * WIDE, panel, k, columns, accumulate);
            b += PANELS * panel;
            c += PANELS * WIDE;
        }
    }
    for (; columns > LANES; columns -= WIDE) {
        tile(M, 1, 2, UNROLL, c, ldc, a, b + skip * WIDE, panel, k, columns, accumulate);
        b += panel;
        c += WIDE;
    }
    if (columns > 0) tile(M, 1, 1, 2 * UNROLL, c, ldc, a, b + skip * LANES, panel, k, columns, accumulate);
}

#define STRIPS(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if TALL > 6
#define TALL_STRIPS(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#else
#define TALL_STRIPS(CASE)
#endif

/* The strip of m <= TALL rows. */
static void strip_of(long m, float *c, long ldc, struct left a, const float *b, long skip, long panel, long k,
                     long columns, int accumulate) {
#define CASE(M) case M: strip(M, c, ldc, a, b, skip, panel, k, columns, accumulate); break;
    switch (m) { STRIPS(CASE) TALL_STRIPS(CASE) }
#undef CASE
}

void gemm_packed(float *c, long ldc, const float *a, long lda, const float *packed, long rows, long n, long k,
                 int accumulate) {
    if (k == 0 && !accumulate)
        for (long r = 0; r < rows; r++) memset(c + r * ldc, 0, (size_t)n * sizeof(float));
    const long deep = part(k, DEEP), broad = (part(n, BLOCK / deep) + WIDE - 1) / WIDE * WIDE;
    for (long r0 = 0; r0 < rows; r0 += CHUNK) {
        const long r1 = rows - r0 < CHUNK ? rows : r0 + CHUNK;
        for (long k0 = 0; k0 < k; k0 += deep) {
            const long depth = k - k0 < deep ? k - k0 : deep;
            for (long column = 0; column < n; column += broad) {
                const long columns = n - column < broad ? n - column : broad;
                for (long r = r0; r < r1; r += TALL) {
                    const struct left left = {a + r * lda + k0, lda, 1};
                    strip_of(r1 - r < TALL ? r1 - r : TALL, c + r * ldc + column, ldc, left, packed + column * k, k0,
                             WIDE * k, depth, columns, accumulate || k0 > 0);
                }
            }
        }
    }
}

/* Copy `columns` columns of `count` rows from row `first` on into panels of `width` columns; the last is as wide as the
 * columns that are left, rounded up to a multiple of `unit` by zeros. Row by row: memory is read in its own order. */
INLINE void gather(float *to, struct rows from, long inner, long first, long count, long columns, long width,
                   long unit) {
    long o = first / inner, i = first % inner;
    for (long r = 0; r < count; r++) {
        const float *row = from.data + o * from.outer + i * from.inner;
        for (long j = 0; j < columns; j += width) {
            const long given = columns - j < width ? columns - j : width, wide = (given + unit - 1) / unit * unit;
            float *cell = to + j * count + r * wide;
            long l = 0;
            for (; l + LANES <= given; l += LANES) vf_store(cell + l, vf_load(row + j + l));
            if (l < given) vf_store_part(cell + l, vf_load_part(row + j + l, given - l), given - l);
            for (l = given; l < wide; l++) cell[l] = 0;
        }
        if (++i == inner) i = 0, o++;
    }
}

void gemm_gather(float *to, struct rows from, long inner, long first, long count, long width) {
    gather(to, from, inner, first, count, width, width, 1);
}

void gemm_tn(float *c, long ldc, struct rows a, struct rows b, long outer, long inner, long m, long n,
             int accumulate) {
    const long rows = outer * inner;
    if (rows == 0 && !accumulate)
        for (long r = 0; r < m; r++) memset(c + r * ldc, 0, (size_t)n * sizeof(float));
    const long deep = part(rows, DEEP), broad = (part(n, BLOCK / deep) + WIDE - 1) / WIDE * WIDE;
    float *right = gemm_workspace(SLOT_TN, (size_t)(deep * (broad + m)));
    float *left = right + deep * broad;
    for (long r0 = 0; r0 < rows; r0 += deep) {
        const long depth = rows - r0 < deep ? rows - r0 : deep;
        gather(left, a, inner, r0, depth, m, TALL, 1);
        for (long n0 = 0; n0 < n; n0 += broad) {
            const long columns = n - n0 < broad ? n - n0 : broad;
            const struct rows part = {b.data + n0, b.outer, b.inner};
            gather(right, part, inner, r0, depth, columns, WIDE, LANES);
            for (long r = 0; r < m; r += TALL) {
                const long height = m - r < TALL ? m - r : TALL;
                const struct left packed = {left + r * depth, 1, height};
                strip_of(height, c + r * ldc + n0, ldc, packed, right, 0, WIDE * depth, depth, columns,
                         accumulate || r0 > 0);
            }
        }
    }
}
