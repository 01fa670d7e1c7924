// SPDX-License-Identifier: GPL-2.0
/*
 * hcalltop: a table of VMs and their devices, again and again.
 *
 * The kernel counts, see hcalltop.bpf.c.  Here the counts of all CPUs are added
 * up now and then, and the difference to the last time is what is shown; so a
 * count that is read a little early is in the next table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#include "hcalltop.h"
#include "hcalltop.skel.h"

#define NS_PER_S   1000000000ull
#define MAX_VMS	   4096
#define HEAD_LINES 2

/**
 * struct row - a line of the table
 * @key:    which; of a VM's own row, @key.class_id is ALL
 * @names:  as they were at its first call
 * @now:    of all CPUs, since the start
 * @delta:  since the last table
 * @p50_ns: half of the calls of @delta took less
 * @p99_ns: 99 of 100
 * @vm:     the row of its VM; itself: it is one
 */
struct row {
	struct top_key key;
	struct top_names names;
	struct top_count now;
	struct top_count delta;
	double p50_ns;
	double p99_ns;
	const struct row *vm;
};

#define ALL 256

enum sort {
	SORT_CALLS,
	SORT_BYTES,
	SORT_ERRORS,
	SORT_P50,
	SORT_P99,
	SORT_VM
};

static const char *const sort_names[] = { "calls", "bytes", "errors",
					  "p50",   "p99",   "vm" };

#define NR_SORTS (sizeof(sort_names) / sizeof(*sort_names))

static __u64 interval_ns = NS_PER_S;
static __u64 tables; /* 0: no end */
static __u64 max_rows; /* 0: all */
static __u64 max_entries = 1024;
static enum sort sort = SORT_CALLS;

static struct hcalltop_bpf *skel;
static struct row **rows; /* devices, as they came */
static unsigned int nr_rows;
static struct row *vms; /* made anew for each table */
static unsigned int nr_vms;
static bool on_terminal;

/* ---- Options -------------------------------------------------------------- */

static const struct argp_option top_options[] = {
	{ "interval", 'i', "SECONDS", 0, "Time between two tables (1)", 0 },
	{ "count", 'n', "N", 0, "End after so many tables", 0 },
	{ "sort", 's', "KEY", 0,
	  "calls (the default), bytes, errors, p50, p99 or vm", 0 },
	{ "rows", 'r', "N", 0, "Show the first so many rows only", 0 },
	{ "entries", 'e', "N", 0,
	  "Have room for so many devices and classes, of all VMs (1024)", 0 },
	{ 0 },
};

static error_t parse_top_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'i':
		interval_ns = tool_time_ns(state, arg);
		if (interval_ns < NS_PER_S / 100)
			argp_error(state, "an interval is at least 10ms");
		return 0;
	case 'n':
		tables = tool_number(state, arg, 1, ~0ull);
		return 0;
	case 's':
		for (sort = 0; sort < NR_SORTS; sort++)
			if (!strcmp(arg, sort_names[sort]))
				return 0;
		argp_error(state,
			   "cannot sort by '%s'; there are calls, bytes, "
			   "errors, p50, p99 and vm",
			   arg);
		return 0;
	case 'r':
		max_rows = tool_number(state, arg, 1, 1000000);
		return 0;
	case 'e':
		max_entries = tool_number(state, arg, 1, 1000000);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp top_argp = {
	.options = top_options,
	.parser = parse_top_option,
	.args_doc = "[[--] COMMAND [ARG...]]",
	.doc = "Show who makes how many calls, how much they move and how "
	       "long they take: a table of VMs and, within, devices.\v"
	       "With COMMAND: of the VMs that it and the programs it starts open, "
	       "until it ends.",
	.children = tool_children,
};

/* ---- Counts --------------------------------------------------------------- */

static void *allocated(void *memory)
{
	if (!memory)
		tool_die("not enough memory");
	return memory;
}

static struct row *row_of(const struct top_key *key)
{
	struct row *row;

	for (unsigned int i = 0; i < nr_rows; i++)
		if (!memcmp(&rows[i]->key, key, sizeof(*key)))
			return rows[i];
	row = allocated(calloc(1, sizeof(*row)));
	row->key = *key;
	rows = allocated(realloc(rows, (nr_rows + 1) * sizeof(*rows)));
	rows[nr_rows++] = row;
	return row;
}

static void add_counts(struct top_count *to, const struct top_count *count)
{
	to->calls += count->calls;
	to->errors += count->errors;
	to->bytes += count->bytes;
	for (int i = 0; i < TOP_SLOTS; i++)
		to->slots[i] += count->slots[i];
}

static void set_delta(struct row *row, const struct top_count *now)
{
	row->delta.calls = now->calls - row->now.calls;
	row->delta.errors = now->errors - row->now.errors;
	row->delta.bytes = now->bytes - row->now.bytes;
	for (int i = 0; i < TOP_SLOTS; i++)
		row->delta.slots[i] = now->slots[i] - row->now.slots[i];
	row->now = *now;
}

/* What has been counted since the last time. */
static void read_counts(void)
{
	static struct top_count *of_cpus;
	struct top_key key, *last = NULL;
	static int cpus;

	if (!of_cpus) {
		cpus = libbpf_num_possible_cpus();
		if (cpus < 0)
			tool_die("cannot count CPUs: %s", strerror(-cpus));
		of_cpus = allocated(calloc(cpus, sizeof(*of_cpus)));
	}
	for (unsigned int i = 0; i < nr_rows; i++)
		memset(&rows[i]->delta, 0, sizeof(rows[i]->delta));
	while (!bpf_map__get_next_key(skel->maps.counts, last, &key,
				      sizeof(key))) {
		struct row *row = row_of(&key);
		struct top_count sum = {};

		last = &row->key;
		if (bpf_map__lookup_elem(skel->maps.counts, &key, sizeof(key),
					 of_cpus, cpus * sizeof(*of_cpus), 0))
			tool_failed("read the counts of");
		for (int i = 0; i < cpus; i++)
			add_counts(&sum, &of_cpus[i]);
		set_delta(row, &sum);
		/* The last one stays: a device's own may be gone by now. */
		if (!bpf_map__lookup_elem(skel->maps.names, &key, sizeof(key),
					  &row->names, sizeof(row->names), 0)) {
			/* A launcher may call itself anything. */
			tool_printable(row->names.comm,
				       sizeof(row->names.comm));
			tool_printable(row->names.device,
				       sizeof(row->names.device));
		}
	}
}

static bool is_open(const struct top_key *key, const struct tool_vm *open,
		    int n)
{
	for (int i = 0; i < n; i++)
		if (open[i].id == key->vm && open[i].pid == key->pid)
			return true;
	return false;
}

/*
 * Before there is no room any more: forget VMs that are closed.  Those that were
 * before the counts were read for the last time, or their last calls would be
 * forgotten too: so this is called before that, and says how many of the rows, the
 * first ones, are perhaps of VMs that are not among @open.
 */
static unsigned int find_open(struct tool_vm *open, int *n)
{
	if (nr_rows < max_entries * 3 / 4)
		return 0;
	*n = tool_vms(open, MAX_VMS);
	return *n < MAX_VMS ? nr_rows : 0; /* or perhaps there are more */
}

static void make_room(const struct tool_vm *open, int n, unsigned int known)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < nr_rows; i++) {
		struct row *row = rows[i];

		if (i >= known || is_open(&row->key, open, n)) {
			rows[kept++] = row;
			continue;
		}
		bpf_map__delete_elem(skel->maps.counts, &row->key,
				     sizeof(row->key), 0);
		bpf_map__delete_elem(skel->maps.names, &row->key,
				     sizeof(row->key), 0);
		free(row);
	}
	nr_rows = kept;
}

/* Calls that were not counted, and why. */
static __u64 tell_lost(void)
{
	__u64 missed = tool_missed(skel->progs.top_exit);
	__u64 no_room = skel->bss->lost;

	if (no_room)
		tool_say("%llu calls were not counted: there is room for %llu "
			 "devices and classes; --entries makes more",
			 no_room, max_entries);
	if (missed)
		tool_say("%llu calls were not counted: they came in between "
			 "while their CPU counted another",
			 missed);
	return no_room + missed;
}

/* ---- Rows ----------------------------------------------------------------- */

static __u64 slot_start(unsigned int slot)
{
	unsigned int shift;

	if (slot < 2 * TOP_SLOTS_PER_LOG2)
		return slot;
	shift = slot / TOP_SLOTS_PER_LOG2 - 1;
	return (__u64)(TOP_SLOTS_PER_LOG2 + slot % TOP_SLOTS_PER_LOG2) << shift;
}

/* As if the durations in a slot were spread over it evenly. */
static double quantile_ns(const struct top_count *count, double share)
{
	double rank, before = 0;
	__u64 all = 0;

	for (int i = 0; i < TOP_SLOTS; i++)
		all += count->slots[i];
	rank = share * all;
	for (int i = 0; i < TOP_SLOTS; i++) {
		double start = slot_start(i), width = slot_start(i + 1) - start;

		if (count->slots[i] && before + count->slots[i] >= rank)
			return start +
			       width * (rank - before) / count->slots[i];
		before += count->slots[i];
	}
	return 0;
}

static struct row *vm_of(const struct row *device)
{
	struct row *vm;

	for (unsigned int i = 0; i < nr_vms; i++)
		if (vms[i].key.vm == device->key.vm &&
		    vms[i].key.pid == device->key.pid)
			return &vms[i];
	vm = &vms[nr_vms++];
	memset(vm, 0, sizeof(*vm));
	vm->key = device->key;
	vm->key.class_id = ALL;
	vm->key.unit = TOP_NO_UNIT;
	strcpy(vm->names.comm, device->names.comm);
	vm->vm = vm;
	return vm;
}

static double sort_value(const struct row *row)
{
	switch (sort) {
	case SORT_BYTES:
		return row->delta.bytes;
	case SORT_ERRORS:
		return row->delta.errors;
	case SORT_P50:
		return row->p50_ns;
	case SORT_P99:
		return row->p99_ns;
	case SORT_VM:
		return 0;
	default:
		return row->delta.calls;
	}
}

static int compare(__u32 a, __u32 b)
{
	return (a > b) - (a < b);
}

static int compare_values(const struct row *a, const struct row *b)
{
	return (sort_value(a) < sort_value(b)) -
	       (sort_value(a) > sort_value(b));
}

/* VMs, the one with the highest value first, each with its devices behind it. */
static int compare_rows(const void *left, const void *right)
{
	const struct row *a = *(struct row *const *)left;
	const struct row *b = *(struct row *const *)right;
	int order = 0;

	if (a->vm != b->vm) {
		order = compare_values(a->vm, b->vm);
		order = order ? order : compare(a->key.vm, b->key.vm);
		return order ? order : compare(a->key.pid, b->key.pid);
	}
	if (a == a->vm || b == b->vm)
		return (b == b->vm) - (a == a->vm);
	order = compare_values(a, b);
	order = order ? order : compare(a->key.class_id, b->key.class_id);
	return order ? order : compare(a->key.unit, b->key.unit);
}

/* Those with calls since the last table, in order.  Return: how many. */
static unsigned int make_table(struct row ***table)
{
	static struct row **shown;
	unsigned int n = 0;

	/* Pointers to elements of vms stay: no more are needed than that. */
	vms = allocated(realloc(vms, (nr_rows + 1) * sizeof(*vms)));
	shown = allocated(realloc(shown, (2 * nr_rows + 1) * sizeof(*shown)));
	nr_vms = 0;
	for (unsigned int i = 0; i < nr_rows; i++) {
		struct row *row = rows[i], *vm;

		if (!row->delta.calls)
			continue;
		vm = vm_of(row);
		add_counts(&vm->delta, &row->delta);
		row->vm = vm;
		shown[n++] = row;
	}
	for (unsigned int i = 0; i < nr_vms; i++)
		shown[n++] = &vms[i];
	for (unsigned int i = 0; i < n; i++) {
		shown[i]->p50_ns = quantile_ns(&shown[i]->delta, 0.5);
		shown[i]->p99_ns = quantile_ns(&shown[i]->delta, 0.99);
	}
	qsort(shown, n, sizeof(*shown), compare_rows);
	*table = shown;
	return n;
}

/* ---- Printing ----------------------------------------------------------------- */

/* One of a few buffers, so that a printf() can have several. */
static char *in_units(double value, const char *const *units, double step)
{
	static char buffers[4][32];
	static unsigned int next;
	char *buffer = buffers[next++ % 4];
	int unit = 0;

	while (units[unit + 1] && value >= step) {
		value /= step;
		unit++;
	}
	snprintf(buffer, sizeof(buffers[0]), "%.*f%s",
		 value < 99.95 && unit ? 1 : 0, value, units[unit]);
	return buffer;
}

static const char *bytes_text(double bytes)
{
	static const char *const units[] = { "B",   "KiB", "MiB",
					     "GiB", "TiB", NULL };

	return in_units(bytes, units, 1024);
}

static const char *time_text(double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s", NULL };

	return in_units(ns, units, 1000);
}

/* What is printed as a line; on a terminal no wider than that. */
static void print_line(const char *line, unsigned int columns)
{
	if (on_terminal)
		printf("%.*s\033[K\n", columns, line);
	else
		puts(line);
}

static void print_row(const struct row *row, double seconds,
		      unsigned int columns)
{
	const char *name = row == row->vm ? row->names.comm : row->names.device;
	const struct top_count *delta = &row->delta;
	char line[256], unit[16] = "-";

	if (row->key.unit != TOP_NO_UNIT)
		snprintf(unit, sizeof(unit), "%u", row->key.unit);
	snprintf(line, sizeof(line),
		 "%-4u %-7u %-8s %4s %9.0f %9s %8.0f %7s %7s %s", row->key.vm,
		 row->key.pid,
		 row == row->vm ? "all" : tool_class_name(row->key.class_id),
		 unit, delta->calls / seconds,
		 bytes_text(delta->bytes / seconds), delta->errors / seconds,
		 time_text(row->p50_ns), time_text(row->p99_ns), name);
	print_line(line, columns);
}

static void print_head(double seconds, unsigned int columns)
{
	struct top_count sum = {};
	time_t now = time(NULL);
	struct tm tm;
	char line[256], clock[16];

	for (unsigned int i = 0; i < nr_vms; i++)
		add_counts(&sum, &vms[i].delta);
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	snprintf(line, sizeof(line),
		 "%s  in %.1f s: %u VM%s with %.0f calls/s, %s/s, "
		 "%.0f errors/s",
		 clock, seconds, nr_vms, nr_vms == 1 ? "" : "s",
		 sum.calls / seconds, bytes_text(sum.bytes / seconds),
		 sum.errors / seconds);
	print_line(line, columns);
	snprintf(line, sizeof(line),
		 "%-4s %-7s %-8s %4s %9s %9s %8s %7s %7s NAME", "VM", "PID",
		 "CLASS", "UNIT", "CALLS/s", "BYTES/s", "ERRORS/s", "P50",
		 "P99");
	print_line(line, columns);
}

static void print_json(const struct row *row, __u64 number, double seconds)
{
	struct json_object *line = json_object_new_object();
	const struct top_count *delta = &row->delta;
	char text[32];

	json_unsigned(line, "table", number);
	snprintf(text, sizeof(text), "%.6f", seconds);
	json_object_object_add(line, "seconds",
			       json_object_new_double_s(seconds, text));
	json_unsigned(line, "vm", row->key.vm);
	json_unsigned(line, "pid", row->key.pid);
	json_text(line, "comm", row->names.comm);
	if (row != row->vm)
		json_text(line, "class", tool_class_name(row->key.class_id));
	if (row->key.unit != TOP_NO_UNIT) {
		json_unsigned(line, "unit", row->key.unit);
		json_text(line, "name", row->names.device);
	}
	json_unsigned(line, "calls", delta->calls);
	json_unsigned(line, "bytes", delta->bytes);
	json_unsigned(line, "errors", delta->errors);
	json_unsigned(line, "calls_per_s", delta->calls / seconds + 0.5);
	json_unsigned(line, "bytes_per_s", delta->bytes / seconds + 0.5);
	json_unsigned(line, "errors_per_s", delta->errors / seconds + 0.5);
	json_unsigned(line, "p50_ns", row->p50_ns + 0.5);
	json_unsigned(line, "p99_ns", row->p99_ns + 0.5);
	json_print(line);
}

static void print_table(__u64 number, double seconds)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct row **table;
	unsigned int n = make_table(&table);

	if (max_rows && n > max_rows)
		n = max_rows;
	if (tool.json) {
		for (unsigned int i = 0; i < n; i++)
			print_json(table[i], number, seconds);
		return;
	}
	if (on_terminal) {
		/* Asked each time, as it may change; 0: not known. */
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
		if (size.ws_row > HEAD_LINES + 1 &&
		    n > size.ws_row - HEAD_LINES - 1u)
			n = size.ws_row - HEAD_LINES - 1;
		if (!size.ws_col)
			size.ws_col = 80;
		/* From the top, over what is there: clearing would flicker. */
		fputs(number == 1 ? "\033[H\033[J" : "\033[H", stdout);
	}
	print_head(seconds, size.ws_col);
	for (unsigned int i = 0; i < n; i++)
		print_row(table[i], seconds, size.ws_col);
	if (on_terminal)
		fputs("\033[J", stdout);
	else
		putchar('\n');
}

/* ---- Running ------------------------------------------------------------------ */

int main(int argc, char **argv)
{
	__u64 start_ns, end_ns, number = 0, lost;
	bool goes_on = true;

	tool_parse(&top_argp, argc, argv);
	on_terminal = !tool.json && isatty(STDOUT_FILENO);
	skel = hcalltop_bpf__open();
	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	bpf_map__set_max_entries(skel->maps.counts, max_entries);
	bpf_map__set_max_entries(skel->maps.names, max_entries);
	if (hcalltop_bpf__load(skel))
		tool_failed("load");
	if (hcalltop_bpf__attach(skel))
		tool_failed("attach");
	start_ns = tool_now_ns();
	end_ns = start_ns + interval_ns;
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();

	while (goes_on && (!tables || number < tables)) {
		static struct tool_vm open[MAX_VMS];
		unsigned int known;
		int n = 0;
		__u64 now;

		goes_on = tool_wait(-1, end_ns);
		/* The last table is of a shorter time, and complete. */
		if (!goes_on)
			hcalltop_bpf__detach(skel);
		known = find_open(open, &n);
		read_counts();
		now = tool_now_ns();
		print_table(++number, (now - start_ns) / 1e9);
		start_ns = now;
		/* Late by more than an interval: do not hurry after it. */
		end_ns = end_ns + interval_ns > now ? end_ns + interval_ns
						    : now + interval_ns;
		make_room(open, n, known);
	}
	lost = tell_lost();
	if (lost && tool.json) {
		struct json_object *line = json_object_new_object();

		json_unsigned(line, "lost", lost);
		json_print(line);
	}
	return tool_end(0);
}
