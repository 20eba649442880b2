#include "vector.h"

void activate(enum activation kind, float *y, const float *x, long n) {
#define LOOP(KIND)                                                              \
    {                                                                           \
        long i = 0;                                                             \
        for (; i + LANES <= n; i += LANES) vf_store(y + i, vf_activate(KIND, vf_load(x + i))); \
        if (i < n) vf_store_part(y + i, vf_activate(KIND, vf_load_part(x + i, n - i)), n - i); \
    }
    FOR_EACH_ACTIVATION(kind, LOOP)
#undef LOOP
}

void activate_backward(enum activation kind, float *out, const float *gradient, const float *y, long n) {
#define LOOP(KIND)                                                                                      \
    {                                                                                                   \
        long i = 0;                                                                                     \
        for (; i + LANES <= n; i += LANES)                                                              \
            vf_store(out + i, vf_load(gradient + i) * vf_derivative(KIND, vf_load(y + i)));             \
        if (i < n)                                                                                      \
            vf_store_part(out + i,                                                                      \
                          vf_load_part(gradient + i, n - i) * vf_derivative(KIND, vf_load_part(y + i, n - i)), n - i); \
    }
    FOR_EACH_ACTIVATION(kind, LOOP)
#undef LOOP
}
