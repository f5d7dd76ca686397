/* What a piece of code prints, and whether it stops the process. */
#ifndef RILL_TESTS_SUPPORT_CAPTURE_H
#define RILL_TESTS_SUPPORT_CAPTURE_H

#include <stdbool.h>

/* Sends what is written to a descriptor (1, 2) into a file until capture_end, which gives the text; free it.
 */
struct capture {
    int descriptor;
    int original;
    int file;
};
struct capture capture_begin(int descriptor);
char *capture_end(struct capture *capture);

/* Runs it in a child process, its stderr put away. Returns true if it ended by abort(), as ensure() does. */
bool capture_aborts(void (*run)(void *argument), void *argument);

#endif
