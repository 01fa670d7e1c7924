// SPDX-License-Identifier: GPL-2.0
/*
 * hcallrec: records calls with all that they gave to the guest, and gives the
 * same to a guest again.
 *
 * Recording looks at calls in exit, after everybody else.  What a call has
 * written is read back from guest memory, by the table of functions in
 * hcallrec.h, into a ring in an array that the loader has mapped.  It is not a
 * BPF ring buffer, as a record has any size up to more than 1 MiB, and kfuncs
 * want one piece of memory.  A producer takes its place by moving @head, and
 * says that the record is there by its first word; the loader clears what it
 * has written to the file before it moves @tail.  If there is no room the guest
 * waits, for up to HCALL_BPF_MAX_DELAY_NS, and then the call is lost.
 *
 * Replaying answers calls in enter, before everybody else.  The file lies in an
 * array; the loader has checked it and sorted its calls by vCPU.  Console
 * output, EXIT and BATCH are let through, the first only as far as it came in
 * the recording.  The elements of a batch are calls like any other; those of
 * asynchronous ones come on the VM's worker, as long as a program is attached, and
 * so in the same order when recorded and when replayed.
 *
 * The event page changes without a call.  Recorded are its bits after each call,
 * and, by hcall_event, those that were set between two calls and that the guest
 * had taken when it made the second.  In the replay these are set after the
 * first: that is when the guest was to see them, if it slept in between.
 */
#include "tool.bpf.h"

#include "hcallrec.h"

char _license[] SEC("license") = "GPL";

/* Of a bitmap of channels. */
#define WORDS	      (HCALL_CHANNELS / 64)
#define PAGE_BYTES    sizeof(struct hcall_event_page)
#define PENDING_BYTES (HCALL_CHANNELS / 8)

#define STEP_NS	      1000000 /* a step of waiting for room */
#define MAX_STEPS     (HCALL_BPF_MAX_DELAY_NS / STEP_NS)

/* Set by the loader when it is about to detach, or when all is attached. */
bool stopping;
bool started;

/* VMs that were there before, and those that are gone. */
__u32 before;
__u32 ended;

struct tool_ejection ejection;

/**
 * struct vm_state - a VM that is recorded or replayed
 * @index: as in records
 * @page:  gpa of the event page; 0: there is none.  Of what follows one vCPU
 *	   makes sense; with several, the last one has written it
 * @had_bits: some were set in the page when a call was recorded last
 * @has_taken: some are set in @taken
 * @fired: channels that became pending since the last call was answered
 * @taken: those of them that the guest had taken when it made the next one
 * @bits:  the page
 */
struct vm_state {
	__u32 index;
	__u64 page;
	__u32 had_bits;
	__u32 has_taken;
	__u64 fired[WORDS];
	__u64 taken[WORDS];
	__u64 bits[2 * WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct vm_state);
	__uint(max_entries, 4096);
} vms SEC(".maps");

__u32 vm_count;

/* Wakes the loader: there is something for it, here or elsewhere. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} doorbell SEC(".maps");

static void ring_doorbell(void)
{
	__u64 nothing = 0;

	/* If it is full, the loader has enough to do. */
	bpf_ringbuf_output(&doorbell, &nothing, sizeof(nothing), 0);
}

/*
 * Is a number at most @max?  The verifier has to see the comparison, and before
 * the number is used, whatever the compiler thinks of that.
 */
static __always_inline bool limit(__u32 *number, __u32 max)
{
	__u64 n = *number;

	barrier_var(n);
	if (n > max)
		return false;
	barrier_var(n);
	*number = n;
	return true;
}

static __always_inline __u64 arg_of(struct hcall_call *call, __u32 i)
{
	switch (i) {
	case 0:
		return call->args[0];
	case 1:
		return call->args[1];
	case 2:
		return call->args[2];
	default:
		return call->args[3];
	}
}

static __always_inline struct vm_state *state_of(__u32 id)
{
	return bpf_map_lookup_elem(&vms, &id);
}

/* Return: the state of a VM that has come just now, or NULL: it is not ours. */
static struct vm_state *new_vm(struct hcall_vm *vm)
{
	static const struct vm_state zero;
	struct vm_state *state;
	__u32 id = vm->id;

	if (!tool_wants_vm(vm))
		return NULL;
	if (!started && !filter.vm) {
		__sync_fetch_and_add(&before, 1);
		return NULL;
	}
	bpf_map_update_elem(&vms, &id, &zero, BPF_ANY);
	state = state_of(id);
	if (state)
		state->index = __sync_fetch_and_add(&vm_count, 1);
	return state;
}

/* ---- The ring ----------------------------------------------------------------- */

/* Set by the loader; a power of two.  Behind it there is room for a record. */
const volatile __u32 ring_bytes = 4096;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 4096 + 2 * HCALLREC_MAX_RECORD);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} ring SEC(".maps");

/* In bytes since the start; the loader moves @tail. */
__u64 head;
__u64 tail;
__u64 lost;

struct reservation {
	struct hcall_call *call; /* NULL: it cannot wait */
	__u64 at;
	__u32 bytes;
	bool done;
};

static long try_reserve(__u64 i, struct reservation *reservation)
{
	__u64 at = *(volatile __u64 *)&head;

	if (at + reservation->bytes - *(volatile __u64 *)&tail <= ring_bytes) {
		if (__sync_val_compare_and_swap(&head, at,
						at + reservation->bytes) != at)
			return 0;
		reservation->at = at;
		reservation->done = true;
		return 1;
	}
	/* The loader is not as fast as the guest: hold that up. */
	return !reservation->call ||
	       hcall_bpf_delay(reservation->call, STEP_NS);
}

static __always_inline bool reserve(struct reservation *reservation)
{
	/* Twice: others may be faster, without anybody waiting. */
	if (reservation->bytes <= ring_bytes)
		bpf_loop(2 * MAX_STEPS, try_reserve, reservation, 0);
	if (!reservation->done)
		__sync_fetch_and_add(&lost, 1);
	return reservation->done;
}

/*
 * Where a record is; behind it are at least 2 * HCALLREC_MAX_RECORD bytes.  All
 * are multiples of 8 bytes, and that shows the verifier so.
 */
static __always_inline void *ring_at(__u64 at)
{
	__u32 zero = 0;
	char *start = bpf_map_lookup_elem(&ring, &zero);

	return start ? start + (at & (ring_bytes - 8)) : NULL;
}

/* The record is there. */
static __always_inline void commit(struct hcallrec_record *record, __u32 bytes)
{
	__sync_fetch_and_add(&record->bytes, bytes);
	ring_doorbell();
}

/* ---- Recording ------------------------------------------------------------------ */

static __always_inline __u32 part_bytes(__u32 bytes)
{
	return sizeof(struct hcallrec_part) + ((bytes + 7) & ~7u);
}

/* The next part's head at @cursor of the record at @at; NULL: no room. */
static __always_inline struct hcallrec_part *part_head(__u64 at, __u32 cursor)
{
	char *record = ring_at(at);

	if (!record || !limit(&cursor, HCALLREC_MAX_RECORD))
		return NULL;
	return (void *)(record + cursor);
}

/* Return: what the part takes, or 0: it is not there. */
static __always_inline __u32 put_guest(struct hcall_call *call, __u64 at,
				       __u32 cursor, __u64 gpa, __u32 bytes)
{
	struct hcallrec_part *part = part_head(at, cursor);

	if (!part || !limit(&bytes, HCALLREC_MAX_PART) ||
	    hcall_bpf_read(call, gpa, part + 1, bytes))
		return 0;
	part->gpa = gpa;
	part->bytes = bytes;
	part->kind = HCALLREC_DATA;
	return part_bytes(bytes);
}

static __always_inline __u32 put_words(__u64 at, __u32 cursor, __u64 gpa,
				       const __u64 *words, __u32 bytes,
				       __u32 kind)
{
	struct hcallrec_part *part = part_head(at, cursor);

	if (!part)
		return 0;
	part->gpa = gpa;
	part->bytes = bytes;
	part->kind = kind;
	__builtin_memcpy(part + 1, words, bytes);
	return part_bytes(bytes);
}

struct frames {
	struct hcall_call *call;
	__u64 at;
	__u32 list; /* where in the record the list of frames is */
	__u32 cursor; /* where the next part goes */
	__u32 end; /* of what was reserved */
	__u32 parts;
	bool unread;
};

/* Frame @i of a RECVV; the list is in the record already. */
static long put_frame(__u64 i, struct frames *frames)
{
	struct hcall_frame *frame;
	__u32 place = frames->list + i * sizeof(*frame), used, bytes = 0;

	frame = (void *)part_head(frames->at, place);
	if (frame) {
		used = frame->used;
		if (used && used <= HCALL_NET_MAX_BYTES &&
		    frames->cursor + part_bytes(used) <= frames->end)
			bytes = put_guest(frames->call, frames->at,
					  frames->cursor, frame->gpa, used);
	}
	if (!bytes) {
		frames->unread = true;
		return 1;
	}
	frames->cursor += bytes;
	frames->parts++;
	return 0;
}

/* What the page is after the call.  Return: is there something to record? */
static __always_inline bool look_at_page(struct hcall_call *call,
					 struct vm_state *state)
{
	__u64 any = 0;
	bool had;

	/* First this: what fires now is in the page as well. */
	for (unsigned int i = 0; i < WORDS; i++)
		__sync_lock_test_and_set(&state->fired[i], 0);
	if (hcall_bpf_read(call, state->page, state->bits, PAGE_BYTES))
		return false;
	for (unsigned int i = 0; i < 2 * WORDS; i++)
		any |= state->bits[i];
	had = state->had_bits;
	state->had_bits = !!any;
	return any || had;
}

/*
 * What the guest has taken without a call.  It is the next record's: that of the
 * call, or of a batch's first element.
 */
SEC("struct_ops.s/record_enter")
int BPF_PROG(record_enter, struct hcall_call *call)
{
	struct vm_state *state = state_of(call->vm->id);
	__u64 pending[WORDS], any = 0;

	if (!state || !state->page || call->door != HCALL_DOOR_REGISTER)
		return HCALL_OPS_PASS;
	if (hcall_bpf_read(call, state->page, pending, sizeof(pending)))
		return HCALL_OPS_PASS;
	for (unsigned int i = 0; i < WORDS; i++) {
		state->taken[i] = state->fired[i] & ~pending[i];
		any |= state->taken[i];
	}
	state->has_taken = !!any;
	return HCALL_OPS_PASS;
}

SEC("struct_ops.s/record_exit")
void BPF_PROG(record_exit, struct hcall_call *call)
{
	struct vm_state *state = state_of(call->vm->id);
	const struct hcallrec_function function = hcallrec_function(call->nr);
	struct reservation reservation = { .call = call };
	struct hcallrec_call *record;
	bool taken = false, page = false, unread = false;
	__u32 cursor = sizeof(*record), parts = 0, part;
	__u64 data = 0, frames = 0, gpa = 0, taken_gpa = 0, total;
	__u64 moved = call->bytes; /* before we copy something ourselves */
	__s32 vcpu;

	if (!state)
		return;
	vcpu = hcall_bpf_vcpu(call);
	if (vcpu >= 0) {
		taken = state->has_taken;
		state->has_taken = 0;
		taken_gpa = state->page;
		if (call->nr == HCALL_EVENT_PAGE && !call->result)
			state->page = call->args[0] == HCALL_NO_PAGE
					      ? 0
					      : call->args[0];
		page = state->page && look_at_page(call, state);
	}

	if (call->result > 0 && function.unit) {
		gpa = arg_of(call, function.gpa);
		data = call->result * function.unit;
		if (function.room && data > arg_of(call, function.room))
			data = arg_of(call, function.room);
		if (call->nr == HCALL_NET_RECVV)
			frames = call->result;
	}
	total = sizeof(*record);
	if (taken)
		total += part_bytes(PENDING_BYTES);
	if (page)
		total += part_bytes(PAGE_BYTES);
	if (data)
		total += part_bytes(data);
	if (frames)
		total += moved + frames * (sizeof(struct hcallrec_part) + 8);
	if (total > HCALLREC_MAX_RECORD) {
		/* No service does so much in a call. */
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	total &= ~7ull;
	reservation.bytes = total;
	if (!reserve(&reservation))
		return;

	/* What the replay has to know before the call comes first. */
	if (taken) {
		cursor +=
			put_words(reservation.at, cursor, taken_gpa,
				  state->taken, PENDING_BYTES, HCALLREC_TAKEN);
		parts++;
	}
	if (data) {
		part = put_guest(call, reservation.at, cursor, gpa, data);
		unread = !part;
		parts += !!part;
		if (part && frames) {
			struct frames walk = {
				.call = call,
				.at = reservation.at,
				.list = cursor + sizeof(struct hcallrec_part),
				.cursor = cursor + part,
				.end = total,
			};

			bpf_loop(frames, put_frame, &walk, 0);
			parts += walk.parts;
			unread = walk.unread;
			part = walk.cursor - cursor;
		}
		cursor += part;
	}
	if (page && cursor + part_bytes(PAGE_BYTES) <= total) {
		put_words(reservation.at, cursor, state->page, state->bits,
			  PAGE_BYTES, HCALLREC_PAGE);
		parts++;
	}

	record = ring_at(reservation.at);
	if (!record)
		return;
	record->record.type = HCALLREC_CALL;
	record->record.flags = unread ? HCALLREC_UNREAD : 0;
	record->record.vm = state->index;
	record->record.vcpu = vcpu;
	record->ns = bpf_ktime_get_ns();
	record->nr = call->nr;
	record->door = call->door;
	record->after = call->after;
	record->parts = parts;
	record->args[0] = call->args[0];
	record->args[1] = call->args[1];
	record->args[2] = call->args[2];
	record->args[3] = call->args[3];
	record->result = call->result;
	commit(&record->record, total);
}

SEC("struct_ops/record_attach")
void BPF_PROG(record_attach, struct hcall_vm *vm)
{
	struct reservation reservation = { .bytes =
						   sizeof(struct hcallrec_vm) };
	struct vm_state *state = new_vm(vm);
	struct hcallrec_vm *record;

	if (!state || !reserve(&reservation))
		return;
	record = ring_at(reservation.at);
	if (!record)
		return;
	record->record.type = HCALLREC_VM;
	record->record.vm = state->index;
	record->id = vm->id;
	record->pid = vm->pid;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), vm->comm);
	commit(&record->record, sizeof(*record));
}

SEC("struct_ops/record_detach")
void BPF_PROG(record_detach, struct hcall_vm *vm)
{
	struct reservation reservation = { .bytes = sizeof(
						   struct hcallrec_record) };
	__u32 id = vm->id;
	struct vm_state *state = state_of(id);
	struct hcallrec_record *record;

	if (!state)
		return;
	if (reserve(&reservation)) {
		record = ring_at(reservation.at);
		if (record) {
			record->type = HCALLREC_VM_END;
			record->flags = stopping ? HCALLREC_CUT : 0;
			record->vm = state->index;
			commit(record, sizeof(*record));
		}
	}
	bpf_map_delete_elem(&vms, &id);
}

SEC("struct_ops/ejected")
void BPF_PROG(ejected, struct hcall_ejection *why)
{
	tool_ejected(&ejection, why);
}

/* @order: the first in enter, and the last in exit. */
SEC(".struct_ops.link")
struct hcall_ops recorder = {
	.enter = (void *)record_enter,
	.exit = (void *)record_exit,
	.attach = (void *)record_attach,
	.detach = (void *)record_detach,
	.ejected = (void *)ejected,
	.name = "hcallrec",
	.order = -2147483647 - 1,
};

SEC("tp_btf/hcall_event")
int BPF_PROG(record_event, struct hcall_vm *vm, __u32 channel, bool news)
{
	struct vm_state *state;

	if (!vm || !news || !limit(&channel, HCALL_CHANNELS - 1))
		return 0;
	state = state_of(vm->id);
	if (state)
		__sync_fetch_and_or(&state->fired[channel / 64],
				    1ull << (channel % 64));
	return 0;
}

/* ---- Replaying ----------------------------------------------------------------- */

/* Set by the loader: of the file. */
const volatile __u32 recording_bytes;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 2 * HCALLREC_MAX_RECORD);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} recording SEC(".maps");

/* Offsets of calls in @recording, by stream. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} order SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hcallrec_key);
	__type(value, struct hcallrec_stream);
	__uint(max_entries, 1);
} streams SEC(".maps");

/* Not 0: the replay is over; 2: and @difference says why. */
__u32 over;
struct hcallrec_difference difference;

/* What is at @offset of the recording; behind it there are 2 MiB. */
static __always_inline void *recorded(__u64 offset)
{
	__u32 zero = 0;
	char *start = bpf_map_lookup_elem(&recording, &zero);

	return start && offset < recording_bytes ? start + offset : NULL;
}

/* Where call @i of a stream is; 0: it has none. */
static __always_inline __u64 offset_of(struct hcallrec_stream *stream, __u32 i)
{
	__u32 index = stream->first + i;
	__u64 *place;

	if (i >= stream->calls)
		return 0;
	place = bpf_map_lookup_elem(&order, &index);
	return place ? *place : 0;
}

static __always_inline struct hcallrec_stream *stream_of(struct vm_state *state,
							 __s32 vcpu)
{
	struct hcallrec_key key = { state->index, vcpu };

	return bpf_map_lookup_elem(&streams, &key);
}

/* Return: what enter returns from now on. */
static int end_replay(struct hcall_call *call, struct vm_state *state,
		      __u64 offset, __u32 why)
{
	if (__sync_val_compare_and_swap(&over, 0, 1))
		return -HCALL_EIO;
	difference.why = why;
	difference.offset = offset;
	difference.vm = state->index;
	difference.vcpu = hcall_bpf_vcpu(call);
	difference.nr = call->nr;
	difference.door = call->door;
	difference.args[0] = call->args[0];
	difference.args[1] = call->args[1];
	difference.args[2] = call->args[2];
	difference.args[3] = call->args[3];
	difference.result = call->result;
	__sync_fetch_and_add(&over, 1);
	ring_doorbell();
	return -HCALL_EIO;
}

/*
 * @done: bytes of the recorded output that are out already.  Then it is the rest
 * that the guest writes, perhaps with what follows, in one or several calls.
 */
static __always_inline bool same_call(struct hcall_call *call,
				      struct hcallrec_call *record, __u32 done)
{
	const struct hcallrec_function function = hcallrec_function(call->nr);
	__u32 args = function.args;

	if (call->nr != record->nr || call->door != record->door)
		return false;
	return (!(args & 1) || call->args[0] == record->args[0]) &&
	       (!(args & 2) || call->args[1] == record->args[1] + done) &&
	       (!(args & 4) || done || call->args[2] == record->args[2]) &&
	       (!(args & 8) || call->args[3] == record->args[3]);
}

struct parts {
	struct hcall_call *call;
	__u64 offset; /* of the next one */
	bool failed;
};

static long write_part(__u64 i, struct parts *parts)
{
	struct hcallrec_part *part = recorded(parts->offset);
	__u32 bytes;

	if (!part)
		return 1;
	bytes = part->bytes;
	if (!limit(&bytes, HCALLREC_MAX_PART))
		return 1;
	parts->offset += part_bytes(bytes);
	if (part->kind == HCALLREC_TAKEN || !bytes)
		return 0;
	if (!hcall_bpf_write(parts->call, part->gpa, part + 1, bytes))
		return 0;
	parts->failed = true;
	return 1;
}

struct waiting {
	struct hcall_call *call;
	struct hcallrec_stream *async;
	__u64 offset;
};

static long wait_step(__u64 i, struct waiting *waiting)
{
	struct hcallrec_stream *async = waiting->async;
	__u32 finished = *(volatile __u32 *)&async->finished;
	__u64 next = offset_of(async, finished);

	if (next && next < waiting->offset)
		return !!hcall_bpf_delay(waiting->call, STEP_NS);
	/* One step more: that they are done is written a little later. */
	if (finished != async->seen)
		hcall_bpf_delay(waiting->call, STEP_NS);
	async->seen = finished;
	return 1;
}

/*
 * Elements of asynchronous batches that were answered before what is at @offset
 * have to be now, too, as the guest may be about to look at them.
 */
static __always_inline void wait_for_async(struct hcall_call *call,
					   struct vm_state *state, __u64 offset)
{
	struct waiting waiting = {
		.call = call,
		.async = stream_of(state, -1),
		.offset = offset,
	};

	if (waiting.async && call->door != HCALL_DOOR_ASYNC)
		bpf_loop(MAX_STEPS, wait_step, &waiting, 0);
}

/* Set what the guest takes before its next call, which is at @offset. */
static __always_inline bool set_taken(struct hcall_call *call,
				      struct vm_state *state, __u64 offset)
{
	struct hcallrec_call *next = offset ? recorded(offset) : NULL;
	struct hcallrec_part *part = (void *)(next + 1);
	__u64 bits[WORDS], *taken = (void *)(part + 1);

	if (!next || !next->parts || part->kind != HCALLREC_TAKEN)
		return true;
	wait_for_async(call, state, offset);
	if (hcall_bpf_read(call, part->gpa, bits, sizeof(bits)))
		return false;
	for (unsigned int i = 0; i < WORDS; i++)
		bits[i] |= taken[i];
	return !hcall_bpf_write(call, part->gpa, bits, sizeof(bits));
}

/* Give the guest what the call at @offset has written; @next comes after it. */
static __always_inline bool write_parts(struct hcall_call *call,
					struct vm_state *state, __u64 offset,
					__u32 count, __u64 next)
{
	struct parts parts = {
		.call = call,
		.offset = offset + sizeof(struct hcallrec_call),
	};

	if (count)
		bpf_loop(count, write_part, &parts, 0);
	return !parts.failed && set_taken(call, state, next);
}

/* The call at @offset, the next of the stream, is done.  Return: as enter. */
static __always_inline int finish(struct hcall_call *call,
				  struct vm_state *state,
				  struct hcallrec_stream *stream, __u64 offset,
				  struct hcallrec_call *record, int answer)
{
	stream->next++;
	stream->done = 0;
	if (!write_parts(call, state, offset, record->parts,
			 offset_of(stream, stream->next)))
		return end_replay(call, state, offset, HCALLREC_NO_MEMORY);
	return answer;
}

static __always_inline bool is_short(struct hcallrec_call *batch)
{
	return batch->result == -HCALL_EINTR ||
	       (batch->result >= 0 && (__u64)batch->result < batch->args[1]);
}

SEC("struct_ops.s/replay_enter")
int BPF_PROG(replay_enter, struct hcall_call *call)
{
	struct vm_state *state = state_of(call->vm->id);
	struct hcallrec_stream *stream;
	struct hcallrec_call *record;
	__u64 offset, left;
	__s32 vcpu;
	int replay;

	if (!state)
		return HCALL_OPS_PASS;
	if (over)
		return call->nr == HCALL_SYS_EXIT ? HCALL_OPS_PASS : -HCALL_EIO;
	vcpu = hcall_bpf_vcpu(call);
	stream = stream_of(state, vcpu);
	if (!stream)
		return end_replay(call, state, 0, HCALLREC_OTHER_CALL);
	stream->passing = 0;
	offset = offset_of(stream, stream->next);
	record = offset ? recorded(offset) : NULL;
	if (!record)
		return end_replay(call, state, 0, HCALLREC_OTHER_CALL);

	if (call->nr == HCALL_SYS_BATCH && call->door == HCALL_DOOR_REGISTER) {
		/* It is recorded behind its elements, unless it had none. */
		stream->batch =
			record->nr != HCALL_SYS_BATCH || record->result >= 0;
		if (stream->batch)
			return HCALL_OPS_PASS;
	} else if (call->door == HCALL_DOOR_BATCH &&
		   record->nr == HCALL_SYS_BATCH &&
		   record->door == HCALL_DOOR_REGISTER && is_short(record)) {
		return -HCALL_EINTR; /* here it ended then */
	}
	if (!same_call(call, record, stream->done))
		return end_replay(call, state, offset, HCALLREC_OTHER_CALL);
	wait_for_async(call, state, offset);

	replay = hcallrec_function(call->nr).replay;
	if (replay == HCALLREC_OUTPUT && record->result > 0) {
		stream->passing = 1;
		left = record->result - stream->done;
		if (call->nr == HCALL_CONSOLE_WRITE && call->args[2] > left)
			hcall_bpf_set_arg(call, 2, left);
		return HCALL_OPS_PASS;
	}
	/* What the launcher answered then is not known: it answers again. */
	if (replay == HCALLREC_LEAVE || record->after == HCALL_AFTER_FORWARD)
		return finish(call, state, stream, offset, record,
			      HCALL_OPS_PASS);
	hcall_bpf_set_result(call, record->result);
	return finish(call, state, stream, offset, record, HCALL_OPS_ANSWERED);
}

/* Output was let through, and is out, or not all of it. */
static __always_inline void replay_output(struct hcall_call *call,
					  struct vm_state *state,
					  struct hcallrec_stream *stream,
					  __u64 offset,
					  struct hcallrec_call *record)
{
	__s64 left = record->result - stream->done;

	stream->passing = 0;
	/* The guest calls again. */
	if (call->result == -HCALL_EAGAIN || call->result == -HCALL_EINTR)
		return;
	if (call->result > 0 && call->result < left) {
		stream->done += call->result;
		return;
	}
	/* There is no such console, or nobody listens: it need not know. */
	if (call->result < 0)
		hcall_bpf_set_result(call, left);
	finish(call, state, stream, offset, record, 0);
}

static __always_inline void replay_batch(struct hcall_call *call,
					 struct vm_state *state,
					 struct hcallrec_stream *stream,
					 __u64 offset,
					 struct hcallrec_call *record)
{
	bool is_batch = record && record->nr == HCALL_SYS_BATCH &&
			record->door == HCALL_DOOR_REGISTER;

	stream->batch = 0;
	if (is_batch && (stream->rest || same_call(call, record, 0))) {
		if (!stream->rest && call->result != record->result)
			end_replay(call, state, offset, HCALLREC_OTHER_RESULT);
		stream->rest = 0;
		finish(call, state, stream, offset, record, 0);
	} else if (record && record->door == HCALL_DOOR_BATCH &&
		   (call->result == -HCALL_EINTR ||
		    (call->result >= 0 &&
		     (__u64)call->result < call->args[1]))) {
		stream->rest = 1; /* the guest calls again with the rest */
	} else {
		end_replay(call, state, offset, HCALLREC_OTHER_CALL);
	}
}

SEC("struct_ops.s/replay_exit")
void BPF_PROG(replay_exit, struct hcall_call *call)
{
	struct vm_state *state = state_of(call->vm->id);
	struct hcallrec_stream *stream;
	struct hcallrec_call *record;
	__u64 offset;
	__s32 vcpu;

	if (!state || over)
		return;
	vcpu = hcall_bpf_vcpu(call);
	stream = stream_of(state, vcpu);
	if (!stream)
		return;
	offset = offset_of(stream, stream->next);
	record = offset ? recorded(offset) : NULL;
	if (stream->batch && call->door == HCALL_DOOR_REGISTER)
		replay_batch(call, state, stream, offset, record);
	else if (stream->passing && record)
		replay_output(call, state, stream, offset, record);
	stream->finished = stream->next;
}

SEC("struct_ops/replay_attach")
void BPF_PROG(replay_attach, struct hcall_vm *vm)
{
	new_vm(vm);
}

SEC("struct_ops/replay_detach")
void BPF_PROG(replay_detach, struct hcall_vm *vm)
{
	__u32 id = vm->id;

	if (bpf_map_delete_elem(&vms, &id))
		return;
	if (!stopping)
		__sync_fetch_and_add(&ended, 1);
	ring_doorbell();
}

SEC(".struct_ops.link")
struct hcall_ops replayer = {
	.enter = (void *)replay_enter,
	.exit = (void *)replay_exit,
	.attach = (void *)replay_attach,
	.detach = (void *)replay_detach,
	.ejected = (void *)ejected,
	.name = "hcallrec",
	.order = -2147483647 - 1,
};
