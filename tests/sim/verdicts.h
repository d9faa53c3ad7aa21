/* verdicts: what a node computes from the votes it has, and the claim that equal votes give equal
 * verdicts, whoever computes them and in whatever order the members stand. */
#ifndef TESTS_SIM_VERDICTS_H
#define TESTS_SIM_VERDICTS_H

struct process;
struct verdict_memory;

struct verdict_memory *verdict_memory_new(void);
void verdict_memory_free(struct verdict_memory *m);

/* Computes all verdicts as control does, and writes the digest of the eligible instances into
 * p->work.ring_digest. */
void verdicts_compute(struct process *p);

#endif
