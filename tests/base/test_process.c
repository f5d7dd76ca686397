/* What a program that holds keys asks of the system. Each in a child, since it cannot be taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"

/* What the child finds, as its exit code: 1 a core limit above 0, 2 dumpable. */
static int found(void (*before)(void))
{
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit;
        if (before != NULL)
            before();
        getrlimit(RLIMIT_CORE, &limit);
        _exit((limit.rlim_cur > 0 || limit.rlim_max > 0) | (prctl(PR_GET_DUMPABLE) != 0) << 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void test_nothing_is_dumped(void **state)
{
    (void)state;
    assert_int_equal(found(NULL) & 2, 2); /* not so by itself */
    assert_int_equal(found(process_keeps_secrets), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_dumped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
