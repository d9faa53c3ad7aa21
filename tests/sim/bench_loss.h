/* bench_loss: figures of clusters whose packets get lost or come late; they decide no test. */
#ifndef TESTS_SIM_BENCH_LOSS_H
#define TESTS_SIM_BENCH_LOSS_H

#include <stddef.h>

/* Prints its rows; returns how many failed. */
size_t bench_loss(void);

#endif
