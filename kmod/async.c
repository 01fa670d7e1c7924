// SPDX-License-Identifier: GPL-2.0
/*
 * Asynchronous batches.
 *
 * A batch is copied whole when it is submitted, and never read again.  What
 * needs no waiting is done at once, in the vCPU's thread; the rest goes to a
 * worker, element by element.
 */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/**
 * struct async_batch - a batch on its way
 * @work:   its next element
 * @vm:     whose
 * @gpa:    of the guest's array
 * @channel: fires when all is done
 * @count:  elements of @ops
 * @next:   the first that is not done
 * @failed: an element of the current chain has failed
 * @ops:    the guest's elements as they were at submission
 */
struct async_batch {
	struct hcall_work work;
	struct hcall_vm *vm;
	u64 gpa;
	u32 channel;
	u32 count;
	u32 next;
	bool failed;
	struct hcall_op ops[] __counted_by(count);
};

/* One element.  Return: false if it has to wait and @nowait. */
static bool async_element(struct async_batch *batch, bool nowait)
{
	struct hcall_op *op = &batch->ops[batch->next];
	struct hcall_call call = {
		.vm = batch->vm,
		.door = HCALL_DOOR_ASYNC,
		.nowait = nowait,
	};

	if (!hcall_batch_element(&call, op, &batch->failed))
		return false;
	/* A guest that took the memory away gets no answer. */
	hcall_batch_answer(batch->vm, batch->gpa + batch->next * sizeof(*op),
			   op);
	batch->next++;
	return true;
}

static void async_finish(struct async_batch *batch)
{
	struct hcall_vm *vm = batch->vm;

	/* A guest that has seen the event may submit the next. */
	atomic_dec(&vm->batches);
	hcall_fire(vm, batch->channel);
	kvfree(batch);
}

static bool async_work(struct hcall_work *work)
{
	struct async_batch *batch = container_of(work, struct async_batch, work);

	async_element(batch, false);
	if (batch->next < batch->count)
		return true;
	async_finish(batch);
	return false;
}

static void async_drop(struct hcall_work *work)
{
	kvfree(container_of(work, struct async_batch, work));
}

/**
 * hcall_async_submit() - start a batch
 * @call:  the BATCH call; its other arguments are valid
 * @gpa:   of the array, a multiple of 8
 * @count: elements, 1 to HCALL_BATCH_MAX_OPS
 * @channel: fires when all is done
 *
 * Return: @count, or a negated HCALL_E* and nothing was started.
 */
s64 hcall_async_submit(struct hcall_call *call, u64 gpa, u32 count,
		       u32 channel)
{
	struct hcall_vm *vm = call->vm;
	struct async_batch *batch;
	s64 ret;

	if (atomic_inc_return(&vm->batches) > HCALL_BATCH_MAX_PENDING) {
		ret = -HCALL_EAGAIN;
		goto pending;
	}
	batch = kvmalloc(struct_size(batch, ops, count), GFP_KERNEL_ACCOUNT);
	if (!batch) {
		ret = -HCALL_ENOMEM;
		goto pending;
	}
	hcall_work_init(&batch->work, async_work, async_drop);
	batch->vm = vm;
	batch->gpa = gpa;
	batch->channel = channel;
	batch->count = count;
	batch->next = 0;
	batch->failed = false;
	if (hcall_read(vm, gpa, batch->ops, sizeof(batch->ops[0]) * count)) {
		ret = -HCALL_EFAULT;
		goto batch;
	}
	/* Once an element has run it is too late to say that there is no worker. */
	ret = hcall_workers_start(vm);
	if (ret)
		goto batch;

	while (batch->next < count && !signal_pending(current)) {
		if (!async_element(batch, true))
			break;
	}
	if (batch->next == count) {
		async_finish(batch);
		return count;
	}
	hcall_work_queue(vm, &batch->work);
	return count;

batch:
	kvfree(batch);
pending:
	atomic_dec(&vm->batches);
	return ret;
}
