/* fuzz_calls.c: calls.h under libFuzzer. `make fuzz SECONDS=60` here, or in the checkout.
 *
 * What it finds it leaves in a file (crash-..., timeout-...), which the program takes as an argument to run it again.
 */
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const char *broken = perform_calls(bytes, n);
    if (broken != NULL) {
        fprintf(stderr, "does not hold: %s\n", broken);
        abort();
    }
    return 0;
}
