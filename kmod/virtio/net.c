// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-net (Virtual I/O Device 1.2, 5.1): requests become SEND and RECV of class
 * net, whose frames by this door always have a header.
 */
#include <linux/sched/signal.h>
#include <linux/virtio_net.h>

#include "../dispatch.h"
#include "virtio.h"

/* Queues. */
#define NET_RECEIVE 0
#define NET_TRANSMIT 1

/* Features that are the calls' own, by the same bits. */
#define NET_OFFLOADS                                         \
	(HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM |         \
	 HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6 |   \
	 HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6)

static_assert(BIT(VIRTIO_NET_F_CSUM) == HCALL_NET_F_CSUM);
static_assert(BIT(VIRTIO_NET_F_GUEST_CSUM) == HCALL_NET_F_GUEST_CSUM);
static_assert(BIT(VIRTIO_NET_F_GUEST_TSO4) == HCALL_NET_F_GUEST_TSO4);
static_assert(BIT(VIRTIO_NET_F_GUEST_TSO6) == HCALL_NET_F_GUEST_TSO6);
static_assert(BIT(VIRTIO_NET_F_HOST_TSO4) == HCALL_NET_F_HOST_TSO4);
static_assert(BIT(VIRTIO_NET_F_HOST_TSO6) == HCALL_NET_F_HOST_TSO6);

/* Frames that are too long for a request, and lost, before others have a turn. */
#define NET_LOST 64

static s64 net_call(struct hcall_front *front, struct hcall_call *call, u32 nr,
		    u64 a, u64 b, u64 c)
{
	call->nr = nr;
	call->after = HCALL_AFTER_RETURN;
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
	ret = net_call(queue->front, call, HCALL_NET_SEND, gpa, chain->out,
		       HCALL_NOWAIT);
	if (ret == -HCALL_EAGAIN || ret == -HCALL_EINTR ||
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
	do {
		ret = net_call(queue->front, call, HCALL_NET_RECV, gpa, room,
			       HCALL_NOWAIT);
	} while (ret == -HCALL_E2BIG && ++lost < NET_LOST);
	if (ret == -HCALL_E2BIG)
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

static s64 net_request(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	return queue->index == NET_RECEIVE ? net_receive(queue, chain, call) :
					     net_transmit(queue, chain, call);
}

static s64 net_room(struct hcall_queue *queue, struct hcall_call *call)
{
	s64 bytes;

	if (queue->index != NET_RECEIVE ||
	    !hcall_front_has(queue->front, VIRTIO_NET_F_MRG_RXBUF))
		return 0;
	/* A frame that comes just now has the queue run again. */
	bytes = hcall_net_room(call, queue->front->unit);
	return bytes ?: -HCALL_EAGAIN;
}

static u32 net_queues(const struct hcall_vm *vm)
{
	return 2;
}

static u64 net_features(struct hcall_dev *dev)
{
	struct hcall_device info = {};

	hcall_dev_describe(dev, &info);
	return info.u.net.features | BIT_ULL(VIRTIO_NET_F_MAC) |
	       BIT_ULL(VIRTIO_NET_F_MTU) | BIT_ULL(VIRTIO_NET_F_STATUS) |
	       BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
}

static s64 net_choose(struct hcall_front *front, struct hcall_call *call,
		      u64 features)
{
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
