// SPDX-License-Identifier: GPL-2.0
/*
 * What holds for all inputs.  "prove" reads each prove_*() as clang compiles it with
 * the module's own code in it: any() is any number at all, and must() has to be true
 * whatever they are.  Signed overflow, shifts that are too far and the like are
 * failures, too.
 */
#include "../../kmod/memory.c"
#include "../../kmod/virtio/queue.c"
#include "../../tools/hvrun/ram.c"

u64 any(void);
void assume(bool cond);

/* ---- Addresses ---------------------------------------------------------------- */

void prove_range(void)
{
	u64 gpa = any(), len = any();

	must(range_ok(gpa, len) ==
	     (len && (unsigned __int128)gpa + len <= UINT64_MAX));
}

/* Slots as KVM lets them be: somewhere below a gfn, and they do not overlap. */
#define GFNS (1ull << 40) /* KVM's own bound */
#define FEW_GFNS \
	(1ull << 8) /* for what takes Z3 long: addresses are still any */

struct machine {
	struct hcall_vm vm;
	struct kvm kvm;
	struct kvm_memslots slots;
};

static __always_inline void any_slot(struct kvm_memory_slot *slot, u64 gfns)
{
	slot->base_gfn = any();
	slot->npages = any();
	slot->userspace_addr = any();
	slot->flags = any();
	slot->dirty_bitmap = NULL;
	assume(slot->base_gfn < gfns && slot->npages &&
	       slot->npages <= gfns - slot->base_gfn);
	assume(slot->userspace_addr % PAGE_SIZE == 0 &&
	       slot->userspace_addr < 1ull << 47 &&
	       slot->npages * PAGE_SIZE <= (1ull << 47) - slot->userspace_addr);
}

static __always_inline void any_machine(struct machine *m)
{
	struct kvm_memory_slot *a = &m->slots.slot[0], *b = &m->slots.slot[1];

	m->vm.binding.kvm = &m->kvm;
	m->kvm.memslots[0] = &m->slots;
	m->slots.n = 2;
	any_slot(a, FEW_GFNS);
	any_slot(b, FEW_GFNS);
	assume(a->base_gfn + a->npages <= b->base_gfn ||
	       b->base_gfn + b->npages <= a->base_gfn);
}

static __always_inline u64 slot_start(const struct kvm_memory_slot *slot)
{
	return slot->base_gfn * PAGE_SIZE;
}

static __always_inline u64 slot_end(const struct kvm_memory_slot *slot)
{
	return (slot->base_gfn + slot->npages) * PAGE_SIZE;
}

static __always_inline bool usable(const struct kvm_memory_slot *slot,
				   unsigned int dir)
{
	return !(slot->flags & (KVM_MEMSLOT_INVALID | KVM_MEM_GUEST_MEMFD)) &&
	       (dir == ITER_SOURCE || !(slot->flags & KVM_MEM_READONLY));
}

/* All of it in @a, or up to its end in @a and the rest in @b. */
static __always_inline bool inside(const struct kvm_memory_slot *a,
				   const struct kvm_memory_slot *b, u64 gpa,
				   u64 len, unsigned int dir)
{
	if (!len || gpa < slot_start(a) || gpa >= slot_end(a) ||
	    !usable(a, dir))
		return false;
	if (len <= slot_end(a) - gpa)
		return true;
	return slot_end(a) == slot_start(b) && usable(b, dir) &&
	       len - (slot_end(a) - gpa) <= slot_end(b) - slot_start(b);
}

/* hcall_check() says yes to what is guest memory, and to nothing else. */
static __always_inline void check(unsigned int dir)
{
	struct machine m;
	u64 gpa = any(), len = any();

	any_machine(&m);
	must(!hcall_check(&m.vm, gpa, len, dir) ==
	     (inside(&m.slots.slot[0], &m.slots.slot[1], gpa, len, dir) ||
	      inside(&m.slots.slot[1], &m.slots.slot[0], gpa, len, dir)));
}

void prove_check_read(void)
{
	check(ITER_SOURCE);
}

void prove_check_write(void)
{
	check(ITER_DEST);
}

/* Every byte of what a slot has of a range is the launcher's memory for that slot. */
void prove_slot(void)
{
	struct kvm_memory_slot slot;
	u64 gpa = any(), len = any(), offset, part;

	any_slot(&slot, GFNS);
	assume(gpa >= slot_start(&slot) && gpa < slot_end(&slot) && len);
	part = min(slot_left(&slot, gpa), len);
	offset = gpa - slot_start(&slot);
	must(part && part <= len);
	must((u64)slot_user(&slot, gpa) == slot.userspace_addr + offset);
	must(offset < slot.npages * PAGE_SIZE);
	must(part <= slot.npages * PAGE_SIZE - offset);
}

/* ---- The launcher's ------------------------------------------------------------- */

/* What ram_at() gives lies in the mapping, and it gives all that is RAM. */
void prove_ram(void)
{
	u64 gpa = any(), bytes = any(), high, at;
	struct ram ram;

	ram.bytes = any();
	ram.host = (u8 *)(1ull << 60);
	assume(ram.bytes <= 1ull << 52);
	ram.low_bytes = min(ram.bytes, RAM_HOLE_START);
	high = ram.bytes - ram.low_bytes;
	at = (u64)ram_at(&ram, gpa, bytes);
	if (gpa <= ram.low_bytes && bytes <= ram.low_bytes - gpa) {
		must(at == (1ull << 60) + gpa);
	} else if (gpa >= RAM_HIGH_START && gpa - RAM_HIGH_START <= high &&
		   bytes <= high - (gpa - RAM_HIGH_START)) {
		must(at == (1ull << 60) + ram.low_bytes + gpa - RAM_HIGH_START);
		must(bytes <= ram.bytes - ram.low_bytes);
	} else {
		must(!at);
	}
}

/* ---- Rings ----------------------------------------------------------------------- */

static __always_inline u32 any_size(void)
{
	u32 size = any();

	assume(is_power_of_2(size) && size <= HCALL_VIRTIO_MAX_SIZE);
	return size;
}

/* Where each thing of a queue is, by the text of virtio 1.2, 2.7. */
void prove_ring_bytes(void)
{
	u32 size = any_size();
	u16 index = any();
	u32 i = index & (size - 1);

	must(i == index % size);
	must(desc_bytes(size) == 16ull * size);
	must(avail_bytes(size) == 6 + 2ull * size);
	must(used_bytes(size) == 6 + 8ull * size);
	must(offsetof(struct vring_avail, ring[i]) + 2 <= 4 + 2ull * size);
	must(offsetof(struct vring_used, ring[i]) + 8 <= 4 + 8ull * size);
}

/* The text's rule: has the entry that the driver named been used since? */
void prove_need_event(void)
{
	u16 event = any(), next = any(), told = any(), k = any();
	u16 used = next - told;

	if (vring_need_event(event, next, told))
		must((u16)(event - told) < used);
	else if (k < used)
		must((u16)(told + k) != event);
}

/* An answer has room in the requests that hcall_chain_parts() says. */
void prove_parts(void)
{
	struct hcall_chain chain;
	u64 bytes = any(), room = 0;
	u32 parts, i;

	chain.parts = 1 + any() % 4;
	for (i = 0; i < 4; i++)
		chain.part[i].in = any();
	parts = hcall_chain_parts(&chain, bytes);
	must(parts >= 1 && parts <= chain.parts);
	for (i = 0; i < 4; i++) {
		if (i < parts)
			room += chain.part[i].in;
		if (i + 2 == parts)
			must(room < bytes); /* one less would not do */
	}
	must(room >= bytes || parts == chain.parts);
}
