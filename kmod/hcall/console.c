// SPDX-License-Identifier: GPL-2.0
/*
 * Class 1, console: bytes to and from a pipe, a pseudo-terminal or a file.
 *
 * No call blocks on the host's side of a console: see end.c.
 */
#include <linux/file.h>
#include <linux/major.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "internal.h"
#include "memory.h"
#include "virtio/virtio.h"

/**
 * struct console - a console
 * @dev:  what all devices have
 * @size: what SIZE answers
 * @out:  where the guest writes to
 * @in:   where it reads from
 */
struct console {
	struct hcall_dev dev;
	u32 size;
	struct hcall_end out;
	struct hcall_end in;
};

/* Move what can be moved, or go to sleep. */
static ssize_t end_transfer(struct hcall_end *end, struct hcall_call *call,
			    const struct iov_iter *iter, u64 flags)
{
	ssize_t ret = hcall_end_rw(end, iter);

	if (ret == -EAGAIN) {
		ret = hcall_end_wait(end, call, flags);
		if (!ret)
			ret = hcall_end_rw(end, iter);
	}
	return ret;
}

static struct console *console_of(const struct hcall_call *call)
{
	struct hcall_dev *dev = hcall_dev(call, HCALL_INDEX_CONSOLE,
					  call->args[0]);

	return dev ? container_of(dev, struct console, dev) : NULL;
}

static s64 console_transfer(struct hcall_call *call, unsigned int dir)
{
	u64 gpa = call->args[1], len = call->args[2], flags = call->args[3];
	struct hcall_buffer buffer __uninitialized; /* hcall_buffer() */
	struct console *console;
	struct hcall_end *end;
	ssize_t done;

	if (!len || flags & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	console = console_of(call);
	if (!console)
		return -HCALL_ENODEV;
	if (len > HCALL_CONSOLE_MAX_BYTES)
		return -HCALL_E2BIG;
	if (hcall_call_buffer(call, gpa, len, dir, &buffer) < 0)
		return -HCALL_EFAULT;

	end = dir == ITER_DEST ? &console->in : &console->out;
	if (!end->file)
		return 0; /* an input that has ended before it began */
	done = end_transfer(end, call, &buffer.iter, flags);
	if (done < 0)
		return hcall_error(done);
	if (!done && dir == ITER_SOURCE)
		return -HCALL_EIO;
	call->bytes = done;
	if (dir == ITER_DEST && buffer.logged)
		hcall_call_dirty(call, gpa, done);
	return done;
}

static s64 console_write(struct hcall_call *call)
{
	return console_transfer(call, ITER_SOURCE);
}

static s64 console_read(struct hcall_call *call)
{
	return console_transfer(call, ITER_DEST);
}

/* One byte, in a register instead of in memory. */
static ssize_t end_byte(struct hcall_end *end, struct hcall_call *call,
			unsigned int dir, u8 *byte, u64 flags)
{
	struct kvec kvec = { .iov_base = byte, .iov_len = 1 };
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_kvec(&iter, dir, &kvec, 1, 1);
	ret = end_transfer(end, call, &iter, flags);
	if (ret < 0)
		return hcall_error(ret);
	if (!ret)
		return -HCALL_EIO;
	call->bytes = 1;
	return 1;
}

static s64 console_putc(struct hcall_call *call)
{
	struct console *console;
	u8 byte = call->args[1];

	if (call->args[1] > 255 || call->args[2] & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	console = console_of(call);
	if (!console)
		return -HCALL_ENODEV;
	return end_byte(&console->out, call, ITER_SOURCE, &byte, call->args[2]);
}

static s64 console_getc(struct hcall_call *call)
{
	struct console *console;
	u8 byte = 0;
	s64 ret;

	if (call->args[1] & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	console = console_of(call);
	if (!console)
		return -HCALL_ENODEV;
	if (!console->in.file)
		return -HCALL_EIO;
	ret = end_byte(&console->in, call, ITER_DEST, &byte, call->args[1]);
	return ret < 0 ? ret : byte;
}

static s64 console_size(struct hcall_call *call)
{
	struct console *console = console_of(call);

	/* Not "?:": of u32 and int it makes u32, and of an error a number. */
	if (!console)
		return -HCALL_ENODEV;
	return READ_ONCE(console->size);
}

/* ---- Set-up ----------------------------------------------------------------- */

/*
 * Only files that neither block us nor hold references to other files: a
 * socket could carry this very instance, which then nobody could close.
 */
static int console_check_file(struct file *file, bool out)
{
	const struct inode *inode = file_inode(file);

	if (!(file->f_mode & (out ? FMODE_WRITE : FMODE_READ)))
		return -EACCES;
	if (out ? !file->f_op->write_iter : !file->f_op->read_iter)
		return -EINVAL;
	if (S_ISFIFO(inode->i_mode))
		return 0;
	/* The master of a pseudo-terminal: no job control, no hang-up. */
	if (S_ISCHR(inode->i_mode) &&
	    inode->i_rdev == MKDEV(TTYAUX_MAJOR, 2) &&
	    file->f_flags & O_NONBLOCK)
		return 0;
	if (out && S_ISREG(inode->i_mode) && file->f_flags & O_APPEND)
		return 0;
	return -EINVAL;
}

static int console_open(struct console *console, struct hcall_end *end, int fd,
			bool out)
{
	struct file *file = fget(fd);
	int ret;

	if (!file)
		return -EBADF;
	ret = console_check_file(file, out);
	if (ret) {
		fput(file);
		return ret;
	}
	return hcall_end_open(end, &console->dev, file, out ? EPOLLOUT : EPOLLIN);
}

static void console_remove(struct hcall_dev *dev)
{
	struct console *console = container_of(dev, struct console, dev);

	hcall_end_close(&console->out);
	hcall_end_close(&console->in);
	kfree(console);
}

static struct hcall_dev *console_add(struct hcall_vm *vm,
				     const struct kvm_hcall_add *add)
{
	struct console *console;
	int ret;

	if (add->flags || add->rows > S16_MAX)
		return ERR_PTR(-EINVAL);
	console = kzalloc(sizeof(*console), GFP_KERNEL_ACCOUNT);
	if (!console)
		return ERR_PTR(-ENOMEM);
	hcall_dev_init(&console->dev, &hcall_console, vm, add);
	console->size = (u32)add->rows << 16 | add->columns;
	ret = console_open(console, &console->out, add->fd, true);
	if (!ret && add->fd_in != -1)
		ret = console_open(console, &console->in, add->fd_in, false);
	if (ret) {
		console_remove(&console->dev);
		return ERR_PTR(ret);
	}
	return &console->dev;
}

static bool console_ready(struct hcall_dev *dev)
{
	return hcall_end_ready(&container_of(dev, struct console, dev)->in);
}

static void console_describe(struct hcall_dev *dev, struct hcall_device *info)
{
	struct console *console = container_of(dev, struct console, dev);
	u32 size = READ_ONCE(console->size);

	info->u.console.columns = HCALL_SIZE_COLUMNS(size);
	info->u.console.rows = HCALL_SIZE_ROWS(size);
	info->u.console.max_bytes = HCALL_CONSOLE_MAX_BYTES;
}

static int console_resize(struct hcall_dev *dev,
			  const struct kvm_hcall_resize *resize)
{
	struct console *console = container_of(dev, struct console, dev);

	if (resize->rows > S16_MAX)
		return -EINVAL;
	WRITE_ONCE(console->size, (u32)resize->rows << 16 | resize->columns);
	return 0;
}

const struct hcall_service hcall_console = {
	.class_id = HCALL_CLASS_CONSOLE,
	.index = HCALL_INDEX_CONSOLE,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_CONSOLE_WRITE)] = console_write,
		[HCALL_NR_FUNCTION(HCALL_CONSOLE_READ)] = console_read,
		[HCALL_NR_FUNCTION(HCALL_CONSOLE_PUTC)] = console_putc,
		[HCALL_NR_FUNCTION(HCALL_CONSOLE_GETC)] = console_getc,
		[HCALL_NR_FUNCTION(HCALL_CONSOLE_SIZE)] = console_size,
	},
	.functions = HCALL_FN_BIT(HCALL_CONSOLE_WRITE) |
		     HCALL_FN_BIT(HCALL_CONSOLE_READ) |
		     HCALL_FN_BIT(HCALL_CONSOLE_PUTC) |
		     HCALL_FN_BIT(HCALL_CONSOLE_GETC) |
		     HCALL_FN_BIT(HCALL_CONSOLE_SIZE),
	.add = console_add,
	.ready = console_ready,
	.remove = console_remove,
	.describe = console_describe,
	.resize = console_resize,
	.virtio = &hcall_virtio_console,
};
