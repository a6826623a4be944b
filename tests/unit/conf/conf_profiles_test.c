/* Profiles: the built-in ones, the operator's own, and those that are like another. */
#include "conf/conf_support.h"

/* The profile is at line 5. */
#define OWN(profile)                                                                                                   \
    "version: 1\n" LISTENER "processors: {acme: {profile: mine, url: https://a.example}}\n"                            \
    "profiles:\n  mine: " profile "\nroutes: [{name: all, to: acme, match: {method: GET}}]\n"

/* Line 5, column 10 and on. */
#define SAYS(profile, part) assert_says(OWN(profile), part)

static const struct conf_profile *profile_of(const struct conf *conf)
{
    return &conf->profiles[conf->processors[0].profile];
}

static const struct conf_profile *named(const struct conf *conf, const char *name)
{
    for (int i = 0; i < conf->profile_count; i++) {
        if (strcmp(conf->profiles[i].name, name) == 0) {
            return &conf->profiles[i];
        }
    }
    print_error("no profile %s\n", name);
    fail();
    return NULL;
}

/* ---- the built-in ones ---- */

static void test_the_built_in_profiles_all_load(void **state)
{
    static const char *const names[] = {"adyen", "checkout", "generic", "paypal", "square", "stripe"};
    struct conf *conf = load("version: 1\n");

    (void)state;
    assert_int_equal(conf->profile_count, 6);
    for (int i = 0; i < conf->profile_count; i++) {
        const struct conf_profile *profile = named(conf, names[i]);

        assert_true(profile->built_in);
        assert_non_null(profile->key.at);
        assert_true(profile->key_bytes_min >= 1 && profile->key_bytes_max <= 255);
        assert_true(profile->final_count > 0);
        assert_true(profile->deduplicates == (profile->retention_count > 0));
        assert_string_equal(conf_profile_name(i), conf->profiles[i].name);
        assert_non_null(conf_profile_text(names[i]));
    }
    assert_null(conf_profile_name(-1));
    assert_null(conf_profile_name(6));
    assert_null(conf_profile_text("mine"));
    assert_false(named(conf, "generic")->deduplicates);
    assert_true(named(conf, "stripe")->deduplicates);
    assert_int_equal(named(conf, "stripe")->errors, CONF_ERRORS_STRIPE);
    assert_true(named(conf, "stripe")->should_retry);
    assert_int_equal(named(conf, "square")->key.place, CONF_KEY_JSON);
    assert_string_equal(named(conf, "square")->key.at, "/idempotency_key");
    assert_string_equal(named(conf, "adyen")->not_executed_field, "Transient-Error: true");
    conf_free(conf);
}

/* What `weir explain profiles.NAME` prints is what an operator may paste and rename. */
static void test_a_built_in_profile_is_a_section_of_the_file(void **state)
{
    (void)state;
    for (int i = 0; conf_profile_name(i) != NULL; i++) {
        const char *text = conf_profile_text(conf_profile_name(i));
        size_t size = strlen(text) + 64;
        char name[64], *file = malloc(size), *at;
        struct conf *conf;

        assert_non_null(file);
        (void)snprintf(name, sizeof(name), "\n  %s:\n", conf_profile_name(i));
        (void)snprintf(file, size, "version: 1\n%s", text);
        at = strstr(file, name);
        assert_non_null(at);
        at[3] = 'x'; /* another name of the same length */
        conf = load(file);
        assert_int_equal(conf->profile_count, 7);
        assert_false(conf->profiles[6].built_in);
        assert_true(conf->profiles[6].deduplicates == named(conf, conf_profile_name(i))->deduplicates);
        assert_int_equal(conf->profiles[6].final_count, named(conf, conf_profile_name(i))->final_count);
        conf_free(conf);
        free(file);
    }
}

/* ---- the operator's ---- */

static void assert_same_codes(const struct conf_codes *a, int a_count, const struct conf_codes *b, int b_count)
{
    assert_int_equal(a_count, b_count);
    for (int i = 0; i < a_count; i++) {
        assert_int_equal(a[i].low, b[i].low);
        assert_int_equal(a[i].high, b[i].high);
    }
}

/* But for 409: whoever writes a profile has a processor that may be at work on a key. */
static void test_a_profile_that_says_nothing_is_generic(void **state)
{
    struct conf *conf = load(OWN("{}"));
    const struct conf_profile *mine = profile_of(conf), *generic = named(conf, "generic");

    (void)state;
    assert_string_equal(mine->name, "mine");
    assert_false(mine->built_in);
    assert_true(mine->deduplicates == generic->deduplicates);
    assert_int_equal(mine->key.place, generic->key.place);
    assert_string_equal(mine->key.at, generic->key.at);
    assert_int_equal(mine->key_bytes_min, generic->key_bytes_min);
    assert_int_equal(mine->key_bytes_max, generic->key_bytes_max);
    assert_null(mine->key_chars);
    assert_null(generic->key_chars);
    assert_false(mine->keys_put || mine->keys_delete || generic->keys_put || generic->keys_delete);
    assert_int_equal(mine->retention_count + generic->retention_count, 0);
    assert_same_codes(mine->final, mine->final_count, generic->final, generic->final_count);
    assert_same_codes(mine->not_executed, mine->not_executed_count, generic->not_executed, generic->not_executed_count);
    assert_same_codes(mine->busy, mine->busy_count, (struct conf_codes[]){{409, 409}}, 1);
    assert_int_equal(generic->busy_count, 0);
    assert_int_equal(mine->unproven_word_count + mine->print_field_count + mine->kept_field_count, 0);
    assert_int_equal(generic->unproven_word_count + generic->print_field_count + generic->kept_field_count, 0);
    assert_same_codes(mine->declined, mine->declined_count, generic->declined, generic->declined_count);
    assert_same_codes(mine->declined, mine->declined_count, (struct conf_codes[]){{402, 402}}, 1);
    assert_int_equal(mine->declined_word_count + mine->test_key_count, 0);
    assert_int_equal(generic->declined_word_count + generic->test_key_count, 0);
    assert_null(mine->not_executed_field);
    assert_null(mine->replay_marker);
    assert_int_equal(mine->errors, CONF_ERRORS_PROBLEM);
    assert_false(mine->should_retry);
    assert_int_equal(mine->key_reused_status + mine->key_in_progress_status + mine->outcome_unknown_status, 0);
    conf_free(conf);
}

static void test_a_profile_is_as_it_is_written(void **state)
{
    struct conf *conf = load(OWN("\n"
                                 "    deduplicates: true\n"
                                 "    key: json:/request/id\n"
                                 "    key_length: 8-36\n"
                                 "    key_chars: A-Fa-f0-9-\n"
                                 "    methods: [DELETE, POST, PUT, PATCH]\n"
                                 "    retention: [{path: /v2, keep: 30d}, {keep: 24h}]\n"
                                 "    final: [200-299, 402]\n"
                                 "    not_executed: [429, 503]\n"
                                 "    busy: [\"409\"]\n"
                                 "    not_executed_field: \"Transient-Error: true\"\n"
                                 "    unproven_words: [DUPLICATE]\n"
                                 "    print_fields: [Acme-Account, Acme-Version]\n"
                                 "    kept_fields: [Acme-*, Trace]\n"
                                 "    replay_marker: 'Replayed:yes'\n"
                                 "    declined: [402, 460-469]\n"
                                 "    declined_words: ['\"Declined\"', NO_FUNDS]\n"
                                 "    test_keys: [try_]\n"
                                 "    errors: square\n"
                                 "    stripe_should_retry: true\n"
                                 "    statuses: {key_reused: 400, key_in_progress: 425, outcome_unknown: 500}"));
    const struct conf_profile *mine = profile_of(conf);

    (void)state;
    assert_true(mine->deduplicates);
    assert_int_equal(mine->key.place, CONF_KEY_JSON);
    assert_string_equal(mine->key.at, "/request/id");
    assert_int_equal(mine->key_bytes_min, 8);
    assert_int_equal(mine->key_bytes_max, 36);
    assert_string_equal(mine->key_chars, "A-Fa-f0-9-");
    assert_true(mine->keys_put && mine->keys_delete);
    assert_int_equal(mine->retention_count, 2);
    assert_string_equal(mine->retentions[0].path, "/v2");
    assert_true(mine->retentions[0].keep_ms == 30ull * 24 * 3600 * 1000);
    assert_null(mine->retentions[1].path);
    assert_true(mine->retentions[1].keep_ms == 24ull * 3600 * 1000);
    assert_same_codes(mine->final, mine->final_count, (struct conf_codes[]){{200, 299}, {402, 402}}, 2);
    assert_same_codes(mine->not_executed, mine->not_executed_count, (struct conf_codes[]){{429, 429}, {503, 503}}, 2);
    assert_same_codes(mine->busy, mine->busy_count, (struct conf_codes[]){{409, 409}}, 1);
    assert_string_equal(mine->not_executed_field, "Transient-Error: true");
    assert_int_equal(mine->unproven_word_count, 1);
    assert_string_equal(mine->unproven_words[0], "DUPLICATE");
    assert_int_equal(mine->print_field_count, 2);
    assert_string_equal(mine->print_fields[1], "Acme-Version");
    assert_int_equal(mine->kept_field_count, 2);
    assert_string_equal(mine->kept_fields[0], "Acme-*");
    assert_string_equal(mine->replay_marker, "Replayed:yes");
    assert_same_codes(mine->declined, mine->declined_count, (struct conf_codes[]){{402, 402}, {460, 469}}, 2);
    assert_int_equal(mine->declined_word_count, 2);
    assert_string_equal(mine->declined_words[0], "\"Declined\"");
    assert_string_equal(mine->declined_words[1], "NO_FUNDS");
    assert_int_equal(mine->test_key_count, 1);
    assert_string_equal(mine->test_keys[0], "try_");
    assert_int_equal(mine->errors, CONF_ERRORS_SQUARE);
    assert_true(mine->should_retry);
    assert_int_equal(mine->key_reused_status, 400);
    assert_int_equal(mine->key_in_progress_status, 425);
    assert_int_equal(mine->outcome_unknown_status, 500);
    conf_free(conf);
}

static void test_one_retention_may_stand_alone(void **state)
{
    struct conf *conf = load(OWN("{deduplicates: true, retention: 24h}"));

    (void)state;
    assert_int_equal(profile_of(conf)->retention_count, 1);
    assert_null(profile_of(conf)->retentions[0].path);
    assert_true(profile_of(conf)->retentions[0].keep_ms == 24ull * 3600 * 1000);
    conf_free(conf);
    SAYS("{deduplicates: true, retention: 24}", "'24' for profiles.mine.retention has no unit\n");
    SAYS("{deduplicates: true, retention: {keep: 24h}}", "profiles.mine.retention must be a list\n");
    SAYS("{deduplicates: true, retention: [{path: /a}]}", "missing key 'keep' in profiles.mine.retention[0]\n");
    SAYS("{deduplicates: true, retention: []}", "profiles.mine.retention must be a list of 1 to 16 entries\n");
}

/* ---- like another ---- */

static void test_a_profile_that_is_like_another_says_what_differs(void **state)
{
    struct conf *conf = load(OWN("{retention: 7d, like: stripe, key_length: 1-64, kept_fields: []}"));
    const struct conf_profile *mine = profile_of(conf), *stripe = named(conf, "stripe");

    (void)state;
    assert_string_equal(mine->name, "mine");
    assert_string_equal(stripe->name, "stripe");
    assert_false(mine->built_in);
    assert_true(stripe->built_in);
    assert_int_equal(mine->retention_count, 1);
    assert_true(mine->retentions[0].keep_ms == 7ull * 24 * 3600 * 1000);
    assert_int_equal(mine->key_bytes_max, 64);
    assert_int_equal(stripe->key_bytes_max, 255);
    assert_int_equal(mine->kept_field_count, 0);
    assert_true(stripe->kept_field_count > 0);
    assert_true(mine->deduplicates && mine->should_retry);
    assert_int_equal(mine->errors, CONF_ERRORS_STRIPE);
    assert_same_codes(mine->final, mine->final_count, stripe->final, stripe->final_count);
    assert_same_codes(mine->busy, mine->busy_count, stripe->busy, stripe->busy_count);
    assert_int_equal(mine->print_field_count, stripe->print_field_count);
    assert_int_equal(mine->key_reused_status, stripe->key_reused_status);
    assert_int_equal(mine->test_key_count, 3);
    assert_string_equal(mine->test_keys[0], "sk_test_");
    conf_free(conf);
    conf = load(OWN("{like: checkout, declined: [], declined_words: [], test_keys: [none_]}"));
    assert_int_equal(profile_of(conf)->declined_count + profile_of(conf)->declined_word_count, 0);
    assert_int_equal(profile_of(conf)->test_key_count, 1);
    assert_true(named(conf, "checkout")->declined_word_count == 1 && named(conf, "checkout")->test_key_count == 4);
    conf_free(conf);
    conf = load(OWN("{like: square, methods: [POST, PATCH], statuses: {outcome_unknown: 500}}"));
    assert_true(named(conf, "square")->keys_put);
    assert_false(profile_of(conf)->keys_put);
    assert_int_equal(profile_of(conf)->outcome_unknown_status, 500);
    conf_free(conf);
    conf = load(OWN("{like: square}"));
    assert_true(profile_of(conf)->keys_put);
    conf_free(conf);
}

/* The next profile, and whatever follows in the file, has its own defaults again. */
static void test_only_that_profile_is_like_it(void **state)
{
    struct conf *conf = load("version: 1\nprofiles: {a: {like: stripe}, b: {}}\n" PROCESSOR);

    (void)state;
    assert_true(named(conf, "a")->deduplicates);
    assert_false(named(conf, "b")->deduplicates);
    assert_int_equal(named(conf, "b")->final_count, named(conf, "generic")->final_count);
    assert_int_equal(conf->processors[0].connect_ms, 1000);
    conf_free(conf);
}

static void test_like_names_a_built_in_profile(void **state)
{
    (void)state;
    assert_shown(OWN("{like: strip}"),
                 "weir.yaml:5:16: error: profiles.mine is like 'strip', which is no built-in profile\n"
                 "    5 |   mine: {like: strip}\n"
                 "      |                ^~~~~ did you mean 'stripe'?\n"
                 "      = allowed here: adyen, checkout, generic, paypal, square, stripe\n"
                 "weir.yaml: 1 error: not loaded\n");
    SAYS("{like: mine}", "profiles.mine is like 'mine', which is no built-in profile\n");
    SAYS("{like: 'a b'}", "'a b' for profiles.mine.like is not a name\n");
    assert_does_not_say(OWN("{like: 'a b'}"), "no built-in profile");
    SAYS("{like: [stripe]}", "profiles.mine.like must be a single value\n");
}

static void test_a_built_in_name_is_taken(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER "profiles: {stripe: {like: generic}}\n" PROCESSOR ROUTE,
                 "weir.yaml:3:12: error: profiles.stripe is a built-in profile\n"
                 "    3 | profiles: {stripe: {like: generic}}\n"
                 "      |            ^~~~~~ take another name, and write 'like: stripe' in it\n"
                 "weir.yaml: 1 error: not loaded\n");
}

/* ---- what a processor's name means ---- */

static void test_a_processor_names_a_profile_that_there_is(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER "processors: {acme: {profile: mind, url: https://a.example}}\n"
                 "profiles: {mine: {}}\n" ROUTE,
                 "weir.yaml:3:30: error: processor 'acme' has the profile 'mind', which is not defined\n"
                 "    3 | processors: {acme: {profile: mind, url: https://a.example}}\n"
                 "      |                              ^~~~ did you mean 'mine'?\n"
                 "      = allowed here: adyen, checkout, generic, paypal, square, stripe, mine\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says("version: 1\nprocessors: {acme: {profile: 'a b', url: https://a.example}}\n",
                "'a b' for processors.acme.profile is not a name\n");
    assert_does_not_say("version: 1\nprocessors: {acme: {profile: 'a b', url: https://a.example}}\n", "not defined");
}

/* ---- the rules of one ---- */

static void test_who_deduplicates_says_for_how_long(void **state)
{
    (void)state;
    assert_shown(OWN("{deduplicates: true}"),
                 "weir.yaml:5:24: error: profiles.mine de-duplicates and does not say for how long\n"
                 "    5 |   mine: {deduplicates: true}\n"
                 "      |                        ^~~~ add retention: what its documentation promises\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(OWN("{retention: 24h}"),
                 "weir.yaml:5:21: warning: profiles.mine.retention has no effect\n"
                 "    5 |   mine: {retention: 24h}\n"
                 "      |                     ^~~ deduplicates is false\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_does_not_say(OWN("{deduplicates: true, retention: 24}"), "for how long");
    assert_does_not_say(OWN("{deduplicates: true, retention: []}"), "for how long");
}

static void test_a_retention_behind_one_for_every_path_can_never_fit(void **state)
{
    (void)state;
    assert_shown(OWN("{deduplicates: true, retention: [{keep: 1d}, {path: /v2, keep: 2d}]}"),
                 "weir.yaml:5:54: error: profiles.mine.retention[1] can never fit: an entry before it is for every path\n"
                 "    5 |   mine: {deduplicates: true, retention: [{keep: 1d}, {path: /v2, keep: 2d}]}\n"
                 "      |                                                      ^\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_a_success_is_never_nothing(void **state)
{
    (void)state;
    assert_shown(OWN("{not_executed: [429, 202]}"),
                 "weir.yaml:5:30: error: profiles.mine.not_executed takes a success for nothing\n"
                 "    5 |   mine: {not_executed: [429, 202]}\n"
                 "      |                              ^~~ its key would be free for a second payment\n"
                 "weir.yaml: 1 error: not loaded\n");
    SAYS("{not_executed: [299-499]}", "takes a success for nothing");
    SAYS("{final: []}", "profiles.mine.final must be a list of 1 to 16 entries\n");
}

static void test_post_and_patch_always_carry_keys(void **state)
{
    (void)state;
    assert_shown(OWN("{methods: [POST, PUT]}"),
                 "weir.yaml:5:10: error: profiles.mine.methods leaves one out that carries keys\n"
                 "    5 |   mine: {methods: [POST, PUT]}\n"
                 "      |          ^~~~~~~ POST and PATCH always carry keys\n"
                 "weir.yaml: 1 error: not loaded\n");
    SAYS("{methods: [PATCH, DELETE]}", "leaves one out that carries keys");
    SAYS("{methods: [POST, PATCH, GET]}", "'GET' for profiles.mine.methods[2] is not one of its values\n");
    assert_does_not_say(OWN("{methods: [POST, GET]}"), "leaves one out");
    SAYS("{methods: [POST]}", "profiles.mine.methods must be a list of 2 to 4 entries\n");
    SAYS("{methods: POST}", "profiles.mine.methods must be a list\n");
}

/* ---- the kinds of their values ---- */

static void test_values_have_one_reading(void **state)
{
    static const struct {
        const char *key, *value, *what;
    } rows[] = {
        {"key_length", "255", "is not a range"},        {"key_length", "36-1", "is not a range"},
        {"key_length", "a-b", "is not a range"},        {"key_length", "0-255", "is out of range"},
        {"key_length", "1-256", "is out of range"},     {"key_chars", "'a b'", "is not a set of characters"},
        {"key_chars", "z-a", "is not a set of characters"}, {"key_chars", "''", "is not a set of characters"},
        {"final", "[99]", "is not a status"},           {"final", "[100-199]", "is not a status"},
        {"final", "[600]", "is not a status"},          {"final", "[500-600]", "is not a status"},
        {"final", "[299-200]", "is not a status"},      {"final", "[2xx]", "is not a status"},
        {"busy", "409", "must be a list"},              {"busy", "[[409]]", "must be a single value"},
        {"not_executed_field", "Transient-Error", "is not a line of a head"},
        {"not_executed_field", "'Transient-Error:'", "is not a line of a head"},
        {"not_executed_field", "': true'", "is not a line of a head"},
        {"not_executed_field", "'Transient Error: true'", "is not a line of a head"},
        {"not_executed_field", "\"A: b\\nC: d\"", "is not a line of a head"},
        {"not_executed_field", "{Transient-Error: true}", "must be a single value"},
        {"replay_marker", "x", "is not a line of a head"},
        {"print_fields", "['']", "is not a field of a head"},
        {"print_fields", "['A B']", "is not a field of a head"},
        {"print_fields", "['A:']", "is not a field of a head"},
        {"print_fields", "['Acme-*']", "is not a field of a head"},
        {"kept_fields", "['*']", "is not a field of a head"},
        {"kept_fields", "['A*B']", "is not a field of a head"},
        {"kept_fields", "['A**']", "is not a field of a head"},
        {"unproven_words", "['A B']", "is not visible ASCII"},
        {"declined", "[4xx]", "is not a status"},
        {"declined_words", "['\"approved\": false']", "is not visible ASCII"},
        {"test_keys", "['']", "is not visible ASCII"},
        {"errors", "rfc9457", "is not one of its values"},
        {"deduplicates", "on", "is not one of its values"},
        {"statuses", "{key_reused: 200}", "is out of range"},
        {"statuses", "{rate_limited: 429}", "unknown key 'rate_limited' in profiles.mine.statuses"},
        {"retention", "[{path: v2, keep: 1d}]", "is not a path"},
        {"retention", "[{path: /v2/*, keep: 1d}]", "has a '*'"},
        {"retention", "[{path: '/v2?a', keep: 1d}]", "holds a character that no path has"},
        {"retention", "366d", "is out of range"},
        {"scope", "route", "unknown key 'scope' in profiles.mine"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), OWN("{deduplicates: true, %s: %s}"), rows[i].key, rows[i].value);
        if (strcmp(rows[i].key, "deduplicates") == 0) {
            (void)snprintf(text, sizeof(text), OWN("{%s: %s}"), rows[i].key, rows[i].value);
        }
        assert_says(text, rows[i].what);
    }
}

static void test_lists_are_as_long_as_policy_has_room(void **state)
{
    char list[1024] = "", text[2048];
    struct conf *conf;

    (void)state;
    for (int i = 0; i < 16; i++) {
        (void)snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%d", i == 0 ? "" : ", ", 400 + i);
    }
    (void)snprintf(text, sizeof(text), OWN("{final: [%s]}"), list);
    conf = load(text);
    assert_int_equal(profile_of(conf)->final_count, 16);
    assert_int_equal(profile_of(conf)->final[15].high, 415);
    conf_free(conf);
    (void)snprintf(text, sizeof(text), OWN("{final: [%s, 500]}"), list);
    assert_says(text, "profiles.mine.final must be a list of 1 to 16 entries\n");
    (void)snprintf(text, sizeof(text), OWN("{unproven_words: [a, b, c, d, e, f, g, h, i]}"));
    assert_says(text, "profiles.mine.unproven_words must be a list of 0 to 8 entries\n");
    (void)snprintf(text, sizeof(text), OWN("{declined: [%s]}"), list);
    conf = load(text);
    assert_int_equal(profile_of(conf)->declined_count, 16);
    conf_free(conf);
    (void)snprintf(text, sizeof(text), OWN("{declined: [%s, 500]}"), list);
    assert_says(text, "profiles.mine.declined must be a list of 0 to 16 entries\n");
    conf = load(OWN("{declined_words: [a, b, c, d, e, f, g, h], test_keys: [a, b, c, d, e, f, g, h]}"));
    assert_int_equal(profile_of(conf)->declined_word_count, 8);
    assert_int_equal(profile_of(conf)->test_key_count, 8);
    conf_free(conf);
    SAYS("{declined_words: [a, b, c, d, e, f, g, h, i]}", "profiles.mine.declined_words must be a list of 0 to 8 entries\n");
    SAYS("{test_keys: [a, b, c, d, e, f, g, h, i]}", "profiles.mine.test_keys must be a list of 0 to 8 entries\n");
}

static void test_an_operator_has_at_most_64_profiles(void **state)
{
    char text[4096] = "version: 1\nprofiles:\n";
    struct conf *conf;

    (void)state;
    for (int i = 0; i < 64; i++) {
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "  p%d: {}\n", i);
    }
    conf = load(text);
    assert_int_equal(conf->profile_count, 70);
    assert_string_equal(conf->profiles[69].name, "p63");
    conf_free(conf);
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "  p64: {}\n");
    assert_says(text, "error: profiles must be at most 64 entries\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_built_in_profiles_all_load),
        cmocka_unit_test(test_a_built_in_profile_is_a_section_of_the_file),
        cmocka_unit_test(test_a_profile_that_says_nothing_is_generic),
        cmocka_unit_test(test_a_profile_is_as_it_is_written),
        cmocka_unit_test(test_one_retention_may_stand_alone),
        cmocka_unit_test(test_a_profile_that_is_like_another_says_what_differs),
        cmocka_unit_test(test_only_that_profile_is_like_it),
        cmocka_unit_test(test_like_names_a_built_in_profile),
        cmocka_unit_test(test_a_built_in_name_is_taken),
        cmocka_unit_test(test_a_processor_names_a_profile_that_there_is),
        cmocka_unit_test(test_who_deduplicates_says_for_how_long),
        cmocka_unit_test(test_a_retention_behind_one_for_every_path_can_never_fit),
        cmocka_unit_test(test_a_success_is_never_nothing),
        cmocka_unit_test(test_post_and_patch_always_carry_keys),
        cmocka_unit_test(test_values_have_one_reading),
        cmocka_unit_test(test_lists_are_as_long_as_policy_has_room),
        cmocka_unit_test(test_an_operator_has_at_most_64_profiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
