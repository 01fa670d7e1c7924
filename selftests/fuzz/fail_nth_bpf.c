// SPDX-License-Identifier: GPL-2.0
/*
 * fail_nth for sets of BPF programs: a set comes to a VM, and goes.  A program of its
 * own, as it needs libbpf.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "fail_nth.h"

/* As hcall.bpf.h has it. */
#include <linux/kvm_hcall_bpf.h>
struct hcall_ejection {
	__u32 reason;
	__u32 vm;
	__u32 nr;
	__s64 value;
	char text[HCALL_EJECTION_TEXT_BYTES];
};

#include "ops.h"
#include "ops.skel.h"

static struct ops_bpf *bpf;
static struct bpf_link *link_of;

static int quiet(enum libbpf_print_level level, const char *format,
		 va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static int64_t run_attach(void)
{
	link_of = bpf_map__attach_struct_ops(bpf->maps.set0);
	return link_of ? 0 : -errno;
}

static int64_t run_detach(void)
{
	int ret = bpf_link__destroy(link_of);

	link_of = NULL;
	return ret;
}

static void loaded(void)
{
	bpf = ops_bpf__open_and_load();
	NEED(bpf);
}

static void attached(void)
{
	loaded();
	NEED(!run_attach());
}

/* A call, which programs run in if they are there. */
static void guest_calls(void)
{
	CHECK(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0) > 0);
}

static void unloaded(void)
{
	guest_calls();
	if (link_of)
		run_detach();
	ops_bpf__destroy(bpf);
}

static void attaches(void)
{
	static const struct operation ops[] = {
		{ "attach", loaded, .run = run_attach, .recover = guest_calls,
		  .tear_down = unloaded },
		{ "detach", attached, .run = run_detach, .tear_down = unloaded,
		  .surely = true },
	};

	libbpf_set_print(quiet);
	start();
	instance_new();
	guest_calls();
	exhaust(&ops[0]);
	exhaust(&ops[1]);
	instance_free();
}

static const struct test tests[] = {
	{ "fail_nth.attach", attaches },
};

int main(int argc, char **argv)
{
	return fail_nth_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
