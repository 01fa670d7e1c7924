// SPDX-License-Identifier: GPL-2.0
/*
 * Faults: each allocation of an operation, and each copy from or to the launcher's
 * or the guest's memory, fails once.
 *
 * For n = 1, 2, ... the kernel lets the n-th of them fail (fail-nth, with failslab,
 * fail_page_alloc and fail_usercopy) until the operation needs fewer than n.  An
 * operation may survive a fault; if it does not, it says so by an error that is
 * documented for it, and made again, without a fault, it succeeds: nothing was half
 * done.  In the end nothing is left, and on a kernel with kmemleak that says so.
 *
 * Faults in KVM_RUN may be KVM's own: then KVM_RUN fails, or leaves with an error,
 * and goes on when it is called again.
 *
 * FAULTS: at most so many for each operation, spread evenly; 0: all.  Wants the disks
 * of selftests/calls/with-disks, and HCALL_KO, which it unloads and loads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail_nth.h"

static int result_errno(int ret)
{
	return ret ? -errno : 0;
}

static void exhaust_all(const struct operation *op, size_t n)
{
	while (n--)
		exhaust(op++);
}

#define EXHAUST(ops) exhaust_all(ops, sizeof(ops) / sizeof(*(ops)))

/* ---- ioctls ---------------------------------------------------------------------------------- */

static int64_t run_open(void)
{
	int fd = open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	vm.hcall = fd;
	return 0;
}

static void close_opened(void)
{
	if (vm.hcall >= 0)
		instance_free();
}

static void open_only(void)
{
	NEED(!run_open());
}

static int64_t run_bind(void)
{
	struct kvm_hcall_bind bind = { .vm_fd = vm.fd };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_BIND, &bind));
}

static int64_t run_close(void)
{
	int fd = vm.hcall;

	vm.hcall = -1;
	return result_errno(close(fd));
}

static int64_t run_remove_disk(void)
{
	struct kvm_hcall_remove remove = { .class_id = HCALL_CLASS_BLOCK };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove));
}

static int64_t run_resize_disk(void)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_BLOCK };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize));
}

static int64_t run_resize_console(void)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_CONSOLE,
					   .columns = 100 };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize));
}

static int64_t run_policy(void)
{
	return vm_policy(&vm, 0xf0, KVM_HCALL_FORWARD, 1);
}

static int64_t run_stats(void)
{
	struct kvm_hcall_stats stats = { .class_id = HCALL_CLASS_BLOCK };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_STATS, &stats));
}

static int64_t run_seal(void)
{
	return result_errno(ioctl(vm.hcall, KVM_HCALL_SEAL));
}

static int event_fd = -1;

static void prepare_route(void)
{
	if (event_fd < 0)
		event_fd = eventfd(0, EFD_CLOEXEC);
	NEED(event_fd >= 0);
}

static int64_t run_route(void)
{
	return host_route(&vm, 3, KVM_HCALL_VCPU_ANY, event_fd);
}

static int64_t run_raise(void)
{
	return host_raise(&vm, 700);
}

static int64_t run_link(void)
{
	struct kvm_hcall_link link = { .mtu = 1000 };

	return result_errno(ioctl(vm.hcall, KVM_HCALL_LINK, &link));
}

static void ioctls(void)
{
	static const struct operation ops[] = {
		{ "open", nothing, .run = run_open, .tear_down = close_opened },
		{ "BIND", open_only, .run = run_bind,
		  .tear_down = close_opened },
		{ "REMOVE", devices_new, .run = run_remove_disk,
		  .tear_down = devices_free },
		{ "RESIZE of a disk", devices_new, .run = run_resize_disk,
		  .tear_down = devices_free },
		{ "RESIZE of a console", devices_new, .run = run_resize_console,
		  .tear_down = devices_free },
		{ "POLICY", instance_new, .run = run_policy,
		  .tear_down = instance_free },
		{ "STATS", instance_new, .run = run_stats,
		  .tear_down = instance_free },
		{ "SEAL", instance_new, .run = run_seal,
		  .tear_down = instance_free },
		{ "ROUTE", instance_new, prepare_route, run_route,
		  .tear_down = instance_free },
		{ "RAISE", instance_new, .run = run_raise,
		  .tear_down = instance_free },
		{ "LINK", devices_new, .run = run_link,
		  .tear_down = devices_free },
		{ "close", devices_new, .run = run_close,
		  .tear_down = pairs_free, .surely = true },
	};

	start();
	EXHAUST(ops);
}

/* ---- ADD of everything ---------------------------------------------------------------------- */

static void adds(void)
{
	static const struct operation ops[] = {
		{ "ADD console", new_console, .run = run_add,
		  .tear_down = pairs_and_instance_free },
		{ "ADD terminal", new_terminal, .run = run_add,
		  .tear_down = free_terminal },
		{ "ADD disk", new_disk, .run = run_add,
		  .tear_down = free_disk },
		{ "ADD disk, direct", new_direct, .run = run_add,
		  .tear_down = free_disk },
		{ "ADD block device", new_block_device, .run = run_add,
		  .tear_down = free_disk },
		{ "ADD input", new_keys, .run = run_add,
		  .tear_down = pairs_and_instance_free },
		{ "ADD evdev", new_evdev, .run = run_add,
		  .tear_down = free_evdev },
		{ "ADD net", new_net, .run = run_add,
		  .tear_down = pairs_and_instance_free },
		{ "ADD tap", new_tap, .run = run_add, .tear_down = free_taps },
		{ "ADD tap, VNET_HDR", new_vnet_tap, .run = run_add,
		  .tear_down = free_taps },
		{ "ADD tap, queues", new_taps, .run = run_add,
		  .tear_down = free_taps },
	};

	host_devices_needed();
	start();
	EXHAUST(ops);
}

/* ---- The module ----------------------------------------------------------------------------------- */

static int module_fd;

static int64_t run_load(void)
{
	return result_errno(syscall(SYS_finit_module, module_fd, "", 0));
}

static void unload(void)
{
	for (int i = 0; i < 100; i++) {
		if (!syscall(SYS_delete_module, "kvm_hcall", O_NONBLOCK))
			return;
		usleep(100000);
	}
	NEED(!"unload");
}

/* What was not loaded is not there. */
static void load_recover(void)
{
	CHECK(access("/sys/module/kvm_hcall", F_OK));
	CHECK(access(KVM_HCALL_PATH, F_OK));
}

static void load(void)
{
	static const struct operation op = { "load", nothing, .run = run_load,
					     .recover = load_recover,
					     .tear_down = unload };

	module_fd = open(getenv("HCALL_KO"), O_RDONLY | O_CLOEXEC);
	NEED(module_fd >= 0);
	/* No instance is left of a test that has failed. */
	start();
	unload();
	exhaust(&op);
	CHECK_EQ(run_load(), 0);
	close(module_fd);
}

/* ---- What is left ---------------------------------------------------------------------------------- */

#define KMEMLEAK DEBUGFS "kmemleak"

static void left(void)
{
	char line[256];
	int references = -1, leaks = 0;
	FILE *f;

	for (int i = 0; i < 50 && references; i++) {
		f = fopen("/sys/module/kvm_hcall/refcnt", "r");
		NEED(f && fscanf(f, "%d", &references) == 1);
		fclose(f);
		usleep(100000);
	}
	CHECK_EQ(references, 0);
	if (access(KMEMLEAK, W_OK))
		return;
	/* What one scan takes for lost may have been on its way. */
	for (int i = 0; i < 3; i++) {
		NEED(put_text(KMEMLEAK, "scan"));
		sleep(2);
	}
	f = fopen(KMEMLEAK, "r");
	NEED(f);
	while (fgets(line, sizeof(line), f)) {
		printf("# %s", line);
		leaks += !!strstr(line, "[kvm_hcall]");
	}
	fclose(f);
	CHECK_EQ(leaks, 0);
}

static const struct test tests[] = {
	{ "fail_nth.ioctls", ioctls },
	{ "fail_nth.add", adds },
	{ "fail_nth.sys", calls_sys },
	{ "fail_nth.console", calls_console },
	{ "fail_nth.block", calls_block },
	{ "fail_nth.timer", calls_timer },
	{ "fail_nth.input", calls_input },
	{ "fail_nth.net", calls_net },
	{ "fail_nth.event", calls_event },
	{ "fail_nth.host_devices", host_devices },
	{ "fail_nth.batch", batches },
	{ "fail_nth.worker", workers },
	{ "fail_nth.virtio", calls_virtio },
	{ "fail_nth.kick", kicks },
	{ "fail_nth.load", load },
	{ "fail_nth.left", left },
};

int main(int argc, char **argv)
{
	return fail_nth_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
