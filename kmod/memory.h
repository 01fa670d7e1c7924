/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest buffer becomes an iov_iter: the part of memory.c that each block
 * transfer goes through, inline for what a call and a return cost.  For memory.c
 * and the services that move data; the others need only internal.h.
 */
#ifndef HCALL_MEMORY_H
#define HCALL_MEMORY_H

#include <linux/kvm_host.h>

#include "internal.h"

#define HCALL_SEGMENTS 8 /* memslots that one iov_iter reaches over */

/**
 * struct hcall_buffer - a guest buffer, ready for I/O
 * @iter:   over the guest's own pages
 * @logged: the launcher wants to know what is written: see hcall_dirty()
 * @iov:    what @iter walks if the buffer crosses memslots
 */
struct hcall_buffer {
	struct iov_iter iter;
	bool logged;
	struct iovec iov[HCALL_SEGMENTS + 1]; /* see hcall_buffer_prefix() */
};

/*
 * The memslot of @gpa if a guest may use it so, or NULL.
 * @dir: ITER_DEST if guest memory is written to, else ITER_SOURCE
 */
static __always_inline struct kvm_memory_slot *
slot_of(struct hcall_vm *vm, u64 gpa, unsigned int dir)
{
	u32 bad = KVM_MEMSLOT_INVALID | KVM_MEM_GUEST_MEMFD;
	struct kvm *kvm = vm->binding.kvm;
	struct kvm_memory_slot *slot;

	slot = __gfn_to_memslot(srcu_dereference(kvm->memslots[0], &kvm->srcu),
				gpa_to_gfn(gpa));
	if (dir == ITER_DEST)
		bad |= KVM_MEM_READONLY;
	return slot && !(slot->flags & bad) ? slot : NULL;
}

static inline void __user *slot_user(const struct kvm_memory_slot *slot, u64 gpa)
{
	return (void __user *)(__gfn_to_hva_memslot(slot, gpa_to_gfn(gpa)) +
			       offset_in_page(gpa));
}

/* How many bytes from @gpa on are in @slot. */
static inline u64 slot_left(const struct kvm_memory_slot *slot, u64 gpa)
{
	return gfn_to_gpa(slot->base_gfn + slot->npages) - gpa;
}

/* A range that is empty or wraps around is nobody's memory. */
static inline bool range_ok(u64 gpa, u64 len)
{
	return len && gpa + len > gpa;
}

void hcall_buffer_prefix(struct hcall_buffer *buffer, void __user *user,
			 size_t len);
int hcall_buffer_over_slots(struct hcall_vm *vm, u64 gpa, u64 len,
			    unsigned int dir, struct hcall_buffer *buffer);

/**
 * hcall_buffer() - make a guest buffer ready for I/O
 * @vm:     the caller's
 * @gpa:    guest-physical address, of any alignment
 * @len:    in bytes, not 0
 * @dir:    ITER_DEST if it will be written to, else ITER_SOURCE
 * @buffer: OUT
 *
 * The whole range is checked.  After writing to it, if it is @logged, the
 * caller calls hcall_dirty().
 *
 * Return: 0; 1: the iterator covers only the first part, as the buffer crosses
 * more than HCALL_SEGMENTS memslots; -EFAULT.
 */
static __always_inline int hcall_buffer(struct hcall_vm *vm, u64 gpa, u64 len,
					unsigned int dir,
					struct hcall_buffer *buffer)
{
	const struct kvm_memory_slot *slot;

	if (!range_ok(gpa, len))
		return -EFAULT;
	slot = slot_of(vm, gpa, dir);
	if (!slot)
		return -EFAULT;
	if (unlikely(slot_left(slot, gpa) < len))
		return hcall_buffer_over_slots(vm, gpa, len, dir, buffer);
	buffer->logged = dir == ITER_DEST && slot->dirty_bitmap;
	iov_iter_ubuf(&buffer->iter, dir, slot_user(slot, gpa), len);
	return 0;
}

/* Is it the call's memory, in pieces? */
static __always_inline bool hcall_in_segments(const struct hcall_call *call,
					      u64 gpa)
{
	return call->segments && call->segments->gpa == gpa;
}

int hcall_segments_buffer(const struct hcall_call *call, u64 len,
			  unsigned int dir, struct hcall_buffer *buffer);

/**
 * hcall_call_buffer() - hcall_buffer() of a call's memory, in one piece or not
 * @call:   the call
 * @gpa:    as its arguments have it
 * @len:    in bytes, not 0
 * @dir:    ITER_DEST if it will be written to, else ITER_SOURCE
 * @buffer: OUT; after writing, if it is @logged, hcall_call_dirty()
 *
 * Return: as hcall_buffer().
 */
static __always_inline int hcall_call_buffer(const struct hcall_call *call,
					     u64 gpa, u64 len, unsigned int dir,
					     struct hcall_buffer *buffer)
{
	if (unlikely(hcall_in_segments(call, gpa)))
		return hcall_segments_buffer(call, len, dir, buffer);
	return hcall_buffer(call->vm, gpa, len, dir, buffer);
}

#endif
