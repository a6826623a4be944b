/*
 * An intrusive, circular, doubly linked list. Link fields are named after the
 * list they are in (`in_idle`, `in_waiting`), so that a remove from the wrong
 * list reads wrong. A node that is in no list points at itself.
 */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>

#include "weir/base/check.h"

struct list {
    struct list *next; /* the head's next is the first node */
    struct list *prev;
};

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* True when the node is in a list. */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *node, struct list *place)
{
    DCHECK(!list_linked(node));
    node->prev = place->prev;
    node->next = place;
    place->prev->next = node;
    place->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(node, head);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(node, head->next);
}

/* Takes the node out of whatever list it is in; harmless when it is in none. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all nodes of `from` to the end of `to`: the snapshot to walk when callbacks may change `from`. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_first(head, type, member) (list_empty(head) ? NULL : container_of((head)->next, type, member))
#define list_last(head, type, member) (list_empty(head) ? NULL : container_of((head)->prev, type, member))

/* The body may remove `item` itself, nothing else. */
#define list_each(item, after, head, type, member)                                        \
    for (type *item = container_of((head)->next, type, member),                           \
              *after = container_of(item->member.next, type, member);                     \
         &item->member != (head); item = after, after = container_of(after->member.next, type, member))

#endif
