// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-rng (Virtual I/O Device 1.2, 5.4): requests become RANDOM.
 */
#include "../dispatch.h"
#include "virtio.h"

static s64 rng_request(struct hcall_queue *queue, struct hcall_chain *chain,
		       struct hcall_call *call)
{
	u64 len = min(chain->in, HCALL_RANDOM_MAX_BYTES);
	s64 ret;

	if (chain->out || !len)
		return -HCALL_EFAULT;
	call->nr = HCALL_SYS_RANDOM;
	hcall_chain_memory(chain, ITER_DEST, 0, len, call, &call->args[0]);
	call->args[1] = len;
	ret = hcall_dispatch(call);
	if (ret >= 0)
		return min_t(u64, ret, len);
	/* Nothing, if it is denied: the driver asks again, but it lives. */
	return ret == -HCALL_EFAULT || ret == HCALL_DEFER ? ret : 0;
}

static u32 rng_queues(const struct hcall_vm *vm, struct hcall_dev *dev)
{
	return 1;
}

const struct hcall_virtio hcall_virtio_rng = {
	.device_id = VIRTIO_ID_RNG,
	.queues = rng_queues,
	.request = rng_request,
};
