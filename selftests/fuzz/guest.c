// SPDX-License-Identifier: GPL-2.0
/*
 * A fuzzer of what guests can do: random programs of calls, each in a VM of its own,
 * until so many calls have been made.  See guest.h.
 *
 * Wants to be root where the module is loaded, and the disks of calls/with-disks,
 * without which those that are full, failing or direct are ordinary ones.  It says
 * in KTAP whether all was well, and in a line before each program which one it is:
 * if the kernel dies, that is the one.  selftests/fuzz/run, outside of the test host,
 * does the rest then.
 *
 * Programs run in a process of their own, so that one which hangs or crashes is
 * seen, and run again with fewer and fewer steps: what is left is printed.
 */
#define _GNU_SOURCE
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

jmp_buf test_failed;

static struct {
	uint64_t seed;
	uint64_t calls;
	uint64_t seconds; /* 0: no limit */
	uint64_t program;
	uint32_t vcpus;
	bool one; /* program only */
	bool list;
	const char *steps; /* of that one; NULL: all */
	const char *by; /* a command that makes the tries */
	uint32_t tries; /* for each shorter program */
} options = { .vcpus = 2, .tries = 3 };

/* Without a sign of life from a program. */
#define STUCK_NS      180000000000u

/* For shorter programs; a try may be a boot. */
#define SHORTEN_NS    600000000000u
#define SHORTEN_BY_NS 3600000000000u

/* ---- Parts of a program ------------------------------------------------------------ */

static void keep_print(FILE *f, const bool *keep, uint32_t count)
{
	const char *comma = "";

	for (uint32_t i = 0; i < count; i++) {
		uint32_t last = i;

		if (!keep[i])
			continue;
		while (last + 1 < count && keep[last + 1])
			last++;
		fprintf(f, last > i ? "%s%u-%u" : "%s%u", comma, i, last);
		comma = ",";
		i = last;
	}
}

/* Return: an array for all steps, which the caller frees; NULL: all. */
static bool *keep_parse(const char *text, uint32_t count)
{
	bool *keep;

	if (!text)
		return NULL;
	keep = calloc(count, sizeof(*keep));
	NEED(keep);
	while (*text) {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;

		if (end != text && *end == '-') {
			text = end + 1;
			to = strtoul(text, &end, 10);
		}
		if (end == text || (*end && *end != ',') || to < from ||
		    to >= count) {
			fprintf(stderr,
				"guest: --steps: '%s' is no part of a program of %u steps\n",
				text, count);
			exit(2);
		}
		memset(keep + from, true, to - from + 1);
		text = *end ? end + 1 : end;
	}
	return keep;
}

/* ---- The kernel's log ------------------------------------------------------------- */

static int kmsg = -1;

static void kmsg_open(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	NEED(kmsg >= 0 && lseek(kmsg, 0, SEEK_END) >= 0);
}

/* Has it said anything that it should not? */
static bool kernel_complains(void)
{
	static const char *const words[] = {
		"BUG:",	     "WARNING:",   "Oops",	"KASAN",
		"KCSAN",     "UBSAN",	   "INFO: ",	"general protection",
		"kmemleak:", "refcount_t", "corruption"
	};
	char line[8192], *text;
	ssize_t n;

	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (n <= 0)
			continue;
		line[n] = 0;
		text = strchr(line, ';');
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
			if (!strstr(line, words[i]))
				continue;
			printf("# program %llu: the kernel says: %s\n",
			       (unsigned long long)figures->program,
			       text ? text + 1 : line);
			return true;
		}
	}
	return false;
}

/* ---- Running ---------------------------------------------------------------------- */

static const char *name_of(const struct program *p, char *text, size_t bytes)
{
	snprintf(text, bytes, "--seed %#llx --vcpus %u --program %llu",
		 (unsigned long long)p->seed, p->callers,
		 (unsigned long long)p->number);
	return text;
}

static void make(struct program *p, uint64_t number)
{
	program_make(p, options.seed, number, options.vcpus, now_ns());
}

/* One program, in this process. */
static void run_one(uint64_t number, const bool *keep)
{
	uint64_t calls = figures->calls;
	struct program p;
	bool *parsed = NULL;

	figures->program = number;
	figures->begun_ns = now_ns();
	make(&p, number);
	if (!keep)
		keep = parsed = keep_parse(options.steps, p.count);
	run_program(&p, keep);
	figures->programs++;
	printf("# %llu calls in %llu ms%s%s\n",
	       (unsigned long long)(figures->calls - calls),
	       (unsigned long long)(now_ns() - figures->begun_ns) / 1000000,
	       p.rewriter ? ", with a rewriter" : "",
	       p.interrupts ? ", with interrupts" : "");
	program_free(&p);
	free(parsed);
}

/* In a process of its own. */
static void run_all(void)
{
	uint64_t begun = now_ns();

	run_prepare();
	for (uint64_t i = options.program; !figures->fault; i++) {
		printf("# program %llu\n", (unsigned long long)i);
		fflush(stdout);
		run_one(i, NULL);
		if (options.one || figures->calls >= options.calls)
			break;
		if (options.seconds &&
		    now_ns() - begun >= options.seconds * 1000000000)
			break;
	}
}

static void progress(uint64_t begun_ns)
{
	uint64_t ms = (now_ns() - begun_ns) / 1000000 + 1;

	printf("# %llu programs, %llu calls (%llu by registers), %llu/s\n",
	       (unsigned long long)figures->programs,
	       (unsigned long long)figures->calls,
	       (unsigned long long)figures->exits,
	       (unsigned long long)(figures->calls * 1000 / ms));
	fflush(stdout);
}

/*
 * Wait for the process, which ends after its program if something is wrong, or never if
 * a thread of its has died in the kernel.  Return: was all well?
 */
static bool watch(pid_t pid, bool quiet)
{
	uint64_t begun = now_ns(), next = begun + 10000000000u;
	uint64_t limit = STUCK_NS;
	int status = 0;

	while (!waitpid(pid, &status, WNOHANG)) {
		usleep(quiet ? 5000 : 50000);
		if (!quiet && now_ns() > next) {
			progress(begun);
			next += 10000000000u;
		}
		if (!figures->complained && kernel_complains()) {
			figures->fault = figures->complained = true;
			limit = now_ns() - figures->begun_ns + 5000000000u;
		}
		if (now_ns() - figures->begun_ns < limit)
			continue;
		printf("# program %llu is stuck\n",
		       (unsigned long long)figures->program);
		figures->fault = true;
		kill(pid, SIGKILL);
		sleep(1);
		break;
	}
	if (!quiet)
		progress(begun);
	if (kernel_complains())
		figures->fault = figures->complained = true;
	if (WIFSIGNALED(status)) {
		printf("# program %llu: killed by signal %d\n",
		       (unsigned long long)figures->program, WTERMSIG(status));
		figures->fault = true;
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) && !figures->fault;
}

static pid_t start(void (*run)(void))
{
	pid_t pid;

	figures->begun_ns = now_ns();
	fflush(stdout);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		fflush(stdout);
		_exit(figures->fault);
	}
	return pid;
}

/* ---- The shortest ------------------------------------------------------------------ */

static const bool *try_keep;
static uint64_t try_number;

static void run_quietly(void)
{
	int null = open("/dev/null", O_WRONLY);

	NEED(null >= 0 && dup2(null, STDOUT_FILENO) >= 0);
	run_prepare();
	run_one(try_number, try_keep);
}

static bool fails_by_command(const struct program *p, const bool *keep)
{
	char *command, name[128];
	size_t bytes;
	FILE *f = open_memstream(&command, &bytes);
	int status;

	NEED(f);
	fprintf(f, "%s %s --steps ", options.by,
		name_of(p, name, sizeof(name)));
	keep_print(f, keep, p->count);
	fprintf(f, " </dev/null >/dev/null 2>&1");
	NEED(!fclose(f));
	status = system(command);
	if (!WIFEXITED(status) ||
	    (WEXITSTATUS(status) > 124 || WEXITSTATUS(status) == 2)) {
		fprintf(stderr, "guest: '%s' failed\n", command);
		exit(2);
	}
	free(command);
	return WEXITSTATUS(status);
}

/* Does it still fail, at least once? */
static bool fails(const struct program *p, const bool *keep)
{
	struct figures *all = figures;
	bool failed = false;

	for (uint32_t i = 0; i < options.tries && !failed; i++) {
		if (options.by) {
			failed = fails_by_command(p, keep);
			continue;
		}
		figures = mmap(NULL, sizeof(*figures), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		NEED(figures != MAP_FAILED);
		try_keep = keep;
		try_number = p->number;
		watch(start(run_quietly), true);
		failed = figures->fault;
		munmap(figures, sizeof(*figures));
		figures = all;
	}
	return failed;
}

/*
 * Leaves out parts, and parts of parts, as long as what is left fails (Zeller's
 * delta debugging).  Return: how many tries that took; 0: it did not fail again.
 */
static uint32_t shorten(const struct program *p, bool *keep)
{
	static const uint32_t everybody[] = { REWRITER, HOST, 0,  1, 2, 3,
					      4,	5,    6,  7, 8, 9,
					      10,	11,   12, 13 };
	uint32_t left = 0, parts = 2, tries = 1;
	uint64_t until = now_ns() + (options.by ? SHORTEN_BY_NS : SHORTEN_NS);
	bool *less = malloc(p->count);

	NEED(less);
	for (uint32_t i = 0; i < p->count; i++)
		left += keep[i];
	if (!fails(p, keep)) {
		free(less);
		return 0;
	}
	/* Whole vCPUs first: mostly one is enough. */
	for (uint32_t i = 0; i < sizeof(everybody) / sizeof(*everybody); i++) {
		uint32_t gone = 0;

		for (uint32_t k = 0; k < p->count; k++) {
			less[k] = keep[k] && p->steps[k].who != everybody[i];
			gone += keep[k] && !less[k];
		}
		if (!gone || gone == left)
			continue;
		tries++;
		if (!fails(p, less))
			continue;
		memcpy(keep, less, p->count);
		left -= gone;
	}
	while (left > 1 && now_ns() < until) {
		bool shorter = false;

		for (uint32_t part = 0; part < parts && !shorter; part++) {
			uint32_t seen = 0, gone = 0;

			for (uint32_t i = 0; i < p->count; i++) {
				less[i] = keep[i];
				if (!keep[i])
					continue;
				if ((uint64_t)seen++ * parts / left == part) {
					less[i] = false;
					gone++;
				}
			}
			tries++;
			if (gone == left || !fails(p, less))
				continue;
			memcpy(keep, less, p->count);
			left -= gone;
			shorter = true;
			printf("# %u steps still fail\n", left);
			fflush(stdout);
		}
		if (shorter)
			parts = parts > 2 ? parts - 1 : 2;
		else if (parts >= left)
			break;
		else
			parts = parts * 2 < left ? parts * 2 : left;
	}
	free(less);
	return tries;
}

static void print_step(const struct program *p, uint32_t i)
{
	printf("#   step %u: ", i);
	step_print(&p->steps[i], p->data);
	printf("\n");
}

static void explain(uint64_t number)
{
	struct program p;
	char name[128];
	uint32_t tries;
	bool *keep;

	make(&p, number);
	keep = keep_parse(options.steps, p.count);
	if (!keep) {
		keep = malloc(p.count);
		NEED(keep);
		memset(keep, true, p.count);
	}
	printf("# %s fails; looking for the shortest part\n",
	       name_of(&p, name, sizeof(name)));
	fflush(stdout);
	tries = shorten(&p, keep);
	if (!tries) {
		printf("# it did not fail again by itself, in %u tries\n",
		       options.tries);
	} else {
		printf("# after %u tries, this still fails: %s --steps ", tries,
		       name);
		keep_print(stdout, keep, p.count);
		printf("\n");
		for (uint32_t i = 0; i < p.count; i++) {
			if (keep[i])
				print_step(&p, i);
		}
	}
	program_free(&p);
	free(keep);
}

/* ---- Figures ----------------------------------------------------------------------- */

static void print_errors(void)
{
	static const char *const names[] = {
		"?",	  "EPERM",	"EINTR",     "EIO",
		"E2BIG",  "EAGAIN",	"ENOMEM",    "EFAULT",
		"ENODEV", "EINVAL",	"ENOSPC",    "EROFS",
		"ERANGE", "EOPNOTSUPP", "ECANCELED", "ENOSYS"
	};
	static const char *const classes[] = { "sys",	"console", "block",
					       "timer", "input",   "net",
					       "event", "virtio",  "others" };

	for (int c = 0; c < 9; c++) {
		uint64_t good = c == 8 ? figures->good[calls_nr] : 0;

		for (unsigned int i = 0; i < calls_nr; i++) {
			if ((int)HCALL_NR_CLASS(calls[i].nr) == c)
				good += figures->good[i];
		}
		printf("# class %s: %llu good", classes[c],
		       (unsigned long long)good);
		for (int e = 0; e < ERRORS; e++) {
			if (figures->errors[c][e])
				printf(", %llu %s",
				       (unsigned long long)
					       figures->errors[c][e],
				       names[e]);
		}
		printf("\n");
	}
	printf("# the host:");
	for (int i = 0; i < DISTURBANCES; i++)
		printf(" %llu/%llu", (unsigned long long)figures->disturbed[i],
		       (unsigned long long)figures->failed[i]);
	printf("; %llu kicks for who slept\n",
	       (unsigned long long)figures->kicks);
}

/* A fuzzer whose calls never succeed does not test them.  Return: do they? */
static bool all_succeed(void)
{
	bool ok = true;

	for (unsigned int i = 0; i < calls_nr; i++) {
		if (figures->good[i] || calls[i].nr == HCALL_SYS_EXIT)
			continue;
		printf("# of %llu calls of %s none succeeded\n",
		       (unsigned long long)figures->bad[i], calls[i].name);
		ok = false;
	}
	return ok;
}

/* ---- The command -------------------------------------------------------------------- */

enum {
	OPTION_BY = 0x100,
	OPTION_LIST,
	OPTION_TRIES
};

static const struct argp_option argp_options[] = {
	{ "seed", 's', "NUMBER", 0, "of all programs (default: $SEED)", 0 },
	{ "calls", 'n', "NUMBER", 0,
	  "stop after so many (default: $CALLS, or 20000)", 0 },
	{ "seconds", 't', "NUMBER", 0, "or after so long (default: no limit)",
	  0 },
	{ "vcpus", 'v', "NUMBER", 0, "that call, 1 to 14 (default: 2)", 0 },
	{ "program", 'p', "NUMBER", 0, "run only this one", 0 },
	{ "steps", 'S', "A-B,C...", 0, "only these, of --program", 0 },
	{ "list", OPTION_LIST, NULL, 0, "print the steps, run nothing", 0 },
	{ "by", OPTION_BY, "COMMAND", 0,
	  "the shortest part of --program that fails; COMMAND, with options "
	  "behind it, makes each try",
	  0 },
	{ "tries", OPTION_TRIES, "NUMBER", 0,
	  "of each shorter program (default: 3)", 0 },
	{}
};

static uint64_t number_of(const char *arg, uint64_t max,
			  struct argp_state *state)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || *arg == '-' || n > max)
		argp_error(state, "'%s' is no number up to %llu", arg,
			   (unsigned long long)max);
	return n;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 's':
		options.seed = number_of(arg, UINT64_MAX, state);
		return 0;
	case 'n':
		options.calls = number_of(arg, UINT64_MAX, state);
		return 0;
	case 't':
		options.seconds = number_of(arg, 1000000000, state);
		return 0;
	case 'v':
		options.vcpus = number_of(arg, MAX_CALLERS, state);
		if (!options.vcpus)
			argp_error(state, "--vcpus 0: who calls, then?");
		return 0;
	case 'p':
		options.one = true;
		options.program = number_of(arg, UINT64_MAX, state);
		return 0;
	case 'S':
		options.steps = arg;
		return 0;
	case OPTION_LIST:
		options.list = true;
		return 0;
	case OPTION_BY:
		options.by = arg;
		return 0;
	case OPTION_TRIES:
		options.tries = number_of(arg, 1000, state);
		return 0;
	case ARGP_KEY_ARG:
		/* As other tests have it: names of those that are wanted. */
		if (strcmp(arg, "fuzz.guest"))
			argp_error(state, "there is no test '%s'", arg);
		return 0;
	case ARGP_KEY_END:
		if (!options.one &&
		    (options.steps || options.by || options.list))
			argp_error(state,
				   "--steps, --list and --by need --program");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.args_doc = "[fuzz.guest]",
	.doc = "Fuzz the module with random programs of a guest's calls.",
};

static void list(void)
{
	struct program p;
	bool *keep;

	make(&p, options.program);
	keep = keep_parse(options.steps, p.count);
	for (uint32_t i = 0; i < p.count; i++) {
		if (!keep || keep[i])
			print_step(&p, i);
	}
	free(keep);
	program_free(&p);
}

int main(int argc, char **argv)
{
	bool ok;

	options.seed = setting("SEED", 0x68636c6c);
	options.calls = setting("CALLS", 20000);
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	figures = mmap(NULL, sizeof(*figures), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(figures != MAP_FAILED);
	if (options.list) {
		list();
		return 0;
	}
	if (options.by) {
		explain(options.program);
		return 0;
	}
	kmsg_open();
	printf("KTAP version 1\n1..1\n# --seed %#llx --vcpus %u\n",
	       (unsigned long long)options.seed, options.vcpus);
	ok = watch(start(run_all), false);
	print_errors();
	/* Much is said only once: see selftests/fuzz/run. */
	if (figures->fault && !options.one && !figures->complained)
		explain(figures->program);
	if (ok && figures->exits >= 20000)
		ok = all_succeed();
	printf("%s 1 fuzz.guest\n", ok ? "ok" : "not ok");
	return !ok;
}
