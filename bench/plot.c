#include "bench/plot.h"

#include <math.h>

#define WIDTH  760.0
#define HEIGHT 300.0
#define LEFT   80.0
#define RIGHT  20.0
#define TOP    56.0
#define BOTTOM 50.0
#define TICKS  5

struct scale {
    double low, high;
    bool logarithmic;
};

static double place(const struct scale *scale, double value)
{
    if (scale->logarithmic)
        return (log10(value) - log10(scale->low)) / (log10(scale->high) - log10(scale->low));
    return (value - scale->low) / (scale->high - scale->low);
}

static double at_x(const struct scale *scale, double value)
{
    return LEFT + place(scale, value) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct scale *scale, double value)
{
    return HEIGHT - BOTTOM - place(scale, value) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS steps reach the top. */
static double round_step(double top)
{
    double step = pow(10, floor(log10(top / TICKS)));
    double times = top / TICKS / step;
    return step * (times > 5 ? 10 : times > 2 ? 5 : times > 1 ? 2 : 1);
}

static struct scale scale_of_y(const struct plot *plot)
{
    double top = 0;
    for (size_t s = 0; s < plot->series_count; s++)
        for (size_t i = 0; i < plot->count; i++)
            top = fmax(top, plot->series[s].y[i]);
    double step = round_step(top > 0 ? top : 1);
    return (struct scale){.low = 0, .high = step * ceil((top > 0 ? top : 1) / step * 1.0001)};
}

static struct scale scale_of_x(const struct plot *plot)
{
    double low = plot->x_logarithmic ? plot->x[0] : 0, high = plot->x[plot->count - 1];
    return (struct scale){low, high > low ? high : low + 1, plot->x_logarithmic};
}

static void write_y_axis(FILE *out, const struct scale *scale)
{
    double step = round_step(scale->high);
    for (double value = 0; value <= scale->high * 1.0001; value += step) {
        double y = at_y(scale, value);
        fprintf(out, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='grid'/>", LEFT, y, WIDTH - RIGHT,
                y);
        fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='end'>%g</text>\n", LEFT - 8, y + 4, value);
    }
}

static void write_x_tick(FILE *out, const struct scale *scale, double value)
{
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n", at_x(scale, value),
            HEIGHT - BOTTOM + 18, value);
}

static void write_x_axis(FILE *out, const struct scale *scale)
{
    if (scale->logarithmic) {
        static const double steps[] = {1, 2, 5};
        for (double decade = pow(10, floor(log10(scale->low))); decade <= scale->high; decade *= 10)
            for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
                if (decade * steps[i] >= scale->low && decade * steps[i] <= scale->high)
                    write_x_tick(out, scale, decade * steps[i]);
        return;
    }
    double step = round_step(scale->high);
    for (double value = 0; value <= scale->high * 1.0001; value += step)
        write_x_tick(out, scale, value);
}

static void write_series(FILE *out, const struct plot *plot, size_t index, const struct scale *x,
                         const struct scale *y)
{
    const struct plot_series *series = &plot->series[index];
    bool area = plot->filled && index == 0;
    fprintf(out, "<%s points='", area ? "polygon" : "polyline");
    if (area)
        fprintf(out, "%.1f,%.1f ", at_x(x, plot->x[0]), at_y(y, 0));
    for (size_t i = 0; i < plot->count; i++)
        fprintf(out, "%.1f,%.1f ", at_x(x, plot->x[i]), at_y(y, series->y[i]));
    if (area)
        fprintf(out, "%.1f,%.1f", at_x(x, plot->x[plot->count - 1]), at_y(y, 0));
    fprintf(out, "' fill='%s' fill-opacity='0.3' stroke='%s' stroke-width='1.8'/>\n",
            area ? series->colour : "none", series->colour);
    fprintf(out, "<text x='%.1f' y='34' text-anchor='end' fill='%s'>%s</text>\n",
            WIDTH - RIGHT - 150.0 * (double)(plot->series_count - 1 - index), series->colour, series->name);
}

void plot_write(FILE *out, const struct plot *plot)
{
    if (plot->count < 2)
        return;
    struct scale x = scale_of_x(plot), y = scale_of_y(plot);
    fprintf(out, "<svg viewBox='0 0 %.0f %.0f' role='img'><title>%s</title>\n", WIDTH, HEIGHT, plot->title);
    fprintf(out, "<text x='%.1f' y='16' class='title'>%s</text>\n", LEFT, plot->title);
    fprintf(out, "<text x='%.1f' y='34'>%s</text>\n", LEFT - 70, plot->y_name);
    write_y_axis(out, &y);
    write_x_axis(out, &x);
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 10, plot->x_name);
    for (size_t i = 0; i < plot->series_count; i++)
        write_series(out, plot, i, &x, &y);
    fprintf(out, "</svg>\n");
}
