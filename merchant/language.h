/* Which of the pages' two languages a browser is served. */
#ifndef RILL_MERCHANT_LANGUAGE_H
#define RILL_MERCHANT_LANGUAGE_H

/* Returns "zh" or "en", as html's lang has it: what the query (without '?'; may be NULL) says in lang=, else what the
 * header Accept-Language (may be NULL) prefers of the two, else English. */
const char *language_choose(const char *query, const char *accept);

#endif
