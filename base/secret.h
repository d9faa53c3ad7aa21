/* Comparing secrets without telling by the time how much of them was right. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/bytes.h"

/* True if equal; the time depends on the sizes only. */
bool secret_equal(struct bytes a, struct bytes b);

#endif
