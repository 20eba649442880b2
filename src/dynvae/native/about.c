/* What this library was compiled for. */
#include "vector.h"

const char *about_isa(void) {
#if defined(__AVX512F__)
    return "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
    return "AVX2";
#elif defined(__AVX__)
    return "AVX";
#elif defined(__x86_64__)
    return "SSE2";
#elif defined(__ARM_NEON)
    return "NEON";
#else
    return "generic";
#endif
}

int about_lanes(void) { return LANES; }

int about_threads(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
