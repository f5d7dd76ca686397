/* The demo's voice and its patience. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/amount.h"
#include "base/clock.h"
#include "bench/demo.h"

#define SILENCE_MS 2000

double demo_seconds(const struct demo *demo)
{
    return (double)(clock_monotonic_us() - demo->started_us) / 1e6;
}

void demo_say(const struct demo *demo, const char *format, ...)
{
    va_list arguments;
    fprintf(demo->story, "%6.1f s  ", demo_seconds(demo));
    va_start(arguments, format);
    vfprintf(demo->story, format, arguments);
    va_end(arguments);
    fputc('\n', demo->story);
    fflush(demo->story);
}

bool demo_fail(struct demo *demo, const char *format, ...)
{
    if (demo->why[0] != '\0')
        return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(demo->why, sizeof(demo->why), format, arguments);
    va_end(arguments);
    return false;
}

const char *demo_coins(uint64_t units)
{
    static char texts[8][AMOUNT_TEXT_SIZE];
    static size_t next;
    char *text = texts[next++ % ARRAY_LENGTH(texts)];
    /* Cut to cents where there are any: a story, not the books. */
    if (units >= DEMO_COIN)
        units -= units % (DEMO_COIN / 100);
    return amount_text(amount_of(units), DEMO_DECIMALS, text);
}

const char *demo_path(const struct demo *demo, const char *name, char out[DEMO_PATH])
{
    snprintf(out, DEMO_PATH, "%.900s/%s", demo->folder, name);
    return out;
}

bool demo_processes_live(struct demo *demo)
{
    struct child *children[] = {&demo->ledgerd, &demo->towerd, &demo->hubd, &demo->shop.child};
    for (size_t i = 0; i < ARRAY_LENGTH(children); i++)
        if (children[i]->name[0] != '\0' && !child_is_running(children[i]) &&
            !(children[i] == &demo->hubd && demo->hub_is_down))
            return demo_fail(demo, "%s has ended by itself: see %s", children[i]->name, children[i]->log);
    return true;
}

bool demo_wait(struct demo *demo, demo_done *done, uint32_t timeout_ms, const char *what)
{
    uint64_t started = clock_monotonic_us(), shown = started;
    char progress[256] = "";
    while (demo->why[0] == '\0') {
        if (done(demo, progress, sizeof(progress)))
            return demo->why[0] == '\0';
        uint64_t now = clock_monotonic_us();
        if (now - started > (uint64_t)timeout_ms * 1000)
            return demo_fail(demo, "%s: not within %" PRIu32 " s (%s)", what, timeout_ms / 1000, progress);
        if (now - shown > SILENCE_MS * 1000u) {
            shown = now;
            demo_say(demo, "  … %s: %s", what, progress);
        }
        /* The tick brings the loop back twenty times a second. */
        if (!demo_processes_live(demo) || event_base_loop(demo->base, EVLOOP_ONCE) != 0)
            return demo_fail(demo, "%s: the event loop has nothing left to wait for", what);
    }
    return false;
}
