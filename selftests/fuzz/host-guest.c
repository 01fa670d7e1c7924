// SPDX-License-Identifier: GPL-2.0
/*
 * The guest of a process of the host fuzzer: vCPU 0 makes call after call, so that
 * devices are in use while they come and go.  What its calls may be is the guest
 * fuzzer's business; here they are those that use devices, mostly as they should be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"

#define QUEUE  (RAM + 0x1000u) /* struct hcall_virtio_queue */
#define DESC   (RAM + 0x2000u)
#define DRIVER (RAM + 0x3000u)
#define DEVICE (RAM + 0x4000u)
#define HEAD   (RAM + 0x5000u)
#define BATCH  (RAM + 0x6000u)
#define EVENTS (RAM + 0x7000u)
#define DATA   (RAM + 0x10000u)
#define SIZE   16u

#define SET_UP (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define RUNNING \
	(SET_UP | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static struct {
	struct vm *vm;
	struct random random;
	struct beat *beat;
	pthread_t thread;
	atomic_bool stop;
	atomic_bool running;
} guest;

static bool is_error(int64_t result)
{
	static const int16_t errors[] = {
		HCALL_EPERM,	  HCALL_EINTR,	   HCALL_EIO,	 HCALL_E2BIG,
		HCALL_EAGAIN,	  HCALL_ENOMEM,	   HCALL_EFAULT, HCALL_ENODEV,
		HCALL_EINVAL,	  HCALL_ENOSPC,	   HCALL_EROFS,	 HCALL_ERANGE,
		HCALL_EOPNOTSUPP, HCALL_ECANCELED, HCALL_ENOSYS,
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		if (result == -errors[i])
			return true;
	}
	return false;
}

/* One call, or what becomes of it until somebody nudges. */
static int64_t make(uint32_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct vcpu *vcpu = &guest.vm->vcpu[0];
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	snprintf(guest.beat->doing, sizeof(guest.beat->doing), "call %#x", nr);
	guest.beat->begun_ns = now_ns();
	/* It may have been left asleep, or out of a forwarded call. */
	NEED(!ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable));
	call_set(vcpu, nr, a, b, c, d);
	for (;;) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		atomic_fetch_add(&shared->calls, 1);
		if (ret && (errno == EINTR || errno == EAGAIN)) {
			guest.beat->begun_ns = 0;
			return -HCALL_EINTR;
		}
		if (ret) {
			finding("KVM_RUN: %s", strerror(errno));
			return 0;
		}
		if (run->exit_reason != KVM_EXIT_HYPERCALL)
			break;
		/* To the launcher, which answers or lets it be. */
		if (one_in(&guest.random, 2))
			run->hypercall.ret = 0;
	}
	guest.beat->begun_ns = 0;
	if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		return 0;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != GUEST_PORT) {
		finding("the guest left by exit %u after call %#x",
			run->exit_reason, nr);
		return 0;
	}
	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
	if ((int64_t)regs.rax >= 0)
		atomic_fetch_add(&shared->answered, 1);
	else if (!is_error(regs.rax))
		finding("call %#x answered %lld", nr, (long long)regs.rax);
	return regs.rax;
}

/* ---- Virtqueues ----------------------------------------------------------------- */

static void queue_fill(bool disk)
{
	struct vring_desc *desc = at(guest.vm, DESC);
	struct vring_avail *avail = at(guest.vm, DRIVER);
	struct virtio_blk_outhdr *head = at(guest.vm, HEAD);
	struct random *r = &guest.random;

	memset(desc, 0, SIZE * sizeof(*desc));
	for (unsigned int i = 0; i + 2 < SIZE; i += 3) {
		bool in = one_in(r, 2);

		head[i].type = in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		head[i].sector = below(r, 64);
		desc[i] = (struct vring_desc){ HEAD + i * sizeof(*head),
					       sizeof(*head), VRING_DESC_F_NEXT,
					       i + 1 };
		desc[i + 1] = (struct vring_desc){
			DATA + i * 4096, 512u << below(r, 4),
			(in ? VRING_DESC_F_WRITE : 0) | VRING_DESC_F_NEXT, i + 2
		};
		desc[i + 2] = (struct vring_desc){ HEAD + 0x800 + i, 1,
						   VRING_DESC_F_WRITE, 0 };
		/* Others have buffers of one kind in a queue. */
		if (!disk) {
			desc[i] = desc[i + 1];
			desc[i].flags &= ~VRING_DESC_F_NEXT;
		}
		avail->ring[i / 3] = i;
	}
	avail->flags = 0;
	avail->idx = below(r, SIZE / 3 + 1);
}

static void queue_start(uint32_t dev)
{
	struct hcall_virtio_queue *queue = at(guest.vm, QUEUE);
	struct random *r = &guest.random;

	*queue = (struct hcall_virtio_queue){ SIZE,   HCALL_CHANNEL_GUEST,
					      DESC,   DRIVER,
					      DEVICE, 0 };
	make(HCALL_VIRTIO_STATUS, dev, 0, 0, 0);
	make(HCALL_VIRTIO_STATUS, dev, VIRTIO_CONFIG_S_ACKNOWLEDGE, 0, 0);
	make(HCALL_VIRTIO_STATUS, dev, SET_UP, 0, 0);
	make(HCALL_VIRTIO_FEATURES, dev, 1ull << VIRTIO_F_VERSION_1, 0, 0);
	make(HCALL_VIRTIO_STATUS, dev, SET_UP | VIRTIO_CONFIG_S_FEATURES_OK, 0,
	     0);
	queue_fill(dev >> 8 == HCALL_CLASS_BLOCK);
	make(HCALL_VIRTIO_QUEUE, dev, below(r, 3), QUEUE, sizeof(*queue));
	make(HCALL_VIRTIO_STATUS, dev, RUNNING, 0, 0);
}

static void use_queue(uint32_t unit)
{
	static const uint8_t classes[] = { HCALL_CLASS_CONSOLE,
					   HCALL_CLASS_BLOCK, HCALL_CLASS_INPUT,
					   HCALL_CLASS_NET };
	struct random *r = &guest.random;
	uint32_t dev = one_in(r, 8)
			       ? HCALL_VIRTIO_RNG
			       : HCALL_VIRTIO_DEV(classes[below(r, 4)], unit);
	struct vring_avail *avail = at(guest.vm, DRIVER);

	if (one_in(r, 3))
		queue_start(dev);
	avail->idx += below(r, SIZE / 3);
	make(HCALL_VIRTIO_KICK, dev, below(r, 3), below(r, 2), 0);
}

/* ---- Calls ------------------------------------------------------------------------ */

static void batch(uint32_t unit)
{
	struct hcall_op *op = at(guest.vm, BATCH);
	struct random *r = &guest.random;
	uint32_t count = 1 + below(r, 8);

	memset(op, 0, count * sizeof(*op));
	for (uint32_t i = 0; i < count; i++) {
		op[i].number =
			one_in(r, 2) ? HCALL_BLOCK_READ : HCALL_BLOCK_FLUSH;
		op[i].args[0] = unit;
		op[i].args[2] = DATA + 4096 * i;
		op[i].args[3] = 8;
	}
	make(HCALL_SYS_BATCH, BATCH, count,
	     one_in(r, 2) ? HCALL_BATCH_ASYNC : 0, HCALL_CHANNEL_GUEST);
}

static void transfer(uint32_t unit)
{
	struct random *r = &guest.random;
	uint64_t gpa = one_in(r, 4) ? RAM2 - 1000 : DATA + below(r, 4096);
	uint32_t flags = one_in(r, 2) ? HCALL_NOWAIT : 0;

	switch (below(r, 9)) {
	case 0:
		make(HCALL_CONSOLE_WRITE, unit, gpa, 1 + below(r, 200), flags);
		break;
	case 1:
		make(HCALL_CONSOLE_READ, unit, gpa, 64, flags);
		break;
	case 2:
		make(HCALL_BLOCK_READ, unit, below(r, 64), gpa,
		     1 + below(r, 64));
		break;
	case 3:
		make(HCALL_BLOCK_WRITE, unit, below(r, 64), gpa,
		     1 + below(r, 64));
		break;
	case 4:
		make(HCALL_BLOCK_WRITE_ZEROES, unit, below(r, 64), 8,
		     below(r, 2));
		break;
	case 5:
		make(HCALL_INPUT_READ, unit, gpa, 8, flags);
		break;
	case 6:
		make(HCALL_NET_SEND, unit, gpa, 60, flags);
		break;
	case 7:
		make(HCALL_NET_RECV, unit, gpa, 1600, flags);
		break;
	default:
		make(HCALL_NET_FEATURES, unit, 0, 0, 0);
	}
}

static void event(void)
{
	struct random *r = &guest.random;
	uint32_t channel = below(r, HCALL_CHANNELS);

	switch (below(r, 7)) {
	case 0:
		make(HCALL_EVENT_PAGE, one_in(r, 2) ? HCALL_NO_PAGE : EVENTS, 0,
		     0, 0);
		break;
	case 1:
		make(HCALL_EVENT_NEXT, 0, 0, 0, 0);
		break;
	case 2:
		make(HCALL_EVENT_WAIT, now_ns() + below(r, 2000000),
		     HCALL_WAIT_DEADLINE, 0, 0);
		break;
	case 3:
		make(HCALL_EVENT_MASK, channel, below(r, 2), 0, 0);
		break;
	case 4:
		make(HCALL_EVENT_ROUTE, channel, 0, below(r, 2) * 0x40, 0);
		break;
	case 5:
		make(HCALL_EVENT_RAISE, channel, 0, 0, 0);
		break;
	default:
		make(HCALL_TIMER_ARM, below(r, 4), now_ns() + 1000000,
		     HCALL_TIMER_MIN_PERIOD, 0);
	}
}

static void *guest_thread(void *arg)
{
	struct random *r = &guest.random;

	(void)arg;
	while (!guest.stop) {
		uint32_t unit = below(r, 4);

		switch (below(r, 8)) {
		case 0:
			use_queue(unit);
			break;
		case 1:
			event();
			break;
		case 2:
			batch(unit);
			break;
		case 3:
			make(HCALL_SYS_DEVICE, unit, DATA, 512, 0);
			break;
		default:
			transfer(unit);
		}
	}
	return NULL;
}

void guest_begin(struct vm *vm, uint64_t seed, struct beat *beat)
{
	guest.vm = vm;
	guest.random.state = seed;
	guest.beat = beat;
	guest.stop = false;
	NEED(!pthread_create(&guest.thread, NULL, guest_thread, NULL));
	guest.running = true;
}

void guest_nudge(void)
{
	if (guest.running)
		pthread_kill(guest.thread, SIGUSR1);
}

void guest_stop(void)
{
	guest.stop = true;
	guest.running = false;
	/* The first may come just before KVM_RUN. */
	while (pthread_tryjoin_np(guest.thread, NULL)) {
		pthread_kill(guest.thread, SIGUSR1);
		usleep(1000);
	}
}
