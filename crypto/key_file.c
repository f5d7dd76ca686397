#include "crypto/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool from_environment(const char *variable, char out[PASSPHRASE_BYTES_MAX], char *message,
                             size_t message_size)
{
    char *value = getenv(variable);
    if (value == NULL) {
        snprintf(message, message_size, "no passphrase: give --passphrase-file FILE or set %s", variable);
        return false;
    }
    if (strlen(value) >= PASSPHRASE_BYTES_MAX) {
        snprintf(message, message_size, "the passphrase in %s has more than %d bytes", variable,
                 PASSPHRASE_BYTES_MAX - 1);
        return false;
    }
    memcpy(out, value, strlen(value) + 1);
    /* The text itself stays where the system put it, readable in /proc/PID/environ, whatever unsetenv does. */
    bytes_wipe(value, strlen(value));
    unsetenv(variable);
    return true;
}

bool passphrase_read(const char *path, const char *variable, char out[PASSPHRASE_BYTES_MAX], char *message,
                     size_t message_size)
{
    if (path == NULL)
        return from_environment(variable, out, message, message_size);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(message, message_size, "cannot read the passphrase file %s: %s", path, strerror(errno));
        return false;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy of it stays in a buffer */
    bool good = fgets(out, PASSPHRASE_BYTES_MAX, file) != NULL;
    int next = good && strchr(out, '\n') == NULL ? fgetc(file) : '\n';
    bool whole = good && (next == '\n' || next == EOF);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error != 0)
        snprintf(message, message_size, "cannot read the passphrase file %s: %s", path, strerror(error));
    else if (!good)
        snprintf(message, message_size, "the passphrase file %s is empty", path);
    else if (!whole)
        snprintf(message, message_size, "the first line of the passphrase file %s has more than %d bytes",
                 path, PASSPHRASE_BYTES_MAX - 1);
    if (error != 0 || !whole) {
        bytes_wipe(out, PASSPHRASE_BYTES_MAX);
        return false;
    }
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

bool key_file_open(const char *key_file, const char *passphrase_file, const char *variable,
                   struct secret_key *out, char *message, size_t message_size)
{
    char passphrase[PASSPHRASE_BYTES_MAX];
    if (key_file == NULL) {
        snprintf(message, message_size, "no key: give --key-file FILE, a keystore (rill init makes one)");
        return false;
    }
    if (!passphrase_read(passphrase_file, variable, passphrase, message, message_size))
        return false;
    enum keystore_error error = keystore_load(key_file, passphrase, out);
    bytes_wipe(passphrase, sizeof(passphrase));
    if (error != KEYSTORE_OK)
        snprintf(message, message_size, "key file %s: %s", key_file, keystore_error_text(error));
    return error == KEYSTORE_OK;
}
