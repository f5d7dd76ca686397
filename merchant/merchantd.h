/* The words of rill-merchantd. Each reads its own settings and returns an exit code of `rill` (wallet/command.h);
 * argv[0] is the word. */
#ifndef RILL_MERCHANT_MERCHANTD_H
#define RILL_MERCHANT_MERCHANTD_H

int serve_main(int argc, char **argv);
int proxy_main(int argc, char **argv);
int keys_main(int argc, char **argv);

#endif
