// SPDX-License-Identifier: GPL-2.0
/*
 * hcallfault: fail, delay, corrupt or shorten some of the calls of guests.
 *
 * The loader says which calls are meant (class, function, unit, sectors, whose
 * VM) and what to do to them.  Those are numbered from 1, over all VMs, and the
 * number alone decides which are chosen: the n-th, every n-th, or a share that
 * a hash of seed and number picks.  So the same calls in the same order meet
 * the same faults.
 *
 *	fail	 enter() denies the call: the service does not see it.
 *	delay	 enter() lets the vCPU wait, then the call goes on.
 *	corrupt	 exit() flips one bit of the data that the call has brought, in
 *		 guest memory.  One is what checksums find hardest.
 *	shorten	 enter() lowers the count of what is asked for, so that the
 *		 service itself gives a short answer.
 *
 * What an action cannot be done to has no number: a call without data, a count
 * of 1, a call that would fail anyway.  Each injection is a record in "events".
 */
#include "tool.bpf.h"

#include "hcallfault.h"

/* Set by the loader. */
const volatile enum fault_action action;
const volatile enum fault_choice choice;
const volatile __u64 choice_n; /* NTH, EVERY */
const volatile __u64 choice_share; /* RANDOM: of 2^64 */
const volatile __u64 seed;
const volatile __u64 times; /* injections at most */
const volatile __s64 error; /* FAIL: a negated HCALL_E* */
const volatile __u64 delay_ns;
const volatile __u64 first_sector, last_sector;
const volatile bool has_sectors;
const volatile __u8 functions[FAULT_FUNCTIONS_BYTES];

/* For the loader. */
__u64 calls; /* numbered so far */
__u64 injected;
__u64 lost; /* injections that nobody was told of */
struct tool_ejection ejection;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* The verifier allows no variable index here. */
static __u64 arg(const struct hcall_call *call, int index)
{
	switch (index) {
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

/* Is it one of the calls that the user means? */
static bool meant(struct hcall_call *call)
{
	__u32 nr = call->nr & 0xffff;
	__u64 sectors;

	if (!tool_wants(call) || !(functions[nr / 8] & 1 << nr % 8))
		return false;
	if (!has_sectors)
		return true;
	sectors = arg(call, fault_sectors_arg(call->nr));
	if (call->args[1] > last_sector)
		return false;
	return call->args[1] >= first_sector ||
	       first_sector - call->args[1] < sectors;
}

/* ---- Which of them --------------------------------------------------------- */

/* The finalizer of splitmix64: each bit of @x changes each bit of the result. */
static __u64 mix(__u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static __u64 hash(__u64 number)
{
	return mix(seed + number * 0x9e3779b97f4a7c15ull);
}

/* Numbers a call.  Return: its number if it is chosen, else 0. */
static __u64 choose(void)
{
	__u64 number = __sync_fetch_and_add(&calls, 1) + 1;
	bool chosen;

	if (choice == FAULT_NTH)
		chosen = number == choice_n;
	else if (choice == FAULT_EVERY)
		chosen = number % choice_n == 0;
	else
		chosen = hash(number) < choice_share;
	if (!chosen)
		return 0;
	if (__sync_fetch_and_add(&injected, 1) < times)
		return number;
	__sync_fetch_and_add(&injected, -1);
	return 0;
}

/* It was chosen, but it could not be done. */
static void take_back(void)
{
	__sync_fetch_and_add(&injected, -1);
}

static struct fault_event *new_event(struct hcall_call *call, __u64 number)
{
	struct fault_event *event =
		bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->vm = call->vm->id;
	event->vcpu = hcall_bpf_vcpu(call);
	event->nr = call->nr;
	event->door = call->door;
	event->args[0] = call->args[0];
	event->args[1] = call->args[1];
	event->args[2] = call->args[2];
	event->args[3] = call->args[3];
	event->number = number;
	return event;
}

/* ---- fail, delay ------------------------------------------------------------- */

SEC("struct_ops.s/enter")
int BPF_PROG(fault_enter, struct hcall_call *call)
{
	__u64 number = meant(call) ? choose() : 0;
	struct fault_event *event;

	if (!number)
		return HCALL_OPS_PASS;
	if (action == FAULT_DELAY && hcall_bpf_delay(call, delay_ns)) {
		take_back();
		return HCALL_OPS_PASS;
	}
	event = new_event(call, number);
	if (event)
		bpf_ringbuf_submit(event, 0);
	return action == FAULT_FAIL ? error : HCALL_OPS_PASS;
}

/* ---- shorten ----------------------------------------------------------------- */

/* Which of a disk's caps is for this call? */
static __u64 max_sectors(__u32 nr, const struct hcall_block_info *disk)
{
	switch (nr) {
	case HCALL_BLOCK_DISCARD:
		return disk->max_discard_sectors;
	case HCALL_BLOCK_WRITE_ZEROES:
		return disk->max_zeroes_sectors;
	default:
		return disk->max_sectors;
	}
}

/*
 * A call of @count asks for so many blocks of @block each; 0: the service would
 * refuse it, which a lower count must not change.
 */
static __u64 blocks_of(struct hcall_call *call, __u64 count, __u32 *block)
{
	__u32 class_id = HCALL_NR_CLASS(call->nr);
	__u64 sector = call->args[1];
	struct hcall_device info;

	*block = 1;
	if (call->args[0] >> 32 ||
	    hcall_bpf_device(call, class_id, call->args[0], &info))
		return 0;
	switch (class_id) {
	case HCALL_CLASS_CONSOLE:
		return count <= info.u.console.max_bytes ? count : 0;
	case HCALL_CLASS_INPUT:
		return count <= info.u.input.max_events ? count : 0;
	case HCALL_CLASS_NET:
		return count <= info.u.net.max_frames ? count : 0;
	}

	*block = info.u.block.block_bytes / HCALL_SECTOR_BYTES;
	if (!*block || (sector | count) % *block ||
	    count > max_sectors(call->nr, &info.u.block) ||
	    sector > info.u.block.sectors ||
	    count > info.u.block.sectors - sector)
		return 0;
	if (info.flags & HCALL_DEVICE_READONLY && call->nr != HCALL_BLOCK_READ)
		return 0;
	return count / *block;
}

SEC("struct_ops.s/enter")
int BPF_PROG(fault_shorten, struct hcall_call *call)
{
	struct fault_event *event;
	__u64 number, blocks, less;
	__u32 block;
	int index;

	if (!meant(call))
		return HCALL_OPS_PASS;
	index = fault_count_arg(call->nr);
	blocks = blocks_of(call, arg(call, index), &block);
	if (blocks < 2)
		return HCALL_OPS_PASS;
	number = choose();
	if (!number)
		return HCALL_OPS_PASS;

	less = (1 + mix(hash(number)) % (blocks - 1)) * block;
	event = new_event(call, number); /* with the count as it was */
	if (event) {
		event->value = less;
		bpf_ringbuf_submit(event, 0);
	}
	hcall_bpf_set_arg(call, index, less);
	return HCALL_OPS_PASS;
}

/* ---- corrupt ----------------------------------------------------------------- */

/* The data of a call that has succeeded: where, and how many bytes. */
static __u64 data_of(struct hcall_call *call, __u64 random, __u64 *gpa)
{
	__u64 result = call->result;
	struct hcall_frame frame;

	*gpa = arg(call, fault_data_arg(call->nr));
	switch (call->nr) {
	case HCALL_INPUT_CONFIG: /* the result is what there is, not what fits */
		return result < call->args[3] ? result : call->args[3];
	case HCALL_NET_RECVV: /* one of its frames */
		if (hcall_bpf_read(call, *gpa + random % result * sizeof(frame),
				   &frame, sizeof(frame)))
			return 0;
		*gpa = frame.gpa;
		return frame.used;
	default:
		return result * fault_data_unit_bytes(call->nr);
	}
}

/* Flips a bit of guest memory. */
static int flip(struct hcall_call *call, __u64 gpa, __u64 bit)
{
	__u8 byte;
	int ret;

	ret = hcall_bpf_read(call, gpa + bit / 8, &byte, sizeof(byte));
	if (ret)
		return ret;
	byte ^= 1 << bit % 8;
	return hcall_bpf_write(call, gpa + bit / 8, &byte, sizeof(byte));
}

SEC("struct_ops.s/exit")
void BPF_PROG(fault_corrupt, struct hcall_call *call)
{
	__u64 number, random, gpa = 0, bytes = 1, bit;
	struct fault_event *event;
	bool in_result;

	if (!meant(call) || call->after == HCALL_AFTER_FORWARD)
		return;
	in_result = call->nr == HCALL_CONSOLE_GETC;
	if (call->result < !in_result)
		return;
	number = choose();
	if (!number)
		return;

	random = mix(hash(number));
	if (!in_result)
		bytes = data_of(call, random, &gpa);
	if (!bytes) {
		take_back();
		return;
	}
	bit = random % (bytes * 8);
	if (in_result) {
		hcall_bpf_set_result(call, call->result ^ 1 << bit);
	} else if (flip(call, gpa, bit)) {
		take_back();
		return;
	}
	event = new_event(call, number);
	if (event) {
		event->value = bytes;
		event->bit = bit;
		event->gpa = gpa;
		bpf_ringbuf_submit(event, 0);
	}
}

SEC("struct_ops/attach")
void BPF_PROG(fault_attach, struct hcall_vm *vm)
{
	tool_wants_vm(vm);
}

SEC("struct_ops/ejected")
void BPF_PROG(fault_ejected, struct hcall_ejection *why)
{
	tool_ejected(&ejection, why);
}

/* The loader keeps one of the three, and says whose calls. */
SEC(".struct_ops.link")
struct hcall_ops fault = {
	.enter = (void *)fault_enter,
	.exit = (void *)fault_corrupt,
	.attach = (void *)fault_attach,
	.ejected = (void *)fault_ejected,
	.name = "hcallfault",
};

char _license[] SEC("license") = "GPL";
