/* What came of a run, as one JSON object, and the same for people. */
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/version.h"
#include "bench/run.h"

/* ---- the machine ---- */

/* The value of the first line that begins with `name`, of a file of "name : value" or NAME="value" lines. */
static void value_in_file(const char *path, const char *name, char *out, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "r");
    snprintf(out, size, "unknown");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        char *at = line + strlen(name);
        at += strspn(at, " \t:=\"");
        at[strcspn(at, "\"\n")] = '\0';
        snprintf(out, size, "%s", at);
        break;
    }
    if (file != NULL)
        fclose(file);
}

static const char *filesystem_of(const char *folder)
{
    struct statfs status;
    if (statfs(folder, &status) != 0)
        return "unknown";
    switch ((unsigned long)status.f_type) {
    case TMPFS_MAGIC:
        return "tmpfs";
    case EXT4_SUPER_MAGIC:
        return "ext4";
    case XFS_SUPER_MAGIC:
        return "xfs";
    case BTRFS_SUPER_MAGIC:
        return "btrfs";
    case OVERLAYFS_SUPER_MAGIC:
        return "overlayfs";
    default:
        return "another";
    }
}

static json_t *conditions(const struct run *run)
{
    char model[128], memory[64], system[128];
    struct utsname name;
    double load[3] = {0};
    value_in_file("/proc/cpuinfo", "model name", model, sizeof(model));
    value_in_file("/proc/meminfo", "MemTotal", memory, sizeof(memory));
    value_in_file("/etc/os-release", "PRETTY_NAME", system, sizeof(system));
    uname(&name);
    (void)getloadavg(load, 3);
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:f}", "cores", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "cpu", model, "memory", memory, "kernel", name.release, "system", system, "filesystem",
                     filesystem_of(run->flags.folder), "load_average_1m", load[0]);
}

static json_t *versions(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "rill", RILL_VERSION, "compiler", __VERSION__, "libevent",
                     event_get_version(), "jansson", JANSSON_VERSION);
}

static json_t *flags_json(const struct run *run)
{
    const struct flags *flags = &run->flags;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I}", "seconds",
                     (json_int_t)flags->seconds, "warm_up_s", (json_int_t)flags->warm_up_s, "clients",
                     (json_int_t)flags->clients, "window", (json_int_t)flags->window, "amount",
                     (json_int_t)flags->amount, "rate", (json_int_t)flags->rate, "channels",
                     (json_int_t)flags->channels, "payments", (json_int_t)flags->payments, "seed",
                     (json_int_t)flags->seed, "locked", flags->locked, "load_processes",
                     (json_int_t)flags->load_processes, "shards", (json_int_t)flags->shards, "blocks",
                     (json_int_t)flags->blocks, "rounds", (json_int_t)flags->rounds);
}

/* ---- figures ---- */

static void put(json_t *json, const char *name, double value)
{
    json_object_set_new(json, name, json_real(value));
}

static double per(double value, double count)
{
    return count > 0 ? value / count : 0;
}

/* The window's figures; zeros where nobody paid. */
static void put_window(json_t *json, const struct run *run)
{
    static const struct figures none;
    const struct figures *figures = run->figures != NULL ? run->figures : &none;
    double payments = (double)figures->payments, seconds = figures->seconds;
    double hub_cpu_us = (double)(figures->hub_user_us + figures->hub_system_us);
    put(json, "seconds", seconds);
    json_object_set_new(json, "payments", json_integer((json_int_t)figures->payments));
    json_object_set_new(json, "failed", json_integer((json_int_t)figures->failed));
    if (figures->failed > 0)
        json_object_set_new(json, "first_failure", json_string(crew_first_failure(&run->crew)));
    put(json, "payments_per_s", per(payments, seconds));
    put(json, "updates_per_s", per((double)figures->journal_updates, figures->journal_seconds));
    put(json, "p50_ms", (double)histogram_percentile(&figures->latency, 0.5) / 1e3);
    put(json, "p99_ms", (double)histogram_percentile(&figures->latency, 0.99) / 1e3);
    put(json, "max_ms", (double)figures->latency.max_us / 1e3);
    put(json, "hub_cpu_us_per_payment", per(hub_cpu_us, payments));
    put(json, "hub_system_cpu_share", per((double)figures->hub_system_us, hub_cpu_us));
    put(json, "hub_cores_used", per(hub_cpu_us / 1e6, seconds));
    put(json, "load_cpu_us_per_payment", per((double)figures->load_cpu_us, payments));
    put(json, "load_cores_used", per((double)figures->load_cpu_us / 1e6, seconds));
    put(json, "sign_us", run->floor.sign_us);
    put(json, "verify_us", run->floor.verify_us);
    put(json, "io_us", run->floor.io_us);
    put(json, "floor_us", run->floor.floor_us);
    put(json, "floor_ratio", per(per(hub_cpu_us, payments), run->floor.floor_us));
    put(json, "fsyncs_per_s", per((double)figures->syncs, figures->journal_seconds));
    put(json, "payments_per_fsync", per((double)figures->journal_payments, (double)figures->syncs));
    put(json, "payments_per_update",
        per(2 * (double)figures->journal_payments, (double)figures->journal_updates));
    put(json, "journal_bytes_per_payment",
        per((double)figures->journal_bytes, (double)figures->journal_payments));
    put(json, "hub_rss_mib", run->figures != NULL ? (double)figures->hub_rss_kib / 1024 : run->hub_rss_mib);
}

/* Percentiles for whoever wants to plot them. */
static json_t *latency_json(const struct figures *figures)
{
    static const double shares[] = {0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999};
    json_t *json = json_object();
    for (size_t i = 0; figures != NULL && i < ARRAY_LENGTH(shares); i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%g", shares[i] * 100);
        put(json, name, (double)histogram_percentile(&figures->latency, shares[i]) / 1e3);
    }
    return json;
}

json_t *report_json(const struct run *run)
{
    json_t *json = json_object();
    json_object_set_new(json, "workload", json_string(run->workload->name));
    put_window(json, run);
    bool on_disk = strcmp(filesystem_of(run->flags.folder), "tmpfs") != 0;
    bool synced = run->figures == NULL || run->figures->syncs > 0;
    json_object_set_new(json, "durable", json_boolean(on_disk && synced));
    json_object_set_new(json, "money_checked", json_true());
    json_object_set_new(json, "every_update_verified", json_true());
    struct crew_counts counts = crew_count(&run->crew);
    json_object_set_new(json, "signatures_checked", json_integer((json_int_t)counts.signatures_checked));
    json_object_set_new(json, "receipts_checked", json_integer((json_int_t)counts.receipts_checked));
    json_object_set_new(json, "clients",
                        json_integer((json_int_t)run->crew.players * run->crew.layout.processes));
    json_object_update(json, run->extra);
    json_object_set_new(json, "latency_ms", latency_json(run->figures));
    json_object_set_new(json, "conditions", conditions(run));
    json_object_set_new(json, "versions", versions());
    json_object_set_new(json, "flags", flags_json(run));
    return json;
}

bool report_write_json(struct run *run, const json_t *json)
{
    const char *path = run->flags.json;
    if (path == NULL)
        return true;
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (file == NULL)
        return world_fail(&run->world, "%s cannot be written", path);
    bool good =
        json_dumpf(json, file, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0 && fputc('\n', file) != EOF;
    if (file != stdout)
        good = fclose(file) == 0 && good;
    return good || world_fail(&run->world, "%s cannot be written", path);
}

/* ---- for people ---- */

static double get(const json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

static void text_payments(FILE *out, const json_t *json)
{
    fprintf(out, "  payments       %12.0f   in %.1f s, %.0f failed\n", get(json, "payments"),
            get(json, "seconds"), get(json, "failed"));
    if (json_object_get(json, "first_failure") != NULL)
        fprintf(out, "  failures       %s\n", json_string_value(json_object_get(json, "first_failure")));
    fprintf(out, "  per second     %12.0f   %.1f payments in an update\n", get(json, "payments_per_s"),
            get(json, "payments_per_update"));
    fprintf(out, "  latency        %12.2f ms p50   %.2f ms p99   %.2f ms max\n", get(json, "p50_ms"),
            get(json, "p99_ms"), get(json, "max_ms"));
    fprintf(out, "  hub CPU        %12.2f us per payment   %.2f cores; the load used %.2f\n",
            get(json, "hub_cpu_us_per_payment"), get(json, "hub_cores_used"), get(json, "load_cores_used"));
    fprintf(out, "  floor          %12.2f us: signing %.2f, verifying %.2f, twice reading and writing %.2f\n",
            get(json, "floor_us"), get(json, "sign_us"), get(json, "verify_us"), get(json, "io_us"));
    fprintf(out, "  above it       %12.2f times the floor\n", get(json, "floor_ratio"));
    fprintf(
        out,
        "  disk           %12.1f fsyncs a second, %.1f payments in each, %.0f journal bytes per payment\n",
        get(json, "fsyncs_per_s"), get(json, "payments_per_fsync"), get(json, "journal_bytes_per_payment"));
}

void report_text(FILE *out, const json_t *json)
{
    fprintf(out, "%s: %.0f clients\n", json_string_value(json_object_get(json, "workload")),
            get(json, "clients"));
    if (get(json, "payments") > 0)
        text_payments(out, json);
    fprintf(out, "  hub memory     %12.1f MiB\n", get(json, "hub_rss_mib"));
    bool own = false; /* the workload's own figures stand after "clients", before "latency_ms" */
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        if (strcmp(name, "latency_ms") == 0)
            break;
        if (own)
            fprintf(out, "  %-30s %12.2f\n", name, json_number_value(value));
        own = own || strcmp(name, "clients") == 0;
    }
    fprintf(out, "  the money is right: every balance, %.0f receipts, %.0f signatures of the hub\n",
            get(json, "receipts_checked"), get(json, "signatures_checked"));
    if (!json_is_true(json_object_get(json, "durable")))
        fprintf(out, "  NOT durable: the folder is in memory, choose another with --folder\n");
}
