// SPDX-License-Identifier: GPL-2.0
/*
 * Workers: do for a VM what must wait, so that its vCPUs need not.
 *
 * They are threads of the launcher's own process (vhost_task), so that they have
 * its memory, cgroup and death.  A piece of work is on the VM's list, in the hands
 * of one worker, never of two, or left until it is queued again; what is queued
 * while it is done is done once more.  A worker enters kvm->srcu for each piece, as
 * a vCPU does for each call.
 *
 * Order on teardown: no call can start a worker any more (hcall_hook_unbind()),
 * then each stops after its current piece, then what is left is dropped.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/wait.h>

#include "internal.h"

static struct hcall_work *worker_take(struct hcall_worker *worker)
{
	struct hcall_workers *workers = worker->workers;
	struct hcall_work *work;

	guard(spinlock_irqsave)(&workers->lock);
	work = list_first_entry_or_null(&workers->queue, struct hcall_work,
					node);
	if (work) {
		list_del_init(&work->node);
		work->runs = true;
	}
	worker->work = work;
	return work;
}

/* Context: any; workers->lock held. */
static void workers_wake_one(struct hcall_workers *workers)
{
	unsigned int i;

	lockdep_assert_held(&workers->lock);
	for (i = 0; i < workers->started; i++) {
		if (!workers->worker[i].work) {
			vhost_task_wake(workers->worker[i].task);
			return;
		}
	}
}

/* One piece of work, then vhost_task looks whether it shall stop. */
static bool worker_run(void *data)
{
	struct hcall_worker *worker = data;
	struct hcall_workers *workers = worker->workers;
	struct hcall_work *work = worker_take(worker);
	enum hcall_work_state state;
	int idx;

	if (!work)
		return false;
	__set_current_state(TASK_RUNNING);
	/* Another one may be idle, and have been woken for this one. */
	scoped_guard(spinlock_irqsave, &workers->lock) {
		if (!list_empty(&workers->queue) && !workers->stopped)
			workers_wake_one(workers);
	}
	idx = hcall_vm_enter(workers->vm);
	state = work->run(work);
	hcall_vm_leave(workers->vm, idx);
	scoped_guard(spinlock_irqsave, &workers->lock) {
		worker->work = NULL;
		if (state != HCALL_WORK_GONE) {
			if (state == HCALL_WORK_MORE || work->again)
				list_add_tail(&work->node, &workers->queue);
			work->runs = false;
			work->again = false;
		}
	}
	wake_up_all(&workers->idle);
	cond_resched();
	return true;
}

/* Nobody does what is in the queue, nor will. */
static void workers_drop(struct hcall_workers *workers)
{
	struct hcall_work *work, *next;
	LIST_HEAD(left);

	scoped_guard(spinlock_irqsave, &workers->lock) {
		workers->stopped = true;
		list_splice_init(&workers->queue, &left);
		/* Whoever cancels one of them finds it in no list. */
		list_for_each_entry_safe(work, next, &left, node) {
			if (!work->drop)
				list_del_init(&work->node);
		}
	}
	list_for_each_entry_safe(work, next, &left, node) {
		list_del_init(&work->node);
		work->drop(work);
	}
	wake_up_all(&workers->idle);
}

/*
 * The process dies, and with it the guest.  One of its threads may be waiting for
 * what nobody will do any more.
 */
static void worker_killed(void *data)
{
	struct hcall_worker *worker = data;

	workers_drop(worker->workers);
}

static bool workers_busy(struct hcall_workers *workers)
{
	unsigned int i;

	guard(spinlock_irqsave)(&workers->lock);
	for (i = 0; i < workers->started; i++) {
		if (!workers->worker[i].work)
			return false;
	}
	return true;
}

/**
 * hcall_workers_start() - see that there is a worker for more work
 * @vm: in a call
 *
 * One more is started if all that there are have something to do.  No thread is
 * made for a process with a signal, which would take it.
 *
 * Context: a vCPU's thread, or a worker; may sleep.
 * Return: 0, or a negated HCALL_E* if there is none at all.
 */
int hcall_workers_start(struct hcall_vm *vm)
{
	struct hcall_workers *workers = &vm->workers;
	struct hcall_worker *worker;
	struct vhost_task *task;

	if (READ_ONCE(workers->started) == HCALL_WORKERS ||
	    !workers_busy(workers))
		return 0;
	guard(mutex)(&workers->start);
	if (workers->started == HCALL_WORKERS || !workers_busy(workers))
		return 0;
	worker = &workers->worker[workers->started];
	worker->workers = workers;
	task = vhost_task_create(worker_run, worker_killed, worker,
				 "hcall-worker");
	if (IS_ERR_OR_NULL(task)) { /* NULL: before 6.14 and its stable kin */
		if (workers->started)
			return 0;
		return signal_pending(current) ? -HCALL_EINTR : -HCALL_ENOMEM;
	}
	worker->task = task;
	vhost_task_start(task);
	scoped_guard(spinlock_irqsave, &workers->lock)
		workers->started++;
	return 0;
}

/**
 * hcall_work_queue() - have a worker do something
 * @vm:   whose workers; hcall_workers_start() was successful
 * @work: hcall_work_init() was called
 *
 * If they have been stopped, it is dropped.
 *
 * Context: any.
 */
void hcall_work_queue(struct hcall_vm *vm, struct hcall_work *work)
{
	struct hcall_workers *workers = &vm->workers;

	scoped_guard(spinlock_irqsave, &workers->lock) {
		if (!list_empty(&work->node))
			return;
		if (work->runs) {
			work->again = true;
			return;
		}
		if (!workers->stopped) {
			list_add_tail(&work->node, &workers->queue);
			workers_wake_one(workers);
			return;
		}
		/*
		 * What was begun before may still find more to do.  Who waits for
		 * its end, and looks under the lock, may free all of this.
		 */
		if (work->drop) {
			work->drop(work);
			wake_up_all(&workers->idle);
		}
	}
}

static bool work_idle(struct hcall_workers *workers, struct hcall_work *work)
{
	unsigned int i;

	guard(spinlock_irqsave)(&workers->lock);
	list_del_init(&work->node);
	work->again = false;
	for (i = 0; i < workers->started; i++) {
		if (workers->worker[i].work == work)
			return false;
	}
	return true;
}

/**
 * hcall_work_cancel() - see that nobody does it, or will
 * @vm:   whose workers
 * @work: that nobody queues any more
 *
 * Context: not on a worker; may sleep.
 */
void hcall_work_cancel(struct hcall_vm *vm, struct hcall_work *work)
{
	wait_event(vm->workers.idle, work_idle(&vm->workers, work));
}

void hcall_workers_init(struct hcall_vm *vm)
{
	struct hcall_workers *workers = &vm->workers;

	workers->vm = vm;
	mutex_init(&workers->start);
	spin_lock_init(&workers->lock);
	INIT_LIST_HEAD(&workers->queue);
	init_waitqueue_head(&workers->idle);
}

/**
 * hcall_workers_stop() - stop them and drop what they have not done
 * @vm: unbound; no call can start one any more
 */
void hcall_workers_stop(struct hcall_vm *vm)
{
	struct hcall_workers *workers = &vm->workers;
	unsigned int i;

	/* From now on nobody wakes one. */
	scoped_guard(spinlock_irqsave, &workers->lock)
		workers->stopped = true;
	for (i = 0; i < workers->started; i++)
		vhost_task_stop(workers->worker[i].task);
	workers_drop(workers);
	mutex_destroy(&workers->start);
}
