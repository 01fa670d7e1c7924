// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a program in a VM of its own, and looks whether what has to hold does.
 * See guest.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/input.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"
#include "taps.h"

const int errors[ERRORS] = { 0,
			     HCALL_EPERM,
			     HCALL_EINTR,
			     HCALL_EIO,
			     HCALL_E2BIG,
			     HCALL_EAGAIN,
			     HCALL_ENOMEM,
			     HCALL_EFAULT,
			     HCALL_ENODEV,
			     HCALL_EINVAL,
			     HCALL_ENOSPC,
			     HCALL_EROFS,
			     HCALL_ERANGE,
			     HCALL_EOPNOTSUPP,
			     HCALL_ECANCELED,
			     HCALL_ENOSYS };

struct figures *figures;

__attribute__((format(printf, 1, 2))) static void fault(const char *format, ...)
{
	va_list args;

	figures->fault = true;
	va_start(args, format);
	printf("# program %llu: ", (unsigned long long)figures->program);
	vprintf(format, args);
	printf("\n");
	fflush(stdout);
	va_end(args);
}

/* ---- In the guest ---------------------------------------------------------------- */

struct stream {
	volatile uint32_t count;
	volatile uint32_t repeat; /* until this is 0 */
	volatile uint32_t at;
	uint32_t reserved;
	struct step steps[];
};

#define RESULTS	  0xc0000u /* in a stream, a word for each step */
#define MAX_STEPS ((RESULTS - sizeof(struct stream)) / sizeof(struct step))

GUEST int64_t guest_any_call(const struct step *step)
{
	int64_t result;

	__asm__ __volatile__("vmmcall"
			     : "=a"(result)
			     : "a"(step->nr), "b"(step->args[0]),
			       "c"(step->args[1]), "d"(step->args[2]),
			       "S"(step->args[3])
			     : "memory", "cc");
	return result;
}

GUEST void guest_store(const struct step *step)
{
	uint64_t to = step->args[0], from = step->args[1], n = step->nr / 8;

	__asm__ __volatile__("rep movsq; mov %3, %2; rep movsb"
			     : "+&D"(to), "+&S"(from), "+&c"(n)
			     : "r"(step->nr & 7)
			     : "memory");
}

GUEST int64_t guest_interpret(uint64_t gpa)
{
	struct stream *s = (struct stream *)gpa;
	volatile int64_t *results = (int64_t *)(gpa + RESULTS);

	do {
		for (uint32_t i = 0; i < s->count; i++) {
			const struct step *step = &s->steps[i];

			s->at = i;
			if (step->kind == STEP_CALL)
				results[i] = guest_any_call(step);
			else if (step->kind == STEP_STORE)
				guest_store(step);
			else
				*(volatile uint16_t *)step->args[0] += step->nr;
		}
	} while (s->repeat);
	return 0;
}

/* ---- Slots ----------------------------------------------------------------------- */

struct slot {
	uint32_t slot;
	uint64_t gpa;
	uint32_t bytes;
	uint8_t *host;
	bool log;
};

#define FIRST_SLOT 32u

/* Ours, whose memory outlives a VM. */
static struct slot slots[] = {
	{ FIRST_SLOT, ZERO, ZERO_BYTES, NULL, false },
	{ FIRST_SLOT + 1, UNDER_4G, UNDER_4G_BYTES, NULL, false },
	{ FIRST_SLOT + 2, OVER_4G, OVER_4G_BYTES, NULL, false },
	{ FIRST_SLOT + 3, FAR, FAR_BYTES, NULL, false },
	{ FIRST_SLOT + 4, STREAMS, STREAMS_BYTES, NULL, false },
};

#define SLOTS	 5
#define MOVABLE	 4 /* the streams stay */
#define CANARY	 0xa5
#define ROM_BYTE 0xc3
#define GUARDED	 (5 + SLOTS)

static struct vm vm, other; /* nothing of the second one may change */

static struct stream *stream_of(uint32_t i)
{
	return (struct stream *)(slots[SLOTS - 1].host +
				 (uint64_t)i * STREAM_BYTES);
}

/* All pieces of memory that have guards. */
static void guarded(struct vm *v, uint8_t *at[GUARDED], uint32_t bytes[GUARDED])
{
	uint8_t *const p[] = { v->low, v->ram, v->ram2, v->rom, v->tiles };
	static const uint32_t n[] = { LOW_BYTES, RAM_BYTES, RAM2_BYTES,
				      ROM_BYTES, TILES_NR * 4096 };

	for (int i = 0; i < 5; i++) {
		at[i] = p[i];
		bytes[i] = n[i];
	}
	for (int i = 0; i < SLOTS; i++) {
		at[5 + i] = slots[i].host;
		bytes[5 + i] = slots[i].bytes;
	}
}

static void guards_set(struct vm *v)
{
	uint32_t bytes[GUARDED];
	uint8_t *at[GUARDED];

	guarded(v, at, bytes);
	for (int i = 0; i < GUARDED; i++) {
		memset(at[i] - VM_GUARD, CANARY, VM_GUARD);
		memset(at[i] + bytes[i], CANARY, VM_GUARD);
	}
}

/* Return: the first byte that is something else, or @n. */
static uint32_t differs(const uint8_t *p, uint8_t byte, uint32_t n)
{
	if (p[0] == byte && !memcmp(p, p + 1, n - 1))
		return n;
	for (uint32_t i = 0; i < n; i++) {
		if (p[i] != byte)
			return i;
	}
	return n;
}

static void guards_check(struct vm *v, const char *whose)
{
	uint32_t bytes[GUARDED], n;
	uint8_t *at[GUARDED];

	guarded(v, at, bytes);
	for (int i = 0; i < GUARDED; i++) {
		n = differs(at[i] - VM_GUARD, CANARY, VM_GUARD);
		if (n < VM_GUARD)
			fault("%s: %u bytes before memory %d were written to",
			      whose, VM_GUARD - n, i);
		n = differs(at[i] + bytes[i], CANARY, VM_GUARD);
		if (n < VM_GUARD)
			fault("%s: byte %u behind memory %d was written to",
			      whose, n, i);
	}
}

/* The guest's code and tables, but for its page tables and stacks. */
static uint8_t *low_copy;

static void low_save(void)
{
	memcpy(low_copy, vm.low, 0x80000);
}

static void low_check(void)
{
	static const uint32_t parts[][2] = { { 0x1000, 0x2000 },
					     { 0x14000, 0x18000 },
					     { 0x20000, 0x40000 } };

	for (int i = 0; i < 3; i++) {
		uint32_t at = parts[i][0], n = parts[i][1] - at;

		if (memcmp(low_copy + at, vm.low + at, n))
			fault("the guest's code has changed, at %#x or behind",
			      at);
	}
}

/* ---- Devices ----------------------------------------------------------------------- */

static int disk_fd[DISKS];
static int pipes[6][2]; /* console, input, net: in, out */
static int tap[PAIRS], packet;
static void *tap_buffer; /* the module's */
static struct kvm_hcall_input keys = { .name = "three keys", .serial = "fuzz" };

static int disk_open(const char *variable, const char *name, uint32_t sectors,
		     int flags)
{
	const char *path = variable ? getenv(variable) : NULL;
	char in[256];
	int fd;

	if (!path) {
		path = make_disk(name, sectors * 512);
	} else if (!strcmp(variable, "HCALL_EXT4")) {
		const char *from = make_disk(name, sectors * 512);
		char data[4096];
		int source = open(from, O_RDONLY | O_CLOEXEC), to;
		ssize_t n;

		snprintf(in, sizeof(in), "%s/fuzz-%d", path, getpid());
		to = open(in, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		NEED(source >= 0 && to >= 0);
		while ((n = read(source, data, sizeof(data))) > 0)
			NEED(write(to, data, n) == n);
		close(source);
		close(to);
		unlink(from);
		path = in;
	}
	fd = open(path, flags | O_CLOEXEC);
	NEED(fd >= 0);
	if (path == in || !variable || !getenv(variable))
		unlink(path);
	return fd;
}

static void tap_open(void)
{
	struct ifreq req = { .ifr_flags = 0 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL) };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	NEED(!system("modprobe tun"));
	snprintf(req.ifr_name, IFNAMSIZ, "fuzz%d", getpid());
	for (int i = 0; i < PAIRS; i++)
		tap[i] = taps_open(req.ifr_name, true);
	taps_steer(tap[0]);
	req.ifr_flags = IFF_UP;
	NEED(s >= 0 && !ioctl(s, SIOCSIFFLAGS, &req));
	close(s);
	packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	NEED(packet >= 0);
	to.sll_ifindex = if_nametoindex(req.ifr_name);
	NEED(!bind(packet, (struct sockaddr *)&to, sizeof(to)));
}

static void devices_open(void)
{
	disk_fd[DISK] = disk_open(NULL, "fuzz-a", DISK_SECTORS, O_RDWR);
	disk_fd[DISK_DIRECT] = disk_open("HCALL_EXT4", "fuzz-b", DISK_SECTORS,
					 O_RDWR | O_DIRECT);
	disk_fd[DISK_READONLY] =
		disk_open(NULL, "fuzz-c", READONLY_SECTORS, O_RDONLY);
	disk_fd[DISK_FULL] =
		disk_open("HCALL_FULL", "fuzz-d", DISK_SECTORS, O_RDWR);
	disk_fd[DISK_BROKEN] =
		disk_open("HCALL_BROKEN", "fuzz-e", DISK_SECTORS, O_RDWR);
	for (int i = 0; i < 6; i++)
		NEED(!pipe2(pipes[i],
			    O_CLOEXEC | O_NONBLOCK | (i < 4 ? 0 : O_DIRECT)));
	keys.codes[EV_KEY][0] = 0xfe;
	keys.codes[EV_LED][0] = 7;
	tap_buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(tap_buffer != MAP_FAILED);
	tap_open();
}

/* Return: as vm_add_device(). */
static int device_add(enum device device)
{
	struct kvm_hcall_queues queues = { .count = PAIRS - 1 };
	struct kvm_hcall_add add = { .class_id = device_class(device),
				     .fd_in = -1 };

	snprintf(add.name, sizeof(add.name), "d%d", device);
	memset(queues.fd, 0xff, sizeof(queues.fd));
	switch (device) {
	case CONSOLE:
		add.fd = pipes[1][1];
		add.fd_in = pipes[0][0];
		add.columns = 80;
		add.rows = 25;
		break;
	case INPUT:
		add.fd = pipes[3][1];
		add.fd_in = pipes[2][0];
		add.input = (uintptr_t)&keys;
		break;
	case NET:
		add.fd = pipes[5][1];
		add.fd_in = pipes[4][0];
		break;
	case NET_TAP:
		for (int i = 1; i < PAIRS; i++)
			queues.fd[i - 1] = tap[i];
		add.flags = KVM_HCALL_ADD_VNET_HDR;
		add.fd = tap[0];
		add.buffer = (uintptr_t)tap_buffer;
		add.queues = (uintptr_t)&queues;
		break;
	default:
		add.fd = disk_fd[device];
		add.flags = device == DISK_READONLY ? KVM_HCALL_ADD_READONLY
			    : device == DISK_DIRECT ? KVM_HCALL_ADD_DIRECT
						    : 0;
		break;
	}
	if (add.class_id == HCALL_CLASS_NET) {
		memcpy(add.mac, "\x02-fuz", 5);
		add.mac[5] = device;
		add.mtu = 1500;
	}
	return vm_add_device(&vm, &add);
}

/* What the other sides of all devices do all the time: bring something, take all. */
static void devices_feed(uint64_t *state)
{
	static uint8_t data[0x10000];
	uint64_t r = rnd(state);
	ssize_t n;

	for (int i = 0; i < 6; i += 2) {
		n = 14 + (r >> i * 10) % 1500;
		memset(data, i == 2 ? 0 : r, n);
		if (i == 2)
			n &= ~7ull;
		if (r >> (50 + i) & 1)
			continue;
		if (write(pipes[i][1], data, n) < 0)
			NEED(errno == EAGAIN);
	}
	for (int i = 1; i < 6; i += 2) {
		while (read(pipes[i][0], data, sizeof(data)) > 0)
			;
	}
	memset(data, 0xff, 12);
	data[TAPS_BYTE] = r;
	if (send(packet, data, 60 + (r >> 8) % 1400, MSG_DONTWAIT) < 0)
		NEED(errno == EAGAIN || errno == ENOBUFS || errno == ENETDOWN);
	while (recv(packet, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
}

/* ---- vCPUs ---------------------------------------------------------------------- */

struct caller {
	pthread_t thread;
	struct vcpu *vcpu;
	volatile bool done;
	volatile bool wake; /* from whatever sleep */
	uint32_t at; /* where it was when the host looked last */
	uint64_t at_ns; /* since when */
	uint64_t wake_ns; /* when it has slept long enough */
};

static struct caller callers[MAX_VCPUS];

/* The launcher's answer to a call that was forwarded. */
static void answer(struct vcpu *vcpu)
{
	volatile struct kvm_run *run = vcpu->run;
	uint64_t a = run->hypercall.args[0], vector = run->hypercall.args[2];

	if (run->hypercall.nr == HCALL_EVENT_ROUTE && a < HCALL_CHANNELS &&
	    run->hypercall.args[1] < (uint64_t)vm_vcpus &&
	    vector >= HCALL_ROUTE_MIN_VECTOR &&
	    vector <= HCALL_ROUTE_MAX_VECTOR && !run->hypercall.args[3])
		vm_route(vcpu);
	else
		run->hypercall.ret = 0;
}

/* Until the guest's program is at its end. */
static void run_vcpu(struct caller *c)
{
	struct vcpu *vcpu = c->vcpu;
	struct kvm_regs regs;

	for (;;) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		if (ret && (errno == EINTR || errno == EAGAIN)) {
			struct kvm_mp_state runs = { KVM_MP_STATE_RUNNABLE };

			if (c->wake)
				NEED(!ioctl(vcpu->fd, KVM_SET_MP_STATE, &runs));
			c->wake = false;
			continue;
		}
		if (ret) {
			fault("vCPU %d: KVM_RUN: %s", (int)(vcpu - vm.vcpu),
			      strerror(errno));
			return;
		}
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_HYPERCALL:
			answer(vcpu);
			continue;
		case KVM_EXIT_SYSTEM_EVENT: /* EXIT: we don't care */
		case KVM_EXIT_MMIO: /* a store where no slot is, or ROM */
			continue;
		case KVM_EXIT_IO:
			if (vcpu->run->io.port == GUEST_PORT)
				return;
			break;
		}
		NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
		fault("vCPU %d: exit %u at %#llx, rsp %#llx",
		      (int)(vcpu - vm.vcpu), vcpu->run->exit_reason, regs.rip,
		      regs.rsp);
		return;
	}
}

static void *caller_thread(void *arg)
{
	struct caller *c = arg;

	run_vcpu(c);
	c->done = true;
	return NULL;
}

/* ---- The host meanwhile ----------------------------------------------------------- */

static uint64_t host_calls[9], host_errors[9]; /* by class, made by the host */

/* What a call counts as in the statistics; -1: not at all. */
static int stats_class(uint64_t nr)
{
	if (nr >> 16 != HCALL_PREFIX >> 16)
		return -1;
	return HCALL_NR_CLASS(nr) < 8 ? (int)HCALL_NR_CLASS(nr) : 8;
}

/* Does the call come back by itself, without the launcher? */
static bool is_quick(const struct step *s)
{
	uint32_t class_id = HCALL_NR_CLASS(s->nr);

	return s->kind == STEP_CALL && s->nr >> 16 == HCALL_PREFIX >> 16 &&
	       s->nr != HCALL_SYS_EXIT && s->nr != HCALL_EVENT_WAIT &&
	       s->nr != HCALL_EVENT_ROUTE &&
	       (class_id == HCALL_CLASS_SYS || class_id == HCALL_CLASS_BLOCK ||
		class_id == HCALL_CLASS_TIMER || class_id == HCALL_CLASS_EVENT);
}

static int host_call(const struct program *p, const struct step *step,
		     enum mode mode)
{
	struct vcpu *vcpu = &vm.vcpu[vm_vcpus - 1];
	int64_t ret;

	for (uint32_t i = 0; i < p->count; i++) {
		const struct step *s =
			&p->steps[(step->args[0] + i) % p->count];

		if (!is_quick(s))
			continue;
		vcpu_mode(vcpu, mode);
		call_set(vcpu, s->nr, s->args[0], s->args[1], s->args[2],
			 s->args[3]);
		ret = call_run(vcpu);
		while (ret == INT64_MIN) { /* policy, or EXIT in a batch */
			vcpu->run->hypercall.ret = 0;
			ret = call_run(vcpu);
		}
		if (mode == MODE_64_USER && ret != -HCALL_EPERM)
			fault("a call from user mode: %lld", (long long)ret);
		if (mode == MODE_32) {
			host_calls[stats_class(s->nr)]++;
			host_errors[stats_class(s->nr)] += ret < 0;
		}
		return 0;
	}
	return 0;
}

static int host_replace(const struct step *s)
{
	uint32_t device = s->args[0] % DEVICES;
	struct kvm_hcall_remove remove = { .class_id = device_class(device),
					   .unit = device_unit(device) };
	int ret;

	NEED(!ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove));
	ret = device_add(device);
	if (ret != (int)device_unit(device))
		fault("device %u cannot be added again: %d", device, ret);
	return 0;
}

/* Any slot but where the structures are. */
static void slot_any(struct slot *slot, uint64_t r)
{
	uint32_t i = r % (MOVABLE + 2 + TILES_NR);

	if (i < MOVABLE) {
		*slot = slots[i];
	} else if (i < MOVABLE + 2) {
		*slot = (struct slot){ 2, RAM2, RAM2_BYTES, vm.ram2, false };
	} else {
		i -= MOVABLE + 2;
		*slot = (struct slot){ 4 + i, TILES + i * 4096, 4096,
				       vm.tiles + (TILES_NR - 1 - i) * 4096,
				       false };
	}
}

static int host_slot(const struct step *s, bool move)
{
	static const uint64_t elsewhere = 1ull << 37;
	struct slot slot;

	slot_any(&slot, s->args[0]);
	vm_slot(&vm, slot.slot, slot.gpa, NULL, 0, 0);
	if (move) {
		vm_slot(&vm, slot.slot, elsewhere, slot.host, slot.bytes, 0);
		usleep(s->args[1] % 500);
		vm_slot(&vm, slot.slot, elsewhere, NULL, 0, 0);
	}
	usleep(s->args[2] % 500);
	vm_slot(&vm, slot.slot, slot.gpa, slot.host, slot.bytes,
		s->args[3] & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	return 0;
}

static int host_log(const struct step *s)
{
	static uint8_t bitmap[STREAMS_BYTES / 4096 / 8];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
	struct slot slot;

	slot_any(&slot, s->args[0]);
	vm_slot(&vm, slot.slot, slot.gpa, slot.host, slot.bytes,
		s->args[1] & 3 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	usleep(s->args[2] % 500);
	log.slot = slot.slot;
	return ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log) ? -errno : 0;
}

static int host_route_any(const struct step *s)
{
	int fd = s->args[2] & 1 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	int ret = host_route(&vm, s->args[0] % 1030,
			     s->args[1] & 1 ? KVM_HCALL_VCPU_ANY
					    : (s->args[1] >> 1) % vm_vcpus,
			     fd);

	if (fd >= 0)
		close(fd);
	return ret;
}

static int host_policy(const struct step *s)
{
	uint32_t class_id = 1 + s->args[0] % 8;
	int ret;

	ret = vm_policy(&vm, class_id,
			s->args[1] & 1 ? KVM_HCALL_DENY : KVM_HCALL_FORWARD, 0);
	usleep(s->args[2] % 2000);
	NEED(!vm_policy(&vm, class_id, KVM_HCALL_HANDLE, 0));
	return ret;
}

static int host_resize(const struct step *s)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_BLOCK };

	if (s->args[0] & 1) {
		resize.class_id = HCALL_CLASS_CONSOLE;
		resize.columns = s->args[1];
		resize.rows = s->args[2] & 0x7fff;
	} else {
		NEED(!ftruncate(disk_fd[DISK],
				(DISK_SECTORS / 2 + s->args[1] % DISK_SECTORS) *
					512));
	}
	return ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize) ? -errno : 0;
}

static int host_link(const struct step *s)
{
	struct kvm_hcall_link link = { .flags = s->args[0] & 1,
				       .unit = s->args[1] & 1,
				       .mtu = 68 + s->args[2] % 2000 };

	return ioctl(vm.hcall, KVM_HCALL_LINK, &link) ? -errno : 0;
}

static int host_stats(const struct step *s)
{
	struct kvm_hcall_stats stats = vm_stats(&vm, s->args[0] & 255);

	if (stats.errors > stats.calls || stats.denied > stats.calls)
		fault("class %u: %llu calls, %llu errors", stats.class_id,
		      stats.calls, stats.errors);
	return 0;
}

static void send_msi(uint32_t vcpu, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | vcpu << 12,
			       .data = data };

	NEED(ioctl(vm.fd, KVM_SIGNAL_MSI, &msi) >= 0);
}

#define MSI_NMI 0x400u

static int disturb(const struct program *p, const struct step *s)
{
	uint32_t vcpu = s->args[0] % p->callers;

	switch (s->nr) {
	case HOST_RAISE:
		return host_raise(&vm, s->args[0] % 1030);
	case HOST_ROUTE:
		return host_route_any(s);
	case HOST_REPLACE:
		return host_replace(s);
	case HOST_RESIZE:
		return host_resize(s);
	case HOST_LINK:
		return host_link(s);
	case HOST_POLICY:
		return host_policy(s);
	case HOST_SLOT:
	case HOST_MOVE:
		return host_slot(s, s->nr == HOST_MOVE);
	case HOST_LOG:
		return host_log(s);
	case HOST_SIGNAL:
		if (!callers[vcpu].done)
			pthread_kill(callers[vcpu].thread, SIGUSR1);
		return 0;
	case HOST_NMI:
		send_msi(vcpu, MSI_NMI);
		return 0;
	case HOST_MSI:
		send_msi(vcpu, 32 + s->args[1] % 224);
		return 0;
	case HOST_CALL_32:
		return host_call(p, s, MODE_32);
	case HOST_CALL_USER:
		return host_call(p, s, MODE_64_USER);
	default:
		return host_stats(s);
	}
}

/* Longer in one step means that it sleeps, or that the emulator has other things to do. */
#define SLEEP_NS 20000000u
/* An NMI ends all sleep, but for who is in the handler of another. */
#define WAKE_NS	 70000000u
#define HANG_NS	 60000000000u

static void look_after(const struct program *p)
{
	uint64_t now = now_ns();

	for (uint32_t i = 0; i < p->callers; i++) {
		struct caller *c = &callers[i];
		uint32_t at = stream_of(i)->at;

		if (c->done)
			continue;
		if (at != c->at) {
			c->at = at;
			c->at_ns = now;
			c->wake_ns = now + SLEEP_NS;
		}
		if (now < c->wake_ns)
			continue;
		c->wake_ns = now + SLEEP_NS;
		figures->kicks++;
		if (now - c->at_ns < WAKE_NS) {
			send_msi(i, MSI_NMI);
		} else {
			c->wake = true;
			pthread_kill(c->thread, SIGUSR1);
		}
		if (now - c->at_ns > HANG_NS) {
			fault("vCPU %u hangs in its step %u, call %#llx", i, at,
			      (unsigned long long)stream_of(i)->steps[at].nr);
			fflush(stdout);
			_exit(3);
		}
	}
}

/* ---- A program ------------------------------------------------------------------- */

static void load(const struct program *p, const bool *keep)
{
	uint8_t *base = slots[SLOTS - 1].host;

	NEED(p->data_bytes <= STREAMS + STREAMS_BYTES - STREAM_DATA);
	memcpy(base + (STREAM_DATA - STREAMS), p->data, p->data_bytes);
	for (uint32_t i = 0; i <= p->callers; i++) {
		struct stream *s = stream_of(i);

		memset(s, 0, sizeof(*s));
		s->repeat = i == p->callers;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		const struct step *from = &p->steps[i];
		struct stream *s = stream_of(from->who == REWRITER ? p->callers
								   : from->who);
		struct step *to;

		if (from->who == HOST || (keep && !keep[i]))
			continue;
		NEED(s->count < MAX_STEPS);
		to = &s->steps[s->count++];
		*to = *from;
		if (to->kind == STEP_STORE)
			to->args[1] += STREAM_DATA;
	}
}

/* The steps in the guest are what they were. */
static void streams_check(const struct program *p, const bool *keep)
{
	uint32_t at[MAX_VCPUS] = {};

	if (memcmp(slots[SLOTS - 1].host + (STREAM_DATA - STREAMS), p->data,
		   p->data_bytes))
		fault("memory that no call was given has changed");
	for (uint32_t i = 0; i < p->count; i++) {
		struct step want = p->steps[i];
		uint32_t who = want.who == REWRITER ? p->callers : want.who;

		if (want.who == HOST || (keep && !keep[i]))
			continue;
		if (want.kind == STEP_STORE)
			want.args[1] += STREAM_DATA;
		if (memcmp(&stream_of(who)->steps[at[who]++], &want,
			   sizeof(want))) {
			fault("a step that no call was given has changed");
			return;
		}
	}
}

/* Is a result possible at all? */
static void result_check(const struct step *s, int64_t result)
{
	unsigned int call = call_find(s->nr);
	int class_id = stats_class(s->nr), error = 0;

	if (class_id < 0)
		class_id = 8;
	if (result < 0) {
		figures->bad[call]++;
		for (int i = 1; i < ERRORS; i++)
			error = result == -errors[i] ? i : error;
		figures->errors[class_id][error]++;
		if (!error)
			fault("call %#llx: %lld is no error of the table",
			      (unsigned long long)s->nr, (long long)result);
		return;
	}
	figures->good[call]++;
	if (call < calls_nr && calls[call].count &&
	    (uint64_t)result > s->args[calls[call].count - 1])
		fault("%s: the answer is %lld, more than %#llx",
		      calls[call].name, (long long)result,
		      (unsigned long long)s->args[calls[call].count - 1]);
}

/* Results, and whether what the host has counted adds up. */
static void results_check(const struct program *p)
{
	uint64_t made[9], failed[9];

	memcpy(made, host_calls, sizeof(made));
	memcpy(failed, host_errors, sizeof(failed));
	for (uint32_t i = 0; i < p->callers; i++) {
		struct stream *s = stream_of(i);
		const int64_t *results = (int64_t *)((uint8_t *)s + RESULTS);

		for (uint32_t k = 0; k < s->count; k++) {
			int class_id;

			if (s->steps[k].kind != STEP_CALL)
				continue;
			figures->exits++;
			result_check(&s->steps[k], results[k]);
			class_id = stats_class(s->steps[k].nr);
			if (class_id >= 0) {
				made[class_id]++;
				failed[class_id] += results[k] < 0;
			}
		}
	}
	for (int i = 0; i < 9; i++) {
		struct kvm_hcall_stats stats = vm_stats(&vm, i);

		figures->calls += stats.calls;
		if (stats.calls < made[i] || stats.errors > stats.calls ||
		    (p->plain && stats.calls != made[i]))
			fault("class %d: %llu calls were counted, not %llu", i,
			      stats.calls, (unsigned long long)made[i]);
		if (p->plain && i != HCALL_CLASS_EVENT &&
		    stats.errors != failed[i])
			fault("class %d: %llu errors were counted, not %llu", i,
			      stats.errors, (unsigned long long)failed[i]);
	}
}

static int64_t last_call(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			 uint64_t d)
{
	struct vcpu *vcpu = &vm.vcpu[vm_vcpus - 1];

	vcpu_mode(vcpu, MODE_64);
	call_set(vcpu, nr, a, b, c, d);
	return call_run(vcpu);
}

#define LOW_FREE 0x100000u /* in LOW: no code, table or stack is there */

/* Everything is still served, and what nobody may write to is as it was. */
static void end_check(const struct program *p, const bool *keep)
{
	uint8_t sectors[512 * READONLY_SECTORS];

	for (int i = 0; i < 8; i++) {
		if (last_call(HCALL_SYS_PROBE, i, 0, 0, 0) <= 0)
			fault("class %d has gone", i);
	}
	NEED(pread(disk_fd[DISK_READONLY], sectors, sizeof(sectors), 0) ==
	     sizeof(sectors));
	for (uint32_t i = 0; i < READONLY_SECTORS; i++) {
		uint64_t word = (i + 1) * 0x9e3779b97f4a7c15u;

		if (memcmp(sectors + i * 512, &word, 8)) {
			fault("sector %u of the read-only disk has changed", i);
			break;
		}
	}
	for (int i = DISK_DIRECT; i <= DISK_FULL; i++) {
		uint32_t want =
			i == DISK_READONLY ? READONLY_SECTORS : DISK_SECTORS;

		if (lseek(disk_fd[i], 0, SEEK_END) != want * 512)
			fault("the file of disk %d has another size", i);
	}
	/* Batches and queues may still be at work on RAM, but on none of LOW. */
	if (last_call(HCALL_BLOCK_READ, DISK_READONLY, 0, LOW + LOW_FREE,
		      READONLY_SECTORS) != READONLY_SECTORS)
		fault("the read-only disk cannot be read");
	if (memcmp(sectors, vm.low + LOW_FREE, sizeof(sectors)))
		fault("the read-only disk is read wrong");
	if (differs(vm.rom, ROM_BYTE, ROM_BYTES) < ROM_BYTES)
		fault("ROM was written to");
	if (differs(other.ram2, CANARY, RAM2_BYTES) < RAM2_BYTES)
		fault("the memory of another VM was written to");
	guards_check(&vm, "this VM");
	guards_check(&other, "the other VM");
	low_check();
	streams_check(p, keep);
}

static void vm_start(const struct program *p)
{
	vm_vcpus = p->callers + 2;
	vm_new(&vm);
	for (int i = 0; i < SLOTS; i++) {
		vm_slot(&vm, slots[i].slot, slots[i].gpa, slots[i].host,
			slots[i].bytes, 0);
		if (i < MOVABLE)
			memset(slots[i].host, 0, slots[i].bytes);
	}
	vm_guest(&vm);
	memset(vm.rom, ROM_BYTE, ROM_BYTES);
	guards_set(&vm);
	low_save();
	vm_bind(&vm);
	NEED(!ftruncate(disk_fd[DISK], DISK_SECTORS * 512));
	for (int i = 0; i < DEVICES; i++)
		NEED(device_add(i) == (int)device_unit(i));
}

void run_program(const struct program *p, const bool *keep)
{
	uint64_t state = p->seed ^ p->number;
	uint32_t host = 0, done;
	int rewriter = p->rewriter ? 1 : 0;

	memset(host_calls, 0, sizeof(host_calls));
	memset(host_errors, 0, sizeof(host_errors));
	devices_feed(&state);
	vm_start(p);
	load(p, keep);
	for (uint32_t i = 0; i < p->callers + rewriter; i++) {
		struct caller *c = &callers[i];

		*c = (struct caller){ .vcpu = &vm.vcpu[i],
				      .at_ns = now_ns(),
				      .wake_ns = now_ns() + SLEEP_NS };
		guest_set(c->vcpu, guest_interpret,
			  STREAMS + (uint64_t)i * STREAM_BYTES, p->interrupts);
	}
	for (uint32_t i = 0; i < p->callers + rewriter; i++)
		NEED(!pthread_create(&callers[i].thread, NULL, caller_thread,
				     &callers[i]));
	do {
		if (rnd(&state) % 4 == 0)
			devices_feed(&state);
		for (; host < p->count; host++) {
			const struct step *s = &p->steps[host];

			if (s->who != HOST || (keep && !keep[host]))
				continue;
			figures->disturbed[s->nr]++;
			if (disturb(p, s))
				figures->failed[s->nr]++;
			host++;
			break;
		}
		look_after(p);
		usleep(2000 + rnd(&state) % 6000);
		done = 0;
		for (uint32_t i = 0; i < p->callers; i++)
			done += callers[i].done;
	} while (done < p->callers);
	stream_of(p->callers)->repeat = 0;
	for (uint32_t i = 0; i < p->callers + rewriter; i++)
		NEED(!pthread_join(callers[i].thread, NULL));
	if (!figures->fault)
		results_check(p);
	end_check(p, keep);
	vm_free(&vm);
}

void run_prepare(void)
{
	struct rlimit files = { 8192, 8192 };

	NEED(!setrlimit(RLIMIT_NOFILE, &files));
	harmless(SIGUSR1);
	for (int i = 0; i < SLOTS; i++)
		slots[i].host = vm_pages(slots[i].bytes);
	low_copy = malloc(0x80000);
	NEED(low_copy);
	devices_open();
	vm_vcpus = 1;
	vm_new(&other);
	guards_set(&other);
	memset(other.ram2, CANARY, RAM2_BYTES);
	vm_bind(&other);
	vm_disk(&other, "d", make_disk("other", 65536), 0);
}
