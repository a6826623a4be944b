/*
 * Unknown outcomes, told one by one: an `unknown` event when it begins, exactly
 * one `resolved` event when it ends, in room that other lines may not use. For
 * keyed requests the record decides which is the first and which the last, so
 * several weirs tell each once; for others there is nothing to resolve.
 */
#include "exchange.h"

static const struct stats_family family_unknown = {
    .name = "weir_idempotency_unknown_total",
    .help = "Records whose outcome became unknown, as this weir told them.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_resolved = {
    .name = "weir_idempotency_resolved_total",
    .help = "Unknown records that came to an end, as this weir told them.",
    .kind = STATS_COUNTER,
    .labels = {"how"},
};

static const struct stats_family family_conflicts = {
    .name = "weir_idempotency_conflicts_total",
    .help = "Answers for records that are bound to another processor or upstream key: perhaps executed twice.",
    .kind = STATS_COUNTER,
};

void unknown_find_series(struct gate *gate)
{
    gate->stat_conflicts = stats_series(gate->options.stats, &family_conflicts);
    gate->stat_unknown = stats_series(gate->options.stats, &family_unknown);
    for (int i = 0; i < IDEM_HOW_COUNT; i++) {
        gate->stat_resolved[i] = stats_series(gate->options.stats, &family_resolved, idem_how_name((enum idem_how)i));
    }
}

void unknown_note(struct exchange *x)
{
    const struct log_field fields[] = {
        LOG_B("request_id", bytes_of(x->request_id, REQUEST_ID_BYTES)),
        LOG_T("processor", x->processor_conf->name),
        LOG_T("endpoint", call_endpoint_text(&x->call)),
        LOG_T("route", x->route->conf->name),
        LOG_T("reason", reason_name(x->reason)),
        LOG_N("status", x->status),
        LOG_T("why", x->why),
    };
    log_audit_fields(x->gate->options.log, "unknown", "sent without a definite answer", fields, (int)ARRAY_COUNT(fields));
}

static enum idem_how how_of(const struct idem_op *op)
{
    switch (op->kind) {
    case IDEM_RESOLVE:
        return IDEM_HOW_OPERATOR;
    case IDEM_LAPSE:
        return IDEM_HOW_EXPIRED;
    default:
        return op->how;
    }
}

void gate_heard(void *owner, const struct idem_op *op, const struct idem_result *result)
{
    struct gate *gate = owner;
    char record[IDEM_SHORT_BYTES + 1];
    idem_name_short(&op->name, record);
    /* The record's first request is the one that a processor's support can find. */
    const char *request_id = result->request_id[0] != '\0' ? result->request_id : op->request_id;
    struct bytes processor = result->processor[0] != '\0' ? bytes_from_text(result->processor) : op->processor;
    struct log_field fields[] = {
        LOG_T("record", record),
        LOG_T("request_id", request_id[0] != '\0' ? request_id : NULL),
        LOG_B("processor", processor),
        LOG_T("how", NULL),
    };
    int count = (int)ARRAY_COUNT(fields);
    if (result->told_now) {
        stats_add(gate->options.stats, gate->stat_unknown, 1);
        log_audit_fields(gate->options.log, "unknown", "a record has no definite answer", fields, count - 1);
    }
    if (result->verdict == IDEM_CONFLICT) {
        stats_add(gate->options.stats, gate->stat_conflicts, 1);
        log_audit_fields(gate->options.log, "double_execution_suspected",
                         "an answer came for a record that is bound to another processor or upstream key", fields, count - 1);
    }
    if (result->resolved_now) {
        enum idem_how how = how_of(op);
        stats_add(gate->options.stats, gate->stat_resolved[how], 1);
        fields[3].text = idem_how_name(how);
        log_audit_fields(gate->options.log, "resolved", "an unknown record came to its end", fields, count);
    }
}
