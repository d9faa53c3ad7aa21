/* method: the methods that somebody here asks for, and what RFC 9110 §9.2 says of them. */
#ifndef HTTP_METHOD_H
#define HTTP_METHOD_H

#include <stdint.h>

enum http_method {
    HTTP_METHOD_OTHER, /* see method_text */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_CONNECT,
    HTTP_METHOD_TRACE,
};

enum http_method_class {
    HTTP_CLASS_UNSAFE,     /* does something each time that it arrives, for all that one knows */
    HTTP_CLASS_IDEMPOTENT, /* twice is as once */
    HTTP_CLASS_SAFE,       /* asks, and changes nothing */
};

static inline enum http_method_class http_method_class(enum http_method method)
{
    static const uint8_t classes[] = {
        [HTTP_METHOD_OTHER] = HTTP_CLASS_UNSAFE,   [HTTP_METHOD_GET] = HTTP_CLASS_SAFE,
        [HTTP_METHOD_HEAD] = HTTP_CLASS_SAFE,      [HTTP_METHOD_OPTIONS] = HTTP_CLASS_SAFE,
        [HTTP_METHOD_POST] = HTTP_CLASS_UNSAFE,    [HTTP_METHOD_PUT] = HTTP_CLASS_IDEMPOTENT,
        [HTTP_METHOD_PATCH] = HTTP_CLASS_UNSAFE,   [HTTP_METHOD_DELETE] = HTTP_CLASS_IDEMPOTENT,
        [HTTP_METHOD_CONNECT] = HTTP_CLASS_UNSAFE, [HTTP_METHOD_TRACE] = HTTP_CLASS_SAFE,
    };
    return (enum http_method_class)classes[method];
}

#endif
