/*
 * Versions. Of the libraries that lower layers hide, only the headers with
 * their version numbers are read here; nothing of them is called.
 */
#include "version_internal.h"

#include <gnu/libc-version.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <llhttp.h>
#include <lmdb.h>
#include <uv/version.h>

#include "weir/base/json.h"
#include "weir/base/check.h"
#include "weir/io/tls.h"

#define TEXT_OF(number) TEXT_OF_EXPANDED(number)
#define TEXT_OF_EXPANDED(number) #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

#define JSON_BYTES 4096

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static const char *const FEATURES[] = {
    "http/1.1",
    "tls1.2",
    "tls1.3",
    "proxy-protocol",
    "reload",
    "sd-notify",
    "socket-activation",
#ifdef WEIR_DEBUG
    "debug-checks",
#endif
#ifdef __SANITIZE_ADDRESS__
    "address-sanitizer",
#endif
};

const char *version_libuv(void)
{
    return DOTTED(UV_VERSION_MAJOR, UV_VERSION_MINOR, UV_VERSION_PATCH);
}

const char *version_commit(void)
{
    return WEIR_COMMIT;
}

struct part {
    const char *name;
    const char *version;
};

static void print_json(FILE *out, const struct part *parts, size_t count)
{
    char text[JSON_BYTES];
    struct json json;
    json_init(&json, text, sizeof(text));
    json_object_open(&json);
    json_put_text(&json, "version", WEIR_VERSION);
    for (size_t i = 0; i < count; i++) {
        json_put_text(&json, parts[i].name, parts[i].version);
    }
    json_key(&json, "features");
    json_array_open(&json);
    for (size_t i = 0; i < ARRAY_COUNT(FEATURES); i++) {
        json_add_string(&json, bytes_from_text(FEATURES[i]));
    }
    json_array_close(&json);
    json_object_close(&json);
    fprintf(out, "%.*s\n", BYTES_ARG(json_bytes(&json)));
}

static void print_table(FILE *out, const struct part *parts, size_t count)
{
    fprintf(out, "weir %s\n", WEIR_VERSION);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  %-16s %s\n", parts[i].name, parts[i].version);
    }
    fprintf(out, "  %-16s", "features");
    for (size_t i = 0; i < ARRAY_COUNT(FEATURES); i++) {
        fprintf(out, " %s", FEATURES[i]);
    }
    fprintf(out, "\n");
}

void version_print(FILE *out, bool json)
{
    const struct part parts[] = {
        {"compiler", COMPILER},
        {"openssl_built", tls_library_built()},
        {"openssl_running", tls_library_running()},
        {"libuv", version_libuv()},
        {"llhttp", DOTTED(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH) " (strict)"},
        {"jansson", JANSSON_VERSION},
        {"hiredis", DOTTED(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH)},
        {"lmdb", DOTTED(MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH)},
        {"glibc_running", gnu_get_libc_version()},
    };
    if (json) {
        print_json(out, parts, ARRAY_COUNT(parts));
    } else {
        print_table(out, parts, ARRAY_COUNT(parts));
    }
}
