// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-net (Virtual I/O Device 1.2, 5.1): requests become SEND and RECV of class
 * net, whose frames by this door always have a header.
 *
 * Each of the interface's queues has a pair of virtqueues.  The frames of those
 * whose pair is not in use, as the driver has said by the control queue, come by
 * the others: pair i of n has those of the interface's queues i, i + n, i + 2n, ...
 */
#include <linux/sched/signal.h>
#include <linux/virtio_net.h>

#include "../dispatch.h"
#include "virtio.h"

/* Queues: pairs of these, then the control queue. */
#define NET_RECEIVE 0
#define NET_TRANSMIT 1

/* Features that are the calls' own, by the same bits. */
#define NET_OFFLOADS                                         \
	(HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM |         \
	 HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6 |   \
	 HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6)

/* Those that the control queue can change. */
#define NET_GUEST_OFFLOADS                                   \
	(HCALL_NET_F_GUEST_CSUM | HCALL_NET_F_GUEST_TSO4 |   \
	 HCALL_NET_F_GUEST_TSO6)

static_assert(BIT(VIRTIO_NET_F_CSUM) == HCALL_NET_F_CSUM);
static_assert(BIT(VIRTIO_NET_F_GUEST_CSUM) == HCALL_NET_F_GUEST_CSUM);
static_assert(BIT(VIRTIO_NET_F_GUEST_TSO4) == HCALL_NET_F_GUEST_TSO4);
static_assert(BIT(VIRTIO_NET_F_GUEST_TSO6) == HCALL_NET_F_GUEST_TSO6);
static_assert(BIT(VIRTIO_NET_F_HOST_TSO4) == HCALL_NET_F_HOST_TSO4);
static_assert(BIT(VIRTIO_NET_F_HOST_TSO6) == HCALL_NET_F_HOST_TSO6);

/* Frames that are too long for a request, and lost, before others have a turn. */
#define NET_LOST 64

static bool net_is_control(const struct hcall_queue *queue)
{
	const struct hcall_front *front = queue->front;

	if (!hcall_front_has(front, VIRTIO_NET_F_CTRL_VQ))
		return false;
	return queue->index == (hcall_front_has(front, VIRTIO_NET_F_MQ) ?
					front->queues - 1 : 2);
}

static bool net_is_receive(const struct hcall_queue *queue)
{
	return queue->index % 2 == NET_RECEIVE && !net_is_control(queue);
}

static s64 net_call(struct hcall_front *front, struct hcall_call *call, u32 nr,
		    u64 a, u64 b, u64 c)
{
	call->nr = nr;
	call->after = HCALL_AFTER_RETURN;
	call->by_program = false;
	call->bytes = 0;
	call->args[0] = front->unit;
	call->args[1] = a;
	call->args[2] = b;
	call->args[3] = c;
	return hcall_dispatch(call);
}

static s64 net_transmit(struct hcall_queue *queue, struct hcall_chain *chain,
			struct hcall_call *call)
{
	u64 gpa;
	s64 ret;

	if (chain->in || !chain->out)
		return -HCALL_EFAULT;
	hcall_chain_memory(chain, ITER_SOURCE, 0, chain->out, call, &gpa);
	call->queue = queue->index / 2;
	ret = net_call(queue->front, call, HCALL_NET_SEND, gpa, chain->out,
		       HCALL_NOWAIT);
	if (hcall_no_room(queue->front, call, ret) || ret == -HCALL_EINTR ||
	    ret == -HCALL_EFAULT || ret == HCALL_DEFER)
		return ret;
	/* A frame that cannot be sent is lost, as on any wire. */
	return 0;
}

static s64 net_receive(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	u64 room = min(chain->in, HCALL_NET_MAX_BYTES), gpa;
	u32 lost = 0;
	u16 parts;
	s64 ret;

	/* Without room for a frame none would ever be taken, nor be lost. */
	if (chain->out || room <= sizeof(struct hcall_net_header))
		return -HCALL_EFAULT;
	hcall_chain_memory(chain, ITER_DEST, 0, room, call, &gpa);
	call->queue = queue->source;
	do {
		ret = net_call(queue->front, call, HCALL_NET_RECV, gpa, room,
			       HCALL_NOWAIT);
	} while (ret == -HCALL_E2BIG && ++lost < NET_LOST);
	/* Another of the interface's queues may have a frame that fits. */
	if (ret == -HCALL_E2BIG || (ret == -HCALL_EAGAIN && lost))
		return -HCALL_EINTR;
	if (ret == -HCALL_EFAULT || ret == -HCALL_EINTR || ret == HCALL_DEFER)
		return ret;
	if (ret <= 0 || ret > room)
		return -HCALL_EAGAIN;
	parts = hcall_chain_parts(chain, ret);
	if (parts > 1 &&
	    hcall_call_write(call, gpa, offsetof(struct hcall_net_header, buffers),
			     &parts, sizeof(parts)))
		return -HCALL_EFAULT;
	return ret;
}

/* ---- The control queue -------------------------------------------------------- */

/* A command with the longest that any has to say (5.1.6.5). */
struct net_command {
	u8 class;
	u8 cmd;
	union {
		__virtio16 pairs;
		__virtio64 offloads;
	} __packed;
} __packed;

#define NET_COMMAND_BYTES(member) offsetofend(struct net_command, member)
#define NET_COMMAND(class, cmd) \
	(VIRTIO_NET_CTRL_##class << 8 | VIRTIO_NET_CTRL_##class##_##cmd)

/*
 * When this is answered no frame comes to a pair that is not in use any more, and
 * frames that wait for it have been seen by another.
 * Return: 0, -HCALL_EINVAL or -HCALL_EINTR: to be called again.
 */
static s64 net_set_pairs(struct hcall_queue *control, u32 pairs)
{
	struct hcall_front *front = control->front;
	struct hcall_queue *queue;
	u32 i;

	if (!pairs || pairs > front->queues / 2 ||
	    !hcall_front_has(front, VIRTIO_NET_F_MQ))
		return -HCALL_EINVAL;
	WRITE_ONCE(front->pairs, pairs);
	for (i = NET_RECEIVE; i < control->index; i += 2) {
		queue = READ_ONCE(front->queue[i]);
		if (!queue)
			continue;
		/* Who fills it now may still think that it is in use. */
		if (mutex_lock_interruptible_nested(&queue->lock,
						    SINGLE_DEPTH_NESTING))
			return -HCALL_EINTR;
		if (queue->ready)
			hcall_work_queue(front->vm, &queue->work);
		mutex_unlock(&queue->lock);
	}
	return 0;
}

/*
 * FEATURES takes a rest between changes: a vCPU kicks again until it is over, and
 * what a worker finds is left to a kick.
 */
static s64 net_set_offloads(struct hcall_front *front, struct hcall_call *call,
			    u64 offloads)
{
	u64 features = READ_ONCE(front->features) & NET_OFFLOADS;
	s64 ret;

	if (!hcall_front_has(front, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    offloads & ~(features & NET_GUEST_OFFLOADS))
		return -HCALL_EINVAL;
	features = (features & ~(u64)NET_GUEST_OFFLOADS) | offloads;
	ret = net_call(front, call, HCALL_NET_FEATURES, features, 0, 0);
	return hcall_no_room(front, call, ret) && call->vcpu ? -HCALL_EINTR : ret;
}

static s64 net_obey(struct hcall_queue *queue, struct hcall_call *call,
		    const struct net_command *command, u64 bytes)
{
	switch (command->class << 8 | command->cmd) {
	case NET_COMMAND(MQ, VQ_PAIRS_SET):
		if (bytes != NET_COMMAND_BYTES(pairs))
			return -HCALL_EINVAL;
		return net_set_pairs(queue, from_virtio16(command->pairs));
	case NET_COMMAND(GUEST_OFFLOADS, SET):
		if (bytes != NET_COMMAND_BYTES(offloads))
			return -HCALL_EINVAL;
		return net_set_offloads(queue->front, call,
					from_virtio64(command->offloads));
	default:
		return -HCALL_EOPNOTSUPP;
	}
}

static s64 net_control(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	struct net_command command = {};
	u64 bytes = min_t(u64, chain->out, sizeof(command)), gpa;
	s64 ret = -HCALL_EINVAL;
	u8 ack;

	if (!chain->in)
		return -HCALL_EFAULT;
	if (bytes) {
		hcall_chain_memory(chain, ITER_SOURCE, 0, bytes, call, &gpa);
		if (hcall_call_read(call, gpa, 0, &command, bytes))
			return -HCALL_EFAULT;
		call->segments = NULL;
		ret = net_obey(queue, call, &command, chain->out);
	}
	if (ret == -HCALL_EINTR || ret == HCALL_DEFER ||
	    hcall_no_room(queue->front, call, ret))
		return ret;
	ack = ret < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
	hcall_chain_memory(chain, ITER_DEST, 0, sizeof(ack), call, &gpa);
	if (hcall_write(call->vm, gpa, &ack, sizeof(ack)))
		return -HCALL_EFAULT;
	return sizeof(ack);
}

/* ---- The kind ----------------------------------------------------------------- */

static s64 net_request(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	if (net_is_control(queue))
		return net_control(queue, chain, call);
	return net_is_receive(queue) ? net_receive(queue, chain, call) :
				       net_transmit(queue, chain, call);
}

/* Which of the interface's queues has the next frame, too. */
static s64 net_room(struct hcall_queue *queue, struct hcall_call *call)
{
	bool merged = hcall_front_has(queue->front, VIRTIO_NET_F_MRG_RXBUF);
	u32 pair = queue->index / 2, pairs = READ_ONCE(queue->front->pairs);
	s64 bytes;

	if (!net_is_receive(queue))
		return 0;
	if (pair >= pairs)
		return -HCALL_EAGAIN;
	/* Where there is no choice RECV may just try. */
	if (!merged && pair + pairs >= queue->front->queues / 2) {
		queue->source = pair;
		return 0;
	}
	/* A frame that comes just now has the queue run again. */
	bytes = hcall_net_next(call, queue->front->unit, pair, pairs,
			       &queue->source);
	return !bytes ? -HCALL_EAGAIN : merged ? bytes : 0;
}

static u32 net_queues(const struct hcall_vm *vm, struct hcall_dev *dev)
{
	return 2 * hcall_net_queues(dev) + 1;
}

static u64 net_features(struct hcall_dev *dev)
{
	struct hcall_device info = {};
	u64 features = BIT_ULL(VIRTIO_NET_F_MAC) | BIT_ULL(VIRTIO_NET_F_MTU) |
		       BIT_ULL(VIRTIO_NET_F_STATUS) |
		       BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) |
		       BIT_ULL(VIRTIO_NET_F_CTRL_VQ);

	hcall_dev_describe(dev, &info);
	features |= info.u.net.features;
	if (features & NET_GUEST_OFFLOADS)
		features |= BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (hcall_net_queues(dev) > 1)
		features |= BIT_ULL(VIRTIO_NET_F_MQ);
	return features;
}

static s64 net_choose(struct hcall_front *front, struct hcall_call *call,
		      u64 features)
{
	if (features & (BIT_ULL(VIRTIO_NET_F_MQ) |
			BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) &&
	    !(features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ)))
		return -HCALL_EINVAL;
	return net_call(front, call, HCALL_NET_FEATURES, features & NET_OFFLOADS,
			0, 0);
}

static void net_config(struct hcall_front *front, struct hcall_dev *dev, void *to)
{
	struct virtio_net_config *config = to;
	struct hcall_device info = {};

	hcall_dev_describe(dev, &info);
	memcpy(config->mac, info.u.net.mac, sizeof(config->mac));
	config->status = to_virtio16(info.u.net.link ? VIRTIO_NET_S_LINK_UP : 0);
	config->max_virtqueue_pairs = to_virtio16(hcall_net_queues(dev));
	config->mtu = to_virtio16(info.u.net.mtu);
}

const struct hcall_virtio hcall_virtio_net = {
	.device_id = VIRTIO_ID_NET,
	.config_bytes = offsetofend(struct virtio_net_config, mtu),
	.queues = net_queues,
	.features = net_features,
	.choose = net_choose,
	.config = net_config,
	.room = net_room,
	.request = net_request,
};
