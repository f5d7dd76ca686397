#include "crypto/keystore.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "crypto/hash.h"

#define FILE_BYTES_MAX        (64 * 1024)
#define SALT_BYTES_MAX        128
#define SCRYPT_N_DEFAULT      (1u << 17)
#define SCRYPT_R_DEFAULT      8
#define SCRYPT_P_DEFAULT      1
#define SCRYPT_BYTES_MAX      (512ull << 20) /* N * r * 128 */
#define SCRYPT_P_MAX          16
#define PBKDF2_ITERATIONS_MAX 10000000

/* What a keystore says beside its ciphertext. The first half of the derived key decrypts, the second
 * authenticates. */
struct sealed {
    enum { KDF_SCRYPT, KDF_PBKDF2 } kdf;
    uint64_t n, r, p;    /* scrypt */
    uint64_t iterations; /* PBKDF2, HMAC-SHA-256 */
    uint8_t salt[SALT_BYTES_MAX];
    size_t salt_length;
    uint8_t iv[16];
    uint8_t ciphertext[32];
    struct hash mac;
    bool has_address;
    struct address address;
};

struct derived_key {
    uint8_t bytes[32];
};

const char *keystore_error_text(enum keystore_error error)
{
    switch (error) {
    case KEYSTORE_OK:
        return "no error";
    case KEYSTORE_MISSING:
        return "there is no such keystore file: check the path, or make one with 'rill init'";
    case KEYSTORE_UNREADABLE:
        return "the keystore file cannot be read or written: check its permissions, its folder and the disk";
    case KEYSTORE_EXISTS:
        return "the keystore file exists already and is never overwritten: choose another path or move it "
               "away";
    case KEYSTORE_MALFORMED:
        return "not a version 3 keystore with scrypt or PBKDF2 and aes-128-ctr, or its parameters are out of "
               "bounds: "
               "restore it from a copy";
    case KEYSTORE_PASSPHRASE:
        return "wrong passphrase: try again with the one that the keystore was made with";
    }
    return "unknown error";
}

/* ---- the cryptography ---- */

static bool scrypt_is_bounded(uint64_t n, uint64_t r, uint64_t p)
{
    return n >= 2 && (n & (n - 1)) == 0 && r >= 1 && n <= SCRYPT_BYTES_MAX / 128 &&
           r <= SCRYPT_BYTES_MAX / 128 / n && p >= 1 && p <= SCRYPT_P_MAX;
}

/* Returns false where OpenSSL refuses the parameters (N too large for r, too little memory). */
static bool derive_key(const struct sealed *sealed, const char *passphrase, struct derived_key *out)
{
    size_t length = strlen(passphrase);
    switch (sealed->kdf) {
    case KDF_SCRYPT: {
        uint64_t memory_max = SCRYPT_BYTES_MAX + (64ull << 20); /* OpenSSL counts its small buffers too */
        return EVP_PBE_scrypt(passphrase, length, sealed->salt, sealed->salt_length, sealed->n, sealed->r,
                              sealed->p, memory_max, out->bytes, sizeof(out->bytes)) == 1;
    }
    case KDF_PBKDF2:
        return length <= INT32_MAX &&
               PKCS5_PBKDF2_HMAC(passphrase, (int)length, sealed->salt, (int)sealed->salt_length,
                                 (int)sealed->iterations, EVP_sha256(), sizeof(out->bytes), out->bytes) == 1;
    }
    return false;
}

static struct hash compute_mac(const struct derived_key *key, const uint8_t ciphertext[32])
{
    return keccak256_pair(key->bytes + 16, 16, ciphertext, 32);
}

/* AES-128 in counter mode: the same call encrypts and decrypts. */
static void apply_cipher(const struct derived_key *key, const uint8_t iv[16], const uint8_t in[32],
                         uint8_t out[32])
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int length = 0;
    ensure(cipher != NULL);
    ensure(EVP_EncryptInit_ex2(cipher, EVP_aes_128_ctr(), key->bytes, iv, NULL) == 1);
    ensure(EVP_EncryptUpdate(cipher, out, &length, in, 32) == 1 && length == 32);
    EVP_CIPHER_CTX_free(cipher); /* wipes the key schedule */
}

static enum keystore_error open_sealed(const struct sealed *sealed, const char *passphrase,
                                       struct secret_key *out)
{
    struct derived_key derived;
    struct secret_key key;
    enum keystore_error error = KEYSTORE_OK;
    if (!derive_key(sealed, passphrase, &derived))
        return KEYSTORE_MALFORMED;
    struct hash mac = compute_mac(&derived, sealed->ciphertext);
    if (!bytes_equal_constant_time(mac.bytes, sealed->mac.bytes, sizeof(mac.bytes))) {
        bytes_wipe(&derived, sizeof(derived));
        return KEYSTORE_PASSPHRASE;
    }
    apply_cipher(&derived, sealed->iv, sealed->ciphertext, key.bytes);
    bytes_wipe(&derived, sizeof(derived));
    if (!secret_key_is_valid(&key)) {
        error = KEYSTORE_MALFORMED;
    } else if (sealed->has_address) {
        /* The address is outside the MAC: a file that names another one was put together wrongly. */
        struct address address = secret_key_address(&key);
        if (!address_equal(&address, &sealed->address))
            error = KEYSTORE_MALFORMED;
    }
    if (error == KEYSTORE_OK)
        *out = key;
    bytes_wipe(&key, sizeof(key));
    return error;
}

/* ---- reading JSON ---- */

static bool read_hex(const json_t *object, const char *name, uint8_t *out, size_t length)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && hex_decode(text, out, length);
}

/* A whole number that is not negative. */
static bool read_number(const json_t *object, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_text_is(const json_t *object, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && strcmp(text, expected) == 0;
}

/* Files in the wild say "crypto" or "Crypto". *out stays NULL if there is none; two of them are ambiguous. */
static bool find_member(json_t *object, const char *wanted, const json_t **out)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (strcasecmp(name, wanted) != 0)
            continue;
        if (*out != NULL)
            return false;
        *out = value;
    }
    return true;
}

static bool read_kdf(const json_t *crypto, struct sealed *out)
{
    const json_t *parameters = json_object_get(crypto, "kdfparams");
    const char *salt = json_string_value(json_object_get(parameters, "salt"));
    uint64_t derived_length;
    /* A longer derived key begins with the 32 bytes that are used. */
    if (salt == NULL || !hex_decode_any(salt, out->salt, sizeof(out->salt), &out->salt_length) ||
        !read_number(parameters, "dklen", &derived_length) || derived_length < 32)
        return false;
    if (read_text_is(crypto, "kdf", "scrypt")) {
        out->kdf = KDF_SCRYPT;
        return read_number(parameters, "n", &out->n) && read_number(parameters, "r", &out->r) &&
               read_number(parameters, "p", &out->p) && scrypt_is_bounded(out->n, out->r, out->p);
    }
    out->kdf = KDF_PBKDF2;
    return read_text_is(crypto, "kdf", "pbkdf2") && read_text_is(parameters, "prf", "hmac-sha256") &&
           read_number(parameters, "c", &out->iterations) && out->iterations >= 1 &&
           out->iterations <= PBKDF2_ITERATIONS_MAX;
}

static bool read_sealed(json_t *root, struct sealed *out)
{
    const json_t *version = NULL, *crypto = NULL, *address = NULL;
    if (!find_member(root, "version", &version) || !find_member(root, "crypto", &crypto) ||
        !find_member(root, "address", &address))
        return false;
    if (!json_is_integer(version) || json_integer_value(version) != 3)
        return false;
    out->has_address = address != NULL;
    if (out->has_address &&
        (!json_is_string(address) ||
         !hex_decode(json_string_value(address), out->address.bytes, sizeof(out->address.bytes))))
        return false;
    return read_text_is(crypto, "cipher", "aes-128-ctr") &&
           read_hex(json_object_get(crypto, "cipherparams"), "iv", out->iv, sizeof(out->iv)) &&
           read_hex(crypto, "ciphertext", out->ciphertext, sizeof(out->ciphertext)) &&
           read_hex(crypto, "mac", out->mac.bytes, sizeof(out->mac.bytes)) && read_kdf(crypto, out);
}

static bool parse_sealed(const char *json, size_t length, struct sealed *out)
{
    if (length > FILE_BYTES_MAX)
        return false;
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    bool is_sealed = json_is_object(root) && read_sealed(root, out);
    json_decref(root);
    return is_sealed;
}

enum keystore_error keystore_decrypt(const char *json, size_t length, const char *passphrase,
                                     struct secret_key *out)
{
    struct sealed sealed = {0};
    return parse_sealed(json, length, &sealed) ? open_sealed(&sealed, passphrase, out) : KEYSTORE_MALFORMED;
}

/* ---- files ---- */

/* Reads up to capacity bytes. Returns false on an error of the disk. */
static bool read_whole(int file, char *out, size_t capacity, size_t *length)
{
    *length = 0;
    while (*length < capacity) {
        ssize_t got = read(file, out + *length, capacity - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        *length += (size_t)got;
    }
    return true;
}

/* *text: the whole file, up to one byte more than a keystore may have; free it. */
static enum keystore_error load_text(const char *path, char **text, size_t *length)
{
    /* Without blocking, so that a named pipe put there cannot hang the program. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return errno == ENOENT || errno == ENOTDIR ? KEYSTORE_MISSING : KEYSTORE_UNREADABLE;
    struct stat status;
    *text = xmalloc(FILE_BYTES_MAX + 1);
    bool is_read = fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
                   read_whole(file, *text, FILE_BYTES_MAX + 1, length);
    close(file);
    return is_read ? KEYSTORE_OK : KEYSTORE_UNREADABLE;
}

enum keystore_error keystore_load(const char *path, const char *passphrase, struct secret_key *out)
{
    char *text = NULL;
    size_t length = 0;
    enum keystore_error error = load_text(path, &text, &length);
    if (error == KEYSTORE_OK)
        error = keystore_decrypt(text, length, passphrase, out);
    free(text);
    return error;
}

enum keystore_error keystore_address(const char *path, struct address *out)
{
    char *text = NULL;
    size_t length = 0;
    struct sealed sealed = {0};
    enum keystore_error error = load_text(path, &text, &length);
    if (error == KEYSTORE_OK && !(parse_sealed(text, length, &sealed) && sealed.has_address))
        error = KEYSTORE_MALFORMED;
    free(text);
    if (error == KEYSTORE_OK)
        *out = sealed.address;
    return error;
}

static bool write_whole(int file, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(file, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

/* Makes a name in the file's folder durable. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? xstrdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    ensure(folder != NULL);
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (descriptor < 0)
        return false;
    bool synced = fsync(descriptor) == 0;
    close(descriptor);
    return synced;
}

/* Writes a new file whole or not at all. It gets its name by link, which, unlike rename, never replaces a
 * file. */
static enum keystore_error write_new_file(const char *path, const char *text)
{
    size_t size = strlen(path) + sizeof(".XXXXXX");
    char *temporary = xmalloc(size);
    snprintf(temporary, size, "%s.XXXXXX", path);
    enum keystore_error error = KEYSTORE_UNREADABLE;
    int file = mkostemp(temporary, O_CLOEXEC);
    if (file >= 0) {
        bool written = fchmod(file, 0600) == 0 && write_whole(file, text, strlen(text)) && fsync(file) == 0;
        written = close(file) == 0 && written;
        if (written && link(temporary, path) != 0)
            error = errno == EEXIST ? KEYSTORE_EXISTS : KEYSTORE_UNREADABLE;
        else if (written)
            error = KEYSTORE_OK;
        unlink(temporary);
    }
    free(temporary);
    if (error == KEYSTORE_OK && !sync_folder(path)) {
        unlink(path); /* a key that a power cut could take is not to receive money */
        return KEYSTORE_UNREADABLE;
    }
    return error;
}

/* ---- making one ---- */

static json_t *hex_string(const uint8_t *data, size_t length)
{
    char text[2 * SALT_BYTES_MAX + 1];
    ensure(length <= SALT_BYTES_MAX);
    hex_encode(data, length, text);
    json_t *string = json_string(text);
    ensure(string != NULL);
    return string;
}

/* A random (version 4) UUID. */
static json_t *random_uuid(void)
{
    uint8_t bytes[16];
    char text[37];
    random_bytes(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char *at = text;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        hex_encode(bytes + i, 1, at);
        at += 2;
    }
    json_t *string = json_string(text);
    ensure(string != NULL);
    return string;
}

/* Returns JSON text; free it. */
static char *sealed_text(const struct sealed *sealed)
{
    json_t *root =
        json_pack("{s:o, s:i, s:o, s:{s:s, s:o, s:{s:o}, s:s, s:{s:i, s:I, s:I, s:I, s:o}, s:o}}", "address",
                  hex_string(sealed->address.bytes, sizeof(sealed->address.bytes)), "version", 3, "id",
                  random_uuid(), "crypto", "cipher", "aes-128-ctr", "ciphertext",
                  hex_string(sealed->ciphertext, sizeof(sealed->ciphertext)), "cipherparams", "iv",
                  hex_string(sealed->iv, sizeof(sealed->iv)), "kdf", "scrypt", "kdfparams", "dklen", 32, "n",
                  (json_int_t)sealed->n, "r", (json_int_t)sealed->r, "p", (json_int_t)sealed->p, "salt",
                  hex_string(sealed->salt, sealed->salt_length), "mac",
                  hex_string(sealed->mac.bytes, sizeof(sealed->mac.bytes)));
    ensure(root != NULL);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    ensure(text != NULL);
    json_decref(root);
    return text;
}

static enum keystore_error seal(const struct secret_key *key, const char *passphrase, uint32_t scrypt_n,
                                struct sealed *out)
{
    *out = (struct sealed){.kdf = KDF_SCRYPT,
                           .n = scrypt_n == 0 ? SCRYPT_N_DEFAULT : scrypt_n,
                           .r = SCRYPT_R_DEFAULT,
                           .p = SCRYPT_P_DEFAULT,
                           .salt_length = 32,
                           .address = secret_key_address(key)};
    random_bytes(out->salt, out->salt_length);
    random_bytes(out->iv, sizeof(out->iv));
    struct derived_key derived;
    if (!scrypt_is_bounded(out->n, out->r, out->p) || !derive_key(out, passphrase, &derived))
        return KEYSTORE_MALFORMED;
    apply_cipher(&derived, out->iv, key->bytes, out->ciphertext);
    out->mac = compute_mac(&derived, out->ciphertext);
    bytes_wipe(&derived, sizeof(derived));
    return KEYSTORE_OK;
}

enum keystore_error keystore_create(const char *path, const char *passphrase, const struct secret_key *key,
                                    uint32_t scrypt_n)
{
    struct stat status;
    struct sealed sealed;
    ensure(secret_key_is_valid(key));
    if (lstat(path, &status) == 0)
        return KEYSTORE_EXISTS; /* said before the slow derivation; link() decides */
    enum keystore_error error = seal(key, passphrase, scrypt_n, &sealed);
    if (error != KEYSTORE_OK)
        return error;
    char *text = sealed_text(&sealed);
    error = write_new_file(path, text);
    free(text);
    return error;
}
