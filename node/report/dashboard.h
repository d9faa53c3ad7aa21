/* dashboard: the page of GET /dashboard, built in from dashboard.html (cmake/DifyringEmbed.cmake).
 *
 * One page without outside assets. It asks /status and /dashboard/data, and nothing else. */
#ifndef REPORT_DASHBOARD_H
#define REPORT_DASHBOARD_H

#include <stddef.h>

extern const char dashboard_page[];
extern const size_t dashboard_page_size;

#define DASHBOARD_CONTENT_TYPE "text/html; charset=utf-8"

/* The page may run its own script and ask its own node, whatever names others have put into what it
 * shows; and no other page may frame it. */
#define DASHBOARD_FIELDS                                                                           \
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "                     \
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; "        \
    "frame-ancestors 'none'\r\n"                                                                   \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "Cache-Control: no-store\r\n"

#endif
