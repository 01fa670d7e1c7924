// SPDX-License-Identifier: GPL-2.0
/*
 * hcallguard: a policy for calls, in the kernel.
 *
 * Rules allow or deny; the first that matches a call decides, and a call that
 * none matches is let through.  Then come the rates: a call has to have credit
 * in each that matches.  Each VM has its own credit (a token bucket).
 *
 * Everything is decided by the number and the arguments, of which the module has
 * made a copy before it asks: a guest that changes its memory meanwhile changes
 * nothing.  All sectors of the ABI are in arguments, and the elements of a batch
 * come through enter by themselves, so there is nothing to read in the guest's
 * memory.  The set is asked last, unless told otherwise, and so sees what other
 * programs have made of the arguments.
 *
 * What calls move is known in exit, from the module: the list of frames of SENDV
 * and RECVV is in guest memory, and READ may find less than there is room for.  So
 * a call passes while there is credit of bytes, whatever its size, and exit takes
 * away what it has moved.  That may be more than there was: the VM is in debt, and
 * nothing passes before that is paid back.  Over time the rate is exact.
 *
 * In doubt a call is denied: a function that is not known here, whose unit and
 * sector could be anywhere, is taken to be for those of the rule; sectors that
 * go beyond 2^64 - 1 are all sectors; and a VM for which there is no room has no
 * credit.
 */
#include "tool.bpf.h"

#include "hcallguard.h"

char _license[] SEC("license") = "GPL";

/* The policy; the loader sets it. */
const volatile __u32 rule_count;
const volatile struct guard_rule rules[GUARD_MAX_RULES];
const volatile __u32 rate_count;
const volatile struct guard_rate rates[GUARD_MAX_RATES];
/* Tell of each call that is denied. */
const volatile bool tell;

/* Calls that were denied by each rule, and those of which could not be told. */
__u64 denied[GUARD_REASONS];
__u64 lost;

struct tool_ejection ejection;

/* Credit of a VM; the lock protects all of it. */
struct credits {
	struct bpf_spin_lock lock;
	__u64 at_ns; /* when @of was right */
	__s64 of[GUARD_MAX_RATES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct credits);
	__uint(max_entries, GUARD_MAX_VMS);
} vms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* ---- Which calls ----------------------------------------------------------- */

/* What a call is judged by. */
struct facts {
	__u32 nr;
	__u64 args[4];
};

/*
 * Is the call for sectors of the match?  @allow: for these only, else: for one of
 * them at least.
 */
static __always_inline bool
sectors_match(const volatile struct guard_match *match,
	      const struct facts *facts, bool allow)
{
	__u64 first = facts->args[1], sectors, last;

	switch (facts->nr) {
	case HCALL_BLOCK_READ:
	case HCALL_BLOCK_WRITE:
		sectors = facts->args[3];
		break;
	case HCALL_BLOCK_DISCARD:
	case HCALL_BLOCK_WRITE_ZEROES:
		sectors = facts->args[2];
		break;
	default: /* FLUSH */
		return false;
	}
	/* None: the disk says that this is never right. */
	if (!sectors)
		return false;
	last = first + sectors - 1;
	if (last < first)
		return !allow;
	if (allow)
		return first >= match->first && last <= match->last;
	return first <= match->last && last >= match->first;
}

static __always_inline bool matches(const volatile struct guard_match *match,
				    const struct facts *facts, bool allow)
{
	__u32 class_id = HCALL_NR_CLASS(facts->nr);
	__u32 function = HCALL_NR_FUNCTION(facts->nr);

	if (match->class_id != GUARD_ALL && match->class_id != class_id)
		return false;
	if (match->function != GUARD_ALL && match->function != function)
		return false;
	if (!match->has_unit && !match->has_sectors)
		return true;
	if (!tool_knows(facts->nr))
		return !allow;
	if (match->has_unit && match->unit != facts->args[0])
		return false;
	return !match->has_sectors || sectors_match(match, facts, allow);
}

/*
 * These two are global, so that the verifier looks at each of them once, and not
 * for each line of the policy at all ways that lead there.
 */
__noinline int rule_matches(__u32 i, const struct facts *facts)
{
	if (i >= GUARD_MAX_RULES || !facts)
		return 0;
	return matches(&rules[i].match, facts, !rules[i].error);
}

__noinline int rate_matches(__u32 i, const struct facts *facts)
{
	if (i >= GUARD_MAX_RATES || !facts)
		return 0;
	return matches(&rates[i].match, facts, false);
}

static __always_inline struct facts facts_of(const struct hcall_call *call)
{
	return (struct facts){
		.nr = call->nr,
		.args = { call->args[0], call->args[1], call->args[2],
			  call->args[3] },
	};
}

/* A bit for each rate that a call counts for. */
static __always_inline __u32 rates_of(const struct facts *facts)
{
	__u32 found = 0;

	for (__u32 i = 0; i < GUARD_MAX_RATES && i < rate_count; i++)
		found |= (rate_matches(i, facts) & 1) << i;
	return found;
}

/* ---- Credit ------------------------------------------------------------------ */

static __always_inline struct credits *new_credits(__u32 vm)
{
	struct credits full = { .at_ns = bpf_ktime_get_ns() };

	for (__u32 i = 0; i < GUARD_MAX_RATES && i < rate_count; i++)
		full.of[i] = rates[i].burst * GUARD_CREDIT;
	/* Another vCPU may have been faster. */
	bpf_map_update_elem(&vms, &vm, &full, BPF_NOEXIST);
	return bpf_map_lookup_elem(&vms, &vm);
}

/*
 * Take one call out of each rate of calls, if there is credit in all.  Return: the
 * first without, or -1.
 */
static __always_inline int take(struct credits *credits, __u32 found, __u64 now)
{
	int without = -1;
	__u64 passed;

	bpf_spin_lock(&credits->lock);
	/* Another CPU may have been here with a later time. */
	passed = now > credits->at_ns ? now - credits->at_ns : 0;
	credits->at_ns += passed;
	for (__u32 i = 0; i < GUARD_MAX_RATES && i < rate_count; i++) {
		__u64 ns = passed < rates[i].max_ns ? passed : rates[i].max_ns;
		__s64 full = rates[i].burst * GUARD_CREDIT;
		__s64 credit = credits->of[i] + ns * rates[i].per_second;

		if (credit > full)
			credit = full;
		credits->of[i] = credit;
		if (without < 0 && found & 1u << i &&
		    credit < (rates[i].bytes ? 1 : GUARD_CREDIT))
			without = i;
	}
	for (__u32 i = 0; i < GUARD_MAX_RATES && i < rate_count; i++)
		if (without < 0 && found & 1u << i && !rates[i].bytes)
			credits->of[i] -= GUARD_CREDIT;
	bpf_spin_unlock(&credits->lock);
	return without;
}

static __always_inline void pay(struct credits *credits, __u32 found,
				__u64 bytes)
{
	__s64 cost = bytes * GUARD_CREDIT;

	bpf_spin_lock(&credits->lock);
	for (__u32 i = 0; i < GUARD_MAX_RATES && i < rate_count; i++)
		if (found & 1u << i && rates[i].bytes &&
		    credits->of[i] > cost - GUARD_LIMIT)
			credits->of[i] -= cost;
	bpf_spin_unlock(&credits->lock);
}

/* ---- The set ------------------------------------------------------------------ */

static __always_inline int deny(const struct hcall_call *call, __u32 rule,
				__s32 error)
{
	struct guard_event *event;

	if (rule < GUARD_REASONS)
		__sync_fetch_and_add(&denied[rule], 1);
	if (!tell)
		return error;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return error;
	}
	event->vm = call->vm->id;
	event->nr = call->nr;
	event->rule = rule;
	event->error = error;
	event->door = call->door;
	event->reserved = 0;
	for (int i = 0; i < 4; i++)
		event->args[i] = call->args[i];
	bpf_ringbuf_submit(event, 0);
	return error;
}

SEC("struct_ops/enter")
int BPF_PROG(enter, struct hcall_call *call)
{
	struct credits *credits;
	struct facts facts;
	__u32 found, vm, i;
	int without;

	if (!tool_wants_vm(call->vm))
		return HCALL_OPS_PASS;
	facts = facts_of(call);
	for (i = 0; i < GUARD_MAX_RULES && i < rule_count; i++) {
		if (!rule_matches(i, &facts))
			continue;
		if (rules[i].error)
			return deny(call, i, rules[i].error);
		break;
	}

	found = rates_of(&facts);
	if (!found)
		return HCALL_OPS_PASS;
	vm = call->vm->id;
	credits = bpf_map_lookup_elem(&vms, &vm);
	if (!credits)
		credits = new_credits(vm);
	if (!credits)
		return deny(call, GUARD_NO_ROOM, -HCALL_EPERM);
	without = take(credits, found, bpf_ktime_get_ns());
	if (without >= 0 && without < GUARD_MAX_RATES)
		return deny(call, GUARD_MAX_RULES + without,
			    rates[without].error);
	return HCALL_OPS_PASS;
}

SEC("struct_ops/exit")
void BPF_PROG(exit, struct hcall_call *call)
{
	struct credits *credits;
	struct facts facts;
	__u32 found, vm;

	if (!call->bytes || !tool_wants_vm(call->vm))
		return;
	facts = facts_of(call);
	found = rates_of(&facts);
	if (!found)
		return;
	vm = call->vm->id;
	credits = bpf_map_lookup_elem(&vms, &vm);
	if (credits)
		pay(credits, found, call->bytes);
}

/* The next VM with this number begins anew. */
SEC("struct_ops/attach")
void BPF_PROG(attach, struct hcall_vm *vm)
{
	tool_wants_vm(vm);
}

SEC("struct_ops/detach")
void BPF_PROG(detach, struct hcall_vm *vm)
{
	__u32 id = vm->id;

	bpf_map_delete_elem(&vms, &id);
}

SEC("struct_ops/ejected")
void BPF_PROG(ejected, struct hcall_ejection *why)
{
	tool_ejected(&ejection, why);
}

SEC(".struct_ops.link")
struct hcall_ops guard = {
	.enter = (void *)enter,
	.exit = (void *)exit,
	.attach = (void *)attach,
	.detach = (void *)detach,
	.ejected = (void *)ejected,
	.name = "hcallguard",
	.order = 0x7fffffff,
	.flags = HCALL_OPS_FAIL_CLOSED,
};
