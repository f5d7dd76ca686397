/* A keystore file, as somebody may have put it there, opened with a passphrase.
 *
 *     input: mode u8; even: the file's text, odd: a key and passphrase to make one of
 *
 * One that opens gives a valid key, whose address is the one that the file names. One that was made here opens with
 * its passphrase and no other, and a changed file never gives another key.
 *
 * The derivation's cost is bounded by the code under test (512 MiB of scrypt), which is too much for each of a million
 * inputs: parameters above a few KiB are refused here as OpenSSL refuses what it does not like. */
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/keystore.h"

#define PASSPHRASE "correct horse"

int __wrap_EVP_PBE_scrypt(const char *pass, size_t passlen, const unsigned char *salt, size_t saltlen,
                          uint64_t n, uint64_t r, uint64_t p, uint64_t maxmem, unsigned char *key,
                          size_t keylen);
int __real_EVP_PBE_scrypt(const char *pass, size_t passlen, const unsigned char *salt, size_t saltlen,
                          uint64_t n, uint64_t r, uint64_t p, uint64_t maxmem, unsigned char *key,
                          size_t keylen);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen, int iter,
                             const void *digest, int keylen, unsigned char *out);
int __real_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen, int iter,
                             const void *digest, int keylen, unsigned char *out);

int __wrap_EVP_PBE_scrypt(const char *pass, size_t passlen, const unsigned char *salt, size_t saltlen,
                          uint64_t n, uint64_t r, uint64_t p, uint64_t maxmem, unsigned char *key,
                          size_t keylen)
{
    if (n > 256 || r > 8 || p > 4)
        return 0;
    return __real_EVP_PBE_scrypt(pass, passlen, salt, saltlen, n, r, p, maxmem, key, keylen);
}

int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen, int iter,
                             const void *digest, int keylen, unsigned char *out)
{
    ensure(iter >= 1 && iter <= 10000000);
    return iter > 256 ? 0 : __real_PKCS5_PBKDF2_HMAC(pass, passlen, salt, saltlen, iter, digest, keylen, out);
}

static const char *file_path(void)
{
    static char path[64];
    if (path[0] == '\0')
        snprintf(path, sizeof(path), "/dev/shm/rill-fuzz-keystore-%ld", (long)getpid());
    return path;
}

static void write_file(const uint8_t *data, size_t size)
{
    FILE *file = fopen(file_path(), "w");
    ensure(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void read_one(const uint8_t *data, size_t size)
{
    struct secret_key key, loaded;
    struct address address;
    char *text = (char *)input_copy(data, size);
    enum keystore_error error = keystore_decrypt(text, size, PASSPHRASE, &key);
    ensure(keystore_error_text(error) != NULL);
    ensure(error == KEYSTORE_OK || error == KEYSTORE_MALFORMED || error == KEYSTORE_PASSPHRASE);
    if (error == KEYSTORE_OK)
        ensure(secret_key_is_valid(&key));
    write_file(data, size);
    ensure(keystore_load(file_path(), PASSPHRASE, &loaded) == error);
    if (keystore_address(file_path(), &address) == KEYSTORE_OK && error == KEYSTORE_OK) {
        struct address own = secret_key_address(&key);
        ensure(address_equal(&own, &address));
    }
    unlink(file_path());
    free(text);
}

static void make_one(struct input *input)
{
    static const char hex[] = "0123456789abcdef";
    struct secret_key key = {{0}}, opened;
    key.bytes[0] = 1;
    for (size_t i = 1; i < sizeof(key.bytes); i++)
        key.bytes[i] = input_u8(input);
    unlink(file_path());
    ensure(keystore_create(file_path(), PASSPHRASE, &key, 2) == KEYSTORE_OK);
    ensure(keystore_create(file_path(), PASSPHRASE, &key, 2) == KEYSTORE_EXISTS);
    ensure(keystore_load(file_path(), PASSPHRASE, &opened) == KEYSTORE_OK);
    ensure(memcmp(&opened, &key, sizeof(key)) == 0);
    ensure(keystore_load(file_path(), PASSPHRASE " ", &opened) == KEYSTORE_PASSPHRASE);
    char text[4096];
    FILE *file = fopen(file_path(), "r");
    ensure(file != NULL);
    size_t length = fread(text, 1, sizeof(text), file);
    fclose(file);
    unlink(file_path());
    text[input_u16(input) % length] = hex[input_below(input, 16)];
    if (keystore_decrypt(text, length, PASSPHRASE, &opened) == KEYSTORE_OK)
        ensure(memcmp(&opened, &key, sizeof(key)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    if (input_u8(&input) % 2 == 1)
        make_one(&input);
    else
        read_one(input.at, input.left);
    return 0;
}
