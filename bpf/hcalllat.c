// SPDX-License-Identifier: GPL-2.0
/*
 * hcalllat: print histograms of how long calls take.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#include "hcalllat.h"
#include "hcalllat.skel.h"

#define BAR_COLUMNS 40

static bool by_vm, by_class, by_function, by_unit;
static __u64 interval_ns; /* 0: once, at the end */
static __u64 intervals; /* 0: no limit */

static const struct argp_option options[] = {
	{ "by", 'b', "WHAT[,...]", 0,
	  "A histogram for each vm, class, function or device; default "
	  "function",
	  0 },
	{ "interval", 'i', "SECONDS", 0,
	  "Print what there was, again and again, after this time", 0 },
	{ "count", 'n', "COUNT", 0, "End after so many intervals", 0 },
	{ 0 },
};

static void parse_by(struct argp_state *state, char *list)
{
	by_vm = by_class = by_function = by_unit = false;
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		bool function = !strcmp(word, "function");
		bool unit = !strcmp(word, "device");
		bool class_id = !strcmp(word, "class");
		bool vm = !strcmp(word, "vm");

		if (!function && !unit && !class_id && !vm)
			argp_error(state,
				   "nothing is told apart by '%s', only by vm, "
				   "class, function and device",
				   word);
		by_vm |= vm;
		by_class |= class_id || function || unit;
		by_function |= function;
		by_unit |= unit;
	}
	if (!by_vm && !by_class)
		argp_error(state, "--by needs vm, class, function or device");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'b':
		parse_by(state, arg);
		return 0;
	case 'i':
		interval_ns = tool_time_ns(state, arg);
		if (interval_ns < 1000000)
			argp_error(state, "an interval is 1ms or more");
		return 0;
	case 'n':
		intervals = tool_number(state, arg, 1, 1000000000);
		return 0;
	case ARGP_KEY_END:
		if (intervals && !interval_ns)
			argp_error(state, "--count needs --interval");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "[--] [COMMAND [ARG...]]",
	.doc = "Print histograms of how long the guests' calls take.\v"
	       "With COMMAND, only calls of the VMs that it and the programs it "
	       "starts open, until it ends; else until Ctrl-C.",
	.children = tool_children,
};

/* ---- What has been counted -------------------------------------------------- */

/* A histogram, as it is now and as it was when it was printed last. */
struct entry {
	struct lat_key key;
	struct lat_counts now;
	struct lat_counts before;
};

static struct entry *entries;
static size_t nr_entries;

static int by_key(const void *a, const void *b)
{
	const struct lat_key *x = &((const struct entry *)a)->key;
	const struct lat_key *y = &((const struct entry *)b)->key;

	if (x->vm != y->vm)
		return x->vm < y->vm ? -1 : 1;
	if (x->class_id != y->class_id)
		return x->class_id < y->class_id ? -1 : 1;
	if (x->function != y->function)
		return x->function < y->function ? -1 : 1;
	return (x->unit > y->unit) - (x->unit < y->unit);
}

static struct entry *find_entry(const struct lat_key *key)
{
	for (size_t i = 0; i < nr_entries; i++)
		if (!memcmp(&entries[i].key, key, sizeof(*key)))
			return &entries[i];
	entries = realloc(entries, (nr_entries + 1) * sizeof(*entries));
	if (!entries)
		tool_die("there is not enough memory");
	entries[nr_entries] = (struct entry){ .key = *key };
	return &entries[nr_entries++];
}

static void read_counts(const struct bpf_map *map)
{
	int cpus = libbpf_num_possible_cpus();
	struct lat_counts *values;
	struct lat_key key, *previous = NULL, copy;

	if (cpus < 0)
		tool_die("cannot find out how many CPUs there are");
	values = calloc(cpus, sizeof(*values));
	if (!values)
		tool_die("there is not enough memory");
	while (!bpf_map__get_next_key(map, previous, &key, sizeof(key))) {
		struct entry *entry = find_entry(&key);
		struct lat_counts *sum = &entry->now;

		copy = key;
		previous = &copy;
		if (bpf_map__lookup_elem(map, &key, sizeof(key), values,
					 cpus * sizeof(*values), 0))
			tool_failed("read from");
		memset(sum, 0, sizeof(*sum));
		for (int i = 0; i < cpus; i++) {
			sum->errors += values[i].errors;
			sum->total_ns += values[i].total_ns;
			for (int j = 0; j < LAT_BUCKETS; j++)
				sum->buckets[j] += values[i].buckets[j];
		}
	}
	free(values);
	qsort(entries, nr_entries, sizeof(*entries), by_key);
}

/* ---- Printing -------------------------------------------------------------- */

static const char *function_name(const struct lat_key *key)
{
	if (key->function == LAT_NONE)
		return "?";
	return tool_function_name(HCALL_NR(key->class_id, key->function));
}

static void print_text(const struct lat_key *key,
		       const struct lat_counts *counts, __u64 calls)
{
	static const char bar[] = "****************************************";
	int first = LAT_BUCKETS, last = 0;
	__u64 most = 0;

	for (int i = 0; i < LAT_BUCKETS; i++) {
		if (!counts->buckets[i])
			continue;
		if (first == LAT_BUCKETS)
			first = i;
		last = i;
		if (counts->buckets[i] > most)
			most = counts->buckets[i];
	}
	putchar('\n');
	if (by_vm)
		printf("vm %u%s", key->vm, by_class ? ", " : "");
	if (by_class)
		printf("%s%s%s", tool_class_name(key->class_id),
		       by_function ? "." : "",
		       by_function ? function_name(key) : "");
	if (by_unit && key->unit != LAT_NONE)
		printf(" %u", key->unit);
	printf(": %llu call%s, %llu error%s, average %llu ns\n", calls,
	       calls == 1 ? "" : "s", counts->errors,
	       counts->errors == 1 ? "" : "s", counts->total_ns / calls);
	printf("%28s : %-10s %s\n", "ns", "calls", "distribution");
	for (int i = first; i <= last; i++)
		printf("%12llu -> %-12llu : %-10llu |%-*.*s|\n",
		       i ? 1ull << i : 0, (2ull << i) - 1, counts->buckets[i],
		       BAR_COLUMNS,
		       (int)(counts->buckets[i] * BAR_COLUMNS / most), bar);
}

static void print_json(const struct lat_key *key,
		       const struct lat_counts *counts, __u64 calls,
		       __u64 time_ns)
{
	struct json_object *line = json_object_new_object();
	struct json_object *buckets = json_object_new_array();

	json_unsigned(line, "time_ns", time_ns);
	if (by_vm)
		json_number(line, "vm", key->vm);
	if (by_class)
		json_text(line, "class", tool_class_name(key->class_id));
	if (by_function)
		json_text(line, "function", function_name(key));
	if (by_unit && key->unit != LAT_NONE)
		json_number(line, "unit", key->unit);
	json_unsigned(line, "calls", calls);
	json_unsigned(line, "errors", counts->errors);
	json_unsigned(line, "total_ns", counts->total_ns);
	for (int i = 0; i < LAT_BUCKETS; i++) {
		struct json_object *bucket;

		if (!counts->buckets[i])
			continue;
		bucket = json_object_new_object();
		json_unsigned(bucket, "from_ns", i ? 1ull << i : 0);
		json_unsigned(bucket, "to_ns", (2ull << i) - 1);
		json_unsigned(bucket, "calls", counts->buckets[i]);
		json_object_array_add(buckets, bucket);
	}
	json_object_object_add(line, "buckets", buckets);
	json_print(line);
}

/* What there was since it was called last. */
static void print_all(const struct bpf_map *map)
{
	__u64 time_ns = tool_now_ns();

	read_counts(map);
	if (interval_ns && !tool.json) {
		time_t now = time(NULL);
		char text[16];

		strftime(text, sizeof(text), "%H:%M:%S", localtime(&now));
		printf("\n%s\n", text);
	}
	for (size_t i = 0; i < nr_entries; i++) {
		struct entry *entry = &entries[i];
		struct lat_counts counts = entry->now;
		__u64 calls = 0;

		counts.errors -= entry->before.errors;
		counts.total_ns -= entry->before.total_ns;
		for (int j = 0; j < LAT_BUCKETS; j++) {
			counts.buckets[j] -= entry->before.buckets[j];
			calls += counts.buckets[j];
		}
		if (!calls)
			continue;
		entry->before = entry->now;
		if (tool.json)
			print_json(&entry->key, &counts, calls, time_ns);
		else
			print_text(&entry->key, &counts, calls);
	}
}

static __u64 lost_by(struct hcalllat_bpf *skel)
{
	return skel->bss->lost + tool_missed(skel->progs.lat);
}

int main(int argc, char **argv)
{
	struct hcalllat_bpf *skel;
	__u64 next_ns;

	by_class = by_function = true;
	tool_parse(&argp, argc, argv);
	skel = hcalllat_bpf__open();
	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	skel->rodata->by_vm = by_vm;
	skel->rodata->by_class = by_class;
	skel->rodata->by_function = by_function;
	skel->rodata->by_unit = by_unit;
	if (hcalllat_bpf__load(skel))
		tool_failed("load");
	if (hcalllat_bpf__attach(skel))
		tool_failed("attach");
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();
	next_ns = tool_now_ns() + interval_ns;
	while (tool_wait(-1, interval_ns ? next_ns : 0)) {
		print_all(skel->maps.latencies);
		next_ns += interval_ns;
		if (intervals && !--intervals)
			return tool_end(lost_by(skel));
	}
	hcalllat_bpf__detach(skel);
	print_all(skel->maps.latencies);
	return tool_end(lost_by(skel));
}
