/* The report as one page: figures and plots, nothing from elsewhere. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/plot.h"
#include "bench/run.h"

#define BLUE  "#1f6feb"
#define RED   "#cf4a3c"
#define GREEN "#2e8b57"

static const char style[] =
    "body{font:16px/1.5 sans-serif;max-width:860px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}"
    "td{border-bottom:1px solid #ddd;padding:.2em 1.5em .2em 0}td:last-child{text-align:right}"
    "svg{width:100%;font:12px sans-serif;fill:#555;margin:1em 0}svg "
    ".title{font-size:14px;font-weight:bold;fill:#222}"
    "svg .grid{stroke:#ddd}svg polyline{stroke-linejoin:round}";

/* What stands in a page must not become part of its markup. */
static void write_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

static void write_row(FILE *out, const char *name, const json_t *value)
{
    fputs("<tr><td>", out);
    write_escaped(out, name);
    fputs("</td><td>", out);
    if (json_is_string(value))
        write_escaped(out, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", out);
    else
        fprintf(out, "%.3f", json_real_value(value));
    fputs("</td></tr>\n", out);
}

static void write_table(FILE *out, const json_t *json)
{
    const char *name;
    json_t *value;
    fputs("<table>\n", out);
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        if (!json_is_object(value))
            write_row(out, name, value);
    }
    fputs("</table>\n", out);
}

/* ---- plots over time ---- */

struct over_time {
    double x[SAMPLES_MAX], rate[SAMPLES_MAX], hub_us[SAMPLES_MAX], load_us[SAMPLES_MAX],
        floor_us[SAMPLES_MAX];
    size_t count;
};

static void fill_over_time(const struct run *run, struct over_time *out)
{
    const struct figures *figures = run->figures;
    struct sample last = {0};
    for (size_t i = 0; i < figures->sample_count; i++) {
        const struct sample *sample = &figures->samples[i];
        double seconds = sample->at_s - last.at_s, payments = (double)(sample->paid - last.paid);
        if (seconds < (double)figures->sample_every_us / 2e6)
            continue; /* the window's last bit */
        out->x[out->count] = sample->at_s;
        out->rate[out->count] = payments / seconds;
        out->hub_us[out->count] =
            payments > 0 ? (double)(sample->hub_cpu_us - last.hub_cpu_us) / payments : 0;
        out->load_us[out->count] =
            payments > 0 ? (double)(sample->load_cpu_us - last.load_cpu_us) / payments : 0;
        out->floor_us[out->count++] = run->floor.floor_us;
        last = *sample;
    }
}

static void plot_over_time(FILE *out, const struct run *run)
{
    struct over_time *data = xcalloc(1, sizeof(*data));
    fill_over_time(run, data);
    const struct plot_series rate[] = {{"", BLUE, data->rate}};
    const struct plot throughput = {.title = "Throughput",
                                    .x_name = "seconds",
                                    .y_name = "payments per second",
                                    .x = data->x,
                                    .count = data->count,
                                    .filled = true,
                                    .series = rate,
                                    .series_count = 1};
    plot_write(out, &throughput);
    const struct plot_series cpu[] = {
        {"hub", RED, data->hub_us}, {"load", GREEN, data->load_us}, {"floor", "#888", data->floor_us}};
    const struct plot per_payment = {.title = "CPU per payment",
                                     .x_name = "seconds",
                                     .y_name = "microseconds",
                                     .x = data->x,
                                     .count = data->count,
                                     .series = cpu,
                                     .series_count = ARRAY_LENGTH(cpu)};
    plot_write(out, &per_payment);
    free(data);
}

/* ---- latency ---- */

#define BINS_PER_DECADE 24
#define BINS_MAX        (BINS_PER_DECADE * 10)

static void plot_latency(FILE *out, const struct histogram *latency)
{
    double x[BINS_MAX], share[BINS_MAX] = {0}, below[BINS_MAX] = {0};
    size_t first = BINS_MAX, last = 0;
    for (size_t i = 0; i < BINS_MAX; i++)
        x[i] = pow(10, (double)i / BINS_PER_DECADE) / 1e3; /* ms, from 1 us */
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (latency->buckets[i] == 0)
            continue;
        double us = (double)histogram_bucket_end(i) + 1;
        size_t bin = (size_t)(log10(us) * BINS_PER_DECADE);
        bin = bin < BINS_MAX ? bin : BINS_MAX - 1;
        share[bin] += 100.0 * (double)latency->buckets[i] / (double)latency->count;
        first = bin < first ? bin : first;
        last = bin > last ? bin : last;
    }
    if (first > last)
        return;
    first -= first > 0;
    last += last < BINS_MAX - 1;
    double sum = 0;
    for (size_t i = first; i <= last; i++)
        below[i] = sum += share[i];
    const struct plot_series density[] = {{"", BLUE, share + first}};
    const struct plot distribution = {.title = "Latency: how many took how long",
                                      .x_name = "milliseconds",
                                      .y_name = "% of payments",
                                      .x = x + first,
                                      .count = last - first + 1,
                                      .x_logarithmic = true,
                                      .filled = true,
                                      .series = density,
                                      .series_count = 1};
    plot_write(out, &distribution);
    const struct plot_series cumulated[] = {{"", RED, below + first}};
    const struct plot cumulative = {.title = "Latency: how many were done by then",
                                    .x_name = "milliseconds",
                                    .y_name = "% of payments",
                                    .x = x + first,
                                    .count = last - first + 1,
                                    .x_logarithmic = true,
                                    .series = cumulated,
                                    .series_count = 1};
    plot_write(out, &cumulative);
}

/* ---- the page ---- */

static void write_page(FILE *out, const struct run *run, const json_t *json)
{
    fprintf(out,
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>rill-bench: %s</title>"
            "<style>%s</style></head><body>\n",
            run->workload->name, style);
    fprintf(out, "<h1>rill-bench: %s</h1>\n<p>%s.</p>\n", run->workload->name, run->workload->about);
    fputs(
        "<p>Each payment is signed by its payer, durable on the hub's disk before anybody hears of it, "
        "signed by "
        "the hub for its payee, and answered with a receipt. The clients are played by a process on the same "
        "machine, in memory, and check every signature and every receipt; at the end the books of hub, "
        "ledger and "
        "clients agreed to the unit. The floor is what a signature, a verification and two small reads and "
        "writes "
        "cost on this machine at that time.</p>\n",
        out);
    if (run->figures != NULL && run->figures->payments > 0) {
        plot_over_time(out, run);
        plot_latency(out, &run->figures->latency);
    }
    fputs("<h2>Figures</h2>\n", out);
    write_table(out, json);
    fputs("<h2>Latency, milliseconds</h2>\n", out);
    write_table(out, json_object_get(json, "latency_ms"));
    fputs("<h2>Conditions</h2>\n", out);
    write_table(out, json_object_get(json, "conditions"));
    write_table(out, json_object_get(json, "versions"));
    write_table(out, json_object_get(json, "flags"));
    fputs("</body></html>\n", out);
}

bool report_write_html(struct run *run, const json_t *json)
{
    if (run->flags.html == NULL)
        return true;
    FILE *file = fopen(run->flags.html, "w");
    if (file == NULL)
        return world_fail(&run->world, "%s cannot be written", run->flags.html);
    write_page(file, run, json);
    bool good = ferror(file) == 0;
    return (fclose(file) == 0 && good) || world_fail(&run->world, "%s cannot be written", run->flags.html);
}
