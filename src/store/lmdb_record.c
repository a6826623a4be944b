/*
 * The bytes of a record, version 1:
 *
 *   version, flags (state, ambiguous, told)
 *   owner, print, bind
 *   status, takeovers, lease, begun, resend, done, answer expires, expires,
 *   length of the answer, its serial            varints (LEB128)
 *   processor, request id, upstream key         each a varint length and bytes
 *   CRC-32 of the name and of all the above     little endian
 *
 * An owner in flight takes some 200 bytes so.
 */
#include "lmdb_internal.h"

#include <endian.h>
#include <pthread.h>

#define RECORD_VERSION 1
#define FLAG_STATE 0x03
#define FLAG_AMBIGUOUS 0x10
#define FLAG_TOLD 0x20
#define FLAGS_KNOWN (FLAG_STATE | FLAG_AMBIGUOUS | FLAG_TOLD)
#define CRC_BYTES 4

/* ---- names and numbers ---- */

void lmdb_name_write(const struct idem_name *name, uint8_t out[LMDB_NAME_BYTES])
{
    out[0] = (uint8_t)(name->bucket >> 8);
    out[1] = (uint8_t)name->bucket;
    memcpy(out + 2, name->hash, IDEM_HASH_BYTES);
}

void lmdb_name_read(const uint8_t in[LMDB_NAME_BYTES], struct idem_name *name)
{
    name->bucket = (uint16_t)(in[0] << 8 | in[1]);
    memcpy(name->hash, in + 2, IDEM_HASH_BYTES);
}

void lmdb_u64_write(uint64_t value, uint8_t out[8])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

uint64_t lmdb_u64_read(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

/*
 * The usual CRC-32 (reflected 0xEDB88320): any one flipped bit and any run of 32 is seen. Eight bytes at a time, since
 * each record of a batch is read and written and the disk waits for none of that: tables[n] tells what a byte comes to
 * when n bytes follow it.
 */
#define CRC_STRIDE 8
static uint32_t crc_tables[CRC_STRIDE][256];

static void make_crc_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (UINT32_C(0xedb88320) & (0 - (crc & 1)));
        }
        crc_tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (int n = 1; n < CRC_STRIDE; n++) {
            uint32_t before = crc_tables[n - 1][byte];
            crc_tables[n][byte] = before >> 8 ^ crc_tables[0][before & 0xff];
        }
    }
}

static uint32_t crc_add(uint32_t crc, const uint8_t *at, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&once, make_crc_tables) == 0);
    for (; len >= CRC_STRIDE; at += CRC_STRIDE, len -= CRC_STRIDE) {
        uint32_t low, high;
        memcpy(&low, at, sizeof low);
        memcpy(&high, at + sizeof low, sizeof high);
        low = le32toh(low) ^ crc;
        high = le32toh(high);
        crc = crc_tables[7][low & 0xff] ^ crc_tables[6][low >> 8 & 0xff] ^ crc_tables[5][low >> 16 & 0xff] ^
              crc_tables[4][low >> 24] ^ crc_tables[3][high & 0xff] ^ crc_tables[2][high >> 8 & 0xff] ^
              crc_tables[1][high >> 16 & 0xff] ^ crc_tables[0][high >> 24];
    }
    for (; len > 0; at++, len--) {
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *at) & 0xff];
    }
    return crc;
}

static uint32_t record_crc(const struct idem_name *name, const uint8_t *at, size_t len)
{
    uint8_t key[LMDB_NAME_BYTES];
    lmdb_name_write(name, key);
    return ~crc_add(crc_add(~0u, key, sizeof key), at, len);
}

/* ---- writing ---- */

static uint8_t *put_number(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_raw(uint8_t *at, const void *from, size_t len)
{
    memcpy(at, from, len);
    return at + len;
}

static uint8_t *put_bytes(uint8_t *at, struct bytes bytes)
{
    at = put_number(at, bytes.len);
    return bytes.len == 0 ? at : put_raw(at, bytes.at, bytes.len);
}

size_t lmdb_record_write(const struct idem_name *name, const struct idem_record *record, uint64_t answer_serial,
                         uint8_t out[LMDB_RECORD_BYTES_MAX])
{
    uint8_t *at = out;
    CHECK(record->upstream_key.len <= LMDB_UPSTREAM_KEY_BYTES_MAX);
    *at++ = RECORD_VERSION;
    *at++ = (uint8_t)((unsigned)record->state | (record->ambiguous ? FLAG_AMBIGUOUS : 0) |
                      (record->told ? FLAG_TOLD : 0));
    at = put_raw(at, record->owner, sizeof record->owner);
    at = put_raw(at, record->print, sizeof record->print);
    at = put_raw(at, record->bind, sizeof record->bind);
    at = put_number(at, record->status);
    at = put_number(at, record->takeovers);
    at = put_number(at, record->lease_ms);
    at = put_number(at, record->begun_ms);
    at = put_number(at, record->resend_ms);
    at = put_number(at, record->done_ms);
    at = put_number(at, record->answer_expires_ms);
    at = put_number(at, record->expires_ms);
    at = put_number(at, record->answer.len);
    at = put_number(at, answer_serial);
    at = put_bytes(at, bytes_from_text(record->processor));
    at = put_bytes(at, bytes_from_text(record->request_id));
    at = put_bytes(at, record->upstream_key);
    uint32_t crc = record_crc(name, out, (size_t)(at - out));
    for (int i = 0; i < CRC_BYTES; i++) {
        *at++ = (uint8_t)(crc >> (8 * i));
    }
    return (size_t)(at - out);
}

/* ---- reading ---- */

struct reader {
    const uint8_t *at, *end;
    bool bad; /* sticky: what is read after it is zero */
};

static uint64_t take_number(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end) {
            break;
        }
        uint8_t byte = *reader->at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    reader->bad = true;
    return 0;
}

static uint64_t take_number_up_to(struct reader *reader, uint64_t most)
{
    uint64_t value = take_number(reader);
    if (value > most) {
        reader->bad = true;
        return 0;
    }
    return value;
}

static struct bytes take_run(struct reader *reader, size_t len)
{
    if (reader->bad || len > (size_t)(reader->end - reader->at)) {
        reader->bad = true;
        return BYTES_NONE;
    }
    reader->at += len;
    return bytes_of(reader->at - len, len);
}

static void take_raw(struct reader *reader, void *to, size_t len)
{
    struct bytes run = take_run(reader, len);
    if (run.len == len) {
        memcpy(to, run.at, len);
    }
}

/* `text` has room for `most` characters and a NUL; a NUL among them is no text. */
static void take_text(struct reader *reader, char *text, size_t most)
{
    struct bytes run = take_run(reader, (size_t)take_number_up_to(reader, most));
    if (bytes_find(run, '\0') != SIZE_MAX) {
        reader->bad = true;
        run = BYTES_NONE;
    }
    (void)bytes_to_text(run, text, most + 1);
}

/* Versions and flags of a later weir are refused, not guessed. */
static bool head_is_known(struct bytes in)
{
    uint8_t version = (uint8_t)in.at[0], flags = (uint8_t)in.at[1];
    return version == RECORD_VERSION && (flags & ~FLAGS_KNOWN) == 0 && (flags & FLAG_STATE) != IDEM_ABSENT;
}

static bool crc_is_right(const struct idem_name *name, struct bytes in)
{
    const uint8_t *crc_at = (const uint8_t *)in.at + in.len - CRC_BYTES;
    uint32_t crc = 0;
    for (int i = 0; i < CRC_BYTES; i++) {
        crc |= (uint32_t)crc_at[i] << (8 * i);
    }
    return crc == record_crc(name, (const uint8_t *)in.at, in.len - CRC_BYTES);
}

bool lmdb_record_read(const struct idem_name *name, struct bytes in, struct idem_record *record,
                      uint64_t *answer_serial)
{
    memset(record, 0, sizeof *record);
    if (in.len < 2 + CRC_BYTES || !crc_is_right(name, in) || !head_is_known(in)) {
        return false;
    }
    struct reader reader = {(const uint8_t *)in.at + 2, (const uint8_t *)in.at + in.len - CRC_BYTES, false};
    uint8_t flags = (uint8_t)in.at[1];
    record->state = (enum idem_state)(flags & FLAG_STATE);
    record->ambiguous = (flags & FLAG_AMBIGUOUS) != 0;
    record->told = (flags & FLAG_TOLD) != 0;
    take_raw(&reader, record->owner, sizeof record->owner);
    take_raw(&reader, record->print, sizeof record->print);
    take_raw(&reader, record->bind, sizeof record->bind);
    record->status = (uint16_t)take_number_up_to(&reader, UINT16_MAX);
    record->takeovers = (uint32_t)take_number_up_to(&reader, UINT32_MAX);
    record->lease_ms = take_number(&reader);
    record->begun_ms = take_number(&reader);
    record->resend_ms = take_number(&reader);
    record->done_ms = take_number(&reader);
    record->answer_expires_ms = take_number(&reader);
    record->expires_ms = take_number(&reader);
    record->answer = bytes_of(NULL, (size_t)take_number_up_to(&reader, UINT32_MAX));
    *answer_serial = take_number(&reader);
    take_text(&reader, record->processor, IDEM_PROCESSOR_BYTES_MAX);
    take_text(&reader, record->request_id, IDEM_REQUEST_ID_BYTES);
    record->upstream_key = take_run(&reader, (size_t)take_number_up_to(&reader, LMDB_UPSTREAM_KEY_BYTES_MAX));
    return !reader.bad && reader.at == reader.end;
}
