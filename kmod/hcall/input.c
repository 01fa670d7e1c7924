// SPDX-License-Identifier: GPL-2.0
/*
 * Class 4, input: events of a keyboard, pointer, ..., in virtio-input's form.
 *
 * They come from an evdev device or from a pipe.  evdev only knows how to read
 * into user memory, in records of another size: it gets some of the launcher's.
 * What is not read in time is its business, too: it keeps a ring for each open
 * file and says SYN_DROPPED.
 */
#include <linux/cleanup.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/input.h>
#include <linux/major.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "virtio/virtio.h"

static_assert(KVM_HCALL_INPUT_TYPES == EV_CNT);
static_assert(KVM_HCALL_INPUT_CODE_BYTES * 8 == KEY_CNT);
static_assert(KVM_HCALL_INPUT_AXES == ABS_CNT);
static_assert(sizeof(struct kvm_hcall_axis) == sizeof(struct hcall_input_axis));

/*
 * A struct input_event is a time and then type, code and value, which is all
 * that a struct hcall_input_event is.
 */
#define EVDEV_MAX_BYTES sizeof(struct input_event)

static_assert(sizeof(struct input_event) -
		      offsetof(struct input_event, type) ==
	      sizeof(struct hcall_input_event));
static_assert(sizeof(struct hcall_input_event) == sizeof(u64));
static_assert(HCALL_INPUT_MAX_EVENTS * EVDEV_MAX_BYTES <=
	      KVM_HCALL_BUFFER_BYTES);

/**
 * struct input - an input device
 * @dev:    what all devices have
 * @lock:   protects the launcher's buffer: one transfer at a time
 * @buffer: for evdev; NULL: this is a pipe
 * @in:     where events come from
 * @out:    where the guest's go to
 * @config: what CONFIG answers
 */
struct input {
	struct hcall_dev dev;
	struct mutex lock;
	u8 __user *buffer;
	struct hcall_end in;
	struct hcall_end out;
	struct kvm_hcall_input config;
};

/* ---- Moving events --------------------------------------------------------- */

/* evdev's records depend on who calls; we call in the name of the launcher. */
static size_t evdev_bytes(void)
{
	return in_compat_syscall() && !COMPAT_USE_64BIT_TIME ?
		       16 : sizeof(struct input_event);
}

/* Where in the buffer the part is that is an event of ours. */
static u8 __user *evdev_event(struct input *input, size_t bytes, u32 i)
{
	return input->buffer + (i + 1) * bytes -
	       sizeof(struct hcall_input_event);
}

/*
 * What has been read goes on to the guest.
 * @span: its memory at @gpa, or NULL: that is not in one piece
 */
static __always_inline ssize_t evdev_deliver(struct input *input, size_t bytes,
					     u64 gpa, u32 count,
					     const struct hcall_span *span)
{
	struct hcall_vm *vm = input->dev.vm;
	u64 event; /* a struct hcall_input_event */
	u32 i;

	for (i = 0; i < count; i++) {
		if (get_user(event, (u64 __user *)evdev_event(input, bytes, i)))
			return -EIO;
		if (likely(span) ? put_user(event, (u64 __user *)span->user + i) :
				   hcall_write(vm, gpa + i * sizeof(event),
					       &event, sizeof(event)))
			return -EFAULT;
	}
	if (span && unlikely(span->logged))
		hcall_dirty(vm, gpa, count * sizeof(event));
	return count;
}

static __always_inline ssize_t evdev_read(struct input *input, u64 gpa,
					  u32 count,
					  const struct hcall_span *span)
{
	struct file *file = input->in.file;
	size_t bytes = evdev_bytes();
	loff_t pos = 0;
	ssize_t ret;

	if (!(file->f_flags & O_NONBLOCK))
		return -EIO; /* the launcher has changed its mind */
	if (mutex_lock_interruptible(&input->lock))
		return -EINTR;
	ret = file->f_op->read(file, (char __user *)input->buffer,
			       count * bytes, &pos);
	if (ret > 0)
		ret = evdev_deliver(input, bytes, gpa,
				    min_t(size_t, ret / bytes, count), span);
	mutex_unlock(&input->lock);
	return ret;
}

static ssize_t evdev_write(struct input *input,
			   const struct hcall_input_event *events, u32 count)
{
	struct file *file = input->out.file;
	size_t bytes = evdev_bytes();
	loff_t pos = 0;
	ssize_t ret;
	u32 i;

	if (!(file->f_flags & O_NONBLOCK))
		return -EIO;
	if (mutex_lock_interruptible(&input->lock))
		return -EINTR;
	ret = clear_user(input->buffer, count * bytes) ? -EIO : 0;
	for (i = 0; !ret && i < count; i++) {
		if (copy_to_user(evdev_event(input, bytes, i), &events[i],
				 sizeof(*events)))
			ret = -EIO;
	}
	if (!ret)
		ret = file->f_op->write(file, (char __user *)input->buffer,
					count * bytes, &pos);
	mutex_unlock(&input->lock);
	return ret < 0 ? ret : ret / bytes;
}

static ssize_t pipe_rw(struct hcall_end *end, unsigned int dir,
		       struct hcall_input_event *events, u32 count)
{
	struct kvec kvec = { events, count * sizeof(*events) };
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_kvec(&iter, dir, &kvec, 1, kvec.iov_len);
	ret = hcall_end_rw(end, &iter);
	if (ret < 0)
		return ret;
	/* Nothing: the writer has gone.  Parts of events are nobody's. */
	return ret / sizeof(*events) ?: -EIO;
}

static noinline ssize_t pipe_read(struct input *input, u64 gpa, u32 count)
{
	struct hcall_input_event events[HCALL_INPUT_MAX_EVENTS] __uninitialized;
	ssize_t ret = pipe_rw(&input->in, ITER_DEST, events, count);

	if (ret > 0 && hcall_write(input->dev.vm, gpa, events,
				   ret * sizeof(*events)))
		return -EFAULT;
	return ret;
}

/* Return: how many events, or a negative errno. */
static __always_inline ssize_t input_take(struct input *input, u64 gpa,
					  u32 count,
					  const struct hcall_span *span)
{
	return input->buffer ? evdev_read(input, gpa, count, span) :
			       pipe_read(input, gpa, count);
}

static ssize_t input_give(struct input *input, struct hcall_input_event *events,
			  u32 count)
{
	if (input->buffer)
		return evdev_write(input, events, count);
	return pipe_rw(&input->out, ITER_SOURCE, events, count);
}

/* ---- Calls ----------------------------------------------------------------- */

static struct input *input_of(const struct hcall_call *call)
{
	struct hcall_dev *dev =
		hcall_dev(call, HCALL_INDEX_INPUT, call->args[0]);

	return dev ? container_of(dev, struct input, dev) : NULL;
}

static s64 input_read(struct hcall_call *call)
{
	u64 gpa = call->args[1], count = call->args[2], flags = call->args[3];
	const u32 bytes = sizeof(struct hcall_input_event);
	struct hcall_span memory, *span = &memory;
	struct input *input;
	ssize_t ret;

	if (!count || flags & ~(u64)HCALL_NOWAIT)
		return -HCALL_EINVAL;
	input = input_of(call);
	if (!input)
		return -HCALL_ENODEV;
	if (count > HCALL_INPUT_MAX_EVENTS)
		return -HCALL_E2BIG;
	/* What has been taken cannot be put back, so look here first. */
	if (!hcall_span(call->vm, gpa, count * bytes, span)) {
		span = NULL;
		if (hcall_check(call->vm, gpa, count * bytes, ITER_DEST))
			return -HCALL_EFAULT;
	}

	ret = input_take(input, gpa, count, span);
	if (ret == -EAGAIN) {
		ret = hcall_end_wait(&input->in, call, flags);
		if (!ret)
			ret = input_take(input, gpa, count, span);
	}
	if (ret < 0)
		return hcall_error(ret);
	if (!ret)
		return -HCALL_EAGAIN;
	call->bytes = ret * bytes;
	return ret;
}

/* Only lights: what else evdev takes changes the device, or reaches everybody. */
static bool input_may_write(const struct hcall_input_event *events, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (events[i].type != EV_LED &&
		    (events[i].type != EV_SYN || events[i].code != SYN_REPORT))
			return false;
	}
	return true;
}

static s64 input_write(struct hcall_call *call)
{
	struct hcall_input_event events[HCALL_INPUT_MAX_EVENTS] __uninitialized;
	u64 gpa = call->args[1], count = call->args[2];
	struct input *input;
	ssize_t ret;

	if (!count)
		return -HCALL_EINVAL;
	input = input_of(call);
	if (!input)
		return -HCALL_ENODEV;
	if (count > HCALL_INPUT_MAX_EVENTS)
		return -HCALL_E2BIG;
	if (!input->out.file)
		return -HCALL_EOPNOTSUPP;
	if (hcall_read(call->vm, gpa, events, count * sizeof(*events)))
		return -HCALL_EFAULT;
	if (!input_may_write(events, count))
		return -HCALL_EINVAL;

	ret = input_give(input, events, count);
	if (ret == -EAGAIN) {
		ret = hcall_end_wait(&input->out, call, HCALL_NOWAIT);
		if (!ret)
			ret = input_give(input, events, count);
	}
	if (ret < 0)
		return hcall_error(ret);
	call->bytes = ret * sizeof(*events);
	return ret;
}

/* A bitmap ends with its last byte that is not 0. */
static u32 bitmap_bytes(const u8 *bitmap, u32 bytes)
{
	while (bytes && !bitmap[bytes - 1])
		bytes--;
	return bytes;
}

/* Return: how many bytes the answer at @data has; 0: there is none. */
static u32 config_select(const struct kvm_hcall_input *config, u8 select,
			 u8 subsel, const void **data)
{
	const u8 *axes = config->codes[EV_ABS];

	if (select == HCALL_INPUT_CODES && subsel < KVM_HCALL_INPUT_TYPES) {
		subsel = array_index_nospec(subsel, KVM_HCALL_INPUT_TYPES);
		*data = config->codes[subsel];
		return bitmap_bytes(*data, KVM_HCALL_INPUT_CODE_BYTES);
	}
	if (select == HCALL_INPUT_AXIS && subsel < KVM_HCALL_INPUT_AXES) {
		subsel = array_index_nospec(subsel, KVM_HCALL_INPUT_AXES);
		*data = &config->axes[subsel];
		return axes[subsel / 8] & BIT(subsel % 8) ?
			       sizeof(struct hcall_input_axis) : 0;
	}
	if (subsel)
		return 0;
	switch (select) {
	case HCALL_INPUT_NAME:
		*data = config->name;
		return strlen(config->name);
	case HCALL_INPUT_SERIAL:
		*data = config->serial;
		return strlen(config->serial);
	case HCALL_INPUT_IDS:
		*data = &config->bustype;
		return sizeof(struct hcall_input_ids);
	case HCALL_INPUT_PROPERTIES:
		*data = config->properties;
		return bitmap_bytes(*data, sizeof(config->properties));
	default:
		return 0;
	}
}

/**
 * hcall_input_config() - what CONFIG answers
 * @dev:    an input device
 * @select: HCALL_INPUT_*
 * @subsel: what of it
 * @to:     OUT
 * @room:   bytes there
 *
 * Return: bytes of the answer, at most @room; 0: there is none.
 */
u32 hcall_input_config(struct hcall_dev *dev, u8 select, u8 subsel, void *to,
		       u32 room)
{
	struct input *input = container_of(dev, struct input, dev);
	const void *data;
	u32 bytes;

	bytes = min(config_select(&input->config, select, subsel, &data), room);
	if (bytes)
		memcpy(to, data, bytes);
	return bytes;
}

static s64 input_config(struct hcall_call *call)
{
	u64 select = call->args[1], gpa = call->args[2], room = call->args[3];
	struct input *input;
	const void *data;
	u32 bytes;

	if (select > U16_MAX || !room)
		return -HCALL_EINVAL;
	input = input_of(call);
	if (!input)
		return -HCALL_ENODEV;
	bytes = config_select(&input->config, select >> 8, select, &data);
	if (!bytes)
		return 0;
	call->bytes = min_t(u64, room, bytes);
	if (hcall_write(call->vm, gpa, data, call->bytes)) {
		call->bytes = 0;
		return -HCALL_EFAULT;
	}
	return bytes;
}

/* ---- Set-up ------------------------------------------------------------------ */

static bool text_ok(const char *text)
{
	size_t len = strnlen(text, KVM_HCALL_INPUT_TEXT_BYTES);

	return len < KVM_HCALL_INPUT_TEXT_BYTES &&
	       !memchr_inv(text + len, 0, KVM_HCALL_INPUT_TEXT_BYTES - len);
}

static int config_copy(struct kvm_hcall_input *config, u64 user)
{
	if (copy_from_user(config, u64_to_user_ptr(user), sizeof(*config)))
		return -EFAULT;
	if (config->flags || config->reserved || !text_ok(config->name) ||
	    !text_ok(config->serial) ||
	    memchr_inv(config->codes[EV_SYN], 0, sizeof(config->codes[EV_SYN])))
		return -EINVAL;
	return 0;
}

/* Only files that do not block us; see also console_check_file(). */
static int input_check_file(struct file *file, bool out, bool evdev)
{
	const struct inode *inode = file_inode(file);

	if (!(file->f_mode & (out ? FMODE_WRITE : FMODE_READ)))
		return -EACCES;
	if (!evdev)
		return S_ISFIFO(inode->i_mode) ? 0 : -EINVAL;
	if (S_ISCHR(inode->i_mode) && imajor(inode) == INPUT_MAJOR &&
	    file->f_flags & O_NONBLOCK && file->f_op->read && file->f_op->write)
		return 0;
	return -EINVAL;
}

static int input_open(struct input *input, struct hcall_end *end, int fd,
		      bool out)
{
	struct file *file = fget(fd);
	int ret;

	if (!file)
		return -EBADF;
	ret = input_check_file(file, out, input->buffer);
	if (ret) {
		fput(file);
		return ret;
	}
	return hcall_end_open(end, &input->dev, file, out ? EPOLLOUT : EPOLLIN);
}

static void input_remove(struct hcall_dev *dev)
{
	struct input *input = container_of(dev, struct input, dev);

	hcall_end_close(&input->out);
	hcall_end_close(&input->in);
	mutex_destroy(&input->lock);
	kfree(input);
}

static struct hcall_dev *input_add(struct hcall_vm *vm,
				   const struct kvm_hcall_add *add)
{
	struct input *input;
	int ret;

	if (add->flags)
		return ERR_PTR(-EINVAL);
	input = kzalloc(sizeof(*input), GFP_KERNEL_ACCOUNT);
	if (!input)
		return ERR_PTR(-ENOMEM);
	hcall_dev_init(&input->dev, &hcall_input, vm, add);
	mutex_init(&input->lock);
	input->buffer = u64_to_user_ptr(add->buffer);
	ret = config_copy(&input->config, add->input);
	if (!ret)
		ret = input_open(input, &input->in, add->fd_in, false);
	if (!ret && add->fd != -1)
		ret = input_open(input, &input->out, add->fd, true);
	if (ret) {
		input_remove(&input->dev);
		return ERR_PTR(ret);
	}
	return &input->dev;
}

static bool input_ready(struct hcall_dev *dev)
{
	return hcall_end_ready(&container_of(dev, struct input, dev)->in);
}

static void input_describe(struct hcall_dev *dev, struct hcall_device *info)
{
	info->u.input.max_events = HCALL_INPUT_MAX_EVENTS;
}

const struct hcall_service hcall_input = {
	.class_id = HCALL_CLASS_INPUT,
	.index = HCALL_INDEX_INPUT,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_INPUT_READ)] = input_read,
		[HCALL_NR_FUNCTION(HCALL_INPUT_WRITE)] = input_write,
		[HCALL_NR_FUNCTION(HCALL_INPUT_CONFIG)] = input_config,
	},
	.functions = HCALL_FN_BIT(HCALL_INPUT_READ) |
		     HCALL_FN_BIT(HCALL_INPUT_WRITE) |
		     HCALL_FN_BIT(HCALL_INPUT_CONFIG),
	.add = input_add,
	.ready = input_ready,
	.remove = input_remove,
	.describe = input_describe,
	.virtio = &hcall_virtio_input,
};
