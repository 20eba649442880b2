/* Products of float32 matrices, for one thread: row-major, each matrix with its own row stride ("ld", in numbers).
 *
 * The right factor is packed once and then used for any number of rows, from one frame's few to a whole batch's.
 */
#ifndef DYNVAE_GEMM_H
#define DYNVAE_GEMM_H

#include <stddef.h>

/* How many floats a packed right factor of n columns and k rows takes. Best aligned to 64 bytes. */
size_t gemm_packed_size(long n, long k);

/* Pack for C = A W^T: w is (n, k), as torch keeps the weight of a linear layer with k inputs and n outputs. */
void gemm_pack(float *packed, const float *w, long ldw, long n, long k);

/* Pack for C = A W: w is (k, n). With the weight (k outputs, n inputs) of a layer it takes the gradient back. */
void gemm_pack_transposed(float *packed, const float *w, long ldw, long n, long k);

/* C[r, :n] = A[r, :k] W^T for r in 0..rows-1, added to C where `accumulate`. C must not overlap A. */
void gemm_packed(float *c, long ldc, const float *a, long lda, const float *packed, long rows, long n, long k,
                 int accumulate);

/* Rows of the tallest tile: shares of rows waste the least when they are a multiple of it. */
extern const long gemm_tall;

/* Rows that lie at two strides, such as (batch, time): row (o, i) begins at data + o * outer + i * inner. */
struct rows {
    const float *data;
    long outer, inner;
};

/* C[m, n] = sum over the outer * inner rows r of A[r, :m]^T B[r, :n], added to C where `accumulate`.
 *
 * This is the gradient of a weight: A the gradient of the outputs, B the inputs. `outer * inner` may be 0.
 */
void gemm_tn(float *c, long ldc, struct rows a, struct rows b, long outer, long inner, long m, long n,
             int accumulate);

/* Copy rows first..first+count-1 of such rows, `width` columns each, side by side. */
void gemm_gather(float *to, struct rows from, long inner, long first, long count, long width);

/* Memory aligned for vectors, to be released with free. A program that is out of memory ends here. */
float *gemm_allocate(size_t floats);

/* Memory that each thread keeps from call to call, and that grows to the most that it was asked for.
 * What a slot held is lost when it is asked for again. */
enum gemm_slot { SLOT_TN, SLOT_PACKED, SLOT_ROWS, SLOT_SUMS, SLOT_PARTS, SLOTS };
float *gemm_workspace(enum gemm_slot slot, size_t floats);

/* The first of `total` that part `index` of `parts` takes, a whole number of `unit`: threads share work by it. */
static inline long gemm_share(long total, long unit, long index, long parts) {
    const long units = (total + unit - 1) / unit, at = units * index / parts * unit;
    return at < total ? at : total;
}

#endif
