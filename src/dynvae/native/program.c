/* How a program runs: each thread takes its share of the batch through all frames, so that no thread waits for another.
 *
 * Backwards only the gradients of variables are recursive. Those of weights leave the loop: when it is over, each is
 * one product over all frames of all sequences.
 */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "gemm.h"
#include "vector.h"

#define LOG_VARIANCE_LIMIT 30.0f
#define OBSERVATION_LOG_VARIANCE_LIMIT 45.0f
#define POWER_FLOOR 1e-10f
#define SMALLEST 1.17549435e-38f

/* Rows of numbers: a variable, or its gradient, at one frame, for the sequences of one thread. */
struct view {
    float *data; /* NULL: not there, or not wanted */
    long stride;
    int accumulate; /* a gradient: whether others have written to it before */
};

/* One thread's share of a run. */
struct share {
    const struct program *p;
    float *const *packed; /* a factor for each product */
    float *const *bias;   /* the sum of the biases of each step, or NULL */
    const char *accumulate; /* for each read of products, then of others: whether it is not the first to add */
    const char *fill;     /* for each variable: whether its gradient begins as zero or as what comes from outside */
    float **bias_sum;     /* the gradient of the bias of each step: this thread's part */
    long first, rows;     /* its sequences */
    long done, t;         /* frames done before this one; this frame */
    float **before;       /* for each variable, with lengths: the value before this frame, row by row, ... */
    float **before_gradient; /* ... and the gradient of that; NULL where all rows are inside */
    int inside;           /* whether all rows read the frame before, and none its initial value */
};

#define EACH_ROW(s) for (long r = 0; r < (s)->rows; r++)
/* A row's columns from j on, m at a time: LANES, but fewer at its end. */
#define EACH_COLUMN(width) for (long j = 0, m; j < (width) && (m = (width) - j < LANES ? (width) - j : LANES); j += LANES)

INLINE vf get(const float *from, long m) { return m == LANES ? vf_load(from) : vf_load_part(from, m); }
INLINE void put(float *to, vf x, long m) {
    if (m == LANES)
        vf_store(to, x);
    else
        vf_store_part(to, x, m);
}
INLINE vf cell_of(struct view v, long r, long j, long m) { return get(v.data + r * v.stride + j, m); }
/* Give a gradient to who wants it. */
INLINE void give(struct view to, long r, long j, long m, vf x) {
    if (!to.data) return;
    float *at = to.data + r * to.stride + j;
    if (to.accumulate) x += get(at, m);
    put(at, x, m);
}
INLINE vf bounded(vf x, float limit) { return vf_min(vf_max(x, vf_set(-limit)), vf_set(limit)); }

/* ---- where things lie ---- */

static struct view value_at(const struct share *s, long variable, long t) {
    const struct variable *v = s->p->variables + variable;
    return (struct view){v->value + s->first * v->batch + t * v->time, v->batch, 0};
}

static struct view gradient_at(const struct share *s, long variable, long t) {
    const struct variable *v = s->p->variables + variable;
    if (!v->gradient) return (struct view){0};
    const long frame = v->rolling ? t & 1 : t;
    return (struct view){v->gradient + s->first * v->gradient_batch + frame * v->gradient_time, v->gradient_batch, 1};
}

static long previous(const struct share *s) { return s->p->backward ? s->t + 1 : s->t - 1; }

static struct view view_of(const struct share *s, struct read read) {
    const struct variable *v = s->p->variables + read.variable;
    struct view view;
    if (!read.before)
        view = value_at(s, read.variable, s->t);
    else if (s->done == 0)
        view = (struct view){v->initial + s->first * v->initial_batch, v->initial_batch, 0};
    else if (s->inside)
        view = value_at(s, read.variable, previous(s));
    else
        view = (struct view){s->before[read.variable] + s->first * v->width, v->width, 0};
    view.data += read.start;
    return view;
}

static struct view initial_gradient(const struct share *s, long variable) {
    const struct variable *v = s->p->variables + variable;
    return (struct view){v->initial_gradient + s->first * v->width, v->width, 1};
}

static struct view gradient_of(const struct share *s, struct read read, int accumulate) {
    const struct variable *v = s->p->variables + read.variable;
    struct view view;
    if (!v->gradient) return (struct view){0};
    if (!read.before) {
        view = gradient_at(s, read.variable, s->t);
        view.accumulate = accumulate;
    } else if (s->done == 0)
        view = initial_gradient(s, read.variable);
    else if (s->inside)
        view = gradient_at(s, read.variable, previous(s));
    else
        view = (struct view){s->before_gradient[read.variable] + s->first * v->width, v->width, 1};
    view.data += read.start;
    return view;
}

/* A loop that runs from the last frame to the first meets each sequence at its own end: until then, the state stays as
 * it was before the first frame. */
static int row_inside(const struct share *s, long r) { return s->t + 1 < s->p->lengths[s->first + r]; }

static void enter_frame(struct share *s, long done) {
    const struct program *p = s->p;
    s->done = done;
    s->t = p->backward ? p->frames - 1 - done : done;
    s->inside = 1;
    if (!p->lengths || done == 0) return;
    EACH_ROW(s) s->inside &= row_inside(s, r);
    if (s->inside) return;
    for (long i = 0; i < p->variable_count; i++) {
        const struct variable *v = p->variables + i;
        if (!v->carried) continue;
        const struct view value = value_at(s, i, s->t + 1);
        EACH_ROW(s) {
            const float *from = row_inside(s, r) ? value.data + r * value.stride
                                                 : v->initial + (s->first + r) * v->initial_batch;
            memcpy(s->before[i] + (s->first + r) * v->width, from, (size_t)v->width * sizeof(float));
        }
    }
}

/* ---- linear ---- */

/* What is still to be added to the products of a linear step. */
struct rest {
    struct view products, drive; /* without data where there are none */
    const float *bias;
    long ahead; /* from the drive at this frame to that at the next: rows too short for the processor to foresee */
};

static struct rest rest_of(const struct share *s, long index) {
    const struct step *step = s->p->steps + index;
    struct rest rest = {.bias = s->bias[index]};
    if (step->count) rest.products = value_at(s, step->out, s->t);
    if (step->drive >= 0) {
        rest.drive = value_at(s, step->drive, s->t);
        rest.ahead = s->p->variables[step->drive].time * (s->p->backward ? -1 : 1);
    }
    return rest;
}

INLINE vf sum_of(struct rest rest, long r, long j, long m) {
    vf x = rest.products.data ? cell_of(rest.products, r, j, m) : vf_set(0);
    if (rest.drive.data) {
        x += cell_of(rest.drive, r, j, m);
        __builtin_prefetch(rest.drive.data + r * rest.drive.stride + j + rest.ahead);
    }
    if (rest.bias) x += get(rest.bias + j, m);
    return x;
}

static void linear(const struct share *s, long index) {
    const struct step *step = s->p->steps + index;
    const struct view out = value_at(s, step->out, s->t);
    for (long i = 0; i < step->count; i++) {
        const struct product *product = s->p->products + step->first + i;
        const struct view x = view_of(s, product->read);
        gemm_packed(out.data, out.stride, x.data, x.stride, s->packed[step->first + i], s->rows, step->width,
                    product->read.width, i > 0);
    }
    const struct rest rest = rest_of(s, index);
    if (step->deferred || (step->function == IDENTITY && step->count && !rest.drive.data && !rest.bias)) return;
#define LOOP(KIND) \
    EACH_ROW(s) EACH_COLUMN(step->width) put(out.data + r * out.stride + j, vf_activate(KIND, sum_of(rest, r, j, m)), m)
    FOR_EACH_ACTIVATION(step->function, LOOP)
#undef LOOP
}

static void linear_backward(const struct share *s, long index) {
    const struct step *step = s->p->steps + index;
    const struct view gradient = gradient_at(s, step->out, s->t), out = value_at(s, step->out, s->t);
    if (step->function != IDENTITY) {
#define LOOP(KIND)                                                                         \
    EACH_ROW(s) EACH_COLUMN(step->width) {                                                 \
        const vf slope = vf_derivative(KIND, cell_of(out, r, j, m));                       \
        put(gradient.data + r * gradient.stride + j, cell_of(gradient, r, j, m) * slope, m); \
    }
        FOR_EACH_ACTIVATION(step->function, LOOP)
#undef LOOP
    }
    for (long i = 0; i < step->count; i++) {
        const struct read read = s->p->products[step->first + i].read;
        const struct view to = gradient_of(s, read, s->accumulate[step->first + i]);
        if (to.data)
            gemm_packed(to.data, to.stride, gradient.data, gradient.stride, s->packed[step->first + i], s->rows,
                        read.width, step->width, to.accumulate);
    }
    if (step->drive >= 0) {
        const struct view to = gradient_at(s, step->drive, s->t);
        if (to.data && to.data != gradient.data) /* often it is the very same */
            EACH_ROW(s) EACH_COLUMN(step->width) give(to, r, j, m, cell_of(gradient, r, j, m));
    }
    if (s->bias_sum[index]) {
        EACH_COLUMN(step->width) {
            vf sum = vf_set(0);
            EACH_ROW(s) sum += cell_of(gradient, r, j, m);
            put(s->bias_sum[index] + j, get(s->bias_sum[index] + j, m) + sum, m);
        }
    }
}

/* ---- gates ---- */

static struct rest pre_activation(const struct share *s, const struct step *step, long source) {
    if (step->sources[source] >= 0) return rest_of(s, step->sources[source]);
    return (struct rest){.products = view_of(s, s->p->reads[step->first + source])};
}

static void lstm(const struct share *s, const struct step *step) {
    const long width = step->width;
    const struct rest x = pre_activation(s, step, 0);
    const struct view before = view_of(s, s->p->reads[step->first + 1]);
    const struct view gates = value_at(s, step->gates, s->t), cell = value_at(s, step->cell, s->t);
    const struct view out = value_at(s, step->out, s->t);
    EACH_ROW(s) EACH_COLUMN(width) {
        float *gate = gates.data + r * gates.stride + j;
        const vf into = vf_sigmoid(sum_of(x, r, j, m)), keep = vf_sigmoid(sum_of(x, r, width + j, m));
        const vf candidate = vf_tanh(sum_of(x, r, 2 * width + j, m));
        const vf show = vf_sigmoid(sum_of(x, r, 3 * width + j, m));
        const vf c = keep * cell_of(before, r, j, m) + into * candidate;
        put(gate, into, m);
        put(gate + width, keep, m);
        put(gate + 2 * width, candidate, m);
        put(gate + 3 * width, show, m);
        put(cell.data + r * cell.stride + j, c, m);
        put(out.data + r * out.stride + j, show * vf_tanh(c), m);
    }
}

static void lstm_backward(const struct share *s, const struct step *step) {
    const long width = step->width;
    const struct read *reads = s->p->reads + step->first;
    const char *accumulate = s->accumulate + s->p->product_count + step->first;
    const struct view before = view_of(s, reads[1]), to_before = gradient_of(s, reads[1], accumulate[1]);
    const struct view gates = value_at(s, step->gates, s->t), cell = value_at(s, step->cell, s->t);
    const struct view from_out = gradient_at(s, step->out, s->t), from_cell = gradient_at(s, step->cell, s->t);
    const struct view to = gradient_of(s, reads[0], accumulate[0]);
    const long ahead = s->p->variables[step->gates].time * (s->p->backward ? 1 : -1); /* to what comes next */
    EACH_ROW(s) EACH_COLUMN(width) {
        const float *gate = gates.data + r * gates.stride + j;
        for (int i = 0; i < 4; i++) __builtin_prefetch(gate + i * width + ahead);
        const vf into = get(gate, m), keep = get(gate + width, m), candidate = get(gate + 2 * width, m);
        const vf show = get(gate + 3 * width, m), squashed = vf_tanh(cell_of(cell, r, j, m));
        const vf d_out = cell_of(from_out, r, j, m);
        const vf d = cell_of(from_cell, r, j, m) + d_out * show * (1.0f - squashed * squashed);
        give(to, r, j, m, d * candidate * into * (1.0f - into));
        give(to, r, width + j, m, d * cell_of(before, r, j, m) * keep * (1.0f - keep));
        give(to, r, 2 * width + j, m, d * into * (1.0f - candidate * candidate));
        give(to, r, 3 * width + j, m, d_out * squashed * show * (1.0f - show));
        give(to_before, r, j, m, d * keep);
    }
}

static void gru(const struct share *s, const struct step *step) {
    const long width = step->width;
    const struct rest x = pre_activation(s, step, 0), y = pre_activation(s, step, 1);
    const struct view before = view_of(s, s->p->reads[step->first + 2]);
    const struct view gates = value_at(s, step->gates, s->t), out = value_at(s, step->out, s->t);
    EACH_ROW(s) EACH_COLUMN(width) {
        float *gate = gates.data + r * gates.stride + j;
        const vf reset = vf_sigmoid(sum_of(x, r, j, m) + sum_of(y, r, j, m));
        const vf update = vf_sigmoid(sum_of(x, r, width + j, m) + sum_of(y, r, width + j, m));
        const vf state = sum_of(y, r, 2 * width + j, m);
        const vf candidate = vf_tanh(sum_of(x, r, 2 * width + j, m) + reset * state);
        put(gate, reset, m);
        put(gate + width, update, m);
        put(gate + 2 * width, candidate, m);
        put(gate + 3 * width, state, m);
        put(out.data + r * out.stride + j, (1.0f - update) * candidate + update * cell_of(before, r, j, m), m);
    }
}

static void gru_backward(const struct share *s, const struct step *step) {
    const long width = step->width;
    const struct read *reads = s->p->reads + step->first;
    const char *accumulate = s->accumulate + s->p->product_count + step->first;
    const struct view before = view_of(s, reads[2]), to_before = gradient_of(s, reads[2], accumulate[2]);
    const struct view gates = value_at(s, step->gates, s->t), from = gradient_at(s, step->out, s->t);
    const struct view to_x = gradient_of(s, reads[0], accumulate[0]), to_y = gradient_of(s, reads[1], accumulate[1]);
    EACH_ROW(s) EACH_COLUMN(width) {
        const float *gate = gates.data + r * gates.stride + j;
        const vf reset = get(gate, m), update = get(gate + width, m), candidate = get(gate + 2 * width, m);
        const vf state = get(gate + 3 * width, m), d = cell_of(from, r, j, m);
        const vf d_candidate = d * (1.0f - update) * (1.0f - candidate * candidate);
        const vf d_update = d * (cell_of(before, r, j, m) - candidate) * update * (1.0f - update);
        const vf d_reset = d_candidate * state * reset * (1.0f - reset);
        give(to_x, r, j, m, d_reset);
        give(to_x, r, width + j, m, d_update);
        give(to_x, r, 2 * width + j, m, d_candidate);
        give(to_y, r, j, m, d_reset);
        give(to_y, r, width + j, m, d_update);
        give(to_y, r, 2 * width + j, m, d_candidate * reset);
        give(to_before, r, j, m, d * update);
    }
}

/* ---- samples ---- */

static void sample(const struct share *s, const struct step *step) {
    const struct read *reads = s->p->reads + step->first;
    const struct view mean = view_of(s, reads[0]), log_variance = view_of(s, reads[1]), noise = view_of(s, reads[2]);
    const struct view out = value_at(s, step->out, s->t);
    EACH_ROW(s) EACH_COLUMN(step->width) {
        const vf deviation = vf_exp(0.5f * bounded(cell_of(log_variance, r, j, m), LOG_VARIANCE_LIMIT));
        put(out.data + r * out.stride + j, cell_of(mean, r, j, m) + deviation * cell_of(noise, r, j, m), m);
    }
}

static void sample_backward(const struct share *s, const struct step *step) {
    const struct read *reads = s->p->reads + step->first;
    const char *accumulate = s->accumulate + s->p->product_count + step->first;
    const struct view log_variance = view_of(s, reads[1]), noise = view_of(s, reads[2]);
    const struct view to_mean = gradient_of(s, reads[0], accumulate[0]);
    const struct view to_log_variance = gradient_of(s, reads[1], accumulate[1]);
    const struct view to_noise = gradient_of(s, reads[2], accumulate[2]), from = gradient_at(s, step->out, s->t);
    EACH_ROW(s) EACH_COLUMN(step->width) {
        const vf deviation = vf_exp(0.5f * bounded(cell_of(log_variance, r, j, m), LOG_VARIANCE_LIMIT));
        const vf d = cell_of(from, r, j, m);
        give(to_mean, r, j, m, d);
        give(to_log_variance, r, j, m, 0.5f * d * deviation * cell_of(noise, r, j, m));
        give(to_noise, r, j, m, d * deviation);
    }
}

/* ---- maps ---- */

/* erfc(z) for z >= 0, to 1.2e-7 of its value: the Chebyshev fit of Press et al., Numerical Recipes, section 6.2. */
INLINE vf vf_erfc(vf z) {
    const vf t = 1.0f / (1.0f + 0.5f * z);
    vf y = t * 0.17087277f - 0.82215223f;
    y = y * t + 1.48851587f;
    y = y * t - 1.13520398f;
    y = y * t + 0.27886807f;
    y = y * t - 0.18628806f;
    y = y * t + 0.09678418f;
    y = y * t + 0.37409196f;
    y = y * t + 1.00002368f;
    return t * vf_exp(y * t - 1.26551223f - z * z);
}

/* The chance that a standard normal variable is below x. */
INLINE vf vf_normal_below(vf x) {
    const vf tail = 0.5f * vf_erfc(vf_abs(x) * 0.70710678f);
    return vf_select(x < 0.0f, tail, 1.0f - tail);
}

INLINE vf root(vf x) {
    for (int i = 0; i < LANES; i++) x[i] = sqrtf(x[i]); /* compilers make one instruction of it */
    return x;
}

INLINE vf apply(int64_t function, const vf x[3]) {
    switch (function) {
        case GELU: return x[0] * vf_normal_below(x[0]);
        case SILU: return x[0] * vf_sigmoid(x[0]);
        case PRODUCT: return x[0] * x[1];
        case BLEND: return (1.0f - x[0]) * x[1] + x[0] * x[2];
        case LOG_SOFTPLUS: return vf_log(vf_max(vf_softplus(x[0]), vf_set(SMALLEST)));
        case POWER: return vf_exp(bounded(x[0], OBSERVATION_LOG_VARIANCE_LIMIT)) + POWER_FLOOR;
        case LOG_POWER: return vf_log(x[0] + POWER_FLOOR) * 0.1f;
        case ROOT_POWER: return root(x[0] + POWER_FLOOR);
        case STANDARDISE: return (x[0] - x[1]) / x[2];
        case GAIN: return vf_sigmoid(x[0] + x[1]);
        default: return vf_activate((enum activation)function, x[0]);
    }
}

/* The derivative with respect to one of the sources; y is the function's value. */
INLINE vf slope_of(int64_t function, int64_t source, const vf x[3], vf y) {
    switch (function) {
        case GELU: return vf_normal_below(x[0]) + x[0] * vf_exp(-0.5f * x[0] * x[0]) * 0.39894228f;
        case SILU: {
            const vf gate = vf_sigmoid(x[0]);
            return gate * (1.0f + x[0] * (1.0f - gate));
        }
        case PRODUCT: return x[1 - source];
        case BLEND:
            if (source == 0) return x[2] - x[1];
            if (source == 1) return 1.0f - x[0];
            return x[0];
        case LOG_SOFTPLUS: {
            const vf soft = vf_softplus(x[0]);
            return vf_select(soft < SMALLEST, vf_set(0), vf_sigmoid(x[0]) / soft);
        }
        case POWER: return vf_exp(bounded(x[0], OBSERVATION_LOG_VARIANCE_LIMIT));
        case LOG_POWER: return 0.1f / (x[0] + POWER_FLOOR);
        case ROOT_POWER: return 0.5f / y;
        case STANDARDISE: return source == 0 ? 1.0f / x[2] : source == 1 ? -1.0f / x[2] : -y / x[2];
        case GAIN: return y * (1.0f - y);
        default: return vf_derivative((enum activation)function, y);
    }
}

static void map(const struct share *s, const struct step *step) {
    const struct read *reads = s->p->reads + step->first;
    const struct view out = value_at(s, step->out, s->t);
    if (step->function == AVERAGE) {
        for (long i = 0; i < step->count; i++) {
            const struct view x = view_of(s, reads[i]);
            EACH_ROW(s) EACH_COLUMN(step->width) {
                float *to = out.data + r * out.stride + j;
                vf sum = cell_of(x, r, j, m);
                if (i > 0) sum += get(to, m);
                if (i + 1 == step->count) sum /= (float)step->count;
                put(to, sum, m);
            }
        }
        return;
    }
    struct view x[3];
    for (long i = 0; i < step->count; i++) x[i] = view_of(s, reads[i]);
    EACH_ROW(s) EACH_COLUMN(step->width) {
        vf at[3];
        for (long i = 0; i < step->count; i++) at[i] = cell_of(x[i], r, j, m);
        put(out.data + r * out.stride + j, apply(step->function, at), m);
    }
}

static void map_backward(const struct share *s, const struct step *step) {
    const struct read *reads = s->p->reads + step->first;
    const char *accumulate = s->accumulate + s->p->product_count + step->first;
    const struct view from = gradient_at(s, step->out, s->t), out = value_at(s, step->out, s->t);
    struct view x[3];
    if (step->function != AVERAGE)
        for (long i = 0; i < step->count; i++) x[i] = view_of(s, reads[i]);
    for (long source = 0; source < step->count; source++) {
        const struct view to = gradient_of(s, reads[source], accumulate[source]);
        if (!to.data) continue;
        EACH_ROW(s) EACH_COLUMN(step->width) {
            const vf d = cell_of(from, r, j, m);
            if (step->function == AVERAGE) {
                give(to, r, j, m, d / (float)step->count);
                continue;
            }
            vf at[3];
            for (long i = 0; i < step->count; i++) at[i] = cell_of(x[i], r, j, m);
            give(to, r, j, m, d * slope_of(step->function, source, at, cell_of(out, r, j, m)));
        }
    }
}

/* ---- one thread's run ---- */

static void run_forward(struct share *s) {
    const struct program *p = s->p;
    for (long done = 0; done < p->frames; done++) {
        enter_frame(s, done);
        for (long i = 0; i < p->step_count; i++) {
            switch (p->steps[i].kind) {
                case LINEAR: linear(s, i); break;
                case LSTM: lstm(s, p->steps + i); break;
                case GRU: gru(s, p->steps + i); break;
                case SAMPLE: sample(s, p->steps + i); break;
                case MAP: map(s, p->steps + i); break;
            }
        }
    }
}

/* A variable's gradient begins as what comes from outside, or zero. */
static void begin_gradient(const struct share *s, long variable, long t) {
    const struct variable *v = s->p->variables + variable;
    const struct view to = gradient_at(s, variable, t);
    const float *from = v->upstream ? v->upstream + s->first * v->upstream_batch + t * v->upstream_time : NULL;
    EACH_ROW(s) EACH_COLUMN(v->width)
        put(to.data + r * to.stride + j, from ? get(from + r * v->upstream_batch + j, m) : vf_set(0), m);
}

/* Of what the rows read as the value before this frame, each gradient goes to where the value came from. */
static void leave_frame(const struct share *s) {
    for (long i = 0; i < s->p->variable_count; i++) {
        const struct variable *v = s->p->variables + i;
        if (!v->carried || !v->gradient) continue;
        const struct view inside = gradient_at(s, i, s->t + 1), outside = initial_gradient(s, i);
        EACH_ROW(s) {
            float *from = s->before_gradient[i] + (s->first + r) * v->width;
            struct view to = row_inside(s, r) ? inside : outside;
            EACH_COLUMN(v->width) give(to, r, j, m, get(from + j, m));
            memset(from, 0, (size_t)v->width * sizeof(float));
        }
    }
}

static void run_backward(struct share *s) {
    const struct program *p = s->p;
    for (long done = p->frames - 1; done >= 0; done--) {
        enter_frame(s, done);
        for (long i = 0; i < p->variable_count; i++) {
            const struct variable *v = p->variables + i;
            if (!v->gradient || !s->fill[i]) continue;
            if (!v->carried || done == p->frames - 1) begin_gradient(s, i, s->t);
            if (v->carried && done > 0) begin_gradient(s, i, previous(s));
        }
        for (long i = p->step_count - 1; i >= 0; i--) {
            const struct step *step = p->steps + i;
            if (!p->variables[step->out].gradient) continue;
            switch (step->kind) {
                case LINEAR: linear_backward(s, i); break;
                case LSTM: lstm_backward(s, step); break;
                case GRU: gru_backward(s, step); break;
                case SAMPLE: sample_backward(s, step); break;
                case MAP: map_backward(s, step); break;
            }
        }
        if (!s->inside) leave_frame(s);
    }
}

/* ---- gradients of weights ---- */

static int all_zero(const float *x, long stride, long rows, long width) {
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < width; j++)
            if (x[r * stride + j] != 0) return 0;
    return 1;
}

/* The rows [first, last) of a weight's gradient, from one of its products. */
static int weight_gradient(const struct program *p, const struct step *step, const struct product *product, long first,
                           long last) {
    const struct weight *weight = p->weights + product->weight;
    const struct variable *out = p->variables + step->out, *x = p->variables + product->read.variable;
    const long start = product->read.start, width = product->read.width, frames = p->frames, batch = p->batch;
    float *to = weight->gradient + first * weight->gradient_stride + product->column;
    struct rows a = {out->gradient + first, out->gradient_batch, out->gradient_time};
    struct rows b = {x->value + start, x->batch, x->time};
    if (!product->read.before) {
        gemm_tn(to, weight->gradient_stride, a, b, batch, frames, last - first, width, 1);
        return 0;
    }
    if (p->lengths) { /* the rows before, of which some are initial ones, have to be collected */
        float *before = gemm_allocate((size_t)(batch * frames * width));
        if (!before) return 1;
        for (long o = 0; o < batch; o++)
            for (long t = 0; t < frames; t++) {
                const int inside = t + 1 < frames && t + 1 < p->lengths[o];
                const float *from = inside ? x->value + o * x->batch + (t + 1) * x->time
                                           : x->initial + o * x->initial_batch;
                memcpy(before + (o * frames + t) * width, from + start, (size_t)width * sizeof(float));
            }
        b = (struct rows){before, frames * width, width};
        gemm_tn(to, weight->gradient_stride, a, b, batch, frames, last - first, width, 1);
        free(before);
        return 0;
    }
    if (!all_zero(x->initial + start, x->initial_batch, batch, width)) {
        struct rows at_start = a, initial = {x->initial + start, x->initial_batch, 0};
        if (p->backward) at_start.data += (frames - 1) * out->gradient_time;
        gemm_tn(to, weight->gradient_stride, at_start, initial, batch, 1, last - first, width, 1);
    }
    if (p->backward)
        b.data += x->time;
    else
        a.data += out->gradient_time;
    gemm_tn(to, weight->gradient_stride, a, b, batch, frames - 1, last - first, width, 1);
    return 0;
}

/* ---- a call ---- */

/* One piece of memory for all that a call needs beside its tensors. */
struct pool {
    float *data;
    size_t used;
};

static float *take(struct pool *pool, size_t floats) {
    float *piece = pool->data ? pool->data + pool->used : NULL;
    pool->used += (floats + 15) / 16 * 16;
    return piece;
}

/* The memory that a call needs, beside its tensors. */
struct memory {
    float **packed, **bias, **bias_sum, **before, **before_gradient;
    char *accumulate, *fill;
};

/* From one thread's part of the gradient of a bias to the next's. */
static long bias_stride(const struct step *step) { return (step->width + 15) / 16 * 16; }

/* Both directions of a call; run once without data to learn how much it takes. */
static void lay_out(const struct program *p, int backward, struct pool *pool, struct memory *memory) {
    for (long i = 0; i < p->step_count; i++) {
        const struct step *step = p->steps + i;
        if (step->kind != LINEAR) continue;
        for (long j = step->first; j < step->first + step->count; j++) {
            const long width = p->products[j].read.width;
            memory->packed[j] = take(pool, backward ? gemm_packed_size(width, step->width)
                                                    : gemm_packed_size(step->width, width));
        }
        memory->bias[i] = step->biases && !backward ? take(pool, (size_t)step->width) : NULL;
        memory->bias_sum[i] = step->bias_gradient && backward ? take(pool, (size_t)(p->threads * bias_stride(step))) : NULL;
    }
    for (long i = 0; i < p->variable_count; i++) {
        const int wanted = p->variables[i].carried && p->lengths;
        const size_t size = (size_t)(p->batch * p->variables[i].width);
        memory->before[i] = wanted ? take(pool, size) : NULL;
        memory->before_gradient[i] = wanted && backward ? take(pool, size) : NULL;
    }
}

/* Which reads are the first to give to a gradient, and which gradients need a beginning before that. */
static void order_gradients(const struct program *p, struct memory *memory) {
    for (long i = 0; i < p->variable_count; i++)
        memory->fill[i] = p->variables[i].carried || p->variables[i].upstream;
    char *given = memory->fill + p->variable_count;
    memcpy(given, memory->fill, (size_t)p->variable_count);
#define VISIT(index, read)                                                                    \
    if (!(read).before) {                                                                     \
        if (!given[(read).variable] && (read).width < p->variables[(read).variable].width)    \
            memory->fill[(read).variable] = given[(read).variable] = 1;                       \
        memory->accumulate[index] = given[(read).variable];                                   \
        given[(read).variable] = 1;                                                           \
    }
    for (long i = p->step_count - 1; i >= 0; i--) {
        const struct step *step = p->steps + i;
        if (!p->variables[step->out].gradient) continue;
        /* What nobody reads and nobody asks for is zero. */
        if (!given[step->out]) memory->fill[step->out] = 1;
        for (long j = step->first; j < step->first + step->count; j++) {
            if (step->kind == LINEAR) {
                VISIT(j, p->products[j].read)
            } else {
                VISIT(p->product_count + j, p->reads[j])
            }
        }
        if (step->kind == LINEAR && step->drive >= 0) {
            given[step->drive] = 1;
            if (p->variables[step->drive].gradient != p->variables[step->out].gradient) memory->fill[step->drive] = 1;
        }
    }
#undef VISIT
    for (long i = 0; i < p->variable_count; i++)
        if (!given[i]) memory->fill[i] = 1;
}

static void pack(const struct program *p, int backward, const struct memory *memory, long index) {
    const struct step *step = p->steps + index;
    if (step->kind != LINEAR) return;
    for (long j = step->first; j < step->first + step->count; j++) {
        const struct product *product = p->products + j;
        const struct weight *weight = p->weights + product->weight;
        const float *from = weight->value + product->column;
        if (!backward)
            gemm_pack(memory->packed[j], from, weight->stride, step->width, product->read.width);
        else if (p->variables[product->read.variable].gradient)
            gemm_pack_transposed(memory->packed[j], from, weight->stride, product->read.width, step->width);
    }
    if (memory->bias[index])
        for (long j = 0; j < step->width; j++) {
            float sum = 0;
            for (long i = 0; i < step->biases; i++) sum += p->biases[step->first_bias + i][j];
            memory->bias[index][j] = sum;
        }
}

static int run(const struct program *p, int backward) {
    const size_t pointers = (size_t)(p->product_count + 2 * (p->step_count + p->variable_count));
    const size_t flags = (size_t)(p->product_count + p->read_count + 2 * p->variable_count);
    float **table = calloc(pointers * sizeof(float *) + flags, 1);
    if (!table) return 1;
    struct memory memory = {.packed = table};
    memory.bias = memory.packed + p->product_count;
    memory.bias_sum = memory.bias + p->step_count;
    memory.before = memory.bias_sum + p->step_count;
    memory.before_gradient = memory.before + p->variable_count;
    memory.accumulate = (char *)(table + pointers);
    memory.fill = memory.accumulate + p->product_count + p->read_count;
    struct pool pool = {0};
    lay_out(p, backward, &pool, &memory);
    pool.data = gemm_allocate(pool.used);
    if (!pool.data) {
        free(table);
        return 1;
    }
    pool.used = 0;
    lay_out(p, backward, &pool, &memory);
    if (backward) order_gradients(p, &memory);
    int failed = 0;
    const long threads = p->threads;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (long i = 0; i < p->step_count; i++) pack(p, backward, &memory, i);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long thread = 0; thread < threads; thread++) {
        struct share share = {
            .p = p, .packed = memory.packed, .bias = memory.bias, .accumulate = memory.accumulate, .fill = memory.fill,
            .first = p->batch * thread / threads, .before = memory.before, .before_gradient = memory.before_gradient,
        };
        share.rows = p->batch * (thread + 1) / threads - share.first;
        if (!backward) {
            run_forward(&share);
            continue;
        }
        float *own[p->step_count];
        for (long i = 0; i < p->step_count; i++) {
            own[i] = memory.bias_sum[i] ? memory.bias_sum[i] + thread * bias_stride(p->steps + i) : NULL;
            if (own[i]) memset(own[i], 0, (size_t)p->steps[i].width * sizeof(float));
        }
        share.bias_sum = own;
        if (p->lengths)
            for (long i = 0; i < p->variable_count; i++) {
                const long width = p->variables[i].width;
                if (memory.before_gradient[i])
                    memset(memory.before_gradient[i] + share.first * width, 0, (size_t)(share.rows * width) * sizeof(float));
            }
        run_backward(&share);
    }
    if (backward) {
        for (long i = 0; i < p->step_count; i++) {
            const struct step *step = p->steps + i;
            if (memory.bias_sum[i])
                for (long j = 0; j < step->width; j++) {
                    float sum = 0;
                    for (long thread = 0; thread < threads; thread++)
                        sum += memory.bias_sum[i][thread * bias_stride(step) + j];
                    step->bias_gradient[j] = sum;
                }
        }
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : failed)
        for (long thread = 0; thread < threads; thread++)
            for (long i = 0; i < p->step_count; i++) {
                const struct step *step = p->steps + i;
                if (step->kind != LINEAR || !p->variables[step->out].gradient) continue;
                const long first = step->width * thread / threads, last = step->width * (thread + 1) / threads;
                for (long j = step->first; j < step->first + step->count; j++)
                    if (p->weights[p->products[j].weight].gradient && last > first)
                        failed |= weight_gradient(p, step, p->products + j, first, last);
            }
    }
    free(pool.data);
    free(table);
    return failed;
}

int program_forward(const struct program *p) { return run(p, 0); }

int program_backward(const struct program *p) { return run(p, 1); }
