#include "wire/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/ensure.h"
#include "crypto/hash.h"

#define CERTIFICATE_FILE "tls-cert.pem"
#define KEY_FILE         "tls-key.pem"
#define FOLDER_MAX       3800
#define CIPHERS          "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

struct tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
    struct hash hash;
};

/* ---- contexts ---- */

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    ensure(context != NULL);
    ensure(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1);
    ensure(SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1);
    /* Frames carry their length and all that counts is signed: a connection cut short shows by itself. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* An idle link keeps no record buffers (34 KiB less for each). What waits to be sent may move in memory. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* All three are strong: the cheapest first. */
    ensure(SSL_CTX_set_ciphersuites(context, CIPHERS) == 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

SSL_CTX *tls_server_context(const struct tls_identity *identity)
{
    SSL_CTX *context = context_new(TLS_server_method());
    ensure(SSL_CTX_use_certificate(context, identity->certificate) == 1);
    ensure(SSL_CTX_use_PrivateKey(context, identity->key) == 1);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* No resumption: a link is proven anew each time. */
    ensure(SSL_CTX_set_num_tickets(context, 0) == 1);
    return context;
}

static SSL_CTX *client_context;

static void client_context_make(void)
{
    client_context = context_new(TLS_client_method());
    /* Any certificate will do: what the server signs with its ledger key ties it to the one it shows. */
    SSL_CTX_set_verify(client_context, SSL_VERIFY_NONE, NULL);
}

SSL_CTX *tls_client_context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ensure(pthread_once(&once, client_context_make) == 0);
    return client_context;
}

static bool certificate_hash(const X509 *certificate, struct hash *out)
{
    unsigned char *der = NULL;
    int length = i2d_X509(certificate, &der);
    if (length <= 0)
        return false;
    *out = keccak256(der, (size_t)length);
    OPENSSL_free(der);
    return true;
}

bool tls_peer_certificate_hash(const SSL *ssl, struct hash *out)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    bool found = certificate != NULL && certificate_hash(certificate, out);
    X509_free(certificate);
    ERR_clear_error();
    return found;
}

/* ---- the identity's files ---- */

struct identity_paths {
    char certificate[FOLDER_MAX + 32];
    char key[FOLDER_MAX + 32];
};

static bool fail(char *message, size_t size, const char *what, const char *path)
{
    int error = errno;
    snprintf(message, size, "%s %s: %s", what, path, strerror(error));
    ERR_clear_error();
    return false;
}

static X509 *certificate_make(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    ensure(certificate != NULL);
    uint8_t serial_bytes[16];
    random_bytes(serial_bytes, sizeof serial_bytes);
    serial_bytes[0] = (uint8_t)((serial_bytes[0] & 0x3f) | 0x40); /* positive and of full length */
    BIGNUM *serial = BN_bin2bn(serial_bytes, sizeof serial_bytes, NULL);
    ensure(serial != NULL && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)) != NULL);
    BN_free(serial);
    ensure(X509_set_version(certificate, X509_VERSION_3) == 1);
    /* No well-defined end (RFC 5280, 4.1.2.5): trust comes from the ledger key, not from dates. */
    ensure(ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), "20000101000000Z") == 1);
    ensure(ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), "99991231235959Z") == 1);
    X509_NAME *name = X509_get_subject_name(certificate);
    ensure(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"rill", -1, -1, 0) ==
           1);
    ensure(X509_set_issuer_name(certificate, name) == 1);
    ensure(X509_set_pubkey(certificate, key) == 1);
    ensure(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

/* A new file with what `write` puts into it, on disk when this returns. */
static bool file_write(const char *path, mode_t mode, X509 *certificate, EVP_PKEY *key, char *message,
                       size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return fail(message, size, "cannot create", path);
    FILE *file = fdopen(fd, "w");
    ensure(file != NULL);
    bool good = certificate != NULL ? PEM_write_X509(file, certificate) == 1
                                    : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    good = good && fflush(file) == 0 && fsync(fd) == 0;
    if (!good) {
        (void)fail(message, size, "cannot write", path);
        (void)unlink(path);
    }
    return (fclose(file) == 0) && good;
}

static bool folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = fsync(fd) == 0;
    return close(fd) == 0 && good;
}

/* Both files are written under other names first, so that a crash leaves either no identity or one that is
 * told. */
static bool identity_make(const char *folder, const struct identity_paths *paths, char *message, size_t size)
{
    char certificate_new[FOLDER_MAX + 40], key_new[FOLDER_MAX + 40];
    snprintf(certificate_new, sizeof certificate_new, "%s.new", paths->certificate);
    snprintf(key_new, sizeof key_new, "%s.new", paths->key);
    (void)unlink(certificate_new);
    (void)unlink(key_new);

    EVP_PKEY *key = EVP_EC_gen("P-256");
    ensure(key != NULL);
    X509 *certificate = certificate_make(key);
    bool good = file_write(key_new, 0600, NULL, key, message, size) &&
                file_write(certificate_new, 0600, certificate, NULL, message, size);
    X509_free(certificate);
    EVP_PKEY_free(key);
    if (!good)
        return false;
    if (rename(key_new, paths->key) != 0 || rename(certificate_new, paths->certificate) != 0 ||
        !folder_sync(folder))
        return fail(message, size, "cannot write", paths->certificate);
    return true;
}

static FILE *file_open(const char *path, char *message, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        (void)fail(message, size, "cannot read", path);
    return file;
}

static bool identity_load(const struct identity_paths *paths, struct tls_identity *out, char *message,
                          size_t size)
{
    FILE *file = file_open(paths->certificate, message, size);
    if (file == NULL)
        return false;
    out->certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    file = file_open(paths->key, message, size);
    if (file == NULL)
        return false;
    /* An empty passphrase, so that OpenSSL never asks for one on the terminal. */
    out->key = PEM_read_PrivateKey(file, NULL, NULL, (void *)(uintptr_t) "");
    fclose(file);
    bool match = out->certificate != NULL && out->key != NULL &&
                 X509_check_private_key(out->certificate, out->key) == 1 &&
                 certificate_hash(out->certificate, &out->hash);
    ERR_clear_error();
    if (!match)
        snprintf(message, size,
                 "%s and %s are not a certificate and its key: remove both to have new ones made",
                 paths->certificate, paths->key);
    return match;
}

struct tls_identity *tls_identity_open(const char *folder, char *message, size_t message_size)
{
    if (strlen(folder) > FOLDER_MAX) {
        snprintf(message, message_size, "the folder's name is too long");
        return NULL;
    }
    struct identity_paths paths;
    snprintf(paths.certificate, sizeof paths.certificate, "%s/%s", folder, CERTIFICATE_FILE);
    snprintf(paths.key, sizeof paths.key, "%s/%s", folder, KEY_FILE);
    bool certificate_there = access(paths.certificate, F_OK) == 0;
    bool key_there = access(paths.key, F_OK) == 0;
    if (certificate_there != key_there) {
        snprintf(message, message_size,
                 "%s is there but %s is not: bring it back, or remove the one to have new ones made",
                 certificate_there ? paths.certificate : paths.key,
                 certificate_there ? paths.key : paths.certificate);
        return NULL;
    }
    if (!certificate_there && !identity_make(folder, &paths, message, message_size))
        return NULL;
    struct tls_identity *identity = xcalloc(1, sizeof *identity);
    if (!identity_load(&paths, identity, message, message_size)) {
        tls_identity_free(identity);
        return NULL;
    }
    return identity;
}

void tls_identity_free(struct tls_identity *identity)
{
    if (identity == NULL)
        return;
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    free(identity);
}

struct hash tls_identity_hash(const struct tls_identity *identity)
{
    return identity->hash;
}
