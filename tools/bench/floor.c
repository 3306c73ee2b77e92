// What a pass cannot beat: reading files, or linking them, and nothing else. The list comes on standard input, a file a line
// ("link": then a tab and what it is to be a link to).
//
//	floor read|link THREADS <LIST
//
// Prints the seconds.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((size_t)128 * 1024)
#define MAX_THREADS 64

static struct file {
	char *name, *object;
} *files;
static size_t count;
static atomic_size_t next;

static void *read_files(void *arg)
{
	char *buffer = malloc(PIECE);

	(void)arg;
	for (size_t i; (i = atomic_fetch_add(&next, 1)) < count;) {
		int fd = open(files[i].name, O_RDONLY | O_NOATIME | O_CLOEXEC);
		while (fd >= 0 && read(fd, buffer, PIECE) > 0)
			;
		if (fd >= 0)
			close(fd);
	}
	free(buffer);
	return NULL;
}

static void *link_files(void *arg)
{
	char dir[32], tmp[64];
	unsigned serial = 0;

	snprintf(dir, sizeof(dir), ".floor/%u", *(unsigned *)arg);  // or they would wait for each other
	if (mkdir(dir, 0700) < 0)
		perror(dir);

	for (size_t i; (i = atomic_fetch_add(&next, 1)) < count;) {
		snprintf(tmp, sizeof(tmp), "%s/%u", dir, serial++);
		if (link(files[i].object, tmp) < 0 || rename(tmp, files[i].name) < 0)
			perror(files[i].name);
	}
	return NULL;
}

static void read_list(void)
{
	size_t capacity = 0, room = 0;
	char *line = NULL;

	for (ssize_t size; (size = getline(&line, &room, stdin)) > 0;) {
		if (count == capacity) {
			capacity = capacity ? capacity * 2 : 1024;
			files = reallocarray(files, capacity, sizeof(*files));
			if (!files)
				abort();
		}
		line[size - 1] = '\0';
		char *tab = strchr(line, '\t');
		if (tab)
			*tab = '\0';
		files[count++] = (struct file){ strdup(line), tab ? strdup(tab + 1) : NULL };
	}
	free(line);
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	unsigned numbers[MAX_THREADS];
	struct timespec start, end;

	if (argc != 3 || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_THREADS) {
		fprintf(stderr, "usage: floor read|link THREADS <LIST\n");
		return 2;
	}
	read_list();
	unsigned wanted = (unsigned)atoi(argv[2]);
	void *(*run)(void *) = strcmp(argv[1], "read") == 0 ? read_files : link_files;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < wanted; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, run, &numbers[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < wanted; i++)
		pthread_join(threads[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.3f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	return 0;
}
