// Intrusive doubly linked list. A head and an unlinked item both point at themselves.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

// The struct that holds the list item @p as its field @field.
#define list_item(p, type, field) ((type *)((char *)(p)-offsetof(type, field)))

// Walks @head; @p may be removed in the body.
#define list_each(p, head)                                                                                   \
	for (struct list *p = (head)->next, *p##_next = p->next; p != (head);                                \
	     p = p##_next, p##_next = p->next)

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list *head, struct list *item)
{
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}

static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}
