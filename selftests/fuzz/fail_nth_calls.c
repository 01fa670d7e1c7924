// SPDX-License-Identifier: GPL-2.0
/*
 * Guests' calls with faults in KVM_RUN, or in a worker.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/input.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail_nth.h"

#define OPS    (RAM + 0x1000u)
#define FRAMES (RAM + 0x3000u)
#define INFO   (RAM + 0x4000u)
#define DESC   (RAM + 0x5000u)
#define DRIVER (RAM + 0x6000u)
#define DEVICE (RAM + 0x7000u)
#define HEAD   (RAM + 0x8000u)
#define PAGE   (RAM + 0x9000u)
#define DATA   (RAM + 0x10000u)

#define DISK   0u
#define DIRECT 1u

/* ---- Calls ------------------------------------------------------------------------------------- */

/* A call, with what it finds in memory if that is not zeros. */
struct guest_call {
	const char *name;
	uint32_t nr;
	uint64_t args[4];
	void (*memory)(void);
};

static const struct guest_call *now;
/* Of all calls: those in which the fault was KVM's. */
static unsigned int kvm_errors;

/* KVM_RUN without faults, to the end of the call that may have been made. */
static int64_t finish_call(void)
{
	struct vcpu *vcpu = &vm.vcpu[0];
	struct kvm_regs regs;

	for (int i = 0; i < 5; i++) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0) &&
		    vcpu->run->exit_reason == KVM_EXIT_IO) {
			NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
			return regs.rax;
		}
	}
	/* KVM has given it up: it was not made. */
	return -HCALL_ENOMEM;
}

/* Only KVM_RUN meets the fault. */
static int64_t call_ret;

static int64_t run_call(void)
{
	call_ret = ioctl(vm.vcpu[0].fd, KVM_RUN, 0) ? -errno : 0;
	return 0;
}

static int64_t call_result(void)
{
	uint32_t reason = vm.vcpu[0].run->exit_reason;
	struct kvm_regs regs;

	/* EXIT has done what it should; there is nothing to come back to. */
	if (!call_ret && reason == KVM_EXIT_SYSTEM_EVENT)
		return 0;
	if (call_ret || reason != KVM_EXIT_IO)
		kvm_errors++;
	/*
	 * The call has been made, but KVM could not step over its instruction (with
	 * CPUs that do not say how long it is): the end of the guest.
	 */
	if (!call_ret && reason == KVM_EXIT_INTERNAL_ERROR)
		return 0;
	if (call_ret || reason != KVM_EXIT_IO)
		return finish_call();
	NEED(!ioctl(vm.vcpu[0].fd, KVM_GET_REGS, &regs));
	return regs.rax;
}

static void prepare_call(void)
{
	static const struct hcall_input_event event = { EV_KEY, 2, 1 };
	static const uint8_t frame[60] = { 2, 'n', 't', 'h' };

	pair_fill(&console, "a few bytes", 11);
	pair_fill(&keys, &event, sizeof(event));
	pair_fill(&net, frame, sizeof(frame));
	memset(at(&vm, OPS), 0, DATA - OPS);
	if (now->memory)
		now->memory();
	call_set(&vm.vcpu[0], now->nr, now->args[0], now->args[1], now->args[2],
		 now->args[3]);
}

/* @fresh: it makes what a VM has once; with a new instance for each fault */
static void exhaust_call(const struct guest_call *one, bool fresh)
{
	const struct operation op = {
		.name = one->name,
		.set_up = fresh ? devices_new : nothing,
		.prepare = prepare_call,
		.run = run_call,
		.result = call_result,
		.tear_down = fresh ? devices_free : nothing,
		.nr = one->nr,
	};

	now = one;
	exhaust(&op);
}

static void exhaust_calls(const struct guest_call *one, size_t n, bool fresh)
{
	start();
	kvm_errors = 0;
	if (!fresh)
		devices_new();
	while (n--)
		exhaust_call(one++, fresh);
	if (!fresh)
		devices_free();
	printf("# %u faults were KVM's own\n", kvm_errors);
}

#define CALLS(calls, fresh) \
	exhaust_calls(calls, sizeof(calls) / sizeof(*(calls)), fresh)

static void key_in_memory(void)
{
	struct hcall_input_event event = { EV_LED, LED_NUML, 1 };

	memcpy(at(&vm, DATA), &event, sizeof(event));
}

static void frames_in_memory(void)
{
	struct hcall_frame *frame = at(&vm, FRAMES);

	for (int i = 0; i < 3; i++)
		frame[i] = (struct hcall_frame){ .gpa = DATA + i * 2000,
						 .bytes = 60 };
}

static void room_in_memory(void)
{
	frames_in_memory();
	((struct hcall_frame *)at(&vm, FRAMES))->bytes = 1600;
}

static void raised(void)
{
	NEED(!host_raise(&vm, 700));
}

#define NOWAIT HCALL_NOWAIT

#define CALL_WITH(memory_, name_, nr_, ...)                        \
	{                                                          \
		.name = name_, .nr = nr_, .args = { __VA_ARGS__ }, \
		.memory = memory_                                  \
	}
#define CALL(...) CALL_WITH(NULL, __VA_ARGS__)

void calls_sys(void)
{
	static const struct guest_call calls[] = {
		CALL("PROBE", HCALL_SYS_PROBE, HCALL_CLASS_BLOCK),
		CALL("DEVICE", HCALL_SYS_DEVICE, 1, DATA, 512),
		CALL("EXIT", HCALL_SYS_EXIT, HCALL_EXIT_REBOOT, 7),
		CALL("RANDOM", HCALL_SYS_RANDOM, DATA, 256),
	};

	CALLS(calls, false);
}

void calls_console(void)
{
	static const struct guest_call calls[] = {
		CALL("console WRITE", HCALL_CONSOLE_WRITE, 0, DATA, 99, NOWAIT),
		CALL("console READ", HCALL_CONSOLE_READ, 0, DATA, 99, NOWAIT),
		CALL("PUTC", HCALL_CONSOLE_PUTC, 0, 'x', NOWAIT),
		CALL("GETC", HCALL_CONSOLE_GETC, 0, NOWAIT),
		CALL("SIZE", HCALL_CONSOLE_SIZE, 0),
	};

	CALLS(calls, false);
}

void calls_block(void)
{
	static const struct guest_call calls[] = {
		CALL("block READ", HCALL_BLOCK_READ, DISK, 0, DATA, 8),
		CALL("block READ over memslots", HCALL_BLOCK_READ, DISK, 0,
		     TILES, 128),
		CALL("block READ, direct", HCALL_BLOCK_READ, DIRECT, 0, DATA,
		     8),
		CALL("block READ, direct, by a bounce", HCALL_BLOCK_READ,
		     DIRECT, 0, DATA + 1, 8),
		CALL("block WRITE", HCALL_BLOCK_WRITE, DISK, 0, DATA, 8),
		CALL("block WRITE over memslots", HCALL_BLOCK_WRITE, DISK, 0,
		     TILES, 128),
		CALL("block WRITE, direct", HCALL_BLOCK_WRITE, DIRECT, 0, DATA,
		     8),
		CALL("block WRITE, direct, by a bounce", HCALL_BLOCK_WRITE,
		     DIRECT, 0, DATA + 1, 8),
		CALL("FLUSH", HCALL_BLOCK_FLUSH, DISK),
		CALL("FLUSH, ext4", HCALL_BLOCK_FLUSH, DIRECT),
		CALL("DISCARD", HCALL_BLOCK_DISCARD, DISK, 8, 8),
		CALL("DISCARD, ext4", HCALL_BLOCK_DISCARD, DIRECT, 8, 8),
		CALL("WRITE_ZEROES", HCALL_BLOCK_WRITE_ZEROES, DISK, 8, 8, 0),
		CALL("WRITE_ZEROES, ext4", HCALL_BLOCK_WRITE_ZEROES, DIRECT, 8,
		     8, 0),
		CALL("WRITE_ZEROES, UNMAP", HCALL_BLOCK_WRITE_ZEROES, DISK, 8,
		     8, HCALL_ZEROES_UNMAP),
	};

	CALLS(calls, false);
}

void calls_timer(void)
{
	static const struct guest_call calls[] = {
		CALL("NOW", HCALL_TIMER_NOW, 0),
		CALL("ARM", HCALL_TIMER_ARM, 0, 1ull << 62),
		CALL("CANCEL", HCALL_TIMER_CANCEL, 0),
		CALL("EXPIRED", HCALL_TIMER_EXPIRED, 0),
	};

	CALLS(calls, false);
}

void calls_input(void)
{
	static const struct guest_call calls[] = {
		CALL("input READ", HCALL_INPUT_READ, 0, DATA, 4, NOWAIT),
		CALL_WITH(key_in_memory, "input WRITE", HCALL_INPUT_WRITE, 0,
			  DATA, 1),
		CALL("CONFIG", HCALL_INPUT_CONFIG, 0,
		     HCALL_INPUT_SELECT(HCALL_INPUT_CODES, EV_KEY), DATA, 128),
	};

	CALLS(calls, false);
}

void calls_net(void)
{
	static const struct guest_call calls[] = {
		CALL("SEND", HCALL_NET_SEND, 0, DATA, 60, NOWAIT),
		CALL("RECV", HCALL_NET_RECV, 0, DATA, 1600, NOWAIT),
		CALL_WITH(frames_in_memory, "SENDV", HCALL_NET_SENDV, 0, FRAMES,
			  3, NOWAIT),
		CALL_WITH(room_in_memory, "RECVV", HCALL_NET_RECVV, 0, FRAMES,
			  3, NOWAIT),
		CALL("FEATURES", HCALL_NET_FEATURES, 0),
		CALL("LINK", HCALL_NET_LINK, 0),
	};

	CALLS(calls, false);
}

void calls_event(void)
{
	static const struct guest_call calls[] = {
		CALL("PAGE", HCALL_EVENT_PAGE, PAGE),
		CALL_WITH(raised, "NEXT", HCALL_EVENT_NEXT, 0),
		CALL("WAIT, deadline over", HCALL_EVENT_WAIT, 1,
		     HCALL_WAIT_DEADLINE),
		CALL("MASK", HCALL_EVENT_MASK, 700, 1),
		CALL("ROUTE", HCALL_EVENT_ROUTE, 700),
		CALL("RAISE", HCALL_EVENT_RAISE, 700),
	};

	CALLS(calls, true);
}

/* ---- Calls that go to the host's own devices -------------------------------------------------- */

static int packet = -1;

static void tap_set_up(void)
{
	struct ifreq req = { .ifr_name = "faulty" };
	struct sockaddr_ll address = { .sll_family = AF_PACKET };

	new_vnet_tap();
	NEED(!run_add());
	pairs_new();
	packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	NEED(packet >= 0 && !ioctl(packet, SIOCGIFINDEX, &req));
	address.sll_ifindex = req.ifr_ifindex;
	req.ifr_flags = IFF_UP | IFF_RUNNING;
	NEED(!ioctl(packet, SIOCSIFFLAGS, &req));
	NEED(!bind(packet, (void *)&address, sizeof(address)));
}

static void tap_tear_down(void)
{
	close(packet);
	pairs_free();
	free_taps();
}

static void prepare_tap(void)
{
	static const uint8_t frame[60] = { 2, 'n', 't', 'h', '!', '!', 2 };

	prepare_call();
	NEED(send(packet, frame, sizeof(frame), 0) == sizeof(frame));
}

static void evdev_set_up(void)
{
	new_evdev();
	NEED(!run_add());
}

static void prepare_evdev(void)
{
	const struct input_event events[] = {
		{ .type = EV_KEY, .code = KEY_A, .value = 1 },
		{ .type = EV_SYN },
		{ .type = EV_KEY, .code = KEY_A },
		{ .type = EV_SYN },
	};

	prepare_call();
	NEED(write(uinput, events, sizeof(events)) == sizeof(events));
}

/* They are other ones now, so that the call changes them; soon it may again. */
static void features_pause(void)
{
	for (int i = 0; i < 100; i++) {
		if (call(&vm, HCALL_NET_FEATURES, 0, 0, 0, 0) != -HCALL_EAGAIN)
			break;
		usleep(10000);
	}
	usleep(120000);
}

void host_devices(void)
{
	static const struct guest_call calls[] = {
		CALL("SEND, a tap", HCALL_NET_SEND, 0, DATA, 72, NOWAIT),
		CALL("RECV, a tap", HCALL_NET_RECV, 0, DATA, 1600, NOWAIT),
		CALL_WITH(features_pause, "FEATURES, a tap", HCALL_NET_FEATURES,
			  0, HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM),
		CALL("input READ, evdev", HCALL_INPUT_READ, 0, DATA, 4, NOWAIT),
		CALL_WITH(key_in_memory, "input WRITE, evdev",
			  HCALL_INPUT_WRITE, 0, DATA, 1),
	};
	struct operation op = { .set_up = nothing,
				.prepare = prepare_tap,
				.run = run_call,
				.result = call_result,
				.tear_down = nothing };

	host_devices_needed();
	start();
	tap_set_up();
	for (int i = 0; i < 5; i++) {
		if (i == 3) {
			tap_tear_down();
			evdev_set_up();
			op.prepare = prepare_evdev;
		}
		now = &calls[i];
		op.name = now->name;
		op.nr = now->nr;
		exhaust(&op);
	}
	free_evdev();
}

/* ---- Batches, which elements fail in --------------------------------------------------------- */

static void batch_in_memory(void)
{
	static const uint32_t nr[] = { HCALL_BLOCK_READ, HCALL_BLOCK_FLUSH,
				       HCALL_BLOCK_WRITE };
	struct hcall_op *op = at(&vm, OPS);

	for (int i = 0; i < 3; i++)
		op[i] = (struct hcall_op){ .number = nr[i],
					   .args = { DIRECT, 0, DATA, 8 } };
	op[1].args[2] = op[1].args[3] = 0;
}

/* The first error, of the call or of an element; each is its own function's. */
static int64_t batch_result(void)
{
	volatile struct hcall_op *op = at(&vm, OPS);
	int64_t ret = call_result(), first = ret;

	if (ret >= 0 && now->args[2] & HCALL_BATCH_ASYNC)
		CHECK(channel_fires(&vm, now->args[3]));
	for (int i = 0; i < 3 && ret >= 0; i++) {
		/* The answer itself could not be written: BATCH said so. */
		if (!(op[i].flags & HCALL_OP_DONE)) {
			printf("# element %d is not done, BATCH %lld\n", i,
			       (long long)ret);
			CHECK(now->args[2] & HCALL_BATCH_ASYNC || i >= ret);
			return -HCALL_EFAULT;
		}
		if (op[i].result >= 0)
			continue;
		CHECK(is_documented(op[i].number, op[i].result));
		if (first >= 0)
			first = op[i].result;
	}
	return first;
}

void batches(void)
{
	static const struct guest_call calls[] = {
		CALL_WITH(batch_in_memory, "BATCH", HCALL_SYS_BATCH, OPS, 3),
		CALL_WITH(batch_in_memory, "BATCH, the first asynchronous one",
			  HCALL_SYS_BATCH, OPS, 3, HCALL_BATCH_ASYNC,
			  DOOR_CHANNEL),
	};
	struct operation op = { .set_up = devices_new,
				.prepare = prepare_call,
				.run = run_call,
				.result = batch_result,
				.tear_down = devices_free,
				/* Its errors, and those of its elements. */
				.nr = HCALL_BLOCK_WRITE };

	start();
	for (int i = 0; i < 2; i++) {
		now = &calls[i];
		op.name = now->name;
		exhaust(&op);
	}
}

/* ---- A worker's faults ------------------------------------------------------------------------- */

/* The first of the instance; there is one. */
static pid_t worker(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t tid = 0;

	NEED(dir);
	while (!tid && (entry = readdir(dir))) {
		char file[300], comm[32] = "";
		FILE *f;

		snprintf(file, sizeof(file), "/proc/self/task/%s/comm",
			 entry->d_name);
		f = fopen(file, "r");
		if (f && fgets(comm, sizeof(comm), f) &&
		    !strcmp(comm, "hcall-worker\n"))
			tid = atoi(entry->d_name);
		if (f)
			fclose(f);
	}
	closedir(dir);
	NEED(tid);
	return tid;
}

static void worker_new(void)
{
	devices_new();
	CHECK_EQ(call_door(&vm, DOOR_ASYNC, HCALL_BLOCK_FLUSH, DISK, 0, 0, 0),
		 0);
}

/* By a worker, who has the faults, in its own time. */
static int64_t run_async(void)
{
	volatile struct hcall_op *op = at(&vm, OPS);

	*(struct hcall_op *)op = (struct hcall_op){ .number = now->nr };
	memcpy((void *)op->args, now->args, sizeof(now->args));
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, 1, HCALL_BATCH_ASYNC,
		      DOOR_CHANNEL),
		 1);
	CHECK(channel_fires(&vm, DOOR_CHANNEL));
	/* The answer could not be written. */
	return op->flags & HCALL_OP_DONE ? op->result : -HCALL_EFAULT;
}

void workers(void)
{
	static const struct guest_call calls[] = {
		CALL("a worker's FLUSH", HCALL_BLOCK_FLUSH, DIRECT),
		CALL("a worker's READ", HCALL_BLOCK_READ, DIRECT, 0, DATA + 1,
		     8),
		CALL("a worker's WRITE", HCALL_BLOCK_WRITE, DIRECT, 0, DATA + 1,
		     8),
		CALL("a worker's WRITE_ZEROES", HCALL_BLOCK_WRITE_ZEROES,
		     DIRECT, 8, 8),
	};
	struct operation op = { .set_up = nothing,
				.run = run_async,
				.tear_down = nothing,
				/* FLUSH has no memory but its answer's. */
				.nr = HCALL_BLOCK_WRITE,
				.thread = worker };

	start();
	worker_new();
	for (int i = 0; i < 4; i++) {
		now = &calls[i];
		op.name = now->name;
		exhaust(&op);
	}
	devices_free();
}

/* ---- Virtqueues ---------------------------------------------------------------------------------- */

#define SIZE	8u
#define SET_UP	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define CHOSEN	(SET_UP | VIRTIO_CONFIG_S_FEATURES_OK)
#define RUNNING (CHOSEN | VIRTIO_CONFIG_S_DRIVER_OK)

static uint32_t virtio_dev;
static uint32_t virtio_queue;

static void virtio_status(uint32_t bits)
{
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, virtio_dev, bits, 0, 0), bits);
}

static void queue_in_memory(void)
{
	struct hcall_virtio_queue *queue = at(&vm, INFO);

	*queue = (struct hcall_virtio_queue){ .size = SIZE,
					      .channel = HCALL_CHANNEL_GUEST,
					      .desc = DESC,
					      .driver = DRIVER,
					      .device = DEVICE };
}

static void virtio_driver(void)
{
	virtio_status(0);
	virtio_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_status(SET_UP);
}

static void virtio_featured(void)
{
	virtio_driver();
	CHECK_EQ(call(&vm, HCALL_VIRTIO_FEATURES, virtio_dev,
		      1ull << VIRTIO_F_VERSION_1, 0, 0),
		 0);
}

static void virtio_chosen(void)
{
	virtio_featured();
	virtio_status(CHOSEN);
}

static void virtio_queued(void)
{
	virtio_chosen();
	queue_in_memory();
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, virtio_dev, virtio_queue, INFO,
		      sizeof(struct hcall_virtio_queue)),
		 0);
	memset(at(&vm, DESC), 0, HEAD - DESC);
}

static void virtio_running(void)
{
	virtio_queued();
	virtio_status(RUNNING);
}

/* One request: of a disk to read; of others a buffer of some bytes. */
static void request_in_memory(void)
{
	struct vring_desc *desc = at(&vm, DESC);
	struct vring_avail *avail = at(&vm, DRIVER);
	struct vring_used *used = at(&vm, DEVICE);
	struct virtio_blk_outhdr *head = at(&vm, HEAD);
	bool disk = virtio_dev >> 8 == HCALL_CLASS_BLOCK;
	bool in = disk || !virtio_queue;

	*head = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	desc[0] = (struct vring_desc){ HEAD, sizeof(*head), VRING_DESC_F_NEXT,
				       1 };
	desc[1] = (struct vring_desc){ DATA, disk ? 4096 : 2000,
				       in ? VRING_DESC_F_WRITE : 0, 2 };
	if (disk)
		desc[1].flags |= VRING_DESC_F_NEXT;
	desc[2] = (struct vring_desc){ HEAD + 100, 1, VRING_DESC_F_WRITE, 0 };
	*(uint8_t *)at(&vm, HEAD + 100) = 0xff;
	avail->ring[used->idx % SIZE] = disk ? 0 : 1;
	avail->idx = used->idx + 1;
}

/* prepare_call() clears all that; a queue's place is its own. */
static struct {
	uint8_t bytes[HEAD - DESC];
} rings;

static void prepare_kick(void)
{
	memcpy(&rings, at(&vm, DESC), sizeof(rings));
	prepare_call();
	memcpy(at(&vm, DESC), &rings, sizeof(rings));
	request_in_memory();
}

/* The request is done, well or not; else the device needs a reset. */
static int64_t kick_result(void)
{
	volatile struct vring_used *used = at(&vm, DEVICE);
	volatile struct vring_avail *avail = at(&vm, DRIVER);
	volatile uint8_t *answer = at(&vm, HEAD + 100);
	int64_t ret = call_result();

	if (ret < 0)
		return ret;
	for (int i = 0; i < 5000 && used->idx != avail->idx; i++) {
		if (call(&vm, HCALL_VIRTIO_STATUS, virtio_dev,
			 HCALL_VIRTIO_STATUS_GET, 0, 0) &
		    VIRTIO_CONFIG_S_NEEDS_RESET)
			return -HCALL_EIO;
		/* What needs memory is tried again at the next KICK. */
		if (i % 100 == 99)
			call(&vm, HCALL_VIRTIO_KICK, virtio_dev, virtio_queue,
			     0, 0);
		usleep(1000);
	}
	CHECK_EQ(used->idx, avail->idx);
	if (virtio_dev >> 8 != HCALL_CLASS_BLOCK)
		return 0;
	CHECK(*answer == VIRTIO_BLK_S_OK || *answer == VIRTIO_BLK_S_IOERR);
	return *answer == VIRTIO_BLK_S_OK ? 0 : -HCALL_EIO;
}

static void (*virtio_state)(void);

static void virtio_set_up(void)
{
	devices_new();
	virtio_state();
}

/* With what a driver does to a device that needs a reset, and to none else. */
static void kick_recover(void)
{
	if (call(&vm, HCALL_VIRTIO_STATUS, virtio_dev, HCALL_VIRTIO_STATUS_GET,
		 0, 0) &
	    VIRTIO_CONFIG_S_NEEDS_RESET)
		virtio_running();
}

void kicks(void)
{
	static const struct {
		const char *name;
		uint32_t dev;
		uint32_t queue;
	} devices[] = {
		{ "KICK of a disk", HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, DISK),
		  0 },
		{ "KICK of a disk, direct",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, DIRECT), 0 },
		{ "KICK of a console, in",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_CONSOLE, 0), 0 },
		{ "KICK of a console, out",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_CONSOLE, 0), 1 },
		{ "KICK of an input device",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_INPUT, 0), 0 },
		{ "KICK of a network interface, in",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 0), 0 },
		{ "KICK of a network interface, out",
		  HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 0), 1 },
		{ "KICK of a source of randomness", HCALL_VIRTIO_RNG, 0 },
	};
	struct operation op = { .set_up = virtio_set_up,
				.prepare = prepare_kick,
				.run = run_call,
				.result = kick_result,
				.recover = kick_recover,
				.tear_down = devices_free,
				.nr = HCALL_VIRTIO_KICK };

	start();
	virtio_state = virtio_running;
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		struct guest_call kick = { .name = devices[i].name,
					   .nr = HCALL_VIRTIO_KICK,
					   .args = { devices[i].dev,
						     devices[i].queue } };

		virtio_dev = devices[i].dev;
		virtio_queue = devices[i].queue;
		now = &kick;
		op.name = kick.name;
		exhaust(&op);
	}
}

void calls_virtio(void)
{
	static const struct {
		struct guest_call call;
		void (*state)(void); /* which it is in before */
	} calls[] = {
#define DEV  HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, DISK)
#define KEYS HCALL_VIRTIO_DEV(HCALL_CLASS_INPUT, 0)
		{ CALL("virtio DEVICE", HCALL_VIRTIO_DEVICE, DEV, DATA, 64),
		  nothing },
		{ CALL("the first STATUS", HCALL_VIRTIO_STATUS, DEV,
		       VIRTIO_CONFIG_S_ACKNOWLEDGE),
		  nothing },
		{ CALL("virtio FEATURES", HCALL_VIRTIO_FEATURES, DEV,
		       1ull << VIRTIO_F_VERSION_1),
		  virtio_driver },
		{ CALL("STATUS, FEATURES_OK", HCALL_VIRTIO_STATUS, DEV, CHOSEN),
		  virtio_featured },
		{ CALL_WITH(queue_in_memory, "QUEUE", HCALL_VIRTIO_QUEUE, DEV,
			    0, INFO, sizeof(struct hcall_virtio_queue)),
		  virtio_chosen },
		{ CALL("STATUS, DRIVER_OK", HCALL_VIRTIO_STATUS, DEV, RUNNING),
		  virtio_queued },
		{ CALL("a reset", HCALL_VIRTIO_STATUS, DEV, 0),
		  virtio_running },
		{ CALL("CONFIG_READ", HCALL_VIRTIO_CONFIG_READ, DEV, 0, DATA,
		       8),
		  virtio_running },
		{ CALL("the first CONFIG_WRITE", HCALL_VIRTIO_CONFIG_WRITE,
		       KEYS, 0, DATA, 1),
		  nothing },
#undef DEV
#undef KEYS
	};
	struct operation op = { .set_up = virtio_set_up,
				.prepare = prepare_call,
				.run = run_call,
				.result = call_result,
				.tear_down = devices_free };

	start();
	virtio_dev = HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, DISK);
	virtio_queue = 0;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		now = &calls[i].call;
		op.name = now->name;
		op.nr = now->nr;
		virtio_state = calls[i].state;
		exhaust(&op);
	}
}
