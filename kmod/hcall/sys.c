// SPDX-License-Identifier: GPL-2.0
/*
 * Class 0, sys: what is there, several calls at once, the end, randomness.
 */
#include <linux/kernel.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "dispatch.h"
#include "internal.h"
#include "virtio/virtio.h"

static s64 sys_probe(struct hcall_call *call)
{
	const struct hcall_service *service;
	u8 class_id = call->args[0];

	if (call->args[0] > 255)
		return 0;
	switch (READ_ONCE(call->vm->policy[class_id])) {
	case KVM_HCALL_DENY:
		return 0;
	case KVM_HCALL_FORWARD:
		return READ_ONCE(call->vm->functions[class_id]);
	default:
		service = hcall_service(class_id);
		return service ? service->functions :
				 hcall_bpf_functions(call->vm, class_id);
	}
}

/* The device at @index of all, in the order of class and unit. */
static struct hcall_dev *sys_device_at(struct hcall_vm *vm, u64 index)
{
	struct hcall_dev **dev = &vm->dev[0][0];
	struct hcall_dev *found;
	unsigned int i;

	for (i = 0; i < HCALL_NR_INDEX * KVM_HCALL_MAX_UNITS; i++) {
		found = READ_ONCE(dev[i]);
		if (found && !index--)
			return found;
	}
	return NULL;
}

/**
 * hcall_dev_describe() - what a guest may know of a device
 * @dev:  the device
 * @info: OUT; zeroes before
 *
 * Context: a call.
 */
void hcall_dev_describe(struct hcall_dev *dev, struct hcall_device *info)
{
	info->class_id = dev->service->class_id;
	info->unit = dev->unit;
	info->flags = dev->flags;
	info->channel = dev->channel;
	memcpy(info->name, dev->name, sizeof(info->name));
	dev->service->describe(dev, info);
}

static s64 sys_device(struct hcall_call *call)
{
	u64 bytes = call->args[2];
	struct hcall_device info = {};
	struct hcall_dev *dev;

	if (bytes < HCALL_DEVICE_MIN_BYTES)
		return -HCALL_EINVAL;
	dev = sys_device_at(call->vm, call->args[0]);
	if (!dev)
		return -HCALL_ENODEV;
	hcall_dev_describe(dev, &info);
	bytes = min(bytes, sizeof(info));
	if (hcall_write(call->vm, call->args[1], &info, bytes))
		return -HCALL_EFAULT;
	call->bytes = bytes;
	return bytes;
}

/* ---- BATCH ---------------------------------------------------------------- */

#define BATCH_NUMBER_OK(nr) ((nr) >> 16 == HCALL_PREFIX >> 16)

static __always_inline bool batch_element(struct hcall_call *call,
					  struct hcall_op *op, bool *failed)
{
	s64 result;

	if (unlikely(*failed)) {
		result = -HCALL_ECANCELED;
	} else if (unlikely(op->flags & ~(HCALL_OP_LINK | HCALL_OP_DONE) ||
			    op->reserved)) {
		result = -HCALL_EINVAL;
	} else if (unlikely(!BATCH_NUMBER_OK(op->number))) {
		result = -HCALL_ENOSYS;
	} else {
		call->nr = op->number;
		call->after = HCALL_AFTER_RETURN;
		call->bytes = 0;
		memcpy(call->args, op->args, sizeof(call->args));
		result = hcall_dispatch(call);
		if (unlikely(result == HCALL_DEFER))
			return false;
	}
	*failed = (op->flags & HCALL_OP_LINK) && result < 0;
	op->result = result;
	op->flags |= HCALL_OP_DONE;
	return true;
}

/* Result, then flags: a guest that sees DONE sees the result. */
static __always_inline int batch_answer(const struct hcall_span *span, u32 i,
					const struct hcall_op *op)
{
	struct hcall_op __user *user = (struct hcall_op __user *)span->user + i;

	if (!user_write_access_begin(user, sizeof(*user)))
		return -EFAULT;
	unsafe_put_user(op->result, &user->result, fault);
	smp_wmb(); /* see above */
	unsafe_put_user(op->flags, &user->flags, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

/**
 * hcall_batch_element() - execute one element of an asynchronous batch
 * @call:   @vm, @door and @nowait are set
 * @op:     our copy of the element; result and flags become the answer
 * @failed: does the chain that reaches this element stand broken?
 *
 * Return: false if it would have to wait and @call->nowait; nothing changed.
 */
bool hcall_batch_element(struct hcall_call *call, struct hcall_op *op,
			 bool *failed)
{
	return batch_element(call, op, failed);
}

/**
 * hcall_batch_answer() - write result and flags of an element to the guest,
 * wherever it is
 * @vm:  whose
 * @gpa: of the element
 * @op:  our copy of the element, with the answer
 *
 * Return: 0 or -EFAULT.
 */
int hcall_batch_answer(struct hcall_vm *vm, u64 gpa, const struct hcall_op *op)
{
	if (hcall_write(vm, gpa + offsetof(struct hcall_op, result),
			&op->result, sizeof(op->result)))
		return -EFAULT;
	smp_wmb(); /* as in batch_answer() */
	return hcall_write(vm, gpa + offsetof(struct hcall_op, flags),
			   &op->flags, sizeof(op->flags));
}

static __always_inline int batch_fetch(struct hcall_vm *vm,
				       const struct hcall_span *span, u64 gpa,
				       u32 i, struct hcall_op *op)
{
	struct hcall_op __user *user;

	if (!span)
		return hcall_read(vm, gpa + i * sizeof(*op), op, sizeof(*op));
	user = (struct hcall_op __user *)span->user + i;
	/* Field by field is less than a copy_from_user() of 64 bytes. */
	if (!user_read_access_begin(user, sizeof(*user)))
		return -EFAULT;
	unsafe_get_user(op->number, &user->number, fault);
	unsafe_get_user(op->flags, &user->flags, fault);
	unsafe_get_user(op->args[0], &user->args[0], fault);
	unsafe_get_user(op->args[1], &user->args[1], fault);
	unsafe_get_user(op->args[2], &user->args[2], fault);
	unsafe_get_user(op->args[3], &user->args[3], fault);
	unsafe_get_user(op->reserved, &user->reserved, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

/*
 * Elements are fetched one by one, each once.  A pending signal ends the batch
 * early, but not before its first element, so that a guest which calls again
 * with the rest gets on, and not inside a broken chain, whose rest would then
 * be a chain of its own.  An interrupted element counts as not done.
 */
static s64 batch_sync(struct hcall_call *batch, u64 gpa, u32 count)
{
	struct hcall_vm *vm = batch->vm;
	struct hcall_call call = {
		.vm = vm,
		.vcpu = batch->vcpu,
		.door = HCALL_DOOR_BATCH,
	};
	struct hcall_span array, *span = &array;
	struct hcall_op op __uninitialized; /* batch_fetch() */
	bool failed = false;
	s64 i; /* also the result, which must not turn unsigned */

	if (!hcall_span(vm, gpa, count * sizeof(op), span)) {
		span = NULL;
		if (hcall_check(vm, gpa, count * sizeof(op), ITER_DEST))
			return -HCALL_EFAULT;
	}
	for (i = 0; i < count; i++) {
		if (i && !failed && signal_pending(current))
			break;
		if (batch_fetch(vm, span, gpa, i, &op))
			goto fault;
		batch_element(&call, &op, &failed);
		/* An end stays one, whatever a program makes of its result. */
		if (unlikely(op.result == -HCALL_EINTR &&
			     call.after != HCALL_AFTER_EXIT))
			return i ?: -HCALL_EINTR;
		if (likely(span) ? batch_answer(span, i, &op) :
				   hcall_batch_answer(vm, gpa + i * sizeof(op),
						      &op))
			goto fault;
		if (span && unlikely(span->logged))
			hcall_dirty(vm, gpa + i * sizeof(op), sizeof(op));
		if (call.after == HCALL_AFTER_EXIT) {
			batch->after = call.after;
			batch->exit_reason = call.exit_reason;
			batch->exit_code = call.exit_code;
			return i + 1;
		}
		if (need_resched())
			cond_resched();
	}
	return i;
fault:
	return i ?: -HCALL_EFAULT;
}

static s64 sys_batch(struct hcall_call *call)
{
	u64 gpa = call->args[0], count = call->args[1], flags = call->args[2];
	u64 channel = call->args[3];

	if (call->door != HCALL_DOOR_REGISTER)
		return -HCALL_EOPNOTSUPP;
	if (!count || gpa % sizeof(u64) || flags & ~(u64)HCALL_BATCH_ASYNC ||
	    (flags ? channel < HCALL_CHANNEL_GUEST || channel >= HCALL_CHANNELS :
		     channel))
		return -HCALL_EINVAL;
	if (count > HCALL_BATCH_MAX_OPS)
		return -HCALL_E2BIG;
	if (!flags)
		return batch_sync(call, gpa, count);
	if (hcall_check(call->vm, gpa, count * sizeof(struct hcall_op),
			ITER_DEST))
		return -HCALL_EFAULT;
	return hcall_async_submit(call, gpa, count, channel);
}

static s64 sys_exit(struct hcall_call *call)
{
	if (call->door == HCALL_DOOR_ASYNC) /* no vCPU to leave with */
		return -HCALL_EOPNOTSUPP;
	if (call->args[0] > HCALL_EXIT_PANIC || call->args[1] > 255)
		return -HCALL_EINVAL;
	call->exit_reason = array_index_nospec(call->args[0],
					       HCALL_EXIT_PANIC + 1);
	call->exit_code = call->args[1];
	call->after = HCALL_AFTER_EXIT;
	return 0;
}

static s64 sys_random(struct hcall_call *call)
{
	u64 gpa = call->args[0], len = call->args[1];
	u8 bytes[256];
	u64 done, part;
	s64 ret = len;

	if (!len)
		return -HCALL_EINVAL;
	if (len > HCALL_RANDOM_MAX_BYTES)
		return -HCALL_E2BIG;
	if (hcall_call_check(call, gpa, len, ITER_DEST))
		return -HCALL_EFAULT;
	for (done = 0; done < len; done += part) {
		part = min(len - done, sizeof(bytes));
		get_random_bytes(bytes, part);
		if (hcall_call_write(call, gpa, done, bytes, part)) {
			ret = -HCALL_EFAULT;
			break;
		}
	}
	memzero_explicit(bytes, sizeof(bytes));
	call->bytes = done;
	return ret;
}

const struct hcall_service hcall_sys = {
	.class_id = HCALL_CLASS_SYS,
	.index = HCALL_INDEX_SYS,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_SYS_PROBE)] = sys_probe,
		[HCALL_NR_FUNCTION(HCALL_SYS_DEVICE)] = sys_device,
		[HCALL_NR_FUNCTION(HCALL_SYS_BATCH)] = sys_batch,
		[HCALL_NR_FUNCTION(HCALL_SYS_EXIT)] = sys_exit,
		[HCALL_NR_FUNCTION(HCALL_SYS_RANDOM)] = sys_random,
	},
	.functions = HCALL_FN_BIT(HCALL_SYS_PROBE) |
		     HCALL_FN_BIT(HCALL_SYS_DEVICE) |
		     HCALL_FN_BIT(HCALL_SYS_BATCH) |
		     HCALL_FN_BIT(HCALL_SYS_EXIT) |
		     HCALL_FN_BIT(HCALL_SYS_RANDOM),
	.virtio = &hcall_virtio_rng,
};
