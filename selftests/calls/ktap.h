/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KTAP for the tests of this folder: a table of functions, each a test, which
 * fails at the first CHECK() that does not hold.
 */
#ifndef KTAP_H
#define KTAP_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

struct test {
	const char *name;
	void (*run)(void);
};

extern jmp_buf test_failed;

/* Only in the thread that runs the test. */
#define CHECK(cond)                                                           \
	do {                                                                  \
		if (!(cond)) {                                                \
			printf("# %s:%d: not true: %s\n", __FILE__, __LINE__, \
			       #cond);                                        \
			longjmp(test_failed, 1);                              \
		}                                                             \
	} while (0)

#define CHECK_EQ(got, want)                                                  \
	do {                                                                 \
		long long got_ = (long long)(got);                           \
		long long want_ = (long long)(want);                         \
		if (got_ != want_) {                                         \
			printf("# %s:%d: %s is %lld (%#llx), not %lld\n",    \
			       __FILE__, __LINE__, #got, got_, got_, want_); \
			longjmp(test_failed, 1);                             \
		}                                                            \
	} while (0)

/* In any thread: the test's own means are broken. */
#define NEED(cond)                                                    \
	do {                                                          \
		if (!(cond)) {                                        \
			printf("# %s:%d: needed: %s: %m\n", __FILE__, \
			       __LINE__, #cond);                      \
			exit(1);                                      \
		}                                                     \
	} while (0)

int ktap_main(int argc, char **argv, const struct test *tests, int n);

#define KTAP_MAIN(tests)                                              \
	int main(int argc, char **argv)                               \
	{                                                             \
		return ktap_main(argc, argv, tests,                   \
				 sizeof(tests) / sizeof((tests)[0])); \
	}

#endif
