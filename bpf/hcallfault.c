// SPDX-License-Identifier: GPL-2.0
/*
 * Loader of hcallfault.bpf.c, which says what is done to calls and to which.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tool.h"

#include "hcallfault.h"
#include "hcallfault.skel.h"

static struct {
	int action; /* enum fault_action, or -1 */
	int choice; /* enum fault_choice, or -1: all */
	__u64 n;
	double probability;
	__u64 seed, times, delay_ns;
	bool has_seed, has_sectors;
	int error;
	__u64 first_sector, last_sector;
	__u8 functions[FAULT_FUNCTIONS_BYTES]; /* --function */
	bool has_functions;
} options = { .action = -1, .choice = -1, .times = UINT64_MAX };

/* ---- Options -------------------------------------------------------------- */

static const char doc[] =
	"Fail, delay, corrupt or shorten calls of guests, to test how an OS "
	"takes it."
	"\vWithout COMMAND it goes on until Ctrl-C.  With it, COMMAND is "
	"started, and only the VMs that it and the programs it starts open are "
	"meant; the end of COMMAND is the end.\n"
	"\n"
	"  hcallfault --fail=EIO --nth=7 --function=block.read -- \\\n"
	"      hvrun run --disk root=disk.img -- samples/shell\n"
	"\n"
	"Faults of several kinds: run it several times.";

static const struct argp_option fault_options[] = {
	{ 0, 0, 0, 0, "What to do, one of:", 1 },
	{ "fail", 'F', "ERROR", 0,
	  "The guest gets this error, as EIO or 5, and nothing is done", 1 },
	{ "delay", 'D', "TIME", 0,
	  "The vCPU waits before the call: 3ms, 20us, 100ns, or seconds; at "
	  "most 1 s",
	  1 },
	{ "corrupt", 'C', NULL, 0,
	  "Flip one bit of the data that the call brings", 1 },
	{ "shorten", 'S', NULL, 0,
	  "Have the host do less than the guest has asked for", 1 },
	{ 0, 0, 0, 0, "To which of the calls, one of (default: all):", 2 },
	{ "nth", 'n', "N", 0, "The N-th, once", 2 },
	{ "every", 'e', "N", 0, "Every N-th", 2 },
	{ "probability", 'p', "P", 0, "A share of them, 0 to 1", 2 },
	{ 0, 0, 0, 0, "And:", 3 },
	{ "seed", 's', "NUMBER", 0,
	  "For what is random: the same number gives the same", 3 },
	{ "times", 't', "N", 0,
	  "No more than so many; without COMMAND that is the end", 3 },
	{ 0, 0, 0, 0, "Which calls are meant, beside what is below:", 4 },
	{ "function", 'f', "CLASS.FUNCTION", 0,
	  "Only these calls, as block.read or 0xe0.1, and those of --class; "
	  "can be repeated",
	  4 },
	{ "sectors", 'b', "FIRST[-LAST]", 0,
	  "Only calls for at least one of these sectors of a disk", 4 },
	{ 0 },
};

static void set_action(struct argp_state *state, enum fault_action action)
{
	if (options.action != -1)
		argp_error(state, "only one of --fail, --delay, --corrupt and "
				  "--shorten can be done; run it twice");
	options.action = action;
}

static void set_choice(struct argp_state *state, enum fault_choice choice)
{
	if (options.choice != -1)
		argp_error(state, "only one of --nth, --every and "
				  "--probability can be given");
	options.choice = choice;
}

static void parse_delay(struct argp_state *state, const char *arg)
{
	options.delay_ns = tool_time_ns(state, arg);
	if (!options.delay_ns)
		argp_error(state, "a delay of 0 is none");
	if (options.delay_ns > HCALL_BPF_MAX_DELAY_NS)
		argp_error(state,
			   "a delay of %s is too long: a call can be delayed "
			   "by 1 s at most",
			   arg);
}

static void parse_probability(struct argp_state *state, const char *arg)
{
	char *end;

	options.probability = strtod(arg, &end);
	if (end == arg || *end ||
	    !(options.probability >= 0 && options.probability <= 1))
		argp_error(state, "'%s' is no probability: 0 to 1, as 0.05",
			   arg);
}

/* CLASS.FUNCTION, both as a name or a number. */
static void parse_function(struct argp_state *state, const char *arg)
{
	const char *name = strchr(arg, '.');
	int class_id = -1, function = -1;
	char class_name[32] = "";

	if (name && name - arg < (int)sizeof(class_name)) {
		memcpy(class_name, arg, name++ - arg);
		class_id = tool_class(class_name);
	}
	if (class_id >= 0)
		function = tool_function(class_id, name);
	if (function < 0)
		argp_error(state,
			   "'%s' is no function: CLASS.FUNCTION, as "
			   "block.read, net.recv or 0xe0.1",
			   arg);
	else
		options.functions[class_id * 32 + function / 8] |=
			1 << function % 8;
	options.has_functions = true;
}

static void parse_sectors(struct argp_state *state, char *arg)
{
	char *last = strchr(arg, '-');

	if (last)
		*last++ = '\0';
	options.first_sector = tool_number(state, arg, 0, UINT64_MAX);
	options.last_sector = options.first_sector;
	if (last)
		options.last_sector = tool_number(
			state, last, options.first_sector, UINT64_MAX);
	options.has_sectors = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'F':
		set_action(state, FAULT_FAIL);
		options.error = tool_error(arg);
		if (options.error < 0)
			argp_error(
				state,
				"'%s' is no error that a guest can get; see "
				"'Errors' in abi.rst: EPERM, EINTR, EIO, ...",
				arg);
		return 0;
	case 'D':
		set_action(state, FAULT_DELAY);
		parse_delay(state, arg);
		return 0;
	case 'C':
		set_action(state, FAULT_CORRUPT);
		return 0;
	case 'S':
		set_action(state, FAULT_SHORTEN);
		return 0;
	case 'n':
		set_choice(state, FAULT_NTH);
		options.n = tool_number(state, arg, 1, UINT64_MAX);
		return 0;
	case 'e':
		set_choice(state, FAULT_EVERY);
		options.n = tool_number(state, arg, 1, UINT64_MAX);
		return 0;
	case 'p':
		set_choice(state, FAULT_RANDOM);
		parse_probability(state, arg);
		return 0;
	case 's':
		options.seed = tool_number(state, arg, 0, UINT64_MAX);
		options.has_seed = true;
		return 0;
	case 't':
		options.times = tool_number(state, arg, 1, UINT64_MAX);
		return 0;
	case 'f':
		parse_function(state, arg);
		return 0;
	case 'b':
		parse_sectors(state, arg);
		return 0;
	case ARGP_KEY_END:
		if (options.action == -1)
			argp_error(state, "what to do? --fail, --delay, "
					  "--corrupt or --shorten");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = { .options = fault_options,
				  .parser = parse_option,
				  .args_doc = "[--] [COMMAND [ARG...]]",
				  .doc = doc,
				  .children = tool_children };

/* ---- Which calls ------------------------------------------------------------ */

/* Does the user mean it, and can it be done to it? */
static bool is_meant(__u32 nr)
{
	__u32 class_id = HCALL_NR_CLASS(nr), index = nr & 0xffff;
	bool has_classes = tool.classes[0] | tool.classes[1] | tool.classes[2] |
			   tool.classes[3];
	bool meant = !has_classes && !options.has_functions;

	meant |= tool.classes[class_id / 64] >> class_id % 64 & 1;
	meant |= options.functions[index / 8] >> index % 8 & 1;
	if (tool.has_unit && !tool_class_has_units(class_id))
		return false;
	if (options.has_sectors && fault_sectors_arg(nr) == FAULT_NONE)
		return false;
	if (options.action == FAULT_CORRUPT && !fault_gives_data(nr))
		return false;
	if (options.action == FAULT_SHORTEN &&
	    fault_count_arg(nr) == FAULT_NONE)
		return false;
	return meant;
}

/* Into the program's table, and the classes into those that it sees. */
static void set_functions(struct hcallfault_bpf *skel)
{
	__u64 classes[4] = {};

	for (__u32 i = 0; i < 65536; i++) {
		if (!is_meant(HCALL_PREFIX | i))
			continue;
		skel->rodata->functions[i / 8] |= 1 << i % 8;
		classes[i >> 14] |= 1ull << (i >> 8 & 63);
	}
	if (!(classes[0] | classes[1] | classes[2] | classes[3]))
		tool_die("none of these calls %s",
			 options.action == FAULT_CORRUPT
				 ? "brings data that could be corrupted"
			 : options.action == FAULT_SHORTEN
				 ? "may do less than it is asked for"
			 : options.has_sectors ? "has sectors"
					       : "has a unit");
	memcpy(skel->rodata->filter.classes, classes, sizeof(classes));
	skel->struct_ops.fault->classes = tool_class_mask(classes);
}

/* Of the two that could be enter(), and the exit(), keep one. */
static void set_action_program(struct hcallfault_bpf *skel)
{
	struct bpf_program *programs[] = {
		[FAULT_FAIL] = skel->progs.fault_enter,
		[FAULT_DELAY] = skel->progs.fault_enter,
		[FAULT_CORRUPT] = skel->progs.fault_corrupt,
		[FAULT_SHORTEN] = skel->progs.fault_shorten,
	};
	struct bpf_program *program = programs[options.action];
	bool at_exit = options.action == FAULT_CORRUPT;

	for (int i = 0; i < 4; i++)
		bpf_program__set_autoload(programs[i], programs[i] == program);
	skel->struct_ops.fault->enter = at_exit ? NULL : program;
	skel->struct_ops.fault->exit = at_exit ? program : NULL;
	skel->rodata->action = options.action;
}

static void set_up(struct hcallfault_bpf *skel)
{
	skel->rodata->filter = tool_filter();
	skel->struct_ops.fault->vm = tool.vm;
	set_functions(skel);
	set_action_program(skel);
	skel->rodata->error = -options.error;
	skel->rodata->delay_ns = options.delay_ns;
	skel->rodata->has_sectors = options.has_sectors;
	skel->rodata->first_sector = options.first_sector;
	skel->rodata->last_sector = options.last_sector;

	if (options.choice == -1 ||
	    (options.choice == FAULT_RANDOM && options.probability == 1)) {
		options.choice = FAULT_EVERY;
		options.n = 1;
	}
	if (options.choice == FAULT_NTH)
		options.times = 1;
	skel->rodata->choice = options.choice;
	skel->rodata->choice_n = options.n;
	/* Less than 1, so that less than 2^64. */
	skel->rodata->choice_share = options.probability * 0x1p64;
	skel->rodata->times = options.times;
	if (!options.has_seed && getrandom(&options.seed, 4, 0) != 4)
		tool_die("no random seed: %s", strerror(errno));
	skel->rodata->seed = options.seed;
}

/* ---- What was done -------------------------------------------------------------- */

static __u64 told;

static void print_text(const struct fault_event *event)
{
	printf("%llu: vm %u vcpu %d %s(%#llx, %#llx, %#llx, %#llx)%s%s: ",
	       event->number, event->vm, event->vcpu, tool_call_name(event->nr),
	       event->args[0], event->args[1], event->args[2], event->args[3],
	       event->door ? " by " : "",
	       event->door ? tool_door_name(event->door) : "");
	switch (options.action) {
	case FAULT_FAIL:
		printf("failed with %s\n", tool_error_name(-options.error));
		break;
	case FAULT_DELAY:
		printf("delayed by %llu ns\n", options.delay_ns);
		break;
	case FAULT_CORRUPT:
		printf("flipped bit %llu of byte %llu of %llu\n",
		       event->bit % 8, event->bit / 8, event->value);
		break;
	case FAULT_SHORTEN:
		printf("shortened to %llu\n", event->value);
		break;
	}
}

static void print_json(const struct fault_event *event)
{
	static const char *const actions[] = { "fail", "delay", "corrupt",
					       "shorten" };
	struct json_object *line = json_object_new_object();
	struct json_object *args = json_object_new_array();

	for (int i = 0; i < 4; i++)
		json_object_array_add(args,
				      json_object_new_uint64(event->args[i]));
	json_unsigned(line, "number", event->number);
	json_unsigned(line, "vm", event->vm);
	json_number(line, "vcpu", event->vcpu);
	json_text(line, "class", tool_class_name(HCALL_NR_CLASS(event->nr)));
	json_text(line, "function", tool_function_name(event->nr));
	json_text(line, "door", tool_door_name(event->door));
	json_object_object_add(line, "args", args);
	json_text(line, "action", actions[options.action]);
	switch (options.action) {
	case FAULT_FAIL:
		json_text(line, "error", tool_error_name(-options.error));
		break;
	case FAULT_DELAY:
		json_unsigned(line, "delay_ns", options.delay_ns);
		break;
	case FAULT_CORRUPT:
		json_unsigned(line, "gpa", event->gpa);
		json_unsigned(line, "bytes", event->value);
		json_unsigned(line, "byte", event->bit / 8);
		json_unsigned(line, "bit", event->bit % 8);
		break;
	case FAULT_SHORTEN:
		json_unsigned(line, "count", event->value);
		break;
	}
	json_print(line);
}

static int print_event(void *context, void *data, size_t bytes)
{
	(void)context;
	(void)bytes;
	told++;
	if (tool.json)
		print_json(data);
	else
		print_text(data);
	return 0;
}

static void print_totals(const struct hcallfault_bpf *skel)
{
	struct json_object *line;

	if (!tool.json) {
		printf("%llu of %llu calls, seed %llu\n", skel->bss->injected,
		       skel->bss->calls, options.seed);
		return;
	}
	line = json_object_new_object();
	json_unsigned(line, "injected", skel->bss->injected);
	json_unsigned(line, "calls", skel->bss->calls);
	json_unsigned(line, "seed", options.seed);
	json_print(line);
}

int main(int argc, char **argv)
{
	struct hcallfault_bpf *skel;
	struct ring_buffer *events;
	struct bpf_link *link;

	tool_parse(&argp, argc, argv);
	skel = hcallfault_bpf__open();
	if (!skel)
		tool_failed("open");
	set_up(skel);
	if (hcallfault_bpf__load(skel))
		tool_failed("load");
	events = ring_buffer__new(bpf_map__fd(skel->maps.events), print_event,
				  NULL, NULL);
	if (!events)
		tool_failed("read from");
	link = tool_attach_ops(skel->maps.fault, &skel->bss->ejection);
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();

	/* COMMAND goes on to its end without faults. */
	while ((tool.command || told + skel->bss->lost < options.times) &&
	       tool_wait(ring_buffer__epoll_fd(events), 0))
		ring_buffer__consume(events);

	bpf_link__destroy(link);
	ring_buffer__consume(events);
	print_totals(skel);
	return tool_end(skel->bss->lost);
}
