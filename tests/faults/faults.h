/* Faults for a real program, from outside: a library that LD_PRELOAD puts between it and libc counts its writes and syncs
 * of the journal and what it sends over TLS, and lets the n-th fail, or ends the process with SIGKILL before or after it.
 * The test arms it through memory that both have mapped; the shipped programs know nothing of it.
 *
 *     RILL_FAULTS    the file to map: struct faults
 *     RILL_WIRE_LOG  if set: all that is sent, in plain, is appended to this file: struct wire_record, then its bytes
 *     RILL_WIRE_ROLE one letter, put into each record
 */
#ifndef RILL_TESTS_FAULTS_FAULTS_H
#define RILL_TESTS_FAULTS_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

enum fault_call {
    FAULT_WRITE, /* write, pwrite to a file of a journal */
    FAULT_SYNC,  /* fsync, fdatasync of one */
    FAULT_SEND,  /* SSL_write */
    FAULT_CALLS
};

enum fault_kind {
    FAULT_NONE,
    FAULT_EIO,
    FAULT_ENOSPC,
    FAULT_SHORT, /* half of it is written; what follows finds the disk full */
    FAULT_KILL_BEFORE,
    FAULT_KILL_AFTER
};

struct faults {
    _Atomic uint64_t calls[FAULT_CALLS]; /* since this was mapped first */
    _Atomic uint64_t at;                 /* the call that fails, by number from 1; 0: none */
    _Atomic uint32_t call, kind;         /* enum fault_call, enum fault_kind */
    _Atomic uint32_t from_on;            /* all that follow fail as well */
    _Atomic uint64_t happened;
};

enum wire_record_kind { WIRE_PROCESS = 1, WIRE_CONNECTION = 2, WIRE_OFFERED = 3, WIRE_TAKEN = 4 };

struct wire_record {
    uint32_t kind, role;
    int64_t pid;
    uint64_t connection;
    int64_t length; /* OFFERED: bytes that follow; TAKEN: how many of them have left, <= 0: none */
};

#endif
