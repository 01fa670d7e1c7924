// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher's side: /dev/kvm-hcall, policy, forwarding, and that a VM which
 * is not bound notices nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

static struct vm vm;

static int64_t probe(struct vm *v)
{
	return call(v, HCALL_SYS_PROBE, HCALL_CLASS_SYS, 0, 0, 0);
}

static int open_hcall(void)
{
	int fd = open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC);

	NEED(fd >= 0);
	return fd;
}

static int bind_fd(int hcall, int fd)
{
	struct kvm_hcall_bind bind = { .vm_fd = fd };

	return ioctl(hcall, KVM_HCALL_BIND, &bind) ? -errno : 0;
}

static void unbound(void)
{
	struct vm other;

	vm_new(&vm);
	vm_bind(&vm);
	vm_new(&other);
	/* As on a host without the module, before, beside and after. */
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(probe(&other), -HCALL_ENOSYS);
		CHECK_EQ(call(&other, HCALL_SYS_EXIT, 0, 0, 0, 0),
			 -HCALL_ENOSYS);
		CHECK_EQ(call(&other, 1, 0, 0, 0, 0), 0);
		CHECK(probe(&vm) > 0);
	}
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).calls, 3);
	vm_bind(&other);
	CHECK(probe(&other) > 0);
	close(other.hcall);
	other.hcall = -1;
	CHECK_EQ(probe(&other), -HCALL_ENOSYS);
	CHECK(probe(&vm) > 0);
	/* And bound again, by a new instance. */
	vm_bind(&other);
	CHECK(probe(&other) > 0);
	vm_free(&other);
	CHECK(probe(&vm) > 0);
	vm_free(&vm);
}

static void binds(void)
{
	int hcall = open_hcall(), second = open_hcall();
	int other = eventfd(0, 0), file = open("/dev/null", O_RDWR);
	struct kvm_hcall_bind bind;

	vm_new(&vm);
	CHECK_EQ(bind_fd(hcall, -1), -EBADF);
	CHECK_EQ(bind_fd(hcall, 999), -EBADF);
	CHECK_EQ(bind_fd(hcall, other), -EINVAL);
	CHECK_EQ(bind_fd(hcall, file), -EINVAL);
	CHECK_EQ(bind_fd(hcall, hcall), -EINVAL);
	CHECK_EQ(bind_fd(hcall, vm.kvm), -EINVAL);
	CHECK_EQ(bind_fd(hcall, vm.vcpu[0].fd), -EINVAL);
	bind = (struct kvm_hcall_bind){ .flags = 1, .vm_fd = vm.fd };
	CHECK(ioctl(hcall, KVM_HCALL_BIND, &bind) && errno == EINVAL);
	bind = (struct kvm_hcall_bind){ .vm_fd = vm.fd,
					.reserved = { 0, 0, 1 } };
	CHECK(ioctl(hcall, KVM_HCALL_BIND, &bind) && errno == EINVAL);
	CHECK(ioctl(hcall, KVM_HCALL_BIND, NULL) && errno == EFAULT);
	CHECK_EQ(probe(&vm), -HCALL_ENOSYS);
	CHECK_EQ(bind_fd(hcall, vm.fd), 0);
	CHECK_EQ(bind_fd(hcall, vm.fd), -EBUSY);
	CHECK_EQ(bind_fd(second, vm.fd), -EBUSY);
	CHECK(probe(&vm) > 0);
	close(hcall);
	CHECK_EQ(bind_fd(second, vm.fd), 0);
	CHECK(probe(&vm) > 0);
	close(second);
	CHECK_EQ(probe(&vm), -HCALL_ENOSYS);
	close(other);
	close(file);
	vm_free(&vm);
}

/* A file of any name is not a VM. */
static void bind_fake(void)
{
	int hcall = open_hcall();
	int fd = open("/tmp/kvm-vm", O_RDWR | O_CREAT, 0600);

	NEED(fd >= 0);
	CHECK_EQ(bind_fd(hcall, fd), -EINVAL);
	unlink("/tmp/kvm-vm");
	close(fd);
	close(hcall);
}

/*
 * Another process has the VM's descriptor: it can bind, but vCPU threads of
 * this process are not its own, and so are not served with its files.
 */
static void bind_from_child(void)
{
	int ready[2], done[2], status;
	char c = 0;
	pid_t pid;

	NEED(!pipe(ready) && !pipe(done));
	vm_new(&vm);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		int hcall = open_hcall();
		int ret = bind_fd(hcall, vm.fd);

		if (write(ready[1], "r", 1) != 1 || read(done[0], &c, 1) != 1)
			_exit(3);
		_exit(ret ? 1 : 0);
	}
	NEED(read(ready[0], &c, 1) == 1);
	CHECK_EQ(probe(&vm), -HCALL_ENOSYS);
	NEED(write(done[1], "d", 1) == 1);
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	vm_free(&vm);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(done[i]);
	}
}

static void ioctls(void)
{
	struct kvm_hcall_stats stats = { 0 };
	struct kvm_hcall_policy policy = { 0 };
	struct kvm_hcall_remove remove = { .class_id = HCALL_CLASS_BLOCK };
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_BLOCK, .fd = 0, .fd_in = -1, .name = "x"
	};
	char untouched[32];
	int hcall = open_hcall();

	CHECK(ioctl(hcall, _IO('H', 0xbf)) && errno == ENOTTY);
	CHECK(ioctl(hcall, _IO('h', 0xb6)) && errno == ENOTTY);
	CHECK(ioctl(hcall, KVM_CREATE_VM, 0) && errno == ENOTTY);
	/* An unknown command leaves the caller's memory alone. */
	memset(untouched, 0x5a, sizeof(untouched));
	CHECK(ioctl(hcall, _IOR('H', 0xbf, char[32]), untouched) &&
	      errno == ENOTTY);
	for (int i = 0; i < 32; i++)
		CHECK_EQ(untouched[i], 0x5a);
	CHECK(ioctl(hcall, _IOC(3, 'H', 0xb1, 8), &add) && errno == ENOTTY);
	CHECK(ioctl(hcall, _IOC(3, 'H', 0xb1, 16383), &add) && errno == ENOTTY);
	/* Not bound yet. */
	CHECK(ioctl(hcall, KVM_HCALL_ADD, &add) && errno == ENOTCONN);
	CHECK(ioctl(hcall, KVM_HCALL_SEAL) && errno == ENOTCONN);
	CHECK(ioctl(hcall, KVM_HCALL_REMOVE, &remove) && errno == ENODEV);
	CHECK_EQ(ioctl(hcall, KVM_HCALL_STATS, &stats), 0);
	/* Reserved fields, ranges. */
	stats.class_id = 256;
	CHECK(ioctl(hcall, KVM_HCALL_STATS, &stats) && errno == EINVAL);
	stats = (struct kvm_hcall_stats){ .flags = 1 };
	CHECK(ioctl(hcall, KVM_HCALL_STATS, &stats) && errno == EINVAL);
	stats = (struct kvm_hcall_stats){ .reserved = { 0, 1 } };
	CHECK(ioctl(hcall, KVM_HCALL_STATS, &stats) && errno == EINVAL);
	policy.action = 3;
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .class_id = 256 };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .class_id = HCALL_CLASS_SYS,
					    .action = KVM_HCALL_FORWARD };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .class_id = 9, .functions = 1 };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .class_id = 9,
					    .action = KVM_HCALL_FORWARD,
					    .functions = 1ull << 63 };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .reserved = 1 };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	policy = (struct kvm_hcall_policy){ .reserved2 = 1 };
	CHECK(ioctl(hcall, KVM_HCALL_POLICY, &policy) && errno == EINVAL);
	close(hcall);
}

static void seal(void)
{
	const char *path = make_disk("seal", 4096);
	struct kvm_hcall_remove remove = { .class_id = HCALL_CLASS_BLOCK };
	int fd = open(path, O_RDWR);

	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "one", path, 0);
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_BLOCK, "two", fd, -1, 0), -EPERM);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_DENY, 0), -EPERM);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), 1);
	/* Fewer files is always allowed. */
	NEED(!ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove));
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), -HCALL_ENODEV);
	CHECK(ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove) && errno == ENODEV);
	remove.flags = 1;
	CHECK(ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove) && errno == EINVAL);
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	close(fd);
	unlink(path);
	vm_free(&vm);
}

static void policy_deny(void)
{
	struct hcall_op *op;

	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("deny", 4096), 0);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), 1);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), -HCALL_EPERM);
	CHECK_EQ(call(&vm, HCALL_NR(2, 200), 0, 0, 0, 0), -HCALL_EPERM);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_BLOCK, 0, 0, 0), 0);
	/* The same by the other doors. */
	op = at(&vm, RAM);
	memset(op, 0, 64);
	op->number = HCALL_BLOCK_READ;
	op->args[2] = RAM + 4096;
	op->args[3] = 1;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), 1);
	CHECK_EQ(op->result, -HCALL_EPERM);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, HCALL_BATCH_ASYNC,
		      HCALL_CHANNEL_GUEST),
		 1);
	CHECK_EQ(op->result, -HCALL_EPERM);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).denied, 4);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).errors, 4);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).calls, 5);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_HANDLE, 0), 0);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), 1);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_SYS, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(probe(&vm), -HCALL_EPERM);
	vm_free(&vm);
}

/* The launcher answers; in 64-bit and 32-bit mode, known class or not. */
static void policy_forward(void)
{
	struct kvm_run *run;
	struct hcall_op *op;

	vm_new(&vm);
	vm_bind(&vm);
	run = vm.vcpu[0].run;
	CHECK_EQ(call(&vm, HCALL_NR(0xf1, 3), 1, 2, 3, 4), -HCALL_ENOSYS);
	CHECK_EQ(vm_policy(&vm, 0xf1, KVM_HCALL_FORWARD, 0xff), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xf1, 0, 0, 0), 0xff);
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		vcpu_mode(&vm.vcpu[0], mode);
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(call(&vm, HCALL_NR(0xf1, 3), 1, 2, 3,
				      1ull << 32 | 4),
				 INT64_MIN);
			CHECK_EQ(run->exit_reason, KVM_EXIT_HYPERCALL);
			CHECK_EQ(run->hypercall.nr, HCALL_NR(0xf1, 3));
			CHECK_EQ(run->hypercall.args[0], 1);
			CHECK_EQ(run->hypercall.args[2], 3);
			CHECK_EQ(run->hypercall.args[3],
				 mode == MODE_32 ? 4 : 1ull << 32 | 4);
			CHECK_EQ(run->hypercall.longmode, mode != MODE_32);
			run->hypercall.ret = i ? 0x1234 + i : -HCALL_EIO;
			CHECK_EQ(call_run(&vm.vcpu[0]),
				 i ? 0x1234 + i : -HCALL_EIO);
		}
		/* A launcher that says nothing has no such call. */
		CHECK_EQ(call(&vm, HCALL_NR(0xf1, 9), 0, 0, 0, 0), INT64_MIN);
		CHECK_EQ(call_run(&vm.vcpu[0]), -HCALL_ENOSYS);
	}
	CHECK_EQ(vm_stats(&vm, 0xf1).forwarded, 8);
	/* Only a vCPU can go there and come back. */
	op = at(&vm, RAM);
	memset(op, 0, 64);
	op->number = HCALL_NR(0xf1, 3);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), 1);
	CHECK_EQ(op->result, -HCALL_EOPNOTSUPP);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, HCALL_BATCH_ASYNC,
		      HCALL_CHANNEL_GUEST),
		 1);
	CHECK_EQ(op->result, -HCALL_EOPNOTSUPP);
	/* A class of ours can be the launcher's too. */
	vcpu_mode(&vm.vcpu[0], MODE_64);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_CONSOLE, KVM_HCALL_FORWARD, 1), 0);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_PUTC, 0, 'x', 0, 0), INT64_MIN);
	CHECK_EQ(run->exit_reason, KVM_EXIT_HYPERCALL);
	run->hypercall.ret = 1;
	CHECK_EQ(call_run(&vm.vcpu[0]), 1);
	vm_free(&vm);
}

/*
 * The instance goes while a forwarded call is with the launcher: the vCPU must
 * not come back to us, but to a host that has no such call.
 */
static void forward_closed(void)
{
	vm_new(&vm);
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		vcpu_mode(&vm.vcpu[0], mode);
		vm_bind(&vm);
		CHECK_EQ(vm_policy(&vm, 0xff, KVM_HCALL_FORWARD, 1), 0);
		CHECK_EQ(call(&vm, HCALL_NR(0xff, 0), 0, 0, 0, 0), INT64_MIN);
		CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_HYPERCALL);
		vm.vcpu[0].run->hypercall.ret = 5;
		close(vm.hcall);
		vm.hcall = -1;
		CHECK_EQ(call_run(&vm.vcpu[0]), -HCALL_ENOSYS);
	}
	vm_free(&vm);
}

/* An instance that is open in a child as well lives on until both close it. */
static void forked(void)
{
	int status, hold[2];
	char c;
	pid_t pid;

	NEED(!pipe(hold));
	vm_new(&vm);
	vm_bind(&vm);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		close(hold[1]);
		/* KVM refuses to run another process's vCPU. */
		if (ioctl(vm.vcpu[0].fd, KVM_RUN, 0) != -1)
			_exit(1);
		_exit(read(hold[0], &c, 1) == 0 ? 0 : 2);
	}
	close(hold[0]);
	CHECK(probe(&vm) > 0);
	close(vm.hcall);
	vm.hcall = -1;
	CHECK(probe(&vm) > 0);
	close(hold[1]);
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(probe(&vm), -HCALL_ENOSYS);
	vm_free(&vm);
}

/* VMs that cannot be served soundly are not served at all. */
static void dirty_ring(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DIRTY_LOG_RING,
		.args[0] = 65536,
	};
	int fd = open("/dev/kvm", O_RDWR), vmfd, vcpufd, hcall = open_hcall();
	static const uint8_t code[] = { 0x0f, 0x01, 0xd9, 0xe6, 0x99 };
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rax = HCALL_SYS_PROBE, .rflags = 2 };

	vmfd = ioctl(fd, KVM_CREATE_VM, 0);
	NEED(vmfd >= 0);
	if (ioctl(vmfd, KVM_ENABLE_CAP, &cap)) {
		cap.cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
		NEED(!ioctl(vmfd, KVM_ENABLE_CAP, &cap));
	}
	NEED(!bind_fd(hcall, vmfd));
	memcpy(page, code, sizeof(code));
	region.userspace_addr = (uintptr_t)page;
	NEED(!ioctl(vmfd, KVM_SET_USER_MEMORY_REGION, &region));
	vcpufd = ioctl(vmfd, KVM_CREATE_VCPU, 0);
	NEED(vcpufd >= 0);
	/* Real mode at 0 is 16 bits wide, which is the 32-bit convention. */
	NEED(!ioctl(vcpufd, KVM_GET_SREGS, &sregs));
	sregs.cs.base = sregs.cs.selector = 0;
	NEED(!ioctl(vcpufd, KVM_SET_SREGS, &sregs));
	NEED(!ioctl(vcpufd, KVM_SET_REGS, &regs));
	NEED(!ioctl(vcpufd, KVM_RUN, 0));
	NEED(!ioctl(vcpufd, KVM_GET_REGS, &regs));
	CHECK_EQ((int32_t)regs.rax, -HCALL_ENOSYS);
	close(hcall);
	close(vcpufd);
	close(vmfd);
	close(fd);
}

static void stats(void)
{
	struct kvm_hcall_stats before, after;

	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("stats", 65536), 0);
	for (int i = 0; i < 97; i++)
		CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, i % 64, RAM,
			      3 - i / 62 * 2),
			 3 - i / 62 * 2);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 1, 0, RAM, 1), -HCALL_ENODEV);
	after = vm_stats(&vm, HCALL_CLASS_BLOCK);
	CHECK_EQ(after.calls, 98);
	CHECK_EQ(after.errors, 1);
	CHECK_EQ(after.bytes, (62 * 3 + 35) * 512);
	before = vm_stats(&vm, 0x77);
	CHECK_EQ(call(&vm, HCALL_NR(0x99, 1), 0, 0, 0, 0), -HCALL_ENOSYS);
	after = vm_stats(&vm, 0x78);
	CHECK_EQ(after.calls, before.calls + 1);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).calls, 0);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 100, 0, 0), 100);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).bytes, 100);
	vm_free(&vm);
}

/* A page that comes when late_comes() is called. */
struct late {
	int fd;
	void *page;
};

static void late_new(struct late *late)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	late->fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	late->page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(late->fd >= 0 && late->page != MAP_FAILED);
	reg.range.start = (uintptr_t)late->page;
	reg.range.len = 2 * 4096;
	NEED(!ioctl(late->fd, UFFDIO_API, &api));
	NEED(!ioctl(late->fd, UFFDIO_REGISTER, &reg));
}

/* Until somebody wants it. */
static void late_wait(struct late *late)
{
	struct uffd_msg msg;

	NEED(read(late->fd, &msg, sizeof(msg)) == sizeof(msg));
}

static void late_comes(struct late *late)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)late->page,
						   2 * 4096 } };

	NEED(!ioctl(late->fd, UFFDIO_ZEROPAGE, &zero));
	close(late->fd);
}

/* ADD of a keyboard whose description comes late; in a thread. */
struct slow_add {
	struct kvm_hcall_add *add;
	int ret;
};

static void *slow_add(void *arg)
{
	struct slow_add *slow = arg;

	slow->ret = vm_add_device(&vm, slow->add);
	return NULL;
}

/* Who waits for an ioctl of another process, which hangs, can be killed. */
static void killed_waiting(void)
{
	struct kvm_hcall_stats stats = { 0 };
	struct kvm_hcall_add add = { .class_id = HCALL_CLASS_INPUT,
				     .name = "late",
				     .fd = -1 };
	struct slow_add slow = { &add, 1 };
	struct late late;
	pthread_t thread;
	int p[2], status = 0;
	pid_t pid, ended = 0;

	NEED(!pipe(p));
	vm_new(&vm);
	vm_bind(&vm);
	late_new(&late);
	add.fd_in = p[0];
	add.input = (uintptr_t)late.page;
	NEED(!pthread_create(&thread, NULL, slow_add, &slow));
	late_wait(&late);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		ioctl(vm.hcall, KVM_HCALL_STATS, &stats);
		_exit(0);
	}
	usleep(200000);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	NEED(!kill(pid, SIGKILL));
	for (int i = 0; i < 50 && !ended; i++) {
		usleep(100000);
		ended = waitpid(pid, &status, WNOHANG);
	}
	late_comes(&late);
	NEED(!pthread_join(thread, NULL));
	CHECK_EQ(ended, pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(slow.ret, 0);
	close(p[0]);
	close(p[1]);
	vm_free(&vm);
}

/* The memory for an answer goes while the device is made: so does the device. */
static void answer_lost(void)
{
	struct kvm_hcall_add *add = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct slow_add slow = { add, 1 };
	struct kvm_hcall_add kept;
	struct late late;
	pthread_t thread;
	int p[2];

	NEED(add != MAP_FAILED && !pipe(p));
	vm_new(&vm);
	vm_bind(&vm);
	late_new(&late);
	add->class_id = HCALL_CLASS_INPUT;
	strcpy(add->name, "late");
	add->fd = -1;
	add->fd_in = p[0];
	add->input = (uintptr_t)late.page;
	kept = *add;
	NEED(!pthread_create(&thread, NULL, slow_add, &slow));
	late_wait(&late);
	NEED(!mprotect(add, 4096, PROT_READ));
	late_comes(&late);
	NEED(!pthread_join(thread, NULL));
	CHECK_EQ(slow.ret, -EFAULT);
	CHECK_EQ(call(&vm, HCALL_INPUT_READ, 0, RAM, 1, HCALL_NOWAIT),
		 -HCALL_ENODEV);
	CHECK_EQ(vm_add_device(&vm, &kept), 0);
	munmap(add, 4096);
	close(p[0]);
	close(p[1]);
	vm_free(&vm);
}

static const struct test tests[] = {
	{ "host.unbound", unbound },
	{ "host.bind", binds },
	{ "host.bind_fake", bind_fake },
	{ "host.bind_from_child", bind_from_child },
	{ "host.ioctls", ioctls },
	{ "host.seal", seal },
	{ "host.deny", policy_deny },
	{ "host.forward", policy_forward },
	{ "host.forward_closed", forward_closed },
	{ "host.forked", forked },
	{ "host.dirty_ring", dirty_ring },
	{ "host.stats", stats },
	{ "host.killed_waiting", killed_waiting },
	{ "host.answer_lost", answer_lost },
};

KTAP_MAIN(tests)
