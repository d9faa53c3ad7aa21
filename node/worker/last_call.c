/* last_call: a classic BPF program on the socket; the kernel runs it over each segment that comes
 * for it, from the TCP header on (tcp_filter()). Accepted sockets inherit it, where it matches
 * nothing. */
#include "worker/last_call.h"

#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

enum {
    FLAGS_AT = 13, /* RFC 9293 §3.1 */
    FLAG_SYN = 0x02,
    FLAG_ACK = 0x10,
    WHOLE = 0xFFFF, /* a segment passes; it has no more bytes */
};

int last_call(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FLAG_SYN | FLAG_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, WHOLE),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    int error = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
    return error ? -errno : 0;
}
