/* client_gone: what becomes of a run (a chat, completion or workflow that Dify works on) whose
 * client has left before its end (SPEC §2, §3). */
#ifndef EXCHANGE_CLIENT_GONE_H
#define EXCHANGE_CLIENT_GONE_H

enum client_gone {
    CLIENT_GONE_ABORT,  /* its connection is closed; a blocking one that holds a slot is read on */
    CLIENT_GONE_FINISH, /* it is read to its end */
    CLIENT_GONE_STOP,   /* a stream is stopped by its task, and read to its end */
};

#endif
