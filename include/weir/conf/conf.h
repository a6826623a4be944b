/*
 * One loaded configuration: plain structs, immutable once conf_load returned
 * them, every default filled in. All memory belongs to the conf and goes with
 * conf_free. Names, defaults and ranges come from the key table (conf/keys.def),
 * which is also the parser, the validator, the printer, the JSON schema and the
 * manual (docs/configuration.md). Durations are in milliseconds, sizes in bytes.
 */
#ifndef WEIR_CONF_CONF_H
#define WEIR_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/bytes.h"
#include "weir/base/log.h"

enum conf_tls_minimum { CONF_TLS_1_2, CONF_TLS_1_3 };
enum conf_client_certs { CONF_CLIENT_CERTS_OFF, CONF_CLIENT_CERTS_OPTIONAL, CONF_CLIENT_CERTS_REQUIRED };
enum conf_balance { CONF_BALANCE_P2C, CONF_BALANCE_LEAST, CONF_BALANCE_ROUND_ROBIN };
enum conf_key_place { CONF_KEY_HEADER, CONF_KEY_JSON };
enum conf_mode { CONF_MODE_STICKY, CONF_MODE_SINGLE_SHOT, CONF_MODE_FAILOVER };
enum conf_health { CONF_HEALTH_NONE, CONF_HEALTH_HTTP, CONF_HEALTH_TCP, CONF_HEALTH_TLS };
enum conf_upstream_key { CONF_UPSTREAM_KEY_PASSTHROUGH, CONF_UPSTREAM_KEY_DERIVED };
enum conf_tenants_by { CONF_TENANTS_BY_HEADER, CONF_TENANTS_BY_MTLS_SUBJECT, CONF_TENANTS_BY_CLIENT_IP };
enum conf_store_type { CONF_STORE_EMBEDDED, CONF_STORE_REDIS };
enum conf_errors { CONF_ERRORS_PROBLEM, CONF_ERRORS_STRIPE, CONF_ERRORS_ADYEN, CONF_ERRORS_CHECKOUT,
                   CONF_ERRORS_PAYPAL, CONF_ERRORS_SQUARE };

enum conf_limit_mode { CONF_LIMIT_ENFORCE, CONF_LIMIT_SHADOW, CONF_LIMIT_OFF };
enum conf_limit_store_down { CONF_LIMIT_LOCAL, CONF_LIMIT_OPEN, CONF_LIMIT_CLOSED };
enum conf_charge_on { CONF_CHARGE_ON_REQUEST, CONF_CHARGE_ON_DECLINE };
/* What is shed last and first: the words of routes.NAME.class (class_by_word in gate/generation.h). */
enum conf_class { CONF_CLASS_PAYMENT, CONF_CLASS_WRITE, CONF_CLASS_READ, CONF_CLASS_LIST, CONF_CLASS_TEST,
                  CONF_CLASS_BACKGROUND };
enum conf_limit_part_kind { CONF_PART_TENANT, CONF_PART_CLIENT_IP, CONF_PART_MTLS_SUBJECT, CONF_PART_HEADER,
                            CONF_PART_ROUTE };

/* One thing that tells callers apart. */
struct conf_limit_part {
    enum conf_limit_part_kind kind;
    const char *header; /* CONF_PART_HEADER: its name as written; else NULL */
};
#define CONF_LIMIT_PARTS_MAX 4

/* "100/s", "30/60s", "1/day": tokens every so many microseconds. tokens 0: not written. */
struct conf_rate {
    uint64_t tokens, per_us;
};

/* What callers of one tier (third word of known_file) get instead. */
struct conf_limit_tier {
    const char *name;
    struct conf_rate rate;
    uint64_t burst;
    uint32_t concurrent;
};

/* limits.NAME: a rate (with burst) or a number of requests at once, for each caller. */
struct conf_limit {
    const char *name;
    struct conf_limit_part *parts; /* `by`: tenant, client_ip, mtls_subject, header:NAME, route; one or a list */
    int part_count;                /* 1 to CONF_LIMIT_PARTS_MAX */
    struct conf_rate rate;         /* tokens 0: it limits `concurrent` */
    uint64_t burst;                /* default: what the rate gives in a second, at least 1 */
    uint32_t concurrent;           /* 0: it limits `rate` */
    enum conf_limit_mode mode;
    enum conf_limit_store_down store_down;
    enum conf_charge_on charge_on;
    struct conf_limit_tier *tiers;
    int tier_count;
    bool local;                    /* by client_ip, alone or with others: counted in this process */
};

/* Where an idempotency key stands: "header:Idempotency-Key" or "json:/idempotency_key". */
struct conf_key {
    enum conf_key_place place;
    const char *at; /* the header's name as written, or the JSON pointer; NULL: not written */
};

/* "200-299" or "402"; both ends included. */
struct conf_codes {
    uint16_t low, high;
};

/* For how long the keys of requests to paths with this start are de-duplicated. */
struct conf_retention {
    const char *path; /* prefix; NULL: every path */
    uint64_t keep_ms;
};

/* profiles.NAME: how a processor's API behaves. The built-in ones are YAML in src/conf/profiles/ and come through here
 * like the operator's own; policy/profile.h says what each field does. */
struct conf_profile {
    const char *name;
    bool built_in;
    bool deduplicates;
    struct conf_key key;
    uint32_t key_bytes_min, key_bytes_max;
    const char *key_chars;           /* NULL: visible ASCII */
    bool keys_put, keys_delete;      /* of methods: [POST, PATCH, PUT, DELETE] */
    struct conf_retention *retentions; /* the first that fits */
    int retention_count;
    struct conf_codes *final, *not_executed, *busy;
    int final_count, not_executed_count, busy_count;
    const char *not_executed_field;  /* "Transient-Error: true"; NULL: none */
    const char **unproven_words;     /* words in the body of a refusal that proves nothing ("DUPLICATE_REQUEST_ID") */
    int unproven_word_count;
    const char **print_fields;       /* headers that belong to the fingerprint */
    int print_field_count;
    const char **kept_fields;        /* headers kept with a stored answer */
    int kept_field_count;
    const char *replay_marker;       /* "Idempotent-Replayed: true"; NULL: none */
    struct conf_codes *declined;     /* statuses of a payment that was declined */
    int declined_count;
    const char **declined_words;     /* words in the body of an answer that say so, whatever its status */
    int declined_word_count;
    const char **test_keys;          /* starts of credentials of test traffic ("sk_test_") */
    int test_key_count;
    enum conf_errors errors;
    bool should_retry;
    uint16_t key_reused_status, key_in_progress_status, outcome_unknown_status; /* 0: as in the table of reasons */
};

/* routes.NAME.idempotency, with every default settled. */
struct conf_idempotency {
    bool on;                  /* requests with a key have a record */
    struct conf_key key;
    bool required;
    enum conf_mode mode;
    enum conf_upstream_key upstream_key;
    uint64_t keep_ms, keep_receipt_ms, keep_unknown_ms;
    uint32_t wait_ms;
    bool pass_when_down;      /* store_down: pass */
};

struct conf_tenants {
    enum conf_tenants_by by;
    const char *header;       /* by header */
    bool refuse_unknown;
    const char *known_file;   /* NULL: none */
};

struct conf_server {
    const char *text;         /* as written: "rediss://cache.example:6380" */
    bool tls;
    const char *host;
    uint16_t port;
};

struct conf_store {
    bool written;             /* the section stands in the file */
    enum conf_store_type type;
    const char *secret_file;
    uint32_t begin_timeout_ms;
    uint32_t limit_timeout_ms; /* redis: of a question about limits alone */
    /* embedded */
    const char *path;
    uint64_t size_bytes;
    bool single_machine;
    /* redis */
    struct conf_server *servers;
    int server_count;
    const char *username;      /* NULL: none */
    const char *password_file; /* NULL: none */
    bool tls_verify;
    const char *tls_ca;        /* NULL: system */
    const char *tls_cert, *tls_key; /* NULL: none */
    const char *tls_server_name;    /* NULL: the server's host */
};

struct conf_certificate {
    const char *cert; /* path */
    const char *key;  /* path */
};

struct conf_listener_tls {
    bool present;     /* the section was written; false: plain HTTP */
    struct conf_certificate *certificates;
    int certificate_count;
    enum conf_tls_minimum minimum;
    enum conf_client_certs client_certs;
    const char *client_ca;  /* path, NULL: none */
    const char *client_crl; /* path, NULL: none */
};

struct conf_listener {
    const char *name;
    struct addr_listen address;
    const char *address_text; /* as written */
    struct conf_listener_tls tls;
    bool proxy_protocol; /* required */
    struct addr_net *trusted;
    int trusted_count;
    uint32_t connections;     /* 0: what the descriptor limit leaves */
    uint32_t per_address;     /* connections */
    int *accept_limits;       /* limits.accept: indices into conf->limits, of what a new connection is charged to before TLS */
    int accept_limit_count;
    uint32_t header_bytes;
    uint64_t body_bytes;
    uint32_t handshake_ms, header_ms, body_ms, idle_ms, write_ms;
};

/* processors.NAME.health. Absent: type NONE, calls alone tell. */
struct conf_health_checks {
    enum conf_health type;
    const char *path;         /* http */
    uint16_t status_min, status_max; /* http: an answer from .. to .. passes */
    uint32_t every_ms, timeout_ms;
    uint32_t down_after, up_after;
};

/* processors.NAME.breaker */
struct conf_breaker {
    uint32_t window_ms;
    uint32_t min_requests;
    uint32_t open_at_permille;
    uint32_t slow_ms;         /* settled: 80 % of response_ms unless written */
    uint32_t slow_at_permille;
    uint32_t open_for_ms, open_max_ms;
};

struct conf_processor {
    const char *name;
    const char *profile_name;
    int profile;              /* index into conf->profiles */
    const char *url;          /* as written */
    bool tls;                 /* the url says https */
    const char *host;         /* of url: the name that is resolved and verified, brackets removed */
    uint16_t port;            /* of url, or its scheme's */
    const char *host_header;  /* what the processor sees as Host; NULL: host: pass, the client's */
    struct addr *endpoints;   /* NULL: resolve host */
    int endpoint_count;
    uint32_t *weights;        /* one per endpoint, 1 to 100; NULL: all alike */
    int weight_count;         /* as many as endpoints, or 0 */
    bool tls_verify;          /* full */
    const char *tls_ca;       /* path; NULL: system */
    const char *tls_cert, *tls_key; /* paths; NULL: none */
    const char *tls_server_name;    /* the name that is verified and sent: host unless written */
    uint32_t connect_ms, response_ms, total_ms;
    uint32_t late_ms;         /* how long a link listens on for an answer that its client no longer waits for */
    uint32_t connections;     /* links per endpoint, connecting, leased and idle */
    uint32_t link_idle_ms;
    uint32_t link_age_ms;
    uint32_t queue;           /* exchanges that may wait for a link */
    enum conf_balance balance;
    uint32_t concurrency;     /* calls in flight to this processor */
    struct conf_health_checks health;
    struct conf_breaker breaker;
};

struct conf_route {
    const char *name;
    const char *host;    /* lower case; NULL: any */
    const char *method;  /* NULL: any */
    const char *path;    /* exact, or a prefix that ends in / (its * removed); NULL: any */
    bool path_is_prefix;
    int processor;       /* index into conf->processors */
    int failover;        /* index of who takes what could not be sent there; -1: nobody */
    uint64_t body_bytes; /* 0: the listener's */
    uint32_t response_ms, total_ms; /* 0: the processor's */
    bool stream_request;
    struct conf_idempotency idempotency;
    int *limits;         /* indices into conf->limits; at most LIMITS_MAX of them */
    int limit_count;
    bool class_written;  /* false: by the request: its method, and whether the route has idempotency */
    enum conf_class class;
};

struct conf_memory;
struct conf_node;

struct conf {
    const char *path;   /* of the file */
    char sha256[65];    /* of its text, hex */
    struct conf_listener *listeners;
    int listener_count;
    struct conf_processor *processors;
    int processor_count;
    struct conf_route *routes;
    int route_count;
    struct conf_profile *profiles; /* the built-in ones first */
    int profile_count;
    struct conf_limit *limits;
    int limit_count;
    struct conf_tenants tenants;
    struct conf_store store;
    bool store_needed;          /* a route has idempotency, or a limit that a Redis shares */
    struct addr_listen monitor; /* meaningful when monitor_present */
    bool monitor_present;
    const char *admin_socket;   /* NULL: none */
    struct log_sink log[LOG_STREAM_COUNT];
    uint32_t announce_ms, drain_ms;
    uint64_t buffers_bytes;     /* memory.buffers: bound on all buffered bytes */
    struct conf_memory *memory; /* conf's own */
    struct conf_node *root;     /* conf's own: the file as it was written, for conf_position */
};

/* One finding. Text is owned by the diagnostics. */
struct conf_finding {
    bool is_error;       /* else a warning */
    int line, column;    /* from 1; 0: the whole file */
    int width;           /* characters to underline; at least 1 */
    const char *message; /* "unknown key 'time_outs' in processors.acme" */
    const char *hint;    /* behind the caret: "did you mean 'timeouts'?"; NULL: none */
    const char *allowed; /* behind "= allowed here: "; NULL: none */
};

struct conf_findings;
struct conf_findings *conf_findings_open(void);
void conf_findings_close(struct conf_findings *findings);
int conf_findings_count(const struct conf_findings *findings);
int conf_findings_errors(const struct conf_findings *findings);
int conf_findings_warnings(const struct conf_findings *findings);
/* In file order, those of the whole file last; NULL past the end. At most 256 are kept, all are counted. */
const struct conf_finding *conf_findings_at(const struct conf_findings *findings, int index);
/*
 * Adds one that only a higher layer can know (a certificate that does not fit
 * its key). Texts are copied; hint and allowed may be NULL; line 0: the whole
 * file. The place of a key comes from conf_position.
 */
void conf_findings_add(struct conf_findings *findings, bool is_error, int line, int column, int width,
                       const char *message, const char *hint, const char *allowed);
/*
 * All findings in file order, as docs/operations.md shows them, with the
 * source line and the caret, and a last line such as
 * "weir.yaml: 3 errors, 1 warning: not loaded". malloc'ed text, the caller frees.
 */
char *conf_findings_text(const struct conf_findings *findings);
/* The same as one JSON object {"file","ok","findings":[{"severity","line","column","message","hint","allowed"}]}. */
char *conf_findings_json(const struct conf_findings *findings);

/*
 * Reads, checks and fills in. NULL when there is any error; warnings alone do
 * not refuse. All findings of the file are in `findings`. Blocks on the file:
 * at start, on the worker for a reload, or in a verb.
 */
struct conf *conf_load(const char *path, struct conf_findings *findings);
/* The same from text; `path` names it in messages. */
struct conf *conf_load_text(const char *path, struct bytes text, struct conf_findings *findings);
/* NULL is ignored. */
void conf_free(struct conf *conf);

/*
 * Where a key's value stands in the file: "listeners[0].tls.certificates[1].key",
 * "processors.acme.tls.ca", "endpoints" of them with [n]. False: it is not
 * written there; the place is then that of the innermost part of the path that
 * is (0, 0, 1 when none is). The three places may be NULL.
 */
bool conf_position(const struct conf *conf, const char *path, int *line, int *column, int *width);

/* A built-in profile as it is written, comments and sources included; NULL: no such profile. Static. */
const char *conf_profile_text(const char *name);
/* Their names, from 0; NULL past the end. Static. */
const char *conf_profile_name(int index);

/* The manual of one key ("processors.NAME.timeouts.connect", names of maps and lists may be left out): malloc'ed, NULL: no such
 * key. */
char *conf_explain(const char *key);
/* All keys, for suggestions and docs. malloc'ed. */
char *conf_schema_json(void);
char *conf_reference_markdown(void);

#endif
