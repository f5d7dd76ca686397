/* Plots as inline SVG: no script, no outside resource.
 */
#ifndef RILL_BENCH_PLOT_H
#define RILL_BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct plot_series {
    const char *name;
    const char *colour; /* "#1f6feb" */
    const double *y;    /* one per x */
};

struct plot {
    const char *title, *x_name, *y_name;
    const double *x; /* rising */
    size_t count;
    bool x_logarithmic; /* then all x > 0 */
    bool filled;        /* the first series as an area */
    const struct plot_series *series;
    size_t series_count;
};

void plot_write(FILE *out, const struct plot *plot);

#endif
