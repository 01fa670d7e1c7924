// SPDX-License-Identifier: GPL-2.0
/*
 * Class 7, virtio: the transport by which virtio's drivers find their devices and
 * queues (Virtual I/O Device 1.2, 3.1 and 4), as virtio-ccw does with channel
 * commands.
 *
 * A device's front is made by the first call that changes anything or reads the
 * configuration, and stays until the device goes.  A queue runs in the thread of
 * the vCPU that kicks, see virtio/queue.c.
 *
 * Locks: front->lock, then queue->lock, then workers->start or those of services.
 */
#include <linux/cleanup.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio/virtio.h"

/* Of all kinds. */
#define VIRTIO_FEATURES                                                       \
	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT_ULL(VIRTIO_RING_F_EVENT_IDX))

#define VIRTIO_STATUS                                           \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
	 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_FAILED)

/**
 * struct target - what a call's dev argument means
 * @virtio:  the kind
 * @dev:     the device; NULL: the one that is none
 * @slot:    where its front is
 * @unit:    its number
 * @channel: its own
 */
struct target {
	const struct hcall_virtio *virtio;
	struct hcall_dev *dev;
	struct hcall_front **slot;
	u32 unit;
	u32 channel;
};

/* Return: 0, -HCALL_ENODEV or -HCALL_EOPNOTSUPP. */
static int virtio_target(const struct hcall_call *call, struct target *target)
{
	const struct hcall_service *service;
	u64 class_id = call->args[0] >> 8;

	/* To wait for workers is nothing that a worker can do. */
	if (call->door == HCALL_DOOR_ASYNC)
		return -HCALL_EOPNOTSUPP;
	if (class_id > 255)
		return -HCALL_ENODEV;
	service = hcall_service(array_index_nospec(class_id, 256));
	if (!service || !service->virtio)
		return -HCALL_ENODEV;
	target->virtio = service->virtio;
	target->unit = call->args[0] & 255;
	if (service->add) {
		target->dev = hcall_dev(call, service->index, target->unit);
		if (!target->dev)
			return -HCALL_ENODEV;
		target->slot = &target->dev->front;
		target->channel = target->dev->channel;
		return 0;
	}
	if (target->unit)
		return -HCALL_ENODEV;
	target->dev = NULL;
	target->slot = &call->vm->rng;
	target->channel = hcall_channel(HCALL_INDEX_VIRTIO, 0);
	return 0;
}

static u64 target_features(const struct target *target)
{
	u64 features = VIRTIO_FEATURES;

	if (target->virtio->features)
		features |= target->virtio->features(target->dev);
	return features;
}

static void front_forget(struct hcall_front *front)
{
	front->features = 0;
	front->select = 0;
	front->writeback = true;
	WRITE_ONCE(front->pairs, 1);
}

static struct hcall_front *front_new(struct hcall_vm *vm,
				     const struct target *target)
{
	struct hcall_front *front, *other;
	u32 queues = target->virtio->queues(vm, target->dev);

	front = kzalloc(struct_size(front, queue, queues), GFP_KERNEL_ACCOUNT);
	if (!front)
		return NULL;
	front->queues = queues;
	front->vm = vm;
	front->virtio = target->virtio;
	front->unit = target->unit;
	front->channel = target->channel;
	if (target->dev) {
		front->waits = target->dev->waits;
		memcpy(front->name, target->dev->name, sizeof(front->name));
	}
	mutex_init(&front->lock);
	front_forget(front);
	other = cmpxchg(target->slot, NULL, front);
	if (other) {
		mutex_destroy(&front->lock);
		kfree(front);
		front = other;
	}
	return front;
}

/* From now on nothing more begins. */
static void front_stop(struct hcall_front *front)
{
	u32 i;

	for (i = 0; i < front->queues; i++) {
		if (front->queue[i])
			hcall_queue_stop(front->queue[i]);
	}
}

/*
 * No worker has a request of it in hand, nor will touch it because of one.  Under
 * the lock, see hcall_work_queue().
 */
static bool front_idle(const struct hcall_front *front)
{
	guard(spinlock_irqsave)(&front->vm->workers.lock);
	return !atomic_read_acquire(&front->inflight);
}

/* What the kind does about it.  Return: 0 or -HCALL_E*. */
static s64 front_choose(struct hcall_front *front, struct kvm_vcpu *vcpu,
			u64 features)
{
	struct hcall_call call = {
		.vm = front->vm,
		.vcpu = vcpu,
		.door = HCALL_DOOR_QUEUE,
	};

	if (!front->virtio->choose)
		return 0;
	return front->virtio->choose(front, &call, features);
}

/* Return: 0; -HCALL_EINTR or -HCALL_EAGAIN: call again. */
static s64 front_reset(struct hcall_front *front, struct kvm_vcpu *vcpu)
{
	s64 ret;

	lockdep_assert_held(&front->lock);
	/* No wake-up starts a queue again. */
	atomic_andnot(VIRTIO_CONFIG_S_DRIVER_OK, &front->status);
	/* Nor does the guest set one up, should we not get to the end. */
	atomic_or(VIRTIO_CONFIG_S_NEEDS_RESET, &front->status);
	front_stop(front);
	if (wait_event_interruptible(front->vm->workers.idle, front_idle(front)))
		return -HCALL_EINTR;
	ret = front_choose(front, vcpu, 0);
	if (ret == -HCALL_EINTR || ret == -HCALL_EAGAIN)
		return ret;
	front_forget(front);
	atomic_set(&front->status, 0);
	return 0;
}

/**
 * hcall_front_stop() - have no request on the way
 * @front: that no call can find any more; or NULL
 *
 * Context: not on a worker; waits for requests that workers have or will have, and
 * for those that the device's file has.
 */
void hcall_front_stop(struct hcall_front *front)
{
	if (!front)
		return;
	front_stop(front);
	wait_event(front->vm->workers.idle, front_idle(front));
}

/**
 * hcall_front_free() - the device goes
 * @front: hcall_front_stop() was called, and no file wakes it any more; or NULL
 *
 * Context: not on a worker; may sleep.
 */
void hcall_front_free(struct hcall_front *front)
{
	u32 i;

	if (!front)
		return;
	for (i = 0; i < front->queues; i++) {
		if (!front->queue[i])
			continue;
		hcall_work_cancel(front->vm, &front->queue[i]->work);
		mutex_destroy(&front->queue[i]->lock);
		kvfree(front->queue[i]);
	}
	mutex_destroy(&front->lock);
	kfree(front);
}

/**
 * hcall_front_wake() - there is something new on the host's side
 * @front: of the device; or NULL
 * @i:     for which of its queues; another one is there for it if it is to the
 *	   guest (even) and its pair is not in use.  From the guest each is on its own
 *
 * Context: any.
 * Return: true: the queue is looked at; false: it has none, tell the guest.
 */
bool hcall_front_wake(struct hcall_front *front, u32 i)
{
	struct hcall_queue *queue;

	if (!front ||
	    !(atomic_read_acquire(&front->status) & VIRTIO_CONFIG_S_DRIVER_OK))
		return false;
	if (i % 2 == 0)
		i %= 2 * READ_ONCE(front->pairs);
	queue = i < front->queues ? READ_ONCE(front->queue[i]) : NULL;
	if (queue && READ_ONCE(queue->ready))
		hcall_work_queue(front->vm, &queue->work);
	return true;
}

/* ---- Calls ----------------------------------------------------------------- */

/* The front that a call means, locked.  Return: ERR_PTR() of -HCALL_E*. */
static struct hcall_front *front_lock(struct hcall_vm *vm,
				      const struct target *target)
{
	struct hcall_front *front = READ_ONCE(*target->slot);

	if (!front)
		front = front_new(vm, target);
	if (!front)
		return ERR_PTR(-HCALL_ENOMEM);
	if (mutex_lock_interruptible(&front->lock))
		return ERR_PTR(-HCALL_EINTR);
	return front;
}

static s64 virtio_device(struct hcall_call *call)
{
	struct hcall_virtio_device info = {};
	struct hcall_front *front;
	struct target target;
	u64 bytes = call->args[2];
	int ret;

	if (bytes < sizeof(info))
		return -HCALL_EINVAL;
	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	info.device_id = target.virtio->device_id;
	/* As many as there were vCPUs when it was first used. */
	front = READ_ONCE(*target.slot);
	info.queues = front ? front->queues :
			      target.virtio->queues(call->vm, target.dev);
	info.max_size = HCALL_VIRTIO_MAX_SIZE;
	info.config_bytes = target.virtio->config_bytes;
	info.features = target_features(&target);
	info.channel = target.channel;
	if (hcall_write(call->vm, call->args[1], &info, sizeof(info)))
		return -HCALL_EFAULT;
	call->bytes = sizeof(info);
	return sizeof(info);
}

static s64 status_set(struct hcall_front *front, struct kvm_vcpu *vcpu,
		      u32 status)
{
	u32 is = atomic_read(&front->status);
	/* What the host has set may be written back, or not. */
	u32 was = is & VIRTIO_STATUS;
	u32 new = status & ~is;
	s64 ret = 0;
	u32 i;

	lockdep_assert_held(&front->lock);
	if (!status)
		return front_reset(front, vcpu);
	/* Bits only come, and only after those before them. */
	if (was & ~status || new & ~VIRTIO_STATUS ||
	    (new & VIRTIO_CONFIG_S_FEATURES_OK &&
	     !(status & VIRTIO_CONFIG_S_DRIVER)) ||
	    (new & VIRTIO_CONFIG_S_DRIVER_OK &&
	     !(status & VIRTIO_CONFIG_S_FEATURES_OK)))
		return -HCALL_EINVAL;
	if (new & VIRTIO_CONFIG_S_FEATURES_OK) {
		if (hcall_front_has(front, VIRTIO_F_VERSION_1))
			ret = front_choose(front, vcpu, front->features);
		else
			ret = -HCALL_EINVAL;
		if (ret == -HCALL_EINTR || ret == -HCALL_EAGAIN)
			return ret;
		if (ret)
			new &= ~(VIRTIO_CONFIG_S_FEATURES_OK |
				 VIRTIO_CONFIG_S_DRIVER_OK);
	}
	if (new & VIRTIO_CONFIG_S_DRIVER_OK) {
		ret = hcall_workers_start(front->vm);
		if (ret)
			return ret;
	}
	atomic_or(new, &front->status);
	/* What was put there before, and what the host has already. */
	for (i = 0; new & VIRTIO_CONFIG_S_DRIVER_OK && i < front->queues; i++) {
		if (front->queue[i] && front->queue[i]->ready)
			hcall_work_queue(front->vm, &front->queue[i]->work);
	}
	return atomic_read(&front->status);
}

static s64 virtio_status(struct hcall_call *call)
{
	u64 status = call->args[1];
	struct hcall_front *front;
	struct target target;
	s64 ret;

	if (status > HCALL_VIRTIO_STATUS_GET)
		return -HCALL_EINVAL;
	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	if (status == HCALL_VIRTIO_STATUS_GET) {
		front = READ_ONCE(*target.slot);
		return front ? atomic_read(&front->status) : 0;
	}
	front = front_lock(call->vm, &target);
	if (IS_ERR(front))
		return PTR_ERR(front);
	ret = status_set(front, call->vcpu, status);
	mutex_unlock(&front->lock);
	return ret;
}

static s64 virtio_features(struct hcall_call *call)
{
	u64 features = call->args[1];
	struct hcall_front *front;
	struct target target;
	u32 status;
	int ret;

	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	if (features & ~target_features(&target))
		return -HCALL_EINVAL;
	front = front_lock(call->vm, &target);
	if (IS_ERR(front))
		return PTR_ERR(front);
	status = atomic_read(&front->status);
	if (status & VIRTIO_CONFIG_S_DRIVER &&
	    !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		WRITE_ONCE(front->features, features);
	else
		ret = -HCALL_EINVAL;
	mutex_unlock(&front->lock);
	return ret;
}

static int front_add_queue(struct hcall_front *front, u32 i,
			   const struct hcall_virtio_queue *info)
{
	u32 status = atomic_read(&front->status);
	struct hcall_queue *queue;

	lockdep_assert_held(&front->lock);
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET) ||
	    i >= front->queues)
		return -HCALL_EINVAL;
	i = array_index_nospec(i, front->queues);
	queue = front->queue[i];
	if (!queue) {
		queue = kvzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);
		if (!queue)
			return -HCALL_ENOMEM;
		hcall_queue_init(queue, front, i);
		/* Who finds it without front->lock finds it made. */
		smp_store_release(&front->queue[i], queue);
	}
	return hcall_queue_set(queue, info);
}

static s64 virtio_queue(struct hcall_call *call)
{
	u64 queue = call->args[1], bytes = call->args[3];
	struct hcall_virtio_queue info;
	struct hcall_front *front;
	struct target target;
	int ret;

	if (bytes < sizeof(info) || queue > U32_MAX)
		return -HCALL_EINVAL;
	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	if (hcall_read(call->vm, call->args[2], &info, sizeof(info)))
		return -HCALL_EFAULT;
	front = front_lock(call->vm, &target);
	if (IS_ERR(front))
		return PTR_ERR(front);
	ret = front_add_queue(front, queue, &info);
	mutex_unlock(&front->lock);
	return ret;
}

static s64 virtio_kick(struct hcall_call *call)
{
	u64 i = call->args[1], flags = call->args[2];
	struct hcall_front *front;
	struct hcall_queue *queue;
	struct target target;
	int ret;

	if (flags & ~(u64)HCALL_KICK_TELL)
		return -HCALL_EINVAL;
	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	front = READ_ONCE(*target.slot);
	if (!front || i >= front->queues)
		return -HCALL_EINVAL;
	/* Against front_add_queue(). */
	queue = smp_load_acquire(&front->queue[array_index_nospec(i, front->queues)]);
	if (!queue)
		return -HCALL_EINVAL;
	/* DRIVER_OK will look at all queues. */
	if (!(atomic_read(&front->status) & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	return hcall_queue_kick(queue, call->vcpu, flags & HCALL_KICK_TELL);
}

/* A part of the configuration.  Return: 0 or -HCALL_EINVAL. */
static int config_range(const struct target *target, u64 offset, u64 bytes)
{
	u32 all = target->virtio->config_bytes;

	return bytes && offset < all && bytes <= all - offset ? 0 : -HCALL_EINVAL;
}

static s64 virtio_config_read(struct hcall_call *call)
{
	u64 offset = call->args[1], bytes = call->args[3];
	u8 config[HCALL_VIRTIO_CONFIG_BYTES] = {};
	struct hcall_front *front;
	struct target target;
	int ret;

	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	ret = config_range(&target, offset, bytes);
	if (ret)
		return ret;
	front = front_lock(call->vm, &target);
	if (IS_ERR(front))
		return PTR_ERR(front);
	target.virtio->config(front, target.dev, config);
	mutex_unlock(&front->lock);
	offset = array_index_nospec(offset, sizeof(config));
	if (hcall_write(call->vm, call->args[2], config + offset, bytes))
		return -HCALL_EFAULT;
	call->bytes = bytes;
	return 0;
}

static s64 virtio_config_write(struct hcall_call *call)
{
	u64 offset = call->args[1], bytes = call->args[3];
	u8 config[HCALL_VIRTIO_CONFIG_BYTES];
	struct hcall_front *front;
	struct target target;
	int ret;

	ret = virtio_target(call, &target);
	if (ret)
		return ret;
	ret = config_range(&target, offset, bytes);
	if (ret)
		return ret;
	if (!target.virtio->configure)
		return -HCALL_EINVAL;
	if (hcall_read(call->vm, call->args[2], config, bytes))
		return -HCALL_EFAULT;
	front = front_lock(call->vm, &target);
	if (IS_ERR(front))
		return PTR_ERR(front);
	ret = target.virtio->configure(front, offset, bytes, config) ?
		      0 : -HCALL_EINVAL;
	mutex_unlock(&front->lock);
	return ret;
}

const struct hcall_service hcall_virtio = {
	.class_id = HCALL_CLASS_VIRTIO,
	.index = HCALL_INDEX_VIRTIO,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_DEVICE)] = virtio_device,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_STATUS)] = virtio_status,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_FEATURES)] = virtio_features,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_QUEUE)] = virtio_queue,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_KICK)] = virtio_kick,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_CONFIG_READ)] = virtio_config_read,
		[HCALL_NR_FUNCTION(HCALL_VIRTIO_CONFIG_WRITE)] = virtio_config_write,
	},
	.functions = HCALL_FN_BIT(HCALL_VIRTIO_DEVICE) |
		     HCALL_FN_BIT(HCALL_VIRTIO_STATUS) |
		     HCALL_FN_BIT(HCALL_VIRTIO_FEATURES) |
		     HCALL_FN_BIT(HCALL_VIRTIO_QUEUE) |
		     HCALL_FN_BIT(HCALL_VIRTIO_KICK) |
		     HCALL_FN_BIT(HCALL_VIRTIO_CONFIG_READ) |
		     HCALL_FN_BIT(HCALL_VIRTIO_CONFIG_WRITE),
};
