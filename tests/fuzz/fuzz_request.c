/*
 * Any bytes as pipelined requests: no crash, the same reading however they are
 * split, and what is accepted is written and read back unchanged.
 */
#include "rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rewrite_fuzz(HTTP_REQUEST_MESSAGE, data, size);
    return 0;
}
