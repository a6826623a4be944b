#!/usr/bin/env python3
"""Shows that the simulator sees what it must see: breaks a copy of the tree in one place at a time and looks for the seed that tells.

    mutants.py [--runs N] [--only WORD] [--kind wire|money|limits|sick]

Each mutant is a defect that such code really has had: those of MUTANTS are
looked for in wire runs, those of MONEY in money runs, those of SICK in sick ones,
those of LIMITS in runs of the kind that they name. One that survives N runs is a hole in the oracle. Prints
'N mutants, N caught' and, for the test driver, 'N passed, N failed'.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

# name, file, what stands there, what the mutant has instead
MUTANTS = [
    ("a request is sent again after a part of it was sent", "src/gate/exchange.c",
     "    if (x->handed_over) {\n        return again_begin(x) ?",
     "    if (false) {\n        return again_begin(x) ?"),
    ("a write that took a byte and failed counts as not sent", "src/gate/forward.c",
     "    if (wrote.sent && !x->handed_over) {", "    if (wrote.sent && wrote.err == ERR_OK && !x->handed_over) {"),
    ("the outcome of what was sent is not_sent", "src/gate/exchange_end.c",
     "        return x->outcome;\n    }\n    return OUTCOME_UNKNOWN;\n", "        return x->outcome;\n    }\n    return OUTCOME_NOT_SENT;\n"),
    ("a streamed request that broke is told that a retry is safe", "src/gate/reply.c",
     "        .sent = exchange_sent(x),", "        .sent = false,"),
    ("an answer that overtook its request leaves the link in use", "src/upstream/call.c",
     "    if (!call->request_done || stream_queued_bytes(call->link->stream) > 0) {", "    if (!call->request_done) {"),
    ("a link with bytes behind its answer is reused", "src/upstream/call.c",
     "    if (rest.len > 0 || !http_message_head(call->message)->keep_alive) {",
     "    if (!http_message_head(call->message)->keep_alive) {"),
    ("a spoilt link is reused", "src/upstream/link.c",
     "    if (link->spoilt) {", "    if (link->spoilt && link->calls_count == 0) {"),
    ("a POST goes out on an old link", "src/upstream/link.c",
     "    uint64_t most_us = safe ?", "    uint64_t most_us = safe || max_us > 0 ?"),
    ("the queue has no bound", "src/upstream/queue.c",
     "    if (processor->queue_count >= processor->settings.queue) {", "    if (processor->queue_count >= 1000) {"),
    ("links have no bound", "src/upstream/endpoint.c",
     "    return open < endpoint->processor->settings.connections;", "    return open < 1000;"),
    ("per_address has no effect", "src/gate/listener.c",
     "    if (count >= listener->conf->per_address) {", "    if (count >= 1000) {"),
    ("an end after a whole request is leaving", "src/gate/client.c",
     "\"the client reset the connection\");\n        return;\n    }\n",
     "\"the client reset the connection\");\n        return;\n    }\n    if (client->state == CLIENT_BUSY) {\n"
     "        client_lose(client, false, \"the client ended\");\n        return;\n    }\n"),
    ("a client that leaves after the first byte out cancels", "src/gate/exchange_events.c",
     "    if (!exchange_sent(x) || !x->request_whole) {", "    if (!exchange_sent(x) || x->request_whole) {"),
    ("a request goes out before its body is whole", "src/gate/exchange.c",
     "    if (!x->request_whole) {\n        set_deadline", "    if (!x->request_whole && x->body.len == 0) {\n        set_deadline"),
    ("a client is answered twice", "src/gate/exchange_end.c",
     "    if (x->answer_begun) {\n        return false;", "    if (false) {\n        return false;"),
    ("a cut answer looks whole", "src/gate/client_http1.c",
     "    if (client->chunked && end) {", "    if (client->chunked) {"),
    ("a lingering client loses the end of its answer", "src/gate/client.c",
     "client->state != CLIENT_LINGER || stream_queued_bytes(client->face.stream) > 0", "client->state != CLIENT_LINGER"),
    ("a slow client is never written to again", "src/gate/exchange_events.c",
     "        x->answer_paused = false;\n        call_resume(&x->call);", "        call_resume(&x->call);"),
    ("an answer stands still for ever", "src/gate/exchange_events.c",
     "        x->answer_paused = false;\n        call_resume(&x->call);", "        x->answer_paused = false;"),
    ("a drain leaves idle clients alone", "src/gate/client.c",
     "        if (client->state == CLIENT_IDLE && client_pending_bytes(client) == 0) {\n            client_linger",
     "        if (client->state == CLIENT_IDLE && client_pending_bytes(client) > 0) {\n            client_linger"),
    ("a reload that was refused moves a processor", "src/upstream/processor.c",
     "    settings_free(&processor->next); /* of a generation that never came into use */\n    if (!settings_read(&processor->next, conf, tls)) {\n        processor_release(processor);\n        return NULL;\n    }\n",
     "    settings_free(&processor->next); /* of a generation that never came into use */\n    if (!settings_read(&processor->next, conf, tls)) {\n        processor_release(processor);\n        return NULL;\n    }\n    processor_use(processor, conf);\n"),
    ("who waits in the queue waits beyond its time", "src/gate/exchange_link.c",
     "    case CALL_START_WAIT:\n        timer_set(&x->timer, x->total_due_us);",
     "    case CALL_START_WAIT:\n        timer_set(&x->timer, x->total_due_us + 500000);"),
    ("two listeners share one maximum and do not know it", "src/gate/listener.c",
     "           listener->gate->clients_count >= listener->gate->options.clients_max;", "           false;"),
]


# name, places: each a file, what stands there, what the mutant has instead
MONEY = [
    ("an expired lease pays again, where the processor does not de-duplicate", [
        ("src/policy/idem_apply.c", "    if (since_ms(record->begun_ms, now_ms) >= record->resend_ms) {", "    if (false) {"),
        ("src/policy/idem_step.c", "driver->single_shot ? refuse(driver, REASON_OUTCOME_UNKNOWN) : send_same(driver, false);",
         "send_same(driver, false);")]),
    ("a payment is sent again when its processor has forgotten it", [
        ("src/policy/idem_apply.c", "    if (since_ms(record->begun_ms, now_ms) >= record->resend_ms) {",
         "    if (record->resend_ms == 0) {")]),
    ("a takeover renews the time for sending again", [
        ("src/policy/idem_apply.c", "    record->takeovers++;\n", "    record->takeovers++;\n    record->begun_ms = now_ms;\n")]),
    ("an expired lease is a fresh begin", [
        ("src/policy/idem_apply.c", "    result->verdict = IDEM_TAKEN_OVER;\n", "    result->verdict = IDEM_NEW;\n")]),
    ("a takeover goes to the processor that the route has now", [
        ("src/gate/admit.c", "    if (!exchange_choose_processor(x, result->processor)) {", "    if (false) {")]),
    ("a takeover goes under a key of its own", [
        ("src/gate/admit.c", "    claim->upstream_key = bytes_of(plain, len);\n    claim->sealed_key", "    claim->sealed_key")]),
    ("a key is freed by who does not own it", [
        ("src/policy/idem_apply.c",
         "static enum idem_change abandon(struct idem_record *record, const struct idem_op *op, struct idem_result *result)\n{\n    if (record->state != IDEM_IN_FLIGHT || !is_own(record, op)) {",
         "static enum idem_change abandon(struct idem_record *record, const struct idem_op *op, struct idem_result *result)\n{\n    if (record->state != IDEM_IN_FLIGHT || op == NULL) {")]),
    ("a key is freed though it may have been paid", [
        ("src/policy/idem_apply.c", "IDEM_REFUSED, IDEM_KEEP);\n    }\n    return verdict(result, IDEM_OK, become_absent(record, result));",
         "IDEM_OK, become_absent(record, result));\n    }\n    return verdict(result, IDEM_OK, become_absent(record, result));"),
        ("src/policy/idem_step.c", "driver->ambiguous || driver->unrecorded ? end_unknown", "false ? end_unknown")]),
    ("ambiguity is kept in the record alone", [
        ("src/policy/idem_step.c", "    driver->ambiguous = true;\n    driver->receipt = receipt;", "    driver->receipt = receipt;")]),
    ("a key is freed when its processor answers nothing", [
        ("src/policy/idem_step.c", "        return end_unknown(driver, IDEM_DO_NOTHING);", "        return end(driver, IDEM_DO_ABANDON, OUTCOME_UNKNOWN);"),
        ("src/gate/commit.c", "        if (held) {", "        if (true) {")]),
    ("a key is freed by an answer that proves nothing", [
        ("src/policy/idem_step.c", "    case IDEM_CLASS_BUSY:\n        return end_unknown(driver, IDEM_DO_ANSWER);",
         "    case IDEM_CLASS_BUSY:\n        return end(driver, IDEM_DO_ABANDON, OUTCOME_UNKNOWN);")]),
    ("an unknown expires early", [
        ("src/policy/idem_apply.c", "        }\n        become_unknown(record, result);\n        record->lease_ms = now_ms;\n        record->expires_ms = now_ms + op->keep_unknown_ms;",
         "        }\n        become_unknown(record, result);\n        record->lease_ms = now_ms;\n        record->expires_ms = now_ms + op->keep_unknown_ms / 100;")]),
    ("the sweep ends unknowns whose time is not over", [
        ("src/policy/idem_apply.c", "record->state == IDEM_UNKNOWN && until_ms(record->expires_ms, now_ms) < op->margin_ms",
         "record->state == IDEM_UNKNOWN && until_ms(record->expires_ms, now_ms) > op->margin_ms")]),
    ("a store that is down is passed by, whatever the route says", [
        ("src/policy/idem_step.c", "    if (!driver->pass_when_down || driver->single_shot) {", "    if (false) {")]),
    ("a receipt sends again for ever", [
        ("src/policy/idem_step.c", "result->left_ms > 0 && !driver->single_shot ? send_same(driver, true)", "true ? send_same(driver, true)")]),
    ("another request under the key is not noticed", [
        ("src/policy/idem_apply.c", "    if (!is_same_request(record, op)) {\n        return verdict(result, IDEM_MISMATCH, IDEM_KEEP);",
         "    if (false) {\n        return verdict(result, IDEM_MISMATCH, IDEM_KEEP);")]),
    ("the body is not in the fingerprint", [
        ("src/gate/claim.c", "    parts[count++] = body;\n", "    parts[count++] = BYTES_NONE;\n")]),
    ("tenants share their keys", [
        ("src/gate/claim.c", "    const struct bytes parts[] = {BYTES(\"record\"), bytes_of(&kind, 1), scope->text, key};",
         "    const struct bytes parts[] = {BYTES(\"record\"), bytes_of(&kind, 1), BYTES_NONE, key};"),
        ("src/gate/claim.c", "    const struct bytes bucket[] = {BYTES(\"bucket\"), bytes_of(&kind, 1), scope->text};",
         "    const struct bytes bucket[] = {BYTES(\"bucket\"), bytes_of(&kind, 1), BYTES_NONE};")]),
    ("derived keys differ from one attempt to the next", [
        ("src/gate/claim.c", "    const struct bytes parts[] = {BYTES(\"upstream\"), bytes_of(&kind, 1), scope.text,",
         "    const struct bytes parts[] = {BYTES(\"upstream\"), bytes_of(&kind, 1), bytes_of(claim->exchange->request_id, REQUEST_ID_BYTES),")]),
    ("the client's answer does not wait for its record", [
        ("src/gate/commit.c", "        timer_set(&x->timer, x->now_us + CLAIM_COMMIT_US);\n        return COMMIT_WAIT;", "        return settled(claim);")]),
    ("an answer is never stored", [
        ("src/gate/commit.c", "        if (!ask_complete(claim, admit_on_reply)) {", "        if (true) {")]),
    ("a takeover counts as not sent", [
        ("src/gate/admit.c", "    exchange_take_over(x);\n", "")]),
    ("a stored answer is not marked as a replay", [
        ("src/gate/stored.c", "    http_write_lines(&writer, BYTES(\"Idempotent-Replayed: true\\r\\n\"));\n", "")]),
    ("an unknown that ends is not told", [
        ("src/policy/idem_apply.c", "    result->resolved_now = record->told;\n    record->told = false;\n", "    record->told = false;\n")]),
    ("what is resolved is not written", [
        ("src/gate/unknown.c", "    if (result->resolved_now) {", "    if (false) {")]),
    ("an unknown is told each time that it is looked at", [
        ("src/policy/idem_apply.c", "    result->told_now = !record->told;\n", "    result->told_now = true;\n")]),
    ("what is told is heard only while somebody waits", [
        ("src/store/store.c", "    if (status == STORE_OK) {\n        store_hear(store, &call->op, result);", "    if (status == STORE_OK && done != NULL) {\n        store_hear(store, &call->op, result);")]),
    ("a lease never ends", [
        ("src/policy/idem_apply.c", "    return record->state == IDEM_IN_FLIGHT && record->lease_ms > now_ms;", "    return record->state == IDEM_IN_FLIGHT && now_ms > 0;")]),
]

# as MONEY
SICK = [
    ("a read is told of payments by who knows nothing of them", [
        ("src/gate/failover.c", "    if (x->safe_method) {", "    if (x->safe_method && x->claim != NULL) {")]),
    ("what was sent under a key fails over", [
        ("src/gate/failover.c", "x->move == MOVE_NO && !exchange_sent(x) &&", "x->move == MOVE_NO &&"),
        ("src/policy/idem_step.c", "driver->stage != IDEM_STAGE_HELD || !driver->may_move || driver->ambiguous ||", "!driver->may_move ||"),
        ("src/policy/idem_step.c", "    CHECK(driver->stage == IDEM_STAGE_HELD && driver->rebinding);", "    CHECK(driver->rebinding);")]),
    ("a key fails over and its record stays where it is", [
        ("src/gate/failover.c", "    x->move = MOVE_BINDING;\n    ask_to_bind(claim);\n    return failover_step(x);",
         "    claim->driver.rebinding = false;\n    return go_there(x);")]),
    ("the first byte does not wait until its record is bound", [
        ("src/gate/failover.c", "    x->move = MOVE_BINDING;\n    ask_to_bind(claim);\n    return failover_step(x);",
         "    ask_to_bind(claim);\n    claim->driver.rebinding = false;\n    return go_there(x);")]),
    ("a record that could not be bound in time counts as bound", [
        ("src/policy/idem_step.c", "        return refusal(REASON_STORE_DOWN);\n    }\n    driver->rebinding = false;",
         "        driver->rebinding = false;\n        return next(IDEM_DO_SEND, OUTCOME_NOT_SENT);\n    }\n    driver->rebinding = false;")]),
    ("a record is bound elsewhere though it may have been paid", [
        ("src/gate/failover.c", "x->move == MOVE_NO && !exchange_sent(x) &&", "x->move == MOVE_NO && (!exchange_sent(x) || x->takes_over) &&"),
        ("src/gate/exchange.h", "    enum move move; ", "    bool takes_over;\n    enum move move; "),
        ("src/gate/admit.c", "    exchange_take_over(x);\n", "    exchange_take_over(x);\n    x->takes_over = true;\n"),
        ("src/policy/idem_step.c", "driver->stage != IDEM_STAGE_HELD || !driver->may_move || driver->ambiguous ||", "!driver->may_move ||"),
        ("src/policy/idem_step.c", "    CHECK(driver->stage == IDEM_STAGE_HELD && driver->rebinding);", "    CHECK(driver->rebinding);"),
        ("src/policy/idem_apply.c", "    if (record->ambiguous) {\n        return verdict(result, IDEM_REFUSED, IDEM_KEEP);\n    }\n    if (is_bound_alike", "    if (is_bound_alike")]),
    ("a key of mode sticky fails over", [
        ("src/gate/generation.c", "        if (ready && from->failover >= 0) {", "        if (ready && conf->processor_count > 1) {"),
        ("src/gate/generation.c", "ready_route_to(generation, route->failover, from, from->failover);",
         "ready_route_to(generation, route->failover, from, (from->processor + 1) % conf->processor_count);"),
        ("src/gate/claim.c", "    claim->driver.may_move = claim->conf->mode == CONF_MODE_FAILOVER;", "    claim->driver.may_move = true;")]),
    ("what fails over goes back and forth", [
        ("src/gate/failover.c", "    return x->move == MOVE_NO &&", "    return x->move != MOVE_BINDING &&"),
        ("src/gate/failover.c", "    x->route = from->failover;", "    x->route = from->failover;\n    x->route->failover = from;"),
        ("src/gate/failover.c", "           x->processor == x->route->processor &&", "           x->processor != NULL &&")]),
    ("what timed out is sent once more", [
        ("src/gate/again.c", "    return !x->answer_begun && x->client != NULL && (closed ||", "    return !x->answer_begun && x->client != NULL && (closed || x->timed_out ||"),
        ("src/gate/exchange.c", "    if (x->timed_out) {\n        return end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, \"no answer in time\");",
         "    if (x->timed_out) {\n        return again_begin(x) ? STEP_NEXT : end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, \"no answer in time\");")]),
    ("what is sent once more has another key", [
        ("src/gate/again.c", "        buf_reset(&x->claim->answer);\n", "        buf_reset(&x->claim->answer);\n        x->claim->upstream_key.len--;\n")]),
    ("what is sent once more goes on a kept link", [
        ("src/gate/exchange_link.c", ".fresh = x->again == AGAIN_FRESH || x->link_tries > 0,", ".fresh = x->link_tries > 0,")]),
    ("what has no key is sent once more", [
        ("src/gate/again.c", "    return x->safe_method && x->claim == NULL &&", "    return x->claim == NULL &&"),
        ("src/gate/again.c", "           x->request_whole && x->bytes_in == 0;", "           x->request_whole && x->body.len == 0;")]),
    ("it is sent again and again", [
        ("src/gate/again.c", "    if (x->again != AGAIN_NO || ", "    if ("),
        ("src/gate/again.c", " && x->again == AGAIN_NO;", ";")]),
    ("a refusal of the second attempt frees the key", [
        ("src/policy/idem_step.c", "    driver->ambiguous = true;\n    return next(IDEM_DO_SEND_SAME", "    return next(IDEM_DO_SEND_SAME")]),
    ("single_shot is sent once more", [
        ("src/gate/claim.c", "    claim->driver.single_shot = claim->needs_trust && ", "    claim->driver.single_shot = false && "),
        ("src/gate/claim.c", "claim->driver.single_shot ? 0 : profile_resend_ms(", "false ? 0 : profile_resend_ms(")]),
    ("what is sent once more has no budget", [
        ("src/policy/retry.c", "    if (budget->balance < cost) {\n        return false;\n    }\n    budget->balance -= cost;", "    budget->balance -= cost < budget->balance ? cost : budget->balance;")]),
    ("an open breaker of a route lets calls through", [
        ("src/policy/breaker.c", "    case BREAKER_OPEN:\n    case BREAKER_STATE_COUNT:\n        break;\n    }\n    return false;\n}\n\nvoid breaker_begin",
         "    case BREAKER_OPEN:\n    case BREAKER_STATE_COUNT:\n        break;\n    }\n    return true;\n}\n\nvoid breaker_begin")]),
    ("an open breaker of an endpoint lets calls through", [
        ("src/policy/breaker.c", "    case BREAKER_OPEN:\n    case BREAKER_STATE_COUNT:\n        break;\n    }\n    return false;\n}\n\nvoid breaker_begin",
         "    case BREAKER_OPEN:\n    case BREAKER_STATE_COUNT:\n        break;\n    }\n    return true;\n}\n\nvoid breaker_begin"),
        ("src/upstream/endpoint.c", "    return endpoint->health.state == HEALTH_DOWN || circuit_is_open(&endpoint->circuit);", "    return endpoint->health.state == HEALTH_DOWN;"),
        ("src/upstream/circuit.c", "    return circuit->breaker.state == BREAKER_OPEN;", "    return circuit->endpoint != NULL && circuit->breaker.state == BREAKER_OPEN;")]),
    ("an operator's word is not heard", [
        ("src/policy/breaker.c", "            enter_open(breaker, BREAKER_CAUSE_OPERATOR, elapsed_us(now_us, until_us), now_us);\n", "")]),
    ("a payment is the first probe", [
        ("src/policy/breaker.c", "    uint64_t waited_us = elapsed_us(breaker->since_us, now_us);", "    uint64_t waited_us = elapsed_us(breaker->since_us, now_us) + BREAKER_WAIT_BARE_US;")]),
    ("a payment does not leave the first probe to the checks", [
        ("src/policy/breaker.c", "    bool left_to_checks = breaker->settings.checked && waited_us <", "    bool left_to_checks = breaker->settings.checked && now_us <")]),
    ("two probes at one time", [
        ("src/policy/breaker.c", "    bool room = probes < stages[breaker->stage].calls;", "    bool room = probes < stages[breaker->stage].calls + 1;")]),
    ("a call that listens on stays in flight at its breakers", [
        ("src/upstream/call.c", "    verdict_timed_out(call); /* whatever still comes */\n", "")]),
    ("a call whose answer has begun stays in flight at its route", [
        ("src/upstream/verdict.c", "        end_at_route(call, BREAKER_NEUTRAL);\n        call->parked = true;", "        call->parked = true;")]),
    ("a replay is shed", [
        ("src/gate/exchange.c", "    x->known_only = sheds && !x->streams_request && claim_concerns(x);", "    x->known_only = false;")]),
    ("who has a record is shed all the same", [
        ("src/gate/admit.c", "    if (claim->status != STORE_OK || claim->result.verdict == IDEM_NONE) {", "    if (true) {")]),
]

# name, kind of run, places
LIMITS = [
    ("a slot is not given back when the client is gone", "money", [
        ("src/gate/limits.c", "        if (one->slot) {\n            CHECK", "        if (one->slot && x->client != NULL) {\n            CHECK")]),
    ("one more than concurrent", "money", [
        ("src/gate/limits.c", "one->caller->in_flight >= one->grade->concurrent", "one->caller->in_flight > one->grade->concurrent")]),
    ("who waits for a limit is not taken out of its list when it ends", "money", [
        ("src/gate/limits.c", "        limited_stop_waiting(one);\n        if (one->slot) {", "        if (one->slot) {")]),
    ("a question that failed leaves those who wait where they are", "money", [
        ("src/gate/limiter.c", "        lease_lost(&caller->lease);\n        wake_waiters(caller, true);\n", "        lease_lost(&caller->lease);\n")]),
    ("a payment that was begun is asked for its limits once more", "money", [
        ("src/gate/limits_shared.c", "    x->limited->settled = true; /* a record", "    x->limited->settled = result->verdict == IDEM_LIMITED; /* a record")]),
    ("a takeover is held to the limits", "money", [
        ("src/gate/limits_shared.c", "    x->limited->settled = true; /* a record", "    x->limited->settled = result->verdict == IDEM_NEW; /* a record")]),
    ("a payment is refused because its caller was refused a moment ago", "money", [
        ("src/gate/limits_shared.c", "    bool keyed = !x->streams_request && claim_concerns(x);\n", "    bool keyed = false;\n")]),
    ("prepaid tokens live from when they were heard of", "money", [
        ("src/gate/limiter.c", "store_fleet(gate->store), caller->asked_us, granted, told,", "store_fleet(gate->store), now_us, granted, told,")]),
    ("prepaid tokens live for ever", "money", [
        ("src/policy/lease.c", "    return now_us < lease->expires_us[run] ? lease->tokens[run] : 0;", "    return now_us > 0 ? lease->tokens[run] : 0;")]),
    ("a token is used twice", "money", [
        ("src/policy/lease.c", "    CHECK(lease->tokens[0] > 0);\n    lease->tokens[0]--;", "    lease->tokens[0] -= now_us % 2;")]),
    ("a limit that refuses is charged where another one has room", "money", [
        ("src/policy/limit.c", "    return (ask->flags & LIMIT_FORCE) != 0 || (admitted && fits);", "    return (ask->flags & LIMIT_FORCE) != 0 || fits;")]),
    ("a refusal is told a microsecond too soon", "money", [
        ("src/policy/limit.c", "divided_up(asked - capacity_of(rate), rate->drain) : 0;", "(asked - capacity_of(rate)) / rate->drain + 0 * divided_up(1, 1) : 0;")]),
    ("Retry-After is rounded down", "money", [
        ("src/gate/limits_reply.c", "us <= CLOCK_US_PER_S ? 1 : (us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;", "us <= CLOCK_US_PER_S ? 1 : us / CLOCK_US_PER_S;")]),
    ("without the store each weir has all of a limit", "money", [
        ("src/gate/limits_shared.c", "        rates[ones_count++] = limit_rate_share(&one->grade->rate, fleet_of(x));", "        rates[ones_count++] = one->grade->rate;")]),
    ("only the first limit of a route counts", "money", [
        ("src/gate/limits.c", "    for (int i = 0; i < route->limit_count; i++) {", "    for (int i = 0; i < route->limit_count && i < 1; i++) {")]),
    ("callers of several parts are told apart by the first one", "money", [
        ("src/gate/limit_caller.c", "        hash(x, runs, 1 + 2 * conf->part_count, digest);", "        hash(x, runs, 3, digest);")]),
    ("a shadow refuses", "money", [
        ("src/gate/limits.c", "    one->refused = !one->limit->shadow;", "    one->refused = true;")]),
    ("a shadow counts the declines of what it would have refused", "shadow", [
        ("src/gate/limits.c", "one->caller != NULL && !would_not_be", "one->caller != NULL && (would_not_be || true)")]),
    ("a shadow's refusal in the store is not counted", "shadow", [
        ("src/gate/limits_shared.c", "    if (!told->fits) {\n        limited_deny(one, LIMIT_AT_STORE);\n", "    if (!told->fits) {\n        one->refused = !one->limit->shadow;\n")]),
    ("a payment's decline is not charged", "money", [
        ("src/gate/commit.c", "    limits_answered(x, body);\n", "")]),
    ("what was asked before a decline lets callers pass behind it", "money", [
        ("src/gate/limiter.c", "    caller->outdated = true;\n", "")]),
    ("payments are shed", "money", [
        ("src/policy/shed.c", "    case SHED_PAYMENT:\n", "    case SHED_PAYMENT:\n        return share_above(level, SHARE_WHOLE);\n")]),
    ("a test payment that may have been made is kept from its processor", "money", [
        ("src/gate/shedding.c", "    if (exchange_sent(x) || used <", "    if (used <")]),
]


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def copy_tree(to):
    skipped = shutil.ignore_patterns("build", "build-*", ".git", "node_modules", "__pycache__")
    shutil.copytree(ROOT, to, ignore=skipped, dirs_exist_ok=True)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)


def build(tree):
    return run(["cmake", "--build", os.path.join(tree, "out"), "--target", "weir-sim"])


def simulate(tree, runs, kind):
    options = {"wire": [], "money": ["--money"], "shadow": ["--shadow"], "sick": ["--sick"]}[kind]
    try:
        return run([os.path.join(tree, "out", "tests", "sim", "weir-sim"), *options, "--seed", "1", "--runs", str(runs)], timeout=600)
    except subprocess.TimeoutExpired:
        return None


def words_of(told):
    """(the seed that failed, what was said of it)"""
    if told is None:
        return "?", "it never ended"
    seed = re.search(r"^seed (\d+) failed", told.stdout, re.M)
    why = re.search(r"^(?:violated: (.*)|.*(CHECK.*|check failed.*|ERROR: .*|runtime error: .*))$", told.stdout, re.M)
    words = next((group for group in why.groups() if group), "") if why else told.stdout.strip().split("\n")[0]
    return seed.group(1) if seed else "?", words[:110]


def try_mutant(tree, mutant, runs, kind):
    """True: caught."""
    name, places = mutant
    originals = {}
    try:
        for path, old, new in places:
            at = os.path.join(tree, path)
            text = text_of(at)
            originals.setdefault(at, text)
            if text.count(old) != 1:
                print(f"  stale   {name}: {path} has the place {text.count(old)} times")
                return False
            write(at, text.replace(old, new))
        built = build(tree)
        if built.returncode != 0:
            print(f"  broken  {name}: does not compile\n{built.stdout[-1500:]}")
            return False
        told = simulate(tree, runs, kind)
        if told is not None and told.returncode == 0:
            print(f"  MISSED  {name}")
            return False
        seed, words = words_of(told)
        print(f"  caught  {name}: seed {seed}, {words}", flush=True)
        return True
    finally:
        for at, text in originals.items():
            write(at, text)


def chosen_of(wishes):
    """(mutant, kind of run) for each that is wanted"""
    lists = {
        "wire": [((name, [tuple(place)]), "wire") for name, *place in MUTANTS],
        "money": [(mutant, "money") for mutant in MONEY],
        "sick": [(mutant, "sick") for mutant in SICK],
        "limits": [((name, places), kind) for name, kind, places in LIMITS],
    }
    wanted = [wishes.kind] if wishes.kind else list(lists)
    return [one for kind in wanted for one in lists[kind] if wishes.only in one[0][0]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3000, help="seeds that a mutant gets")
    parser.add_argument("--only", default="", help="mutants whose name has this word")
    parser.add_argument("--kind", choices=("wire", "money", "sick", "limits"), help="those of this list alone")
    wishes = parser.parse_args()
    chosen = chosen_of(wishes)
    with tempfile.TemporaryDirectory(prefix="weir-mutants-") as tree:
        copy_tree(tree)
        flags = os.path.join(tree, "cmake", "flags.cmake")
        write(flags, text_of(flags).replace(" -Werror\n", "\n"))  # a mutant need not be tidy
        configured = run(["cmake", "-S", tree, "-B", os.path.join(tree, "out"), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                          "-DCMAKE_C_FLAGS_DEBUG=-O1 -g"])
        healthy = configured if configured.returncode != 0 else build(tree)
        for kind in ("wire", "money", "shadow", "sick"):
            if healthy is not None and healthy.returncode == 0:
                healthy = simulate(tree, 300, kind)
        if healthy is None or healthy.returncode != 0:
            print(healthy.stdout[-3000:] if healthy else "the healthy tree never ends")
            print("0 passed, 1 failed")
            return 1
        caught = sum(try_mutant(tree, mutant, wishes.runs, kind) for mutant, kind in chosen)
    print(f"{len(chosen)} mutants, {caught} caught")
    print(f"{caught} passed, {len(chosen) - caught} failed")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
