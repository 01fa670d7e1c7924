// SPDX-License-Identifier: GPL-2.0
/*
 * What the loaders of all tools have in common; see tool.h.
 *
 * Signals are blocked and read from a descriptor, so that there is one place
 * where a tool sleeps and nothing can come in between.  COMMAND is forked before
 * the programs are there, so that it has nothing of them, and waits at a socket.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/kvm_hcall.h>

#include "tool.h"
#include "tool.skel.h"

#define VERSION "0.1"
#define MAX_VMS 4096

struct tool tool;

static __u64 duration_ns; /* 0: none */
static __u64 end_ns; /* on CLOCK_MONOTONIC */
static int signals = -1;
static sigset_t old_mask;
static pid_t command_pid; /* 0: none, or it has ended */
static __u32 vm_pid; /* who opened the VM of --vm */
static int command_socket = -1;
static int link_fd = -1;
static const struct tool_ejection *ejection;
static const bool *matched;
static const char *output; /* --output */
static int status;

__u64 tool_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* ---- Words ------------------------------------------------------------------ */

static void vsay(const char *format, va_list args)
{
	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void tool_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

void tool_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
	if (command_pid > 0)
		kill(command_pid, SIGTERM);
	exit(TOOL_FAILED);
}

static void flush(void)
{
	errno = 0;
	if (fflush(stdout) || ferror(stdout))
		tool_die("cannot write: %s",
			 errno ? strerror(errno) : "some of it was lost");
}

void tool_failed(const char *action)
{
	int error = errno;

	tool_die("cannot %s the program: %s%s", action, strerror(error),
		 tool.verbose ? "" : "; --verbose shows what libbpf says");
}

static int print_libbpf(enum libbpf_print_level level, const char *format,
			va_list args)
{
	(void)level;
	return tool.verbose ? vfprintf(stderr, format, args) : 0;
}

void tool_printable(char *text, size_t bytes)
{
	text[bytes - 1] = 0;
	for (; *text; text++)
		if (!isgraph((unsigned char)*text) || *text & 0x80)
			*text = '?';
}

/* One of a few buffers, so that a printf() can have several names. */
static char *a_buffer(void)
{
	static char buffers[8][32];
	static unsigned int next;

	return buffers[next++ % 8];
}

#define NAME_BYTES 32

static const struct {
	const char *name;
	const char *functions[16];
} classes[] = {
	[HCALL_CLASS_SYS] = { "sys",
			      { "probe", "device", "batch", "exit",
				"random" } },
	[HCALL_CLASS_CONSOLE] = { "console",
				  { "write", "read", "putc", "getc", "size" } },
	[HCALL_CLASS_BLOCK] = { "block",
				{ [0] = "read",
				  [1] = "write",
				  [4] = "flush",
				  [11] = "discard",
				  [13] = "write_zeroes" } },
	[HCALL_CLASS_TIMER] = { "timer",
				{ "now", "arm", "cancel", "expired" } },
	[HCALL_CLASS_INPUT] = { "input", { "read", "write", "config" } },
	[HCALL_CLASS_NET] = { "net",
			      { "send", "recv", "sendv", "recvv", "features",
				"link" } },
	[HCALL_CLASS_EVENT] = { "event",
				{ "page", "next", "wait", "mask", "route",
				  "raise" } },
	[HCALL_CLASS_VIRTIO] = { "virtio",
				 { "device", "status", "features", "queue",
				   "kick", "config_read", "config_write" } },
};

#define NR_CLASSES (sizeof(classes) / sizeof(*classes))

static const struct {
	const char *name;
	int number;
} errors[] = {
	{ "EPERM", HCALL_EPERM },
	{ "EINTR", HCALL_EINTR },
	{ "EIO", HCALL_EIO },
	{ "E2BIG", HCALL_E2BIG },
	{ "EAGAIN", HCALL_EAGAIN },
	{ "ENOMEM", HCALL_ENOMEM },
	{ "EFAULT", HCALL_EFAULT },
	{ "ENODEV", HCALL_ENODEV },
	{ "EINVAL", HCALL_EINVAL },
	{ "ENOSPC", HCALL_ENOSPC },
	{ "EROFS", HCALL_EROFS },
	{ "ERANGE", HCALL_ERANGE },
	{ "EOPNOTSUPP", HCALL_EOPNOTSUPP },
	{ "ECANCELED", HCALL_ECANCELED },
	{ "ENOSYS", HCALL_ENOSYS },
};

#define NR_ERRORS (sizeof(errors) / sizeof(*errors))

const char *tool_class_name(__u32 class_id)
{
	char *name = a_buffer();

	if (class_id < NR_CLASSES)
		return classes[class_id].name;
	if (class_id > 255)
		return "?";
	snprintf(name, NAME_BYTES, "0x%02x", class_id);
	return name;
}

const char *tool_function_name(__u32 nr)
{
	__u32 class_id = HCALL_NR_CLASS(nr), function = HCALL_NR_FUNCTION(nr);
	char *name = a_buffer();

	if (class_id < NR_CLASSES && function < 16 &&
	    classes[class_id].functions[function])
		return classes[class_id].functions[function];
	snprintf(name, NAME_BYTES, "%u", function);
	return name;
}

const char *tool_call_name(__u32 nr)
{
	char *name = a_buffer();

	snprintf(name, NAME_BYTES, "%s.%s", tool_class_name(HCALL_NR_CLASS(nr)),
		 tool_function_name(nr));
	return name;
}

const char *tool_error_name(__s64 result)
{
	char *name = a_buffer();

	for (size_t i = 0; i < NR_ERRORS; i++)
		if (result == -errors[i].number)
			return errors[i].name;
	snprintf(name, NAME_BYTES, "%lld", result);
	return name;
}

const char *tool_door_name(__u32 door)
{
	static const char *const names[] = { "register", "batch", "async",
					     "queue" };
	char *name = a_buffer();

	if (door < sizeof(names) / sizeof(*names))
		return names[door];
	snprintf(name, NAME_BYTES, "%u", door);
	return name;
}

bool tool_digits(const char *text, const char **end, __u64 *number)
{
	char *rest;

	errno = 0;
	/* No octal: 010 sectors are ten. */
	*number = strtoull(text, &rest, strncasecmp(text, "0x", 2) ? 10 : 16);
	*end = rest;
	return isdigit((unsigned char)*text) && !errno;
}

/* A number without anything behind it. */
static bool parse_number(const char *text, __u64 *number)
{
	const char *end;

	return tool_digits(text, &end, number) && !*end;
}

int tool_class(const char *text)
{
	__u64 number;

	for (size_t i = 0; i < NR_CLASSES; i++)
		if (!strcmp(text, classes[i].name))
			return i;
	return parse_number(text, &number) && number < 256 ? (int)number : -1;
}

int tool_function(__u32 class_id, const char *text)
{
	__u64 number;

	for (__u32 i = 0; i < 256; i++)
		if (!strcmp(text, tool_function_name(HCALL_NR(class_id, i))))
			return i;
	return parse_number(text, &number) && number < 256 ? (int)number : -1;
}

int tool_error(const char *text)
{
	__u64 number;

	if (!parse_number(text, &number))
		number = 0;
	for (size_t i = 0; i < NR_ERRORS; i++)
		if (!strcasecmp(text, errors[i].name) ||
		    number == (__u64)errors[i].number)
			return errors[i].number;
	return -1;
}

bool tool_class_has_units(__u32 class_id)
{
	return class_id == HCALL_CLASS_CONSOLE ||
	       class_id == HCALL_CLASS_BLOCK || class_id == HCALL_CLASS_INPUT ||
	       class_id == HCALL_CLASS_NET;
}

void json_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	json_object_put(object);
}

/* ---- Options -------------------------------------------------------------- */

static void print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "%s %s\n", program_invocation_short_name, VERSION);
}

__u64 tool_number(struct argp_state *state, const char *text, __u64 min,
		  __u64 max)
{
	__u64 number;

	if (!parse_number(text, &number) || number < min || number > max)
		argp_error(state, "'%s' is no number from %llu to %llu", text,
			   min, max);
	return number;
}

__u64 tool_time_ns(struct argp_state *state, const char *text)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "", 1e9 },
		      { "s", 1e9 },
		      { "ms", 1e6 },
		      { "us", 1e3 },
		      { "ns", 1 } };
	char *end;
	double number = strtod(text, &end);

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (end != text && isdigit((unsigned char)*text) &&
		    !strcmp(end, units[i].unit) && number * units[i].ns < 1e18)
			return number * units[i].ns;
	argp_error(state,
		   "'%s' is no time: seconds as 0.5, or 3ms, 20us, 100ns",
		   text);
	return 0;
}

#define VM_OPTION                                                              \
	{                                                                      \
		"vm", 'm', "ID", 0, "Only this VM, as the column VM has it", 0 \
	}

static const struct argp_option vm_options[] = {
	VM_OPTION,
	{ 0 },
};

static const struct argp_option filter_options[] = {
	VM_OPTION,
	{ "class", 'c', "CLASS", 0,
	  "Only calls of this class: sys, console, block, timer, input, net, "
	  "event, virtio, or a number; can be repeated",
	  0 },
	{ "unit", 'u', "UNIT", 0,
	  "Only calls of the console, disk, input device or interface with "
	  "this number",
	  0 },
	{ 0 },
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print JSON, an object a line", 0 },
	{ "output", 'o', "FILE", 0,
	  "Print to FILE; standard output is COMMAND's alone", 0 },
	{ "duration", 'd', "SECONDS", 0, "End after this time", 0 },
	{ "verbose", 'v', NULL, 0, "Print what libbpf says", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	int class_id;

	switch (key) {
	case 'm':
		tool.vm = tool_number(state, arg, 1, 0xffffffff);
		return 0;
	case 'c':
		class_id = tool_class(arg);
		if (class_id < 0)
			argp_error(state,
				   "'%s' is no class; there are sys, console, "
				   "block, timer, input, net, event, virtio, "
				   "and 0 to 255",
				   arg);
		tool.classes[class_id >> 6] |= 1ull << (class_id & 63);
		return 0;
	case 'u':
		tool.unit = tool_number(state, arg, 0, KVM_HCALL_MAX_UNITS - 1);
		tool.has_unit = true;
		return 0;
	case 'j':
		tool.json = true;
		return 0;
	case 'o':
		output = arg;
		return 0;
	case 'd':
		duration_ns = tool_time_ns(state, arg);
		if (!duration_ns)
			argp_error(state, "a duration of 0 is over at once");
		return 0;
	case 'v':
		tool.verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_with_command(int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_ARGS)
		return parse_option(key, arg, state);
	tool.command = state->argv + state->next;
	state->next = state->argc;
	return 0;
}

const struct argp tool_vm_argp = { .options = vm_options,
				   .parser = parse_option };
const struct argp tool_filter_argp = { .options = filter_options,
				       .parser = parse_option };
const struct argp tool_argp = { .options = options,
				.parser = parse_with_command };

const struct argp_child tool_children[] = {
	{ &tool_filter_argp, 0, "What to look at:", 10 },
	{ &tool_argp, 0, "As all tools:", 20 },
	{ 0 },
};

/* ---- What a tool needs -------------------------------------------------------- */

/* libbpf finds a module's types by CAP_SYS_ADMIN only. */
static bool is_permitted(void)
{
	char line[128];
	unsigned long long effective = 0;
	FILE *file = fopen("/proc/self/status", "re");

	if (!file)
		tool_die("cannot read /proc/self/status: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	fclose(file);
	return effective >> CAP_SYS_ADMIN & 1;
}

static void check_host(void)
{
	if (!is_permitted())
		tool_die("only root may watch VMs (CAP_SYS_ADMIN)");
	if (access("/sys/module/kvm_hcall", F_OK))
		tool_die("the module kvm_hcall is not loaded; 'modprobe "
			 "kvm_hcall' loads it if it is installed, else insmod");
	if (access("/sys/kernel/btf/vmlinux", F_OK))
		tool_die("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), "
			 "without which there is no eBPF for hcall");
	if (access("/sys/kernel/btf/kvm_hcall", F_OK))
		tool_die("kvm_hcall.ko has no BTF: it was built where pahole "
			 "or the kernel's vmlinux was missing");
}

static int by_id(const void *a, const void *b)
{
	const struct tool_vm *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Either of its programs. */
static struct tool_bpf *load_tool(bool watch)
{
	struct tool_bpf *skel = tool_bpf__open();

	if (!skel)
		tool_failed("open");
	bpf_program__set_autoload(skel->progs.vms, !watch);
	bpf_program__set_autoload(skel->progs.watch_attach, watch);
	bpf_program__set_autoload(skel->progs.watch_ejected, watch);
	bpf_map__set_autocreate(skel->maps.watch, watch);
	skel->struct_ops.watch->vm = tool.vm;
	if (tool_bpf__load(skel))
		tool_failed("load");
	return skel;
}

int tool_vms(struct tool_vm *vms, int max)
{
	struct tool_bpf *skel = load_tool(false);
	struct bpf_link *link;
	struct tool_vm found;
	int fd, n = 0, i;
	ssize_t bytes;

	link = bpf_program__attach_iter(skel->progs.vms, NULL);
	if (!link)
		tool_failed("attach");
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		tool_failed("start");
	while ((bytes = read(fd, &found, sizeof(found))) > 0) {
		if (bytes != sizeof(found))
			tool_die("the kernel gave half a VM");
		for (i = 0; i < n && vms[i].id != found.id; i++)
			;
		tool_printable(found.comm, sizeof(found.comm));
		if (i == n && n < max)
			vms[n++] = found;
	}
	if (bytes < 0)
		tool_failed("read");
	close(fd);
	bpf_link__destroy(link);
	tool_bpf__destroy(skel);
	qsort(vms, n, sizeof(*vms), by_id);
	return n;
}

static void check_vm(void)
{
	static struct tool_vm vms[MAX_VMS];
	char list[256] = "";
	int n = tool_vms(vms, MAX_VMS), bytes = 0;

	for (int i = 0; i < n; i++) {
		if (vms[i].id == tool.vm) {
			/* Once it is closed the next one gets its number. */
			vm_pid = vms[i].pid;
			return;
		}
		if (bytes < 200)
			bytes += sprintf(list + bytes, "%s %u (%s)",
					 i ? "," : "", vms[i].id, vms[i].comm);
	}
	if (n)
		tool_die("there is no VM %u; there %s%s", tool.vm,
			 n == 1 ? "is" : "are", list);
	tool_die("there is no VM %u, nor any other", tool.vm);
}

/* ---- COMMAND ------------------------------------------------------------------- */

/* It says why it could not be started, or its end of the socket closes. */
static void be_command(int socket)
{
	char go;
	int error;

	if (read(socket, &go, 1) != 1)
		_exit(TOOL_FAILED); /* the tool is gone */
	sigprocmask(SIG_SETMASK, &old_mask, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvp(tool.command[0], tool.command);
	error = errno;
	if (write(socket, &error, sizeof(error)) < 0)
		_exit(TOOL_FAILED); /* nobody to tell */
	_exit(TOOL_FAILED);
}

static void start_command(void)
{
	int sockets[2];

	/* What COMMAND starts and leaves alone stays this process's descendant. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		tool_die("cannot make a socket: %s", strerror(errno));
	command_pid = fork();
	if (command_pid < 0)
		tool_die("cannot fork: %s", strerror(errno));
	if (!command_pid) {
		close(sockets[0]);
		be_command(sockets[1]);
	}
	close(sockets[1]);
	command_socket = sockets[0];
}

/* That the VM of --vm is closed is the end. */
static void watch_vm(void)
{
	struct tool_bpf *skel = load_tool(true);

	tool_attach_ops(skel->maps.watch, &skel->bss->ejection);
	if (skel->bss->opener != vm_pid)
		tool_die("the VM %u is not there any more", tool.vm);
}

void tool_release(void)
{
	int error = 0;

	if (tool.vm && link_fd < 0)
		watch_vm();
	if (duration_ns)
		end_ns = tool_now_ns() + duration_ns;
	if (command_socket < 0)
		return;
	flush(); /* a table's head comes before what COMMAND prints */
	if (write(command_socket, "", 1) != 1 ||
	    read(command_socket, &error, sizeof(error)) > 0)
		tool_die("cannot run '%s': %s", tool.command[0],
			 strerror(error ? error : errno));
	close(command_socket);
	command_socket = -1;
}

static void tell_end(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		tool_say("'%s' was killed by signal %d (%s)", tool.command[0],
			 WTERMSIG(wait_status),
			 strsignal(WTERMSIG(wait_status)));
	else if (WEXITSTATUS(wait_status))
		tool_say("'%s' ended with status %d", tool.command[0],
			 WEXITSTATUS(wait_status));
}

/* Return: it has ended. */
static bool reap_command(int flags)
{
	int wait_status;
	pid_t pid;

	if (!command_pid)
		return false;
	/* Others are those that it had started, and that nobody waits for. */
	do
		pid = waitpid(-1, &wait_status, flags);
	while (pid > 0 && pid != command_pid);
	if (pid <= 0)
		return false;
	command_pid = 0;
	if (!flags && (WIFSIGNALED(wait_status)
			       ? WTERMSIG(wait_status) == SIGTERM
			       : WEXITSTATUS(wait_status) == 128 + SIGTERM))
		return true; /* by us */
	tell_end(wait_status);
	return true;
}

/* ---- Running --------------------------------------------------------------- */

void tool_options(const struct argp *argp, int argc, char **argv)
{
	argp_program_version_hook = print_version;
	argp_err_exit_status = TOOL_FAILED;
	argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, NULL);
}

void tool_parse(const struct argp *argp, int argc, char **argv)
{
	static char buffer[1 << 20];
	int output_fd = -1;
	sigset_t mask;

	tool_options(argp, argc, argv);
	libbpf_set_print(print_libbpf);
	check_host();
	if (tool.vm)
		check_vm();
	if (output) {
		output_fd = open(
			output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (output_fd < 0)
			tool_die("cannot open '%s': %s", output,
				 strerror(errno));
	}

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGQUIT);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &old_mask);
	signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		tool_die("cannot wait for signals: %s", strerror(errno));
	/* Who prints to nobody fails in flush(), and ends COMMAND. */
	signal(SIGPIPE, SIG_IGN);
	if (tool.command)
		start_command();
	/* From now on stdout is the tool's own. */
	if (output_fd >= 0 && dup2(output_fd, STDOUT_FILENO) < 0)
		tool_die("cannot print to '%s': %s", output, strerror(errno));
	/* So much that it is flush() that writes, and can tell what is wrong. */
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
}

struct tool_filter tool_filter(void)
{
	struct tool_filter wanted = {
		.vm = tool.vm,
		.pid = vm_pid,
		.ancestor = tool.command ? getpid() : 0,
		.has_unit = tool.has_unit,
		.unit = tool.unit,
	};

	memcpy(wanted.classes, tool.classes, sizeof(wanted.classes));
	return wanted;
}

__u64 tool_class_mask(const __u64 classes[4])
{
	__u64 mask = 0;

	for (__u32 i = 0; i < 256; i++) {
		if (!(classes[i >> 6] >> (i & 63) & 1))
			continue;
		if (!HCALL_CLASS_BIT(i))
			return 0; /* all, as it has no bit */
		mask |= HCALL_CLASS_BIT(i);
	}
	return mask;
}

struct bpf_link *tool_attach_ops(struct bpf_map *ops,
				 const struct tool_ejection *why)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(ops);

	if (!link && errno == ENOSPC)
		tool_die("%d programs are attached already, which is the most",
			 HCALL_OPS_MAX);
	if (!link && errno == ENOENT)
		tool_die("the VM %u is not there any more", tool.vm);
	if (!link)
		tool_failed("attach");
	link_fd = bpf_link__fd(link);
	ejection = why;
	return link;
}

/* Return: a signal says that it is over. */
static bool take_signals(void)
{
	struct signalfd_siginfo info;
	bool over = false;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			over |= reap_command(WNOHANG);
		else
			over = true;
	}
	return over;
}

static void tell_ejection(void)
{
	if (ejection->reason == HCALL_EJECTED_VM_CLOSED && tool.vm) {
		tool_say("%s", ejection->text);
		return;
	}
	status = TOOL_FAILED;
	if (ejection->reason)
		tool_say("taken out by the module: %s", ejection->text);
	else
		tool_say("somebody else has detached the program");
}

bool tool_wait(int fd, __u64 wake_ns)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
		{ .fd = link_fd },
	};

	flush();
	for (;;) {
		__u64 now = tool_now_ns();
		bool last = end_ns && (!wake_ns || end_ns <= wake_ns);
		__u64 until = last ? end_ns : wake_ns;
		int n, ms = -1;

		if (until)
			ms = until > now ? (until - now + 999999) / 1000000 : 0;
		if (until && until - now > 1000000000000 && until > now)
			ms = 1000000000; /* and again */
		n = poll(fds, sizeof(fds) / sizeof(*fds), ms);
		if (n < 0 && errno != EINTR)
			tool_die("cannot wait: %s", strerror(errno));
		if (n > 0 && fds[0].revents && take_signals())
			return false;
		if (n > 0 && fds[2].revents) {
			tell_ejection();
			return false;
		}
		now = tool_now_ns();
		if (end_ns && now >= end_ns)
			return false;
		if ((n > 0 && fds[1].revents) || (wake_ns && now >= wake_ns))
			return true;
	}
}

void tool_expect_vm(const bool *seen)
{
	matched = seen;
}

__u64 tool_missed(const struct bpf_program *program)
{
	struct bpf_prog_info info = {};
	__u32 bytes = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes))
		tool_failed("count the misses of");
	return info.recursion_misses;
}

int tool_end(__u64 lost)
{
	if (lost && tool.json) {
		struct json_object *line = json_object_new_object();

		json_unsigned(line, "lost", lost);
		json_print(line);
	}
	if (lost)
		tool_say("%llu events were lost: they came too fast, or there "
			 "was no room for them",
			 lost);
	if (tool.command && !command_pid && matched && !*matched) {
		status = TOOL_FAILED;
		tool_say("neither '%s' nor a program that it has started has "
			 "opened a VM, so nothing was looked at",
			 tool.command[0]);
	}
	flush();
	if (command_pid) {
		/* From now on Ctrl-C ends the tool at once. */
		sigprocmask(SIG_SETMASK, &old_mask, NULL);
		kill(command_pid, SIGTERM);
		reap_command(0);
	}
	return status;
}
