// SPDX-License-Identifier: GPL-2.0
/*
 * hcallrec: record all calls of a guest, replay them, show them.  The file's
 * format is in hcallrec.h, how it is done in hcallrec.bpf.c, what a user has to
 * know in Documentation/man/hcallrec.1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#include "hcallrec.h"
#include "hcallrec.skel.h"

/* A BPF program reaches no further into an array; and what is behind the file. */
#define MAX_FILE      ((1u << 29) - BEHIND)
#define BEHIND	      (2u * HCALLREC_MAX_RECORD)

/* HCALL_AFTER_FORWARD and HCALL_DOOR_QUEUE of hcall.bpf.h. */
#define AFTER_FORWARD 3
#define DOOR_QUEUE    3

static const char *path; /* FILE */

/* ---- Words ------------------------------------------------------------------ */

static void print_args(FILE *to, const __u64 *args)
{
	fprintf(to, "%#llx,%#llx,%#llx,%#llx", args[0], args[1], args[2],
		args[3]);
}

static void say_call(__u32 nr, __u32 door, const __u64 *args)
{
	fprintf(stderr, "%s ", tool_call_name(nr));
	print_args(stderr, args);
	if (door)
		fprintf(stderr, " (%s)", tool_door_name(door));
}

/* What a recording cannot hold; told once for each kind. */
static void say_limits(const struct hcallrec_call *call, __u64 number)
{
	static bool interrupt, forwarded, unknown, unread;

	if (call->record.flags & HCALLREC_UNREAD && !unread) {
		unread = true;
		tool_say("call %llu, %s: its data is missing, as the guest's "
			 "memory was gone",
			 number, tool_call_name(call->nr));
	}
	if (call->after == AFTER_FORWARD && call->nr == HCALL_EVENT_ROUTE) {
		if (!interrupt)
			tool_say("call %llu, event.route, asks for interrupts; "
				 "when they come is not recorded, and a replay "
				 "may differ",
				 number);
		interrupt = true;
	} else if (call->after == AFTER_FORWARD && !forwarded) {
		forwarded = true;
		tool_say("call %llu, %s, went to the launcher; its answer is "
			 "not recorded, and in a replay it answers again",
			 number, tool_call_name(call->nr));
	} else if (call->result > 0 && !unknown &&
		   hcallrec_function(call->nr).replay == HCALLREC_UNKNOWN) {
		unknown = true;
		tool_say("call %llu, %s, is none of the ABI; what it writes to "
			 "guest memory is not recorded",
			 number, tool_call_name(call->nr));
	}
}

/* ---- Options of all commands ---------------------------------------------------- */

/* Takes FILE, and leaves what follows to others. */
static error_t parse_file(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_ARG:
		if (path)
			return ARGP_ERR_UNKNOWN;
		path = arg;
		return 0;
	case ARGP_KEY_END:
		if (!path)
			argp_error(state, "which FILE?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* There is nothing in it: that it came says all. */
static int ignore(void *context, void *data, size_t bytes)
{
	(void)context;
	(void)data;
	(void)bytes;
	return 0;
}

static struct ring_buffer *open_doorbell(struct bpf_map *map)
{
	struct ring_buffer *bell =
		ring_buffer__new(bpf_map__fd(map), ignore, NULL, NULL);

	if (!bell)
		tool_failed("listen to");
	return bell;
}

/* The memory of an array's only element, or of all elements. */
static void *map_array(struct bpf_map *map, size_t bytes)
{
	long page = sysconf(_SC_PAGESIZE);
	void *memory =
		mmap(NULL, (bytes + page - 1) / page * page,
		     PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		tool_die("cannot map %zu bytes: %s", bytes, strerror(errno));
	return memory;
}

/* ---- record ------------------------------------------------------------------- */

static __u32 buffer_bytes = 16 << 20;

static struct {
	FILE *file;
	__u64 sum;
	__u64 bytes;
	__u64 calls;
	__u64 vms;
	bool failed;
	bool queues; /* the guest uses virtqueues: no more calls */
} out;

static void put(const void *data, size_t bytes)
{
	if (out.failed)
		return;
	out.sum = hcallrec_sum(out.sum, data, bytes);
	out.bytes += bytes;
	if (fwrite(data, bytes, 1, out.file) == 1)
		return;
	out.failed = true;
	tool_say("cannot write to %s: %s", path, strerror(errno));
}

/* What is there stays until COMMAND has started: see begin_file(). */
static void open_file(void)
{
	/* What is on the guest's disk is not for everybody. */
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	out.file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out.file)
		tool_die("cannot make %s: %s", path, strerror(errno));
}

static void begin_file(void)
{
	struct hcallrec_header header = {
		.magic = HCALLREC_MAGIC,
		.version = HCALLREC_VERSION,
		.bytes = sizeof(header),
		.flags = tool.vm ? HCALLREC_LATE : 0,
	};
	struct stat stat;
	struct timespec now;
	int fd = fileno(out.file);

	if (fstat(fd, &stat) || (S_ISREG(stat.st_mode) && ftruncate(fd, 0)))
		tool_die("cannot empty %s: %s", path, strerror(errno));
	clock_gettime(CLOCK_REALTIME, &now);
	header.time_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	out.sum = HCALLREC_SUM;
	put(&header, sizeof(header));
}

static void end_file(__u64 lost)
{
	struct hcallrec_end end = {
		.record = { .bytes = sizeof(end), .type = HCALLREC_END },
		.calls = out.calls,
		.lost = lost,
	};

	end.sum = hcallrec_sum(out.sum, &end, offsetof(typeof(end), sum));
	put(&end, sizeof(end));
	if (fclose(out.file) && !out.failed) {
		out.failed = true;
		tool_say("cannot write to %s: %s", path, strerror(errno));
	}
}

/* What is done in virtqueues is not a call's, and nobody tells of it. */
static void look_for_queues(const struct hcallrec_call *call)
{
	if (out.queues ||
	    (call->door != DOOR_QUEUE &&
	     hcallrec_function(call->nr).replay != HCALLREC_QUEUES))
		return;
	out.queues = true;
	tool_say("call %llu, %s: the guest uses virtqueues, and what the host "
		 "does there cannot be recorded; the recording ends before it",
		 out.calls + 1, tool_call_name(call->nr));
}

/* What is in the ring goes to the file. */
static void drain(struct hcallrec_bpf *skel, char *ring)
{
	struct hcallrec_record *record;
	__u32 bytes;

	for (;;) {
		record =
			(void *)(ring + (skel->bss->tail & (buffer_bytes - 1)));
		bytes = __atomic_load_n(&record->bytes, __ATOMIC_ACQUIRE);
		if (!bytes)
			return;
		if (record->type == HCALLREC_CALL)
			look_for_queues((void *)record);
		if (record->type != HCALLREC_CALL || !out.queues)
			put(record, bytes);
		if (record->type == HCALLREC_VM)
			out.vms++;
		if (record->type == HCALLREC_CALL && !out.queues)
			say_limits((void *)record, ++out.calls);
		memset(record, 0, bytes);
		__atomic_store_n(&skel->bss->tail, skel->bss->tail + bytes,
				 __ATOMIC_RELEASE);
	}
}

static struct hcallrec_bpf *open_recorder(void)
{
	struct hcallrec_bpf *skel = hcallrec_bpf__open();

	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	skel->rodata->ring_bytes = buffer_bytes;
	skel->struct_ops.recorder->vm = tool.vm;
	bpf_map__set_autocreate(skel->maps.replayer, false);
	bpf_program__set_autoload(skel->progs.replay_enter, false);
	bpf_program__set_autoload(skel->progs.replay_exit, false);
	bpf_program__set_autoload(skel->progs.replay_attach, false);
	bpf_program__set_autoload(skel->progs.replay_detach, false);
	if (bpf_map__set_value_size(skel->maps.ring, buffer_bytes + BEHIND) ||
	    hcallrec_bpf__load(skel))
		tool_failed("load");
	return skel;
}

static int end_record(__u64 lost, __u32 before)
{
	bool bad = lost || out.failed || out.queues || !out.vms;

	if (tool.json) {
		struct json_object *line = json_object_new_object();

		json_unsigned(line, "vms", out.vms);
		json_unsigned(line, "calls", out.calls);
		json_unsigned(line, "lost", lost);
		json_unsigned(line, "bytes", out.bytes);
		json_print(line);
	}
	tool_say("%llu calls of %llu VM%s, %llu bytes, in %s", out.calls,
		 out.vms, out.vms == 1 ? "" : "s", out.bytes, path);
	if (lost)
		tool_say("%llu calls were lost, and nothing can be replayed: "
			 "%s was written too slowly; try a larger --buffer or "
			 "a faster disk",
			 lost, path);
	if (before)
		tool_say("%u VM%s left out that had run before", before,
			 before == 1 ? " was" : "s were");
	return tool_end(0) || bad ? TOOL_FAILED : 0;
}

static __u64 parse_buffer(struct argp_state *state, const char *text)
{
	char *end;
	__u64 bytes = strtoull(text, &end, 10);

	if (*end && strchr("kKmM", *end))
		bytes <<= strchr("kK", *end++) ? 10 : 20;
	if (*end || bytes < 4096 || bytes > 256 << 20 || bytes & (bytes - 1))
		argp_error(state, "'%s' is no power of two from 4K to 256M",
			   text);
	return bytes;
}

static error_t parse_record(int key, char *arg, struct argp_state *state)
{
	if (key != 'b')
		return parse_file(key, arg, state);
	buffer_bytes = parse_buffer(state, arg);
	return 0;
}

static int run_record(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "buffer", 'b', "SIZE", 0,
		  "Room for calls that are not in FILE yet, a power of two "
		  "from 4K to 256M; 16M unless given",
		  0 },
		{ 0 },
	};
	static const struct argp_child children[] = {
		{ &tool_vm_argp, 0, NULL, 0 },
		{ &tool_argp, 0, "All tools:", 20 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_record,
		.args_doc = "FILE [--] [COMMAND [ARG...]]",
		.doc = "Record all calls of the VMs that COMMAND opens, or of "
		       "all that come, with what the guest got, until COMMAND "
		       "ends or Ctrl-C.\vWith --vm the recording begins in the "
		       "middle: it can be shown, but not replayed.",
		.children = children,
	};
	struct hcallrec_bpf *skel;
	struct ring_buffer *bell;
	struct bpf_link *link, *events;
	bool told = false;
	char *ring;

	tool_parse(&argp, argc, argv);
	skel = open_recorder();
	open_file();
	ring = map_array(skel->maps.ring, buffer_bytes + BEHIND);
	bell = open_doorbell(skel->maps.doorbell);
	events = bpf_program__attach(skel->progs.record_event);
	if (!events)
		tool_failed("attach");
	link = tool_attach_ops(skel->maps.recorder, &skel->bss->ejection);
	skel->bss->started = true;
	if (tool.vm)
		tool_say("VM %u runs already: the recording can be shown, but "
			 "not replayed",
			 tool.vm);
	else if (!tool.command)
		tool_say("recording all VMs that come, until Ctrl-C");
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();
	begin_file();
	while (!out.failed && !out.queues &&
	       tool_wait(ring_buffer__epoll_fd(bell), 0)) {
		ring_buffer__consume(bell);
		drain(skel, ring);
		if (!skel->bss->lost || told)
			continue;
		told = true;
		tool_say("calls are being lost");
	}
	skel->bss->stopping = true;
	bpf_link__destroy(link);
	bpf_link__destroy(events);
	drain(skel, ring);
	end_file(skel->bss->lost);
	return end_record(skel->bss->lost, skel->bss->before);
}

/* ---- Reading a file ---------------------------------------------------------------- */

static struct {
	char *data;
	__u64 bytes; /* without HCALLREC_END */
	const struct hcallrec_header *header;
	struct hcallrec_end end;
	__u64 calls;
	__u32 vms;
} in;

static void damaged(__u64 offset, const char *what) __attribute__((noreturn));
static void damaged(__u64 offset, const char *what)
{
	tool_die("%s is damaged: %s at byte %llu; record again", path, what,
		 offset);
}

static bool is_result(__s64 result)
{
	return result >= 0 || *tool_error_name(result) == 'E';
}

static void check_call(const struct hcallrec_call *call, __u64 offset)
{
	__u64 at = sizeof(*call);

	if (call->record.vm >= in.vms || call->record.vcpu < -1 ||
	    call->nr >> 16 != HCALL_PREFIX >> 16 || call->door > 2 ||
	    call->after > 3 || !is_result(call->result) ||
	    call->parts > HCALLREC_MAX_PARTS)
		damaged(offset, "a call that cannot be");
	for (unsigned int i = 0; i < call->parts; i++) {
		const struct hcallrec_part *part = (void *)((char *)call + at);

		if (at + sizeof(*part) > call->record.bytes ||
		    part->bytes > HCALLREC_MAX_PART ||
		    part->kind > HCALLREC_TAKEN ||
		    (part->kind == HCALLREC_TAKEN &&
		     (i || part->bytes != HCALL_CHANNELS / 8)))
			damaged(offset + at, "data that cannot be");
		at += sizeof(*part) + (part->bytes + 7) / 8 * 8;
	}
	if (at > call->record.bytes)
		damaged(offset, "more data than there is room");
}

/* A record by itself; what it says about others is right, too. */
static void check_record(const struct hcallrec_record *record, __u64 offset)
{
	static const __u32 min[] = {
		[HCALLREC_VM] = sizeof(struct hcallrec_vm),
		[HCALLREC_CALL] = sizeof(struct hcallrec_call),
		[HCALLREC_VM_END] = sizeof(struct hcallrec_record),
		[HCALLREC_END] = sizeof(struct hcallrec_end),
	};

	if (record->type < HCALLREC_VM || record->type > HCALLREC_END ||
	    record->bytes % 8 || record->bytes < min[record->type] ||
	    record->bytes > HCALLREC_MAX_RECORD)
		damaged(offset, "a record that cannot be");
	if (record->type == HCALLREC_VM && record->vm != in.vms++)
		damaged(offset, "a VM out of order");
	if (record->type == HCALLREC_VM_END && record->vm >= in.vms)
		damaged(offset, "the end of no VM");
	if (record->type == HCALLREC_CALL) {
		check_call((void *)record, offset);
		in.calls++;
	}
}

static void cut_short(void) __attribute__((noreturn));
static void cut_short(void)
{
	tool_die("%s is cut short: hcallrec was killed, or the file was not "
		 "copied whole; record again",
		 path);
}

static void check_records(__u64 file_bytes)
{
	const struct hcallrec_record *record;
	__u64 offset = sizeof(*in.header);

	for (;; offset += record->bytes) {
		record = (void *)(in.data + offset);
		if (file_bytes - offset < sizeof(*record))
			cut_short();
		if (file_bytes - offset < record->bytes &&
		    record->bytes <= HCALLREC_MAX_RECORD)
			cut_short();
		check_record(record, offset);
		if (record->type == HCALLREC_END)
			break;
	}
	in.bytes = offset;
	memcpy(&in.end, record, sizeof(in.end));
	if (offset + record->bytes != file_bytes)
		damaged(offset + record->bytes, "something behind its end");
	offset += offsetof(struct hcallrec_end, sum);
	if (in.end.sum != hcallrec_sum(HCALLREC_SUM, in.data, offset) ||
	    in.end.calls != in.calls)
		tool_die("%s is damaged: its checksum is wrong; record again",
			 path);
}

static void read_file(void)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &stat))
		tool_die("cannot open %s: %s", path, strerror(errno));
	if (!S_ISREG(stat.st_mode))
		tool_die("%s is no file", path);
	/* Not mapped: somebody may cut the file meanwhile. */
	in.data = malloc(stat.st_size ? stat.st_size : 1);
	if (!in.data)
		tool_die("no memory for %s", path);
	for (off_t done = 0; done < stat.st_size;) {
		ssize_t bytes = read(fd, in.data + done, stat.st_size - done);

		if (bytes <= 0)
			tool_die("cannot read %s: %s", path,
				 bytes ? strerror(errno) : "it was cut short");
		done += bytes;
	}
	close(fd);
	in.header = (void *)in.data;
	if (stat.st_size < (off_t)sizeof(*in.header) ||
	    memcmp(in.header->magic, HCALLREC_MAGIC, sizeof(in.header->magic)))
		tool_die("%s is no recording of hcallrec", path);
	if (in.header->version != HCALLREC_VERSION)
		tool_die("%s has version %u of the format, and this hcallrec "
			 "reads version %u only; record again",
			 path, in.header->version, HCALLREC_VERSION);
	if (in.header->bytes != sizeof(*in.header))
		damaged(12, "a header of another size");
	check_records(stat.st_size);
}

/* The first record, or the next one; NULL: there is none any more. */
static const struct hcallrec_record *
next_record(const struct hcallrec_record *r)
{
	const char *next =
		r ? (char *)r + r->bytes : in.data + in.header->bytes;

	return next < in.data + in.bytes ? (void *)next : NULL;
}

/* ---- replay --------------------------------------------------------------------- */

/**
 * struct stream - calls of a vCPU
 * @key:  which
 * @kept: for the program
 * @last: record of the last one
 */
struct stream {
	struct hcallrec_key key;
	struct hcallrec_stream kept;
};

static struct stream *streams;
static __u32 stream_count;

static struct stream *find_stream(__u32 vm, __s32 vcpu)
{
	for (__u32 i = 0; i < stream_count; i++)
		if (streams[i].key.vm == vm && streams[i].key.vcpu == vcpu)
			return &streams[i];
	return NULL;
}

static struct stream *get_stream(const struct hcallrec_record *record)
{
	struct stream *stream = find_stream(record->vm, record->vcpu);

	if (stream)
		return stream;
	streams = realloc(streams, (stream_count + 1) * sizeof(*streams));
	if (!streams)
		tool_die("there is no memory");
	stream = &streams[stream_count++];
	memset(stream, 0, sizeof(*stream));
	stream->key.vm = record->vm;
	stream->key.vcpu = record->vcpu;
	return stream;
}

static void check_replayable(void)
{
	const struct hcallrec_record *record = NULL;
	__u64 number = 0;

	if (in.header->flags & HCALLREC_LATE)
		tool_die("%s begins in the middle of a VM (record --vm): it "
			 "cannot be replayed",
			 path);
	if (in.end.lost)
		tool_die("%s lacks %llu calls that were lost: it cannot be "
			 "replayed; record again with a larger --buffer",
			 path, in.end.lost);
	if (!in.vms)
		tool_die("%s has no VM", path);
	if (in.bytes > MAX_FILE)
		tool_die("%s has %llu MiB, and %u MiB is the most that can be "
			 "replayed",
			 path, in.bytes >> 20, MAX_FILE >> 20);
	while ((record = next_record(record))) {
		if (record->type != HCALLREC_CALL)
			continue;
		say_limits((void *)record, ++number);
		get_stream(record)->kept.calls++;
	}
	for (__u32 i = 1; i < stream_count; i++)
		streams[i].kept.first =
			streams[i - 1].kept.first + streams[i - 1].kept.calls;
}

static void fill_maps(struct hcallrec_bpf *skel)
{
	char *data = map_array(skel->maps.recording, in.bytes + BEHIND);
	__u64 *order =
		map_array(skel->maps.order, (in.calls ?: 1) * sizeof(*order));
	const struct hcallrec_record *record = NULL;
	__u32 *used = calloc(stream_count + 1, sizeof(*used));

	if (!used)
		tool_die("there is no memory");
	memcpy(data, in.data, in.bytes);
	while ((record = next_record(record))) {
		struct stream *stream;

		if (record->type != HCALLREC_CALL)
			continue;
		stream = get_stream(record);
		order[stream->kept.first + used[stream - streams]++] =
			(char *)record - in.data;
	}
	free(used);
	for (__u32 i = 0; i < stream_count; i++)
		if (bpf_map__update_elem(skel->maps.streams, &streams[i].key,
					 sizeof(streams[i].key),
					 &streams[i].kept,
					 sizeof(streams[i].kept), BPF_ANY))
			tool_failed("fill");
}

static struct hcallrec_bpf *open_replayer(void)
{
	struct hcallrec_bpf *skel = hcallrec_bpf__open();

	if (!skel)
		tool_failed("open");
	skel->rodata->filter = tool_filter();
	skel->rodata->recording_bytes = in.bytes;
	bpf_map__set_autocreate(skel->maps.recorder, false);
	bpf_program__set_autoload(skel->progs.record_enter, false);
	bpf_program__set_autoload(skel->progs.record_exit, false);
	bpf_program__set_autoload(skel->progs.record_attach, false);
	bpf_program__set_autoload(skel->progs.record_detach, false);
	bpf_program__set_autoload(skel->progs.record_event, false);
	if (bpf_map__set_value_size(skel->maps.recording, in.bytes + BEHIND) ||
	    bpf_map__set_max_entries(skel->maps.order, in.calls ?: 1) ||
	    bpf_map__set_max_entries(skel->maps.streams, stream_count ?: 1) ||
	    hcallrec_bpf__load(skel))
		tool_failed("load");
	fill_maps(skel);
	return skel;
}

/* The number of a call, as "show" has it. */
static __u64 number_of(__u64 offset)
{
	const struct hcallrec_record *record = NULL;
	__u64 number = 0;

	while ((record = next_record(record))) {
		number += record->type == HCALLREC_CALL;
		if ((__u64)((char *)record - in.data) == offset)
			break;
	}
	return number;
}

/* Did hcallrec stop recording before the VM ended? */
static bool was_cut(__u32 vm)
{
	const struct hcallrec_record *record = NULL;

	while ((record = next_record(record)))
		if (record->type == HCALLREC_VM_END && record->vm == vm)
			return record->flags & HCALLREC_CUT;
	return true;
}

static void say_difference(const struct hcallrec_difference *d)
{
	const struct hcallrec_call *call = (void *)(in.data + d->offset);

	fflush(stdout);
	fprintf(stderr, "hcallrec: diverged ");
	if (!d->offset && d->vm >= in.vms) {
		fprintf(stderr,
			"at the end: recorded %u VM%s, but there is "
			"another one",
			in.vms, in.vms == 1 ? "" : "s");
	} else if (!d->offset) {
		fprintf(stderr,
			"at the end of vCPU %d: the recording has no "
			"more calls, the guest calls ",
			d->vcpu);
		say_call(d->nr, d->door, d->args);
	} else {
		fprintf(stderr, "at call %llu: recorded ",
			number_of(d->offset));
		say_call(call->nr, call->door, call->args);
		if (d->why == HCALLREC_OTHER_CALL) {
			fprintf(stderr, ", the guest calls ");
			say_call(d->nr, d->door, d->args);
		} else if (d->why == HCALLREC_OTHER_RESULT) {
			fprintf(stderr, " = %lld, now the result is %lld",
				call->result, d->result);
		} else {
			fprintf(stderr, ", and its data cannot be written to "
					"the guest: has it less memory now?");
		}
	}
	fputc('\n', stderr);
}

/* Return: all calls that say where a VM had ended were made again. */
static bool check_complete(struct hcallrec_bpf *skel, __u32 vm)
{
	const struct hcallrec_record *record = NULL, *last = NULL;
	struct hcallrec_stream kept;
	struct hcallrec_key key;
	__u64 offset;
	__u32 index;

	/* Those of other vCPUs, as far as they came. */
	while ((record = next_record(record)))
		if (record->type == HCALLREC_CALL && record->vm == vm &&
		    record->vcpu >= 0)
			last = record;
	if (!last)
		return true;
	key.vm = vm;
	key.vcpu = last->vcpu;
	if (bpf_map__lookup_elem(skel->maps.streams, &key, sizeof(key), &kept,
				 sizeof(kept), 0))
		tool_failed("read");
	if (kept.next >= kept.calls)
		return true;
	index = kept.first + kept.next;
	if (bpf_map__lookup_elem(skel->maps.order, &index, sizeof(index),
				 &offset, sizeof(offset), 0))
		tool_failed("read");
	fflush(stdout);
	fprintf(stderr, "hcallrec: diverged at call %llu: recorded ",
		number_of(offset));
	record = (void *)(in.data + offset);
	say_call(((struct hcallrec_call *)record)->nr,
		 ((struct hcallrec_call *)record)->door,
		 ((struct hcallrec_call *)record)->args);
	fprintf(stderr, ", the guest has ended\n");
	return false;
}

/* Return: calls that were replayed. */
static __u64 count_done(struct hcallrec_bpf *skel)
{
	struct hcallrec_stream kept;
	__u64 done = 0;

	for (__u32 i = 0; i < stream_count; i++)
		if (!bpf_map__lookup_elem(skel->maps.streams, &streams[i].key,
					  sizeof(streams[i].key), &kept,
					  sizeof(kept), 0))
			done += kept.next;
	return done;
}

/* Return: it went as it was recorded, as far as it went. */
static bool tell_replay(struct hcallrec_bpf *skel)
{
	const struct hcallrec_difference *d = &skel->bss->difference;
	__u64 done = count_done(skel);
	bool same = true;

	if (skel->bss->over && !d->offset && d->vm < in.vms && was_cut(d->vm)) {
		tool_say("the recording ends here: it was stopped before the "
			 "guest ended");
	} else if (skel->bss->over) {
		say_difference(d);
		same = false;
	} else if (!skel->bss->vm_count) {
		same = false; /* tool_end() says so */
	} else if (skel->bss->ended == skel->bss->vm_count) {
		for (__u32 vm = 0; same && vm < skel->bss->ended; vm++)
			same = check_complete(skel, vm);
		if (same && skel->bss->ended < in.vms) {
			tool_say("diverged at the end: recorded %u VMs, now "
				 "there were %u",
				 in.vms, skel->bss->ended);
			same = false;
		}
	}
	tool_say("%llu of %llu calls replayed%s", done, in.calls,
		 same ? ", no difference" : "");
	if (tool.json) {
		struct json_object *line = json_object_new_object();

		json_unsigned(line, "calls", in.calls);
		json_unsigned(line, "replayed", done);
		json_object_object_add(line, "same",
				       json_object_new_boolean(same));
		json_print(line);
	}
	return same;
}

static int run_replay(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{ &tool_argp, 0, "All tools:", 20 },
		{ 0 },
	};
	static const struct argp argp = {
		.parser = parse_file,
		.args_doc = "FILE [--] [COMMAND [ARG...]]",
		.doc = "Give the answers of a recording to the VMs that "
		       "COMMAND opens, or to those that come next.\vThe exit "
		       "status is 1 if the guest has called something else "
		       "than in the recording.",
		.children = children,
	};
	struct hcallrec_bpf *skel;
	struct ring_buffer *bell;
	struct bpf_link *link;
	bool same;

	tool_parse(&argp, argc, argv);
	read_file();
	check_replayable();
	skel = open_replayer();
	bell = open_doorbell(skel->maps.doorbell);
	link = tool_attach_ops(skel->maps.replayer, &skel->bss->ejection);
	skel->bss->started = true;
	if (!tool.command)
		tool_say("waiting for %u VM%s", in.vms, in.vms == 1 ? "" : "s");
	tool_expect_vm(&skel->bss->tool_matched);
	tool_release();
	while (tool_wait(ring_buffer__epoll_fd(bell), 0)) {
		ring_buffer__consume(bell);
		if (skel->bss->over > 1)
			break;
		if (!tool.command && skel->bss->ended == in.vms)
			break;
	}
	skel->bss->stopping = true;
	bpf_link__destroy(link);
	same = tell_replay(skel);
	return tool_end(0) || !same ? TOOL_FAILED : 0;
}

/* ---- show -------------------------------------------------------------------------- */

static bool is_wanted(const struct hcallrec_call *call)
{
	__u32 class_id = HCALL_NR_CLASS(call->nr);

	if ((tool.classes[0] | tool.classes[1] | tool.classes[2] |
	     tool.classes[3]) &&
	    !(tool.classes[class_id >> 6] & 1ull << (class_id & 63)))
		return false;
	return !tool.has_unit ||
	       (tool_class_has_units(class_id) && call->args[0] == tool.unit);
}

static const char *const kinds[] = { "data", "page", "taken" };

static const struct hcallrec_part *next_part(const struct hcallrec_call *call,
					     const struct hcallrec_part *part)
{
	if (!part)
		return (void *)(call + 1);
	return (void *)((char *)(part + 1) + (part->bytes + 7) / 8 * 8);
}

static void show_json(const struct hcallrec_call *call, __u64 number)
{
	struct json_object *line = json_object_new_object();
	struct json_object *args = json_object_new_array();
	struct json_object *parts = json_object_new_array();
	const struct hcallrec_part *part = NULL;

	json_unsigned(line, "call", number);
	json_unsigned(line, "time_ns", call->ns);
	json_number(line, "vm", call->record.vm);
	json_number(line, "vcpu", call->record.vcpu);
	json_text(line, "class", tool_class_name(HCALL_NR_CLASS(call->nr)));
	json_text(line, "function", tool_function_name(call->nr));
	json_text(line, "door", tool_door_name(call->door));
	for (int i = 0; i < 4; i++)
		json_object_array_add(args,
				      json_object_new_uint64(call->args[i]));
	json_object_object_add(line, "args", args);
	json_number(line, "result", call->result);
	if (call->after == AFTER_FORWARD)
		json_object_object_add(line, "forwarded",
				       json_object_new_boolean(true));
	else if (call->result < 0)
		json_text(line, "error", tool_error_name(call->result));
	for (unsigned int i = 0; i < call->parts; i++) {
		struct json_object *one = json_object_new_object();

		part = next_part(call, part);
		json_text(one, "kind", kinds[part->kind]);
		json_unsigned(one, "gpa", part->gpa);
		json_unsigned(one, "bytes", part->bytes);
		json_unsigned(one, "offset", (char *)(part + 1) - in.data);
		json_object_array_add(parts, one);
	}
	json_object_object_add(line, "data", parts);
	json_print(line);
}

static void show_call(const struct hcallrec_call *call, __u64 number)
{
	static __u64 first_ns;
	const struct hcallrec_part *part = NULL;

	if (!first_ns)
		first_ns = call->ns;
	printf("%8llu %12.6f %3u %4d  %-19s ", number,
	       (call->ns - first_ns) / 1e9, call->record.vm, call->record.vcpu,
	       tool_call_name(call->nr));
	print_args(stdout, call->args);
	if (call->after == AFTER_FORWARD)
		printf(" = (the launcher's)");
	else if (call->result < 0)
		printf(" = %s", tool_error_name(call->result));
	else
		printf(" = %lld", call->result);
	if (call->door)
		printf(" (%s)", tool_door_name(call->door));
	for (unsigned int i = 0; i < call->parts; i++) {
		part = next_part(call, part);
		printf(" %s:%u@%#llx", kinds[part->kind], part->bytes,
		       part->gpa);
	}
	putchar('\n');
}

static void show_end(void)
{
	struct json_object *line;

	if (!tool.json) {
		printf("%llu calls of %u VM%s\n", in.calls, in.vms,
		       in.vms == 1 ? "" : "s");
		if (in.end.lost)
			printf("%llu calls were lost\n", in.end.lost);
		return;
	}
	line = json_object_new_object();
	json_unsigned(line, "calls", in.calls);
	json_unsigned(line, "vms", in.vms);
	json_unsigned(line, "lost", in.end.lost);
	json_print(line);
}

static error_t parse_show(int key, char *arg, struct argp_state *state)
{
	if (key != 'j')
		return parse_file(key, arg, state);
	tool.json = true;
	return 0;
}

static int run_show(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0,
		  "Print JSON, an object a line, with where in FILE the data "
		  "is",
		  0 },
		{ 0 },
	};
	static const struct argp_child children[] = {
		{ &tool_filter_argp, 0, NULL, 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_show,
		.args_doc = "FILE",
		.doc = "Print the calls of a recording, a line each.",
		.children = children,
	};
	const struct hcallrec_record *record = NULL;
	__u64 number = 0;

	tool_options(&argp, argc, argv);
	read_file();
	if (!tool.json)
		printf("%8s %12s %3s %4s  %s\n", "NUMBER", "SECONDS", "VM",
		       "VCPU", "CALL ARGUMENTS = RESULT");
	while ((record = next_record(record))) {
		const struct hcallrec_call *call = (void *)record;

		if (record->type != HCALLREC_CALL)
			continue;
		number++;
		if (!is_wanted(call))
			continue;
		if (tool.json)
			show_json(call, number);
		else
			show_call(call, number);
	}
	show_end();
	return tool_end(0);
}

/* ---- The commands ------------------------------------------------------------------- */

static const struct {
	const char *name;
	char *title; /* argv[0] for messages about its options */
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "record", "hcallrec record", run_record },
	{ "replay", "hcallrec replay", run_replay },
	{ "show", "hcallrec show", run_show },
};

static error_t parse_command(int key, char *arg, struct argp_state *state)
{
	if (key == ARGP_KEY_ARG)
		argp_error(state,
			   "'%s' is no command; there are record, replay and "
			   "show",
			   arg);
	if (key == ARGP_KEY_NO_ARGS)
		argp_error(state, "what to do? There are record, replay and "
				  "show");
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.parser = parse_command,
	.args_doc = "record FILE [--] [COMMAND [ARG...]]\n"
		    "replay FILE [--] [COMMAND [ARG...]]\n"
		    "show FILE",
	.doc = "Record every call of a guest with what it got, and give the "
	       "same to a guest again: run a crashing OS again, exactly.\v"
	       "Each command has options: hcallrec record --help",
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (argc < 2 || strcmp(argv[1], commands[i].name))
			continue;
		argv[1] = commands[i].title;
		return commands[i].run(argc - 1, argv + 1);
	}
	tool_options(&argp, argc, argv);
	return TOOL_FAILED;
}
