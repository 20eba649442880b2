/* Runs a recurrent program frame by frame, and backwards through it: the compiled twin of dynvae.recurrence.plain.
 *
 * Every field is 8 bytes wide, so that Python can lay these structures out as arrays of whole numbers. The first three
 * are the program; the others hold where the numbers of one call lie. The last axis of every tensor has stride 1.
 */
#ifndef DYNVAE_PROGRAM_H
#define DYNVAE_PROGRAM_H

#include <stdint.h>

#if UINTPTR_MAX != UINT64_MAX
#error "pointers must be 8 bytes wide"
#endif

/* Columns of a variable: at the same frame, or at the one before in the direction of the loop. */
struct read {
    int64_t variable, start, width, before;
};

/* A read times a weight's columns from `column` on. */
struct product {
    struct read read;
    int64_t weight, column;
};

enum kind { LINEAR, LSTM, GRU, SAMPLE, MAP };

/* What a map may apply; the activations of vector.h come first. */
enum function { GELU = 16, SILU, AVERAGE, PRODUCT, BLEND, LOG_SOFTPLUS, POWER, LOG_POWER, ROOT_POWER, STANDARDISE,
                GAIN };

struct step {
    int64_t kind, out, width;
    int64_t function;     /* linear: an activation; map: a function */
    int64_t first, count; /* its products (linear) or reads; a sample's: mean, log-variance, noise;
                             gates': the pre-activations, then the state before */
    int64_t drive;        /* linear: what is added to the products, a variable or -1 */
    int64_t first_bias, biases;
    int64_t deferred;     /* linear: drive and biases are added, and the activation taken, by the gates that read it */
    int64_t cell;         /* lstm: the variable of its cell state */
    int64_t gates;        /* gates: the variable that keeps them after their activation, maybe their own source */
    int64_t sources[2];   /* gates: the deferred steps that compute the pre-activations, or -1 */
    float *bias_gradient; /* of each of its biases, (width,); NULL if not wanted */
};

struct variable {
    int64_t width;
    int64_t carried; /* whether the next frame reads it */
    float *value; /* at (b, t): value + b * batch + t * time */
    int64_t batch, time;
    float *initial; /* before the first frame, (batch, width) */
    int64_t initial_batch;
    /* What follows is for the way back. */
    float *gradient; /* NULL if not wanted */
    int64_t gradient_batch, gradient_time;
    int64_t rolling; /* the gradient is kept for two frames only, at t & 1 */
    const float *upstream; /* the gradient that comes from outside, or NULL */
    int64_t upstream_batch, upstream_time;
    float *initial_gradient; /* (batch, width), zero */
};

struct weight {
    const float *value;
    int64_t stride; /* of a row */
    float *gradient; /* (rows, columns), contiguous, zero; NULL if not wanted */
    int64_t gradient_stride;
};

struct program {
    struct step *steps;
    int64_t step_count;
    const struct product *products;
    int64_t product_count;
    const struct read *reads;
    int64_t read_count;
    struct variable *variables;
    int64_t variable_count;
    const struct weight *weights;
    const float *const *biases;
    const int64_t *lengths; /* (batch,), or NULL; only a loop from the last frame to the first minds them */
    int64_t batch, frames, backward, threads;
};

/* Fill the values of all computed variables. Non-zero where memory runs out. */
int program_forward(const struct program *program);

/* Fill all gradients that are not NULL, after a forward run that kept all values. Non-zero where memory runs out. */
int program_backward(const struct program *program);

#endif
