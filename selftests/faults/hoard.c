// SPDX-License-Identifier: GPL-2.0
/*
 * Takes as much of the kernel's memory as a launcher and its guests can make the
 * module keep.
 *
 * usage: hoard count	kind by kind, and says what of it was not charged to us: the
 *			kernel keeps what is in slab caches of its own, kmalloc-cg-*
 *	  hoard all	instances without an end
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm.h"

#define INSTANCES 12
#define UNITS	  64

static struct vm vms[INSTANCES];
static int pipe_fd[2], packet_fd[2], event_fd, disk_fd;
static struct kvm_hcall_input keyboard = { .name = "keyboard" };

/* ---- What there is ------------------------------------------------------------- */

struct kept {
	int64_t charged, free; /* bytes in objects of the kernel's kmalloc() */
};

/* Exactly: without what CPUs keep at hand. */
static void shrink(const char *cache)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	fd = open(path, O_WRONLY);
	NEED(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
}

static struct kept kept(void)
{
	struct kept sum = { 0, 0 };
	char line[512], name[128];
	int64_t objects, bytes;
	FILE *f;

	for (int pass = 0; pass < 2; pass++) {
		f = fopen("/proc/slabinfo", "r");
		NEED(f);
		while (fgets(line, sizeof(line), f)) {
			if (sscanf(line, "%127s %" SCNd64 " %*d %" SCNd64, name,
				   &objects, &bytes) != 3 ||
			    strncmp(name, "kmalloc-", 8) ||
			    !strncmp(name, "kmalloc-rcl-", 12))
				continue;
			if (!pass)
				shrink(name);
			else if (!strncmp(name, "kmalloc-cg-", 11))
				sum.charged += objects * bytes;
			else
				sum.free += objects * bytes;
		}
		fclose(f);
	}
	return sum;
}

/* ---- What can be had ------------------------------------------------------------- */

static void bind_all(struct vm *vm)
{
	vm_bind(vm);
}

static void add_all(struct vm *vm, struct kvm_hcall_add add)
{
	for (int i = 0; i < UNITS; i++) {
		snprintf(add.name, sizeof(add.name), "d%d", i);
		NEED(vm_add_device(vm, &add) == i);
		add.unit = 0;
	}
}

static void disks(struct vm *vm)
{
	add_all(vm, (struct kvm_hcall_add){ .class_id = HCALL_CLASS_BLOCK,
					    .flags = KVM_HCALL_ADD_READONLY,
					    .fd = disk_fd,
					    .fd_in = -1 });
}

static void consoles(struct vm *vm)
{
	add_all(vm, (struct kvm_hcall_add){ .class_id = HCALL_CLASS_CONSOLE,
					    .fd = pipe_fd[1],
					    .fd_in = pipe_fd[0] });
}

static void inputs(struct vm *vm)
{
	add_all(vm, (struct kvm_hcall_add){ .class_id = HCALL_CLASS_INPUT,
					    .fd = pipe_fd[1],
					    .fd_in = pipe_fd[0],
					    .input = (uintptr_t)&keyboard });
}

static void nets(struct vm *vm)
{
	add_all(vm, (struct kvm_hcall_add){ .class_id = HCALL_CLASS_NET,
					    .fd = packet_fd[1],
					    .fd_in = packet_fd[0],
					    .mtu = 1500,
					    .mac = { 2, 0, 0, 0, 0, 1 } });
}

/* A virtio device before each of them, with a queue. */
static void queues(struct vm *vm)
{
	static const uint32_t classes[] = { HCALL_CLASS_BLOCK,
					    HCALL_CLASS_CONSOLE,
					    HCALL_CLASS_INPUT,
					    HCALL_CLASS_NET };
	struct hcall_virtio_queue *info = at(vm, RAM);

	*info = (struct hcall_virtio_queue){ .size = 256,
					     .channel = HCALL_CHANNEL_GUEST,
					     .desc = RAM + 0x1000,
					     .driver = RAM + 0x2000,
					     .device = RAM + 0x3000 };
	for (int i = 0; i < 4 * UNITS; i++) {
		uint32_t dev = HCALL_VIRTIO_DEV(classes[i % 4], i / 4);

		NEED(call(vm, HCALL_VIRTIO_STATUS, dev, 3, 0, 0) == 3);
		NEED(!call(vm, HCALL_VIRTIO_FEATURES, dev, 1ull << 32, 0, 0));
		NEED(call(vm, HCALL_VIRTIO_STATUS, dev, 11, 0, 0) == 11);
		NEED(!call(vm, HCALL_VIRTIO_QUEUE, dev, 0, RAM, sizeof(*info)));
	}
}

/* A route, and a deadline of each vCPU. */
static void channels(struct vm *vm)
{
	NEED(!host_route(vm, 600, KVM_HCALL_VCPU_ANY, event_fd));
	channel_take(vm, HCALL_CHANNELS - 1); /* and all before it */
	for (int i = 0; i < MAX_VCPUS; i++) {
		call_set(&vm->vcpu[i], HCALL_EVENT_WAIT, now_ns() + 50000000,
			 HCALL_WAIT_DEADLINE, 0, 0);
		NEED(call_run(&vm->vcpu[i]) == 0);
	}
}

static const struct {
	const char *name;
	void (*have)(struct vm *vm);
	int64_t least; /* bytes for each instance, which are a few more */
} kinds[] = {
	{ "instances", bind_all, 4096 },
	{ "disks", disks, UNITS * 64 },
	{ "consoles", consoles, UNITS * 64 },
	{ "inputs", inputs, UNITS * 64 },
	{ "nets", nets, UNITS * 4096 },
	{ "queues", queues, 4 * UNITS * 64 },
	{ "channels", channels, MAX_VCPUS * 64 },
};

static int count_all(void)
{
	const int nr = sizeof(kinds) / sizeof(*kinds);
	int bad = 0;

	for (int i = 0; i < INSTANCES; i++) {
		vm_new(&vms[i]);
		NEED(call(&vms[i], HCALL_SYS_PROBE, 0, 0, 0, 0) ==
		     -HCALL_ENOSYS);
	}
	for (int k = 0; k < nr; k++) {
		struct kept before = kept(), after;

		for (int i = 0; i < INSTANCES; i++)
			kinds[k].have(&vms[i]);
		after = kept();
		after.charged -= before.charged;
		after.free -= before.free;
		printf("%-9s %8" PRId64 " bytes charged, %8" PRId64 " not\n",
		       kinds[k].name, after.charged, after.free);
		/* The rest of the host has not slept meanwhile. */
		if (after.charged < INSTANCES * kinds[k].least ||
		    after.free > after.charged / 4 + (32 << 10)) {
			printf("%s are not charged\n", kinds[k].name);
			bad++;
		}
	}
	for (int i = 0; i < INSTANCES; i++)
		vm_free(&vms[i]);
	return bad != 0;
}

static int have_all(void)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };
	int n = 0;

	NEED(!setrlimit(RLIMIT_NOFILE, &limit));
	while (open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC) >= 0) {
		if (++n % 100 == 0)
			printf("%d instances\n", n);
		fflush(stdout);
	}
	printf("after %d instances: %m\n", n);
	return errno != ENOMEM;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "all"))
		return have_all();
	if (argc != 2 || strcmp(argv[1], "count")) {
		fprintf(stderr, "usage: hoard count|all\n");
		return 2;
	}
	keyboard.codes[1][0] = 0xfe; /* keys 1 to 7 */
	NEED(!pipe2(pipe_fd, O_NONBLOCK | O_CLOEXEC));
	NEED(!pipe2(packet_fd, O_NONBLOCK | O_DIRECT | O_CLOEXEC));
	event_fd = eventfd(0, EFD_CLOEXEC);
	disk_fd = open(make_disk("hoard", 1 << 20), O_RDONLY);
	NEED(event_fd >= 0 && disk_fd >= 0);
	return count_all();
}
