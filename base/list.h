/* An intrusive doubly linked list with a sentinel head.
 *
 * A `struct list` is both the head and the link inside an element. A link that is on no list points
 * to itself, so list_remove() is always safe and list_empty(link) tells whether it is on one. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline void list_push_front(struct list *head, struct list *l)
{
    list_push_back(head->next, l);
}

static inline void list_remove(struct list *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

/* Takes the first element of a list that has one. */
static inline struct list *list_take_first(struct list *head)
{
    struct list *l = head->next;
    head->next = l->next;
    l->next->prev = head;
    list_init(l);
    return l;
}

#endif
