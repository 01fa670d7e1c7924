// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of operations, one by one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

#include "fail_nth.h"

static uint64_t faults_wanted;

/* ---- Faults ------------------------------------------------------------------------ */

bool put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Return: why there can be no faults; or NULL. */
static const char *faults_on(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc",
					     "fail_usercopy" };
	char path[128];

	if (access("/proc/self/fail-nth", W_OK))
		return "the kernel has no fault injection (CONFIG_FAULT_INJECTION)";
	for (size_t i = 0; i < 3; i++) {
		/* Silent; those that may sleep, too. */
		snprintf(path, sizeof(path), DEBUGFS "%s/verbose", kinds[i]);
		if (!put_text(path, "0"))
			return "the kernel lacks failslab, fail_page_alloc or fail_usercopy";
		snprintf(path, sizeof(path), DEBUGFS "%s/ignore-gfp-wait",
			 kinds[i]);
		/* A copy never sleeps. */
		if (i < 2 && !put_text(path, "N"))
			return "the kernel has no faults of allocations that may sleep";
	}
	put_text(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	put_text(DEBUGFS "fail_page_alloc/min-order", "0");
	/* Others that count as well. */
	put_text(DEBUGFS "fail_futex/verbose", "0");
	put_text(DEBUGFS "fail_make_request/verbose", "0");
	put_text(DEBUGFS "fail_io_timeout/verbose", "0");
	return NULL;
}

/* More than any operation has. */
#define NO_FAULT 1000000000u

/* Of a thread: this one, or a worker. */
static int fault_fd = -1;
static pid_t fault_tid;

static void fault_thread(pid_t tid)
{
	char path[64];

	if (fault_tid == tid)
		return;
	if (fault_fd >= 0)
		close(fault_fd);
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", tid);
	fault_fd = open(path, O_RDWR | O_CLOEXEC);
	NEED(fault_fd >= 0);
	fault_tid = tid;
}

static void fault_arm(uint32_t n)
{
	char text[16];
	int bytes = snprintf(text, sizeof(text), "%u", n);

	NEED(pwrite(fault_fd, text, bytes, 0) == bytes);
}

/* Return: how many more there had to be for the fault to come; 0: it has come. */
static uint32_t fault_disarm(void)
{
	char text[16] = "";
	uint32_t left = 1;

	/* To read it is a copy, which itself may be the one that fails. */
	if (pread(fault_fd, text, sizeof(text) - 1, 0) > 0)
		left = strtoul(text, NULL, 10);
	while (pwrite(fault_fd, "0", 1, 0) != 1)
		;
	return left;
}

/* ---- What is documented ------------------------------------------------------------- */

#define MAX_FUNCTIONS 64

static const struct {
	const char *name;
	int16_t error;
} error_names[] = {
	{ "EPERM", HCALL_EPERM },   { "EINTR", HCALL_EINTR },
	{ "EIO", HCALL_EIO },	    { "E2BIG", HCALL_E2BIG },
	{ "EAGAIN", HCALL_EAGAIN }, { "ENOMEM", HCALL_ENOMEM },
	{ "EFAULT", HCALL_EFAULT }, { "ENODEV", HCALL_ENODEV },
	{ "EINVAL", HCALL_EINVAL }, { "ENOSPC", HCALL_ENOSPC },
	{ "EROFS", HCALL_EROFS },   { "ERANGE", HCALL_ERANGE },
};

static struct {
	uint32_t nr;
	uint16_t errors; /* a bit for each of error_names[] */
} documented[MAX_FUNCTIONS];

/* The tables of abi.rst: a function's number, then its errors. */
static void read_documentation(void)
{
	char path[512], line[256], name[16], *found;
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	int n = -1;
	FILE *f;

	NEED(len > 0);
	path[len] = 0;
	strcpy(dirname(path) + strlen(path), "/../../Documentation/abi.rst");
	f = fopen(path, "r");
	NEED(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, ":Number:", 8)) {
			found = strstr(line, "0x");
			NEED(found && ++n < MAX_FUNCTIONS);
			documented[n].nr = strtoul(found, NULL, 16);
		}
		if (n < 0 || sscanf(line, "-%15[A-Z0-9] ", name) != 1)
			continue;
		for (size_t i = 0;
		     i < sizeof(error_names) / sizeof(*error_names); i++) {
			if (!strcmp(name, error_names[i].name))
				documented[n].errors |= 1 << i;
		}
	}
	fclose(f);
	NEED(n > 30);
}

bool is_documented(uint32_t nr, int64_t error)
{
	if (!documented[0].nr)
		read_documentation();
	for (int i = 0; i < MAX_FUNCTIONS; i++) {
		if (documented[i].nr != nr)
			continue;
		for (size_t e = 0;
		     e < sizeof(error_names) / sizeof(*error_names); e++) {
			if (error == -error_names[e].error &&
			    documented[i].errors & 1 << e)
				return true;
		}
	}
	return false;
}

/* ---- Operations ------------------------------------------------------------------------ */

static bool is_clean(const struct operation *op, int64_t ret)
{
	if (op->nr)
		return is_documented(op->nr, ret);
	/* A tap that cannot say what it is, for want of memory. */
	return ret == -ENOMEM || ret == -EFAULT ||
	       (ret == -EINVAL && !strncmp(op->name, "ADD tap", 7));
}

static int64_t attempt(const struct operation *op, uint32_t n, uint32_t *left)
{
	int64_t ret;

	if (op->prepare)
		op->prepare();
	fault_thread(op->thread ? op->thread() : gettid());
	fault_arm(n);
	ret = op->run();
	*left = fault_disarm();
	return op->result ? op->result() : ret;
}

static void fault(const struct operation *op, uint32_t n, uint32_t *failed,
		  bool *came)
{
	uint32_t left;
	int64_t ret;

	op->set_up();
	ret = attempt(op, n, &left);
	*came = !left;
	if (ret < 0) {
		if (!*came || op->surely || !is_clean(op, ret)) {
			printf("# %s, fault %u: %lld\n", op->name, n,
			       (long long)ret);
			CHECK(!"a clean error");
		}
		++*failed;
		if (op->recover)
			op->recover();
		ret = attempt(op, NO_FAULT, &left);
		if (ret < 0) {
			printf("# %s, after fault %u: %lld\n", op->name, n,
			       (long long)ret);
			CHECK(!"success when made again");
		}
	}
	op->tear_down();
}

void exhaust(const struct operation *op)
{
	uint32_t left, points, step = 1, tried = 0, failed = 0;
	bool came = true;
	int64_t ret;

	/* The first time KVM maps the guest's memory. */
	for (int i = 0; i < 2; i++) {
		op->set_up();
		ret = attempt(op, NO_FAULT, &left);
		op->tear_down();
		if (ret < 0)
			break;
	}
	if (ret < 0) {
		printf("# %s, without a fault: %lld\n", op->name,
		       (long long)ret);
		CHECK(!"success");
	}
	points = NO_FAULT - left;
	if (faults_wanted && points > faults_wanted)
		step = points / faults_wanted;
	for (uint32_t n = 1; came; n += step) {
		fault(op, n, &failed, &came);
		tried += came;
		CHECK(n <= 2 * points + 1000);
	}
	printf("# %s: %u faults of %u, %u of them were its end\n", op->name,
	       tried, points, failed);
}

int fail_nth_main(int argc, char **argv, const struct test *tests, int n)
{
	const char *why = faults_on();
	int ret;

	if (why) {
		printf("KTAP version 1\n1..1\nok 1 fail_nth # SKIP %s\n", why);
		return 0;
	}
	faults_wanted = setting("FAULTS", 40);
	/*
	 * Linux says with a stack where it came short of memory; in between
	 * selftests/host does not take that for a complaint.
	 */
	NEED(put_text("/dev/kmsg", "fail_nth begins"));
	ret = ktap_main(argc, argv, tests, n);
	NEED(put_text("/dev/kmsg", "fail_nth has ended"));
	return ret;
}
