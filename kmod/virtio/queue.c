// SPDX-License-Identifier: GPL-2.0
/*
 * Split virtqueues (Virtual I/O Device 1.2, 2.7), the device's side.
 *
 * Whoever kicks runs the queue to its end in his own thread, under its lock:
 * takes a request, has it answered, writes to the used ring, and takes the next.
 * A request that would have to wait is copied and goes to a worker, and so is
 * answered whenever it is done.
 *
 * The rings are read with the launcher's addresses, which are looked up for each
 * run, as memslots may change between calls.  All that is read is read once, into
 * our own memory, and believed after it has been checked.  A driver that lies
 * stops its device (DEVICE_NEEDS_RESET), and nobody else's.
 */
#include <linux/cleanup.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio.h"

/* Where a queue is, for one run. */
struct rings {
	struct vring_desc __user *desc;
	struct vring_avail __user *avail;
	struct vring_used __user *used;
	bool logged;
};

/* Each ring has one more number behind its elements, for EVENT_IDX. */
static u64 avail_bytes(u32 size)
{
	return offsetof(struct vring_avail, ring[size + 1]);
}

static u64 used_bytes(u32 size)
{
	return offsetof(struct vring_used, ring[size]) + sizeof(__virtio16);
}

static u64 desc_bytes(u32 size)
{
	return size * sizeof(struct vring_desc);
}

static __virtio16 __user *used_event(const struct hcall_queue *queue,
				     const struct rings *rings)
{
	return &rings->avail->ring[queue->size];
}

static __virtio16 __user *avail_event(const struct hcall_queue *queue,
				      const struct rings *rings)
{
	return (__virtio16 __user *)&rings->used->ring[queue->size];
}

static int get16(u16 *to, const __virtio16 __user *from)
{
	__virtio16 value;

	if (get_user(value, from))
		return -EFAULT;
	*to = from_virtio16(value);
	return 0;
}

static int put16(u16 value, __virtio16 __user *to)
{
	return put_user(to_virtio16(value), to);
}

static int queue_map(const struct hcall_queue *queue, struct rings *rings)
{
	struct hcall_vm *vm = queue->front->vm;
	struct hcall_span desc, driver, device;

	if (!hcall_span(vm, queue->desc, desc_bytes(queue->size), &desc) ||
	    !hcall_span(vm, queue->driver, avail_bytes(queue->size), &driver) ||
	    !hcall_span(vm, queue->device, used_bytes(queue->size), &device))
		return -EFAULT;
	rings->desc = desc.user;
	rings->avail = driver.user;
	rings->used = device.user;
	rings->logged = device.logged;
	return 0;
}

/* ---- Requests --------------------------------------------------------------- */

/*
 * A descriptor is a piece of memory, or (INDIRECT) a table of more.
 * Return: 0; -E2BIG: there are too many; -EFAULT for whatever cannot be.
 */
static int chain_add(struct hcall_chain *chain, u64 gpa, u32 len, u16 flags)
{
	u32 n = chain->readable + chain->writable;

	if (!len)
		return -EFAULT;
	if (n == HCALL_VIRTIO_MAX_SEGMENTS)
		return -E2BIG;
	if (flags & VRING_DESC_F_WRITE) {
		chain->writable++;
		chain->in += len;
	} else if (!chain->writable) {
		chain->readable++;
		chain->out += len;
	} else {
		return -EFAULT;
	}
	chain->segment[n].gpa = gpa;
	chain->segment[n].len = len;
	return 0;
}

/* A request's descriptors, from the one at @i on. */
static int chain_walk(struct hcall_queue *queue, const struct rings *rings,
		      struct hcall_chain *chain, u32 i)
{
	u32 count = queue->size, steps = 0;
	struct hcall_front *front = queue->front;
	struct vring_desc desc;
	bool indirect = false;
	u64 gpa, table = 0;
	u16 flags;
	u32 len;
	int ret;

	do {
		if (i >= count || steps++ == count)
			return -EFAULT;
		i = array_index_nospec(i, count);
		if (indirect ? hcall_read(front->vm, table + i * sizeof(desc),
					  &desc, sizeof(desc)) :
			       copy_from_user(&desc, &rings->desc[i],
					      sizeof(desc)))
			return -EFAULT;
		gpa = from_virtio64(desc.addr);
		len = from_virtio32(desc.len);
		flags = from_virtio16(desc.flags);
		i = from_virtio16(desc.next);
		if (!(flags & VRING_DESC_F_INDIRECT)) {
			ret = chain_add(chain, gpa, len, flags);
			if (ret)
				return ret;
			continue;
		}
		if (indirect || flags & VRING_DESC_F_NEXT ||
		    !hcall_front_has(front, VIRTIO_RING_F_INDIRECT_DESC) ||
		    !len || len % sizeof(desc) ||
		    len > desc_bytes(HCALL_VIRTIO_MAX_SEGMENTS))
			return -EFAULT;
		indirect = true;
		table = gpa;
		count = len / sizeof(desc);
		steps = 0;
		i = 0;
		flags = VRING_DESC_F_NEXT;
	} while (flags & VRING_DESC_F_NEXT);
	return 0;
}

/*
 * Take a request more into @chain.
 * Return: 1: next_avail is behind it; 0: there is none; -E2BIG: there is no room
 * for its descriptors; -EFAULT.
 */
static int queue_take_one(struct hcall_queue *queue, const struct rings *rings,
			  struct hcall_chain *chain)
{
	u16 readable = chain->readable, writable = chain->writable;
	u64 out = chain->out, in = chain->in;
	u16 idx, head;
	int ret;

	if (get16(&idx, &rings->avail->idx))
		return -EFAULT;
	if (idx == queue->next_avail)
		return 0;
	if ((u16)(idx - queue->next_avail) > queue->size)
		return -EFAULT;
	smp_rmb(); /* idx, then what it says is there */
	if (get16(&head, &rings->avail->ring[queue->next_avail &
					     (queue->size - 1)]))
		return -EFAULT;
	ret = chain_walk(queue, rings, chain, head);
	/* The length of its answer has 32 bits. */
	if (chain->in - in > U32_MAX || chain->out - out > U32_MAX)
		ret = -EFAULT;
	if (ret) {
		chain->readable = readable;
		chain->writable = writable;
		chain->out = out;
		chain->in = in;
		return ret;
	}
	chain->part[chain->parts].head = head;
	chain->part[chain->parts++].in = chain->in - in;
	queue->next_avail++;
	return 1;
}

/*
 * Take as many requests as have room for @room bytes, or one.
 * Return: as queue_take_one(); 0: not enough, and @chain->parts is how many.
 */
static int queue_take(struct hcall_queue *queue, const struct rings *rings,
		      u32 room, struct hcall_chain *chain)
{
	int ret;

	chain->parts = 0;
	chain->readable = 0;
	chain->writable = 0;
	chain->out = 0;
	chain->in = 0;
	chain->segment = queue->segment;
	chain->iov = queue->iov;
	chain->iovs = HCALL_QUEUE_IOVS;
	do {
		ret = queue_take_one(queue, rings, chain);
	} while (ret > 0 && chain->in < room &&
		 chain->parts < HCALL_CHAIN_PARTS);
	/* Not more than there is room for, then. */
	if (ret == -E2BIG && chain->parts)
		return 1;
	/* The guest has no more to give. */
	if (!ret && chain->parts == queue->size)
		return 1;
	/* Not enough yet: it will say when there is more. */
	if (!ret)
		queue->next_avail -= chain->parts;
	return ret;
}

/*
 * There is nothing to take: let the guest kick for what comes next.
 * @seen: the number of requests that there are, but not enough of them
 * Return: 1: there it is already; 0; -EFAULT.
 */
static int queue_rearm(struct hcall_queue *queue, const struct rings *rings,
		       u16 seen)
{
	u16 next = queue->next_avail + seen, idx;

	if (!hcall_front_has(queue->front, VIRTIO_RING_F_EVENT_IDX))
		return 0;
	if (put16(next, avail_event(queue, rings)))
		return -EFAULT;
	smp_mb(); /* tell the guest, then look: it adds, then looks */
	if (get16(&idx, &rings->avail->idx))
		return -EFAULT;
	return idx != next;
}

/**
 * hcall_chain_parts() - over how many requests an answer is spread
 * @chain: the requests
 * @bytes: of the answer
 *
 * Return: 1 or more.
 */
u32 hcall_chain_parts(const struct hcall_chain *chain, u64 bytes)
{
	u64 room = chain->part[0].in;
	u32 parts = 1;

	while (room < bytes && parts < chain->parts)
		room += chain->part[parts++].in;
	return parts;
}

/* Requests that the answer does not need are put back. */
static int queue_answer(struct hcall_queue *queue, const struct rings *rings,
			const struct hcall_chain *chain, u64 bytes)
{
	u32 parts = hcall_chain_parts(chain, bytes);
	u16 next = queue->next_used;
	u32 i, part;

	for (i = 0; i < parts; i++, next++) {
		struct vring_used_elem __user *elem =
			&rings->used->ring[next & (queue->size - 1)];

		part = i == parts - 1 ? bytes :
					min_t(u64, bytes, chain->part[i].in);
		if (put_user(to_virtio32(chain->part[i].head), &elem->id) ||
		    put_user(to_virtio32(part), &elem->len))
			return -EFAULT;
		bytes -= part;
	}
	smp_wmb(); /* the answer, then the index that says that it is there */
	if (put16(next, &rings->used->idx))
		return -EFAULT;
	queue->next_used = next;
	return chain->parts - parts;
}

/* Does the guest want to hear of what has been used?  Return: 1, 0 or -EFAULT. */
static int queue_wanted(struct hcall_queue *queue, const struct rings *rings)
{
	u16 told = queue->told, event, flags;

	if (queue->next_used == told)
		return 0;
	queue->told = queue->next_used;
	smp_mb(); /* used, then look; the guest says so, then looks */
	if (hcall_front_has(queue->front, VIRTIO_RING_F_EVENT_IDX)) {
		if (get16(&event, used_event(queue, rings)))
			return -EFAULT;
		return vring_need_event(event, queue->next_used, told);
	}
	if (get16(&flags, &rings->avail->flags))
		return -EFAULT;
	return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
}

static void queue_break(struct hcall_queue *queue)
{
	struct hcall_front *front = queue->front;

	atomic_or(VIRTIO_CONFIG_S_NEEDS_RESET, &front->status);
	hcall_fire(front->vm, front->channel);
}

/*
 * Something may have been used.
 * @caller: can be told by the answer of its call
 * Return: 1: so it has to be; 0; -EFAULT.
 */
static int queue_tell(struct hcall_queue *queue, const struct rings *rings,
		      bool caller)
{
	struct hcall_vm *vm = queue->front->vm;
	int wanted;

	if (unlikely(rings->logged))
		hcall_dirty(vm, queue->device, used_bytes(queue->size));
	wanted = queue_wanted(queue, rings);
	if (wanted <= 0 || caller)
		return wanted;
	hcall_fire(vm, queue->channel);
	return 0;
}

/**
 * hcall_chain_memory() - let a part of a request be a call's memory
 * @chain:  the request
 * @dir:    ITER_DEST: of the writable pieces; ITER_SOURCE: of the readable
 * @offset: from their beginning, in bytes
 * @len:    in bytes, not 0; so much is there
 * @call:   OUT: @segments, if it is not in one piece
 * @gpa:    OUT: the call's argument
 */
void hcall_chain_memory(struct hcall_chain *chain, unsigned int dir, u64 offset,
			u64 len, struct hcall_call *call, u64 *gpa)
{
	const struct hcall_segment *segment = chain->segment;

	if (dir == ITER_DEST)
		segment += chain->readable;
	while (offset >= segment->len)
		offset -= segment++->len;
	*gpa = segment->gpa + offset;
	call->segments = NULL;
	if (segment->len - offset >= len)
		return;
	chain->memory = (struct hcall_segments){
		.gpa = *gpa,
		.bytes = len,
		.segment = segment,
		.skip = offset,
		.iov = chain->iov,
		.iovs = chain->iovs,
	};
	call->segments = &chain->memory;
}

/* ---- What has to wait --------------------------------------------------------- */

struct queue_request {
	struct rcu_head rcu;
	struct hcall_work work;
	struct hcall_later later;
	bool started;
	struct hcall_queue *queue;
	struct hcall_chain chain;
	struct hcall_segment segment[]; /* then as many iovecs, and the spare */
};

/* Who waits for the last one may free the front at once; our caller wakes him. */
static void request_gone(struct hcall_front *front)
{
	atomic_dec_return_release(&front->inflight);
}

/* Context: any, where memory of vmalloc() cannot be freed. */
static void request_drop(struct hcall_work *work)
{
	struct queue_request *request =
		container_of(work, struct queue_request, work);
	struct hcall_front *front = request->queue->front;

	kvfree_rcu(request, rcu);
	request_gone(front);
}

static void request_done(struct hcall_later *later)
{
	struct queue_request *request =
		container_of(later, struct queue_request, later);

	hcall_work_queue(later->call.vm, &request->work);
}

static enum hcall_work_state request_run(struct hcall_work *work)
{
	struct queue_request *request =
		container_of(work, struct queue_request, work);
	struct hcall_queue *queue = request->queue;
	struct hcall_front *front = queue->front;
	const struct hcall_virtio *virtio = front->virtio;
	struct rings rings;
	s64 bytes;

	if (!request->started) {
		request->started = true;
		bytes = virtio->request(queue, &request->chain,
					&request->later.call);
	} else {
		bytes = virtio->finish(queue, &request->chain, &request->later);
	}
	if (bytes == HCALL_DEFER)
		return HCALL_WORK_DONE; /* until request_done() */
	mutex_lock(&queue->lock);
	if (queue->ready) {
		if (bytes < 0 || queue_map(queue, &rings) ||
		    queue_answer(queue, &rings, &request->chain, bytes) ||
		    queue_tell(queue, &rings, false))
			queue_break(queue);
	}
	mutex_unlock(&queue->lock);
	/* At once: @inflight bounds how many there are, and so their memory. */
	kvfree(request);
	request_gone(front);
	return HCALL_WORK_GONE;
}

/* Return: false: it has to be done here. */
static bool queue_defer(struct hcall_queue *queue,
			const struct hcall_chain *chain)
{
	struct hcall_front *front = queue->front;
	u32 n = chain->readable + chain->writable;
	struct queue_request *request;

	/* Who names the same descriptors again and again gets no more. */
	if (atomic_read(&front->inflight) >= front->queues * queue->size ||
	    hcall_workers_start(front->vm))
		return false;
	request = kvmalloc(struct_size(request, segment, n) +
				   (n + HCALL_SPARE_IOVS) * sizeof(struct iovec),
			   GFP_KERNEL_ACCOUNT);
	if (!request)
		return false;
	hcall_work_init(&request->work, request_run, request_drop);
	request->later = (struct hcall_later){
		.call = {
			.vm = front->vm,
			.door = HCALL_DOOR_QUEUE,
			.later = front->virtio->finish,
		},
		.front = front,
		.done = request_done,
	};
	request->started = false;
	request->queue = queue;
	request->chain = *chain;
	request->chain.segment = request->segment;
	request->chain.iov = (struct iovec *)&request->segment[n];
	request->chain.iovs = n + HCALL_SPARE_IOVS;
	memcpy(request->segment, chain->segment, n * sizeof(*chain->segment));
	atomic_inc(&front->inflight);
	hcall_work_queue(front->vm, &request->work);
	return true;
}

/* ---- Running a queue ------------------------------------------------------------ */

/*
 * Return: bytes of the buffers of one request, which has been answered or
 * deferred; 0: there is no request, or nothing to answer it with; -HCALL_EINTR;
 * -HCALL_EIO: the driver lies.
 */
static s64 queue_step(struct hcall_queue *queue, const struct rings *rings,
		      struct kvm_vcpu *vcpu)
{
	struct hcall_front *front = queue->front;
	const struct hcall_virtio *virtio = front->virtio;
	struct hcall_call call = {
		.vm = front->vm,
		.vcpu = vcpu,
		.door = HCALL_DOOR_QUEUE,
		.nowait = virtio->unordered,
	};
	struct hcall_chain chain __uninitialized; /* queue_take() */
	s64 room = virtio->room ? virtio->room(queue, &call) : 0;
	s64 bytes;
	int ret;

	if (room < 0)
		return 0;
	do {
		ret = queue_take(queue, rings, room, &chain);
		if (ret > 0)
			break;
		if (!ret)
			ret = queue_rearm(queue, rings, chain.parts);
	} while (ret > 0);
	if (ret <= 0)
		return ret ? -HCALL_EIO : 0;
	bytes = virtio->request(queue, &chain, &call);
	if (bytes == HCALL_DEFER) {
		if (queue_defer(queue, &chain))
			return chain.in + chain.out;
		call.nowait = false;
		bytes = virtio->request(queue, &chain, &call);
	}
	if (bytes == -HCALL_EAGAIN || bytes == -HCALL_EINTR) {
		queue->next_avail -= chain.parts;
		return bytes == -HCALL_EAGAIN ? 0 : bytes;
	}
	ret = bytes < 0 ? -EFAULT : queue_answer(queue, rings, &chain, bytes);
	if (ret < 0)
		return -HCALL_EIO;
	queue->next_avail -= ret;
	return chain.in + chain.out;
}

/* As hcall_queue_kick(). */
static s64 queue_run(struct hcall_queue *queue, struct kvm_vcpu *vcpu, bool tell)
{
	struct rings rings;
	s64 ret, bytes = 0;
	int told;
	u32 i;

	lockdep_assert_held(&queue->lock);
	if (queue_map(queue, &rings))
		return -HCALL_EIO;
	for (i = 0;; i++) {
		if (i == HCALL_KICK_REQUESTS || bytes >= HCALL_KICK_BYTES ||
		    (i && signal_pending(current))) {
			ret = -HCALL_EAGAIN;
			break;
		}
		ret = queue_step(queue, &rings, vcpu);
		if (ret <= 0)
			break;
		bytes += ret;
		if (need_resched())
			cond_resched();
	}
	told = queue_tell(queue, &rings, tell && !ret);
	return told < 0 ? -HCALL_EIO : ret ?: told;
}

/**
 * hcall_queue_kick() - answer what can be answered
 * @queue: any; without DRIVER_OK, which will look at it, nothing is done
 * @vcpu:  the caller; NULL on a worker
 * @tell:  the caller tells the guest by its result, if all is done
 *
 * Return: 0; 1: buffers were used of which the guest wants to hear, if @tell;
 * -HCALL_EAGAIN, -HCALL_EINTR: there is more to do; -HCALL_EINVAL: no such queue;
 * -HCALL_EIO: the device needs a reset.
 */
s64 hcall_queue_kick(struct hcall_queue *queue, struct kvm_vcpu *vcpu, bool tell)
{
	struct hcall_front *front = queue->front;
	u32 status;
	s64 ret;

	if (mutex_lock_interruptible(&queue->lock))
		return -HCALL_EINTR;
	status = atomic_read(&front->status);
	if (!queue->ready) {
		ret = -HCALL_EINVAL;
	} else if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
		ret = -HCALL_EIO;
	} else if (!(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
		ret = 0;
	} else {
		ret = queue_run(queue, vcpu, tell);
		if (ret == -HCALL_EIO)
			queue_break(queue);
	}
	mutex_unlock(&queue->lock);
	return ret;
}

/* There may be something new on the host's side. */
static enum hcall_work_state queue_look(struct hcall_work *work)
{
	s64 ret = hcall_queue_kick(container_of(work, struct hcall_queue, work),
				   NULL, false);

	/* Who dies is interrupted for ever. */
	return ret == -HCALL_EAGAIN ||
			       (ret == -HCALL_EINTR &&
				!fatal_signal_pending(current)) ?
		       HCALL_WORK_MORE : HCALL_WORK_DONE;
}

/* ---- Set-up ------------------------------------------------------------------------ */

void hcall_queue_init(struct hcall_queue *queue, struct hcall_front *front,
		      u32 index)
{
	mutex_init(&queue->lock);
	hcall_work_init(&queue->work, queue_look, NULL);
	queue->front = front;
	queue->index = index;
}

/**
 * hcall_queue_set() - the guest says where a queue is
 * @queue: not in use
 * @info:  as the guest gave it
 *
 * Return: 0, -HCALL_EINVAL, -HCALL_EFAULT or -HCALL_EINTR.
 */
int hcall_queue_set(struct hcall_queue *queue,
		    const struct hcall_virtio_queue *info)
{
	struct rings rings;
	int ret = 0;

	if (!is_power_of_2(info->size) || info->size > HCALL_VIRTIO_MAX_SIZE ||
	    info->channel < HCALL_CHANNEL_GUEST ||
	    info->channel >= HCALL_CHANNELS || info->reserved ||
	    info->desc % VRING_DESC_ALIGN_SIZE ||
	    info->driver % VRING_AVAIL_ALIGN_SIZE ||
	    info->device % VRING_USED_ALIGN_SIZE)
		return -HCALL_EINVAL;
	if (mutex_lock_interruptible(&queue->lock))
		return -HCALL_EINTR;
	queue->size = info->size;
	queue->channel = info->channel;
	queue->desc = info->desc;
	queue->driver = info->driver;
	queue->device = info->device;
	queue->next_avail = 0;
	queue->next_used = 0;
	queue->told = 0;
	queue->done = 0;
	if (queue_map(queue, &rings))
		ret = -HCALL_EFAULT;
	queue->ready = !ret;
	mutex_unlock(&queue->lock);
	return ret;
}

/**
 * hcall_queue_stop() - let go of a queue
 * @queue: in use or not
 *
 * Its rings are not touched any more, but buffers of requests that workers or the
 * device's file have may be.
 */
void hcall_queue_stop(struct hcall_queue *queue)
{
	guard(mutex)(&queue->lock);
	queue->ready = false;
}
