/* The file of known tenants, and in what scope a request's key counts: never in one that its caller may choose. */
#include "base/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "exchange.h"
#include "tenant.h"


static char digest_text[2 * DIGEST_BYTES + 1];

static const char *digest_of(const char *credential)
{
    uint8_t digest[DIGEST_BYTES];
    digest_sha256(bytes_from_text(credential), digest);
    digest_hex(digest, sizeof digest, digest_text);
    return digest_text;
}

static struct tenants *read_lines(const char *text, char *why)
{
    return tenants_read(bytes_from_text(text), "tenants", why, 200);
}

static void test_lines_name_tenants_by_the_digest_of_their_credential(void **state)
{
    (void)state;
    char why[200] = "";
    char text[600];
    char first[80];
    (void)snprintf(first, sizeof first, "%s", digest_of("Bearer sk_live_1"));
    (void)snprintf(text, sizeof text, "# who\n\nsha256:%s shop-a gold\r\n  sha256:%s\tshop-a  silver  \n", first,
                   digest_of("sk_live_2"));
    struct tenants *tenants = read_lines(text, why);
    assert_non_null(tenants);
    assert_string_equal(tenants_find(tenants, BYTES("Bearer sk_live_1"))->name, "shop-a");
    assert_string_equal(tenants_find(tenants, BYTES("Bearer sk_live_1"))->tier, "gold");
    assert_string_equal(tenants_find(tenants, BYTES("sk_live_2"))->name, "shop-a");
    assert_string_equal(tenants_find(tenants, BYTES("sk_live_2"))->tier, "silver");
    assert_null(tenants_find(tenants, BYTES("sk_live_3")));
    assert_null(tenants_find(tenants, BYTES_NONE));
    assert_null(tenants_find(NULL, BYTES("sk_live_1")));
    tenants_close(tenants);
    tenants_close(NULL);
}

static void assert_refused(const char *text, const char *words)
{
    char why[200] = "";
    assert_null(read_lines(text, why));
    assert_string_equal(why, words);
}

static void test_a_bad_line_is_named(void **state)
{
    (void)state;
    char text[400];
    assert_refused("\nmd5:00 a b\n", "tenants:2: the first word is not 'sha256:' and 64 hex digits");
    assert_refused("sha256:zz a b\n", "tenants:1: the first word is not 'sha256:' and 64 hex digits");
    (void)snprintf(text, sizeof text, "sha256:%s a\n", digest_of("x"));
    assert_refused(text, "tenants:1: a line is 'sha256:HEX NAME TIER', names of letters, digits, '-', '_' and '.'");
    (void)snprintf(text, sizeof text, "sha256:%s a b c\n", digest_of("x"));
    assert_refused(text, "tenants:1: a line is 'sha256:HEX NAME TIER', names of letters, digits, '-', '_' and '.'");
    (void)snprintf(text, sizeof text, "sha256:%s a/b c\n", digest_of("x"));
    assert_refused(text, "tenants:1: a line is 'sha256:HEX NAME TIER', names of letters, digits, '-', '_' and '.'");
    (void)snprintf(text, sizeof text, "sha256:%s a b\nsha256:%s c d", digest_of("x"), digest_of("x"));
    assert_refused(text, "tenants:2: this credential stands in an earlier line already");
}

static void test_a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    char why[200] = "";
    assert_null(tenants_open("does/not/exist", why, sizeof why));
    assert_string_equal(why, "does/not/exist: No such file or directory");
}

/* ---- scopes ---- */

static struct blocks blocks;
static struct arena arena;
static struct conf conf;
static struct generation generation = {.conf = &conf};
static struct exchange x;

static struct scope scope_with(const char *fields)
{
    char text[600];
    struct http_limits limits = {.head_bytes_max = 4096, .target_bytes_max = 1024, .body_bytes_max = 0};
    struct http_message *message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    struct bytes body = BYTES_NONE;
    (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    struct bytes data = bytes_from_text(text);
    assert_int_equal(http_message_feed(message, &data, &body), HTTP_HEAD);
    x.head = http_message_head(message);
    return scope_of(&x);
}

static int begin(void **state)
{
    (void)state;
    blocks_init(&blocks, 0, 0);
    arena_init(&arena, &blocks);
    conf = (struct conf){.tenants = {.by = CONF_TENANTS_BY_HEADER, .header = "Authorization"}};
    x = (struct exchange){.generation = &generation};
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_reset(&arena);
    blocks_close(&blocks);
    tenants_close(generation.parts.tenants);
    generation.parts.tenants = NULL;
    return 0;
}

#define assert_scope(fields, expected_kind, expected_text, expected_known)                                               \
    do {                                                                                                               \
        struct scope scope_ = scope_with(fields);                                                                      \
        assert_int_equal(scope_.kind, expected_kind);                                                                  \
        assert_true(bytes_equal(scope_.text, bytes_from_text(expected_text)));                                         \
        assert_int_equal(scope_.known, expected_known);                                                                \
    } while (0)

static void test_without_a_file_the_whole_credential_is_the_scope(void **state)
{
    (void)state;
    assert_scope("Authorization: Bearer a\r\n", SCOPE_AUTHORIZATION, "Bearer a", false);
    assert_scope("X-API-Key: k\r\n", SCOPE_API_KEY, "k", false);
    assert_scope("X-API-Key: k\r\nAuthorization: Basic b\r\n", SCOPE_AUTHORIZATION, "Basic b", false);
    assert_scope("", SCOPE_NOBODY, "", false);
}

static void test_a_known_credential_is_its_tenant_whole_or_as_a_bearer_token(void **state)
{
    (void)state;
    char why[200] = "";
    char text[300];
    (void)snprintf(text, sizeof text, "sha256:%s shop t\n", digest_of("token"));
    generation.parts.tenants = read_lines(text, why);
    assert_non_null(generation.parts.tenants);
    assert_scope("Authorization: token\r\n", SCOPE_TENANT, "shop", true);
    assert_scope("Authorization: Bearer token\r\n", SCOPE_TENANT, "shop", true);
    assert_scope("Authorization: bearer  token\r\n", SCOPE_TENANT, "shop", true);
    assert_scope("Authorization: Basic token\r\n", SCOPE_AUTHORIZATION, "Basic token", false);
    assert_scope("X-Tenant: token\r\n", SCOPE_NOBODY, "", false);
}

/* A plain header may be looked up, but what is not found there never names a scope. */
static void test_a_header_that_a_caller_may_choose_is_no_scope(void **state)
{
    (void)state;
    conf.tenants.header = "X-Tenant";
    assert_scope("X-Tenant: victim\r\n", SCOPE_NOBODY, "", false);
    assert_scope("X-Tenant: victim\r\nAuthorization: Bearer own\r\n", SCOPE_AUTHORIZATION, "Bearer own", false);
    conf.tenants.by = CONF_TENANTS_BY_CLIENT_IP;
    assert_scope("Authorization: Bearer own\r\n", SCOPE_AUTHORIZATION, "Bearer own", false);
    conf.tenants.by = CONF_TENANTS_BY_MTLS_SUBJECT; /* without a certificate */
    assert_scope("Authorization: Bearer own\r\n", SCOPE_AUTHORIZATION, "Bearer own", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_name_tenants_by_the_digest_of_their_credential),
        cmocka_unit_test(test_a_bad_line_is_named),
        cmocka_unit_test(test_a_file_that_is_not_there_is_named),
        cmocka_unit_test_setup_teardown(test_without_a_file_the_whole_credential_is_the_scope, begin, end),
        cmocka_unit_test_setup_teardown(test_a_known_credential_is_its_tenant_whole_or_as_a_bearer_token, begin, end),
        cmocka_unit_test_setup_teardown(test_a_header_that_a_caller_may_choose_is_no_scope, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
