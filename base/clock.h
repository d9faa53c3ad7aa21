/* Time. Cores get `now_ms` handed in; only drivers call these. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void);
uint64_t clock_wall_ms(void); /* since 1970 */

#endif
