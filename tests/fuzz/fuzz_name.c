// Names in objects/ and tmp/: what is taken for one is printed as it was.
#include <stdlib.h>
#include <string.h>

#include "store/displaced.h"
#include "store/name.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct object_key key;
	char again[OBJECT_NAME_SIZE];
	char *name = malloc(size + 1);

	memcpy(name, data, size);
	name[size] = '\0';
	if (object_name_parse(name, &key) == 0) {
		object_name_print(&key, again);
		fuzz_check(strcmp(name, again) == 0);
	}
	displaced_name_parse(name, &key);
	free(name);
	return 0;
}
