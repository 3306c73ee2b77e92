#include "hashify/exclude.h"

#include "hashify/glob.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/map.h"
#include "store/digest.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// What a pattern says when it matches: its number, from 1 on; the highest counts. Negative: not left alone.
struct verdict {
	int64_t any, dirs;  // for all names; for directories alone
};

// Patterns that go through slashes are a tree, a level for each part between them.
struct exclude_node {
	char *part;                        // owned: a glob, or a name
	struct verdict verdict;            // of what ends here
	struct map names;                  // by hash: children that are names
	struct exclude_node *globs;        // children that are globs
	struct exclude_node *deep;         // "**": goes on here and in every directory below
	struct exclude_node *next;         // of @globs
	const struct exclude_node *below;  // of the node above the guest's root: that
	bool is_deep;
};

// A pattern without a slash.
struct anywhere {
	struct anywhere *next;
	char *part;  // owned
	size_t len;
	struct verdict verdict;
};

struct exclude {
	struct exclude_node root;
	struct exclude_node above;  // the directory that the root is in; its part is the root's name
	struct map names;           // those that are names
	struct anywhere *globs;     // the others
	int64_t count;
};

static uint64_t hash(const char *part)
{
	return digest_hash64(0, part, strlen(part));
}

struct exclude *exclude_new(void)
{
	return calloc(1, sizeof(struct exclude));
}

static void free_inside(struct exclude_node *n);

static void free_child(void *node, void *arg)
{
	(void)arg;
	free_inside(node);
	free(node);
}

static void free_inside(struct exclude_node *n)
{
	map_each(&n->names, free_child, NULL);
	map_free(&n->names);
	while (n->globs) {
		struct exclude_node *child = n->globs;
		n->globs = child->next;
		free_child(child, NULL);
	}
	if (n->deep)
		free_child(n->deep, NULL);
	free(n->part);
}

static void free_anywhere(void *anywhere, void *arg)
{
	struct anywhere *a = anywhere;
	(void)arg;
	free(a->part);
	free(a);
}

void exclude_free(struct exclude *x)
{
	if (!x)
		return;
	free_inside(&x->root);
	free_inside(&x->above);
	map_each(&x->names, free_anywhere, NULL);
	map_free(&x->names);
	while (x->globs) {
		struct anywhere *a = x->globs;
		x->globs = a->next;
		free_anywhere(a, NULL);
	}
	free(x);
}

static bool is_child(const void *node, const void *part)
{
	return strcmp(((const struct exclude_node *)node)->part, part) == 0;
}

static struct exclude_node *new_node(char *part)
{
	struct exclude_node *n = calloc(1, sizeof(*n));
	if (n)
		n->part = part;
	return n;
}

// The child of @n for @part, which it takes; made if there is none.
static struct exclude_node *child_of(struct exclude_node *n, char *part)
{
	auto_free char *own = part;
	if (!part)
		return NULL;
	if (strcmp(part, "**") == 0 && n->is_deep)
		return n;
	if (strcmp(part, "**") == 0) {
		if (!n->deep && (n->deep = calloc(1, sizeof(*n))))
			n->deep->is_deep = true;
		return n->deep;
	}
	if (glob_is_literal(part, strlen(part))) {
		struct exclude_node *child = map_find(&n->names, hash(part), is_child, part);
		if (child || map_reserve(&n->names) < 0 || !(child = new_node(part)))
			return child;
		own = NULL;
		map_add(&n->names, hash(part), child);
		return child;
	}
	for (struct exclude_node *child = n->globs; child; child = child->next)
		if (is_child(child, part))
			return child;
	struct exclude_node *child = new_node(part);
	if (child) {
		own = NULL;
		child->next = n->globs;
		n->globs = child;
	}
	return child;
}

static void give(struct verdict *v, int64_t number, bool dirs)
{
	*(dirs ? &v->dirs : &v->any) = number;
}

// No name is called so: a pattern with such a part, like "./usr" or "..", would look as if it did something.
static bool is_no_name(const char *part, size_t len)
{
	return len == 0 || (len <= 2 && memcmp(part, "..", len) == 0);
}

static int add_path(struct exclude *x, const char *p, size_t len, int64_t number, bool dirs)
{
	struct exclude_node *n = &x->root;
	for (const char *end = p + len, *slash; p < end; p = slash + 1) {
		slash = memchr(p, '/', (size_t)(end - p));
		if (!slash)
			slash = end;
		if (is_no_name(p, (size_t)(slash - p)))
			return -EINVAL;
		n = child_of(n, strndup(p, (size_t)(slash - p)));
		if (!n)
			return -ENOMEM;
	}
	give(&n->verdict, number, dirs);
	return 0;
}

static bool is_anywhere(const void *anywhere, const void *part)
{
	return strcmp(((const struct anywhere *)anywhere)->part, part) == 0;
}

static struct anywhere *find_anywhere(const struct exclude *x, const char *part, bool literal)
{
	if (literal)
		return map_find(&x->names, hash(part), is_anywhere, part);
	struct anywhere *a = x->globs;
	while (a && !is_anywhere(a, part))
		a = a->next;
	return a;
}

static int add_anywhere(struct exclude *x, const char *p, size_t len, int64_t number, bool dirs)
{
	if (is_no_name(p, len))
		return -EINVAL;
	auto_free char *part = strndup(p, len);
	if (!part)
		return -ENOMEM;
	bool literal = glob_is_literal(p, len);
	struct anywhere *a = find_anywhere(x, part, literal);
	if (a) {
		give(&a->verdict, number, dirs);
		return 0;
	}
	if (literal && map_reserve(&x->names) < 0)
		return -ENOMEM;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct anywhere){ .part = part, .len = len };
	give(&a->verdict, number, dirs);
	if (literal) {
		map_add(&x->names, hash(part), a);
	} else {
		a->next = x->globs;
		x->globs = a;
	}
	part = NULL;
	return 0;
}

int exclude_add(struct exclude *x, const char *pattern)
{
	bool negated = pattern[0] == '!';
	const char *p = pattern + negated;
	size_t len = strlen(p);
	bool dirs = len > 0 && p[len - 1] == '/';
	len -= dirs;
	bool anchored = memchr(p, '/', len);
	bool rooted = len > 0 && p[0] == '/';
	p += rooted;
	len -= rooted;
	// A blank before a pattern was hardly meant as the begin of a name.
	if (len == 0 || len > PATH_MAX || p[len - 1] == '/' || *p == ' ' || *p == '\t')
		return -EINVAL;

	int64_t number = ++x->count;
	if (negated)
		number = -number;
	return anchored ? add_path(x, p, len, number, dirs) : add_anywhere(x, p, len, number, dirs);
}

// Some editors begin a file with a byte order mark; where files were put together it is in their midst.
static void skip_mark(const char **line, size_t *len)
{
	static const char mark[] = "\xef\xbb\xbf";
	if (*len < strlen(mark) || memcmp(*line, mark, strlen(mark)) != 0)
		return;
	*line += strlen(mark);
	*len -= strlen(mark);
}

int exclude_add_text(struct exclude *x, const char *text, size_t size)
{
	int line = 0, wrong = 0;
	for (const char *p = text, *end = text + size, *next; p < end; p = next) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((newline ? newline : end) - p);
		next = newline ? newline + 1 : end;
		line++;
		skip_mark(&p, &len);
		while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t' || p[len - 1] == '\r'))
			len--;
		if (len == 0 || p[0] == '#')
			continue;
		auto_free char *pattern = memchr(p, '\0', len) ? NULL : strndup(p, len);
		int r = pattern ? exclude_add(x, pattern) : -EINVAL;
		if (r == -ENOMEM)
			return r;
		if (r < 0 && wrong == 0)
			wrong = line;
	}
	return wrong;
}

// Of pointers: 8 MiB.
#define STACK_MAX ((size_t)1024 * 1024)

static int push(struct exclude_stack *s, const struct exclude_node *n)
{
	if (s->count == STACK_MAX)
		return -ENOBUFS;
	const struct exclude_node **nodes = array_grow(s->nodes, s->count, &s->capacity, sizeof(void *));
	if (!nodes)
		return -ENOMEM;
	s->nodes = nodes;
	s->nodes[s->count++] = n;
	return n->deep ? push(s, n->deep) : 0;
}

int exclude_set_root(struct exclude *x, const char *name)
{
	free(x->above.part);
	x->above.part = strdup(name);
	x->above.below = &x->root;
	return x->above.part ? 0 : -ENOMEM;
}

const char *exclude_root(const struct exclude *x)
{
	return x->above.part;
}

int exclude_push_root(const struct exclude *x, struct exclude_stack *s)
{
	return push(s, x->above.part ? &x->above : &x->root);
}

// A name that all patterns are asked about.
struct asked {
	uint64_t hash;
	struct glob_name name;
};

static void ask(struct asked *a, const char *name)
{
	a->hash = hash(name);
	glob_name_init(&a->name, name);
}

static const struct exclude_node *named_child(const struct exclude_node *n, const struct asked *a)
{
	return n->names.count > 0 ? map_find(&n->names, a->hash, is_child, a->name.text) : NULL;
}

static int push_children(struct exclude_stack *s, const struct exclude_node *n, struct asked *a)
{
	if (n->below)
		return is_child(n, a->name.text) ? push(s, n->below) : 0;
	int r = n->is_deep ? push(s, n) : 0;
	const struct exclude_node *child = named_child(n, a);
	if (r == 0 && child)
		r = push(s, child);
	for (child = n->globs; child && r == 0; child = child->next)
		if (glob_match(child->part, strlen(child->part), &a->name))
			r = push(s, child);
	return r;
}

static int compare_nodes(const void *a, const void *b)
{
	const struct exclude_node *x = *(const struct exclude_node *const *)a,
				  *y = *(const struct exclude_node *const *)b;
	return (x > y) - (x < y);
}

// Several ways to one node, by several "**", would multiply. In what order they are does not matter.
static void drop_doubles(struct exclude_stack *s, size_t from)
{
	if (s->count - from < 2)
		return;
	qsort(s->nodes + from, s->count - from, sizeof(void *), compare_nodes);
	size_t count = from + 1;
	for (size_t i = count; i < s->count; i++)
		if (s->nodes[i] != s->nodes[count - 1])
			s->nodes[count++] = s->nodes[i];
	s->count = count;
}

int exclude_push(struct exclude_stack *s, size_t from, size_t to, const char *name)
{
	size_t first = s->count;
	struct asked a;
	ask(&a, name);
	for (size_t i = from; i < to; i++) {
		int r = push_children(s, s->nodes[i], &a);
		if (r < 0)
			return r;
	}
	drop_doubles(s, first);
	return 0;
}

void exclude_stack_free(struct exclude_stack *s)
{
	free(s->nodes);
	*s = (struct exclude_stack){ 0 };
}

// The later of two.
static int64_t later(int64_t a, int64_t b)
{
	return llabs(a) > llabs(b) ? a : b;
}

static int64_t told(const struct verdict *v, bool is_dir)
{
	return is_dir ? later(v->any, v->dirs) : v->any;
}

// What the patterns that go through @n say of a name in its directory.
static int64_t told_by(const struct exclude_node *n, struct asked *a, bool is_dir)
{
	int64_t last = n->is_deep ? told(&n->verdict, is_dir) : 0;
	const struct exclude_node *child = named_child(n, a);
	if (child)
		last = later(last, told(&child->verdict, is_dir));
	for (child = n->globs; child; child = child->next)
		if (glob_match(child->part, strlen(child->part), &a->name))
			last = later(last, told(&child->verdict, is_dir));
	return last;
}

bool exclude_match(const struct exclude *x, const struct exclude_stack *s, size_t from, size_t to,
		   const char *name, bool is_dir)
{
	int64_t last = 0;
	struct asked asked;
	if (from < to && s->nodes[from]->below)
		return !is_child(s->nodes[from], name);
	ask(&asked, name);
	const struct anywhere *a = x->names.count > 0 ? map_find(&x->names, asked.hash, is_anywhere, name)
						      : NULL;
	if (a)
		last = told(&a->verdict, is_dir);
	for (a = x->globs; a; a = a->next)
		if (glob_match(a->part, a->len, &asked.name))
			last = later(last, told(&a->verdict, is_dir));
	for (size_t i = from; i < to; i++)
		last = later(last, told_by(s->nodes[i], &asked, is_dir));
	return last > 0;
}
