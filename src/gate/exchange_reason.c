/*
 * What a fault of the lower layers is called towards the merchant: the three
 * tables from parser faults, refusals and failures of calls to reasons.
 */
#include "exchange.h"

enum reason reason_of_fault(enum http_fault fault)
{
    switch (fault) {
    case HTTP_FAULT_NONE:
    case HTTP_FAULT_MALFORMED:
        return REASON_BAD_REQUEST;
    case HTTP_FAULT_METHOD:
        return REASON_METHOD_NOT_ALLOWED;
    case HTTP_FAULT_NOT_IMPLEMENTED:
        return REASON_NOT_IMPLEMENTED;
    case HTTP_FAULT_VERSION:
        return REASON_VERSION_UNSUPPORTED;
    case HTTP_FAULT_URI_TOO_LONG:
        return REASON_URI_TOO_LONG;
    case HTTP_FAULT_HEAD_TOO_LARGE:
        return REASON_HEADER_TOO_LARGE;
    case HTTP_FAULT_BODY_TOO_LARGE:
        return REASON_BODY_TOO_LARGE;
    case HTTP_FAULT_EXPECTATION:
        return REASON_EXPECTATION_FAILED;
    case HTTP_FAULT_NO_ROOM:
        return REASON_SHED;
    }
    return REASON_INTERNAL_ERROR;
}

enum ended_by ended_by_fault(enum http_fault fault)
{
    return fault == HTTP_FAULT_NO_ROOM ? ENDED_BY_WEIR : ENDED_BY_CLIENT;
}

enum reason reason_of_refusal(enum call_refusal refusal)
{
    switch (refusal) {
    case CALL_QUEUE_FULL:
        return REASON_QUEUE_FULL;
    case CALL_DNS_FAILED:
        return REASON_DNS_FAILED;
    case CALL_CONNECT_FAILED:
        return REASON_CONNECT_FAILED;
    case CALL_CONNECT_TIMEOUT:
        return REASON_CONNECT_TIMEOUT;
    case CALL_TLS_FAILED:
        return REASON_PROCESSOR_TLS_FAILED;
    case CALL_DOWN:
        return REASON_PROCESSOR_DOWN;
    case CALL_BREAKER_OPEN:
        return REASON_BREAKER_OPEN;
    }
    return REASON_INTERNAL_ERROR;
}

enum ended_by ended_by_refusal(enum call_refusal refusal)
{
    return refusal == CALL_BREAKER_OPEN ? ENDED_BY_WEIR : ENDED_BY_PROCESSOR;
}

enum reason reason_of_failure(enum call_failure failure)
{
    switch (failure) {
    case CALL_CLOSED:
        return REASON_CLOSED_BEFORE_RESPONSE;
    case CALL_INCOMPLETE:
        return REASON_RESPONSE_INCOMPLETE;
    case CALL_MALFORMED:
        return REASON_RESPONSE_MALFORMED;
    }
    return REASON_INTERNAL_ERROR;
}
