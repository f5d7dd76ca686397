/* The version that --version prints and that HELLO's agent names. */
#ifndef RILL_BASE_VERSION_H
#define RILL_BASE_VERSION_H

#define RILL_VERSION "0.1.0"

#endif
