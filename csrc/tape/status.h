/* status.h: how a status finds its way up. */
#ifndef MG_STATUS_H
#define MG_STATUS_H

#include "microgpt.h"

/* Ends the function with the status of a call that failed. */
#define MG_TRY(call)                    \
    do {                                \
        mg_status status_ = (call);     \
        if (status_ != MG_OK) {         \
            return status_;             \
        }                               \
    } while (0)

#endif
