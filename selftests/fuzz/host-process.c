// SPDX-License-Identifier: GPL-2.0
/*
 * A process of the host fuzzer: some threads that do one operation after the other
 * with the same descriptors, a VM with a guest, and a thread that brings pages late.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define PAGE 4096u

/*
 * Where arguments are.  Pages: 0 and 1 ordinary, 2 there is none, 3 and 4 read-only,
 * 5 and 6 ordinary, 7 and 8 come late, 9 there is none.
 */
enum {
	PLAIN = 0,
	EDGE = 2,
	FIXED = 3,
	FAST = 5,
	LATE = 7,
	NOTHING = 9,
	AREA_PAGES
};

/**
 * struct area - memory for an argument
 * @base: AREA_PAGES of it
 * @late: what comes to the pages from LATE on
 * @fleeting: a page that another thread takes away at any time
 * @kept: the same, for this thread
 */
struct area {
	uint8_t *base;
	uint8_t late[2 * PAGE];
	uint8_t *fleeting;
	uint8_t *kept;
};

struct thread {
	struct random random;
	struct beat *beat;
	struct area outer; /* the argument */
	struct area inner; /* what it points at */
	struct area buffer; /* for the module */
	pthread_t id;
	int number;
	bool child;
	bool apart; /* another process, whose descriptors are not in the table */
};

#define BOUND 3

/**
 * struct process - what its threads share
 * @files:    descriptors
 * @vm:       with the guest
 * @thread:   one each
 * @threads:  how many
 * @slot:     the process's place among the others
 * @pool:     to other processes, and from them
 * @late:     userfaultfd, or -1
 * @children: that have not been waited for
 * @max_files: RLIMIT_NOFILE as it was
 * @pid:      its own
 * @bound:    instances that are bound, or were; the first to @vm
 */
static struct process {
	struct files files;
	struct vm vm;
	struct thread thread[THREADS];
	int threads;
	int slot;
	int pool[2];
	int late; /* userfaultfd */
	atomic_int children;
	rlim_t max_files;
	pid_t pid;
	_Atomic file_t bound[BOUND];
} process;

/* What a thread does next, until it says so again. */
static void begin(struct thread *t, const char *doing)
{
	strncpy(t->beat->doing, doing, sizeof(t->beat->doing) - 1);
	t->beat->begun_ns = now_ns();
}

/* ---- Memory for arguments -------------------------------------------------------- */

static void area_new(struct area *area)
{
	struct uffdio_register late = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = memfd_create("fleeting", MFD_CLOEXEC);

	area->base = mmap(NULL, AREA_PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(area->base != MAP_FAILED);
	NEED(!mprotect(area->base + EDGE * PAGE, PAGE, PROT_NONE));
	NEED(!munmap(area->base + NOTHING * PAGE, PAGE));
	NEED(fd >= 0 && !ftruncate(fd, PAGE));
	area->kept =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	area->fleeting = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED, fd, 0);
	NEED(area->kept != MAP_FAILED && area->fleeting != MAP_FAILED);
	close(fd);
	late.range.start = (uintptr_t)area->base + LATE * PAGE;
	late.range.len = 2 * PAGE;
	if (process.late >= 0)
		NEED(!ioctl(process.late, UFFDIO_REGISTER, &late));
}

static void *place_late(struct area *area, struct random *r, const void *data,
			size_t bytes)
{
	/* Where the pages begin, or before. */
	size_t early = one_in(r, 4) ? 0 : below(r, bytes + 1);
	uint8_t *begin = area->base + LATE * PAGE;

	madvise(begin, 2 * PAGE, MADV_DONTNEED);
	memcpy(area->late, (const uint8_t *)data + early, bytes - early);
	memcpy(begin - early, data, early);
	return begin - early;
}

static void *place_fixed(struct area *area, const void *data, size_t bytes)
{
	uint8_t *begin = area->base + FIXED * PAGE;

	if (mprotect(begin, 2 * PAGE, PROT_READ | PROT_WRITE))
		return NULL;
	memcpy(begin, data, bytes);
	mprotect(begin, 2 * PAGE, PROT_READ);
	return begin;
}

static void *place_fleeting(struct area *area, const void *data, size_t bytes)
{
	memcpy(area->kept + PAGE - bytes, data, bytes);
	mprotect(area->fleeting, PAGE, PROT_READ | PROT_WRITE);
	return area->fleeting + PAGE - bytes;
}

/* Up to two pages of data, somewhere; or not.  @odds: that it is not where it should be. */
static void *place(struct area *area, struct random *r, const void *data,
		   size_t bytes, uint32_t odds)
{
	static const uint64_t nowhere[] = { 0,
					    1,
					    PAGE - 8,
					    0x00007fffffffeff0,
					    0x00007ffffffffff8,
					    0x0000800000000000,
					    0xffff800000000000,
					    0xffffffff81000000,
					    0xfffffffffffffff0 };
	uint8_t *plain = area->base + PLAIN * PAGE;
	size_t there = bytes;

	if (one_in(r, odds)) {
		switch (below(r, 4)) {
		case 0:
			return (void *)nowhere[below(r, 9)];
		case 1:
			return area->base + NOTHING * PAGE - below(r, bytes);
		case 2:
			return place_fixed(area, data, bytes);
		default:
			there = below(r, bytes);
		}
	} else if (one_in(r, 6) && process.late >= 0) {
		return place_late(area, r, data, bytes);
	} else if (one_in(r, 6) && bytes <= PAGE) {
		return place_fleeting(area, data, bytes);
	}
	/* At its end, or over it. */
	if (there != bytes || one_in(r, 3))
		plain = area->base + EDGE * PAGE - there;
	memcpy(plain, data, there);
	return plain;
}

/* Another thread's argument changes or goes while the module reads it. */
static void scribble(struct thread *t)
{
	struct random *r = &t->random;
	struct thread *other = &process.thread[below(r, process.threads)];
	struct area *area = one_in(r, 2) ? &other->inner : &other->outer;
	volatile uint8_t *byte;

	if (!area->base)
		return;
	if (one_in(r, 3)) {
		mprotect(area->fleeting, PAGE,
			 one_in(r, 2) ? PROT_READ : PROT_NONE);
		return;
	}
	byte = one_in(r, 2) ? area->base + PLAIN * PAGE
			    : area->base + EDGE * PAGE - 100;
	byte[below(r, 100)] = odd_number(r);
}

/* The pages that come late, or never. */
static void *late_thread(void *arg)
{
	struct random r = { (uintptr_t)arg };
	struct uffd_msg msg;

	while (read(process.late, &msg, sizeof(msg)) == sizeof(msg)) {
		uintptr_t page = msg.arg.pagefault.address & -(uintptr_t)PAGE;
		struct uffdio_copy copy = { .dst = page, .len = PAGE };
		struct uffdio_range wake = { page, PAGE };
		static uint8_t zeros[PAGE];

		atomic_fetch_add(&shared->slow, 1);
		/* With all who wait for it. */
		if (one_in(&r, 400))
			kill(getpid(), SIGKILL);
		usleep(one_in(&r, 50) ? 50000 : below(&r, 1000));
		copy.src = (uintptr_t)zeros;
		for (int i = 0; i < process.threads * 3; i++) {
			struct thread *t = &process.thread[i / 3];
			struct area *area = i % 3 == 0	 ? &t->outer
					    : i % 3 == 1 ? &t->inner
							 : &t->buffer;
			uintptr_t late = (uintptr_t)area->base + LATE * PAGE;

			if (page - late < 2 * PAGE)
				copy.src = (uintptr_t)area->late + page - late;
		}
		/* It may be there, or gone. */
		if (ioctl(process.late, UFFDIO_COPY, &copy))
			ioctl(process.late, UFFDIO_WAKE, &wake);
	}
	return NULL;
}

/* ---- Commands ----------------------------------------------------------------------- */

/* A VM without vCPUs, which nothing is bound to. */
static int new_vm(struct thread *t)
{
	int fd = ioctl(process.vm.kvm, KVM_CREATE_VM, 0);

	files_add(&process.files, &t->random, fd, VM);
	return fd;
}

/* A descriptor of a kind; made, if there is none. */
static file_t want(struct thread *t, enum kind kind, uint32_t *at)
{
	file_t file = one_in(&t->random, 8)
			      ? 0
			      : files_of(&process.files, &t->random, kind, at);

	if (file || t->apart)
		return file;
	if (kind == VM)
		new_vm(t);
	else
		files_make(&process.files, &t->random, process.slot, kind);
	return files_of(&process.files, &t->random, kind, at);
}

static int want_fd(struct thread *t, enum kind kind)
{
	uint32_t at;

	return file_fd(want(t, kind, &at));
}

/* Not the right one. */
static int odd_fd(struct thread *t)
{
	struct random *r = &t->random;
	uint32_t at;

	switch (below(r, 8)) {
	case 0:
		return -1;
	case 1:
		return (int)odd_number(r);
	case 2:
	case 3:
		return want_fd(t, ODD);
	default:
		return file_fd(files_any(&process.files, r, &at));
	}
}

/* The place of one that is in the table, or FILES. */
static uint32_t place_of(file_t file)
{
	uint32_t i = 0;

	while (i < FILES &&
	       (!file || atomic_load(&process.files.file[i]) != file))
		i++;
	return i;
}

/* An instance: mostly one that is bound, and most often to the VM with the guest. */
static file_t instance(struct thread *t, uint32_t *at)
{
	struct random *r = &t->random;
	file_t file = process.bound[one_in(r, 2) ? 0 : below(r, BOUND)];

	*at = place_of(file);
	return *at < FILES ? file : want(t, INSTANCE, at);
}

static bool command_on(struct thread *t, enum command command, file_t file,
		       uint32_t at, unsigned long nr, void *arg)
{
	int error;

	begin(t, command_names[command]);
	error = ioctl(file_fd(file), nr, arg) ? errno : 0;
	/* If somebody has closed it meanwhile, it may have been anything. */
	if (!t->apart && atomic_load(&process.files.file[at]) == file)
		judge(command, error);
	return !error;
}

/* @bytes: what the number says */
static void command(struct thread *t, enum command command, unsigned long nr,
		    const void *data, size_t bytes)
{
	struct random *r = &t->random;
	uint8_t noise[PAGE];
	uint32_t at;
	file_t file = instance(t, &at);

	if (!file)
		return;
	memcpy(noise, data, bytes);
	if (one_in(r, 12))
		memset(noise + below(r, bytes), odd_number(r), 1);
	if (one_in(r, 24)) {
		uint64_t odd = odd_number(r);

		memcpy(noise + below(r, bytes / 4) * 4, &odd, 4);
	}
	command_on(t, command, file, at, nr,
		   place(&t->outer, r, noise, bytes, 12));
}

static bool is_bound(file_t file)
{
	for (int i = 0; i < BOUND; i++) {
		if (process.bound[i] == file)
			return true;
	}
	return false;
}

static void bind_on(struct thread *t, file_t file, uint32_t at)
{
	struct random *r = &t->random;
	struct kvm_hcall_bind bind = { 0 };
	uint32_t place_in = 1 + below(r, BOUND - 1);

	if (is_bound(file) && !one_in(r, 6))
		return;
	if (place_of(process.bound[0]) == FILES || one_in(r, 8)) {
		bind.vm_fd = process.vm.fd;
		place_in = 0;
	} else if (one_in(r, 6)) {
		bind.vm_fd = odd_fd(t);
	} else {
		bind.vm_fd = one_in(r, 3) ? want_fd(t, VM) : new_vm(t);
	}
	if (command_on(t, BIND, file, at, KVM_HCALL_BIND,
		       place(&t->outer, r, &bind, sizeof(bind), 12)))
		process.bound[place_in] = file;
}

static void add_console(struct thread *t, struct kvm_hcall_add *add)
{
	static const enum kind outs[] = { PIPE_OUT, LOG, TERMINAL };
	struct random *r = &t->random;

	add->fd = want_fd(t, outs[below(r, 3)]);
	add->fd_in = one_in(r, 3) ? want_fd(t, TERMINAL) : want_fd(t, PIPE_IN);
	if (one_in(r, 4))
		add->fd_in = -1;
	add->columns = 80;
	add->rows = below(r, 50);
}

static void add_block(struct thread *t, struct kvm_hcall_add *add)
{
	struct random *r = &t->random;

	switch (below(r, 3)) {
	case 0:
		add->fd = want_fd(t, DISK);
		break;
	case 1:
		add->fd = want_fd(t, DISK_READONLY);
		add->flags = KVM_HCALL_ADD_READONLY;
		break;
	default:
		add->fd = want_fd(t, DISK_DIRECT);
		add->flags = KVM_HCALL_ADD_DIRECT;
	}
	add->fd_in = -1;
}

/* Memory for the module, which may be anywhere. */
static uint64_t buffer(struct thread *t)
{
	static const uint8_t nothing[PAGE];

	return (uintptr_t)place(&t->buffer, &t->random, nothing, PAGE, 8);
}

static void add_input(struct thread *t, struct kvm_hcall_add *add)
{
	struct random *r = &t->random;
	struct kvm_hcall_input input = { .name = "fuzzed", .serial = "7" };

	input.codes[EV_KEY][0] = 0xfe;
	input.codes[EV_LED][0] = 7;
	if (one_in(r, 8))
		((uint8_t *)&input)[below(r, sizeof(input))] = odd_number(r);
	if (one_in(r, 2)) {
		add->fd_in = want_fd(t, KEYBOARD);
		add->fd = one_in(r, 2) ? add->fd_in : -1;
		add->buffer = buffer(t);
	} else {
		add->fd_in = want_fd(t, PIPE_IN);
		add->fd = one_in(r, 2) ? want_fd(t, PIPE_OUT) : -1;
	}
	add->input = (uintptr_t)place(&t->inner, r, &input, sizeof(input), 12);
}

static void add_queues(struct thread *t, struct kvm_hcall_add *add,
		       enum kind kind)
{
	struct random *r = &t->random;
	struct kvm_hcall_queues queues = { .count = 1 + below(r, 4) };

	for (uint32_t i = 0; i < KVM_HCALL_MAX_QUEUES - 1; i++)
		queues.fd[i] = i < queues.count ? want_fd(t, kind) : -1;
	if (one_in(r, 4))
		queues.fd[below(r, 5)] = odd_fd(t);
	if (one_in(r, 8))
		queues.count = odd_number(r);
	add->queues =
		(uintptr_t)place(&t->inner, r, &queues, sizeof(queues), 12);
}

static void add_net(struct thread *t, struct kvm_hcall_add *add)
{
	struct random *r = &t->random;
	bool vnet = one_in(r, 2);

	memcpy(add->mac, "\2fuzz", 6);
	add->mtu = one_in(r, 4) ? odd_number(r) : 1500;
	add->fd_in = -1;
	if (one_in(r, 3)) {
		add->fd = want_fd(t, FRAMES_OUT);
		add->fd_in = want_fd(t, FRAMES_IN);
		return;
	}
	add->fd = want_fd(t, vnet ? TAP_VNET : TAP);
	if (vnet) {
		add->flags = KVM_HCALL_ADD_VNET_HDR;
		add->buffer = buffer(t);
	}
	if (one_in(r, 4))
		add_queues(t, add, vnet ? TAP_VNET : TAP);
}

/* Something that is not as it should be. */
static void spoil(struct thread *t, struct kvm_hcall_add *add)
{
	struct random *r = &t->random;

	switch (below(r, 12)) {
	case 0:
	case 1:
		add->fd = odd_fd(t);
		break;
	case 2:
		add->fd_in = odd_fd(t);
		break;
	case 3:
		add->flags ^= 1u << below(r, 32);
		break;
	case 4:
		add->class_id = below(r, 10);
		break;
	case 5:
		add->unit = odd_number(r);
		break;
	case 6:
		memset(add->name, odd_number(r),
		       below(r, sizeof(add->name)) + 1);
		break;
	case 7:
		add->columns = odd_number(r);
		break;
	case 8:
		add->rows = odd_number(r);
		break;
	case 9:
		add->buffer = odd_number(r);
		break;
	case 10:
		add->mac[below(r, 6)] = odd_number(r);
		break;
	default:
		add->input = add->queues = odd_number(r);
	}
}

static void add(struct thread *t)
{
	static const struct {
		uint32_t class_id;
		void (*fill)(struct thread *t, struct kvm_hcall_add *add);
	} kinds[] = { { HCALL_CLASS_CONSOLE, add_console },
		      { HCALL_CLASS_BLOCK, add_block },
		      { HCALL_CLASS_INPUT, add_input },
		      { HCALL_CLASS_NET, add_net } };
	struct random *r = &t->random;
	uint32_t kind = below(r, 4);
	struct kvm_hcall_add a = { .class_id = kinds[kind].class_id };

	snprintf(a.name, sizeof(a.name), "d%u", below(r, 90));
	kinds[kind].fill(t, &a);
	if (one_in(r, 4))
		spoil(t, &a);
	command(t, ADD_CONSOLE + kind, KVM_HCALL_ADD, &a, sizeof(a));
}

static uint32_t class_of(struct random *r)
{
	static const uint8_t classes[] = { HCALL_CLASS_CONSOLE,
					   HCALL_CLASS_BLOCK, HCALL_CLASS_INPUT,
					   HCALL_CLASS_NET };

	return one_in(r, 12) ? odd_number(r) : classes[below(r, 4)];
}

static uint32_t unit_of(struct random *r)
{
	return one_in(r, 12) ? odd_number(r) : below(r, 1 + below(r, 5));
}

static void remove_device(struct thread *t)
{
	struct kvm_hcall_remove a = { .class_id = class_of(&t->random),
				      .unit = unit_of(&t->random) };

	command(t, REMOVE, KVM_HCALL_REMOVE, &a, sizeof(a));
}

static void resize(struct thread *t)
{
	struct random *r = &t->random;
	struct kvm_hcall_resize a = { .class_id = class_of(r),
				      .unit = unit_of(r) };

	if (a.class_id == HCALL_CLASS_CONSOLE) {
		a.columns = odd_number(r);
		a.rows = below(r, 33000);
	}
	command(t, RESIZE, KVM_HCALL_RESIZE, &a, sizeof(a));
}

static void policy(struct thread *t)
{
	struct random *r = &t->random;
	struct kvm_hcall_policy a = { .class_id = below(r, 260),
				      .action = below(r, 4) };

	/* What has devices is mostly used. */
	if (a.class_id < 8 && !one_in(r, 8))
		a.action = KVM_HCALL_HANDLE;
	if (a.action == KVM_HCALL_FORWARD)
		a.functions = odd_number(r);
	command(t, POLICY, KVM_HCALL_POLICY, &a, sizeof(a));
}

static void stats(struct thread *t)
{
	struct kvm_hcall_stats a = { .class_id = below(&t->random, 260) };

	command(t, STATS, KVM_HCALL_STATS, &a, sizeof(a));
}

static void route_channel(struct thread *t)
{
	struct random *r = &t->random;
	struct kvm_hcall_route a = {
		.channel = one_in(r, 8) ? odd_number(r) : below(r, 1024),
		.vcpu = one_in(r, 2) ? KVM_HCALL_VCPU_ANY : below(r, 5),
		.fd = one_in(r, 4) ? -1 : want_fd(t, EVENTFD),
	};

	if (one_in(r, 8))
		a.fd = odd_fd(t);
	command(t, ROUTE, KVM_HCALL_ROUTE, &a, sizeof(a));
}

static void raise_channel(struct thread *t)
{
	struct random *r = &t->random;
	struct kvm_hcall_raise a = { .channel = one_in(r, 8) ? odd_number(r)
							     : below(r, 1024) };

	command(t, RAISE, KVM_HCALL_RAISE, &a, sizeof(a));
}

static void link_change(struct thread *t)
{
	struct random *r = &t->random;
	struct kvm_hcall_link a = { .flags = below(r, 2),
				    .unit = unit_of(r),
				    .mtu = one_in(r, 4) ? odd_number(r)
							: 1500 };

	command(t, LINK, KVM_HCALL_LINK, &a, sizeof(a));
}

static void seal(struct thread *t)
{
	uint32_t at;
	file_t file = instance(t, &at);

	/* It is of little use afterwards. */
	if (!file || !one_in(&t->random, 6))
		return;
	command_on(t, SEAL, file, at, KVM_HCALL_SEAL,
		   (void *)odd_number(&t->random));
}

/* Numbers that nobody has, and right ones with a wrong size or direction. */
static void unknown(struct thread *t)
{
	static const uint8_t types[] = { 'H', 'H', 'H', 'h', 0xae, 0xaf };
	struct random *r = &t->random;
	uint8_t noise[2 * PAGE];
	uint32_t nr = _IOC(below(r, 4), types[below(r, 6)], 0xb0 + below(r, 16),
			   below(r, 200));
	static const uint32_t known[] = { KVM_HCALL_BIND,   KVM_HCALL_ADD,
					  KVM_HCALL_REMOVE, KVM_HCALL_RESIZE,
					  KVM_HCALL_POLICY, KVM_HCALL_STATS,
					  KVM_HCALL_SEAL,   KVM_HCALL_ROUTE,
					  KVM_HCALL_RAISE,  KVM_HCALL_LINK };
	uint32_t at, bytes = sizeof(noise);
	file_t file;

	if (one_in(r, 8))
		nr = _IOC(below(r, 4), 'H', 0xb0 + below(r, 10), 0x3fff);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (nr == known[i])
			return;
	}
	memset(noise, odd_number(r), sizeof(noise));
	file = instance(t, &at);
	if (file)
		command_on(
			t, UNKNOWN, file, at, nr,
			place(&t->outer, r, noise,
			      bytes < _IOC_SIZE(nr) ? bytes : _IOC_SIZE(nr) + 1,
			      12));
}

static void commands(struct thread *t)
{
	static void (*const all[])(struct thread * t) = {
		add,	       add,	      add,	     add,
		add,	       add,	      add,	     add,
		resize,	       resize,	      remove_device, remove_device,
		remove_device, policy,	      stats,	     route_channel,
		route_channel, raise_channel, link_change,   link_change,
		seal,	       unknown,
	};

	all[below(&t->random, sizeof(all) / sizeof(*all))](t);
}

/* ---- Descriptors come and go ---------------------------------------------------------- */

static void open_instance(struct thread *t)
{
	struct random *r = &t->random;
	uint32_t at, many = 0;
	file_t file;

	for (uint32_t i = 0; i < FILES; i++) {
		file = atomic_load(&process.files.file[i]);
		many += file && file_kind(file) == INSTANCE;
	}
	if (many < 4)
		files_make(&process.files, r, process.slot, INSTANCE);
	file = files_of(&process.files, r, INSTANCE, &at);
	if (file && !one_in(r, 8))
		bind_on(t, file, at);
}

static void close_any(struct thread *t)
{
	uint32_t at;

	begin(t, "close");
	if (files_any(&process.files, &t->random, &at))
		files_close(&process.files, at);
}

static void close_instance(struct thread *t)
{
	uint32_t at;

	begin(t, "close of an instance");
	if (files_of(&process.files, &t->random, INSTANCE, &at))
		files_close(&process.files, at);
}

static void duplicate(struct thread *t)
{
	uint32_t at;
	file_t file = files_any(&process.files, &t->random, &at);

	if (file)
		files_add(&process.files, &t->random, dup(file_fd(file)),
			  file_kind(file));
}

union pass {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* To another process, or to nobody. */
static void pass_on(struct thread *t)
{
	uint32_t at;
	file_t file =
		one_in(&t->random, 2)
			? files_of(&process.files, &t->random, INSTANCE, &at)
			: files_any(&process.files, &t->random, &at);
	int fd = file_fd(file), kind = file_kind(file);
	union pass pass = { .head = { CMSG_LEN(sizeof(fd)), SOL_SOCKET,
				      SCM_RIGHTS } };
	struct iovec iov = { &kind, sizeof(kind) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &pass,
				  .msg_controllen = sizeof(pass) };

	memcpy(CMSG_DATA(&pass.head), &fd, sizeof(fd));
	sendmsg(process.pool[0], &message, MSG_DONTWAIT);
}

static void receive(struct thread *t)
{
	union pass pass = { 0 };
	int fd, kind = 0;
	struct iovec iov = { &kind, sizeof(kind) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &pass,
				  .msg_controllen = sizeof(pass) };

	if (recvmsg(process.pool[1], &message,
		    MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0 ||
	    message.msg_controllen < sizeof(pass))
		return;
	memcpy(&fd, CMSG_DATA(&pass.head), sizeof(fd));
	files_add(&process.files, &t->random, fd, kind);
	atomic_fetch_add(&shared->passed, 1);
}

/* ---- Processes ---------------------------------------------------------------------------- */

/*
 * fork() copies the descriptors first, then the memory: what another thread has
 * opened in between is in the child's table only.
 */
static void forget_others(void)
{
	struct stat instance, st;

	if (stat(KVM_HCALL_PATH, &instance))
		return;
	for (uint32_t i = 0; i < FILES; i++) {
		file_t file = atomic_load(&process.files.file[i]);

		if (file && file_kind(file) == INSTANCE &&
		    (fstat(file_fd(file), &st) ||
		     st.st_rdev != instance.st_rdev))
			atomic_store(&process.files.file[i], 0);
	}
}

/* All that it may use is the caller's memory, as it is now. */
static _Noreturn void child_run(struct thread *t)
{
	static struct beat beat;
	char *const true_argv[] = { "true", NULL };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(120);
	t->child = true;
	t->beat = &beat;
	forget_others();
	random64(&t->random);
	for (uint32_t n = below(&t->random, 12); n; n--) {
		if (one_in(&t->random, 4))
			close_any(t);
		else if (one_in(&t->random, 4))
			open_instance(t);
		else
			commands(t);
	}
	if (one_in(&t->random, 3))
		kill(getpid(), SIGKILL);
	if (one_in(&t->random, 2))
		execv("/bin/true", true_argv);
	_exit(0);
}

static void reap(void)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0) {
		atomic_fetch_sub(&process.children, 1);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
			finding("a child hung for 120 s");
	}
}

static void fork_child(struct thread *t)
{
	pid_t pid;

	reap();
	if (t->child || atomic_load(&process.children) > 2)
		return;
	begin(t, "fork");
	pid = fork();
	if (!pid)
		child_run(t);
	if (pid > 0) {
		atomic_fetch_add(&process.children, 1);
		atomic_fetch_add(&shared->forks, 1);
	}
}

/* Another process with the same memory, whose descriptors go another way. */
static int same_memory_child(void *arg)
{
	struct thread *t = arg;

	/* It is no thread of the process, and has nobody who brings it pages without. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != process.pid)
		return 0;
	close_range(10 + below(&t->random, 30), 40 + below(&t->random, 30), 0);
	for (uint32_t n = below(&t->random, 6); n; n--)
		commands(t);
	return 0;
}

static void fork_same_memory(struct thread *t)
{
	static _Alignas(16) uint8_t stacks[THREADS][65536];
	uint8_t *stack = stacks[t->number];
	pid_t pid;

	if (t->child)
		return;
	t->apart = true;
	pid = clone(same_memory_child, stack + sizeof(stacks[0]),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, t);
	t->apart = false;
	if (pid > 0) {
		atomic_fetch_add(&process.children, 1);
		atomic_fetch_add(&shared->forks, 1);
	}
}

static void limit_files(rlim_t max)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = max < limit.rlim_max ? max : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* The VM goes before the instance that is bound to it. */
static void another_vm(struct thread *t)
{
	begin(t, "another VM");
	limit_files(process.max_files);
	guest_stop();
	vm_free(&process.vm);
	vm_new(&process.vm);
	files_add(&process.files, &t->random, dup(process.vm.vcpu[0].fd), VCPU);
	files_add(&process.files, &t->random, dup(process.vm.fd), VM);
	guest_begin(&process.vm, random64(&t->random),
		    &shared->beats[process.slot][THREADS]);
}

/* ---- Threads ------------------------------------------------------------------------------- */

static void operation(struct thread *t)
{
	struct random *r = &t->random;

	begin(t, "a descriptor");
	switch (below(r, 40)) {
	case 0:
	case 1:
		files_make(&process.files, r, process.slot, below(r, KINDS));
		break;
	case 2:
		files_make(&process.files, r, process.slot, ODD);
		break;
	case 3:
	case 4:
	case 5:
		open_instance(t);
		break;
	case 6:
	case 7:
		close_any(t);
		break;
	case 8:
		if (one_in(r, 2))
			close_instance(t);
		break;
	case 9:
		duplicate(t);
		break;
	case 10:
		pass_on(t);
		break;
	case 11:
		receive(t);
		break;
	case 12:
	case 13:
	case 14:
		scribble(t);
		break;
	case 15:
	case 16:
		guest_nudge();
		break;
	case 17:
		if (one_in(r, 6))
			fork_child(t);
		break;
	case 18:
		if (one_in(r, 6))
			fork_same_memory(t);
		break;
	case 19:
		if (!t->number && one_in(r, 2))
			limit_files(one_in(r, 2) ? 12 + below(r, 60)
						 : process.max_files);
		break;
	case 20:
		if (!t->number && one_in(r, 8))
			another_vm(t);
		break;
	default:
		commands(t);
	}
	t->beat->begun_ns = 0;
}

static void *thread_run(void *arg)
{
	struct thread *t = arg;

	for (uint32_t n = 100 + below(&t->random, 500); n; n--) {
		if (atomic_fetch_sub(&shared->left, 1) <= 0)
			break;
		operation(t);
	}
	t->beat->begun_ns = 0;
	return NULL;
}

static void close_all(struct thread *t)
{
	uint32_t at;

	begin(t, "closing all");
	while (files_any(&process.files, &t->random, &at))
		files_close(&process.files, at);
}

static _Noreturn void process_end(struct thread *t)
{
	char *const true_argv[] = { "true", NULL };

	begin(t, "its end");
	switch (below(&t->random, 6)) {
	case 0: /* all by itself, in order */
		guest_stop();
		close_all(t);
		vm_free(&process.vm);
		break;
	case 1: /* the VM first */
		guest_stop();
		vm_free(&process.vm);
		close_all(t);
		break;
	case 2: /* while a guest runs */
		close_all(t);
		break;
	case 3: /* memory first that a guest reads and writes by calls */
		munmap(process.vm.ram2, RAM2_BYTES);
		break;
	case 4:
		execv("/bin/true", true_argv);
		break;
	default:
		kill(getpid(), SIGKILL);
	}
	_exit(0);
}

void process_run(uint64_t seed, int slot, int threads, int pool[2])
{
	struct uffdio_api api = { .api = UFFD_API };
	struct rlimit limit;
	pthread_t late;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	harmless(SIGUSR1);
	getrlimit(RLIMIT_NOFILE, &limit);
	process.max_files = limit.rlim_cur;
	process.pid = getpid();
	process.slot = slot;
	process.threads = threads;
	memcpy(process.pool, pool, sizeof(process.pool));
	process.late = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (process.late >= 0)
		NEED(!ioctl(process.late, UFFDIO_API, &api));

	for (int i = 0; i < threads; i++) {
		struct thread *t = &process.thread[i];

		t->number = i;
		t->random.state = seed + (uint64_t)i * 0x9e3779b97f4a7c15u;
		t->beat = &shared->beats[slot][i];
		area_new(&t->outer);
		area_new(&t->inner);
		area_new(&t->buffer);
	}
	if (process.late >= 0)
		NEED(!pthread_create(&late, NULL, late_thread,
				     (void *)(uintptr_t)seed));
	begin(&process.thread[0], "its beginning");
	vm_new(&process.vm);
	open_instance(&process.thread[0]);
	guest_begin(&process.vm, seed ^ 1, &shared->beats[slot][THREADS]);
	for (int i = 1; i < threads; i++)
		NEED(!pthread_create(&process.thread[i].id, NULL, thread_run,
				     &process.thread[i]));
	thread_run(&process.thread[0]);
	for (int i = 1; i < threads; i++)
		NEED(!pthread_join(process.thread[i].id, NULL));
	process_end(&process.thread[0]);
}
