// SPDX-License-Identifier: GPL-2.0
/*
 * Asynchronous batches.
 *
 * A batch is copied whole when it is submitted, and never read again.  What
 * needs no waiting is done at once, in the vCPU's thread; the rest goes to the
 * VM's worker, a thread of the launcher's own process (vhost_task), so that it
 * has the launcher's memory, cgroup and death.  The worker enters kvm->srcu
 * for each element, as a vCPU does for each call.
 *
 * Order on teardown: no call can submit any more (hcall_hook_unbind()), then
 * the worker stops after its current element, then the queue is freed.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>

#include "internal.h"

/**
 * struct async_batch - a batch on its way
 * @node:   in vm->async.queue
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
	atomic_dec(&vm->async.pending);
	hcall_fire(vm, batch->channel);
	kvfree(batch);
}

static struct async_batch *async_first(struct hcall_vm *vm)
{
	guard(spinlock)(&vm->async.queue_lock);
	return list_first_entry_or_null(&vm->async.queue, struct async_batch,
					node);
}

static void async_unlink(struct async_batch *batch)
{
	guard(spinlock)(&batch->vm->async.queue_lock);
	list_del(&batch->node);
}

/* The worker: one element, then vhost_task looks whether it shall stop. */
static bool async_work(void *data)
{
	struct hcall_vm *vm = data;
	struct async_batch *batch = async_first(vm);
	int idx;

	if (!batch)
		return false;
	__set_current_state(TASK_RUNNING);
	idx = hcall_vm_enter(vm);
	async_element(batch, false);
	if (batch->next == batch->count) {
		async_unlink(batch);
		async_finish(batch);
	}
	hcall_vm_leave(vm, idx);
	cond_resched();
	return true;
}

/* The process dies, and with it the guest: hcall_async_stop() frees the rest. */
static void async_killed(void *data)
{
}

/* Return: 0, or a negated HCALL_E*; no thread is made for one with a signal. */
static int async_start_worker(struct hcall_vm *vm)
{
	struct vhost_task *task;

	guard(mutex)(&vm->async.lock);
	if (vm->async.task)
		return 0;
	task = vhost_task_create(async_work, async_killed, vm, "hcall-async");
	if (IS_ERR_OR_NULL(task)) /* NULL: before 6.14 and its stable kin */
		return signal_pending(current) ? -HCALL_EINTR : -HCALL_ENOMEM;
	vhost_task_start(task);
	vm->async.task = task;
	return 0;
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

	if (atomic_inc_return(&vm->async.pending) > HCALL_BATCH_MAX_PENDING) {
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
	ret = async_start_worker(vm);
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
	scoped_guard(spinlock, &vm->async.queue_lock)
		list_add_tail(&batch->node, &vm->async.queue);
	vhost_task_wake(vm->async.task);
	return count;

batch:
	kvfree(batch);
pending:
	atomic_dec(&vm->async.pending);
	return ret;
}

void hcall_async_init(struct hcall_vm *vm)
{
	mutex_init(&vm->async.lock);
	spin_lock_init(&vm->async.queue_lock);
	INIT_LIST_HEAD(&vm->async.queue);
}

/**
 * hcall_async_stop() - stop the worker and drop what it has not done
 * @vm: unbound; no call can submit any more
 */
void hcall_async_stop(struct hcall_vm *vm)
{
	struct async_batch *batch, *next;

	if (vm->async.task)
		vhost_task_stop(vm->async.task);
	list_for_each_entry_safe(batch, next, &vm->async.queue, node)
		kvfree(batch);
}
