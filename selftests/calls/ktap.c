// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a table of tests and says so in KTAP.  With arguments: only the tests
 * of these names.  Each is a process of its own, in a group of its own: nothing
 * of one that fails is left for the next.  TEST_SECONDS says how long one may
 * take.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Does it hold? */
static int run(const struct test *test)
{
	const char *seconds = getenv("TEST_SECONDS");
	int limit = seconds && *seconds ? atoi(seconds) * 1000 : -1;
	struct pollfd end = { .events = POLLIN };
	pid_t child = fork();
	int status;

	NEED(child >= 0);
	if (!child) {
		setpgid(0, 0);
		if (setjmp(test_failed))
			exit(1);
		test->run();
		exit(0);
	}
	setpgid(child, child);
	end.fd = syscall(SYS_pidfd_open, child, 0);
	NEED(end.fd >= 0);
	if (poll(&end, 1, limit) != 1) {
		printf("# it has not ended after %s seconds\n", seconds);
		kill(-child, SIGKILL);
	}
	close(end.fd);
	NEED(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 1;
	kill(-child, SIGKILL);
	if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	return 0;
}

int ktap_main(int argc, char **argv, const struct test *tests, int n)
{
	int count = 0, number = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < n; i++)
		count += wanted(tests[i].name, argc, argv);
	printf("KTAP version 1\n1..%d\n", count);
	for (int i = 0; i < n; i++) {
		int holds;

		if (!wanted(tests[i].name, argc, argv))
			continue;
		holds = run(&tests[i]);
		failed += !holds;
		printf("%sok %d %s\n", holds ? "" : "not ", ++number,
		       tests[i].name);
	}
	return failed ? 1 : 0;
}
