// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel memory of an idle instance: what the kernel's memory grows by when
 * INSTANCES VMs that are there already are bound, given two disks each, and
 * have made a call; divided by INSTANCES.  Whole slabs and pages count.  The
 * second row is for an instance whose worker has started, which the first
 * asynchronous batch does.
 *
 * usage: instances FILE
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define INSTANCES  100
#define GOAL_BYTES 65536

static struct vm vms[INSTANCES];

/* What the kernel may allocate for us; stacks are in VmallocUsed. */
static int64_t kernel_bytes(void)
{
	static const char *const kinds[] = { "Slab", "Percpu", "VmallocUsed" };
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	int64_t kib, total = 0;
	char line[128], kind[64];
	FILE *f;

	/* The counters are kept per CPU. */
	NEED(refresh >= 0 && write(refresh, "1", 1) == 1);
	close(refresh);
	f = fopen("/proc/meminfo", "r");
	NEED(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %" SCNd64, kind, &kib) != 2)
			continue;
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			if (!strcmp(kind, kinds[i]))
				total += kib << 10;
	}
	fclose(f);
	return total;
}

static void print_row(const char *name, int64_t bytes)
{
	printf("%s\t%" PRId64 "\t\t\t\t\t%d\n", name, bytes / INSTANCES,
	       GOAL_BYTES);
}

int main(int argc, char **argv)
{
	int64_t before, bound, working;
	struct vm *vm;

	if (argc != 2) {
		fprintf(stderr, "usage: instances FILE\n");
		return 2;
	}
	for (vm = vms; vm < vms + INSTANCES; vm++) {
		vm_new(vm);
		/* The VM's own memory, for its first run, is not ours. */
		NEED(call(vm, HCALL_SYS_PROBE, 0, 0, 0, 0) == -HCALL_ENOSYS);
		memset(vm->ram, 0, 4096);
	}

	before = kernel_bytes();
	for (vm = vms; vm < vms + INSTANCES; vm++) {
		vm_bind(vm);
		vm_disk(vm, "first", argv[1], 0);
		vm_disk(vm, "second", argv[1], KVM_HCALL_ADD_READONLY);
		NEED(call(vm, HCALL_SYS_PROBE, 0, 0, 0, 0) > 0);
	}
	bound = kernel_bytes();
	for (vm = vms; vm < vms + INSTANCES; vm++) {
		struct hcall_op *op = at(vm, RAM);

		op->number = HCALL_BLOCK_FLUSH;
		NEED(call(vm, HCALL_SYS_BATCH, RAM, 1, HCALL_BATCH_ASYNC,
			  DOOR_CHANNEL) == 1);
		NEED(channel_fires(vm, DOOR_CHANNEL));
	}
	working = kernel_bytes();
	print_row("kmem_instance_bytes", bound - before);
	print_row("kmem_instance_async_bytes", working - before);
	return 0;
}
