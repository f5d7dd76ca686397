/* The files of merchant/web/, compiled in: what is not in this table cannot be served, whatever path is asked for. */
#ifndef RILL_MERCHANT_WEB_FILES_H
#define RILL_MERCHANT_WEB_FILES_H

#include <stddef.h>

struct web_file {
    const char *name;        /* "pay.js" */
    const char *type;        /* its Content-Type */
    const char *start, *end; /* no NUL at the end */
};

/* The file of exactly this name; NULL if there is none. */
const struct web_file *web_file_find(const char *name);
/* By index from 0; NULL behind the last. */
const struct web_file *web_file_at(size_t index);

#endif
