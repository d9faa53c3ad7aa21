/* binary: bytes as protobuf-c has them, and back. Neither copies. */
#ifndef PROTO_BINARY_H
#define PROTO_BINARY_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

/* To be packed only: protobuf-c has no type for bytes that nobody may change. */
static inline ProtobufCBinaryData binary_of(struct bytes b)
{
    return (ProtobufCBinaryData){b.size, (uint8_t *)(uintptr_t)b.at};
}

static inline struct bytes bytes_in(ProtobufCBinaryData data)
{
    return (struct bytes){(const char *)data.data, data.len};
}

#endif
