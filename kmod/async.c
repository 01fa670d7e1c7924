// SPDX-License-Identifier: GPL-2.0
/*
 * Asynchronous batches.
 *
 * A batch is copied whole when it is submitted, and never read again.  What
 * needs no waiting is done at once, in the vCPU's thread; the rest is done by one
 * worker at a time, batch by batch and element by element: who records the calls
 * finds them in one order.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/**
 * struct async_batch - a batch on its way
 * @node:   in vm->batches.list
 * @vm:     whose
 * @gpa:    of the guest's array
 * @channel: fires when all is done
 * @count:  elements of @ops
 * @next:   the first that is not done
 * @failed: an element of the current chain has failed
 * @ops:    the guest's elements as they were at submission
 */
struct async_batch {
	struct list_head node;
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
	atomic_dec(&vm->batches.pending);
	hcall_fire(vm, batch->channel);
	kvfree(batch);
}

static struct async_batch *async_first(struct hcall_vm *vm)
{
	guard(spinlock)(&vm->batches.lock);
	return list_first_entry_or_null(&vm->batches.list, struct async_batch,
					node);
}

static void async_unlink(struct async_batch *batch)
{
	guard(spinlock)(&batch->vm->batches.lock);
	list_del(&batch->node);
}

static enum hcall_work_state async_work(struct hcall_work *work)
{
	struct hcall_vm *vm = container_of(work, struct hcall_vm, batches.work);
	struct async_batch *batch = async_first(vm);

	if (!batch)
		return HCALL_WORK_DONE;
	async_element(batch, false);
	if (batch->next == batch->count) {
		async_unlink(batch);
		async_finish(batch);
	}
	return HCALL_WORK_MORE;
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

	if (atomic_inc_return(&vm->batches.pending) > HCALL_BATCH_MAX_PENDING) {
		ret = -HCALL_EAGAIN;
		goto pending;
	}
	batch = kvmalloc(struct_size(batch, ops, count), GFP_KERNEL_ACCOUNT);
	if (!batch) {
		ret = -HCALL_ENOMEM;
		goto pending;
	}
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
	scoped_guard(spinlock, &vm->batches.lock)
		list_add_tail(&batch->node, &vm->batches.list);
	hcall_work_queue(vm, &vm->batches.work);
	return count;

batch:
	kvfree(batch);
pending:
	atomic_dec(&vm->batches.pending);
	return ret;
}

void hcall_async_init(struct hcall_vm *vm)
{
	spin_lock_init(&vm->batches.lock);
	INIT_LIST_HEAD(&vm->batches.list);
	hcall_work_init(&vm->batches.work, async_work, NULL);
}

/**
 * hcall_async_drop() - forget what has not been done
 * @vm: unbound, its workers stopped
 */
void hcall_async_drop(struct hcall_vm *vm)
{
	struct async_batch *batch, *next;

	list_for_each_entry_safe(batch, next, &vm->batches.list, node)
		kvfree(batch);
}
