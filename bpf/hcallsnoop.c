// SPDX-License-Identifier: GPL-2.0
/*
 * hcallsnoop: print each call as a line.
 */
#include <errno.h>

#include "tool.h"

#include "hcallsnoop.h"
#include "hcallsnoop.skel.h"

static bool errors_only;
static __u64 min_latency_ns;
static __u64 buffer_bytes;

static const struct argp_option options[] = {
	{ "errors", 'e', NULL, 0, "Only calls that failed", 0 },
	{ "min-latency", 'l', "TIME", 0,
	  "Only calls that took so long, as 0.5 (seconds), 20us or 3ms", 0 },
	{ "buffer", 'b', "KIB", 0,
	  "Room for calls that have not been printed yet; default 4096", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'e':
		errors_only = true;
		return 0;
	case 'l':
		min_latency_ns = tool_time_ns(state, arg);
		return 0;
	case 'b':
		buffer_bytes = tool_number(state, arg, 4, 1 << 20) * 1024;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "[--] [COMMAND [ARG...]]",
	.doc = "Print each call of the guests as a line, once it has been "
	       "answered.\vWith COMMAND, only calls of the VMs that it and the "
	       "programs it starts open, until it ends; else until Ctrl-C.",
	.children = tool_children,
};

static __u64 start_ns; /* when the first call was printed */

static void print_text(const struct snoop_call *call)
{
	__u64 us;
	char vcpu[12] = "-", result[24];

	if (!start_ns)
		start_ns = call->time_ns;
	/* Calls of several CPUs may come a little out of order. */
	us = call->time_ns > start_ns ? (call->time_ns - start_ns) / 1000 : 0;
	if (call->vcpu >= 0)
		snprintf(vcpu, sizeof(vcpu), "%d", call->vcpu);
	if (call->forwarded)
		snprintf(result, sizeof(result), "forwarded");
	else if (call->result < 0)
		snprintf(result, sizeof(result), "%s",
			 tool_error_name(call->result));
	else
		snprintf(result, sizeof(result), "%lld", call->result);
	printf("%4llu.%06llu %4u %4s %-15s %-18s %-8s %12s %7llu %8llu.%03llu "
	       "%#llx,%#llx,%#llx,%#llx\n",
	       us / 1000000, us % 1000000, call->vm, vcpu, call->comm,
	       tool_call_name(call->nr), tool_door_name(call->door), result,
	       call->bytes, call->duration_ns / 1000, call->duration_ns % 1000,
	       call->args[0], call->args[1], call->args[2], call->args[3]);
}

static void print_json(const struct snoop_call *call)
{
	struct json_object *line = json_object_new_object();
	struct json_object *args = json_object_new_array_ext(4);
	__u32 class_id = HCALL_NR_CLASS(call->nr);

	json_unsigned(line, "time_ns", call->time_ns);
	json_number(line, "vm", call->vm);
	json_number(line, "vcpu", call->vcpu);
	json_number(line, "pid", call->pid);
	json_text(line, "comm", call->comm);
	json_text(line, "class", tool_class_name(class_id));
	json_text(line, "function", tool_function_name(call->nr));
	json_text(line, "door", tool_door_name(call->door));
	if (tool_class_has_units(class_id))
		json_unsigned(line, "unit", call->args[0]);
	for (int i = 0; i < 4; i++)
		json_object_array_add(args,
				      json_object_new_uint64(call->args[i]));
	json_object_object_add(line, "args", args);
	json_number(line, "result", call->result);
	if (call->forwarded)
		json_object_object_add(line, "forwarded",
				       json_object_new_boolean(true));
	else if (call->result < 0)
		json_text(line, "error", tool_error_name(call->result));
	json_unsigned(line, "bytes", call->bytes);
	json_unsigned(line, "duration_ns", call->duration_ns);
	json_print(line);
}

/*
 * Guests may call faster than this prints, so that the buffer never is empty: stop
 * now and then, to see whether it is time to end.
 */
#define CALLS_AT_ONCE 1000

static int print_call(void *unused, void *data, size_t bytes)
{
	static unsigned int printed;
	struct snoop_call call = *(struct snoop_call *)data;

	(void)unused;
	(void)bytes;
	/* A launcher may call itself anything. */
	tool_printable(call.comm, sizeof(call.comm));
	if (tool.json)
		print_json(&call);
	else
		print_text(&call);
	return ++printed % CALLS_AT_ONCE ? 0 : -EAGAIN;
}

int main(int argc, char **argv)
{
	struct hcallsnoop_bpf *skel;
	struct ring_buffer *calls;

	tool_parse(&argp, argc, argv);
	skel = hcallsnoop_bpf__open();
	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	skel->rodata->errors_only = errors_only;
	skel->rodata->min_latency_ns = min_latency_ns;
	if (buffer_bytes)
		bpf_map__set_max_entries(skel->maps.calls, buffer_bytes);
	if (hcallsnoop_bpf__load(skel))
		tool_failed("load");
	calls = ring_buffer__new(bpf_map__fd(skel->maps.calls), print_call,
				 NULL, NULL);
	if (!calls)
		tool_failed("read from");
	if (hcallsnoop_bpf__attach(skel))
		tool_failed("attach");
	if (!tool.json)
		printf("%-11s %4s %4s %-15s %-18s %-8s %12s %7s %12s %s\n",
		       "TIME(s)", "VM", "VCPU", "COMM", "CALL", "DOOR",
		       "RESULT", "BYTES", "LATENCY(us)", "ARGS");
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();
	while (tool_wait(ring_buffer__epoll_fd(calls), 0))
		ring_buffer__consume(calls);
	hcallsnoop_bpf__detach(skel);
	while (ring_buffer__consume(calls) == -EAGAIN)
		;
	return tool_end(skel->bss->lost + tool_missed(skel->progs.snoop));
}
