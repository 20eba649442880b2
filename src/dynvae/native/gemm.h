/* Products of float32 matrices, for one thread: row-major, each matrix with its own row stride ("ld", in numbers).
 *
 * The right factor is packed once and then used for any number of rows, from one frame's few to a whole batch's.
 */
#ifndef DYNVAE_GEMM_H
#define DYNVAE_GEMM_H

#include <stddef.h>

/* How many floats a packed right factor of n columns and k rows takes. Align it to 64 bytes (gemm_allocate does). */
size_t gemm_packed_size(long n, long k);

/* Pack for C = A W^T: w is (n, k), as torch keeps the weight of a linear layer with k inputs and n outputs. */
void gemm_pack(float *packed, const float *w, long ldw, long n, long k);

/* Pack for C = A W: w is (k, n). With the weight (k outputs, n inputs) of a layer it takes the gradient back. */
void gemm_pack_transposed(float *packed, const float *w, long ldw, long n, long k);

/* C[r, :n] = A[r, :k] W^T for r in 0..rows-1, added to C where `accumulate`. C must not overlap A. */
void gemm_packed(float *c, long ldc, const float *a, long lda, const float *packed, long rows, long n, long k,
                 int accumulate);

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

/* Memory aligned for packed factors and vectors; NULL where there is none. Release it with free. */
float *gemm_allocate(size_t floats);

#endif
