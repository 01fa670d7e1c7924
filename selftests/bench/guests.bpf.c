// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what the test host's only CPU does while a guest works; see guests.c.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define AWAKE ((__u32)-1) /* the idle state that is none */

__u64 idle_ns, guest_ns, exits, exits_user, switches;

static __u64 idle_since, guest_since;

/* To be told when nothing is left to be done: set @tell, which we clear. */
bool tell;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} idle SEC(".maps");

SEC("raw_tp/cpu_idle")
int cpu_idle(struct bpf_raw_tracepoint_args *args)
{
	__u64 now = bpf_ktime_get_ns();

	if ((__u32)args->args[0] != AWAKE) {
		idle_since = now;
		if (tell) {
			tell = false;
			bpf_ringbuf_output(&idle, &now, sizeof(now),
					   BPF_RB_FORCE_WAKEUP);
		}
	} else if (idle_since) {
		idle_ns += now - idle_since;
		idle_since = 0;
	}
	return 0;
}

static void guest_left(void)
{
	if (guest_since)
		guest_ns += bpf_ktime_get_ns() - guest_since;
	guest_since = 0;
}

SEC("raw_tp/kvm_entry")
int kvm_entry(void *args)
{
	guest_since = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/kvm_exit")
int kvm_exit(void *args)
{
	guest_left();
	exits++;
	return 0;
}

SEC("raw_tp/kvm_userspace_exit")
int kvm_userspace_exit(void *args)
{
	exits_user++;
	return 0;
}

/* The vCPU may lose its CPU before it has told that the guest has left. */
SEC("raw_tp/sched_switch")
int sched_switch(void *args)
{
	guest_left();
	switches++;
	return 0;
}
