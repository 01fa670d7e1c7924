// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-console (Virtual I/O Device 1.2, 5.3), one port: requests become READ and
 * WRITE of class console.
 */
#include <linux/sched/signal.h>
#include <linux/virtio_console.h>

#include "../dispatch.h"
#include "virtio.h"

/* Queues. */
#define CONSOLE_RECEIVE 0
#define CONSOLE_TRANSMIT 1

static s64 console_move(struct hcall_queue *queue, struct hcall_chain *chain,
			struct hcall_call *call, u64 offset, u64 len)
{
	bool out = queue->index == CONSOLE_TRANSMIT;
	s64 ret;

	len = min(len, HCALL_CONSOLE_MAX_BYTES);
	call->nr = out ? HCALL_CONSOLE_WRITE : HCALL_CONSOLE_READ;
	call->after = HCALL_AFTER_RETURN;
	call->by_program = false;
	call->bytes = 0;
	call->args[0] = queue->front->unit;
	hcall_chain_memory(chain, out ? ITER_SOURCE : ITER_DEST, offset, len,
			   call, &call->args[1]);
	call->args[2] = len;
	call->args[3] = HCALL_NOWAIT;
	ret = hcall_dispatch(call);
	return min_t(s64, ret, len);
}

/* An input that has ended has nothing, for ever. */
static s64 console_receive(struct hcall_queue *queue, struct hcall_chain *chain,
			   struct hcall_call *call)
{
	s64 ret;

	if (chain->out)
		return -HCALL_EFAULT;
	ret = console_move(queue, chain, call, 0, chain->in);
	if (ret > 0 || ret == -HCALL_EFAULT || ret == HCALL_DEFER ||
	    ret == -HCALL_EINTR)
		return ret;
	return -HCALL_EAGAIN;
}

/*
 * What finds no room waits, from where it is; so does what is too much for one
 * kick, or is interrupted.  Output that nobody takes any more is gone.
 */
static s64 console_transmit(struct hcall_queue *queue, struct hcall_chain *chain,
			    struct hcall_call *call)
{
	u64 moved = 0;
	s64 ret;

	if (chain->in)
		return -HCALL_EFAULT;
	while (queue->done < chain->out) {
		if (moved >= HCALL_KICK_BYTES ||
		    (moved && signal_pending(current)))
			return -HCALL_EINTR;
		ret = console_move(queue, chain, call, queue->done,
				   chain->out - queue->done);
		if (hcall_no_room(queue->front, call, ret) || ret == -HCALL_EINTR ||
		    ret == -HCALL_EFAULT || ret == HCALL_DEFER)
			return ret;
		if (ret <= 0)
			break;
		queue->done += ret;
		moved += ret;
	}
	queue->done = 0;
	return 0;
}

static s64 console_request(struct hcall_queue *queue, struct hcall_chain *chain,
			   struct hcall_call *call)
{
	return queue->index == CONSOLE_RECEIVE ?
		       console_receive(queue, chain, call) :
		       console_transmit(queue, chain, call);
}

static u32 console_queues(const struct hcall_vm *vm, struct hcall_dev *dev)
{
	return 2;
}

static u64 console_features(struct hcall_dev *dev)
{
	return BIT_ULL(VIRTIO_CONSOLE_F_SIZE);
}

static void console_config(struct hcall_front *front, struct hcall_dev *dev,
			   void *to)
{
	struct virtio_console_config *config = to;
	struct hcall_device info = {};

	hcall_dev_describe(dev, &info);
	config->cols = to_virtio16(info.u.console.columns);
	config->rows = to_virtio16(info.u.console.rows);
}

const struct hcall_virtio hcall_virtio_console = {
	.device_id = VIRTIO_ID_CONSOLE,
	.config_bytes = sizeof(struct virtio_console_config),
	.queues = console_queues,
	.features = console_features,
	.config = console_config,
	.request = console_request,
};
