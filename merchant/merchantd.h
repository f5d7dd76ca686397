/* The words of rill-merchantd: each reads its own settings, runs, and returns the exit code. argv[0] is the word. */
#ifndef RILL_MERCHANT_MERCHANTD_H
#define RILL_MERCHANT_MERCHANTD_H

int proxy_main(int argc, char **argv);

#endif
