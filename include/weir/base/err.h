/*
 * Why an operation of the lower layers failed. One row a failure; the reasons
 * that a caller reads are another table (policy/reason.h), chosen from these
 * and from what was already sent.
 */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

/*     name                sentence that completes "... failed: " */
#define ERR_TABLE(ROW)                                                         \
    ROW(OK,               "no error")                                          \
    ROW(EOF,              "the peer ended the connection")                     \
    ROW(RESET,            "the peer reset the connection")                     \
    ROW(REFUSED,          "connection refused")                                \
    ROW(UNREACHABLE,      "no route to the host")                              \
    ROW(TIMED_OUT,        "the operation timed out")                           \
    ROW(CANCELED,         "canceled on our side")                              \
    ROW(NO_MEMORY,        "out of memory")                                     \
    ROW(FULL,             "a limit is reached")                                \
    ROW(DESCRIPTORS,      "out of file descriptors")                           \
    ROW(ADDRESS_IN_USE,   "the address is in use")                             \
    ROW(ACCESS,           "permission denied")                                 \
    ROW(DNS,              "the name does not resolve")                         \
    ROW(TLS,              "TLS handshake or record failed")                    \
    ROW(TLS_CERTIFICATE,  "the peer's certificate was refused")                \
    ROW(TLS_CLIENT_CERT,  "the client certificate is missing or was refused")  \
    ROW(TLS_NOT_TLS,      "the peer does not speak TLS")                       \
    ROW(MALFORMED,        "the bytes break the protocol")                      \
    ROW(FILE,             "the file cannot be read or used")                   \
    ROW(IO,               "input or output failed")

enum err {
#define ERR_ENUM(name, sentence) ERR_##name,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
    ERR_COUNT
};

/* "RESET"; a static string, never NULL. */
const char *err_name(enum err err);
/* "the peer reset the connection"; a static string, never NULL. */
const char *err_sentence(enum err err);

#endif
