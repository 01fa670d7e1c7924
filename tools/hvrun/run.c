// SPDX-License-Identifier: GPL-2.0
/*
 * hvrun run: the options, and the life of a guest.  Disks, console, network and
 * input are opened once; VM, memory and the module's instance are new at each
 * reboot, and the kernel is read again.
 *
 * The main thread waits in supervise() for signals (by signalfd: all of them
 * are blocked everywhere else), for the guest's end, and for what console,
 * keyboard and network links have to be told.
 */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "hvrun.h"

/* How long a reader may take nothing of the output after we were told to stop. */
#define DRAIN_TIMEOUT_MS 1000

#define MANY_CPUS	 1000000 /* more than any host can */

struct config {
	uint64_t ram_bytes;
	unsigned int cpus;
	struct disk *disks;
	struct nets nets;
	struct input *inputs;
	const char *console;
	bool stats;
	bool json;
	const char *initrd;
	char *kernel;
	char **args;
};

/* ---- Options ------------------------------------------------------------- */

enum {
	OPT_MEM = 256,
	OPT_CPUS,
	OPT_INITRD,
	OPT_DISK,
	OPT_NET,
	OPT_INPUT,
	OPT_CONSOLE,
	OPT_STATS,
	OPT_JSON
};

static const struct argp_option options[] = {
	{ "mem", OPT_MEM, "SIZE", 0,
	  "Guest memory, in bytes or with K, M or G (default 256M)", 0 },
	{ "cpus", OPT_CPUS, "N", 0, "Number of CPUs (default 1)", 0 },
	{ "initrd", OPT_INITRD, "FILE", 0,
	  "The initial RAM disk or initramfs of a Linux kernel", 0 },
	{ "disk", OPT_DISK, "NAME=PATH", 0,
	  "Add a disk, a file or block device; with ',ro' after PATH the guest "
	  "can only read it, with ',direct' the host's page cache is not used. "
	  "The first disk is unit 0, and so on",
	  0 },
	{ "net", OPT_NET, "NAME=BACKEND", 0,
	  "Add a network interface: tap:IF, a tap or macvtap that is there; fd:N, "
	  "the descriptor of one; or user, the host's network without root, by "
	  "passt. ',mac=ADDRESS' after it sets the guest's address, "
	  "',queues=N' opens so many queues of a tap",
	  0 },
	{ "input", OPT_INPUT, "NAME=SOURCE", 0,
	  "Add an input device: evdev:PATH, one of the host's, with ',grab' for "
	  "the guest alone; or stdio, a keyboard on which stdin types",
	  0 },
	{ "console", OPT_CONSOLE, "WHERE", 0,
	  "Where the guest's console is: stdio (the default), pty, file:PATH "
	  "(output only) or none",
	  0 },
	{ "stats", OPT_STATS, NULL, 0,
	  "At the end, print counts of calls, exits and more on stderr", 0 },
	{ "json", OPT_JSON, NULL, 0,
	  "Print the counts of --stats as one JSON object, the last line on stderr",
	  0 },
	{ "verbose", 'v', NULL, 0, "Say what is done", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct config *config = state->input;
	const char *mistake;
	uint64_t number;

	switch (key) {
	case OPT_MEM:
		mistake = spec_size(arg, &config->ram_bytes);
		if (mistake)
			argp_error(state, "--mem %s: %s", arg, mistake);
		return 0;
	case OPT_CPUS:
		if (!spec_number(arg, &number) || !number)
			argp_error(state, "--cpus %s: is no number of CPUs",
				   arg);
		/* Too many are refused later, with what the host can. */
		config->cpus = number < MANY_CPUS ? number : MANY_CPUS;
		return 0;
	case OPT_INITRD:
		config->initrd = arg;
		return 0;
	case OPT_DISK:
		mistake = disk_parse(arg, &config->disks);
		if (mistake)
			argp_error(state, "--disk %s: %s", arg, mistake);
		return 0;
	case OPT_NET:
		mistake = net_parse(arg, &config->nets);
		if (mistake)
			argp_error(state, "--net %s: %s", arg, mistake);
		return 0;
	case OPT_INPUT:
		mistake = input_parse(arg, &config->inputs);
		if (mistake)
			argp_error(state, "--input %s: %s", arg, mistake);
		return 0;
	case OPT_CONSOLE:
		config->console = arg;
		if (!console_valid(arg))
			argp_error(
				state,
				"--console %s: is none of stdio, pty, file:PATH, none",
				arg);
		return 0;
	case OPT_JSON:
		config->json = true;
		config->stats = true;
		return 0;
	case OPT_STATS:
		config->stats = true;
		return 0;
	case 'v':
		verbose = true;
		return 0;
	case ARGP_KEY_ARG: /* the rest is the guest's, options and all */
		config->kernel = arg;
		config->args = state->argv + state->next;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state,
			   "which kernel? Say: hvrun run -- KERNEL [ARGS...]");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "-- KERNEL [ARGS...]",
	.doc = "Start KERNEL, a Multiboot 1, PVH or 64-bit ELF file or a Linux bzImage, "
	       "in a virtual machine.\v"
	       "On a terminal, Ctrl-A X leaves and Ctrl-A H shows the other keys.\n"
	       "SIGUSR1 has the guest told of disks that have become larger or "
	       "smaller.\n"
	       "The exit status is the guest's; it is 125 if hvrun itself failed, "
	       "128 + N if signal N ended it. See hvrun(1).",
};

/* ---- Signals ------------------------------------------------------------- */

/* It does not end us, however early it comes: supervise() takes it. */
static void hold_sigusr1(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* A signal that was ignored when we were started, as by nohup, stays ignored. */
static int open_signals(void)
{
	static const int signals[] = { SIGINT,	SIGTERM, SIGHUP,   SIGQUIT,
				       SIGTSTP, SIGCONT, SIGWINCH, SIGUSR1 };
	struct sigaction old;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("signalfd: %s", strerror(errno));
	return fd;
}

/* Stop as if SIGTSTP were not blocked; return when we are continued. */
static void suspend(void)
{
	sigset_t set;

	terminal_restore();
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- The life of a guest ------------------------------------------------- */

#define NOT_TOLD -1

struct guest {
	struct vm vm;
	struct console *con;
	struct keyboard *keyboard;
	const struct disk *disks;
	struct nets *nets;
	int hcall_fd;
	int signal_fd;
	int told; /* to end with this status, by a signal or a key; or NOT_TOLD */
};

static void stop(struct guest *guest, int status)
{
	guest->told = status;
	vm_stop(&guest->vm, status);
}

/*
 * What the guest did first counts, but a reboot does not undo a signal, and
 * output that was lost is a failure whatever the guest ended with.
 */
static int outcome_of(const struct guest *guest)
{
	int outcome = atomic_load(&guest->vm.outcome);

	if (guest->told == HVRUN_FAILED ||
	    (outcome == VM_REBOOT && guest->told != NOT_TOLD))
		return guest->told;
	return outcome;
}

/* Whoever gets the keys of our terminal. */
static void take_terminal(const struct guest *guest)
{
	if (guest->keyboard)
		keyboard_raw(guest->keyboard);
	else if (guest->con)
		console_raw(guest->con);
}

/* Return a signal's exit status if it asks us to end, or else 0. */
static int take_signal(struct guest *guest)
{
	struct signalfd_siginfo info;

	if (read(guest->signal_fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	switch (info.ssi_signo) {
	case SIGWINCH:
		if (guest->con)
			hcall_resize(guest->hcall_fd, guest->con);
		return 0;
	case SIGUSR1:
		for (const struct disk *d = guest->disks; d; d = d->next)
			hcall_resize_disk(guest->hcall_fd, d);
		return 0;
	case SIGTSTP:
		suspend();
		__attribute__((fallthrough)); /* it may not have stopped us */
	case SIGCONT:
		take_terminal(guest);
		return 0;
	default:
		return 128 + info.ssi_signo;
	}
}

static void follow(struct guest *guest, enum console_verdict verdict)
{
	switch (verdict) {
	case CONSOLE_GOES_ON:
		return;
	case CONSOLE_LEAVE:
		stop(guest, 0);
		return;
	case CONSOLE_BROKEN:
		if (guest->told == NOT_TOLD)
			stop(guest, HVRUN_FAILED);
		return;
	}
}

/*
 * Until the guest has ended, no vCPU runs, and its output is out.  After we
 * were told to stop, a reader that takes nothing is waited for only so long;
 * a second signal ends even that.  Return the outcome.
 */
static int supervise(struct guest *guest)
{
	struct pollfd
		fds[2 + CONSOLE_MAX_FDS + KEYBOARD_MAX_FDS + NETS_MAX_FDS] = {
			{ guest->signal_fd, POLLIN, 0 },
			{ guest->vm.ended_fd, POLLIN, 0 },
		};
	struct pollfd *con_fds = fds + 2, *kbd_fds, *net_fds;
	int con_count, kbd_count = 0, net_count = 0;
	bool ended = false;
	int status, ready;

	for (;;) {
		con_count = console_poll(guest->con, con_fds, ended);
		if (ended && !con_count)
			return outcome_of(guest);
		kbd_fds = con_fds + con_count;
		if (!ended)
			kbd_count = keyboard_poll(guest->keyboard, kbd_fds);
		net_fds = kbd_fds + kbd_count;
		if (!ended)
			net_count = nets_poll(guest->nets, net_fds);
		ready = poll(fds, 2 + con_count + kbd_count + net_count,
			     ended && guest->told != NOT_TOLD ? DRAIN_TIMEOUT_MS
							      : -1);
		if (ready < 0)
			continue;
		if (ready == 0) {
			say("nobody reads the guest's last output: it is lost");
			return outcome_of(guest);
		}
		status = fds[0].revents ? take_signal(guest) : 0;
		if (status && ended)
			return status;
		if (status)
			stop(guest, status);
		follow(guest, console_relay(guest->con, con_fds, con_count));
		follow(guest,
		       keyboard_relay(guest->keyboard, kbd_fds, kbd_count));
		nets_relay(guest->nets, net_fds, net_count, guest->hcall_fd);
		if (fds[1].revents) {
			vm_join(&guest->vm);
			fds[1].fd = -1;
			ended = true;
			kbd_count = net_count = 0;
		}
	}
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void add_devices(struct guest *guest, const struct config *config)
{
	for (struct disk *d = config->disks; d; d = d->next) {
		disk_check_size(d);
		hcall_add_disk(guest->hcall_fd, d);
	}
	nets_add(guest->nets, guest->hcall_fd);
	for (struct input *i = config->inputs; i; i = i->next)
		hcall_add_input(guest->hcall_fd, i);
	/* Only now: it empties a file, and all that can be mistaken is right. */
	if (!guest->con)
		guest->con = console_open(config->console, !guest->keyboard);
	if (guest->con)
		hcall_add_console(guest->hcall_fd, guest->con);
	hcall_seal(guest->hcall_fd);
}

/* From power-on to power-off or reboot. */
static int run_once(struct guest *guest, const struct config *config,
		    struct stats *stats)
{
	int outcome;

	vm_create(&guest->vm, config->ram_bytes, config->cpus, config->kernel,
		  config->initrd, config->args);
	guest->hcall_fd = hcall_open(&guest->vm);
	guest->vm.interrupts = interrupts_create(&guest->vm, guest->hcall_fd);
	add_devices(guest, config);
	take_terminal(guest);
	vm_start(&guest->vm);

	outcome = supervise(guest);
	if (config->stats)
		stats_add(stats, &guest->vm, guest->hcall_fd);
	close(guest->hcall_fd);
	interrupts_destroy(guest->vm.interrupts);
	vm_destroy(&guest->vm);
	return outcome;
}

int run_command(int argc, char **argv)
{
	struct config config = {
		.ram_bytes = 256 * MIB,
		.cpus = 1,
		.console = "stdio",
	};
	struct stats stats = { 0 };
	struct guest guest = { .told = NOT_TOLD, .nets = &config.nets };
	struct timespec start;
	int outcome;

	hold_sigusr1();
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &config);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (struct disk *d = config.disks; d; d = d->next)
		disk_open(d);
	for (struct input *i = config.inputs; i; i = i->next)
		input_open(i);
	guest.keyboard = input_keyboard(config.inputs);
	guest.disks = config.disks;
	nets_open(&config.nets, config.cpus);
	guest.signal_fd = open_signals();
	do {
		outcome = run_once(&guest, &config, &stats);
	} while (outcome == VM_REBOOT);

	console_close(guest.con);
	nets_close(&config.nets);
	terminal_restore();
	if (config.json)
		stats_print_json(&stats, seconds_since(&start), outcome);
	else if (config.stats)
		stats_print(&stats, seconds_since(&start));
	return outcome;
}
