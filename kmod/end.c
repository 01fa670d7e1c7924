// SPDX-License-Identifier: GPL-2.0
/*
 * Ends: the files behind consoles, input devices and network interfaces.
 *
 * No call blocks on the host's side of a file.  If nothing can be moved the
 * vCPU sleeps as HLT does (hcall_sleep()) until the file's own wait queue says
 * that something can, and the guest calls again.  The same wait queue lets the
 * device's channel fire.
 */
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/* Context: the wait queue's lock is held, interrupts are mostly off. */
static int end_wake(struct wait_queue_entry *entry, unsigned int mode, int sync,
		    void *key)
{
	struct hcall_end_wait *wait =
		container_of(entry, struct hcall_end_wait, entry);
	struct hcall_end *end = wait->end;
	__poll_t events = key_to_poll(key);
	bool out = end->events & EPOLLOUT;

	if (events && !(events & end->events))
		return 0;
	/* Room is news only for who has found none. */
	if (!out || READ_ONCE(end->starved)) {
		WRITE_ONCE(end->starved, false);
		if (!hcall_front_wake(READ_ONCE(end->dev->front),
				      2 * end->pair + out))
			hcall_fire(end->dev->vm, end->dev->channel);
	}
	hcall_wake(&end->first->sleepers);
	return 0;
}

struct end_table {
	poll_table table;
	struct hcall_end *end;
};

static void end_queue(struct file *file, struct wait_queue_head *queue,
		      poll_table *table)
{
	struct hcall_end *end = container_of(table, struct end_table, table)->end;
	struct hcall_end_wait *wait;

	if (end->waits == HCALL_END_QUEUES)
		return;
	wait = &end->wait[end->waits++];
	wait->queue = queue;
	wait->end = end;
	init_waitqueue_func_entry(&wait->entry, end_wake);
	add_wait_queue(queue, &wait->entry);
}

/**
 * hcall_end_open() - take a file
 * @end:    zeroed, but for @pair and @first
 * @dev:    hcall_dev_init() has been called
 * @file:   a reference, which is @end's from now on
 * @events: EPOLLIN or EPOLLOUT
 *
 * Return: 0; -EINVAL: it would never tell when something can be moved, as a tap
 * that has no interface yet; the caller closes @end all the same.
 */
int hcall_end_open(struct hcall_end *end, struct hcall_dev *dev,
		   struct file *file, __poll_t events)
{
	struct end_table table = { .end = end };

	end->file = file;
	end->dev = dev;
	end->events = events | EPOLLERR | EPOLLHUP;
	if (!end->first)
		end->first = end;
	hcall_sleepers_init(&end->sleepers, dev->vm);
	init_poll_funcptr(&table.table, end_queue);
	vfs_poll(file, &table.table);
	return file_can_poll(file) && !end->waits ? -EINVAL : 0;
}

/**
 * hcall_end_close() - let go of the file, if there is one
 * @end: no call can find it any more; of several the first is the last
 */
void hcall_end_close(struct hcall_end *end)
{
	if (!end->file)
		return;
	while (end->waits) {
		struct hcall_end_wait *wait = &end->wait[--end->waits];

		remove_wait_queue(wait->queue, &wait->entry);
	}
	/* Who sleeps here has nothing left to wait for. */
	hcall_sleepers_free(&end->sleepers);
	fput(end->file);
	end->file = NULL;
}

/**
 * hcall_end_ready() - can something be moved now?
 * @end: with or without a file
 */
bool hcall_end_ready(struct hcall_end *end)
{
	return end->file && vfs_poll(end->file, NULL) & end->events;
}

/**
 * hcall_end_wait() - nothing could be moved: sleep, if the guest likes to
 * @end:   has said -EAGAIN, and so have those that are @next
 * @call:  the call
 * @flags: HCALL_NOWAIT or 0
 *
 * Return: 0: try once more; -EAGAIN: the call's result, after which the vCPU
 * may sleep; -EINTR or -EIO: also the result.
 */
int hcall_end_wait(struct hcall_end *end, struct hcall_call *call, u64 flags)
{
	bool sleeps = !(flags & HCALL_NOWAIT) && hcall_may_sleep(call);
	struct hcall_end *one;
	__poll_t events = 0;

	if (sleeps && signal_pending(current))
		return -EINTR;
	WRITE_ONCE(end->starved, true);
	smp_mb(); /* against end_wake(): room, then starved */
	if (sleeps)
		hcall_sleep(&end->sleepers, call);
	/* What became possible before this wakes nobody and fires nothing. */
	for (one = end; one; one = sleeps ? one->next : NULL)
		events |= vfs_poll(one->file, NULL);
	if (!(events & end->events))
		return -EAGAIN;
	if (sleeps)
		hcall_stay_awake(&end->sleepers, call);
	/* A tap without its interface: it has nothing, and never will. */
	return (events & (EPOLLERR | EPOLLIN)) == EPOLLERR ? -EIO : 0;
}

/**
 * hcall_end_rw() - one attempt that does not block
 * @end: with a file
 * @all: what is to be moved; not advanced.  A terminal takes bytes out of the
 *	 iterator that it finds no room for, also if it then says -EAGAIN.
 *
 * Return: bytes moved; 0: the input has ended; or a negative errno.
 */
ssize_t hcall_end_rw(struct hcall_end *end, const struct iov_iter *all)
{
	struct iov_iter attempt = *all, *iter = &attempt;
	struct file *file = end->file;
	struct kiocb iocb;

	init_sync_kiocb(&iocb, file);
	if (S_ISFIFO(file_inode(file)->i_mode))
		iocb.ki_flags |= IOCB_NOWAIT;
	else if (S_ISCHR(file_inode(file)->i_mode) &&
		 !(file->f_flags & O_NONBLOCK))
		return -EIO; /* the launcher has changed its mind */

	if (iov_iter_rw(iter) == READ)
		return vfs_iocb_iter_read(file, &iocb, iter);

	/* Nobody reads any more: do not let the launcher die of SIGPIPE. */
	if (vfs_poll(file, NULL) & EPOLLERR)
		return -EPIPE;
	if (S_ISREG(file_inode(file)->i_mode) &&
	    i_size_read(file_inode(file)) + iov_iter_count(iter) >
		    rlimit(RLIMIT_FSIZE))
		return -EFBIG; /* nor of SIGXFSZ */
	iocb.ki_flags |= IOCB_NOSIGNAL;
	return vfs_iocb_iter_write(file, &iocb, iter);
}
