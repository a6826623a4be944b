/* As fuzz_request.c, for answers; an odd seed makes them answers to HEAD. */
#include "rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rewrite_fuzz(HTTP_RESPONSE_MESSAGE, data, size);
    return 0;
}
