/* What a program that holds keys asks of the system, before it has any. */
#ifndef RILL_BASE_PROCESS_H
#define RILL_BASE_PROCESS_H

/* From here on the process leaves no core dump, and no other process of the same user may look into its memory
 * (ptrace, /proc/PID/mem): for programs that hold keys, first thing in main. A library must not do this to its
 * host. */
void process_keeps_secrets(void);

/* As many descriptors as the system allows, for programs with many connections; children inherit the limit. A system that
 * does not allow more leaves it as it is. */
void process_raise_descriptors(void);

#endif
