// SPDX-License-Identifier: GPL-2.0
/*
 * The host fuzzer: random ioctls of /dev/kvm-hcall.
 *
 * Some processes, each of some threads and with a VM whose guest uses the devices,
 * open instances, bind them, and add, change and remove devices.  What an argument
 * says is mostly right and sometimes not; what it is made of is files of every sort,
 * memory that is not there, comes late or changes meanwhile, and descriptors that
 * another thread closes.  Instances are inherited, passed to other processes, and
 * left to processes that are killed.  A process ends after some hundred operations,
 * in one of many ways, and the next one takes its place.
 *
 * What it requires:
 *  - nothing hangs, and what is killed dies;
 *  - each command fails with an error that its documentation names, and no other;
 *  - each command succeeds now and then, else this program is blind;
 *  - a guest's call ends with an answer or an error of the table in abi.rst;
 *  - in the end nothing is left: no instance, no thread, no memory.
 *
 * What a process does follows from --seed, its place and its number; what several
 * threads do at once does not.  A finding says how to make that process again, by
 * itself.
 *
 * With selftests/calls/with-disks it also has a block device and ext4.
 */
#define _GNU_SOURCE
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

jmp_buf test_failed;
struct shared *shared;

/* Objects of a size, which Linux itself keeps now and then. */
#define LEFT_MAX 8

static struct {
	uint64_t seed;
	long operations;
	long first;
	unsigned int processes;
	unsigned int threads;
	unsigned int patience;
	char **names;
} options = { .processes = 3, .threads = 2, .patience = 60 };

/* ---- Random numbers ------------------------------------------------------------------ */

/* splitmix64 */
uint64_t random64(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t odd_number(struct random *r)
{
	uint64_t bit = 1ull << below(r, 64);

	switch (below(r, 6)) {
	case 0:
		return random64(r);
	case 1:
		return bit - 1;
	case 2:
		return bit;
	case 3:
		return -bit;
	case 4:
		return below(r, 5);
	default:
		return -(uint64_t)below(r, 5);
	}
}

/* ---- What is documented --------------------------------------------------------------- */

const char *const command_names[COMMANDS] = {
	[BIND] = "BIND",	   [ADD_CONSOLE] = "ADD console",
	[ADD_BLOCK] = "ADD block", [ADD_INPUT] = "ADD input",
	[ADD_NET] = "ADD net",	   [REMOVE] = "REMOVE",
	[RESIZE] = "RESIZE",	   [POLICY] = "POLICY",
	[STATS] = "STATS",	   [SEAL] = "SEAL",
	[ROUTE] = "ROUTE",	   [RAISE] = "RAISE",
	[LINK] = "LINK",	   [UNKNOWN] = "unknown",
};

#define ERRORS_ADD                                                      \
	{                                                               \
		EINVAL, EBADF, EACCES, EFAULT, ENOTCONN, EPERM, ENOSPC, \
			EEXIST, ENOMEM, EIO                             \
	}

/* From the kernel-doc of kvm_hcall.h, whose head has EIO and EFAULT for all. */
static const int errors[COMMANDS][12] = {
	[BIND] = { EINVAL, EBADF, EBUSY, ENOMEM, EFAULT, EIO },
	[ADD_CONSOLE] = ERRORS_ADD,
	[ADD_BLOCK] = ERRORS_ADD,
	[ADD_INPUT] = ERRORS_ADD,
	[ADD_NET] = ERRORS_ADD,
	[REMOVE] = { ENODEV, EINVAL, EFAULT, EIO },
	[RESIZE] = { ENODEV, EINVAL, EFAULT, EIO },
	[POLICY] = { EINVAL, EPERM, EFAULT, EIO },
	[STATS] = { EINVAL, EFAULT, EIO },
	[SEAL] = { ENOTCONN, EIO },
	[ROUTE] = { EINVAL, EBADF, ENODEV, ENOTCONN, ENOMEM, EFAULT, EIO },
	[RAISE] = { EINVAL, ENOTCONN, EFAULT, EIO },
	[LINK] = { ENODEV, EINVAL, EFAULT, EIO },
	[UNKNOWN] = { ENOTTY, EFAULT, EIO },
};

static bool documented(enum command command, int error)
{
	for (int i = 0; i < 12; i++) {
		if (errors[command][i] == error)
			return true;
	}
	return !error && command != UNKNOWN;
}

void judge(enum command command, int error)
{
	if (error < 0 || error >= ERRNOS)
		finding("%s: error %d", command_names[command], error);
	else
		atomic_fetch_add(&shared->results[command][error], 1);
}

void finding(const char *format, ...)
{
	unsigned int i = atomic_fetch_add(&shared->findings, 1);
	va_list args;

	if (i >= sizeof(shared->finding) / sizeof(shared->finding[0]))
		return;
	va_start(args, format);
	vsnprintf(shared->finding[i], sizeof(shared->finding[i]), format, args);
	va_end(args);
}

/* ---- What the kernel has ------------------------------------------------------------------ */

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long number = -1;

	NEED(f);
	NEED(fscanf(f, "%ld", &number) == 1);
	fclose(f);
	return number;
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	NEED(fd >= 0 && write(fd, text, strlen(text)) > 0);
	close(fd);
}

static long references(void)
{
	return read_number("/sys/module/kvm_hcall/refcnt");
}

/*
 * The kernel's caches for memory that is charged to someone, as all of the module's
 * is, and for files; and how many objects of each there are.
 */
static struct cache {
	char name[32];
	long before;
	long now;
} caches[64];

static unsigned int caches_count;

static bool is_counted(const char *cache)
{
	return !strncmp(cache, "kmalloc-cg-", 11) || !strcmp(cache, "filp");
}

static void read_caches(void)
{
	char line[256], name[64], path[128];
	long objects;
	FILE *f;

	caches_count = 0;
	write_text("/proc/sys/vm/drop_caches", "3");
	/* What is free, but at hand for a CPU, counts as used. */
	f = fopen("/proc/slabinfo", "r");
	NEED(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s", name) == 1 && is_counted(name)) {
			snprintf(path, sizeof(path),
				 "/sys/kernel/slab/%s/shrink", name);
			write_text(path, "1");
		}
	}
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		struct cache *cache = &caches[caches_count];

		if (sscanf(line, "%63s %ld", name, &objects) != 2 ||
		    !is_counted(name))
			continue;
		NEED(++caches_count < 64);
		snprintf(cache->name, sizeof(cache->name), "%.31s", name);
		cache->now = objects;
	}
	fclose(f);
	NEED(caches_count);
}

/* Call @each with the folder of each thread. */
static void each_thread(void (*each)(const char *path))
{
	DIR *processes = opendir("/proc"), *threads;
	struct dirent *p, *t;
	char path[600];

	NEED(processes);
	while ((p = readdir(processes))) {
		if (atoi(p->d_name) <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task", p->d_name);
		threads = opendir(path);
		while (threads && (t = readdir(threads))) {
			if (atoi(t->d_name) <= 0)
				continue;
			snprintf(path, sizeof(path), "/proc/%s/task/%s",
				 p->d_name, t->d_name);
			each(path);
		}
		if (threads)
			closedir(threads);
	}
	closedir(processes);
}

/* Returns false if it is not there any more. */
static bool read_text(const char *dir, const char *name, char *text,
		      size_t bytes)
{
	char path[700];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	got = read(fd, text, bytes - 1);
	close(fd);
	text[got > 0 ? got : 0] = 0;
	return got > 0;
}

/* Any of this program, whoever its process belongs to by now, and what cannot be woken. */
static void show_thread(const char *path)
{
	char comm[32], stat[512], wait[64] = "", call[128] = "", stack[4096];
	char *rest = stack, *line, *state;

	if (!read_text(path, "comm", comm, sizeof(comm)) ||
	    !read_text(path, "stat", stat, sizeof(stat)))
		return;
	comm[strcspn(comm, "\n")] = 0;
	state = strrchr(stat, ')');
	NEED(state && state[1]);
	if (strcmp(comm, program_invocation_short_name) &&
	    strcmp(comm, "hcall-worker") && state[2] != 'D')
		return;
	read_text(path, "wchan", wait, sizeof(wait));
	read_text(path, "syscall", call, sizeof(call));
	printf("# %s, %s, %c, child of %d, waits in %s, system call %s", path,
	       comm, state[2], atoi(state + 4), wait,
	       *call ? call : "unknown\n");
	if (!read_text(path, "stack", stack, sizeof(stack)))
		return;
	while ((line = strsep(&rest, "\n")) && *line)
		printf("#   %s\n", line);
}

static int workers;

static void count_worker(const char *path)
{
	char comm[32];

	if (read_text(path, "comm", comm, sizeof(comm)) &&
	    !strcmp(comm, "hcall-worker\n"))
		workers++;
}

/* ---- Processes ----------------------------------------------------------------------------- */

/**
 * struct life - a process
 * @pid:    0: there is none
 * @number: of all processes
 * @kill_ns: when it is killed; 0: not
 * @killed_ns: when it was; 0: not yet
 */
struct life {
	pid_t pid;
	long number;
	uint64_t kill_ns;
	uint64_t killed_ns;
};

static struct life lives[PROCESSES];
static int pool[2];
static unsigned long kills;
static long next_number;
static bool hung;

static uint64_t seed_of(long number)
{
	struct random r = { options.seed + (uint64_t)number };

	random64(&r);
	return random64(&r);
}

static void life_begin(int slot, struct random *r)
{
	struct life *life = &lives[slot];
	pid_t pid;

	memset(shared->beats[slot], 0, sizeof(shared->beats[slot]));
	life->number = next_number++;
	life->killed_ns = 0;
	life->kill_ns =
		one_in(r, 3) ? now_ns() + below(r, 3000) * 1000000ull : 0;
	fflush(stdout);
	pid = fork();
	NEED(pid >= 0);
	if (!pid)
		process_run(seed_of(life->number), slot, options.threads, pool);
	life->pid = pid;
}

static void beats_show(int slot)
{
	for (unsigned int i = 0; i <= THREADS; i++) {
		const struct beat *beat = &shared->beats[slot][i];

		if (beat->begun_ns)
			printf("# process %ld (%d): %s for %.1f s\n",
			       lives[slot].number, lives[slot].pid, beat->doing,
			       (now_ns() - beat->begun_ns) / 1e9);
	}
}

static void life_show(const struct life *life, const char *what)
{
	printf("# process %ld (%d) %s; by itself: host --seed=%" PRIu64
	       " --first=%ld --processes=1 --threads=%u\n",
	       life->number, life->pid, what, options.seed, life->number,
	       options.threads);
	/* Whoever it waits for may be another one. */
	for (unsigned int i = 0; i < options.processes; i++)
		beats_show(i);
	each_thread(show_thread);
	hung = true;
}

static void life_kill(struct life *life)
{
	kill(life->pid, SIGKILL);
	life->killed_ns = now_ns();
	kills++;
}

/* Is one of its threads at the same operation for too long? */
static void life_watch(int slot)
{
	struct life *life = &lives[slot];
	uint64_t now = now_ns(), limit = options.patience * 1000000000ull;

	if (life->killed_ns) {
		if (now - life->killed_ns > limit) {
			life_show(life, "does not die");
			finding("process %ld does not die", life->number);
			life->pid = 0;
		}
		return;
	}
	for (unsigned int i = 0; i <= THREADS; i++) {
		struct beat *beat = &shared->beats[slot][i];
		uint64_t begun = beat->begun_ns;

		if (!begun || begun > now || now - begun < limit)
			continue;
		life_show(life, "hangs");
		finding("process %ld hangs in %s", life->number, beat->doing);
		life_kill(life);
		return;
	}
	if (life->kill_ns && now > life->kill_ns)
		life_kill(life);
}

static void life_ended(struct life *life, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status))
		finding("process %ld exited with %d", life->number,
			WEXITSTATUS(status));
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		finding("process %ld died of signal %d", life->number,
			WTERMSIG(status));
	life->pid = 0;
}

/* Those of processes that have died are ours, too. */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned int i = 0; i < PROCESSES; i++) {
			if (lives[i].pid == pid)
				life_ended(&lives[i], status);
		}
	}
}

/* ---- The world around them --------------------------------------------------------------------- */

static void disk_new(const char *name, off_t bytes)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", disk_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !ftruncate(fd, bytes));
	close(fd);
}

static void disks_new(void)
{
	disk_new("whole", 65536);
	disk_new("odd", 65536 - 13);
	disk_new("empty", 0);
	disk_new("moves", 65536);
	disk_new("log", 0);
}

static void disks_gone(void)
{
	static const char *const names[] = { "whole", "odd", "empty",
					     "moves", "log", "unnamed" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", disk_dir, names[i]);
		unlink(path);
	}
}

static void resize_file(const char *name, off_t bytes)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", disk_dir, name);
	NEED(!truncate(path, bytes));
}

/* What becomes of files while they are used. */
static void world_turns(struct random *r, int *keyboard)
{
	resize_file("moves",
		    one_in(r, 4) ? below(r, 1 << 20) : below(r, 256) * 4096);
	resize_file("log", 0);
	if (one_in(r, 8)) {
		close(*keyboard);
		*keyboard = keyboard_make();
	}
}

static void drain_pool(void)
{
	char control[CMSG_SPACE(sizeof(int))];
	int kind;
	struct iovec iov = { &kind, sizeof(kind) };

	for (;;) {
		struct msghdr message = { .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) };
		struct cmsghdr *head = (struct cmsghdr *)control;

		if (recvmsg(pool[1], &message, MSG_DONTWAIT) < 0)
			return;
		if (message.msg_controllen >= sizeof(control)) {
			int fd;

			memcpy(&fd, CMSG_DATA(head), sizeof(fd));
			close(fd);
		}
	}
}

static void show_progress(uint64_t begun)
{
	static uint64_t shown;

	if (now_ns() - shown < 10000000000ull)
		return;
	shown = now_ns();
	printf("# %" PRIu64
	       " s: %ld operations left, %ld processes, %lu calls, %u findings\n",
	       (shown - begun) / 1000000000, shared->left, next_number,
	       (unsigned long)shared->calls, shared->findings);
}

/* All processes have gone when it returns. */
static void run_operations(long operations)
{
	struct random r = { options.seed ^ operations };
	uint64_t begun = now_ns();
	int keyboard = keyboard_make();
	bool any = true;

	shared->left = operations;
	while (any) {
		any = false;
		for (unsigned int i = 0; i < options.processes; i++) {
			if (!lives[i].pid && shared->left > 0 && !hung)
				life_begin(i, &r);
			if (!lives[i].pid)
				continue;
			any = true;
			life_watch(i);
		}
		reap();
		world_turns(&r, &keyboard);
		show_progress(begun);
		usleep(20000);
	}
	close(keyboard);
	drain_pool();
}

/* Files may be closed a moment after their process. */
static void await_references(long number)
{
	for (int i = 0; i < 100 && references() != number; i++)
		usleep(100000);
}

/* ---- Results ------------------------------------------------------------------------------------- */

static int tests, failed;

static void result(const char *name, bool ok)
{
	char full[64];

	snprintf(full, sizeof(full), "fuzz.host.%s", name);
	printf("%sok %d %s\n", ok ? "" : "not ", ++tests, full);
	failed += !ok;
}

static bool show_results(void)
{
	bool ok = true;

	for (int c = 0; c < COMMANDS; c++) {
		unsigned long sum = 0;

		for (int e = 0; e < ERRNOS; e++)
			sum += shared->results[c][e];
		printf("# %-11s %7lu, %5.1f %% succeeded", command_names[c],
		       sum, sum ? 100.0 * shared->results[c][0] / sum : 0.0);
		for (int e = 1; e < ERRNOS; e++) {
			if (shared->results[c][e])
				printf(", %s %lu", strerrorname_np(e),
				       (unsigned long)shared->results[c][e]);
		}
		printf("\n");
		for (int e = 0; e < ERRNOS; e++) {
			if (!shared->results[c][e] || documented(c, e))
				continue;
			printf("# %s: %s is not documented\n", command_names[c],
			       e ? strerrorname_np(e) : "success");
			ok = false;
		}
	}
	return ok;
}

static bool all_succeeded(void)
{
	bool ok = true;

	for (int c = 0; c < UNKNOWN; c++) {
		if (shared->results[c][0])
			continue;
		printf("# %s never succeeded\n", command_names[c]);
		ok = false;
	}
	return ok;
}

/* Much is let go of a moment after its process (work, RCU). */
static void pause_before_look(void)
{
	usleep(500000);
}

static void remember_caches(void)
{
	for (int look = 0; look < 6; look++) {
		pause_before_look();
		read_caches();
		for (unsigned int i = 0; i < caches_count; i++) {
			struct cache *cache = &caches[i];

			if (!look || cache->now < cache->before)
				cache->before = cache->now;
		}
	}
}

static bool look_what_is_left(long before)
{
	bool ok = true;

	workers = 0;
	each_thread(count_worker);
	read_caches();
	for (unsigned int i = 0; i < caches_count; i++)
		ok = ok && caches[i].now - caches[i].before <= LEFT_MAX;
	return ok && !workers && references() == before;
}

static bool nothing_left(long before)
{
	bool ok = false;

	for (int look = 0; look < 20 && !ok; look++) {
		pause_before_look();
		ok = look_what_is_left(before);
	}
	printf("# left: %ld references to the module, %d workers",
	       references() - before, workers);
	for (unsigned int i = 0; i < caches_count; i++) {
		if (caches[i].now > caches[i].before)
			printf(", %ld in %s", caches[i].now - caches[i].before,
			       caches[i].name);
	}
	printf("\n");
	if (references() != before)
		each_thread(show_thread);
	return ok;
}

/* ---- Options ----------------------------------------------------------------------------------------- */

static const struct argp_option argp_options[] = {
	{ "seed", 's', "NUMBER", 0,
	  "of all that is random (default: SEED or 1)", 0 },
	{ "operations", 'n', "NUMBER", 0,
	  "of all processes together (default: HOST_OPERATIONS or 4000)", 0 },
	{ "first", 'f', "NUMBER", 0, "of the first process (default: 0)", 0 },
	{ "processes", 'p', "NUMBER", 0, "at a time (default: 3)", 0 },
	{ "threads", 't', "NUMBER", 0,
	  "of each process, beside its guest's (default: 2)", 0 },
	{ "patience", 'w', "SECONDS", 0,
	  "that one operation may last (default: 60)", 0 },
	{ 0 }
};

static uint64_t number_of(struct argp_state *state, const char *arg,
			  uint64_t min, uint64_t max)
{
	uint64_t number;
	char *end;

	errno = 0;
	number = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || number < min || number > max)
		argp_error(state,
			   "'%s' is no number from %" PRIu64 " to %" PRIu64,
			   arg, min, max);
	return number;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 's':
		options.seed = number_of(state, arg, 0, UINT64_MAX);
		return 0;
	case 'n':
		options.operations = number_of(state, arg, 1, LONG_MAX);
		return 0;
	case 'f':
		options.first = number_of(state, arg, 0, LONG_MAX);
		return 0;
	case 'p':
		options.processes = number_of(state, arg, 1, PROCESSES);
		return 0;
	case 't':
		options.threads = number_of(state, arg, 1, THREADS);
		return 0;
	case 'w':
		options.patience = number_of(state, arg, 1, 100000);
		return 0;
	case ARGP_KEY_ARGS:
		return 0; /* names of tests: all of them come of one run */
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	argp_options, parse,
	"[TEST...]",  "Random ioctls of /dev/kvm-hcall, by several processes.",
	NULL,	      NULL,
	NULL
};

int main(int argc, char **argv)
{
	static char dir[] = "/tmp/hcall-fuzz-XXXXXX";
	long refs;
	bool ok;

	options.seed = setting("SEED", 1);
	options.operations = setting("HOST_OPERATIONS", 4000);
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	next_number = options.first;
	setvbuf(stdout, NULL, _IOLBF, 0);

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(shared != MAP_FAILED);
	disk_dir = getenv("HCALL_EXT4") ?: mkdtemp(dir);
	block_device = getenv("HCALL_LOOP");
	NEED(disk_dir);
	NEED(!system("modprobe -a tun macvtap veth uinput evdev"));
	/* Where nobody speaks, and the taps are ours. */
	NEED(!unshare(CLONE_NEWNET));
	NEED(!system(
		"ip link add hf0 type veth peer name hf1 && "
		"ip link add link hf0 name hf2 type macvtap mode bridge && "
		"ip link set hf0 up && ip link set hf1 up && "
		"ip link set hf2 up"));
	snprintf(shared->macvtap, sizeof(shared->macvtap), "/dev/tap%u",
		 if_nametoindex("hf2"));
	NEED(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pool));
	NEED(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	disks_new();

	printf("KTAP version 1\n1..5\n# seed %" PRIu64 ", %ld operations\n",
	       options.seed, options.operations);
	refs = references();
	/* The first leg makes what is made once. */
	run_operations(options.operations / 3 + 1);
	await_references(refs);
	remember_caches();
	run_operations(options.operations - options.operations / 3);

	printf("# %ld processes, %lu of them killed, %lu children, %lu instances, %lu descriptors passed on, %lu pages that came late\n",
	       next_number - options.first, kills, shared->forks,
	       shared->instances, shared->passed, shared->slow);
	printf("# %lu calls of guests, %lu without an error\n", shared->calls,
	       shared->answered);
	ok = show_results();
	for (unsigned int i = 0; i < shared->findings && i < 32; i++)
		printf("# %s\n", shared->finding[i]);
	result("hangs", !hung);
	result("errors", ok);
	result("succeeds", all_succeeded() && shared->answered);
	result("findings", !shared->findings);
	result("left", nothing_left(refs));
	disks_gone();
	rmdir(dir);
	return failed ? 1 : 0;
}
