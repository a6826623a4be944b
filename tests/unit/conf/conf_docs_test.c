/* The manual, the schema and `weir explain` say what the table says. */
#include "conf/conf_support.h"

#include "conf_internal.h"

static char *text_of_file(const char *path)
{
    FILE *in = fopen(path, "r");
    size_t size = 1024 * 1024;
    char *text = calloc(1, size);

    assert_non_null(text);
    if (in == NULL) {
        print_error("%s cannot be read from the working directory\n", path);
        fail();
    }
    assert_true(fread(text, 1, size - 1, in) > 0);
    (void)fclose(in);
    return text;
}

static void assert_file_is(const char *path, char *expected)
{
    char *text = text_of_file(path);

    if (strcmp(text, expected) != 0) {
        print_error("%s is not what the key table gives: run weir-docgen in the root of the tree\n", path);
        fail();
    }
    free(text);
    free(expected);
}

static void test_the_committed_manual_is_that_of_the_table(void **state)
{
    (void)state;
    assert_file_is("docs/configuration.md", conf_reference_markdown());
}

static void test_the_committed_schema_is_that_of_the_table(void **state)
{
    (void)state;
    assert_file_is("deploy/weir.schema.json", conf_schema_json());
}

static void assert_explains(const char *key, const char *part)
{
    char *text = conf_explain(key);

    if (text == NULL || strstr(text, part) == NULL) {
        print_error("%s: expected: %s\n%s\n", key, part, text != NULL ? text : "nothing");
        fail();
    }
    free(text);
}

static void test_one_key_is_explained_whole(void **state)
{
    char *text = conf_explain("processors.NAME.timeouts.connect");

    (void)state;
    assert_non_null(text);
    assert_string_equal(text, "processors.NAME.timeouts.connect\n"
                              "  Connecting to one endpoint, its TLS handshake included.\n"
                              "\n"
                              "value    duration, 10ms to 5m\n"
                              "default  1s\n"
                              "reload   yes\n"
                              "\n"
                              "What fails here was not sent: the answer is 504 connect_timeout, outcome not_sent.\n");
    free(text);
}

static void test_a_key_is_found_with_without_and_with_real_names(void **state)
{
    (void)state;
    assert_explains("processors.acme.timeouts.connect", "processors.NAME.timeouts.connect\n");
    assert_explains("processors.timeouts.connect", "processors.NAME.timeouts.connect\n");
    assert_explains("timeouts.connect", "processors.NAME.timeouts.connect\n");
    assert_explains("listeners[0].tls.certificates[1].key", "listeners.NAME.tls.certificates[].key\n");
    assert_explains("listeners.public.tls.certificates.key", "listeners.NAME.tls.certificates[].key\n");
    assert_explains("listeners[].address", "listeners.NAME.address\n");
    assert_explains("listeners.NAME.address", "listeners.NAME.address\n");
    assert_explains("listeners.address", "listeners.NAME.address\n");
    assert_explains("version", "default  none: it must be written\n");
    assert_explains("limits.writes.rate", "limits.NAME.rate\n");
    assert_explains("limits.writes.tiers.gold.burst", "limits.NAME.tiers.NAME.burst\n");
    /* A limit may have any name; what a listener's section has is asked for more often. */
    assert_explains("limits.body", "listeners.NAME.limits.body\n");
    assert_explains("admin.socket", "reload   no: a change waits for the next start\n");
}

static void test_a_section_is_explained_with_its_keys(void **state)
{
    (void)state;
    assert_explains("processors.NAME.timeouts", "\nkeys\n  connect         Connecting to one endpoint");
    assert_explains("processors.timeouts", "processors.NAME.timeouts\n");
    assert_explains("processors.acme", "processors\n");
    assert_explains("listeners.public", "listeners\n  Where clients connect.\n");
    assert_explains("routes[3]", "routes\n");
    assert_explains("processors", "\n  url             Scheme, host and port of its API.\n");
    assert_explains("shutdown", "\n  drain ");
    assert_explains("processors.acme.breaker", "\n  open_at         It opens when this share of the calls in the window failed.");
    assert_explains("processors.acme.health", "\n  down_after      Checks in a row that fail");
    assert_explains("limits", "limits\n  How much one caller may ask for, by name.");
    assert_explains("limits.writes", "\n  rate            Requests in a time");
    assert_explains("limits.writes.tiers", "\n  concurrent ");
    assert_explains("profiles", "\n  like                A built-in profile that this one begins as.\n");
}

static void test_what_may_stand_for_a_section_is_told(void **state)
{
    (void)state;
    assert_explains("routes.pay.idempotency", "value    off | section\n");
    assert_explains("routes.NAME.idempotency.mode", "value    sticky | single_shot | failover\ndefault  follows from other keys\n");
    assert_explains("profiles.mine.retention", "value    duration, 1s to 365d | list of sections, at most 16\n");
    assert_explains("profiles.NAME.key_chars", "value    visible | characters and ranges of them\n");
    assert_explains("profiles.NAME.methods", "value    POST | PATCH | PUT | DELETE, a list of them\n"
                                             "default  [POST, PATCH]\n");
    assert_explains("profiles.NAME.key_length", "value    range, 1 to 255\n");
    assert_explains("limits.NAME.rate", "value    rate such as 100/s, 30/60s or 1/day\ndefault  none\n");
    assert_explains("limits.NAME.by", "value    list of tenant, client_ip, mtls_subject, header:NAME and route, at most 4; or "
                                      "one of them\ndefault  none: it must be written\n");
    assert_explains("routes.NAME.limits", "value    list of names, at most 8\ndefault  []\n");
    assert_explains("processors.acme.breaker.open_at", "value    percentage, 1% to 100%\ndefault  50%\n");
    assert_explains("processors.breaker.slow_is", "value    duration, 10ms to 1h\ndefault  follows from other keys\n");
    assert_explains("health.status", "value    status, or range of them\ndefault  200-399\n");
    assert_explains("health.path", "value    path, and query if any\ndefault  /\n");
    assert_explains("processors.NAME.weights", "value    list of numbers from 1 to 100, at most 64\ndefault  none\n");
    assert_explains("routes.NAME.class", "default  follows from other keys\n");
    assert_explains("store.tls.ca", "reload   no: a change waits for the next start\n");
    assert_explains("store.begin_timeout", "reload   yes\n");
}

static void test_the_end_of_several_keys_lists_them(void **state)
{
    char *text = conf_explain("timeouts.total");

    (void)state;
    assert_non_null(text);
    assert_non_null(strstr(text, "timeouts.total is the end of several keys:\n  processors.NAME.timeouts.total "));
    assert_non_null(strstr(text, "\n  routes.NAME.timeouts.total "));
    assert_null(strstr(text, "timeouts.response "));
    free(text);
    assert_explains("address", "  monitor.address ");
}

static void test_a_key_that_is_none_is_not_explained(void **state)
{
    (void)state;
    assert_null(conf_explain("timeoutz"));
    assert_null(conf_explain(""));
    assert_null(conf_explain("."));
    assert_null(conf_explain("processors.acme.adaptive"));
    assert_null(conf_explain("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"));
}

static void test_every_key_explains_itself(void **state)
{
    (void)state;
    for (int i = 1; i < conf_key_count; i++) {
        char *text = conf_explain(conf_keys[i].path);
        size_t len = strlen(conf_keys[i].path);

        assert_non_null(text);
        assert_memory_equal(text, conf_keys[i].path, len);
        assert_int_equal(text[len], '\n');
        free(text);
    }
}

/* A default is written as an operator would write it: it must pass as one. */
static void test_every_default_passes_its_own_rule(void **state)
{
    struct conf_memory *memory = conf_memory_open();

    (void)state;
    for (int i = 0; i < conf_key_count; i++) {
        char field[256] __attribute__((aligned(16)));
        struct conf_fault fault;

        if (conf_keys[i].fallback != NULL && !conf_kind_is_list(conf_keys[i].kind)) {
            assert_true(conf_kind_parse(&conf_keys[i], bytes_from_text(conf_keys[i].fallback), memory, field, &fault));
        } else if (conf_keys[i].fallback != NULL) {
            struct bytes rest = bytes_from_text(conf_keys[i].fallback), entry;
            uint64_t count = 0;

            for (; conf_list_next(&rest, &entry); count++) {
                assert_true(conf_kind_parse(&conf_keys[i], entry, memory, field, &fault));
            }
            assert_true(count >= conf_keys[i].min && count <= conf_keys[i].max);
        }
    }
    conf_memory_close(memory);
}

static void test_every_number_fits_its_field(void **state)
{
    (void)state;
    for (int i = 0; i < conf_key_count; i++) {
        const struct conf_row *key = &conf_keys[i];
        bool is_number = key->kind == CONF_DURATION || key->kind == CONF_BYTES || key->kind == CONF_COUNT ||
                         key->kind == CONF_PERCENT;

        if (is_number && key->field.at != SIZE_MAX) {
            assert_true(key->field.bytes == 2 || key->field.bytes == 4 || key->field.bytes == 8);
            assert_true(key->field.bytes == 8 || key->max <= UINT32_MAX);
            assert_true(key->field.bytes > 2 || key->max <= UINT16_MAX);
        }
        assert_true(key->min <= key->max);
    }
}

static void test_every_help_is_a_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < conf_key_count; i++) {
        const char *help = conf_keys[i].help;

        assert_true(strlen(help) > 5);
        assert_int_equal(help[strlen(help) - 1], '.');
        assert_null(strchr(help, '\n'));
        assert_true((conf_keys[i].flags & CONF_FOLLOWS) == 0 || strstr(conf_keys[i].more, "Absent: ") != NULL);
        assert_true(conf_keys[i].more == NULL || conf_keys[i].more[strlen(conf_keys[i].more) - 1] == '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_committed_manual_is_that_of_the_table),
        cmocka_unit_test(test_the_committed_schema_is_that_of_the_table),
        cmocka_unit_test(test_one_key_is_explained_whole),
        cmocka_unit_test(test_a_key_is_found_with_without_and_with_real_names),
        cmocka_unit_test(test_a_section_is_explained_with_its_keys),
        cmocka_unit_test(test_what_may_stand_for_a_section_is_told),
        cmocka_unit_test(test_the_end_of_several_keys_lists_them),
        cmocka_unit_test(test_a_key_that_is_none_is_not_explained),
        cmocka_unit_test(test_every_key_explains_itself),
        cmocka_unit_test(test_every_default_passes_its_own_rule),
        cmocka_unit_test(test_every_number_fits_its_field),
        cmocka_unit_test(test_every_help_is_a_sentence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
