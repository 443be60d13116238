/* The codec on any bytes: what decodes, encodes, and decodes to the same again. */
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Rk__Envelope *first = NULL;
    Rk__Envelope *second = NULL;
    uint8_t *bytes;
    uint8_t *again;
    size_t length;
    size_t length_again;
    int rc = wire_decode(data, size, WIRE_MAX_FRAME, &first, NULL);

    if (rc) {
        if ((first != NULL) != (rc == RK_EVERSION))
            abort();
        wire_free(first);
        return 0;
    }
    if (wire_encode(first, &bytes, &length) != 0 ||
        wire_decode(bytes, length, WIRE_MAX_FRAME, &second, NULL) != 0 ||
        wire_encode(second, &again, &length_again) != 0)
        abort();
    if (length != length_again || memcmp(bytes, again, length) != 0 ||
        strcmp(wire_kind(first), wire_kind(second)) != 0)
        abort();
    free(bytes);
    free(again);
    wire_free(first);
    wire_free(second);
    return 0;
}
