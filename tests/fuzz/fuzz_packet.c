/* fuzz_packet: bytes from the network through the header and the tag.
 *
 * The input as it is must never open: nobody can guess a tag. Then the input as a text is sealed by
 * a member: it opens, and once only; with some of the packet's bytes changed, as the input's first
 * four say, it does not. What opened goes on to the decoder, as in a node. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>

#include "gossip/wire/seal.h"
#include "gossip/wire/wire.h"

static const uint8_t KEYS[][SEAL_KEY_SIZE] = {{1}, {2}};
static const struct seal_session ALICE = {{0xA}}, BOB = {{0xB}};

static enum seal_result receive(struct seal *s, struct seal_peer *peer, struct bytes packet,
                                uint8_t *ret_plain, size_t *ret_size)
{
    struct seal_header head;
    enum seal_result result = seal_read_header(s, packet, &head);
    if (result != SEAL_OK) {
        return result;
    }
    bool known = memcmp(&head.from, seal_peer_session(peer), sizeof(head.from)) == 0;
    return seal_open(s, known ? peer : NULL, packet, ret_plain, ret_size);
}

static void check_sealed(struct seal *alice, struct seal *bob, const uint8_t *change,
                         struct bytes text)
{
    uint8_t packet[GOSSIP_PACKET_MAX], plain[SEAL_PLAIN_MAX];
    struct seal_peer *peer = seal_peer_new(&ALICE);
    size_t size = seal_packet(alice, change[0] & 1 ? NULL : &BOB, text, packet);
    struct bytes whole = {(const char *)packet, size};
    size_t at = (size_t)(change[1] << 8 | change[2]) % size;
    packet[at] ^= change[3];
    if (change[3] != 0) {
        assert(receive(bob, peer, whole, plain, &size) != SEAL_OK);
    }
    packet[at] ^= change[3];
    assert(receive(bob, peer, whole, plain, &size) == SEAL_OK);
    assert(size == text.size && (size == 0 || memcmp(plain, text.at, size) == 0));
    assert(receive(bob, peer, whole, plain, &size) == SEAL_REPLAYED);

    static struct wire_packet decoded;
    struct wire_memory *memory = wire_memory_new();
    wire_decode(memory, (struct bytes){(const char *)plain, size}, &decoded);
    wire_memory_free(memory);
    seal_peer_free(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seal *alice = seal_new(BYTES("dify"), &KEYS[1], 1, &ALICE);
    struct seal *bob = seal_new(BYTES("dify"), KEYS, 2, &BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    uint8_t plain[SEAL_PLAIN_MAX];
    size_t opened;
    assert(receive(bob, peer, (struct bytes){(const char *)data, size}, plain, &opened) != SEAL_OK);
    if (size >= 4 && size - 4 <= SEAL_PLAIN_MAX) {
        check_sealed(alice, bob, data, (struct bytes){(const char *)data + 4, size - 4});
    }
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
    return 0;
}
