/* Which addresses the world may have the server connect to: those of the public Internet alone (IANA's special-purpose
 * registries, RFC 6890 and what followed), so that a web hook cannot be made to reach into the shop's own network. */
#ifndef RILL_MERCHANT_PUBLIC_ADDRESS_H
#define RILL_MERCHANT_PUBLIC_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) counts as what it is. */
bool address_is_public(const struct sockaddr *address);

/* This machine: 127.0.0.0/8, ::1. False also for what is no address. */
bool address_is_loopback(const char *text);

/* Whom a limit per address counts: an address of IPv4 itself, of IPv6 its /64, which one client has whole. Text in and out;
 * what is no address stays as it is. */
#define COUNTED_ADDRESS_SIZE 48
const char *address_counted(const char *text, char out[COUNTED_ADDRESS_SIZE]);

#endif
