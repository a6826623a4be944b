/*
 * The secret file: how its lines become keys, and how a new one is made. It
 * blocks (at start, at a reload off the loop, in `weir secret new`). What was
 * read is wiped whatever became of it, and no message quotes what might be a
 * key.
 */
#include "keyring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/digest.h"

/* Sixteen seals and two others are 1 KiB; the rest is room for comments. */
#define FILE_BYTES_MAX   ((size_t)64 << 10)
#define BASE64_BYTES     44 /* of a key: 43 digits and one pad */
#define NAME_SHOWN_BYTES 24 /* of a name in a message; a key that stands alone is longer */
#define SEAL_NUMBER_MAX  255
#define PATH_BYTES_MAX   4096

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 of one key (RFC 4648 section 4) ---- */

static void encode_key(const uint8_t key[KEYRING_KEY_BYTES], char text[BASE64_BYTES])
{
    for (size_t i = 0; i < KEYRING_KEY_BYTES; i += 3) {
        bool whole = i + 2 < KEYRING_KEY_BYTES;
        unsigned bits = (unsigned)key[i] << 16 | (unsigned)key[i + 1] << 8 | (whole ? key[i + 2] : 0u);

        *text++ = BASE64[bits >> 18];
        *text++ = BASE64[bits >> 12 & 63];
        *text++ = BASE64[bits >> 6 & 63];
        *text++ = whole ? BASE64[bits & 63] : '=';
    }
}

/* Strict: one spelling a key. Bits that the last digit has to spare must be zero. */
static bool decode_key(struct bytes text, uint8_t key[KEYRING_KEY_BYTES])
{
    unsigned bits = 0;
    int bit_count = 0;

    if (text.len != BASE64_BYTES || text.at[BASE64_BYTES - 1] != '=') {
        return false;
    }
    for (size_t i = 0; i < BASE64_BYTES - 1; i++) {
        const char *digit = text.at[i] == '\0' ? NULL : strchr(BASE64, text.at[i]);

        if (digit == NULL) {
            return false;
        }
        bits = bits << 6 | (unsigned)(digit - BASE64);
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            *key++ = (uint8_t)(bits >> bit_count);
            bits &= (1u << bit_count) - 1;
        }
    }
    return bits == 0;
}

/* ---- reading ---- */

struct reading {
    const char *path;
    char *why;
    size_t why_bytes;
    int line; /* from 1; 0: the file as a whole */
    struct keyring_keys keys;
    bool has_index, has_fingerprint;
};

/* False, for the caller to return. */
WEIR_PRINTF(2, 3) static bool complain(struct reading *reading, const char *format, ...)
{
    va_list arguments;
    int len = reading->line == 0 ? snprintf(reading->why, reading->why_bytes, "%s: ", reading->path)
                                 : snprintf(reading->why, reading->why_bytes, "%s:%d: ", reading->path, reading->line);

    if (len >= 0 && (size_t)len < reading->why_bytes) {
        va_start(arguments, format);
        (void)vsnprintf(reading->why + len, reading->why_bytes - (size_t)len, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* A name may be shown only where it cannot be a key whose name was forgotten. */
static bool may_be_shown(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", name.at[i]) == NULL || name.at[i] == '\0') {
            return false;
        }
    }
    return name.len > 0 && name.len <= NAME_SHOWN_BYTES;
}

/* The N of seal.N; 0: it is not such a name. */
static uint8_t seal_number(struct bytes name)
{
    struct bytes digits = bytes_skip(name, BYTES("seal.").len);
    uint64_t number;

    if (!bytes_starts_with(name, BYTES("seal.")) || digits.len == 0 || digits.at[0] == '0' ||
        !bytes_to_u64(digits, &number) || number > SEAL_NUMBER_MAX) {
        return 0;
    }
    return (uint8_t)number;
}

/* Where the key of a seal goes; NULL: why not was said. */
static uint8_t *place_of_seal(struct reading *reading, uint8_t number)
{
    struct keyring_keys *keys = &reading->keys;
    struct keyring_seal_key *seal;

    for (int i = 0; i < keys->seal_count; i++) {
        if (keys->seals[i].number == number) {
            (void)complain(reading, "'seal.%d' stands here for the second time", number);
            return NULL;
        }
    }
    if (keys->seal_count == KEYRING_SEALS_MAX) {
        (void)complain(reading, "more than %d seals", KEYRING_SEALS_MAX);
        return NULL;
    }
    seal = &keys->seals[keys->seal_count++];
    seal->number = number;
    return seal->key;
}

static uint8_t *place_of_name(struct reading *reading, struct bytes name)
{
    bool is_index = bytes_equal(name, BYTES("index"));
    bool *has = is_index ? &reading->has_index : &reading->has_fingerprint;
    uint8_t number = seal_number(name);

    if (number != 0) {
        return place_of_seal(reading, number);
    }
    if (!is_index && !bytes_equal(name, BYTES("fingerprint"))) {
        if (may_be_shown(name)) {
            (void)complain(reading, "unknown name '%.*s': index, fingerprint and seal.1 to seal.%d are known",
                           BYTES_ARG(name), SEAL_NUMBER_MAX);
        } else {
            (void)complain(reading, "the line does not begin with index, fingerprint or seal.N");
        }
        return NULL;
    }
    if (*has) {
        (void)complain(reading, "'%.*s' stands here for the second time", BYTES_ARG(name));
        return NULL;
    }
    *has = true;
    return is_index ? reading->keys.index : reading->keys.fingerprint;
}

/* Where the first word of `text` ends. */
static size_t word_len(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && text.at[len] != ' ' && text.at[len] != '\t') {
        len++;
    }
    return len;
}

static bool read_line(struct reading *reading, struct bytes line)
{
    struct bytes name, value;
    uint8_t *key;

    if (line.len > 0 && line.at[line.len - 1] == '\r') {
        line.len--;
    }
    line = bytes_trim(bytes_take(line, bytes_find(line, '#')));
    if (line.len == 0) {
        return true;
    }
    name = bytes_take(line, word_len(line));
    value = bytes_trim(bytes_skip(line, name.len));
    key = place_of_name(reading, name);
    if (key == NULL) {
        return false;
    }
    if (!decode_key(value, key)) {
        return complain(reading, "'%.*s' is not the base64 of %d bytes", BYTES_ARG(name), KEYRING_KEY_BYTES);
    }
    return true;
}

static bool same_key(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, KEYRING_KEY_BYTES) == 0;
}

/* One key for two uses is a slip of copying, and takes away what separate keys are for. */
static bool keys_differ(const struct keyring_keys *keys)
{
    const uint8_t *all[2 + KEYRING_SEALS_MAX] = {keys->index, keys->fingerprint};

    for (int i = 0; i < keys->seal_count; i++) {
        all[2 + i] = keys->seals[i].key;
    }
    for (int i = 1; i < 2 + keys->seal_count; i++) {
        for (int j = 0; j < i; j++) {
            if (same_key(all[i], all[j])) {
                return false;
            }
        }
    }
    return true;
}

static bool read_lines(struct reading *reading, struct bytes text)
{
    while (text.len > 0) {
        struct bytes line = bytes_take(text, bytes_find(text, '\n'));

        reading->line++;
        if (!read_line(reading, line)) {
            return false;
        }
        text = bytes_skip(text, line.len + 1);
    }
    reading->line = 0;
    if (!reading->has_index || !reading->has_fingerprint || reading->keys.seal_count == 0) {
        return complain(reading, "there is no '%s'", !reading->has_index         ? "index"
                                                     : !reading->has_fingerprint ? "fingerprint"
                                                                                 : "seal.1");
    }
    return keys_differ(&reading->keys) || complain(reading, "two names have the same key");
}

struct keyring *keyring_read(struct bytes text, const char *path, char *why, size_t size)
{
    struct reading reading = {.path = path, .why = why, .why_bytes = size};
    struct keyring *ring = NULL;

    if (read_lines(&reading, text)) {
        ring = keyring__open(&reading.keys);
        if (ring == NULL) {
            (void)complain(&reading, "out of memory");
        }
    }
    explicit_bzero(&reading.keys, sizeof(reading.keys));
    return ring;
}

/*
 * A service's group may read (a deployment often gives root the file and the
 * service its group); nobody else may, and only the owner may write.
 */
static bool check_file(struct reading *reading, int fd)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        return complain(reading, "cannot be read: %s", strerror(errno));
    }
    if (!S_ISREG(stat.st_mode)) {
        return complain(reading, "is not a file");
    }
    if ((stat.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return complain(reading, "its mode is %04o: others than its owner and group may use it, or its group may "
                                 "change it; chmod 0640 or 0600",
                        (unsigned)(stat.st_mode & 07777));
    }
    if (stat.st_size > (off_t)FILE_BYTES_MAX) {
        return complain(reading, "is larger than %zu bytes", FILE_BYTES_MAX);
    }
    return true;
}

/* As much as `size` bytes; -1: errno. */
static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t got = read(fd, text + len, size - len);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static struct keyring *read_open_file(int fd, struct reading *reading)
{
    struct keyring *ring = NULL;
    char *text;
    ssize_t len;

    if (!check_file(reading, fd)) {
        return NULL;
    }
    text = malloc(FILE_BYTES_MAX);
    if (text == NULL) {
        (void)complain(reading, "out of memory");
        return NULL;
    }
    len = read_all(fd, text, FILE_BYTES_MAX);
    if (len < 0) {
        (void)complain(reading, "cannot be read: %s", strerror(errno));
    } else {
        ring = keyring_read(bytes_of(text, (size_t)len), reading->path, reading->why, reading->why_bytes);
    }
    explicit_bzero(text, FILE_BYTES_MAX);
    free(text);
    return ring;
}

struct keyring *keyring_open(const char *path, char *why, size_t size)
{
    struct reading reading = {.path = path, .why = why, .why_bytes = size};
    /* Not blocking, since a pipe would wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct keyring *ring;

    if (fd < 0) {
        (void)complain(&reading, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    ring = read_open_file(fd, &reading);
    close(fd);
    return ring;
}

/* ---- a new file ---- */

void keyring_new_text(char text[KEYRING_TEXT_BYTES])
{
    static const char *const NAMES[] = {"index", "fingerprint", "seal.1"};
    uint8_t key[KEYRING_KEY_BYTES];
    char *at = text;

    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        digest_random(key, sizeof(key));
        at = bytes_put(at, bytes_from_text(NAMES[i]));
        *at++ = ' ';
        encode_key(key, at);
        at += BASE64_BYTES;
        *at++ = '\n';
    }
    *at = '\0';
    explicit_bzero(key, sizeof(key));
}

static bool write_all(int fd, struct bytes text)
{
    while (text.len > 0) {
        ssize_t put = write(fd, text.at, text.len);

        if (put < 0 && errno != EINTR) {
            return false;
        }
        text = bytes_skip(text, put < 0 ? 0 : (size_t)put);
    }
    return fsync(fd) == 0;
}

/* So that the name is still there after power loss, as the records that it names will be. */
static bool sync_folder_of(const char *path)
{
    char folder[PATH_BYTES_MAX];
    const char *end = strrchr(path, '/');
    bool ok;
    int fd;

    if (end == NULL) {
        memcpy(folder, ".", 2);
    } else {
        (void)bytes_to_text(bytes_of(path, end == path ? 1 : (size_t)(end - path)), folder, sizeof(folder));
    }
    fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) {
        return false;
    }
    ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

/* Writes `draft` and gives it its name when it is whole: a file cut short by power loss never has that name. */
static bool write_new(const char *draft, const char *path, struct bytes text)
{
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok;
    int error;

    if (fd < 0) {
        return false;
    }
    ok = write_all(fd, text) && link(draft, path) == 0; /* unlike rename, never over an old file */
    error = errno;
    close(fd);
    if (unlink(draft) != 0 && ok) {
        return false;
    }
    errno = error;
    return ok && sync_folder_of(path);
}

bool keyring_make(const char *path, char *why, size_t size)
{
    struct reading reading = {.path = path, .why = why, .why_bytes = size};
    char draft[PATH_BYTES_MAX];
    char text[KEYRING_TEXT_BYTES];
    char tail[2 * 8 + 1];
    uint8_t random[8];
    bool ok;

    digest_random(random, sizeof(random));
    digest_hex(random, sizeof(random), tail);
    if (strlen(path) + sizeof(".new.") + sizeof(tail) > sizeof(draft)) {
        return complain(&reading, "the path is too long");
    }
    (void)snprintf(draft, sizeof(draft), "%s.new.%s", path, tail);
    keyring_new_text(text);
    ok = write_new(draft, path, bytes_from_text(text));
    explicit_bzero(text, sizeof(text));
    return ok || complain(&reading, "cannot be made: %s", strerror(errno));
}
