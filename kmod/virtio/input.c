// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-input (Virtual I/O Device 1.2, 5.8): requests become READ and WRITE of
 * class input.
 */
#include <linux/virtio_input.h>

#include "../dispatch.h"
#include "virtio.h"

/* Queues. */
#define INPUT_EVENTS 0
#define INPUT_STATUS 1

static_assert(sizeof(struct virtio_input_event) ==
	      sizeof(struct hcall_input_event));

static s64 input_request(struct hcall_queue *queue, struct hcall_chain *chain,
			 struct hcall_call *call)
{
	const u32 bytes = sizeof(struct hcall_input_event);
	bool events = queue->index == INPUT_EVENTS;
	u64 len = chain->segment[0].len;
	s64 ret;

	/* A buffer is an event; what comes after its first piece is not used. */
	if ((events ? chain->out : chain->in) || len < bytes)
		return -HCALL_EFAULT;
	len = min_t(u64, len / bytes, HCALL_INPUT_MAX_EVENTS);
	call->nr = events ? HCALL_INPUT_READ : HCALL_INPUT_WRITE;
	call->after = HCALL_AFTER_RETURN;
	call->bytes = 0;
	call->args[0] = queue->front->unit;
	call->args[1] = chain->segment[0].gpa;
	call->args[2] = len;
	call->args[3] = events ? HCALL_NOWAIT : 0;
	ret = hcall_dispatch(call);
	if (ret == -HCALL_EFAULT || ret == HCALL_DEFER || ret == -HCALL_EINTR)
		return ret;
	/* A light that cannot be lit stays dark. */
	if (!events)
		return hcall_no_room(queue->front, call, ret) ? ret : 0;
	/* Who denies events, or has gone, has none. */
	return ret > 0 && ret <= len ? ret * bytes : -HCALL_EAGAIN;
}

static u32 input_queues(const struct hcall_vm *vm, struct hcall_dev *dev)
{
	return 2;
}

static void input_config(struct hcall_front *front, struct hcall_dev *dev,
			 void *to)
{
	struct virtio_input_config *config = to;
	u8 select = front->select >> 8, subsel = front->select;

	config->select = select;
	config->subsel = subsel;
	config->size = hcall_input_config(dev, select, subsel, &config->u,
					  sizeof(config->u));
}

static bool input_configure(struct hcall_front *front, u32 offset, u32 bytes,
			    const u8 *from)
{
	u32 i;

	static_assert(offsetof(struct virtio_input_config, select) == 0);
	static_assert(offsetof(struct virtio_input_config, subsel) == 1);
	if (offset + bytes > 2)
		return false;
	for (i = offset; i < offset + bytes; i++) {
		if (i)
			front->select = (front->select & 0xff00) | from[i - offset];
		else
			front->select = from[0] << 8 | (front->select & 0xff);
	}
	return true;
}

const struct hcall_virtio hcall_virtio_input = {
	.device_id = VIRTIO_ID_INPUT,
	.config_bytes = sizeof(struct virtio_input_config),
	.queues = input_queues,
	.config = input_config,
	.configure = input_configure,
	.request = input_request,
};
