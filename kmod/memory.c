// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory.  A guest-physical range becomes user addresses of the
 * launcher, checked against the memslots as KVM's own helpers check them.
 *
 * Everything here runs inside kvm->srcu, which keeps the memslots that we have
 * found, and with them the user addresses; nothing may be kept past it.  But a
 * look-up that succeeded can fail the next time: KVM publishes new memslots
 * before it waits for us.  What the launcher does to its own mappings meanwhile
 * ends in a fault, which is -EFAULT for the guest.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "memory.h"

/**
 * hcall_check() - is a range guest memory, and of the right kind?
 * @vm:  the caller's
 * @gpa: guest-physical address
 * @len: in bytes, not 0
 * @dir: ITER_DEST if it will be written to, else ITER_SOURCE
 *
 * Return: 0 or -EFAULT.
 */
int hcall_check(struct hcall_vm *vm, u64 gpa, u64 len, unsigned int dir)
{
	struct kvm_memory_slot *slot;
	u64 left;

	if (!range_ok(gpa, len))
		return -EFAULT;
	for (;;) {
		slot = slot_of(vm, gpa, dir);
		if (!slot)
			return -EFAULT;
		left = slot_left(slot, gpa);
		if (left >= len)
			return 0;
		gpa += left;
		len -= left;
	}
}

/*
 * hcall_buffer() of a buffer that crosses memslots: walk them, and check also
 * those that the iterator has no room for.
 */
int hcall_buffer_over_slots(struct hcall_vm *vm, u64 gpa, u64 len,
			    unsigned int dir, struct hcall_buffer *buffer)
{
	unsigned int n = 0;
	u64 total = 0;

	while (n < HCALL_SEGMENTS) {
		const struct kvm_memory_slot *slot = slot_of(vm, gpa, dir);
		u64 part;

		if (!slot)
			return -EFAULT;
		part = min(slot_left(slot, gpa), len);
		buffer->iov[n].iov_base = slot_user(slot, gpa);
		buffer->iov[n].iov_len = part;
		n++;
		total += part;
		gpa += part;
		len -= part;
		if (!len)
			break;
	}
	if (len && hcall_check(vm, gpa, len, dir))
		return -EFAULT;
	buffer->logged = true; /* one of them may be */
	iov_iter_init(&buffer->iter, dir, buffer->iov, n, total);
	return len ? 1 : 0;
}

/**
 * hcall_buffer_prefix() - let the launcher's memory come before the guest's
 * @buffer: from hcall_buffer(), not used yet
 * @user:   the launcher's
 * @len:    in bytes
 */
void hcall_buffer_prefix(struct hcall_buffer *buffer, void __user *user,
			 size_t len)
{
	struct iov_iter *iter = &buffer->iter;
	unsigned int n = 1;

	if (iter_is_ubuf(iter)) {
		buffer->iov[1].iov_base = iter->ubuf;
		buffer->iov[1].iov_len = iov_iter_count(iter);
	} else {
		n = iter->nr_segs;
		memmove(buffer->iov + 1, buffer->iov, n * sizeof(*buffer->iov));
	}
	buffer->iov[0].iov_base = user;
	buffer->iov[0].iov_len = len;
	iov_iter_init(iter, iter->data_source, buffer->iov, n + 1,
		      len + iov_iter_count(iter));
}

/**
 * hcall_span() - find a range that lies in one writable memslot
 * @vm:   the caller's
 * @gpa:  guest-physical address
 * @len:  in bytes, not 0
 * @span: OUT
 *
 * Return: false if it does not, for whatever reason.
 */
bool hcall_span(struct hcall_vm *vm, u64 gpa, u64 len, struct hcall_span *span)
{
	struct kvm_memory_slot *slot;

	if (!range_ok(gpa, len))
		return false;
	slot = slot_of(vm, gpa, ITER_DEST);
	if (!slot || slot_left(slot, gpa) < len)
		return false;
	span->user = slot_user(slot, gpa);
	span->logged = slot->dirty_bitmap;
	return true;
}

/*
 * KVM's own way of telling the launcher which pages changed, for a VM with a
 * dirty bitmap.  (VMs with a dirty ring are not served: that ring belongs to
 * a vCPU and cannot be written from here.)
 */
static void slot_dirty(const struct kvm_memory_slot *slot, u64 gpa, u64 len)
{
	gfn_t gfn, last;

	if (likely(!slot->dirty_bitmap))
		return;
	last = gpa_to_gfn(gpa + len - 1) - slot->base_gfn;
	for (gfn = gpa_to_gfn(gpa) - slot->base_gfn; gfn <= last; gfn++)
		set_bit_le(array_index_nospec(gfn, slot->npages),
			   slot->dirty_bitmap);
}

/**
 * hcall_dirty() - a range has been written to
 * @vm:  the caller's
 * @gpa: a range that was checked in this call
 * @len: in bytes
 */
void hcall_dirty(struct hcall_vm *vm, u64 gpa, u64 len)
{
	while (len) {
		const struct kvm_memory_slot *slot = slot_of(vm, gpa, ITER_DEST);
		u64 part;

		if (!slot)
			return;
		part = min(slot_left(slot, gpa), len);
		slot_dirty(slot, gpa, part);
		gpa += part;
		len -= part;
	}
}

/**
 * hcall_dirty_outside() - hcall_dirty() outside a call
 * @vm:  bound, and a vCPU of it has made a call
 * @gpa: any
 * @len: in bytes
 *
 * Context: any.
 */
void hcall_dirty_outside(struct hcall_vm *vm, u64 gpa, u64 len)
{
	int idx = srcu_read_lock(&vm->binding.kvm->srcu);

	hcall_dirty(vm, gpa, len);
	srcu_read_unlock(&vm->binding.kvm->srcu, idx);
}

/**
 * hcall_pin() - keep a page of the guest's in memory, also outside calls
 * @vm:      the caller's
 * @gpa:     what @address is wanted of; it will be written to
 * @address: OUT: kernel address
 *
 * It stays the guest's page until the launcher puts other memory there.  The
 * caller ends this with unpin_user_pages_dirty_lock(), and bounds how many
 * there are.
 *
 * Return: the page, or ERR_PTR(-EFAULT) or ERR_PTR(-ENOMEM).
 */
struct page *hcall_pin(struct hcall_vm *vm, u64 gpa, void **address)
{
	struct hcall_span span;
	unsigned long user;
	struct page *page;
	int ret;

	if (!hcall_span(vm, gpa, 1, &span))
		return ERR_PTR(-EFAULT);
	user = (unsigned long)span.user;
	ret = pin_user_pages_fast(user & PAGE_MASK, 1,
				  FOLL_WRITE | FOLL_LONGTERM, &page);
	if (ret != 1)
		return ERR_PTR(ret == -ENOMEM ? -ENOMEM : -EFAULT);
	*address = page_address(page) + offset_in_page(user);
	return page;
}

/**
 * hcall_read() - copy from guest memory
 * @vm:  the caller's
 * @gpa: guest-physical address
 * @to:  kernel memory
 * @len: in bytes, not 0
 *
 * Return: 0 or -EFAULT; then @to may have been written to in part.
 */
int hcall_read(struct hcall_vm *vm, u64 gpa, void *to, u64 len)
{
	struct kvm_memory_slot *slot;
	u64 part;

	if (!range_ok(gpa, len))
		return -EFAULT;
	do {
		slot = slot_of(vm, gpa, ITER_SOURCE);
		if (!slot)
			return -EFAULT;
		part = min(slot_left(slot, gpa), len);
		if (copy_from_user(to, slot_user(slot, gpa), part))
			return -EFAULT;
		gpa += part;
		to += part;
		len -= part;
	} while (len);
	return 0;
}

/**
 * hcall_write() - copy to guest memory
 * @vm:   the caller's
 * @gpa:  guest-physical address
 * @from: kernel memory
 * @len:  in bytes, not 0
 *
 * Return: 0 or -EFAULT; if the range was no guest memory to begin with, nothing
 * was written.
 */
int hcall_write(struct hcall_vm *vm, u64 gpa, const void *from, u64 len)
{
	struct kvm_memory_slot *slot;
	u64 part;

	if (hcall_check(vm, gpa, len, ITER_DEST))
		return -EFAULT;
	do {
		slot = slot_of(vm, gpa, ITER_DEST);
		if (!slot)
			return -EFAULT;
		part = min(slot_left(slot, gpa), len);
		if (copy_to_user(slot_user(slot, gpa), from, part))
			return -EFAULT;
		slot_dirty(slot, gpa, part);
		gpa += part;
		from += part;
		len -= part;
	} while (len);
	return 0;
}

/* ---- Memory that is not in one piece ----------------------------------------- */

/* A walk over a call's memory: what is left of the piece where it stands. */
struct walk {
	const struct hcall_segment *segment;
	u64 skip;
};

/* Return: false if there are not that many bytes. */
static bool walk_start(struct walk *walk, const struct hcall_call *call,
		       u64 offset, u64 len)
{
	const struct hcall_segments *segments = call->segments;

	if (len > segments->bytes || offset > segments->bytes - len)
		return false;
	walk->segment = segments->segment;
	walk->skip = segments->skip + offset;
	while (walk->skip >= walk->segment->len)
		walk->skip -= walk->segment++->len;
	return true;
}

/* Return: how many bytes, at most @len, are at @gpa; next comes another piece. */
static u64 walk_next(struct walk *walk, u64 len, u64 *gpa)
{
	u64 part = min(walk->segment->len - walk->skip, len);

	*gpa = walk->segment->gpa + walk->skip;
	walk->segment++;
	walk->skip = 0;
	return part;
}

/* hcall_call_buffer() of more than one piece. */
int hcall_segments_buffer(const struct hcall_call *call, u64 len,
			  unsigned int dir, struct hcall_buffer *buffer)
{
	struct iovec *iov = call->segments->iov;
	u64 gpa, piece, total = 0;
	unsigned int n = 0;
	struct walk walk;

	if (!walk_start(&walk, call, 0, len))
		return -EFAULT;
	buffer->logged = false;
	while (len) {
		piece = walk_next(&walk, len, &gpa);
		if (!range_ok(gpa, piece))
			return -EFAULT;
		len -= piece;
		while (piece) {
			const struct kvm_memory_slot *slot =
				slot_of(call->vm, gpa, dir);
			u64 part;

			if (!slot)
				return -EFAULT;
			part = min(slot_left(slot, gpa), piece);
			if (n < call->segments->iovs) {
				iov[n].iov_base = slot_user(slot, gpa);
				iov[n++].iov_len = part;
				total += part;
			} else {
				n = call->segments->iovs + 1;
			}
			if (dir == ITER_DEST && slot->dirty_bitmap)
				buffer->logged = true;
			gpa += part;
			piece -= part;
		}
	}
	iov_iter_init(&buffer->iter, dir, iov, min(n, call->segments->iovs),
		      total);
	return n > call->segments->iovs;
}

/**
 * hcall_call_check() - hcall_check() of a call's memory, in one piece or not
 * @call: the call
 * @gpa:  as its arguments have it
 * @len:  in bytes, not 0
 * @dir:  ITER_DEST if it will be written to, else ITER_SOURCE
 *
 * Return: 0 or -EFAULT.
 */
int hcall_call_check(const struct hcall_call *call, u64 gpa, u64 len,
		     unsigned int dir)
{
	struct walk walk;
	u64 part;

	if (!hcall_in_segments(call, gpa))
		return hcall_check(call->vm, gpa, len, dir);
	if (!walk_start(&walk, call, 0, len))
		return -EFAULT;
	for (; len; len -= part) {
		part = walk_next(&walk, len, &gpa);
		if (hcall_check(call->vm, gpa, part, dir))
			return -EFAULT;
	}
	return 0;
}

/**
 * hcall_call_read() - copy from a call's memory, in one piece or not
 * @call:   the call
 * @gpa:    as its arguments have it
 * @offset: from there, in bytes
 * @to:     kernel memory
 * @len:    in bytes, not 0
 *
 * Return: as hcall_read().
 */
int hcall_call_read(const struct hcall_call *call, u64 gpa, u64 offset, void *to,
		    u64 len)
{
	struct walk walk;
	u64 part;

	if (!hcall_in_segments(call, gpa))
		return hcall_read(call->vm, gpa + offset, to, len);
	if (!walk_start(&walk, call, offset, len))
		return -EFAULT;
	for (; len; len -= part, to += part) {
		part = walk_next(&walk, len, &gpa);
		if (hcall_read(call->vm, gpa, to, part))
			return -EFAULT;
	}
	return 0;
}

/**
 * hcall_call_write() - copy to a call's memory, in one piece or not
 * @call:   the call
 * @gpa:    as its arguments have it
 * @offset: from there, in bytes
 * @from:   kernel memory
 * @len:    in bytes, not 0
 *
 * Return: 0 or -EFAULT; then a part may have been written.
 */
int hcall_call_write(const struct hcall_call *call, u64 gpa, u64 offset,
		     const void *from, u64 len)
{
	struct walk walk;
	u64 part;

	if (!hcall_in_segments(call, gpa))
		return hcall_write(call->vm, gpa + offset, from, len);
	if (!walk_start(&walk, call, offset, len))
		return -EFAULT;
	for (; len; len -= part, from += part) {
		part = walk_next(&walk, len, &gpa);
		if (hcall_write(call->vm, gpa, from, part))
			return -EFAULT;
	}
	return 0;
}

/**
 * hcall_call_dirty() - hcall_dirty() of a call's memory, in one piece or not
 * @call: the call
 * @gpa:  as its arguments have it
 * @len:  in bytes, from the beginning
 */
void hcall_call_dirty(const struct hcall_call *call, u64 gpa, u64 len)
{
	struct walk walk;
	u64 part;

	if (!hcall_in_segments(call, gpa)) {
		hcall_dirty(call->vm, gpa, len);
		return;
	}
	if (!walk_start(&walk, call, 0, len))
		return;
	for (; len; len -= part) {
		part = walk_next(&walk, len, &gpa);
		hcall_dirty(call->vm, gpa, part);
	}
}
