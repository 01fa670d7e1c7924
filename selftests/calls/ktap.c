// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a table of tests and says so in KTAP.  With arguments: only the tests
 * of these names.
 */
#include <string.h>

#include "ktap.h"

jmp_buf test_failed;

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return 1;
	}
	return argc == 1;
}

int ktap_main(int argc, char **argv, const struct test *tests, int n)
{
	static int failed, number;
	static int i;
	int count = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < n; i++)
		count += wanted(tests[i].name, argc, argv);
	printf("KTAP version 1\n1..%d\n", count);
	for (i = 0; i < n; i++) {
		if (!wanted(tests[i].name, argc, argv))
			continue;
		number++;
		if (setjmp(test_failed)) {
			failed++;
			printf("not ok %d %s\n", number, tests[i].name);
			continue;
		}
		tests[i].run();
		printf("ok %d %s\n", number, tests[i].name);
	}
	return failed ? 1 : 0;
}
