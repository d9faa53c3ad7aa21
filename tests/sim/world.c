/* world: the loop over the queue, and what everybody draws from and reports to. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/adversary.h"
#include "tests/sim/host.h"
#include "tests/sim/quotas.h"
#include "tests/sim/uploads.h"
#include "tests/sim/verdicts.h"

struct world *world_new(const struct world_options *options)
{
    struct world *w = memory_new(sizeof(*w));
    w->options = *options;
    prng_init(&w->prng, options->seed);
    w->sha = sha256_new();
    network_init(&w->network, options->host_count);
    w->hosts = memory_new(options->host_count * sizeof(*w->hosts));
    for (size_t i = 0; i < options->host_count; i++) {
        host_init(&w->hosts[i], w, (uint32_t)i);
    }
    for (size_t i = 0; i < sizeof(w->keys); i++) {
        (&w->keys[0][0])[i] = (uint8_t)prng_next(&w->prng);
    }
    w->save_interval_us = WORLD_SECOND_US;
    w->verdicts = verdict_memory_new();
    w->quotas = quotas_world_new(options->seed);
    w->uploads = uploads_world_new(options->seed);
    world_new_text(w, 200);
    return w;
}

void world_free(struct world *w)
{
    for (size_t i = 0; i < w->process_count; i++) {
        process_free(w->processes[i]);
    }
    for (size_t i = 0; i < w->options.host_count; i++) {
        host_done(&w->hosts[i]);
    }
    for (size_t i = 0; i < w->text_count; i++) {
        free((char *)(uintptr_t)w->texts[i].at);
    }
    free(w->texts);
    free(w->text_digests);
    free(w->processes);
    free(w->hosts);
    adversary_free(w->adversary);
    verdict_memory_free(w->verdicts);
    quotas_world_free(w->quotas);
    uploads_world_free(w->uploads);
    network_done(&w->network);
    queue_done(&w->queue);
    sha256_free(w->sha);
    free(w);
}

static void run_event(struct world *w, struct event *e)
{
    const struct host *h = &w->hosts[e->host];
    if (e->life != 0) {
        const struct process *p = h->process;
        if (p == NULL || p->life != e->life) {
            free(e->data);
            return;
        }
        if (p->paused_until_us > w->now_us) {
            e->at_us = p->paused_until_us + world_between(w, 0, 1000);
            queue_push(&w->queue, e);
            return;
        }
    }
    e->run(w, e);
    free(e->data);
}

void world_run(struct world *w, uint64_t until_us)
{
    struct event e;
    while (!w->failed && queue_pop(&w->queue, &e)) {
        if (e.at_us > until_us) {
            queue_push(&w->queue, &e);
            break;
        }
        w->now_us = e.at_us > w->now_us ? e.at_us : w->now_us;
        run_event(w, &e);
    }
    w->now_us = until_us > w->now_us && !w->failed ? until_us : w->now_us;
}

void world_after(struct world *w, uint64_t after_us, struct event e)
{
    e.at_us = w->now_us + after_us;
    queue_push(&w->queue, &e);
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failed) {
        return;
    }
    w->failed = true;
    int size = snprintf(w->failure, sizeof(w->failure), "at %.3f s: ", (double)w->now_us / 1e6);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->failure + size, sizeof(w->failure) - (size_t)size, format, arguments);
    va_end(arguments);
    if (w->options.verbose) {
        printf("%10.3f  FAILED %s\n", (double)w->now_us / 1e6, w->failure);
    }
}

void world_tell(struct world *w, const char *format, ...)
{
    char line[400];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (int i = 0; i < size && line[i] != '\0'; i++) {
        world_trace(w, (uint8_t)line[i]);
    }
    if (w->options.verbose) {
        printf("%10.3f  %s\n", (double)w->now_us / 1e6, line);
    }
}

/* FNV-1a over 64-bit words, with a shift so that high bits come down again. */
void world_trace(struct world *w, uint64_t what)
{
    w->trace = (w->trace ^ what) * 0x100000001B3u;
    w->trace ^= w->trace >> 29;
}

bool world_chance(struct world *w, unsigned permille)
{
    return permille > 0 && prng_below(&w->prng, 1000) < permille;
}

uint64_t world_between(struct world *w, uint64_t low, uint64_t high)
{
    return low + prng_below(&w->prng, high - low + 1);
}

void world_disturb(struct world *w, uint64_t until_us)
{
    w->disturbed_since_us = w->now_us;
    w->disturbed_until_us = until_us > w->disturbed_until_us ? until_us : w->disturbed_until_us;
}

size_t world_new_text(struct world *w, size_t size)
{
    char *text = memory_new(size + 64);
    size_t used = (size_t)snprintf(text, 64, "shared: %zu\nfiller: ", w->text_count);
    for (size_t i = 0; i < size; i++) {
        text[used++] = (char)('a' + prng_below(&w->prng, 26));
    }
    w->texts = memory_resize(w->texts, (w->text_count + 1) * sizeof(*w->texts));
    w->texts[w->text_count] = (struct bytes){text, used};
    w->text_digests =
        memory_resize(w->text_digests, (w->text_count + 1) * sizeof(*w->text_digests));
    uint8_t digest[SHA256_SIZE];
    sha256_digest(w->sha, &w->texts[w->text_count], 1, digest);
    sha256_hex(digest, w->text_digests[w->text_count]);
    return w->text_count++;
}

size_t world_find_text(const struct world *w, struct bytes text)
{
    size_t i = 0;
    while (i < w->text_count && !bytes_equal(w->texts[i], text)) {
        i++;
    }
    return i;
}
