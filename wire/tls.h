/* TLS as the links use it: contexts of servers and clients, and what is asked of a connection. Private to
 * wire/. */
#ifndef RILL_WIRE_TLS_H
#define RILL_WIRE_TLS_H

#include <openssl/ssl.h>

#include "wire/link.h"

/* A server's context, which shows this identity; free with SSL_CTX_free. */
SSL_CTX *tls_server_context(const struct tls_identity *identity);
/* The context of all clients of this process. It holds no secret and nothing of any one link; a thousand
 * links share it, as a context costs more memory than the rest of a link. Never freed. */
SSL_CTX *tls_client_context(void);
/* keccak256 of the DER of the certificate that the peer showed. Returns false if it showed none. */
bool tls_peer_certificate_hash(const SSL *ssl, struct hash *out) MUST_USE;

#endif
