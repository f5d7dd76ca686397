#include "base/process.h"

#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/ensure.h"

void process_keeps_secrets(void)
{
    /* The limit is for dumps into files; where they go through a pipe to a handler, only the second counts. */
    const struct rlimit none = {0, 0};
    ensure(setrlimit(RLIMIT_CORE, &none) == 0);
    ensure(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

void process_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}
